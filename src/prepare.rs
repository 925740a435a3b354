//! Accepted Submissions become Jobs, or an answer to their sender.
//!
//! The documents are opened in a child process ([`crate::packet`]), the [`plan`] says who gets them, the packets are made and
//! sealed (`packets`), and then everything is committed at once: Jobs, verdict, answers. A crash before that commit leaves only files
//! that the next start removes, and the Submission is prepared again; after it, there is nothing left to do here. What fails
//! otherwise leaves nothing at all.
//!
//! Whose Submission is next, [`turns`] says. What cannot be prepared for a reason of ours is tried again (`again`), and at last
//! held, so that its sender hears of it.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;
use tokio::task::{self, JoinSet};
use tokio::time::Instant;

use crate::alarm::{Alarm, Alarms};
use crate::clock::SharedClock;
use crate::commands;
use crate::config::Config;
use crate::cover::Fonts;
use crate::crash::reached;
use crate::intake::Arrivals;
use crate::job::JobState;
use crate::packet::{self, Contents, Workshop, WorkshopError};
use crate::sealed::{Carried, CommandOutcome, JobFacts, SubmissionFacts};
use crate::spool::{Spool, SpoolError};
use crate::store::{JobFilter, Store, StoreError, Submission, Verdict, Wake};
use crate::vault::{SealKey, VaultError, WrappedKey};

mod again;
mod before;
mod disk;
pub mod front;
pub mod holds;
mod packets;
pub mod plan;
#[cfg(test)]
mod tests;
pub mod turns;
pub mod wishes;

use disk::DiskWatch;
use packets::{Packets, Received};
use plan::{Former, Plan, Planner, Request};
use turns::{Turns, Waiting};

/// Between two looks at the free space of the disk, and before what failed is tried again.
const NAP: Duration = Duration::from_secs(2);
/// How long the loop sleeps at most while nothing is due: the machine's own sleep is not part of a pause.
const IDLE: Duration = Duration::from_secs(30);
/// The same while all workers are busy: one of them may turn out to be slow.
const BUSY_NAP: Duration = Duration::from_millis(250);
/// Jobs of one Submission that keep their names when it is prepared anew.
const FORMER: u32 = 10_000;
/// Beyond the time a document may take, a lease lasts this long.
const LEASE_MARGIN: SignedDuration = SignedDuration::from_secs(120);
const OUR_OWN: &str =
    "It comes from the address that receipts of this service come from. Send it from your own.";
/// After so many tries that failed for a reason of ours an alarm is raised.
const ALARM_AFTER: u32 = 3;

/// What the preparer needs. Cheap to clone.
#[derive(Clone)]
pub struct Preparer {
    /// Submissions and Jobs.
    pub store: Store,
    /// Documents.
    pub spool: Spool,
    /// Child processes that open documents.
    pub workshop: Workshop,
    /// Who gets them.
    pub planner: Planner,
    /// Answers to receipts.
    pub commands: commands::Desk,
    /// What covers are set in.
    pub fonts: Arc<Fonts>,
    /// Limits and times.
    pub config: Arc<Config>,
    /// Time.
    pub clock: SharedClock,
    /// What comes in just now, and is not to be kept waiting.
    pub arrivals: Arc<Arrivals>,
    /// Told when a Submission was accepted.
    pub arrived: Arc<dyn Wake>,
    /// Told when Jobs were made.
    pub made: Arc<dyn Wake>,
    /// Told when an answer entered the outbox.
    pub answered: Arc<dyn Wake>,
    /// Told what wants a person.
    pub alarms: Alarms,
}

/// Why a Submission could not be prepared now; it is tried again.
#[derive(Debug, thiserror::Error)]
enum PrepareError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Spool(#[from] SpoolError),
    #[error(transparent)]
    Workshop(WorkshopError),
    #[error(transparent)]
    Command(#[from] commands::Trouble),
    #[error("it has no key or no document")]
    Gone,
}

impl From<VaultError> for PrepareError {
    fn from(error: VaultError) -> Self {
        PrepareError::Spool(error.into())
    }
}

impl From<WorkshopError> for PrepareError {
    fn from(error: WorkshopError) -> Self {
        // The spool's own error, on its way back through the worker's sink or source.
        match error {
            WorkshopError::Sink(cause) => match cause.downcast::<SpoolError>() {
                Ok(error) => PrepareError::Spool(*error),
                Err(cause) => PrepareError::Workshop(WorkshopError::Sink(cause)),
            },
            WorkshopError::Source(cause) => match cause.downcast::<SpoolError>() {
                Ok(error) => PrepareError::Spool(*error),
                Err(cause) => PrepareError::Workshop(WorkshopError::Source(cause)),
            },
            error => PrepareError::Workshop(error),
        }
    }
}

/// The limits that documents are opened under.
#[must_use]
pub fn packet_rules(config: &Config) -> packet::Rules {
    packet::Rules {
        max_pages: config.limits.pages,
        max_parts: config.limits.parts,
        ..packet::Rules::default()
    }
}

impl Preparer {
    /// Works until `shutdown` turns true, then finishes what is in hand.
    pub async fn run(self, shutdown: watch::Receiver<bool>) {
        tokio::select! {
            () = self.watch_the_disk() => {}
            () = self.prepare_all(shutdown) => {}
        }
    }

    async fn prepare_all(&self, mut shutdown: watch::Receiver<bool>) {
        let mut turns = Turns::new(self.config.limits.workers);
        let mut tasks = JoinSet::new();
        let mut commits = self.store.commits();
        while !*shutdown.borrow() {
            while let Some(ended) = tasks.try_join_next_with_id() {
                turns.end(&id_of(&ended), Instant::now());
            }
            let nap = if let Some(pause) = self.arrivals.pause(Instant::now()) {
                pause
            } else if !turns.has_room(Instant::now()) {
                BUSY_NAP
            } else {
                match self.next_sender(&turns).await {
                    Ok(Some(sender)) => {
                        if let Some(submission) = self.claim(&sender).await {
                            let preparer = self.clone();
                            let task = tasks.spawn(async move { preparer.prepare(submission).await });
                            turns.begin(task.id(), &sender, Instant::now());
                        }
                        continue;
                    }
                    Ok(None) => self.next_due().await,
                    Err(error) => {
                        tracing::error!(error = %error, "submissions could not be looked up: {error}");
                        NAP
                    }
                }
            };
            tokio::select! {
                Some(ended) = tasks.join_next_with_id() => turns.end(&id_of(&ended), Instant::now()),
                () = self.arrived.woken() => {}
                () = commits.made() => {}
                () = tokio::time::sleep(nap) => {}
                _ = shutdown.changed() => {}
            }
        }
        while tasks.join_next().await.is_some() {}
    }

    /// Whose turn it is, if anyone's.
    async fn next_sender(&self, turns: &Turns<task::Id>) -> Result<Option<String>, StoreError> {
        let waiting = self.store.senders_waiting(self.clock.now()).await?;
        if waiting.is_empty() {
            self.arrivals.caught_up();
        }
        let waiting: Vec<_> = waiting.into_iter().map(|(sender, since)| Waiting { sender, since }).collect();
        Ok(turns.next(&waiting, Instant::now()).map(str::to_owned))
    }

    /// Until a Submission that waits for its next try is due.
    async fn next_due(&self) -> Duration {
        let now = self.clock.now();
        match self.store.next_preparation(now).await {
            Ok(Some(at)) => at.duration_since(now).try_into().unwrap_or(Duration::ZERO).min(IDLE),
            Ok(None) => IDLE,
            Err(_) => NAP,
        }
    }

    async fn claim(&self, sender: &str) -> Option<Submission> {
        let now = self.clock.now();
        let lease = self.config.limits.worker_time.signed() + LEASE_MARGIN;
        let until = now.saturating_add(lease).unwrap_or(Timestamp::MAX);
        match self.store.claim_submission(sender, now, until).await {
            Ok(claimed) => claimed,
            Err(error) => {
                tracing::error!(error = %error, "a submission could not be claimed: {error}");
                // Not at once again: whatever is wrong with the database lasts longer than that.
                tokio::time::sleep(NAP).await;
                None
            }
        }
    }

    /// Tells whether the disk has room, for as long as it is waited for. Other programs fill it without telling us.
    async fn watch_the_disk(&self) {
        let mut disk = DiskWatch::new(&self.config);
        loop {
            self.look_at_the_disk(&mut disk).await;
            tokio::time::sleep(NAP).await;
        }
    }

    async fn look_at_the_disk(&self, disk: &mut DiskWatch) {
        let free = match self.spool.free_bytes() {
            Ok(free) => free,
            Err(error) => {
                tracing::error!(error = %error, "the spool's disk cannot be asked: {error}");
                return;
            }
        };
        let now = self.clock.now();
        match disk.look(free) {
            disk::Look::Same => {}
            disk::Look::Short(cause) => self.alarms.raise(Alarm::Disk, cause, now),
            disk::Look::Over => {
                self.alarms.clear(&Alarm::Disk);
                // What failed for want of room waits for its next try, and need not.
                if let Err(error) = self.store.prepare_now(now).await {
                    tracing::error!(error = %error, "what waits for room could not be woken: {error}");
                }
            }
        }
    }

    async fn prepare(&self, submission: Submission) {
        let (id, tries) = (submission.id, submission.prepare_tries);
        reached("prepare.claimed");
        let mut done = self.try_to_prepare(&submission, None).await;
        if matches!(done, Err(PrepareError::Store(StoreError::FaxedBefore))) {
            // The same mail came another way, and was prepared in this very moment. Now that is known.
            done = self.try_to_prepare(&submission, None).await;
        }
        let Err(trouble) = done else {
            self.alarms.clear(&Alarm::Preparation);
            return;
        };
        if tries >= trouble.most_tries() {
            tracing::error!(submission.id = %id, error = %trouble, "submission {id} could not be prepared in {tries} tries, it is held: {trouble}");
            match self.give_up(&submission, &trouble).await {
                Ok(()) => return,
                Err(error) => {
                    tracing::error!(submission.id = %id, error = %error, "submission {id} could not be held: {error}");
                }
            }
        } else {
            tracing::error!(submission.id = %id, error = %trouble, "submission {id} could not be prepared, it is tried again: {trouble}");
        }
        let now = self.clock.now();
        // A full disk has an alarm of its own; one that only has no room for this wants a person all the same.
        let told = trouble.is_room() && self.alarms.open().iter().any(|(alarm, _)| *alarm == Alarm::Disk);
        if tries >= ALARM_AFTER && !told {
            self.alarms.raise(Alarm::Preparation, format!("submissions cannot be prepared: {trouble}"), now);
        }
        let again = now.saturating_add(again::after(tries)).unwrap_or(Timestamp::MAX);
        if let Err(error) = self.store.postpone_prepare(id, again).await {
            tracing::error!(submission.id = %id, error = %error, "submission {id}: {error}");
        }
    }

    /// Holds what cannot be prepared, so that its sender and the administrator hear of it.
    async fn give_up(&self, submission: &Submission, trouble: &PrepareError) -> Result<(), PrepareError> {
        match self.try_to_prepare(submission, Some(trouble.sentence())).await {
            // Nothing can be unsealed: the answer says in general that it could not be faxed.
            Err(PrepareError::Gone) => {
                let (facts, now) = (submission.facts.clone(), self.clock.now());
                self.store
                    .record_prepared(submission.id, Verdict::Refused, facts, Vec::new(), false, now)
                    .await?;
                self.answered.wake();
                Ok(())
            }
            done => done,
        }
    }

    /// Prepares a Submission; with `hold` without its documents, which are then held for this reason.
    async fn try_to_prepare(
        &self,
        submission: &Submission,
        hold: Option<String>,
    ) -> Result<(), PrepareError> {
        let wrapped = submission.wrapped_key.clone().ok_or(PrepareError::Gone)?;
        let key = self.spool.vault().unwrap_key(&WrappedKey(wrapped))?;
        let mut facts = SubmissionFacts::open(&key, &submission.facts)?;
        let documents = self.store.received(submission.id).await?;
        if documents.is_empty() {
            return Err(PrepareError::Gone);
        }
        let files = facts.file.iter().chain(&facts.further_files).cloned().collect();
        let from = Received { key: &key, documents: &documents, files };
        let cut = facts.file.as_deref().filter(|_| facts.cut).map(packet::cut_off_sentence);
        let (contents, mut packets) = match hold.or(cut) {
            Some(hold) => (Contents { hold: Some(hold), ..Contents::default() }, Packets::none(self, from)),
            None => Packets::open(self, from).await?,
        };
        let request = Request {
            source: submission.source.clone(),
            sender: submission.sender.clone(),
            to: facts.envelope_to.clone(),
            file: facts.file.clone(),
            recipient: None,
            envelope_from: facts.envelope_from.clone(),
            proof: facts.proof,
            doubt: facts.doubt.clone(),
            doubtful: facts.doubtful.clone(),
            accepted_at: Some(submission.accepted_at),
            former: self.former(submission, &key).await?,
        };
        let now = self.clock.now();
        let plan = match self.special(submission, &facts, &contents, now).await? {
            Some(plan) => plan,
            None => self.planner.plan(&request, &contents, now).await?,
        };
        let bytes = contents.parts.iter().filter(|part| part.pages.is_some()).map(|part| part.bytes).sum();
        facts.parts = contents.parts;
        let (verdict, planned) = match plan {
            Plan::Command(carried) => {
                facts.command = Some(carried);
                (Verdict::Command, Vec::new())
            }
            Plan::Ignored(reason) => {
                tracing::info!(submission.id = %submission.id, "submission {} is ignored: {reason}", submission.id);
                (Verdict::Ignored, Vec::new())
            }
            Plan::Refused(sentence, _) => {
                facts.refusal = Some(sentence);
                (Verdict::Refused, Vec::new())
            }
            Plan::Jobs(planned) => {
                let (new, before) = self.new_ones(submission.id, facts.mail.as_ref(), planned).await?;
                facts.before = before;
                let known = new.is_empty() && !facts.before.is_empty();
                (if known { Verdict::Known } else { Verdict::Jobs }, new)
            }
        };
        let jobs = packets.make(planned, bytes, now).await?;
        let files = packets.finish().await?;
        reached("prepare.sealed");
        let n = jobs.len();
        let held = jobs.iter().filter(|job| matches!(job.state, JobState::Held { .. })).count();
        let sender = self.config.sender.iter().find(|sender| sender.name == submission.sender);
        let acceptance = sender.is_some_and(|sender| sender.acceptance);
        let first =
            facts.before.first().filter(|_| verdict == Verdict::Known).map(|before| before.submission);
        let facts = facts.seal(&key)?;
        let id = submission.id;
        let recorded = match first {
            Some(first) => self.store.record_known(id, first, facts, now).await,
            None => self.store.record_prepared(id, verdict, facts, jobs, acceptance, now).await,
        };
        match recorded {
            Ok(true) => files.keep(),
            // Another run or a person decided first. No row refers to these files: dropped, they go.
            Ok(false) => return Ok(()),
            Err(error) => {
                // An error is no proof that nothing was committed, and files that a row names must stay.
                if !self.store.is_unprepared(id).await.unwrap_or(false) {
                    files.keep();
                }
                return Err(error.into());
            }
        }
        reached("prepare.committed");
        let word = verdict.as_str();
        tracing::info!(submission.id = %id, verdict = word, jobs = n, held, "submission {id} is prepared: {word}, {n} jobs, {held} held");
        if n > held {
            self.made.wake();
        }
        self.answered.wake();
        if submission.verdict.is_some() {
            self.forget_replaced(submission).await;
        }
        Ok(())
    }

    /// The Jobs of a Submission that is prepared anew.
    async fn former(&self, submission: &Submission, key: &SealKey) -> Result<Vec<Former>, PrepareError> {
        if submission.verdict.is_none() {
            return Ok(Vec::new());
        }
        let filter = JobFilter { submission: Some(submission.id), ..JobFilter::default() };
        let jobs = self.store.jobs(&filter, FORMER).await?;
        let former = |job: crate::store::Job| {
            let to = JobFacts::open(key, &job.facts)?.to;
            Ok(Former { to, id: job.id, version: job.version })
        };
        jobs.into_iter().map(former).collect()
    }

    /// Removes the packets of Jobs that were replaced.
    async fn forget_replaced(&self, submission: &Submission) {
        let forget = async {
            let names = self.store.replaced_packets(submission.id).await?;
            for name in &names {
                self.spool.forget(name).await?;
            }
            Ok::<_, PrepareError>(self.store.forget_documents(names).await?)
        };
        if let Err(error) = forget.await {
            let id = submission.id;
            tracing::warn!(submission.id = %id, error = %error, "submission {id}: former packets stay until it ends: {error}");
        }
    }

    /// What becomes of a mail that is not for faxing: our own, or an answer to a receipt. The former is refused at the door; one
    /// that was let in all the same has an answer as any other.
    async fn special(
        &self,
        submission: &Submission,
        facts: &SubmissionFacts,
        contents: &Contents,
        now: Timestamp,
    ) -> Result<Option<Plan>, PrepareError> {
        let Some(mail) = &contents.mail else { return Ok(None) };
        // A notice is neither carried out nor answered: the planner says so of every such mail.
        if mail.automatic.as_ref().is_some_and(|automatic| automatic.notice) {
            return Ok(None);
        }
        if mail.from_address.as_deref().is_some_and(|address| self.config.is_own_address(address)) {
            return Ok(Some(Plan::Refused(OUR_OWN.to_owned(), Vec::new())));
        }
        let letter = commands::Letter {
            submission,
            to: &facts.envelope_to,
            proof: facts.proof,
            envelope_from: facts.envelope_from.as_deref(),
            contents,
        };
        Ok(match self.commands.sort(letter.to, submission.accepted_at) {
            commands::Sorted::Neither(_) | commands::Sorted::Command(_) if mail.automatic.is_some() => {
                Some(Plan::Ignored("a program answered a receipt".into()))
            }
            commands::Sorted::NotACommand => None,
            commands::Sorted::Neither(carried) => Some(Plan::Command(carried)),
            commands::Sorted::Command(about) => Some(Plan::Command(match &facts.doubt {
                // What it says could be read otherwise than its sender wrote it.
                Some(doubt) => Carried {
                    about: None,
                    outcome: CommandOutcome::NotDone,
                    sentence: format!("{doubt} Nothing was changed."),
                },
                None => self.commands.carry_out(letter, about, now).await?,
            })),
        })
    }
}

/// The task that has ended, well or by a panic.
fn id_of(ended: &Result<(task::Id, ()), task::JoinError>) -> task::Id {
    match ended {
        Ok((id, ())) => *id,
        Err(error) => error.id(),
    }
}
