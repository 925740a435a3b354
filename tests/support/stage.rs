//! One story's stage: a temporary folder with configuration and keys, simulator, sink, daemon.

use std::fmt::Display;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use faxbridge::clock::{Clock, SystemClock};
use faxbridge::daemon::Addresses;
use faxbridge::job::{Actor, FaxNumber};
use faxbridge::simulator::server::{self as simulator, Fax};
use faxbridge::spool::Spool;
use faxbridge::store::{AlarmRow, Job, JobFilter, Store, Submission, SubmissionFilter};
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::Instant;

use super::clinic::Clinic;
use super::daemon::{Daemon, Failed, PROGRAM};
use super::disk::SmallDisk;
use super::register;
use super::sink::{Letter, Sink};
use super::turnstile::{self, Pass};
use faxbridge::sealed::SubmissionFacts;
use faxbridge::vault::{MasterKey, WrappedKey};

/// The master key of every stage.
pub(crate) const MASTER_KEY: [u8; 32] = [7; 32];
/// Under what the simulator signs webhooks.
pub(crate) const WEBHOOK_KEY: &[u8] = b"webhook-key-of-the-tests";

/// How long something that must happen may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(20);
/// Lines of the daemon's log that a failure shows.
const TAIL: usize = 40;

/// See the module.
pub(crate) struct Stage {
    pub(crate) simulator: simulator::Running,
    pub(crate) sink: Sink,
    pub(crate) store: Store,
    daemon: Option<Daemon>,
    data: PathBuf,
    // Behind them: the folder goes when everything that uses it is gone, and then the next story may come.
    dir: TempDir,
    _pass: Pass,
}

impl Stage {
    /// Sets a stage with this clinic and a simulator that behaves. The daemon is not started yet.
    pub(crate) async fn new(clinic: &Clinic) -> Stage {
        Stage::with(clinic, |_| {}).await
    }

    /// The same with a simulator as `change` makes it.
    pub(crate) async fn with(clinic: &Clinic, change: impl FnOnce(&mut simulator::Options)) -> Stage {
        let stage = Stage::set(clinic, turnstile::beside().await, change).await;
        stage.verified(&clinic.recipients).await;
        stage
    }

    /// The same with no other stage beside it.
    pub(crate) async fn alone(clinic: &Clinic) -> Stage {
        let stage = Stage::set(clinic, turnstile::alone().await, |_| {}).await;
        stage.verified(&clinic.recipients).await;
        stage
    }

    /// The same with its data on a disk of `size` that it fills.
    pub(crate) async fn on_small_disk(
        clinic: &Clinic,
        size: &str,
        change: impl FnOnce(&mut simulator::Options),
    ) -> (Stage, SmallDisk) {
        let there = clinic.clone().with("store.data_dir = \"DIR/small/data\"");
        let mut stage = Stage::set(&there, turnstile::beside().await, change).await;
        let disk = SmallDisk::mount(stage.path("small"), size);
        stage.data_at("small/data").await;
        stage.verified(&clinic.recipients).await;
        (stage, disk)
    }

    async fn set(clinic: &Clinic, pass: Pass, change: impl FnOnce(&mut simulator::Options)) -> Stage {
        let dir = tempfile::Builder::new().prefix("faxbridge-story-").tempdir().unwrap();
        let at = dir.path();
        std::fs::DirBuilder::new().mode(0o700).create(at.join("data")).unwrap();
        write_secret(&at.join("master.key"), &MASTER_KEY);
        write_secret(&at.join("provider.token"), b"token-of-the-tests");
        write_secret(&at.join("webhook.key"), WEBHOOK_KEY);
        make_ssh_key(at).await;
        let mut options = simulator::Options::new(at.join("faxed"), "token-of-the-tests", WEBHOOK_KEY);
        options.call_time = Duration::from_millis(20);
        options.webhook_pause = Duration::from_millis(100);
        options.keep = true;
        change(&mut options);
        let simulator = simulator::serve(options).await.unwrap();
        let sink = Sink::open(&at.join("mails")).await;
        let store = Store::open(&at.join("data"), "the tests").await.unwrap();
        let stage = Stage { simulator, sink, store, daemon: None, data: at.join("data"), dir, _pass: pass };
        stage.configure(clinic);
        stage
    }

    /// Replaces the configuration, a [`Clinic`] or a text; the daemon reads it at its next start.
    /// Words in capitals are replaced: DIR, FIXTURES, PROVIDER, RELAY, SFTP_KEY.
    pub(crate) fn configure(&self, config: impl Display) {
        let key = std::fs::read_to_string(self.path("sftp.pub")).unwrap();
        let text = config
            .to_string()
            .replace("SFTP_KEY", key.trim())
            .replace("FIXTURES", concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures"))
            .replace("DIR", self.dir.path().to_str().unwrap())
            .replace("PROVIDER", &self.simulator.url())
            .replace("RELAY", &self.sink.address());
        std::fs::write(self.path("faxbridge.toml"), text).unwrap();
    }

    /// A place in the stage's folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Puts the data folder elsewhere, before the first start.
    pub(crate) async fn data_at(&mut self, name: &str) {
        self.data = self.path(name);
        std::fs::DirBuilder::new().mode(0o700).create(&self.data).unwrap();
        self.store = Store::open(&self.data, "the tests").await.unwrap();
    }

    /// Writes a secret as the configuration wants it: readable by its owner only.
    pub(crate) fn secret(&self, name: &str, bytes: &[u8]) {
        write_secret(&self.path(name), bytes);
    }

    /// Starts the daemon.
    pub(crate) async fn start(&mut self) {
        self.start_with(&[]).await;
    }

    /// Starts the daemon as another user of this system, to whom the stage's secrets, its data and `scans` are given first.
    pub(crate) async fn start_as(&mut self, user: u32) {
        self.hand_over(user, &["data", "scans", "master.key", "provider.token", "webhook.key"]);
        // Nobody else can reach into the folder that this was built in.
        let program = self.path("faxbridge");
        if !program.exists() {
            // Another process copies it. This one would have it open for writing, and so would a child
            // that another story forks meanwhile; a file that is open for writing cannot be run.
            let copied = Command::new("cp").arg(PROGRAM).arg(&program).status().await.unwrap();
            assert!(copied.success());
        }
        self.let_through();
        let (config, log) = (self.path("faxbridge.toml"), self.path("daemon.log"));
        self.daemon = Some(Daemon::spawn_as((&program, user), &config, &self.data, &log));
        if let Err(failed) = self.daemon().listening().await {
            panic!("the daemon did not start, {}; its log:\n{}", failed.status, self.log_tail());
        }
    }

    /// Makes these, with all in them, another user's.
    pub(crate) fn hand_over(&self, user: u32, names: &[&str]) {
        let paths = names.iter().map(|name| self.path(name));
        let owner = format!("{user}:{user}");
        let done = std::process::Command::new("chown").arg("-Rh").arg(owner).args(paths).status().unwrap();
        assert!(done.success(), "these tests run as root");
    }

    /// Lets others through the stage's folder, to what in it is theirs.
    pub(crate) fn let_through(&self) {
        std::fs::set_permissions(self.dir.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
    }

    /// Runs a shell script in `folder` as somebody whom the daemon does not know.
    pub(crate) async fn stranger(&self, folder: &str, script: &str) -> Output {
        self.stranger_at_work(folder, script).wait_with_output().await.unwrap()
    }

    /// The same without waiting for its end; it is killed when dropped.
    pub(crate) fn stranger_at_work(&self, folder: &str, script: &str) -> tokio::process::Child {
        self.let_through();
        Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups", "sh", "-ec", script])
            .current_dir(self.path(folder))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("util-linux is installed")
    }

    /// Starts the daemon with more in its environment.
    pub(crate) async fn start_with(&mut self, environment: &[(&str, String)]) {
        if let Err(failed) = self.try_start(environment).await {
            panic!("the daemon did not start, {}; its log:\n{}", failed.status, self.log_tail());
        }
    }

    /// Starts the daemon, which may fail.
    pub(crate) async fn try_start(&mut self, environment: &[(&str, String)]) -> Result<(), Failed> {
        self.spawn(environment);
        self.daemon().listening().await
    }

    /// Starts the daemon with `log` as its standard error.
    pub(crate) async fn start_logging_to(&mut self, log: Stdio) {
        let config = self.path("faxbridge.toml");
        self.daemon = Some(Daemon::spawn_logging_to(&config, &self.data, log, &[]));
        if let Err(failed) = self.daemon().listening().await {
            panic!("the daemon did not start, {}", failed.status);
        }
    }

    /// Starts the process and does not wait for it to listen.
    pub(crate) fn spawn(&mut self, environment: &[(&str, String)]) {
        let config = self.path("faxbridge.toml");
        self.daemon = Some(Daemon::spawn(&config, &self.data, &self.path("daemon.log"), environment));
    }

    /// The running daemon.
    pub(crate) fn daemon(&mut self) -> &mut Daemon {
        self.daemon.as_mut().expect("the daemon was started")
    }

    /// Where it listens.
    pub(crate) fn addresses(&self) -> Addresses {
        self.daemon.as_ref().expect("the daemon was started").addresses.clone()
    }

    /// Where mail is taken.
    pub(crate) fn smtp(&self) -> SocketAddr {
        *self.daemon.as_ref().and_then(|daemon| daemon.addresses.smtp.first()).expect("it listens for mail")
    }

    /// Where files are taken.
    pub(crate) fn sftp(&self) -> SocketAddr {
        *self.daemon.as_ref().and_then(|daemon| daemon.addresses.sftp.first()).expect("it listens for SFTP")
    }

    /// Enters verified recipients: key and number.
    pub(crate) async fn verified(&self, recipients: &[(impl AsRef<str>, impl AsRef<str>)]) {
        let now = SystemClock.now();
        let entry =
            |key: &str, number: &str| register::verified(key, &FaxNumber::from_e164(number).unwrap(), now);
        let entries = recipients.iter().map(|(key, number)| entry(key.as_ref(), number.as_ref())).collect();
        assert_eq!(self.store.add_recipients(entries, &Actor::Daemon, now).await.unwrap(), None);
    }

    /// Runs a subcommand with this stage's configuration.
    pub(crate) async fn command(&self, subcommand: &str, arguments: &[&str]) -> Output {
        let config = self.path("faxbridge.toml");
        Command::new(PROGRAM)
            .arg(subcommand)
            .arg("--config")
            .arg(config)
            .args(arguments)
            .output()
            .await
            .expect("the program can be started")
    }

    /// Waits until `look` finds what must come.
    pub(crate) async fn until<T>(&self, what: &str, look: impl AsyncFnMut() -> Option<T>) -> T {
        self.until_in(PATIENCE, PAUSE, what, look).await
    }

    /// The same with a patience of its own, and a pause between two looks that suits what a look costs.
    pub(crate) async fn until_in<T>(
        &self,
        patience: Duration,
        pause: Duration,
        what: &str,
        mut look: impl AsyncFnMut() -> Option<T>,
    ) -> T {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(found) = look().await {
                return found;
            }
            assert!(
                Instant::now() < deadline,
                "in {} s there was not: {what}. The daemon's log ends:\n{}",
                patience.as_secs(),
                self.log_tail()
            );
            tokio::time::sleep(pause).await;
        }
    }

    /// Waits until the daemon has logged `words`.
    pub(crate) async fn logged(&self, words: &str) {
        self.until(&format!("{words:?} in the log"), async || self.log().contains(words).then_some(())).await;
    }

    /// Waits until there is a Job as `look` wants it.
    pub(crate) async fn job(&self, what: &str, look: impl Fn(&Job) -> bool) -> Job {
        self.until(what, async || self.jobs().await.into_iter().find(|job| look(job))).await
    }

    /// Waits for the final receipt that answers `message_id`.
    pub(crate) async fn final_receipt(&self, message_id: &str) -> Letter {
        self.until(&format!("a final receipt for {message_id}"), async || {
            self.answers(message_id).into_iter().find(Letter::is_final)
        })
        .await
    }

    /// Waits for the notice that answers `message_id`.
    pub(crate) async fn notice(&self, message_id: &str) -> Letter {
        self.until(&format!("a notice for {message_id}"), async || {
            self.answers(message_id).into_iter().find(|letter| !letter.is_final())
        })
        .await
    }

    /// What was mailed in answer to `message_id`.
    pub(crate) fn answers(&self, message_id: &str) -> Vec<Letter> {
        let bare = message_id.trim_matches(['<', '>']);
        let mut letters = self.sink.letters();
        letters.retain(|letter| letter.in_reply_to.as_deref() == Some(bare));
        letters
    }

    /// The cause of the open alarm that is called `name`, as `faxbridge status` has it.
    pub(crate) async fn alarm(&self, name: &str) -> Option<String> {
        let alarms = self.store.alarms().await.unwrap();
        let called = |row: &AlarmRow| match &row.name {
            Some(which) => format!("{}.{which}", row.kind) == name,
            None => row.kind == name,
        };
        alarms.into_iter().find(|row| row.over_at.is_none() && called(row)).map(|row| row.cause)
    }

    /// Faxes that were delivered to `number`.
    pub(crate) fn delivered(&self, number: &str) -> Vec<Fax> {
        let mut faxes = self.simulator.faxes();
        faxes.retain(|fax| fax.number == number && fax.was_delivered());
        faxes
    }

    /// All jobs, newest first.
    pub(crate) async fn jobs(&self) -> Vec<Job> {
        self.store.jobs(&JobFilter::default(), 100_000).await.unwrap()
    }

    /// All submissions, newest first.
    pub(crate) async fn submissions(&self) -> Vec<Submission> {
        self.store.submissions(&SubmissionFilter::default(), 100_000).await.unwrap()
    }

    /// What is sealed about a submission; nothing of one whose key is destroyed.
    pub(crate) fn facts(&self, submission: &Submission) -> SubmissionFacts {
        let master = MasterKey::from_bytes(&MASTER_KEY).unwrap();
        let spool = Spool::open(self.data.join("spool"), master).unwrap();
        let Some(wrapped) = submission.wrapped_key.clone() else { return SubmissionFacts::default() };
        let key = spool.vault().unwrap_key(&WrappedKey(wrapped)).unwrap();
        SubmissionFacts::open(&key, &submission.facts).unwrap()
    }

    /// All that the daemon has logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.path("daemon.log")).unwrap_or_default()
    }

    /// The last lines of it.
    pub(crate) fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(TAIL)..].join("\n")
    }
}

/// Whether a fax came out whole at the far end.
pub(crate) trait Came {
    /// See [`Came`].
    fn was_delivered(&self) -> bool;
}

impl Came for Fax {
    fn was_delivered(&self) -> bool {
        self.result.as_ref().is_some_and(|result| result.code == "ok")
    }
}

fn write_secret(path: &Path, bytes: &[u8]) {
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).unwrap();
    file.write_all(bytes).unwrap();
}

/// `sftp` and `sftp.pub`, made by OpenSSH itself.
async fn make_ssh_key(dir: &Path) {
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "story", "-f"])
        .arg(dir.join("sftp"))
        .status()
        .await
        .expect("openssh-client is installed");
    assert!(made.success());
}
