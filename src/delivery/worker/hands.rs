//! Which Jobs this process has in hand, and how much more each provider can be given.
//!
//! When a changed configuration is taken, the worker of the old one still has Jobs in hand while that of the new one begins. Both
//! share this: no Job is in two hands, whatever its lease says, and no provider has more at once than it bears.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use crate::config::Config;
use crate::delivery::health::{Change, Health, Seen};
use crate::job::{JobId, JobState};
use crate::store::{Job, Room, Rooms, Turns};

/// Jobs in hand at once that need no provider.
const OTHERS: u32 = 32;

/// The Jobs in hand, and the providers as their answers show them.
#[derive(Default)]
pub struct Hands(Mutex<Inner>);

impl std::fmt::Debug for Hands {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hands").finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Inner {
    /// A configuration was taken before.
    begun: bool,
    /// Whatever their leases say.
    jobs: HashSet<JobId>,
    providers: BTreeMap<String, ProviderPermits>,
}

struct ProviderPermits {
    health: Health,
    /// Questions under way.
    asking: u32,
    /// Questions at once.
    at_once: u32,
    /// Of whom Jobs were taken in hand to be sent, so far.
    turns: Turns,
}

/// One Job in hand, until this is dropped.
pub(super) struct Held {
    all: Arc<Hands>,
    job: JobId,
    provider: String,
    errand: Errand,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Errand {
    Send,
    Ask,
    /// Nothing that the provider hears of.
    Decide,
}

impl Hands {
    /// Takes the providers of `config` and how much they bear; whether these are the first. What is under way at one that was
    /// there before still counts.
    pub(super) fn configure(&self, config: &Config, now: Timestamp) -> bool {
        let mut inner = self.lock();
        inner.providers.retain(|name, _| config.provider.contains_key(name));
        for (name, section) in &config.provider {
            let at_once = u32::try_from(section.concurrency).unwrap_or(u32::MAX).max(1);
            let (per_minute, hurry) = (section.per_minute, config.policy.hurry);
            match inner.providers.get_mut(name) {
                Some(desk) => {
                    desk.health.renew(at_once, per_minute, hurry, now);
                    desk.at_once = at_once;
                }
                None => {
                    let health = Health::new(at_once, per_minute, hurry, now);
                    inner.providers.insert(
                        name.clone(),
                        ProviderPermits { health, asking: 0, at_once, turns: Turns::default() },
                    );
                }
            }
        }
        !std::mem::replace(&mut inner.begun, true)
    }

    /// Ends every rest at `now`, with one try: the time has moved.
    pub(crate) fn end_rests(&self, now: Timestamp) {
        for desk in self.lock().providers.values_mut() {
            desk.health.end_rest(now);
        }
    }

    /// How many Jobs can be taken in hand now.
    pub(super) fn rooms(&self, now: Timestamp) -> Rooms {
        let mut inner = self.lock();
        let providers = inner.providers.iter_mut().map(|(name, desk)| {
            let sends = desk.health.room(now);
            let asks = desk.at_once.saturating_sub(desk.asking);
            Room { provider: name.clone(), sends, turns: desk.turns.clone(), asks }
        });
        let providers = providers.collect();
        Rooms { providers, others: OTHERS, in_hand: inner.jobs.clone() }
    }

    /// Takes `job` in hand; `None` where it is already.
    pub(super) fn take(self: &Arc<Self>, job: &Job, now: Timestamp) -> Option<Held> {
        let errand = match &job.state {
            JobState::Queued { .. } if now < job.deadline => Errand::Send,
            JobState::InTransit { .. } | JobState::Unclear { .. } => Errand::Ask,
            _ => Errand::Decide,
        };
        let mut inner = self.lock();
        if !inner.jobs.insert(job.id) {
            return None;
        }
        if let Some(desk) = inner.providers.get_mut(&job.provider) {
            match errand {
                Errand::Send => {
                    desk.health.begin(now);
                    desk.turns.note(&job.sender);
                }
                Errand::Ask => desk.asking = desk.asking.saturating_add(1),
                Errand::Decide => {}
            }
        }
        Some(Held { all: Arc::clone(self), job: job.id, provider: job.provider.clone(), errand })
    }

    /// Draws the conclusion from what `provider` answered.
    pub(super) fn note(&self, provider: &str, seen: Seen, now: Timestamp) -> Change {
        self.lock().providers.get_mut(provider).map_or(Change::None, |desk| desk.health.note(seen, now))
    }

    /// Whether `provider` does not rest.
    pub(super) fn is_usable(&self, provider: &str, now: Timestamp) -> bool {
        self.lock().providers.get(provider).is_some_and(|desk| desk.health.is_usable(now))
    }

    /// The providers that rest, and those that do not.
    pub(super) fn resting_and_usable(&self, now: Timestamp) -> (Vec<String>, Vec<String>) {
        let inner = self.lock();
        let (usable, resting): (Vec<_>, Vec<_>) =
            inner.providers.iter().partition(|(_, desk)| desk.health.is_usable(now));
        let names =
            |list: Vec<(&String, &ProviderPermits)>| list.into_iter().map(|(name, _)| name.clone()).collect();
        (names(resting), names(usable))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
