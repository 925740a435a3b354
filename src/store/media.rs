//! Which documents providers may fetch, and which they have fetched.

use jiff::Timestamp;

use super::ledger::LedgerEvent;
use super::sql::{self, FromRow};
use super::{Store, StoreError, ledger, millis};
use crate::job::{Actor, JobId};

/// What leaves with an open Attempt, and where it lies in the spool.
#[derive(Clone, FromRow)]
pub struct Fetch {
    /// The name in the spool, as in [`super::PacketRow`].
    pub document: String,
    /// The pages that it shares.
    pub shared: Option<String>,
    #[sqlx(try_from = "i64")]
    /// Length of the file that leaves.
    pub bytes: u64,
    /// Its digest.
    pub sha256: String,
    /// The wrapped key it is sealed under.
    pub wrapped_key: Vec<u8>,
}

impl std::fmt::Debug for Fetch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fetch").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

impl Store {
    /// The packet of that Attempt, where the Attempt is open, the last of its Job, and did not have it fetched before `since`.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn fetchable(
        &self,
        id: JobId,
        attempt: u32,
        since: Timestamp,
    ) -> Result<Option<Fetch>, StoreError> {
        sql::query(
            "SELECT job.document, job.shared, COALESCE(attempt.bytes, job.bytes) AS bytes, \
             COALESCE(attempt.sha256, job.sha256) AS sha256, submission.wrapped_key FROM attempt \
             JOIN job ON job.id = attempt.job_id JOIN submission ON submission.id = job.submission_id \
             WHERE attempt.job_id = $1 AND attempt.n = $2 AND attempt.ended_at IS NULL \
             AND (attempt.fetched_at IS NULL OR attempt.fetched_at > $3) \
             AND attempt.n = (SELECT MAX(n) FROM attempt WHERE job_id = $1) \
             AND job.state IN ('sending', 'in_transit', 'unclear') \
             AND job.document IS NOT NULL AND job.bytes IS NOT NULL AND job.sha256 IS NOT NULL AND submission.wrapped_key IS NOT NULL",
        )
        .bind(id.as_str())
        .bind(i64::from(attempt))
        .bind(millis(since))
        .fetch_optional(self.readers())
        .await
    }

    /// Notes that the packet of that Attempt was handed out whole.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn note_fetched(&self, id: JobId, attempt: u32, now: Timestamp) -> Result<(), StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                let noted = sql::query(
                    "UPDATE attempt SET fetched_at = $1 WHERE job_id = $2 AND n = $3 AND fetched_at IS NULL",
                )
                .bind(millis(now))
                .bind(id.as_str())
                .bind(i64::from(attempt))
                .execute(&mut *tx)
                .await?;
                if noted > 0 {
                    let entry = ledger::Entry::new(&Actor::Media, &LedgerEvent::Fetched { attempt });
                    ledger::write(tx, now, entry.job(id));
                }
                Ok(())
            })
        })
        .await
    }
}
