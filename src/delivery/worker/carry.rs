//! One Job, one step further: sent, asked about, cancelled or let expire.

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
use crate::delivery::{AskError, Cancelled, Keep, Order, Provider, Search, Sought, Status, SubmitError};
use crate::job::state::{Event, step};
use crate::job::{self, Cause, Hold, JobId, JobState, Outcome, Report};
use crate::packet::{Container, Measured};
use crate::register::{self, EntryState};
use crate::spool::{SpoolError, WrappedKey};
use crate::store::{CancelWish, Job, PacketRow, Saved, Store, StoreError};

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
            JobState::InTransit { provider_ref, .. } => {
                let event = self.ask(&job, provider_ref, hands).await;
                reached("outcome.received");
                let saved = self.apply(&job, event, false).await.map(|_| ());
                reached("outcome.recorded");
                saved
            }
            JobState::Unclear { attempt, provider_ref, .. } => {
                let event = match provider_ref {
                    // "Still going" is no news here: that it went on for too long is why it is Unclear. Taken for a new
                    // beginning, it would go round for ever.
                    Some(provider_ref) => self.ask(&job, provider_ref, hands).await,
                    None => self.find_out(&job, *attempt).await,
                };
                self.apply(&job, event, false).await.map(|_| ())
            }
            JobState::Held { .. } => self.apply(&job, Event::Deadline, false).await.map(|_| ()),
            JobState::Delivered | JobState::Failed { .. } | JobState::Cancelled => Ok(()),
        };
        if let Err(error) = result {
            tracing::error!(job.id = %id, error = %error, "job {id} could not be carried on: {error}");
        }
    }

    /// Sends a queued Job: last look at the register, packet measured, Attempt committed, request.
    async fn send(&self, job: Job, hands: &Hands) -> Result<(), Trouble> {
        let now = self.clock.now();
        let stop = if now >= job.deadline {
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
        let Some(provider) = self.providers.get(&job.provider) else {
            tracing::error!(job.id = %job.id, "job {} names the provider {:?}, which is not configured", job.id, job.provider);
            return self.apply(&job, Event::Hold(Hold::Account), false).await.map(|_| ());
        };
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
        let attempt = u32::try_from(self.store.attempts(job.id).await?.len()).unwrap_or(u32::MAX - 1) + 1;
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

    /// Whether the register still stands behind this Job, at this moment.
    async fn look(&self, job: &Job, now: Timestamp) -> Result<Verdict, StoreError> {
        let (Some(key), Some(number)) = (&job.recipient, &job.number) else {
            return Ok(Verdict::Stop(Hold::Unverified));
        };
        if job.packet.is_none() {
            return Ok(Verdict::Stop(Hold::Part));
        }
        let entries = self.store.recipients_with_number(number).await?;
        if entries.iter().any(|entry| entry.state == EntryState::Suspended) {
            return Ok(Verdict::Stop(Hold::Suspended));
        }
        let Some(entry) = entries.iter().find(|entry| entry.key == *key) else {
            return Ok(Verdict::Stop(Hold::Unverified));
        };
        if let Some(hold) = register::why_not(entry, number, self.config.policy.two_person, now) {
            return Ok(Verdict::Stop(hold));
        }
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
        let own = self.config.provider.get(provider).and_then(|section| section.from.as_deref());
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
        let key = self.spool.unwrap_key(&WrappedKey(wrapped))?;
        let (file, shared) = (&packet.document.name, packet.shared.as_deref());
        Ok(Container::open(&self.spool, &key, file, shared).await?)
    }

    /// Tells the provider of a wish to cancel, then asks how the fax stands.
    async fn ask(&self, job: &Job, provider_ref: &str, hands: &Hands) -> Event {
        let Some(provider) = self.providers.get(&job.provider) else { return Event::NoAnswer };
        match self.store.cancel_wish(job.id).await {
            Ok(Some(CancelWish::Wished)) => {
                if let Some(event) = self.cancel(job, provider.as_ref(), provider_ref).await {
                    return event;
                }
            }
            Ok(_) => {}
            Err(error) => {
                tracing::error!(job.id = %job.id, error = %error, "job {}: {error}", job.id);
                return Event::NoAnswer;
            }
        }
        match provider.status(provider_ref).await {
            Ok(Status::Working) => Event::StillGoing,
            Ok(Status::Ended(report)) => {
                if report.outcome.cause() == Some(Cause::AccountTrouble) {
                    let seen = Seen::Trouble { cause: Cause::AccountTrouble, wait: None };
                    self.note(hands, &job.provider, seen, report.raw_code.as_deref().unwrap_or("no balance"))
                        .await;
                }
                Event::Ended { report, wait: None }
            }
            Ok(Status::NotThere) => Event::NotThere,
            Err(error) => {
                if let AskError::Account { detail } = &error {
                    let seen = Seen::Trouble { cause: Cause::AccountTrouble, wait: None };
                    self.note(hands, &job.provider, seen, detail).await;
                }
                no_answer(job, &error)
            }
        }
    }

    /// Passes on a person's wish to cancel, and records what the provider made of it. What follows from it at once, if
    /// anything does; else the fax is asked about as ever, and what became of it is the truth.
    async fn cancel(&self, job: &Job, provider: &dyn Provider, provider_ref: &str) -> Option<Event> {
        let answer = match provider.cancel(provider_ref).await {
            Err(AskError::Unsupported) => CancelWish::Cannot,
            Ok(Cancelled::Stopped) => CancelWish::Stopped,
            Ok(Cancelled::Asked) => CancelWish::Asked,
            Ok(Cancelled::TooLate) => CancelWish::TooLate,
            Ok(Cancelled::NotThere) => CancelWish::NotThere,
            Err(error) => {
                // The wish stays and is passed on again at the next look; how the fax stands is asked all the same.
                tracing::warn!(job.id = %job.id, error = %error, "job {} could not be cancelled yet: {error}", job.id);
                return None;
            }
        };
        if let Err(error) = self.store.answer_cancel(job.id, answer, self.clock.now()).await {
            tracing::error!(job.id = %job.id, error = %error, "job {}: {error}", job.id);
            return Some(Event::NoAnswer);
        }
        tracing::info!(job.id = %job.id, "job {}: {} says to the wish to cancel: {answer}", job.id, provider.name());
        (answer == CancelWish::Stopped).then(|| {
            let raw_text = Some("cancelled before it was sent".to_owned());
            let report =
                Report { raw_text, pages_sent: Some(0), ..Report::bare(Outcome::of(Cause::Cancelled)) };
            Event::Ended { report, wait: None }
        })
    }

    /// Asks by our reference about an Unclear Job of which no answer ever named the fax.
    async fn find_out(&self, job: &Job, attempt: u32) -> Event {
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
        let circumstances = Circumstances::of(&self.store, &self.config, job).await?;
        let pages = job.packet.as_ref().map_or(0, |packet| packet.pages);
        let told = circumstances.attempts.last().and_then(|attempt| attempt.pages_sent);
        let event = whole_or_partly(event, pages, told.and_then(|told| u32::try_from(told).ok()));
        let step = step(&job.state, event, &circumstances.context(now, jitter()))?;
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
