//! Files that make no fax, and are answered all the same: those that cannot be taken, and those that came before.
//!
//! A file that is not taken becomes a Submission that is refused from the start, without a document: so it has a result file,
//! a mail where its sender has an address, a receipt and a line in the ledger as every other. Each version of a file is told
//! of once.

use jiff::Timestamp;

use super::{Arrival, Intake, Refusal, source_keys};
use crate::job::{self, Source, SubmissionId};
use crate::sealed::{FileNote, SubmissionFacts};
use crate::store::{Again, RefusedAtOnce};
use crate::vault::Purpose;

/// A file that is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TurnedAway {
    /// Where it lies, or came in.
    pub source: Source,
    /// Name of the configuration's sender.
    pub sender: String,
    /// Its name.
    pub name: String,
    /// Another text for each version of it: it is told of once for each.
    pub version: String,
    /// Its size.
    pub bytes: u64,
    /// Its SHA-256, hex, where it was read.
    pub sha256: Option<String>,
    /// It stays where it is, and is taken when it has become what can be taken.
    pub left: bool,
    /// Why, and what to do: whole sentences for the sender.
    pub sentence: String,
}

impl Intake {
    /// Tells the sender of a file that it is not taken, and why; once for each version of it. Returns the Submission that
    /// stands for that; `None` where it was told of before.
    ///
    /// # Errors
    /// Where the database fails; then nothing was told.
    pub async fn turn_away(&self, file: TurnedAway) -> Result<Option<SubmissionId>, Refusal> {
        let inner = &self.inner;
        let now = inner.clock.now();
        let chance =
            job::chance().map_err(|_| Refusal::temporary("4.3.0", "Try again later.", "no randomness"))?;
        let (key, wrapped) = inner.spool.vault().new_key()?;
        let marker = inner.spool.vault().marker(Purpose::Source);
        let source_key =
            source_keys::turned_away((&file.source, &file.sender), &file.name, &file.version, &marker);
        let facts = SubmissionFacts {
            file: Some(file.name),
            sha256: file.sha256,
            left: file.left,
            refusal: Some(file.sentence),
            ..SubmissionFacts::default()
        };
        let arrival = Arrival::new(file.source.clone(), file.sender.clone());
        let refused = RefusedAtOnce {
            id: SubmissionId::new(now, chance),
            source: file.source.clone(),
            source_key,
            receipt_to: self.sealed_receipt_address(&arrival)?,
            sender: file.sender,
            bytes: file.bytes,
            at: now,
            wrapped_key: wrapped.0,
            facts: facts.seal(&key)?,
        };
        let repeats_since =
            now.checked_sub(inner.config.retention.repeats.signed()).unwrap_or(Timestamp::MIN);
        Ok(inner.store.record_refused_at_once(refused, repeats_since).await?)
    }

    /// Tells the sender of a file that came before, as `first`, how that one stands; it makes no other fax.
    ///
    /// # Errors
    /// Where the database fails; then nothing was told.
    pub async fn tell_again(&self, first: SubmissionId, name: &str, sha256: &str) -> Result<(), Refusal> {
        let note = FileNote { name: name.to_owned(), sha256: sha256.to_owned() };
        let note = note.seal(self.inner.spool.vault(), first.as_str())?;
        let first_one = self.inner.store.submission(first).await?;
        let arrival = first_one.map(|first| Arrival::new(Source::Cli, first.sender));
        let to = arrival.map(|arrival| self.sealed_receipt_address(&arrival)).transpose()?.flatten();
        self.inner.store.tell_again(first, Again { note, to }, self.inner.clock.now()).await?;
        Ok(())
    }
}
