//! Files: what an answer has to know about one, and result files that wait.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::store::{ResultRow, SealedResult};
use crate::vault::{Vault, VaultError, WrappedKey};

/// What an answer that is made later has to know about the file that causes it: one that came before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileNote {
    /// Its name, as its sender wrote it.
    pub name: String,
    /// Its SHA-256, hex.
    pub sha256: String,
}

impl FileNote {
    fn context(submission: &str) -> String {
        format!("file note {submission}")
    }

    /// Seals it under the master key, for the answer about `submission`.
    ///
    /// # Errors
    /// Where sealing fails.
    pub fn seal(&self, vault: &Vault, submission: &str) -> Result<Vec<u8>, VaultError> {
        vault.seal(&Self::context(submission), &serde_json::to_vec(self).unwrap_or_default())
    }

    /// Opens a sealed note.
    ///
    /// # Errors
    /// Where it is damaged.
    pub fn open(vault: &Vault, submission: &str, sealed: &[u8]) -> Result<Self, VaultError> {
        let plain = vault.open(&Self::context(submission), sealed)?;
        serde_json::from_slice(&plain)
            .map_err(|_| VaultError::Damaged { what: "the note about a file".into() })
    }
}

/// A result file that waits to be picked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResultFile {
    /// Names it for `Intake::remove_result`.
    pub id: String,
    /// File name.
    pub name: String,
    /// Content.
    pub body: Vec<u8>,
    /// When it was made.
    pub at: Timestamp,
}

impl ResultFile {
    /// Name and content as one sealed value; the opposite of [`ResultFile::open`].
    ///
    /// # Errors
    /// Where sealing fails.
    pub fn seal(vault: &Vault, id: &str, name: &str, body: &[u8]) -> Result<SealedResult, VaultError> {
        let plain = [name.as_bytes(), b"\n", body].concat();
        let (key, WrappedKey(wrapped_key)) = vault.new_key()?;
        Ok(SealedResult { wrapped_key, body: key.seal(&format!("result {id}"), &plain)? })
    }

    /// Opens a sealed result file.
    ///
    /// # Errors
    /// Where it is damaged.
    pub fn open(vault: &Vault, row: ResultRow) -> Result<Self, VaultError> {
        let context = format!("result {}", row.id);
        let plain = match row.wrapped_key {
            Some(wrapped) => vault.unwrap_key(&WrappedKey(wrapped))?.open(&context, &row.body)?,
            None => vault.open(&context, &row.body)?,
        };
        let at = Timestamp::from_millisecond(row.made_at).unwrap_or(Timestamp::MIN);
        let cut = memchr::memchr(b'\n', &plain).unwrap_or(0);
        let (name, body) = plain.split_at(cut);
        let name = String::from_utf8_lossy(name).into_owned();
        Ok(ResultFile { id: row.id, name, body: body.get(1..).unwrap_or_default().to_vec(), at })
    }
}
