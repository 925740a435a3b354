//! How many sessions there may be: in all, from one address, and before anybody has shown a key. No time, no sockets.
//!
//! Whoever has no key can take only the places of those who have none yet, and of these only a few for each address; whoever has one
//! can take half of the others at most.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::config::{self, Network};
use crate::tally::peer_of;

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Full {
    /// In all.
    All,
    /// For this address.
    Address,
    /// For this user.
    User,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Places {
    most: usize,
    per_address: usize,
    per_gateway: usize,
    gateways: Vec<Network>,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    signed_in: usize,
    /// Without a key yet, in all.
    waiting: usize,
    addresses: HashMap<IpAddr, Address>,
    users: HashMap<String, usize>,
}

#[derive(Debug, Default)]
struct Address {
    all: usize,
    waiting: usize,
}

/// A connection's place, given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    peer: IpAddr,
    /// Once it has shown a key.
    user: Mutex<Option<String>>,
}

impl Places {
    /// As configured. Networks that are none were told when the configuration was checked.
    pub(super) fn new(config: &config::Sftp) -> Self {
        Places {
            most: config.max_sessions,
            per_address: config.max_sessions_per_address,
            per_gateway: config.max_sessions_per_gateway,
            gateways: config.gateways.iter().filter_map(|text| text.parse().ok()).collect(),
            taken: Mutex::default(),
        }
    }

    /// A place for somebody who has not shown a key.
    ///
    /// # Errors
    /// Where there is none.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr) -> Result<Place, Full> {
        let most = match self.gateways.iter().any(|network| network.contains(address)) {
            true => self.per_gateway,
            false => self.per_address,
        };
        let peer = peer_of(address);
        let mut taken = self.lock();
        if taken.waiting >= self.most {
            return Err(Full::All);
        }
        let here = taken.addresses.entry(peer).or_default();
        if here.all >= most || here.waiting >= most.div_ceil(2) {
            return Err(Full::Address);
        }
        here.all += 1;
        here.waiting += 1;
        taken.waiting += 1;
        Ok(Place { places: Arc::clone(self), peer, user: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Its client has shown a key of `user`.
    ///
    /// # Errors
    /// Where there is no place for those who have.
    pub(super) fn sign_in(&self, user: &str) -> Result<(), Full> {
        let mut own = self.user.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken = self.places.lock();
        if own.is_some() {
            return Ok(());
        }
        if taken.signed_in >= self.places.most {
            return Err(Full::All);
        }
        if taken.users.get(user).is_some_and(|count| *count >= self.places.most.div_ceil(2)) {
            return Err(Full::User);
        }
        taken.signed_in += 1;
        taken.waiting = taken.waiting.saturating_sub(1);
        if let Some(here) = taken.addresses.get_mut(&self.peer) {
            here.waiting = here.waiting.saturating_sub(1);
        }
        *taken.users.entry(user.to_owned()).or_default() += 1;
        *own = Some(user.to_owned());
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let user = self.user.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        let mut taken = self.places.lock();
        let waiting = user.is_none();
        match user {
            None => taken.waiting = taken.waiting.saturating_sub(1),
            Some(user) => {
                taken.signed_in = taken.signed_in.saturating_sub(1);
                less(&mut taken.users, &user);
            }
        }
        if let Some(here) = taken.addresses.get_mut(&self.peer) {
            here.all = here.all.saturating_sub(1);
            here.waiting = here.waiting.saturating_sub(usize::from(waiting));
            if here.all == 0 {
                taken.addresses.remove(&self.peer);
            }
        }
    }
}

fn less(users: &mut HashMap<String, usize>, user: &str) {
    if let Some(count) = users.get_mut(user) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            users.remove(user);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(text: &str) -> Arc<Places> {
        let config = toml::from_str(&format!("listen = []\n{text}")).unwrap();
        Arc::new(Places::new(&config))
    }

    fn at(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_has_a_share_and_a_gateway_a_larger_one() {
        let places = places(
            "max_sessions = 100\nmax_sessions_per_address = 4\ngateways = [\"192.0.2.0/24\"]\nmax_sessions_per_gateway = 8",
        );
        let mut held = Vec::new();
        let mut enter = |address: &str| -> Result<(), Full> {
            let place = places.enter(at(address))?;
            // Those who sign in make room for others who still have to.
            place.sign_in(address)?;
            held.push(place);
            Ok(())
        };
        for n in 0..4 {
            assert_eq!(enter("198.51.100.1"), Ok(()), "{n}");
        }
        assert_eq!(enter("198.51.100.1"), Err(Full::Address));
        assert_eq!(enter("198.51.100.2"), Ok(()), "another one is not kept out");
        for n in 0..8 {
            assert_eq!(enter("192.0.2.7"), Ok(()), "{n}");
        }
        assert_eq!(enter("192.0.2.7"), Err(Full::Address));
        for _ in 0..4 {
            assert_eq!(enter("2001:db8::1"), Ok(()));
        }
        assert_eq!(enter("2001:db8::2"), Err(Full::Address), "one /64 is one address");
        held.clear();
        let taken = places.lock();
        assert!(taken.addresses.is_empty() && taken.users.is_empty());
        assert_eq!((taken.signed_in, taken.waiting), (0, 0));
    }

    #[test]
    fn who_has_no_key_takes_no_place_of_those_who_have() {
        let places = places("max_sessions = 6\nmax_sessions_per_address = 4");
        let strangers: Vec<Place> =
            (0..6).map(|n| places.enter(at(&format!("198.51.100.{}", n / 2))).unwrap()).collect();
        assert_eq!(places.enter(at("198.51.100.0")).unwrap_err(), Full::All);
        drop(strangers);
        let mut held = Vec::new();
        let mut sign_in = |user: &str, n: u8| -> Result<(), Full> {
            let place = places.enter(at(&format!("203.0.113.{n}")))?;
            place.sign_in(user)?;
            place.sign_in(user)?;
            held.push(place);
            Ok(())
        };
        for n in 0..3 {
            assert_eq!(sign_in("billing", n), Ok(()));
        }
        assert_eq!(sign_in("billing", 9), Err(Full::User), "half of all is the most");
        for n in 3..6 {
            assert_eq!(sign_in("claims", n), Ok(()));
        }
        assert_eq!(sign_in("scans", 10), Err(Full::All));
        let waiting: Vec<Place> = (0..2).map(|_| places.enter(at("198.51.100.0")).unwrap()).collect();
        assert_eq!(
            places.enter(at("198.51.100.0")).unwrap_err(),
            Full::Address,
            "half of an address's share"
        );
        drop(waiting);
        assert_eq!(places.lock().waiting, 0);
    }
}
