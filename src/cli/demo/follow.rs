//! Watches the six through the bridge's own store, beside the running bridge, and tells what happens as it happens.

use std::time::{Duration, Instant};

use anyhow::Context;
use faxbridge::clock::SharedClock;
use faxbridge::job::{Hold, JobState, Source};
use faxbridge::spool::Spool;
use faxbridge::store::{AttemptRow, Job, JobFilter, ProviderCopy, Store, Submission, SubmissionFilter};
use mail_parser::MessageParser;

use super::cases::{CASES, Case, Promise, Way};
use super::child::Bridge;
use super::mailbox::{DemoMail, Mailbox};
use faxbridge::sealed::SubmissionFacts;
use faxbridge::vault::WrappedKey;

/// The table: one line for each thing that happens.
pub(super) struct Table {
    start: Instant,
}

impl Table {
    pub(super) fn new(start: Instant) -> Table {
        Table { start }
    }

    pub(super) fn head(&self) {
        println!("{:<6} {:<2} {:<30}  {:<11} ", "time", "", "what", "state");
    }

    pub(super) fn line(&self, case: &Case, state: &str, detail: &str) {
        let seconds = self.start.elapsed().as_secs();
        let time = format!("{:02}:{:02}", seconds / 60, seconds % 60);
        println!("{time:<6} {:<2} {:<30}  {state:<11} {detail}", case.n, case.what);
    }
}

/// A receipt as it lies in the mailbox, read.
#[derive(Clone)]
pub(super) struct Receipt {
    pub(super) letter: DemoMail,
    /// Without angle brackets.
    pub(super) in_reply_to: Option<String>,
    pub(super) auto_submitted: bool,
    pub(super) text: String,
}

impl Receipt {
    fn read(letter: DemoMail) -> Receipt {
        let mail = MessageParser::default().parse(&letter.bytes);
        let text = mail.as_ref().and_then(|mail| mail.body_text(0)).unwrap_or_default().into_owned();
        let id = mail.as_ref().and_then(|mail| mail.in_reply_to().as_text().map(str::to_owned));
        let auto_submitted = mail.as_ref().is_some_and(|mail| mail.header("Auto-Submitted").is_some());
        Receipt { in_reply_to: id, auto_submitted, text, letter }
    }
}

/// One of the six, and what is known of it.
pub(super) struct Followed {
    pub(super) case: &'static Case,
    /// Of the mail it came as, without angle brackets.
    pub(super) message_id: String,
    pub(super) submission: Option<Submission>,
    pub(super) job: Option<Job>,
    /// Of its packet, from when it was in the database still.
    pub(super) sha256: Option<String>,
    pub(super) attempts: Vec<AttemptRow>,
    /// Mails that name its job.
    pub(super) receipts: Vec<Receipt>,
    /// Its sealed files are unlinked.
    pub(super) unlinked: bool,
    /// Answers that have not left yet.
    unsent: u64,
    told: Told,
}

/// What stands in the table already.
#[derive(Default)]
struct Told {
    retries: usize,
    state: Option<String>,
    receipts: usize,
    destroyed: bool,
}

impl Followed {
    /// Whether there is nothing left to wait for.
    fn is_complete(&self) -> bool {
        let (Some(submission), Some(job)) = (&self.submission, &self.job) else { return false };
        let answered = self.unsent == 0 && !self.receipts.is_empty();
        answered
            && match self.case.promise {
                Promise::Held => matches!(job.state, JobState::Held { .. }),
                Promise::Faxed { .. } => {
                    submission.destroyed_at.is_some() && self.unlinked && self.copies_deleted()
                }
            }
    }

    /// Whether the provider has no copy any more.
    pub(super) fn copies_deleted(&self) -> bool {
        self.attempts.iter().all(|attempt| attempt.provider_copy() != Some(ProviderCopy::There))
    }

    fn tell(&mut self, table: &Table, clock: &SharedClock) {
        let Some(job) = &self.job else { return };
        let retries = self.attempts.iter().filter(|attempt| attempt.outcome.as_deref() == Some("retry"));
        for attempt in retries.skip(self.told.retries) {
            self.told.retries += 1;
            let word = attempt.cause().map_or("failed", |cause| cause.as_str()).replace('_', " ");
            let next = match job.state {
                JobState::Queued { due } => {
                    format!(", again in {} s", due.duration_since(clock.now()).as_secs().max(0) + 1)
                }
                _ => String::new(),
            };
            table.line(self.case, &word, &format!("attempt {}{next}", attempt.n));
        }
        let pages = job.packet.as_ref().map_or(0, |packet| packet.pages);
        let attempt = self.attempts.len();
        let (state, detail) = match &job.state {
            JobState::Sending { .. } | JobState::InTransit { .. } => {
                ("calling", format!("{pages} pages, attempt {attempt}"))
            }
            JobState::Delivered => ("delivered", format!("{pages} pages, attempt {attempt}")),
            JobState::Held { hold: Hold::Unverified, .. } => {
                ("held", "nobody has verified this number".to_owned())
            }
            JobState::Held { hold, .. } => ("held", hold.as_str().replace('_', " ")),
            JobState::Failed { cause } => ("failed", cause.as_str().replace('_', " ")),
            JobState::Unclear { .. } => ("unclear", "the provider is asked".to_owned()),
            JobState::Cancelled => ("cancelled", String::new()),
            JobState::Queued { .. } => ("queued", String::new()),
        };
        // Waiting for its turn is no news, and a retry has been told above.
        let line = format!("{state} {attempt}");
        if state != "queued" && self.told.state.as_ref() != Some(&line) {
            table.line(self.case, state, &detail);
            self.told.state = Some(line);
        }
        for receipt in self.receipts.iter().skip(self.told.receipts) {
            let what = match (receipt.in_reply_to.is_some(), self.case.promise) {
                (true, Promise::Held) => "tells the sender why, in the mail's thread",
                (true, Promise::Faxed { .. }) => "in the mail's thread",
                (false, _) => "by mail, and a result file",
            };
            table.line(self.case, "receipt", what);
            self.told.receipts += 1;
        }
        let destroyed = self.submission.as_ref().is_some_and(|submission| submission.destroyed_at.is_some());
        if destroyed && self.unlinked && self.copies_deleted() && !self.told.destroyed {
            table.line(self.case, "destroyed", "key and documents here, the copy at the provider");
            self.told.destroyed = true;
        }
    }
}

/// Where the follower looks.
#[derive(Clone, Copy)]
pub(super) struct Eyes<'a> {
    pub(super) store: &'a Store,
    pub(super) spool: &'a Spool,
    pub(super) mailbox: &'a Mailbox,
}

/// All six.
pub(super) struct Follower<'a> {
    pub(super) eyes: Eyes<'a>,
    pub(super) table: &'a Table,
    pub(super) clock: &'a SharedClock,
    pub(super) followed: Vec<Followed>,
}

impl<'a> Follower<'a> {
    /// `message_ids` are those of the mails, by place in [`CASES`]; empty for files.
    pub(super) fn new(
        eyes: Eyes<'a>,
        table: &'a Table,
        clock: &'a SharedClock,
        message_ids: Vec<String>,
    ) -> Follower<'a> {
        let followed = CASES.iter().zip(message_ids).map(|(case, message_id)| Followed {
            case,
            message_id,
            submission: None,
            job: None,
            sha256: None,
            attempts: Vec::new(),
            receipts: Vec::new(),
            unlinked: false,
            unsent: 0,
            told: Told::default(),
        });
        Follower { eyes, table, clock, followed: followed.collect() }
    }

    /// Follows them until nothing is left to wait for, or `until` comes. The second is no error here: what is missing then is
    /// for the proof to say.
    pub(super) async fn follow(&mut self, bridge: &mut Bridge, until: Instant) -> anyhow::Result<()> {
        let mut rounds = tokio::time::interval(ROUND);
        loop {
            rounds.tick().await;
            bridge.check()?;
            self.look().await.context("the bridge's database could not be read")?;
            for followed in &mut self.followed {
                followed.tell(self.table, self.clock);
            }
            if self.followed.iter().all(Followed::is_complete) || Instant::now() >= until {
                return Ok(());
            }
        }
    }

    async fn look(&mut self) -> anyhow::Result<()> {
        let submissions = self.eyes.store.submissions(&SubmissionFilter::default(), 100).await?;
        let jobs = self.eyes.store.jobs(&JobFilter::default(), 100).await?;
        let receipts: Vec<Receipt> = self.eyes.mailbox.letters().into_iter().map(Receipt::read).collect();
        for followed in &mut self.followed {
            // Found once, it is known by its name: what tells whose it is goes with its key.
            let before = followed.submission.as_ref().map(|found| found.id);
            let is_it = |one: &&Submission| {
                before.map_or_else(|| is_of(one, followed, self.eyes.spool), |id| id == one.id)
            };
            followed.submission = submissions.iter().find(is_it).cloned();
            let Some(submission) = &followed.submission else { continue };
            followed.unsent = self.eyes.store.unsent(submission.id).await?;
            followed.unlinked = self.eyes.store.received(submission.id).await?.is_empty();
            followed.job = jobs.iter().find(|job| job.submission == submission.id).cloned();
            let Some(job) = &followed.job else { continue };
            let digest = job.packet.as_ref().and_then(|packet| packet.document.digest());
            followed.sha256 = followed.sha256.take().or(digest.map(str::to_owned));
            followed.attempts = self.eyes.store.attempts(job.id).await?;
            let names_it = |receipt: &&Receipt| receipt.text.contains(job.id.as_str());
            followed.receipts = receipts.iter().filter(names_it).cloned().collect();
        }
        Ok(())
    }
}

/// Between two looks at the database.
const ROUND: Duration = Duration::from_millis(100);

fn is_of(submission: &Submission, followed: &Followed, spool: &Spool) -> bool {
    let key = submission.wrapped_key.clone().and_then(|key| spool.vault().unwrap_key(&WrappedKey(key)).ok());
    let facts = key.and_then(|key| SubmissionFacts::open(&key, &submission.facts).ok()).unwrap_or_default();
    let id = facts.message_id.unwrap_or_default();
    match followed.case.way {
        Way::Mail { .. } => id.trim_matches(['<', '>']) == followed.message_id,
        Way::Sftp { .. } => matches!(submission.source, Source::Sftp(_)),
        Way::Folder { .. } => matches!(submission.source, Source::Folder(_)),
    }
}
