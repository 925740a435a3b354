use super::*;
use crate::job::{FaxNumber, Priority, Report, Source, SubmissionId};
use crate::store::{Document, PacketRow};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn job(state: JobState) -> Job {
    Job {
        id: JobId::new(at(0), 1),
        submission: SubmissionId::new(at(0), 2),
        sender: "front desk".into(),
        n: 1,
        recipient: Some("mercy".into()),
        number: Some(FaxNumber::from_e164("+12125550100").unwrap()),
        rule: "r".into(),
        provider: "sim".into(),
        route: vec!["sim".into()],
        cancel: None,
        state,
        made_at: at(0),
        deadline: at(86_400),
        send_at: None,
        priority: Priority::Normal,
        final_at: None,
        packet: Some(PacketRow {
            document: Document { name: "x".into(), bytes: 1, sha256: "00".into() },
            shared: None,
            pages: 4,
            cover_pages: 1,
        }),
        facts: Vec::new(),
        version: 0,
        as_made: false,
    }
}

fn queued() -> JobState {
    JobState::Queued { due: at(0) }
}

fn sending() -> JobState {
    JobState::Sending { attempt: 1, since: at(0) }
}

fn held(hold: Hold) -> JobState {
    JobState::Held { hold, until: at(1000) }
}

fn attempt(outcome: Option<&str>, cause: Option<&str>, pages: Option<i64>) -> AttemptRow {
    AttemptRow {
        n: 1,
        reference: "x-1".into(),
        provider: "sim".into(),
        provider_ref: None,
        started_at: 0,
        ended_at: outcome.map(|_| 1),
        outcome: outcome.map(str::to_owned),
        cause: cause.map(str::to_owned),
        pages_sent: pages,
        remote_id: None,
        seconds: None,
        raw_code: None,
        raw_text: None,
        copy_deleted_at: None,
        kept_ref: None,
        copy: "there".into(),
        news_at: None,
        told: None,
        hints: None,
        asked_first: 0,
        bytes: None,
        sha256: None,
        evidence: None,
        stated: 0,
    }
}

fn person() -> Actor {
    Actor::Account("jane (1000)".into())
}

fn sender() -> Actor {
    Actor::Sender { name: "front desk".into(), mail: SubmissionId::new(at(0), 3) }
}

/// What is decided, with these Attempts and obstacles: the state's word, or what else follows.
fn decided(
    job: &Job,
    attempts: &[AttemptRow],
    obstacles: Obstacles,
    wish: Wish,
    actor: &Actor,
) -> Result<String, No> {
    let circumstances = Circumstances::plain(attempts.to_vec(), job.deadline);
    let known = Known { job, circumstances: &circumstances, obstacles, jitter: 0.0 };
    decide(&known, wish, actor, at(10)).map(|decision| match decision {
        Decision::Step(step) => step.state.as_str().to_owned(),
        other => format!("{other:?}"),
    })
}

/// The same with nothing in the way.
fn plainly(job: &Job, wish: Wish, actor: &Actor) -> Result<String, No> {
    decided(job, &[], Obstacles::default(), wish, actor)
}

const AGAIN: Wish = Wish::Release { send_again: true };
const ON: Wish = Wish::Release { send_again: false };

#[test]
fn who_may_wish_what() {
    let wishes = || {
        [
            Wish::Hold,
            ON,
            Wish::Cancel,
            Wish::Resolve { delivered: true },
            Wish::Follow(Event::Claimed { attempt: 1 }),
        ]
    };
    let table = [
        (person(), [true, true, true, true, false]),
        (sender(), [false, true, true, false, false]),
        (Actor::Worker, [false, false, false, false, true]),
        (Actor::Daemon, [false; 5]),
        (Actor::Intake(Source::Smtp), [false; 5]),
        (Actor::Preparer, [false; 5]),
    ];
    for (actor, allowed) in table {
        for (wish, allowed) in wishes().into_iter().zip(allowed) {
            let theirs = plainly(&job(queued()), wish.clone(), &actor) != Err(No::NotTheirs);
            assert_eq!(theirs, allowed, "{actor}: {wish:?}");
        }
    }
}

#[test]
fn what_follows_from_a_person_s_wish() {
    let ok = |word: &str| Ok(word.to_owned());
    let unclear = || JobState::Unclear {
        attempt: 1,
        provider_ref: None,
        since: at(0),
        absent_since: None,
        ask_at: at(1),
    };
    let delivered = |delivered| Wish::Resolve { delivered };
    for (state, wish, wanted) in [
        (queued(), Wish::Hold, ok("held")),
        (held(Hold::Unverified), Wish::Hold, Err(No::HeldAlready(Hold::Unverified))),
        (queued(), Wish::Cancel, ok("cancelled")),
        (held(Hold::Part), Wish::Cancel, ok("cancelled")),
        (sending(), Wish::Cancel, ok("Ask")),
        (unclear(), Wish::Cancel, ok("Ask")),
        (held(Hold::Person), ON, ok("queued")),
        (held(Hold::PartlySent), AGAIN, ok("queued")),
        (unclear(), delivered(true), ok("delivered")),
        (unclear(), delivered(false), ok("failed")),
        (held(Hold::Unclear), delivered(true), ok("delivered")),
    ] {
        assert_eq!(plainly(&job(state.clone()), wish.clone(), &person()), wanted, "{state:?} {wish:?}");
    }
    for (state, wish) in [
        (JobState::Delivered, Wish::Cancel),
        (JobState::Cancelled, ON),
        (queued(), ON),
        (sending(), Wish::Hold),
        (queued(), delivered(true)),
        // Nothing of it was ever sent.
        (held(Hold::Unverified), delivered(true)),
    ] {
        let no = plainly(&job(state.clone()), wish.clone(), &person());
        assert!(matches!(no, Err(No::Impossible(_))), "{state:?} {wish:?}: {no:?}");
    }
}

#[test]
fn a_wish_to_cancel_is_passed_on_once() {
    let asked = Job { cancel: Some(CancelWish::Asked), ..job(sending()) };
    for actor in [person(), sender()] {
        assert_eq!(plainly(&asked, Wish::Cancel, &actor), Err(No::AskedBefore(CancelWish::Asked)));
    }
}

#[test]
fn a_complete_job_goes_on_and_an_incomplete_one_is_made_anew() {
    for hold in Hold::ALL.iter().copied().filter(|hold| !matches!(hold, Hold::Unclear | Hold::PartlySent)) {
        assert_eq!(plainly(&job(held(hold)), ON, &person()), Ok("queued".into()), "{hold}");
        let without: [fn(&mut Job); 3] =
            [|job| job.packet = None, |job| job.number = None, |job| job.recipient = None];
        for take in without {
            let mut job = job(held(hold));
            take(&mut job);
            assert_eq!(plainly(&job, ON, &person()), Ok("Anew".into()), "{hold}");
        }
    }
}

#[test]
fn what_may_lie_at_the_far_end_is_not_sent_again_by_accident() {
    for (outcome, cause, pages, may) in [
        (None, None, None, true),
        (Some("unclear"), None, None, true),
        (Some("retry"), Some("busy"), None, false),
        (Some("retry"), Some("busy"), Some(0), false),
        (Some("retry"), Some("line_trouble"), Some(1), true),
        (Some("retry"), Some("partly_sent"), None, true),
        (Some("refused"), Some("not_in_service"), None, false),
    ] {
        let attempts = [attempt(outcome, cause, pages)];
        for hold in [Hold::Person, Hold::Unverified, Hold::Unclear, Hold::PartlySent] {
            let job = job(held(hold));
            let no = decided(&job, &attempts, Obstacles::default(), ON, &person());
            let asks = may || matches!(hold, Hold::Unclear | Hold::PartlySent);
            assert_eq!(no == Err(No::MayHaveArrived), asks, "{hold} {outcome:?} {cause:?} {pages:?}");
            let again = decided(&job, &attempts, Obstacles::default(), AGAIN, &person());
            assert_eq!(again, Ok("queued".into()), "{hold} --send-again");
        }
    }
}

#[test]
fn the_register_and_the_same_mail_have_the_last_word() {
    let twin = JobId::new(at(0), 9);
    let obstacles = Obstacles { objection: Some("It is not verified.".into()), ..Obstacles::default() };
    let both = Obstacles { twin: Some(twin), ..obstacles.clone() };
    for actor in [person(), sender()] {
        let job = job(held(Hold::Unclear));
        let no = decided(&job, &[], obstacles.clone(), AGAIN, &actor);
        assert_eq!(no, Err(No::Register("It is not verified.".into())));
        assert_eq!(decided(&job, &[], both.clone(), AGAIN, &actor), Err(No::Twin(twin)));
    }
}

#[test]
fn a_sender_lifts_no_hold_that_guards_a_number() {
    let theirs: Vec<Hold> =
        Hold::ALL.iter().copied().filter(|hold| not_the_senders(*hold).is_none()).collect();
    assert_eq!(theirs, [Hold::PartlySent, Hold::Unclear]);
    for hold in Hold::ALL {
        let lifted = plainly(&job(held(*hold)), AGAIN, &sender());
        assert_eq!(lifted.is_ok(), theirs.contains(hold), "{hold}: {lifted:?}");
    }
}

#[test]
fn making_anew_releases_nothing_else() {
    let incomplete = Job { packet: None, ..job(held(Hold::Part)) };
    let anew = |others: &[Job]| {
        let obstacles = Obstacles { others: others.to_vec(), ..Obstacles::default() };
        decided(&incomplete, &[], obstacles, ON, &person())
    };
    assert_eq!(anew(&[]), Ok("Anew".into()));
    assert_eq!(anew(&[job(held(Hold::Unverified))]), Ok("Anew".into()));
    let kept = job(held(Hold::Person));
    assert_eq!(anew(std::slice::from_ref(&kept)), Err(No::OtherHeld(kept.id)));
    assert_eq!(anew(&[job(queued()), job(JobState::Delivered)]), Err(No::OthersMove(2)));
}

#[test]
fn delivered_with_pages_missing_is_partly_sent() {
    // What the answer says of pages, what a webhook did, and what follows for a fax of four pages; not every provider counts them.
    for (pages_sent, told, whole) in [
        (Some(4), None, true),
        (None, None, true),
        (None, Some(4), true),
        (None, Some(3), false),
        (Some(3), Some(4), false),
        (Some(0), None, false),
    ] {
        let job =
            job(JobState::InTransit { attempt: 1, provider_ref: "p".into(), since: at(0), ask_at: at(1) });
        let report = Report { pages_sent, ..Report::bare(Outcome::Delivered) };
        let attempts = [attempt(None, None, told)];
        let circumstances = Circumstances::plain(attempts.to_vec(), job.deadline);
        let known =
            Known { job: &job, circumstances: &circumstances, obstacles: Obstacles::default(), jitter: 0.0 };
        let ended = Event::Ended { report, wait: None };
        let Event::Ended { report, .. } = whole_or_partly(ended.clone(), &known) else { panic!() };
        let partly = report.outcome == Outcome::Retry(Cause::PartlySent);
        assert_eq!(partly, !whole, "{pages_sent:?} {told:?}");
        assert_eq!(report.pages_sent, pages_sent.or(told.map(|told| told.try_into().unwrap())));
        let decided = decided(&job, &attempts, Obstacles::default(), Wish::Follow(ended), &Actor::Worker);
        assert_eq!(decided == Ok("delivered".into()), whole, "{pages_sent:?} {told:?}");
    }
}
