//! Which telephone had which mail.
//!
//! A mail is faxed to a number once, however the number is written in its address and whichever way it comes: mail servers split a
//! mail over its recipients, and whoever has a copy can write one number in many ways. Its source keys
//! ([`super::accept`]) know the addresses; the number is known only when it has been prepared. So each Job of a mail has a mark of
//! the mail and its number, recorded in the transaction that makes the Job.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::jobs::take_over;
use super::ledger::LedgerEvent;
use super::sql::{self, Connection};
use super::submissions::Verdict;
use super::{Store, StoreError, ledger, millis};
use crate::job::{Actor, JobId, SubmissionId};

/// The mark of a mail and a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FaxMark {
    /// The mark itself.
    pub key: String,
    /// What proves its sender leaves something open: it may be a copy that somebody changed. Such a mail is known by one that leaves
    /// nothing open, and never the other way round.
    pub doubtful: bool,
    /// What was recorded before counts for it as long as this says.
    pub counts: Counts,
}

/// How long a fax stands in the way of the same mail to the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// When the mail was accepted.
    pub accepted_at: Timestamp,
    /// Mails that were accepted before this are another wish.
    pub since: Timestamp,
    /// After which end of the first one it is one too.
    pub spent: Spent,
}

/// After which end of a Submission it no longer stands in the way of the same mail. In each case nothing of it arrived, nothing of
/// it may have arrived, and its sender was told so.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Spent {
    /// After any: what comes after that answer is a wish to try anew.
    #[default]
    Ended,
    /// After one that nobody decided: what was cancelled stays so.
    Failed,
    /// After none.
    Never,
}

/// The condition under which the Submission of a row with a `submission_id` is spent: its Jobs have ended in one of these states.
macro_rules! spent {
    ($states:literal) => {
        concat!(
            "EXISTS (SELECT 1 FROM submission AS first WHERE first.id = submission_id AND first.final_at IS NOT NULL \
               AND first.verdict IN ('jobs', 'refused', 'ignored') \
               AND NOT EXISTS (SELECT 1 FROM job WHERE job.submission_id = first.id AND (state NOT IN (",
            $states,
            ") OR detail LIKE '%\"cause\":\"unclear\"%' OR detail LIKE '%\"cause\":\"partly_sent\"%')) \
               AND NOT EXISTS (SELECT 1 FROM outbox WHERE outbox.submission_id = first.id AND next_at IS NOT NULL))"
        )
    };
}
pub(super) use spent;

/// A fax of the same mail to the same number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FaxedBefore {
    /// Which.
    pub job: JobId,
    /// Its Submission.
    pub submission: SubmissionId,
}

impl Store {
    /// The Job of another Submission than `submission` that stands in the way of a fax with this `mark`.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn faxed_before(
        &self,
        mark: &FaxMark,
        submission: SubmissionId,
    ) -> Result<Option<FaxedBefore>, StoreError> {
        read(before(mark, submission).fetch_optional(self.readers()).await?)
    }

    /// The Job that faxes the same mail to the same number as `job`, where that is still to be or was done. So it is where the mail came
    /// again in a way that leaves no doubt, after a copy that does.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn twin(&self, job: JobId, submission: SubmissionId) -> Result<Option<JobId>, StoreError> {
        let twin: Option<String> = sql::query(
            "SELECT other.job_id FROM fax_mark AS mine JOIN fax_mark AS other ON other.key = mine.key AND other.job_id <> mine.job_id \
             JOIN job ON job.id = other.job_id WHERE mine.submission_id = $1 AND mine.job_id = $2 \
             AND job.state NOT IN ('failed', 'cancelled') LIMIT 1",
        )
        .bind(submission.as_str())
        .bind(job.as_str())
        .scalar_optional(self.readers())
        .await?;
        twin.map(|id| id.parse().map_err(|e| StoreError::unreadable("fax_mark.job_id", e))).transpose()
    }

    /// Records that every fax of `submission` was made before, of the same mail: `first` answers for it from now on, to whoever sends it
    /// again too. `false`: nothing was recorded, as with [`Store::record_prepared`].
    ///
    /// # Errors
    /// Where the database fails; then nothing is recorded.
    pub async fn record_known(
        &self,
        submission: SubmissionId,
        first: SubmissionId,
        facts: Vec<u8>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                if take_over(tx, submission, Verdict::Known, facts, now).await?.is_none() {
                    return Ok(false);
                }
                for sql in [
                    "UPDATE source_key SET submission_id = $1 WHERE submission_id = $2",
                    "UPDATE fetched SET submission_id = $1 WHERE submission_id = $2",
                ] {
                    sql::query(sql).bind(first.as_str()).bind(submission.as_str()).execute(&mut *tx).await?;
                }
                let entry = ledger::Entry::new(&Actor::Preparer, &LedgerEvent::PreparedAsKnown { first });
                ledger::write(tx, now, entry.submission(submission));
                super::jobs::finish_if_complete(tx, submission, now).await?;
                Ok(true)
            })
        })
        .await
    }
}

/// Records the mark of a Job that is made, unless a fax stands in its way: then [`StoreError::FaxedBefore`].
pub(super) async fn insert(
    tx: &mut Connection,
    mark: &FaxMark,
    (job, submission): (JobId, SubmissionId),
) -> Result<(), StoreError> {
    let first: Option<(String, String)> = before(mark, submission).fetch_optional(&mut *tx).await?;
    if first.is_some() {
        return Err(StoreError::FaxedBefore);
    }
    // One that is there already is too old to count, or spent.
    sql::query(
        "INSERT INTO fax_mark (key, doubtful, submission_id, job_id, accepted_at) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (key, doubtful) DO UPDATE SET submission_id = excluded.submission_id, job_id = excluded.job_id, \
           accepted_at = excluded.accepted_at",
    )
    .bind(&mark.key)
    .bind(i64::from(mark.doubtful))
    .bind(submission.as_str())
    .bind(job.as_str())
    .bind(millis(mark.counts.accepted_at))
    .execute(&mut *tx)
    .await?;
    Ok(())
}

/// A person lets `job` go on: nothing is left open about its mail.
pub(super) async fn trust(
    tx: &mut Connection,
    (job, submission): (JobId, SubmissionId),
) -> Result<(), StoreError> {
    sql::query(
        "UPDATE fax_mark SET doubtful = 0 WHERE submission_id = $1 AND job_id = $2 AND doubtful = 1 \
         AND NOT EXISTS (SELECT 1 FROM fax_mark AS other WHERE other.key = fax_mark.key AND other.doubtful = 0)",
    )
    .bind(submission.as_str())
    .bind(job.as_str())
    .execute(&mut *tx)
    .await?;
    Ok(())
}

/// Those of a Submission that is prepared anew.
pub(super) async fn forget_of(tx: &mut Connection, submission: SubmissionId) -> Result<(), StoreError> {
    sql::query("DELETE FROM fax_mark WHERE submission_id = $1")
        .bind(submission.as_str())
        .execute(&mut *tx)
        .await?;
    Ok(())
}

/// The question for what stands in the way of a fax with `mark` of `submission`.
fn before(mark: &FaxMark, submission: SubmissionId) -> sql::Query {
    macro_rules! before {
        () => {
            "SELECT job_id, submission_id FROM fax_mark WHERE key = $1 AND accepted_at >= $2 AND submission_id <> $3 \
             AND doubtful <= $4"
        };
    }
    let sql = match mark.counts.spent {
        Spent::Ended => {
            concat!(before!(), " AND NOT ", spent!("'failed', 'cancelled'"), " ORDER BY doubtful LIMIT 1")
        }
        Spent::Failed => concat!(before!(), " AND NOT ", spent!("'failed'"), " ORDER BY doubtful LIMIT 1"),
        Spent::Never => concat!(before!(), " ORDER BY doubtful LIMIT 1"),
    };
    sql::query(sql)
        .bind(&mark.key)
        .bind(millis(mark.counts.since))
        .bind(submission.as_str())
        .bind(i64::from(mark.doubtful))
}

fn read(row: Option<(String, String)>) -> Result<Option<FaxedBefore>, StoreError> {
    let Some((job, submission)) = row else { return Ok(None) };
    Ok(Some(FaxedBefore {
        job: job.parse().map_err(|e| StoreError::unreadable("fax_mark.job_id", e))?,
        submission: submission.parse().map_err(|e| StoreError::unreadable("fax_mark.submission_id", e))?,
    }))
}
