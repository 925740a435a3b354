//! What a command does to one Job. A command that is carried out twice, because the process died before its answer was
//! committed, does nothing the second time: the ledger holds its mark, written with the change itself.

use jiff::Timestamp;

use super::{Desk, Trouble};
use crate::decide::{Changed, Decider, No, Wish};
use crate::job::{Actor, JobState, StateWord};
use crate::store::{Job, JobChange};

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
    /// Carries out `wish` for `job`.
    pub(super) async fn change(
        &self,
        job: Job,
        wish: &Wish,
        actor: &Actor,
        now: Timestamp,
    ) -> Result<Done, Trouble> {
        if let Some(before) = self.done_before(&job, actor).await? {
            return Ok(before);
        }
        let id = job.id;
        let decider = Decider { store: &self.store, config: &self.config };
        Ok(match decider.carry_out(job, wish, actor, now).await? {
            Changed::Saved(job) if job.state == JobState::Cancelled => Done::Cancelled,
            Changed::Saved(_) => Done::Released,
            Changed::Asked => Done::Wished,
            Changed::Not(no) => Done::Not(why_not(no, wish)),
            // A sender may release nothing that would have to be prepared anew, and opens no Attempt.
            Changed::Anew | Changed::Stale | Changed::LineBusy | Changed::Overtaken => {
                return Err(Trouble::Moving(id));
            }
        })
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
}

/// Why nothing was changed, for whoever sent the command.
fn why_not(no: No, wish: &Wish) -> String {
    match no {
        No::NotTheSenders(why) => why.to_owned(),
        No::AskedBefore(_) => "that was asked for before".to_owned(),
        No::Twin(job) => format!("the same mail came again, and is faxed to this number as job {job}"),
        No::Register(sentence) => {
            let sentence = sentence.trim_end_matches('.');
            format!("the register does not stand behind its number any more ({sentence})")
        }
        No::Impossible(_) if *wish == Wish::Cancel => "it has ended already".to_owned(),
        No::Impossible(_) | No::HeldAlready(_) => "it is not held".to_owned(),
        No::NotTheirs | No::MayHaveArrived | No::OthersMove(_) | No::OtherHeld(_) | No::TriedAlready => {
            "only whoever runs the fax bridge can do that".to_owned()
        }
    }
}
