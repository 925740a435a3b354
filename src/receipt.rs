//! What is said to a sender. Pure: an [`Account`] of what happened goes in, one answer in three forms comes out.
//!
//! Each Submission gets exactly one [`AnswerKind::Final`], when every Job of it is final or it was refused ([`AnswerKind::Command`] where it
//! was itself an answer to a receipt); a Job that waits for a person gets a [`AnswerKind::Held`] before that, and senders who want
//! it are told what was understood at once ([`AnswerKind::Accepted`]). A file that comes again is answered with how the first one
//! stands ([`AnswerKind::Again`]). The answer is mail (text and HTML, [`mail`]) and a signed JSON record
//! ([`signature`]), which is also the result file beside a drop ([`result`]).
//!
//! The rules of what it says:
//! - failure is told as plainly as success: what happened, what the bridge will and will not do next, what the sender should
//!   do (`receipt/words.rs` has every sentence);
//! - a batch is told by its worst part: never "delivered" while one fax of it was not;
//! - what is not known is called unclear, and what may lie in a tray at the far end is named;
//! - no document, no subject, no patient's name and no file name is in it, because a receipt travels and is kept. Only the result
//!   file, which lies beside the drop and goes nowhere, names the file it speaks of, with its digest.

use crate::job::{Cause, FaxNumber, JobId, JobState, Sent, Source, SubmissionId};
use crate::sealed::{CommandOutcome, Dsn};
use crate::store::{AnswerKind, CancelWish, ProviderCopy};
use jiff::Timestamp;

pub mod account;
pub mod dkim;
pub mod dsn;
mod html;
mod letter;
pub mod mail;
pub mod outbox;
mod record;
pub mod relay;
pub mod result;
pub mod signature;
mod text;
mod words;

pub use mail::{Mail, Post};
pub use relay::Relay;
pub use signature::SigningKey;
pub use words::{cause_words, hold_sentence};

/// Everything that a receipt may tell about a Submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Which.
    pub submission: SubmissionId,
    /// Where it came from.
    pub source: Source,
    /// Who sends, as on the cover.
    pub organization: String,
    /// IANA name of the time zone in which times are told; one that this machine does not know means UTC.
    pub time_zone: String,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// The Message-ID of the mail it came as, so that the answer lands in its thread.
    pub original_message_id: Option<String>,
    /// Whether it became Jobs.
    pub verdict: AccountVerdict,
    /// Its Jobs, in order.
    pub jobs: Vec<JobAccount>,
    /// What becomes of its documents.
    pub deletion: Deletion,
    /// What the client of a mail asked to be told about its recipients.
    pub dsn: Option<Dsn>,
    /// The file that it is about: in result files alone, which lie beside it.
    pub file: Option<FileAccount>,
    /// It is about a file that was not taken and lies where it was.
    pub left: bool,
}

impl Account {
    /// Whether every fax of it was made before, of the same mail.
    #[must_use]
    pub fn brought_nothing_new(&self) -> bool {
        !self.jobs.is_empty() && self.jobs.iter().all(|job| job.before.is_some())
    }
}

/// The file that a result file speaks of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileAccount {
    /// Its name, as its sender wrote it.
    pub name: String,
    /// Its SHA-256, in hex; of a file that was not read there is none.
    pub sha256: Option<String>,
}

/// Whether a Submission became Jobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccountVerdict {
    /// It did.
    Jobs,
    /// It did not, and never will.
    Refused {
        /// Why, and what to do: whole sentences for the sender.
        sentence: String,
    },
    /// It was a command about another Submission, and everything else here is that one's.
    Command {
        /// The Submission as which the command came.
        id: SubmissionId,
        /// What came of it.
        outcome: CommandOutcome,
        /// The same in sentences for the sender.
        sentence: String,
    },
}

/// What becomes of a Submission's documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletion {
    /// They are destroyed this many minutes after the last Job is final.
    After {
        /// Minutes.
        minutes: u32,
    },
    /// They are destroyed at this instant at the latest.
    By(Timestamp),
    /// They were destroyed at this instant.
    Done(Timestamp),
}

/// One Job of a Submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobAccount {
    /// Which.
    pub job: JobId,
    /// The envelope recipients of the mail that it stands for.
    pub to: Vec<String>,
    /// It was made when the same mail came before, as this Submission: it stands for what is faxed once.
    pub before: Option<SubmissionId>,
    /// The sender's own reference, where a rule found one.
    pub reference: Option<String>,
    /// The same as a mark under a key derived from the master key, which stays when the reference goes.
    pub reference_mark: Option<String>,
    /// Whether its rule keeps the reference in clear.
    pub keep_reference: bool,
    /// The register's entry: its key and the name to show.
    pub recipient: Option<(String, String)>,
    /// The number, once it is known.
    pub number: Option<FaxNumber>,
    /// Where it stands.
    pub state: JobState,
    /// Until when its recipient wants no calls, where that is so at this moment.
    pub quiet_until: Option<Timestamp>,
    /// Why it is or was held, as a whole sentence for the sender; a general one stands in for `None`.
    pub hold_sentence: Option<String>,
    /// Pages of the fax, cover included.
    pub pages: Option<u32>,
    /// Pages of the cover.
    pub cover_pages: u32,
    /// SHA-256 of the PDF that was sent, in hex.
    pub sha256: Option<String>,
    /// Name of the rule that took it.
    pub rule: Option<String>,
    /// A person's wish to cancel it while a call may have been under way, and what came of it.
    pub cancel: Option<CancelWish>,
    /// What its mail or file consisted of, and what became of each part.
    pub parts: Vec<PartAccount>,
    /// What its sender should know of it, as sentences.
    pub warnings: Vec<String>,
    /// Its Attempts, in order.
    pub attempts: Vec<AttemptAccount>,
    /// What was checked before it was sent.
    pub checklist: Vec<Check>,
}

/// One part of what was handed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartAccount {
    /// Its place in the list, from 1.
    pub n: usize,
    /// What it is, in one word. Not its name: receipts travel in clear.
    pub kind: &'static str,
    /// First and last page of it in the fax.
    pub pages: Option<(u32, u32)>,
    /// Why no page is made of it; a reason of ours, without the sender's words.
    pub left_out: Option<String>,
    /// It holds the fax.
    pub holds: bool,
    /// The part before it that holds the same bytes.
    pub same_as: Option<usize>,
}

/// One try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptAccount {
    /// From 1.
    pub n: u32,
    /// Name of the provider in the configuration.
    pub provider: String,
    /// When it was opened.
    pub started_at: Timestamp,
    /// When its outcome was recorded.
    pub ended_at: Option<Timestamp>,
    /// The outcome's word: `delivered`, `refused`, `retry`, `unclear`; `None` while it is open.
    pub outcome: Option<String>,
    /// Why it did not deliver.
    pub cause: Option<Cause>,
    /// Pages that the far end confirmed.
    pub pages_sent: Option<u32>,
    /// The far end's identity, if reported.
    pub remote_id: Option<String>,
    /// The provider's code, as it came.
    pub raw_code: Option<String>,
    /// The provider's text, as it came.
    pub raw_text: Option<String>,
    /// Whether a person said what it came to, not the provider.
    pub stated: bool,
    /// Whether anything of the document reached the far end; `None` while it is open.
    pub sent: Option<Sent>,
    /// What became of the provider's copy of the document, and when it was deleted; `None` where it never had one.
    pub copy: Option<(ProviderCopy, Option<Timestamp>)>,
}

/// One line of the checklist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What was checked: `authorization`, `recipient`, `packet`, `cover sheet`, `privacy`, `proof`.
    pub item: String,
    /// Whether it was found good.
    pub ok: bool,
    /// How, in a few words.
    pub note: String,
}

/// An answer, ready to leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Composed {
    /// The mail, where there is an address to send it to.
    pub mail: Option<Mail>,
    /// The signed record, indented, with a line end: the body of a result file.
    pub json: Vec<u8>,
}

/// Says what there is to say. The same account and post give the same bytes: no chance, no clock.
///
/// # Errors
/// When an address is none, or signing fails.
pub fn compose(
    account: &Account,
    kind: AnswerKind,
    post: Option<&Post>,
    key: &SigningKey,
) -> Result<Composed, ReceiptError> {
    let record = signature::sign(&record::record(account, kind), key)?;
    let mut json = serde_json::to_vec_pretty(&record).map_err(|_| ReceiptError::Signing)?;
    json.push(b'\n');
    let letter = letter::letter(account, kind, post);
    let mail = post.map(|post| mail::build(account, kind, &letter, post)).transpose()?;
    Ok(Composed { mail, json })
}

/// Why a receipt could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiptError {
    /// An address of the configuration or the sender. It is not shown: addresses are not for logs.
    #[error("the {0} address of the receipt is not a mail address")]
    Address(&'static str),
    /// The mail library refused the message.
    #[error("the receipt could not be made into a mail: {0}")]
    Message(#[from] lettre::error::Error),
    /// The signing key's file.
    #[error("could not {doing} the receipt key {}: {source}", path.display())]
    KeyFile {
        /// What was being done.
        doing: &'static str,
        /// Where.
        path: std::path::PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The signing key's file holds something else.
    #[error("{} is not a receipt key (Ed25519, PKCS #8); put the former one back, or remove it to have a new one made", .0.display())]
    NotAKey(std::path::PathBuf),
    /// The library of cryptography refused.
    #[error("the receipt could not be signed")]
    Signing,
    /// A record that is not what was signed.
    #[error("the signature of the receipt is not good: {0}")]
    NotGenuine(&'static str),
}

#[cfg(test)]
mod tests;
