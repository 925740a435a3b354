//! Mail in: an SMTP server that takes a mail only when the mail is safe on disk.
//!
//! The promise: `250` to the end of a mail goes out after [`Intake::accept`] returned, which is after sync and commit. A
//! client that never sees that `250` sends again, and is told `accepted before` if the first time had succeeded.
//! Everything else ends in a refusal with a sentence, at the earliest command at which it can be known: too large at MAIL,
//! unknown sender or unroutable address at RCPT, a broken mail at its end. A refusal is never followed by a bounce.
//!
//! Mail with a null sender, a machine's notice, is refused too, at RCPT: a notice that nobody has is one that nobody misses, and the
//! machine that sent it keeps it in its own log. What such mail looks like behind a proper sender is `prepare`'s business.
//!
//! `session` is the dialogue (`command`, `path` and `parameter` read what the client says), `wire` the connection under it,
//! `incoming` the way of a mail into the spool with `data` (where does it end) and `intake::header` (what is its Message-ID). `gate` and
//! `recent` bound what one client may take, `proxy` finds out who it is behind a load balancer, `tls` and `names` by its certificate.
//! Whoever has proven nothing has a short clock of its own, and what is refused again and again is one log line and a count (`told`).

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{interval, timeout};
use tokio_rustls::TlsAcceptor;
use tracing::Instrument;

use self::recent::{Guesses, Pace};
use self::reply::Reply;
use self::session::{Protocol, Session, Settings};
use self::told::{Reason, Told};
use self::wire::Wire;
use super::Intake;
use crate::config::{self, Network};
use crate::gate::{Full, Gate, Most, Seat};
use crate::listener::{Listener, Socket};

mod auth;
mod command;
mod data;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod incoming;
mod names;
mod parameter;
mod path;
mod proxy;
mod recent;
mod reply;
mod session;
mod tls;
mod told;
mod wire;

pub use tls::{Certificate, LOOK_EVERY, Partners, TlsError, configured, server_config};

#[cfg(test)]
mod tests;

/// When the service stops, mails that are under way may take this long to end.
const DRAIN: Duration = Duration::from_secs(30);
/// Between two looks at what was refused and only counted.
const COUNTS: Duration = Duration::from_secs(5);
/// After a failed accept (no file descriptors left, as a rule) we try again that much later.
const PAUSE: Duration = Duration::from_millis(100);
/// A load balancer has its header ready when it connects.
const PROXY_TIME: Duration = Duration::from_secs(5);

/// What is spoken at a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// SMTP, with STARTTLS where there is a certificate.
    Smtp,
    /// SMTP behind a TLS handshake (RFC 8314, section 3.3).
    Tls,
    /// LMTP (RFC 2033).
    Lmtp,
}

impl Door {
    /// The key of its addresses.
    fn key(self) -> &'static str {
        match self {
            Door::Smtp => "smtp.listen",
            Door::Tls => "smtp.listen_tls",
            Door::Lmtp => "smtp.listen_lmtp",
        }
    }
}

/// The TLS of a server.
#[derive(Debug, Clone)]
pub struct Tls {
    /// See [`configured`].
    pub config: Arc<rustls::ServerConfig>,
    /// Whose client certificates are believed.
    pub partners: Option<Arc<Partners>>,
}

/// A server with any number of listeners, which share its limits. Cheap to clone.
#[derive(Clone)]
pub struct Server {
    shared: Arc<Shared>,
}

struct Shared {
    settings: Settings,
    gate: Gate,
    idle: Duration,
    unproven_time: Duration,
    session_time: Duration,
    proxies: Vec<Network>,
    intake: Intake,
}

impl Server {
    /// Makes one of the section `[smtp]`.
    ///
    /// # Errors
    /// A sentence where a network of `smtp.proxy_from` is none.
    pub fn new(config: &config::Smtp, tls: Option<Tls>, intake: Intake) -> Result<Server, String> {
        let proxies: Result<Vec<Network>, String> =
            config.proxy_from.iter().map(|text| text.parse()).collect();
        let without_tls: Result<Vec<Network>, String> =
            config.without_tls_from.iter().map(|text| text.parse()).collect();
        let partners = tls.as_ref().and_then(|tls| tls.partners.clone());
        let settings = Settings {
            hostname: config.hostname.clone(),
            max_recipients: config.max_recipients,
            largest: intake.config().limits.submission.get(),
            tls: tls.map(|tls| TlsAcceptor::from(tls.config)),
            require_tls: config.require_tls,
            without_tls: without_tls.map_err(|e| format!("smtp.without_tls_from: {e}"))?,
            partners,
            guesses: Guesses::new(
                config.failed_logins,
                config.failed_login_window.std(),
                config.tarpit.std(),
            ),
            mails_per_minute: config.mails_per_minute,
            by_address: Pace::new(),
            by_sender: Pace::new(),
            told: Told::default(),
        };
        let most = Most {
            all: config.max_sessions,
            per_peer: config.max_sessions_per_address,
            per_known_peer: config.max_sessions_per_relay,
        };
        let shared = Shared {
            settings,
            gate: Gate::new(most),
            idle: config.idle.std(),
            unproven_time: config.unproven_time.std(),
            session_time: config.session_time.std(),
            proxies: proxies.map_err(|e| format!("smtp.proxy_from: {e}"))?,
            intake,
        };
        Ok(Server { shared: Arc::new(shared) })
    }

    /// Serves `listener` until `shutdown` turns true. Then no further session begins, a session that is receiving a mail ends
    /// with the answer to it, all others with 421; returns when all have ended, `DRAIN` later at the latest. Where the socket is
    /// closed before that, the sessions that began go on, and it returns when the last has ended.
    pub async fn serve(&self, socket: impl Into<Socket>, door: Door, mut shutdown: watch::Receiver<bool>) {
        let mut sessions = JoinSet::new();
        let mut counts = interval(COUNTS);
        let mut listener = Listener::new(socket, door.key(), self.shared.intake.alarms().clone());
        while !(listener.is_closed() && sessions.is_empty()) {
            let accepted = tokio::select! {
                biased;
                _ = shutdown.wait_for(|stop| *stop) => break,
                Some(ended) = sessions.join_next() => {
                    report(ended);
                    continue;
                }
                _ = counts.tick() => {
                    self.shared.settings.told.counts();
                    continue;
                }
                accepted = listener.accept(), if !listener.is_closed() => accepted,
            };
            let Some((stream, peer)) = accepted else { continue };
            match self.shared.gate.enter() {
                Ok(seat) => {
                    let shared = Arc::clone(&self.shared);
                    sessions.spawn(shared.session(stream, peer.ip(), door, seat, shutdown.clone()));
                }
                Err(full) => self.shared.turn_away(stream, peer.ip(), door, full).await,
            }
        }
        drop(listener);
        let drained = timeout(DRAIN, async {
            while let Some(ended) = sessions.join_next().await {
                report(ended);
            }
        });
        if drained.await.is_err() {
            tracing::warn!("{} SMTP sessions did not end in time and were cut off", sessions.len());
        }
    }
}

impl Shared {
    async fn session(
        self: Arc<Self>,
        mut stream: TcpStream,
        peer: IpAddr,
        door: Door,
        mut seat: Seat,
        shutdown: watch::Receiver<bool>,
    ) {
        // Replies are small and waited for.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!("an SMTP connection keeps its delay: {error}");
        }
        let Some((peer, nameless)) = self.client(&mut stream, peer).await else { return };
        // Whoever speaks LMTP is a mail server that somebody put there.
        let known = nameless || door == Door::Lmtp || self.intake.names_address(peer);
        if let Err(full) = seat.belongs_to(peer, known) {
            self.turn_away(stream, peer, door, full).await;
            return;
        }
        let mut wire = Wire::new(stream, self.idle, self.session_time, shutdown);
        if !known {
            wire.unproven(self.unproven_time);
        }
        let protocol = if door == Door::Lmtp { Protocol::Lmtp } else { Protocol::Smtp };
        let span = tracing::info_span!("smtp", peer.ip = %peer);
        let session =
            Session::new(wire, &self.settings, &self.intake, protocol, peer).placed(nameless, known);
        session.run(door == Door::Tls).instrument(span).await;
        drop(seat);
    }

    /// Who is at the other end, or beyond the load balancer there, and whether that one did not say (PROXY UNKNOWN, LOCAL): then it is
    /// the balancer's own address, which proves nothing. None where the connection is of no use.
    async fn client(&self, stream: &mut TcpStream, peer: IpAddr) -> Option<(IpAddr, bool)> {
        let peer = peer.to_canonical();
        if !self.proxies.iter().any(|network| network.contains(peer)) {
            return Some((peer, false));
        }
        match timeout(PROXY_TIME, proxy::read(stream)).await {
            Ok(Ok(client)) => Some((client.unwrap_or(peer), client.is_none())),
            Ok(Err(error)) => {
                if self.settings.told.note(Reason::Proxy, peer) {
                    tracing::warn!(peer.ip = %peer, "a connection from smtp.proxy_from was closed: {error}");
                }
                None
            }
            Err(_) => {
                if self.settings.told.note(Reason::Proxy, peer) {
                    tracing::warn!(peer.ip = %peer, "a connection from smtp.proxy_from was closed: no header came in time");
                }
                None
            }
        }
    }

    async fn turn_away(&self, mut stream: TcpStream, peer: IpAddr, door: Door, full: Full) {
        if self.settings.told.note(Reason::Full(full), peer) {
            tracing::warn!(peer.ip = %peer, "an SMTP session of {peer} was turned away: {}", Reason::Full(full));
        }
        if door == Door::Tls {
            // Nothing can be said before the handshake, which is not to be had for nothing.
            return;
        }
        let whose = match full {
            Full::All => "",
            Full::Peer => " from your address",
        };
        let hostname = &self.settings.hostname;
        let text = format!("{hostname} has too many sessions{whose} at the moment, try again later");
        let mut bytes = Vec::new();
        Reply::new(421, "4.7.0", text).write(&mut bytes);
        // The send buffer of a new connection is empty: this does not wait.
        let said = timeout(PAUSE, async {
            stream.write_all(&bytes).await?;
            stream.shutdown().await
        });
        if !matches!(said.await, Ok(Ok(()))) {
            tracing::debug!("a client beyond the limits was gone before it was told");
        }
    }
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!("an SMTP session failed within: {error}");
    }
}
