//! A person's decisions about a job, in words: what is decided and saved stands in [`faxbridge::decide`].

use faxbridge::decide::{Changed, Decider, No, Wish};
use faxbridge::job::{JobState, number_words};
use faxbridge::receipt::hold_sentence;
use faxbridge::store::Job;

use super::JobCommands;
use super::words::cancel_words;
use crate::cli::listing::{count, say};
use crate::cli::{Misuse, actor, daemon_runs};

impl JobCommands {
    pub(super) async fn hold(&self, id: &str) -> anyhow::Result<()> {
        let job = self.job(id).await?;
        self.change(&job, &Wish::Hold).await?;
        say(format_args!("Job {} is held. To let it go on: faxbridge job release {}", job.id, job.id))
    }

    pub(super) async fn cancel(&self, id: &str) -> anyhow::Result<()> {
        let job = self.job(id).await?;
        let (id, provider) = (job.id, &job.provider);
        match self.decide(&job, &Wish::Cancel).await? {
            Changed::Asked => {
                say(format_args!(
                    "Job {id} is with {provider} already: the provider is told to stop it. It is not tried again. Whether the wish came in \
                     time shows `faxbridge job show {id}`."
                ))?;
                self.warn_without_daemon()
            }
            Changed::Not(No::AskedBefore(wish)) => {
                say(format_args!("Job {id}: {}.", cancel_words(wish, provider)))
            }
            changed => {
                saved(&job, changed)?;
                say(format_args!("Job {id} is cancelled and will not be sent. Its sender is told."))
            }
        }
    }

    /// Takes a person's word; without one, shows what it should be about.
    pub(super) async fn resolve(&self, id: &str, delivered: Option<bool>) -> anyhow::Result<()> {
        let Some(delivered) = delivered else {
            self.show(id, false).await?;
            let job = self.job(id).await?;
            return match &job.state {
                JobState::Unclear { .. } | JobState::Held { .. } => say(format_args!(
                    "\nTelephone the recipient, then state what arrived: faxbridge job resolve {id} --delivered, or --not-delivered."
                )),
                _ => say("\nThere is nothing to resolve: only an unclear or held job can be."),
            };
        };
        let job = self.job(id).await?;
        self.change(&job, &Wish::Resolve { delivered }).await?;
        let word = if delivered { "delivered" } else { "not delivered, and is not sent again" };
        say(format_args!("Job {} is closed as {word}, on your word. Its sender is told.", job.id))
    }

    pub(super) async fn release(&self, id: &str, send_again: bool) -> anyhow::Result<()> {
        let job = self.job(id).await?;
        let submission = self.submission(job.submission).await?;
        let lifted = self.hold_words(&job, &submission);
        match self.decide(&job, &Wish::Release { send_again }).await? {
            Changed::Anew => say(format_args!(
                "Submission {} is prepared anew (faxbridge job show {}). What still stands in the way is told to its sender again.",
                job.submission, job.submission
            ))?,
            changed => {
                saved(&job, changed)?;
                let whom = job.number.as_ref().map_or("its recipient".to_owned(), number_words);
                say(format_args!("Job {} is released; it is sent to {whom}.", job.id))?;
                if let Some(sentences) = lifted {
                    say(format_args!("With that you lift: {sentences}"))?;
                }
            }
        }
        self.warn_without_daemon()
    }

    fn warn_without_daemon(&self) -> anyhow::Result<()> {
        if !daemon_runs(&self.bridge.config.store.data_dir) {
            eprintln!("warning: no daemon is running here; it goes on once `faxbridge serve` is started");
        }
        Ok(())
    }

    /// Decides and saves; everything but a saved change is an error.
    async fn change(&self, job: &Job, wish: &Wish) -> anyhow::Result<()> {
        saved(job, self.decide(job, wish).await?)
    }

    async fn decide(&self, job: &Job, wish: &Wish) -> anyhow::Result<Changed> {
        let decider = Decider { store: &self.bridge.store, config: &self.bridge.config };
        let changed = decider.carry_out(job.clone(), wish, &actor(), self.now()).await;
        changed.map_err(|trouble| {
            anyhow::anyhow!("{trouble}; look at it and try again: faxbridge job show {}", job.id)
        })
    }
}

/// Whether it stands; else why not, and what to do.
fn saved(job: &Job, changed: Changed) -> anyhow::Result<()> {
    match changed {
        Changed::Saved(_) => Ok(()),
        Changed::Not(no) => Err(why_not(job, no)),
        _ => anyhow::bail!("job {} was changed meanwhile; look at it: faxbridge job show {}", job.id, job.id),
    }
}

/// Why nothing was changed.
fn why_not(job: &Job, no: No) -> anyhow::Error {
    let id = job.id;
    let anew = |sentence: String| format!("Job {id} has to be prepared anew, {sentence}");
    Misuse(match no {
        // The state machine has the sentence.
        No::Impossible(impossible) => return impossible.into(),
        No::HeldAlready(hold) => {
            return anyhow::anyhow!("job {id} is held already: {}", hold_sentence(hold));
        }
        No::TriedAlready => {
            return anyhow::anyhow!(
                "job {id} has to be prepared anew, but a fax of its submission was tried already or has ended; cancel it and have \
                 it sent again"
            );
        }
        No::Twin(other) => format!(
            "Not released: the same mail came again, and is faxed to this number as job {other}. Close this one: faxbridge job \
             cancel {id}"
        ),
        No::MayHaveArrived => format!(
            "Not released: pages of job {id} may be lying at the far end already. Ask there first. If it did arrive: faxbridge job \
             resolve {id} --delivered. To send it again all the same: faxbridge job release {id} --send-again"
        ),
        No::Register(sentence) => {
            format!("Not released: {sentence} Then: faxbridge job release {id}")
        }
        No::OthersMove(moving) => anew(format!(
            "but {} of its submission is not held; cancel it and have it sent again",
            count(moving, "other job")
        )),
        No::OtherHeld(kept) => anew(format!(
            "which would also release job {kept} that a person holds; decide about that one first"
        )),
        No::AskedBefore(wish) => format!("Job {id}: {}.", cancel_words(wish, &job.provider)),
        No::NotTheirs | No::NotTheSenders(_) => format!("Job {id} cannot be changed from here."),
    })
    .into()
}
