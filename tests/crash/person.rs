//! The person who decides about what is held, when everything else has ended.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use faxbridge::job::{Hold, JobId, JobState};
use faxbridge::store::Job;
use futures_util::StreamExt;

use super::support::Stage;
use super::support::clients::said;

/// What was decided, by job.
#[derive(Debug, Default)]
pub(crate) struct Decisions {
    /// Released although unclear: those alone may have been faxed twice.
    pub(crate) released: HashSet<JobId>,
    /// Said to have arrived.
    pub(crate) stated: HashSet<JobId>,
    /// Cancelled.
    pub(crate) cancelled: HashSet<JobId>,
}

/// Decides until nothing is open any more.
pub(crate) async fn settle(stage: &Stage) -> Decisions {
    let mut decisions = Decisions::default();
    let mut held: BTreeMap<(String, &str), u32> = BTreeMap::new();
    loop {
        let mut looks = 0;
        let open = stage
            .until_in(
                Duration::from_secs(120),
                Duration::from_millis(300),
                "every job ends or is held",
                async || {
                    let submissions = stage.submissions().await;
                    let waiting: Vec<_> =
                        submissions.iter().filter(|s| s.verdict.is_none()).map(|s| s.id).collect();
                    let open = stage.jobs().await.into_iter().filter(|job| !job.state.is_final());
                    let open: Vec<Job> = open.collect();
                    let moving: Vec<_> = open
                        .iter()
                        .filter(|job| !matches!(job.state, JobState::Held { .. }))
                        .map(|job| (job.id, &job.state))
                        .collect();
                    let still = waiting.is_empty() && moving.is_empty();
                    looks += 1;
                    if !still && looks % 100 == 0 {
                        println!("still open: {waiting:?} {moving:?}");
                    }
                    still.then_some(open)
                },
            )
            .await;
        if open.is_empty() {
            println!("held: {held:?}");
            let Decisions { released, stated, cancelled } = &decisions;
            println!(
                "a person released {} unclear jobs, said of {} that they arrived, cancelled {}",
                released.len(),
                stated.len(),
                cancelled.len()
            );
            return decisions;
        }
        let mut words: Vec<(Job, &[&str])> = Vec::new();
        for job in open {
            let JobState::Held { hold, .. } = job.state else { continue };
            *held.entry((job.provider.clone(), hold.as_str())).or_default() += 1;
            if hold == Hold::Unclear {
                only_where_nobody_can_tell(stage, &job).await;
            }
            let what: &[&str] = match hold {
                Hold::Unclear if decisions.released.len() < 10 && decisions.released.insert(job.id) => {
                    &["release", "--send-again"]
                }
                Hold::Unclear | Hold::PartlySent => {
                    decisions.stated.insert(job.id);
                    &["resolve", "--delivered"]
                }
                Hold::Unverified | Hold::Part | Hold::UnknownCause | Hold::Account => {
                    decisions.cancelled.insert(job.id);
                    &["cancel"]
                }
                hold => panic!("job {} is held for no reason of this story: {hold}", job.id),
            };
            words.push((job, what));
        }
        futures_util::stream::iter(words)
            .for_each_concurrent(4, async |(job, what)| decide(stage, &job, what).await)
            .await;
    }
}

/// An answer that was lost is found out by asking; only two things are left to a person for good: a fax that never ends
/// (35, 36), and one at a provider that cannot be asked, or whose silence does not count.
async fn only_where_nobody_can_tell(stage: &Stage, job: &Job) {
    let never_ends = job.number.as_ref().is_some_and(|number| matches!(&number.tail()[2..], "35" | "36"));
    let asked = !matches!(job.provider.as_str(), "signalwire" | "srfax");
    let attempts = stage.store.attempts(job.id).await.unwrap();
    assert!(
        never_ends || !asked,
        "job {} is held as unclear although {} can be asked: {attempts:?}; the daemon's log:\n{}",
        job.id,
        job.provider,
        stage.log().lines().filter(|line| line.contains(job.id.as_str())).collect::<Vec<_>>().join("\n")
    );
}

/// Through the command line, while the daemon works.
async fn decide(stage: &Stage, job: &Job, what: &[&str]) {
    let mut arguments = what.to_vec();
    arguments.insert(1, job.id.as_str());
    let done = stage.command("job", &arguments).await;
    assert!(done.status.success(), "{arguments:?}: {}", said(&done));
}
