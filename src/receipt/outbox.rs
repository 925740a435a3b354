//! The outbox: composes what has to be said and sees that it leaves, across restarts and dead relays.
//!
//! An answer is made in the transaction that causes it, composed at once (while the Submission's key still exists), and sent
//! until it has left. Its name is unique, so there is one; a crash between the relay's yes and our record of it sends it a
//! second time, under the same Message-ID.
//!
//! Whatever somebody else may keep waiting leaves by a queue of its own: mails by the relay, and results into each folder. A
//! network folder that hangs, or a relay, delays its own answers alone; and none of them delays the end of the process.

mod alarms;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Notify, watch};
use zeroize::Zeroizing;

use super::account::{AccountError, Accounts};
use super::dkim::Dkim;
use super::dsn::Silence;
use super::relay::{CONNECTIONS, Login, TokenMap};
use super::{Account, AccountVerdict, FileAccount, Post, Relay, SigningKey, compose};
use crate::alarm::{Alarm, Alarms};
use crate::clock::SharedClock;
use crate::config::Config;
use crate::crash::reached;
use crate::job::SubmissionId;
use crate::replies::Replies;
use crate::sealed::{CommandOutcome, FileNote, ResultFile};
use crate::shared_folder::{self, FileThread};
use crate::spool::{Spool, SpoolError};
use crate::store::{AnswerKind, AnswerWay, Commits, NewResult, OutboxRow, Queue, Store, StoreError, Wake};
use crate::vault::{Vault, VaultError};

/// Answers in hand at once.
const AT_ONCE: u32 = 20;
/// Before answers that could not be looked up are looked up again.
const NAP: Duration = Duration::from_secs(2);
/// How long a loop sleeps at most while nothing is due: the machine's own sleep is not part of a pause.
const IDLE: Duration = Duration::from_secs(30);
/// How long an answer may take to leave before another node tries it.
const LEASE: SignedDuration = SignedDuration::from_mins(15);
/// How long a folder may take for one result; after that it hangs, and is tried again later.
const WRITING: Duration = Duration::from_secs(20);
/// A result that is being written when the process is to end gets this much time.
const GRACE: Duration = Duration::from_secs(5);
/// Pauses between tries, in seconds; the last repeats.
const PAUSES: [i64; 6] = [15, 60, 300, 900, 1800, 3600];
/// After this an answer that nobody takes is given up.
const PATIENCE: SignedDuration = SignedDuration::from_hours(5 * 24);

/// See the module.
#[derive(Debug)]
pub struct Outbox {
    config: Arc<Config>,
    store: Store,
    spool: Spool,
    clock: SharedClock,
    wake: Arc<dyn Wake>,
    /// Told what wants a person.
    alarms: Alarms,
    /// Told when a mail is ready to be sent.
    mails: Notify,
    /// Told when a result is ready to be written to this folder.
    folders: BTreeMap<String, Notify>,
    accounts: Accounts,
    signing: SigningKey,
    relay: Option<(Relay, String)>,
    replies: Option<Replies>,
    dkim: Option<Dkim>,
}

/// Why an answer did not leave.
#[derive(Debug, thiserror::Error)]
enum OutboxError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Spool(#[from] SpoolError),
    #[error(transparent)]
    Account(#[from] AccountError),
    #[error(transparent)]
    Receipt(#[from] super::ReceiptError),
    #[error(transparent)]
    Relay(#[from] super::relay::RelayError),
    #[error("the result file could not be written: {0}")]
    Folder(#[from] std::io::Error),
    #[error("the file system of the folder does not answer")]
    Hangs,
    #[error("{0}")]
    Unconfigured(String),
    #[error("{0}")]
    Given(String),
}

impl From<VaultError> for OutboxError {
    fn from(error: VaultError) -> Self {
        OutboxError::Spool(error.into())
    }
}

impl OutboxError {
    /// Whether another try is useless.
    fn is_permanent(&self) -> bool {
        match self {
            OutboxError::Relay(error) => error.permanent,
            OutboxError::Receipt(_) | OutboxError::Given(_) => true,
            // A section that somebody took out or misnamed may come back; answers must not be lost to a slip of the pen.
            OutboxError::Unconfigured(_) => false,
            _ => false,
        }
    }
}

fn unconfigured(row: &OutboxRow) -> OutboxError {
    OutboxError::Unconfigured(format!("the configuration has no folder {:?} any more", row.target))
}

/// Whether more may be there than was claimed: what comes later than the claim wakes whoever naps.
fn is_full(rows: &[OutboxRow], at_most: u32) -> bool {
    u32::try_from(rows.len()).unwrap_or(u32::MAX) >= at_most
}

/// A composed answer as it waits, sealed: what it is called (address or file name), and its bytes.
struct Parcel {
    name: String,
    bytes: Vec<u8>,
}

impl Parcel {
    fn seal(&self, vault: &Vault, id: &str) -> Result<Vec<u8>, VaultError> {
        let plain = [self.name.as_bytes(), b"\n", &self.bytes].concat();
        vault.seal(&format!("outbox {id}"), &plain)
    }

    fn open(vault: &Vault, id: &str, sealed: &[u8]) -> Result<Self, VaultError> {
        let plain = vault.open(&format!("outbox {id}"), sealed)?;
        let cut = memchr::memchr(b'\n', &plain).unwrap_or(0);
        let (name, bytes) = plain.split_at(cut);
        let name = String::from_utf8_lossy(name).into_owned();
        Ok(Parcel { name, bytes: bytes.get(1..).unwrap_or_default().to_vec() })
    }
}

/// Which answer `row` is, as far as the row tells; the account of a command knows more.
fn kind_of(row: &OutboxRow, account: Option<&Account>) -> AnswerKind {
    match (row.kind, account.map(|account| &account.verdict)) {
        (AnswerKind::Final, Some(AccountVerdict::Command { .. })) => AnswerKind::Command,
        (kind, _) => kind,
    }
}

/// The relay of the configuration and our host name towards it; `None` where receipts do not leave by mail. `tokens` are for a
/// relay that is signed in to with one.
///
/// # Errors
/// A sentence where its settings cannot be used.
pub fn relay(config: &Config, tokens: &TokenMap) -> Result<Option<(Relay, String)>, String> {
    let Some(section) = &config.receipt else { return Ok(None) };
    let host = section.from.rsplit_once('@').map_or("localhost", |(_, host)| host);
    let host = host.trim_end_matches('>').to_owned();
    let login = match (&section.login, &section.oauth, &section.password) {
        (Some(mailbox), Some(name), _) => {
            let source = tokens.get(name).ok_or_else(|| format!("there is no section oauth.{name}"))?;
            Login::Token(mailbox.clone(), Arc::clone(source))
        }
        (Some(login), None, Some(password)) => {
            let password = password.read().map_err(|e| e.to_string())?;
            let text = password.text().ok_or("receipt.password is no text")?;
            Login::Password(login.clone(), Zeroizing::new(text.to_owned()))
        }
        _ => Login::None,
    };
    let authorities = match &section.authorities {
        Some(path) => {
            Some(std::fs::read(path).map_err(|e| format!("receipt.authorities: {}: {e}", path.display()))?)
        }
        None => None,
    };
    let bounces = section.bounce_from.as_deref();
    let relay = Relay::new(&section.relay, section.tls, authorities.as_deref(), login, &host)
        .and_then(|relay| relay.with_bounces_to(bounces))
        .map_err(|e| e.to_string())?;
    Ok(Some((relay, host)))
}

impl Outbox {
    /// Puts the outbox together. `signing` signs the receipts.
    ///
    /// # Errors
    /// A sentence where the relay's settings cannot be used.
    #[allow(clippy::too_many_arguments, reason = "each of them once, where it is put together")]
    pub fn new(
        config: Arc<Config>,
        store: Store,
        spool: Spool,
        clock: SharedClock,
        wake: Arc<dyn Wake>,
        alarms: Alarms,
        tokens: &TokenMap,
        signing: SigningKey,
    ) -> Result<Outbox, String> {
        let relay = relay(&config, tokens)?;
        let dkim = Dkim::of(&config)?;
        let replies = Replies::of(&config, spool.vault());
        let accounts = Accounts::new(Arc::clone(&config), store.clone(), spool.clone());
        let folders = config.folder.keys().map(|name| (name.clone(), Notify::new())).collect();
        Ok(Outbox {
            config,
            store,
            spool,
            clock,
            wake,
            alarms,
            mails: Notify::new(),
            folders,
            accounts,
            signing,
            relay,
            replies,
            dkim,
        })
    }

    /// Works until `shutdown` turns true and what is in hand has left or failed.
    pub async fn run(self, shutdown: watch::Receiver<bool>) {
        let folders =
            self.folders.iter().map(|(name, ready)| self.fill_folder(name, ready, shutdown.clone()));
        tokio::join!(
            self.compose_all(shutdown.clone()),
            self.send_mails(shutdown.clone()),
            self.tell_alarms(shutdown.clone()),
            futures_util::future::join_all(folders)
        );
    }

    /// Composes every answer as soon as it is made, since retention waits for that, and lets those leave that nobody can keep.
    async fn compose_all(&self, mut shutdown: watch::Receiver<bool>) {
        let folders: Vec<&str> = self.folders.keys().map(String::as_str).collect();
        let mut commits = self.store.commits();
        while !*shutdown.borrow() {
            let Some(rows) = self.claim(Queue::Compose(&folders), AT_ONCE).await else { continue };
            let full = is_full(&rows, AT_ONCE);
            // One after the other: the name of a result file depends on those that are there.
            for row in rows {
                match (self.composed(&row).await, self.folders.get(&row.target)) {
                    (Ok(Some(_)), _) if row.way == AnswerWay::Mail => self.mails.notify_one(),
                    (Ok(Some(_)), Some(ready)) if row.way == AnswerWay::Folder => ready.notify_one(),
                    (Ok(Some(parcel)), _) => self.leave(&row, self.send(&row, parcel).await).await,
                    (Ok(None), _) => {}
                    (Err(trouble), _) => self.leave(&row, Err(trouble)).await,
                }
            }
            if !full {
                self.wait(self.wake.as_ref(), &mut commits, &mut shutdown).await;
            }
        }
    }

    /// Sends composed mails. A relay that does not answer delays other mails, and nothing else.
    async fn send_mails(&self, mut shutdown: watch::Receiver<bool>) {
        let mut commits = self.store.commits();
        while !*shutdown.borrow() {
            // Not more mails than leave at once: a lease must not end while its mail waits for a connection.
            let Some(rows) = self.claim(Queue::Mails, CONNECTIONS).await else { continue };
            let full = is_full(&rows, CONNECTIONS);
            let sent = rows.iter().map(|row| async {
                match self.composed(row).await {
                    Ok(Some(parcel)) => self.leave(row, self.send(row, parcel).await).await,
                    Ok(None) => {}
                    Err(trouble) => self.leave(row, Err(trouble)).await,
                }
            });
            futures_util::future::join_all(sent).await;
            if !full {
                self.wait(&self.mails, &mut commits, &mut shutdown).await;
            }
        }
    }

    /// Writes the results for one folder, one after the other.
    async fn fill_folder(&self, name: &str, ready: &Notify, mut shutdown: watch::Receiver<bool>) {
        let alarm = Alarm::Results(name.to_owned());
        let mut thread = None;
        let mut commits = self.store.commits();
        while !*shutdown.borrow() {
            let Some(rows) = self.claim(Queue::Folder(name), AT_ONCE).await else { continue };
            let full = is_full(&rows, AT_ONCE);
            for row in rows {
                let written = self.write_result(&row, &mut thread, &mut shutdown).await;
                match &written {
                    Ok(()) => self.alarms.clear(&alarm),
                    Err(trouble) => {
                        let cause = format!("results for folder {name} wait: {trouble}");
                        self.alarms.raise(alarm.clone(), cause, self.clock.now());
                    }
                }
                self.leave(&row, written).await;
            }
            if !full {
                self.wait(ready, &mut commits, &mut shutdown).await;
            }
        }
    }

    async fn write_result(
        &self,
        row: &OutboxRow,
        thread: &mut Option<FileThread>,
        shutdown: &mut watch::Receiver<bool>,
    ) -> Result<(), OutboxError> {
        let Some(parcel) = self.composed(row).await? else { return Ok(()) };
        let section = self.config.folder.get(&row.target).ok_or_else(|| unconfigured(row))?;
        let thread = match thread {
            Some(thread) => thread,
            none => none.insert(FileThread::start()?),
        };
        // What hangs there from an earlier try would hold this one up as well.
        if !thread.is_idle() {
            return Err(OutboxError::Hangs);
        }
        reached("receipt.sending");
        let (path, Parcel { name, bytes }) = (section.path.clone(), parcel);
        let written = thread.run(move || shared_folder::write_result(&path, &name, &bytes));
        let ending = async {
            let _ = shutdown.wait_for(|stop| *stop).await;
            tokio::time::sleep(GRACE).await;
        };
        tokio::select! {
            written = tokio::time::timeout(WRITING, written) => {
                written.map_err(|_| OutboxError::Hangs)??;
            }
            () = ending => return Err(OutboxError::Hangs),
        }
        self.sent(row, None).await
    }

    /// Waits until `wake` tells, something is committed, or an answer is due.
    async fn wait(&self, wake: &dyn Wake, commits: &mut Commits, shutdown: &mut watch::Receiver<bool>) {
        let now = self.clock.now();
        let pause = match self.store.next_answer(now).await {
            Ok(Some(at)) => at.duration_since(now).try_into().unwrap_or(Duration::ZERO).min(IDLE),
            Ok(None) => IDLE,
            Err(_) => NAP,
        };
        tokio::select! {
            () = wake.woken() => {}
            () = commits.made() => {}
            () = tokio::time::sleep(pause) => {}
            _ = shutdown.changed() => {}
        }
    }

    /// Answers to be worked on; `None`, after a pause, where the database fails.
    async fn claim(&self, queue: Queue<'_>, most: u32) -> Option<Vec<OutboxRow>> {
        let now = self.clock.now();
        let until = now.saturating_add(LEASE).unwrap_or(Timestamp::MAX);
        match self.store.claim_outbox(queue, now, until, most).await {
            Ok(rows) => Some(rows),
            Err(error) => {
                tracing::error!(error = %error, "the outbox could not be read: {error}");
                tokio::time::sleep(NAP).await;
                None
            }
        }
    }

    /// Records what came of a try.
    async fn leave(&self, row: &OutboxRow, result: Result<(), OutboxError>) {
        let Err(trouble) = result else {
            reached("receipt.recorded");
            return;
        };
        let now = self.clock.now();
        let made = Timestamp::from_millisecond(row.made_at).unwrap_or(now);
        let given_up = trouble.is_permanent() || now.duration_since(made) > PATIENCE;
        let (id, submission) = (&row.id, &row.submission_id);
        let next = if given_up {
            tracing::error!(submission.id = %submission, "the answer {id} is given up, its sender hears nothing by {}: {trouble}", row.way);
            None
        } else {
            let rung = usize::try_from(row.tries.saturating_sub(1)).unwrap_or(0).min(PAUSES.len() - 1);
            let seconds =
                PAUSES.get(rung).copied().unwrap_or(3600) / i64::from(self.config.policy.hurry.max(1));
            tracing::warn!(submission.id = %submission, "the answer {id} has not left yet: {trouble}");
            now.checked_add(SignedDuration::from_secs(seconds.max(1))).ok()
        };
        if let Err(error) = self.store.record_unsent(id, &trouble.to_string(), next).await {
            tracing::error!(submission.id = %submission, error = %error, "the answer {id}: {error}");
        }
    }

    /// What is to be sent: as it was composed, or composed now; `None` where it is left unsaid, which is recorded.
    async fn composed(&self, row: &OutboxRow) -> Result<Option<Parcel>, OutboxError> {
        if let Some(body) = &row.body {
            return Ok(Some(Parcel::open(self.spool.vault(), &row.id, body)?));
        }
        let submission: SubmissionId = row
            .submission_id
            .parse()
            .map_err(|_| OutboxError::Given("its submission has no readable name".into()))?;
        let now = self.clock.now();
        let asked = kind_of(row, None);
        let mut account = self.accounts.account(submission, asked, row.job_id.as_deref(), now).await?;
        let kind = kind_of(row, Some(&account));
        // What is kept for years names no file: its sentences are the general ones.
        let kept = match kind {
            AnswerKind::Final | AnswerKind::Command => {
                let json = compose(&account.to_keep(), kind, None, &self.signing)?.json;
                Some((submission, String::from_utf8_lossy(&json).into_owned()))
            }
            AnswerKind::Held | AnswerKind::Accepted | AnswerKind::Again => None,
        };
        if let Some(note) = &row.note {
            // The key of the first one may be gone, and with it the name.
            let FileNote { name, sha256 } = FileNote::open(self.spool.vault(), &row.submission_id, note)?;
            account.file = Some(FileAccount { name, sha256: Some(sha256) });
        }
        let mut post = None;
        if row.way == AnswerWay::Mail {
            let (Some(section), Some((_, host))) = (&self.config.receipt, &self.relay) else {
                let reason = "the configuration has no [receipt] section, so no mail can be sent";
                return self.unmailable(row, reason, kept, now).await;
            };
            if let Some(reason) = self.unsaid(row, &account, now).await? {
                self.store.record_unsaid(&row.id, &reason, kept, now).await?;
                return Ok(None);
            }
            if account.silence() == Silence::Partly {
                account = account.without_silent();
            }
            account = account.without_file();
            let reply_to = self.reply_to(submission, &account, now).await?;
            let Some(address) = &row.address else {
                return Err(OutboxError::Given("its address is gone".into()));
            };
            post = Some(Post {
                from: section.from.clone(),
                to: self.spool.vault().open_address(address)?,
                reply_to,
                host: host.clone(),
                at: now,
            });
        }
        let composed = match compose(&account, kind, post.as_ref(), &self.signing) {
            Ok(composed) => composed,
            Err(error) => return self.unmailable(row, &error.to_string(), kept, now).await,
        };
        let parcel = match composed.mail {
            Some(mail) => Parcel { name: mail.to, bytes: self.signed(mail.bytes)? },
            None => {
                let dropped = account.file.map_or_else(|| submission.to_string(), |file| file.name);
                Parcel {
                    name: self.result_name(&dropped, (kind, account.left), row).await?,
                    bytes: composed.json,
                }
            }
        };
        self.store.record_composed(&row.id, parcel.seal(self.spool.vault(), &row.id)?, kept, now).await?;
        Ok(Some(parcel))
    }

    /// No mail can be made of the answer. Its record is kept all the same, and whoever runs this is told.
    async fn unmailable(
        &self,
        row: &OutboxRow,
        reason: &str,
        kept: Option<(SubmissionId, String)>,
        now: Timestamp,
    ) -> Result<Option<Parcel>, OutboxError> {
        let submission = &row.submission_id;
        tracing::error!(submission.id = %submission, "the answer {} cannot be mailed, its sender hears nothing: {reason}", row.id);
        self.store.record_unsaid(&row.id, reason, kept, now).await?;
        Ok(None)
    }

    /// Why the answer is not mailed, where it must not be.
    async fn unsaid(
        &self,
        row: &OutboxRow,
        account: &Account,
        now: Timestamp,
    ) -> Result<Option<String>, OutboxError> {
        if account.silence() == Silence::Wholly {
            return Ok(Some("its client asked for no word about any recipient (NOTIFY=NEVER)".to_owned()));
        }
        let most = self.config.receipt.as_ref().map_or(u32::MAX, |section| section.refusals_per_hour);
        // Who commanded something and is heard is a person, and waits for the answer.
        let heard = matches!(&account.verdict, AccountVerdict::Command { outcome, .. } if *outcome != CommandOutcome::NotDone);
        if row.refusal == 0 || heard {
            return Ok(None);
        }
        let since = now.checked_sub(SignedDuration::from_hours(1)).unwrap_or(Timestamp::MIN);
        let (said, unsaid) = self.store.refusals_to(&row.target, since).await?;
        if said < u64::from(most) {
            return Ok(None);
        }
        if unsaid == 0 {
            tracing::warn!(
                submission.id = %row.submission_id,
                "submission {}: {most} answers within an hour told its address that nothing was faxed; more are left unsaid, \
                 since two machines may be writing to each other",
                row.submission_id
            );
        }
        Ok(Some(format!(
            "{most} such answers went to that address within an hour (receipt.refusals_per_hour)"
        )))
    }

    /// Where the mail can be answered with a command: not where its sender could prove no mail of his.
    async fn reply_to(
        &self,
        submission: SubmissionId,
        account: &Account,
        now: Timestamp,
    ) -> Result<Option<String>, OutboxError> {
        let Some(replies) = &self.replies else { return Ok(None) };
        if matches!(&account.verdict, AccountVerdict::Command { id, .. } if *id == account.submission) {
            return Ok(None);
        }
        // What it tells of came as another mail, which is answered for itself.
        if account.brought_nothing_new() {
            return Ok(None);
        }
        let Some(submission) = self.store.submission(submission).await? else { return Ok(None) };
        let sender = self.config.sender.iter().find(|sender| sender.name == submission.sender);
        let mails = sender.is_some_and(|sender| !sender.addresses.is_empty() || sender.login.is_some());
        Ok((mails && !account.jobs.is_empty()).then(|| replies.address(account.submission, now)))
    }

    /// With its DKIM signature, where one is configured.
    fn signed(&self, mail: Vec<u8>) -> Result<Vec<u8>, OutboxError> {
        match &self.dkim {
            Some(dkim) => dkim.sign(&mail).map_err(OutboxError::Unconfigured),
            None => Ok(mail),
        }
    }

    /// `NAME.json` for the result, `NAME.held.json` for a notice on the way to it, `NAME.again.json` for a file that came again,
    /// `NAME.left.json` for one that was not taken and may be.
    async fn result_name(
        &self,
        dropped: &str,
        (kind, left): (AnswerKind, bool),
        row: &OutboxRow,
    ) -> Result<String, OutboxError> {
        let mut taken = Vec::new();
        if row.way == AnswerWay::Sftp {
            for result in self.store.results(&row.target).await? {
                taken.push(ResultFile::open(self.spool.vault(), result)?.name);
            }
        }
        let notice = match kind {
            AnswerKind::Held | AnswerKind::Again => Some(kind.as_str()),
            AnswerKind::Final if left => Some("left"),
            AnswerKind::Final | AnswerKind::Command | AnswerKind::Accepted => None,
        };
        Ok(super::result::name(dropped, notice, |name| taken.iter().any(|taken| taken == name)))
    }

    async fn send(&self, row: &OutboxRow, parcel: Parcel) -> Result<(), OutboxError> {
        reached("receipt.sending");
        let mut result = None;
        match row.way {
            AnswerWay::Mail => {
                let Some((relay, _)) = &self.relay else {
                    return Err(OutboxError::Unconfigured(
                        "the configuration has no [receipt] section".into(),
                    ));
                };
                let sent = relay.send(&parcel.name, &parcel.bytes).await;
                self.note_relay(&sent);
                sent?;
            }
            // Those that are configured have queues of their own.
            AnswerWay::Folder => return Err(unconfigured(row)),
            AnswerWay::Sftp => {
                let sealed = ResultFile::seal(self.spool.vault(), &row.id, &parcel.name, &parcel.bytes)?;
                result = Some(NewResult { owner: row.target.clone(), sealed });
            }
        }
        self.sent(row, result).await
    }

    /// It has left; `result` is what stays of it in the database.
    async fn sent(&self, row: &OutboxRow, result: Option<NewResult>) -> Result<(), OutboxError> {
        reached("receipt.sent");
        self.store.record_sent(&row.id, result, self.clock.now()).await?;
        let (submission, kind, way) = (&row.submission_id, &row.kind, &row.way);
        tracing::info!(submission.id = %submission, "submission {submission}: its {kind} answer has left by {way}");
        Ok(())
    }
}
