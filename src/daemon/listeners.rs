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
}

/// Every socket that a configuration wants. Dropped, it closes those that were not open before.
#[derive(Debug)]
pub(super) struct Bound {
    /// In the configuration's order.
    pub(super) ways: Vec<Way>,
    kept: BTreeMap<Slot, TcpListener>,
}

impl Listeners {
    /// A handle of every socket that `config` wants; those that are not open yet are bound.
    ///
    /// # Errors
    /// A sentence about the first that cannot be had.
    pub(super) fn bind(&self, config: &Config) -> Result<Bound, StartError> {
        let wanted = wanted(config);
        let open = self.lock();
        let mut bound = Bound { ways: Vec::with_capacity(wanted.len()), kept: BTreeMap::new() };
        for ((key, at), slot) in wanted.iter().zip(slots(&wanted)) {
            let fault = |error: io::Error| StartError::new(key, sentence(*at, &error, &open));
            let socket = match open.get(&slot) {
                Some(socket) => socket.try_clone().map_err(fault)?,
                None => listen(*at, shares_its_port(*at, &wanted)).map_err(fault)?,
            };
            let address = socket.local_addr().map_err(fault)?;
            let handle = socket.try_clone().and_then(tokio::net::TcpListener::from_std).map_err(fault)?;
            bound.ways.push(Way { key, address, socket: handle });
            bound.kept.insert(slot, socket);
        }
        Ok(bound)
    }

    /// From now on these are the sockets that are open, and no others.
    pub(super) fn keep(&self, kept: &mut Bound) {
        let kept = std::mem::take(&mut kept.kept);
        for ((address, _), _) in kept.iter().filter(|(slot, _)| !self.lock().contains_key(slot)) {
            tracing::info!(address = %address, "listening on {address}");
        }
        *self.lock() = kept;
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

    fn config(smtp: &str) -> Config {
        let text = format!(
            "[organization]\nname = \"Clinic\"\n[store]\ndata_dir = \"/tmp\"\nmaster_key = \"file:/tmp/key\"\n\
             [provider.main]\nkind = \"simulator\"\nurl = \"http://127.0.0.1:1\"\ntoken = \"file:/tmp/token\"\n\
             [smtp]\nlisten = [{smtp}]\n[[sender]]\nname = \"a\"\naddresses = [\"a@clinic.example\"]\n\
             networks = [\"127.0.0.0/8\"]\n"
        );
        crate::config::parse(&text, "test").unwrap().config
    }

    #[tokio::test]
    async fn a_socket_is_handed_on_and_one_that_cannot_be_had_leaves_the_others_open() {
        let listeners = Listeners::default();
        let (one, two) = ("\"127.0.0.1:0\", \"127.0.0.1:0\"", "\"127.0.0.1:0\"");
        let mut first = listeners.bind(&config(one)).unwrap();
        listeners.keep(&mut first);
        let ports = |bound: &Bound| bound.ways.iter().map(|way| way.address.port()).collect::<Vec<_>>();
        let taken = first.ways.first().unwrap().address;
        assert_eq!(ports(&listeners.bind(&config(one)).unwrap()), ports(&first), "the same two sockets");
        // Taken by somebody else, and by ourselves.
        let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let error = listeners.bind(&config(&format!("{two}, \"{}\"", other.local_addr().unwrap())));
        assert!(error.unwrap_err().to_string().contains("smtp.listen: cannot listen on"));
        let error = listeners.bind(&config(&format!("\"0.0.0.0:{}\"", taken.port()))).unwrap_err();
        assert!(error.to_string().contains("restart it for this change"), "{error}");
        // The second of the two is wanted no more, and free.
        let gone = first.ways.get(1).unwrap().address;
        let mut second = listeners.bind(&config(two)).unwrap();
        listeners.keep(&mut second);
        assert_eq!(second.ways.first().unwrap().address, taken);
        drop(first);
        assert!(std::net::TcpListener::bind(gone).is_ok());
    }

    #[tokio::test]
    async fn both_wildcards_share_a_port() {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let both = config(&format!("\"[::]:{port}\", \"0.0.0.0:{port}\""));
        let bound = Listeners::default().bind(&both).unwrap();
        assert_eq!(bound.ways.len(), 2);
    }
}
