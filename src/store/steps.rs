//! How Jobs move: claimed by workers under leases, changed only by a step of the state machine, woken by news.

use std::collections::HashSet;

use jiff::Timestamp;
use sqlx::sqlite::SqliteConnection;

use super::jobs::{Job, Row, detail, finish_if_complete};
use super::{Store, StoreError, ledger, millis, outbox, recipients, timestamp};
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
    /// Leases up to `limit` Jobs whose time has come, at most one per number.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn claim_due_jobs(
        &self,
        now: Timestamp,
        lease_until: Timestamp,
        limit: u32,
    ) -> Result<Vec<Job>, StoreError> {
        let node = self.node.clone();
        self.write(move |tx| {
            Box::pin(async move {
                // A queued Job waits while another Job is calling its number.
                let due: Vec<(String, Option<String>, String)> = sqlx::query_as(
                    "SELECT id, number, state FROM job WHERE wake_at <= $1 \
                     AND (lease_until IS NULL OR lease_until <= $1) \
                     AND NOT (state = 'queued' AND EXISTS (SELECT 1 FROM job AS other WHERE other.number = job.number \
                       AND other.state IN ('sending', 'in_transit', 'unclear'))) \
                     ORDER BY wake_at, id LIMIT $2",
                )
                .bind(millis(now))
                .bind(i64::from(limit))
                .fetch_all(&mut *tx)
                .await?;
                let mut lines = HashSet::new();
                let mut jobs = Vec::new();
                for (id, number, state) in due {
                    if state == "queued" && !lines.insert(number) {
                        continue;
                    }
                    let row: Row = sqlx::query_as(
                        "UPDATE job SET lease_by = $1, lease_until = $2 WHERE id = $3 RETURNING *",
                    )
                    .bind(&node)
                    .bind(millis(lease_until))
                    .bind(id)
                    .fetch_one(&mut *tx)
                    .await?;
                    // One row that cannot be read must not stop all others; it keeps its lease and is told each time.
                    jobs.extend(super::told(Job::try_from(row)));
                }
                Ok(jobs)
            })
        })
        .await
    }

    /// When the next Job must be looked at, leases included.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn next_wake(&self) -> Result<Option<Timestamp>, StoreError> {
        let at: Option<i64> = sqlx::query_scalar(
            "SELECT MIN(CASE WHEN lease_until > wake_at THEN lease_until ELSE wake_at END) FROM job \
             WHERE wake_at IS NOT NULL AND NOT (state = 'queued' AND EXISTS (SELECT 1 FROM job AS other \
               WHERE other.number = job.number AND other.state IN ('sending', 'in_transit', 'unclear')))",
        )
        .fetch_one(self.readers())
        .await?;
        Ok(at.map(timestamp))
    }

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
        let saved = self
            .write(move |tx| {
                Box::pin(async move {
                    if !update_state(tx, id, version, &step.state, keep_lease, now).await? {
                        return Ok(Saved::Stale);
                    }
                    for effect in &step.effects {
                        match effect {
                            Effect::OpenAttempt(n) => open_attempt(tx, id, *n, &provider, now).await?,
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

    /// Gives up the lease on `job`, to be looked at again not before `at`.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn release_job(&self, id: JobId, at: Timestamp) -> Result<(), StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                sqlx::query(
                    "UPDATE job SET lease_by = NULL, lease_until = NULL, \
                     wake_at = CASE WHEN wake_at < $1 THEN $1 ELSE wake_at END WHERE id = $2",
                )
                .bind(millis(at))
                .bind(id.as_str())
                .execute(&mut *tx)
                .await?;
                Ok(())
            })
        })
        .await
    }

    /// A webhook said that there is news of the Attempt with `reference` or `provider_ref`: its Job is looked at now.
    /// Returns the Job, or `None` if no open one is meant.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn note_news(
        &self,
        provider: &str,
        reference: Option<&str>,
        provider_ref: Option<&str>,
        now: Timestamp,
    ) -> Result<Option<JobId>, StoreError> {
        let from_reference = reference.and_then(job::from_reference).map(|(job, _)| job);
        let id = match (from_reference, provider_ref) {
            (Some(id), _) => Some(id),
            (None, Some(provider_ref)) => {
                let id: Option<String> = sqlx::query_scalar(
                    "SELECT job_id FROM attempt WHERE provider = $1 AND provider_ref = $2 LIMIT 1",
                )
                .bind(provider)
                .bind(provider_ref)
                .fetch_optional(self.readers())
                .await?;
                id.and_then(|id| id.parse().ok())
            }
            (None, None) => None,
        };
        let Some(id) = id else { return Ok(None) };
        self.write(move |tx| {
            Box::pin(async move {
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
         wake_at = CASE WHEN $1 = 'in_transit' AND news_at IS NOT NULL THEN $3 ELSE $4 END, news_at = NULL, \
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
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO attempt (job_id, n, reference, provider, started_at) VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(id.as_str())
    .bind(i64::from(n))
    .bind(job::reference(id, n))
    .bind(provider)
    .bind(millis(now))
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
        "UPDATE attempt SET ended_at = $1, outcome = $2, cause = $3, pages_sent = $4, remote_id = $5, seconds = $6, \
         raw_code = $7, raw_text = $8 \
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
