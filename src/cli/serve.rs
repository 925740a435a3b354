//! `faxbridge serve`: the daemon, as systemd runs it.

use std::os::unix::process::CommandExt;

use faxbridge::daemon::{self, Running};
use faxbridge::log;
use faxbridge::store::Store;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};

use super::{ConfigFile, Misuse, load};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    file: ConfigFile,
    /// Ends when the process that started it ends, in whatever way; for the demo
    #[arg(long, hide = true)]
    end_with_parent: bool,
}

/// What glibc's allocator is told, as the child processes are (see the workshop): with its defaults each of many threads keeps
/// for itself what it once needed, and two hundred large mails leave the daemon at seven times its size.
const ALLOCATOR: [(&str, &str); 2] = [("MALLOC_ARENA_MAX", "4"), ("MALLOC_MMAP_THRESHOLD_", "65536")];

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let allocator = set_up_allocator();
    #[cfg(target_os = "linux")]
    if arguments.end_with_parent {
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM))?;
    }
    let path = arguments.file.config;
    let loaded = load(&path)?;
    log::start(&loaded.config.telemetry).map_err(|error| Misuse(error.to_string()))?;
    if let Err(error) = allocator {
        // Only memory is lost by that.
        tracing::warn!("the allocator keeps its defaults: {error}");
    }
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    raise_descriptor_limit();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut running = start(loaded).await?;
    let mut watchdog = tokio::time::interval(watchdog_period());
    loop {
        tokio::select! {
            _ = watchdog.tick() => notify(&[sd_notify::NotifyState::Watchdog]),
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => running = reload(&path, running).await?,
            ended = running.ended() => anyhow::bail!("{ended}"),
        }
    }
    notify(&[sd_notify::NotifyState::Stopping]);
    tracing::info!("stopping: what is in hand is finished first");
    running.stop().await;
    Ok(())
}

/// The allocator reads its settings when a process begins, and from nowhere else without unsafe code: so this process begins
/// again, as the same process for all who know it, unless it was started with settings. That costs a few milliseconds.
fn set_up_allocator() -> std::io::Result<()> {
    if ALLOCATOR.iter().all(|(name, _)| std::env::var_os(name).is_some()) {
        return Ok(());
    }
    let mut words = std::env::args_os();
    let Some(name) = words.next() else { return Ok(()) };
    Err(std::process::Command::new("/proc/self/exe").arg0(name).args(words).envs(ALLOCATOR).exec())
}

/// As many descriptors as this process may have: the usual 1024 are meant for programs of another kind.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::warn!("the limit of open files stays as it is: {error}");
    }
}

async fn start(loaded: faxbridge::config::Loaded) -> anyhow::Result<Running> {
    // Not its path: this name stays the same program while an update replaces the file.
    let program = std::path::PathBuf::from("/proc/self/exe");
    let running = daemon::start(loaded, program).await.map_err(|error| {
        if error.configuration { Misuse(error.to_string()).into() } else { anyhow::Error::from(error) }
    })?;
    notify(&[sd_notify::NotifyState::Ready]);
    Ok(running)
}

/// A good new configuration replaces the running one once what is in hand is finished; a bad one changes nothing.
async fn reload(path: &std::path::Path, running: Running) -> anyhow::Result<Running> {
    let loaded = match load(path) {
        Ok(loaded) => loaded,
        Err(error) => {
            tracing::error!("the new configuration is not taken, the old one stays in force:\n{error}");
            return Ok(running);
        }
    };
    if let Err(error) = could_start(&loaded).await {
        tracing::error!("the new configuration is not taken, the old one stays in force:\n{error}");
        return Ok(running);
    }
    tracing::info!("reloading {}", path.display());
    running.stop().await;
    start(loaded).await
}

/// What a file alone does not show: asked before the running daemon is stopped for the new one.
async fn could_start(loaded: &faxbridge::config::Loaded) -> anyhow::Result<()> {
    daemon::certificates(&loaded.config)?;
    let clock: faxbridge::clock::SharedClock = std::sync::Arc::new(faxbridge::clock::SystemClock);
    daemon::token_sources(&loaded.config, None, &clock)?;
    let store = Store::open(&loaded.config.store.data_dir, "reload").await?;
    Ok(daemon::meet_providers(loaded, &store).await?)
}

/// Half of what systemd allows between two signs of life; a long time where it asks for none.
fn watchdog_period() -> std::time::Duration {
    sd_notify::watchdog_enabled().map_or(std::time::Duration::from_secs(3600), |limit| limit / 2)
}

fn notify(states: &[sd_notify::NotifyState<'_>]) {
    // Outside systemd there is nobody to tell.
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!("systemd could not be told: {error}");
    }
}
