//! Rows in the end: what is deleted long after its documents, and what earlier versions wrote in clear.

use jiff::Timestamp;

use super::sql::{self, Connection, FromRow};
use super::{Document, Store, StoreError, millis};
use crate::vault::{Marker, SealedAddress};

/// Rows that are looked at in one go: nobody waits for them long.
const AT_ONCE: i64 = 500;

/// A Submission as a version wrote it that kept addresses and Message-IDs in clear.
#[derive(Debug, Clone, FromRow)]
pub struct Former {
    /// Its name.
    pub id: String,
    /// Where its receipts go.
    pub receipt_to: Option<String>,
    /// The mail's Message-ID.
    pub message_id: Option<String>,
    /// Its key, wrapped; `None` once destroyed.
    pub wrapped_key: Option<Vec<u8>>,
    /// Sealed facts.
    pub facts: Option<Vec<u8>>,
}

impl Store {
    /// Deletes the rows of Submissions whose documents were destroyed before `before`: the Submission, its Jobs, their Attempts, its
    /// answers. What still has work to do stays, and so do receipts and ledger. Not all at once; returns how many.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn forget_records(&self, before: Timestamp, limit: u32) -> Result<u64, StoreError> {
        // Asked of a reader first: most rounds find nothing, and need no turn of the writer's.
        let due: Vec<String> = sql::query(
            "SELECT id FROM submission WHERE destroyed_at < $1 \
             AND NOT EXISTS (SELECT 1 FROM document WHERE submission_id = submission.id) \
             AND NOT EXISTS (SELECT 1 FROM outbox WHERE submission_id = submission.id AND next_at IS NOT NULL) \
             AND NOT EXISTS (SELECT 1 FROM fetched WHERE submission_id = submission.id AND settled = 0) \
             ORDER BY destroyed_at LIMIT CAST($2 AS BIGINT)",
        )
        .bind(millis(before))
        .bind(i64::from(limit))
        .scalars(self.readers())
        .await?;
        if due.is_empty() {
            return Ok(0);
        }
        self.write(move |tx| {
            Box::pin(async move {
                for id in &due {
                    for sql in [
                        "DELETE FROM attempt WHERE job_id IN (SELECT id FROM job WHERE submission_id = $1)",
                        "DELETE FROM job WHERE submission_id = $1",
                        "DELETE FROM outbox WHERE submission_id = $1",
                        "UPDATE fetched SET submission_id = NULL WHERE submission_id = $1",
                        "DELETE FROM submission WHERE id = $1",
                    ] {
                        sql::query(sql).bind(id).execute(&mut *tx).await?;
                    }
                }
                Ok(due.len() as u64)
            })
        })
        .await
    }

    /// Deletes receipts and the beginning of the ledger from before `before`. The chain then begins with the oldest row that is
    /// left; the last row always is. Not all at once; returns how many.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn forget_proofs(&self, before: Timestamp) -> Result<u64, StoreError> {
        let oldest: Vec<(i64, i64)> =
            sql::query("SELECT seq, at FROM ledger ORDER BY seq LIMIT CAST($1 AS BIGINT)")
                .bind(AT_ONCE)
                .fetch_all(self.readers())
                .await?;
        let old = oldest.iter().take_while(|(_, at)| *at < millis(before)).count();
        let last = oldest.get(..old.min(oldest.len().saturating_sub(1))).and_then(<[_]>::last).copied();
        let receipts: Option<i64> = sql::query("SELECT made_at FROM receipt WHERE made_at < $1 LIMIT 1")
            .bind(millis(before))
            .scalar_optional(self.readers())
            .await?;
        if last.is_none() && receipts.is_none() {
            return Ok(0);
        }
        self.write(move |tx| {
            Box::pin(async move {
                let mut done = sql::query(
                    "DELETE FROM receipt WHERE submission_id IN \
                     (SELECT submission_id FROM receipt WHERE made_at < $1 LIMIT CAST($2 AS BIGINT))",
                )
                .bind(millis(before))
                .bind(AT_ONCE)
                .execute(&mut *tx)
                .await?;
                if let Some((seq, _)) = last {
                    let rows = sql::query("DELETE FROM ledger WHERE seq <= $1").bind(seq).execute(&mut *tx);
                    done += rows.await?;
                }
                Ok(done)
            })
        })
        .await
    }

    /// Some Submissions of an earlier version that have an address or a Message-ID in clear.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn former_submissions(&self) -> Result<Vec<Former>, StoreError> {
        sql::query(
            "SELECT id, receipt_to, message_id, wrapped_key, facts FROM submission \
             WHERE receipt_to IS NOT NULL OR message_id IS NOT NULL LIMIT CAST($1 AS BIGINT)",
        )
        .bind(AT_ONCE)
        .fetch_all(self.readers())
        .await
    }

    /// Replaces what is in clear in a Submission of an earlier version: with its address under the master key and with `facts`, where
    /// it is to keep any.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn seal_former_submissions(
        &self,
        sealed: Vec<(String, Option<SealedAddress>, Option<Vec<u8>>)>,
    ) -> Result<(), StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                for (id, address, facts) in sealed {
                    let (address, mark) = address.map(|a| (a.sealed, a.mark)).unzip();
                    // Of a destroyed one only the mark stays.
                    sql::query(
                        "UPDATE submission SET receipt_to = NULL, message_id = NULL, facts = COALESCE($1, facts), \
                         answer_mark = $2, answer_to = CASE WHEN wrapped_key IS NULL THEN answer_to ELSE $3 END WHERE id = $4",
                    )
                    .bind(facts)
                    .bind(&mark)
                    .bind(&address)
                    .bind(&id)
                    .execute(&mut *tx)
                    .await?;
                    seal_answers(tx, &id, address, mark).await?;
                }
                Ok(())
            })
        })
        .await
    }

    /// Puts marks in the place of the digests that an earlier version left of destroyed packets; returns how many.
    ///
    /// # Errors
    /// Where the database fails; what was not reached is done the next time.
    pub async fn mark_former_digests(&self, digests: &Marker) -> Result<u64, StoreError> {
        let mut all = 0;
        loop {
            let plain: Vec<(String, String)> = sql::query(
                "SELECT job.id, job.sha256 FROM job JOIN submission ON submission.id = job.submission_id \
                 WHERE submission.wrapped_key IS NULL AND job.sha256 NOT LIKE 'mark:%' LIMIT CAST($1 AS BIGINT)",
            )
            .bind(AT_ONCE)
            .fetch_all(self.readers())
            .await?;
            if plain.is_empty() {
                return Ok(all);
            }
            all += plain.len() as u64;
            let digests = digests.clone();
            self.write(move |tx| {
                Box::pin(async move {
                    for (job, sha256) in plain {
                        sql::query("UPDATE job SET sha256 = $1 WHERE id = $2")
                            .bind(Document::mark(&sha256, &digests))
                            .bind(job)
                            .execute(&mut *tx)
                            .await?;
                    }
                    Ok(())
                })
            })
            .await?;
        }
    }

    /// Message-IDs of fetched mails that an earlier version kept in clear and that are still needed.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn former_message_ids(&self) -> Result<Vec<(i64, String)>, StoreError> {
        sql::query("SELECT id, message_id FROM fetched WHERE message_id IS NOT NULL LIMIT CAST($1 AS BIGINT)")
            .bind(AT_ONCE)
            .fetch_all(self.readers())
            .await
    }

    /// Replaces them with what is sealed.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn seal_former_message_ids(&self, sealed: Vec<(i64, Vec<u8>)>) -> Result<(), StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                for (id, sealed) in sealed {
                    sql::query(
                        "UPDATE fetched SET message_id = NULL, \
                         sealed_message_id = CASE WHEN settled = 1 THEN sealed_message_id ELSE $1 END WHERE id = $2",
                    )
                    .bind(sealed)
                    .bind(id)
                    .execute(&mut *tx)
                    .await?;
                }
                Ok(())
            })
        })
        .await
    }
}

/// The answers of a former Submission: those that have yet to leave need the address.
async fn seal_answers(
    tx: &mut Connection,
    submission: &str,
    address: Option<Vec<u8>>,
    mark: Option<String>,
) -> Result<(), StoreError> {
    let Some(mark) = mark else { return Ok(()) };
    sql::query(
        "UPDATE outbox SET target = $1, address = CASE WHEN next_at IS NULL THEN address ELSE $2 END \
         WHERE submission_id = $3 AND way = 'mail'",
    )
    .bind(mark)
    .bind(address)
    .bind(submission)
    .execute(&mut *tx)
    .await?;
    Ok(())
}
