//! The promise: when [`Intake::accept`] returns, the Submission survives a power cut.
//!
//! A protocol ([`smtp`], [`sftp`], [`folder`]) opens a [`Draft`], streams the document into it, and calls `accept`. Only then
//! may it answer "250", close the handle with success, or delete the claimed file: by then the document is sealed and synced,
//! its directory entry too, and its row is committed. Anything before that leaves nothing behind but an orphan file, which
//! the next start removes. The same mail or file again is recognised by its source keys (`source_keys`), whichever way it comes,
//! and answered with the first one's name.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use aws_lc_rs::{constant_time, digest};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::addressing::Automatic;
use crate::addressing::readers::at_rcpt;
use crate::alarm::Alarms;
use crate::clock::SharedClock;
use crate::config::{Config, NamePattern, Network, Proof, Sender, SenderKind};
use crate::job::{self, SubmissionId};
use crate::replies::{self, Replies, Reply};
use crate::routing::Rules;
use crate::sealed::{Dsn, ResultFile, SubmissionFacts};
use crate::spool::{Reservation, Sealed, Spool, Writer};
use crate::store::{Document, NewSubmission, Repeat, Store, SubmissionFilter, Synced};
use crate::text::Bytes;
use crate::vault::{Purpose, SealKey, SealedAddress, WrappedKey};

mod arrivals;
pub mod folder;
mod header;
pub mod imap;
pub mod proof;
mod refusal;
mod resting;
pub mod sftp;
pub mod smtp;
mod source_keys;
pub(crate) mod tail;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod turned_away;

pub use arrivals::Arrivals;
use proof::Resolver;
use proof::copy::{Budget, MailCopy, Peer};
pub use refusal::Refusal;
use source_keys::{narrow, source_keys};
use tail::{End, Tail};
pub use turned_away::TurnedAway;

/// So long, at most, a mail over SMTP that has no Message-ID is known by its bytes. Servers try again within that time.
const NAMELESS_REPEATS: SignedDuration = SignedDuration::from_hours(4);

/// Where a Submission came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A mail over SMTP or LMTP.
    Smtp,
    /// A mail out of the mailbox of this name.
    Imap(String),
    /// A file over SFTP, by this user.
    Sftp(String),
    /// A file in the watched folder of this name.
    Folder(String),
    /// The command line.
    Cli,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Smtp => f.write_str("smtp"),
            Source::Imap(name) => write!(f, "imap:{name}"),
            Source::Sftp(user) => write!(f, "sftp:{user}"),
            Source::Folder(name) => write!(f, "folder:{name}"),
            Source::Cli => f.write_str("cli"),
        }
    }
}

/// What a protocol knows about a document beside its bytes.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// Where it came from.
    pub source: Source,
    /// Name of the configuration's sender.
    pub sender: String,
    /// What proved that a mail is this sender's.
    pub proof: Option<Proof>,
    /// What that proof leaves open, for the sender; a person has to look at the mail then.
    pub doubt: Option<String>,
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
    /// SHA-256 of what stands behind a mail's header, hex.
    pub body_sha256: Option<String>,
    /// SHA-256 of the header fields that say when a mail was written and how its body is to be read, hex.
    pub reading_sha256: Option<String>,
    /// What recognises a mail without a Message-ID: SHA-256 of every byte, hex.
    pub identity: Option<String>,
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
            dsn: None,
            author: None,
            envelope_from: None,
            envelope_to: Vec::new(),
            message_id: None,
            body_sha256: None,
            reading_sha256: None,
            identity: None,
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

/// A document on its way into the sealed spool. Dropped before [`Intake::accept`], it leaves nothing behind.
#[derive(Debug)]
pub struct Draft {
    writer: Writer,
    /// On the disk, for what is written next.
    room: Reservation,
    key: SealKey,
    wrapped: WrappedKey,
    limit: u64,
    memory: Budget,
    tail: Tail,
    /// What it holds so far, where only that can prove who sent it.
    copy: Mutex<Option<Box<MailCopy>>>,
}

impl Draft {
    /// Appends `bytes`.
    ///
    /// # Errors
    /// Past the configured size, where there is no memory for a copy or no room on the disk now, or where the disk fails.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        if self.written().saturating_add(bytes.len() as u64) > self.limit {
            return Err(too_large(self.limit));
        }
        if let Ok(Some(copy)) = self.copy.get_mut() {
            copy.append(bytes)?;
        }
        self.tail.read(bytes);
        self.room.spend(bytes.len() as u64)?;
        Ok(self.writer.write(bytes).await?)
    }

    /// Bytes so far.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.writer.written()
    }

    /// Keeps a copy of what is written from now on in memory, for [`Intake::prove`]. It is `peer` who uses that memory.
    pub(in crate::intake) fn keep_copy(&mut self, peer: Peer) {
        self.copy = Mutex::new(Some(Box::new(self.memory.copy(peer))));
    }

    /// The copy, once.
    fn take_copy(&self) -> Option<Box<MailCopy>> {
        self.copy.lock().ok()?.take()
    }
}

/// Room that a draft has from its first byte on.
const SMALLEST: u64 = 64 << 10;

fn too_large(limit: u64) -> Refusal {
    Refusal::permanent("5.3.4", format!("This is larger than the {} that are taken here.", Bytes(limit)))
}

/// What every way in shares: cheap to clone.
#[derive(Debug, Clone)]
pub struct Intake {
    inner: Arc<Inner>,
    arrivals: Arc<Arrivals>,
    alarms: Alarms,
    seen: Seen,
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

#[derive(Debug)]
struct Inner {
    config: Arc<Config>,
    store: Store,
    spool: Spool,
    rules: Arc<Rules>,
    clock: SharedClock,
    logins: Vec<Login>,
    networks: Vec<Vec<Network>>,
    /// The mail server in front whose word counts.
    upstream: Vec<Network>,
    /// Made when a mail first needs it: the system's name servers may become known later than we start.
    resolver: Mutex<Option<Resolver>>,
    /// For [`Draft::keep_copy`].
    memory: Budget,
    arrived: Arc<Notify>,
    /// Addresses at which receipts are answered.
    replies: Option<Replies>,
}

#[derive(Debug)]
struct Login {
    name: String,
    password: crate::config::secret::Secret,
    sender: String,
}

impl Intake {
    /// Puts the ways in together. `arrived` is told of every new Submission.
    ///
    /// # Errors
    /// A sentence where a password cannot be read or a network is malformed.
    pub fn new(
        config: Arc<Config>,
        store: Store,
        spool: Spool,
        rules: Arc<Rules>,
        clock: SharedClock,
        arrived: Arc<Notify>,
    ) -> Result<Intake, String> {
        let mut logins = Vec::new();
        let mut networks = Vec::new();
        for sender in &config.sender {
            if let (Some(name), Some(password)) = (&sender.login, &sender.password) {
                let password = password.read().map_err(|e| format!("sender {:?}: {e}", sender.name))?;
                logins.push(Login { name: name.clone(), password, sender: sender.name.clone() });
            }
            let parsed: Result<Vec<Network>, String> =
                sender.networks.iter().map(|text| text.parse()).collect();
            networks.push(parsed.map_err(|e| format!("sender {:?}: {e}", sender.name))?);
        }
        let upstream = config.smtp.iter().flat_map(|smtp| &smtp.upstream_from).map(|text| text.parse());
        let upstream =
            upstream.collect::<Result<_, String>>().map_err(|e| format!("smtp.upstream_from: {e}"))?;
        let memory = Budget::new(config.limits.submission.get());
        let replies = Replies::of(&config, spool.vault());
        Ok(Intake {
            inner: Arc::new(Inner {
                config,
                store,
                spool,
                rules,
                clock,
                logins,
                networks,
                upstream,
                resolver: Mutex::default(),
                memory,
                arrived,
                replies,
            }),
            arrivals: Arc::default(),
            alarms: Alarms::default(),
            seen: Seen::default(),
        })
    }

    /// Tells `arrivals` of everything that comes in, and `alarms` of what wants a person.
    #[must_use]
    pub fn telling(self, arrivals: Arc<Arrivals>, alarms: Alarms) -> Intake {
        Intake { arrivals, alarms, ..self }
    }

    /// Shares what it remembers of open drops with whoever destroys their keys.
    #[must_use]
    pub fn remembering(self, seen: Seen) -> Intake {
        Intake { seen, ..self }
    }

    /// Where what wants a person is told.
    #[must_use]
    pub fn alarms(&self) -> &Alarms {
        &self.alarms
    }

    /// The configuration that all ways in share.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    /// What time it is.
    pub(crate) fn now(&self) -> Timestamp {
        self.inner.clock.now()
    }

    /// Opens a draft.
    ///
    /// # Errors
    /// Where the disk is nearly full or fails.
    pub async fn begin(&self) -> Result<Draft, Refusal> {
        self.arrivals.begin(Instant::now());
        let limits = &self.inner.config.limits;
        let room = self.inner.spool.promise(SMALLEST, limits.disk_reserve.get())?;
        let (key, wrapped) = self.inner.spool.vault().new_key()?;
        let writer = self.inner.spool.create(&key)?;
        let memory = self.inner.memory.clone();
        Ok(Draft {
            writer,
            room,
            key,
            wrapped,
            limit: limits.submission.get(),
            memory,
            tail: Tail::default(),
            copy: Mutex::new(None),
        })
    }

    /// Makes `draft` a Submission. When this returns `Ok`, it is durable.
    ///
    /// # Errors
    /// Where it is empty, or the disk or the database fails; then nothing was accepted.
    pub async fn accept(&self, draft: Draft, arrival: Arrival) -> Result<Accepted, Refusal> {
        if draft.written() == 0 {
            return Err(Refusal::permanent("5.6.0", "The file is empty; there is nothing to fax."));
        }
        self.arrivals.taken(Instant::now());
        let sealing = draft.writer.seal().await?;
        let sealed = sealing.sealed.clone();
        let synced: Synced = Box::pin(async move {
            sealing.synced().await?;
            crate::crash::reached("intake.synced");
            Ok(())
        });
        self.record(&sealed, (&draft.key, &draft.wrapped), draft.tail.end(), arrival, synced).await
    }

    /// Makes the row of a document, which is on disk when `synced` has ended well.
    async fn record(
        &self,
        sealed: &Sealed,
        (key, wrapped): (&SealKey, &WrappedKey),
        end: End,
        arrival: Arrival,
        mut synced: Synced,
    ) -> Result<Accepted, Refusal> {
        let inner = &self.inner;
        let now = inner.clock.now();
        let chance =
            job::chance().map_err(|_| Refusal::temporary("4.3.0", "Try again later.", "no randomness"))?;
        let sha256 = crate::text::hex(&sealed.sha256);
        let mark = Document::mark(&sha256, &inner.spool.vault().marker(Purpose::Digest));
        let document = Document { name: sealed.name.clone(), bytes: sealed.bytes, sha256: mark };
        let repeats_since = now.checked_sub(self.known_for(&arrival)).unwrap_or(Timestamp::MIN);
        let source = arrival.source.to_string();
        let receipt_to = self.sealed_receipt_address(&arrival)?;
        let mut arrival = arrival;
        let mut keys = source_keys(&mut arrival, &sha256, &inner.spool.vault().marker(Purpose::Source));
        // Goes round again where only some recipients had it: with fewer of them each time, so it ends.
        loop {
            let new = NewSubmission {
                id: SubmissionId::new(now, chance),
                source: source.clone(),
                source_keys: keys.clone(),
                receipt_to: receipt_to.clone(),
                sender: arrival.sender.clone(),
                accepted_at: now,
                wrapped_key: wrapped.0.clone(),
                facts: SubmissionFacts { sha256: Some(sha256.clone()), ..facts(&arrival, end) }.seal(key)?,
                document: document.clone(),
            };
            match inner.store.insert_submission_with(new, repeats_since, synced).await? {
                Ok(id) => {
                    crate::crash::reached("intake.committed");
                    tracing::info!(submission.id = %id, source, bytes = sealed.bytes, "submission {id} accepted");
                    inner.arrived.notify_one();
                    return Ok(Accepted::New(id));
                }
                Err((Repeat { first, known }, again)) => {
                    // Dropped where it is not needed any more, it leaves no file.
                    synced = again;
                    narrow(&mut arrival, &mut keys, &known);
                    if keys.each.is_empty() {
                        tracing::info!(submission.id = %first, source, "submission {first} came again, nothing new is made");
                        return Ok(Accepted::Known(first));
                    }
                    let (before, left) = (known.len(), keys.each.len());
                    tracing::info!(
                        submission.id = %first, source,
                        "submission {first} came again for {before} of its recipients, and for {left} others"
                    );
                }
            }
        }
    }

    /// For how long `arrival` is known when it comes again.
    fn known_for(&self, arrival: &Arrival) -> SignedDuration {
        let repeats = self.inner.config.retention.repeats.signed();
        // A client that saw no answer comes again soon; a program that writes the same bytes each week means another fax.
        let nameless = arrival.message_id.is_none() && arrival.source == Source::Smtp;
        if nameless { repeats.min(NAMELESS_REPEATS) } else { repeats }
    }

    /// Why a mail that says it was written by a program is not faxed for `sender`, in a sentence for whoever sent it.
    ///
    /// # Errors
    /// Where it is not.
    pub(in crate::intake) fn takes_automatic(
        &self,
        sender: &str,
        automatic: Option<&Automatic>,
    ) -> Result<(), Refusal> {
        let Some(automatic) = automatic else { return Ok(()) };
        let sender = self.inner.config.sender.iter().find(|known| known.name == sender);
        match not_faxed(sender, automatic) {
            Some(sentence) => Err(Refusal::permanent("5.7.1", sentence)),
            None => Ok(()),
        }
    }

    /// The sender whose account this is, if the password is right. Takes the same time for any wrong password.
    #[must_use]
    pub fn login(&self, login: &str, password: &[u8]) -> Option<String> {
        let given = digest::digest(&digest::SHA256, password);
        let mut found = None;
        for account in &self.inner.logins {
            let kept = digest::digest(&digest::SHA256, account.password.bytes());
            let right = constant_time::verify_slices_are_equal(given.as_ref(), kept.as_ref()).is_ok();
            if right && account.name == login {
                found = Some(account.sender.clone());
            }
        }
        found
    }

    /// Whether there is an account of this name.
    pub(in crate::intake) fn has_login(&self, login: &str) -> bool {
        self.inner.logins.iter().any(|account| account.name == login)
    }

    /// Whether `to` is an address at which a receipt is answered, and a good one; `None` where it is no such address at all.
    fn answers_a_receipt(&self, to: &str) -> Option<Result<(), Refusal>> {
        match self.inner.replies.as_ref()?.read(to, self.inner.clock.now()) {
            Reply::Elsewhere => None,
            Reply::To(_) => Some(Ok(())),
            Reply::Expired => Some(Err(Refusal::permanent("5.7.1", replies::EXPIRED))),
            Reply::Unknown => Some(Err(Refusal::permanent("5.1.1", replies::UNKNOWN))),
        }
    }

    /// Whether the configuration names `address` as a sender's or as the mail server in front.
    #[must_use]
    pub fn names_address(&self, address: IpAddr) -> bool {
        let senders = self.inner.networks.iter().flatten();
        senders.chain(&self.inner.upstream).any(|network| network.contains(address))
    }

    /// Whether any rule could take a mail from `sender` to the envelope recipient `to`, or that one is for answers to receipts.
    ///
    /// # Errors
    /// Where none could.
    pub fn routable(&self, sender: &str, to: &str) -> Result<(), Refusal> {
        self.routable_from(&Source::Smtp, sender, to)
    }

    /// The same of a mail that came in by `source`.
    ///
    /// # Errors
    /// Where none could.
    pub fn routable_from(&self, source: &Source, sender: &str, to: &str) -> Result<(), Refusal> {
        if let Some(answer) = self.answers_a_receipt(to) {
            return answer;
        }
        // Another system's form of the address, where this sender's are understood: rules see what it stands for.
        let known = self.inner.config.sender.iter().find(|known| known.name == sender);
        let forms = at_rcpt(to, known.map_or(&[][..], |known| &known.readers));
        let source = source.to_string();
        if forms.iter().any(|to| self.inner.rules.could_take(&source, sender, to)) {
            return Ok(());
        }
        Err(not_faxed_here(to))
    }

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
        let filter = SubmissionFilter { source: Some(Source::Sftp(user.to_owned()).to_string()), open: true };
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

    /// A Message-ID as the store keeps it; none where that fails, then the mail is found by its place alone.
    fn sealed_message_id(&self, message_id: Option<String>) -> Option<Vec<u8>> {
        self.inner.spool.vault().seal_message_id(&message_id?).ok()
    }

    /// The opposite.
    fn opened_message_id(&self, sealed: &[u8]) -> Option<String> {
        self.inner.spool.vault().open_message_id(sealed).ok()
    }

    /// Where receipts of `arrival` go by mail, as the store keeps it.
    fn sealed_receipt_address(&self, arrival: &Arrival) -> Result<Option<SealedAddress>, Refusal> {
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

fn facts(arrival: &Arrival, end: End) -> SubmissionFacts {
    SubmissionFacts {
        // Only a file can be cut off: a mail says itself where it ends.
        cut: arrival.file.is_some() && end == End::Cut,
        envelope_from: arrival.envelope_from.clone(),
        envelope_to: arrival.envelope_to.clone(),
        file: arrival.file.clone(),
        message_id: arrival.message_id.clone(),
        proof: arrival.proof,
        doubt: arrival.doubt.clone(),
        dsn: arrival.dsn.clone(),
        ..SubmissionFacts::default()
    }
}

/// Why mail that a program wrote is not faxed for `sender`, in a sentence for whoever sent it.
#[must_use]
pub fn not_faxed(sender: Option<&Sender>, automatic: &Automatic) -> Option<String> {
    let Automatic { reason, notice } = automatic;
    if *notice {
        return Some(format!(
            "This is a notice or an automatic answer ({reason}); such mail is never faxed."
        ));
    }
    let is_program = sender.is_some_and(|sender| sender.kind == SenderKind::Program);
    (!is_program).then(|| {
        format!(
            "A program wrote this mail ({reason}), and its sender is known here as a person. Ask whoever runs the fax \
             service to let programs send for this sender."
        )
    })
}

fn not_faxed_here(to: &str) -> Refusal {
    Refusal::permanent("5.1.1", format!("{to} is not an address that is faxed here."))
}
