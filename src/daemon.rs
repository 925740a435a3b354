//! The only wiring: opens store and spool, starts the ways in and the workers, changes the configuration under them, stops them.
//!
//! What outlives a configuration is the [`Ground`]. A configuration is first put together ([`build`]) and its sockets are bound
//! ([`Ready`]); everything that can fail fails there, while whatever serves goes on serving. Only then a `generation` of ways in
//! and workers begins, and the one before it comes to its end in the background. So a reload is all or nothing, nobody is turned
//! away for it, and no client or provider that hangs delays it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::config::{Fault, Loaded};
use crate::intake;

mod backstage;
mod build;
mod generation;
mod ground;
mod listeners;
mod timekeeper;
mod upgrade;

pub use build::{Built, build, build_provider, build_providers, faults};
pub use generation::webhook_base;
pub use ground::{Ground, open_spool, try_to_lock};
pub use listeners::try_all;

use backstage::Backstage;
use generation::Generation;
use listeners::Bound;

/// Former configurations whose sessions may still go on. Where there are so many, the oldest is hurried, and the next change waits
/// for its end.
const FORMER: usize = 3;
/// Longer than any file, database or name takes that still answers.
const LONGEST: Duration = Duration::from_secs(60);

/// Why the daemon does not start, or does not take a changed configuration.
#[derive(Debug, thiserror::Error)]
#[error("{sentence}")]
pub struct StartError {
    sentence: String,
    /// Whether only a change of the configuration helps; otherwise another start may succeed.
    pub configuration: bool,
}

impl StartError {
    fn new(what: impl std::fmt::Display, error: impl std::fmt::Display) -> Self {
        StartError { sentence: format!("{what}: {error}"), configuration: false }
    }

    fn configuration(sentence: String) -> Self {
        StartError { sentence, configuration: true }
    }
}

impl From<Vec<Fault>> for StartError {
    fn from(faults: Vec<Fault>) -> Self {
        let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
        StartError::configuration(lines.join("\n"))
    }
}

/// Where the daemon listens; written to `data_dir/addresses.json`, so that port 0 can be configured.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Addresses {
    /// SMTP.
    pub smtp: Vec<SocketAddr>,
    /// SMTP behind TLS.
    #[serde(default)]
    pub smtp_tls: Vec<SocketAddr>,
    /// LMTP.
    #[serde(default)]
    pub lmtp: Vec<SocketAddr>,
    /// SFTP.
    pub sftp: Vec<SocketAddr>,
    /// SFTP for old clients.
    #[serde(default)]
    pub sftp_legacy: Vec<SocketAddr>,
    /// Webhooks.
    pub webhook: Option<SocketAddr>,
    /// Documents that providers fetch.
    #[serde(default)]
    pub media: Option<SocketAddr>,
}

impl Addresses {
    /// All of them.
    #[must_use]
    pub fn all(&self) -> Vec<SocketAddr> {
        let lists = [&self.smtp, &self.smtp_tls, &self.lmtp, &self.sftp, &self.sftp_legacy];
        lists.into_iter().flatten().copied().chain(self.webhook).chain(self.media).collect()
    }
}

/// A configuration that can be set to work: nothing of it can fail any more.
#[derive(Debug)]
pub struct Ready {
    built: Built,
    bound: Bound,
}

impl Ready {
    /// Puts together what `loaded` configures and binds what it listens on. Whatever serves on `ground` is not touched.
    ///
    /// # Errors
    /// A sentence for the operator with everything that is wrong.
    pub async fn of(loaded: Loaded, ground: &Ground) -> Result<Ready, StartError> {
        let work = async {
            let providers = loaded.config.provider.iter();
            let providers: Vec<(String, String)> =
                providers.map(|(name, section)| (name.clone(), section.identity())).collect();
            let built = build(loaded, ground).await?;
            let bound = ground.listeners.bind(&listeners::wanted(&built.config))?;
            for (name, identity) in providers {
                // Whether it may be another one was asked above.
                ground
                    .store
                    .meet_provider(&name, &identity)
                    .await
                    .map_err(|e| StartError::new("database", e))?;
            }
            Ok(Ready { built, bound })
        };
        let late = |_| {
            let seconds = LONGEST.as_secs();
            Err(StartError::new(
                "the configuration",
                format_args!("a file that it names, or the database, did not answer within {seconds} s"),
            ))
        };
        tokio::time::timeout(LONGEST, work).await.unwrap_or_else(late)
    }
}

/// A running daemon. Dropped without [`Running::stop`], its tasks are aborted.
#[derive(Debug)]
pub struct Running {
    ground: Ground,
    current: Generation,
    former: JoinSet<()>,
    /// What looks after the clock; it ends with this.
    timekeeper: JoinSet<()>,
    /// Tells each of them, oldest first, that it is in the way; closed where it has ended.
    hurry: Vec<watch::Sender<bool>>,
    /// Dropped after what runs there has ended.
    backstage: Backstage,
}

/// What [`Running::next`] saw.
#[derive(Debug)]
pub enum Seen {
    /// This part ended by itself, which none should.
    Ended(String),
    /// There is room for another configuration.
    Room,
}

/// Starts everything that `loaded` configures. `program` is this executable, for the processes that open documents.
///
/// # Errors
/// A sentence for the operator: which part did not start, and why.
pub async fn start(loaded: Loaded, program: PathBuf) -> Result<Running, StartError> {
    let ground = Ground::open(&loaded, program).await?;
    let Ready { built, mut bound } = Ready::of(loaded, &ground).await?;
    // What a crash left behind is cleared away before anything new can be mistaken for it.
    let retention = generation::retention(&built, &ground);
    retention.clean_up().await.map_err(|e| StartError::new("cleaning up", e))?;
    let backstage = Backstage::open().map_err(|e| StartError::new("threads", e))?;
    ground.listeners.keep(&mut bound);
    let current = Generation::begin(built, bound, &ground, &backstage, None);
    ground.serves.store(true, std::sync::atomic::Ordering::Release);
    write_addresses(&current).map_err(|e| StartError::new("addresses.json", e))?;
    let mut timekeeper = JoinSet::new();
    timekeeper.spawn(timekeeper::keep(ground.clone()));
    Ok(Running { ground, current, former: JoinSet::new(), timekeeper, hurry: Vec::new(), backstage })
}

impl Running {
    /// Where it listens.
    #[must_use]
    pub fn addresses(&self) -> &Addresses {
        &self.current.addresses
    }

    /// What it stands on.
    #[must_use]
    pub fn ground(&self) -> &Ground {
        &self.ground
    }

    /// Waits until some part has ended by itself, or, where that is `wanted`, until there is room for another configuration.
    pub async fn next(&mut self, wanted: bool) -> Seen {
        loop {
            while self.former.try_join_next().is_some() {}
            self.hurry.retain(|hurry| !hurry.is_closed());
            if wanted {
                if self.former.len() < FORMER {
                    return Seen::Room;
                }
                if let Some(oldest) = self.hurry.first() {
                    let _ = oldest.send(true);
                }
            }
            tokio::select! {
                ended = self.current.ended() => return Seen::Ended(ended),
                Some(_) = self.former.join_next() => {}
            }
        }
    }

    /// Sets `ready` to work in place of the configuration that was in force, which comes to its end in the background.
    pub fn switch(&mut self, ready: Ready) {
        let Ready { built, mut bound } = ready;
        self.ground.listeners.keep(&mut bound);
        // First nothing new for the old one, so that all that comes from here on is the new one's.
        self.current.close();
        let new = Generation::begin(built, bound, &self.ground, &self.backstage, Some(&self.current));
        let old = std::mem::replace(&mut self.current, new);
        let (hurry, hurried) = watch::channel(false);
        self.hurry.push(hurry);
        self.former.spawn(old.retire(hurried));
        if let Err(error) = write_addresses(&self.current) {
            tracing::error!("addresses.json could not be written: {error}");
        }
    }

    /// Takes nothing new, finishes what is in hand, ends.
    pub async fn stop(mut self) {
        self.current.stop();
        for hurry in &self.hurry {
            let _ = hurry.send(true);
        }
        self.current.drained().await;
        while self.former.join_next().await.is_some() {}
        intake::sftp::give_back(&self.current.intake, &self.ground.shelves).await;
        self.timekeeper.abort_all();
    }
}

fn write_addresses(generation: &Generation) -> std::io::Result<()> {
    let written = serde_json::to_vec_pretty(&generation.addresses).unwrap_or_default();
    replace(&generation.config.store.data_dir.join("addresses.json"), &written)
}

/// Writes a file so that a reader sees the old one or the new one whole.
fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let temporary = path.with_extension("new");
    std::fs::write(&temporary, bytes)?;
    std::fs::rename(&temporary, path)
}
