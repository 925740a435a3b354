//! Nobody reads the log, or its disk is full: faxes go on, and the log says how many of its lines are missing.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::time::Duration;

use crate::support::Stage;
use crate::support::daemon::Daemon;
use crate::support::documents::{mail, pdf};
use crate::support::smtp;

const CONFIG: &str = r#"
[smtp]
listen = ["127.0.0.1:0"]
hostname = "fax.clinic.example"
mails_per_minute = 100000

[[sender]]
name = "clinic"
addresses = ["@clinic.example"]
networks = ["127.0.0.0/8"]

[[rule]]
name = "named recipient"
to = "{recipient}@fax.clinic.example"

[telemetry]
log = "LEVEL"
"#;

async fn stage(level: &str) -> Stage {
    let stage = Stage::new(&CONFIG.replace("LEVEL", level)).await;
    stage.verified(&[("mercy", "+12125550199")]).await;
    stage
}

/// A mail goes all its way to the receipt.
async fn faxed(stage: &Stage, n: u32) {
    let id = format!("<{n}@clinic.example>");
    let to = "mercy@fax.clinic.example";
    let mail = mail("jane@clinic.example", to, &id, "Results", &[("scan.pdf", &pdf("Report", 1))]);
    smtp::send(stage.smtp(), "jane@clinic.example", &[to], &mail).await.unwrap();
    stage.final_receipt(&id).await;
}

#[tokio::test]
async fn the_reader_of_the_log_is_gone() {
    let mut stage = stage("info").await;
    let (reader, writer) = std::io::pipe().unwrap();
    stage.start_logging_to(OwnedFd::from(writer).into()).await;
    drop(reader);
    for n in 0..3 {
        faxed(&stage, n).await;
    }
    assert!(stage.daemon().runs());
    assert!(stage.daemon().stop().await.success(), "it ends as it should, with nobody to hear it");
}

#[tokio::test]
async fn the_disk_of_the_log_is_full() {
    let mut stage = stage("info").await;
    let full = File::options().write(true).open("/dev/full").unwrap();
    stage.start_logging_to(full.into()).await;
    for n in 0..3 {
        faxed(&stage, n).await;
    }
    assert!(stage.daemon().runs());
    assert!(stage.daemon().stop().await.success());
}

#[tokio::test]
async fn the_reader_of_the_log_stands_still_and_goes_on() {
    // Enough lines for the pipe and for all that may wait.
    let mut stage = stage("trace").await;
    let (mut reader, writer) = std::io::pipe().unwrap();
    stage.start_logging_to(OwnedFd::from(writer).into()).await;
    while stage.alarm("log").await.is_none() {
        for _ in 0..50 {
            // Whether it is greeted or turned away: it is logged.
            let _ = smtp::Session::connect(stage.smtp()).await;
        }
    }
    faxed(&stage, 0).await;
    let (told, heard) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let (mut text, mut piece) = (Vec::new(), vec![0; 1 << 16]);
        while let Ok(n @ 1..) = reader.read(&mut piece) {
            text.extend_from_slice(&piece[..n]);
        }
        told.send(String::from_utf8_lossy(&text).into_owned())
    });
    stage.until("the end of the alarm", async || stage.alarm("log").await.is_none().then_some(())).await;
    assert!(stage.daemon().stop().await.success());
    let text = heard.recv_timeout(Duration::from_secs(60)).unwrap();
    let gap = text
        .lines()
        .find(|line| line.contains("WARN faxbridge::log"))
        .expect("it says that lines are missing");
    let lost: u64 = gap.rsplit_once("lost=").unwrap().1.parse().unwrap();
    assert!(lost > 0 && gap.contains(&format!("{lost} line")), "{gap}");
    assert!(text.contains("alarm log is over"), "the log says so itself");
}

#[tokio::test]
async fn a_daemon_that_cannot_start_ends_with_its_status_though_nobody_hears_why() {
    let stage = stage("inof").await;
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let log = Stdio::from(OwnedFd::from(writer));
    let mut daemon = Daemon::spawn_logging_to(&stage.path("faxbridge.toml"), &stage.path("data"), log, &[]);
    assert_eq!(daemon.ended().await.code(), Some(2), "a level that is none is a fault of the configuration");
    let checked = stage.command("check", &[]).await;
    let said = crate::support::clients::said(&checked);
    assert_eq!(checked.status.code(), Some(2));
    assert!(said.contains("telemetry.log") && said.contains("did you mean \"info\""), "{said}");
}
