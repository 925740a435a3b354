//! `faxbridge serve`: the daemon, as systemd runs it.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use faxbridge::alarm::Alarm;
use faxbridge::config::Loaded;
use faxbridge::daemon::{self, Ready, Running, Seen};
use faxbridge::log;
use nix::sys::signal::{SigSet, Signal};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;

use super::{ConfigFile, Misuse, load};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    file: ConfigFile,
    /// Ends when the process that started it ends, in whatever way; for the demo
    #[arg(long, hide = true)]
    end_with_parent: bool,
}

/// Faults of a refused configuration that its alarm tells; the log tells all.
const FAULTS_TOLD: usize = 5;
/// What glibc's allocator is told, as the child processes are (see the workshop): with its defaults each of many threads keeps
/// for itself what it once needed, and two hundred large mails leave the daemon at seven times its size.
const ALLOCATOR: [(&str, &str); 2] = [("MALLOC_ARENA_MAX", "4"), ("MALLOC_MMAP_THRESHOLD_", "65536")];

/// Begins before there is a runtime, since what happens first counts: until something hears it, a SIGHUP would end the process.
pub(crate) fn begin(arguments: Arguments) -> ExitCode {
    let mut troubles = Vec::new();
    if let Err(error) = hangups().thread_block() {
        troubles.push(format!("a SIGHUP during the start would have ended it: {error}"));
    }
    // Begins anew as the same process, with the same signals held back.
    if let Err(error) = set_up_allocator() {
        // Only memory is lost by that.
        troubles.push(format!("the allocator keeps its defaults: {error}"));
    }
    super::run(run(arguments, troubles))
}

fn hangups() -> SigSet {
    SigSet::from(Signal::SIGHUP)
}

async fn run(arguments: Arguments, troubles: Vec<String>) -> anyhow::Result<()> {
    let mut signals = Signals::listen()?;
    #[cfg(target_os = "linux")]
    if arguments.end_with_parent {
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM))?;
    }
    let path = arguments.file.config;
    let loaded = load(&path)?;
    log::start(&loaded.config.telemetry).map_err(|error| Misuse(error.to_string()))?;
    for trouble in troubles {
        tracing::warn!("{trouble}");
    }
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    raise_descriptor_limit();
    let started = tokio::select! {
        started = start(loaded) => Some(started?),
        () = signals.until_end() => None,
    };
    let Some(mut running) = started else {
        tracing::info!("stopped before it had started");
        return Ok(());
    };
    serve(&path, &mut running, &mut signals).await?;
    notify(&[NotifyState::Stopping]);
    tracing::info!("stopping: what is in hand is finished first");
    tokio::select! {
        () = running.stop() => {}
        () = signals.idle() => {}
    }
    Ok(())
}

/// What the daemon is told from outside.
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    hangup: tokio::signal::unix::Signal,
    watchdog: tokio::time::Interval,
}

/// What one of them asks for.
enum Wish {
    End,
    Reload,
}

impl Signals {
    fn listen() -> anyhow::Result<Signals> {
        let terminate = signal(SignalKind::terminate())?;
        let interrupt = signal(SignalKind::interrupt())?;
        let hangup = signal(SignalKind::hangup())?;
        // Heard from now on, those that came before included.
        hangups().thread_unblock()?;
        let watchdog = tokio::time::interval(watchdog_period());
        Ok(Signals { terminate, interrupt, hangup, watchdog })
    }

    /// The next wish. The watchdog is fed meanwhile.
    async fn next(&mut self) -> Wish {
        loop {
            tokio::select! {
                _ = self.watchdog.tick() => notify(&[NotifyState::Watchdog]),
                _ = self.terminate.recv() => return Wish::End,
                _ = self.interrupt.recv() => return Wish::End,
                _ = self.hangup.recv() => return Wish::Reload,
            }
        }
    }

    /// Returns when the end is wished for. A reload that is wished for before is in vain: what starts reads the file as it is.
    async fn until_end(&mut self) {
        while !matches!(self.next().await, Wish::End) {}
    }

    /// Feeds the watchdog, and heeds nothing, for as long as it is waited for.
    async fn idle(&mut self) {
        loop {
            self.next().await;
        }
    }
}

/// Serves until the end is wished for. A changed configuration is put together beside the one in force, one at a time: however
/// many were wished for meanwhile, one more follows.
async fn serve(path: &Path, running: &mut Running, signals: &mut Signals) -> anyhow::Result<()> {
    let mut wanted = false;
    let mut tried: Option<JoinHandle<anyhow::Result<Ready>>> = None;
    loop {
        let room_wanted = wanted && tried.is_none();
        let told = async {
            match &mut tried {
                Some(tried) => tried.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            wish = signals.next() => match wish {
                Wish::End => return Ok(()),
                Wish::Reload => wanted = true,
            },
            ready = told => {
                tried = None;
                take(ready.map_err(anyhow::Error::from).flatten(), running);
            }
            seen = running.next(room_wanted) => match seen {
                Seen::Ended(part) => anyhow::bail!("{part}"),
                Seen::Room => {
                    wanted = false;
                    begin_reload();
                    let (path, ground) = (path.to_owned(), running.ground().clone());
                    tried = Some(tokio::spawn(async move {
                        let loaded = tokio::task::spawn_blocking(move || load(&path)).await??;
                        for warning in &loaded.warnings {
                            tracing::warn!("{warning}");
                        }
                        Ok(Ready::of(loaded, &ground).await?)
                    }));
                }
            },
        }
    }
}

fn begin_reload() {
    tracing::info!("reading the configuration again");
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!("systemd is not told of the reload: {error}"),
    }
}

/// A good new configuration replaces the one in force at once; a bad one changes nothing.
fn take(ready: anyhow::Result<Ready>, running: &mut Running) {
    let (alarms, clock) = (running.ground().alarms().clone(), running.ground().clock().clone());
    match ready {
        Ok(ready) => {
            running.switch(ready);
            alarms.clear(&Alarm::Reload);
            tracing::info!(
                "the configuration is taken; sessions that began before it end under the former one"
            );
        }
        Err(error) => {
            tracing::error!("the new configuration is not taken, the old one stays in force:\n{error:#}");
            alarms.raise(Alarm::Reload, refused(&format!("{error:#}")), clock.now());
        }
    }
    notify(&[NotifyState::Ready]);
}

/// The faults of a configuration in one line, as an alarm tells them.
fn refused(faults: &str) -> String {
    let faults: Vec<&str> = faults.lines().take(FAULTS_TOLD).collect();
    format!("the changed configuration was refused, the one before stays in force: {}", faults.join("; "))
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

async fn start(loaded: Loaded) -> anyhow::Result<Running> {
    // Not its path: this name stays the same program while an update replaces the file.
    let program = PathBuf::from("/proc/self/exe");
    let running = daemon::start(loaded, program).await.map_err(|error| {
        if error.configuration { Misuse(error.to_string()).into() } else { anyhow::Error::from(error) }
    })?;
    notify(&[NotifyState::Ready]);
    Ok(running)
}

/// Half of what systemd allows between two signs of life; a long time where it asks for none.
fn watchdog_period() -> std::time::Duration {
    sd_notify::watchdog_enabled().map_or(std::time::Duration::from_secs(3600), |limit| limit / 2)
}

fn notify(states: &[NotifyState<'_>]) {
    // Outside systemd there is nobody to tell.
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!("systemd could not be told: {error}");
    }
}
