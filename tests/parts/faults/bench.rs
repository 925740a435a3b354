//! One cell of the matrix: a store with one Job, the real worker, webhook listener and media host, an adapter made from a
//! section of the configuration, the proxy and the simulator. Time stands still until it is moved on.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use faxbridge::alarm::Alarms;
use faxbridge::clock::{Clock, SharedClock};
use faxbridge::config::Config;
use faxbridge::daemon::build_providers;
use faxbridge::delivery::circumstances::Circumstances;
use faxbridge::delivery::media::{Host, Media};
use faxbridge::delivery::webhook::{Hooks, WebhookReceiver};
use faxbridge::delivery::worker::{Providers, Worker};
use faxbridge::job::state::{Event, step};
use faxbridge::job::{Actor, FaxNumber, JobId, JobState, Source, SubmissionId};
use faxbridge::simulator::server::{self as simulator, Quirks, Running};
use faxbridge::simulator::telnyx_public_key;
use faxbridge::spool::{Sealed, Spool};
use faxbridge::store::{
    Document, Job, NewJob, NewSubmission, PacketRow, ProviderRow, Saved, SourceKeys, Store, Verdict, Wake,
    within_process,
};
use jiff::{SignedDuration, Timestamp};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::proxy::Proxy;
use super::vendors::{Reports, Vendor};
use crate::register;
use faxbridge::text::hex;
use faxbridge::vault::{MasterKey, Purpose, WrappedKey};

const CONFIG: &str = r#"
[organization]
name = "Lakeside Family Clinic"
country = "US"
time_zone = "America/New_York"
fax = "+12125550101"

[store]
data_dir = "DIR"
master_key = "file:DIR/never.read"

[provider.it]
url = "URL"
timeout = "TIMEOUT"
"#;

/// A provider with which all is well.
const OTHER: &str = r#"
[provider.other]
kind = "simulator"
url = "SIMULATOR"
token = "file:DIR/token"
webhook_key = "file:DIR/webhook.key"
"#;

const TOKEN: &str = "token-of-the-tests";
const KEY: &[u8] = b"webhook-key-of-the-tests";
const PAPER: &str = "fixtures/three-pages.pdf";
/// How long something that must happen may take, in real time, on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(10);

/// A clock that is moved by hand.
#[derive(Debug)]
struct Hand(Mutex<Timestamp>);

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

/// See the module.
pub(crate) struct Bench {
    pub(crate) proxy: Proxy,
    pub(crate) simulator: Arc<Running>,
    pub(crate) store: Store,
    pub(crate) job: JobId,
    pub(crate) submission: SubmissionId,
    pub(crate) alarms: Alarms,
    config: Arc<Config>,
    clock: Arc<Hand>,
    wake: Arc<dyn Wake>,
    /// What takes webhooks, and where they wait until it does.
    desk: Option<(WebhookReceiver, TcpListener)>,
    stop: watch::Sender<bool>,
    working: JoinHandle<()>,
    ways: Ways,
    dir: TempDir,
}

/// What a worker needs beside the store.
#[derive(Clone)]
struct Ways {
    spool: Spool,
    providers: Providers,
    hooks: Hooks,
    media: Media,
}

/// A Job with which nothing happens until time goes by.
pub(crate) struct Rest {
    pub(crate) job: Job,
    /// When something happens next; `None` where nothing will by itself.
    pub(crate) next: Option<Timestamp>,
}

impl Bench {
    /// A Job to `number`, due now. The proxy refuses connections, webhooks wait at the door, and the worker does not work yet.
    pub(crate) async fn new(
        vendor: &'static Vendor,
        number: FaxNumber,
        timeout: &'static str,
        routed: bool,
        quirks: Quirks,
    ) -> (Bench, Worker) {
        let dir = TempDir::new().unwrap();
        let clock = Arc::new(Hand(Mutex::new(Timestamp::from_second(1_795_000_000).unwrap())));
        let shared = Arc::clone(&clock) as SharedClock;
        for (name, secret) in [
            ("token", TOKEN.as_bytes()),
            ("webhook.key", KEY),
            ("telnyx.key", telnyx_public_key(KEY).as_bytes()),
        ] {
            std::fs::write(dir.path().join(name), secret).unwrap();
        }
        let store = Store::open(dir.path(), "the tests").await.unwrap();
        let spool = Spool::open(dir.path().join("spool"), MasterKey::from_bytes(&[7; 32]).unwrap()).unwrap();
        let (at_hooks, hooks_base) = port().await;
        let (at_media, media_base) = port().await;
        let hooks = Hooks::new(&hooks_base, spool.vault().marker(Purpose::Webhook));
        let media =
            Media::new(&media_base, spool.vault().marker(Purpose::Media), SignedDuration::from_mins(30));

        let mut options = simulator::Options::new(dir.path().join("faxed"), TOKEN, KEY);
        options.call_time = Duration::from_millis(5);
        options.webhook_pause = Duration::from_millis(5);
        options.clock = Arc::clone(&shared);
        options.quirks = quirks;
        if vendor.reports == Reports::Panel {
            options.interfax_callback = Some(hooks.url_for("it", None));
        }
        let simulator = Arc::new(simulator::serve(options).await.unwrap());
        if vendor.reports == Reports::Registered {
            register(&simulator, &hooks.url_for("it", None)).await;
        }
        let proxy = Proxy::new(Arc::clone(&simulator), TOKEN, vendor.submits);

        let url = format!("http://{}{}", proxy.address, vendor.face);
        let config = configuration(vendor, dir.path(), &[&url, timeout, &simulator.url()], routed);
        let providers = build_providers(&config).unwrap();
        for (name, section) in &config.provider {
            store.meet_provider(name, &section.identity()).await.unwrap();
        }
        let route: &[&str] = if routed { &["it", "other"] } else { &["it"] };
        let now = clock.now();
        let (submission, job) = enter_job(&store, &spool, number, route, now).await;
        let (wake, (stop, stopped)) = (within_process(), watch::channel(false));
        let desk = WebhookReceiver {
            alarms: Alarms::default(),
            hooks: hooks.clone(),
            providers: providers.clone(),
            store: store.clone(),
            clock: Arc::clone(&shared),
            wake: Arc::clone(&wake),
        };
        let host = Host {
            alarms: Alarms::default(),
            media: media.clone(),
            store: store.clone(),
            spool: spool.clone(),
            clock: Arc::clone(&shared),
        };
        tokio::spawn(host.serve(at_media, None, stopped));
        let config = Arc::new(config);
        let working = tokio::spawn(std::future::ready(()));
        let bench = Bench {
            proxy,
            simulator,
            store,
            job,
            submission,
            alarms: Alarms::default(),
            config,
            clock,
            wake,
            desk: Some((desk, at_hooks)),
            stop,
            working,
            ways: Ways { spool, providers, hooks, media },
            dir,
        };
        let worker = bench.worker();
        (bench, worker)
    }

    fn worker(&self) -> Worker {
        let Ways { spool, providers, hooks, media } = self.ways.clone();
        Worker {
            store: self.store.clone(),
            spool,
            providers,
            config: Arc::clone(&self.config),
            clock: Arc::clone(&self.clock) as SharedClock,
            wake: Arc::clone(&self.wake),
            answered: within_process(),
            alarms: self.alarms.clone(),
            hands: Arc::default(),
            hooks: Some(hooks),
            media: Some(media),
        }
    }

    /// Copies database and what lies beside it away.
    pub(crate) async fn back_up(&self) {
        assert_eq!(self.store.meet_origin(self.dir.path(), self.now()).await.unwrap(), None);
        assert!(self.store.scrub().await.unwrap());
        let backup = self.dir.path().join("backup");
        std::fs::create_dir(&backup).unwrap();
        for name in ["faxbridge.db", "store.mark", "store.count"] {
            std::fs::copy(self.dir.path().join(name), backup.join(name)).unwrap();
        }
    }

    /// What was copied away is what there is from now on; a worker for it.
    pub(crate) async fn restore(&mut self) -> Worker {
        let backup = self.dir.path().join("backup");
        self.store = Store::open(&backup, "the tests").await.unwrap();
        let older = self.store.meet_origin(&backup, self.now()).await.unwrap();
        assert_eq!(older, Some("another store.mark"));
        // The document is handed out for what this store has open.
        let spool = self.ways.spool.clone();
        let (listener, base) = port().await;
        let media = Media::new(&base, spool.vault().marker(Purpose::Media), SignedDuration::from_mins(30));
        let clock = Arc::clone(&self.clock) as SharedClock;
        let (alarms, store) = (Alarms::default(), self.store.clone());
        let host = Host { alarms, media: media.clone(), store, spool, clock };
        tokio::spawn(host.serve(listener, None, self.stop.subscribe()));
        self.ways.media = media;
        // Nobody tells it anything of what it has forgotten.
        self.desk = None;
        self.worker()
    }

    /// Ends the worker, and nothing else.
    pub(crate) async fn stop_worker(&mut self) {
        let working = std::mem::replace(&mut self.working, tokio::spawn(std::future::ready(())));
        working.abort();
        let _ = working.await;
    }

    pub(crate) fn start(&mut self, worker: Worker) {
        self.working = tokio::spawn(Arc::new(worker).run(self.stop.subscribe()));
    }

    /// Takes webhooks from now on.
    pub(crate) fn take_webhooks(&mut self) {
        let Some((desk, listener)) = self.desk.take() else { return };
        tokio::spawn(desk.serve(listener, None, self.stop.subscribe()));
    }

    /// Ends the worker, which must have nothing in hand that does not end.
    pub(crate) async fn stop(self) {
        self.stop.send(true).unwrap();
        tokio::time::timeout(PATIENCE, self.working).await.expect("the worker ends").unwrap();
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// How a provider fares; `it` is the one in the matrix.
    pub(crate) async fn provider(&self, name: &str) -> ProviderRow {
        let rows = self.store.providers().await.unwrap();
        rows.into_iter().find(|row| row.name == name).unwrap()
    }

    /// How many webhooks were sent and taken.
    pub(crate) fn webhooks(&self) -> usize {
        let log = std::fs::read_to_string(self.dir.path().join("faxed/calls.jsonl")).unwrap();
        let events = log.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        events.filter(|event| event["event"] == "webhook" && event["taken"] == true).count()
    }

    /// The states that the Job went through, as the ledger has them.
    pub(crate) async fn path(&self) -> String {
        let history = self.store.history(self.job).await.unwrap();
        let changes = history.iter().filter(|row| row.event == "state");
        let mut path = "queued".to_owned();
        for change in changes {
            let (_, to) = change.detail.split_once(" -> ").unwrap();
            path.push_str(" > ");
            path.push_str(to);
        }
        path
    }

    /// What each Attempt came to, in a word: its cause, or else its outcome.
    pub(crate) async fn tries(&self) -> Vec<String> {
        let attempts = self.store.attempts(self.job).await.unwrap();
        let word = |attempt: faxbridge::store::AttemptRow| attempt.cause.or(attempt.outcome);
        attempts.into_iter().map(|attempt| word(attempt).unwrap_or_else(|| "open".into())).collect()
    }

    /// Waits until nothing more happens without time going by: the Job waits, and the simulator has no call to make and
    /// nothing to report.
    pub(crate) async fn rest(&self) -> Rest {
        loop {
            let version = self.still().await.job.version;
            tokio::time::timeout(PATIENCE, self.simulator.idle()).await.expect("calls end");
            let rest = self.still().await;
            if rest.job.version == version {
                return rest;
            }
        }
    }

    /// Lets time go by until the Job's next step.
    pub(crate) fn pass(&self, rest: &Rest) {
        let next = rest.next.expect("it goes on by itself");
        *self.clock.0.lock().unwrap() = next;
        self.wake.wake();
    }

    /// A person wants the Job cancelled while a call may be under way.
    pub(crate) async fn wish_to_cancel(&self) {
        assert!(self.store.wish_to_cancel(self.job, &Actor::Daemon, self.now()).await.unwrap());
        self.wake.wake();
    }

    /// A person decides about a held Job.
    pub(crate) async fn decide(&self, event: Event) {
        let job = self.store.job(self.job).await.unwrap().unwrap();
        let circumstances = Circumstances::of(&self.store, &self.config, &job).await.unwrap();
        let step = step(&job.state, event, &circumstances.context(self.now(), 0.0)).unwrap();
        let saved = self.store.save_step(&job, step, &Actor::Daemon, false, self.now()).await.unwrap();
        assert!(matches!(saved, Saved::Done(_)), "{saved:?}");
        self.wake.wake();
    }

    /// Waits until the provider has taken the fax, and that is recorded.
    pub(crate) async fn taken(&self) {
        let taken = async || self.path().await.ends_with("in_transit").then_some(());
        self.until("the fax is taken", taken).await;
    }

    async fn still(&self) -> Rest {
        self.until("it comes to rest", async || self.look().await).await
    }

    async fn until<T>(&self, what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = look().await {
                return found;
            }
            if Instant::now() > deadline {
                panic!("not in time: {what}; {}, {:?}", self.path().await, self.tries().await);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// The Job, unless a worker has it in hand or will have at once.
    async fn look(&self) -> Option<Rest> {
        let job = self.store.job(self.job).await.unwrap().unwrap();
        if job.state.is_final() || matches!(job.state, JobState::Held { .. }) {
            return Some(Rest { job, next: None });
        }
        let (own, all) = (
            job.state.wake_at()?,
            self.store
                .next_wake(self.config.provider.keys().map(String::as_str), self.now())
                .await
                .unwrap()?,
        );
        // Otherwise a lease is on it, or there is news.
        if own.as_millisecond() != all.as_millisecond() {
            return None;
        }
        let now = self.now();
        if own > now {
            return Some(Rest { job, next: Some(own) });
        }
        // It is due and waits for a provider that rests.
        let until = self.provider(&job.provider).await.rests_until.filter(|until| *until > now)?;
        matches!(job.state, JobState::Queued { .. }).then_some(Rest { job, next: Some(until) })
    }
}

/// A port of this machine, and its URL.
async fn port() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    (listener, base)
}

fn configuration(vendor: &Vendor, dir: &Path, [url, timeout, simulator]: &[&str; 3], routed: bool) -> Config {
    let other = if routed { OTHER } else { "" };
    let text = format!("{CONFIG}{}{other}", vendor.keys)
        .replace("URL", url)
        .replace("TIMEOUT", timeout)
        .replace("SIMULATOR", simulator)
        .replace("DIR", dir.to_str().unwrap());
    toml::from_str(&text).unwrap()
}

/// What an operator of Fax.Plus does once.
async fn register(simulator: &Running, target: &str) {
    let answer = reqwest::Client::new()
        .post(format!("{}/faxplus/v3/hooks", simulator.url()))
        .bearer_auth(TOKEN)
        .json(&serde_json::json!({ "target": target, "event": "fax_sent" }))
        .send()
        .await
        .unwrap();
    assert!(answer.status().is_success());
}

/// A Job that waits for its turn, to a number that is verified.
async fn enter_job(
    store: &Store,
    spool: &Spool,
    number: FaxNumber,
    route: &[&str],
    now: Timestamp,
) -> (SubmissionId, JobId) {
    let entry = register::verified("mercy", &number, now);
    assert_eq!(store.add_recipients(vec![entry], &Actor::Daemon, now).await.unwrap(), None);
    let (key, WrappedKey(wrapped_key)) = spool.vault().new_key().unwrap();
    let mut writer = spool.create(&key).unwrap();
    writer.write(&std::fs::read(PAPER).unwrap()).await.unwrap();
    let Sealed { name, bytes, sha256 } = writer.finish().await.unwrap();
    let document = Document { name, bytes, sha256: hex(&sha256) };
    let submission = NewSubmission {
        id: SubmissionId::new(now, 1),
        source: Source::Cli,
        source_keys: SourceKeys::default(),
        sender: "front desk".into(),
        receipt_to: Some(spool.vault().seal_address("jane@clinic.example").unwrap()),
        accepted_at: now,
        wrapped_key,
        facts: Vec::new(),
        documents: vec![Document { name: "received".into(), ..document.clone() }],
    };
    let submission = store.insert_submission(submission, now).await.unwrap().unwrap();
    let job = NewJob {
        id: JobId::new(now, 1),
        version: 1,
        recipient: Some("mercy".into()),
        number: Some(number),
        rule: "r".into(),
        route: route.iter().map(ToString::to_string).collect(),
        state: JobState::Queued { due: now },
        deadline: now + SignedDuration::from_hours(24),
        send_at: None,
        priority: faxbridge::job::Priority::Normal,
        packet: Some(PacketRow { document, shared: None, pages: 3, cover_pages: 0 }),
        facts: Vec::new(),
        mark: None,
    };
    let id = job.id;
    assert!(
        store.record_prepared(submission, Verdict::Jobs, Vec::new(), vec![job], false, now).await.unwrap()
    );
    (submission, id)
}

/// What the document is at the far end.
pub(crate) fn paper_hash() -> String {
    use aws_lc_rs::digest::{SHA256, digest};
    hex(digest(&SHA256, &std::fs::read(PAPER).unwrap()).as_ref())
}
