//! What is known about a Submission that only its own key can read: its facts, its parts list, what came of the command in it.

use serde::{Deserialize, Serialize};

use crate::config::Proof;
use crate::job::{JobId, SubmissionId, word_type};
use crate::store::Counts;
use crate::vault::{SealKey, VaultError};

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
    /// Names of the further files, where it has several documents.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub further_files: Vec<String>,
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
    /// The envelope recipients that the doubt is about; all of them where none is named.
    #[serde(default)]
    pub doubtful: Vec<String>,
    /// What the client of a mail asked to be told.
    #[serde(default)]
    pub dsn: Option<Dsn>,
    /// By which a mail is known whichever way it comes and whomever it is addressed to.
    #[serde(default)]
    pub mail: Option<MailMark>,
    /// Its faxes that were made before, of the same mail.
    #[serde(default)]
    pub before: Vec<Before>,
    /// Why nothing of it is faxed, for the sender; where that is so.
    pub refusal: Option<String>,
    /// What came of the command in it; where it was an answer to a receipt.
    #[serde(default)]
    pub command: Option<Carried>,
    /// The parts list.
    #[serde(default)]
    pub parts: Vec<Part>,
}

impl SubmissionFacts {
    /// The context under which these facts are sealed.
    const CONTEXT: &'static str = "submission facts";

    /// Seals them under the Submission's key.
    ///
    /// # Errors
    /// Where sealing fails.
    pub fn seal(&self, key: &SealKey) -> Result<Vec<u8>, VaultError> {
        key.seal(Self::CONTEXT, &serde_json::to_vec(self).unwrap_or_default())
    }

    /// Opens sealed facts.
    ///
    /// # Errors
    /// Where they are damaged or the key is another's.
    pub fn open(key: &SealKey, sealed: &[u8]) -> Result<Self, VaultError> {
        let plain = key.open(Self::CONTEXT, sealed)?;
        serde_json::from_slice(&plain)
            .map_err(|_| VaultError::Damaged { what: "the facts of a submission".into() })
    }
}

/// By which a mail is known whichever way it comes and whomever it is addressed to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MailMark {
    /// The mark of all that it is.
    pub mark: String,
    /// Which mails of before count.
    pub counts: Counts,
}

/// A fax that was made before, of the same mail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Before {
    /// The envelope recipients that it stands for.
    pub to: Vec<String>,
    /// Which.
    pub job: JobId,
    /// As what its mail was accepted.
    pub submission: SubmissionId,
}

/// One part of a mail, or the file itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Its file name without any path, at most 120 characters; for a part without one, what it is in plain words.
    pub name: String,
    /// What it really is, by its content first.
    pub kind: PartKind,
    /// What the mail says it is, as `application/pdf`.
    pub media_type: String,
    /// SHA-256 of the decoded bytes, in hexadecimal digits.
    pub sha256: String,
    /// How many decoded bytes.
    pub bytes: u64,
    /// First and last page among the packet's pages, from 1, cover not counted, before any selection.
    pub pages: Option<(u32, u32)>,
    /// Why no page is made of it, where nothing is lost by that.
    pub left_out: Option<String>,
    /// Why it holds the packet.
    pub holds: Option<String>,
    /// The text of the mail came from this part; from more than one where the text lies around the documents. Where the
    /// text is faxed as pages, those (`Made::body`) are the pages of these parts.
    #[serde(default)]
    pub body: bool,
}

/// What a part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PartKind {
    /// A PDF document.
    Pdf,
    /// Plain text.
    Text,
    /// HTML.
    Html,
    /// A picture.
    Image,
    /// A mail within the mail.
    Mail,
    /// Anything else.
    Other,
}

impl PartKind {
    /// Its word, as in `preview`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            PartKind::Pdf => "pdf",
            PartKind::Text => "text",
            PartKind::Html => "html",
            PartKind::Image => "image",
            PartKind::Mail => "mail",
            PartKind::Other => "other",
        }
    }
}

word_type!(
    /// What came of a command.
    CommandOutcome {
        /// Something changed as it said.
        Done = "done",
        /// It asked, and is told.
        Told = "told",
        /// Nothing changed.
        NotDone = "not_done",
    }
);

/// What a command came to: kept sealed with the Submission that it came as, for its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Carried {
    /// The Submission it was about; `None` where its sender may not hear of that one.
    pub about: Option<SubmissionId>,
    /// What came of it.
    pub outcome: CommandOutcome,
    /// The same in sentences for the sender.
    pub sentence: String,
}
