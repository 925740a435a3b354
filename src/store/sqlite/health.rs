//! How the database fares: whether commits go through, and whether its log can be emptied.
//!
//! Another program that holds a read transaction (a viewer, a backup script) keeps the log from being emptied: it grows, and
//! what was overwritten in the database, destroyed keys among it, can still be read there. Nobody waits for that program; whoever
//! runs this is told, with the program's name where the system tells it.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::locks;
use crate::store::StoreError;

/// A log that is larger is emptied, whether anything was overwritten or not.
pub(super) const GROWN: u64 = 16 << 20;
/// A log that is larger and cannot be emptied is told.
const TOO_LARGE: u64 = 128 << 20;
/// So long a log may stay as it is before that is told.
const PATIENCE: Duration = Duration::from_secs(30);

/// See the module.
#[derive(Debug, Default)]
pub(in crate::store) struct Health {
    noted: Mutex<Noted>,
    ill: Notify,
}

#[derive(Debug, Default)]
struct Noted {
    /// When the database last failed, and how; forgotten with the next commit.
    failure: Option<String>,
    /// Since when the log cannot be emptied.
    blocked: Option<Instant>,
}

impl Health {
    fn lock(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// See [`crate::store::Store::fared_ill`].
    pub(in crate::store) async fn fared_ill(&self) {
        self.ill.notified().await;
    }

    /// See [`crate::store::Store::is_tidy`].
    pub(in crate::store) fn is_tidy(&self) -> bool {
        self.lock().blocked.is_none()
    }

    /// Notes `error`, where it is the database's own.
    pub(super) fn failed(&self, error: &StoreError) {
        if error.is_grave() {
            // Told once: noting the alarm may fail too.
            if self.lock().failure.replace(error.to_string()).is_none() {
                self.ill.notify_one();
            }
        }
    }

    /// Notes a commit that went through.
    pub(super) fn committed(&self) {
        self.lock().failure = None;
    }

    /// Notes whether the log could be emptied; returns that.
    pub(super) fn checkpoint(&self, done: bool) -> bool {
        let mut noted = self.lock();
        let was_blocked = noted.blocked.is_some();
        noted.blocked = if done { None } else { noted.blocked.or(Some(Instant::now())) };
        if !done && !was_blocked {
            self.ill.notify_one();
        }
        done
    }

    /// What is wrong with the database at `path` at this moment.
    pub(super) fn trouble(&self, path: &Path) -> Option<String> {
        let (failure, blocked) = {
            let noted = self.lock();
            (noted.failure.clone(), noted.blocked)
        };
        let path_shown = path.display();
        if let Some(failure) = failure {
            return Some(format!("{path_shown}: {failure}"));
        }
        let blocked = blocked?;
        if blocked.elapsed() < PATIENCE && log_bytes(path) < TOO_LARGE {
            return None;
        }
        let who = locks::readers(&beside(path, "-shm"));
        let who = if who.is_empty() { "another program".to_owned() } else { who.join(", ") };
        // Sizes change from look to look; the sentence should not.
        Some(format!(
            "{path_shown}: {who} holds a read transaction, so that the database's log (faxbridge.db-wal) grows and destroyed keys \
             stay readable in it; end that program, or let it read a copy"
        ))
    }
}

/// How large the log of the database at `path` is.
pub(super) fn log_bytes(path: &Path) -> u64 {
    std::fs::metadata(beside(path, "-wal")).map_or(0, |facts| facts.len())
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_databases_own_trouble_is_told_and_a_commit_ends_it() {
        let (health, path) = (Health::default(), Path::new("/nowhere/faxbridge.db"));
        health.failed(&StoreError::Closed);
        health.failed(&StoreError::unreadable("job 1", "no state"));
        assert_eq!(health.trouble(path), None);
        health.failed(&StoreError::Full);
        let told = health.trouble(path).unwrap();
        assert!(told.starts_with("/nowhere/faxbridge.db: ") && told.contains("make room"), "{told}");
        health.committed();
        assert_eq!(health.trouble(path), None);
    }

    #[test]
    fn a_reader_in_the_way_is_told_after_a_while() {
        let (health, path) = (Health::default(), Path::new("/nowhere/faxbridge.db"));
        assert!(!health.checkpoint(false));
        assert_eq!(health.trouble(path), None);
        health.lock().blocked = Instant::now().checked_sub(PATIENCE);
        health.checkpoint(false);
        assert!(health.trouble(path).unwrap().contains("another program holds a read transaction"));
        assert!(health.checkpoint(true));
        assert_eq!(health.trouble(path), None);
    }
}
