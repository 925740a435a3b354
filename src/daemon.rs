//! The only wiring: opens store and spool, starts the ways in and the workers, stops them in order.

use std::fs::{File, OpenOptions};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use zeroize::Zeroizing;

use crate::alarm::Alarms;
use crate::clock::{SharedClock, SystemClock};
use crate::commands;
use crate::config::secret::SecretRef;
use crate::config::{self, Config, Loaded};
use crate::cover::Fonts;
use crate::delivery::media::{self, Media};
use crate::delivery::webhook::{self, Hooks};
use crate::delivery::worker::{Providers, Worker};
use crate::delivery::{self, Provider};
use crate::intake::smtp::{Certificate, LOOK_EVERY, Partners};
use crate::intake::{self, Rush};
use crate::oauth;
use crate::packet::{Workshop, WorkshopLimits};
use crate::prepare::Preparer;
use crate::prepare::plan::Planner;
use crate::receipt::dkim::Dkim;
use crate::receipt::outbox::Outbox;
use crate::receipt::relay::token_map;
use crate::receipt::reply::Replies;
use crate::retention::Retention;
use crate::routing::Rules;
use crate::spool::{MasterKey, Purpose, Spool};
use crate::store::Store;

mod backstage;
mod doors;

use backstage::Backstage;

/// Why the daemon does not start.
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
    /// Webhooks.
    pub webhook: Option<SocketAddr>,
    /// Documents that providers fetch.
    #[serde(default)]
    pub media: Option<SocketAddr>,
}

/// A running daemon. Dropped without [`Running::stop`], its tasks are aborted.
#[derive(Debug)]
pub struct Running {
    /// Where it listens.
    pub addresses: Addresses,
    shutdown: watch::Sender<bool>,
    /// The ways in: they stop first.
    doors: JoinSet<String>,
    /// What works on accepted Submissions.
    workers: JoinSet<String>,
    /// Dropped after what runs there has ended.
    _backstage: Backstage,
    /// One daemon per data folder, for as long as this is held.
    _lock: File,
}

impl Running {
    /// Waits until some part has ended by itself, which none should; says which.
    pub async fn ended(&mut self) -> String {
        let part = tokio::select! {
            Some(part) = self.doors.join_next() => part,
            Some(part) = self.workers.join_next() => part,
            else => std::future::pending().await,
        };
        part.unwrap_or_else(|error| format!("a part of the daemon failed: {error}"))
    }

    /// Takes nothing new, finishes what is in hand, ends.
    pub async fn stop(mut self) {
        // Nobody listens any more where all parts have ended; then there is nothing to wait for.
        let _ = self.shutdown.send(true);
        while self.doors.join_next().await.is_some() {}
        while self.workers.join_next().await.is_some() {}
    }
}

/// Opens the sealed spool that the configuration names.
///
/// # Errors
/// A sentence for the operator, with how to make a master key where there is none.
pub fn open_spool(loaded: &Loaded) -> Result<Spool, String> {
    let config = &loaded.config;
    let secret = config
        .store
        .master_key
        .read_raw()
        .map_err(|e| loaded.fault("store.master_key", e.to_string()).to_string())?;
    let master = MasterKey::from_bytes(secret.bytes())
        .map_err(|e| loaded.fault("store.master_key", e.to_string()).to_string())?;
    make_private(&config.store.data_dir).map_err(|e| {
        loaded.fault("store.data_dir", format!("{}: {e}", config.store.data_dir.display())).to_string()
    })?;
    Spool::open(config.store.data_dir.join("spool"), master).map_err(|e| e.to_string())
}

fn make_private(dir: &Path) -> std::io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    // The database in it, with its numbers and addresses, has the mode that the umask leaves it.
    let mut permissions = std::fs::metadata(dir)?.permissions();
    if permissions.mode() & 0o077 != 0 {
        permissions.set_mode(0o700);
        std::fs::set_permissions(dir, permissions)?;
    }
    Ok(())
}

/// Starts everything that `loaded` configures. `program` is this executable, for the processes that open documents.
///
/// # Errors
/// A sentence for the operator: which part did not start, and why.
pub async fn start(loaded: Loaded, program: PathBuf) -> Result<Running, StartError> {
    let spool = open_spool(&loaded).map_err(StartError::configuration)?;
    let config = Arc::new(loaded.config.clone());
    let lock = lock_data_dir(&config.store.data_dir).await?;
    let store = Store::open(&config.store.data_dir, "this machine")
        .await
        .map_err(|e| StartError::new("database", e))?;
    meet_providers(&loaded, &store).await?;
    let dropped = store.drop_own_leases().await.map_err(|e| StartError::new("database", e))?;
    if dropped > 0 {
        tracing::info!(
            leases = dropped,
            "picking up {dropped} things that were in hand when the process ended"
        );
    }
    store
        .key_former_sources(&spool.marker(Purpose::Source))
        .await
        .map_err(|e| StartError::new("database", e))?;
    // Told before anything is made: a key that cannot sign is a fault of the configuration.
    Dkim::of(&config).map_err(StartError::configuration)?;
    let clock: SharedClock = Arc::new(SystemClock);
    let keeper = oauth::Keeper { store: store.clone(), spool: spool.clone() };
    let parts = Parts {
        rules: Arc::new(compile_rules(&config)?),
        providers: build_providers(&config)?,
        tokens: token_sources(&config, Some(&keeper), &clock)?,
        clock,
        shutdown: watch::channel(false).0,
        doors: JoinSet::new(),
        workers: JoinSet::new(),
        rush: Arc::default(),
        alarms: Alarms::default(),
        arrived: Arc::default(),
        made: Arc::default(),
        answered: Arc::default(),
        addresses: Addresses::default(),
        config,
        store,
        spool,
    };
    parts.start(program, lock).await
}

/// Notes where each provider is reached, for the next start.
///
/// # Errors
/// Where a name stands for another provider than the one that may still have faxes of ours.
pub async fn meet_providers(loaded: &Loaded, store: &Store) -> Result<(), StartError> {
    for (name, section) in &loaded.config.provider {
        let open = store
            .meet_provider(name, &section.identity())
            .await
            .map_err(|e| StartError::new("database", e))?;
        if open > 0 {
            let sentence = format!(
                "another address than the one that {open} faxes were handed to, whose outcome is not known yet; this one would \
                 deny them, and they would be sent twice. Give the new provider another name, and keep this one until they \
                 have ended (faxbridge job list --open)"
            );
            let fault = loaded.fault(&format!("provider.{name}.url"), sentence);
            return Err(StartError::configuration(fault.to_string()));
        }
    }
    Ok(())
}

/// Compiles the rules; every fault is reported.
fn compile_rules(config: &Config) -> Result<Rules, StartError> {
    Rules::compile(&config.rule).map_err(|faults| {
        StartError::configuration(faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    })
}

/// Builds every configured provider.
///
/// # Errors
/// A sentence with the provider's name where a secret cannot be read or a setting is wrong.
pub fn build_providers(config: &Config) -> Result<Providers, StartError> {
    let mut providers = Providers::new();
    for (name, section) in &config.provider {
        let provider = build_provider(name, section)
            .map_err(|e| StartError::configuration(format!("provider.{name}: {e:#}")))?;
        providers.insert(name.clone(), Arc::from(provider));
    }
    Ok(providers)
}

/// Builds the provider that the configuration calls `name`.
///
/// # Errors
/// A sentence for the operator where a secret cannot be read or a setting is wrong.
pub fn build_provider(name: &str, section: &config::Provider) -> anyhow::Result<Box<dyn Provider>> {
    let text = |key: &str, secret: &Option<SecretRef>| match secret {
        Some(secret) => {
            let read = secret.read().map_err(|e| anyhow::anyhow!("{key}: {e}"))?;
            let text = read.text().ok_or_else(|| anyhow::anyhow!("{key}: is no text"))?;
            anyhow::Ok(Zeroizing::new(text.to_owned()))
        }
        None => Ok(Zeroizing::default()),
    };
    let webhook_key = section.webhook_key.as_ref().map(SecretRef::read).transpose()?;
    let secrets = delivery::Secrets {
        token: text("token", &section.token)?,
        password: text("password", &section.password)?,
        webhook_key: webhook_key.map(|key| key.bytes().to_vec().into()),
    };
    Ok(delivery::build(name, section, &secrets)?)
}

/// Two daemons on one data folder would each take the other's work for the leftovers of a crash.
async fn lock_data_dir(dir: &Path) -> Result<File, StartError> {
    // A process that was killed while it started a child leaves its lock to that child until the child's program begins.
    for _ in 0..LOCK_TRIES {
        if let Some(file) = try_to_lock(dir)? {
            return Ok(file);
        }
        tokio::time::sleep(LOCK_AGAIN).await;
    }
    Err(StartError::new(dir.display(), "another faxbridge is running with this data_dir; stop it first"))
}

/// The lock of the data folder `dir`, for as long as the file is held; `None` where a daemon has it.
///
/// # Errors
/// Where there can be no such file.
pub fn try_to_lock(dir: &Path) -> Result<Option<File>, StartError> {
    let path = dir.join("lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path)
        .map_err(|e| StartError::new(path.display(), e))?;
    Ok(file.try_lock().is_ok().then_some(file))
}

/// Two seconds, in which a child gets its turn on any machine.
const LOCK_TRIES: u32 = 20;
const LOCK_AGAIN: Duration = Duration::from_millis(100);

struct Parts {
    config: Arc<Config>,
    store: Store,
    spool: Spool,
    rules: Arc<Rules>,
    providers: Providers,
    /// One of each for all who need them: a refresh token that is given out anew makes the former one void.
    tokens: oauth::Sources,
    clock: SharedClock,
    shutdown: watch::Sender<bool>,
    doors: JoinSet<String>,
    workers: JoinSet<String>,
    rush: Arc<Rush>,
    alarms: Alarms,
    arrived: Arc<Notify>,
    made: Arc<Notify>,
    answered: Arc<Notify>,
    addresses: Addresses,
}

impl Parts {
    async fn start(mut self, program: PathBuf, lock: File) -> Result<Running, StartError> {
        // What a crash left behind is cleared away before anything new can be mistaken for it.
        let retention = Retention {
            store: self.store.clone(),
            spool: self.spool.clone(),
            providers: self.providers.clone(),
            config: Arc::clone(&self.config),
            clock: Arc::clone(&self.clock),
            answered: Arc::clone(&self.answered),
            alarms: self.alarms.clone(),
        };
        retention.clean_up().await.map_err(|e| StartError::new("cleaning up", e))?;
        let outside = (self.open_webhooks().await?, self.open_media().await?);
        let backstage = Backstage::open().map_err(|e| StartError::new("threads", e))?;
        self.start_workers(program, outside, retention, &backstage)?;
        self.open_doors().await?;
        let written = serde_json::to_vec_pretty(&self.addresses).unwrap_or_default();
        replace(&self.config.store.data_dir.join("addresses.json"), &written)
            .map_err(|e| StartError::new("addresses.json", e))?;
        Ok(Running {
            addresses: self.addresses,
            shutdown: self.shutdown,
            doors: self.doors,
            workers: self.workers,
            _backstage: backstage,
            _lock: lock,
        })
    }

    fn start_workers(
        &mut self,
        program: PathBuf,
        (hooks, media): (Option<Hooks>, Option<Media>),
        retention: Retention,
        backstage: &Backstage,
    ) -> Result<(), StartError> {
        let limits = &self.config.limits;
        let workshop = Workshop::new(
            program,
            WorkshopLimits {
                workers: limits.workers,
                memory: limits.worker_memory.get(),
                time: limits.worker_time.std(),
            },
        );
        let planner = Planner::new(Arc::clone(&self.config), self.store.clone(), Arc::clone(&self.rules))
            .map_err(|e| StartError::new("organization", e))?;
        let fonts =
            Fonts::with_files(&self.config.cover.fonts).map_err(|e| StartError::new("cover.fonts", e))?;
        let preparer = Preparer {
            store: self.store.clone(),
            spool: self.spool.clone(),
            workshop,
            planner,
            commands: commands::Desk::new(
                Arc::clone(&self.config),
                self.store.clone(),
                Replies::of(&self.config, &self.spool),
            ),
            fonts: Arc::new(fonts),
            config: Arc::clone(&self.config),
            clock: Arc::clone(&self.clock),
            rush: Arc::clone(&self.rush),
            arrived: Arc::clone(&self.arrived),
            made: Arc::clone(&self.made),
            answered: Arc::clone(&self.answered),
            alarms: self.alarms.clone(),
        };
        let worker = Arc::new(Worker {
            store: self.store.clone(),
            spool: self.spool.clone(),
            providers: self.providers.clone(),
            config: Arc::clone(&self.config),
            clock: Arc::clone(&self.clock),
            wake: Arc::clone(&self.made),
            answered: Arc::clone(&self.answered),
            alarms: self.alarms.clone(),
            hooks,
            media,
        });
        let outbox = Outbox::new(
            Arc::clone(&self.config),
            self.store.clone(),
            self.spool.clone(),
            Arc::clone(&self.clock),
            Arc::clone(&self.answered),
            self.alarms.clone(),
            &token_map(&self.tokens),
        )
        .map_err(|e| StartError::new("receipt", e))?;
        let stop = || self.shutdown.subscribe();
        let (a, b, c, d) = (stop(), stop(), stop(), stop());
        let backstage = backstage.handle();
        let preparing = async {
            preparer.run(a).await;
            "preparing documents ended".into()
        };
        self.workers.spawn_on(preparing, backstage);
        self.workers.spawn(async {
            worker.run(b).await;
            "delivery ended".into()
        });
        let answering = async {
            outbox.run(c).await;
            "the outbox ended".into()
        };
        self.workers.spawn_on(answering, backstage);
        let forgetting = async {
            retention.run(d).await;
            "retention ended".into()
        };
        self.workers.spawn_on(forgetting, backstage);
        Ok(())
    }

    /// Opens the webhook listener; returns the URLs under which providers reach it.
    async fn open_webhooks(&mut self) -> Result<Option<Hooks>, StartError> {
        let Some(section) = self.config.webhook.clone() else { return Ok(None) };
        let tls = self.tls("webhook", section.tls_certificate.as_ref(), section.tls_key.as_ref(), None)?;
        let (listener, address) = listen("webhook.listen", section.listen).await?;
        self.addresses.webhook = Some(address);
        let hooks = Hooks::new(&webhook_base(&section, address), self.spool.marker(Purpose::Webhook));
        let desk = webhook::Desk {
            hooks: hooks.clone(),
            providers: self.providers.clone(),
            store: self.store.clone(),
            clock: Arc::clone(&self.clock),
            alarms: self.alarms.clone(),
            wake: Arc::clone(&self.made),
        };
        let stop = self.shutdown.subscribe();
        // A worker, not a door: news of calls is wanted until the last Job in hand is done.
        self.workers.spawn(async {
            desk.serve(listener, tls, stop).await;
            "the webhook listener ended".into()
        });
        Ok(Some(hooks))
    }

    /// Opens the media host; returns the URLs under which providers fetch documents.
    async fn open_media(&mut self) -> Result<Option<Media>, StartError> {
        let Some(section) = self.config.media.clone() else { return Ok(None) };
        let tls = self.tls("media", section.tls_certificate.as_ref(), section.tls_key.as_ref(), None)?;
        let (listener, address) = listen("media.listen", section.listen).await?;
        self.addresses.media = Some(address);
        let marker = self.spool.marker(Purpose::Media);
        let media = Media::new(&section.public_url, marker, section.valid_for.signed());
        let host = media::Host {
            media: media.clone(),
            store: self.store.clone(),
            spool: self.spool.clone(),
            clock: Arc::clone(&self.clock),
            alarms: self.alarms.clone(),
        };
        let stop = self.shutdown.subscribe();
        self.workers.spawn(async {
            host.serve(listener, tls, stop).await;
            "the media host ended".into()
        });
        Ok(Some(media))
    }

    /// The certificate of `section`, where it has one. It is looked after: a renewed one is in use within moments.
    fn tls(
        &mut self,
        section: &str,
        certificate: Option<&PathBuf>,
        key: Option<&PathBuf>,
        partners: Option<&Arc<Partners>>,
    ) -> Result<Option<Arc<ServerConfig>>, StartError> {
        let (Some(certificate), Some(key)) = (certificate, key) else { return Ok(None) };
        let fault = |e| StartError::new(format!("{section}.tls_certificate"), e);
        let certificate = Certificate::read(certificate, key).map_err(fault)?;
        let configured = intake::smtp::configured(Arc::clone(&certificate), partners).map_err(fault)?;
        let watched = certificate.watch(LOOK_EVERY, self.shutdown.subscribe());
        self.workers.spawn(async {
            watched.await;
            "looking after a TLS certificate ended".into()
        });
        Ok(Some(configured))
    }
}

/// Every token source of the configuration.
///
/// # Errors
/// Where a secret cannot be read.
pub fn token_sources(
    config: &Config,
    keeper: Option<&oauth::Keeper>,
    clock: &SharedClock,
) -> Result<oauth::Sources, StartError> {
    oauth::sources(config, keeper, clock).map_err(|(name, error)| {
        StartError::configuration(format!("oauth.{name}.{}: {}", error.key, error.sentence))
    })
}

/// Whether every certificate that `config` names can be used.
///
/// # Errors
/// A sentence about the first that cannot.
pub fn certificates(config: &Config) -> Result<(), StartError> {
    let smtp = config.smtp.as_ref().map(|s| ("smtp", s.tls_certificate.as_ref(), s.tls_key.as_ref()));
    let webhook =
        config.webhook.as_ref().map(|s| ("webhook", s.tls_certificate.as_ref(), s.tls_key.as_ref()));
    let media = config.media.as_ref().map(|s| ("media", s.tls_certificate.as_ref(), s.tls_key.as_ref()));
    for (section, certificate, key) in [smtp, webhook, media].into_iter().flatten() {
        if let (Some(certificate), Some(key)) = (certificate, key) {
            Certificate::read(certificate, key)
                .map_err(|e| StartError::new(format!("{section}.tls_certificate"), e))?;
        }
    }
    config.smtp.as_ref().map_or(Ok(()), |smtp| doors::partners(smtp).map(drop))
}

/// The URL under which providers reach the webhook listener, which is bound to `address`.
#[must_use]
pub fn webhook_base(section: &config::Webhook, address: SocketAddr) -> String {
    let scheme = if section.tls_certificate.is_some() { "https" } else { "http" };
    section.public_url.clone().unwrap_or_else(|| format!("{scheme}://{address}"))
}

async fn listen(key: &str, address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let fault = |e: std::io::Error| {
        let advice = match e.kind() {
            std::io::ErrorKind::AddrInUse => {
                "; another program listens there: stop it or choose another port"
            }
            std::io::ErrorKind::PermissionDenied => {
                "; ports below 1024 need CAP_NET_BIND_SERVICE (the systemd unit grants it)"
            }
            _ => "",
        };
        StartError::new(key, format!("cannot listen on {address}: {e}{advice}"))
    };
    let listener = TcpListener::bind(address).await.map_err(fault)?;
    let bound = listener.local_addr().map_err(fault)?;
    tracing::info!(address = %bound, "{key}: listening on {bound}");
    Ok((listener, bound))
}

/// Writes a file so that a reader sees the old one or the new one whole.
fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let temporary = path.with_extension("new");
    std::fs::write(&temporary, bytes)?;
    std::fs::rename(&temporary, path)
}
