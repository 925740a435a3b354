//! SQLite as the store's engine: one writer whose commits carry many requests, and a pool of readers.
//!
//! `synchronous=FULL` makes each commit wait for the disk, and SQLite has one writer at a time. So all writes go through one
//! task: it takes what has queued up meanwhile, runs each request in a savepoint of one transaction, commits once, and only
//! then answers them all. Many submissions share one sync; a request that fails undoes only itself. (Measured: a pool of
//! writing connections is 5 to 33 times slower.)
//!
//! Every statement is carried to SQLite's own thread and its end back, which takes longer than most of them. So a request
//! that is alone gets no savepoint, a transaction begins with its first statement, between two requests one statement ends the one
//! and begins the other, and the ledger's new rows are written with the commit, behind the row that was the last: where another
//! process has added one since, theirs are refused, and they are chained anew. And the writer has a thread of its own, since waking a runtime's worker each time wakes a second one, to look whether there is more to do.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection as _};
use tokio::sync::{mpsc, oneshot, watch};

use super::StoreError;
use super::ledger::Link;
use super::sql::{self, Connection, Readers};

mod chain;
pub(super) mod codes;
mod health;
mod locks;
mod pulse;
mod schema;

use chain::chain;
use health::Health;
use schema::Found;

/// Requests that one commit may carry.
const BATCH: usize = 256;
/// Statements that a connection keeps prepared: more than there are in the source, each once more with the beginning.
const STATEMENTS: usize = 512;
/// How long a write waits for another process (the command line) that holds the database. Then whoever waits at a way in is
/// told to try again later.
const BUSY: Duration = Duration::from_secs(5);
/// A checkpoint waits for nobody: it is tried so often, with these pauses.
const CHECKPOINT_TRIES: u32 = 5;
const CHECKPOINT_PAUSE: Duration = Duration::from_millis(20);
/// How the schema came to be what it is.
pub(super) static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("src/store/migrations/sqlite");
/// The engine as sqlx calls it.
pub(super) type Database = sqlx::Sqlite;
/// What a request leaves behind: called with the commit's fate, it answers whoever asked.
type CommitAnswer = Box<dyn FnOnce(Result<(), StoreError>) + Send>;
/// Given the open transaction, does its work in it; given an error, only passes that on.
type Request = Box<
    dyn for<'c> FnOnce(Result<&'c mut Connection, StoreError>) -> BoxFuture<'c, (CommitAnswer, Done)> + Send,
>;

/// Whether what a request did is to be kept.
enum Done {
    Keep,
    /// With the database's own trouble, where that was the reason.
    Undo(Option<StoreError>),
}

/// What is known of the ledger's last row.
enum Last {
    /// It has to be read.
    Unknown,
    /// As this writer left it; another process may have added one since.
    Known(Option<Link>),
}

/// What may be done to a database whose schema is not of this version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outdated {
    /// It is brought up to date, or made.
    Migrate,
    /// Nothing: another process may be at work with it.
    Refuse,
}

/// The engine: cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Engine {
    requests: mpsc::Sender<Request>,
    readers: Readers,
    options: SqliteConnectOptions,
    path: PathBuf,
    health: Arc<Health>,
    pulse: watch::Receiver<u64>,
    has_former_keys: bool,
}

impl Engine {
    pub(super) fn health(&self) -> &Health {
        &self.health
    }

    /// Changes soon after a commit that changed something, whichever process made it.
    pub(super) fn pulse(&self) -> watch::Receiver<u64> {
        self.pulse.clone()
    }

    /// See [`super::Store::has_former_keys`].
    pub(super) fn has_former_keys(&self) -> bool {
        self.has_former_keys
    }

    /// Opens the database at `path` and starts the writer.
    pub(super) async fn open(path: &Path, outdated: Outdated) -> Result<Self, StoreError> {
        let there = exists(path)?;
        if !there && outdated == Outdated::Refuse {
            return Err(StoreError::OlderSchema { path: path.to_owned() });
        }
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            // A destroyed key must not linger in a free page.
            .pragma("secure_delete", "ON")
            .busy_timeout(BUSY)
            // No statement is prepared twice, the writer's own and those with lists included.
            .statement_cache_capacity(STATEMENTS)
            .disable_statement_logging();
        let opening = |error| StoreError::opening(path, error);
        let mut connection = SqliteConnection::connect_with(&options).await.map_err(opening)?;
        let found = schema::found(&mut connection, path).await?;
        if found != Found::Current {
            if outdated == Outdated::Refuse {
                return Err(StoreError::OlderSchema { path: path.to_owned() });
            }
            MIGRATIONS.run(&mut connection).await.map_err(|error| StoreError::migrating(path, error))?;
            if found == Found::None {
                schema::born(&mut connection).await.map_err(opening)?;
            }
        }
        let has_former_keys = schema::has_former_keys(&mut connection).await.map_err(opening)?;
        let readers = SqlitePoolOptions::new()
            .max_connections(4)
            .acquire_timeout(BUSY * 2)
            .connect_with(options.clone().read_only(true).create_if_missing(false))
            .await
            .map_err(opening)?;
        let (requests, queue) = mpsc::channel(1024);
        let looking = options.clone().read_only(true).create_if_missing(false);
        let looking = SqliteConnection::connect_with(&looking).await.map_err(opening)?;
        let (beat, pulse) = watch::channel(0);
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().build().map_err(sqlx::Error::Io)?;
        let health: Arc<Health> = Arc::default();
        let noted = Arc::clone(&health);
        let work = async move {
            // Ends when the last handle is gone and all that it was asked for is done.
            tokio::select! {
                () = write_all(Connection::new(connection), queue, &noted) => {}
                () = pulse::beat(looking, &beat) => {}
            }
        };
        thread::Builder::new()
            .name("store".into())
            .spawn(move || runtime.block_on(work))
            .map_err(sqlx::Error::Io)?;
        let path = path.to_owned();
        Ok(Engine { requests, readers: Readers(readers), options, path, health, pulse, has_former_keys })
    }

    /// Opens the database at `path` to be read only, beside a daemon or without one; an empty one in memory stands in where
    /// there is none. Writes fail as on a closed store.
    pub(super) async fn look(path: &Path) -> Result<Self, StoreError> {
        let (requests, _) = mpsc::channel(1);
        let (_, pulse) = watch::channel(0);
        let pool = SqlitePoolOptions::new().max_connections(1).idle_timeout(None).max_lifetime(None);
        let (path, health, has_former_keys) = (path.to_owned(), Arc::default(), false);
        if !exists(&path)? {
            let options = SqliteConnectOptions::new().in_memory(true).disable_statement_logging();
            let readers = pool.connect_with(options.clone()).await?;
            MIGRATIONS.run(&readers).await.map_err(|error| StoreError::migrating(&path, error))?;
            return Ok(Engine {
                requests,
                readers: Readers(readers),
                options,
                path,
                health,
                pulse,
                has_former_keys,
            });
        }
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .read_only(true)
            .busy_timeout(BUSY)
            .disable_statement_logging();
        let opening = |error| StoreError::opening(&path, error);
        let readers = pool.connect_with(options.clone()).await.map_err(opening)?;
        let mut connection = readers.acquire().await.map_err(opening)?;
        let current = schema::found(&mut connection, &path).await? == Found::Current;
        drop(connection);
        if !current {
            return Err(StoreError::OlderSchema { path });
        }
        Ok(Engine { requests, readers: Readers(readers), options, path, health, pulse, has_former_keys })
    }

    /// The pool for queries that change nothing.
    pub(super) fn readers(&self) -> &Readers {
        &self.readers
    }

    /// Moves the log into the database and empties it, so that what was overwritten there is gone from the log too. False
    /// where a reader was in the way: then it did what it could. It waits for no reader, since all writes would wait with it.
    pub(super) async fn checkpoint(&self) -> Result<bool, StoreError> {
        let options = self.options.clone().busy_timeout(Duration::ZERO);
        let mut connection = match SqliteConnection::connect_with(&options).await.map_err(StoreError::from) {
            Ok(connection) => connection,
            Err(StoreError::Locked) => return Ok(self.health.checkpoint(false)),
            Err(error) => return Err(error),
        };
        let mut done = false;
        for _ in 0..CHECKPOINT_TRIES {
            let answer: Result<(i64, i64, i64), _> =
                sqlx::query_as("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(&mut connection).await;
            done = match answer.map_err(StoreError::from) {
                Ok((busy, _, _)) => busy == 0,
                Err(StoreError::Locked) => false,
                Err(error) => return Err(error),
            };
            if done {
                break;
            }
            tokio::time::sleep(CHECKPOINT_PAUSE).await;
        }
        connection.close().await?;
        Ok(self.health.checkpoint(done))
    }

    /// Empties a log that has grown, and says what is wrong with the database at this moment.
    pub(super) async fn tend(&self) -> Option<String> {
        if health::log_bytes(&self.path) > health::GROWN
            && let Err(error) = self.checkpoint().await
        {
            self.health.failed(&error);
        }
        self.health.trouble(&self.path)
    }

    /// Runs `request` in a transaction; returns after the commit is on disk.
    pub(super) async fn write<T, F>(&self, request: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, Result<T, StoreError>> + Send + 'static,
    {
        let (sender, receiver) = oneshot::channel();
        let health = Arc::clone(&self.health);
        let request: Request = Box::new(move |connection| {
            Box::pin(async move {
                let result = match connection {
                    Ok(connection) => request(connection).await,
                    Err(error) => Err(error),
                };
                if let Err(error) = &result {
                    health.failed(error);
                }
                let done = match &result {
                    Ok(_) => Done::Keep,
                    Err(error) => Done::Undo(error.is_grave().then(|| error.same())),
                };
                let answer: CommitAnswer = Box::new(move |fate| {
                    // Nobody waits any more when the asker was cancelled; the commit stands all the same.
                    let _ = sender.send(fate.and(result));
                });
                (answer, done)
            })
        });
        self.requests.send(request).await.map_err(|_| StoreError::Closed)?;
        receiver.await.map_err(|_| StoreError::Closed)?
    }
}

/// Whether there is a file at `path`. One that may not be looked at is not one that is missing.
fn exists(path: &Path) -> Result<bool, StoreError> {
    match std::fs::metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(StoreError::opening(path, sqlx::Error::Io(error))),
    }
}

async fn write_all(mut connection: Connection, mut queue: mpsc::Receiver<Request>, health: &Health) {
    let mut batch = Vec::with_capacity(BATCH);
    let mut last = Last::Unknown;
    while queue.recv_many(&mut batch, BATCH).await > 0 {
        let mut answers = Vec::with_capacity(batch.len());
        let fate = write_batch(&mut connection, &mut batch, &mut answers, &mut last).await;
        if fate.is_ok() {
            health.committed();
        }
        if let Err(error) = &fate {
            health.failed(error);
            tracing::error!(error = %error, "a commit failed, nothing of it is kept: {error}");
            (last, connection.begin) = (Last::Unknown, None);
            // Fails where SQLite has rolled back by itself already; both ways nothing of the batch remains.
            let _ = run(&mut connection, "ROLLBACK").await;
            for request in batch.drain(..) {
                answers.push(request(Err(error.same())).await.0);
            }
        }
        for answer in answers {
            answer(match &fate {
                Ok(()) => Ok(()),
                Err(error) => Err(error.same()),
            });
        }
    }
}

/// One transaction. What has not been run when it breaks stays in the batch: SQLite ends a transaction by itself on some
/// errors, a full disk among them, and the next statement of ours then fails.
async fn write_batch(
    connection: &mut Connection,
    batch: &mut Vec<Request>,
    answers: &mut Vec<CommitAnswer>,
    last: &mut Last,
) -> Result<(), StoreError> {
    let alone = batch.len() == 1;
    connection.entries.clear();
    connection.begin = Some(if alone { "BEGIN IMMEDIATE" } else { "BEGIN IMMEDIATE; SAVEPOINT request" });
    while !batch.is_empty() {
        let request = batch.remove(0);
        let entries = connection.entries.len();
        let to_begin = connection.begin.is_some();
        let (answer, done) = request(Ok(&mut *connection)).await;
        answers.push(answer);
        if let Done::Undo(grave) = &done {
            connection.entries.truncate(entries);
            if let (true, Some(error)) = (to_begin, grave) {
                // It may have been the beginning that failed.
                return Err(error.same());
            }
        }
        let commit = match (alone, batch.is_empty(), done) {
            (true, _, Done::Keep) => concat!(chain!(), "COMMIT"),
            (true, _, Done::Undo(_)) => {
                if connection.begin.take().is_some() {
                    break;
                }
                // Fails where SQLite has rolled back by itself already. Whoever asked hears why, from its own statement.
                let _ = run(connection, "ROLLBACK").await;
                break;
            }
            (false, false, Done::Keep) => {
                run(connection, "RELEASE request; SAVEPOINT request").await?;
                continue;
            }
            (false, false, Done::Undo(_)) => {
                // The savepoint stays behind ROLLBACK TO.
                run(connection, "ROLLBACK TO request").await?;
                continue;
            }
            (false, true, Done::Keep) => concat!("RELEASE request; ", chain!(), "COMMIT"),
            (false, true, Done::Undo(_)) => {
                concat!("ROLLBACK TO request; RELEASE request; ", chain!(), "COMMIT")
            }
        };
        return end(connection, commit, last).await;
    }
    Ok(())
}

/// Ends the transaction by `commit`, which adds the ledger's rows.
async fn end(connection: &mut Connection, commit: &'static str, last: &mut Last) -> Result<(), StoreError> {
    let before = match last {
        Last::Known(row) => row.take(),
        Last::Unknown => chain::last(connection).await?,
    };
    let (rows, mut row) = chain::rows(before.as_ref(), &connection.entries);
    let ended = sql::query(commit).bind(rows).execute(connection).await;
    if ended.as_ref().is_err_and(StoreError::is_unique_violation) {
        // Another process has added a row. What stands in `commit` before the ledger's rows is done.
        let before = chain::last(connection).await?;
        let (rows, anew) = chain::rows(before.as_ref(), &connection.entries);
        sql::query(concat!(chain!(), "COMMIT")).bind(rows).execute(connection).await?;
        row = anew;
    } else {
        ended?;
    }
    *last = Last::Known(row);
    Ok(())
}

async fn run(connection: &mut Connection, sql: &'static str) -> Result<(), StoreError> {
    sql::query(sql).execute(connection).await?;
    Ok(())
}
