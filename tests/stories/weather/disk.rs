//! Disks that are full, and what goes on when they are not any more.

use std::time::Duration;

use crate::support::disk::{SmallDisk, sealed_files};
use crate::support::smtp::Refused;
use crate::support::stage::BASE;
use crate::support::{Stage, documents, smtp};

const WAYS: &str = r#"
[smtp]
listen = ["127.0.0.1:0"]
hostname = "fax.clinic.example"

[[sender]]
name = "front desk"
addresses = ["jane@clinic.example"]
networks = ["127.0.0.0/8"]

[[rule]]
name = "named recipient"
to = "{recipient}@fax.clinic.example"

[policy]
ask_first = "200 ms"
ask_at_most = "500 ms"
"#;

const JANE: &str = "jane@clinic.example";
const RADIOLOGY: &str = "mercy-radiology@fax.clinic.example";
const NUMBER: &str = "+12125550199";

/// A PDF of about so many bytes that no compression makes smaller.
fn pdf(bytes: usize) -> Vec<u8> {
    let mut noise = vec![0u8; bytes / 2];
    aws_lc_rs::rand::fill(&mut noise).unwrap();
    let text: String = noise.iter().map(|byte| format!("{byte:02x}")).collect();
    documents::pdf(&text, 1)
}

/// Accepted, and then there is no room for its pages: it waits, leaves nothing, and goes on by itself.
async fn what_waits_for_room_goes_on_by_itself(reserve: &str, free_for_the_mail: u64) {
    let limits = format!("[limits]\ndisk_reserve = {reserve}\n");
    let config = format!("{BASE}{WAYS}{limits}").replace("DIR/data", "DIR/small/data");
    let mut stage = Stage::with(&config, |_| {}).await;
    let disk = SmallDisk::mount(stage.path("small"), "24m");
    stage.data_at("small/data").await;
    stage.verified(&[("mercy-radiology", NUMBER)]).await;
    stage.start().await;
    let mail = |id: &str| documents::mail(JANE, RADIOLOGY, id, "Good", &[("good.pdf", &pdf(1_500_000))]);

    disk.leave(free_for_the_mail);
    smtp::send(stage.smtp(), JANE, &[RADIOLOGY], &mail("<waits@x>")).await.unwrap();
    stage
        .until("a try that failed for want of room", async || {
            let tried =
                stage.submissions().await.first().is_some_and(|submission| submission.prepare_tries > 0);
            (tried && stage.log().contains("could not be prepared, it is tried again")).then_some(())
        })
        .await;
    assert_eq!(sealed_files(&stage.path("small/data")), 1, "a failed preparation leaves nothing");
    assert!(stage.jobs().await.is_empty());
    // Now other programs take the rest: that is told, and the door says so.
    disk.leave(300 << 10);
    stage.until("an alarm", async || stage.log().contains("alarm disk: ").then_some(())).await;
    match smtp::send(stage.smtp(), JANE, &[RADIOLOGY], &mail("<refused@x>")).await {
        Err(Refused::Reply(code, reply)) => {
            assert!(code / 100 == 4 && reply.contains("no room for documents"), "{code} {reply}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(sealed_files(&stage.path("small/data")), 1, "nor does a refused mail");
    assert_eq!(stage.log().matches("alarm disk: ").count(), 1, "once");

    disk.empty();
    // By itself, and not only when its next try comes.
    stage
        .until_in(Duration::from_secs(12), Duration::from_millis(50), "the fax", async || {
            (stage.delivered(NUMBER).len() == 1).then_some(())
        })
        .await;
    stage.final_receipt("<waits@x>").await;
    assert!(stage.log().contains("alarm disk is over"));
    assert_eq!(stage.answers("<waits@x>").len(), 1, "nobody was bothered with it");
    assert!(stage.daemon().stop().await.success());
    drop(disk);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_reserve_what_waits_for_room_goes_on_by_itself() {
    // Above the reserve: the mail of 2 MB, and not also its 1.5 MB of pages.
    what_waits_for_room_goes_on_by_itself("\"4 MiB\"", (4 << 20) + 3_000_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_reserve_what_waits_for_room_goes_on_by_itself() {
    what_waits_for_room_goes_on_by_itself("0", 3_000_000).await;
}
