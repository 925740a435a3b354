//! A listener that outlives what keeps it from accepting: no descriptors left, no memory for a connection.
//!
//! Those who want to come in wait in the system's queue meanwhile, and nothing is lost. Whoever runs this is told by an alarm,
//! once, however often it is tried.
//!
//! And a socket that can be closed without a word to those that came. When a changed configuration is taken, the same socket is
//! handed to what serves the new one; what served the old one must accept nothing more, and still serve its sessions to their end.
//! So a server is told two things: here, that nothing more comes; and by its own shutdown, that its sessions are to end.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rustix::io::Errno;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use crate::alarm::{Alarm, Alarms};
use crate::clock::{Clock, SystemClock};

/// After a connection that could not be accepted.
const PAUSE: Duration = Duration::from_millis(200);
/// The trouble is over when nothing has failed for so long.
const CALM: Duration = Duration::from_secs(10);

/// A socket that connections come in by, until it is closed.
#[derive(Debug)]
pub struct Socket {
    /// Gone once it was closed.
    socket: Option<TcpListener>,
    close: Option<watch::Receiver<bool>>,
}

impl From<TcpListener> for Socket {
    /// One that is never closed.
    fn from(socket: TcpListener) -> Self {
        Socket { socket: Some(socket), close: None }
    }
}

impl Socket {
    /// One that is closed when `close` turns true.
    #[must_use]
    pub fn until(socket: TcpListener, close: watch::Receiver<bool>) -> Self {
        Socket { socket: Some(socket), close: Some(close) }
    }

    /// The next connection; `None` once it is closed. Loses none when it is dropped before.
    async fn accept(&mut self) -> Option<io::Result<(TcpStream, SocketAddr)>> {
        let accepted = {
            let socket = self.socket.as_ref()?;
            match &mut self.close {
                None => Some(socket.accept().await),
                Some(close) => tokio::select! {
                    biased;
                    // Whoever could say so is gone: that closes it too.
                    _ = close.wait_for(|close| *close) => None,
                    accepted = socket.accept() => Some(accepted),
                },
            }
        };
        if accepted.is_none() {
            self.socket = None;
        }
        accepted
    }
}

/// See the module.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    key: &'static str,
    alarms: Alarms,
    failed: Option<Instant>,
}

impl Listener {
    /// `key` is its place in the configuration, as `smtp.listen`.
    #[must_use]
    pub fn new(socket: impl Into<Socket>, key: &'static str, alarms: Alarms) -> Self {
        Listener { socket: socket.into(), key, alarms, failed: None }
    }

    /// Whether nothing more comes in by it.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.socket.socket.is_none()
    }

    /// The next connection; `None` once its socket is closed. Loses none when it is dropped before.
    pub async fn accept(&mut self) -> Option<(TcpStream, SocketAddr)> {
        loop {
            let calm = self.failed.map(|at| at + CALM);
            tokio::select! {
                accepted = self.socket.accept() => match accepted? {
                    Ok(connection) => return Some(connection),
                    Err(error) => self.wait_out(&error).await,
                },
                () = sleep_until(calm.unwrap_or_else(Instant::now)), if calm.is_some() => {
                    self.failed = None;
                    self.alarms.clear(&self.alarm());
                }
            }
        }
    }

    async fn wait_out(&mut self, error: &io::Error) {
        if is_of_one_connection(error) {
            tracing::debug!("{}: a connection broke before it was accepted: {error}", self.key);
            return;
        }
        self.failed = Some(Instant::now());
        let advice = match Errno::from_io_error(error) {
            Some(Errno::MFILE) => {
                "; those who want to come in wait. Allow the process more descriptors (LimitNOFILE in the unit), or fewer sessions"
            }
            _ => "; those who want to come in wait",
        };
        self.alarms.raise(
            self.alarm(),
            format!("no connection can be accepted for now: {error}{advice}"),
            SystemClock.now(),
        );
        sleep(PAUSE).await;
    }

    fn alarm(&self) -> Alarm {
        Alarm::Listener(self.key.to_owned())
    }
}

/// Linux hands errors of the network and of a firewall on to whoever accepts: the next connection may be a good one.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(
            Errno::CONNABORTED
                | Errno::CONNRESET
                | Errno::INTR
                | Errno::PERM
                | Errno::NETDOWN
                | Errno::NETUNREACH
                | Errno::HOSTDOWN
                | Errno::HOSTUNREACH
                | Errno::PROTO
                | Errno::NOPROTOOPT
                | Errno::OPNOTSUPP
        )
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_lack_of_descriptors_is_an_alarm_until_it_is_over() {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let alarms = Alarms::default();
        let mut listener = Listener::new(socket, "smtp.listen", alarms.clone());
        listener.wait_out(&Errno::CONNABORTED.into()).await;
        assert_eq!(alarms.open(), [], "that is the client's affair");
        for _ in 0..3 {
            listener.wait_out(&Errno::MFILE.into()).await;
        }
        let open = alarms.open();
        let (alarm, raised) = open.first().unwrap();
        assert_eq!((open.len(), alarm), (1, &Alarm::Listener("smtp.listen".into())));
        assert!(raised.cause.contains("LimitNOFILE"), "{}", raised.cause);
        let address = listener.socket.socket.as_ref().unwrap().local_addr().unwrap();
        let client = TcpStream::connect(address).await.unwrap();
        listener.accept().await;
        assert_eq!(alarms.open().len(), 1, "one that was accepted does not end it");
        drop(client);
        listener.failed = Instant::now().checked_sub(CALM);
        assert!(tokio::time::timeout(PAUSE, listener.accept()).await.is_err());
        assert_eq!(alarms.open(), []);
    }
    #[tokio::test]
    async fn what_was_closed_accepts_nothing_and_another_handle_of_the_socket_does() {
        let first = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        first.set_nonblocking(true).unwrap();
        let second = TcpListener::from_std(first.try_clone().unwrap()).unwrap();
        let address = second.local_addr().unwrap();
        let (close, closed) = watch::channel(false);
        let socket = Socket::until(TcpListener::from_std(first).unwrap(), closed);
        let mut old = Listener::new(socket, "smtp.listen", Alarms::default());
        let _one = TcpStream::connect(address).await.unwrap();
        assert!(old.accept().await.is_some());
        close.send(true).unwrap();
        let _two = TcpStream::connect(address).await.unwrap();
        assert!(old.accept().await.is_none());
        assert!(old.is_closed() && old.accept().await.is_none());
        let mut new = Listener::new(second, "smtp.listen", Alarms::default());
        assert!(new.accept().await.is_some(), "it waited in the queue that both share");
    }
}
