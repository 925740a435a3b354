//! How many sessions there may be at once, in all and from one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Counts sessions. Clones count together.
#[derive(Debug, Clone)]
pub(super) struct Gate {
    most: usize,
    most_per_address: usize,
    inside: Arc<Mutex<Inside>>,
}

#[derive(Debug, Default)]
struct Inside {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// One session's place; dropping it gives the place back.
#[derive(Debug)]
pub(super) struct Seat {
    address: IpAddr,
    inside: Arc<Mutex<Inside>>,
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    /// There are too many sessions.
    All,
    /// There are too many from this address.
    Address,
}

impl Gate {
    pub(super) fn new(most: usize, most_per_address: usize) -> Self {
        Gate { most, most_per_address, inside: Arc::default() }
    }

    /// A place for a session from `address`.
    pub(super) fn enter(&self, address: IpAddr) -> Result<Seat, Full> {
        // One address has two spellings on a socket that takes both families.
        let address = address.to_canonical();
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        if inside.all >= self.most {
            return Err(Full::All);
        }
        let here = inside.by_address.get(&address).copied().unwrap_or(0);
        if here >= self.most_per_address {
            return Err(Full::Address);
        }
        inside.by_address.insert(address, here + 1);
        inside.all += 1;
        Ok(Seat { address, inside: Arc::clone(&self.inside) })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        inside.all = inside.all.saturating_sub(1);
        match inside.by_address.get_mut(&self.address) {
            Some(here) if *here > 1 => *here -= 1,
            _ => {
                inside.by_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_and_given_back() {
        let gate = Gate::new(3, 2);
        let (one, two): (IpAddr, IpAddr) = ("192.0.2.1".parse().unwrap(), "2001:db8::2".parse().unwrap());
        let first = gate.enter(one).unwrap();
        let _second = gate.enter("::ffff:192.0.2.1".parse().unwrap()).unwrap();
        assert_eq!(gate.enter(one).err(), Some(Full::Address));
        let third = gate.enter(two).unwrap();
        assert_eq!(gate.enter(two).err(), Some(Full::All));
        drop(first);
        drop(third);
        let _again = gate.enter(one).unwrap();
        assert_eq!(gate.enter(one).err(), Some(Full::Address));
        assert_eq!(gate.inside.lock().unwrap().by_address.len(), 1);
    }
}
