//! Mail in: an SMTP server that takes a mail only when the mail is safe on disk.
//!
//! The promise: `250` to the end of a mail goes out after [`Intake::accept`] returned, which is after sync and commit. A
//! client that never sees that `250` sends again, and is told `accepted before` if the first time had succeeded.
//! Everything else ends in a refusal with a sentence, at the earliest command at which it can be known: too large at MAIL,
//! unknown sender or unroutable address at RCPT, a broken mail at its end. A refusal is never followed by a bounce.
//!
//! `session` is the dialogue, `wire` the connection under it, `receive` the way of a mail into the spool with
//! `data` (where does it end) and `intake::header` (what is its Message-ID).

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tracing::Instrument;

use self::limits::{Full, Gate, Seat};
use self::reply::Reply;
use self::session::{Session, Settings};
use self::wire::Wire;
use super::{Intake, Refusal};
use crate::config;

mod auth;
mod data;
mod limits;
mod receive;
mod reply;
mod session;
mod tls;
mod wire;

pub use tls::{TlsError, server_config};

#[cfg(test)]
mod tests;

/// When the service stops, mails that are under way may take this long to end.
const DRAIN: Duration = Duration::from_secs(30);
/// After a failed accept (no file descriptors left, as a rule) we try again that much later.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves `listener` until `shutdown` turns true. Then no further session begins, a session that is receiving a mail ends with
/// the answer to it, all others with 421; returns when all have ended, `DRAIN` later at the latest.
///
/// The session limits of `config` count per listener.
pub async fn serve(
    listener: TcpListener,
    config: &config::Smtp,
    tls: Option<Arc<rustls::ServerConfig>>,
    intake: Intake,
    mut shutdown: watch::Receiver<bool>,
) {
    let server = Arc::new(Server {
        settings: Settings {
            hostname: config.hostname.clone(),
            max_recipients: config.max_recipients,
            largest: intake.config().limits.submission.get(),
            tls: tls.map(TlsAcceptor::from),
        },
        idle: config.idle.std(),
        session_time: config.session_time.std(),
        intake,
        shutdown: shutdown.clone(),
    });
    let gate = Gate::new(config.max_sessions, config.max_sessions_per_address);
    let mut sessions = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            _ = shutdown.wait_for(|stop| *stop) => break,
            Some(ended) = sessions.join_next() => {
                report(ended);
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => match gate.enter(peer.ip()) {
                Ok(seat) => {
                    sessions.spawn(Arc::clone(&server).session(stream, peer.ip(), seat));
                }
                Err(full) => turn_away(stream, full, &server.settings.hostname).await,
            },
            Err(error) => {
                tracing::warn!("no SMTP connection can be accepted for now: {error}");
                sleep(PAUSE).await;
            }
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

struct Server {
    settings: Settings,
    idle: Duration,
    session_time: Duration,
    intake: Intake,
    shutdown: watch::Receiver<bool>,
}

impl Server {
    async fn session(self: Arc<Self>, stream: TcpStream, peer: IpAddr, seat: Seat) {
        // Replies are small and waited for.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!("an SMTP connection keeps its delay: {error}");
        }
        let wire = Wire::new(stream, self.idle, self.session_time, self.shutdown.clone());
        let peer = peer.to_canonical();
        let span = tracing::info_span!("smtp", peer.ip = %peer);
        Session::new(wire, &self.settings, &self.intake, peer).run().instrument(span).await;
        drop(seat);
    }
}

async fn turn_away(mut stream: TcpStream, full: Full, hostname: &str) {
    let whose = match full {
        Full::All => "",
        Full::Address => " from your address",
    };
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

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!("an SMTP session failed within: {error}");
    }
}

/// Logs what the peer was told, without its words, which may hold addresses; and what it was not told.
fn tell_operator(refusal: &Refusal) {
    match &refusal.cause {
        Some(cause) => {
            tracing::warn!(smtp.code = refusal.code, "a mail was refused with {}: {cause}", refusal.code);
        }
        None => tracing::info!(smtp.code = refusal.code, "a mail was refused with {}", refusal.code),
    }
}
