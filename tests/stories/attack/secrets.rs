//! What is left of a document when it is gone: in memory, in the database, in the log.

use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};

use crate::support::smtp::Session;
use crate::support::{Stage, documents};

const CONFIG: &str = r#"
[smtp]
listen = ["127.0.0.1:0"]
hostname = "fax.clinic.example"

[sftp]
listen = ["127.0.0.1:0"]

[[sender]]
name = "front desk"
addresses = ["@clinic.example"]
networks = ["127.0.0.0/8"]

[[sender]]
name = "billing"
sftp_user = "billing"
sftp_keys = ["SFTP_KEY"]

[[rule]]
name = "statements"
source = "sftp:billing"
file = "{account}_{number}.pdf"
reference = "{account}"

[[rule]]
name = "named recipient"
to = "{recipient}@fax.clinic.example"

[retention]
documents = "2 s"

[policy]
hurry = 600
ask_first = "200 ms"
ask_at_most = "500 ms"
quiet = "1 s"
"#;

const RADIOLOGY: &str = "mercy-radiology@fax.clinic.example";
const NUMBER: &str = "+12125550199";

/// What only the mail and the file held, each where it stood.
const MARKS: [(&str, &str); 8] = [
    ("the sender's address", "okapi.8841@clinic.example"),
    ("the Message-ID", "wombat-2207@clinic.example"),
    ("the subject", "Quokka subject 4402"),
    ("the text of the mail", "Zebrafish text 7731"),
    ("the reference in it", "AXOLOTL-5523"),
    ("the name of the attachment", "Numbat_scan_9917"),
    ("the text of its pages", "Pangolin page 3106"),
    ("the name of the dropped file", "MILLER-ANNA-1971"),
];

fn marked_mail() -> Vec<u8> {
    let pdf = documents::pdf("Pangolin page 3106", 2);
    let mail = documents::mail(
        "okapi.8841@clinic.example",
        RADIOLOGY,
        "<wombat-2207@clinic.example>",
        "Quokka subject 4402 [Ref: AXOLOTL-5523]",
        &[("Numbat_scan_9917.pdf", &pdf)],
    );
    let mail = String::from_utf8(mail).unwrap();
    mail.replace("Please see the attachment.", "Zebrafish text 7731, please see the attachment.").into_bytes()
}

async fn stage() -> Stage {
    let mut stage = Stage::new(CONFIG).await;
    stage.verified(&[("mercy-radiology", NUMBER)]).await;
    stage.start().await;
    stage
}

/// OpenSSH's sftp, which uploads `local` as `name` and then stays signed in for as long as it is held.
async fn drop_and_stay(stage: &Stage, local: &str, name: &str) -> Child {
    let mut child = Command::new("sftp")
        .args(["-q", "-P", &stage.sftp().port().to_string(), "-i"])
        .arg(stage.path("sftp"))
        .args(["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"])
        .args([
            "-o",
            "IdentitiesOnly=yes",
            "-o",
            "BatchMode=yes",
            "-F",
            "none",
            "-b",
            "-",
            "billing@127.0.0.1",
        ])
        .current_dir(stage.path(""))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("openssh-client is installed");
    let batch = format!("put {local} in/{name}\n");
    child.stdin.as_mut().unwrap().write_all(batch.as_bytes()).await.unwrap();
    child
}

/// The process and its children.
fn family(pid: u32) -> Vec<u32> {
    let mut all = vec![pid];
    for task in std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten() {
        let children = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
        all.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
    }
    all
}

/// All memory of a process that can be read, piece by piece. None of a child that has ended.
fn memory(pid: u32, mut look: impl FnMut(&str, &[u8])) {
    let Ok(maps) = std::fs::read_to_string(format!("/proc/{pid}/maps")) else { return };
    let Ok(mut memory) = std::fs::File::open(format!("/proc/{pid}/mem")) else { return };
    for line in maps.lines() {
        let mut words = line.split_whitespace();
        let (Some(range), Some(access)) = (words.next(), words.next()) else { continue };
        let ends = range.split_once('-').and_then(|(from, to)| {
            Some((u64::from_str_radix(from, 16).ok()?, u64::from_str_radix(to, 16).ok()?))
        });
        let Some((from, to)) = ends.filter(|_| access.starts_with('r')) else { continue };
        let mut piece = Vec::new();
        if memory.seek(SeekFrom::Start(from)).is_ok() {
            // What the kernel keeps to itself cannot be read, and holds nothing of ours.
            let _ = (&mut memory).take(to - from).read_to_end(&mut piece);
        }
        look(line, &piece);
    }
}

fn holds(bytes: &[u8], text: &str) -> bool {
    memchr::memmem::find(bytes, text.as_bytes()).is_some()
}

/// Which marks stand in the memory of the daemon and its children, and what is around them.
fn in_memory(daemon: u32) -> Vec<String> {
    let mut found = Vec::new();
    for pid in family(daemon) {
        let whose = if pid == daemon { "the daemon" } else { "a child" };
        memory(pid, |region, piece| {
            for (what, text) in MARKS {
                for at in memchr::memmem::find_iter(piece, text.as_bytes()) {
                    let around =
                        piece.get(at.saturating_sub(60)..piece.len().min(at + 80)).unwrap_or_default();
                    found.push(format!("{what} in {whose}, {region}: {}", around.escape_ascii()));
                }
            }
        });
    }
    found
}

/// The files under `folder` in whose name or content `text` stands.
fn files_with(folder: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            let name = path.display().to_string();
            // One that goes away meanwhile holds nothing any more.
            if holds(&std::fs::read(&path).unwrap_or_default(), text) || holds(name.as_bytes(), text) {
                found.push(name);
            }
            if path.is_dir() {
                folders.push(path);
            }
        }
    }
    found
}

fn sha256(bytes: &[u8]) -> String {
    use aws_lc_rs::digest::{SHA256, digest};
    faxbridge::text::hex(digest(&SHA256, bytes).as_ref())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_destroyed_is_neither_in_memory_nor_on_disk() {
    let mut stage = stage().await;
    let pid = stage.daemon().pid();
    let mut known = false;
    memory(pid, |_, piece| known |= holds(piece, "Lakeside Family Clinic"));
    assert!(known, "this test can read the daemon's memory: it knows its own name");

    // Both clients stay signed in: what a session keeps is there for as long as it lasts.
    let mut session = Session::connect(stage.smtp()).await.unwrap();
    session.send("okapi.8841@clinic.example", &[RADIOLOGY], &marked_mail()).await.unwrap();
    std::fs::write(stage.path("local.pdf"), documents::pdf("Pangolin page 3106", 1)).unwrap();
    let client = drop_and_stay(&stage, "local.pdf", &format!("MILLER-ANNA-1971_{NUMBER}.pdf")).await;
    stage
        .until("the end of both", async || {
            let all = stage.submissions().await;
            (all.len() == 2 && all.iter().all(|one| one.destroyed_at.is_some())).then_some(())
        })
        .await;
    let receipt = stage.final_receipt("<wombat-2207@clinic.example>").await;
    assert!(receipt.text.contains("AXOLOTL-5523"), "the sender is told his reference: {}", receipt.text);
    assert_eq!(stage.delivered(NUMBER).len(), 2);

    // An SSH session's library keeps the last packet for as long as the session is there; that of mails goes on.
    drop(client);
    let mut found = Vec::new();
    for _ in 0..60 {
        found = in_memory(pid);
        if found.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert!(found.is_empty(), "a minute later there is still:\n{}", found.join("\n"));
    stage
        .until("disks without a trace of them", async || {
            let data = stage.path("data");
            MARKS.iter().all(|(_, text)| files_with(&data, text).is_empty()).then_some(())
        })
        .await;
    assert_eq!(MARKS.iter().find(|(_, text)| stage.log().contains(text)), None, "in the log");
    drop(session);

    // Nor is there anything by which a name could be guessed: no plain digest of the file, of its name, or of both.
    let file = std::fs::read(stage.path("local.pdf")).unwrap();
    let name = format!("MILLER-ANNA-1971_{NUMBER}.pdf");
    let fields = |fields: &[&str]| {
        let parts =
            fields.iter().map(|field| [&(field.len() as u64).to_be_bytes()[..], field.as_bytes()].concat());
        sha256(&parts.collect::<Vec<_>>().concat())
    };
    let guesses = [
        sha256(&file),
        sha256(name.as_bytes()),
        sha256(b"MILLER-ANNA-1971"),
        sha256(b"okapi.8841@clinic.example"),
        fields(&["sftp:billing", "billing", &name, &sha256(&file)]),
    ];
    for guess in guesses {
        assert_eq!(
            files_with(&stage.path("data"), &guess),
            Vec::<String>::new(),
            "a digest that can be tried"
        );
    }

    // What is kept is the proof: signed, with the digest, and of the references only marks.
    for submission in stage.submissions().await {
        let kept: serde_json::Value =
            serde_json::from_str(&stage.store.receipt(submission.id).await.unwrap().unwrap()).unwrap();
        faxbridge::receipt::signature::verify(&kept).unwrap();
        let job = &kept["receipt"]["jobs"][0];
        assert_eq!(job["state"], "delivered");
        assert_eq!(job["reference"], serde_json::Value::Null);
        assert_eq!(job["reference_mark"].as_str().map(str::len), Some(64));
        assert_eq!(job["sha256"].as_str().map(str::len), Some(64));
    }
}
