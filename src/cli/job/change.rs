//! A person's decisions about a job: each is an event of the state machine, saved where the row has not changed meanwhile.

use faxbridge::commands::objection;
use faxbridge::delivery::circumstances::Circumstances;
use faxbridge::job::number_words;
use faxbridge::job::state::{Event, step};
use faxbridge::job::{Hold, JobState};
use faxbridge::receipt::hold_sentence;
use faxbridge::store::{AttemptRow, Job, JobFilter, Saved};

use super::JobCommands;
use super::words::{cancel_words, may_have_arrived};
use crate::cli::listing::{count, say};
use crate::cli::{Misuse, actor, daemon_runs};

/// How often a decision is taken anew because the row had changed.
const TRIES: usize = 5;

/// How a held job can go on.
#[derive(Debug, PartialEq, Eq)]
enum Way {
    /// As it is.
    On,
    /// Something is missing in it: its submission is prepared anew.
    Anew,
    /// Not now; what to do.
    Stop(String),
}

impl JobCommands {
    pub(super) async fn hold(&self, id: &str) -> anyhow::Result<()> {
        let job = self.job(id).await?;
        if let JobState::Held { hold, .. } = &job.state {
            // A second hold would hide the reason of the first, and with it what a release must ask.
            anyhow::bail!("job {} is held already: {}", job.id, hold_sentence(*hold));
        }
        let job = self.apply(job, &Event::Hold(Hold::Person)).await?;
        say(format_args!("Job {} is held. To let it go on: faxbridge job release {}", job.id, job.id))
    }

    pub(super) async fn cancel(&self, id: &str) -> anyhow::Result<()> {
        for _ in 0..TRIES {
            let job = self.job(id).await?;
            if job.state.open_attempt().is_none() {
                match self.apply(job, &Event::Cancel).await {
                    Ok(job) => {
                        return say(format_args!(
                            "Job {} is cancelled and will not be sent. Its sender is told.",
                            job.id
                        ));
                    }
                    // The daemon was faster, and a call may be under way now.
                    Err(_) if self.job(id).await?.state.open_attempt().is_some() => continue,
                    Err(error) => return Err(error),
                }
            }
            // A call may be under way: what is left is to tell the provider, and to hear what came of it.
            let noted = self.bridge.store.wish_to_cancel(job.id, &actor(), self.now()).await?;
            let job = self.job(id).await?;
            let Some(wish) = job.cancel else { continue };
            if noted {
                say(format_args!(
                    "Job {} is with {} already: the provider is told to stop it. It is not tried again. Whether the wish came in \
                     time shows `faxbridge job show {}`.",
                    job.id, job.provider, job.id
                ))?;
                return self.warn_without_daemon();
            }
            return say(format_args!("Job {}: {}.", job.id, cancel_words(wish, &job.provider)));
        }
        anyhow::bail!("job {id} changes faster than it can be cancelled; try again")
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
        let job = self.apply(self.job(id).await?, &Event::Resolve(delivered)).await?;
        let word = if delivered { "delivered" } else { "not delivered, and is not sent again" };
        say(format_args!("Job {} is closed as {word}, on your word. Its sender is told.", job.id))
    }

    pub(super) async fn release(&self, id: &str, send_again: bool) -> anyhow::Result<()> {
        let job = self.job(id).await?;
        let attempts = self.bridge.store.attempts(job.id).await?;
        if let (JobState::Held { .. }, Some(other)) =
            (&job.state, self.bridge.store.twin(job.id, job.submission).await?)
        {
            return Err(Misuse(format!(
                "Not released: the same mail came again, and is faxed to this number as job {other}. Close this one: faxbridge job \
                 cancel {}",
                job.id
            ))
            .into());
        }
        let stopped = match &job.state {
            JobState::Held { .. } => {
                objection(&self.bridge.store, &self.bridge.config, &job, self.now()).await?
            }
            _ => None,
        };
        match way(&job, &attempts, stopped, send_again) {
            Way::Stop(sentence) => Err(Misuse(sentence).into()),
            Way::Anew => self.prepare_anew(&job).await,
            Way::On => {
                let submission = self.submission(job.submission).await?;
                let lifted = self.hold_words(&job, &submission);
                let job = self.apply(job, &Event::Release).await?;
                let whom = job.number.as_ref().map_or("its recipient".to_owned(), number_words);
                say(format_args!("Job {} is released; it is sent to {whom}.", job.id))?;
                if let Some(sentences) = lifted {
                    say(format_args!("With that you lift: {sentences}"))?;
                }
                self.warn_without_daemon()
            }
        }
    }

    async fn prepare_anew(&self, job: &Job) -> anyhow::Result<()> {
        let store = &self.bridge.store;
        let filter = JobFilter { submission: Some(job.submission), ..JobFilter::default() };
        let others: Vec<Job> =
            store.jobs(&filter, 10_000).await?.into_iter().filter(|other| other.id != job.id).collect();
        if let Some(sentence) = why_not_anew(&others) {
            return Err(Misuse(format!("Job {} has to be prepared anew, {sentence}", job.id)).into());
        }
        if !store.prepare_again(job.submission, &actor(), self.now()).await? {
            anyhow::bail!(
                "job {} has to be prepared anew, but a fax of its submission was tried already or has ended; cancel it and have \
                 it sent again",
                job.id
            );
        }
        say(format_args!(
            "Submission {} is prepared anew (faxbridge job show {}). What still stands in the way is told to its sender again.",
            job.submission, job.submission
        ))?;
        self.warn_without_daemon()
    }

    fn warn_without_daemon(&self) -> anyhow::Result<()> {
        if !daemon_runs(&self.bridge.config.store.data_dir) {
            eprintln!("warning: no daemon is running here; it goes on once `faxbridge serve` is started");
        }
        Ok(())
    }

    /// Decides and saves, again where the daemon was faster.
    async fn apply(&self, mut job: Job, event: &Event) -> anyhow::Result<Job> {
        for _ in 0..TRIES {
            let now = self.now();
            let circumstances = Circumstances::of(&self.bridge.store, &self.bridge.config, &job).await?;
            // Nothing that a person decides leads into a pause, so chance has no part in it.
            let step = step(&job.state, event.clone(), &circumstances.context(now, 0.0))?;
            let state = step.state.clone();
            if let Saved::Done(version) =
                self.bridge.store.save_step(&job, step, &actor(), false, now).await?
            {
                return Ok(Job { state, version, ..job });
            }
            job = self.job(job.id.as_str()).await?;
        }
        anyhow::bail!(
            "job {} is changing all the time; look at it and try again: faxbridge job show {}",
            job.id,
            job.id
        )
    }
}

/// How `job` can go on. `stopped` is the register's objection.
fn way(job: &Job, attempts: &[AttemptRow], stopped: Option<String>, send_again: bool) -> Way {
    let id = job.id;
    let JobState::Held { hold, .. } = &job.state else {
        // The state machine has the sentence.
        return Way::On;
    };
    let risky = matches!(hold, Hold::Unclear | Hold::PartlySent) || attempts.iter().any(may_have_arrived);
    if risky && !send_again {
        return Way::Stop(format!(
            "Not released: pages of job {id} may be lying at the far end already. Ask there first. If it did arrive: faxbridge job \
             resolve {id} --delivered. To send it again all the same: faxbridge job release {id} --send-again"
        ));
    }
    if let Some(sentence) = stopped {
        return Way::Stop(format!("Not released: {sentence} Then: faxbridge job release {id}"));
    }
    if job.recipient.is_none() || job.number.is_none() || job.packet.is_none() {
        return Way::Anew;
    }
    Way::On
}

/// Why a submission with these other jobs must not be prepared anew: that makes all of its jobs anew.
fn why_not_anew(others: &[Job]) -> Option<String> {
    let moving = others.iter().filter(|other| !matches!(other.state, JobState::Held { .. })).count();
    if moving > 0 {
        return Some(format!(
            "but {} of its submission is not held; cancel it and have it sent again",
            count(moving, "other job")
        ));
    }
    let kept =
        others.iter().find(|other| matches!(other.state, JobState::Held { hold: Hold::Person, .. }))?;
    Some(format!("which would also release job {} that a person holds; decide about that one first", kept.id))
}

#[cfg(test)]
mod tests {
    use faxbridge::job::{FaxNumber, JobId, SubmissionId};
    use faxbridge::store::{Document, PacketRow};

    use super::super::words::tests::attempt;
    use jiff::Timestamp;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    fn job(state: JobState) -> Job {
        Job {
            id: JobId::new(at(0), 1),
            submission: SubmissionId::new(at(0), 2),
            sender: "front desk".into(),
            n: 1,
            recipient: Some("mercy".into()),
            number: Some(FaxNumber::from_e164("+12125550100").unwrap()),
            rule: "r".into(),
            provider: "main".into(),
            route: vec!["main".into()],
            cancel: None,
            state,
            made_at: at(0),
            deadline: at(100),
            send_at: None,
            priority: faxbridge::job::Priority::Normal,
            final_at: None,
            packet: Some(PacketRow {
                document: Document { name: "x".into(), bytes: 1, sha256: "00".into() },
                shared: None,
                pages: 2,
                cover_pages: 1,
            }),
            facts: Vec::new(),
            version: 0,
            as_made: false,
        }
    }

    fn held(hold: Hold) -> Job {
        job(JobState::Held { hold, until: at(1000) })
    }

    #[test]
    fn a_complete_job_goes_on_and_an_incomplete_one_is_made_anew() {
        for hold in Hold::ALL.iter().copied().filter(|hold| !matches!(hold, Hold::Unclear | Hold::PartlySent))
        {
            assert_eq!(way(&held(hold), &[], None, false), Way::On, "{hold}");
            let without: [fn(&mut Job); 3] =
                [|job| job.packet = None, |job| job.number = None, |job| job.recipient = None];
            for take in without {
                let mut job = held(hold);
                take(&mut job);
                assert_eq!(way(&job, &[], None, false), Way::Anew, "{hold}");
            }
        }
        assert_eq!(
            way(&job(JobState::Delivered), &[], None, false),
            Way::On,
            "for the state machine to refuse"
        );
    }

    #[test]
    fn what_may_lie_at_the_far_end_is_not_sent_again_by_accident() {
        let unclear = [attempt(Some("unclear"), None, None)];
        let busy = [attempt(Some("retry"), Some("busy"), None)];
        for (hold, attempts, asks) in [
            (Hold::Unclear, &busy, true),
            (Hold::PartlySent, &busy, true),
            (Hold::Person, &unclear, true),
            (Hold::Unverified, &unclear, true),
            (Hold::Person, &busy, false),
        ] {
            let stops = matches!(way(&held(hold), attempts, None, false), Way::Stop(_));
            assert_eq!(stops, asks, "{hold}");
            assert_eq!(way(&held(hold), attempts, None, true), Way::On, "{hold} --send-again");
        }
    }

    #[test]
    fn the_register_has_the_last_word() {
        let Way::Stop(sentence) = way(&held(Hold::Unclear), &[], Some("It is not verified.".into()), true)
        else {
            panic!("released")
        };
        assert!(sentence.contains("It is not verified."), "{sentence}");
    }

    #[test]
    fn making_anew_releases_nothing_else() {
        assert_eq!(why_not_anew(&[]), None);
        assert_eq!(why_not_anew(&[held(Hold::Unverified)]), None);
        assert!(why_not_anew(&[held(Hold::Person)]).is_some());
        assert!(why_not_anew(&[job(JobState::Queued { due: at(0) })]).is_some());
        assert!(why_not_anew(&[job(JobState::Delivered)]).is_some());
    }
}
