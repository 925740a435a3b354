//! Recording what was accepted, once: the keys by which a mail or file is known again, and the Submission's first rows.
//!
//! A client waits for this transaction, and each statement costs it a change of threads and back. So it is two: what is known
//! already, and everything that is new. They run while the document is still being synced; only the commit waits for that.

use std::collections::HashMap;

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use sqlx::AssertSqlSafe;

use super::fax_marks::Spent;
use super::ledger::{self, Link};
use super::submissions::NewSubmission;
use super::{Store, StoreError, millis};
use crate::job::SubmissionId;
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

/// Ends when a document is on disk.
pub type Synced = BoxFuture<'static, Result<(), StoreError>>;

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
        let there = Box::pin(async { Ok(()) });
        Ok(self.insert_submission_with(new, repeats_since, there).await?.map_err(|(repeat, _)| repeat))
    }

    /// The same for one whose document is still on its way: the row is written meanwhile, and committed only when `synced` has
    /// ended well, which is handed back where nothing is recorded.
    ///
    /// # Errors
    /// Where the database or `synced` fails; then nothing is recorded.
    pub async fn insert_submission_with(
        &self,
        new: NewSubmission,
        repeats_since: Timestamp,
        synced: Synced,
    ) -> Result<Result<SubmissionId, (Repeat, Synced)>, StoreError> {
        let entry = ledger::Entry::new(&new.source, "accepted")
            .detail(format!("from {}, {} bytes, {}", new.sender, new.document.bytes, new.document.sha256))
            .submission(new.id);
        self.write(move |tx| {
            Box::pin(async move {
                let keys = &new.source_keys;
                let each = keys.each.iter().flat_map(|key| std::iter::once(&key.key).chain(&key.also));
                let asked: Vec<&String> = each.chain(&keys.former).collect();
                let spent = keys.spent.condition("source_key");
                let sql = format!(
                    "SELECT seq, hash, '' FROM (SELECT seq, hash FROM ledger ORDER BY seq DESC LIMIT 1) AS head \
                     UNION ALL SELECT 0, key, submission_id FROM source_key WHERE accepted_at >= $1 AND key IN ({}) AND NOT {spent}",
                    places(2, asked.len())
                );
                let mut query = sqlx::query_as(AssertSqlSafe(sql)).bind(millis(repeats_since));
                for key in asked {
                    query = query.bind(key);
                }
                let rows: Vec<(i64, String, String)> = query.fetch_all(&mut *tx).await?;
                let mut last = None;
                let mut known = HashMap::new();
                for (seq, text, submission) in rows {
                    if seq > 0 {
                        last = Some((seq, text));
                    } else {
                        known.insert(text, submission);
                    }
                }
                if let Some(repeat) = repeat(keys, &known)? {
                    return Ok(Err((repeat, synced)));
                }
                let link = Link::after(last, new.accepted_at, &entry);
                // Several statements in one: SQLite's driver runs them one after the other, with parameters in common.
                let mut sql = String::from(
                    "INSERT INTO submission (id, source, sender, answer_to, answer_mark, bytes, accepted_at, wrapped_key, \
                       facts, prepare_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $7); \
                     INSERT INTO document (name, submission_id, bytes, sha256) VALUES ($10, $1, $6, $11); \
                     INSERT INTO ledger (seq, at, actor, submission_id, event, detail, hash) \
                       VALUES ($12, $7, $2, $1, $13, $14, $15)",
                );
                if !keys.each.is_empty() {
                    let rows: Vec<String> =
                        (0..keys.each.len()).map(|n| format!("(${}, $1, $7)", n.saturating_add(16))).collect();
                    // One that is there already is older than what counts as a repeat.
                    sql.push_str(&format!(
                        "; INSERT INTO source_key (key, submission_id, accepted_at) VALUES {} ON CONFLICT (key) DO UPDATE \
                           SET submission_id = excluded.submission_id, accepted_at = excluded.accepted_at",
                        rows.join(", ")
                    ));
                }
                let mut query = sqlx::query(AssertSqlSafe(sql))
                    .bind(new.id.as_str())
                    .bind(&new.source)
                    .bind(&new.sender)
                    .bind(new.receipt_to.as_ref().map(|address| address.sealed.as_slice()))
                    .bind(new.receipt_to.as_ref().map(|address| address.mark.as_str()))
                    .bind(new.document.bytes.cast_signed())
                    .bind(millis(new.accepted_at))
                    .bind(&new.wrapped_key)
                    .bind(&new.facts)
                    .bind(&new.document.name)
                    .bind(&new.document.sha256)
                    .bind(link.seq)
                    .bind(&entry.event)
                    .bind(&entry.detail)
                    .bind(&link.hash);
                for key in &keys.each {
                    query = query.bind(&key.key);
                }
                query.execute(&mut *tx).await?;
                // Other requests of this commit wait with this one. They have syncs of their own to wait for, which run already.
                synced.await?;
                Ok(Ok(new.id))
            })
        })
        .await
    }

    /// Forgets source keys, and marks of faxes, that were recorded before `before`: what comes with them again is new. Returns how
    /// many; not all at once, so that nobody waits for it long.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn forget_source_keys(&self, before: Timestamp) -> Result<u64, StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                let done = sqlx::query(
                    "DELETE FROM source_key WHERE key IN (SELECT key FROM source_key WHERE accepted_at < $1 LIMIT $2)",
                )
                .bind(millis(before))
                .bind(FORGOTTEN_AT_ONCE)
                .execute(&mut *tx)
                .await?;
                let marks = sqlx::query(
                    "DELETE FROM fax_mark WHERE key IN (SELECT key FROM fax_mark WHERE accepted_at < $1 LIMIT $2) AND accepted_at < $1",
                )
                .bind(millis(before))
                .bind(FORGOTTEN_AT_ONCE)
                .execute(&mut *tx)
                .await?;
                Ok(done.rows_affected().saturating_add(marks.rows_affected()))
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
                            sqlx::query_scalar("SELECT key FROM source_key WHERE keyed = 0 LIMIT $1")
                                .bind(FORGOTTEN_AT_ONCE)
                                .fetch_all(&mut *tx)
                                .await?;
                        for key in &plain {
                            sqlx::query("UPDATE source_key SET key = $1, keyed = 1 WHERE key = $2")
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

/// `count` numbered parameters from `first` on; for none, what no key is equal to.
fn places(first: usize, count: usize) -> String {
    if count == 0 {
        return "NULL".to_owned();
    }
    let places: Vec<String> = (0..count).map(|n| format!("${}", n.saturating_add(first))).collect();
    places.join(", ")
}
