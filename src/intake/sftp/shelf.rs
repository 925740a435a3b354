//! What each user's `in/` holds beside the accepted files: uploads under temporary names, whole but not yet renamed.
//!
//! They are shared by all sessions of a user, because rclone and others rename over another connection than the one
//! they uploaded on. They never counted, so losing them is allowed: at a restart, when the user has been gone for
//! [`GRACE`], or after [`KEEP`] at the latest.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::intake::Draft;

/// Uploads under temporary names that one user may have at a time. Each holds an open file and a buffer.
const PER_USER: usize = 32;
/// A user without a session loses them after this: time to connect again.
const GRACE: Duration = Duration::from_secs(120);
/// A temporary upload that is never renamed is dropped after this.
const KEEP: Duration = Duration::from_secs(30 * 60);

/// The temporary uploads of all users.
#[derive(Default)]
pub(super) struct Shelves(Mutex<HashMap<String, Shelf>>);

#[derive(Default)]
struct Shelf {
    sessions: usize,
    left: Option<Instant>,
    files: HashMap<String, Kept>,
}

struct Kept {
    draft: Draft,
    since: Instant,
}

/// A user is present for as long as this lives.
pub(super) struct Presence {
    shelves: Arc<Shelves>,
    user: String,
}

impl Drop for Presence {
    fn drop(&mut self) {
        let mut shelves = self.shelves.lock();
        let Some(shelf) = shelves.get_mut(&self.user) else { return };
        shelf.sessions = shelf.sessions.saturating_sub(1);
        if shelf.sessions == 0 {
            shelf.left = Some(Instant::now());
            if shelf.files.is_empty() {
                shelves.remove(&self.user);
            }
        }
    }
}

impl Shelves {
    /// Notes that a session of `user` began.
    pub(super) fn enter(self: &Arc<Self>, user: &str) -> Presence {
        let mut shelves = self.lock();
        let shelf = shelves.entry(user.to_owned()).or_default();
        shelf.sessions += 1;
        shelf.left = None;
        Presence { shelves: Arc::clone(self), user: user.to_owned() }
    }

    /// Keeps a whole upload under a temporary name, in place of an older one of that name. Gives the draft back as an
    /// error when the user has too many.
    pub(super) fn keep(&self, user: &str, name: String, draft: Draft) -> Result<(), Draft> {
        let mut shelves = self.lock();
        let shelf = shelves.entry(user.to_owned()).or_default();
        if shelf.files.len() >= PER_USER && !shelf.files.contains_key(&name) {
            return Err(draft);
        }
        shelf.files.insert(name, Kept { draft, since: Instant::now() });
        Ok(())
    }

    /// Takes an upload off the shelf, to be accepted, renamed or dropped.
    pub(super) fn take(&self, user: &str, name: &str) -> Option<Draft> {
        self.lock().get_mut(user)?.files.remove(name).map(|kept| kept.draft)
    }

    /// The size of one upload on the shelf.
    pub(super) fn size(&self, user: &str, name: &str) -> Option<u64> {
        self.lock().get(user)?.files.get(name).map(|kept| kept.draft.written())
    }

    /// Names and sizes of a user's uploads on the shelf.
    pub(super) fn list(&self, user: &str) -> Vec<(String, u64)> {
        let shelves = self.lock();
        let files = shelves.get(user).map(|shelf| &shelf.files);
        files.into_iter().flatten().map(|(name, kept)| (name.clone(), kept.draft.written())).collect()
    }

    /// Drops what was kept long enough; to be called every few seconds.
    pub(super) fn sweep(&self, now: Instant) {
        let past = |since: Instant, time: Duration| now.saturating_duration_since(since) >= time;
        self.lock().retain(|_, shelf| {
            if shelf.left.is_some_and(|left| past(left, GRACE)) {
                return false;
            }
            shelf.files.retain(|_, kept| !past(kept.since, KEEP));
            shelf.sessions > 0 || !shelf.files.is_empty()
        });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Shelf>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
