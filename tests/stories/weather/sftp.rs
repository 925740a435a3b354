//! Clients of SFTP: names while uploading, the same name again, answers that nobody reads.

use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::Value;
use tokio::process::Command;

use crate::support::clients::{self, said};
use crate::support::{Stage, documents};

const NUMBER: &str = "+12125550199";
/// Nobody has verified this one, so its faxes are held.
const UNVERIFIED: &str = "+12125550188";

const CONFIG: &str = r#"
[sftp]
listen = ["127.0.0.1:0"]
listen_legacy = ["127.0.0.1:0"]

[[sender]]
name = "billing"
sftp_user = "billing"
sftp_keys = ["SFTP_KEY"]
receipts_to = "billing@clinic.example"

[[sender]]
name = "ledger"
sftp_user = "ledger"
sftp_legacy = true
sftp_keys = ["OLD_KEY"]

[[rule]]
name = "by number"
source = "sftp"
file = "{account}_{number}.pdf"
reference = "{account}"

[policy]
hurry = 600
ask_first = "200 ms"
ask_at_most = "500 ms"
quiet = "1 s"
"#;

async fn stage() -> Stage {
    let mut stage = Stage::new(&CONFIG.replace("OLD_KEY", "SFTP_KEY")).await;
    stage.verified(&[("mercy", NUMBER)]).await;
    stage.start().await;
    stage
}

fn name(account: u32) -> String {
    format!("{account}_{NUMBER}.pdf")
}

/// Writes a document of its own to the stage's folder.
fn local(stage: &Stage, name: &str) -> String {
    local_of(stage, name, &documents::pdf(&format!("the document {name}"), 1))
}

fn local_of(stage: &Stage, name: &str, bytes: &[u8]) -> String {
    std::fs::write(stage.path(name), bytes).unwrap();
    name.to_owned()
}

async fn delivered(stage: &Stage, count: usize) {
    stage
        .until(&format!("{count} delivered faxes"), async || {
            (stage.delivered(NUMBER).len() >= count).then_some(())
        })
        .await;
    assert_eq!(stage.delivered(NUMBER).len(), count);
}

/// The records of all result files, by their names.
async fn results(stage: &Stage) -> Vec<(String, Value)> {
    let folder = stage.path("fetched");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir(&folder).unwrap();
    let got = clients::sftp(stage, "-get results/* fetched/\n").await;
    assert!(got.status.success(), "{}", said(&got));
    let mut all: Vec<(String, Value)> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let signed: Value = serde_json::from_slice(&std::fs::read(entry.path()).unwrap()).unwrap();
            (entry.file_name().into_string().unwrap(), signed["receipt"].clone())
        })
        .collect();
    all.sort_by(|one, other| one.0.cmp(&other.0));
    all
}

/// Waits for `count` result files.
async fn results_of(stage: &Stage, count: usize) -> Vec<(String, Value)> {
    stage
        .until(&format!("{count} results"), async || {
            let all = results(stage).await;
            (all.len() >= count).then_some(all)
        })
        .await
}

async fn run(stage: &Stage, program: &str, arguments: &[&str]) -> Output {
    Command::new(program)
        .args(arguments)
        .current_dir(stage.path(""))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap_or_else(|error| panic!("{program}: {error}; is its package installed?"))
}

async fn paramiko(stage: &Stage, what: &[&str]) -> Output {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/stories/weather/sftp.py");
    let port = stage.sftp().port().to_string();
    let key = stage.path("sftp");
    let arguments: Vec<&str> =
        [script, &port, key.to_str().unwrap()].into_iter().chain(what.iter().copied()).collect();
    run(stage, "/usr/bin/python3", &arguments).await
}

async fn curl(stage: &Stage, local: &str, remote: &str, more: &[&str]) -> Output {
    let key = stage.path("sftp");
    let public = stage.path("sftp.pub");
    let url = format!("sftp://127.0.0.1:{}/in/{remote}", stage.sftp().port());
    let mut arguments =
        vec!["-sS", "-k", "--key", key.to_str().unwrap(), "--pubkey", public.to_str().unwrap()];
    arguments.extend(["-u", "billing:", "-T", local, &url]);
    arguments.extend(more);
    run(stage, "curl", &arguments).await
}

async fn lftp(stage: &Stage, commands: &str) -> Output {
    let (port, key) = (stage.sftp().port(), stage.path("sftp"));
    let script = format!(
        "set sftp:connect-program 'ssh -a -x -p {port} -i {} -F none -o StrictHostKeyChecking=no -o \
         UserKnownHostsFile=/dev/null -o LogLevel=ERROR -o IdentitiesOnly=yes'; set net:max-retries 1; \
         set net:timeout 20; open sftp://billing:x@127.0.0.1:{port}; {commands}",
        key.display()
    );
    run(stage, "lftp", &["-c", &script]).await
}

/// `scp` or `sftp` with options of its own, to a port, as a user.
async fn openssh(
    stage: &Stage,
    program: &str,
    port: u16,
    key: &str,
    options: &[&str],
    files: &[&str],
) -> Output {
    let port = port.to_string();
    let mut arguments = vec!["-q", "-P", &port, "-i", key, "-F", "none"];
    for option in
        ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "IdentitiesOnly=yes", "BatchMode=yes"]
    {
        arguments.extend(["-o", option]);
    }
    arguments.extend(options);
    arguments.extend(files);
    run(stage, program, &arguments).await
}

async fn scp(stage: &Stage, options: &[&str], file: &str, remote: &str) -> Output {
    let target = format!("billing@127.0.0.1:in/{remote}");
    openssh(stage, "scp", stage.sftp().port(), "sftp", options, &[file, &target]).await
}

fn good(output: &Output) {
    assert!(output.status.success(), "{}", said(output));
}

/// Log lines of SFTP that tell of somebody who was refused.
fn refusals(stage: &Stage) -> Vec<String> {
    let log = stage.log();
    log.lines().filter(|line| line.contains("WARN") && line.contains("SFTP")).map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_clients_use_while_they_upload_are_never_final() {
    let stage = stage().await;
    let uuid = "0f8fad5b-d9cb-469f-a165-70867728950e";
    let forms: &[(&str, &str)] = &[
        ("", &format!("-{uuid}")),
        ("", "-Xy12ab9Z"),
        ("", ".filepart"),
        ("", ".inprogress"),
        ("", ".$$$"),
        ("", ".pending"),
        ("", ".lock"),
        ("", ".new"),
        ("", ".bak"),
        ("", ".sb-1234abcd-xyz"),
        ("", "._COPYING_"),
        ("inprogress-", ""),
        ("camel.tmp.", ""),
        ("tmp_", ""),
        ("_", ""),
        ("~", ""),
    ];
    let file = local(&stage, "a.pdf");
    let mut batch = String::new();
    for (n, (before, behind)) in (5000..).zip(forms) {
        let name = name(n);
        batch.push_str(&format!("put {file} \"in/{before}{name}{behind}\"\n"));
    }
    good(&clients::sftp(&stage, &batch).await);
    assert_eq!(stage.submissions().await.len(), 0, "none of these is final");
    let mut batch = String::new();
    for (n, (before, behind)) in (5000..).zip(forms) {
        let name = name(n);
        batch.push_str(&format!("rename \"in/{before}{name}{behind}\" in/{name}\n"));
    }
    good(&clients::sftp(&stage, &batch).await);
    delivered(&stage, forms.len()).await;
    // Signs that a batch is whole are no documents.
    local_of(&stage, "empty", b"");
    good(&clients::sftp(&stage, "put empty in/batch.eof\nput empty in/5000_+12125550199.pdf.done\n").await);
    assert_eq!(stage.submissions().await.len(), forms.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn forty_uploads_and_then_forty_renames_are_forty_faxes() {
    let stage = stage().await;
    let (mut puts, mut renames) = (String::new(), String::new());
    for n in 6000..6040 {
        let name = local(&stage, &name(n));
        puts.push_str(&format!("put {name} in/{name}.tmp\n"));
        renames.push_str(&format!("rename in/{name}.tmp in/{name}\n"));
    }
    good(&clients::sftp(&stage, &puts).await);
    good(&clients::sftp(&stage, &renames).await);
    delivered(&stage, 40).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_name_again_while_the_first_is_held_is_a_new_version() {
    let stage = stage().await;
    let name = format!("2002_{UNVERIFIED}.pdf");
    let versions =
        [documents::pdf("the first", 1), documents::pdf("the second, longer", 2), documents::pdf("3", 1)];
    for (n, version) in versions.iter().enumerate() {
        local_of(&stage, &name, version);
        good(&scp(&stage, &[], &name, "").await);
        stage.until("a held fax", async || (stage.jobs().await.len() == n + 1).then_some(())).await;
    }
    // The same bytes are the same file.
    good(&scp(&stage, &[], &name, "").await);
    good(&clients::sftp(&stage, &format!("put {name} in/\n")).await);
    assert_eq!(stage.submissions().await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_file_again_brings_the_earlier_result_again() {
    let stage = stage().await;
    let name = local(&stage, &name(8001));
    good(&clients::sftp(&stage, &format!("put {name} in/\n")).await);
    delivered(&stage, 1).await;
    results_of(&stage, 1).await;
    good(&clients::sftp(&stage, "rm results/*\n").await);
    good(&clients::sftp(&stage, &format!("put {name} in/\n")).await);
    let again = results_of(&stage, 1).await;
    let [(_, record)] = again.as_slice() else { panic!("{again:?}") };
    assert_eq!(record["kind"], "again", "{record:#}");
    assert_eq!(record["state"], "delivered");
    assert_eq!(record["file"]["name"], name.as_str());
    assert_eq!(stage.delivered(NUMBER).len(), 1, "it is not faxed twice");
    stage
        .until("a mail that says so", async || {
            stage.sink.letters().into_iter().find(|letter| letter.subject.contains("again"))
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_at_the_close_reaches_those_who_do_not_look_at_it() {
    let stage = stage().await;
    let empty = local_of(&stage, &name(100), b"");
    // curl and paramiko do not look at the answer to a close, and report success.
    good(&curl(&stage, &empty, &empty, &[]).await);
    good(&paramiko(&stage, &["write", &empty, &name(101)]).await);
    let told = results_of(&stage, 2).await;
    for (_, record) in &told {
        assert_eq!(record["state"], "failed", "{record:#}");
        assert!(record["sentence"].as_str().unwrap().contains("empty"), "{record:#}");
    }
    stage.until("a mail for each", async || (stage.sink.letters().len() >= 2).then_some(())).await;
    let lines = refusals(&stage);
    let line = lines.iter().find(|line| line.contains("an upload was refused")).unwrap();
    assert!(line.contains("billing") && line.contains("127.0.0.1") && line.contains("it is empty"), "{line}");
    assert!(!stage.log().contains("100_+1"), "names of files are patient data");
    assert_eq!(stage.jobs().await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_for_now_is_kept_and_faxed_after_all() {
    let stage = stage().await;
    let name = local(&stage, &name(200));
    let lock = lock_database(&stage.path("data/faxbridge.db")).await;
    // It says success: for it, the file is handed over.
    good(&curl(&stage, &name, &name, &[]).await);
    stage.until("the refusal", async || stage.log().contains("for now, it is kept").then_some(())).await;
    assert_eq!(stage.submissions().await.len(), 0);
    drop(lock);
    delivered(&stage, 1).await;
    assert_eq!(stage.submissions().await.len(), 1);
    let kept = stage.log();
    assert!(kept.contains("is accepted after all"), "{kept}");
}

/// Holds the database as a program beside the daemon may.
async fn lock_database(path: &Path) -> sqlx::sqlite::SqliteConnection {
    use sqlx::ConnectOptions;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
    let mut connection = options.connect().await.unwrap();
    sqlx::query("BEGIN IMMEDIATE").execute(&mut connection).await.unwrap();
    connection
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_file_is_never_faxed() {
    let stage = stage().await;
    let one = documents::pdf("revision one", 1);
    let two =
        [&one[..], b"6 0 obj\n<< /Note (the second revision) >>\nendobj\nxref\n0 0\ntrailer\n<< >>\n%%EOF\n"]
            .concat();
    let half = local_of(&stage, "half.pdf", &documents::pdf("a longer document, of which half is lost", 3));
    good(&paramiko(&stage, &["half", &half, &name(1003)]).await);
    let cuts = [one.len() + 8, one.len() + 40, two.len() - 2, two.len() - 12];
    for (n, cut) in (1100..).zip(cuts) {
        let file = local_of(&stage, "cut.pdf", &two[..cut]);
        good(&paramiko(&stage, &["write", &file, &name(n)]).await);
    }
    stage
        .until("every one held", async || {
            let jobs = stage.jobs().await;
            let held = jobs.iter().filter(|job| job.state.as_str() == "held").count();
            (held == 1 + cuts.len()).then_some(())
        })
        .await;
    // Whole ones go, with what scanners and servers fill up with.
    for (n, whole) in (1200..).zip([&one[..], &[&one[..], &[0; 4000]].concat()]) {
        let file = local_of(&stage, "whole.pdf", whole);
        good(&paramiko(&stage, &["write", &file, &name(n)]).await);
    }
    delivered(&stage, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn old_clients_stand_in_the_log_and_have_a_way_in() {
    let mut stage = Stage::new("").await;
    let made = run(&stage, "ssh-keygen", &["-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", "old"]).await;
    good(&made);
    let old = std::fs::read_to_string(stage.path("old.pub")).unwrap();
    let base = crate::support::stage::BASE;
    stage.configure(&format!("{base}{}", CONFIG.replace("OLD_KEY", old.trim())));
    stage.start().await;
    let sha1 = [
        "-o",
        "HostKeyAlgorithms=ssh-rsa",
        "-o",
        "PubkeyAcceptedAlgorithms=ssh-rsa",
        "-o",
        "KexAlgorithms=diffie-hellman-group14-sha1",
        "-o",
        "MACs=hmac-sha1",
        "-o",
        "Ciphers=aes128-ctr",
    ];
    let signature = ["-o", "PubkeyAcceptedAlgorithms=ssh-rsa"];
    let modern = stage.sftp().port();
    let legacy = stage.addresses().sftp_legacy[0].port();
    let list = async |port: u16, key: &str, options: &[&str], user: &str| {
        let target = format!("{user}@127.0.0.1:in/x");
        // There is no such file: what comes to that answer is in.
        let output = openssh(&stage, "scp", port, key, options, &[&target, "fetched"]).await;
        said(&output).contains("no such file") || said(&output).contains("No such file")
    };
    assert!(!list(modern, "old", &sha1, "ledger").await);
    assert!(!list(modern, "old", &signature, "ledger").await);
    assert!(!list(modern, "old", &[], "nobody").await);
    assert!(!list(modern, "old", &[], "billing").await);
    assert!(list(modern, "old", &[], "ledger").await, "it may use what the others use");
    assert!(list(legacy, "old", &sha1, "ledger").await);
    assert!(!list(legacy, "sftp", &[], "billing").await);
    // The log is written by a thread of its own, and a session's end may come after its client has gone.
    let all = async || Some(refusals(&stage)).filter(|lines| lines.len() >= 5);
    let lines = stage.until("five refusals stand in the log", all).await;
    for (user, reason) in [
        ("somebody", "no algorithm in common: Kex; it knows \"diffie-hellman-group14-sha1,"),
        ("ledger", "showed no key (old ones that sign with SHA-1"),
        ("\"nobody\"", "no such user"),
        ("billing", "none of this user's keys"),
        ("billing", "no sftp_legacy"),
    ] {
        let line = lines
            .iter()
            .find(|line| line.contains(reason) && line.contains(&format!("of {user} from 127.0.0.1")));
        assert!(line.is_some(), "{user}, {reason}: {lines:#?}");
    }
    assert_eq!(lines.len(), 5, "{lines:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn scp_of_the_old_protocol_is_told_why() {
    let stage = stage().await;
    let name = local(&stage, &name(9061));
    let output = scp(&stage, &["-O"], &name, "").await;
    assert!(!output.status.success());
    assert!(said(&output).contains("leave the option -O out"), "{}", said(&output));
    assert_eq!(stage.submissions().await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_client_comes_through_with_one_fax_each() {
    let stage = stage().await;
    let mut sent = 0;
    let mut next = || {
        sent += 1;
        local(&stage, &name(9000 + sent))
    };
    let name = next();
    good(&clients::sftp(&stage, &format!("put {name} in/\nchmod 644 in/{name}\n")).await);
    let name = next();
    good(&scp(&stage, &["-p"], &name, "").await);
    let name = next();
    good(&curl(&stage, &name, &name, &[]).await);
    let name = next();
    good(&curl(&stage, &name, "9.tmp", &["-Q", &format!("-rename /in/9.tmp /in/{name}")]).await);
    let name = next();
    good(&curl(&stage, &name, &name, &["-C", "-"]).await);
    let name = next();
    good(
        &clients::rclone(
            &stage,
            &["copyto", stage.path(&name).to_str().unwrap(), &format!("REMOTEin/{name}")],
        )
        .await,
    );
    let name = next();
    good(
        &clients::rclone(
            &stage,
            &["moveto", stage.path(&name).to_str().unwrap(), &format!("REMOTEin/{name}")],
        )
        .await,
    );
    let (one, two) = (next(), next());
    good(&lftp(&stage, &format!("cd in; mput {one} {two}")).await);
    let name = next();
    good(&lftp(&stage, &format!("cd in; put -c {name}")).await);
    let name = next();
    good(&lftp(&stage, &format!("set xfer:use-temp-file yes; cd in; put {name}")).await);
    let name = next();
    good(&paramiko(&stage, &["put", &name, &name]).await);
    let name = next();
    good(&paramiko(&stage, &["append", &name, &name]).await);
    delivered(&stage, sent as usize).await;
    assert_eq!(stage.submissions().await.len(), sent as usize);
}
