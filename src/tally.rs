//! Log lines about refusals, limited: who is refused again and again writes one line and then a count, not a full disk.
//!
//! Pure: time comes in. A listener asks [`Tally::note`] before it writes a line, and writes the counts that [`Tally::due`] gives
//! from time to time. Memory is bounded: past [`MOST`] kinds within one window, further ones are only counted, all together.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// For so long after a line of a kind, further ones are counted.
const WINDOW: Duration = Duration::from_secs(60);
/// Kinds that are told apart at a time, and so lines within one window.
const MOST: usize = 200;

/// What is refused, by kind: `K` names the reason and the peer. One for each listener.
#[derive(Debug)]
pub(crate) struct Tally<K> {
    inner: Mutex<Counts<K>>,
}

#[derive(Debug)]
struct Counts<K> {
    kinds: HashMap<K, Count>,
    others: Count,
}

#[derive(Debug, Clone, Copy, Default)]
struct Count {
    since: Option<Instant>,
    untold: u64,
}

impl Count {
    fn is_over(&self, now: Instant) -> bool {
        self.since.is_none_or(|since| now.saturating_duration_since(since) >= WINDOW)
    }
}

/// Refusals that were counted and not told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Untold<K> {
    /// Their kind; `None` for all that found no place of their own.
    pub(crate) kind: Option<K>,
    /// How many.
    pub(crate) count: u64,
}

impl<K> Default for Tally<K> {
    fn default() -> Self {
        Tally { inner: Mutex::new(Counts { kinds: HashMap::new(), others: Count::default() }) }
    }
}

impl<K: Clone + Eq + Hash> Tally<K> {
    /// Counts one. Whether a line may be written about it.
    pub(crate) fn note(&self, kind: &K, now: Instant) -> bool {
        let mut counts = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.kinds.get_mut(kind) {
            count.untold = count.untold.saturating_add(1);
            return false;
        }
        if counts.kinds.len() >= MOST {
            counts.others.since.get_or_insert(now);
            counts.others.untold = counts.others.untold.saturating_add(1);
            return false;
        }
        counts.kinds.insert(kind.clone(), Count { since: Some(now), untold: 0 });
        true
    }

    /// What was counted since its last line, for every kind whose window is over. To be called every few seconds.
    pub(crate) fn due(&self, now: Instant) -> Vec<Untold<K>> {
        let mut counts = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let mut due = Vec::new();
        counts.kinds.retain(|kind, count| {
            if !count.is_over(now) {
                return true;
            }
            if count.untold == 0 {
                // It has been quiet: the next one of it is told at once.
                return false;
            }
            due.push(Untold { kind: Some(kind.clone()), count: count.untold });
            *count = Count { since: Some(now), untold: 0 };
            true
        });
        if counts.others.untold > 0 && counts.others.is_over(now) {
            due.push(Untold { kind: None, count: counts.others.untold });
            counts.others = Count::default();
        }
        due
    }
}

/// Whom limits for each address count together: an IPv4 address, or the /64 of an IPv6 one, since whoever has one of its
/// addresses has them all.
pub(crate) fn peer_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64))),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn untold(kind: Option<&'static str>, count: u64) -> Untold<&'static str> {
        Untold { kind, count }
    }

    #[test]
    fn the_first_is_told_and_the_rest_is_counted() {
        let tally = Tally::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(tally.note(&"a", at(0)));
        assert!(!tally.note(&"a", at(1)));
        assert!(!tally.note(&"a", at(59)));
        assert!(tally.note(&"b", at(30)), "another kind has a line of its own");
        assert_eq!(tally.due(at(59)), []);
        assert_eq!(tally.due(at(61)), [untold(Some("a"), 2)]);
        // The count was a line: the next window runs from there.
        assert!(!tally.note(&"a", at(62)));
        assert_eq!(tally.due(at(100)), []);
        assert_eq!(tally.due(at(121)), [untold(Some("a"), 1)]);
        assert_eq!(tally.due(at(200)), []);
        assert!(tally.note(&"a", at(201)), "it was quiet, so it is told at once again");
        assert!(tally.note(&"b", at(201)));
    }

    #[test]
    fn a_million_kinds_write_a_bounded_number_of_lines() {
        let tally = Tally::default();
        let start = Instant::now();
        let told = (0..100_000).filter(|kind| tally.note(kind, start)).count();
        assert_eq!(told, MOST);
        let due = tally.due(start + WINDOW);
        assert_eq!(due, [Untold { kind: None, count: 100_000 - MOST as u64 }]);
        assert!(tally.note(&7, start + WINDOW), "all are forgotten");
    }

    #[test]
    fn a_peer_is_an_address_or_its_64() {
        let peer = |text: &str| peer_of(text.parse().unwrap()).to_string();
        assert_eq!(peer("192.0.2.7"), "192.0.2.7");
        assert_eq!(peer("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(peer("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
    }
}
