//! Clients that mean no good, or cannot help it: whatever they do, it ends soon, costs little, and leaves nothing.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::{JANE, NUMBER, RADIOLOGY};
use crate::support::{Stage, documents, smtp};

const CONFIG: &str = r#"
[limits]
submission = "20 MiB"

[smtp]
listen = ["127.0.0.1:0"]
listen_tls = ["127.0.0.1:0"]
listen_lmtp = ["127.0.0.1:0"]
hostname = "fax.clinic.example"
tls_certificate = "FIXTURES/tls/fax.example.com.pem"
tls_key = "FIXTURES/tls/fax.example.com.key"
idle = "3 s"
session_time = "60 s"
max_sessions = 1500
max_sessions_per_relay = 1500

[[sender]]
name = "front desk"
addresses = ["jane@clinic.example"]
networks = ["127.0.0.0/8"]

[[rule]]
name = "named recipient"
to = "{recipient}@fax.clinic.example"

[policy]
hurry = 600
ask_first = "200 ms"
ask_at_most = "500 ms"
quiet = "1 s"
"#;

/// What all of them together may add to the daemon's memory, in MB. A mail of 100 MB, 1,000 sessions: neither shows in it.
const ROOM: u64 = 80;

struct Peer(BufReader<TcpStream>);

impl Peer {
    async fn connect(address: SocketAddr) -> Peer {
        Peer(BufReader::new(TcpStream::connect(address).await.unwrap()))
    }

    async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.get_mut().write_all(bytes.as_ref()).await.unwrap();
    }

    /// The last line of one reply; empty at the end.
    async fn hear(&mut self) -> String {
        loop {
            let mut line = String::new();
            let read = self.0.read_line(&mut line).await;
            if !matches!(read, Ok(1..)) || line.as_bytes().get(3) != Some(&b'-') {
                return line;
            }
        }
    }

    async fn expect(&mut self, beginnings: &[&str]) {
        for beginning in beginnings {
            let reply = self.hear().await;
            assert!(reply.starts_with(beginning), "expected {beginning:?}, heard {reply:?}");
        }
    }

    /// From the greeting to the recipient.
    async fn envelope(address: SocketAddr) -> Peer {
        let mut peer = Peer::connect(address).await;
        peer.send(format!("EHLO x\r\nMAIL FROM:<{JANE}>\r\nRCPT TO:<{RADIOLOGY}>\r\n")).await;
        peer.expect(&["220 ", "250 ", "250 2.1.0", "250 2.1.5"]).await;
        peer
    }

    /// Sends `bytes` one after the other until the daemon has enough; returns its last word.
    async fn trickle(mut self, bytes: &[u8]) -> String {
        let mut pace = tokio::time::interval(Duration::from_millis(100));
        for byte in bytes.iter().cycle() {
            pace.tick().await;
            if self.0.get_mut().write_all(&[*byte]).await.is_err() {
                break;
            }
            let mut heard = [0; 1];
            if let Ok(Ok(_)) =
                tokio::time::timeout(Duration::from_millis(1), self.0.get_mut().peek(&mut heard)).await
            {
                break;
            }
        }
        self.hear().await
    }
}

/// Resident memory of the daemon, in MB.
fn memory(stage: &mut Stage) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", stage.daemon().pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

fn documents_in_spool(stage: &Stage) -> usize {
    let folders = std::fs::read_dir(stage.path("data/spool")).unwrap();
    folders.filter_map(|folder| std::fs::read_dir(folder.unwrap().path()).ok()).map(Iterator::count).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_and_slow_clients_end_soon_cost_little_and_leave_nothing() {
    let mut stage = Stage::new(CONFIG).await;
    stage.verified(&[("mercy-radiology", NUMBER)]).await;
    stage.start().await;
    let (address, addresses) = (stage.smtp(), stage.addresses());
    let begun = Instant::now();
    let before = memory(&mut stage);

    // Slow ones, all at once: commands, a mail's header, its body, a chunk.
    let slow = [
        tokio::spawn(async move {
            let mut peer = Peer::connect(address).await;
            peer.expect(&["220 "]).await;
            peer.trickle(b"NOOP and so on and on ").await
        }),
        tokio::spawn(async move {
            let mut peer = Peer::envelope(address).await;
            peer.send("DATA\r\n").await;
            peer.expect(&["354 "]).await;
            peer.trickle(b"X: y\r\n").await
        }),
        tokio::spawn(async move {
            let mut peer = Peer::envelope(address).await;
            peer.send("DATA\r\n").await;
            peer.expect(&["354 "]).await;
            peer.send("Subject: x\r\n\r\n").await;
            peer.trickle(b"body\r\n").await
        }),
        tokio::spawn(async move {
            let mut peer = Peer::envelope(address).await;
            peer.send("BDAT 1000000 LAST\r\n").await;
            peer.trickle(b"body\r\n").await
        }),
    ];

    // A thousand that say nothing.
    let mut idle = Vec::new();
    for _ in 0..1000 {
        idle.push(TcpStream::connect(address).await.unwrap());
    }
    let crowd = memory(&mut stage);
    assert!(crowd < before + ROOM, "1,000 idle sessions took {before} to {crowd} MB");

    // 5,000 recipients: one mail has no more than it may, and each of the others hears it.
    let mut many = Peer::envelope(address).await;
    let rcpts: String = (0..5000).map(|n| format!("RCPT TO:<r{n}@fax.clinic.example>\r\n")).collect();
    let (mut read, mut write) = tokio::io::split(many.0.into_inner());
    let sending = tokio::spawn(async move {
        write.write_all(rcpts.as_bytes()).await.unwrap();
        write.write_all(b"QUIT\r\n").await.unwrap();
        write
    });
    let mut replies = String::new();
    read.read_to_string(&mut replies).await.unwrap();
    drop(sending.await.unwrap());
    assert_eq!(replies.matches("250 2.1.5").count(), 99);
    assert_eq!(replies.matches("452 4.5.3").count(), 4901);

    // A header of 2 MiB.
    many = Peer::envelope(address).await;
    many.send("DATA\r\n").await;
    many.expect(&["354 "]).await;
    many.send(format!("X: {}\r\n", "x".repeat(990)).repeat(2200)).await;
    many.send("\r\nbody\r\n.\r\n").await;
    many.expect(&["552 5.3.4 The header"]).await;

    // 100 MB: announced, refused at once; by surprise, read to the end, by DATA and by BDAT.
    many.send(format!("MAIL FROM:<{JANE}> SIZE=104857600\r\n")).await;
    many.expect(&["552 5.3.4 A mail has at most"]).await;
    let megabyte = [&b"\r\n"[..], &[b'x'; 998]].concat().repeat(1000);
    many.send(format!("MAIL FROM:<{JANE}>\r\nRCPT TO:<{RADIOLOGY}>\r\nDATA\r\n")).await;
    many.expect(&["250 ", "250 ", "354 "]).await;
    for _ in 0..100 {
        many.send(&megabyte).await;
    }
    many.send("\r\n.\r\n").await;
    many.expect(&["552 5.3.4 "]).await;
    many.send(format!("MAIL FROM:<{JANE}>\r\nRCPT TO:<{RADIOLOGY}>\r\nBDAT 100000000 LAST\r\n")).await;
    for _ in 0..100 {
        many.send(&megabyte).await;
    }
    many.expect(&["250 ", "250 ", "552 5.3.4 "]).await;
    many.send("NOOP\r\n").await;
    many.expect(&["250 2.0.0"]).await;

    // Gone in the middle: of DATA, of BDAT, of a TLS handshake, of a PROXY header that is not wanted.
    for (door, words) in [
        (
            address,
            format!("EHLO x\r\nMAIL FROM:<{JANE}>\r\nRCPT TO:<{RADIOLOGY}>\r\nDATA\r\nSubject: x\r\n\r\nbo")
                .into_bytes(),
        ),
        (
            address,
            format!("EHLO x\r\nMAIL FROM:<{JANE}>\r\nRCPT TO:<{RADIOLOGY}>\r\nBDAT 100 LAST\r\nSubj")
                .into_bytes(),
        ),
        (
            addresses.lmtp[0],
            format!("LHLO x\r\nMAIL FROM:<{JANE}>\r\nRCPT TO:<{RADIOLOGY}>\r\nDATA\r\nSub").into_bytes(),
        ),
        (addresses.smtp_tls[0], b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec()),
        (addresses.smtp_tls[0], b"EHLO x\r\n".to_vec()),
        (address, b"EHLO x\r\nSTARTTLS\r\n\x16\x03\x01".to_vec()),
        (address, b"PROXY TCP4 192.0.2.1".to_vec()),
    ] {
        let mut stream = TcpStream::connect(door).await.unwrap();
        stream.write_all(&words).await.unwrap();
        drop(stream);
    }

    for (n, slow) in slow.into_iter().enumerate() {
        let last = slow.await.unwrap();
        assert!(last.starts_with("421 4.4.2"), "slow client {n}: {last:?}");
    }
    // The idle ones are told, and closed.
    for mut stream in idle {
        let mut heard = String::new();
        stream.read_to_string(&mut heard).await.unwrap();
        assert!(heard.contains("421 4.4.2"), "{heard:?}");
    }
    assert!(begun.elapsed() < Duration::from_secs(120), "all that took {:?}", begun.elapsed());
    let after = memory(&mut stage);
    assert!(after < before + ROOM, "{before} MB became {after} MB");

    // Nothing of all that is left, and it works as before.
    stage.until("an empty spool", async || (documents_in_spool(&stage) == 0).then_some(())).await;
    assert!(stage.submissions().await.is_empty());
    let mail =
        documents::mail(JANE, RADIOLOGY, "<1@clinic.example>", "Labs", &[("l.pdf", &documents::pdf("l", 1))]);
    smtp::send(address, JANE, &[RADIOLOGY], &mail).await.unwrap();
    stage.final_receipt("<1@clinic.example>").await;
    assert!(stage.daemon().stop().await.success());
}
