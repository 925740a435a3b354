//! SMTP clients that take all sessions, all time or all of the log, and the others beside them.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};

use crate::support::smtp::Session;
use crate::support::{Stage, documents};

const SMTP: &str = r#"
[smtp]
listen = ["127.0.0.1:0"]
hostname = "fax.clinic.example"
max_sessions = 40
max_sessions_per_address = 5
max_sessions_per_relay = 20
unproven_time = "2 s"
idle = "4 s"

[[sender]]
name = "front desk"
addresses = ["jane@clinic.example"]
networks = ["127.0.0.1", "127.0.0.9"]

[[sender]]
name = "remote"
addresses = ["@remote.example"]
proof = ["dmarc"]

[[rule]]
name = "named recipient"
to = "{recipient}@fax.clinic.example"
"#;

const JANE: &str = "jane@clinic.example";
const TO: &str = "mercy-radiology@fax.clinic.example";
/// Named in the configuration.
const RELAY: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);

async fn stage() -> Stage {
    let mut stage = Stage::new(SMTP).await;
    stage.verified(&[("mercy-radiology", "+12125550199")]).await;
    stage.start().await;
    stage
}

/// A machine that the configuration does not name.
fn stranger(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 1, n)
}

struct Peer(BufReader<TcpStream>);

impl Peer {
    async fn connect(to: SocketAddr, from: Ipv4Addr) -> Peer {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        Peer(BufReader::new(socket.connect(to).await.unwrap()))
    }

    /// The last line of a reply; empty at the end of the connection.
    async fn hear(&mut self) -> String {
        loop {
            let mut line = String::new();
            let read = self.0.read_line(&mut line).await;
            if !matches!(read, Ok(1..)) || line.as_bytes().get(3) != Some(&b'-') {
                return line;
            }
        }
    }

    async fn say(&mut self, text: &str) -> String {
        self.0.get_mut().write_all(text.as_bytes()).await.unwrap();
        self.hear().await
    }
}

/// Sessions of `from` until there is no place for one more; what the last one was told.
async fn fill(to: SocketAddr, from: Ipv4Addr) -> (Vec<Peer>, String) {
    let mut open = Vec::new();
    loop {
        let mut peer = Peer::connect(to, from).await;
        let greeting = peer.hear().await;
        if !greeting.starts_with("220 ") {
            return (open, greeting);
        }
        open.push(peer);
        assert!(open.len() <= 40, "no end of places");
    }
}

async fn faxed(stage: &Stage, from: Ipv4Addr, n: u32) {
    let id = format!("<{n}@clinic.example>");
    let mail = documents::mail(JANE, TO, &id, "Labs", &[("l.pdf", &documents::pdf("l", 1))]);
    let mut session = Session::connect_from(stage.smtp(), from).await.unwrap();
    session.send(JANE, &[TO], &mail).await.unwrap();
    stage.final_receipt(&id).await;
}

/// One stranger cannot lock out another, and no number of strangers locks out whom the configuration names.
#[tokio::test(flavor = "multi_thread")]
async fn strangers_leave_smtp_sessions_to_others() {
    let stage = stage().await;
    let to = stage.smtp();
    let (first, told) = fill(to, stranger(1)).await;
    assert_eq!(first.len(), 5);
    assert!(told.contains("too many sessions from your address"), "{told}");
    let mut crowd = first;
    let mut told = String::new();
    for n in 2..20 {
        let (more, last) = fill(to, stranger(n)).await;
        crowd.extend(more);
        told = last;
    }
    assert!(crowd.len() <= 30, "three quarters of 40: {}", crowd.len());
    assert!(told.contains("too many sessions at the moment"), "{told}");
    let (relays, _) = fill(to, RELAY).await;
    assert!(
        relays.len() >= 10 && relays.len() <= 20,
        "what is kept for those that are named: {}",
        relays.len()
    );
    drop(relays);
    stage.until("a place", async || Session::connect_from(to, RELAY).await.ok().map(drop)).await;
    faxed(&stage, RELAY, 1).await;
    drop(crowd);
}

/// Whoever proves nothing is gone soon, however slowly or busily they speak; whoever is named has all the time there is.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_proves_nothing_has_a_short_clock() {
    let stage = stage().await;
    let to = stage.smtp();
    let begun = Instant::now();
    let silent = tokio::spawn(async move {
        let mut peer = Peer::connect(to, stranger(1)).await;
        peer.hear().await;
        peer.hear().await
    });
    let drips = tokio::spawn(async move {
        let mut peer = Peer::connect(to, stranger(2)).await;
        peer.hear().await;
        let (mut read, mut write) = tokio::io::split(peer.0.into_inner());
        let drip = tokio::spawn(async move {
            let mut pace = tokio::time::interval(Duration::from_millis(50));
            for byte in b"NOOP and so on ".iter().cycle() {
                pace.tick().await;
                if write.write_all(&[*byte]).await.is_err() {
                    break;
                }
            }
        });
        let mut heard = String::new();
        let _ = read.read_to_string(&mut heard).await;
        drip.abort();
        heard
    });
    let busy = tokio::spawn(async move {
        let mut peer = Peer::connect(to, stranger(3)).await;
        peer.hear().await;
        let mut pace = tokio::time::interval(Duration::from_millis(100));
        loop {
            pace.tick().await;
            let reply = peer.say("NOOP\r\n").await;
            if !reply.starts_with("250 ") {
                return reply;
            }
        }
    });
    // Its mail may be slow, but not as slow as this.
    let body = tokio::spawn(async move {
        let mut peer = Peer::connect(to, stranger(4)).await;
        peer.hear().await;
        for (line, code) in [
            ("EHLO x\r\n", "250 "),
            ("MAIL FROM:<jo@remote.example>\r\n", "250 "),
            ("RCPT TO:<mercy-radiology@fax.clinic.example>\r\n", "250 "),
            ("DATA\r\n", "354 "),
        ] {
            let reply = peer.say(line).await;
            assert!(reply.starts_with(code), "{line}: {reply}");
        }
        let (mut read, mut write) = tokio::io::split(peer.0.into_inner());
        let drip = tokio::spawn(async move {
            let mut pace = tokio::time::interval(Duration::from_millis(50));
            while write.write_all(b"x").await.is_ok() {
                pace.tick().await;
            }
        });
        let mut heard = String::new();
        let _ = read.read_to_string(&mut heard).await;
        drip.abort();
        heard
    });
    let mut named = Peer::connect(to, RELAY).await;
    assert!(named.hear().await.starts_with("220 "));
    for (what, session) in [("silent", silent), ("dripping", drips), ("busy", busy), ("dripping mail", body)]
    {
        let last = tokio::time::timeout(Duration::from_secs(20), session).await;
        let last =
            last.unwrap_or_else(|_| panic!("{what}: still connected after {:?}", begun.elapsed())).unwrap();
        let expected = if what == "dripping mail" { "421 4.4.2" } else { "421 4.7.0" };
        assert!(last.contains(expected), "{what}: {last:?}");
    }
    // Four seconds of silence are what idle gives it.
    let begun = Instant::now();
    let mut named = Peer::connect(to, RELAY).await;
    named.hear().await;
    assert!(named.hear().await.starts_with("421 4.4.2"));
    assert!(begun.elapsed() >= Duration::from_secs(4), "{:?}", begun.elapsed());
}

/// A connection that is refused ten thousand times writes a line, and then a count.
#[tokio::test(flavor = "multi_thread")]
async fn refusals_do_not_fill_the_log() {
    let stage = stage().await;
    let before = stage.log().len();
    let mut peer = Peer::connect(stage.smtp(), RELAY).await;
    peer.hear().await;
    assert!(peer.say("EHLO x\r\n").await.starts_with("250 "));
    let commands =
        "MAIL FROM:<mallory@evil.example>\r\nRCPT TO:<x@elsewhere.example>\r\nRSET\r\n".repeat(10_000);
    let (read, mut write) = tokio::io::split(peer.0.into_inner());
    let sent = tokio::spawn(async move {
        let _ = write.write_all(commands.as_bytes()).await;
        let _ = write.write_all(b"QUIT\r\n").await;
        write
    });
    let mut replies = BufReader::new(read).lines();
    let mut refused = 0;
    while let Ok(Some(line)) = replies.next_line().await {
        refused += usize::from(line.starts_with("550 5.1.1"));
    }
    drop(sent.await.unwrap());
    assert_eq!(refused, 10_000);
    let log = stage.log();
    let written = log.len() - before;
    assert!(written < 20_000, "{written} bytes of log for 10,000 refusals");
    assert!(log.contains("a mail from 127.0.0.9 was refused with 5.1.1"), "{}", stage.log_tail());
    assert!(!log.contains("evil.example"), "no address in the log");
}

const WITH_PASSWORDS: &str = r#"
[smtp]
listen = ["127.0.0.1:0"]
hostname = "fax.clinic.example"
tls_certificate = "FIXTURES/tls/fax.example.com.pem"
tls_key = "FIXTURES/tls/fax.example.com.key"
tarpit = "10 ms"
failed_logins = 3

[[sender]]
name = "claims"
login = "claims"
password = "file:DIR/claims.password"

[[rule]]
name = "named recipient"
to = "{recipient}@fax.clinic.example"
"#;

/// Whoever looks for guessed passwords finds user, address and reason; and never a password that was typed as a name.
#[tokio::test(flavor = "multi_thread")]
async fn failed_sign_ins_are_log_lines() {
    let mut stage = Stage::new(WITH_PASSWORDS).await;
    stage.secret("claims.password", b"the right one");
    stage.start().await;
    let server = stage.smtp().to_string();
    for (user, told) in [
        ("claims", "SMTP sign-in of \"claims\" from 127.0.0.1 failed: wrong password"),
        ("hunter2-typed-as-a-name", "SMTP sign-in from 127.0.0.1 failed: no such account"),
        ("claims", ""),
        ("claims", "SMTP sign-in from 127.0.0.1 failed: too many wrong passwords from its address"),
    ] {
        let output = tokio::process::Command::new("swaks")
            .args([
                "--server",
                &server,
                "--tls",
                "--auth",
                "PLAIN",
                "--auth-user",
                user,
                "--auth-password",
                "guess",
            ])
            .args(["--quit-after", "AUTH"])
            .output()
            .await
            .expect("swaks is installed");
        assert!(!output.status.success());
        stage.until(told, async || stage.log().contains(told).then_some(())).await;
    }
    assert!(!stage.log().contains("hunter2"), "what is no account may be a password");
    assert!(!stage.log().contains("guess"));
}
