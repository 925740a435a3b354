//! Commands by reply: a receipt or notice is answered with `release`, `cancel` or `status`.
//!
//! Such a mail is a Submission like any other: proven, durable before its 250, known again when it comes twice. What tells it
//! apart is its address, which carries a token ([`crate::replies`]). Here it is carried out instead of faxed, under
//! these rules:
//!
//! - the token names the Submission that is meant, and gives no right. The mail must be the same sender's (of the
//!   configuration), and its From the address that the receipt went to or one of that sender's;
//! - the command is the first line of the mail's own text, exactly ([`read`]); attachments, a second receipt or a fax
//!   address beside it are refused, since nobody could say what was meant;
//! - a sender stops what is his, and lets go on what only asks whether to send it again. He never lifts a hold that guards
//!   a number, a page or a cover, whatever he writes (promise 4);
//! - every change is in the ledger under `sender NAME by mail SUBMISSION`, committed with the change itself. That is also
//!   what makes a command that is begun twice, around a crash, act once.
//!
//! The answer is the mail's one final receipt: what was done first, then how the faxes stand. To somebody else's
//! Submission it says nothing of that.

use std::sync::Arc;

use jiff::Timestamp;

use crate::addressing::message::own_words;
use crate::config::{Config, Proof};
use crate::job::{Actor, JobId, SubmissionId};
use crate::packet::Contents;
use crate::replies::{EXPIRED, Replies, Reply, UNKNOWN};
use crate::sealed::{Carried, CommandOutcome};
use crate::store::{Job, JobFilter, Store, StoreError, Submission};
use crate::vault::Vault;

mod act;
mod objection;
mod read;

use act::Done;
pub use objection::objection;
pub use read::{Command, Word, read};

/// Jobs of one Submission that a command looks at.
const MOST_JOBS: u32 = 10_000;
/// Jobs that an answer tells of one by one; the others are counted.
const TOLD: usize = 20;

/// Why a command could not be carried out now; it is begun again.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The configuration cannot be used.
    #[error("{0}")]
    Configuration(String),
    /// The Job changes faster than it can be decided about.
    #[error("job {0} is changing all the time")]
    Moving(JobId),
}

/// A mail to an address that might be one for commands.
#[derive(Debug, Clone, Copy)]
pub struct Letter<'a> {
    /// As what it was accepted.
    pub submission: &'a Submission,
    /// Its envelope recipients.
    pub to: &'a [String],
    /// What proved it.
    pub proof: Option<Proof>,
    /// Its envelope sender.
    pub envelope_from: Option<&'a str>,
    /// What is in it.
    pub contents: &'a Contents,
}

/// What a mail is to the [`Desk`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sorted {
    /// A mail to be faxed.
    NotACommand,
    /// A command, for this Submission.
    Command(SubmissionId),
    /// Neither: nothing of it is faxed or done.
    Neither(Carried),
}

/// Carries commands out. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Desk {
    config: Arc<Config>,
    store: Store,
    vault: Vault,
    replies: Option<Replies>,
}

impl Desk {
    /// Puts it together; where the configuration has no addresses for answers, no mail is a command.
    #[must_use]
    pub fn new(config: Arc<Config>, store: Store, vault: Vault) -> Self {
        let replies = Replies::of(&config, &vault);
        Desk { config, store, vault, replies }
    }

    /// What a mail to `to`, accepted at `at`, is.
    #[must_use]
    pub fn sort(&self, to: &[String], at: Timestamp) -> Sorted {
        let Some(replies) = &self.replies else { return Sorted::NotACommand };
        let read: Vec<Reply> = to.iter().map(|to| replies.read(to, at)).collect();
        if read.iter().all(|reply| *reply == Reply::Elsewhere) {
            return Sorted::NotACommand;
        }
        let refused = |sentence: &str| {
            Sorted::Neither(Carried {
                about: None,
                outcome: CommandOutcome::NotDone,
                sentence: sentence.to_owned(),
            })
        };
        match read.split_first() {
            _ if read.contains(&Reply::Elsewhere) => refused(
                "This went to a fax address and to the address at which a receipt is answered. Send the fax and the answer \
                 in mails of their own; nothing was faxed or changed.",
            ),
            Some((Reply::To(about), others)) if others.iter().all(|other| *other == Reply::To(*about)) => {
                Sorted::Command(*about)
            }
            _ if read.contains(&Reply::Expired) => refused(EXPIRED),
            _ if read.contains(&Reply::Unknown) => refused(UNKNOWN),
            _ => refused(
                "This answers several receipts at once. Answer each in a mail of its own; nothing was changed.",
            ),
        }
    }

    /// Carries out what `letter` says about the Submission `about`.
    ///
    /// # Errors
    /// See [`Trouble`]; then it is to be begun again.
    pub async fn carry_out(
        &self,
        letter: Letter<'_>,
        about: SubmissionId,
        now: Timestamp,
    ) -> Result<Carried, Trouble> {
        let target = self.store.submission(about).await?.filter(|target| self.may_command(letter, target));
        let Some(target) = target else {
            let sentence = "Nothing was changed: only the sender of a fax can stop it, release it or ask for it, from an address of \
                            his own.";
            return Ok(Carried {
                about: None,
                outcome: CommandOutcome::NotDone,
                sentence: sentence.to_owned(),
            });
        };
        let carried = |outcome, sentence| Carried { about: Some(about), outcome, sentence };
        if letter.contents.parts.iter().any(|part| part.pages.is_some() || part.holds.is_some()) {
            let sentence = "Nothing was changed, and nothing was faxed: an answer to a receipt has no attachments. To fax something, \
                            send it to a fax address.";
            return Ok(carried(CommandOutcome::NotDone, sentence.to_owned()));
        }
        let command = letter.contents.text.as_deref().and_then(|text| read(&own_words(text)));
        let filter = JobFilter { submission: Some(about), ..JobFilter::default() };
        let jobs = self.store.jobs(&filter, MOST_JOBS).await?;
        let Some(command) = command else {
            return Ok(carried(CommandOutcome::NotDone, not_understood(&jobs)));
        };
        if let Some(wanted) = command.job.filter(|wanted| jobs.iter().all(|job| job.id != *wanted)) {
            let sentence =
                format!("Nothing was changed: job {wanted} is none of this mail's. {}", how(&jobs));
            return Ok(carried(CommandOutcome::NotDone, sentence));
        }
        let actor = Actor::Sender { name: target.sender.clone(), mail: letter.submission.id };
        let meant: Vec<Job> =
            jobs.into_iter().filter(|job| command.job.is_none_or(|id| id == job.id)).collect();
        if command.word == Word::Status {
            return Ok(carried(CommandOutcome::Told, "This is how it stands.".to_owned()));
        }
        let mut results = Vec::with_capacity(meant.len());
        for job in meant {
            let id = job.id;
            let done = match command.word {
                Word::Cancel => self.cancel(job, &actor, now).await?,
                Word::Release | Word::Status => self.release(job, &actor, now).await?,
            };
            results.push((id, done));
        }
        let any = results.iter().any(|(_, done)| !matches!(done, Done::Not(_)));
        let outcome = if any { CommandOutcome::Done } else { CommandOutcome::NotDone };
        Ok(carried(outcome, told(command.word, &results)))
    }

    /// Whether `letter` may say what becomes of `target`: the same sender, from an address that is his.
    fn may_command(&self, letter: Letter<'_>, target: &Submission) -> bool {
        if letter.submission.sender != target.sender {
            return false;
        }
        let sender = self.config.sender.iter().find(|sender| sender.name == target.sender);
        let his = |address: &str| {
            target.answer_mark.as_ref().is_some_and(|mark| *mark == self.vault.address_mark(address))
                || sender.is_some_and(|sender| sender.writes_from(address))
        };
        let from = letter.contents.mail.as_ref().and_then(|mail| mail.from_address.as_deref());
        // What was proven by the mail itself is its From; there the envelope is what a mail system made of it.
        let by_envelope = matches!(letter.proof, Some(Proof::Login | Proof::Certificate | Proof::Network));
        from.is_some_and(his) && (!by_envelope || letter.envelope_from.is_some_and(his))
    }
}

/// What can be written, for these Jobs.
fn how(jobs: &[Job]) -> String {
    let one = "Write one of these words as the first line of your answer: status, cancel, release.";
    match jobs {
        [] | [_] => one.to_owned(),
        [first, ..] => {
            format!(
                "{one} It means all of them; behind the word you can name one, as in: cancel {}.",
                first.id
            )
        }
    }
}

fn not_understood(jobs: &[Job]) -> String {
    format!("Nothing was changed: the first line of your answer was not understood. {}", how(jobs))
}

/// What was done, as sentences.
fn told(word: Word, results: &[(JobId, Done)]) -> String {
    if let [(_, done)] = results {
        return match done {
            Done::Cancelled => "Done: the fax is cancelled, and will not be sent.".to_owned(),
            Done::Released => "Done: the fax is released, and is sent again, whole.".to_owned(),
            Done::Wished => format!("Asked for: {WISHED}"),
            Done::Not(why) => format!("Nothing was changed: {} {why}.", failed(word)),
        };
    }
    if results.is_empty() {
        return "Nothing was changed: no fax came of that mail.".to_owned();
    }
    let sentence = |(id, done): &(JobId, Done)| match done {
        Done::Cancelled => format!("Job {id} is cancelled, and will not be sent."),
        Done::Released => format!("Job {id} is released, and is sent again, whole."),
        Done::Wished => format!("Job {id}: {WISHED}"),
        Done::Not(why) => format!("Job {id}: {} {why}.", failed(word)),
    };
    let mut sentences: Vec<String> = results.iter().take(TOLD).map(sentence).collect();
    if let Some(more @ 1..) = results.len().checked_sub(TOLD) {
        sentences.push(match more {
            1 => "Below is how the other one stands.".to_owned(),
            more => format!("Below is how the {more} others stand."),
        });
    }
    let changed = results.iter().filter(|(_, done)| !matches!(done, Done::Not(_))).count();
    let head = match changed {
        0 => "Nothing was changed.".to_owned(),
        changed => format!("{changed} of {} changed.", results.len()),
    };
    format!("{head} {}", sentences.join(" "))
}

fn failed(word: Word) -> &'static str {
    match word {
        Word::Cancel => "not cancelled,",
        Word::Release | Word::Status => "not released,",
    }
}

const WISHED: &str = "the fax is being sent already; the fax provider is told to stop it, and it is not tried again. The receipt \
                      at the end tells whether that came in time.";

#[cfg(test)]
mod tests;
