//! Mails that prove their sender by themselves, in memory until they have.
//!
//! What is on the disk is sealed, and was written piece by piece; a signature is over all of it. So while such a mail comes in
//! its bytes are kept here as well. All sessions share one budget: whatever arrives, memory is bounded, and a mail for which there
//! is no room now is asked to come again. Copies are overwritten with zeros when they go.

use std::fmt;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use zeroize::Zeroizing;

use crate::intake::Refusal;

/// Memory for all copies together, in bytes; more only where a single mail may be larger.
const BUDGET: u64 = 128 * 1024 * 1024;
/// In such pieces it is given out.
const BLOCK: u64 = 64 * 1024;

/// The memory that all copies share. Cheap to clone.
#[derive(Debug, Clone)]
pub(in crate::intake) struct Budget {
    free: Arc<Semaphore>,
    /// The largest copy, in bytes.
    largest: u64,
}

impl Budget {
    /// Enough for at least one mail of `largest` bytes.
    pub(in crate::intake) fn new(largest: u64) -> Self {
        let blocks = BUDGET.max(largest).div_ceil(BLOCK);
        let blocks = usize::try_from(blocks).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Budget { free: Arc::new(Semaphore::new(blocks)), largest }
    }

    /// A copy of nothing yet.
    pub(in crate::intake) fn copy(&self) -> MailCopy {
        MailCopy { budget: self.clone(), taken: None, bytes: Zeroizing::default() }
    }
}

/// A copy of a mail.
pub(in crate::intake) struct MailCopy {
    budget: Budget,
    taken: Option<OwnedSemaphorePermit>,
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
        let blocks = (capacity as u64).div_ceil(BLOCK);
        let held = self.taken.as_ref().map_or(0, OwnedSemaphorePermit::num_permits) as u64;
        let more = u32::try_from(blocks.saturating_sub(held)).unwrap_or(u32::MAX);
        let Ok(more) = Arc::clone(&self.budget.free).try_acquire_many_owned(more) else {
            return Err(Refusal::temporary(
                "4.3.1",
                "Too many mails are being checked at this moment; try again in a moment.",
                "the memory for mails that prove their sender by themselves is used up",
            ));
        };
        match &mut self.taken {
            Some(taken) => taken.merge(more),
            None => self.taken = Some(more),
        }
        let mut larger = Zeroizing::new(Vec::with_capacity(capacity));
        larger.extend_from_slice(&self.bytes);
        self.bytes = larger;
        Ok(())
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

    #[test]
    fn all_copies_share_one_budget_and_give_it_back() {
        let budget = Budget::new(1_000_000);
        let piece = vec![7; 1_000_000];
        let mut copies = Vec::new();
        let refusal = loop {
            let mut copy = budget.copy();
            // Grows more than once.
            match piece.chunks(60_000).try_for_each(|part| copy.append(part)) {
                Ok(()) => copies.push(copy),
                Err(refusal) => break refusal,
            }
            assert!(copies.len() < 1000);
        };
        assert_eq!((refusal.permanent, refusal.code), (false, "4.3.1"));
        assert!((100..=134).contains(&copies.len()), "{}", copies.len());
        assert!(copies.iter().all(|copy| copy.bytes() == piece));
        copies.pop();
        let mut again = budget.copy();
        assert_eq!(again.append(&piece), Ok(()));

        let mut large = Budget::new(3 * BUDGET).copy();
        assert_eq!(large.append(&vec![0; usize::try_from(BUDGET).unwrap() + 1]), Ok(()));
    }
}
