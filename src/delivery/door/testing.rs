//! What the tests of the door and of both who stand behind it share: clients that do not behave, and a Job that is being sent.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use jiff::{SignedDuration, Timestamp};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::clock::Clock;
use crate::job::state::{Context, Event, step};
use crate::job::{Actor, FaxNumber, JobId, JobState, Source, SubmissionId, reference};
use crate::spool::{Sealed, Spool};
use crate::store::{Document, NewJob, NewSubmission, PacketRow, Saved, SourceKeys, Store, Verdict};
use crate::text::hex;
use crate::vault::{MasterKey, WrappedKey};

/// A port, and the word that it is to stop.
pub(in crate::delivery) async fn port()
-> (TcpListener, SocketAddr, watch::Sender<bool>, watch::Receiver<bool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = watch::channel(false);
    (listener, address, stop, stopped)
}

/// All that is said in answer to `request`, until the other side ends it.
pub(in crate::delivery) async fn exchange(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    rest(&mut stream).await
}

/// What still comes; a reset ends it too.
pub(in crate::delivery) async fn rest(stream: &mut TcpStream) -> String {
    let mut said = Vec::new();
    let _ = stream.read_to_end(&mut said).await;
    String::from_utf8_lossy(&said).into_owned()
}

/// The three digits of an answer.
pub(in crate::delivery) fn status(answer: &str) -> &str {
    answer.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).unwrap_or(answer)
}

/// An answer without the line that tells the time.
pub(in crate::delivery) fn timeless(answer: &str) -> String {
    answer.lines().filter(|line| !line.starts_with("date: ")).collect::<Vec<_>>().join("\n")
}

/// A clock that is moved by hand.
#[derive(Debug)]
pub(in crate::delivery) struct Hand(Mutex<Timestamp>);

impl Hand {
    pub(in crate::delivery) fn forward(&self, seconds: i64) {
        let mut now = self.0.lock().unwrap();
        *now += SignedDuration::from_secs(seconds);
    }
}

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

/// Store and spool with Jobs in them.
pub(in crate::delivery) struct Rig {
    pub(in crate::delivery) store: Store,
    pub(in crate::delivery) spool: Spool,
    pub(in crate::delivery) clock: Arc<Hand>,
    dir: TempDir,
}

impl Rig {
    pub(in crate::delivery) async fn new() -> Rig {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), "test").await.unwrap();
        let spool = Spool::open(dir.path().join("spool"), MasterKey::from_bytes(&[7; 32]).unwrap()).unwrap();
        let clock = Arc::new(Hand(Mutex::new(Timestamp::from_second(1_795_000_000).unwrap())));
        Rig { store, spool, clock, dir }
    }

    /// A Job whose packet is `packet`, on its first Attempt with the provider `sim`.
    pub(in crate::delivery) async fn sending(&self, n: u64, packet: &[u8]) -> JobId {
        let now = self.clock.now();
        let (key, WrappedKey(wrapped_key)) = self.spool.vault().new_key().unwrap();
        let mut writer = self.spool.create(&key).unwrap();
        writer.write(packet).await.unwrap();
        let Sealed { name, sha256, .. } = writer.finish().await.unwrap();
        let document = Document { name, bytes: packet.len() as u64, sha256: hex(sha256.as_ref()) };
        let submission = NewSubmission {
            id: SubmissionId::new(now, n),
            source: Source::Cli,
            source_keys: SourceKeys::default(),
            sender: "desk".into(),
            receipt_to: None,
            accepted_at: now,
            wrapped_key,
            facts: vec![],
            documents: vec![Document { name: format!("received{n}"), ..document.clone() }],
        };
        let id = self.store.insert_submission(submission, now).await.unwrap().unwrap();
        let job = NewJob {
            id: JobId::new(now, n),
            version: 1,
            recipient: Some("mercy".into()),
            number: Some(FaxNumber::from_e164(&format!("+1212555{n:04}")).unwrap()),
            rule: "r".into(),
            route: vec!["sim".into()],
            state: JobState::Queued { due: now },
            deadline: now + SignedDuration::from_hours(24),
            send_at: None,
            priority: crate::job::Priority::Normal,
            packet: Some(PacketRow { document, shared: None, pages: 3, cover_pages: 1 }),
            facts: vec![],
            mark: None,
        };
        let job_id = job.id;
        assert!(self.store.record_prepared(id, Verdict::Jobs, vec![], vec![job], false, now).await.unwrap());
        self.step(job_id, Event::Claimed { attempt: 1 }).await;
        job_id
    }

    /// Something happens to a Job.
    pub(in crate::delivery) async fn step(&self, id: JobId, event: Event) {
        let job = self.store.job(id).await.unwrap().unwrap();
        let context = Context::plain(self.clock.now(), job.deadline);
        let step = step(&job.state, event, &context).unwrap();
        let saved = self.store.save_step(&job, step, &Actor::Daemon, false, self.clock.now()).await.unwrap();
        assert!(matches!(saved, Saved::Done(_)), "{saved:?}");
    }

    /// Where a document lies.
    pub(in crate::delivery) fn document(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join("spool").join(&name[..2]).join(name)
    }

    /// When the worker wants to look at the Jobs next.
    pub(in crate::delivery) async fn next_wake(&self) -> Option<Timestamp> {
        self.store.next_wake(std::iter::once("sim"), self.clock.now()).await.unwrap()
    }
}

/// Our name for the first Attempt of `job`.
pub(in crate::delivery) fn first(job: JobId) -> String {
    reference(job, 1)
}
