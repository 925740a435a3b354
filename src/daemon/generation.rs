//! One configuration at work: its ways in, its workers, and how they come to an end while the next one works already.
//!
//! An end has three steps. *Closed*: nothing new is taken, what is in hand is finished, sessions go on. *Stopped*: sessions end
//! too, each after the mail or file it is receiving. *Cut off*: whatever still hangs is dropped. A stop of the daemon goes to the
//! second step at once; after a reload the first one may last [`LINGER`]. What is dropped was never promised: an Attempt is on
//! disk before its request, a mail is answered after its commit.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

use super::Addresses;
use super::backstage::Backstage;
use super::build::Built;
use super::ground::Ground;
use super::listeners::{Bound, Way};
use crate::alarm::Alarm;
use crate::config::{self, Config};
use crate::delivery::media::{Host, Media};
use crate::delivery::webhook::{self, Hooks};
use crate::delivery::worker::Worker;
use crate::intake::smtp::{Door, LOOK_EVERY};
use crate::intake::{self, Intake, imap, sftp};
use crate::listener::Socket;
use crate::retention::Retention;
use crate::vault::Purpose;

/// Sessions that began under a former configuration may go on for so long.
const LINGER: Duration = Duration::from_secs(15 * 60);
/// Longer than any way in takes to end its sessions.
const FAREWELL: Duration = Duration::from_secs(45);
/// A folder or mailbox is taken over when the one before has let go of it, or after this.
const HAND_OVER: Duration = Duration::from_secs(20);

/// See the module. Dropped, its tasks are aborted.
#[derive(Debug)]
pub(super) struct Generation {
    pub(super) config: Arc<Config>,
    pub(super) addresses: Addresses,
    pub(super) intake: Intake,
    close: watch::Sender<bool>,
    stop: watch::Sender<bool>,
    parts: JoinSet<String>,
    /// What only one may work on at a time, by its key.
    places: BTreeMap<String, Place>,
}

/// Somebody's place at a folder or mailbox.
#[derive(Debug, Clone)]
struct Place {
    holder: AbortHandle,
    /// Its sender goes with whoever holds the place.
    held: watch::Receiver<()>,
}

impl Place {
    async fn vacated(mut self) {
        if timeout(HAND_OVER, self.held.changed()).await.is_err() {
            self.holder.abort();
        }
    }
}

impl Generation {
    /// Sets everything to work that `built` has, on the sockets that were bound for it. `before` is the generation that is to end
    /// now.
    pub(super) fn begin(
        built: Built,
        bound: Bound,
        ground: &Ground,
        backstage: &Backstage,
        before: Option<&Generation>,
    ) -> Generation {
        let mut this = Generation {
            config: Arc::clone(&built.config),
            addresses: addresses(&bound),
            intake: built.intake.clone(),
            close: watch::channel(false).0,
            stop: watch::channel(false).0,
            parts: JoinSet::new(),
            places: BTreeMap::new(),
        };
        ground.tokens().clone_from(&built.tokens);
        for certificate in &built.certificates {
            let watched = Arc::clone(certificate).watch(LOOK_EVERY, this.close.subscribe());
            this.run("looking after a TLS certificate ended", watched);
        }
        let hooks = this.hooks(ground);
        let media = this.media(ground);
        this.open_folders(&built, ground, before);
        this.open_mailboxes(&built, before);
        let doors = Doors { built: &built, ground, hooks: hooks.as_ref(), media: media.as_ref() };
        for way in bound.ways {
            this.open(way, &doors);
        }
        this.work(built, ground, backstage, hooks, media);
        this
    }

    /// Waits until some part has ended by itself, which none should; says which.
    pub(super) async fn ended(&mut self) -> String {
        match self.parts.join_next().await {
            Some(part) => part.unwrap_or_else(|error| format!("a part of the daemon failed: {error}")),
            None => std::future::pending().await,
        }
    }

    /// Nothing new is taken from now on.
    pub(super) fn close(&self) {
        // Nobody listens any more where all parts have ended.
        let _ = self.close.send(true);
    }

    /// Sessions end too.
    pub(super) fn stop(&self) {
        self.close();
        let _ = self.stop.send(true);
    }

    /// Returns when every part has ended.
    pub(super) async fn drained(&mut self) {
        while let Some(part) = self.parts.join_next().await {
            if let Err(error) = part.as_ref().map_err(|error| error.is_panic().then_some(error)) {
                let Some(error) = error else { continue };
                tracing::error!("a part of a former configuration failed: {error}");
            }
        }
    }

    /// Lets it come to its end: in its own time, sooner where `hurry` turns true, and never later than the module says.
    pub(super) async fn retire(mut self, mut hurry: watch::Receiver<bool>) {
        self.close();
        let lingered = tokio::select! {
            () = self.drained() => return,
            () = tokio::time::sleep(LINGER) => "they lasted too long",
            _ = hurry.wait_for(|hurry| *hurry) => "another configuration was taken",
        };
        tracing::info!("the last sessions of a former configuration end now: {lingered}");
        self.stop();
        if timeout(FAREWELL, self.drained()).await.is_err() {
            let left = self.parts.len();
            tracing::warn!("{left} parts of a former configuration did not end and are cut off");
        }
    }

    fn run(&mut self, ended: &'static str, work: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        self.parts.spawn(async move {
            work.await;
            ended.to_owned()
        })
    }

    /// Runs `work` on what `key` names, once the one who has it in `before` has let go of it.
    fn take_over(
        &mut self,
        key: String,
        before: Option<&Generation>,
        ended: &'static str,
        work: impl Future<Output = ()> + Send + 'static,
    ) {
        let predecessor = before.and_then(|before| before.places.get(&key)).cloned();
        let (hold, held) = watch::channel(());
        let holder = self.run(ended, async move {
            if let Some(place) = predecessor {
                place.vacated().await;
            }
            work.await;
            drop(hold);
        });
        self.places.insert(key, Place { holder, held });
    }

    fn open_folders(&mut self, built: &Built, ground: &Ground, before: Option<&Generation>) {
        let dir = &built.config.store.data_dir;
        let configured = built.config.folder.keys().map(String::as_str);
        for (name, files) in intake::folder::abandoned(dir, configured) {
            let cause = format!(
                "{files} files that were taken from the folder {name} wait in {}, and there is no [folder.{name}] any more; put it \
                 back for a start, or move them away",
                dir.join("claims").join(&name).display()
            );
            ground.alarms.raise(Alarm::Folder(name), cause, ground.clock.now());
        }
        for (name, section) in built.config.folder.clone() {
            let watched =
                intake::folder::watch(name.clone(), section, built.intake.clone(), self.close.subscribe());
            self.take_over(format!("folder.{name}"), before, "a watched folder ended", watched);
        }
    }

    /// Begins to fetch every mailbox. None that is out of reach keeps the daemon from starting.
    fn open_mailboxes(&mut self, built: &Built, before: Option<&Generation>) {
        let bodies = Arc::new(Semaphore::new(imap::BODIES));
        for (name, section) in built.config.imap.clone() {
            let key = format!("imap.{name}");
            let mailbox = imap::Mailbox {
                tokens: section.oauth.as_ref().and_then(|name| built.tokens.get(name).cloned()),
                name,
                section,
                intake: built.intake.clone(),
                bodies: Arc::clone(&bodies),
            };
            let fetched = imap::fetch(mailbox, self.close.subscribe());
            self.take_over(key, before, "a mailbox is no longer fetched", fetched);
        }
    }

    /// The URLs under which providers report, where they can.
    fn hooks(&self, ground: &Ground) -> Option<Hooks> {
        let (section, address) = (self.config.webhook.as_ref()?, self.addresses.webhook?);
        Some(Hooks::new(&webhook_base(section, address), ground.spool.vault().marker(Purpose::Webhook)))
    }

    /// The URLs under which providers fetch documents, where they can.
    fn media(&self, ground: &Ground) -> Option<Media> {
        let section = self.config.media.as_ref()?;
        let marker = ground.spool.vault().marker(Purpose::Media);
        Some(Media::new(&section.public_url, marker, section.valid_for.signed()))
    }

    /// Serves what comes in by `way`.
    fn open(&mut self, way: Way, doors: &Doors<'_>) {
        match way.key {
            "smtp.listen" => self.open_smtp(way, Door::Smtp, doors),
            "smtp.listen_tls" => self.open_smtp(way, Door::Tls, doors),
            "smtp.listen_lmtp" => self.open_smtp(way, Door::Lmtp, doors),
            "sftp.listen" => self.open_sftp(way, sftp::Door::Modern, doors),
            "sftp.listen_legacy" => self.open_sftp(way, sftp::Door::Legacy, doors),
            "webhook.listen" => self.open_webhook(way, doors),
            _ => self.open_media(way, doors),
        }
    }

    fn socket(&self, way: Way) -> Socket {
        Socket::until(way.socket, self.close.subscribe())
    }

    fn open_smtp(&mut self, way: Way, door: Door, doors: &Doors<'_>) {
        let Some(server) = doors.built.smtp.clone() else { return };
        let (socket, stop) = (self.socket(way), self.stop.subscribe());
        self.run("the SMTP listener ended", async move { server.serve(socket, door, stop).await });
    }

    fn open_sftp(&mut self, way: Way, door: sftp::Door, Doors { built, ground, .. }: &Doors<'_>) {
        let (Some(section), Some(keys)) = (built.config.sftp.clone(), built.host_keys.clone()) else {
            return;
        };
        let (socket, stop) = (self.socket(way), self.stop.subscribe());
        let shelves = Arc::clone(&ground.shelves);
        let served = sftp::serve(socket, door, section, keys, built.intake.clone(), shelves, stop);
        self.run("the SFTP server ended", served);
    }

    fn open_webhook(&mut self, way: Way, Doors { built, ground, hooks, .. }: &Doors<'_>) {
        let Some(hooks) = hooks.cloned() else { return };
        let desk = webhook::WebhookReceiver {
            hooks,
            providers: built.providers.clone(),
            store: ground.store.clone(),
            clock: Arc::clone(&ground.clock),
            alarms: ground.alarms.clone(),
            wake: Arc::clone(&ground.made),
        };
        let (socket, stop, tls) = (self.socket(way), self.stop.subscribe(), built.webhook_tls.clone());
        self.run("the webhook listener ended", desk.serve(socket, tls, stop));
    }

    fn open_media(&mut self, way: Way, Doors { built, ground, media, .. }: &Doors<'_>) {
        let Some(media) = media.cloned() else { return };
        let host = Host {
            media,
            store: ground.store.clone(),
            spool: ground.spool.clone(),
            clock: Arc::clone(&ground.clock),
            alarms: ground.alarms.clone(),
        };
        let (socket, stop, tls) = (self.socket(way), self.stop.subscribe(), built.media_tls.clone());
        self.run("the media host ended", host.serve(socket, tls, stop));
    }

    /// Sets to work what nobody waits for, on threads that step back behind the sessions, and the worker.
    fn work(
        &mut self,
        built: Built,
        ground: &Ground,
        backstage: &Backstage,
        hooks: Option<Hooks>,
        media: Option<Media>,
    ) {
        let retention = retention(&built, ground);
        let worker = Worker {
            store: ground.store.clone(),
            spool: ground.spool.clone(),
            providers: built.providers,
            config: built.config,
            clock: Arc::clone(&ground.clock),
            wake: Arc::clone(&ground.made),
            answered: Arc::clone(&ground.answered),
            alarms: ground.alarms.clone(),
            hands: Arc::clone(&ground.hands),
            hooks,
            media,
        };
        let (preparer, outbox, stopped) = (built.preparer, built.outbox, || self.close.subscribe());
        let (a, b, c, d) = (stopped(), stopped(), stopped(), stopped());
        let handle = backstage.handle();
        self.parts.spawn_on(
            async {
                preparer.run(a).await;
                "preparing documents ended".into()
            },
            handle,
        );
        self.parts.spawn_on(
            async {
                outbox.run(c).await;
                "the outbox ended".into()
            },
            handle,
        );
        self.parts.spawn_on(
            async {
                retention.run(d).await;
                "retention ended".into()
            },
            handle,
        );
        self.run("delivery ended", Arc::new(worker).run(b));
    }
}

/// What the ways in are opened with.
struct Doors<'a> {
    built: &'a Built,
    ground: &'a Ground,
    hooks: Option<&'a Hooks>,
    media: Option<&'a Media>,
}

pub(super) fn retention(built: &Built, ground: &Ground) -> Retention {
    Retention {
        store: ground.store.clone(),
        spool: ground.spool.clone(),
        providers: built.providers.clone(),
        config: Arc::clone(&built.config),
        clock: Arc::clone(&ground.clock),
        answered: Arc::clone(&ground.answered),
        alarms: ground.alarms.clone(),
        seen: ground.seen.clone(),
    }
}

fn addresses(bound: &Bound) -> Addresses {
    let mut addresses = Addresses::default();
    for way in &bound.ways {
        match way.key {
            "smtp.listen" => addresses.smtp.push(way.address),
            "smtp.listen_tls" => addresses.smtp_tls.push(way.address),
            "smtp.listen_lmtp" => addresses.lmtp.push(way.address),
            "sftp.listen" => addresses.sftp.push(way.address),
            "sftp.listen_legacy" => addresses.sftp_legacy.push(way.address),
            "webhook.listen" => addresses.webhook = Some(way.address),
            _ => addresses.media = Some(way.address),
        }
    }
    addresses
}

/// The URL under which providers reach the webhook listener, which is bound to `address`.
#[must_use]
pub fn webhook_base(section: &config::Webhook, address: std::net::SocketAddr) -> String {
    let scheme = if section.tls_certificate.is_some() { "https" } else { "http" };
    section.public_url.clone().unwrap_or_else(|| format!("{scheme}://{address}"))
}
