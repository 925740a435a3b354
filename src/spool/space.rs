//! Room on the spool's disk, promised before it is used.
//!
//! Asking for free space at the door says nothing of what is on its way already: sixty writers that were all let in fill the
//! disk together. So whoever is going to write has room promised first, and what was promised and is not written yet counts as
//! used.

use std::sync::{MutexGuard, PoisonError};

use super::{Inner, Spool, SpoolError};

/// Promised room. What is left of it when this is dropped is free again.
pub struct Reservation {
    spool: Spool,
    /// Bytes of the disk that are left alone.
    reserve: u64,
    left: u64,
}

impl Spool {
    /// Bytes that may be written now: free ones above `reserve` that nobody was promised.
    ///
    /// # Errors
    /// What the disk says.
    pub fn room(&self, reserve: u64) -> Result<u64, SpoolError> {
        let promised = *self.inner.promised();
        Ok(room(self.free_bytes()?, promised, reserve))
    }

    /// Has room for `bytes` promised, and leaves `reserve` of the disk alone.
    ///
    /// # Errors
    /// [`SpoolError::NoRoom`], or what the disk says.
    pub fn promise(&self, bytes: u64, reserve: u64) -> Result<Reservation, SpoolError> {
        let mut reservation = Reservation { spool: self.clone(), reserve, left: 0 };
        reservation.more(bytes)?;
        Ok(reservation)
    }
}

impl Reservation {
    /// Promises `bytes` more.
    ///
    /// # Errors
    /// As [`Spool::promise`].
    pub fn more(&mut self, bytes: u64) -> Result<(), SpoolError> {
        // Held while the disk is asked: two who ask at once must not both be given the last room.
        let mut promised = self.spool.inner.promised();
        let room = room(self.spool.free_bytes()?, *promised, self.reserve);
        if bytes > room {
            return Err(SpoolError::NoRoom { wanted: bytes, room });
        }
        *promised = promised.saturating_add(bytes);
        self.left = self.left.saturating_add(bytes);
        Ok(())
    }

    /// `bytes` of it are about to be written. What was not promised is asked for.
    ///
    /// # Errors
    /// As [`Spool::promise`]; then they must not be written.
    pub fn spend(&mut self, bytes: u64) -> Result<(), SpoolError> {
        let lacking = bytes.saturating_sub(self.left);
        if lacking > 0 && self.more(lacking.max(STEP)).is_err() {
            self.more(lacking)?;
        }
        self.give_back(bytes);
        Ok(())
    }

    fn give_back(&mut self, bytes: u64) {
        let bytes = bytes.min(self.left);
        self.left -= bytes;
        let mut promised = self.spool.inner.promised();
        *promised = promised.saturating_sub(bytes);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.give_back(self.left);
    }
}

impl std::fmt::Debug for Reservation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reservation").field("left", &self.left).finish_non_exhaustive()
    }
}

impl Inner {
    fn promised(&self) -> MutexGuard<'_, u64> {
        self.promised.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn room(free: u64, promised: u64, reserve: u64) -> u64 {
    free.saturating_sub(promised).saturating_sub(reserve)
}

/// Asked for at a time, beyond what was promised.
const STEP: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::MasterKey;

    #[test]
    fn what_was_promised_counts_as_used() {
        for (free, promised, reserve, left) in
            [(100, 0, 0, 100), (100, 30, 0, 70), (100, 30, 50, 20), (100, 30, 71, 0), (100, 200, 0, 0)]
        {
            assert_eq!(room(free, promised, reserve), left, "{free} {promised} {reserve}");
        }
    }

    #[test]
    fn promises_add_up_are_spent_and_come_back() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::open(dir.path().join("spool"), MasterKey::from_bytes(&[7; 32]).unwrap()).unwrap();
        let promised = || *spool.inner.promised();
        let mut first = spool.promise(1000, 0).unwrap();
        let second = spool.promise(500, 0).unwrap();
        assert_eq!(promised(), 1500);
        first.spend(400).unwrap();
        assert_eq!(promised(), 1100);
        drop(second);
        assert_eq!(promised(), 600);
        first.spend(700).unwrap();
        assert_eq!(promised(), STEP - 100, "a step more was asked for");
        // A reserve that no disk has: nothing is promised, and nothing stays promised.
        let error = spool.promise(1, u64::MAX).unwrap_err();
        assert!(error.is_full(), "{error}");
        drop(first);
        assert_eq!(promised(), 0);
    }
}
