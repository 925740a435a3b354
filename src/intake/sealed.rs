//! What intake keeps sealed beside the documents: facts of a Submission under its own key, result files each under a key that ends
//! with it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::config::Proof;
use crate::spool::{SealKey, Spool, SpoolError, WrappedKey};
use crate::store::{ResultRow, SealedResult};

/// What a mail's client asked to be told about its fate (RFC 3461).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dsn {
    /// ENVID of MAIL, decoded.
    pub envelope_id: Option<String>,
    /// RET=FULL was asked for. Documents are never returned; kept for the record.
    pub full: bool,
    /// What was asked for each recipient.
    pub recipients: Vec<DsnRecipient>,
}

/// See [`Dsn`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DsnRecipient {
    /// Envelope recipient.
    pub to: String,
    /// ORCPT, as `rfc822;jane@example.com`.
    pub original: Option<String>,
    /// NOTIFY has FAILURE.
    pub failure: bool,
    /// NOTIFY has SUCCESS.
    pub success: bool,
    /// NOTIFY=NEVER.
    pub never: bool,
}

/// What is known about a Submission that only its own key can read. Grows while it is prepared.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct SubmissionFacts {
    /// Envelope sender of a mail.
    pub envelope_from: Option<String>,
    /// Envelope recipients of a mail.
    pub envelope_to: Vec<String>,
    /// Name of a file.
    pub file: Option<String>,
    /// Whether it is a file whose bytes end before its document does.
    #[serde(default)]
    pub cut: bool,
    /// Message-ID of a mail, for the thread of its answers.
    #[serde(default)]
    pub message_id: Option<String>,
    /// SHA-256 of what came in, hex; none of a file that was not taken in.
    #[serde(default)]
    pub sha256: Option<String>,
    /// It was not taken, and lies where it was.
    #[serde(default)]
    pub left: bool,
    /// What proved that a mail is its sender's.
    #[serde(default)]
    pub proof: Option<Proof>,
    /// What that proof leaves open, for the sender; a person has to look at the mail then.
    #[serde(default)]
    pub doubt: Option<String>,
    /// What the client of a mail asked to be told.
    #[serde(default)]
    pub dsn: Option<Dsn>,
    /// Why nothing of it is faxed, for the sender; where that is so.
    pub refusal: Option<String>,
    /// What came of the command in it; where it was an answer to a receipt.
    #[serde(default)]
    pub command: Option<crate::commands::Carried>,
    /// The parts list.
    #[serde(default)]
    pub parts: Vec<crate::packet::Part>,
}

impl SubmissionFacts {
    /// The context under which these facts are sealed.
    const CONTEXT: &'static str = "submission facts";

    /// Seals them under the Submission's key.
    ///
    /// # Errors
    /// Where sealing fails.
    pub fn seal(&self, key: &SealKey) -> Result<Vec<u8>, SpoolError> {
        key.seal(Self::CONTEXT, &serde_json::to_vec(self).unwrap_or_default())
    }

    /// Opens sealed facts.
    ///
    /// # Errors
    /// Where they are damaged or the key is another's.
    pub fn open(key: &SealKey, sealed: &[u8]) -> Result<Self, SpoolError> {
        let plain = key.open(Self::CONTEXT, sealed)?;
        serde_json::from_slice(&plain)
            .map_err(|_| SpoolError::Damaged { what: "the facts of a submission".into() })
    }
}

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
    pub fn seal(&self, spool: &Spool, submission: &str) -> Result<Vec<u8>, SpoolError> {
        spool.master_seal(&Self::context(submission), &serde_json::to_vec(self).unwrap_or_default())
    }

    /// Opens a sealed note.
    ///
    /// # Errors
    /// Where it is damaged.
    pub fn open(spool: &Spool, submission: &str, sealed: &[u8]) -> Result<Self, SpoolError> {
        let plain = spool.master_open(&Self::context(submission), sealed)?;
        serde_json::from_slice(&plain)
            .map_err(|_| SpoolError::Damaged { what: "the note about a file".into() })
    }
}

/// A result file that waits to be picked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResultFile {
    /// Names it for [`super::Intake::remove_result`].
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
    pub fn seal(spool: &Spool, id: &str, name: &str, body: &[u8]) -> Result<SealedResult, SpoolError> {
        let plain = [name.as_bytes(), b"\n", body].concat();
        let (key, WrappedKey(wrapped_key)) = spool.new_key()?;
        Ok(SealedResult { wrapped_key, body: key.seal(&format!("result {id}"), &plain)? })
    }

    /// Opens a sealed result file.
    ///
    /// # Errors
    /// Where it is damaged.
    pub fn open(spool: &Spool, row: ResultRow) -> Result<Self, SpoolError> {
        let context = format!("result {}", row.id);
        let plain = match row.wrapped_key {
            Some(wrapped) => spool.unwrap_key(&WrappedKey(wrapped))?.open(&context, &row.body)?,
            None => spool.master_open(&context, &row.body)?,
        };
        let at = Timestamp::from_millisecond(row.made_at).unwrap_or(Timestamp::MIN);
        let cut = memchr::memchr(b'\n', &plain).unwrap_or(0);
        let (name, body) = plain.split_at(cut);
        let name = String::from_utf8_lossy(name).into_owned();
        Ok(ResultFile { id: row.id, name, body: body.get(1..).unwrap_or_default().to_vec(), at })
    }
}
