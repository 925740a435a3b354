//! Recording what was accepted, once: the keys by which a mail or file is known again, and the Submission's first rows.
//!
//! A client waits for this transaction, and each way to the engine costs it a change of threads and back. So it is one: what is
//! known already is asked, and everything that is new written, and undone where something was known. It begins when the document is on disk, so that nobody waits for the disk in it.

use std::collections::HashMap;

use jiff::Timestamp;

use super::fax_marks::{Spent, spent};
use super::ledger::LedgerEvent;
use super::sql::{self, Query};
use super::submissions::{NewSubmission, document_row};
use super::{Store, StoreError, ledger, millis};
use crate::job::{Actor, SubmissionId};
use crate::vault::Marker;

/// Keys that are forgotten in one go.
const FORGOTTEN_AT_ONCE: i64 = 10_000;

/// What recognises a Submission when it comes again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SourceKeys {
    /// One for each recipient of a mail; one for a file; none where everything is new each time.
    pub each: Vec<SourceKey>,
    /// Recognises a mail as a whole, as version 0.1 recorded it; only looked for.
    pub former: Option<String>,
    /// When what is known is new all the same.
    pub spent: Spent,
}

/// One of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SourceKey {
    /// What is recorded, and looked for.
    pub key: String,
    /// By these it is known too; only looked for.
    pub also: Vec<String>,
}

impl From<String> for SourceKey {
    fn from(key: String) -> Self {
        SourceKey { key, also: Vec::new() }
    }
}

/// It came before, at least in part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repeat {
    /// The Submission in which it came: that of the first key that is known.
    pub first: SubmissionId,
    /// Which of [`SourceKeys::each`] are known, as they would be recorded; all, or the rest is new.
    pub known: Vec<String>,
}

impl Store {
    /// Records `new`, whose document is on disk, unless some of its source keys were recorded since `repeats_since`, and not for a
    /// Submission of which nothing arrived and whose sender knows it: then these are returned as `Err` inside `Ok`, and nothing is recorded.
    ///
    /// # Errors
    /// Where the database fails; then nothing is recorded.
    pub async fn insert_submission(
        &self,
        new: NewSubmission,
        repeats_since: Timestamp,
    ) -> Result<Result<SubmissionId, Repeat>, StoreError> {
        let recorded = self.write(move |tx| {
            Box::pin(async move {
                let asked = known(&new.source_keys, repeats_since);
                let rows: Vec<(String, String)> = tx.fetch_and_execute(asked, rows_of(&new)).await?;
                if let Some(repeat) = repeat(&new.source_keys, &rows.into_iter().collect())? {
                    // With that the rows are undone.
                    return Err(StoreError::CameBefore(repeat));
                }
                let digests: Vec<_> = new.documents.iter().map(|it| it.sha256.as_str()).collect();
                let accepted = LedgerEvent::Accepted {
                    sender: new.sender.clone(),
                    bytes: new.bytes(),
                    sha256: digests.join(", "),
                };
                let entry = ledger::Entry::new(&Actor::Intake(new.source.clone()), &accepted);
                ledger::write(tx, new.accepted_at, entry.submission(new.id));
                Ok(new.id)
            })
        });
        match recorded.await {
            Err(StoreError::CameBefore(repeat)) => Ok(Err(repeat)),
            recorded => recorded.map(Ok),
        }
    }

    /// Forgets source keys, and marks of faxes, that were recorded before `before`: what comes with them again is new. Returns how
    /// many; not all at once, so that nobody waits for it long.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn forget_source_keys(&self, before: Timestamp) -> Result<u64, StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                let done = sql::query(
                    "DELETE FROM source_key WHERE key IN (SELECT key FROM source_key WHERE accepted_at < $1 LIMIT CAST($2 AS BIGINT))",
                )
                .bind(millis(before))
                .bind(FORGOTTEN_AT_ONCE)
                .execute(&mut *tx)
                .await?;
                let marks = sql::query(
                    "DELETE FROM fax_mark WHERE key IN (SELECT key FROM fax_mark WHERE accepted_at < $1 LIMIT CAST($2 AS BIGINT)) AND accepted_at < $1",
                )
                .bind(millis(before))
                .bind(FORGOTTEN_AT_ONCE)
                .execute(&mut *tx)
                .await?;
                Ok(done.saturating_add(marks))
            })
        })
        .await
    }
}

impl Store {
    /// Puts source keys that an earlier version recorded as plain digests under `marker`, so that what came before the upgrade is
    /// recognised after it, and can be guessed no more. To be done before anything is accepted. Returns how many there were.
    ///
    /// # Errors
    /// Where the database fails; what was not reached is done the next time.
    pub async fn key_former_sources(&self, marker: &Marker) -> Result<u64, StoreError> {
        let mut all = 0;
        loop {
            let marker = marker.clone();
            let done = self
                .write(move |tx| {
                    Box::pin(async move {
                        let plain: Vec<String> =
                            sql::query("SELECT key FROM source_key WHERE keyed = 0 LIMIT CAST($1 AS BIGINT)")
                                .bind(FORGOTTEN_AT_ONCE)
                                .scalars(&mut *tx)
                                .await?;
                        for key in &plain {
                            sql::query("UPDATE source_key SET key = $1, keyed = 1 WHERE key = $2")
                                .bind(marker.mark(key))
                                .bind(key)
                                .execute(&mut *tx)
                                .await?;
                        }
                        Ok(plain.len() as u64)
                    })
                })
                .await?;
            if done == 0 {
                return Ok(all);
            }
            all += done;
        }
    }
}

/// The rows of `new`.
fn rows_of(new: &NewSubmission) -> Vec<Query> {
    let submission = sql::query(
        "INSERT INTO submission (id, source, sender, answer_to, answer_mark, bytes, accepted_at, wrapped_key, facts, prepare_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $7)",
    )
    .bind(new.id.as_str())
    .bind(new.source.to_string())
    .bind(&new.sender)
    .bind(new.receipt_to.as_ref().map(|address| address.sealed.as_slice()))
    .bind(new.receipt_to.as_ref().map(|address| address.mark.as_str()))
    .bind(new.bytes().cast_signed())
    .bind(millis(new.accepted_at))
    .bind(&new.wrapped_key)
    .bind(&new.facts);
    let documents = (1..).zip(&new.documents).map(|(place, it)| document_row(new.id, None, place, it));
    // A key that is there already is older than what counts as a repeat, or spent.
    let keys = sql::query(
        "INSERT INTO source_key (key, submission_id, accepted_at) SELECT column1, $1, $2 FROM (VALUES ($3)..) AS keys WHERE true \
         ON CONFLICT (key) DO UPDATE SET submission_id = excluded.submission_id, accepted_at = excluded.accepted_at",
    )
    .bind(new.id.as_str())
    .bind(millis(new.accepted_at));
    let each = &new.source_keys.each;
    let keys = (!each.is_empty()).then(|| keys.each(each.iter().map(|key| &key.key)));
    std::iter::once(submission).chain(documents).chain(keys).collect()
}

/// Asks what of `keys` was recorded since `since`, and is not spent, and for which Submission.
fn known(keys: &SourceKeys, since: Timestamp) -> Query {
    macro_rules! recorded {
        () => {
            "SELECT key, submission_id FROM source_key WHERE accepted_at >= $1 AND key IN ($2..)"
        };
    }
    let sql = match keys.spent {
        Spent::Ended => concat!(recorded!(), " AND NOT ", spent!("'failed', 'cancelled'")),
        Spent::Failed => concat!(recorded!(), " AND NOT ", spent!("'failed'")),
        Spent::Never => recorded!(),
    };
    let each = keys.each.iter().flat_map(|key| std::iter::once(&key.key).chain(&key.also));
    sql::query(sql).bind(millis(since)).each(each.chain(&keys.former))
}

/// What of `keys` is among the `known`, which name their Submissions.
fn repeat(keys: &SourceKeys, known: &HashMap<String, String>) -> Result<Option<Repeat>, StoreError> {
    let whole = keys.former.as_ref().and_then(|key| known.get(key));
    let found = |key: &SourceKey| std::iter::once(&key.key).chain(&key.also).find_map(|key| known.get(key));
    let first = keys.each.iter().find_map(found).or(whole);
    let Some(first) = first else { return Ok(None) };
    let first = first.parse().map_err(|e| StoreError::unreadable("source_key.submission_id", e))?;
    let each = keys.each.iter().filter(|key| whole.is_some() || found(key).is_some());
    Ok(Some(Repeat { first, known: each.map(|key| key.key.clone()).collect() }))
}
