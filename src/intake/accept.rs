//! A document becomes a Submission: its row is committed, and only then anybody says so.

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::draft::Draft;
use super::header::FormerContent;
use super::proof::{CLOCKS_APART, Doubt};
use super::resting::NotAccepted;
use super::source_keys::{mail_mark, narrow, source_keys};
use super::tail::End;
use super::{Intake, Refusal};
use crate::addressing::readers::Reader;
use crate::config::Proof;
use crate::crash::reached;
use crate::job::{self, Source, SubmissionId};
use crate::sealed::{Dsn, MailMark, SubmissionFacts as Facts};
use crate::spool::Sealed;
use crate::store::{Counts, Document, NewSubmission, Repeat};
use crate::text::hex;
use crate::vault::{Purpose, SealKey, SealedAddress, WrappedKey};

/// So long, at most, a mail over SMTP that has no Message-ID is known by its bytes. Servers try again within that time.
const NAMELESS_REPEATS: SignedDuration = SignedDuration::from_hours(4);

/// What a protocol knows about a document beside its bytes.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// Where it came from.
    pub source: Source,
    /// Name of the configuration's sender.
    pub sender: String,
    /// What proved that a mail is this sender's.
    pub proof: Option<Proof>,
    /// What that proof leaves open; a person has to look at the mail then.
    pub doubt: Option<Doubt>,
    /// It came straight from its sender. Not so a mail that only something in it proves: anybody who has a copy may have sent it.
    pub straight: bool,
    /// What a client asked to be told, by DSN parameters of its mail.
    pub dsn: Option<Dsn>,
    /// The address in From, where the mail itself proved who sent it.
    pub author: Option<String>,
    /// Envelope sender of a mail.
    pub envelope_from: Option<String>,
    /// Envelope recipients of a mail; on the command line, the addresses or keys asked for.
    pub envelope_to: Vec<String>,
    /// Message-ID of a mail, read from its header while it streamed by.
    pub message_id: Option<String>,
    /// Of all in a mail that decides what is faxed: SHA-256, hex.
    pub content_sha256: Option<String>,
    /// What earlier versions knew a mail by.
    pub former: Option<FormerContent>,
    /// Name of a file as its sender wrote it.
    pub file: Option<String>,
}

impl Arrival {
    /// One of which nothing more is known yet.
    #[must_use]
    pub fn new(source: Source, sender: String) -> Self {
        Arrival {
            source,
            sender,
            proof: None,
            doubt: None,
            straight: true,
            dsn: None,
            author: None,
            envelope_from: None,
            envelope_to: Vec::new(),
            message_id: None,
            content_sha256: None,
            former: None,
            file: None,
        }
    }
}

/// The answer to an arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepted {
    /// It is a new Submission, and durable.
    New(SubmissionId),
    /// The same mail or file came before: this one's state is the answer, and nothing new was made.
    Known(SubmissionId),
}

impl Accepted {
    /// The Submission, new or known.
    #[must_use]
    pub fn id(self) -> SubmissionId {
        match self {
            Accepted::New(id) | Accepted::Known(id) => id,
        }
    }
}

/// What is to be recorded of a document.
pub(super) struct Entry {
    new: NewSubmission,
    facts: Facts,
    arrival: Arrival,
    end: End,
    repeats_since: Timestamp,
}

impl Intake {
    /// Makes `draft` a Submission. When this returns `Ok`, it is durable.
    ///
    /// # Errors
    /// Where it is empty, or the disk or the database fails; then nothing was accepted.
    pub async fn accept(&self, draft: Draft, arrival: Arrival) -> Result<Accepted, Refusal> {
        if draft.written() == 0 {
            return Err(Refusal::permanent("5.6.0", "The file is empty; there is nothing to fax."));
        }
        self.arrivals.taken(Instant::now());
        let recorded = self.accept_or_keep(draft, arrival).await;
        recorded.map(|(accepted, _)| accepted).map_err(|NotAccepted { refusal, .. }| refusal)
    }

    /// What is to be recorded of a document; it may still be on its way to the disk.
    pub(super) fn entry(
        &self,
        sealed: &Sealed,
        (key, wrapped): (&SealKey, &WrappedKey),
        end: End,
        mut arrival: Arrival,
    ) -> Result<Entry, Refusal> {
        let inner = &self.inner;
        let now = inner.clock.now();
        let chance =
            job::chance().map_err(|_| Refusal::temporary("4.3.0", "Try again later.", "no randomness"))?;
        let sha256 = hex(&sealed.sha256);
        let mark = Document::mark(&sha256, &inner.spool.vault().marker(Purpose::Digest));
        let repeats_since = now.checked_sub(self.known_for(&arrival)).unwrap_or(Timestamp::MIN);
        let marker = inner.spool.vault().marker(Purpose::Source);
        let source_keys = source_keys(&mut arrival, &sha256, &marker);
        let counts = Counts { accepted_at: now, since: repeats_since, spent: source_keys.spent };
        let mail = mail_mark(&arrival, &sha256, &marker).map(|mark| MailMark { mark, counts });
        let facts = Facts { sha256: Some(sha256), mail, ..facts(&arrival, end) };
        let new = NewSubmission {
            id: SubmissionId::new(now, chance),
            source: arrival.source.clone(),
            source_keys,
            receipt_to: self.sealed_receipt_address(&arrival)?,
            sender: arrival.sender.clone(),
            accepted_at: now,
            wrapped_key: wrapped.0.clone(),
            facts: facts.seal(key)?,
            documents: vec![Document { name: sealed.name.clone(), bytes: sealed.bytes, sha256: mark }],
        };
        Ok(Entry { new, facts, arrival, end, repeats_since })
    }

    /// Makes the row of a document that is on disk.
    pub(super) async fn record(&self, mut entry: Entry, key: &SealKey) -> Result<Accepted, Refusal> {
        let inner = &self.inner;
        // Goes round again where only some recipients had it: with fewer of them each time, so it ends.
        loop {
            let new = entry.new.clone();
            let source = &entry.new.source;
            match inner.store.insert_submission(new, entry.repeats_since).await? {
                Ok(id) => {
                    reached("intake.committed");
                    let bytes = entry.new.bytes();
                    tracing::info!(submission.id = %id, %source, bytes, "submission {id} accepted");
                    inner.arrived.wake();
                    return Ok(Accepted::New(id));
                }
                Err(Repeat { first, known }) => {
                    let keys = &mut entry.new.source_keys;
                    narrow(&mut entry.arrival, keys, &known);
                    if keys.each.is_empty() {
                        tracing::info!(submission.id = %first, %source, "submission {first} came again, nothing new is made");
                        return Ok(Accepted::Known(first));
                    }
                    let (before, left) = (known.len(), keys.each.len());
                    tracing::info!(
                        submission.id = %first, %source,
                        "submission {first} came again for {before} of its recipients, and for {left} others"
                    );
                    let Facts { sha256, mail, .. } = std::mem::take(&mut entry.facts);
                    entry.facts = Facts { sha256, mail, ..facts(&entry.arrival, entry.end) };
                    entry.new.facts = entry.facts.seal(key)?;
                }
            }
        }
    }

    /// For how long `arrival` is known when it comes again.
    fn known_for(&self, arrival: &Arrival) -> SignedDuration {
        let repeats = self.inner.config.retention.repeats.signed();
        // A client that saw no answer comes again soon; a program that writes the same bytes each week means another fax.
        let nameless = arrival.message_id.is_none() && arrival.source == Source::Smtp;
        if !arrival.straight {
            // By the clock of whoever signed it, a copy of it may be as young later.
            return repeats.saturating_add(CLOCKS_APART);
        }
        if nameless { repeats.min(NAMELESS_REPEATS) } else { repeats }
    }

    /// How mails of this sender are read.
    pub(super) fn readers(&self, sender: &str) -> &[Reader] {
        let known = self.inner.config.sender.iter().find(|known| known.name == sender);
        known.map_or(&[], |known| &known.readers)
    }

    /// Where receipts of `arrival` go by mail, as the store keeps it.
    pub(super) fn sealed_receipt_address(&self, arrival: &Arrival) -> Result<Option<SealedAddress>, Refusal> {
        let to = self.receipt_address(arrival);
        Ok(to.map(|to| self.inner.spool.vault().seal_address(&to)).transpose()?)
    }

    fn receipt_address(&self, arrival: &Arrival) -> Option<String> {
        let sender = self.inner.config.sender.iter().find(|sender| sender.name == arrival.sender);
        // An envelope sender that nothing proved may be anybody, who then would read what became of another's mail.
        let author = arrival.author.as_ref().or(arrival.envelope_from.as_ref());
        sender.and_then(|sender| sender.receipts_to.clone()).or_else(|| author.cloned())
    }
}

fn facts(arrival: &Arrival, end: End) -> Facts {
    Facts {
        // Only a file can be cut off: a mail says itself where it ends.
        cut: arrival.file.is_some() && end == End::Cut,
        envelope_from: arrival.envelope_from.clone(),
        envelope_to: arrival.envelope_to.clone(),
        file: arrival.file.clone(),
        message_id: arrival.message_id.clone(),
        proof: arrival.proof,
        doubt: arrival.doubt.as_ref().map(|doubt| doubt.sentence.clone()),
        doubtful: arrival.doubt.as_ref().map(|doubt| doubt.about.clone()).unwrap_or_default(),
        dsn: arrival.dsn.clone(),
        ..Facts::default()
    }
}
