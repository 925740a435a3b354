//! A listener that outlives what keeps it from accepting: no descriptors left, no memory for a connection.
//!
//! Those who want to come in wait in the system's queue meanwhile, and nothing is lost. Whoever runs this is told by an alarm,
//! once, however often it is tried.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rustix::io::Errno;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, sleep_until};

use crate::alarm::{Alarm, Alarms};
use crate::clock::{Clock, SystemClock};

/// After a connection that could not be accepted.
const PAUSE: Duration = Duration::from_millis(200);
/// The trouble is over when nothing has failed for so long.
const CALM: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    key: &'static str,
    alarms: Alarms,
    failed: Option<Instant>,
}

impl Listener {
    /// `key` is its place in the configuration, as `smtp.listen`.
    #[must_use]
    pub fn new(socket: TcpListener, key: &'static str, alarms: Alarms) -> Self {
        Listener { socket, key, alarms, failed: None }
    }

    /// The next connection. Loses none when it is dropped before.
    pub async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            let calm = self.failed.map(|at| at + CALM);
            tokio::select! {
                accepted = self.socket.accept() => match accepted {
                    Ok(connection) => return connection,
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
        let address = listener.socket.local_addr().unwrap();
        let client = TcpStream::connect(address).await.unwrap();
        listener.accept().await;
        assert_eq!(alarms.open().len(), 1, "one that was accepted does not end it");
        drop(client);
        listener.failed = Instant::now().checked_sub(CALM);
        assert!(tokio::time::timeout(PAUSE, listener.accept()).await.is_err());
        assert_eq!(alarms.open(), []);
    }
}
