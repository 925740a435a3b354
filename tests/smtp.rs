//! The SMTP listener driven by clients that nobody here wrote: Python's smtplib, and swaks.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use faxbridge::clock::SystemClock;
use faxbridge::config::Config;
use faxbridge::intake::{Intake, smtp};
use faxbridge::routing::Rules;
use faxbridge::spool::{MasterKey, Spool, WrappedKey};
use faxbridge::store::{Store, SubmissionFilter};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};

const CONFIG: &str = r#"
[organization]
name = "Example Clinic"
country = "US"
time_zone = "America/New_York"
[store]
data_dir = "FOLDER"
master_key = "file:FOLDER/master"
[smtp]
listen = ["127.0.0.1:0"]
hostname = "fax.example.com"
tls_certificate = "fixtures/tls/fax.example.com.pem"
tls_key = "fixtures/tls/fax.example.com.key"
[[sender]]
name = "desk"
addresses = ["jane@example.com"]
networks = ["127.0.0.0/8"]
[[sender]]
name = "billing"
addresses = ["bill@example.com"]
login = "bill"
password = "file:FOLDER/password"
[[rule]]
name = "by name"
to = "{recipient}@fax.example.com"
"#;

/// The listener with the real intake, and nothing that works on what is accepted.
struct Server {
    folder: TempDir,
    store: Store,
    spool: Spool,
    address: SocketAddr,
    _stop: watch::Sender<bool>,
}

impl Server {
    async fn start() -> Server {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("password"), "a password").unwrap();
        let text = CONFIG.replace("FOLDER", folder.path().to_str().unwrap());
        let config: Arc<Config> = Arc::new(toml::from_str(&text).unwrap());
        let store = Store::open(folder.path(), "test").await.unwrap();
        let spool =
            Spool::open(folder.path().join("spool"), MasterKey::from_bytes(&[7; 32]).unwrap()).unwrap();
        let rules = Arc::new(Rules::compile(&config.rule).unwrap());
        let (clock, arrived) = (Arc::new(SystemClock), Arc::new(Notify::new()));
        let intake =
            Intake::new(Arc::clone(&config), store.clone(), spool.clone(), rules, clock, arrived).unwrap();
        let section = config.smtp.clone().unwrap();
        let certificate = section.tls_certificate.as_deref().unwrap();
        let tls = smtp::server_config(certificate, section.tls_key.as_deref().unwrap()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(async move { smtp::serve(listener, &section, Some(tls), intake, stopped).await });
        Server { folder, store, spool, address, _stop: stop }
    }

    /// What was accepted, newest first: the sender's name and the mail.
    async fn accepted(&self) -> Vec<(String, String)> {
        let mut accepted = Vec::new();
        for submission in self.store.submissions(&SubmissionFilter::default(), 100).await.unwrap() {
            let document = self.store.received(submission.id).await.unwrap().unwrap();
            let key = self.spool.unwrap_key(&WrappedKey(submission.wrapped_key.unwrap())).unwrap();
            let reader = self.spool.read(&key, &document.name).await.unwrap();
            let mail = String::from_utf8(reader.read_all(1 << 30).await.unwrap()).unwrap();
            accepted.push((submission.sender, mail));
        }
        accepted
    }
}

/// Runs a client to its end without stopping the server's threads.
async fn run(mut client: Command) -> Output {
    tokio::task::spawn_blocking(move || client.output().expect("the client's program")).await.unwrap()
}

/// Sends what Python's smtplib sends: plain, then under TLS with a password, then to nobody.
fn smtplib(address: SocketAddr) -> Command {
    const SCRIPT: &str = r#"
import smtplib, ssl, sys
from email.message import EmailMessage
host, port, authority = sys.argv[1], int(sys.argv[2]), sys.argv[3]
mail = EmailMessage()
mail["Subject"] = "A PDF"
mail["Message-ID"] = "<plain@example.com>"
mail.set_content(".\n..\nA dot begins these lines.\n.\n")
mail.add_attachment(bytes(range(256)) * 400, maintype="application", subtype="pdf", filename="a.pdf")
with smtplib.SMTP(host, port) as s:
    assert s.send_message(mail, "jane@example.com", ["smith@fax.example.com", "jones@fax.example.com"]) == {}
    refused = s.send_message(mail, "jane@example.com", ["smith@fax.example.com", "x@elsewhere.example.com"])
    assert refused["x@elsewhere.example.com"][0] == 550, refused
with smtplib.SMTP(host, port) as s:
    s.ehlo()
    assert not s.has_extn("auth") and s.has_extn("starttls") and s.has_extn("pipelining") and s.has_extn("size")
    s.starttls(context=ssl.create_default_context(cafile=authority))
    s.login("bill", "a password")
    del mail["Message-ID"]
    assert s.send_message(mail, "bill@example.com", "smith@fax.example.com") == {}
with smtplib.SMTP(host, port) as s:
    try:
        s.send_message(mail, "mallory@example.com", "smith@fax.example.com")
    except smtplib.SMTPRecipientsRefused as e:
        code, sentence = e.recipients["smith@fax.example.com"]
        assert code == 550 and sentence.startswith(b"5.7.1 mallory@example.com"), e
    else:
        raise SystemExit("an unknown sender was accepted")
"#;
    let mut client = Command::new("python3");
    client.args(["-c", SCRIPT, &address.ip().to_string(), &address.port().to_string()]);
    client.arg("fixtures/tls/authority.pem");
    client
}

/// One mail with a file attached, by swaks; `more` are further options of it.
fn swaks(address: SocketAddr, from: &str, to: &str, attached: &Path, more: &[&str]) -> Command {
    let mut client = Command::new("swaks");
    client.args([
        "--server",
        &address.to_string(),
        "--ehlo",
        "client.example.com",
        "--from",
        from,
        "--to",
        to,
    ]);
    client.args(["--attach-type", "application/pdf", "--attach", &format!("@{}", attached.display())]);
    client.args(more);
    client
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mails_by_smtplib() {
    let server = Server::start().await;
    let output = run(smtplib(server.address)).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let accepted = server.accepted().await;
    let senders: Vec<&str> = accepted.iter().map(|(sender, _)| sender.as_str()).collect();
    assert_eq!(senders, ["billing", "desk", "desk"]);
    for (_, mail) in &accepted {
        assert!(mail.contains("\r\n\r\n.\r\n..\r\nA dot begins these lines.\r\n.\r\n"), "{mail}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mails_by_swaks() {
    let server = Server::start().await;
    let file = server.folder.path().join("scan.pdf");
    std::fs::write(&file, [b'%'; 50_000]).unwrap();
    let to = "smith@fax.example.com";
    let cases: &[(&str, &str, &[&str], i32)] = &[
        ("jane@example.com", to, &[], 0),
        ("jane@example.com", to, &["--pipeline"], 0),
        ("jane@example.com", to, &["--tls"], 0),
        (
            "bill@example.com",
            to,
            &["--tls", "--auth", "PLAIN", "--auth-user", "bill", "--auth-password", "a password"],
            0,
        ),
        // swaks: 28 is a refused AUTH, 24 a mail without any accepted recipient.
        (
            "bill@example.com",
            to,
            &["--tls", "--auth", "PLAIN", "--auth-user", "bill", "--auth-password", "wrong"],
            28,
        ),
        ("mallory@example.com", to, &[], 24),
        ("jane@example.com", "smith@elsewhere.example.com", &[], 24),
    ];
    for (from, to, more, status) in cases {
        let output = run(swaks(server.address, from, to, &file, more)).await;
        let talk = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(*status), "{from} {to} {more:?}:\n{talk}");
    }
    assert_eq!(server.accepted().await.len(), 4);
}
