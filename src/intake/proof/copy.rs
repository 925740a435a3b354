//! Mails that prove their sender by themselves, in memory until they have.
//!
//! What is on the disk is sealed, and was written piece by piece; a signature is over all of it. So while such a mail comes in
//! its bytes are kept here as well. All sessions share one budget: whatever arrives, memory is bounded, and a mail for which there
//! is no room now is asked to come again. No stranger has more than its share of the budget, and all strangers together leave some
//! of it to the servers that the configuration names. Copies are overwritten with zeros when they go.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use zeroize::Zeroizing;

use crate::intake::Refusal;
use crate::tally::peer_of;

/// Memory for all copies together, in bytes; more only where single mails may be larger than a third of it.
const BUDGET: u64 = 128 * 1024 * 1024;

/// Who uses the memory.
#[derive(Debug, Clone, Copy)]
pub(in crate::intake) struct Peer {
    /// Where it is.
    pub(in crate::intake) address: IpAddr,
    /// The configuration names it.
    pub(in crate::intake) known: bool,
}

/// The memory that all copies share. Cheap to clone.
#[derive(Debug, Clone)]
pub(in crate::intake) struct Budget {
    taken: Arc<Mutex<Taken>>,
    /// The largest copy, in bytes.
    largest: u64,
}

#[derive(Debug, Default)]
struct Taken {
    all: u64,
    strangers: u64,
    by_peer: HashMap<IpAddr, u64>,
}

impl Budget {
    /// Enough for several mails of `largest` bytes, one of them from each peer.
    pub(in crate::intake) fn new(largest: u64) -> Self {
        Budget { taken: Arc::default(), largest }
    }

    /// A copy of nothing yet.
    pub(in crate::intake) fn copy(&self, peer: Peer) -> MailCopy {
        let peer = Peer { address: peer_of(peer.address), ..peer };
        MailCopy { budget: self.clone(), peer, taken: 0, bytes: Zeroizing::default() }
    }

    /// All, what strangers may have of it, and what one of them may.
    fn shares(&self) -> [u64; 3] {
        let all = BUDGET.max(self.largest.saturating_mul(3));
        [all, all - all / 4, (all / 4).max(self.largest)]
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes `more` bytes for `peer`, if there are so many.
    fn take(&self, peer: Peer, more: u64) -> bool {
        let [all, strangers, one] = self.shares();
        let mut taken = self.lock();
        let here = taken.by_peer.get(&peer.address).copied().unwrap_or_default();
        let fits = taken.all.saturating_add(more) <= all
            && (peer.known
                || (taken.strangers.saturating_add(more) <= strangers && here.saturating_add(more) <= one));
        if fits {
            taken.all = taken.all.saturating_add(more);
            if !peer.known {
                taken.strangers = taken.strangers.saturating_add(more);
                taken.by_peer.insert(peer.address, here.saturating_add(more));
            }
        }
        fits
    }

    fn give_back(&self, peer: Peer, bytes: u64) {
        let mut taken = self.lock();
        taken.all = taken.all.saturating_sub(bytes);
        if peer.known {
            return;
        }
        taken.strangers = taken.strangers.saturating_sub(bytes);
        match taken.by_peer.get_mut(&peer.address) {
            Some(here) if *here > bytes => *here = here.saturating_sub(bytes),
            _ => {
                taken.by_peer.remove(&peer.address);
            }
        }
    }
}

/// A copy of a mail.
pub(in crate::intake) struct MailCopy {
    budget: Budget,
    peer: Peer,
    /// Bytes of the budget.
    taken: u64,
    bytes: Zeroizing<Vec<u8>>,
}

impl MailCopy {
    /// Appends `more`.
    ///
    /// # Errors
    /// Where there is no room for it now.
    pub(in crate::intake) fn append(&mut self, more: &[u8]) -> Result<(), Refusal> {
        let needed = self.bytes.len().saturating_add(more.len());
        if needed > self.bytes.capacity() {
            self.grow(needed)?;
        }
        self.bytes.extend_from_slice(more);
        Ok(())
    }

    /// What was appended.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// By hand, since a vector that grows by itself leaves its old bytes behind.
    fn grow(&mut self, needed: usize) -> Result<(), Refusal> {
        let largest = usize::try_from(self.budget.largest).unwrap_or(usize::MAX);
        let capacity = needed.saturating_mul(2).min(largest).max(needed);
        let more = (capacity as u64).saturating_sub(self.taken);
        if !self.budget.take(self.peer, more) {
            return Err(Refusal::temporary(
                "4.3.1",
                "Too many mails are being checked at this moment; try again in a moment.",
                "the memory for mails that prove their sender by themselves is used up, or this peer's share of it",
            ));
        }
        self.taken = self.taken.saturating_add(more);
        let mut larger = Zeroizing::new(Vec::with_capacity(capacity));
        larger.extend_from_slice(&self.bytes);
        self.bytes = larger;
        Ok(())
    }
}

impl Drop for MailCopy {
    fn drop(&mut self) {
        self.budget.give_back(self.peer, self.taken);
    }
}

impl fmt::Debug for MailCopy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MailCopy({} bytes)", self.bytes.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEGABYTE: u64 = 1_000_000;

    fn peer(n: u16, known: bool) -> Peer {
        Peer { address: format!("2001:db8:0:{n}::1").parse().unwrap(), known }
    }

    /// Copies of one mail of a megabyte each, until there is no room.
    fn fill(budget: &Budget, mut peer: impl FnMut(u16) -> Peer) -> Vec<MailCopy> {
        let piece = vec![7; 1_000_000];
        let mut copies = Vec::new();
        loop {
            let mut copy = budget.copy(peer(copies.len() as u16));
            // Grows more than once.
            match piece.chunks(60_000).try_for_each(|part| copy.append(part)) {
                Ok(()) => copies.push(copy),
                Err(refusal) => {
                    assert_eq!((refusal.permanent, refusal.code), (false, "4.3.1"));
                    break;
                }
            }
            assert!(copies.len() < 1000);
        }
        assert!(copies.iter().all(|copy| copy.bytes() == piece));
        copies
    }

    #[test]
    fn all_copies_share_one_budget_and_give_it_back() {
        let budget = Budget::new(MEGABYTE);
        let mut copies = fill(&budget, |_| peer(1, true));
        assert!((100..=134).contains(&copies.len()), "{}", copies.len());
        copies.pop();
        assert_eq!(budget.copy(peer(2, true)).append(&vec![7; 1_000_000]), Ok(()));
        drop(copies);
        let taken = budget.lock();
        assert_eq!((taken.all, taken.strangers, taken.by_peer.len()), (0, 0, 0));
    }

    #[test]
    fn one_stranger_leaves_room_for_others_and_all_strangers_for_whom_the_configuration_names() {
        let budget = Budget::new(MEGABYTE);
        let one = fill(&budget, |_| peer(1, false));
        assert!((30..=34).contains(&one.len()), "a quarter: {}", one.len());
        let others = fill(&budget, |n| peer(n + 2, false));
        assert!((60..=68).contains(&others.len()), "three quarters in all: {}", others.len());
        let known = fill(&budget, |_| peer(999, true));
        assert!((30..=34).contains(&known.len()), "the rest: {}", known.len());
        drop(one);
        assert_eq!(budget.copy(peer(1, false)).append(&[1]), Ok(()));
    }

    #[test]
    fn a_mail_of_the_largest_size_finds_room_from_each_of_two_strangers() {
        let budget = Budget::new(3 * BUDGET);
        let all = vec![0; usize::try_from(BUDGET).unwrap() + 1];
        let (mut one, mut two) = (budget.copy(peer(1, false)), budget.copy(peer(2, false)));
        assert_eq!(one.append(&all), Ok(()));
        assert_eq!(two.append(&all), Ok(()));
    }
}
