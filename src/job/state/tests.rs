//! The whole table: every state with every event, what follows or that it is impossible; then the cases that time decides.

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + second).unwrap()
}

/// A context at `now` seconds with a deadline a day after the start.
fn run(state: &JobState, event: Event, now: i64, earlier: &[Cause]) -> Result<Step, Impossible> {
    run_with(state, event, now, earlier, |_| {})
}

/// The same, changed by `change`.
fn run_with(
    state: &JobState,
    event: Event,
    now: i64,
    earlier: &[Cause],
    change: impl FnOnce(&mut Context<'_>),
) -> Result<Step, Impossible> {
    let mut context: Context<'_> = Context { earlier, ..Context::plain(at(now), at(86_400)) };
    change(&mut context);
    step(state, event, &context)
}

fn states() -> Vec<JobState> {
    vec![
        JobState::Queued { due: at(0) },
        JobState::Sending { attempt: 1, since: at(0) },
        JobState::InTransit { attempt: 1, provider_ref: "p1".into(), since: at(0), ask_at: at(15) },
        JobState::Unclear { attempt: 1, provider_ref: None, since: at(0), absent_since: None, ask_at: at(0) },
        JobState::Held { hold: Hold::Unverified, until: at(1000) },
        JobState::Held { hold: Hold::Unclear, until: at(1000) },
        JobState::Delivered,
        JobState::Failed { cause: Cause::Busy },
        JobState::Cancelled,
    ]
}

fn events() -> Vec<(&'static str, Event)> {
    let ended = |outcome| Event::Ended { report: Report::bare(outcome), wait: None };
    let told = |outcome| Event::Told { attempt: 1, report: Report::bare(outcome) };
    vec![
        ("claimed", Event::Claimed { attempt: 2 }),
        ("taken", Event::Taken { provider_ref: "p2".into() }),
        ("delivered", ended(Outcome::Delivered)),
        ("refused", ended(Outcome::Refused(Cause::Blocked))),
        ("retry", ended(Outcome::Retry(Cause::Busy))),
        ("outcome unclear", ended(Outcome::Unclear)),
        ("lost", Event::Lost),
        ("still going", Event::StillGoing),
        ("no answer", Event::NoAnswer),
        ("found", Event::Found { provider_ref: "p3".into() }),
        ("not there", Event::NotThere),
        ("never sent", Event::NeverSent),
        ("undecided", Event::Undecided),
        ("cannot tell", Event::CannotTell),
        ("told delivered", told(Outcome::Delivered)),
        ("told busy", told(Outcome::Retry(Cause::Busy))),
        ("told partly sent", told(Outcome::Retry(Cause::PartlySent))),
        ("forgotten", Event::Forgotten { attempt: 2 }),
        ("hold", Event::Hold(Hold::Person)),
        ("release", Event::Release),
        ("cancel", Event::Cancel),
        ("resolve yes", Event::Resolve(true)),
        ("resolve no", Event::Resolve(false)),
        ("postponed", Event::Postponed(at(7200))),
        ("deadline", Event::Deadline),
    ]
}

#[test]
fn every_pair_of_state_and_event() {
    // Rows: events as above. Columns: queued, sending, in_transit, unclear, held for its number, held as unclear, delivered, failed,
    // cancelled. "-" is impossible. The events happen 60 seconds after the start.
    #[rustfmt::skip]
    let table: &[(&str, [&str; 9])] = &[
        ("claimed",           ["sending",    "-",           "-",           "-",          "-",          "-",          "-", "-", "-"]),
        ("taken",             ["-",          "in_transit",  "-",           "-",          "-",          "-",          "-", "-", "-"]),
        ("delivered",         ["-",          "delivered",   "delivered",   "delivered",  "-",          "-",          "-", "-", "-"]),
        ("refused",           ["-",          "failed",      "failed",      "failed",     "-",          "-",          "-", "-", "-"]),
        ("retry",             ["-",          "queued",      "queued",      "queued",     "-",          "-",          "-", "-", "-"]),
        ("outcome unclear",   ["-",          "unclear",     "unclear",     "unclear",    "-",          "-",          "-", "-", "-"]),
        ("lost",              ["-",          "unclear",     "unclear",     "-",          "-",          "-",          "-", "-", "-"]),
        ("still going",       ["-",          "-",           "in_transit",  "unclear",    "-",          "-",          "-", "-", "-"]),
        ("no answer",         ["-",          "-",           "in_transit",  "unclear",    "-",          "-",          "-", "-", "-"]),
        ("found",             ["-",          "-",           "-",           "in_transit", "-",          "-",          "-", "-", "-"]),
        ("not there",         ["-",          "-",           "unclear",     "unclear",    "-",          "-",          "-", "-", "-"]),
        ("never sent",        ["-",          "-",           "-",           "queued",     "-",          "-",          "-", "-", "-"]),
        ("undecided",         ["-",          "-",           "-",           "unclear",    "-",          "-",          "-", "-", "-"]),
        ("cannot tell",       ["-",          "-",           "-",           "held",       "-",          "-",          "-", "-", "-"]),
        ("told delivered",    ["delivered",  "-",           "-",           "-",          "delivered",  "delivered",  "-", "-", "-"]),
        ("told busy",         ["queued",     "-",           "-",           "-",          "-",          "queued",     "-", "-", "-"]),
        ("told partly sent",  ["held",       "-",           "-",           "-",          "-",          "held",       "-", "-", "-"]),
        ("forgotten",         ["unclear",    "-",           "-",           "-",          "-",          "-",          "-", "-", "-"]),
        ("hold",              ["held",       "-",           "-",           "-",          "held",       "held",       "-", "-", "-"]),
        ("release",           ["-",          "-",           "-",           "-",          "queued",     "queued",     "-", "-", "-"]),
        ("cancel",            ["cancelled",  "-",           "-",           "-",          "cancelled",  "cancelled",  "-", "-", "-"]),
        ("resolve yes",       ["-",          "-",           "-",           "delivered",  "-",          "delivered",  "-", "-", "-"]),
        ("resolve no",        ["-",          "-",           "-",           "failed",     "failed",     "failed",     "-", "-", "-"]),
        ("postponed",         ["queued",     "-",           "-",           "-",          "-",          "-",          "-", "-", "-"]),
        ("deadline",          ["-",          "-",           "-",           "-",          "failed",     "failed",     "-", "-", "-"]),
    ];
    let events = events();
    assert_eq!(table.len(), events.len());
    for ((name, row), (event_name, event)) in table.iter().zip(events) {
        assert_eq!(*name, event_name);
        for (state, want) in states().iter().zip(row) {
            let got = run(state, event.clone(), 60, &[]);
            let got = got.as_ref().map_or("-", |step| step.state.as_str());
            assert_eq!(got, *want, "{} + {name}", state.as_str());
        }
    }
}

#[test]
fn nothing_is_delivered_by_a_word_of_which_nothing_was_sent() {
    for (hold, doubt, may) in [
        (Hold::Person, false, false),
        (Hold::Unverified, false, false),
        (Hold::Account, false, false),
        (Hold::Person, true, true),
        (Hold::UnknownCause, true, true),
        (Hold::Unclear, false, true),
        (Hold::PartlySent, false, true),
    ] {
        let context = Context { doubt, ..Context::plain(at(60), at(86_400)) };
        let held = JobState::Held { hold, until: at(7200) };
        let got = step(&held, Event::Resolve(true), &context).map(|step| step.state);
        assert_eq!(got.as_ref().ok(), may.then_some(&JobState::Delivered), "{hold} {doubt}: {got:?}");
        assert!(
            step(&held, Event::Resolve(false), &context).is_ok(),
            "{hold}: it can always be closed as not delivered"
        );
    }
}

#[test]
fn a_final_state_always_says_so_and_only_then() {
    for state in states() {
        for (name, event) in events() {
            if let Ok(step) = run(&state, event, 60, &[]) {
                let says = step.effects.contains(&Effect::Finished);
                assert_eq!(says, step.state.is_final(), "{} + {name}", state.as_str());
                let tells = step.effects.iter().any(|effect| matches!(effect, Effect::TellHeld(_)));
                assert_eq!(tells, matches!(step.state, JobState::Held { .. }), "{} + {name}", state.as_str());
                assert_eq!(step.state.wake_at().is_none(), step.state.is_final());
            }
        }
    }
}

#[test]
fn an_attempt_is_closed_exactly_when_it_no_longer_runs() {
    for state in states() {
        for (name, event) in events() {
            if let Ok(step) = run(&state, event, 60, &[]) {
                let closes = step.effects.iter().any(|effect| matches!(effect, Effect::CloseAttempt(_)));
                let ran = state.open_attempt().is_some();
                let runs = step.state.open_attempt().is_some();
                assert_eq!(closes, ran && !runs, "{} + {name}", state.as_str());
            }
        }
    }
}

#[test]
fn unclear_is_queued_again_only_on_the_providers_word_and_after_the_quiet_window() {
    let never_taken =
        JobState::Unclear { attempt: 1, provider_ref: None, since: at(0), absent_since: None, ask_at: at(0) };
    let once_taken = JobState::Unclear {
        attempt: 1,
        provider_ref: Some("p1".into()),
        since: at(0),
        absent_since: None,
        ask_at: at(0),
    };
    let missed = |at_second| match &never_taken {
        JobState::Unclear { attempt, provider_ref, since, .. } => JobState::Unclear {
            attempt: *attempt,
            provider_ref: provider_ref.clone(),
            since: *since,
            absent_since: Some(at(at_second)),
            ask_at: at(at_second),
        },
        other => other.clone(),
    };
    let state = |state: &JobState, event, now| run(state, event, now, &[]).unwrap().state.as_str();
    // The first look proves nothing, however late it comes: the process may have been down all the time.
    for now in [0, 180, 7200] {
        assert_eq!(state(&never_taken, Event::NotThere, now), "unclear");
    }
    assert_eq!(state(&missed(100), Event::NotThere, 279), "unclear");
    assert_eq!(state(&missed(100), Event::NotThere, 280), "queued");
    assert_eq!(state(&missed(100), Event::NoAnswer, 280), "unclear");
    // A fax that was acknowledged once may have been sent: absence proves nothing.
    assert_eq!(state(&once_taken, Event::NotThere, 180), "unclear");
    assert_eq!(state(&once_taken, Event::NotThere, 3600), "held");
    // Time alone never queues it.
    for now in [0, 180, 3599] {
        assert_eq!(state(&never_taken, Event::NoAnswer, now), "unclear");
    }
    assert_eq!(state(&never_taken, Event::NoAnswer, 3600), "held");
}

#[test]
fn silence_in_transit_becomes_unclear_and_questions_grow_rarer() {
    let state = JobState::InTransit { attempt: 1, provider_ref: "p".into(), since: at(0), ask_at: at(15) };
    let ask = |now| match run(&state, Event::StillGoing, now, &[]).unwrap().state {
        JobState::InTransit { ask_at, .. } => ask_at.duration_since(at(now)).as_secs(),
        other => panic!("{other:?}"),
    };
    assert_eq!([ask(1), ask(15), ask(40), ask(100), ask(1000)], [15, 15, 40, 100, 120]);
    assert_eq!(run(&state, Event::StillGoing, 5400, &[]).unwrap().state.as_str(), "unclear");
}

#[test]
fn retries_follow_the_ladder_of_their_own_cause() {
    let state = JobState::InTransit { attempt: 3, provider_ref: "p".into(), since: at(0), ask_at: at(15) };
    let busy = || Event::Ended { report: Report::bare(Outcome::Retry(Cause::Busy)), wait: None };
    let due = |earlier: &[Cause]| match run(&state, busy(), 0, earlier).unwrap().state {
        JobState::Queued { due } => due.duration_since(at(0)).as_mins(),
        other => panic!("{other:?}"),
    };
    assert_eq!(due(&[]), 3);
    assert_eq!(due(&[Cause::Busy, Cause::Busy]), 5);
    assert_eq!(due(&[Cause::ProviderTrouble, Cause::NoAnswer]), 3);
    assert_eq!(
        run(&state, busy(), 0, &[Cause::Busy; 11]).unwrap().state,
        JobState::Failed { cause: Cause::Busy }
    );
    // Fourteen calls before this one: the ceiling.
    assert_eq!(
        run(&state, busy(), 0, &[Cause::LineTrouble; 14]).unwrap().state,
        JobState::Failed { cause: Cause::Busy }
    );
}

#[test]
fn a_retry_that_would_come_after_the_deadline_fails_now_with_its_real_cause() {
    let state = JobState::Sending { attempt: 1, since: at(86_300) };
    let event = Event::Ended { report: Report::bare(Outcome::Retry(Cause::Busy)), wait: None };
    assert_eq!(run(&state, event, 86_350, &[]).unwrap().state, JobState::Failed { cause: Cause::Busy });
    let queued = JobState::Queued { due: at(0) };
    let step = run(&queued, Event::Claimed { attempt: 1 }, 86_400, &[]).unwrap();
    assert_eq!(step.state, JobState::Failed { cause: Cause::Expired });
    let step = run(&queued, Event::Deadline, 86_400, &[Cause::Busy, Cause::AccountTrouble]).unwrap();
    assert_eq!(step.state, JobState::Failed { cause: Cause::AccountTrouble }, "what kept it from being sent");
    let step = run(&queued, Event::Claimed { attempt: 1 }, 86_400, &[]).unwrap();
    assert!(!step.effects.contains(&Effect::OpenAttempt(1)));
}

#[test]
fn pages_that_went_out_are_never_sent_again_by_themselves() {
    let state = JobState::InTransit { attempt: 1, provider_ref: "p".into(), since: at(0), ask_at: at(15) };
    for cause in [Cause::LineTrouble, Cause::Busy, Cause::ProviderTrouble, Cause::Unknown] {
        let report = Report { pages_sent: Some(1), ..Report::bare(Outcome::Retry(cause)) };
        let ended = Event::Ended { report, wait: None };
        for cancel in [false, true] {
            let change = |context: &mut Context<'_>| {
                context.route = three_providers("main");
                context.cancel = cancel;
            };
            let step = run_with(&state, ended.clone(), 60, &[], change).unwrap();
            assert!(matches!(step.state, JobState::Held { hold: Hold::PartlySent, .. }), "{cause}");
            assert!(!step.effects.iter().any(|effect| matches!(effect, Effect::Switch(_))), "{cause}");
        }
    }
}

/// Three providers, of which `current` has the Job.
fn three_providers(current: &str) -> &'static Route {
    let providers = ["main", "second", "third"].map(str::to_owned).to_vec();
    Box::leak(Box::new(Route { providers, current: current.to_owned() }))
}

#[test]
fn another_provider_is_tried_at_once_where_the_first_certainly_sent_nothing() {
    use Cause::{AccountTrouble, Busy, NotTaken, ProviderTrouble, RateLimited};
    let after = |current: &str, cause, earlier: &[Cause]| {
        let sending = JobState::Sending { attempt: 1, since: at(0) };
        let event = Event::Ended { report: Report::bare(Outcome::of(cause)), wait: None };
        let step = run_with(&sending, event, 0, earlier, |c| c.route = three_providers(current)).unwrap();
        let to = step.effects.into_iter().find_map(|effect| match effect {
            Effect::Switch(name) => Some(name),
            _ => None,
        });
        let JobState::Queued { due } = step.state else { panic!("{:?}", step.state) };
        (to, due.duration_since(at(0)).as_mins())
    };
    let to = |name: &str| Some(name.to_owned());
    assert_eq!(after("main", ProviderTrouble, &[]), (to("second"), 0));
    assert_eq!(after("second", AccountTrouble, &[ProviderTrouble]), (to("third"), 0));
    assert_eq!(after("third", RateLimited, &[ProviderTrouble, AccountTrouble]), (to("main"), 1), "a round");
    assert_eq!(after("main", ProviderTrouble, &[ProviderTrouble; 3]), (to("second"), 0));
    assert_eq!(after("third", ProviderTrouble, &[ProviderTrouble; 5]), (to("main"), 2), "another round");
    // What happened on the line says nothing about the provider, and a lost answer is no certainty.
    assert_eq!(after("main", Busy, &[ProviderTrouble]), (None, 3));
    assert_eq!(after("main", NotTaken, &[]), (None, 1));
}

#[test]
fn after_a_doubt_no_other_provider_has_a_part_in_it() {
    let sending = JobState::Sending { attempt: 2, since: at(0) };
    let event = Event::Ended { report: Report::bare(Outcome::Retry(Cause::ProviderTrouble)), wait: None };
    let step = run_with(&sending, event, 0, &[Cause::NotTaken], |c| {
        c.route = three_providers("main");
        c.doubt = true;
    })
    .unwrap();
    assert_eq!(step.state, JobState::Queued { due: at(60) });
    assert!(!step.effects.iter().any(|effect| matches!(effect, Effect::Switch(_))));
}

#[test]
fn what_a_provider_cancels_by_itself_is_a_failure() {
    let transit = JobState::InTransit { attempt: 1, provider_ref: "p".into(), since: at(0), ask_at: at(15) };
    let end = |pages_sent, cancel| {
        let report = Report { pages_sent, ..Report::bare(Outcome::of(Cause::Cancelled)) };
        let event = Event::Ended { report, wait: None };
        run_with(&transit, event, 60, &[], |c| c.cancel = cancel).unwrap().state
    };
    assert_eq!(end(None, false), JobState::Failed { cause: Cause::Cancelled });
    assert_eq!(end(None, true), JobState::Cancelled);
    for cancel in [false, true] {
        assert!(matches!(end(Some(2), cancel), JobState::Held { hold: Hold::PartlySent, .. }));
    }
}

#[test]
fn a_route_goes_round() {
    assert_eq!(three_providers("third").next(), Some("main"));
    assert_eq!(three_providers("gone from the configuration").next(), Some("main"));
    assert_eq!(Route { providers: vec!["a".into()], current: "a".into() }.next(), None);
    assert_eq!(Route::default().next(), None);
}

#[test]
fn a_wish_to_cancel_decides_what_is_ours_to_decide() {
    let transit = JobState::InTransit { attempt: 1, provider_ref: "p".into(), since: at(0), ask_at: at(15) };
    let unclear = JobState::Unclear {
        attempt: 1,
        provider_ref: None,
        since: at(0),
        absent_since: Some(at(0)),
        ask_at: at(0),
    };
    let state = |from: &JobState, event| {
        run_with(from, event, 600, &[], |c| {
            c.cancel = true;
            c.absent = Absent::Hold;
        })
        .unwrap()
        .state
        .as_str()
    };
    let ended = |outcome| Event::Ended { report: Report::bare(outcome), wait: None };
    assert_eq!(state(&transit, ended(Outcome::Retry(Cause::Busy))), "cancelled");
    assert_eq!(state(&transit, ended(Outcome::Refused(Cause::Cancelled))), "cancelled");
    assert_eq!(state(&transit, ended(Outcome::Delivered)), "delivered", "it was too late");
    assert_eq!(state(&transit, ended(Outcome::Retry(Cause::PartlySent))), "held");
    assert_eq!(
        state(&unclear, Event::NotThere),
        "held",
        "its absence is not believed, with or without a wish"
    );
    assert_eq!(state(&unclear, Event::NeverSent), "cancelled");
    assert_eq!(state(&unclear, Event::NoAnswer), "unclear");
}

#[test]
fn where_absence_is_not_believed_a_person_decides() {
    let unclear = JobState::Unclear {
        attempt: 1,
        provider_ref: None,
        since: at(0),
        absent_since: Some(at(0)),
        ask_at: at(0),
    };
    let state = |absent, event| run_with(&unclear, event, 180, &[], |c| c.absent = absent).unwrap().state;
    assert_eq!(state(Absent::Resend, Event::NotThere).as_str(), "queued");
    assert!(matches!(state(Absent::Hold, Event::NotThere), JobState::Held { hold: Hold::Unclear, .. }));
    assert_eq!(state(Absent::Hold, Event::NeverSent).as_str(), "queued", "this one is certain");
}

#[test]
fn a_number_that_could_not_be_reached_is_left_alone_by_all() {
    let transit = JobState::InTransit { attempt: 1, provider_ref: "p".into(), since: at(0), ask_at: at(15) };
    let rest = |outcome, failed| {
        let event = Event::Ended { report: Report::bare(outcome), wait: None };
        let step = run_with(&transit, event, 0, &[], |c| c.number_failed = failed).unwrap();
        step.effects.into_iter().find_map(|effect| match effect {
            Effect::Called { rest } => Some(rest.map(|rest| rest.duration_since(at(0)).as_mins())),
            _ => None,
        })
    };
    assert_eq!(rest(Outcome::Retry(Cause::Busy), 0), Some(Some(3)));
    assert_eq!(rest(Outcome::Retry(Cause::Busy), 14), Some(Some(60)), "the fifteenth failure in a row");
    assert_eq!(rest(Outcome::Delivered, 14), Some(None));
    assert_eq!(rest(Outcome::Retry(Cause::ProviderTrouble), 14), None, "nobody's telephone rang");
}

#[test]
fn quiet_hours_move_a_job_but_not_past_its_deadline() {
    let due = |until| match run(&JobState::Queued { due: at(0) }, Event::Postponed(at(until)), 0, &[]) {
        Ok(Step { state: JobState::Queued { due }, .. }) => due.duration_since(at(0)).as_secs(),
        other => panic!("{other:?}"),
    };
    assert_eq!([due(7200), due(100_000)], [7200, 86_400]);
}

#[test]
fn the_register_hears_of_dead_numbers_and_of_people_who_answer() {
    let state = JobState::InTransit { attempt: 1, provider_ref: "p".into(), since: at(0), ask_at: at(15) };
    let effects = |cause| {
        let report = Report::bare(Outcome::Refused(cause));
        run(&state, Event::Ended { report, wait: None }, 60, &[]).unwrap().effects
    };
    assert!(effects(Cause::NotInService).contains(&Effect::SuspendRecipient));
    assert!(effects(Cause::Voice).contains(&Effect::CountVoice));
    assert!(!effects(Cause::Blocked).contains(&Effect::SuspendRecipient));
}

#[test]
fn a_hold_that_nobody_decides_ends_with_the_truth() {
    let end = |hold| run(&JobState::Held { hold, until: at(0) }, Event::Deadline, 60, &[]).unwrap().state;
    assert_eq!(end(Hold::Unverified), JobState::Failed { cause: Cause::Expired });
    assert_eq!(end(Hold::Unclear), JobState::Failed { cause: Cause::Unclear });
    assert_eq!(end(Hold::PartlySent), JobState::Failed { cause: Cause::PartlySent });
}

#[test]
fn impossible_pairs_say_what_to_do_instead() {
    let text = |state: &JobState, event| run(state, event, 60, &[]).unwrap_err().to_string();
    let sending = JobState::Sending { attempt: 1, since: at(0) };
    assert_eq!(
        text(&sending, Event::Cancel),
        "a job that is sending cannot be cancelled: a call may be under way; the provider has to be told"
    );
    assert_eq!(
        text(&JobState::Delivered, Event::Cancel),
        "a job that is delivered cannot be cancelled: it has ended already"
    );
}

#[test]
fn a_released_job_has_its_full_time_again() {
    let held = JobState::Held { hold: Hold::Unverified, until: at(300_000) };
    let step = run(&held, Event::Release, 200_000, &[]).unwrap();
    assert_eq!(step.state, JobState::Queued { due: at(200_000) });
    assert_eq!(step.effects, [Effect::Extend(at(200_000 + 86_400))]);
    // A release is no leave to send it before its sender wants it sent.
    let context = Context { not_before: Some(at(250_000)), ..Context::plain(at(200_000), at(86_400)) };
    let step = super::step(&held, Event::Release, &context).unwrap();
    assert_eq!(step.state, JobState::Queued { due: at(250_000) });
    assert_eq!(step.effects, [Effect::Extend(at(250_000 + 86_400))]);
}

#[test]
fn what_the_provider_has_told_of_is_never_absent() {
    let unclear = |absent| JobState::Unclear {
        attempt: 1,
        provider_ref: None,
        since: at(0),
        absent_since: absent,
        ask_at: at(0),
    };
    let state = |from: &JobState, event, now, news| {
        run_with(from, event, now, &[], |context| context.news = news).unwrap().state
    };
    for event in [Event::NotThere, Event::NeverSent] {
        assert_eq!(state(&unclear(Some(at(0))), event.clone(), 600, false).as_str(), "queued", "{event:?}");
        assert_eq!(state(&unclear(Some(at(0))), event.clone(), 600, true).as_str(), "unclear", "{event:?}");
        assert_eq!(state(&unclear(Some(at(0))), event.clone(), 3600, true).as_str(), "held", "{event:?}");
    }
    // A list that showed what may be it begins anew to show its absence.
    let JobState::Unclear { absent_since, .. } = state(&unclear(Some(at(0))), Event::Undecided, 100, false)
    else {
        panic!()
    };
    assert_eq!(absent_since, None);
    assert_eq!(state(&unclear(None), Event::Undecided, 3600, false).as_str(), "held");
}

#[test]
fn a_signed_delivered_is_proof_whatever_was_believed() {
    let delivered = || Event::Told { attempt: 1, report: Report::bare(Outcome::Delivered) };
    let corrected = Effect::CorrectAttempt(1, Report::bare(Outcome::Delivered));
    for from in [
        JobState::Queued { due: at(500) },
        JobState::Held { hold: Hold::Unclear, until: at(1000) },
        JobState::Held { hold: Hold::Person, until: at(1000) },
    ] {
        // Also when its time is over.
        for now in [60, 90_000] {
            let step = run(&from, delivered(), now, &[Cause::NotTaken]).unwrap();
            assert_eq!(step.state, JobState::Delivered, "{from:?}");
            assert_eq!(step.effects.first(), Some(&corrected));
        }
    }
    // Told of while the next one was under way: that one's failure is no failure of the Job.
    let transit = JobState::InTransit { attempt: 2, provider_ref: "p".into(), since: at(0), ask_at: at(15) };
    let busy = Event::Ended { report: Report::bare(Outcome::Retry(Cause::Busy)), wait: None };
    let step = run_with(&transit, busy, 60, &[], |context| context.proven = true).unwrap();
    assert_eq!(step.state, JobState::Delivered);
    let unclear =
        JobState::Unclear { attempt: 2, provider_ref: None, since: at(0), absent_since: None, ask_at: at(0) };
    let step = run_with(&unclear, Event::CannotTell, 60, &[], |context| context.proven = true).unwrap();
    assert_eq!(step.state, JobState::Delivered);
}

#[test]
fn a_signed_reason_answers_what_a_person_was_asked() {
    let held = |hold| JobState::Held { hold, until: at(1000) };
    let told = |cause| Event::Told { attempt: 1, report: Report::bare(Outcome::of(cause)) };
    let state = |hold, cause| run(&held(hold), told(cause), 60, &[]).map(|step| step.state);
    assert_eq!(state(Hold::UnknownCause, Cause::Busy), Ok(JobState::Queued { due: at(60 + 180) }));
    assert_eq!(state(Hold::Unclear, Cause::Blocked), Ok(JobState::Failed { cause: Cause::Blocked }));
    assert!(state(Hold::Suspended, Cause::Busy).is_err(), "that was not the question");
    // A Job that waits for its next call goes on waiting for as long as it was to.
    let queued = JobState::Queued { due: at(500) };
    assert_eq!(run(&queued, told(Cause::Busy), 60, &[]).unwrap().state, queued);
}
