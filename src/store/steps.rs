//! How Jobs move: changed only by a step of the state machine, woken by news. Who is next stands in [`super::queue`].

use jiff::Timestamp;
use sqlx::sqlite::SqliteConnection;

use super::jobs::{Job, detail, finish_if_complete};
use super::submissions::Document;
use super::{Store, StoreError, ledger, millis, outbox, queue, recipients};
use crate::job::state::{Effect, Step};
use crate::job::{self, Cause, JobId, JobState, Report};

/// What became of an attempt to save a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Saved {
    /// It stands; the row's new version.
    Done(i64),
    /// The row had changed meanwhile; nothing was saved.
    Stale,
    /// Another Job is calling this number; nothing was saved.
    LineBusy,
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
        actor: &str,
        keep_lease: bool,
        now: Timestamp,
    ) -> Result<Saved, StoreError> {
        let (id, submission, provider) = (job.id, job.submission, job.provider.clone());
        let (version, recipient, number) = (job.version, job.recipient.clone(), job.number.clone());
        let (before, actor) = (job.state.as_str(), actor.to_owned());
        let leaving = job.packet.as_ref().map(|packet| packet.document.clone());
        let saved = self
            .write(move |tx| {
                Box::pin(async move {
                    if !update_state(tx, id, version, &step.state, keep_lease, now).await? {
                        return Ok(Saved::Stale);
                    }
                    if before == "held" {
                        // Whoever lets a Job go on that could not be cancelled in time wants it sent.
                        sqlx::query("UPDATE job SET cancel = NULL WHERE id = $1 AND cancel IS NOT NULL")
                            .bind(id.as_str())
                            .execute(&mut *tx)
                            .await?;
                    }
                    for effect in &step.effects {
                        match effect {
                            Effect::OpenAttempt(n) => {
                                open_attempt(tx, id, *n, &provider, leaving.as_ref(), now).await?;
                            }
                            Effect::CloseAttempt(report) => {
                                close_attempt(tx, id, report, now).await?;
                                recipients::learn_identity(tx, recipient.as_deref(), report).await?;
                            }
                            Effect::SuspendRecipient => {
                                recipients::suspend(
                                    tx,
                                    recipient.as_deref(),
                                    number.as_ref(),
                                    "the number is not in service",
                                    now,
                                )
                                .await?;
                            }
                            Effect::CountVoice => {
                                recipients::count_voice(tx, recipient.as_deref(), number.as_ref(), now)
                                    .await?;
                            }
                            Effect::TellHeld(_) => {
                                outbox::tell_held(tx, submission, id, version + 1, now).await?;
                            }
                            Effect::Called { rest } => {
                                if let Some(number) = &number {
                                    queue::called(tx, number.as_str(), *rest).await?;
                                }
                            }
                            Effect::Switch(to) => {
                                queue::switch(tx, id, submission, &provider, to, now).await?;
                            }
                            Effect::Extend(until) => extend(tx, id, *until).await?,
                            Effect::Finished => {}
                        }
                    }
                    if let JobState::InTransit { provider_ref, attempt, .. } = &step.state {
                        note_provider_ref(tx, id, *attempt, provider_ref).await?;
                    }
                    if before != step.state.as_str() {
                        let detail = format!("{before} -> {}", step.state.as_str());
                        let entry =
                            ledger::Entry::new(&actor, "state").detail(detail).submission(submission).job(id);
                        ledger::write(tx, now, entry).await?;
                    }
                    if let (Some(number), None) = (&number, step.state.open_attempt()) {
                        queue::unpark(tx, number.as_str()).await?;
                    }
                    if step.state.is_final() {
                        finish_if_complete(tx, submission, now).await?;
                    }
                    Ok(Saved::Done(version + 1))
                })
            })
            .await;
        match saved {
            Err(error) if error.is_unique_violation() => Ok(Saved::LineBusy),
            saved => saved,
        }
    }

    /// A webhook said that there is news of the Attempt with `reference` or `provider_ref`: its Job is looked at now.
    /// Returns the Job, or `None` if no open one is meant. What a signed webhook told (`told`) of pages and the like is kept:
    /// some providers tell it nowhere else.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn note_news(
        &self,
        provider: &str,
        reference: Option<&str>,
        provider_ref: Option<&str>,
        told: Option<Report>,
        now: Timestamp,
    ) -> Result<Option<JobId>, StoreError> {
        // Only an Attempt with this very provider: another's webhook has no say.
        let known: Option<(String, i64)> = match (reference, provider_ref) {
            (Some(reference), _) => {
                sqlx::query_as("SELECT job_id, n FROM attempt WHERE reference = $2 AND provider = $1")
                    .bind(provider)
                    .bind(reference)
                    .fetch_optional(self.readers())
                    .await?
            }
            (None, Some(provider_ref)) => {
                sqlx::query_as(
                    "SELECT job_id, n FROM attempt WHERE provider = $1 AND provider_ref = $2 LIMIT 1",
                )
                .bind(provider)
                .bind(provider_ref)
                .fetch_optional(self.readers())
                .await?
            }
            (None, None) => None,
        };
        let Some((id, n)) = known else { return Ok(None) };
        let id: JobId = id.parse().map_err(|e| StoreError::unreadable("attempt.job_id", e))?;
        self.write(move |tx| {
            Box::pin(async move {
                if let Some(told) = told {
                    keep_told(tx, id, n, &told).await?;
                }
                // A Job whose request is still under way must not be looked at by another worker: only the time is noted,
                // and the answer then finds it.
                let done = sqlx::query(
                    "UPDATE job SET news_at = $1, wake_at = CASE WHEN state IN ('in_transit', 'unclear') \
                     AND wake_at > $1 THEN $1 ELSE wake_at END WHERE id = $2 AND wake_at IS NOT NULL",
                )
                .bind(millis(now))
                .bind(id.as_str())
                .execute(&mut *tx)
                .await?;
                Ok((done.rows_affected() > 0).then_some(id))
            })
        })
        .await
    }
}

async fn update_state(
    tx: &mut SqliteConnection,
    id: JobId,
    version: i64,
    state: &JobState,
    keep_lease: bool,
    now: Timestamp,
) -> Result<bool, StoreError> {
    // News that came while the request was under way is looked at as soon as its answer is recorded.
    let done = sqlx::query(
        "UPDATE job SET state = $1, detail = $2, version = version + 1, \
         wake_at = CASE WHEN $1 = 'in_transit' AND news_at IS NOT NULL THEN $3 ELSE $4 END, news_at = NULL, parked = 0, \
         final_at = CASE WHEN $5 = 1 THEN $3 ELSE NULL END, \
         lease_by = CASE WHEN $6 = 1 THEN lease_by ELSE NULL END, \
         lease_until = CASE WHEN $6 = 1 THEN lease_until ELSE NULL END \
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
    .execute(&mut *tx)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// What only a webhook tells, where nothing better is known yet.
async fn keep_told(tx: &mut SqliteConnection, id: JobId, n: i64, told: &Report) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE attempt SET pages_sent = COALESCE(pages_sent, $1), seconds = COALESCE(seconds, $2), \
         remote_id = COALESCE(remote_id, $3) WHERE job_id = $4 AND n = $5",
    )
    .bind(told.pages_sent.map(i64::from))
    .bind(told.seconds.map(i64::from))
    .bind(&told.remote_id)
    .bind(id.as_str())
    .bind(n)
    .execute(&mut *tx)
    .await?;
    Ok(())
}

async fn extend(tx: &mut SqliteConnection, id: JobId, until: Timestamp) -> Result<(), StoreError> {
    sqlx::query("UPDATE job SET deadline = $1 WHERE id = $2 AND deadline < $1")
        .bind(millis(until))
        .bind(id.as_str())
        .execute(&mut *tx)
        .await?;
    Ok(())
}

async fn open_attempt(
    tx: &mut SqliteConnection,
    id: JobId,
    n: u32,
    provider: &str,
    leaving: Option<&Document>,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO attempt (job_id, n, reference, provider, started_at, bytes, sha256) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(id.as_str())
    .bind(i64::from(n))
    .bind(job::reference(id, n))
    .bind(provider)
    .bind(millis(now))
    .bind(leaving.map(|document| document.bytes.cast_signed()))
    .bind(leaving.map(|document| document.sha256.as_str()))
    .execute(&mut *tx)
    .await?;
    Ok(())
}

async fn close_attempt(
    tx: &mut SqliteConnection,
    id: JobId,
    report: &Report,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE attempt SET ended_at = $1, outcome = $2, cause = $3, pages_sent = COALESCE($4, pages_sent), \
         remote_id = COALESCE($5, remote_id), seconds = COALESCE($6, seconds), raw_code = $7, raw_text = $8 \
         WHERE job_id = $9 AND ended_at IS NULL",
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
    .execute(&mut *tx)
    .await?;
    Ok(())
}

async fn note_provider_ref(
    tx: &mut SqliteConnection,
    id: JobId,
    attempt: u32,
    provider_ref: &str,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE attempt SET provider_ref = $1 WHERE job_id = $2 AND n = $3 AND provider_ref IS NULL")
        .bind(provider_ref)
        .bind(id.as_str())
        .bind(i64::from(attempt))
        .execute(&mut *tx)
        .await?;
    Ok(())
}
