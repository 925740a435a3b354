//! The SFTP server driven by clients that nobody here wrote: OpenSSH's sftp and scp, and rclone.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use faxbridge::clock::{Clock, SystemClock};
use faxbridge::intake::sftp;
use faxbridge::sealed::ResultFile;
use faxbridge::store::{NewResult, SubmissionFilter};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::accepting::Bench;

const CONFIG: &str = r#"
[sftp]
listen = ["127.0.0.1:0"]
[[sender]]
name = "billing"
sftp_user = "billing"
sftp_keys = ["PUBLIC"]
[[rule]]
name = "by number"
file = "{account}_{number}.pdf"
"#;

/// The server with the real intake, and nothing that works on what is accepted.
struct Server {
    bench: Bench,
    address: SocketAddr,
    stop: watch::Sender<bool>,
    serving: JoinHandle<()>,
}

impl Server {
    async fn start() -> Server {
        let folder = tempfile::tempdir().unwrap();
        let user = sftp::hostkey::load_or_make(&folder.path().join("id")).unwrap();
        let user = user.public_key().to_openssh().unwrap();
        let bench = Bench::open(folder, &CONFIG.replace("PUBLIC", &user)).await;
        let section = bench.config.sftp.clone().unwrap();
        let keys = sftp::hostkey::HostKeys::load_or_make(&section, bench.folder.path()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        let serving = tokio::spawn(sftp::serve(
            listener,
            sftp::Door::Modern,
            section,
            keys,
            bench.intake.clone(),
            Arc::default(),
            stopped,
        ));
        Server { bench, address, stop, serving }
    }

    /// Name and content of what was accepted, by name.
    async fn accepted(&self) -> Vec<(String, Vec<u8>)> {
        let accepted = self.bench.accepted().await.into_iter();
        let mut accepted: Vec<_> = accepted.map(|(_, body, facts)| (facts.file.unwrap(), body)).collect();
        accepted.sort();
        accepted
    }

    fn path(&self, name: &str) -> PathBuf {
        self.bench.folder.path().join(name)
    }

    /// A file on the client's side, of bytes that are not all the same.
    fn local(&self, name: &str, length: usize) -> Vec<u8> {
        let body: Vec<u8> = (0..length).map(|place| ((place * 31) >> 3) as u8).collect();
        fs::create_dir_all(self.path("local")).unwrap();
        fs::write(self.path("local").join(name), &body).unwrap();
        body
    }

    /// `sftp` or `scp` with the user's key.
    fn openssh(&self, program: &str) -> Command {
        let mut client = Command::new(program);
        client.current_dir(self.bench.folder.path()).args(["-q", "-F", "none", "-i", "id"]);
        client.args(["-P", &self.address.port().to_string()]);
        for option in ["BatchMode=yes", "IdentitiesOnly=yes", "StrictHostKeyChecking=no"] {
            client.args(["-o", option]);
        }
        client.args(["-o", "UserKnownHostsFile=known_hosts"]);
        client
    }

    /// `sftp` with these lines as its batch.
    async fn batch(&self, lines: &str) -> Output {
        fs::write(self.path("batch"), lines).unwrap();
        let mut client = self.openssh("sftp");
        client.args(["-b", "batch", "billing@127.0.0.1"]);
        run(client).await
    }

    async fn rclone(&self, arguments: &[&str]) -> Output {
        let (key, port) = (self.path("id"), self.address.port());
        let remote = format!(":sftp,host=127.0.0.1,port={port},user=billing,key_file={}:in", key.display());
        let mut client = Command::new("rclone");
        client.current_dir(self.bench.folder.path()).args(["--config", "rclone.conf", "--retries", "1"]);
        client.args(arguments.iter().map(|argument| argument.replace("REMOTE", &remote)));
        run(client).await
    }
}

/// Runs a client to its end without stopping the server's threads.
async fn run(mut client: Command) -> Output {
    tokio::task::spawn_blocking(move || client.output().expect("the client's program")).await.unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

#[tokio::test]
async fn openssh_puts_renames_and_picks_up() {
    let server = Server::start().await;
    let small = server.local("a.pdf", 1000);
    let large = server.local("b.pdf", 3_000_000);
    let done = server
        .batch("cd in\nput local/a.pdf 1_+12125550199.pdf\nput -f local/b.pdf b.pdf.part\nrename b.pdf.part b.pdf\nls -l\n")
        .await;
    assert!(done.status.success(), "{}", said(&done));
    let listing = said(&done);
    assert!(listing.contains("3000000") && listing.contains("1_+12125550199.pdf"), "{listing}");
    let done = run({
        let mut client = server.openssh("scp");
        client.args(["local/a.pdf", "billing@127.0.0.1:in/scp.pdf"]);
        client
    })
    .await;
    assert!(done.status.success(), "{}", said(&done));
    let expected = [("1_+12125550199.pdf", &small), ("b.pdf", &large), ("scp.pdf", &small)];
    assert_eq!(server.accepted().await, expected.map(|(name, body)| (name.to_owned(), body.clone())));

    // In a batch the first refusal ends the client with status 1.
    for line in [
        "rm in/b.pdf",
        "put local/a.pdf /etc/a.pdf",
        "put -a local/a.pdf in/b.pdf",
        "get in/b.pdf x",
        "mkdir in/x",
    ] {
        let refused = server.batch(&format!("{line}\n")).await;
        assert_eq!(refused.status.code(), Some(1), "{line}: {}", said(&refused));
    }
    assert_eq!(server.accepted().await.len(), 3);

    let sealed = ResultFile::seal(server.bench.spool.vault(), "1", "b.json", b"{}").unwrap();
    let result = NewResult { owner: "billing".into(), sealed };
    server.bench.store.record_sent("1", Some(result), SystemClock.now()).await.unwrap();
    let done = server.batch("cd results\nget b.json local/b.json\nrm b.json\nls\n").await;
    assert!(done.status.success(), "{}", said(&done));
    assert_eq!(fs::read(server.path("local/b.json")).unwrap(), b"{}");
    assert!(server.bench.store.results("billing").await.unwrap().is_empty());
}

#[tokio::test]
async fn rclone_copies_checks_and_copies_again() {
    let server = Server::start().await;
    let mut expected = Vec::new();
    for length in [1, 32_768, 40_000, 1_234_567] {
        let name = format!("{length}.pdf");
        expected.push((name.clone(), server.local(&name, length)));
    }
    expected.sort();
    for _ in 0..2 {
        // The second time rclone sees other times and sends all again; it is known, and nothing new is made.
        let done = server.rclone(&["copy", "local", "REMOTE"]).await;
        assert!(done.status.success(), "{}", said(&done));
        assert_eq!(server.accepted().await, expected);
    }
    let done = server.rclone(&["check", "--size-only", "local", "REMOTE"]).await;
    assert!(done.status.success(), "{}", said(&done));
    let done = server.rclone(&["moveto", "local/40000.pdf", "REMOTE/moved.pdf"]).await;
    assert!(done.status.success(), "{}", said(&done));
    assert!(!server.path("local/40000.pdf").exists());
    assert_eq!(server.accepted().await.len(), 5);
}

#[tokio::test]
async fn an_upload_cut_off_does_not_count() {
    let server = Server::start().await;
    server.local("a.pdf", 5_000_000);
    fs::write(server.path("batch"), "put local/a.pdf in/a.pdf\n").unwrap();
    let mut client = server.openssh("sftp");
    // One megabit a second: the upload is under way for as long as this test needs.
    client
        .args(["-l", "1000", "-b", "batch", "billing@127.0.0.1"])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut client = client.spawn().unwrap();
    while server.bench.spool.list().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    client.kill().unwrap();
    client.wait().unwrap();
    server.stop.send(true).unwrap();
    let Server { bench, serving, .. } = server;
    serving.await.unwrap();
    assert!(bench.store.submissions(&SubmissionFilter::default(), 10).await.unwrap().is_empty());
    assert_eq!(bench.spool.list().unwrap(), Vec::<String>::new());
}
