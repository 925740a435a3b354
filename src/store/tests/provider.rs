//! What providers tell by themselves, what forbids a call at the last moment, and who is let go when.

use super::*;
use crate::register::number::NumberRules;
use crate::register::{Entry, NewEntry, VerifiedHow, Word};

/// The entry `mercy` with this number, verified.
async fn verified(store: &Store, number: &str) -> Entry {
    let numbers = NumberRules::new("US", &[]).unwrap();
    let fields = [("key", "mercy"), ("name", "Mercy"), ("number", number)];
    let mut entry = NewEntry::check(&fields.into_iter().collect(), &numbers).unwrap().into_entry(at(0));
    let word = Word {
        by: "jane",
        account: "uid:1000",
        how: VerifiedHow::Website,
        evidence: "https://mercy.example",
        until: None,
    };
    entry.verify(&word, false, at(0)).unwrap();
    store.add_recipients(vec![entry.clone()], &Actor::Daemon, at(0)).await.unwrap();
    entry
}

fn claimed(job: &Job) -> Step {
    step(&job.state, Event::Claimed { attempt: 1 }, &Context::plain(at(5), job.deadline)).unwrap()
}

async fn again(store: &Store, job: &Job) -> Job {
    store.job(job.id).await.unwrap().unwrap()
}

/// Signed news of the Attempt with that number.
fn signed(job: &Job, attempt: u32, provider_ref: Option<&str>, ended: Option<Outcome>) -> Heard {
    let reference = crate::job::reference(job.id, attempt);
    Heard { signed: true, ended: ended.map(Report::bare), ..heard(Some(&reference), provider_ref) }
}

#[tokio::test]
async fn what_was_committed_before_the_attempt_stops_it() {
    let number = "+12125550101";
    let opening = Opening { two_person: false };
    type Change = fn(&mut Entry);
    let changes: [(&str, Change); 5] = [
        ("nothing", |_| {}),
        ("suspended", |entry| entry.suspend("asked to", at(4))),
        ("expired", |entry| entry.valid_until = Some(at(4))),
        ("another number", |entry| {
            entry.renumber(FaxNumber::from_e164("+12125550199").unwrap(), "555 0199", at(4));
        }),
        ("unverified", |entry| entry.state = crate::register::EntryState::Unverified),
    ];
    for (what, change) in changes {
        let (_dir, store) = open().await;
        let mut entry = verified(&store, number).await;
        with_jobs(&store, 1, vec![queued(1, number)]).await;
        // The worker has looked at the register and decided; then somebody is faster.
        let job = claim(&store, 2).await.remove(0);
        let step = claimed(&job);
        change(&mut entry);
        store.put_recipient(entry, &Actor::Daemon, RegisterChange::Changed, at(4)).await.unwrap();
        let saved = store.save_opening(&job, step, opening, at(5)).await.unwrap();
        if what == "nothing" {
            assert!(matches!(saved, Saved::Done(_)));
            continue;
        }
        assert_eq!(saved, Saved::Overtaken, "{what}");
        let after = again(&store, &job).await;
        assert_eq!((after.state.as_str(), after.version), ("queued", job.version), "{what}");
        assert!(store.attempts(job.id).await.unwrap().is_empty(), "{what}: no attempt, so no call");
    }
}

#[tokio::test]
async fn a_suspension_under_another_name_a_second_person_and_a_wish_to_cancel_stop_it_too() {
    let number = "+12125550101";
    let (_dir, store) = open().await;
    let entry = verified(&store, number).await;
    with_jobs(&store, 1, vec![queued(1, number)]).await;
    let job = claim(&store, 2).await.remove(0);
    let open_it = async |two_person| {
        store.save_opening(&job, claimed(&job), Opening { two_person }, at(5)).await.unwrap()
    };
    assert_eq!(open_it(true).await, Saved::Overtaken, "one person is not two");
    let mut other = Entry { key: "hope".into(), ..entry };
    other.suspend("asked to", at(4));
    store.add_recipients(vec![other.clone()], &Actor::Daemon, at(4)).await.unwrap();
    assert_eq!(open_it(false).await, Saved::Overtaken);
    other.state = crate::register::EntryState::Verified;
    store.put_recipient(other, &Actor::Daemon, RegisterChange::Changed, at(4)).await.unwrap();
    sql(&store, "UPDATE job SET cancel = 'wished'").await;
    assert_eq!(open_it(false).await, Saved::Overtaken);
    sql(&store, "UPDATE job SET cancel = NULL").await;
    assert!(matches!(open_it(false).await, Saved::Done(_)));
}

pub(super) async fn sql(store: &Store, sql: &'static str) {
    store
        .write(move |tx| {
            Box::pin(async move {
                sql::query(sql).execute(&mut *tx).await?;
                Ok(())
            })
        })
        .await
        .unwrap();
}

#[tokio::test]
async fn signed_news_name_the_fax_and_say_how_it_ended_and_the_first_word_stands() {
    let (_dir, store) = open().await;
    with_jobs(&store, 1, vec![queued(1, "+12125550101")]).await;
    let job = claim(&store, 2).await.remove(0);
    advance(&store, &job, Event::Claimed { attempt: 1 }, 2).await;
    advance(&store, &again(&store, &job).await, Event::Lost, 3).await;
    store.note_news("sim", signed(&job, 1, Some("p1"), None), at(4)).await.unwrap();
    let row = store.attempt(job.id, 1).await.unwrap().unwrap();
    assert_eq!(
        (row.provider_ref.as_deref(), row.news_at, row.told()),
        (Some("p1"), Some(millis(at(4))), None)
    );
    store.note_news("sim", signed(&job, 1, Some("p2"), Some(Outcome::Delivered)), at(5)).await.unwrap();
    store.note_news("sim", signed(&job, 1, None, Some(Outcome::Retry(Cause::Busy))), at(6)).await.unwrap();
    let row = store.attempt(job.id, 1).await.unwrap().unwrap();
    assert_eq!(row.provider_ref.as_deref(), Some("p1"));
    assert_eq!(row.told(), Some(Report::bare(Outcome::Delivered)));
    let report = row.told().unwrap();
    advance(&store, &again(&store, &job).await, Event::Ended { report, wait: None }, 7).await;
    let row = store.attempt(job.id, 1).await.unwrap().unwrap();
    assert_eq!((row.outcome.as_deref(), row.told), (Some("delivered"), None));
}

#[tokio::test]
async fn unsigned_names_are_kept_as_hints_and_unknown_ones_go_to_every_fax_without_a_name() {
    let (_dir, store) = open().await;
    with_jobs(
        &store,
        1,
        vec![queued(1, "+12125550101"), queued(2, "+12125550102"), queued(3, "+12125550103")],
    )
    .await;
    let jobs = claim(&store, 2).await;
    for job in &jobs {
        advance(&store, job, Event::Claimed { attempt: 1 }, 2).await;
    }
    let [first, second, third] = [&jobs[0], &jobs[1], &jobs[2]];
    advance(&store, &again(&store, third).await, Event::Taken { provider_ref: "p3".into() }, 3).await;
    let reference = crate::job::reference(first.id, 1);
    for hint in ["x1", "x2", "x1"] {
        store.note_news("sim", heard(Some(&reference), Some(hint)), at(4)).await.unwrap();
    }
    let row = async |job: &Job| store.attempt(job.id, 1).await.unwrap().unwrap();
    let found = row(first).await;
    assert_eq!(
        (found.hints(), found.provider_ref, found.news_at),
        (vec!["x2".into(), "x1".into()], None, Some(millis(at(4))))
    );
    // Nobody knows this one: it may be that of any fax whose answer was lost, and is no news of any.
    assert!(store.note_news("sim", heard(None, Some("y")), at(5)).await.unwrap().is_some());
    assert_eq!(row(first).await.hints(), ["y", "x2", "x1"]);
    assert_eq!((row(second).await.hints(), row(second).await.news_at), (vec!["y".into()], None));
    assert!(row(third).await.hints().is_empty(), "its name is known");
    assert_eq!(store.note_news("other", heard(None, Some("z")), at(5)).await.unwrap(), None);
    for n in 0..20 {
        store.note_news("sim", heard(None, Some(&format!("n{n}"))), at(6)).await.unwrap();
    }
    assert_eq!(row(second).await.hints().len(), 8, "bounded");
    assert!(store.is_of_another("sim", "p3", (first.id, 1)).await.unwrap());
    assert!(!store.is_of_another("sim", "p3", (third.id, 1)).await.unwrap());
    assert!(!store.is_of_another("sim", "nobody's", (first.id, 1)).await.unwrap());
}

#[tokio::test]
async fn a_late_delivered_stops_the_next_call() {
    let (_dir, store) = open().await;
    let number = "+12125550101";
    verified(&store, number).await;
    with_jobs(&store, 1, vec![queued(1, number)]).await;
    let job = claim(&store, 2).await.remove(0);
    advance(&store, &job, Event::Claimed { attempt: 1 }, 2).await;
    advance(&store, &again(&store, &job).await, Event::Lost, 3).await;
    advance(&store, &again(&store, &job).await, Event::NeverSent, 4).await;
    let waits = again(&store, &job).await;
    assert_eq!(waits.state, JobState::Queued { due: at(64) });
    // The worker has it in hand for the second call when the news come.
    let second =
        step(&waits.state, Event::Claimed { attempt: 2 }, &Context::plain(at(65), job.deadline)).unwrap();
    store.note_news("sim", signed(&job, 1, Some("p1"), Some(Outcome::Delivered)), at(64)).await.unwrap();
    assert_eq!(wake(&store, 64).await, Some(at(64)));
    let saved = store.save_opening(&waits, second, Opening { two_person: false }, at(65)).await.unwrap();
    assert_eq!(saved, Saved::Overtaken);
    let report = store.attempt(job.id, 1).await.unwrap().unwrap().told().unwrap();
    advance(&store, &again(&store, &job).await, Event::Told { attempt: 1, report }, 66).await;
    assert_eq!(again(&store, &job).await.state, JobState::Delivered);
    let row = store.attempt(job.id, 1).await.unwrap().unwrap();
    assert!(row.is_delivered() && row.told.is_none() && row.cause.is_none());
}

#[tokio::test]
async fn news_of_the_last_attempt_are_written_down_while_the_next_is_under_way_and_after_the_end() {
    let (_dir, store) = open().await;
    with_jobs(&store, 1, vec![queued(1, "+12125550101")]).await;
    let job = claim(&store, 2).await.remove(0);
    advance(&store, &job, Event::Claimed { attempt: 1 }, 2).await;
    advance(&store, &again(&store, &job).await, Event::Lost, 3).await;
    advance(&store, &again(&store, &job).await, Event::NeverSent, 4).await;
    advance(&store, &again(&store, &job).await, Event::Claimed { attempt: 2 }, 65).await;
    store.note_news("sim", signed(&job, 1, None, Some(Outcome::Delivered)), at(66)).await.unwrap();
    let row = store.attempt(job.id, 1).await.unwrap().unwrap();
    assert!(row.is_delivered() && row.told.is_none());
    // One that ended for certain ended so.
    let refused = Report::bare(Outcome::Refused(Cause::Blocked));
    advance(&store, &again(&store, &job).await, Event::Ended { report: refused, wait: None }, 67).await;
    store.note_news("sim", signed(&job, 2, None, Some(Outcome::Delivered)), at(68)).await.unwrap();
    assert!(!store.attempt(job.id, 2).await.unwrap().unwrap().is_delivered());
}

#[tokio::test]
async fn a_row_that_cannot_be_read_blocks_nobody_behind_it() {
    let (_dir, store) = open().await;
    let number = "+12125550101";
    with_jobs(&store, 1, (1..=3).map(|n| queued(n, number)).collect()).await;
    sql(&store, "UPDATE job SET detail = 'nonsense' WHERE n = 1").await;
    assert!(claim(&store, 2).await.is_empty(), "the first cannot be read");
    let next = claim(&store, 3).await;
    assert_eq!(next.iter().map(|job| job.n).collect::<Vec<_>>(), [2], "the second has its turn");
    advance(&store, &next[0], Event::Claimed { attempt: 1 }, 3).await;
    let done = Event::Ended { report: Report::bare(Outcome::Delivered), wait: None };
    advance(&store, &again(&store, &next[0]).await, done, 4).await;
    assert_eq!(claim(&store, 5).await.iter().map(|job| job.n).collect::<Vec<_>>(), [3]);
}

#[tokio::test]
async fn the_least_urgent_is_let_go_now_and_then() {
    let (_dir, store) = open().await;
    let job = |n: u64, priority, due: i64| NewJob {
        priority,
        state: JobState::Queued { due: at(due) },
        ..queued(n, &format!("+1212555{n:04}"))
    };
    let mut jobs: Vec<NewJob> = (1..=20).map(|n| job(n, Priority::High, 3000)).collect();
    jobs.push(job(21, Priority::Low, 0));
    jobs.push(job(22, Priority::Low, 3500));
    with_jobs(&store, 1, jobs).await;
    let claim = async |now: i64, turns: u32| {
        let room = Room { turns: Turns::after(turns), ..room("sim", 2, 0) };
        let rooms = Rooms { providers: vec![room], ..rooms() };
        let claimed = store.claim_due_jobs(at(now), at(now + 100_000), rooms).await.unwrap();
        claimed.into_iter().map(|job| job.priority).collect::<Vec<_>>()
    };
    use Priority::{High, Low};
    assert_eq!(claim(3599, 3).await, [High, High], "it has not waited for an hour");
    assert_eq!(claim(3600, 0).await, [High, High], "it is not its turn");
    assert_eq!(claim(3600, 3).await, [Low, High]);
    assert_eq!(claim(3601, 3).await, [High, High], "the other has not waited for an hour");
}

#[tokio::test]
async fn a_job_without_its_provider_goes_on_only_where_nothing_was_sent() {
    let (_dir, store) = open().await;
    let route = || vec!["gone".to_owned(), "sim".to_owned()];
    let jobs = (1..=2).map(|n| NewJob { route: route(), ..queued(n, &format!("+1212555010{n}")) }).collect();
    with_jobs(&store, 1, jobs).await;
    let rooms = Rooms { others: 10, ..Rooms::default() };
    let mut jobs = store.claim_due_jobs(at(2), at(62), rooms).await.unwrap();
    jobs.sort_by_key(|job| job.n);
    assert!(store.move_on(&jobs[0], "sim", at(3)).await.unwrap());
    let moved = again(&store, &jobs[0]).await;
    assert_eq!((moved.provider.as_str(), moved.state.as_str()), ("sim", "queued"));
    assert_eq!(claim(&store, 3).await.iter().map(|job| job.n).collect::<Vec<_>>(), [1], "at once");
    advance(&store, &jobs[1], Event::Claimed { attempt: 1 }, 3).await;
    advance(&store, &again(&store, &jobs[1]).await, Event::Lost, 4).await;
    advance(&store, &again(&store, &jobs[1]).await, Event::NeverSent, 5).await;
    let doubtful = again(&store, &jobs[1]).await;
    assert!(!store.move_on(&doubtful, "sim", at(6)).await.unwrap());
    assert_eq!(again(&store, &jobs[1]).await.provider, "gone");
}

#[tokio::test]
async fn a_forgotten_attempt_is_opened_without_a_call() {
    let (_dir, store) = open().await;
    with_jobs(&store, 1, vec![queued(1, "+12125550101")]).await;
    let job = claim(&store, 2).await.remove(0);
    advance(&store, &job, Event::Forgotten { attempt: 1 }, 2).await;
    let job = again(&store, &job).await;
    assert_eq!(job.state.as_str(), "unclear");
    assert_eq!(store.attempts(job.id).await.unwrap()[0].asked_first, 1);
    // As one of a lost answer: only the provider's word leads on.
    advance(&store, &job, Event::NeverSent, 3).await;
    advance(&store, &again(&store, &job).await, Event::Claimed { attempt: 2 }, 64).await;
    assert_eq!(store.attempts(job.id).await.unwrap()[1].asked_first, 0);
}
