//! Programs that nobody here wrote, as offices run them: swaks, Python, OpenSSH, rclone.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};

use super::Stage;

/// What a program printed, both streams.
pub(crate) fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// The line in which `check` says what is wrong with `key`.
pub(crate) fn fault<'a>(said: &'a str, key: &str) -> &'a str {
    said.lines()
        .find(|line| line.starts_with("FAULT") && line.contains(key))
        .unwrap_or_else(|| panic!("nothing of {key}:\n{said}"))
}

/// swaks with `arguments` beside the server.
pub(crate) async fn swaks(stage: &Stage, arguments: &[&str]) -> Output {
    Command::new("swaks")
        .args(["--server", &stage.smtp().to_string(), "--helo", "client.example"])
        .args(arguments)
        .output()
        .await
        .expect("swaks is installed")
}

/// Python's smtplib sends `mail` (a file); see `send.py`.
pub(crate) async fn smtplib(stage: &Stage, from: &str, to: &str, mail: &Path) -> Output {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/send.py");
    let port = stage.smtp().port().to_string();
    Command::new("/usr/bin/python3")
        .args([script, &port, from, to])
        .arg(mail)
        .output()
        .await
        .expect("python3 is installed")
}

/// OpenSSH's sftp as user `billing`, with its batch on standard input. A command in front of `-` may fail.
pub(crate) async fn sftp(stage: &Stage, batch: &str) -> Output {
    let mut child = sftp_command(stage, &["-b", "-"]).spawn().expect("openssh-client is installed");
    child.stdin.take().unwrap().write_all(batch.as_bytes()).await.unwrap();
    child.wait_with_output().await.unwrap()
}

/// The same, left running, and slow: `limit` Kbit/s.
pub(crate) async fn slow_sftp(stage: &Stage, limit: u32, batch: &str) -> Child {
    let mut child = sftp_command(stage, &["-l", &limit.to_string(), "-b", "-"]).spawn().unwrap();
    child.stdin.take().unwrap().write_all(batch.as_bytes()).await.unwrap();
    child
}

fn sftp_command(stage: &Stage, arguments: &[&str]) -> Command {
    let mut command = Command::new("sftp");
    command
        .args(["-q", "-P", &stage.sftp().port().to_string(), "-i"])
        .arg(stage.path("sftp"))
        .args(["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"])
        .args(["-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", "-F", "none"])
        .args(arguments)
        .arg("billing@127.0.0.1")
        .current_dir(stage.path(""))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// rclone with its own checks, as user `billing`; `REMOTE` in `arguments` stands for the server's root.
pub(crate) async fn rclone(stage: &Stage, arguments: &[&str]) -> Output {
    let port = stage.sftp().port();
    let key: PathBuf = stage.path("sftp");
    let remote = format!(":sftp,host=127.0.0.1,port={port},user=billing,key_file='{}':", key.display());
    Command::new("rclone")
        .args(arguments.iter().map(|argument| argument.replace("REMOTE", &remote)))
        .args(["--config", "/dev/null", "--retries", "1", "--low-level-retries", "1"])
        .output()
        .await
        .expect("rclone is installed")
}
