//! What people are told, and the steps of the README.

use faxbridge::job::JobState;
use faxbridge::store::Job;

use crate::support::{Stage, clients, documents, smtp};

const WAYS: &str = r#"
[smtp]
listen = ["127.0.0.1:0"]
hostname = "fax.clinic.example"

[[sender]]
name = "front desk"
addresses = ["jane@clinic.example"]
networks = ["127.0.0.0/8"]

[[rule]]
name = "by number"
to = "{number}@fax.example"
"#;

const JANE: &str = "jane@clinic.example";

async fn mail(stage: &Stage, id: &str) {
    let to = "+12125550142@fax.example";
    let mail = documents::mail(JANE, to, id, "Referral", &[("a.pdf", &documents::pdf("a page", 1))]);
    let mut session = smtp::Session::connect(stage.smtp()).await.unwrap();
    session.send(JANE, &[to], &mail).await.unwrap();
}

/// A text with its lines joined again.
fn joined(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

async fn only_job(stage: &Stage, what: &str, is: impl Fn(&Job) -> bool) -> Job {
    stage.until(what, async || stage.jobs().await.into_iter().find(|job| is(job))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_fax_that_goes_on_is_the_same_job_and_nothing_unsent_is_called_delivered() {
    let mut stage = Stage::new(WAYS).await;
    stage.start().await;
    mail(&stage, "<w1@clinic.example>").await;
    let held = only_job(&stage, "a held job", |job| matches!(job.state, JobState::Held { .. })).await;
    let id = held.id.as_str();

    let refused = clients::said(&stage.command("job", &["resolve", id, "--delivered"]).await);
    assert!(refused.contains("nothing of it was ever sent"), "{refused}");
    let refused = clients::said(&stage.command("job", &["release", id]).await);
    assert!(refused.contains("Not released"), "{refused}");

    stage.verified(&[("mercy", "+12125550142")]).await;
    let released = stage.command("job", &["release", id]).await;
    assert!(released.status.success(), "{}", clients::said(&released));
    let sent = only_job(&stage, "a delivered job", |job| job.state == JobState::Delivered).await;
    assert_eq!(sent.id, held.id, "who noted the number of the job finds it again");
    assert_eq!(sent.made_at, held.made_at);
    let history = clients::said(&stage.command("job", &["show", id]).await);
    assert!(history.contains("held unverified (prepare)"), "{history}");
    let receipt = stage.final_receipt("<w1@clinic.example>").await;
    let receipt = joined(&receipt.text);
    assert!(receipt.contains("[x] recipient: number verified by the tests"), "{receipt}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_number_is_not_ticked_as_verified() {
    let mut stage = Stage::new(WAYS).await;
    stage.verified(&[("mercy", "+12125550142")]).await;
    let suspended = stage.command("recipient", &["suspend", "mercy", "--reason", "wrong office"]).await;
    assert!(suspended.status.success(), "{}", clients::said(&suspended));
    stage.start().await;
    mail(&stage, "<w2@clinic.example>").await;
    let notice = stage.notice("<w2@clinic.example>").await;
    let notice = joined(&notice.text);
    assert!(notice.contains("[ ] recipient: the number is suspended"), "{notice}");
}
