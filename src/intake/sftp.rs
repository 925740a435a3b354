//! SFTP in: an own SSH server that serves files and nothing else.
//!
//! Each user (a `[[sender]]` with `sftp_user`) shows one of their public keys and sees a virtual tree of two folders,
//! `in/` and `results/`. What an upload is and when it counts stands in `files.rs`, which paths there are in `shared_folder/names.rs`.
//!
//! Limits: sessions in all, from one address and of one user (`places.rs`), of those without a key for 20 seconds each; `idle`
//! without traffic; channels per connection and handles per channel; and for each user early bytes, files being written and room on
//! disk (`shares.rs`), temporary uploads (`shelf.rs`). Per channel, russh queues at most 64 messages of 32 KiB before it stops
//! reading from the network. Who is refused stands in the log, at a bounded rate (`refusals.rs`).
//!
//! Old clients have a listener of their own (`algorithms.rs`).
//!
//! When a changed configuration is taken, the sessions that began go on under the old one, and `shelf.rs` is handed on. When the
//! server stops, uploads that are being written may come to their end for 20 seconds; then connections close.

use std::collections::HashMap;
use std::net::{IpAddr, Shutdown};
use std::sync::Arc;
use std::time::{Duration, Instant};

use russh::server::{Config, run_stream};
use russh::{Disconnect, MethodKind, MethodSet, SshId};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

use self::files::Shared;
use self::hostkey::HostKeys;
use self::keeper::Keeper;
use self::places::{Full, Place, Places};
use self::refusals::{Reason, Refusals, User};
use self::session::{Connection, SignIn};
use super::Intake;
use crate::config;
use crate::listener::{Listener, Socket};

mod account;
mod algorithms;
mod channel;
mod files;
pub mod hostkey;
mod keeper;
mod places;
mod refusals;
mod session;
mod shares;
mod shelf;
#[cfg(test)]
mod tests;
mod upload;

pub use account::{Drop, Seen, SftpUser};
pub use shelf::Shelves;

/// Time until the client has said its version. No person has a part in that.
const TO_GREET: Duration = Duration::from_secs(10);
/// Time to authenticate, from the first byte.
const TO_AUTHENTICATE: Duration = Duration::from_secs(20);
/// Uploads under way may go on for this long after the server was told to stop.
const DRAIN: Duration = Duration::from_secs(20);
/// Time for what was refused for now, when the process ends.
const TO_GIVE_BACK: Duration = Duration::from_secs(15);
/// How often it is looked for what nobody waits for: see `keeper.rs`.
const LOOK: Duration = Duration::from_secs(5);
/// Messages of a channel that wait for us.
const QUEUED_MESSAGES: usize = 64;
/// Answers that wait for russh. Above what any client has in flight, so that sending an answer does not wait for the
/// connection's task while that waits for us to take a message.
const QUEUED_ANSWERS: usize = 1024;
/// Names of algorithms that a log line shows of those that a client knows.
const ALGORITHMS_SHOWN: usize = 12;

/// Who comes in by a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// Everybody (`sftp.listen`).
    Modern,
    /// Old clients (`sftp.listen_legacy`).
    Legacy,
}

/// Serves SFTP on `socket` until `stop` turns true and uploads under way have ended. Where the socket is closed before that, the
/// sessions that began go on, and it returns when the last has ended. `shelves` holds what clients have not renamed yet.
pub async fn serve(
    socket: impl Into<Socket>,
    door: Door,
    config: config::Sftp,
    keys: HostKeys,
    intake: Intake,
    shelves: Arc<Shelves>,
    mut stop: watch::Receiver<bool>,
) {
    let key = match door {
        Door::Modern => "sftp.listen",
        Door::Legacy => "sftp.listen_legacy",
    };
    let mut listener = Listener::new(socket, key, intake.alarms().clone());
    let server = Arc::new(Server {
        ssh: Arc::new(ssh_config(&config, keys, door)),
        door,
        shared: Shared {
            intake,
            shelves,
            refusals: Arc::default(),
            idle: config.idle.std(),
            temporary_for: config.temporary_for.std(),
            max_unaccepted: config.max_unaccepted.get(),
        },
        places: Arc::new(Places::new(&config)),
        stop: stop.clone(),
    });
    let keeper = Keeper { intake: server.shared.intake.clone(), shelves: Arc::clone(&server.shared.shelves) };
    let (end, ended) = oneshot::channel();
    let keeping = tokio::spawn(keep(keeper, Arc::clone(&server.shared.refusals), ended));
    let mut connections = JoinSet::new();
    while !(listener.is_closed() && connections.is_empty()) {
        tokio::select! {
            accepted = listener.accept(), if !listener.is_closed() => {
                if let Some((socket, peer)) = accepted {
                    server.admit(socket, peer.ip(), &mut connections);
                }
            }
            _ = connections.join_next(), if !connections.is_empty() => {}
            () = stopped(&mut stop) => break,
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
    drop(end);
    // A round that is under way ends by itself: what it holds would be lost.
    let _ = keeping.await;
}

/// At the end of the process, when nothing serves any more: tries once more what was refused for now, and tells what is lost.
pub async fn give_back(intake: &Intake, shelves: &Arc<Shelves>) {
    let keeper = Keeper { intake: intake.clone(), shelves: Arc::clone(shelves) };
    if tokio::time::timeout(TO_GIVE_BACK, keeper.give_back(Instant::now())).await.is_err() {
        tracing::error!("SFTP: uploads that were refused for now are lost, since faxbridge stops");
    }
}

/// Looks after what nobody waits for, until the sender of `end` is gone.
async fn keep(keeper: Keeper, refusals: Arc<Refusals>, mut end: oneshot::Receiver<()>) {
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = look.tick() => {}
            _ = &mut end => return,
        }
        refusals.tell_counts(Instant::now());
        keeper.look_after(Instant::now()).await;
    }
}

fn ssh_config(config: &config::Sftp, keys: HostKeys, door: Door) -> Config {
    let legacy = door == Door::Legacy;
    Config {
        server_id: SshId::Standard("SSH-2.0-faxbridge".into()),
        methods: MethodSet::from([MethodKind::PublicKey].as_slice()),
        // Every refusal takes this long, so that its time tells nothing; the first question of a client costs nothing.
        auth_rejection_time: Duration::from_millis(300),
        auth_rejection_time_initial: Some(Duration::ZERO),
        keys: algorithms::host_keys(keys, legacy),
        channel_buffer_size: QUEUED_MESSAGES,
        event_buffer_size: QUEUED_ANSWERS,
        inactivity_timeout: Some(config.idle.std()),
        nodelay: true,
        preferred: algorithms::preferred(legacy),
        ..Config::default()
    }
}

struct Server {
    ssh: Arc<Config>,
    door: Door,
    shared: Shared,
    places: Arc<Places>,
    stop: watch::Receiver<bool>,
}

impl Server {
    fn admit(self: &Arc<Self>, socket: TcpStream, address: IpAddr, connections: &mut JoinSet<()>) {
        match self.places.enter(address) {
            Ok(place) => {
                let server = Arc::clone(self);
                connections.spawn(async move { server.meet(socket, address, place).await });
            }
            Err(full) => {
                self.tell(Reason::Full(full), address, User::Nobody, "");
                connections.spawn(turn_away(socket, full));
            }
        }
    }

    /// Serves one connection, and tells the log where it came to nothing.
    async fn meet(&self, socket: TcpStream, address: IpAddr, place: Place) {
        let sign_in = Arc::new(SignIn::default());
        let ended = self.connection(socket, address, Arc::new(place), &sign_in).await;
        if let Some(tried) = sign_in.failed() {
            let user = if tried.known { User::Known(&tried.user) } else { User::Typed(&tried.user) };
            self.tell(tried.reason, address, user, "");
            return;
        }
        match ended {
            Err(russh::Error::NoCommonAlgo { kind, theirs, .. }) => {
                let known: Vec<&str> = theirs.iter().take(ALGORITHMS_SHOWN).map(String::as_str).collect();
                let detail = format!(
                    "{kind:?}; it knows {:?}. Renew it, or let it in by sftp.listen_legacy",
                    known.join(",")
                );
                self.tell(Reason::Algorithms, address, User::Nobody, &detail);
            }
            Err(russh::Error::ConnectionTimeout) => self.tell(Reason::Slow, address, User::Nobody, ""),
            // Any other end is the client's affair; at info it would fill the log with scanners.
            Err(error) => tracing::debug!(sftp.peer = %address, "SFTP connection ended: {error}"),
            Ok(()) => {}
        }
    }

    fn tell(&self, reason: Reason, address: IpAddr, user: User<'_>, detail: &str) {
        self.shared.refusals.tell(reason, address, user, detail, Instant::now());
    }

    /// One connection from its first byte to its last. Its place is held until every channel of it has ended.
    async fn connection(
        &self,
        socket: TcpStream,
        address: IpAddr,
        place: Arc<Place>,
        sign_in: &Arc<SignIn>,
    ) -> Result<(), russh::Error> {
        socket.set_nodelay(true)?;
        let socket = socket.into_std()?;
        // russh gives no means to end a connection that does not listen; closing its socket under it is one.
        let plug = socket.try_clone()?;
        let (serving, mut served) = watch::channel(0_usize);
        let (authenticated, known) = oneshot::channel();
        let handler = Connection {
            shared: self.shared.clone(),
            address,
            legacy: self.door == Door::Legacy,
            place: Arc::clone(&place),
            sign_in: Arc::clone(sign_in),
            stop: self.stop.clone(),
            serving,
            authenticated: Some(authenticated),
            user: None,
            waiting: HashMap::new(),
        };
        let came = tokio::time::Instant::now();
        let deadline = came + TO_AUTHENTICATE;
        let greeting = run_stream(Arc::clone(&self.ssh), TcpStream::from_std(socket)?, handler);
        let mut stop = self.stop.clone();
        let mut running = tokio::select! {
            greeted = tokio::time::timeout_at(came + TO_GREET, greeting) => greeted.map_err(|_| russh::Error::ConnectionTimeout)??,
            () = stopped(&mut stop) => return Ok(()),
        };
        // An error from `known` means that the connection ended, which `running` tells below.
        let in_time = tokio::select! {
            known = tokio::time::timeout_at(deadline, known) => known.is_ok(),
            () = stopped(&mut stop) => true,
        };
        if !in_time {
            plug.shutdown(Shutdown::Both)?;
            let _ = running.await;
            return Err(russh::Error::ConnectionTimeout);
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

/// Says why before it goes: RFC 4253 section 4.2 allows lines before the version, and clients show them.
async fn turn_away(mut socket: TcpStream, full: Full) {
    let line: &[u8] = match full {
        Full::Address => b"Too many connections from your address, try again later.\r\n",
        Full::All | Full::User => b"Too many connections, try again later.\r\n",
    };
    // Whoever does not take it in this time does not read it.
    let _ = tokio::time::timeout(Duration::from_secs(1), socket.write_all(line)).await;
}

/// Ready once the server is to stop. The sender going away means the same.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}
