//! What wants a person is told once: in the log, by `faxbridge status`, and by mail.

use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit};
use serde_json::Value;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::support::Stage;
use crate::support::clients::said;
use crate::support::documents::{mail, pdf};
use crate::support::smtp;

const CONFIG: &str = r#"
[smtp]
listen = ["127.0.0.1:0"]
hostname = "fax.clinic.example"

[alarm]
mail_to = ["admin@clinic.example", "night@clinic.example"]

[[sender]]
name = "clinic"
addresses = ["@clinic.example"]
networks = ["127.0.0.0/8"]

[[rule]]
name = "named recipient"
to = "{recipient}@fax.clinic.example"
"#;

/// Nobody listens on port 9 of this machine.
const MAILBOX: &str = r#"
[imap.records]
server = "127.0.0.1:9"
tls = "none"
login = "records"
password = "file:DIR/provider.token"
sender = "clinic"
"#;

async fn status(stage: &Stage) -> (Option<i32>, Value) {
    let output = stage.command("status", &["--json"]).await;
    (output.status.code(), serde_json::from_slice(&output.stdout).unwrap())
}

#[tokio::test]
async fn an_alarm_is_mailed_once_to_each_and_shown_until_it_is_over() {
    let mut stage = Stage::new(&format!("{CONFIG}{MAILBOX}")).await;
    let (code, before) = status(&stage).await;
    assert_eq!((code, &before["running"]), (Some(1), &Value::Bool(false)), "no daemon is running");
    stage.start().await;
    let alarms = async || {
        let mut letters = stage.sink.letters();
        letters.retain(|letter| letter.subject == "faxbridge alarm: mailbox.records");
        (letters.len() == 2).then_some(letters)
    };
    let letters = stage.until("two mails about the mailbox", alarms).await;
    let mut to: Vec<&str> = letters.iter().map(|letter| letter.envelope_to.as_str()).collect();
    to.sort_unstable();
    assert_eq!(to, ["admin@clinic.example", "night@clinic.example"]);
    let letter = &letters[0];
    assert_eq!(letter.auto_submitted.as_deref(), Some("auto-generated"));
    assert!(letter.text.contains("imap.records.server"), "{}", letter.text);
    let (code, now) = status(&stage).await;
    assert_eq!(code, Some(1));
    assert_eq!((&now["fine"], &now["running"]), (&Value::Bool(false), &Value::Bool(true)));
    assert_eq!(now["alarms"][0]["alarm"], "mailbox.records", "{now}");
    assert_eq!(now["mailboxes"][0]["looked_at"], Value::Null);
    assert_eq!(now["providers"][0]["provider"], "simulator");
    // A restart tells nothing anew.
    assert!(stage.daemon().stop().await.success());
    stage.start().await;
    stage
        .until("the alarm anew", async || stage.log().matches("alarm mailbox.records: ").nth(1).map(|_| ()))
        .await;
    assert_eq!(stage.sink.letters().len(), 2);
    // Without the mailbox it is over, after what a new process has to look around.
    assert!(stage.daemon().stop().await.success());
    stage.configure(&format!("{}{CONFIG}", crate::support::stage::BASE));
    stage.start().await;
    assert_eq!(status(&stage).await.0, Some(1), "until then it counts as open");
    let text = said(&stage.command("status", &[]).await);
    assert!(text.contains("ALARM mailbox.records, since ") && text.contains("1 alarm is open"), "{text}");
}

#[tokio::test]
async fn the_relay_is_down() {
    let mut stage = Stage::new("").await;
    let config = format!("{}{CONFIG}", crate::support::stage::BASE)
        .replace("relay = \"RELAY\"", "relay = \"127.0.0.1:9\"");
    stage.configure(&config);
    stage.verified(&[("mercy", "+12125550199")]).await;
    stage.start().await;
    let (to, id) = ("mercy@fax.clinic.example", "<1@clinic.example>");
    let mail = mail("jane@clinic.example", to, id, "Results", &[("scan.pdf", &pdf("Report", 1))]);
    smtp::send(stage.smtp(), "jane@clinic.example", &[to], &mail).await.unwrap();
    let cause = stage.until("the alarm", async || stage.alarm("relay").await).await;
    assert!(cause.contains("could not be reached") && !cause.contains("jane"), "{cause}");
    let (_, now) = status(&stage).await;
    assert_eq!(now["queues"]["outbox"]["count"], 1, "{now}");
    assert!(now["queues"]["outbox"]["oldest"].is_string());
    // The receipt waits 15 seconds; then the relay is back.
    assert!(stage.daemon().stop().await.success());
    stage.configure(&format!("{}{CONFIG}", crate::support::stage::BASE));
    stage.start().await;
    stage.final_receipt(id).await;
}

#[tokio::test]
async fn no_descriptor_is_left() {
    let mut stage = Stage::new(CONFIG).await;
    stage.verified(&[("mercy", "+12125550199")]).await;
    stage.start().await;
    let pid = stage.daemon().pid();
    let process = Pid::from_raw(pid.cast_signed());
    let limit = |most: u64| {
        let limit = Rlimit { current: Some(most), maximum: Some(1024) };
        rustix::process::prlimit(process, Resource::Nofile, limit).unwrap();
    };
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    limit(u64::try_from(open).unwrap());
    let mut clients = Vec::new();
    for _ in 0..40 {
        clients.push(TcpStream::connect(stage.smtp()).await.unwrap());
    }
    let cause = stage.until("the alarm", async || stage.alarm("listener.smtp.listen").await).await;
    assert!(cause.contains("LimitNOFILE"), "{cause}");
    assert_eq!(stage.log().matches("connection can be accepted").count(), 1, "once: {}", stage.log_tail());
    limit(1024);
    // Those who waited are served.
    for client in &mut clients {
        let mut greeting = [0; 4];
        client.read_exact(&mut greeting).await.unwrap();
        assert_eq!(&greeting, b"220 ");
    }
    drop(clients);
    let (to, id) = ("mercy@fax.clinic.example", "<1@clinic.example>");
    let mail = mail("jane@clinic.example", to, id, "Results", &[("scan.pdf", &pdf("Report", 1))]);
    smtp::send(stage.smtp(), "jane@clinic.example", &[to], &mail).await.unwrap();
    stage.final_receipt(id).await;
    let over = async || stage.alarm("listener.smtp.listen").await.is_none().then_some(());
    stage.until_in(Duration::from_secs(60), Duration::from_millis(100), "its end", over).await;
}
