//! Sessions over connections in memory, with the real intake behind them: SQLite and spool in a temporary folder.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{
    AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, DuplexStream,
};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use super::recent::{Guesses, Pace};
use super::session::{Protocol, Session, Settings};
use super::told::Told;
use super::wire::Wire;
use crate::clock::SystemClock;
use crate::config::Config;
use crate::intake::Intake;
use crate::job::SubmissionId;
use crate::routing::Rules;
use crate::sealed::SubmissionFacts;
use crate::spool::Spool;
use crate::store::{Store, Submission, SubmissionFilter};
use crate::vault::{MasterKey, WrappedKey};

mod chunks;
mod dialogue;
mod limited;
mod listener;
mod lmtp;
mod mails;
mod secured;

/// A faxbridge without anything behind its intake.
struct Bench {
    folder: TempDir,
    store: Store,
    spool: Spool,
    intake: Intake,
    settings: Arc<Settings>,
    protocol: Protocol,
    stop: watch::Sender<bool>,
}

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
max_recipients = 3
max_sessions = 2
idle = "60 s"
[[sender]]
name = "desk"
addresses = ["jane@example.com"]
networks = ["127.0.0.0/8"]
[[sender]]
name = "slow"
addresses = ["slow@example.com", "längsam@xn--bcher-kva.example"]
networks = ["127.0.0.0/8"]
mails_per_minute = 2
[[sender]]
name = "partner"
certificates = ["mail.partner.example"]
[[sender]]
name = "billing"
addresses = ["bill@example.com"]
login = "bill"
password = "file:FOLDER/password"
[[rule]]
name = "by name"
to = "{recipient}@fax.example.com"
"#;

impl Bench {
    async fn new() -> Bench {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("password"), "a password").unwrap();
        let text = CONFIG.replace("FOLDER", folder.path().to_str().unwrap());
        let config: Arc<Config> = Arc::new(toml::from_str(&text).unwrap());
        let store = Store::open(folder.path(), "test").await.unwrap();
        let master = MasterKey::from_bytes(&[7; 32]).unwrap();
        let spool = Spool::open(folder.path().join("spool"), master).unwrap();
        let rules = Arc::new(Rules::compile(&config.rule).unwrap());
        let clock = Arc::new(SystemClock);
        let intake =
            Intake::new(config, store.clone(), spool.clone(), rules, clock, Arc::new(Notify::new())).unwrap();
        let (stop, _) = watch::channel(false);
        let settings = Settings {
            hostname: "fax.example.com".into(),
            max_recipients: 3,
            largest: 1 << 20,
            tls: None,
            require_tls: false,
            without_tls: Vec::new(),
            partners: None,
            guesses: Guesses::new(10, Duration::from_secs(60), Duration::ZERO),
            mails_per_minute: None,
            by_address: Pace::new(),
            by_sender: Pace::new(),
            told: Told::default(),
        };
        Bench { folder, store, spool, intake, settings: Arc::new(settings), protocol: Protocol::Smtp, stop }
    }

    /// Changes what all sessions have in common, before the first.
    fn set(&mut self, change: impl FnOnce(&mut Settings)) {
        change(Arc::get_mut(&mut self.settings).expect("no session yet"));
    }

    /// A session and the client's end of it.
    fn connect(&self) -> Client<DuplexStream> {
        self.connect_for(Duration::from_secs(60), Duration::from_secs(3600))
    }

    fn connect_for(&self, idle: Duration, lasts: Duration) -> Client<DuplexStream> {
        self.connect_from("127.0.0.1", idle, lasts)
    }

    fn connect_from(&self, peer: &str, idle: Duration, lasts: Duration) -> Client<DuplexStream> {
        let peer = peer.parse().unwrap();
        let (ours, theirs) = tokio::io::duplex(16 * 1024);
        let settings = Arc::clone(&self.settings);
        let (intake, stop, protocol) = (self.intake.clone(), self.stop.subscribe(), self.protocol);
        let session = tokio::spawn(async move {
            let wire = Wire::new(theirs, idle, lasts, stop);
            let session = Session::new(wire, &settings, &intake, protocol, peer);
            session.run(false).await;
        });
        Client { stream: BufReader::new(ours), session }
    }

    /// A client that sends `part` and goes leaves nothing.
    async fn is_left_alone(&self, mut client: Client<DuplexStream>, part: &str) {
        client.send(part).await;
        let Client { stream, session } = client;
        drop(stream);
        session.await.unwrap();
        assert!(self.submissions().await.is_empty(), "{part:?}");
        assert!(self.spool.list().unwrap().is_empty(), "{part:?}");
    }

    async fn submissions(&self) -> Vec<Submission> {
        self.store.submissions(&SubmissionFilter::default(), 100).await.unwrap()
    }

    /// What was accepted under the name in a `250` reply: the document and what is known about it.
    async fn accepted(&self, reply: &str) -> (Vec<u8>, Submission, SubmissionFacts) {
        let id: SubmissionId = reply.trim_end().rsplit(' ').next().unwrap().parse().unwrap();
        let submission = self.store.submission(id).await.unwrap().unwrap();
        let document = self.store.received(id).await.unwrap().remove(0);
        let key =
            self.spool.vault().unwrap_key(&WrappedKey(submission.wrapped_key.clone().unwrap())).unwrap();
        let bytes = self.spool.read(&key, &document.name).await.unwrap().read_all(1 << 30).await.unwrap();
        let facts = SubmissionFacts::open(&key, &submission.facts).unwrap();
        (bytes, submission, facts)
    }
}

/// A client that sends and expects exactly what the test says.
struct Client<S> {
    stream: BufReader<S>,
    session: JoinHandle<()>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// One whole reply, its lines told apart by `\n`; empty at the end of the connection.
    async fn hear(&mut self) -> String {
        let mut reply = String::new();
        loop {
            let mut line = String::new();
            match self.stream.read_line(&mut line).await {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => {}
                Err(error) => panic!("{error}"),
            }
            let line = line.strip_suffix("\r\n").unwrap_or(&line);
            reply.push_str(line);
            if line.as_bytes().get(3) != Some(&b'-') {
                return reply;
            }
            reply.push('\n');
        }
    }

    /// Sends and hears the one reply to it.
    async fn say(&mut self, bytes: impl AsRef<[u8]>) -> String {
        self.send(bytes).await;
        self.hear().await
    }

    /// Hears the replies that begin so, in this order.
    async fn expect(&mut self, beginnings: &[&str]) {
        for beginning in beginnings {
            let reply = self.hear().await;
            assert!(reply.starts_with(beginning), "expected {beginning:?}, heard {reply:?}");
        }
    }

    /// From the greeting to `354`.
    async fn up_to_data(&mut self) {
        self.expect(&["220 fax.example.com ESMTP"]).await;
        self.send("EHLO client.example.com\r\n").await;
        self.expect(&["250-fax.example.com"]).await;
        self.send("MAIL FROM:<jane@example.com>\r\nRCPT TO:<Dr.Smith@fax.example.com>\r\nDATA\r\n").await;
        self.expect(&["250 2.1.0", "250 2.1.5", "354 "]).await;
    }

    /// Expects the connection to be closed, and the session over.
    async fn over(mut self) {
        let mut rest = Vec::new();
        let _ = self.stream.read_to_end(&mut rest).await;
        assert_eq!(String::from_utf8_lossy(&rest), "");
        drop(self.stream);
        self.session.await.unwrap();
    }
}
