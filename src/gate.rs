//! How many connections a listener has at once: in all, and from one peer.
//!
//! One peer (an IPv4 address, or the /64 of an IPv6 one) gets far less than all, so that it cannot lock the others out. Peers that the
//! configuration names (relays, senders' networks) get more, and a share of all places is theirs alone, however many strangers come.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::tally::peer_of;

/// How many there may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Most {
    /// In all. A quarter of them is kept for peers that the configuration names.
    pub(crate) all: usize,
    /// From one peer.
    pub(crate) per_peer: usize,
    /// From one peer that the configuration names.
    pub(crate) per_known_peer: usize,
}

impl Most {
    /// What strangers may have together.
    fn strangers(self) -> usize {
        self.all.saturating_sub(self.all / 4).max(1)
    }
}

/// Counts connections. Clones count together.
#[derive(Debug, Clone)]
pub(crate) struct Gate {
    most: Most,
    inside: Arc<Mutex<Inside>>,
}

#[derive(Debug, Default)]
struct Inside {
    all: usize,
    strangers: usize,
    by_peer: HashMap<IpAddr, usize>,
}

/// One connection's place; dropping it gives the place back.
#[derive(Debug)]
pub(crate) struct Seat {
    /// Whose it is, and whether the configuration names it; behind a load balancer that is known only once its header was read.
    owner: Option<(IpAddr, bool)>,
    gate: Gate,
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Full {
    /// There are too many connections.
    All,
    /// There are too many from this peer.
    Peer,
}

impl Gate {
    /// One with nobody inside.
    pub(crate) fn new(most: Most) -> Self {
        Gate { most, inside: Arc::default() }
    }

    /// A place for a connection, of which nobody knows yet from where it is.
    pub(crate) fn enter(&self) -> Result<Seat, Full> {
        let mut inside = self.lock();
        if inside.all >= self.most.all {
            return Err(Full::All);
        }
        inside.all = inside.all.saturating_add(1);
        Ok(Seat { owner: None, gate: self.clone() })
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// Takes one of the places of whoever is at `address`; `known` where the configuration names that address.
    pub(crate) fn belongs_to(&mut self, address: IpAddr, known: bool) -> Result<(), Full> {
        let peer = peer_of(address);
        let most = self.gate.most;
        let mut inside = self.gate.lock();
        let here = inside.by_peer.get(&peer).copied().unwrap_or_default();
        if here >= if known { most.per_known_peer } else { most.per_peer } {
            return Err(Full::Peer);
        }
        if !known && inside.strangers >= most.strangers() {
            return Err(Full::All);
        }
        inside.by_peer.insert(peer, here.saturating_add(1));
        if !known {
            inside.strangers = inside.strangers.saturating_add(1);
        }
        self.owner = Some((peer, known));
        Ok(())
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut inside = self.gate.lock();
        inside.all = inside.all.saturating_sub(1);
        let Some((peer, known)) = self.owner else { return };
        if !known {
            inside.strangers = inside.strangers.saturating_sub(1);
        }
        match inside.by_peer.get_mut(&peer) {
            Some(here) if *here > 1 => *here = here.saturating_sub(1),
            _ => {
                inside.by_peer.remove(&peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enter(gate: &Gate, address: &str, known: bool) -> Result<Seat, Full> {
        let mut seat = gate.enter()?;
        seat.belongs_to(address.parse().unwrap(), known).map(|()| seat)
    }

    #[test]
    fn places_are_counted_and_given_back() {
        let gate = Gate::new(Most { all: 4, per_peer: 2, per_known_peer: 2 });
        let (one, two) = ("192.0.2.1", "2001:db8::2");
        let first = enter(&gate, one, false).unwrap();
        let _second = enter(&gate, "::ffff:192.0.2.1", false).unwrap();
        assert_eq!(enter(&gate, one, false).err(), Some(Full::Peer));
        let third = enter(&gate, two, false).unwrap();
        assert_eq!(enter(&gate, "2001:db8:1::", false).err(), Some(Full::All), "the rest is for others");
        drop(first);
        drop(third);
        let _again = enter(&gate, one, false).unwrap();
        assert_eq!(enter(&gate, one, false).err(), Some(Full::Peer));
        let inside = gate.lock();
        assert_eq!((inside.all, inside.strangers, inside.by_peer.len()), (2, 2, 1));
    }

    #[test]
    fn strangers_however_many_leave_room_for_whom_the_configuration_names() {
        let gate = Gate::new(Most { all: 8, per_peer: 2, per_known_peer: 5 });
        let strangers: Vec<Seat> =
            (0..20).filter_map(|n| enter(&gate, &format!("203.0.113.{n}"), false).ok()).collect();
        assert_eq!(strangers.len(), 6);
        let _one = enter(&gate, "192.0.2.25", true).unwrap();
        let _two = enter(&gate, "192.0.2.25", true).unwrap();
        assert_eq!(enter(&gate, "192.0.2.25", true).err(), Some(Full::All));
        drop(strangers);
        let more: Vec<Seat> = (0..20).map_while(|_| enter(&gate, "192.0.2.25", true).ok()).collect();
        assert_eq!(more.len(), 3, "its own limit");
    }

    #[test]
    fn all_addresses_of_an_ipv6_network_are_one_peer() {
        let gate = Gate::new(Most { all: 100, per_peer: 3, per_known_peer: 3 });
        let seats: Vec<Seat> =
            (0..20).filter_map(|n| enter(&gate, &format!("2001:db8::{n}:1"), false).ok()).collect();
        assert_eq!(seats.len(), 3);
        assert!(enter(&gate, "2001:db8:0:1::1", false).is_ok());
    }
}
