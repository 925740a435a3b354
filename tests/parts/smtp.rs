//! The SMTP listener driven by clients that nobody here wrote: Python's smtplib, and swaks.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output};

use faxbridge::intake::smtp::{self, Door, Tls};
use faxbridge::sealed::{Dsn, SubmissionFacts};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::accepting::Bench;

const CONFIG: &str = r#"
[smtp]
listen = ["127.0.0.1:0"]
hostname = "fax.example.com"
tarpit = "10 ms"
tls_certificate = "fixtures/tls/fax.example.com.pem"
tls_key = "fixtures/tls/fax.example.com.key"
[[sender]]
name = "desk"
addresses = ["jane@example.com", "jürgen@example.com"]
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
    bench: Bench,
    address: SocketAddr,
    tls: SocketAddr,
    lmtp: SocketAddr,
    _stop: watch::Sender<bool>,
}

impl Server {
    async fn start() -> Server {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("password"), "a password").unwrap();
        let bench = Bench::open(folder, CONFIG).await;
        let section = bench.config.smtp.clone().unwrap();
        let certificate = section.tls_certificate.as_deref().unwrap();
        let config = smtp::server_config(certificate, section.tls_key.as_deref().unwrap()).unwrap();
        let server =
            smtp::Server::new(&section, Some(Tls { config, partners: None }), bench.intake.clone()).unwrap();
        let (stop, stopped) = watch::channel(false);
        let open = async |door| {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let (server, stopped) = (server.clone(), stopped.clone());
            tokio::spawn(async move { server.serve(listener, door, stopped).await });
            address
        };
        let (address, tls, lmtp) = (open(Door::Smtp).await, open(Door::Tls).await, open(Door::Lmtp).await);
        Server { bench, address, tls, lmtp, _stop: stop }
    }

    /// What was accepted, newest first: the sender's name, the mail, and what was kept beside it.
    async fn accepted_with_facts(&self) -> Vec<(String, String, SubmissionFacts)> {
        let text = |mail| String::from_utf8(mail).unwrap();
        let accepted = self.bench.accepted().await.into_iter();
        accepted.map(|(submission, mail, facts)| (submission.sender, text(mail), facts)).collect()
    }

    /// The same without what was kept beside it.
    async fn accepted(&self) -> Vec<(String, String)> {
        self.accepted_with_facts().await.into_iter().map(|(sender, mail, _)| (sender, mail)).collect()
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
    if !more.contains(&"--server") {
        client.args(["--server", &address.to_string()]);
    }
    client.args(["--ehlo", "client.example.com", "--from", from, "--to", to]);
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
    let file = server.bench.folder.path().join("scan.pdf");
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
        (
            "bill@example.com",
            to,
            &["--tls", "--auth", "LOGIN", "--auth-user", "bill", "--auth-password", "a password"],
            0,
        ),
        (
            "bill@example.com",
            to,
            &["--tls", "--auth", "LOGIN", "--auth-user", "bill", "--auth-password", "wrong"],
            28,
        ),
        ("jane@example.com", to, &["--server", "AT-TLS", "--tls-on-connect"], 0),
        (
            "bill@example.com",
            to,
            &[
                "--server",
                "AT-TLS",
                "--tlsc",
                "--auth",
                "PLAIN",
                "--auth-user",
                "bill",
                "--auth-password",
                "a password",
            ],
            0,
        ),
        ("jane@example.com", to, &["--server", "AT-LMTP", "--protocol", "LMTP"], 0),
        (
            "bill@example.com",
            to,
            &[
                "--server",
                "AT-LMTP",
                "--protocol",
                "LMTP",
                "--tls",
                "--auth",
                "LOGIN",
                "--auth-user",
                "bill",
                "--auth-password",
                "a password",
            ],
            0,
        ),
        ("mallory@example.com", to, &[], 24),
        ("jane@example.com", "smith@elsewhere.example.com", &[], 24),
    ];
    for (from, to, more, status) in cases {
        let (tls, lmtp) = (server.tls.to_string(), server.lmtp.to_string());
        let arguments: Vec<&str> = more
            .iter()
            .map(|word| match *word {
                "AT-TLS" => tls.as_str(),
                "AT-LMTP" => lmtp.as_str(),
                word => word,
            })
            .collect();
        let output = run(swaks(server.address, from, to, &file, &arguments)).await;
        let talk = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(*status), "{from} {to} {more:?}:\n{talk}");
    }
    assert_eq!(server.accepted().await.len(), 9);
}

/// What Python's smtplib does with the newer extensions, over implicit TLS and LMTP, and with chunks put together by hand.
const EXTENSIONS: &str = r#"
import smtplib, socket, ssl, sys
host, plain, tls, lmtp, authority = sys.argv[1], *map(int, sys.argv[2:5]), sys.argv[5]
context = ssl.create_default_context(cafile=authority)
to = ["smith@fax.example.com", "jones@fax.example.com"]
mail = "Subject: {}\r\n\r\n.\r\nbody\r\n"

with smtplib.SMTP_SSL(host, tls, context=context) as s:
    s.ehlo()
    assert not s.has_extn("starttls") and s.esmtp_features["auth"].split() == ["PLAIN", "LOGIN"], s.esmtp_features
    s.login("bill", "a password")
    assert s.sendmail("bill@example.com", to, mail.format("tls")) == {}

with smtplib.SMTP(host, plain) as s:
    s.ehlo()
    for word in ["smtputf8", "dsn", "chunking", "8bitmime", "enhancedstatuscodes"]:
        assert s.has_extn(word), word
    assert not s.has_extn("requiretls") and not s.has_extn("binarymime")
    utf8 = mail.format("\u00dcberweisung").encode()
    assert s.sendmail("j\u00fcrgen@example.com", to, utf8, mail_options=["SMTPUTF8", "BODY=8BITMIME"]) == {}
    s.rset()
    code, text = s.docmd("MAIL", "FROM:<jane@example.com>")
    assert code == 250
    s.rset()
    assert s.sendmail("jane@example.com", to, mail.format("dsn"), mail_options=["RET=HDRS", "ENVID=QQ314159"],
        rcpt_options=["NOTIFY=SUCCESS,FAILURE", "ORCPT=rfc822;a+2Bb@example.com"]) == {}
    try:
        s.sendmail("jane@example.com", to, mail.format("dsn"), rcpt_options=["NOTIFY=NEVER,SUCCESS"])
    except smtplib.SMTPRecipientsRefused as e:
        assert e.recipients[to[0]][0] == 501, e
    else:
        raise SystemExit("NOTIFY=NEVER,SUCCESS was accepted")

with smtplib.LMTP(host, lmtp) as s:
    # smtplib reads one reply to DATA, as for SMTP: so one recipient.
    assert s.sendmail("jane@example.com", to[:1], mail.format("lmtp")) == {}

with socket.create_connection((host, plain)) as s:
    lines = s.makefile("rb")
    half, rest = b"Subject: chunks\r\n\r\n.\r", b"\nQUIT\r\n"
    s.sendall(b"EHLO client.example\r\n")
    while not lines.readline().startswith(b"250 "): pass
    s.sendall(b"MAIL FROM:<jane@example.com>\r\nRCPT TO:<smith@fax.example.com>\r\nBDAT %d\r\n%sBDAT %d\r\n%sBDAT 0 LAST\r\nQUIT\r\n"
        % (len(half), half, len(rest), rest))
    codes = [lines.readline()[:9] for _ in range(6)]
    assert codes == [b"250 2.1.0", b"250 2.1.5", b"250 2.0.0", b"250 2.0.0", b"250 2.0.0", b"221 2.0.0"], codes
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn newer_extensions_by_python() {
    let server = Server::start().await;
    let mut client = Command::new("python3");
    client.args(["-c", EXTENSIONS, "127.0.0.1"]);
    client.args([server.address, server.tls, server.lmtp].map(|address| address.port().to_string()));
    client.arg("fixtures/tls/authority.pem");
    let output = run(client).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let accepted = server.accepted_with_facts().await;
    let subjects: Vec<&str> = accepted
        .iter()
        .map(|(_, mail, _)| mail.lines().next().unwrap().trim_start_matches("Subject: "))
        .collect();
    assert_eq!(subjects, ["chunks", "lmtp", "dsn", "Überweisung", "tls"]);
    for (_, mail, _) in &accepted[1..] {
        assert!(mail.ends_with("\r\n\r\n.\r\nbody\r\n"), "{mail}");
    }
    assert!(accepted[0].1.ends_with("\r\n\r\n.\r\nQUIT\r\n"));
    assert_eq!(accepted[3].2.envelope_from.as_deref(), Some("jürgen@example.com"));
    let Some(Dsn { envelope_id, full, recipients }) = &accepted[2].2.dsn else { panic!("DSN was asked for") };
    assert_eq!((envelope_id.as_deref(), *full, recipients.len()), (Some("QQ314159"), false, 2));
    assert!(recipients.iter().all(|r| r.success && r.failure && !r.never));
    assert_eq!(recipients[1].original.as_deref(), Some("rfc822;a+b@example.com"));
    assert!(accepted[1].2.dsn.is_none());
}
