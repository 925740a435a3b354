//! Claim a Job, commit an Attempt, call the provider, bring home the Outcome.
//!
//! The order is the promise: the Attempt is committed before the request leaves, so that a crash at any point afterwards
//! finds a Job that says "something may have been sent", and the provider is asked by reference before anything else is
//! done. Workers hold Jobs by leases, never by open transactions; what a step changes is saved only where the row is still
//! as it was read. Which Job changes how is decided in [`crate::job::state`] alone; this file and `worker::carry` only carry it
//! out.
//!
//! Here stands who is taken in hand: of each provider as many as it has room for ([`super::health`]), so that a provider that
//! is slow, down or out of money keeps nobody from the others.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Provider;
use super::health::{Change, Seen};
use super::media::Media;
use super::webhook::Hooks;
use crate::alarm::{Alarm, Alarms};
use crate::clock::SharedClock;
use crate::config::Config;
use crate::job::Cause;
use crate::spool::Spool;
use crate::store::{Condition, Job, Rooms, Store, Wake};

mod ask;
mod carry;
mod hands;

pub use hands::Hands;

/// How long the loop sleeps at most while something is due that waits for room, or cannot be read.
const NAP: Duration = Duration::from_secs(2);
/// How long it sleeps at most while nothing is due: the machine's own sleep is not part of a pause.
const IDLE: Duration = Duration::from_secs(30);
/// The first of the naps while what is due waits for room at its provider or for another's lease; each is twice as long as
/// the one before, up to [`NAP`].
const BLOCKED: Duration = Duration::from_millis(50);
/// A lease outlives the provider's timeout by this much, so that no second worker sees a Job whose answer may still come.
const LEASE_MARGIN: SignedDuration = SignedDuration::from_secs(60);
/// Between two looks for Jobs whose provider rests and that have another way.
const REROUTE: Duration = Duration::from_secs(1);
/// Jobs that go another way at one look.
const REROUTED_AT_ONCE: u32 = 500;

/// Providers by their name in the configuration.
pub type Providers = BTreeMap<String, Arc<dyn Provider>>;

/// What the worker needs.
pub struct Worker {
    /// Jobs.
    pub store: Store,
    /// Packets.
    pub spool: Spool,
    /// Where faxes go.
    pub providers: Providers,
    /// Policy, timeouts and concurrency.
    pub config: Arc<Config>,
    /// Time.
    pub clock: SharedClock,
    /// Told when a Job may be due.
    pub wake: Arc<dyn Wake>,
    /// Told when a Job has ended, so that its answer leaves at once.
    pub answered: Arc<dyn Wake>,
    /// Told what wants a person.
    pub alarms: Alarms,
    /// What is in hand, of all workers of this process.
    pub hands: Arc<Hands>,
    /// Where providers report, if anywhere.
    pub hooks: Option<Hooks>,
    /// Where providers fetch documents, if anywhere.
    pub media: Option<Media>,
}

impl Worker {
    /// Works until `shutdown` turns true, then finishes what is in hand.
    pub async fn run(self: Arc<Self>, mut shutdown: watch::Receiver<bool>) {
        let hands = Arc::clone(&self.hands);
        if hands.configure(&self.config, self.clock.now()) {
            self.forget_conditions().await;
        }
        let mut tasks = JoinSet::new();
        let (mut nap, mut rerouted) = (BLOCKED, Instant::now());
        let mut commits = self.store.commits();
        while !*shutdown.borrow() {
            while tasks.try_join_next().is_some() {}
            if rerouted.elapsed() >= REROUTE {
                self.reroute(&hands).await;
                rerouted = Instant::now();
            }
            let now = self.clock.now();
            let claimed = self.claim(hands.rooms(now), now).await;
            if claimed.is_empty() {
                let due = self.next_due().await;
                nap = if due.is_zero() { (nap * 2).min(NAP) } else { BLOCKED };
                tokio::select! {
                    () = self.wake.woken() => nap = BLOCKED,
                    () = commits.made() => {}
                    () = tokio::time::sleep(due.max(nap).min(IDLE)) => {}
                    _ = shutdown.changed() => {}
                }
                continue;
            }
            nap = BLOCKED;
            for job in claimed {
                // Whatever is in hand is not leased again: neither when its step is saved and its hand not free yet, nor when
                // the machine slept so long that the lease ran out during its request.
                let Some(held) = hands.take(&job, now) else { continue };
                let (worker, hands) = (Arc::clone(&self), Arc::clone(&hands));
                tasks.spawn(async move {
                    worker.carry_on(job, &hands).await;
                    drop(held);
                    // The freed hand may let the next Job go.
                    worker.wake.wake();
                });
            }
        }
        while tasks.join_next().await.is_some() {}
    }

    async fn claim(&self, rooms: Rooms, now: Timestamp) -> Vec<Job> {
        let longest = self.config.provider.values().map(|p| p.timeout.signed()).max().unwrap_or_default();
        let lease_until = now.saturating_add(longest + LEASE_MARGIN).unwrap_or(Timestamp::MAX);
        match self.store.claim_due_jobs(now, lease_until, rooms).await {
            Ok(jobs) => jobs,
            Err(error) => {
                tracing::error!(error = %error, "due jobs could not be claimed: {error}");
                Vec::new()
            }
        }
    }

    /// Until the next Job is due; nothing where one is.
    async fn next_due(&self) -> Duration {
        let now = self.clock.now();
        match self.store.next_wake(self.config.provider.keys().map(String::as_str), now).await {
            Ok(Some(at)) => at.duration_since(now).try_into().unwrap_or(Duration::ZERO),
            Ok(None) => IDLE,
            Err(_) => NAP,
        }
    }

    /// Jobs whose provider rests go on to the next of their route that does not.
    async fn reroute(&self, hands: &Hands) {
        let now = self.clock.now();
        let (resting, usable) = hands.resting_and_usable(now);
        for name in resting {
            match self.store.reroute(&name, usable.clone(), now, REROUTED_AT_ONCE).await {
                Ok(0) => {}
                Ok(jobs) => {
                    tracing::info!(provider = name, jobs, "{jobs} jobs go another way, since {name} rests");
                }
                Err(error) => tracing::error!(error = %error, "jobs could not be rerouted: {error}"),
            }
        }
    }

    /// Whatever a provider suffered from before this process began is found out anew.
    async fn forget_conditions(&self) {
        let rows = self.store.providers().await.unwrap_or_default();
        for row in rows.into_iter().filter(|row| row.condition != Condition::Good) {
            if let Err(error) = self.store.note_condition(&row.name, None, self.clock.now()).await {
                tracing::error!(error = %error, "the condition of {} could not be noted: {error}", row.name);
            }
        }
    }

    /// Draws the conclusion from what `provider` answered, and tells those who watch.
    async fn note(&self, hands: &Hands, provider: &str, seen: Seen, detail: &str) {
        let now = self.clock.now();
        // Nobody but the operator can mend that, and nothing goes out until then.
        if matches!(seen, Seen::Trouble { cause: Cause::AccountTrouble, .. }) {
            let cause = format!(
                "{provider} takes no faxes of ours: {detail}. Sign-in or balance: `faxbridge check` says which setting is wrong"
            );
            self.alarms.raise(Alarm::Provider(provider.to_owned()), cause, now);
        }
        let change = hands.note(provider, seen, now);
        // One that was taken before the trouble began does not end it.
        if seen == Seen::Well && hands.is_usable(provider, now) {
            self.alarms.clear(&Alarm::Provider(provider.to_owned()));
        }
        let rest = match change {
            Change::None => return,
            Change::Well => {
                tracing::info!(provider, "{provider} takes faxes again");
                None
            }
            Change::Rests(rest) => {
                let (cause, until) = (rest.cause, rest.until);
                let queue = "its jobs are kept, or go another way of their route";
                if cause == Cause::AccountTrouble {
                    // Nobody but the operator can mend that.
                    tracing::error!(provider, cause = %cause, "{provider} does not let us send ({detail}); {queue}; it is tried again at {until}. `faxbridge check` says which setting is wrong");
                } else {
                    tracing::warn!(provider, cause = %cause, "{provider} rests until {until}, {cause} ({detail}); {queue}");
                }
                Some((cause, detail.to_owned(), until))
            }
        };
        if let Err(error) = self.store.note_condition(provider, rest, now).await {
            tracing::error!(error = %error, "the condition of {provider} could not be noted: {error}");
        }
    }
}
