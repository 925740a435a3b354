//! How many sessions there may be at once, in all and from one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
    /// Whose it is; behind a load balancer that is known only once its header was read.
    address: Option<IpAddr>,
    gate: Gate,
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

    /// A place for a session, of which nobody knows yet from where it is.
    pub(super) fn enter(&self) -> Result<Seat, Full> {
        let mut inside = self.lock();
        if inside.all >= self.most {
            return Err(Full::All);
        }
        inside.all += 1;
        Ok(Seat { address: None, gate: self.clone() })
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// Takes one of the places that its address has.
    pub(super) fn belongs_to(&mut self, address: IpAddr) -> Result<(), Full> {
        // One address has two spellings on a socket that takes both families.
        let address = address.to_canonical();
        let mut inside = self.gate.lock();
        let here = inside.by_address.entry(address).or_default();
        if *here >= self.gate.most_per_address {
            return Err(Full::Address);
        }
        *here += 1;
        self.address = Some(address);
        Ok(())
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut inside = self.gate.lock();
        inside.all = inside.all.saturating_sub(1);
        let Some(address) = self.address else { return };
        match inside.by_address.get_mut(&address) {
            Some(here) if *here > 1 => *here -= 1,
            _ => {
                inside.by_address.remove(&address);
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
        let enter = |address: &str| {
            let mut seat = gate.enter()?;
            seat.belongs_to(address.parse().unwrap()).map(|()| seat)
        };
        let (one, two) = ("192.0.2.1", "2001:db8::2");
        let first = enter(one).unwrap();
        let _second = enter("::ffff:192.0.2.1").unwrap();
        assert_eq!(enter(one).err(), Some(Full::Address));
        let third = enter(two).unwrap();
        assert_eq!(enter(two).err(), Some(Full::All));
        drop(first);
        drop(third);
        let _again = enter(one).unwrap();
        assert_eq!(enter(one).err(), Some(Full::Address));
        let inside = gate.lock();
        assert_eq!((inside.all, inside.by_address.len()), (2, 1));
    }
}
