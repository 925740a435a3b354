//! Other programs at the database: one that reads for long, one that writes for long, another version, a damaged file.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::Instant;

use crate::support::Stage;
use crate::support::clients::{said, sftp};
use crate::support::documents::{mail, pdf};
use crate::support::smtp::{self, Refused};

const CONFIG: &str = r#"
[retention]
documents = "1 s"

[smtp]
listen = ["127.0.0.1:0"]
hostname = "fax.clinic.example"

[sftp]
listen = ["127.0.0.1:0"]

[[sender]]
name = "clinic"
addresses = ["@clinic.example"]
networks = ["127.0.0.0/8"]

[[sender]]
name = "billing"
sftp_user = "billing"
sftp_keys = ["SFTP_KEY"]

[[rule]]
name = "named recipient"
to = "{recipient}@fax.clinic.example"

[[rule]]
name = "numbers in file names"
source = "sftp:billing"
file = "{reference}_{number}.pdf"
"#;

async fn stage() -> Stage {
    let stage = Stage::new(CONFIG).await;
    stage.verified(&[("mercy", "+12125550199")]).await;
    stage
}

/// Another program that has opened the stage's database, until its standard input ends.
struct Neighbour(Child);

impl Neighbour {
    /// `statement` is executed in it; then it holds what that took.
    async fn at(stage: &Stage, statement: &str) -> Neighbour {
        let script = format!(
            "import sqlite3, sys\ndb = sqlite3.connect(sys.argv[1], isolation_level=None)\n\
             for part in {statement:?}.split(';'): db.execute(part).fetchall()\n\
             print('there', flush=True)\nsys.stdin.read()\n"
        );
        let mut child = Command::new("/usr/bin/python3")
            .args(["-c", &script])
            .arg(stage.path("data/faxbridge.db"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("python3 is installed");
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).await.unwrap();
        assert_eq!(line, "there\n");
        Neighbour(child)
    }

    async fn ends(mut self) {
        self.0.stdin.take().unwrap().shutdown().await.unwrap();
        self.0.wait().await.unwrap();
    }
}

async fn handed_in(stage: &Stage, n: u32) -> Result<String, Refused> {
    let (to, id) = ("mercy@fax.clinic.example", format!("<{n}@clinic.example>"));
    let mail = mail("jane@clinic.example", to, &id, "Results", &[("scan.pdf", &pdf("Report", 1))]);
    smtp::send(stage.smtp(), "jane@clinic.example", &[to], &mail).await.map(|_| id)
}

fn log_bytes(stage: &Stage) -> u64 {
    std::fs::metadata(stage.path("data/faxbridge.db-wal")).map_or(0, |facts| facts.len())
}

#[tokio::test]
async fn a_reader_that_stays_stalls_nobody_and_is_told() {
    let mut stage = stage().await;
    stage.start().await;
    let reader = Neighbour::at(&stage, "BEGIN;SELECT COUNT(*) FROM submission").await;
    // Each destruction wants the log emptied, and is in vain.
    let mut slowest = Duration::ZERO;
    for n in 0..8 {
        let begun = Instant::now();
        let id = handed_in(&stage, n).await.unwrap();
        slowest = slowest.max(begun.elapsed());
        stage.final_receipt(&id).await;
    }
    assert!(slowest < Duration::from_secs(3), "a mail waited {slowest:?} for the reader");
    let patience = Duration::from_secs(120);
    let pause = Duration::from_millis(200);
    let cause = stage.until_in(patience, pause, "the alarm", async || stage.alarm("store").await).await;
    assert!(cause.contains("faxbridge.db: process ") && cause.contains("(python3)"), "{cause}");
    let status = stage.command("status", &[]).await;
    assert_eq!(status.status.code(), Some(1));
    assert!(said(&status).contains("ALARM store, since "), "{}", said(&status));
    reader.ends().await;
    stage.until("an empty log", async || (log_bytes(&stage) == 0).then_some(())).await;
    stage.until("its end", async || stage.alarm("store").await.is_none().then_some(())).await;
    assert!(stage.command("status", &[]).await.status.success());
}

#[tokio::test]
async fn a_writer_that_stays_is_answered_with_later_and_waited_out() {
    let mut stage = stage().await;
    stage.start().await;
    let writer = Neighbour::at(&stage, "BEGIN IMMEDIATE").await;
    let begun = Instant::now();
    match handed_in(&stage, 1).await {
        Err(Refused::Reply(451, text)) => assert!(!text.contains("database"), "{text}"),
        other => panic!("{other:?}"),
    }
    assert!(begun.elapsed() < Duration::from_secs(25), "{:?}", begun.elapsed());
    std::fs::write(stage.path("1_+12125550199.pdf"), pdf("Bill", 1)).unwrap();
    let put = sftp(&stage, "put 1_+12125550199.pdf in/\n").await;
    assert!(!put.status.success(), "an upload that could not be recorded is no success: {}", said(&put));
    let told = async || stage.log().contains("alarm store: ").then_some(());
    stage.until("the alarm, in the log at least", told).await;
    writer.ends().await;
    let id = handed_in(&stage, 1).await.unwrap();
    stage.final_receipt(&id).await;
    let put = sftp(&stage, "put 1_+12125550199.pdf in/\n").await;
    assert!(put.status.success(), "{}", said(&put));
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_told_in_words() {
    let mut stage = stage().await;
    let newer = "INSERT INTO _sqlx_migrations VALUES (99, 'later', '2027-01-01', 1, x'00', 1)";
    Neighbour::at(&stage, newer).await.ends().await;
    let failed = stage.try_start(&[]).await.unwrap_err();
    assert_eq!(failed.status.code(), Some(1));
    let words = "faxbridge.db: the database was written by a newer faxbridge (schema 99, this one knows ";
    assert!(stage.log().contains(words), "{}", stage.log());
    for (command, arguments) in
        [("status", &[][..]), ("check", &[]), ("recipient", &["list"]), ("provider", &["list"])]
    {
        let output = stage.command(command, arguments).await;
        assert!(!output.status.success(), "{command}");
        assert!(said(&output).contains(words), "{command}: {}", said(&output));
    }
}

#[tokio::test]
async fn the_command_line_changes_no_schema_beside_a_daemon() {
    let mut stage = stage().await;
    stage.start().await;
    // As it looks to a newer program that is installed while the older daemon runs on.
    let older = "DELETE FROM _sqlx_migrations WHERE version = (SELECT MAX(version) FROM _sqlx_migrations)";
    Neighbour::at(&stage, older).await.ends().await;
    for (command, arguments) in [("recipient", &["list"][..]), ("job", &["list"]), ("status", &[])] {
        let output = stage.command(command, arguments).await;
        assert_eq!(output.status.code(), Some(1), "{command}");
        let said = said(&output);
        assert!(said.contains("was written by an older version") && said.contains("start it anew"), "{said}");
    }
    stage.final_receipt(&handed_in(&stage, 1).await.unwrap()).await;
}

#[tokio::test]
async fn a_damaged_database_is_no_empty_register() {
    let stage = Stage::new(CONFIG).await;
    let path = stage.path("data/faxbridge.db");
    std::fs::write(&path, [b'x'; 8192]).unwrap();
    let _ = std::fs::remove_file(stage.path("data/faxbridge.db-wal"));
    std::fs::write(stage.path("scan.pdf"), pdf("Report", 1)).unwrap();
    let (document, out) = (stage.path("scan.pdf"), stage.path("out"));
    let preview =
        ["--out", out.to_str().unwrap(), "--to", "mercy@fax.clinic.example", document.to_str().unwrap()];
    for (command, arguments) in
        [("status", &[][..]), ("check", &[]), ("recipient", &["list"]), ("preview", &preview[..])]
    {
        let output = stage.command(command, arguments).await;
        let said = said(&output);
        assert!(!output.status.success(), "{command}: {said}");
        let told = said.contains(path.to_str().unwrap()) && said.contains("restore a backup");
        assert!(told, "{command}: {said}");
    }
}
