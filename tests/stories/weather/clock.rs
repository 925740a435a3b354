//! A clock that jumps, and one that jumps back. Only the wall clock is stepped, by libfaketime; time passes as it does.

use std::time::Duration;

use faxbridge::job::JobState;
use faxbridge::store::{Job, Submission};

use crate::support::clock::Clock;
use crate::support::{Stage, documents, smtp};

const CONFIG: &str = r#"
[smtp]
listen = ["127.0.0.1:0"]
hostname = "fax.clinic.example"

[[sender]]
name = "desk"
addresses = ["jane@clinic.example"]
networks = ["127.0.0.0/8"]

[[rule]]
name = "named recipient"
to = "{recipient}@fax.clinic.example"

[retention]
documents = "5 s"

[policy]
hurry = 60
ask_first = "200 ms"
ask_at_most = "500 ms"
quiet = "1 s"
"#;

const NUMBER: &str = "+12125550199";
const TO: &str = "mercy@fax.clinic.example";
const AHEAD: &str = "alarm clock: the machine's clock was set ahead";
const BACK: &str = "alarm clock: the machine's clock was set back";
const OVER: &str = "alarm clock is over";

async fn stage() -> (Stage, Clock) {
    let mut stage = Stage::new(CONFIG).await;
    stage.verified(&[("mercy", NUMBER)]).await;
    let clock = Clock::at(stage.path("clock"));
    stage.start_with(&clock.environment()).await;
    (stage, clock)
}

async fn send(stage: &Stage, id: &str) {
    let pdf = documents::pdf("a page", 1);
    let mail = documents::mail("jane@clinic.example", TO, id, "Records", &[("records.pdf", &pdf)]);
    smtp::send(stage.smtp(), "jane@clinic.example", &[TO], &mail).await.unwrap();
}

async fn logged(stage: &Stage, sentence: &str, times: usize) {
    let told = async || (stage.log().matches(sentence).count() == times).then_some(());
    stage.until(&format!("{times} times {sentence:?} in the log"), told).await;
}

async fn job(stage: &Stage, what: &str, is: impl Fn(&Job) -> bool) -> Job {
    stage.until(what, async || stage.jobs().await.into_iter().find(|job| is(job))).await
}

async fn destroyed(stage: &Stage, what: &str) -> Vec<Submission> {
    let gone = async || {
        let all = stage.submissions().await;
        all.iter().all(|submission| submission.destroyed_at.is_some()).then_some(all)
    };
    stage.until_in(Duration::from_secs(30), Duration::from_millis(100), what, gone).await
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_days_ahead_for_some_seconds_fail_no_fax_and_destroy_no_key() {
    let (mut stage, clock) = stage().await;
    stage.simulator.close().await;
    send(&stage, "<waits@clinic.example>").await;
    let waits = |job: &Job| matches!(job.state, JobState::Queued { .. }) && job.deadline > job.made_at;
    let before = job(&stage, "a fax that waits for its provider", waits).await;
    clock.step("+8d");
    logged(&stage, AHEAD, 1).await;
    // Mail is taken meanwhile, and the fax tried again.
    send(&stage, "<meanwhile@clinic.example>").await;
    let tries = async || (stage.store.attempts(before.id).await.unwrap().len() > 2).then_some(());
    stage.until("more tries", tries).await;
    tokio::time::sleep(Duration::from_secs(7)).await;
    assert!(stage.jobs().await.iter().all(|job| !job.state.is_final()), "{:?}", stage.jobs().await);
    assert!(stage.submissions().await.iter().all(|submission| submission.wrapped_key.is_some()));
    let second = stage.jobs().await.into_iter().find(|job| job.id != before.id).expect("it is prepared");
    let apart = second.deadline.duration_since(before.deadline);
    assert!(apart.as_secs() < 120, "its deadline goes by the time that has passed: {apart}");
    clock.step("+0");
    logged(&stage, OVER, 1).await;
    stage.simulator.reopen().await.unwrap();
    stage.until("both are faxed", async || (stage.delivered(NUMBER).len() == 2).then_some(())).await;
    destroyed(&stage, "documents destroyed after their end").await;
    assert!(stage.daemon().stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_days_back_keep_no_document_longer() {
    let (mut stage, clock) = stage().await;
    send(&stage, "<first@clinic.example>").await;
    stage.final_receipt("<first@clinic.example>").await;
    clock.step("-10d");
    logged(&stage, BACK, 1).await;
    destroyed(&stage, "the document of before the jump is destroyed").await;
    send(&stage, "<second@clinic.example>").await;
    stage.final_receipt("<second@clinic.example>").await;
    destroyed(&stage, "the document of after the jump is destroyed").await;

    // A start with a clock that has lost the time: faxes go, and documents too.
    stage.daemon().kill().await;
    clock.step("-9000d");
    stage.start_with(&clock.environment()).await;
    logged(&stage, BACK, 2).await;
    send(&stage, "<third@clinic.example>").await;
    stage.final_receipt("<third@clinic.example>").await;
    let all = destroyed(&stage, "the document of after the start is destroyed").await;
    let newest = all.iter().map(|submission| submission.accepted_at).max().unwrap();
    let oldest = all.iter().map(|submission| submission.accepted_at).min().unwrap();
    assert!(newest.duration_since(oldest).as_secs() < 600, "one went by the wrong clock: {oldest} {newest}");
    assert!(stage.daemon().stop().await.success());
}
