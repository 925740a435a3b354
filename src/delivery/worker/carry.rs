//! One Job, one step further: sent, cancelled or let expire. How a provider is asked stands in [`super::ask`].

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::Worker;
use super::hands::Hands;
use crate::crash::reached;
use crate::delivery::circumstances::Circumstances;
use crate::delivery::health::Seen;
use crate::delivery::{Keep, Order, Provider, SubmitError};
use crate::job::state::{Event, step};
use crate::job::{self, Actor, Cause, Hold, JobId, JobState, Outcome, Report};
use crate::packet::{Container, Measured};
use crate::register;
use crate::spool::SpoolError;
use crate::store::{Job, Opening, PacketRow, Saved, Store, StoreError};
use crate::vault::{VaultError, WrappedKey};

/// Why a Job could not be carried on; it is tried again when its lease is over.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{0}")]
    Impossible(#[from] job::state::Impossible),
}

/// Why a packet cannot be opened.
#[derive(Debug, thiserror::Error)]
enum Unreadable {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Spool(#[from] SpoolError),
    #[error("its key is destroyed")]
    NoKey,
    #[error("it is not what was prepared: {0} bytes instead of {1}, or another digest")]
    Another(u64, u64),
}

impl From<VaultError> for Unreadable {
    fn from(error: VaultError) -> Self {
        Unreadable::Spool(error.into())
    }
}

impl Unreadable {
    /// Whether it may be better later.
    fn is_for_now(&self) -> bool {
        match self {
            Unreadable::Store(_) => true,
            Unreadable::Spool(error) => error.is_for_now(),
            Unreadable::NoKey | Unreadable::Another(..) => false,
        }
    }
}

/// Until a packet is opened again that could not be for now.
const AGAIN: SignedDuration = SignedDuration::from_secs(60);

/// What the register says of a Job that is about to be sent.
enum Verdict {
    Go,
    Stop(Hold),
    Later(Timestamp),
}

impl Worker {
    pub(super) async fn carry_on(&self, job: Job, hands: &Hands) {
        let id = job.id;
        let result = match &job.state {
            JobState::Queued { .. } => self.send(job, hands).await,
            // Its lease ran out in mid-request: whoever opened the Attempt is dead, and its answer lost.
            JobState::Sending { .. } => self.apply(&job, Event::Lost, false).await.map(|_| ()),
            JobState::InTransit { attempt, provider_ref, .. } => {
                let event = self.inquire(&job, *attempt, Some(provider_ref), hands).await;
                reached("outcome.received");
                let saved = self.apply(&job, event, false).await.map(|_| ());
                reached("outcome.recorded");
                saved
            }
            JobState::Unclear { attempt, provider_ref, .. } => {
                // "Still going" is no news here: that it went on for too long is why it is Unclear. Taken for a new beginning,
                // it would go round for ever.
                let event = self.inquire(&job, *attempt, provider_ref.as_deref(), hands).await;
                self.apply(&job, event, false).await.map(|_| ())
            }
            JobState::Held { until, .. } => self.decide_held(&job, *until).await,
            JobState::Delivered | JobState::Failed { .. } | JobState::Cancelled => Ok(()),
        };
        if let Err(error) = result {
            tracing::error!(job.id = %id, error = %error, "job {id} could not be carried on: {error}");
        }
    }

    /// What became of a held Job: its provider told what had happened, or nobody decided in time.
    async fn decide_held(&self, job: &Job, until: Timestamp) -> Result<(), Trouble> {
        let circumstances = Circumstances::of(&self.store, &self.config, job).await?;
        if let Some((attempt, report)) = circumstances.told_late() {
            let told = step(
                &job.state,
                Event::Told { attempt, report: report.clone() },
                &circumstances.context(self.clock.now(), jitter()),
            );
            if told.is_ok() {
                return self.apply(job, Event::Told { attempt, report }, false).await.map(|_| ());
            }
        }
        if self.clock.now() >= until {
            return self.apply(job, Event::Deadline, false).await.map(|_| ());
        }
        // It was woken for news that answer another question than the one it is held for.
        Ok(self.store.release_job(job.id, until).await?)
    }

    /// Sends a queued Job: last look at the register, packet measured, Attempt committed, request.
    async fn send(&self, job: Job, hands: &Hands) -> Result<(), Trouble> {
        let now = self.clock.now();
        let circumstances = Circumstances::of(&self.store, &self.config, &job).await?;
        let stop = if let Some((attempt, report)) = circumstances.told_late() {
            Some(Event::Told { attempt, report })
        } else if now >= job.deadline {
            Some(Event::Deadline)
        } else if job.cancel.is_some() {
            Some(Event::Cancel)
        } else {
            match self.look(&job, now).await? {
                Verdict::Go => None,
                Verdict::Stop(hold) => Some(Event::Hold(hold)),
                Verdict::Later(until) => Some(Event::Postponed(until)),
            }
        };
        if let Some(event) = stop {
            return self.apply(&job, event, false).await.map(|_| ());
        }
        let Some(provider) = self.providers.get(&job.provider) else { return self.without(&job).await };
        let attempt = u32::try_from(circumstances.attempts.len()).unwrap_or(u32::MAX - 1) + 1;
        if self.is_forgotten(&job, &circumstances).await? {
            tracing::warn!(job.id = %job.id, "job {} may have been sent before the database was copied back: {} is asked first", job.id, job.provider);
            return self.apply(&job, Event::Forgotten { attempt }, false).await.map(|_| ());
        }
        if let Err(error) = self.measure(&job).await {
            tracing::error!(job.id = %job.id, error = %error, "job {} is not sent, its packet cannot be read: {error}", job.id);
            let event = if error.is_for_now() {
                Event::Postponed(now.saturating_add(AGAIN).unwrap_or(now))
            } else {
                // A person who releases it has it prepared anew.
                Event::Hold(Hold::Part)
            };
            return self.apply(&job, event, false).await.map(|_| ());
        }
        let Some(job) = self.apply(&job, Event::Claimed { attempt }, true).await? else { return Ok(()) };
        if !matches!(job.state, JobState::Sending { .. }) {
            return Ok(());
        }
        reached("attempt.committed");
        let event = self.submit(&job, attempt, provider.as_ref(), hands).await;
        reached("request.sent");
        self.apply(&job, event, false).await?;
        reached("answer.recorded");
        Ok(())
    }

    /// A queued Job whose provider is configured no more goes to the next of its route, if it certainly was sent by none.
    async fn without(&self, job: &Job) -> Result<(), Trouble> {
        let (id, gone) = (job.id, &job.provider);
        if let Some(other) = job.route.iter().find(|name| self.providers.contains_key(*name))
            && self.store.move_on(job, other, self.clock.now()).await?
        {
            tracing::warn!(job.id = %id, "job {id} goes to {other}, since {gone} is configured no more");
            self.wake.wake();
            return Ok(());
        }
        tracing::error!(job.id = %id, "job {id} names the provider {gone:?}, which is not configured");
        self.apply(job, Event::Hold(Hold::Account), false).await.map(|_| ())
    }

    /// Whether the next Attempt may have been made already, before the database was copied back.
    async fn is_forgotten(&self, job: &Job, circumstances: &Circumstances) -> Result<bool, StoreError> {
        let Some(restored) = self.store.restored_at().await? else { return Ok(false) };
        let submission = self.store.submission(job.submission).await?;
        let accepted = submission.map_or(job.made_at, |submission| submission.accepted_at);
        Ok(circumstances.is_forgotten(restored, accepted))
    }

    /// Whether the register still stands behind this Job, at this moment.
    async fn look(&self, job: &Job, now: Timestamp) -> Result<Verdict, StoreError> {
        let (Some(key), Some(number)) = (&job.recipient, &job.number) else {
            return Ok(Verdict::Stop(Hold::Unverified));
        };
        if job.packet.is_none() {
            return Ok(Verdict::Stop(Hold::Part));
        }
        let entries = self.store.recipients_with_number(number).await?;
        let two_person = self.config.policy.two_person;
        let entry = match register::stands_behind(&entries, key, number, two_person, now) {
            Ok(entry) => entry,
            Err(hold) => return Ok(Verdict::Stop(hold)),
        };
        // The configuration was checked: the zone is there.
        let home = TimeZone::get(&self.config.organization.time_zone).unwrap_or(TimeZone::UTC);
        let quiet = entry.quiet_hours.as_ref().and_then(|hours| hours.until(now, &home));
        Ok(quiet.map_or(Verdict::Go, Verdict::Later))
    }

    async fn submit(&self, job: &Job, attempt: u32, provider: &dyn Provider, hands: &Hands) -> Event {
        let (Some(number), Some(packet)) = (&job.number, &job.packet) else {
            return not_sent(Cause::DocumentRefused, None, "the job has no number or no packet");
        };
        let can = provider.capabilities();
        if can.max_pages.is_some_and(|most| packet.pages > most)
            || can.max_bytes.is_some_and(|most| packet.document.bytes > most)
        {
            let sentence = "the packet is larger than this provider takes";
            return not_sent(Cause::DocumentRefused, None, sentence);
        }
        let measured = Measured { bytes: packet.document.bytes, sha256: packet.document.sha256.clone() };
        let document = match self.container(job, packet).await {
            Ok(container) => container.into_stream(measured, Arc::default()).boxed(),
            Err(error) => {
                tracing::error!(job.id = %job.id, error = %error, "job {}: its packet cannot be read: {error}", job.id);
                return not_sent(Cause::DocumentRefused, None, "the sealed packet cannot be read");
            }
        };
        let reference = job::reference(job.id, attempt);
        let webhook_url = self.hooks.as_ref().map(|hooks| hooks.url_for(&job.provider, Some(&reference)));
        let media = self.media.as_ref().filter(|_| can.fetches);
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
            time_zone: &self.config.organization.time_zone,
            keep: &Kept { store: &self.store, job: job.id, attempt },
        };
        let (event, seen, detail) = match provider.submit(order).await {
            Ok(taken) => (Event::Taken { provider_ref: taken.provider_ref }, Seen::Well, String::new()),
            Err(SubmitError::Refused(report)) => {
                (Event::Ended { report, wait: None }, Seen::Well, String::new())
            }
            Err(SubmitError::NotSent { cause, wait, detail }) => {
                tracing::warn!(job.id = %job.id, cause = %cause, "job {} was not sent, {cause}: {detail}", job.id);
                (not_sent(cause, wait, &detail), Seen::Trouble { cause, wait }, detail)
            }
            Err(SubmitError::Unknown { detail }) => {
                tracing::warn!(job.id = %job.id, "job {} is unclear, the provider will be asked: {detail}", job.id);
                (Event::Lost, Seen::Trouble { cause: Cause::Unclear, wait: None }, detail)
            }
        };
        self.note(hands, &job.provider, seen, &detail).await;
        event
    }

    /// The number that faxes over `provider` come from.
    fn caller(&self, provider: &str) -> Option<&str> {
        let own = self.config.provider.get(provider).and_then(|section| section.facts().from);
        own.or(self.config.organization.fax.as_deref())
    }

    /// Reads what is to leave to its end: no Attempt is opened for anything but what its row says.
    async fn measure(&self, job: &Job) -> Result<(), Unreadable> {
        let Some(packet) = &job.packet else { return Ok(()) };
        let measured = self.container(job, packet).await?.measure().await?;
        if measured.bytes == packet.document.bytes && measured.sha256 == packet.document.sha256 {
            return Ok(());
        }
        Err(Unreadable::Another(measured.bytes, packet.document.bytes))
    }

    async fn container(&self, job: &Job, packet: &PacketRow) -> Result<Container, Unreadable> {
        let submission = self.store.submission(job.submission).await?;
        let wrapped = submission.and_then(|s| s.wrapped_key).ok_or(Unreadable::NoKey)?;
        let key = self.spool.vault().unwrap_key(&WrappedKey(wrapped))?;
        let (file, shared) = (&packet.document.name, packet.shared.as_deref());
        Ok(Container::open(&self.spool, &key, file, shared).await?)
    }

    /// Decides and saves; returns the Job as it now is, or `None` where the row had changed or the line was busy.
    async fn apply(&self, job: &Job, event: Event, keep_lease: bool) -> Result<Option<Job>, Trouble> {
        let now = self.clock.now();
        let circumstances = Circumstances::of(&self.store, &self.config, job).await?;
        let pages = job.packet.as_ref().map_or(0, |packet| packet.pages);
        let told = circumstances.attempts.last().and_then(|attempt| attempt.pages_sent);
        let event = whole_or_partly(event, pages, told.and_then(|told| u32::try_from(told).ok()));
        let step = step(&job.state, event, &circumstances.context(now, jitter()))?;
        let state = step.state.clone();
        let saved = if matches!(state, JobState::Sending { .. }) {
            let opening = Opening { two_person: self.config.policy.two_person };
            self.store.save_opening(job, step, opening, now).await?
        } else {
            self.store.save_step(job, step, &Actor::Worker, keep_lease, now).await?
        };
        match saved {
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
            // Looked at anew at once: what came meanwhile is seen then.
            Saved::Overtaken => {
                tracing::info!(job.id = %job.id, "job {} was about to be sent when something forbade it", job.id);
                self.store.release_job(job.id, now).await?;
                self.wake.wake();
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
                self.answered.wake();
            }
            JobState::Held { hold, .. } => {
                tracing::warn!(job.id = %id, job.hold = %hold, "job {id} to ...{tail} is held for a person: {hold}");
                self.answered.wake();
            }
            JobState::Queued { due } => {
                tracing::info!(job.id = %id, due = %due, "job {id} to ...{tail} is tried again at {due}");
            }
            state => tracing::debug!(job.id = %id, "job {id} to ...{tail} is {}", state.as_str()),
        }
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

/// "Delivered" with fewer pages than were submitted is not delivered, whatever the provider calls it. `told` is what a
/// webhook said of pages, for providers that tell it nowhere else.
fn whole_or_partly(event: Event, pages: u32, told: Option<u32>) -> Event {
    let Event::Ended { mut report, wait } = event else { return event };
    report.pages_sent = report.pages_sent.or(told);
    if report.outcome == Outcome::Delivered && report.pages_sent.is_some_and(|sent| sent < pages) {
        report.outcome = Outcome::Retry(Cause::PartlySent);
    }
    Event::Ended { report, wait }
}

fn not_sent(cause: Cause, wait: Option<SignedDuration>, detail: &str) -> Event {
    let report = Report { raw_text: Some(detail.to_owned()), ..Report::bare(Outcome::of(cause)) };
    Event::Ended { report, wait }
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
        let outcome = |event, told| match whole_or_partly(event, 4, told) {
            Event::Ended { report, .. } => (report.outcome, report.pages_sent),
            other => panic!("{other:?}"),
        };
        let partly = Outcome::Retry(Cause::PartlySent);
        assert_eq!(outcome(ended(Some(4)), None), (Outcome::Delivered, Some(4)));
        assert_eq!(outcome(ended(None), None), (Outcome::Delivered, None), "not every provider counts pages");
        assert_eq!(outcome(ended(None), Some(4)), (Outcome::Delivered, Some(4)), "a webhook did");
        assert_eq!(outcome(ended(None), Some(3)), (partly, Some(3)));
        assert_eq!(outcome(ended(Some(3)), Some(4)), (partly, Some(3)));
        assert_eq!(outcome(ended(Some(0)), None), (partly, Some(0)));
    }
}
