//! SFTP in: an own SSH server that serves files and nothing else.
//!
//! Each user (a `[[sender]]` with `sftp_user`) shows one of their public keys and sees a virtual tree of two folders,
//! `in/` and `results/`. What an upload is and when it counts stands in `files.rs`, which paths there are in `names.rs`.
//!
//! Limits: sessions in all and per address, 30 seconds to authenticate, `idle` without traffic, channels per
//! connection, handles per channel, early bytes per channel, temporary uploads per user. Per channel, russh queues at
//! most 64 messages of 32 KiB before it stops reading from the network.
//!
//! When a changed configuration is taken, the sessions that began go on under the old one, and `shelf.rs` is handed on. When the server stops, uploads that are being written may come to their end for 20 seconds; then connections close.

use std::collections::HashMap;
use std::net::{IpAddr, Shutdown};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use russh::keys::PrivateKey;
use russh::server::{Config, run_stream};
use russh::{Disconnect, MethodKind, MethodSet, Preferred, SshId, cipher};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tokio::task::JoinSet;

use self::session::Connection;
use super::Intake;
use crate::config;
use crate::listener::{Listener, Socket};

mod channel;
mod files;
pub mod hostkey;
pub(crate) mod names;
mod session;
mod shelf;
#[cfg(test)]
mod tests;
mod upload;

pub use shelf::Shelves;

/// Time to authenticate, from the first byte.
const TO_AUTHENTICATE: Duration = Duration::from_secs(30);
/// Uploads under way may go on for this long after the server was told to stop.
const DRAIN: Duration = Duration::from_secs(20);
/// How often temporary uploads that nobody renamed are looked for.
const SWEEP: Duration = Duration::from_secs(15);
/// Messages of a channel that wait for us.
const QUEUED_MESSAGES: usize = 64;
/// Answers that wait for russh. Above what any client has in flight, so that sending an answer does not wait for the
/// connection's task while that waits for us to take a message.
const QUEUED_ANSWERS: usize = 1024;

/// The client's order counts (RFC 4253 section 7.1), so this is a set.
const CIPHERS: &[cipher::Name] = &[
    cipher::CHACHA20_POLY1305,
    cipher::AES_256_GCM,
    cipher::AES_128_GCM,
    cipher::AES_256_CTR,
    cipher::AES_192_CTR,
    cipher::AES_128_CTR,
];

/// Serves SFTP on `socket` until `stop` turns true and uploads under way have ended. Where the socket is closed before that, the
/// sessions that began go on, and it returns when the last has ended. `shelves` holds what clients have not renamed yet.
pub async fn serve(
    socket: impl Into<Socket>,
    config: config::Sftp,
    host_key: PrivateKey,
    intake: Intake,
    shelves: Arc<Shelves>,
    mut stop: watch::Receiver<bool>,
) {
    let mut listener = Listener::new(socket, "sftp.listen", intake.alarms().clone());
    let server = Arc::new(Server {
        ssh: Arc::new(ssh_config(&config, host_key)),
        intake,
        shelves,
        places: Arc::new(Semaphore::new(config.max_sessions)),
        per_address: config.max_sessions_per_address,
        addresses: Arc::default(),
        stop: stop.clone(),
    });
    let mut connections = JoinSet::new();
    let mut sweep = tokio::time::interval(SWEEP);
    while !(listener.is_closed() && connections.is_empty()) {
        tokio::select! {
            accepted = listener.accept(), if !listener.is_closed() => {
                if let Some((socket, peer)) = accepted {
                    server.admit(socket, peer.ip(), &mut connections);
                }
            }
            _ = connections.join_next(), if !connections.is_empty() => {}
            _ = sweep.tick() => server.shelves.sweep(Instant::now()),
            () = stopped(&mut stop) => break,
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

fn ssh_config(config: &config::Sftp, host_key: PrivateKey) -> Config {
    Config {
        server_id: SshId::Standard("SSH-2.0-faxbridge".into()),
        methods: MethodSet::from([MethodKind::PublicKey].as_slice()),
        // Every refusal takes this long, so that its time tells nothing; the first question of a client costs nothing.
        auth_rejection_time: Duration::from_millis(300),
        auth_rejection_time_initial: Some(Duration::ZERO),
        keys: vec![host_key],
        channel_buffer_size: QUEUED_MESSAGES,
        event_buffer_size: QUEUED_ANSWERS,
        inactivity_timeout: Some(config.idle.std()),
        nodelay: true,
        // russh's own, and AES-128-GCM, which costs the least where the processor helps.
        preferred: Preferred { cipher: CIPHERS.into(), ..Preferred::DEFAULT },
        ..Config::default()
    }
}

struct Server {
    ssh: Arc<Config>,
    intake: Intake,
    shelves: Arc<Shelves>,
    places: Arc<Semaphore>,
    per_address: usize,
    addresses: Arc<Mutex<HashMap<IpAddr, usize>>>,
    stop: watch::Receiver<bool>,
}

/// A connection's place among those allowed, given back when dropped.
struct Ticket {
    _place: OwnedSemaphorePermit,
    address: IpAddr,
    addresses: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = addresses.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                addresses.remove(&self.address);
            }
        }
    }
}

impl Server {
    fn admit(self: &Arc<Self>, mut socket: TcpStream, address: IpAddr, connections: &mut JoinSet<()>) {
        let ticket = self.ticket(address);
        let server = Arc::clone(self);
        connections.spawn(async move {
            match ticket {
                Some(ticket) => {
                    // A failed connection is the client's affair; at info it would fill the log with scanners.
                    if let Err(error) = server.connection(socket, &ticket).await {
                        tracing::debug!(sftp.peer = %address, "SFTP connection ended: {error}");
                    }
                }
                None => {
                    tracing::info!(sftp.peer = %address, "SFTP connection refused: too many");
                    // RFC 4253 section 4.2 allows lines before the version; clients show them.
                    let line = socket.write_all(b"Too many connections, try again later.\r\n");
                    let _ = tokio::time::timeout(Duration::from_secs(1), line).await;
                }
            }
        });
    }

    fn ticket(&self, address: IpAddr) -> Option<Ticket> {
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        let count = addresses.entry(address).or_default();
        if *count >= self.per_address {
            return None;
        }
        *count += 1;
        Some(Ticket { _place: place, address, addresses: Arc::clone(&self.addresses) })
    }

    /// One connection from its first byte to its last. The ticket is held until every channel of it has ended.
    async fn connection(&self, socket: TcpStream, _ticket: &Ticket) -> Result<(), russh::Error> {
        socket.set_nodelay(true)?;
        let socket = socket.into_std()?;
        // russh gives no means to end a connection that does not listen; closing its socket under it is one.
        let plug = socket.try_clone()?;
        let (serving, mut served) = watch::channel(0_usize);
        let (authenticated, known) = oneshot::channel();
        let handler = Connection {
            intake: self.intake.clone(),
            shelves: Arc::clone(&self.shelves),
            stop: self.stop.clone(),
            serving,
            authenticated: Some(authenticated),
            user: None,
            waiting: HashMap::new(),
        };
        let deadline = tokio::time::Instant::now() + TO_AUTHENTICATE;
        let greeting = run_stream(Arc::clone(&self.ssh), TcpStream::from_std(socket)?, handler);
        let mut stop = self.stop.clone();
        let mut running = tokio::select! {
            greeted = tokio::time::timeout_at(deadline, greeting) => greeted.map_err(|_| russh::Error::ConnectionTimeout)??,
            () = stopped(&mut stop) => return Ok(()),
        };
        // An error from `known` means that the connection ended, which `running` tells below.
        let in_time = tokio::select! {
            known = tokio::time::timeout_at(deadline, known) => known.is_ok(),
            () = stopped(&mut stop) => true,
        };
        if !in_time {
            plug.shutdown(Shutdown::Both)?;
            return running.await;
        }
        let ended = tokio::select! {
            ended = &mut running => ended,
            () = stopped(&mut stop) => {
                let _ = tokio::time::timeout(DRAIN, served.wait_for(|count| *count == 0)).await;
                let _ = running.handle().disconnect(Disconnect::ByApplication, "The server stops.".into(), "en".into()).await;
                // Until the client has closed its side, or did not for a moment.
                let _ = tokio::time::timeout(Duration::from_secs(2), &mut running).await;
                Ok(())
            }
        };
        let _ = plug.shutdown(Shutdown::Both);
        let _ = served.wait_for(|count| *count == 0).await;
        ended
    }
}

/// Ready once the server is to stop. The sender going away means the same.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}
