//! How Jobs move: changed only by a step of the state machine. Who is next stands in [`super::queue`], what providers tell by
//! themselves in [`super::news`].

use jiff::Timestamp;

use super::jobs::{Job, detail, finish_if_complete};
use super::ledger::LedgerEvent;
use super::sql::{self, Connection};
use super::submissions::Document;
use super::{Store, StoreError, fax_marks, ledger, millis, origin, outbox, queue, recipients};
use crate::job::state::{Effect, Step};
use crate::job::{self, Actor, Cause, FaxNumber, JobId, JobState, Report, StateWord, SubmissionId};
use crate::register;

/// What became of an attempt to save a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Saved {
    /// It stands; the row's new version.
    Done(i64),
    /// The row had changed meanwhile; nothing was saved.
    Stale,
    /// Another Job is calling this number; nothing was saved.
    LineBusy,
    /// Something that forbids the call was committed after it was looked for; nothing was saved.
    Overtaken,
}

/// What must still hold in the very transaction that opens an Attempt.
#[derive(Debug, Clone, Copy)]
pub struct Opening {
    /// Whether two persons must have verified a number (`policy.two_person`).
    pub two_person: bool,
}

impl Store {
    /// Saves `step` where the row still has `job`'s version, with everything that follows from it. `keep_lease` is for the
    /// worker that goes on with the Job at once.
    ///
    /// # Errors
    /// Where the database fails; then nothing is saved.
    pub async fn save_step(
        &self,
        job: &Job,
        step: Step,
        actor: &Actor,
        keep_lease: bool,
        now: Timestamp,
    ) -> Result<Saved, StoreError> {
        self.save(job, step, actor, keep_lease, None, now).await
    }

    /// Saves the step that opens an Attempt from which a call follows, where nothing that was committed meanwhile forbids it: the
    /// register, a wish to cancel, news of an earlier Attempt. The lease stays.
    ///
    /// # Errors
    /// Where the database fails; then nothing is saved.
    pub async fn save_opening(
        &self,
        job: &Job,
        step: Step,
        opening: Opening,
        now: Timestamp,
    ) -> Result<Saved, StoreError> {
        self.save(job, step, &Actor::Worker, true, Some(opening), now).await
    }

    async fn save(
        &self,
        job: &Job,
        step: Step,
        actor: &Actor,
        keep_lease: bool,
        opening: Option<Opening>,
        now: Timestamp,
    ) -> Result<Saved, StoreError> {
        let change = Change {
            id: job.id,
            submission: job.submission,
            version: job.version,
            before: job.state.word(),
            provider: job.provider.clone(),
            recipient: job.recipient.clone(),
            number: job.number.clone(),
            leaving: job.packet.as_ref().map(|packet| packet.document.clone()),
            actor: actor.clone(),
            keep_lease,
            now,
        };
        let opens = step.effects.iter().any(|effect| matches!(effect, Effect::OpenAttempt(_)));
        let saved = self
            .write(move |tx| {
                Box::pin(async move {
                    if let Some(opening) = opening
                        && !may_open(tx, &change, opening).await?
                    {
                        return Ok((Saved::Overtaken, None));
                    }
                    let saved = change.save(tx, &step).await?;
                    let opened = match saved {
                        Saved::Done(_) if opens => Some(origin::count_attempt(tx).await?),
                        _ => None,
                    };
                    Ok((saved, opened))
                })
            })
            .await;
        match saved {
            Err(error) if error.is_unique_violation() => Ok(Saved::LineBusy),
            Err(error) => Err(error),
            Ok((saved, opened)) => {
                if let Some(attempts) = opened {
                    self.origin.note(attempts);
                }
                Ok(saved)
            }
        }
    }
}

/// A step of one Job on its way to the disk.
struct Change {
    id: JobId,
    submission: SubmissionId,
    version: i64,
    /// The state before it.
    before: StateWord,
    provider: String,
    recipient: Option<String>,
    number: Option<FaxNumber>,
    /// What leaves with an Attempt.
    leaving: Option<Document>,
    actor: Actor,
    keep_lease: bool,
    now: Timestamp,
}

impl Change {
    async fn save(&self, tx: &mut Connection, step: &Step) -> Result<Saved, StoreError> {
        let Change { id, submission, version, before, now, .. } = *self;
        if !update_state(tx, id, version, &step.state, self.keep_lease, now).await? {
            return Ok(Saved::Stale);
        }
        if before == StateWord::Held {
            // Whoever lets a Job go on that could not be cancelled in time wants it sent.
            sql::query("UPDATE job SET cancel = NULL WHERE id = $1 AND cancel IS NOT NULL")
                .bind(id.as_str())
                .execute(&mut *tx)
                .await?;
            if matches!(step.state, JobState::Queued { .. }) {
                fax_marks::trust(tx, (id, submission)).await?;
            }
        }
        for effect in &step.effects {
            self.carry_out(tx, effect, &step.state).await?;
        }
        if let JobState::InTransit { provider_ref, attempt, .. } = &step.state {
            note_provider_ref(tx, id, *attempt, provider_ref).await?;
        }
        let to = step.state.word();
        if before != to {
            let event = LedgerEvent::State { from: before, to };
            let entry = ledger::Entry::new(&self.actor, &event).submission(submission).job(id);
            ledger::write(tx, now, entry);
        }
        if let (Some(number), None) = (&self.number, step.state.open_attempt()) {
            queue::unpark(tx, number.as_str()).await?;
        }
        Ok(Saved::Done(version + 1))
    }

    async fn carry_out(
        &self,
        tx: &mut Connection,
        effect: &Effect,
        state: &JobState,
    ) -> Result<(), StoreError> {
        let Change { id, submission, version, now, .. } = *self;
        let (recipient, number) = (self.recipient.as_deref(), self.number.as_ref());
        match effect {
            Effect::OpenAttempt(n) => {
                // Unclear from the start: it was perhaps made before the database was copied back.
                let asked_first = matches!(state, JobState::Unclear { .. });
                open_attempt(tx, id, *n, &self.provider, self.leaving.as_ref(), asked_first, now).await
            }
            Effect::CloseAttempt(report) => {
                record_outcome(tx, id, None, report, now).await?;
                recipients::learn_identity(tx, recipient, report).await
            }
            Effect::CorrectAttempt(n, report) => {
                record_outcome(tx, id, Some(i64::from(*n)), report, now).await?;
                recipients::learn_identity(tx, recipient, report).await
            }
            Effect::SuspendRecipient => {
                recipients::suspend(tx, recipient, number, "the number is not in service", now).await
            }
            Effect::CountVoice => recipients::count_voice(tx, recipient, number, now).await,
            Effect::TellHeld(_) => outbox::tell_held(tx, submission, id, version + 1, now).await,
            Effect::Called { rest } => match number {
                Some(number) => queue::called(tx, number.as_str(), *rest).await,
                None => Ok(()),
            },
            Effect::Switch(to) => queue::switch(tx, id, submission, &self.provider, to, now).await,
            Effect::Extend(until) => extend(tx, id, *until).await,
            Effect::Finished => finish_if_complete(tx, submission, now).await,
            Effect::Stated => note_stated(tx, id).await,
        }
    }
}

/// Whether nothing was committed that forbids the call: since it was looked for, the register may have changed, somebody may
/// want the Job cancelled, and a provider may have told what became of an earlier Attempt.
async fn may_open(tx: &mut Connection, change: &Change, opening: Opening) -> Result<bool, StoreError> {
    let (Some(key), Some(number)) = (&change.recipient, &change.number) else { return Ok(false) };
    let wishes: i64 = sql::query(
        "SELECT (SELECT COUNT(*) FROM job WHERE id = $1 AND cancel IS NOT NULL) \
         + (SELECT COUNT(*) FROM attempt WHERE job_id = $1 AND told IS NOT NULL)",
    )
    .bind(change.id.as_str())
    .scalar(&mut *tx)
    .await?;
    if wishes > 0 {
        return Ok(false);
    }
    let entries = recipients::with_number(tx, number).await?;
    Ok(register::stands_behind(&entries, key, number, opening.two_person, change.now).is_ok())
}

async fn update_state(
    tx: &mut Connection,
    id: JobId,
    version: i64,
    state: &JobState,
    keep_lease: bool,
    now: Timestamp,
) -> Result<bool, StoreError> {
    // News that came while the request was under way is looked at as soon as its answer is recorded.
    let done = sql::query(
        "UPDATE job SET state = $1, detail = $2, version = version + 1, \
         wake_at = CASE WHEN $1 = 'in_transit' AND news_at IS NOT NULL THEN CAST($3 AS BIGINT) ELSE $4 END, news_at = NULL, parked = 0, \
         final_at = CASE WHEN $5 = 1 THEN $3 ELSE NULL END, \
         lease_by = CASE WHEN $6 = 1 THEN lease_by ELSE NULL END, \
         lease_until = CASE WHEN $6 = 1 THEN lease_until ELSE NULL END, \
         as_made = CASE WHEN $9 = 1 THEN as_made ELSE 0 END \
         WHERE id = $7 AND version = $8",
    )
    .bind(state.as_str())
    .bind(detail(state)?)
    .bind(millis(now))
    .bind(state.wake_at().map(millis))
    .bind(i64::from(state.is_final()))
    .bind(i64::from(keep_lease))
    .bind(id.as_str())
    .bind(version)
    .bind(i64::from(matches!(state, JobState::Failed { cause: Cause::Expired })))
    .execute(&mut *tx)
    .await?;
    Ok(done > 0)
}

async fn extend(tx: &mut Connection, id: JobId, until: Timestamp) -> Result<(), StoreError> {
    sql::query("UPDATE job SET deadline = $1 WHERE id = $2 AND deadline < $1")
        .bind(millis(until))
        .bind(id.as_str())
        .execute(&mut *tx)
        .await?;
    Ok(())
}

async fn open_attempt(
    tx: &mut Connection,
    id: JobId,
    n: u32,
    provider: &str,
    leaving: Option<&Document>,
    asked_first: bool,
    now: Timestamp,
) -> Result<(), StoreError> {
    sql::query(
        "INSERT INTO attempt (job_id, n, reference, provider, started_at, bytes, sha256, asked_first) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(id.as_str())
    .bind(i64::from(n))
    .bind(job::reference(id, n))
    .bind(provider)
    .bind(millis(now))
    .bind(leaving.map(|document| document.bytes.cast_signed()))
    .bind(leaving.map(|document| document.sha256.as_str()))
    .bind(i64::from(asked_first))
    .execute(&mut *tx)
    .await?;
    Ok(())
}

/// What an Attempt came to: the open one, or number `n`, which was closed before. What a webhook told of it is followed then.
pub(super) async fn record_outcome(
    tx: &mut Connection,
    id: JobId,
    n: Option<i64>,
    report: &Report,
    now: Timestamp,
) -> Result<(), StoreError> {
    sql::query(
        "UPDATE attempt SET ended_at = $1, outcome = $2, cause = $3, pages_sent = COALESCE($4, pages_sent), \
         remote_id = COALESCE($5, remote_id), seconds = COALESCE($6, seconds), raw_code = $7, raw_text = $8, \
         told = NULL WHERE job_id = $9 AND (n = $10 OR ($10 IS NULL AND ended_at IS NULL))",
    )
    .bind(millis(now))
    .bind(report.outcome.as_str())
    .bind(report.outcome.cause().map(Cause::as_str))
    .bind(report.pages_sent.map(i64::from))
    .bind(&report.remote_id)
    .bind(report.seconds.map(i64::from))
    .bind(&report.raw_code)
    .bind(&report.raw_text)
    .bind(id.as_str())
    .bind(n)
    .execute(&mut *tx)
    .await?;
    Ok(())
}

/// A person said what the last Attempt came to.
async fn note_stated(tx: &mut Connection, id: JobId) -> Result<(), StoreError> {
    sql::query(
        "UPDATE attempt SET stated = 1 WHERE job_id = $1 \
         AND n = (SELECT MAX(last.n) FROM attempt AS last WHERE last.job_id = $1)",
    )
    .bind(id.as_str())
    .execute(&mut *tx)
    .await?;
    Ok(())
}

async fn note_provider_ref(
    tx: &mut Connection,
    id: JobId,
    attempt: u32,
    provider_ref: &str,
) -> Result<(), StoreError> {
    sql::query("UPDATE attempt SET provider_ref = $1 WHERE job_id = $2 AND n = $3 AND provider_ref IS NULL")
        .bind(provider_ref)
        .bind(id.as_str())
        .bind(i64::from(attempt))
        .execute(&mut *tx)
        .await?;
    Ok(())
}
