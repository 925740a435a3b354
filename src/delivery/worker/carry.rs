//! One Job, one step further: sent, cancelled or let expire. What follows is decided in [`crate::decide`]. How a provider is asked stands in [`super::ask`].

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::Worker;
use super::hands::Hands;
use crate::crash::reached;
use crate::decide::circumstances::Circumstances;
use crate::decide::{self, Changed, Decider, No, Wish};
use crate::delivery::health::Seen;
use crate::delivery::{Keep, Order, Provider, SubmitError};
use crate::job::state::Event;
use crate::job::{self, Actor, Cause, Hold, JobId, JobState, Outcome, Report};
use crate::packet::{Container, Measured};
use crate::policy::{self, Carrier, Evidence, Moment, Recipient, Seal, Verdict};
use crate::sealed::JobFacts;
use crate::spool::SpoolError;
use crate::store::{Job, PacketRow, Store, StoreError};
use crate::vault::{SealKey, VaultError, WrappedKey};

/// Why a Job could not be carried on; it is tried again when its lease is over.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Decide(#[from] decide::Trouble),
    #[error("{0}")]
    Impossible(job::state::Impossible),
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

impl Worker {
    pub(super) async fn carry_on(&self, job: Job, hands: &Hands) {
        let id = job.id;
        let result = match &job.state {
            JobState::Queued { .. } => self.send(job, hands).await,
            // Its lease ran out in mid-request: whoever opened the Attempt is dead, and its answer lost.
            JobState::Sending { .. } => self.apply(&job, Event::Lost).await.map(|_| ()),
            JobState::InTransit { attempt, provider_ref, .. } => {
                let event = self.inquire(&job, *attempt, Some(provider_ref), hands).await;
                reached("outcome.received");
                let saved = self.apply(&job, event).await.map(|_| ());
                reached("outcome.recorded");
                saved
            }
            JobState::Unclear { attempt, provider_ref, .. } => {
                // "Still going" is no news here: that it went on for too long is why it is Unclear. Taken for a new beginning,
                // it would go round for ever.
                let event = self.inquire(&job, *attempt, provider_ref.as_deref(), hands).await;
                self.apply(&job, event).await.map(|_| ())
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
            match self.apply(job, Event::Told { attempt, report }).await {
                // It answers another question than the one that the Job is held for.
                Err(Trouble::Impossible(_)) => {}
                done => return done.map(|_| ()),
            }
        }
        if self.clock.now() >= until {
            return self.apply(job, Event::Deadline).await.map(|_| ());
        }
        Ok(self.store.release_job(job.id, until).await?)
    }

    /// Sends a queued Job, where policy lets it: packet read back, Attempt committed, request.
    async fn send(&self, job: Job, hands: &Hands) -> Result<(), Trouble> {
        let circumstances = Circumstances::of(&self.store, &self.config, &job).await?;
        let attempt = u32::try_from(circumstances.attempts.len()).unwrap_or(u32::MAX - 1) + 1;
        let (verdict, evidence) = self.may_be_sent(&job, &circumstances).await?;
        let event = match (verdict, circumstances.told_late()) {
            (Verdict::Send, _) => return self.open_and_submit(&job, attempt, evidence, hands).await,
            (Verdict::Follow, Some((attempt, report))) => Event::Told { attempt, report },
            (Verdict::Follow, None) => return Ok(()),
            (Verdict::Over, _) => Event::Deadline,
            (Verdict::Cancelled, _) => Event::Cancel,
            (Verdict::Hold(hold), _) => Event::Hold(hold),
            (Verdict::Later(until), _) => Event::Postponed(until),
            (Verdict::Elsewhere(other), _) if self.moves_on(&job, &other).await? => return Ok(()),
            (Verdict::Elsewhere(_), _) => Event::Hold(Hold::Account),
            (Verdict::AskFirst, _) => {
                tracing::warn!(job.id = %job.id, "job {} may have been sent before the database was copied back: {} is asked first", job.id, job.provider);
                Event::Forgotten { attempt }
            }
        };
        if event == Event::Hold(Hold::Account) {
            tracing::error!(job.id = %job.id, "job {} names the provider {:?}, which is not configured", job.id, job.provider);
        }
        self.apply(&job, event).await.map(|_| ())
    }

    async fn open_and_submit(
        &self,
        job: &Job,
        attempt: u32,
        evidence: Evidence,
        hands: &Hands,
    ) -> Result<(), Trouble> {
        let Some(provider) = self.providers.get(&job.provider) else { return Ok(()) };
        let wish = Wish::Send { attempt, evidence: Box::new(evidence) };
        let Some(job) = self.wish(job, wish).await? else { return Ok(()) };
        if !matches!(job.state, JobState::Sending { .. }) {
            return Ok(());
        }
        reached("attempt.committed");
        let event = self.submit(&job, attempt, provider.as_ref(), hands).await;
        reached("request.sent");
        self.apply(&job, event).await?;
        reached("answer.recorded");
        Ok(())
    }

    /// Policy's verdict on a queued Job: first on what costs nothing to look at, then on its pages too.
    async fn may_be_sent(
        &self,
        job: &Job,
        circumstances: &Circumstances,
    ) -> Result<(Verdict, Evidence), Trouble> {
        let now = self.clock.now();
        let entries = match &job.number {
            Some(number) => self.store.recipients_with_number(number).await?,
            None => Vec::new(),
        };
        let (key, two_person) = (job.recipient.as_deref(), self.config.policy.two_person);
        let recipient = Recipient::look(&entries, key, job.number.as_ref(), two_person, now);
        // The configuration was checked: the zone is there.
        let home = TimeZone::get(&self.config.organization.time_zone).unwrap_or(TimeZone::UTC);
        let entry = entries.iter().find(|entry| Some(entry.key.as_str()) == key);
        let hours = entry.and_then(|entry| entry.quiet_hours.as_ref());
        let mut moment = Moment {
            told: circumstances.told_late().is_some(),
            cancel: job.cancel.is_some(),
            quiet_until: hours.and_then(|hours| hours.until(now, &home)),
            carrier: self.carrier(job),
            ..Moment::plain(now, job.deadline)
        };
        let pages = job.packet.as_ref().map(PacketRow::count);
        let evidence = Evidence::again(None, recipient, pages, now);
        let verdict = policy::verdict(&evidence, &moment);
        if verdict != Verdict::Send {
            return Ok((verdict, evidence));
        }
        moment.forgotten = self.is_forgotten(job, circumstances).await?;
        let (prepared, seal) = match self.read_back(job).await {
            Ok(prepared) => (prepared, Seal::AsPrepared),
            Err(error) => {
                tracing::error!(job.id = %job.id, error = %error, "job {} is not sent, its packet cannot be read: {error}", job.id);
                (None, if error.is_for_now() { Seal::NotNow } else { Seal::Broken })
            }
        };
        let again = Evidence::again(prepared, evidence.recipient, pages, now);
        let evidence = Evidence { seal: Some(seal), ..again };
        Ok((policy::verdict(&evidence, &moment), evidence))
    }

    /// Who can send it, by the configuration.
    fn carrier(&self, job: &Job) -> Carrier {
        if self.providers.contains_key(&job.provider) {
            return Carrier::Here;
        }
        let other = job.route.iter().find(|name| self.providers.contains_key(*name));
        other.map_or(Carrier::Nowhere, |name| Carrier::There(name.clone()))
    }

    /// A Job whose provider is no longer configured goes to `other`, if it certainly was sent by none.
    async fn moves_on(&self, job: &Job, other: &str) -> Result<bool, StoreError> {
        let moves = self.store.move_on(job, other, self.clock.now()).await?;
        if moves {
            let (id, gone) = (job.id, &job.provider);
            tracing::warn!(job.id = %id, "job {id} goes to {other}, since {gone} is configured no more");
            self.wake.wake();
        }
        Ok(moves)
    }

    /// Whether the next Attempt may have been made already, before the database was copied back.
    async fn is_forgotten(&self, job: &Job, circumstances: &Circumstances) -> Result<bool, StoreError> {
        let Some(restored) = self.store.restored_at().await? else { return Ok(false) };
        let submission = self.store.submission(job.submission).await?;
        let accepted = submission.map_or(job.made_at, |submission| submission.accepted_at);
        Ok(circumstances.is_forgotten(restored, accepted))
    }

    async fn submit(&self, job: &Job, attempt: u32, provider: &dyn Provider, hands: &Hands) -> Event {
        let (Some(number), Some(packet)) = (&job.number, &job.packet) else {
            return not_sent(Cause::DocumentRefused, None, "the job has no number or no packet");
        };
        let can = provider.capabilities();
        if !policy::fits(packet.pages, packet.document.bytes, can.max_pages, can.max_bytes) {
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

    /// Reads what is to leave to its end: no Attempt is opened for anything but what its row says. Returns what was examined when it
    /// was prepared.
    async fn read_back(&self, job: &Job) -> Result<Option<Evidence>, Unreadable> {
        let Some(packet) = &job.packet else { return Ok(None) };
        let measured = self.container(job, packet).await?.measure().await?;
        if measured.bytes != packet.document.bytes || measured.sha256 != packet.document.sha256 {
            return Err(Unreadable::Another(measured.bytes, packet.document.bytes));
        }
        let facts = JobFacts::open(&self.key(job).await?, &job.facts);
        Ok(facts.ok().and_then(|facts| facts.evidence))
    }

    async fn container(&self, job: &Job, packet: &PacketRow) -> Result<Container, Unreadable> {
        let key = self.key(job).await?;
        let (file, shared) = (&packet.document.name, packet.shared.as_deref());
        Ok(Container::open(&self.spool, &key, file, shared).await?)
    }

    async fn key(&self, job: &Job) -> Result<SealKey, Unreadable> {
        let submission = self.store.submission(job.submission).await?;
        let wrapped = submission.and_then(|s| s.wrapped_key).ok_or(Unreadable::NoKey)?;
        Ok(self.spool.vault().unwrap_key(&WrappedKey(wrapped))?)
    }

    /// What happened to a Job, followed.
    async fn apply(&self, job: &Job, event: Event) -> Result<Option<Job>, Trouble> {
        self.wish(job, Wish::Follow(event)).await
    }

    /// Decides and saves; returns the Job as it now is, or `None` where the row had changed or the line was busy.
    async fn wish(&self, job: &Job, wish: Wish) -> Result<Option<Job>, Trouble> {
        let now = self.clock.now();
        let decider = Decider { store: &self.store, config: &self.config };
        match decider.decide_once(job, wish, &Actor::Worker, now).await? {
            Changed::Saved(job) => {
                self.report(&job);
                Ok(Some(*job))
            }
            Changed::LineBusy => {
                let again = now.saturating_add(SignedDuration::from_secs(1)).unwrap_or(now);
                self.store.release_job(job.id, again).await?;
                Ok(None)
            }
            // Looked at anew at once: what came meanwhile is seen then.
            Changed::Overtaken => {
                tracing::info!(job.id = %job.id, "job {} was about to be sent when something forbade it", job.id);
                self.store.release_job(job.id, now).await?;
                self.wake.wake();
                Ok(None)
            }
            Changed::Not(No::Impossible(impossible)) => Err(Trouble::Impossible(impossible)),
            Changed::Stale | Changed::Not(_) | Changed::Asked | Changed::Anew => {
                tracing::info!(job.id = %job.id, "job {} was changed by someone else meanwhile", job.id);
                Ok(None)
            }
        }
    }

    fn report(&self, job: &Job) {
        let (id, state) = (job.id, &job.state);
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

fn not_sent(cause: Cause, wait: Option<SignedDuration>, detail: &str) -> Event {
    let report = Report { raw_text: Some(detail.to_owned()), ..Report::bare(Outcome::of(cause)) };
    Event::Ended { report, wait }
}
