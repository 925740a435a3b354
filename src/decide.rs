//! Every change of a Job, by whomever: decided by one function, saved in one place.
//!
//! [`decide`] is pure. It says what follows from a [`Wish`]: a step of the state machine ([`crate::job::state`]), or one of the two
//! things that change no state by themselves, or why nothing does. [`Decider`] looks up what that depends on, decides, and saves
//! where the row still has the version that was decided about. A worker also holds the lease on its Job, and looks at it again when it
//! was overtaken; a person's wish is decided anew.
//!
//! Who may wish what:
//! - the worker follows what providers, their webhooks and the clock made of a Job, and wishes nothing of its own;
//! - a person at the command line may hold, release, cancel and resolve;
//! - a sender may cancel, and release what only asks whether to send it again ([`not_the_senders`]).

use jiff::Timestamp;

use crate::config::Config;
use crate::job::state::{Event, Impossible, Step, step};
use crate::job::{self, Actor, Cause, Hold, JobId, JobState, Outcome, Sent};
use crate::policy::Evidence;
use crate::store::{AttemptRow, CancelWish, Job, JobFilter, Opening, Saved, Store, StoreError};

pub mod circumstances;
mod objection;

use circumstances::Circumstances;
use objection::objection;

/// How often a person's wish is decided about anew because the row had changed.
const TRIES: usize = 5;
/// Jobs of one Submission that a release looks at.
const MOST_JOBS: u32 = 10_000;

/// What is to become of a Job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// It waits for a person.
    Hold,
    /// It goes on.
    Release {
        /// Also where pages of it may be lying at the far end already.
        send_again: bool,
    },
    /// It is not sent, or not again.
    Cancel,
    /// It is closed, on a person's word.
    Resolve {
        /// Whether it did arrive.
        delivered: bool,
    },
    /// An Attempt is opened, since policy lets it be sent: on this evidence.
    Send {
        /// The Attempt's number, from 1.
        attempt: u32,
        /// Kept with the Attempt.
        evidence: Box<Evidence>,
    },
    /// What its provider or the clock has made of it.
    Follow(Event),
}

/// What follows from a wish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// A step of the state machine.
    Step(Step),
    /// A call may be under way: the provider is told, and what becomes of the Job shows what came of that.
    Ask,
    /// Something is missing in the Job: its Submission is prepared anew.
    Anew,
}

/// Why nothing follows from a wish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum No {
    /// Whoever wishes it has no say in that.
    NotTheirs,
    /// It is held already, and a second hold would hide the reason of the first, and with it what a release must ask.
    HeldAlready(Hold),
    /// A sender may not lift this hold; who may, as [`not_the_senders`] says.
    NotTheSenders(&'static str),
    /// The same mail came again, and is faxed to this number as this Job.
    Twin(JobId),
    /// Pages of it may be lying at the far end already.
    MayHaveArrived,
    /// The register does not stand behind its number; what to do, as a sentence.
    Register(String),
    /// It would have to be prepared anew, and so many others of its Submission are not held.
    OthersMove(usize),
    /// It would have to be prepared anew, which would also release this one that a person holds.
    OtherHeld(JobId),
    /// It would have to be prepared anew, and a fax of its Submission was tried already or has ended.
    TriedAlready,
    /// A wish to cancel it was noted before; what came of that.
    AskedBefore(CancelWish),
    /// The state machine says no.
    Impossible(Impossible),
}

/// What a decision looks at beside the wish.
#[derive(Debug)]
pub struct Known<'a> {
    /// The Job.
    pub job: &'a Job,
    /// What it depends on.
    pub circumstances: &'a Circumstances,
    /// What stands in the way of its release; looked up for one that is held, where a release is wished.
    pub obstacles: Obstacles,
    /// A random number in 0..=1 that spreads retries.
    pub jitter: f64,
}

/// What stands in the way of a release.
#[derive(Debug, Clone, Default)]
pub struct Obstacles {
    /// The Job that faxes the same mail to the same number.
    pub twin: Option<JobId>,
    /// The register's objection.
    pub objection: Option<String>,
    /// The other Jobs of its Submission, where it would have to be prepared anew.
    pub others: Vec<Job>,
}

/// Decides what follows from `wish`.
///
/// # Errors
/// [`No`]; then the Job stays as it is.
pub fn decide(known: &Known<'_>, wish: Wish, actor: &Actor, now: Timestamp) -> Result<Decision, No> {
    let job = known.job;
    let allowed = match actor {
        Actor::Worker => matches!(wish, Wish::Follow(_) | Wish::Send { .. }),
        Actor::Account(_) => !matches!(wish, Wish::Follow(_) | Wish::Send { .. }),
        Actor::Sender { .. } => matches!(wish, Wish::Cancel | Wish::Release { .. }),
        _ => false,
    };
    if !allowed {
        return Err(No::NotTheirs);
    }
    let event = match (wish, &job.state) {
        (Wish::Hold, JobState::Held { hold, .. }) => return Err(No::HeldAlready(*hold)),
        (Wish::Hold, _) => Event::Hold(Hold::Person),
        (Wish::Release { send_again }, JobState::Held { hold, .. }) => {
            may_release(known, *hold, send_again, actor)?;
            // What a sender may release was tried, and is not made anew.
            if !is_complete(job) && matches!(actor, Actor::Account(_)) {
                return may_prepare_anew(&known.obstacles.others).map(|()| Decision::Anew);
            }
            Event::Release
        }
        (Wish::Release { .. }, _) => Event::Release,
        (Wish::Cancel, state) if state.open_attempt().is_some() => {
            // What is left is to tell the provider, and to hear what came of it.
            return job.cancel.map_or(Ok(Decision::Ask), |wish| Err(No::AskedBefore(wish)));
        }
        (Wish::Cancel, _) => Event::Cancel,
        (Wish::Resolve { delivered }, _) => Event::Resolve(delivered),
        (Wish::Send { attempt, .. }, _) => Event::Claimed { attempt },
        (Wish::Follow(event), _) => whole_or_partly(event, known),
    };
    let context = known.circumstances.context(now, known.jitter);
    step(&job.state, event, &context).map(Decision::Step).map_err(No::Impossible)
}

/// Whether `actor` may release a Job with this hold as it is.
fn may_release(known: &Known<'_>, hold: Hold, send_again: bool, actor: &Actor) -> Result<(), No> {
    if let (Actor::Sender { .. }, Some(whose)) = (actor, not_the_senders(hold)) {
        return Err(No::NotTheSenders(whose));
    }
    if let Some(twin) = known.obstacles.twin {
        return Err(No::Twin(twin));
    }
    let may_have_arrived = |attempt: &AttemptRow| attempt.sent() != Some(Sent::Nothing);
    let risky = matches!(hold, Hold::Unclear | Hold::PartlySent)
        || known.circumstances.attempts.iter().any(may_have_arrived);
    if risky && !send_again {
        return Err(No::MayHaveArrived);
    }
    known.obstacles.objection.clone().map_or(Ok(()), |sentence| Err(No::Register(sentence)))
}

/// Whether it has all that can be sent.
fn is_complete(job: &Job) -> bool {
    job.recipient.is_some() && job.number.is_some() && job.packet.is_some()
}

/// Whether a Submission with these other Jobs may be prepared anew: that makes all of its Jobs anew.
fn may_prepare_anew(others: &[Job]) -> Result<(), No> {
    let moving = others.iter().filter(|other| !matches!(other.state, JobState::Held { .. })).count();
    if moving > 0 {
        return Err(No::OthersMove(moving));
    }
    let kept = |other: &&Job| matches!(other.state, JobState::Held { hold: Hold::Person, .. });
    others.iter().find(kept).map_or(Ok(()), |kept| Err(No::OtherHeld(kept.id)))
}

/// Why a sender may not lift this hold. A sender knows what was meant and can ask the recipient what arrived, so the two holds
/// that only ask "again, although pages may lie there?" are theirs. A number that nobody verified is not (a sender must not
/// widen what the register allows), and neither is what the operator or a rule put in the way.
#[must_use]
pub fn not_the_senders(hold: Hold) -> Option<&'static str> {
    match hold {
        Hold::PartlySent | Hold::Unclear => None,
        Hold::Unverified | Hold::ExpiredEntry | Hold::Suspended => {
            Some("its number has to be verified first, by whoever keeps your register of fax numbers")
        }
        Hold::UnknownRecipient | Hold::BadNumber => Some("it has no number; send it again to a whole one"),
        Hold::Part => Some("a part of it cannot be faxed; send it again with that put right"),
        Hold::Cover => Some(
            "its cover has to be looked at by whoever runs the fax bridge; or send it again with that changed",
        ),
        Hold::Proof | Hold::UnknownCause | Hold::Account | Hold::Person => {
            Some("only whoever runs the fax bridge can release it")
        }
    }
}

/// "Delivered" with fewer pages than were submitted is not delivered, whatever the provider calls it. Some providers tell of
/// pages in a webhook only.
fn whole_or_partly(event: Event, known: &Known<'_>) -> Event {
    let Event::Ended { mut report, wait } = event else { return event };
    let pages = known.job.packet.as_ref().map_or(0, |packet| packet.pages);
    let told = known.circumstances.attempts.last().and_then(|attempt| attempt.pages_sent);
    report.pages_sent = report.pages_sent.or(told.and_then(|told| u32::try_from(told).ok()));
    if report.outcome == Outcome::Delivered && report.pages_sent.is_some_and(|sent| sent < pages) {
        report.outcome = Outcome::Retry(Cause::PartlySent);
    }
    Event::Ended { report, wait }
}

/// What became of a wish.
#[derive(Debug, Clone)]
pub enum Changed {
    /// It stands; the Job as it is now.
    Saved(Box<Job>),
    /// The provider is told.
    Asked,
    /// The Submission is prepared anew.
    Anew,
    /// Nothing, for this reason.
    Not(No),
    /// Nothing: the row had changed meanwhile.
    Stale,
    /// Nothing: another Job is calling this number.
    LineBusy,
    /// Nothing: what forbids the call was committed after it was looked for.
    Overtaken,
}

/// Why nothing could be decided now; it is begun again.
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

/// Decides about Jobs, and saves.
#[derive(Debug, Clone, Copy)]
pub struct Decider<'a> {
    /// Where they are.
    pub store: &'a Store,
    /// Policy and times.
    pub config: &'a Config,
}

impl Decider<'_> {
    /// Decides about a person's wish, anew where the Job changed meanwhile.
    ///
    /// # Errors
    /// See [`Trouble`].
    pub async fn carry_out(
        &self,
        mut job: Job,
        wish: &Wish,
        actor: &Actor,
        now: Timestamp,
    ) -> Result<Changed, Trouble> {
        let id = job.id;
        for _ in 0..TRIES {
            match self.decide_once(&job, wish.clone(), actor, now).await? {
                Changed::Stale => job = self.store.job(id).await?.ok_or(Trouble::Moving(id))?,
                changed => return Ok(changed),
            }
        }
        Err(Trouble::Moving(id))
    }

    /// Decides about `wish`, for the Job as it was read.
    ///
    /// # Errors
    /// See [`Trouble`].
    pub async fn decide_once(
        &self,
        job: &Job,
        wish: Wish,
        actor: &Actor,
        now: Timestamp,
    ) -> Result<Changed, Trouble> {
        let circumstances = Circumstances::of(self.store, self.config, job).await?;
        let releases = matches!((&wish, &job.state), (Wish::Release { .. }, JobState::Held { .. }));
        let obstacles = if releases { self.obstacles(job, now).await? } else { Obstacles::default() };
        // Nothing that a person decides leads into a pause, so chance has no part in it.
        let jitter = if *actor == Actor::Worker { jitter() } else { 0.0 };
        let known = Known { job, circumstances: &circumstances, obstacles, jitter };
        let evidence = match &wish {
            Wish::Send { evidence, .. } => Some((**evidence).clone()),
            _ => None,
        };
        match decide(&known, wish, actor, now) {
            Err(no) => Ok(Changed::Not(no)),
            Ok(Decision::Step(step)) => self.save(job, step, actor, evidence, now).await,
            Ok(Decision::Ask) => {
                let noted = self.store.wish_to_cancel(job.id, actor, now).await?;
                Ok(if noted { Changed::Asked } else { Changed::Stale })
            }
            Ok(Decision::Anew) => {
                let anew = self.store.prepare_again(job.submission, actor, now).await?;
                Ok(if anew { Changed::Anew } else { Changed::Not(No::TriedAlready) })
            }
        }
    }

    async fn obstacles(&self, job: &Job, now: Timestamp) -> Result<Obstacles, Trouble> {
        let mut others = Vec::new();
        if !is_complete(job) {
            let filter = JobFilter { submission: Some(job.submission), ..JobFilter::default() };
            others = self.store.jobs(&filter, MOST_JOBS).await?;
            others.retain(|other| other.id != job.id);
        }
        Ok(Obstacles {
            twin: self.store.twin(job.id, job.submission).await?,
            objection: objection(self.store, self.config, job, now).await?,
            others,
        })
    }

    /// Saves `step` where the row is still as it was decided about. What opens an Attempt keeps the lease, since the request follows.
    async fn save(
        &self,
        job: &Job,
        step: Step,
        actor: &Actor,
        evidence: Option<Evidence>,
        now: Timestamp,
    ) -> Result<Changed, Trouble> {
        let state = step.state.clone();
        let saved = if matches!(state, JobState::Sending { .. }) {
            let opening = Opening { two_person: self.config.policy.two_person, evidence };
            self.store.save_opening(job, step, opening, now).await?
        } else {
            self.store.save_step(job, step, actor, false, now).await?
        };
        Ok(match saved {
            Saved::Done(version) => Changed::Saved(Box::new(Job { state, version, ..job.clone() })),
            Saved::Stale => Changed::Stale,
            Saved::LineBusy => Changed::LineBusy,
            Saved::Overtaken => Changed::Overtaken,
        })
    }
}

/// A random number in 0..=1.
fn jitter() -> f64 {
    let bits = u32::try_from(job::chance().unwrap_or(0) >> 32).unwrap_or(0);
    f64::from(bits) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests;
