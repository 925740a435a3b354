//! `faxbridge job`: what became of what was sent, and a person's decisions about it.

use std::path::Path;

use anyhow::Context;
use faxbridge::job::number_words;
use faxbridge::job::{JobId, JobState, SubmissionId};
use faxbridge::receipt::hold_sentence;
use faxbridge::store::{Job, JobFilter, Submission};
use jiff::Timestamp;
use serde_json::json;

use super::listing::{Table, Times, print, say};
use super::{Bridge, Misuse};
use faxbridge::sealed::{JobFacts, SubmissionFacts};
use faxbridge::vault::{SealKey, WrappedKey};
use words::state_words;

mod change;
mod look_alikes;
mod show;
pub(super) mod words;

/// Words of states, as `--state` takes them.
const STATES: [&str; 8] =
    ["queued", "sending", "in_transit", "unclear", "held", "delivered", "failed", "cancelled"];

pub(crate) type Arguments = super::About<What>;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum What {
    /// Lists jobs, newest first
    List(List),
    /// Shows all there is to know about a job, or about every job of a submission
    Show {
        /// A job's id, or a submission's
        id: String,
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Holds a job that waits for its turn
    Hold {
        /// The job's id
        id: String,
    },
    /// Lets a held job go on
    Release {
        /// The job's id
        id: String,
        /// Also where pages of it may be lying at the far end already
        #[arg(long)]
        send_again: bool,
    },
    /// Cancels a job: at once while it waits or is held; where a call may be under way, its provider is told
    Cancel {
        /// The job's id
        id: String,
    },
    /// Shows what is known of a job that is unclear or held, and takes a person's word on what became of it
    #[command(group = clap::ArgGroup::new("end"))]
    Resolve {
        /// The job's id
        id: String,
        /// It did arrive
        #[arg(long, group = "end")]
        delivered: bool,
        /// It did not arrive, and is not sent again
        #[arg(long, group = "end")]
        not_delivered: bool,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct List {
    /// Only in this state
    #[arg(long, value_name = "STATE", value_parser = STATES)]
    state: Option<String>,
    /// Only those that have not ended
    #[arg(long)]
    open: bool,
    /// Only to this entry of the register
    #[arg(long, value_name = "KEY")]
    recipient: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: u32,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let desk = JobCommands::open(&arguments.file.config).await?;
    match arguments.what {
        What::List(list) => desk.list(list).await,
        What::Show { id, json } => desk.show(&id, json).await,
        What::Hold { id } => desk.hold(&id).await,
        What::Release { id, send_again } => desk.release(&id, send_again).await,
        What::Cancel { id } => desk.cancel(&id).await,
        What::Resolve { id, delivered, not_delivered } => {
            desk.resolve(&id, (delivered || not_delivered).then_some(delivered)).await
        }
    }
}

/// The bridge, with what it takes to talk about it.
pub(super) struct JobCommands {
    pub(super) bridge: Bridge,
    pub(super) times: Times,
}

/// What only a Submission's key can read; nothing once that is destroyed.
struct Sealed {
    key: Option<SealKey>,
}

impl Sealed {
    fn job(&self, job: &Job) -> Option<JobFacts> {
        JobFacts::open(self.key.as_ref()?, &job.facts).ok()
    }

    fn submission(&self, submission: &Submission) -> Option<SubmissionFacts> {
        SubmissionFacts::open(self.key.as_ref()?, &submission.facts).ok()
    }
}

impl JobCommands {
    async fn open(path: &Path) -> anyhow::Result<JobCommands> {
        let bridge = Bridge::open(path).await?;
        Ok(JobCommands::of(bridge))
    }

    pub(super) fn of(bridge: Bridge) -> JobCommands {
        JobCommands { times: Times::of(&bridge.config), bridge }
    }

    fn now(&self) -> Timestamp {
        self.bridge.clock.now()
    }

    fn unseal(&self, submission: &Submission) -> Sealed {
        let wrapped = submission.wrapped_key.clone().map(WrappedKey);
        Sealed { key: wrapped.and_then(|wrapped| self.bridge.spool.vault().unwrap_key(&wrapped).ok()) }
    }

    /// Why nothing of `submission` is faxed.
    pub(super) fn refusal(&self, submission: &Submission) -> Option<String> {
        self.unseal(submission).submission(submission)?.refusal
    }

    /// Why `job` is held, every reason, as its sender was told; a general sentence where a person or a provider is the reason.
    pub(super) fn hold_words(&self, job: &Job, submission: &Submission) -> Option<String> {
        let JobState::Held { hold, .. } = &job.state else { return None };
        let facts = self.unseal(submission).job(job);
        let sentence = facts.and_then(|facts| facts.hold_sentence(job.as_made).map(str::to_owned));
        Some(sentence.unwrap_or_else(|| hold_sentence(*hold).to_owned()))
    }

    async fn job(&self, id: &str) -> anyhow::Result<Job> {
        let id: JobId = id.parse().map_err(|error| Misuse(format!("{error}")))?;
        self.bridge.store.job(id).await?.with_context(|| {
            format!("there is no job {id}; `faxbridge job list` shows the latest. A held submission that was prepared anew has new ones")
        })
    }

    async fn submission(&self, id: SubmissionId) -> anyhow::Result<Submission> {
        self.bridge.store.submission(id).await?.with_context(|| format!("there is no submission {id}"))
    }

    async fn list(&self, list: List) -> anyhow::Result<()> {
        let filter =
            JobFilter { state: list.state, submission: None, recipient: list.recipient, open: list.open };
        let jobs = self.bridge.store.jobs(&filter, list.limit).await?;
        let now = self.now();
        if list.json {
            return jobs.iter().try_for_each(|job| say(listed(job)));
        }
        if jobs.is_empty() {
            return say("No jobs.");
        }
        let mut table = Table::new(&["JOB", "MADE", "RECIPIENT", "NUMBER", "PAGES", "STATE"]);
        for job in &jobs {
            table.row([
                job.id.to_string(),
                self.times.full(job.made_at),
                job.recipient.clone().unwrap_or_else(|| "-".to_owned()),
                job.number.as_ref().map_or("-".to_owned(), number_words),
                job.packet.as_ref().map_or("-".to_owned(), |packet| packet.pages.to_string()),
                state_words(&job.state, now, &self.times),
            ]);
        }
        print(table)?;
        if u32::try_from(jobs.len()).is_ok_and(|n| n == list.limit) {
            say(format_args!("These are the latest {}; --limit shows more.", list.limit))?;
        }
        Ok(())
    }
}

/// One line of `job list --json`.
fn listed(job: &Job) -> serde_json::Value {
    json!({
        "job": job.id.as_str(),
        "submission": job.submission.as_str(),
        "recipient": job.recipient,
        "number": job.number.as_ref().map(faxbridge::job::FaxNumber::as_str),
        "state": job.state.as_str(),
        "detail": job.state,
        "rule": job.rule,
        "provider": job.provider,
        "route": job.route,
        "cancel": job.cancel,
        "pages": job.packet.as_ref().map(|packet| packet.pages),
        "cover_pages": job.packet.as_ref().map(|packet| packet.cover_pages),
        "sha256": job.packet.as_ref().and_then(|packet| packet.document.digest()),
        "made_at": job.made_at.to_string(),
        "deadline": job.deadline.to_string(),
        "priority": job.priority.as_str(),
        "send_at": job.send_at.map(|at| at.to_string()),
        "final_at": job.final_at.map(|at| at.to_string()),
    })
}
