//! Story: everything that comes in wrong. Each gets one clear sentence, nothing is lost, nothing crashes, and a good mail
//! goes through afterwards.

use std::time::Duration;

use crate::support::disk::SmallDisk;
use crate::support::smtp::{Refused, Session};
use crate::support::stage::BASE;
use crate::support::{Stage, documents, smtp};
use faxbridge::simulator::server::Options;
use sqlx::{Connection, Executor, SqliteConnection};

const WAYS: &str = r#"
[smtp]
listen = ["127.0.0.1:0"]
hostname = "fax.clinic.example"

[[sender]]
name = "front desk"
addresses = ["jane@clinic.example"]
networks = ["127.0.0.0/8"]

[[rule]]
name = "number in the address"
to = "{number}@fax.clinic.example"

[[rule]]
name = "named recipient"
to = "{recipient}@fax.clinic.example"

[policy]
hurry = 600
ask_first = "200 ms"
ask_at_most = "500 ms"
quiet = "1 s"
"#;

const JANE: &str = "jane@clinic.example";
const RADIOLOGY: &str = "mercy-radiology@fax.clinic.example";
const NUMBER: &str = "+12125550199";

async fn stage() -> Stage {
    stage_with(&format!("{BASE}{WAYS}")).await
}

async fn stage_with(config: &str) -> Stage {
    let mut stage = Stage::with(config, |_: &mut Options| {}).await;
    stage.verified(&[("mercy-radiology", NUMBER)]).await;
    stage.start().await;
    stage
}

fn good_mail(id: &str) -> Vec<u8> {
    documents::mail(JANE, RADIOLOGY, id, "Good", &[("good.pdf", &documents::pdf("good", 1))])
}

/// The daemon is the same process as before, and serves.
async fn a_good_mail_goes_through(stage: &mut Stage) {
    let before = stage.delivered(NUMBER).len();
    smtp::send(stage.smtp(), JANE, &[RADIOLOGY], &good_mail("<good@clinic.example>")).await.unwrap();
    let receipt = stage.final_receipt("<good@clinic.example>").await;
    assert!(receipt.text.contains("Delivered"), "{}", receipt.text);
    assert_eq!(stage.delivered(NUMBER).len(), before + 1);
    assert!(stage.daemon().runs(), "it still runs");
}

/// Mails `mail`, which is accepted and then held, and returns the notice that its sender gets.
async fn held(stage: &Stage, id: &str, mail: &[u8]) -> String {
    smtp::send(stage.smtp(), JANE, &[RADIOLOGY], mail).await.unwrap();
    let notice = stage.notice(id).await;
    assert!(notice.text.contains("Held"), "{}", notice.text);
    // Whatever way the lines were folded.
    notice.text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_that_cannot_become_pages_hold_the_mail_and_say_why() {
    let mut stage = stage().await;
    let table = [
        ("empty.pdf", "empty.pdf is empty. Send it again."),
        (
            "encrypted.pdf",
            "encrypted.pdf is protected by a password. Remove the protection and send it again.",
        ),
        (
            "truncated.pdf",
            "truncated.pdf ends too early; it may have been cut off on the way. Send it again.",
        ),
        (
            "text-named.pdf",
            "text-named.pdf is called a PDF, but it holds plain text. Save or print the document as PDF and send that.",
        ),
    ];
    for (name, sentence) in table {
        let id = format!("<{name}@clinic.example>");
        // A good document beside it is not faxed alone: whole or held.
        let good = documents::pdf("good", 1);
        let bad = documents::fixture(name);
        let mail = documents::mail(JANE, RADIOLOGY, &id, "Bad", &[("good.pdf", &good), (name, &bad)]);
        let notice = held(&stage, &id, &mail).await;
        assert!(notice.contains(sentence), "{name}: {notice}");
    }
    assert!(stage.simulator.faxes().is_empty(), "nothing rang");
    a_good_mail_goes_through(&mut stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mails_that_are_traps_hold_or_are_refused_and_say_why() {
    let mut stage = stage().await;
    let head = |id: &str| {
        format!("From: <{JANE}>\r\nTo: <{RADIOLOGY}>\r\nMessage-ID: {id}\r\nMIME-Version: 1.0\r\n")
    };

    let mut nested = head("<nested@clinic.example>");
    for n in 0..1000 {
        nested.push_str(&format!("Content-Type: multipart/mixed; boundary=\"b{n}\"\r\n\r\n--b{n}\r\n"));
    }
    nested.push_str("Content-Type: text/plain\r\n\r\ndeep\r\n");
    for n in (0..1000).rev() {
        nested.push_str(&format!("--b{n}--\r\n"));
    }
    let notice = held(&stage, "<nested@clinic.example>", nested.as_bytes()).await;
    assert!(notice.contains("The mail nests ") && notice.contains("Send the documents as plain"), "{notice}");

    let unbounded = head("<unbounded@clinic.example>")
        + "Content-Type: multipart/mixed\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nlost\r\n--b--\r\n";
    let notice = held(&stage, "<unbounded@clinic.example>", unbounded.as_bytes()).await;
    assert!(notice.contains("but not where they begin (its boundary is missing)"), "{notice}");

    let mut wide = head("<wide@clinic.example>");
    for n in 0..10 * 1024 {
        wide.push_str(&format!("X-Filler-{n}: {}\r\n", "x".repeat(1000)));
    }
    wide.push_str("\r\nbody\r\n");
    match smtp::send(stage.smtp(), JANE, &[RADIOLOGY], wide.as_bytes()).await {
        Err(Refused::Reply(552, reply)) => {
            assert!(reply.contains("5.3.4 The header of this mail is larger than 1 MiB."), "{reply}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(stage.submissions().await.len(), 2, "nothing was kept of what was refused");
    a_good_mail_goes_through(&mut stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_and_unverified_numbers() {
    let mut stage = stage().await;
    let mail = good_mail("<stranger@elsewhere.example>");
    match smtp::send(stage.smtp(), "mallory@elsewhere.example", &[RADIOLOGY], &mail).await {
        Err(Refused::Reply(550, reply)) => assert!(
            reply.contains("5.7.1 mallory@elsewhere.example is not known here as a sender of faxes"),
            "{reply}"
        ),
        other => panic!("{other:?}"),
    }
    assert!(stage.submissions().await.is_empty());
    let to = "+12125550123@fax.clinic.example";
    let mail = documents::mail(JANE, to, "<unverified@x>", "New", &[("n.pdf", &documents::pdf("n", 1))]);
    smtp::send(stage.smtp(), JANE, &[to], &mail).await.unwrap();
    let notice = stage.notice("<unverified@x>").await;
    assert!(notice.text.contains("Held") && notice.text.contains("verif"), "{}", notice.text);
    a_good_mail_goes_through(&mut stage).await;
}

/// Starts the daemon, which must end by itself with `code`; what it said.
async fn refuses_to_start(stage: &mut Stage, code: i32) -> String {
    let failed = stage.try_start(&[]).await.expect_err("it must not start");
    let log = stage.log();
    assert_eq!(failed.status.code(), Some(code), "{log}");
    assert!(!log.contains("panicked"), "{log}");
    log
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_is_wrong_is_told_with_its_line() {
    let config = format!("{BASE}{WAYS}").replace("quiet = \"1 s\"", "quite = \"1 s\"");
    let line = config.lines().position(|line| line.starts_with("quite")).unwrap() + 1;
    let mut stage = Stage::with(&config, |_| {}).await;
    let said = refuses_to_start(&mut stage, 2).await;
    assert!(said.contains(&format!("faxbridge.toml:{line}: ")), "{said}");
    assert!(said.contains("policy.quite") && said.contains("quiet"), "the key, and what was meant: {said}");

    stage.configure(&format!("{BASE}{WAYS}"));
    std::fs::remove_file(stage.path("master.key")).unwrap();
    std::fs::remove_file(stage.path("daemon.log")).unwrap();
    let said = refuses_to_start(&mut stage, 2).await;
    assert!(said.contains("store.master_key") && said.contains("there is no file"), "{said}");
    assert!(said.contains("head -c 32 /dev/urandom >"), "it says how to make one: {said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let config =
        format!("{BASE}{}", WAYS.replace("listen = [\"127.0.0.1:0\"]", &format!("listen = [{address:?}]")));
    let mut stage = Stage::with(&config, |_| {}).await;
    stage.verified(&[("mercy-radiology", NUMBER)]).await;
    let said = refuses_to_start(&mut stage, 1).await;
    assert!(said.contains("smtp.listen") && said.contains(&address), "{said}");
    assert!(said.contains("another program listens there: stop it or choose another port"), "{said}");
    drop(taken);
    stage.start().await;
    a_good_mail_goes_through(&mut stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_for_now_and_loses_nothing() {
    let config = format!("{BASE}{WAYS}\n[limits]\ndisk_reserve = 0\n");
    let config = config.replace("DIR/data", "DIR/small/data");
    let mut stage = Stage::with(&config, |_| {}).await;
    let disk = SmallDisk::mount(stage.path("small"), "8m");
    stage.data_at("small/data").await;
    stage.verified(&[("mercy-radiology", NUMBER)]).await;
    stage.start().await;
    a_good_mail_goes_through(&mut stage).await;

    // Other programs fill the disk, to the last byte.
    disk.fill();
    for n in 0..3 {
        let mut session = Session::connect(stage.smtp()).await.unwrap();
        match session.send(JANE, &[RADIOLOGY], &good_mail(&format!("<full{n}@x>"))).await {
            Err(Refused::Reply(code, reply)) => {
                assert_eq!(code / 100, 4, "for now only: {reply}");
                assert!(
                    reply.contains("There is no room for documents at the moment; try again later."),
                    "{reply}"
                );
            }
            other => panic!("{other:?}"),
        }
    }
    disk.empty();
    smtp::send(stage.smtp(), JANE, &[RADIOLOGY], &good_mail("<full0@x>")).await.unwrap();
    stage.final_receipt("<full0@x>").await;
    assert_eq!(stage.submissions().await.len(), 2);
    assert!(stage.daemon().stop().await.success());
    drop(disk);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_database_refuses_for_now_and_loses_nothing() {
    let mut stage = stage().await;
    let url = format!("sqlite://{}", stage.path("data/faxbridge.db").display());
    let mut other = SqliteConnection::connect(&url).await.unwrap();
    other.execute("BEGIN EXCLUSIVE").await.unwrap();
    match smtp::send(stage.smtp(), JANE, &[RADIOLOGY], &good_mail("<locked@x>")).await {
        Err(Refused::Reply(code, reply)) => {
            assert_eq!(code / 100, 4, "for now only: {reply}");
            assert!(reply.contains("The document could not be recorded; try again later."), "{reply}");
        }
        other => panic!("{other:?}"),
    }
    assert!(stage.log().contains("the database is locked by another process"), "{}", stage.log_tail());
    other.execute("COMMIT").await.unwrap();
    smtp::send(stage.smtp(), JANE, &[RADIOLOGY], &good_mail("<locked@x>")).await.unwrap();
    stage.final_receipt("<locked@x>").await;
    assert_eq!(stage.submissions().await.len(), 1);
    a_good_mail_goes_through(&mut stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_down_for_ten_minutes_costs_nobody_a_fax() {
    // The pauses of the ladder, 1 + 2 + 5 + 10 minutes, in seconds.
    let mut stage = stage_with(&format!("{BASE}{WAYS}").replace("hurry = 600", "hurry = 300")).await;
    stage.simulator.close().await;
    smtp::send(stage.smtp(), JANE, &[RADIOLOGY], &good_mail("<down@x>")).await.unwrap();
    let id = stage
        .until("four tries, over eight minutes of the ladder", async || {
            let job = stage.jobs().await.into_iter().next()?;
            let attempts = stage.store.attempts(job.id).await.unwrap();
            (attempts.iter().filter(|attempt| attempt.ended_at.is_some()).count() >= 4).then_some(job.id)
        })
        .await;
    assert!(stage.answers("<down@x>").is_empty(), "no word before there is one");
    stage.simulator.reopen().await.unwrap();
    let receipt = stage.final_receipt("<down@x>").await;
    assert!(receipt.text.contains("Delivered"), "{}", receipt.text);
    assert_eq!(stage.delivered(NUMBER).len(), 1);
    let attempts = stage.store.attempts(id).await.unwrap();
    let causes: Vec<_> = attempts.iter().filter_map(|a| a.cause.as_deref()).collect();
    assert!(causes.len() >= 4 && causes.iter().all(|cause| *cause == "provider_trouble"), "{causes:?}");
    tokio::time::timeout(Duration::from_secs(30), a_good_mail_goes_through(&mut stage)).await.unwrap();
}
