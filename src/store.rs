//! What must survive: submissions, jobs, attempts, register, outbox, receipts, ledger. Every query has a name.
//!
//! The SQL is plain and shared (`$1` parameters, `ON CONFLICT`, `RETURNING`, partial indexes), and goes through `store/sql.rs`; what
//! belongs to one engine alone, how it is opened and how its writes are grouped, stands in `store/sqlite.rs`. Work in progress is held by leases, never by
//! open transactions: a node that dies loses its leases by time, and a restarted one drops its own at once.

use std::path::{Path, PathBuf};

use futures_util::future::BoxFuture;
use jiff::Timestamp;

use self::sql::{Connection, Readers};
use self::sqlite::codes::{code, cure};

mod accept;
mod alarms;
mod attempts;
mod cancel;
mod clock;
mod fax_marks;
mod forms;
mod jobs;
mod ledger;
mod mailboxes;
mod media;
mod news;
mod origin;
mod outbox;
mod providers;
mod queue;
mod recipients;
mod records;
mod sql;
mod sqlite;
mod steps;
mod submissions;
mod tokens;
mod turned_away;
mod turns;
mod wake;

pub use accept::{Repeat, SourceKey, SourceKeys};
pub use alarms::{AlarmRow, Backlog, Backlogs};
pub use attempts::{AttemptRow, ProviderCopy};
pub use cancel::CancelWish;
pub use fax_marks::{Counts, FaxMark, FaxedBefore, Spent};
pub use forms::Form;
pub use jobs::{Job, JobFilter, NewJob, PacketRow};
pub use ledger::{JobChange, LedgerRow, RegisterChange};
pub use mailboxes::{Fetched, MailFate, MailPlace, Moving, NewFetched, RefusedMail};
pub use media::Fetch;
pub use news::Heard;
pub use outbox::{
    Again, AnswerKind, AnswerRow, AnswerWay, NewResult, OutboxRow, Queue, ResultRow, SealedResult,
};
pub use providers::{Condition, ProviderRow};
pub use queue::{Room, Rooms};
pub use records::Former;
pub use steps::{Opening, Saved};
pub use submissions::{Document, NewSubmission, Submission, SubmissionFilter, Verdict, is_mark};
pub use turned_away::RefusedAtOnce;
pub use turns::Turns;
pub use wake::{Commits, Wake, within_process};

/// Why a query failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database refused or could not be reached.
    #[error("the database failed: {0}{cure}", cure = cure(.0))]
    Database(#[source] sqlx::Error),
    /// The database could not be opened.
    #[error("{}: the database cannot be opened: {source}{cure}", path.display(), cure = cure(source))]
    Opening {
        /// Its file.
        path: PathBuf,
        /// Why.
        source: sqlx::Error,
    },
    /// The schema could not be brought up to date.
    #[error(
        "{}: the database's schema could not be brought up to date: {source}; restore the backup of before the update, or ask \
         with this line for help",
        path.display()
    )]
    Schema {
        /// The database's file.
        path: PathBuf,
        /// Why.
        source: sqlx::migrate::MigrateError,
    },
    /// The schema is of an older version, and must not be changed: it is opened to be read only, or beside others.
    #[error(
        "{}: the database was written by an older version; `faxbridge serve` brings it up to date when it starts: start it anew",
        path.display()
    )]
    OlderSchema {
        /// The database's file.
        path: PathBuf,
    },
    /// The schema is of a newer version.
    #[error(
        "{}: the database was written by a newer faxbridge (schema {theirs}, this one knows {ours}): install that version again, \
         or restore the backup of before the update",
        path.display()
    )]
    NewerSchema {
        /// The database's file.
        path: PathBuf,
        /// The database's.
        theirs: i64,
        /// The newest that is known here.
        ours: i64,
    },
    /// A fax was made of the same mail to the same number, while this one was being prepared.
    #[error("the same mail is faxed to that number already")]
    FaxedBefore,
    /// Some of its source keys are those of what came before.
    #[error("the same came before")]
    CameBefore(Repeat),
    /// A commit that carried several requests failed; the text is the database's.
    #[error("{0}")]
    Commit(String),
    /// The disk is full.
    #[error("the disk that holds the database is full: make room on it")]
    Full,
    /// Another process held the database for too long.
    #[error("the database is locked by another process: let it finish, or end it")]
    Locked,
    /// The store is shutting down.
    #[error("the store is closed")]
    Closed,
    /// A row holds what this version cannot read.
    #[error("the database holds {what}: {detail}")]
    Unreadable {
        /// Which row and column.
        what: String,
        /// What is wrong with it.
        detail: String,
    },
}

impl StoreError {
    /// The same failure once more, for each request that shared a commit.
    fn same(&self) -> StoreError {
        match self {
            StoreError::Full => StoreError::Full,
            StoreError::Locked => StoreError::Locked,
            StoreError::Closed => StoreError::Closed,
            other => StoreError::Commit(other.to_string()),
        }
    }

    fn opening(path: &Path, source: sqlx::Error) -> StoreError {
        StoreError::Opening { path: path.to_owned(), source }
    }

    fn migrating(path: &Path, source: sqlx::migrate::MigrateError) -> StoreError {
        StoreError::Schema { path: path.to_owned(), source }
    }

    /// Whether it is the database's own trouble, and not that of a request.
    fn is_grave(&self) -> bool {
        match self {
            StoreError::Database(sqlx::Error::Database(error)) => {
                error.kind() == sqlx::error::ErrorKind::Other
            }
            StoreError::Database(error) => !matches!(error, sqlx::Error::RowNotFound),
            StoreError::Full | StoreError::Locked | StoreError::Commit(_) => true,
            _ => false,
        }
    }

    /// Whether the disk is full.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self, StoreError::Full)
    }

    fn unreadable(what: impl Into<String>, detail: impl Into<Detail>) -> StoreError {
        StoreError::Unreadable { what: what.into(), detail: detail.into().0 }
    }

    /// Whether this is the broken uniqueness of some key.
    fn is_unique_violation(&self) -> bool {
        matches!(self, StoreError::Database(sqlx::Error::Database(error)) if error.is_unique_violation())
    }
}

/// What is wrong with a value, as text.
struct Detail(String);

impl<T: std::fmt::Display> From<T> for Detail {
    fn from(detail: T) -> Self {
        Detail(detail.to_string())
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match code(&error) {
            Some(5 | 6) => StoreError::Locked,
            Some(13) => StoreError::Full,
            _ => StoreError::Database(error),
        }
    }
}

/// The database of `data_dir`.
#[must_use]
pub fn file_in(data_dir: &Path) -> PathBuf {
    data_dir.join("faxbridge.db")
}

/// The store: cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    engine: sqlite::Engine,
    node: String,
    origin: origin::Origin,
}

impl Store {
    /// Opens or makes the database in `data_dir` and brings its schema up to date. `node` names this process's leases. Only for
    /// who knows that nobody else is at work with it: the daemon, which holds the lock of `data_dir`.
    ///
    /// # Errors
    /// Where the file cannot be opened, or was written by a newer version.
    pub async fn open(data_dir: &Path, node: &str) -> Result<Store, StoreError> {
        Store::open_as(data_dir, node, sqlite::Outdated::Migrate).await
    }

    /// Whether mails may be known by keys that earlier versions recorded.
    #[must_use]
    pub fn has_former_keys(&self) -> bool {
        self.engine.has_former_keys()
    }

    /// Opens the database in `data_dir` as it is, beside a daemon that may be running.
    ///
    /// # Errors
    /// [`StoreError::OlderSchema`] where there is none yet, or it would have to be changed first; and as [`Store::open`].
    pub async fn join(data_dir: &Path, node: &str) -> Result<Store, StoreError> {
        Store::open_as(data_dir, node, sqlite::Outdated::Refuse).await
    }

    async fn open_as(data_dir: &Path, node: &str, outdated: sqlite::Outdated) -> Result<Store, StoreError> {
        let engine = sqlite::Engine::open(&file_in(data_dir), outdated).await?;
        Ok(Store { engine, node: node.to_owned(), origin: origin::Origin::default() })
    }

    /// Opens the database in `data_dir` without changing anything, for a look from outside; where there is none yet, an empty
    /// one. Whatever would write fails with [`StoreError::Closed`].
    ///
    /// # Errors
    /// Where the file cannot be read, or was written by another version.
    pub async fn look(data_dir: &Path) -> Result<Store, StoreError> {
        let engine = sqlite::Engine::look(&file_in(data_dir)).await?;
        Ok(Store { engine, node: "onlooker".to_owned(), origin: origin::Origin::default() })
    }

    /// A notice of commits by whichever process.
    #[must_use]
    pub fn commits(&self) -> Commits {
        let mut pulse = self.engine.pulse();
        pulse.mark_unchanged();
        Commits(pulse)
    }

    /// The name of this process's leases.
    #[must_use]
    pub fn node(&self) -> &str {
        &self.node
    }

    fn readers(&self) -> &Readers {
        self.engine.readers()
    }

    async fn write<T, F>(&self, request: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, Result<T, StoreError>> + Send + 'static,
    {
        self.engine.write(request).await
    }

    /// Leaves no trace of overwritten values (destroyed keys) in the database's log; false where a reader was in the way, and
    /// it has to be done again.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn scrub(&self) -> Result<bool, StoreError> {
        self.engine.checkpoint().await
    }

    /// Looks after the database's log, and says what is wrong with the database at this moment, for the operator.
    pub async fn tend(&self) -> Option<String> {
        self.engine.tend().await
    }

    /// Waits until the database failed, or its log could not be emptied; what was told while nobody waited is kept.
    pub async fn fared_ill(&self) {
        self.engine.health().fared_ill().await;
    }

    /// Whether the database's log could be emptied whenever it was tried.
    #[must_use]
    pub fn is_tidy(&self) -> bool {
        self.engine.health().is_tidy()
    }

    /// Drops the leases that this node held before it was restarted; returns how many there were.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn drop_own_leases(&self) -> Result<u64, StoreError> {
        let node = self.node.clone();
        self.write(move |tx| {
            Box::pin(async move {
                let mut dropped = 0;
                for sql in [
                    "UPDATE submission SET lease_by = NULL, lease_until = NULL WHERE lease_by = $1",
                    "UPDATE job SET lease_by = NULL, lease_until = NULL WHERE lease_by = $1",
                    "UPDATE outbox SET lease_by = NULL, lease_until = NULL WHERE lease_by = $1",
                    "UPDATE mailbox SET lease_by = NULL, lease_until = NULL WHERE lease_by = $1",
                ] {
                    dropped += sql::query(sql).bind(&node).execute(&mut *tx).await?;
                }
                Ok(dropped)
            })
        })
        .await
    }
}

/// A row that was read, or a line in the log about why it could not be.
fn told<T>(row: Result<T, StoreError>) -> Option<T> {
    row.inspect_err(|error| tracing::error!(error = %error, "a row is passed over: {error}")).ok()
}

/// A time as the store keeps it.
fn millis(at: Timestamp) -> i64 {
    at.as_millisecond()
}

/// A time from the store; what is out of range becomes the nearest that is not.
fn timestamp(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(millis).unwrap_or(if millis < 0 { Timestamp::MIN } else { Timestamp::MAX })
}

/// A count from the store, where negative or huge ones cannot be real.
fn count(n: i64) -> u32 {
    u32::try_from(n).unwrap_or(0)
}

#[cfg(test)]
mod tests;
