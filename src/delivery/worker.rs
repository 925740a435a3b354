//! Claim a Job, commit an Attempt, call the provider, bring home the Outcome.
//!
//! The order is the promise: the Attempt is committed before the request leaves, so that a crash at any point afterwards
//! finds a Job that says "something may have been sent", and the provider is asked by reference before anything else is
//! done. Workers hold Jobs by leases, never by open transactions; what a step changes is saved only where the row is still
//! as it was read. Which Job changes how is decided in [`crate::job::state`] alone; this file only carries it out.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinSet;

use super::media::Media;
use super::webhook::Hooks;
use super::{AskError, Keep, Order, Provider, Search, Sought, Status, SubmitError};
use crate::clock::SharedClock;
use crate::config::{Config, Policy};
use crate::crash::reached;
use crate::job::retry::RetryPolicy;
use crate::job::state::{Context, Event, Patience, step};
use crate::job::{self, Cause, Hold, JobId, JobState, Outcome, Report};
use crate::register::{self, EntryState};
use crate::spool::{Spool, WrappedKey};
use crate::store::{AttemptRow, Job, Saved, Store, StoreError};

/// Jobs in hand at once, over all providers.
const IN_HAND: usize = 32;
/// How long the loop sleeps at most: other processes (the command line) change Jobs without being able to wake it.
const NAP: Duration = Duration::from_secs(2);
/// Between two looks while what is due waits for a line, a hand or another Job's lease.
const BLOCKED: Duration = Duration::from_millis(100);
/// A lease outlives the provider's timeout by this much, so that no second worker sees a Job whose answer may still come.
const LEASE_MARGIN: SignedDuration = SignedDuration::from_secs(60);

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
    pub wake: Arc<Notify>,
    /// Told when a Job has ended, so that its answer leaves at once.
    pub answered: Arc<Notify>,
    /// Where providers report, if anywhere.
    pub hooks: Option<Hooks>,
    /// Where providers fetch documents, if anywhere.
    pub media: Option<Media>,
}

/// Why a Job could not be carried on; it is tried again when its lease is over.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{0}")]
    Impossible(#[from] job::state::Impossible),
}

/// How to decide about retries and silence, from the configuration.
#[must_use]
pub fn policies(policy: &Policy) -> (RetryPolicy, Patience) {
    let retry = RetryPolicy { calls: policy.calls, hurry: policy.hurry };
    let patience = Patience {
        ask_first: policy.ask_first.signed(),
        ask_at_most: policy.ask_at_most.signed(),
        silent_after: policy.silent_after.signed(),
        quiet: policy.quiet.signed(),
        unclear_at_most: policy.unclear_at_most.signed(),
    };
    (retry, patience)
}

impl Worker {
    /// Works until `shutdown` turns true, then finishes what is in hand.
    pub async fn run(self: Arc<Self>, mut shutdown: watch::Receiver<bool>) {
        let hands = Arc::new(Semaphore::new(IN_HAND));
        let lines: Arc<BTreeMap<String, Semaphore>> = Arc::new(
            self.config
                .provider
                .iter()
                .map(|(name, p)| (name.clone(), Semaphore::new(p.concurrency.max(1))))
                .collect(),
        );
        let in_hand = Arc::new(InHand::default());
        let mut tasks = JoinSet::new();
        while !*shutdown.borrow() {
            while tasks.try_join_next().is_some() {}
            let claimed = self.claim(hands.available_permits()).await;
            let nothing = claimed.is_empty();
            for job in claimed {
                // Its lease ran out while it waits for a line here, or its request is under way here and the machine slept:
                // the claim was a longer lease, and must not be taken for the leftovers of a crash.
                let Some(held) = in_hand.take(job.id) else { continue };
                let Ok(hand) = Arc::clone(&hands).acquire_owned().await else { return };
                let (worker, lines) = (Arc::clone(&self), Arc::clone(&lines));
                tasks.spawn(async move {
                    let _held = held;
                    let line = match lines.get(&job.provider) {
                        Some(line) => line.acquire().await.ok(),
                        None => None,
                    };
                    worker.carry_on(job).await;
                    drop((line, hand));
                    // A freed line or hand may let the next Job go.
                    worker.wake.notify_one();
                });
            }
            if nothing {
                tokio::select! {
                    () = self.wake.notified() => {}
                    () = tokio::time::sleep(self.nap().await) => {}
                    _ = shutdown.changed() => {}
                }
            }
        }
        while tasks.join_next().await.is_some() {}
    }

    async fn claim(&self, free: usize) -> Vec<Job> {
        let now = self.clock.now();
        let longest = self.config.provider.values().map(|p| p.timeout.signed()).max().unwrap_or_default();
        let lease_until = now.saturating_add(longest + LEASE_MARGIN).unwrap_or(Timestamp::MAX);
        let free = u32::try_from(free).unwrap_or(1);
        if free == 0 {
            return Vec::new();
        }
        match self.store.claim_due_jobs(now, lease_until, free).await {
            Ok(jobs) => jobs,
            Err(error) => {
                tracing::error!(error = %error, "due jobs could not be claimed: {error}");
                Vec::new()
            }
        }
    }

    /// Until the next Job is due, but not longer than [`NAP`].
    async fn nap(&self) -> Duration {
        let now = self.clock.now();
        match self.store.next_wake().await {
            Ok(Some(at)) if at > now => at.duration_since(now).try_into().unwrap_or(NAP).min(NAP),
            // Due and not claimed: looking again and again would only take the time of those it waits for.
            Ok(Some(_)) => BLOCKED,
            _ => NAP,
        }
        .max(Duration::from_millis(10))
    }

    async fn carry_on(&self, job: Job) {
        let id = job.id;
        let result = match &job.state {
            JobState::Queued { .. } => self.send(job).await,
            // Its lease ran out in mid-request: whoever opened the Attempt is dead, and its answer lost.
            JobState::Sending { .. } => self.apply(&job, Event::Lost, false).await.map(|_| ()),
            JobState::InTransit { provider_ref, .. } => {
                let event = self.ask_status(&job, provider_ref).await;
                reached("outcome.received");
                let saved = self.apply(&job, event, false).await.map(|_| ());
                reached("outcome.recorded");
                saved
            }
            JobState::Unclear { attempt, provider_ref, .. } => {
                let event = self.find_out(&job, *attempt, provider_ref.as_deref()).await;
                self.apply(&job, event, false).await.map(|_| ())
            }
            JobState::Held { .. } => self.apply(&job, Event::Deadline, false).await.map(|_| ()),
            JobState::Delivered | JobState::Failed { .. } | JobState::Cancelled => Ok(()),
        };
        if let Err(error) = result {
            tracing::error!(job.id = %id, error = %error, "job {id} could not be carried on: {error}");
        }
    }

    /// Sends a queued Job: last look at the register, Attempt committed, request.
    async fn send(&self, job: Job) -> Result<(), Trouble> {
        if let Some(hold) = self.why_not(&job).await? {
            return self.apply(&job, Event::Hold(hold), false).await.map(|_| ());
        }
        let Some(provider) = self.providers.get(&job.provider) else {
            tracing::error!(job.id = %job.id, "job {} names the provider {:?}, which is not configured", job.id, job.provider);
            return self.apply(&job, Event::Hold(Hold::Account), false).await.map(|_| ());
        };
        let attempt = u32::try_from(self.store.attempts(job.id).await?.len()).unwrap_or(u32::MAX - 1) + 1;
        let Some(job) = self.apply(&job, Event::Claimed { attempt }, true).await? else { return Ok(()) };
        if !matches!(job.state, JobState::Sending { .. }) {
            return Ok(());
        }
        reached("attempt.committed");
        let event = self.submit(&job, attempt, provider.as_ref()).await;
        reached("request.sent");
        self.apply(&job, event, false).await?;
        reached("answer.recorded");
        Ok(())
    }

    /// Whether the register still stands behind this Job, at this moment.
    async fn why_not(&self, job: &Job) -> Result<Option<Hold>, StoreError> {
        let (Some(key), Some(number)) = (&job.recipient, &job.number) else {
            return Ok(Some(Hold::Unverified));
        };
        if job.packet.is_none() {
            return Ok(Some(Hold::Part));
        }
        let entries = self.store.recipients_with_number(number).await?;
        if entries.iter().any(|entry| entry.state == EntryState::Suspended) {
            return Ok(Some(Hold::Suspended));
        }
        let Some(entry) = entries.iter().find(|entry| entry.key == *key) else {
            return Ok(Some(Hold::Unverified));
        };
        Ok(register::why_not(entry, number, self.config.policy.two_person, self.clock.now()))
    }

    async fn submit(&self, job: &Job, attempt: u32, provider: &dyn Provider) -> Event {
        let (Some(number), Some(packet)) = (&job.number, &job.packet) else {
            return not_sent(Cause::DocumentRefused, "the job has no number or no packet");
        };
        let document = match self.document(job, &packet.document.name).await {
            Ok(document) => document,
            Err(error) => {
                tracing::error!(job.id = %job.id, error = %error, "job {}: its packet cannot be read: {error}", job.id);
                return not_sent(Cause::DocumentRefused, "the sealed packet cannot be read");
            }
        };
        let reference = job::reference(job.id, attempt);
        let webhook_url = self.hooks.as_ref().map(|hooks| hooks.url_for(&job.provider, Some(&reference)));
        let media = self.media.as_ref().filter(|_| provider.capabilities().fetches);
        let media_url = media.map(|media| media.url_for(&reference, self.clock.now()));
        let order = Order {
            reference: &reference,
            number,
            pages: packet.pages,
            bytes: packet.document.bytes,
            sha256: &packet.document.sha256,
            document,
            media_url: media_url.as_deref(),
            webhook_url: webhook_url.as_deref(),
            caller: self.caller(&job.provider),
            header: &self.config.organization.name,
            keep: &Kept { store: &self.store, job: job.id, attempt },
        };
        match provider.submit(order).await {
            Ok(taken) => Event::Taken { provider_ref: taken.provider_ref },
            Err(SubmitError::Refused(report)) => Event::Ended { report, wait: None },
            Err(SubmitError::NotSent { cause, wait, detail }) => {
                tracing::warn!(job.id = %job.id, cause = %cause, "job {} was not sent, {cause}: {detail}", job.id);
                match not_sent(cause, &detail) {
                    Event::Ended { report, .. } => Event::Ended { report, wait },
                    other => other,
                }
            }
            Err(SubmitError::Unknown { detail }) => {
                tracing::warn!(job.id = %job.id, "job {} is unclear, the provider will be asked: {detail}", job.id);
                Event::Lost
            }
        }
    }

    /// The number that faxes over `provider` come from.
    fn caller(&self, provider: &str) -> Option<&str> {
        let own = self.config.provider.get(provider).and_then(|section| section.from.as_deref());
        own.or(self.config.organization.fax.as_deref())
    }

    async fn document(&self, job: &Job, name: &str) -> Result<super::Document, anyhow::Error> {
        let submission = self.store.submission(job.submission).await?;
        let wrapped =
            submission.and_then(|s| s.wrapped_key).ok_or_else(|| anyhow::anyhow!("its key is destroyed"))?;
        let key = self.spool.unwrap_key(&WrappedKey(wrapped))?;
        let reader = self.spool.read(&key, name).await?;
        Ok(reader.into_stream().map(|chunk| chunk.map_err(io::Error::other)).boxed())
    }

    async fn ask_status(&self, job: &Job, provider_ref: &str) -> Event {
        let Some(provider) = self.providers.get(&job.provider) else { return Event::NoAnswer };
        match provider.status(provider_ref).await {
            Ok(Status::Working) => Event::StillGoing,
            Ok(Status::Ended(report)) => Event::Ended { report, wait: None },
            Ok(Status::NotThere) => Event::NotThere,
            Err(error) => no_answer(job, &error),
        }
    }

    /// Asks about an Unclear Job: by the provider's name for it where that is known, else by our reference.
    async fn find_out(&self, job: &Job, attempt: u32, provider_ref: Option<&str>) -> Event {
        if let Some(provider_ref) = provider_ref {
            // "Still going" is no news here: that it went on for too long is why it is Unclear. Taken for a new beginning, it
            // would go round for ever.
            return self.ask_status(job, provider_ref).await;
        }
        let Some(provider) = self.providers.get(&job.provider) else { return Event::NoAnswer };
        if !provider.capabilities().finds_by_reference {
            return Event::CannotTell;
        }
        let Some(number) = &job.number else { return Event::CannotTell };
        let row = match self.store.attempt(job.id, attempt).await {
            Ok(Some(row)) => row,
            Ok(None) => return Event::CannotTell,
            Err(error) => {
                tracing::error!(job.id = %job.id, error = %error, "job {}: its attempt cannot be read: {error}", job.id);
                return Event::NoAnswer;
            }
        };
        let sought =
            Sought { reference: &row.reference, kept: row.kept_ref.as_deref(), number, since: row.started() };
        match provider.find(sought).await {
            Ok(Search::Found(found)) => Event::Found { provider_ref: found.provider_ref },
            Ok(Search::NotListed) => Event::NotThere,
            Ok(Search::NeverSent) => Event::NeverSent,
            Err(AskError::Unsupported) => Event::CannotTell,
            Err(error) => no_answer(job, &error),
        }
    }

    /// Decides and saves; returns the Job as it now is, or `None` where the row had changed or the line was busy.
    async fn apply(&self, job: &Job, event: Event, keep_lease: bool) -> Result<Option<Job>, Trouble> {
        let now = self.clock.now();
        let earlier: Vec<Cause> =
            self.store.attempts(job.id).await?.iter().filter_map(AttemptRow::cause).collect();
        let (retry, patience) = policies(&self.config.policy);
        let context = Context {
            now,
            deadline: job.deadline,
            hold_for: self.config.policy.hold_for.signed(),
            try_for: self.config.policy.deadline.signed(),
            earlier: &earlier,
            retry: &retry,
            patience: &patience,
            jitter: jitter(),
        };
        let pages = job.packet.as_ref().map_or(0, |packet| packet.pages);
        let step = step(&job.state, whole_or_partly(event, pages), &context)?;
        let state = step.state.clone();
        match self.store.save_step(job, step, "delivery", keep_lease, now).await? {
            Saved::Done(version) => {
                self.report(job, &state);
                Ok(Some(Job { state, version, ..job.clone() }))
            }
            Saved::Stale => {
                tracing::info!(job.id = %job.id, "job {} was changed by someone else meanwhile", job.id);
                Ok(None)
            }
            Saved::LineBusy => {
                let again = now.saturating_add(SignedDuration::from_secs(1)).unwrap_or(now);
                self.store.release_job(job.id, again).await?;
                Ok(None)
            }
        }
    }

    fn report(&self, job: &Job, state: &JobState) {
        let id = job.id;
        let tail = job.number.as_ref().map_or("", |number| number.tail());
        match state {
            JobState::Delivered | JobState::Cancelled | JobState::Failed { .. } => {
                let word = state.as_str();
                tracing::info!(job.id = %id, job.state = word, "job {id} to ...{tail} ended: {word}");
                self.answered.notify_one();
            }
            JobState::Held { hold, .. } => {
                tracing::warn!(job.id = %id, job.hold = %hold, "job {id} to ...{tail} is held for a person: {hold}");
                self.answered.notify_one();
            }
            JobState::Queued { due } => {
                tracing::info!(job.id = %id, due = %due, "job {id} to ...{tail} is tried again at {due}");
            }
            state => tracing::debug!(job.id = %id, "job {id} to ...{tail} is {}", state.as_str()),
        }
    }
}

/// The Jobs that this process has in hand, whatever their leases say.
#[derive(Default)]
struct InHand(Mutex<HashSet<JobId>>);

/// One of them, until this is dropped.
struct Held {
    all: Arc<InHand>,
    job: JobId,
}

impl InHand {
    /// Takes `job` in hand; `None` where it is already.
    fn take(self: &Arc<Self>, job: JobId) -> Option<Held> {
        let new = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(job);
        new.then(|| Held { all: Arc::clone(self), job })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.all.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.job);
    }
}

/// Keeps a provider's name for the fax of an Attempt.
struct Kept<'a> {
    store: &'a Store,
    job: JobId,
    attempt: u32,
}

impl Keep for Kept<'_> {
    fn keep<'a>(&'a self, provider_ref: &'a str) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            let kept = self.store.keep_provider_ref(self.job, self.attempt, provider_ref).await;
            reached("handle.kept");
            kept.map_err(|error| error.to_string())
        })
    }
}

/// "Delivered" with fewer pages than were submitted is not delivered, whatever the provider calls it.
fn whole_or_partly(event: Event, pages: u32) -> Event {
    match event {
        Event::Ended { report, wait }
            if report.outcome == Outcome::Delivered && report.pages_sent.is_some_and(|sent| sent < pages) =>
        {
            Event::Ended { report: Report { outcome: Outcome::Retry(Cause::PartlySent), ..report }, wait }
        }
        event => event,
    }
}

fn not_sent(cause: Cause, detail: &str) -> Event {
    let report = Report { raw_text: Some(detail.to_owned()), ..Report::bare(Outcome::of(cause)) };
    Event::Ended { report, wait: None }
}

fn no_answer(job: &Job, error: &AskError) -> Event {
    tracing::warn!(job.id = %job.id, error = %error, "job {}: {error}", job.id);
    Event::NoAnswer
}

/// A random number in 0..=1.
fn jitter() -> f64 {
    let bits = u32::try_from(job::chance().unwrap_or(0) >> 32).unwrap_or(0);
    f64::from(bits) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delivered_with_pages_missing_is_partly_sent() {
        let ended = |pages_sent| Event::Ended {
            report: Report { pages_sent, ..Report::bare(Outcome::Delivered) },
            wait: None,
        };
        let outcome = |event, pages| match whole_or_partly(event, pages) {
            Event::Ended { report, .. } => report.outcome,
            other => panic!("{other:?}"),
        };
        assert_eq!(outcome(ended(Some(4)), 4), Outcome::Delivered);
        assert_eq!(outcome(ended(None), 4), Outcome::Delivered, "not every provider counts pages");
        assert_eq!(outcome(ended(Some(3)), 4), Outcome::Retry(Cause::PartlySent));
        assert_eq!(outcome(ended(Some(0)), 4), Outcome::Retry(Cause::PartlySent));
    }

    #[test]
    fn a_job_is_in_hand_once() {
        let all = Arc::new(InHand::default());
        let job = JobId::new(Timestamp::UNIX_EPOCH, 1);
        let first = all.take(job);
        assert!(first.is_some());
        assert!(all.take(job).is_none(), "its lease ran out, its request is still under way");
        drop(first);
        assert!(all.take(job).is_some());
    }
}
