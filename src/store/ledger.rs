//! The ledger: an append-only table of what happened to each Job and who did it, each row's hash covering the row before.

mod event;

use aws_lc_rs::digest;
use jiff::Timestamp;

use super::sql::{self, Connection, FromRow};
use super::{Store, StoreError, millis};
use crate::job::{Actor, JobId, SubmissionId};
use crate::text::hex;

pub(super) use event::LedgerEvent;
pub use event::{JobChange, RegisterChange};

/// One row to be.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) actor: String,
    pub(super) event: String,
    pub(super) submission: Option<SubmissionId>,
    pub(super) job: Option<JobId>,
    pub(super) detail: String,
}

impl Entry {
    pub(super) fn new(actor: &Actor, event: &LedgerEvent) -> Self {
        let (event, detail) = event.texts();
        Entry { actor: actor.to_string(), event: event.to_owned(), submission: None, job: None, detail }
    }

    pub(super) fn submission(mut self, id: SubmissionId) -> Self {
        self.submission = Some(id);
        self
    }

    pub(super) fn job(mut self, id: JobId) -> Self {
        self.job = Some(id);
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

impl LedgerRow {
    /// What somebody did to the Job, where the row tells that.
    #[must_use]
    pub fn change(&self) -> Option<JobChange> {
        JobChange::read(&self.event, &self.detail)
    }
}

impl Store {
    /// What happened to a Job, in order.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn history(&self, job: JobId) -> Result<Vec<LedgerRow>, StoreError> {
        sql::query("SELECT at, actor, event, detail FROM ledger WHERE job_id = $1 ORDER BY seq LIMIT 1000")
            .bind(job.as_str())
            .fetch_all(self.readers())
            .await
    }
}

/// Appends `entry` with the commit of `tx`. Which row it follows, the engine says: SQLite, which has one writer at a time, where
/// it commits. Whoever looked for the last row before would lose to another node.
pub(super) fn write(tx: &mut Connection, now: Timestamp, entry: Entry) {
    tx.entries.push((now, entry));
}

/// Where an entry hangs in the chain.
#[derive(Debug, Clone, FromRow)]
pub(super) struct Link {
    pub(super) seq: i64,
    pub(super) hash: String,
}

impl Link {
    /// Behind `last`, the row that is the last one so far.
    pub(super) fn after(last: Option<&Link>, now: Timestamp, entry: &Entry) -> Link {
        let seq = last.map_or(1, |last| last.seq.saturating_add(1));
        let hash = chain(&[
            last.map_or("", |last| &last.hash),
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
