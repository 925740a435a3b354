//! What each user's `in/` holds: uploads under temporary names, whole but not yet renamed; those that are whole and refused for now;
//! and what was accepted. Handed from one configuration to the next, so that a reload loses none.
//!
//! Temporary uploads are shared by all sessions of a user, because rclone and others rename over another connection than the one
//! they uploaded on. They never counted, so a restart may lose them; otherwise they lie for `sftp.temporary_for`, and their user is
//! told when that is over. A user who has too many is told at the open of the next; one that lies for longer than [`GRACE`] makes
//! room, so that what a client left behind keeps no later batch from coming.
//!
//! What was refused for now is tried again, see `keeper.rs`.
//!
//! Accepted files are known to the intake; here their list is remembered for [`FRESH`]. OpenSSH asks for the target
//! before every `put`, and most clients for the file after it: with a thousand files in a batch that would be the
//! thousandfold list each time. What this server accepts it adds at once, so that no client misses its own file; only
//! the end of a fax shows up that much later.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::account::Drop as Dropped;
use super::keeper::KeeperAnswer;
use super::shares::{Early, Room, Used};
use crate::intake::resting::Resting;

/// Uploads under temporary names that one user may have at a time, and as many that are refused for now.
const PER_USER: usize = 1000;
/// A temporary upload that lies for longer makes room for another.
const GRACE: Duration = Duration::from_secs(120);
/// Answers about refused files of one user, within an hour and waiting for the database. More are only logged.
const ANSWERS: usize = 100;
const HOUR: Duration = Duration::from_secs(3600);

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
    early: Arc<Early>,
    used: Arc<Used>,
    temporary: HashMap<String, Temporary>,
    owed: HashMap<String, Owed>,
    answers: Vec<KeeperAnswer>,
    told: Option<(Instant, usize)>,
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

/// A whole file that lies here.
#[derive(Debug)]
pub(super) struct Lying {
    pub(super) resting: Resting,
    /// For whom it is to be faxed.
    pub(super) sender: String,
    /// Given back with it.
    pub(super) room: Room,
}

/// One that waits for its final name.
#[derive(Debug)]
pub(super) struct Temporary {
    pub(super) lying: Lying,
    pub(super) since: Instant,
    pub(super) until: Instant,
}

/// One that has its final name, and was refused for now.
#[derive(Debug)]
pub(super) struct Owed {
    pub(super) lying: Lying,
    /// The temporary name that it had before, by which its client may rename it again.
    pub(super) from: Option<String>,
    pub(super) since: Instant,
    pub(super) next: Instant,
    pub(super) tries: u32,
}

/// What is to be done now; it is no longer on the shelves.
#[derive(Debug, Default)]
pub(super) struct Due {
    pub(super) expired: Vec<(String, String, Lying)>,
    pub(super) owed: Vec<(String, String, Owed)>,
    pub(super) answers: Vec<(String, KeeperAnswer)>,
}

/// A user is present for as long as this lives.
pub(super) struct Presence {
    shelves: Arc<Shelves>,
    user: String,
    pub(super) early: Arc<Early>,
    pub(super) used: Arc<Used>,
}

impl Drop for Presence {
    fn drop(&mut self) {
        if let Some(shelf) = self.shelves.lock().get_mut(&self.user) {
            shelf.sessions = shelf.sessions.saturating_sub(1);
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
        let (early, used) = (Arc::clone(&shelf.early), Arc::clone(&shelf.used));
        drop(shelves);
        Presence { shelves: Arc::clone(self), user: user.to_owned(), early, used }
    }

    /// Whether `name` may be written under as a temporary name.
    pub(super) fn has_room(&self, user: &str, name: &str, now: Instant) -> bool {
        let shelves = self.lock();
        let Some(shelf) = shelves.get(user) else { return true };
        let old = |kept: &Temporary| now.saturating_duration_since(kept.since) >= GRACE;
        shelf.temporary.len() < PER_USER
            || shelf.temporary.contains_key(name)
            || shelf.temporary.values().any(old)
    }

    /// Keeps a whole upload under a temporary name, in place of an older one of that name. Returns the one that had to make
    /// room, with its name.
    pub(super) fn keep(&self, user: &str, name: String, file: Temporary) -> Option<(String, Lying)> {
        let mut shelves = self.lock();
        let shelf = shelves.entry(user.to_owned()).or_default();
        shelf.temporary.insert(name, file);
        if shelf.temporary.len() <= PER_USER {
            return None;
        }
        let oldest =
            shelf.temporary.iter().min_by_key(|(_, kept)| kept.since).map(|(name, _)| name.clone())?;
        shelf.temporary.remove(&oldest).map(|kept| (oldest, kept.lying))
    }

    /// Takes a temporary upload off the shelf, to be accepted, renamed or dropped.
    pub(super) fn take(&self, user: &str, name: &str) -> Option<Lying> {
        self.lock().get_mut(user)?.temporary.remove(name).map(|kept| kept.lying)
    }

    /// Keeps a file that was refused for now, in place of an older one of that name. False where there are too many: it is gone.
    pub(super) fn owe(&self, user: &str, name: String, file: Owed) -> bool {
        let mut shelves = self.lock();
        let shelf = shelves.entry(user.to_owned()).or_default();
        let room = shelf.owed.len() < PER_USER || shelf.owed.contains_key(&name);
        if room {
            shelf.owed.insert(name, file);
        }
        room
    }

    /// Takes such a file off the shelf.
    pub(super) fn take_owed(&self, user: &str, name: &str) -> Option<Owed> {
        self.lock().get_mut(user)?.owed.remove(name)
    }

    /// The same, where it had the name `from` before.
    pub(super) fn take_renamed(&self, user: &str, name: &str, from: &str) -> Option<Owed> {
        let mut shelves = self.lock();
        let owed = &mut shelves.get_mut(user)?.owed;
        if owed.get(name)?.from.as_deref() != Some(from) {
            return None;
        }
        owed.remove(name)
    }

    /// Whether one more refusal of this user is told by a result file and mail.
    pub(super) fn may_answer(&self, user: &str, now: Instant) -> bool {
        let mut shelves = self.lock();
        let shelf = shelves.entry(user.to_owned()).or_default();
        let (since, count) =
            shelf.told.filter(|(since, _)| now.saturating_duration_since(*since) < HOUR).unwrap_or((now, 0));
        shelf.told = Some((since, count.saturating_add(1)));
        count < ANSWERS
    }

    /// Keeps an answer that cannot be recorded now. False where there are too many: it is gone.
    pub(super) fn answer_later(&self, user: &str, answer: KeeperAnswer) -> bool {
        let mut shelves = self.lock();
        let shelf = shelves.entry(user.to_owned()).or_default();
        let room = shelf.answers.len() < ANSWERS;
        if room {
            shelf.answers.push(answer);
        }
        room
    }

    /// The size of one whole upload on the shelf.
    pub(super) fn size(&self, user: &str, name: &str) -> Option<u64> {
        let shelves = self.lock();
        let shelf = shelves.get(user)?;
        let temporary = shelf.temporary.get(name).map(|kept| kept.lying.resting.bytes());
        temporary.or_else(|| shelf.owed.get(name).map(|owed| owed.lying.resting.bytes()))
    }

    /// Names and sizes of a user's uploads on the shelf.
    pub(super) fn list(&self, user: &str) -> Vec<(String, u64)> {
        let shelves = self.lock();
        let Some(shelf) = shelves.get(user) else { return Vec::new() };
        let temporary = shelf.temporary.iter().map(|(name, kept)| (name, &kept.lying));
        let owed = shelf.owed.iter().map(|(name, owed)| (name, &owed.lying));
        temporary.chain(owed).map(|(name, lying)| (name.clone(), lying.resting.bytes())).collect()
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

    /// Takes off what is to be done now, and forgets what is known elsewhere; to be called every few seconds.
    pub(super) fn due(&self, now: Instant) -> Due {
        let past = |since: Instant, time: Duration| now.saturating_duration_since(since) >= time;
        let mut due = Due::default();
        self.lock().retain(|user, shelf| {
            let expired = shelf.temporary.extract_if(|_, kept| now >= kept.until);
            due.expired.extend(expired.map(|(name, kept)| (user.clone(), name, kept.lying)));
            let owed = shelf.owed.extract_if(|_, owed| now >= owed.next);
            due.owed.extend(owed.map(|(name, owed)| (user.clone(), name, owed)));
            due.answers.extend(shelf.answers.drain(..).map(|answer| (user.clone(), answer)));
            if shelf.listed.is_none_or(|at| past(at, FRESH)) {
                shelf.accepted.retain(|_, file| file.added.is_some_and(|added| !past(added, OVERLAP)));
            }
            // What is in hand belongs to the shares until it is done with.
            shelf.sessions > 0
                || !shelf.temporary.is_empty()
                || !shelf.owed.is_empty()
                || Arc::strong_count(&shelf.used) > 1
                || shelf.told.is_some_and(|(since, _)| !past(since, HOUR))
        });
        due
    }

    /// Everything that is owed, at the end of the process; and how many temporary uploads go with it.
    pub(super) fn clear(&self) -> (Due, usize) {
        let mut due = Due::default();
        let mut temporary = 0_usize;
        for (user, shelf) in self.lock().drain() {
            temporary = temporary.saturating_add(shelf.temporary.len());
            due.owed.extend(shelf.owed.into_iter().map(|(name, owed)| (user.clone(), name, owed)));
            due.answers.extend(shelf.answers.into_iter().map(|answer| (user.clone(), answer)));
        }
        (due, temporary)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Shelf>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
