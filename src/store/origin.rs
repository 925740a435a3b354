//! Whether this database is the one that it was: a backup that is copied back has forgotten what was done since, and would have it
//! done again.
//!
//! Two files beside the database tell.
//!
//! * `store.mark` is made once and never written again. The database holds which file that is: its inode, when it was made and
//!   when it last changed, a time that no program can set. Where the whole folder is copied back, over the old one or in its
//!   place, the file is another one, or has changed.
//! * `store.count` holds how many Attempts were ever opened, written after each commit of one. The database counts them too. Where
//!   the database alone is copied back, it counts fewer than the file.
//!
//! What is not seen: a machine or a file system that was rolled back as a whole. There everything is as it was, and nothing
//! local can know. What is seen without need: `chown` or `chmod` of the folder with all that is in it, after which providers are
//! asked about some faxes that they never had.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Arc, OnceLock};

use jiff::Timestamp;

use super::ledger::LedgerEvent;
use super::sql::{self, Connection, FromRow};
use super::{Store, StoreError, ledger, millis, timestamp};
use crate::job::Actor;

const MARK: &str = "store.mark";
const COUNT: &str = "store.count";
/// Digits of the count, with the end of its line: always overwritten as a whole.
const DIGITS: usize = 20;

/// The file that counts Attempts, once it was opened. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Origin(Arc<OnceLock<File>>);

impl Origin {
    /// Notes how many Attempts were opened.
    pub(super) fn note(&self, attempts: i64) {
        let Some(file) = self.0.get() else { return };
        if let Err(error) = write_count(file, attempts) {
            tracing::error!(error = %error, "{COUNT}: how many attempts were made cannot be noted: {error}");
        }
    }
}

#[derive(FromRow)]
struct Row {
    marker: Option<String>,
    attempts: i64,
}

impl Store {
    /// Compares the database with the files beside it in `data_dir`, and makes those where there are none. Where it is older than
    /// it was, that is noted, and what was accepted up to `now` is faxed only after its provider was asked
    /// ([`Store::restored_at`]). Returns why it is taken to be older, if it is. For the daemon alone, while it holds the folder's
    /// lock.
    ///
    /// # Errors
    /// Where the database fails, or a file cannot be read or made.
    pub async fn meet_origin(
        &self,
        data_dir: &Path,
        now: Timestamp,
    ) -> Result<Option<&'static str>, StoreError> {
        let io = |error: io::Error| StoreError::Database(error.into());
        let found = identity(&data_dir.join(MARK)).map_err(io)?;
        let count = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(data_dir.join(COUNT))
            .map_err(io)?;
        let counted = read_count(&count).map_err(io)?;
        let row: Row =
            sql::query("SELECT marker, attempts FROM origin WHERE one = 1").fetch_one(self.readers()).await?;
        let older = why_older(&row, found.as_deref(), counted);
        let marker = match (found, older) {
            (Some(found), None) => found,
            // Made anew also where it is there: whoever copies this database once more must find another.
            _ => make_mark(data_dir).map_err(io)?,
        };
        let attempts = row.attempts.max(counted.unwrap_or(0));
        self.write(move |tx| {
            Box::pin(async move {
                sql::query(
                    "UPDATE origin SET marker = $1, attempts = $2, restored_at = COALESCE($3, restored_at) WHERE one = 1",
                )
                .bind(marker)
                .bind(attempts)
                .bind(older.map(|_| millis(now)))
                .execute(&mut *tx)
                .await?;
                if let Some(older) = older {
                    let entry = ledger::Entry::new(&Actor::Daemon, &LedgerEvent::CopiedBack { why: older });
                    ledger::write(tx, now, entry);
                }
                Ok(())
            })
        })
        .await?;
        write_count(&count, attempts).map_err(io)?;
        let _ = self.origin.0.set(count);
        Ok(older)
    }

    /// When the database was last found to be older than it was: what was accepted up to then may have been faxed without its
    /// knowing.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn restored_at(&self) -> Result<Option<Timestamp>, StoreError> {
        let at: Option<i64> =
            sql::query("SELECT restored_at FROM origin WHERE one = 1").scalar(self.readers()).await?;
        Ok(at.map(timestamp))
    }
}

/// Counts one more Attempt; returns how many there have been.
pub(super) async fn count_attempt(tx: &mut Connection) -> Result<i64, StoreError> {
    sql::query("UPDATE origin SET attempts = attempts + 1 WHERE one = 1 RETURNING attempts")
        .scalar(&mut *tx)
        .await
}

/// Why the database is older than it was, if it is.
fn why_older(row: &Row, found: Option<&str>, counted: Option<i64>) -> Option<&'static str> {
    if counted.is_some_and(|counted| counted > row.attempts) {
        return Some("fewer attempts than store.count");
    }
    match (&row.marker, found) {
        // Never met: a new database, or one of an older version.
        (None, None) => None,
        (None, Some(_)) => Some("the store.mark of another database"),
        (Some(_), None) => Some("no store.mark"),
        (Some(marker), Some(found)) if marker == found => None,
        (Some(_), Some(_)) => Some("another store.mark"),
    }
}

/// Which file lies at `path`; `None` where there is none.
fn identity(path: &Path) -> io::Result<Option<String>> {
    let meta = match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        meta => meta?,
    };
    let made = meta.created().ok().and_then(|made| made.duration_since(std::time::UNIX_EPOCH).ok());
    let made = made.map_or(0, |made| made.as_nanos());
    Ok(Some(format!("{} {made} {}.{:09}", meta.ino(), meta.ctime(), meta.ctime_nsec())))
}

/// Makes the marker anew; returns which file it is.
fn make_mark(data_dir: &Path) -> io::Result<String> {
    let path = data_dir.join(MARK);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    let text = b"Which file this is tells whether the database beside it was copied back. Do not touch.\n";
    file.write_all_at(text, 0)?;
    file.sync_all()?;
    drop(file);
    File::open(data_dir)?.sync_all()?;
    identity(&path)?.ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// What the file counts; `None` where it is empty or holds something else, as after a power cut.
fn read_count(file: &File) -> io::Result<Option<i64>> {
    let mut bytes = [0; DIGITS];
    let read = file.read_at(&mut bytes, 0)?;
    let text = bytes.get(..read).and_then(|bytes| std::str::from_utf8(bytes).ok());
    Ok(text.and_then(|text| text.trim().parse().ok()))
}

/// Not synced: it must outlive this process, and what a power cut takes of it was written moments before.
fn write_count(file: &File, attempts: i64) -> io::Result<()> {
    file.write_all_at(format!("{attempts:>width$}\n", width = DIGITS - 1).as_bytes(), 0)
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_790_000_000 + second).unwrap()
    }

    async fn open(dir: &Path) -> Store {
        Store::open(dir, "test").await.unwrap()
    }

    /// Counts attempts as opening them does.
    async fn attempt(store: &Store) {
        let attempts = store.write(|tx| Box::pin(async move { count_attempt(tx).await })).await.unwrap();
        store.origin.note(attempts);
    }

    /// Copies every file over what is there, in place, as `cp -r` does.
    fn copy(from: &Path, to: &Path, only: impl Fn(&str) -> bool) {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            if only(entry.file_name().to_str().unwrap()) {
                std::fs::write(to.join(entry.file_name()), std::fs::read(entry.path()).unwrap()).unwrap();
            }
        }
    }

    #[tokio::test]
    async fn a_database_knows_that_it_was_copied_back() {
        let (home, backup) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let (dir, saved) = (home.path(), backup.path());
        let store = open(dir).await;
        assert_eq!(store.meet_origin(dir, at(0)).await.unwrap(), None, "a new one");
        attempt(&store).await;
        drop(store);
        // Opened again and again it is what it was.
        for second in 1..3 {
            let store = open(dir).await;
            assert_eq!(store.meet_origin(dir, at(second)).await.unwrap(), None);
            assert_eq!(store.restored_at().await.unwrap(), None);
            store.scrub().await.unwrap();
        }
        copy(dir, saved, |_| true);
        let store = open(dir).await;
        assert_eq!(store.meet_origin(dir, at(9)).await.unwrap(), None);
        attempt(&store).await;
        store.scrub().await.unwrap();
        drop(store);

        // The database alone, over the newer one: the same inode, and it counts fewer.
        copy(saved, dir, |name| name.starts_with("faxbridge.db"));
        let store = open(dir).await;
        assert_eq!(store.meet_origin(dir, at(10)).await.unwrap(), Some("fewer attempts than store.count"));
        assert_eq!(store.restored_at().await.unwrap(), Some(at(10)));
        store.scrub().await.unwrap();
        drop(store);
        let store = open(dir).await;
        assert_eq!(store.meet_origin(dir, at(11)).await.unwrap(), None, "told once");
        assert_eq!(store.restored_at().await.unwrap(), Some(at(10)));
        drop(store);

        // The whole folder, over the newer one, where each file keeps its inode.
        copy(saved, dir, |_| true);
        let store = open(dir).await;
        assert_eq!(store.meet_origin(dir, at(20)).await.unwrap(), Some("another store.mark"));
        drop(store);

        // The whole folder, in another place.
        let other = TempDir::new().unwrap();
        copy(saved, other.path(), |_| true);
        let store = open(other.path()).await;
        assert_eq!(store.meet_origin(other.path(), at(30)).await.unwrap(), Some("another store.mark"));
        drop(store);

        // The database alone, in another place.
        let other = TempDir::new().unwrap();
        copy(saved, other.path(), |name| name == "faxbridge.db");
        let store = open(other.path()).await;
        assert_eq!(store.meet_origin(other.path(), at(40)).await.unwrap(), Some("no store.mark"));
    }

    #[test]
    fn what_a_count_says() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("count");
        for (text, count) in [("", None), ("x", None), ("                  7\n", Some(7)), ("12\n", Some(12))]
        {
            std::fs::write(&path, text).unwrap();
            let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
            assert_eq!(read_count(&file).unwrap(), count, "{text:?}");
            write_count(&file, 345).unwrap();
            assert_eq!(read_count(&file).unwrap(), Some(345));
        }
    }
}
