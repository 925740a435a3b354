//! What the subcommands share: exit status and the opened bridge.
//!
//! Exit status: 0 done, 1 the work failed, 2 usage or configuration.

use std::fmt;
use std::future::Future;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

use faxbridge::clock::{SharedClock, SystemClock};
use faxbridge::config::{self as settings, Config};
use faxbridge::daemon;
use faxbridge::job::Actor;
use faxbridge::log;
use faxbridge::process::wipe_stack;
use faxbridge::spool::Spool;
use faxbridge::store::{self, Store, StoreError};

pub(crate) use account::SystemAccount;

mod account;
pub(crate) mod check;
pub(crate) mod config;
pub(crate) mod demo;
pub(crate) mod job;
pub(crate) mod listing;
pub(crate) mod mailbox;
pub(crate) mod packet_worker;
pub(crate) mod preview;
pub(crate) mod provider;
pub(crate) mod recipient;
pub(crate) mod send;
pub(crate) mod serve;
pub(crate) mod simulator;
pub(crate) mod status;

/// A failure of usage or configuration: exit status 2. Any other error is a failure of the work: 1.
#[derive(Debug)]
pub(crate) struct Misuse(pub(crate) String);

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Misuse {}

/// `--config FILE`, as most subcommands take it.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ConfigFile {
    /// Configuration file
    #[arg(long, global = true, value_name = "FILE", default_value = "/etc/faxbridge/faxbridge.toml")]
    pub(crate) config: PathBuf,
}

/// What is asked about one kind of thing, with the configuration.
#[derive(Debug, clap::Args)]
pub(crate) struct About<What: clap::Subcommand> {
    #[command(flatten)]
    file: ConfigFile,
    #[command(subcommand)]
    what: What,
}

/// Runs a subcommand on the runtime and turns its result into sentence and exit status.
pub(crate) fn run(work: impl Future<Output = anyhow::Result<()>>) -> ExitCode {
    // Threads for files: tokio's 512 would be more than the unit's TasksMax, and more stacks than they are worth.
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.on_thread_park(wipe_stack).on_thread_stop(wipe_stack);
    let runtime = match runtime.max_blocking_threads(64).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            log::last_words(&format!("faxbridge: no threads to run on: {error}"));
            return ExitCode::from(1);
        }
    };
    match runtime.block_on(work) {
        Ok(()) => {
            log::flush();
            ExitCode::SUCCESS
        }
        Err(error) if error.is::<Misuse>() => {
            log::last_words(&error.to_string());
            ExitCode::from(2)
        }
        Err(error) => {
            log::last_words(&format!("faxbridge: {}", told(&error)));
            ExitCode::from(1)
        }
    }
}

/// Where the database is that was opened.
static DATABASE: OnceLock<PathBuf> = OnceLock::new();

/// `error` with all its causes, and with the database's file where it came from there.
fn told(error: &anyhow::Error) -> String {
    let sentence = format!("{error:#}");
    let of_store = error.chain().any(<dyn std::error::Error>::is::<StoreError>);
    match DATABASE
        .get()
        .map(|path| path.display().to_string())
        .filter(|path| !sentence.contains(path.as_str()))
    {
        Some(path) if of_store => format!("{path}: {sentence}"),
        _ => sentence,
    }
}

/// Opens the store in `data_dir`, beside a daemon that may be running. Only where none is, one of an older version is brought
/// up to date, or made.
async fn open_store(data_dir: &Path) -> anyhow::Result<Store> {
    // Set before, by nothing that would name another.
    let _ = DATABASE.set(store::file_in(data_dir));
    match Store::join(data_dir, "command line").await {
        Err(StoreError::OlderSchema { path }) => {
            let Some(_lock) = daemon::try_to_lock(data_dir)? else {
                return Err(StoreError::OlderSchema { path }.into());
            };
            Ok(Store::open(data_dir, "command line").await?)
        }
        other => Ok(other?),
    }
}

/// Opens the store in `data_dir` for a look.
pub(crate) async fn look_at_store(data_dir: &Path) -> anyhow::Result<Store> {
    let _ = DATABASE.set(store::file_in(data_dir));
    Ok(Store::look(data_dir).await?)
}

/// Loads the configuration; every fault of it is one sentence, and exit status 2.
pub(crate) fn load(path: &Path) -> anyhow::Result<settings::Loaded> {
    settings::load(path).map_err(|faults| Misuse(faults.to_string()).into())
}

/// The bridge as the command line opens it, beside a daemon that may be running.
pub(crate) struct Bridge {
    pub(crate) config: Arc<Config>,
    pub(crate) store: Store,
    pub(crate) spool: Spool,
    pub(crate) clock: SharedClock,
}

impl Bridge {
    /// Opens store and spool that the configuration names.
    pub(crate) async fn open(path: &Path) -> anyhow::Result<Bridge> {
        let loaded = load(path)?;
        let spool = daemon::open_spool(&loaded).map_err(Misuse)?;
        let store = open_store(&loaded.config.store.data_dir).await?;
        Ok(Bridge { config: Arc::new(loaded.config), store, spool, clock: Arc::new(SystemClock) })
    }
}

/// The register alone: it is not sealed, so that no master key is needed to keep it.
pub(crate) struct Register {
    pub(crate) config: Arc<Config>,
    pub(crate) store: Store,
    pub(crate) clock: SharedClock,
}

impl Register {
    /// Opens the store that the configuration names, and makes it where the daemon has never run yet.
    pub(crate) async fn open(path: &Path) -> anyhow::Result<Register> {
        let loaded = load(path)?;
        let dir = &loaded.config.store.data_dir;
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|e| {
            Misuse(loaded.fault("store.data_dir", format!("{}: {e}", dir.display())).to_string())
        })?;
        let store = open_store(dir).await?;
        Ok(Register { config: Arc::new(loaded.config), store, clock: Arc::new(SystemClock) })
    }
}

/// Whether a daemon holds the data folder at this moment.
pub(crate) fn daemon_runs(data_dir: &Path) -> bool {
    // Shared and let go at once: a daemon that starts in this very moment is the only one that could notice.
    std::fs::File::open(data_dir.join("lock")).is_ok_and(|file| file.try_lock_shared().is_err())
}

/// Who acts, for the ledger: the account that runs the command.
pub(crate) fn actor() -> Actor {
    Actor::Account(SystemAccount::acting().to_string())
}
