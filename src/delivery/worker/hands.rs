//! Which Jobs this process has in hand, and how much more each provider can be given.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use crate::config::Config;
use crate::delivery::health::{Change, Health, Seen};
use crate::job::{JobId, JobState};
use crate::store::{Job, Rooms};

/// Jobs in hand at once that need no provider.
const OTHERS: u32 = 32;

/// The Jobs in hand, and the providers as their answers show them.
pub(super) struct Hands(Mutex<Inner>);

struct Inner {
    /// Whatever their leases say; with whether they were claimed once more meanwhile.
    jobs: HashMap<JobId, Arc<AtomicBool>>,
    providers: BTreeMap<String, Desk>,
}

struct Desk {
    health: Health,
    /// Questions under way.
    asking: u32,
    /// Questions at once.
    at_once: u32,
}

/// One Job in hand, until this is dropped.
pub(super) struct Held {
    all: Arc<Hands>,
    job: JobId,
    provider: String,
    errand: Errand,
    claimed_again: Arc<AtomicBool>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Errand {
    Send,
    Ask,
    /// Nothing that the provider hears of.
    Decide,
}

impl Hands {
    pub(super) fn new(config: &Config, now: Timestamp) -> Hands {
        let desk = |section: &crate::config::Provider| {
            let at_once = u32::try_from(section.concurrency).unwrap_or(u32::MAX).max(1);
            let health = Health::new(at_once, section.per_minute, config.policy.hurry, now);
            Desk { health, asking: 0, at_once }
        };
        let providers = config.provider.iter().map(|(name, section)| (name.clone(), desk(section))).collect();
        Hands(Mutex::new(Inner { jobs: HashMap::new(), providers }))
    }

    /// How many Jobs can be taken in hand now.
    pub(super) fn rooms(&self, now: Timestamp) -> Rooms {
        let mut inner = self.lock();
        let providers = inner.providers.iter_mut().map(|(name, desk)| {
            (name.clone(), desk.health.room(now), desk.at_once.saturating_sub(desk.asking))
        });
        Rooms { providers: providers.collect(), others: OTHERS }
    }

    /// Takes `job`, which was claimed, in hand; `None` where it is already, which then learns of it ([`Held::put_down`]).
    pub(super) fn take(self: &Arc<Self>, job: &Job, now: Timestamp) -> Option<Held> {
        let errand = match &job.state {
            JobState::Queued { .. } if now < job.deadline => Errand::Send,
            JobState::InTransit { .. } | JobState::Unclear { .. } => Errand::Ask,
            _ => Errand::Decide,
        };
        let mut inner = self.lock();
        if let Some(claimed_again) = inner.jobs.get(&job.id) {
            claimed_again.store(true, Ordering::Release);
            return None;
        }
        let claimed_again = Arc::new(AtomicBool::new(false));
        inner.jobs.insert(job.id, Arc::clone(&claimed_again));
        if let Some(desk) = inner.providers.get_mut(&job.provider) {
            match errand {
                Errand::Send => desk.health.begin(now),
                Errand::Ask => desk.asking = desk.asking.saturating_add(1),
                Errand::Decide => {}
            }
        }
        let (all, provider) = (Arc::clone(self), job.provider.clone());
        Some(Held { all, job: job.id, provider, errand, claimed_again })
    }

    /// Draws the conclusion from what `provider` answered.
    pub(super) fn note(&self, provider: &str, seen: Seen, now: Timestamp) -> Change {
        self.lock().providers.get_mut(provider).map_or(Change::None, |desk| desk.health.note(seen, now))
    }

    /// The providers that rest, and those that do not.
    pub(super) fn resting_and_usable(&self, now: Timestamp) -> (Vec<String>, Vec<String>) {
        let inner = self.lock();
        let (usable, resting): (Vec<_>, Vec<_>) =
            inner.providers.iter().partition(|(_, desk)| desk.health.is_usable(now));
        let names = |list: Vec<(&String, &Desk)>| list.into_iter().map(|(name, _)| name.clone()).collect();
        (names(resting), names(usable))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// The Job is out of hand. True where it was claimed meanwhile, for nobody: its lease has to be given up.
    pub(super) fn put_down(self) -> bool {
        let claimed_again = Arc::clone(&self.claimed_again);
        // From here on a claim finds it free.
        drop(self);
        claimed_again.load(Ordering::Acquire)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut inner = self.all.lock();
        inner.jobs.remove(&self.job);
        if let Some(desk) = inner.providers.get_mut(&self.provider) {
            match self.errand {
                Errand::Send => desk.health.end(),
                Errand::Ask => desk.asking = desk.asking.saturating_sub(1),
                Errand::Decide => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::job::SubmissionId;

    #[test]
    fn who_is_claimed_again_while_in_hand_is_told_of() {
        let now = Timestamp::from_second(1_790_000_000).unwrap();
        let inner = Inner { jobs: HashMap::new(), providers: BTreeMap::new() };
        let hands = Arc::new(Hands(Mutex::new(inner)));
        let job = |n| Job {
            id: JobId::new(now, n),
            submission: SubmissionId::new(now, n),
            n: 1,
            recipient: None,
            number: None,
            rule: "r".into(),
            provider: "it".into(),
            route: vec!["it".into()],
            cancel: None,
            state: JobState::Queued { due: now },
            made_at: now,
            deadline: now + SignedDuration::from_hours(1),
            final_at: None,
            packet: None,
            facts: Vec::new(),
            version: 1,
        };
        let (first, second) = (hands.take(&job(1), now).unwrap(), hands.take(&job(2), now).unwrap());
        assert!(hands.take(&job(1), now).is_none());
        assert!(!second.put_down());
        assert!(first.put_down(), "its lease would keep everybody from it");
        let again = hands.take(&job(1), now).unwrap();
        assert!(!again.put_down());
    }
}
