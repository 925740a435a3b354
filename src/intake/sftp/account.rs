//! What belongs to one user of the SFTP server: who that is, the files that were accepted, the results that wait.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;

use crate::config::NamePattern;
use crate::intake::{Intake, Refusal};
use crate::job::{Source, SubmissionId};
use crate::sealed::{ResultFile, SubmissionFacts};
use crate::store::SubmissionFilter;
use crate::vault::WrappedKey;

/// A user of the SFTP server.
#[derive(Debug, Clone)]
pub struct SftpUser {
    /// Name at sign-in.
    pub user: String,
    /// The sender for whom its files are faxed.
    pub sender: String,
    /// Public keys, OpenSSH format.
    pub keys: Vec<String>,
    /// Whether their client is too old for the listener that all others use.
    pub legacy: bool,
    /// Names of theirs that are not final, beside those that are known.
    pub temporary_names: Vec<NamePattern>,
    /// Names of theirs that are final whatever they look like.
    pub final_names: Vec<NamePattern>,
}

/// A file that was accepted and whose fax has not ended: clients may look for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drop {
    /// Name as its sender wrote it.
    pub name: String,
    /// Size.
    pub bytes: u64,
    /// When it was accepted.
    pub at: Timestamp,
}

/// The drops that [`Intake::drops`] has unsealed already, so that a client that looks after each upload costs little. Shared with
/// whoever destroys the keys: names are forgotten with them. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Seen(Arc<Mutex<HashMap<SubmissionId, Drop>>>);

impl Seen {
    /// Forgets the name of the file that became `id`.
    pub fn forget(&self, id: SubmissionId) {
        if let Ok(mut seen) = self.0.lock() {
            seen.remove(&id);
        }
    }

    fn get(&self, id: SubmissionId) -> Option<Drop> {
        self.0.lock().ok()?.get(&id).cloned()
    }

    fn keep(&self, id: SubmissionId, found: Drop) {
        let Ok(mut seen) = self.0.lock() else { return };
        if seen.len() >= SEEN_AT_MOST {
            seen.clear();
        }
        seen.insert(id, found);
    }
}

/// Drops whose names are kept in memory.
const SEEN_AT_MOST: usize = 20_000;

impl Intake {
    /// The SFTP user of this name.
    #[must_use]
    pub fn sftp_user(&self, user: &str) -> Option<SftpUser> {
        let sender =
            self.inner.config.sender.iter().find(|sender| sender.sftp_user.as_deref() == Some(user))?;
        Some(SftpUser {
            user: user.to_owned(),
            sender: sender.name.clone(),
            keys: sender.sftp_keys.clone(),
            legacy: sender.sftp_legacy,
            temporary_names: sender.temporary_names.clone(),
            final_names: sender.final_names.clone(),
        })
    }

    /// The files of this SFTP user that were accepted and whose faxes have not ended, oldest first.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn drops(&self, user: &str) -> Result<Vec<Drop>, Refusal> {
        let filter = SubmissionFilter { source: Some(Source::Sftp(user.to_owned())), open: true };
        let open = self.inner.store.submissions(&filter, 10_000).await?;
        let mut drops = Vec::with_capacity(open.len());
        for submission in open.into_iter().rev() {
            if let Some(known) = self.seen.get(submission.id) {
                drops.push(known);
                continue;
            }
            let Some(wrapped) = submission.wrapped_key else { continue };
            let key = self.inner.spool.vault().unwrap_key(&WrappedKey(wrapped))?;
            let facts = SubmissionFacts::open(&key, &submission.facts)?;
            let Some(name) = facts.file else { continue };
            let found = Drop { name, bytes: submission.bytes, at: submission.accepted_at };
            self.seen.keep(submission.id, found.clone());
            drops.push(found);
        }
        Ok(drops)
    }

    /// The result files that wait for this SFTP user, oldest first.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn results(&self, user: &str) -> Result<Vec<ResultFile>, Refusal> {
        let rows = self.inner.store.results(user).await?;
        rows.into_iter().map(|row| Ok(ResultFile::open(self.inner.spool.vault(), row)?)).collect()
    }

    /// Removes a result file that was picked up.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn remove_result(&self, user: &str, id: &str) -> Result<(), Refusal> {
        self.inner.store.remove_result(user, id).await?;
        Ok(())
    }
}
