//! Story: an office has a fax server of its own. A real HylaFAX with Class 1 modems takes the faxes and sends them across a
//! telephone exchange in software (`tests/hylafax/faxexchange.c`) to fax machines that are another implementation of T.30.
//!
//! Afterwards, counted at the far end of the telephone line: nothing is lost and nothing is twice, also where HylaFAX is killed
//! in mid-call, this daemon is killed around the request, or the wire between them breaks.
//!
//! Needs root and the packages of `tests/packages.txt`; without them it fails.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a fault ends the story")]

#[path = "hylafax/adapter.rs"]
mod adapter;
#[path = "hylafax/cutter.rs"]
mod cutter;
#[path = "hylafax/letter.rs"]
mod letter;
#[path = "hylafax/rig.rs"]
mod rig;
mod support;

use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use faxbridge::delivery::{Cancelled, Search, Status, SubmitError, Taken};
use faxbridge::job::{Cause, Outcome};
use faxbridge::store::{AttemptRow, Job};
use serde_json::Value;
use support::sink::Letter;
use support::{Clinic, JANE, Stage, documents, smtp};

use adapter::{adapter, find, submit};
use cutter::Cut;
use letter::letter;
use rig::Rig;

/// One whose only provider is the HylaFAX at this address.
fn clinic(address: &str) -> Clinic {
    let office = format!(
        "organization.fax = \"+12125550180\"\nprovider.office.url = \"hylafax://{address}\"\n\
         [policy]\ncalls = 2\nask_first = \"300 ms\"\nask_at_most = \"1 s\""
    );
    let clinic = Clinic::new().without("provider.simulator").without("webhook").mail().by_number().brisk();
    clinic.with(&office).with(
        r#"
[provider.office]
kind = "hylafax"
login = "faxbridge"
password = "file:DIR/hylafax.password"
timeout = "30 s"
"#,
    )
}

/// A call takes half a minute here, and may wait for a line.
const PATIENCE: Duration = Duration::from_secs(170);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(200);

/// The HylaFAX of all stories but the one that kills it.
fn office() -> &'static Rig {
    static OFFICE: OnceLock<Rig> = OnceLock::new();
    OFFICE.get_or_init(|| Rig::start(6))
}

/// A stage whose daemon faxes over the HylaFAX at `address`; it is not started yet.
async fn stage(address: &str, password: &[u8], numbers: &[&str]) -> Stage {
    let stage = Stage::new(&clinic(address)).await;
    stage.secret("hylafax.password", password);
    let keys: Vec<String> = numbers.iter().map(|number| format!("office-{}", &number[8..])).collect();
    let entries: Vec<(&String, &&str)> = keys.iter().zip(numbers).collect();
    stage.verified(&entries).await;
    stage
}

/// The same, started, and with the right password.
async fn at(port: u16, numbers: &[&str]) -> Stage {
    let mut stage = stage(&format!("127.0.0.1:{port}"), b"correct horse", numbers).await;
    stage.start().await;
    stage
}

/// Mails a letter of `pages` pages to `number`; returns the mail's name.
async fn fax(stage: &Stage, number: &str, pages: u32) -> String {
    let message_id = format!("<{}@clinic.example>", &number[1..]);
    let to = format!("{number}@fax.clinic.example");
    let mail = documents::mail(JANE, &to, &message_id, "Referral", &[("r.pdf", &letter(pages))]);
    smtp::send(stage.smtp(), JANE, &[&to], &mail).await.unwrap();
    message_id
}

/// Waits for the final receipt.
async fn receipt(stage: &Stage, message_id: &str) -> Letter {
    let what = format!("a final receipt for {message_id}");
    stage
        .until_in(PATIENCE, PAUSE, &what, async || {
            stage.answers(message_id).into_iter().find(Letter::is_final)
        })
        .await
}

/// Waits for the notice that it is held.
async fn notice(stage: &Stage, message_id: &str) -> Letter {
    let what = format!("a notice for {message_id}");
    stage
        .until_in(PATIENCE, PAUSE, &what, async || {
            stage.answers(message_id).into_iter().find(|letter| !letter.is_final())
        })
        .await
}

async fn a_page_is_through(stage: &Stage, rig: &Rig, number: &str) {
    stage
        .until_in(PATIENCE, PAUSE, "a confirmed page", async || rig.knows_of_a_page(number).then_some(()))
        .await;
}

async fn a_try_ends_in(stage: &Stage, number: &str, cause: &str) {
    stage
        .until_in(PATIENCE, PAUSE, &format!("a try that ends in {cause}"), async || {
            let jobs = stage.jobs().await;
            let job =
                jobs.into_iter().find(|job| job.number.as_ref().is_some_and(|n| n.as_str() == number))?;
            let tries = stage.store.attempts(job.id).await.unwrap();
            tries.iter().any(|attempt| attempt.cause.as_deref() == Some(cause)).then_some(())
        })
        .await;
}

async fn job(stage: &Stage, number: &str) -> Job {
    let jobs = stage.jobs().await;
    let job = jobs.into_iter().find(|job| job.number.as_ref().is_some_and(|n| n.as_str() == number));
    job.unwrap_or_else(|| panic!("there is no job to {number}"))
}

async fn attempts(stage: &Stage, number: &str) -> Vec<AttemptRow> {
    stage.store.attempts(job(stage, number).await.id).await.unwrap()
}

/// The causes of the attempts to `number`, as `faxbridge job show --json` tells them.
async fn causes(stage: &Stage, number: &str) -> Vec<String> {
    let id = job(stage, number).await.id;
    let config = stage.path("faxbridge.toml");
    let shown = tokio::process::Command::new(support::daemon::PROGRAM)
        .args(["job", "show", "--json", "--config"])
        .arg(config)
        .arg(id.as_str())
        .output()
        .await
        .unwrap();
    assert!(shown.status.success(), "{}", String::from_utf8_lossy(&shown.stderr));
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    let attempts = shown["attempts"].as_array().unwrap();
    attempts.iter().map(|attempt| attempt["cause"].as_str().unwrap_or("none").to_owned()).collect()
}

/// Fails unless `number` was sent one whole fax of that many pages, and nothing beside it.
fn one_fax(rig: &Rig, number: &str, pages: usize) {
    let received = rig.received(number);
    let counts: Vec<usize> = received.iter().map(|(_, pages)| *pages).collect();
    assert_eq!(counts, [pages], "{number} received faxes of these pages");
    assert_eq!(rig.calls(number), 1, "calls to {number}");
}

/// Fails unless what came out of the far end's printer is what went in.
fn compare(sent: &Path, received: &Path) {
    let compared = std::process::Command::new("/usr/bin/python3")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/hylafax/compare.py"))
        .args([sent, received])
        .output()
        .expect("python3 is installed");
    let said = String::from_utf8_lossy(&compared.stdout);
    println!("{said}");
    assert!(compared.status.success(), "{said}{}", String::from_utf8_lossy(&compared.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_comes_out_of_the_far_ends_printer_and_every_failure_has_its_name() {
    let [good, busy, silent, voice, broken] =
        ["+12125550100", "+12125550110", "+12125550111", "+12125550112", "+12125550120"];
    let rig = office();
    let stage = at(rig.port, &[good, busy, silent, voice, broken]).await;
    let checked = stage.command("check", &[]).await;
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    let mails = [
        fax(&stage, good, 3).await,
        fax(&stage, broken, 3).await,
        fax(&stage, silent, 1).await,
        fax(&stage, voice, 1).await,
        fax(&stage, busy, 1).await,
    ];

    let told = receipt(&stage, &mails[0]).await;
    assert!(told.text.contains("Delivered: all 4 pages"), "{}", told.text);
    one_fax(rig, good, 4);
    let packet = job(&stage, good).await.packet.unwrap();
    let digest = |path: &Path| {
        let sum = std::process::Command::new("sha256sum").arg(path).output().unwrap();
        String::from_utf8_lossy(&sum.stdout).split(' ').next().unwrap().to_owned()
    };
    let documents = rig.documents();
    let sent = documents.iter().find(|path| digest(path) == packet.document.sha256);
    compare(sent.expect("HylaFAX got exactly the bytes of the packet"), &rig.received(good)[0].0);
    let delivered = &attempts(&stage, good).await[0];
    assert_eq!((delivered.pages_sent, delivered.outcome.as_deref()), (Some(4), Some("delivered")));

    // One page may lie in the far end's tray: a person decides, and meanwhile nothing is sent again.
    let told = notice(&stage, &mails[1]).await;
    assert!(told.text.contains("Held"), "{}", told.text);
    assert_eq!(causes(&stage, broken).await, ["partly_sent"]);
    assert_eq!(attempts(&stage, broken).await[0].pages_sent, Some(1));
    for (number, mail, cause) in
        [(silent, &mails[2], "no_answer"), (voice, &mails[3], "not_a_fax"), (busy, &mails[4], "busy")]
    {
        let told = receipt(&stage, mail).await;
        assert!(told.text.contains("Not sent") || told.text.contains("Not delivered"), "{}", told.text);
        assert_eq!(causes(&stage, number).await, [cause, cause], "both calls that the policy allows");
        assert_eq!(rig.calls(number), 2, "no calls that we did not count");
    }
    assert_eq!(rig.calls(broken), 1, "held, it is not called again");
    assert_eq!(stage.jobs().await.iter().filter(|job| job.state.as_str() == "held").count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn hylafax_is_killed_in_mid_call() {
    let [first, second, third, fourth] = ["+12125550100", "+12125550101", "+12125550102", "+12125550103"];
    let rig = tokio::task::spawn_blocking(|| Rig::start(2)).await.unwrap();
    let stage = at(rig.port, &[first, second, third]).await;

    // Its daemons die, the call goes on without them; a mail that comes meanwhile waits.
    let mail = fax(&stage, first, 2).await;
    a_page_is_through(&stage, &rig, first).await;
    rig.order("kill");
    let waits = fax(&stage, third, 1).await;
    a_try_ends_in(&stage, third, "provider_trouble").await;
    rig.order("start");
    for (mail, number, pages) in [(&mail, first, 3), (&waits, third, 2)] {
        let told = receipt(&stage, mail).await;
        assert!(told.text.contains("Delivered"), "{}", told.text);
        one_fax(&rig, number, pages);
    }

    // All of it dies, the call with it.
    let mail = fax(&stage, second, 2).await;
    a_page_is_through(&stage, &rig, second).await;
    rig.order("crash");
    rig.order("start");
    let told = notice(&stage, &mail).await;
    assert!(told.text.contains("Held"), "{}", told.text);
    assert_eq!(causes(&stage, second).await, ["partly_sent"]);
    assert_eq!(rig.calls(second), 1, "HylaFAX does not call again by itself");

    // Its server runs, its scheduler does not.
    rig.order("kill");
    rig.order("half");
    let office = adapter(rig.port);
    let (taken, kept) = submit(office.as_ref(), fourth, "half-1").await;
    assert!(matches!(taken, Err(SubmitError::NotSent { cause: Cause::ProviderTrouble, .. })), "{taken:?}");
    assert!(!rig.has_a_job("half-1"), "it is not left behind");
    let sought = find(office.as_ref(), fourth, "half-1", kept.as_deref()).await;
    assert_eq!(sought, Search::NotListed);
    assert_eq!(find(office.as_ref(), fourth, "half-1", None).await, Search::NeverSent);

    // Its answer does not come through, and its server dies before it can tidy up: the job's file rests, and is cleared away
    // before anybody sends the fax again.
    let wire = cutter::wire("127.0.0.1:0", rig.port, &[(fourth, Cut::Unnoticed)]).await;
    let (taken, kept) = submit(adapter(wire.port()).as_ref(), fourth, "half-2").await;
    assert!(matches!(taken, Err(SubmitError::Unknown { .. })), "{taken:?}");
    rig.order("crash");
    rig.order("half");
    assert!(rig.has_a_job("half-2"));
    let sought = find(office.as_ref(), fourth, "half-2", kept.as_deref()).await;
    assert_eq!(sought, Search::NeverSent);
    assert!(!rig.has_a_job("half-2"));
    rig.order("start");
    let (taken, _) = submit(office.as_ref(), fourth, "half-3").await;
    stage
        .until_in(PATIENCE, PAUSE, "the end of half-3", async || {
            let status = office.status(&taken.clone().unwrap().provider_ref).await.unwrap();
            (status != Status::Working).then_some(())
        })
        .await;
    one_fax(&rig, fourth, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn faxes_are_cancelled_deleted_and_never_anothers() {
    let rig = office();
    let office = adapter(rig.port);
    let end = async |taken: &Taken| {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            match office.status(&taken.provider_ref).await.unwrap() {
                Status::Ended(report) => return report,
                other => assert_eq!(other, Status::Working),
            }
            assert!(tokio::time::Instant::now() < deadline, "it does not end");
            tokio::time::sleep(PAUSE).await;
        }
    };
    // Before anything is dialled, which takes the modem some seconds, and while it rings.
    let quiet = "+12125550113";
    let (taken, _) = submit(office.as_ref(), quiet, "cancelled-1").await;
    let taken = taken.unwrap();
    assert_eq!(office.cancel(&taken.provider_ref).await.unwrap(), Cancelled::Stopped);
    assert_eq!(end(&taken).await.outcome, Outcome::Refused(Cause::Cancelled));
    assert_eq!(rig.calls(quiet), 0);
    assert_eq!(office.cancel(&taken.provider_ref).await.unwrap(), Cancelled::TooLate);

    let (rings, kept) = submit(office.as_ref(), quiet, "cancelled-2").await;
    let rings = rings.unwrap();
    assert_eq!(kept.as_deref(), Some(rings.provider_ref.as_str()), "it was kept under the same name");
    while rig.calls(quiet) == 0 {
        assert_eq!(office.status(&rings.provider_ref).await.unwrap(), Status::Working);
        tokio::time::sleep(PAUSE).await;
    }
    let found = find(office.as_ref(), quiet, "cancelled-2", kept.as_deref()).await;
    assert!(matches!(found, Search::Found(found) if found.status == Status::Working));
    assert!(office.delete(&rings.provider_ref).await.is_err(), "not while it is under way");
    assert_eq!(office.cancel(&rings.provider_ref).await.unwrap(), Cancelled::Asked);
    assert_eq!(end(&rings).await.outcome, Outcome::Refused(Cause::Cancelled));

    // The number is right and the reference another's, as after a spool that was made anew.
    let (job, _) = rings.provider_ref.split_once('/').unwrap();
    let anothers = format!("{job}/someone-else");
    assert_eq!(office.status(&anothers).await.unwrap(), Status::NotThere);
    assert_eq!(office.cancel(&anothers).await.unwrap(), Cancelled::NotThere);
    office.delete(&anothers).await.unwrap();
    assert!(rig.has_a_job("cancelled-2"), "another's job is not touched");

    for taken in [&taken, &rings] {
        office.delete(&taken.provider_ref).await.unwrap();
        assert_eq!(office.status(&taken.provider_ref).await.unwrap(), Status::NotThere);
        office.delete(&taken.provider_ref).await.unwrap();
        assert_eq!(office.cancel(&taken.provider_ref).await.unwrap(), Cancelled::NotThere);
    }
    assert!(!rig.has_a_job("cancelled-1") && !rig.has_a_job("cancelled-2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_daemon_is_killed_around_the_request() {
    let rig = office();
    let killed_at = async |step: &str, number: &str, tries: usize| {
        let address = format!("127.0.0.1:{}", rig.port);
        let mut stage = stage(&address, b"correct horse", &[number]).await;
        stage.start_with(&[("FAXBRIDGE_CRASH_AT", step.to_owned())]).await;
        let mail = fax(&stage, number, 1).await;
        stage.daemon().ended().await;
        stage.start().await;
        let told = receipt(&stage, &mail).await;
        assert!(told.text.contains("Delivered"), "{step}: {}", told.text);
        one_fax(rig, number, 2);
        assert_eq!(attempts(&stage, number).await.len(), tries, "{step}");
    };
    tokio::join!(killed_at("handle.kept", "+12125550101", 2), killed_at("request.sent", "+12125550102", 1),);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_wire_breaks() {
    let plan = [
        ("+12125550103", Cut::InParameters, 2),
        ("+12125550104", Cut::BeforeJsubm, 2),
        ("+12125550105", Cut::BeforeReply, 1),
        ("+12125550106", Cut::InReply, 1),
    ];
    let rig = office();
    // Nobody listens there at first.
    let probe = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = probe.local_addr().unwrap().to_string();
    drop(probe);
    let numbers = plan.map(|(number, ..)| number);
    let mut stage = stage(&address, b"wrong horse", &numbers).await;
    let fault = async |stage: &Stage| {
        let checked = stage.command("check", &[]).await;
        assert!(!checked.status.success());
        String::from_utf8_lossy(&checked.stdout).into_owned() + &String::from_utf8_lossy(&checked.stderr)
    };
    let said = fault(&stage).await;
    assert!(said.contains("provider.office.url"), "{said}");
    stage.start().await;
    let first = fax(&stage, numbers[0], 1).await;
    a_try_ends_in(&stage, numbers[0], "provider_trouble").await;
    let cuts = plan.map(|(number, cut, _)| (number, cut));
    cutter::wire(&address, rig.port, &cuts).await;

    // Then somebody does, and does not know the password.
    a_try_ends_in(&stage, numbers[0], "account_trouble").await;
    let said = fault(&stage).await;
    assert!(said.contains("provider.office.password"), "{said}");
    assert!(!said.contains("wrong horse"), "{said}");

    // The operator mends it.
    assert!(stage.daemon().stop().await.success());
    std::fs::write(stage.path("hylafax.password"), "correct horse").unwrap();
    let tried = attempts(&stage, numbers[0]).await.len();
    stage.start().await;
    let mut mails = vec![first];
    for number in &numbers[1..] {
        mails.push(fax(&stage, number, 1).await);
    }
    for (mail, (number, cut, tries)) in mails.iter().zip(plan) {
        let told = receipt(&stage, mail).await;
        assert!(told.text.contains("Delivered"), "{cut:?}: {}", told.text);
        one_fax(rig, number, 2);
        let before = if number == numbers[0] { tried } else { 0 };
        assert_eq!(attempts(&stage, number).await.len() - before, tries, "{cut:?}");
    }
}
