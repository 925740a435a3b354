//! What a command does to one Job. A command that is carried out twice, because the process died before its answer was
//! committed, does nothing the second time: the ledger holds its mark, written with the change itself.

use jiff::Timestamp;

use super::objection::objection;
use super::{Desk, Trouble};
use crate::delivery::circumstances::Circumstances;
use crate::job::state::{Event, step};
use crate::job::{Actor, Hold, JobState, StateWord};
use crate::store::{Job, JobChange, Saved};

/// How often a decision is taken anew because the row had changed.
const TRIES: usize = 5;

/// What became of a command for one Job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Done {
    /// It goes on.
    Released,
    /// It is not sent.
    Cancelled,
    /// A call may be under way: the provider is told.
    Wished,
    /// Nothing, for a reason that is told.
    Not(String),
}

impl Desk {
    pub(super) async fn cancel(&self, job: Job, actor: &Actor, now: Timestamp) -> Result<Done, Trouble> {
        if let Some(before) = self.done_before(&job, actor).await? {
            return Ok(before);
        }
        let mut job = job;
        for _ in 0..TRIES {
            if job.state.is_final() {
                return Ok(Done::Not("it has ended already".to_owned()));
            }
            if job.state.open_attempt().is_some() {
                // What is left is to tell the provider, and to hear what came of it.
                if self.store.wish_to_cancel(job.id, actor, now).await? {
                    return Ok(Done::Wished);
                }
                job = self.again(&job).await?;
                if job.cancel.is_some() {
                    return Ok(Done::Not("that was asked for before".to_owned()));
                }
            } else if self.save(&job, Event::Cancel, actor, now).await? {
                return Ok(Done::Cancelled);
            } else {
                job = self.again(&job).await?;
            }
        }
        Err(Trouble::Moving(job.id))
    }

    pub(super) async fn release(&self, job: Job, actor: &Actor, now: Timestamp) -> Result<Done, Trouble> {
        if let Some(before) = self.done_before(&job, actor).await? {
            return Ok(before);
        }
        let mut job = job;
        for _ in 0..TRIES {
            let JobState::Held { hold, .. } = job.state else {
                return Ok(Done::Not("it is not held".to_owned()));
            };
            if let Some(who) = not_the_senders(hold) {
                return Ok(Done::Not(who.to_owned()));
            }
            if let Some(sentence) = objection(&self.store, &self.config, &job, now).await? {
                let sentence = sentence.trim_end_matches('.');
                return Ok(Done::Not(format!(
                    "the register does not stand behind its number any more ({sentence})"
                )));
            }
            if self.save(&job, Event::Release, actor, now).await? {
                return Ok(Done::Released);
            }
            job = self.again(&job).await?;
        }
        Err(Trouble::Moving(job.id))
    }

    /// What this very command did to `job` before the process died.
    async fn done_before(&self, job: &Job, actor: &Actor) -> Result<Option<Done>, Trouble> {
        let history = self.store.history(job.id).await?;
        let actor = actor.to_string();
        Ok(history.iter().find(|row| row.actor == actor).and_then(|row| {
            Some(match row.change()? {
                JobChange::CancelWished => Done::Wished,
                JobChange::State(StateWord::Cancelled) => Done::Cancelled,
                JobChange::State(_) => Done::Released,
            })
        }))
    }

    /// Whether `event` was saved; not where the row has changed meanwhile.
    async fn save(&self, job: &Job, event: Event, actor: &Actor, now: Timestamp) -> Result<bool, Trouble> {
        let circumstances = Circumstances::of(&self.store, &self.config, job).await?;
        // Nothing that a person decides leads into a pause, so chance has no part in it.
        let Ok(step) = step(&job.state, event, &circumstances.context(now, 0.0)) else { return Ok(false) };
        Ok(matches!(self.store.save_step(job, step, actor, false, now).await?, Saved::Done(_)))
    }

    async fn again(&self, job: &Job) -> Result<Job, Trouble> {
        self.store.job(job.id).await?.ok_or(Trouble::Moving(job.id))
    }
}

/// Why a sender may not lift this hold. A sender knows what was meant and can ask the recipient what arrived, so the two holds
/// that only ask "again, although pages may lie there?" are theirs. A number that nobody verified is not (a sender must not
/// widen what the register allows), and neither is what the operator or a rule put in the way.
pub(super) fn not_the_senders(hold: Hold) -> Option<&'static str> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sender_lifts_no_hold_that_guards_a_number() {
        let theirs: Vec<Hold> =
            Hold::ALL.iter().copied().filter(|hold| not_the_senders(*hold).is_none()).collect();
        assert_eq!(theirs, [Hold::PartlySent, Hold::Unclear]);
    }
}
