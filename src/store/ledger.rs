//! The ledger: an append-only table of what happened to each Job and who did it, each row's hash covering the row before.

use aws_lc_rs::digest;
use jiff::Timestamp;
use sqlx::FromRow;
use sqlx::sqlite::SqliteConnection;

use super::{Store, StoreError, millis};
use crate::job::{JobId, SubmissionId};
use crate::text::hex;

/// One row to be. `event` and `detail` hold no patient data: words, counts, codes, keys of the register.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) actor: String,
    pub(super) event: String,
    submission: Option<SubmissionId>,
    job: Option<JobId>,
    pub(super) detail: String,
}

impl Entry {
    pub(super) fn new(actor: &str, event: &str) -> Self {
        Entry { actor: actor.into(), event: event.into(), submission: None, job: None, detail: String::new() }
    }

    pub(super) fn submission(mut self, id: SubmissionId) -> Self {
        self.submission = Some(id);
        self
    }

    pub(super) fn job(mut self, id: JobId) -> Self {
        self.job = Some(id);
        self
    }

    pub(super) fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }
}

/// One row.
#[derive(Debug, Clone, FromRow)]
pub struct LedgerRow {
    /// Milliseconds since 1970.
    pub at: i64,
    /// Who.
    pub actor: String,
    /// What.
    pub event: String,
    /// Words, counts, codes.
    pub detail: String,
}

impl Store {
    /// What happened to a Job, in order.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn history(&self, job: JobId) -> Result<Vec<LedgerRow>, StoreError> {
        Ok(sqlx::query_as(
            "SELECT at, actor, event, detail FROM ledger WHERE job_id = $1 ORDER BY seq LIMIT 1000",
        )
        .bind(job.as_str())
        .fetch_all(self.readers())
        .await?)
    }
}

/// Appends `entry`. One writer at a time holds the chain together.
pub(super) async fn write(tx: &mut SqliteConnection, now: Timestamp, entry: Entry) -> Result<(), StoreError> {
    let last: Option<(i64, String)> =
        sqlx::query_as("SELECT seq, hash FROM ledger ORDER BY seq DESC LIMIT 1")
            .fetch_optional(&mut *tx)
            .await?;
    let link = Link::after(last, now, &entry);
    sqlx::query(
        "INSERT INTO ledger (seq, at, actor, submission_id, job_id, event, detail, hash) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(link.seq)
    .bind(millis(now))
    .bind(entry.actor)
    .bind(entry.submission.map(String::from))
    .bind(entry.job.map(String::from))
    .bind(entry.event)
    .bind(entry.detail)
    .bind(link.hash)
    .execute(&mut *tx)
    .await?;
    Ok(())
}

/// Where an entry hangs in the chain.
pub(super) struct Link {
    pub(super) seq: i64,
    pub(super) hash: String,
}

impl Link {
    /// Behind `last`, the place and hash of the row that is the last one so far.
    pub(super) fn after(last: Option<(i64, String)>, now: Timestamp, entry: &Entry) -> Link {
        let (seq, before) = last.map_or((1, String::new()), |(seq, hash)| (seq.saturating_add(1), hash));
        let hash = chain(&[
            &before,
            &seq.to_string(),
            &millis(now).to_string(),
            &entry.actor,
            entry.submission.as_ref().map_or("", |id| id.as_str()),
            entry.job.as_ref().map_or("", |id| id.as_str()),
            &entry.event,
            &entry.detail,
        ]);
        Link { seq, hash }
    }
}

/// SHA-256 over all fields, each preceded by its length, so that no two rows can be read as one another.
fn chain(fields: &[&str]) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    for field in fields {
        context.update(&(field.len() as u64).to_be_bytes());
        context.update(field.as_bytes());
    }
    hex(context.finish().as_ref())
}
