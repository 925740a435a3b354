//! What people are told, and the steps of the README.

use faxbridge::job::JobState;

use crate::support::{Clinic, JANE, Stage, clients, documents, smtp};

fn clinic() -> Clinic {
    Clinic::new().mail().by_number()
}

async fn mail(stage: &Stage, id: &str) {
    let to = "+12125550142@fax.clinic.example";
    smtp::send(stage.smtp(), JANE, &[to], &documents::letter(JANE, to, id)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_fax_that_goes_on_is_the_same_job_and_nothing_unsent_is_called_delivered() {
    let stage = clinic().open().await;
    mail(&stage, "<w1@clinic.example>").await;
    let held = stage.job("a held job", |job| matches!(job.state, JobState::Held { .. })).await;
    let id = held.id.as_str();

    let refused = clients::said(&stage.command("job", &["resolve", id, "--delivered"]).await);
    assert!(refused.contains("nothing of it was ever sent"), "{refused}");
    let refused = clients::said(&stage.command("job", &["release", id]).await);
    assert!(refused.contains("Not released"), "{refused}");

    stage.verified(&[("mercy", "+12125550142")]).await;
    let released = stage.command("job", &["release", id]).await;
    assert!(released.status.success(), "{}", clients::said(&released));
    let sent = stage.job("a delivered job", |job| job.state == JobState::Delivered).await;
    assert_eq!(sent.id, held.id, "who noted the number of the job finds it again");
    assert_eq!(sent.made_at, held.made_at);
    let history = clients::said(&stage.command("job", &["show", id]).await);
    assert!(history.contains("held unverified (prepare)"), "{history}");
    let receipt = stage.final_receipt("<w1@clinic.example>").await;
    let receipt = receipt.words();
    assert!(receipt.contains("[x] recipient: number verified by the tests"), "{receipt}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_number_is_not_ticked_as_verified() {
    let mut stage = Stage::new(&clinic().recipient("mercy", "+12125550142")).await;
    let suspended = stage.command("recipient", &["suspend", "mercy", "--reason", "wrong office"]).await;
    assert!(suspended.status.success(), "{}", clients::said(&suspended));
    stage.start().await;
    mail(&stage, "<w2@clinic.example>").await;
    let notice = stage.notice("<w2@clinic.example>").await;
    let notice = notice.words();
    assert!(notice.contains("[ ] recipient: the number is suspended"), "{notice}");
}
