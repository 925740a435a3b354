//! What one user may hold at a time, over all sessions: memory for early chunks, room on disk for what is not accepted yet,
//! and files being written. Each is given back when its holder is dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Bytes of one user in early chunks.
const EARLY_BYTES: usize = 8 << 20;
/// Files that one user may be writing. Each holds an open file and a buffer.
pub(super) const OPEN: usize = 128;

/// Memory for early chunks.
#[derive(Debug)]
pub(super) struct Early(AtomicUsize);

impl Default for Early {
    fn default() -> Self {
        Early(AtomicUsize::new(EARLY_BYTES))
    }
}

impl Early {
    /// Whether there were `bytes` left; they are taken then.
    pub(super) fn take(&self, bytes: usize) -> bool {
        self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(bytes)).is_ok()
    }

    pub(super) fn give(&self, bytes: usize) {
        self.0.fetch_add(bytes, Ordering::AcqRel);
    }
}

/// What a user's unaccepted uploads take on disk, and how many are being written.
#[derive(Debug, Default)]
pub(super) struct Used {
    bytes: AtomicU64,
    open: AtomicUsize,
}

/// Room for one upload. Empty, it is nobody's.
#[derive(Debug, Default)]
pub(super) struct Room {
    used: Option<Arc<Used>>,
    most: u64,
    bytes: u64,
}

impl Room {
    /// Room of a user who may have `most` bytes; `None` where these are used up.
    pub(super) fn of(used: &Arc<Used>, most: u64) -> Option<Self> {
        (used.bytes.load(Ordering::Acquire) < most).then(|| Room {
            used: Some(Arc::clone(used)),
            most,
            bytes: 0,
        })
    }

    /// Whether there is room for so many bytes more; it is taken then.
    pub(super) fn grow(&mut self, bytes: u64) -> bool {
        let Some(used) = &self.used else { return true };
        let more = |taken: u64| taken.checked_add(bytes).filter(|taken| *taken <= self.most);
        let grown = used.bytes.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).is_ok();
        if grown {
            self.bytes = self.bytes.saturating_add(bytes);
        }
        grown
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if let Some(used) = &self.used {
            used.bytes.fetch_sub(self.bytes, Ordering::AcqRel);
        }
    }
}

/// One of the files that a user is writing.
#[derive(Debug)]
pub(super) struct Writing(Arc<Used>);

impl Writing {
    /// `None` where the user writes too many already.
    pub(super) fn begin(used: &Arc<Used>) -> Option<Self> {
        let more = |open: usize| (open < OPEN).then_some(open.saturating_add(1));
        used.open.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).ok()?;
        Some(Writing(Arc::clone(used)))
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_given_back() {
        let early = Early::default();
        assert!(early.take(EARLY_BYTES) && !early.take(1));
        early.give(1);
        assert!(early.take(1));
        let used = Arc::new(Used::default());
        let mut room = Room::of(&used, 100).unwrap();
        assert!(room.grow(60) && !room.grow(41) && room.grow(40));
        assert!(Room::of(&used, 100).is_none(), "told at the open");
        drop(room);
        assert!(Room::of(&used, 100).is_some());
        let open: Vec<_> = (0..OPEN).map(|_| Writing::begin(&used).unwrap()).collect();
        assert!(Writing::begin(&used).is_none());
        drop(open);
        assert!(Writing::begin(&used).is_some());
    }
}
