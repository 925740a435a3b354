//! Accepted Submissions become Jobs, or an answer to their sender.
//!
//! The documents are opened in a child process ([`crate::packet`]), the [`plan`] says who gets them, the packets are made and
//! sealed, and then everything is committed at once: Jobs, verdict, answers. A crash before that commit leaves only files
//! that the next start removes, and the Submission is prepared again; after it, there is nothing left to do here.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinSet;

use crate::alarm::{Alarm, Alarms};
use crate::clock::SharedClock;
use crate::commands;
use crate::config::Config;
use crate::cover::Fonts;
use crate::crash::reached;
use crate::intake::{Rush, SubmissionFacts};
use crate::job::{Hold, JobState};
use crate::packet::workshop::BoxError;
use crate::packet::{self, Bench, Contents, Input, Sink, Workshop, WorkshopError};
use crate::spool::{SealKey, Spool, SpoolError, WrappedKey, Writer};
use crate::store::{Document, JobFilter, NewJob, PacketRow, Store, StoreError, Submission, Verdict};

pub mod front;
pub mod plan;
pub mod wishes;

use front::Front;
use plan::{Former, Plan, PlannedJob, Planner, Request};

/// How long the loop sleeps at most: the command line submits without being able to wake it.
const NAP: Duration = Duration::from_secs(2);
/// Between two tries when the trouble was ours.
const AGAIN: SignedDuration = SignedDuration::from_secs(30);
/// A document whose children keep being killed (as by a machine that is out of memory) is held after so many tries.
const TRIES: u32 = 6;
/// Jobs of one Submission that keep their names when it is prepared anew.
const FORMER: u32 = 10_000;
/// Beyond the time a document may take, a lease lasts this long.
const LEASE_MARGIN: SignedDuration = SignedDuration::from_secs(120);

/// For the sender of a document that was accepted and cannot be read any more.
const LOST: &str =
    "The document was received, but cannot be read any more for a reason that lies with us. Send it again.";
/// For the sender of a document whose pages came out otherwise than they were counted.
const MISCOUNTED: &str =
    "The pages of this document could not be counted reliably. Print it to a new PDF and send that.";

/// What is known about a Job that only its Submission's key can read.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct JobFacts {
    /// The envelope recipients that it stands for.
    #[serde(default)]
    pub to: Vec<String>,
    /// The sender's reference.
    pub reference: Option<String>,
    /// Name of the recipient as on the cover.
    pub recipient_name: String,
    /// Why it is held, for the sender.
    pub hold: Option<String>,
    /// What each rule said.
    #[serde(default)]
    pub trace: Vec<crate::routing::Trace>,
    /// What a careful sender would like to know about the packet.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// The Job's version for which this was written: more than 1 where it was prepared anew.
    #[serde(default = "first")]
    pub version: i64,
}

fn first() -> i64 {
    1
}

impl JobFacts {
    const CONTEXT: &'static str = "job facts";

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
        serde_json::from_slice(&plain).map_err(|_| SpoolError::Damaged { what: "the facts of a job".into() })
    }
}

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
    pub rush: Arc<Rush>,
    /// Told when a Submission was accepted.
    pub arrived: Arc<Notify>,
    /// Told when Jobs were made.
    pub made: Arc<Notify>,
    /// Told when an answer entered the outbox.
    pub answered: Arc<Notify>,
    /// Told what wants a person.
    pub alarms: Alarms,
}

/// Why a Submission could not be prepared now; it is tried again.
#[derive(Debug, thiserror::Error)]
enum Trouble {
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
    pub async fn run(self, mut shutdown: watch::Receiver<bool>) {
        let hands = Arc::new(Semaphore::new(self.config.limits.workers.max(1)));
        let mut tasks = JoinSet::new();
        while !*shutdown.borrow() {
            while tasks.try_join_next().is_some() {}
            self.rush.over().await;
            // A hand first, then work for it: what is claimed is begun at once.
            let Ok(hand) = Arc::clone(&hands).acquire_owned().await else { return };
            if *shutdown.borrow() {
                break;
            }
            if let Some(submission) = self.claim().await {
                let preparer = self.clone();
                tasks.spawn(async move {
                    preparer.prepare(submission).await;
                    drop(hand);
                });
                continue;
            }
            drop(hand);
            tokio::select! {
                () = self.arrived.notified() => {}
                () = tokio::time::sleep(NAP) => {}
                _ = shutdown.changed() => {}
            }
        }
        while tasks.join_next().await.is_some() {}
    }

    async fn claim(&self) -> Option<Submission> {
        let now = self.clock.now();
        let lease = self.config.limits.worker_time.signed() + LEASE_MARGIN;
        let until = now.saturating_add(lease).unwrap_or(Timestamp::MAX);
        match self.store.claim_submissions(now, until, 1).await {
            Ok(mut claimed) => claimed.pop(),
            Err(error) => {
                tracing::error!(error = %error, "submissions could not be claimed: {error}");
                None
            }
        }
    }

    async fn prepare(&self, submission: Submission) {
        let id = submission.id;
        reached("prepare.claimed");
        let tried = self.try_to_prepare(&submission).await;
        self.note_preparing(&submission, &tried);
        if let Err(trouble) = tried {
            tracing::error!(submission.id = %id, error = %trouble, "submission {id} could not be prepared, it is tried again: {trouble}");
            let again = self.clock.now().saturating_add(AGAIN).unwrap_or(Timestamp::MAX);
            if let Err(error) = self.store.postpone_prepare(id, again).await {
                tracing::error!(submission.id = %id, error = %error, "submission {id}: {error}");
            }
        }
    }

    /// One try in vain may be chance.
    fn note_preparing(&self, submission: &Submission, tried: &Result<(), Trouble>) {
        match tried {
            Ok(()) => self.alarms.clear(&Alarm::Preparation),
            Err(trouble) if submission.prepare_tries > 1 => {
                let cause = format!("documents cannot be opened, what is accepted waits: {trouble}");
                self.alarms.raise(Alarm::Preparation, cause, self.clock.now());
            }
            Err(_) => {}
        }
    }

    async fn try_to_prepare(&self, submission: &Submission) -> Result<(), Trouble> {
        let wrapped = submission.wrapped_key.clone().ok_or(Trouble::Gone)?;
        let key = self.spool.unwrap_key(&WrappedKey(wrapped))?;
        let mut facts = SubmissionFacts::open(&key, &submission.facts)?;
        let document = self.store.received(submission.id).await?.ok_or(Trouble::Gone)?;
        let last_try = submission.prepare_tries >= TRIES;
        let from = Received { key: &key, document: &document, file: facts.file.clone(), last_try };
        let (contents, bench) = self.open(&from).await?;
        let request = Request {
            source: submission.source.clone(),
            sender: submission.sender.clone(),
            to: facts.envelope_to.clone(),
            file: facts.file.clone(),
            recipient: None,
            accepted_at: Some(submission.accepted_at),
            former: self.former(submission, &key).await?,
        };
        let now = self.clock.now();
        let plan = match self.special(submission, &facts, &contents, now).await? {
            Some(plan) => plan,
            None => self.planner.plan(&request, &contents, now).await?,
        };
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
            Plan::Jobs(planned) => (Verdict::Jobs, planned),
        };
        let mut jobs = Vec::with_capacity(planned.len());
        let mut table = Table { from, bench, used: false, spoiled: None };
        for job in planned {
            jobs.push(self.make(job, &mut table, now).await?);
        }
        drop(table);
        reached("prepare.sealed");
        let n = jobs.len();
        let held = jobs.iter().filter(|job| matches!(job.state, JobState::Held { .. })).count();
        let made: Vec<String> =
            jobs.iter().filter_map(|job| Some(job.packet.as_ref()?.document.name.clone())).collect();
        let sender = self.config.sender.iter().find(|sender| sender.name == submission.sender);
        let acceptance = sender.is_some_and(|sender| sender.acceptance);
        let facts = facts.seal(&key)?;
        if !self.store.record_prepared(submission.id, verdict, facts, jobs, acceptance, now).await? {
            // Another run was faster, or a person: nothing names these files.
            for name in &made {
                self.spool.forget(name).await?;
            }
            return Ok(());
        }
        reached("prepare.committed");
        let (id, word) = (submission.id, verdict.as_str());
        tracing::info!(submission.id = %id, verdict = word, jobs = n, held, "submission {id} is prepared: {word}, {n} jobs, {held} held");
        self.made.notify_one();
        self.answered.notify_one();
        Ok(())
    }

    /// The Jobs of a Submission that is prepared anew.
    async fn former(&self, submission: &Submission, key: &SealKey) -> Result<Vec<Former>, Trouble> {
        let filter = JobFilter { submission: Some(submission.id), ..JobFilter::default() };
        let jobs = self.store.jobs(&filter, FORMER).await?;
        let former = |job: crate::store::Job| {
            let to = JobFacts::open(key, &job.facts)?.to;
            Ok(Former { to, id: job.id, version: job.version })
        };
        jobs.into_iter().map(former).collect()
    }

    /// What becomes of a mail that is not for faxing: our own, or an answer to a receipt.
    async fn special(
        &self,
        submission: &Submission,
        facts: &SubmissionFacts,
        contents: &Contents,
        now: Timestamp,
    ) -> Result<Option<Plan>, Trouble> {
        // A machine's mail is neither carried out nor answered: the planner says so of every such mail.
        let Some(mail) = contents.mail.as_ref().filter(|mail| mail.auto_submitted.is_none()) else {
            return Ok(None);
        };
        let from = [facts.envelope_from.as_deref(), mail.from_address.as_deref()];
        if from.into_iter().flatten().any(|address| self.config.is_own_address(address)) {
            return Ok(Some(Plan::Ignored(
                "it comes from the address that our own receipts come from".into(),
            )));
        }
        let letter = commands::Letter {
            submission,
            to: &facts.envelope_to,
            proof: facts.proof,
            envelope_from: facts.envelope_from.as_deref(),
            contents,
        };
        Ok(match self.commands.sort(letter.to, submission.accepted_at) {
            commands::Sorted::NotACommand => None,
            commands::Sorted::Neither(carried) => Some(Plan::Command(carried)),
            commands::Sorted::Command(about) => {
                Some(Plan::Command(self.commands.carry_out(letter, about, now).await?))
            }
        })
    }

    /// Opens the document. What a child could not cope with holds the packet; what is our own trouble is an error.
    async fn open(&self, from: &Received<'_>) -> Result<(Contents, Option<Bench>), Trouble> {
        let last_try = from.last_try;
        let input = match &from.file {
            Some(name) => Input::File { name: name.clone() },
            None => Input::Mail,
        };
        let reader = match self.spool.read(from.key, &from.document.name).await {
            Ok(reader) => reader,
            // The sender is told at last, rather than never.
            Err(error) if last_try => {
                tracing::error!(error = %error, "a received document cannot be read: {error}");
                return Ok((Contents { hold: Some(LOST.to_owned()), ..Contents::default() }, None));
            }
            Err(error) => return Err(error.into()),
        };
        match self.workshop.open(input, reader.into_stream(), &packet_rules(&self.config)).await {
            Ok(bench) => Ok((bench.contents().clone(), Some(bench))),
            Err(error) if error.is_ours() && !last_try => Err(Trouble::Workshop(error)),
            Err(error) => Ok((Contents { hold: Some(error.sentence()), ..Contents::default() }, None)),
        }
    }

    /// Makes and seals the packet of one Job, where its documents can become pages; held Jobs have one too, so that they can
    /// be looked at and released.
    async fn make(&self, job: PlannedJob, table: &mut Table<'_>, now: Timestamp) -> Result<NewJob, Trouble> {
        let key = table.from.key;
        let mut held = job.held.clone();
        let mut packet = None;
        let mut warnings = job.warnings.clone();
        let part_holds = matches!(held, Some((Hold::Part, _)));
        let front = Front::of(&job, &self.fonts).await;
        if let Err(why) = &front {
            held.get_or_insert(why.clone());
        }
        if let (false, Ok(front)) = (part_holds, front) {
            match self.packet(&job, &front, table).await? {
                Ok((made, more)) => {
                    packet = made;
                    warnings.extend(front.warnings);
                    warnings.extend(more);
                }
                Err(sentence) => held = Some((Hold::Part, sentence)),
            }
        }
        // Released by a person after that, it goes at once; until then the state machine knows it too.
        let due = job.send_at.unwrap_or(now).max(now);
        let state = match &held {
            None => JobState::Queued { due },
            Some((hold, _)) => {
                let until =
                    now.saturating_add(self.config.policy.hold_for.signed()).unwrap_or(Timestamp::MAX);
                JobState::Held { hold: *hold, until }
            }
        };
        let facts = JobFacts {
            to: job.to,
            reference: job.route.reference.clone(),
            recipient_name: job.sheet.to_name.clone(),
            hold: held.map(|(_, sentence)| sentence),
            trace: job.trace,
            warnings,
            version: job.version,
        };
        let deadline = due.saturating_add(self.config.policy.deadline.signed()).unwrap_or(Timestamp::MAX);
        Ok(NewJob {
            id: job.id,
            version: job.version,
            recipient: job.entry.map(|entry| entry.key),
            number: job.number,
            rule: job.route.rule,
            route: job.providers,
            state,
            deadline,
            send_at: job.send_at,
            priority: job.priority,
            packet,
            facts: facts.seal(key)?,
        })
    }

    /// Makes and seals a packet; a sentence for the sender where that cannot be done, nothing where there are no pages.
    async fn packet(
        &self,
        job: &PlannedJob,
        front: &Front,
        table: &mut Table<'_>,
    ) -> Result<Result<(Option<PacketRow>, Vec<String>), String>, Trouble> {
        loop {
            let Some(bench) = table.bench.as_mut() else {
                return Ok(table.spoiled.clone().map_or(Ok((None, Vec::new())), Err));
            };
            let mut sink = Spooled(self.spool.create(table.from.key)?);
            match bench.make(front.pdfs(), job.selection.as_ref(), &mut sink).await {
                // One number on the cover, in the packet and in the receipt, or nothing leaves.
                Ok(made) if front.pages.is_some_and(|printed| printed != made.pages) => {
                    return Ok(Err(MISCOUNTED.to_owned()));
                }
                Ok(made) => {
                    table.used = true;
                    let sealed = sink.0.finish().await?;
                    let document = Document {
                        name: sealed.name,
                        bytes: sealed.bytes,
                        sha256: crate::spool::hex(&sealed.sha256),
                    };
                    let row = PacketRow {
                        document,
                        shared: None,
                        pages: made.pages,
                        cover_pages: made.cover_pages,
                    };
                    return Ok(Ok((Some(row), made.warnings)));
                }
                Err(WorkshopError::Held { sentence }) => return Ok(Err(sentence)),
                // The time is one document's; here it went into the packets of those before. Each further one has time of
                // its own if it needs it.
                Err(WorkshopError::TimedOut(_)) if table.used => {
                    table.bench = None;
                    (table.bench, table.used) = (self.open(&table.from).await?.1, false);
                    if table.bench.is_none() {
                        table.spoiled = Some(LOST.to_owned());
                    }
                }
                // A child that is killed over and over, as by a machine out of memory, is the document's doing at last.
                Err(error)
                    if !error.is_ours()
                        || (table.from.last_try && matches!(error, WorkshopError::Ended { .. })) =>
                {
                    // The child is gone, and the next one would come to the same end over the next packet.
                    table.bench = None;
                    table.spoiled = Some(error.sentence());
                }
                Err(error) => return Err(Trouble::Workshop(error)),
            }
        }
    }
}

/// Where a Submission's document comes from.
struct Received<'a> {
    key: &'a SealKey,
    document: &'a Document,
    file: Option<String>,
    last_try: bool,
}

/// The opened document, from which one packet after the other is made.
struct Table<'a> {
    from: Received<'a>,
    bench: Option<Bench>,
    /// A packet was made since it was opened.
    used: bool,
    /// Why there are no more packets to be had from it.
    spoiled: Option<String>,
}

/// The spool as the place where a packet goes.
struct Spooled(Writer);

impl Sink for Spooled {
    async fn write(&mut self, bytes: &[u8]) -> Result<(), BoxError> {
        Ok(self.0.write(bytes).await?)
    }
}
