//! Story: fax providers that are down, out of money, slow or told to stop; and what people see of it.

use std::time::Duration;

use crate::support::{Clinic, JANE, Stage, clients, documents, smtp};
use faxbridge::clock::{Clock, SystemClock};
use faxbridge::job::{Actor, JobState};
use faxbridge::register::QuietHours;
use faxbridge::simulator::server::Options;
use faxbridge::store::{Job, RegisterChange};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// One provider behind which the simulator stands under its own name, one that speaks Sinch, one InterFAX.
const CONFIG: &str = r#"
[provider.sinch]
kind = "sinch"
url = "PROVIDER/sinch"
account = "project"
login = "key"
password = "file:DIR/sinch.password"
timeout = "3 s"

[provider.interfax]
kind = "interfax"
url = "PROVIDER/interfax"
login = "lakeside"
password = "file:DIR/provider.token"
timeout = "3 s"

[provider.dead]
kind = "sinch"
url = "http://127.0.0.1:1/sinch"
account = "project"
login = "key"
password = "file:DIR/provider.token"
timeout = "3 s"

[[rule]]
name = "route"
to = "{number}@route.example"
providers = ["dead", "sinch"]

[[rule]]
name = "sinch alone"
to = "{number}@sinch.example"
providers = ["sinch"]

[[rule]]
name = "interfax"
to = "{number}@interfax.example"
providers = ["interfax"]

[[rule]]
name = "simulator"
to = "{number}@fax.example"
providers = ["simulator"]
"#;

async fn stage(numbers: &[&str], change: impl FnOnce(&mut Options)) -> Stage {
    let mut stage = Stage::with(&Clinic::new().mail().with(CONFIG).brisk(), change).await;
    stage.secret("sinch.password", b"token-of-the-tests");
    let named: Vec<(String, &str)> = numbers.iter().map(|n| (format!("office{}", &n[1..]), *n)).collect();
    stage.verified(&named).await;
    stage.start().await;
    stage
}

/// Sends a mail of one page, with this Message-ID.
async fn mail(stage: &Stage, id: &str, to: &str) {
    let mut session = smtp::Session::connect(stage.smtp()).await.unwrap();
    session.send(JANE, &[to], &documents::letter(JANE, to, id)).await.unwrap();
}

/// The text of a receipt with its lines joined again.
async fn receipt(stage: &Stage, id: &str) -> String {
    stage.final_receipt(id).await.words()
}

/// What `faxbridge job show --json` says of a Job.
async fn shown(stage: &Stage, job: &Job) -> Value {
    let output = stage.command("job", &["show", job.id.as_str(), "--json"]).await;
    assert!(output.status.success(), "{}", clients::said(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

async fn providers(stage: &Stage) -> Vec<Value> {
    let output = stage.command("provider", &["list", "--json"]).await;
    assert!(output.status.success(), "{}", clients::said(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_first_provider_is_down_the_second_sends_it_and_the_receipt_names_both() {
    let stage = stage(&["+12125550199"], |_| {}).await;
    mail(&stage, "<1@clinic.example>", "+12125550199@route.example").await;
    let receipt = receipt(&stage, "<1@clinic.example>").await;
    assert!(receipt.contains("Delivered: all 2 pages"), "{receipt}");
    assert!(receipt.contains("dead: provider out of order, nothing sent"), "{receipt}");
    assert!(receipt.contains("The copy at the fax provider (sinch) was deleted"), "{receipt}");
    let job = stage.job("a delivered job", |job| job.state == JobState::Delivered).await;
    let attempts = shown(&stage, &job).await["attempts"].clone();
    let seen: Vec<(&str, &str)> = attempts
        .as_array()
        .unwrap()
        .iter()
        .map(|attempt| (attempt["provider"].as_str().unwrap(), attempt["sent"].as_str().unwrap()))
        .collect();
    assert_eq!(seen, [("dead", "nothing"), ("sinch", "all")]);
    assert_eq!(stage.delivered("+12125550199").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_does_not_let_us_in_is_an_alarm_and_keeps_its_jobs() {
    let mut stage = stage(&["+12125550198"], |_| {}).await;
    let password = stage.path("sinch.password");
    std::fs::write(&password, b"no longer valid").unwrap();
    assert!(stage.daemon().stop().await.success());
    stage.start().await;
    mail(&stage, "<2@clinic.example>", "+12125550198@sinch.example").await;
    stage
        .until("a provider that rests", async || {
            providers(&stage).await.into_iter().find(|row| {
                row["provider"] == "sinch"
                    && row["condition"] == "resting"
                    && row["cause"] == "account_trouble"
                    && row["queued"] == 1
            })
        })
        .await;
    let log = stage.log();
    assert!(log.contains("ERROR") && log.contains("sinch does not let us send"), "{log}");
    let check = stage.command("check", &[]).await;
    assert!(clients::said(&check).contains("provider.sinch.password"), "{}", clients::said(&check));
    assert_eq!(stage.answers("<2@clinic.example>").len(), 0, "its sender is not bothered with that");

    std::fs::write(&password, b"token-of-the-tests").unwrap();
    let pid = Pid::from_raw(stage.daemon().pid().cast_signed()).unwrap();
    kill_process(pid, Signal::HUP).unwrap();
    let receipt = receipt(&stage, "<2@clinic.example>").await;
    assert!(receipt.contains("Delivered: all 2 pages"), "{receipt}");
    assert!(providers(&stage).await.iter().all(|row| row["condition"] == "good"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fax_that_waits_at_its_provider_is_stopped_there() {
    // Ending 35 stays in the provider's queue until it is cancelled.
    let stage = stage(&["+12125550135"], |_| {}).await;
    mail(&stage, "<3@clinic.example>", "+12125550135@fax.example").await;
    let sent = stage.job("a job at the provider", |job| job.state.as_str() == "in_transit").await;
    let said = stage.command("job", &["cancel", sent.id.as_str()]).await;
    assert!(clients::said(&said).contains("the provider is told to stop it"), "{}", clients::said(&said));
    let receipt = receipt(&stage, "<3@clinic.example>").await;
    assert!(receipt.contains("Cancelled"), "{receipt}");
    assert!(receipt.contains("the fax provider stopped it in time"), "{receipt}");
    let ended = stage.job("a cancelled job", |job| job.state == JobState::Cancelled).await;
    assert_eq!(shown(&stage, &ended).await["cancel"], "stopped");
    assert_eq!(stage.delivered("+12125550135").len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wish_to_cancel_that_comes_too_late_is_told_as_what_it_was() {
    let stage = stage(&["+12125550197", "+12125550196"], |simulator| {
        simulator.call_time = Duration::from_secs(3);
    })
    .await;
    // One provider can cancel and says that it is too late, the other cannot cancel at all.
    for (id, number, domain, word, told) in [
        ("<4@clinic.example>", "+12125550197", "fax.example", "too_late", "asked for, but it was too late"),
        ("<5@clinic.example>", "+12125550196", "sinch.example", "cannot", "cannot take back what it has"),
    ] {
        mail(&stage, id, &format!("{number}@{domain}")).await;
        let calling = stage
            .job("a job that is being sent", |job| {
                job.state.as_str() == "in_transit"
                    && job.number.as_ref().is_some_and(|n| n.as_str() == number)
            })
            .await;
        stage
            .until("the call has begun", async || {
                stage.simulator.faxes().into_iter().find(|fax| fax.number == number && fax.dialled.is_some())
            })
            .await;
        let said = stage.command("job", &["cancel", calling.id.as_str()]).await;
        assert!(said.status.success(), "{}", clients::said(&said));
        let receipt = receipt(&stage, id).await;
        assert!(receipt.contains("Delivered: all 2 pages"), "{receipt}");
        assert!(receipt.contains(told), "{receipt}");
        assert_eq!(shown(&stage, &calling).await["cancel"], word);
        let again = stage.command("job", &["cancel", calling.id.as_str()]).await;
        assert!(clients::said(&again).contains("it has ended already"), "{}", clients::said(&again));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_to_be_cancelled_is_not_tried_again() {
    // Busy for ever, with pauses that are long enough for a person.
    let stage = stage(&["+12125550112"], |simulator| simulator.call_time = Duration::from_secs(2)).await;
    mail(&stage, "<6@clinic.example>", "+12125550112@fax.example").await;
    let calling = stage.job("a job at the provider", |job| job.state.as_str() == "in_transit").await;
    let said = stage.command("job", &["cancel", calling.id.as_str()]).await;
    assert!(said.status.success(), "{}", clients::said(&said));
    let receipt = receipt(&stage, "<6@clinic.example>").await;
    assert!(receipt.contains("Cancelled"), "{receipt}");
    assert_eq!(stage.simulator.faxes().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_deletes_nothing_is_named_in_the_receipt() {
    let stage = stage(&["+12125550195"], |_| {}).await;
    mail(&stage, "<7@clinic.example>", "+12125550195@interfax.example").await;
    let receipt = receipt(&stage, "<7@clinic.example>").await;
    assert!(receipt.contains("Delivered: all 2 pages"), "{receipt}");
    assert!(receipt.contains("The fax provider (interfax) keeps its copy"), "{receipt}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_called_in_quiet_hours() {
    let mut stage = stage(&["+12125550194"], |_| {}).await;
    assert!(stage.daemon().stop().await.success());
    let key = "office12125550194";
    let mut entry = stage.store.recipient(key).await.unwrap().unwrap();
    // All of the day but one minute, in the half of the hour in which this test does not run.
    let now = SystemClock.now();
    let first_half = now.in_tz("America/New_York").unwrap().minute() < 30;
    let hours = if first_half { "23:59-23:58" } else { "00:01-00:00" };
    entry.quiet_hours = Some(hours.parse::<QuietHours>().unwrap());
    stage.store.put_recipient(entry, &Actor::Daemon, RegisterChange::Changed, now).await.unwrap();
    stage.start().await;
    mail(&stage, "<8@clinic.example>", "+12125550194@fax.example").await;
    let after_its_making = |job: &Job| matches!(job.state, JobState::Queued { due } if due > job.made_at);
    let waits = stage.job("a job that waits", after_its_making).await;
    assert_eq!(waits.state.as_str(), "queued");
    assert_eq!(stage.simulator.faxes().len(), 0, "nobody was called");
    let said = stage.command("job", &["cancel", waits.id.as_str()]).await;
    assert!(said.status.success(), "{}", clients::said(&said));
    assert!(receipt(&stage, "<8@clinic.example>").await.contains("Cancelled"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_can_tell_is_shown_to_a_person_and_closed_on_that_word() {
    // Ending 37: the provider takes it, and then says that it has no such fax.
    let stage = stage(&["+12125550137"], |_| {}).await;
    mail(&stage, "<9@clinic.example>", "+12125550137@fax.example").await;
    let doubtful = stage.job("an unclear job", |job| job.state.as_str() == "unclear").await;
    let said = stage.command("job", &["resolve", doubtful.id.as_str()]).await;
    let said = clients::said(&said);
    for known in ["unclear     since", "try 1", "simulator", "--not-delivered"] {
        assert!(said.contains(known), "{known} is not in {said}");
    }
    let said = stage.command("job", &["resolve", doubtful.id.as_str(), "--delivered"]).await;
    assert!(said.status.success(), "{}", clients::said(&said));
    let receipt = receipt(&stage, "<9@clinic.example>").await;
    assert!(receipt.contains("A person stated that it arrived"), "{receipt}");
}
