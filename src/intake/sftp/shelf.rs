//! What each user's `in/` holds: uploads under temporary names, whole but not yet renamed, and what was accepted.
//!
//! Temporary uploads are shared by all sessions of a user, because rclone and others rename over another connection than the one
//! they uploaded on. They never counted, so losing them is allowed: at a restart (not at a reload), when the user has been gone for
//! [`GRACE`], or after [`KEEP`] at the latest.
//!
//! Accepted files are known to the intake; here their list is remembered for [`FRESH`]. OpenSSH asks for the target
//! before every `put`, and most clients for the file after it: with a thousand files in a batch that would be the
//! thousandfold list each time. What this server accepts it adds at once, so that no client misses its own file; only
//! the end of a fax shows up that much later.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::intake::{Draft, Drop as Dropped};

/// Uploads under temporary names that one user may have at a time. Each holds an open file and a buffer.
const PER_USER: usize = 32;
/// A user without a session loses them after this: time to connect again.
const GRACE: Duration = Duration::from_secs(120);
/// A temporary upload that is never renamed is dropped after this.
const KEEP: Duration = Duration::from_secs(30 * 60);

/// The list of accepted files is asked for anew after this.
const FRESH: Duration = Duration::from_secs(2);
/// A file accepted while the list was asked for may be missing in it; it is kept beside the list for this long.
const OVERLAP: Duration = Duration::from_secs(30);

/// The files of all users. Handed from one configuration to the next.
#[derive(Default)]
pub struct Shelves(Mutex<HashMap<String, Shelf>>);

#[derive(Default)]
struct Shelf {
    sessions: usize,
    left: Option<Instant>,
    files: HashMap<String, Kept>,
    listed: Option<Instant>,
    accepted: HashMap<String, Accepted>,
}

/// Size and, once the list told it, time of an accepted file.
#[derive(Clone, Copy)]
struct Accepted {
    bytes: u64,
    at: Option<Timestamp>,
    added: Option<Instant>,
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

impl std::fmt::Debug for Shelves {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shelves").finish_non_exhaustive()
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

    /// Keeps a whole upload under a temporary name, in place of an older one of that name. False when the
    /// user has too many.
    pub(super) fn keep(&self, user: &str, name: String, draft: Draft) -> bool {
        let mut shelves = self.lock();
        let shelf = shelves.entry(user.to_owned()).or_default();
        if shelf.files.len() >= PER_USER && !shelf.files.contains_key(&name) {
            return false;
        }
        shelf.files.insert(name, Kept { draft, since: Instant::now() });
        true
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

    /// Notes what the intake accepted just now.
    pub(super) fn accepted(&self, user: &str, name: String, bytes: u64, now: Instant) {
        let mut shelves = self.lock();
        let shelf = shelves.entry(user.to_owned()).or_default();
        shelf.accepted.insert(name, Accepted { bytes, at: None, added: Some(now) });
    }

    /// Size and time of an accepted file, `Some(None)` if there is none; `None` if the list must be asked for.
    #[allow(clippy::option_option, reason = "three answers, told apart where this is called")]
    pub(super) fn look_up(
        &self,
        user: &str,
        name: &str,
        now: Instant,
    ) -> Option<Option<(u64, Option<Timestamp>)>> {
        let shelves = self.lock();
        let shelf = shelves.get(user)?;
        let fresh = shelf.listed.is_some_and(|at| now.saturating_duration_since(at) < FRESH);
        fresh.then(|| shelf.accepted.get(name).map(|file| (file.bytes, file.at)))
    }

    /// Takes over the list that the intake gave. `asked` is when it was asked for.
    pub(super) fn learn(&self, user: &str, drops: &[Dropped], asked: Instant) {
        let mut shelves = self.lock();
        let shelf = shelves.entry(user.to_owned()).or_default();
        shelf.listed = Some(asked);
        let young = |added: Instant| asked.saturating_duration_since(added) < OVERLAP;
        shelf.accepted.retain(|_, file| file.added.is_some_and(young));
        for drop in drops {
            // Oldest first, so that of two of the same name the newer one stays.
            let file = Accepted { bytes: drop.bytes, at: Some(drop.at), added: None };
            shelf.accepted.insert(drop.name.clone(), file);
        }
    }

    /// Drops what was kept long enough; to be called every few seconds.
    pub(super) fn sweep(&self, now: Instant) {
        let past = |since: Instant, time: Duration| now.saturating_duration_since(since) >= time;
        self.lock().retain(|_, shelf| {
            if shelf.left.is_some_and(|left| past(left, GRACE)) {
                return false;
            }
            shelf.files.retain(|_, kept| !past(kept.since, KEEP));
            if shelf.listed.is_none_or(|at| past(at, FRESH)) {
                shelf.accepted.retain(|_, file| file.added.is_some_and(|added| !past(added, OVERLAP)));
            }
            shelf.sessions > 0 || !shelf.files.is_empty()
        });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Shelf>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
