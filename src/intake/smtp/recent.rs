//! What the last minutes brought from each client, in bounded memory: mails, and wrong passwords.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// So many clients are remembered. The one that was first seen the longest ago makes room for the next.
const MOST: usize = 10_000;
const MINUTE: Duration = Duration::from_secs(60);
/// The tarpit's longest delay, as a multiple of its first.
const DEEPEST: u32 = 10;

/// Where a client is: one IPv4 address, or the 64 bits of an IPv6 network within which addresses cost nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Origin(IpAddr);

impl From<IpAddr> for Origin {
    fn from(address: IpAddr) -> Self {
        Origin(match address.to_canonical() {
            IpAddr::V4(address) => address.into(),
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        })
    }
}

/// A count per key, which begins anew some time after it began.
#[derive(Debug)]
struct Recent<K> {
    span: Duration,
    counts: HashMap<K, (Instant, u32)>,
}

impl<K: Hash + Eq + Clone> Recent<K> {
    fn new(span: Duration) -> Self {
        Recent { span, counts: HashMap::new() }
    }

    fn count(&self, key: &K, now: Instant) -> u32 {
        match self.counts.get(key) {
            Some((since, count)) if now.saturating_duration_since(*since) < self.span => *count,
            _ => 0,
        }
    }

    fn add(&mut self, key: K, now: Instant) -> u32 {
        let count = self.count(&key, now).saturating_add(1);
        if count > 1 {
            if let Some((_, kept)) = self.counts.get_mut(&key) {
                *kept = count;
            }
            return count;
        }
        if self.counts.len() >= MOST {
            let span = self.span;
            self.counts.retain(|_, (since, _)| now.saturating_duration_since(*since) < span);
        }
        if self.counts.len() >= MOST {
            let oldest = self.counts.iter().min_by_key(|(_, (since, _))| *since).map(|(key, _)| key.clone());
            oldest.and_then(|oldest| self.counts.remove(&oldest));
        }
        self.counts.insert(key, (now, count));
        count
    }
}

/// How many mails a client may bring in a minute, counted from its first.
#[derive(Debug)]
pub(super) struct Pace<K> {
    recent: Mutex<Recent<K>>,
}

impl<K: Hash + Eq + Clone> Pace<K> {
    pub(super) fn new() -> Self {
        Pace { recent: Mutex::new(Recent::new(MINUTE)) }
    }

    /// Whether no mail is within `most` any more.
    pub(super) fn is_full(&self, key: impl FnOnce() -> K, most: Option<u32>, now: Instant) -> bool {
        let Some(most) = most else { return false };
        self.recent.lock().unwrap_or_else(PoisonError::into_inner).count(&key(), now) >= most
    }

    /// Counts one more mail; whether it is within `most`. No limit, no work.
    pub(super) fn allows(&self, key: impl FnOnce() -> K, most: Option<u32>, now: Instant) -> bool {
        let Some(most) = most else { return true };
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let key = key();
        recent.count(&key, now) < most && recent.add(key, now) <= most
    }
}

/// Who has given wrong passwords, how often, and how long its answers are kept back.
#[derive(Debug)]
pub(super) struct Guesses {
    most: u32,
    delay: Duration,
    wrong: Mutex<Recent<Origin>>,
    locked: Mutex<Recent<Origin>>,
}

impl Guesses {
    pub(super) fn new(most: u32, window: Duration, delay: Duration) -> Self {
        let (wrong, locked) = (Mutex::new(Recent::new(window)), Mutex::new(Recent::new(window)));
        Guesses { most, delay, wrong, locked }
    }

    /// Whether this client is not asked for passwords at present.
    pub(super) fn locked_out(&self, origin: Origin, now: Instant) -> bool {
        self.locked.lock().unwrap_or_else(PoisonError::into_inner).count(&origin, now) > 0
    }

    /// Takes note of a wrong password; returns for how long its answer is to be kept back.
    pub(super) fn wrong(&self, origin: Origin, now: Instant) -> Duration {
        let wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner).add(origin, now);
        if wrong >= self.most {
            self.locked.lock().unwrap_or_else(PoisonError::into_inner).add(origin, now);
        }
        let factor = 1_u32.checked_shl(wrong.saturating_sub(1)).unwrap_or(DEEPEST).clamp(1, DEEPEST);
        self.delay.saturating_mul(factor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(address: &str) -> Origin {
        address.parse::<IpAddr>().unwrap().into()
    }

    #[test]
    fn origins() {
        for (one, other, same) in [
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", true),
            ("2001:db8::1", "2001:db8:0:1::1", false),
        ] {
            assert_eq!(origin(one) == origin(other), same, "{one} {other}");
        }
    }

    #[test]
    fn a_minute_has_so_many_mails() {
        let pace = Pace::new();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let asked: Vec<bool> =
            [0, 1, 2, 59, 60, 61, 62].map(|second| pace.allows(|| "jane", Some(2), at(second))).to_vec();
        assert_eq!(asked, [true, true, false, false, true, true, false]);
        assert!(pace.is_full(|| "jane", Some(2), at(62)) && !pace.is_full(|| "jane", Some(3), at(62)));
        assert!(pace.allows(|| "bob", Some(2), at(2)));
        assert!((0..1000).all(|_| pace.allows(|| unreachable!("no limit, no key"), None, at(2))));
    }

    #[test]
    fn guessing_gets_slower_and_ends() {
        let second = Duration::from_secs(1);
        let guesses = Guesses::new(7, 100 * second, second);
        let (start, here) = (Instant::now(), origin("192.0.2.1"));
        let delays = [0; 6].map(|_| guesses.wrong(here, start).as_secs());
        assert_eq!(delays, [1, 2, 4, 8, 10, 10]);
        assert!(!guesses.locked_out(here, start));
        guesses.wrong(here, start + 90 * second);
        assert!(guesses.locked_out(here, start + 90 * second));
        assert!(
            guesses.locked_out(here, start + 189 * second),
            "for as long as the window, from the last one"
        );
        assert!(!guesses.locked_out(here, start + 190 * second));
        assert_eq!(guesses.wrong(here, start + 190 * second).as_secs(), 1, "and then from the beginning");
        assert!(!guesses.locked_out(origin("192.0.2.2"), start + 90 * second));
    }

    #[test]
    fn memory_has_an_end_and_the_oldest_goes_first() {
        let mut recent = Recent::new(MINUTE);
        let start = Instant::now();
        for n in 0..MOST + 10 {
            recent.add(n, start + Duration::from_millis(n as u64));
        }
        assert_eq!(recent.counts.len(), MOST);
        let now = start + Duration::from_secs(30);
        assert_eq!((recent.count(&9, now), recent.count(&10, now)), (0, 1));
        recent.add(usize::MAX, start + 10 * MINUTE);
        assert_eq!(recent.counts.len(), 1, "what is over goes at once");
    }
}
