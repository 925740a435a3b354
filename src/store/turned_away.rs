//! Files that made no fax: refused at once, or known from before. Recorded with the answers that are owed for them.

use jiff::Timestamp;

use super::ledger::LedgerEvent;
use super::outbox::Again;
use super::sql;
use super::{Store, StoreError, ledger, millis, outbox};
use crate::job::{Actor, Source, SubmissionId};
use crate::vault::SealedAddress;

/// A Submission that is refused from the start, and has no document.
#[derive(Debug, Clone)]
pub struct RefusedAtOnce {
    /// Its name.
    pub id: SubmissionId,
    /// `sftp:USER`, `folder:NAME`.
    pub source: Source,
    /// What recognises it when it comes again.
    pub source_key: String,
    /// The sender's name in the configuration.
    pub sender: String,
    /// Where receipts go by mail.
    pub receipt_to: Option<SealedAddress>,
    /// Size of what was not taken.
    pub bytes: u64,
    /// When.
    pub at: Timestamp,
    /// Its key, wrapped by the master key.
    pub wrapped_key: Vec<u8>,
    /// File name and reason, sealed.
    pub facts: Vec<u8>,
}

impl Store {
    /// Records `refused` with the answers to its sender, unless it was recorded since `repeats_since`.
    ///
    /// # Errors
    /// Where the database fails; then nothing is recorded.
    pub async fn record_refused_at_once(
        &self,
        refused: RefusedAtOnce,
        repeats_since: Timestamp,
    ) -> Result<Option<SubmissionId>, StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                let known: Option<i64> = sql::query(
                    "SELECT accepted_at FROM source_key WHERE key = $1 AND accepted_at >= $2",
                )
                .bind(&refused.source_key)
                .bind(millis(repeats_since))
                .scalar_optional(&mut *tx)
                .await?;
                if known.is_some() {
                    return Ok(None);
                }
                sql::query(
                    "INSERT INTO submission (id, source, sender, answer_to, bytes, accepted_at, wrapped_key, facts, verdict, \
                     final_at, answer_mark) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'refused', $6, $9)",
                )
                .bind(refused.id.as_str())
                .bind(refused.source.to_string())
                .bind(&refused.sender)
                .bind(refused.receipt_to.as_ref().map(|to| to.sealed.as_slice()))
                .bind(refused.bytes.cast_signed())
                .bind(millis(refused.at))
                .bind(&refused.wrapped_key)
                .bind(&refused.facts)
                .bind(refused.receipt_to.as_ref().map(|to| to.mark.as_str()))
                .execute(&mut *tx)
                .await?;
                sql::query(
                    "INSERT INTO source_key (key, submission_id, accepted_at) VALUES ($1, $2, $3) ON CONFLICT (key) DO UPDATE \
                     SET submission_id = excluded.submission_id, accepted_at = excluded.accepted_at",
                )
                .bind(&refused.source_key)
                .bind(refused.id.as_str())
                .bind(millis(refused.at))
                .execute(&mut *tx)
                .await?;
                let event = LedgerEvent::TurnedAway { sender: refused.sender, bytes: refused.bytes };
                let entry = ledger::Entry::new(&Actor::Intake(refused.source), &event);
                ledger::write(tx, refused.at, entry.submission(refused.id));
                outbox::tell_final(tx, refused.id, refused.at).await?;
                Ok(Some(refused.id))
            })
        })
        .await
    }

    /// Tells the sender of a file that came before, as `first`, how that one stands.
    ///
    /// # Errors
    /// Where the database fails; then nothing is recorded.
    pub async fn tell_again(
        &self,
        first: SubmissionId,
        again: Again,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.write(move |tx| Box::pin(async move { outbox::tell_again(tx, first, again, now).await })).await
    }
}
