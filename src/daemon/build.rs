//! A configuration and all that it points to: read, opened, put together. Nothing of it listens or works yet.
//!
//! `faxbridge check`, a start and a reload come through [`build`], so that what one of them takes the others take, and each tells
//! the same faults in the same words. Every fault is found, not the first only.

use std::fmt::Display;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::ServerConfig;
use zeroize::Zeroizing;

use super::ground::{Ground, look_at_spool, master_key};
use crate::commands;
use crate::config::secret::SecretRef;
use crate::config::{self, Config, Fault, Loaded};
use crate::cover::Fonts;
use crate::delivery::worker::Providers;
use crate::delivery::{self, Provider};
use crate::intake::sftp::hostkey::HostKeys;
use crate::intake::smtp::{Certificate, Partners, Server, Tls};
use crate::intake::{self, Intake, imap};
use crate::oauth::{self, Keeper, Sources};
use crate::packet::{Workshop, WorkshopLimits};
use crate::prepare::Preparer;
use crate::prepare::plan::Planner;
use crate::prepare::turns::SPARE_WORKERS;
use crate::receipt::SigningKey;
use crate::receipt::outbox::Outbox;
use crate::receipt::relay::token_map;
use crate::routing::Rules;

/// See the module.
pub struct Built {
    pub(super) config: Arc<Config>,
    pub(super) providers: Providers,
    pub(super) tokens: Sources,
    pub(super) intake: Intake,
    pub(super) smtp: Option<Server>,
    /// `None` too where a look must not make the key.
    pub(super) host_keys: Option<HostKeys>,
    pub(super) webhook_tls: Option<Arc<ServerConfig>>,
    pub(super) media_tls: Option<Arc<ServerConfig>>,
    /// To be looked after: a renewed one is in use within moments.
    pub(super) certificates: Vec<Arc<Certificate>>,
    pub(super) preparer: Preparer,
    pub(super) outbox: Outbox,
}

impl std::fmt::Debug for Built {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Built").finish_non_exhaustive()
    }
}

/// Puts together what `loaded` configures, on `ground`. Beside the keys that a first start makes, it changes nothing.
///
/// # Errors
/// Everything that is wrong with it, each with its key.
pub async fn build(loaded: Loaded, ground: &Ground) -> Result<Built, Vec<Fault>> {
    let strangers = strangers(&loaded, ground).await;
    let (ground, whole) = (ground.clone(), loaded.fault("", "cannot be put together"));
    let Ok(reading) = Arc::clone(&ground.reading).try_acquire_owned() else {
        let sentence = "a file that the configuration names was asked for before and still does not answer; look at its file system";
        return Err(vec![loaded.fault("", sentence)]);
    };
    // Files are read on the way, which may take its time.
    let built = tokio::task::spawn_blocking(move || {
        let built = put_together(&loaded, &ground);
        drop(reading);
        built
    });
    match (built.await, strangers) {
        (Ok(Ok(built)), strangers) if strangers.is_empty() => Ok(built),
        (Ok(Ok(_)), strangers) => Err(strangers),
        (Ok(Err(mut faults)), strangers) => {
            faults.extend(strangers);
            Err(faults)
        }
        (Err(_), _) => Err(vec![whole]),
    }
}

/// Everything for which `loaded` would be refused on this machine, listening apart. Makes and changes nothing.
pub async fn faults(loaded: &Loaded) -> Vec<Fault> {
    match Ground::look(loaded).await {
        Ok(ground) => build(loaded.clone(), &ground).await.err().unwrap_or_default(),
        // Without its master key nothing can be put together; the other secrets are told all the same.
        Err(error) => {
            let mut faults = Faults { loaded, found: loaded.secrets().0 };
            faults.add(&error.key, error.sentence);
            faults.found
        }
    }
}

/// Faults, each key once.
struct Faults<'a> {
    loaded: &'a Loaded,
    found: Vec<Fault>,
}

impl Faults<'_> {
    fn add(&mut self, key: &str, sentence: impl Display) {
        let sentence = sentence.to_string();
        // Sentences that begin with their key say it once.
        let sentence = sentence.strip_prefix(&format!("{key}: ")).unwrap_or(&sentence);
        if !self.found.iter().any(|fault| fault.key == key) {
            self.found.push(self.loaded.fault(key, sentence));
        }
    }

    fn some<T>(&mut self, key: &str, result: Result<T, impl Display>) -> Option<T> {
        result.map_err(|error| self.add(key, error)).ok()
    }

    /// Whether something below `prefix` is at fault already.
    fn below(&self, prefix: &str) -> bool {
        self.found.iter().any(|fault| fault.key.starts_with(prefix))
    }
}

fn put_together(loaded: &Loaded, ground: &Ground) -> Result<Built, Vec<Fault>> {
    let config = Arc::new(loaded.config.clone());
    let mut faults = Faults { loaded, found: loaded.secrets().0 };
    same_ground(&mut faults, ground);
    let rules = match Rules::compile(&config.rule) {
        Ok(rules) => Arc::new(rules),
        Err(compiled) => {
            let rules = compiled.iter().map(|fault| loaded.fault("rule", fault.to_string()));
            faults.found.extend(rules);
            return Err(faults.found);
        }
    };
    folders(&config, ground.begins(), &mut faults);
    let providers = providers(&config, &mut faults);
    let tokens = tokens(&config, ground, &mut faults);
    let intake = if faults.below("sender[") {
        None
    } else {
        let intake = Intake::new(
            Arc::clone(&config),
            ground.store.clone(),
            ground.spool.clone(),
            Arc::clone(&rules),
            Arc::clone(&ground.clock),
            Arc::clone(&ground.arrived),
        );
        let intake = faults.some("sender", intake);
        let intake = intake.map(|i| i.telling(Arc::clone(&ground.arrivals), ground.alarms.clone()));
        intake.map(|i| i.remembering(ground.seen.clone()))
    };
    let mut doors = Doors { faults: &mut faults, certificates: Vec::new() };
    let (smtp, webhook_tls, media_tls) = doors.open(&config, intake.as_ref());
    let certificates = doors.certificates;
    let host_keys = host_keys(&config, ground, &mut faults);
    for (name, section) in &config.imap {
        let source = section.oauth.as_ref().map(|oauth| tokens.get(oauth).cloned());
        // Without its token there is nothing to add to what was said about that.
        if !matches!(source, Some(None))
            && let Err(fault) = imap::usable(section, source.flatten())
        {
            faults.add(&format!("imap.{}.{}", quoted(name), fault.key), fault.sentence);
        }
    }
    let preparer = preparer(&config, ground, rules, &mut faults);
    let outbox = outbox(&config, ground, &tokens, &mut faults);
    match (intake, preparer, outbox, faults.found) {
        (Some(intake), Some(preparer), Some(outbox), found) if found.is_empty() => Ok(Built {
            config,
            providers,
            tokens,
            intake,
            smtp,
            host_keys,
            webhook_tls,
            media_tls,
            certificates,
            preparer,
            outbox,
        }),
        (.., found) => Err(found),
    }
}

/// What a running daemon cannot change.
fn same_ground(faults: &mut Faults<'_>, ground: &Ground) {
    let loaded = faults.loaded;
    let dir = &loaded.config.store.data_dir;
    if ground.lock.is_some() && !ground.is_at(dir) {
        faults.add("store.data_dir", "another folder than the one in use; restart faxbridge for this change");
    }
    if ground.lock.is_some() && loaded.config.store.node != ground.store.node() {
        faults.add("store.node", "another name than the one in use; restart faxbridge for this change");
    }
    if !faults.below("store.") {
        let same = master_key(loaded).and_then(|master| look_at_spool(dir, master));
        faults.some("store.master_key", same);
    }
}

/// Watched folders are there, and nobody else can exchange what lies there. One that is missing may still come at a start.
fn folders(config: &Config, begins: bool, faults: &mut Faults<'_>) {
    // Whoever looks, root for instance: the daemon is whose data folder it is.
    let us = rustix::process::geteuid().as_raw();
    let daemon = std::fs::metadata(&config.store.data_dir).map_or(us, |facts| facts.uid());
    for (name, section) in &config.folder {
        let (key, shown) = (format!("folder.{}.path", quoted(name)), section.path.display());
        match std::fs::metadata(&section.path) {
            Ok(facts) if facts.is_dir() => {}
            Ok(_) => faults.add(&key, format_args!("{shown} is not a folder")),
            Err(_) if begins => {}
            Err(error) => faults.add(
                &key,
                format_args!("{shown} cannot be watched: {error}; make it, writable by the daemon's user"),
            ),
        }
        match crate::shared_folder::trusted_by(&section.path, daemon) {
            Err(error) if !error.is_missing() => faults.add(&key, error),
            _ => {}
        }
    }
}

fn providers(config: &Config, faults: &mut Faults<'_>) -> Providers {
    let mut providers = Providers::new();
    for (name, section) in &config.provider {
        let key = format!("provider.{}", quoted(name));
        match build_provider(name, section) {
            Ok(provider) => {
                providers.insert(name.clone(), Arc::from(provider));
            }
            Err(error) => {
                // The sentence begins with the key that is at fault.
                let error = format!("{error:#}");
                let (at, sentence) = error.split_once(": ").unwrap_or(("kind", &error));
                faults.add(&format!("{key}.{at}"), sentence);
            }
        }
    }
    providers
}

/// Where a name stands for another account than the one that may still have faxes of ours.
async fn strangers(loaded: &Loaded, ground: &Ground) -> Vec<Fault> {
    let mut faults = Faults { loaded, found: Vec::new() };
    for (name, section) in &loaded.config.provider {
        let key = format!("provider.{}.url", quoted(name));
        match ground.store.left_behind(name, &section.identity()).await {
            Ok(0) => {}
            Ok(open) => faults.add(
                &key,
                format_args!(
                    "another address than the one that {open} faxes were handed to, whose outcome is not known yet; this one would \
                     deny them, and they would be sent twice. Give the new provider another name, and keep this one until they \
                     have ended (faxbridge job list --open)"
                ),
            ),
            Err(error) => faults.add(&key, error),
        }
    }
    faults.found
}

/// The token sources of `config`; those that are in use already and still the same are gone on with.
fn tokens(config: &Config, ground: &Ground, faults: &mut Faults<'_>) -> Sources {
    // In a look nothing can be kept, and nothing is asked for.
    let keeper = ground
        .lock
        .as_ref()
        .map(|_| Keeper { store: ground.store.clone(), vault: ground.spool.vault().clone() });
    let mut sources = Sources::new();
    for (name, section) in &config.oauth {
        match oauth::TokenSource::new(name, section, keeper.clone(), Arc::clone(&ground.clock)) {
            Ok(source) => {
                let kept = ground.tokens().get(name).filter(|used| used.is_the_same(&source)).cloned();
                sources.insert(name.clone(), kept.unwrap_or_else(|| Arc::new(source)));
            }
            Err(error) => faults.add(&format!("oauth.{}.{}", quoted(name), error.key), error.sentence),
        }
    }
    sources
}

/// The ways in that have certificates.
struct Doors<'a, 'f> {
    faults: &'a mut Faults<'f>,
    certificates: Vec<Arc<Certificate>>,
}

type Opened = (Option<Server>, Option<Arc<ServerConfig>>, Option<Arc<ServerConfig>>);

impl Doors<'_, '_> {
    fn open(&mut self, config: &Config, intake: Option<&Intake>) -> Opened {
        let mut smtp = None;
        if let Some(section) = &config.smtp {
            let read = section.client_authorities.as_deref().map(Partners::read).transpose();
            let partners = self.faults.some("smtp.client_authorities", read).flatten();
            let files = (section.tls_certificate.as_ref(), section.tls_key.as_ref());
            let tls = self.tls("smtp", files, partners.as_ref()).map(|config| Tls { config, partners });
            if let Some(intake) = intake {
                smtp = self.faults.some("smtp.proxy_from", Server::new(section, tls, intake.clone()));
            }
        }
        let webhook = config.webhook.as_ref().map(|s| (s.tls_certificate.as_ref(), s.tls_key.as_ref()));
        let media = config.media.as_ref().map(|s| (s.tls_certificate.as_ref(), s.tls_key.as_ref()));
        let webhook = webhook.and_then(|files| self.tls("webhook", files, None));
        let media = media.and_then(|files| self.tls("media", files, None));
        (smtp, webhook, media)
    }

    /// The certificate of `section`, where it has one.
    fn tls(
        &mut self,
        section: &str,
        files: (Option<&PathBuf>, Option<&PathBuf>),
        partners: Option<&Arc<Partners>>,
    ) -> Option<Arc<ServerConfig>> {
        let (Some(certificate), Some(key)) = files else { return None };
        let at = format!("{section}.tls_certificate");
        let certificate = self.faults.some(&at, Certificate::read(certificate, key))?;
        let configured = intake::smtp::configured(Arc::clone(&certificate), partners);
        self.certificates.push(certificate);
        self.faults.some(&at, configured)
    }
}

fn host_keys(config: &Config, ground: &Ground, faults: &mut Faults<'_>) -> Option<HostKeys> {
    let section = config.sftp.as_ref()?;
    if ground.lock.is_none() && !HostKeys::are_there(section, &config.store.data_dir) {
        return None;
    }
    faults.some("sftp.host_key", HostKeys::load_or_make(section, &config.store.data_dir))
}

fn preparer(
    config: &Arc<Config>,
    ground: &Ground,
    rules: Arc<Rules>,
    faults: &mut Faults<'_>,
) -> Option<Preparer> {
    let limits = &config.limits;
    let workshop = Workshop::new(
        ground.program.clone(),
        WorkshopLimits {
            workers: limits.workers.saturating_add(SPARE_WORKERS),
            memory: limits.worker_memory.get(),
            time: limits.worker_time.std(),
        },
    );
    let planner = Planner::new(Arc::clone(config), ground.store.clone(), rules);
    let planner = faults.some("organization.country", planner);
    let fonts = faults.some("cover.fonts", Fonts::with_files(&config.cover.fonts));
    Some(Preparer {
        store: ground.store.clone(),
        spool: ground.spool.clone(),
        workshop,
        planner: planner?,
        commands: commands::Desk::new(Arc::clone(config), ground.store.clone(), ground.spool.vault().clone()),
        fonts: Arc::new(fonts?),
        config: Arc::clone(config),
        clock: Arc::clone(&ground.clock),
        arrivals: Arc::clone(&ground.arrivals),
        arrived: Arc::clone(&ground.arrived),
        made: Arc::clone(&ground.made),
        answered: Arc::clone(&ground.answered),
        alarms: ground.alarms.clone(),
    })
}

fn outbox(
    config: &Arc<Config>,
    ground: &Ground,
    tokens: &Sources,
    faults: &mut Faults<'_>,
) -> Option<Outbox> {
    let path = config.store.data_dir.join("receipt.key");
    let signing = if ground.lock.is_none() && !path.exists() {
        SigningKey::ephemeral()
    } else {
        SigningKey::load_or_make(&path)
    };
    let signing = faults.some("store.data_dir", signing)?;
    let wanted = config.receipt.as_ref().and_then(|receipt| receipt.oauth.as_ref());
    if faults.below("receipt.") || wanted.is_some_and(|name| !tokens.contains_key(name)) {
        return None;
    }
    let outbox = Outbox::new(
        Arc::clone(config),
        ground.store.clone(),
        ground.spool.clone(),
        Arc::clone(&ground.clock),
        Arc::clone(&ground.answered),
        ground.alarms.clone(),
        &token_map(tokens),
        signing,
    );
    outbox.map_err(|sentence| faults.add(receipt_key(&sentence), &sentence)).ok()
}

/// The key of `[receipt]` that `sentence` begins with, or where a look for the fault begins.
fn receipt_key(sentence: &str) -> &str {
    let key = sentence.split(':').next().unwrap_or_default();
    let plain = |c: char| c.is_ascii_lowercase() || c == '_' || c == '.';
    if key.starts_with("receipt.") && key.chars().all(plain) { key } else { "receipt.relay" }
}

/// A name as a part of a key.
fn quoted(name: &str) -> String {
    let bare = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    if bare { name.to_owned() } else { format!("{name:?}") }
}

/// Builds every configured provider.
///
/// # Errors
/// A sentence with the provider's name where a secret cannot be read or a setting is wrong.
pub fn build_providers(config: &Config) -> Result<Providers, String> {
    let mut providers = Providers::new();
    for (name, section) in &config.provider {
        let provider = build_provider(name, section).map_err(|e| format!("provider.{name}: {e:#}"))?;
        providers.insert(name.clone(), Arc::from(provider));
    }
    Ok(providers)
}

/// Builds the provider that the configuration calls `name`.
///
/// # Errors
/// A sentence for the operator where a secret cannot be read or a setting is wrong.
pub fn build_provider(name: &str, section: &config::Provider) -> anyhow::Result<Box<dyn Provider>> {
    let text = |key: &str, secret: Option<&SecretRef>| match secret {
        Some(secret) => {
            let read = secret.read().map_err(|e| anyhow::anyhow!("{key}: {e}"))?;
            let text = read.text().ok_or_else(|| anyhow::anyhow!("{key}: is no text"))?;
            anyhow::Ok(Zeroizing::new(text.to_owned()))
        }
        None => Ok(Zeroizing::default()),
    };
    let facts = section.facts();
    let webhook_key = facts.webhook_key.map(SecretRef::read).transpose()?;
    let secrets = delivery::Secrets {
        token: text("token", facts.token)?,
        password: text("password", facts.password)?,
        webhook_key: webhook_key.map(|key| key.bytes().to_vec().into()),
    };
    Ok(delivery::build(name, section, &secrets)?)
}
