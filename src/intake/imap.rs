//! Mail in: mailboxes that are fetched over IMAP.
//!
//! The promise: a mail leaves the folder it arrived in only when it is safe here. Each is fetched (and not marked as read by that),
//! accepted as [`Intake::accept`] accepts everything, recorded under mailbox, folder, UIDVALIDITY and UID, and moved to where its
//! fate says: `faxed`, `held` (and on from there when it ends), `refused`. Whatever breaks in between, it is one fax: a mail
//! that was accepted and not recorded is fetched again and recognised by what it is, whichever way it came; one that was moved and
//! not recorded is found where it went; a folder with a new UIDVALIDITY is read anew, and its mails are recognised likewise. That
//! holds for `retention.repeats`: a process that dies between the two and stays away for longer does not know the mail again.
//!
//! One node at a time has the turn at a mailbox, by a lease.
//!
//! No mail is ever answered from here: who wrote a mail that nothing proves is not known. Such a mail lies in `refused`, and the log
//! and the ledger say why.
//!
//! `connect` dials and signs in, `session` knows the commands, `guard` bounds what a server can make us hold, `take` makes a mail
//! a Submission, `settle` moves it, `envelope` reads for whom it is.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep};

use self::connect::Access;
use self::session::Session;
use super::{Intake, Refusal};
use crate::alarm::Alarm;
use crate::config;
use crate::oauth::{OauthError, TokenSource};
use crate::store::{Store, StoreError};

mod connect;
mod envelope;
mod guard;
mod names;
mod session;
mod settle;
mod take;
#[cfg(test)]
mod tests;

/// How long a turn at a mailbox lasts, and how often it is renewed: a node that dies leaves the mailbox to another one soon.
const TURN: SignedDuration = SignedDuration::from_mins(3);
const RENEW: Duration = Duration::from_secs(40);
/// IDLE is begun anew so often (RFC 2177 asks for less than 29 minutes; what translates addresses on the way forgets sooner).
const REISSUE: Duration = Duration::from_mins(9);
/// When the daemon stops, what is in hand may take this long to end.
const GRACE: Duration = Duration::from_secs(10);
/// Between two looks at what became of mails that wait to be moved.
const TICK: Duration = Duration::from_secs(1);
/// Between a failure and the next try, at first and at most.
const PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_mins(10);
/// The same after a refused sign-in: accounts get locked by those who hammer.
const SLOW_PAUSE: Duration = Duration::from_mins(2);
const LONGEST_SLOW_PAUSE: Duration = Duration::from_mins(30);
/// Beside a mail of the largest size, what the answer around it may have.
const AROUND: u64 = 64 << 10;
/// A mail whose fetching breaks the connection so often in a row is passed over for a while, so that the others come in.
const TRIES: u32 = 3;
const PASSED_OVER: Duration = Duration::from_mins(30);
/// Between two notes of when a mailbox was looked through.
const NOTED_EVERY: Duration = Duration::from_secs(30);
/// Mails in memory at once, of all mailboxes.
pub const BODIES: usize = 2;

/// Why a mailbox is not fetched, as the setting that is at fault or where a look for the fault begins.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {sentence}")]
pub struct MailboxFault {
    /// Key of the `[imap.NAME]` section.
    pub key: &'static str,
    /// For the operator.
    pub sentence: String,
}

impl MailboxFault {
    fn new(key: &'static str, sentence: impl Into<String>) -> Self {
        MailboxFault { key, sentence: sentence.into() }
    }
}

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
enum MailboxError {
    /// Only a person can mend it.
    #[error("{0}")]
    Setting(MailboxFault),
    /// There is no token.
    #[error("{0}")]
    Token(#[from] OauthError),
    /// It may pass.
    #[error("{0}")]
    Unreachable(MailboxFault),
    /// The server does not do what it was asked.
    #[error("the server refuses {verb}")]
    Refused {
        /// The command.
        verb: &'static str,
    },
    /// An answer was larger than what is taken.
    #[error("the server's answer is larger than what is taken here")]
    TooLarge,
    /// The server breaks the protocol.
    #[error("{0}")]
    Broken(&'static str),
    /// The connection is gone, or what came over it cannot be read.
    #[error("the connection broke off")]
    Lost,
    /// Nothing can be accepted at the moment.
    #[error("mails cannot be accepted at the moment: {}", .0.cause.as_deref().unwrap_or(&.0.sentence))]
    Intake(Refusal),
    /// The database failed.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// Another node has the turn.
    #[error("another node fetches it")]
    Turn,
}

impl MailboxError {
    /// Whether trying again soon is of no use.
    fn is_slow(&self) -> bool {
        match self {
            MailboxError::Setting(_) => true,
            MailboxError::Token(error) => error.permanent,
            _ => false,
        }
    }

    fn fault(self) -> MailboxFault {
        match self {
            MailboxError::Setting(fault) | MailboxError::Unreachable(fault) => fault,
            MailboxError::Token(error) => {
                MailboxFault::new("oauth", format!("{}: {}", error.key, error.sentence))
            }
            other => MailboxFault::new("server", other.to_string()),
        }
    }
}

/// A mailbox, and what fetching it takes.
#[derive(Debug)]
pub struct Mailbox {
    /// Of its `[imap.NAME]` section.
    pub name: String,
    /// That section.
    pub section: config::Imap,
    /// What its `oauth` names.
    pub tokens: Option<Arc<TokenSource>>,
    /// Where its mails go.
    pub intake: Intake,
    /// Mails in memory at once, of all mailboxes.
    pub bodies: Arc<Semaphore>,
}

/// A mailbox at work, with what is to be remembered from one session to the next.
struct Fetcher {
    mailbox: Mailbox,
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    /// By UIDVALIDITY and UID: how often fetching it broke the connection in a row, and when last.
    broken: HashMap<(u32, u32), (u32, Instant)>,
    /// By their names in the store: mails that the server did not move, and when.
    aside: HashMap<i64, Instant>,
    /// The session in hand came so far that the mailbox was read.
    good: bool,
    /// What the log was told last, if the mailbox is not well.
    told: Option<String>,
    /// When it was last noted that the mailbox was looked through.
    noted: Option<Instant>,
}

/// Fetches the mailbox until `stop` turns true.
pub async fn fetch(mailbox: Mailbox, mut stop: watch::Receiver<bool>) {
    let fetcher = Arc::new(Fetcher { mailbox, memory: Mutex::default() });
    let mut failures = 0;
    loop {
        // A task of its own, which ends with this one: should a server find words that the parser cannot bear, it is that session's
        // end and no more.
        let mut session = JoinSet::new();
        session.spawn(Arc::clone(&fetcher).session(stop.clone()));
        let trouble = match session.join_next().await {
            Some(Ok(Ok(()))) => break,
            Some(Ok(Err(trouble))) => trouble,
            _ => MailboxError::Broken("what the server says cannot be read"),
        };
        failures = if std::mem::take(&mut fetcher.memory().good) { 1 } else { failures + 1 };
        let pause = pause(failures, trouble.is_slow(), crate::job::chance().unwrap_or(0));
        fetcher.tell(&trouble, pause, failures);
        tokio::select! {
            () = sleep(pause) => {}
            () = stopped(&mut stop) => break,
        }
    }
    let name = &fetcher.mailbox.name;
    if let Err(error) = fetcher.store().release_mailbox(name).await {
        tracing::warn!(mailbox = name, "mailbox {name}: the turn at it could not be given back: {error}");
    }
}

/// Signs in to a mailbox and looks for its folders; changes nothing. What is returned are the folders that will be made.
///
/// # Errors
/// The setting that is at fault.
pub async fn check(
    section: &config::Imap,
    tokens: Option<Arc<TokenSource>>,
) -> Result<Vec<String>, MailboxFault> {
    let access = Access::new(section, tokens, AROUND)?;
    let look = async {
        let mut session = access.open().await?;
        if session.status(&section.folder).await?.is_none() {
            return Err(no_such_folder(section));
        }
        let mut missing = Vec::new();
        for folder in [&section.faxed, &section.held, &section.refused] {
            if session.status(folder).await?.is_none() && !missing.contains(folder) {
                missing.push(folder.clone());
            }
        }
        session.logout().await;
        Ok(missing)
    };
    look.await.map_err(MailboxError::fault)
}

/// Whether what `section` names on this machine can be used: its password, its authorities. Nobody is asked.
///
/// # Errors
/// The setting that is at fault.
pub fn usable(section: &config::Imap, tokens: Option<Arc<TokenSource>>) -> Result<(), MailboxFault> {
    Access::new(section, tokens, AROUND).map(drop)
}

fn no_such_folder(section: &config::Imap) -> MailboxError {
    MailboxError::Setting(MailboxFault::new(
        "folder",
        format!("the mailbox has no folder {:?}", section.folder),
    ))
}

impl Fetcher {
    fn store(&self) -> &Store {
        &self.mailbox.intake.inner.store
    }

    fn now(&self) -> Timestamp {
        self.mailbox.intake.inner.clock.now()
    }

    fn memory(&self) -> std::sync::MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Loud where something is new, quiet where it goes on. What a person must mend is an alarm at once, what may pass after a few
    /// tries.
    fn tell(&self, trouble: &MailboxError, pause: Duration, failures: u32) {
        let name = &self.mailbox.name;
        let sentence = match trouble {
            MailboxError::Token(error) => {
                let source = self.mailbox.section.oauth.as_deref().unwrap_or_default();
                format!("oauth.{source}.{}: {}", error.key, error.sentence)
            }
            MailboxError::Setting(fault) | MailboxError::Unreachable(fault) => {
                format!("imap.{name}.{}: {}", fault.key, fault.sentence)
            }
            other => other.to_string(),
        };
        if trouble.is_slow() || (failures >= TRIES && !matches!(trouble, MailboxError::Turn)) {
            let cause = format!("mailbox {name} is not fetched: {sentence}");
            self.mailbox.intake.alarms().raise(Alarm::Mailbox(name.clone()), cause, self.now());
        }
        let known = self.memory().told.replace(sentence.clone()).is_some_and(|told| told == sentence);
        let again = pause.as_secs();
        match trouble {
            _ if known => {
                tracing::debug!(mailbox = name, "mailbox {name} is still not fetched; again in {again} s");
            }
            _ if trouble.is_slow() => tracing::error!(
                mailbox = name,
                "mailbox {name} is not fetched until this is mended (a try every few minutes, told once): {sentence}"
            ),
            MailboxError::Turn => tracing::info!(mailbox = name, "mailbox {name} is fetched by another node"),
            _ => tracing::warn!(
                mailbox = name,
                "mailbox {name} is not fetched, again in {again} s: {sentence}"
            ),
        }
    }

    /// One connection, from dialling to its end; `Ok` where the daemon stops.
    async fn session(self: Arc<Self>, stop: watch::Receiver<bool>) -> Result<(), MailboxError> {
        if !self.turn().await? {
            return Err(MailboxError::Turn);
        }
        let keep = async {
            loop {
                sleep(RENEW).await;
                match self.turn().await {
                    Ok(true) => {}
                    Ok(false) => return MailboxError::Turn,
                    Err(error) => return error.into(),
                }
            }
        };
        let mut ending = stop.clone();
        let end = async {
            stopped(&mut ending).await;
            sleep(GRACE).await;
        };
        tokio::select! {
            done = self.work(stop) => done,
            trouble = keep => Err(trouble),
            // A large mail on a slow line is begun anew after the next start.
            () = end => Ok(()),
        }
    }

    async fn turn(&self) -> Result<bool, StoreError> {
        let now = self.now();
        let until = now.saturating_add(TURN).unwrap_or(Timestamp::MAX);
        self.store().claim_mailbox(&self.mailbox.name, now, until).await
    }

    async fn work(&self, mut stop: watch::Receiver<bool>) -> Result<(), MailboxError> {
        let section = &self.mailbox.section;
        let limit = self.mailbox.intake.config().limits.submission.get().saturating_add(AROUND);
        // Read anew for each session: a password that was changed on disk is taken without a restart.
        let access =
            Access::new(section, self.mailbox.tokens.clone(), limit).map_err(MailboxError::Setting)?;
        let mut session = tokio::select! {
            session = access.open() => session?,
            () = stopped(&mut stop) => return Ok(()),
        };
        self.make_folders(&mut session).await?;
        {
            let name = &self.mailbox.name;
            let mut memory = self.memory();
            memory.good = true;
            memory.told = None;
            tracing::info!(mailbox = name, "mailbox {name} is open and fetched");
        }
        loop {
            session.news = false;
            self.take_new(&mut session, &stop).await?;
            self.settle(&mut session).await?;
            if self.memory().aside.is_empty() {
                self.mailbox.intake.alarms().clear(&Alarm::Mailbox(self.mailbox.name.clone()));
            }
            self.expunge(&mut session).await?;
            self.looked().await;
            if *stop.borrow() {
                session.logout().await;
                return Ok(());
            }
            // The folder to be told about.
            session.select(&section.folder).await?;
            if !session.news {
                self.wait(&mut session, &mut stop).await?;
            }
        }
    }

    /// The mailbox was looked through to its end: for whoever asks how it fares.
    async fn looked(&self) {
        let name = &self.mailbox.name;
        let known = self.memory().noted.is_some_and(|at| at.elapsed() < NOTED_EVERY);
        if known {
            return;
        }
        match self.store().note_looked(name, self.now()).await {
            Ok(()) => self.memory().noted = Some(Instant::now()),
            Err(error) => tracing::warn!(
                mailbox = name,
                "mailbox {name}: the time of a look could not be noted: {error}"
            ),
        }
    }

    async fn make_folders(&self, session: &mut Session) -> Result<(), MailboxError> {
        let section = &self.mailbox.section;
        for (key, folder) in
            [("faxed", &section.faxed), ("held", &section.held), ("refused", &section.refused)]
        {
            if session.status(folder).await?.is_some() {
                continue;
            }
            let mut made = session.create(folder).await;
            if matches!(made, Err(MailboxError::Refused { .. })) {
                // The very first use of a mailbox may be somebody else's at this moment.
                sleep(TICK).await;
                made = match session.status(folder).await? {
                    Some(_) => Ok(()),
                    None => session.create(folder).await,
                };
            }
            match made {
                Err(MailboxError::Refused { .. }) => {
                    let sentence = format!(
                        "the server makes no folder {folder:?}; some want \"INBOX.\" or \"INBOX/\" in front of its name"
                    );
                    return Err(MailboxError::Setting(MailboxFault::new(key, sentence)));
                }
                made => made?,
            }
            let name = &self.mailbox.name;
            tracing::info!(
                mailbox = name,
                "mailbox {name}: the folder of imap.{name}.{key} was missing and is made"
            );
        }
        match session.select_anew(&section.folder).await {
            Err(MailboxError::Refused { .. }) => Err(no_such_folder(section)),
            selected => selected.map(drop),
        }
    }

    /// Until there is new mail, a mail to be moved, or it is time to look.
    async fn wait(
        &self,
        session: &mut Session,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<(), MailboxError> {
        let idle = session.can_idle() && session.begin_idle().await?;
        let end = sleep(if idle { REISSUE } else { self.mailbox.section.poll.std() });
        tokio::pin!(end);
        let mut tick = interval(TICK);
        loop {
            tokio::select! {
                heard = session.idle(), if idle => {
                    heard?;
                    break;
                }
                _ = tick.tick() => {
                    if self.due().await? {
                        break;
                    }
                }
                () = &mut end => break,
                () = stopped(stop) => break,
            }
        }
        if idle { session.end_idle().await } else { session.noop().await }
    }
}

/// How long to wait after the `failures`th failure in a row; `slow` after one that only a person can mend. `chance` spreads it by a
/// fifth, so that many mailboxes do not come back at once.
fn pause(failures: u32, slow: bool, chance: u64) -> Duration {
    let (first, longest) = if slow { (SLOW_PAUSE, LONGEST_SLOW_PAUSE) } else { (PAUSE, LONGEST_PAUSE) };
    let doubled = first.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(longest);
    let fifth = u64::try_from(doubled.as_millis() / 5).unwrap_or(u64::MAX).max(1);
    doubled.saturating_sub(Duration::from_millis(chance % fifth))
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // Whoever would turn it true is gone: that is a stop too.
    let _ = stop.wait_for(|stop| *stop).await;
}
