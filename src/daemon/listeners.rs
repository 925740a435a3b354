//! The sockets of the ways in. They outlive a configuration: what the next one wants too is handed to it, so that no client is
//! ever turned away for a reload, and what it wants beside that is bound before anything of the old one stops.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::net::TcpSocket;

use super::StartError;
use crate::config::Config;

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1024;

/// A key of the configuration and an address that stands there.
pub(super) type Wanted = (&'static str, SocketAddr);

/// Every address that `config` names, in its order.
#[must_use]
pub(super) fn wanted(config: &Config) -> Vec<Wanted> {
    let mut all = Vec::new();
    if let Some(smtp) = &config.smtp {
        all.extend(smtp.listen.iter().map(|at| ("smtp.listen", *at)));
        all.extend(smtp.listen_tls.iter().map(|at| ("smtp.listen_tls", *at)));
        all.extend(smtp.listen_lmtp.iter().map(|at| ("smtp.listen_lmtp", *at)));
    }
    if let Some(sftp) = &config.sftp {
        all.extend(sftp.listen.iter().map(|at| ("sftp.listen", *at)));
        all.extend(sftp.listen_legacy.iter().map(|at| ("sftp.listen_legacy", *at)));
    }
    all.extend(config.webhook.iter().map(|webhook| ("webhook.listen", webhook.listen)));
    all.extend(config.media.iter().map(|media| ("media.listen", media.listen)));
    all
}

/// What stands for a socket in two configurations: its address; where the system chooses the port, the key too, and which of them
/// it is.
type Slot = (SocketAddr, Option<(&'static str, usize)>);

fn slots(wanted: &[Wanted]) -> Vec<Slot> {
    let slot = |(n, (key, at)): (usize, &Wanted)| {
        let before = wanted.iter().take(n).filter(|earlier| *earlier == &(*key, *at)).count();
        (*at, (at.port() == 0).then_some((*key, before)))
    };
    wanted.iter().enumerate().map(slot).collect()
}

/// The sockets that are open.
#[derive(Debug, Default)]
pub(super) struct Listeners(Mutex<BTreeMap<Slot, TcpListener>>);

/// A socket for what a configuration wants.
#[derive(Debug)]
pub(super) struct Way {
    /// Its key.
    pub(super) key: &'static str,
    /// Where it is bound.
    pub(super) address: SocketAddr,
    /// A handle of it.
    pub(super) socket: tokio::net::TcpListener,
    /// It was not open before.
    new: bool,
}

/// Every socket that a configuration wants. Dropped, it closes those that were not open before.
#[derive(Debug)]
pub(super) struct Bound {
    /// In the configuration's order.
    pub(super) ways: Vec<Way>,
    kept: BTreeMap<Slot, TcpListener>,
}

impl Listeners {
    /// A handle of every socket that is `wanted`; those that are not open yet are bound.
    ///
    /// # Errors
    /// A sentence about the first that cannot be had.
    pub(super) fn bind(&self, wanted: &[Wanted]) -> Result<Bound, StartError> {
        let open = self.lock();
        let bound_at = |at: &SocketAddr| open.values().find(|s| s.local_addr().is_ok_and(|own| own == *at));
        let mut bound = Bound { ways: Vec::with_capacity(wanted.len()), kept: BTreeMap::new() };
        for ((key, at), slot) in wanted.iter().zip(slots(wanted)) {
            let fault = |error: io::Error| StartError::new(key, sentence(*at, &error, &open));
            // One whose port the system chose may be wanted by its number now.
            let (socket, new) = match open.get(&slot).or_else(|| bound_at(at)) {
                Some(socket) => (socket.try_clone().map_err(fault)?, false),
                None => (listen(*at, shares_its_port(*at, wanted)).map_err(fault)?, true),
            };
            let address = socket.local_addr().map_err(fault)?;
            let handle = socket.try_clone().and_then(tokio::net::TcpListener::from_std).map_err(fault)?;
            bound.ways.push(Way { key, address, socket: handle, new });
            bound.kept.insert(slot, socket);
        }
        Ok(bound)
    }

    /// From now on these are the sockets that are open, and no others.
    pub(super) fn keep(&self, bound: &mut Bound) {
        for Way { key, address, .. } in bound.ways.iter().filter(|way| way.new) {
            tracing::info!(address = %address, "{key}: listening on {address}");
        }
        *self.lock() = std::mem::take(&mut bound.kept);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Slot, TcpListener>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the addresses that `config` names can be listened on; `held` are those that a running daemon has.
///
/// # Errors
/// The key, the address and what the system says of each that cannot.
#[must_use]
pub fn try_all(config: &Config, held: &[SocketAddr]) -> Vec<(&'static str, SocketAddr, io::Result<()>)> {
    let wanted = wanted(config);
    let free = wanted.iter().filter(|(_, at)| !held.contains(at) || at.port() == 0);
    free.map(|(key, at)| (*key, *at, listen(*at, shares_its_port(*at, &wanted)).map(drop))).collect()
}

/// Whether an address of IPv4 with the same port stands beside this one of IPv6.
fn shares_its_port(at: SocketAddr, wanted: &[Wanted]) -> bool {
    at.port() != 0 && wanted.iter().any(|(_, other)| other.is_ipv4() && other.port() == at.port())
}

/// Binds. `[::]` takes the clients of IPv4 too, unless `own_only`: beside `0.0.0.0` with the same port it must not.
fn listen(at: SocketAddr, own_only: bool) -> io::Result<TcpListener> {
    let socket = match at.ip() {
        IpAddr::V4(_) => TcpSocket::new_v4()?,
        IpAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    if at.is_ipv6() {
        rustix::net::sockopt::set_ipv6_v6only(&socket, own_only)?;
    }
    socket.bind(at)?;
    socket.listen(BACKLOG)?.into_std()
}

fn sentence(at: SocketAddr, error: &io::Error, open: &BTreeMap<Slot, TcpListener>) -> String {
    let ours = open.values().filter_map(|socket| socket.local_addr().ok());
    let overlaps = |other: &SocketAddr| {
        other.port() == at.port() && (other.ip().is_unspecified() || at.ip().is_unspecified())
    };
    let advice = match error.kind() {
        io::ErrorKind::AddrInUse => match ours.into_iter().find(overlaps) {
            Some(other) => {
                format!("; faxbridge itself listens on {other}, which overlaps: restart it for this change")
            }
            None => "; another program listens there: stop it or choose another port".to_owned(),
        },
        io::ErrorKind::AddrNotAvailable => "; this machine has no such address".to_owned(),
        io::ErrorKind::PermissionDenied => {
            "; ports below 1024 need CAP_NET_BIND_SERVICE (the systemd unit grants it)".to_owned()
        }
        _ => String::new(),
    };
    format!("cannot listen on {at}: {error}{advice}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(addresses: &[&str]) -> Vec<Wanted> {
        addresses.iter().map(|at| ("smtp.listen", at.parse().unwrap())).collect()
    }

    #[tokio::test]
    async fn a_socket_is_handed_on_and_one_that_cannot_be_had_leaves_the_others_open() {
        let listeners = Listeners::default();
        let two = at(&["127.0.0.1:0", "127.0.0.1:0"]);
        let mut first = listeners.bind(&two).unwrap();
        listeners.keep(&mut first);
        let addresses = |bound: &Bound| bound.ways.iter().map(|way| way.address).collect::<Vec<_>>();
        let (one, other) = (addresses(&first)[0], addresses(&first)[1]);
        assert_eq!(addresses(&listeners.bind(&two).unwrap()), [one, other], "the same two sockets");
        assert_eq!(addresses(&listeners.bind(&at(&[&other.to_string()])).unwrap()), [other], "by its number");
        // Not of this machine, taken by somebody else, and taken by ourselves.
        let error = listeners.bind(&at(&["192.0.2.77:25"])).unwrap_err();
        assert!(error.to_string().contains("smtp.listen: cannot listen on 192.0.2.77:25"), "{error}");
        let theirs = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let error = listeners.bind(&at(&[&theirs.local_addr().unwrap().to_string()])).unwrap_err();
        assert!(error.to_string().contains("another program listens there"), "{error}");
        let error = listeners.bind(&at(&[&format!("0.0.0.0:{}", one.port())])).unwrap_err();
        assert!(error.to_string().contains("restart it for this change"), "{error}");
        // The second of the two is wanted no more, and free.
        let mut second = listeners.bind(&at(&["127.0.0.1:0"])).unwrap();
        listeners.keep(&mut second);
        assert_eq!(addresses(&second), [one]);
        drop(first);
        assert!(std::net::TcpListener::bind(other).is_ok());
    }

    #[tokio::test]
    async fn both_wildcards_share_a_port() {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let both = at(&[&format!("[::]:{port}"), &format!("0.0.0.0:{port}")]);
        assert_eq!(Listeners::default().bind(&both).unwrap().ways.len(), 2);
    }
}
