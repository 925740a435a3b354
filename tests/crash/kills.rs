//! The lives of the daemon, each ended by SIGKILL: by ourselves at a moment of chance, or by itself at a named step.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::time::Duration;

use faxbridge::crash::STEPS;
use faxbridge::job::{JobState, reference};
use faxbridge::store::JobFilter;

use super::Chance;
use super::load::Clients;
use super::providers;
use super::support::Stage;
use super::weather::{Sky, Weather};

/// A step that is not reached within this is passed over, and the daemon killed where it is.
const STEP_AT_MOST: Duration = Duration::from_secs(4);
/// Longest life that ends by chance, in milliseconds; starting takes a part of it.
const LIFE: u64 = 1600;

/// The steps that a mail over SMTP passes to a fax over HTTP: only HylaFAX names a fax before anything is sent, and
/// `tests/stories/imap.rs` has those of a mailbox.
fn steps() -> Vec<&'static str> {
    STEPS.iter().copied().filter(|step| *step != "handle.kept" && !step.starts_with("imap.")).collect()
}

/// How it was killed.
#[derive(Debug, Default)]
pub(crate) struct Killed {
    by_chance: u64,
    /// Lives by the weather they had.
    weather: BTreeMap<Weather, u64>,
    at: BTreeMap<&'static str, u64>,
    /// Attempts that were open with no answer on disk, and their providers.
    sending: HashSet<(String, String)>,
    /// Attempts that had ended at the provider when that was not on disk yet, and their providers.
    ended: HashSet<(String, String)>,
}

/// What kills met at one provider.
#[derive(Debug, Default, Clone, Copy)]
struct Met {
    /// Attempts that no request followed.
    attempts: u64,
    /// Requests whose answer was not recorded.
    requests: u64,
    /// Outcomes that were not recorded.
    outcomes: u64,
}

impl Killed {
    fn all(&self) -> u64 {
        self.by_chance + self.at.values().sum::<u64>()
    }

    /// Fails where a named step was never the last one; not asked of short runs.
    pub(crate) fn every_step_was_hit(&self, kills: u64) {
        let missed: Vec<&str> = steps().into_iter().filter(|step| !self.at.contains_key(step)).collect();
        assert!(kills < 4 * STEPS.len() as u64 || missed.is_empty(), "never killed at {missed:?}");
    }

    /// Fails where a provider had no fax in hand at any kill; not asked of short runs.
    pub(crate) fn every_provider_was_hit(&self, stage: &Stage, kills: u64) {
        let met = self.met(stage);
        let missed: Vec<&str> = met
            .iter()
            .filter(|(_, met)| met.attempts + met.requests == 0 || met.outcomes == 0)
            .map(|(name, _)| *name)
            .collect();
        assert!(kills < 100 || missed.is_empty(), "faxes of these were hardly hit: {missed:?}");
    }

    pub(crate) fn print_providers(&self, stage: &Stage) {
        for (name, Met { attempts, requests, outcomes }) in self.met(stage) {
            println!(
                "{name}: killed with {attempts} faxes between attempt and request, {requests} between request and \
                 record, {outcomes} between outcome and record"
            );
        }
    }

    fn met(&self, stage: &Stage) -> BTreeMap<&'static str, Met> {
        let mut all: BTreeMap<&str, Met> = providers::names().map(|name| (name, Met::default())).collect();
        let known: HashSet<String> = stage.simulator.faxes().into_iter().map(|fax| fax.reference).collect();
        for (reference, provider) in &self.sending {
            let met = all.get_mut(provider.as_str()).unwrap();
            if known.contains(reference) { met.requests += 1 } else { met.attempts += 1 }
        }
        for (_, provider) in &self.ended {
            all.get_mut(provider.as_str()).unwrap().outcomes += 1;
        }
        all
    }

    /// Notes what the dead daemon had in hand.
    async fn note(&mut self, stage: &Stage) {
        let open = JobFilter { open: true, ..JobFilter::default() };
        let faxes = stage.simulator.faxes();
        let ended: HashSet<&str> =
            faxes.iter().filter(|fax| fax.ended.is_some()).map(|fax| fax.reference.as_str()).collect();
        for job in stage.store.jobs(&open, 100_000).await.unwrap() {
            match job.state {
                JobState::Sending { attempt, .. } => {
                    self.sending.insert((reference(job.id, attempt), job.provider));
                }
                JobState::InTransit { attempt, .. }
                    if ended.contains(reference(job.id, attempt).as_str()) =>
                {
                    self.ended.insert((reference(job.id, attempt), job.provider));
                }
                _ => {}
            }
        }
    }
}

impl fmt::Display for Killed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} times: {} by chance", self.all(), self.by_chance)?;
        self.at.iter().try_for_each(|(step, times)| write!(f, ", {times} at {step}"))?;
        write!(f, "; weather: {:?}", self.weather)
    }
}

/// Lets the daemon live `kills` times; each life gets its share of the load.
pub(crate) async fn run(
    stage: &mut Stage,
    sky: &Sky,
    clients: &Clients,
    kills: u64,
    chance: &mut Chance,
) -> Killed {
    let mut killed = Killed::default();
    let steps = steps();
    let share = (clients.left() as u64).div_ceil(kills.max(1));
    for life in 0..kills {
        clients.release(share);
        // Every other life ends at a step, and the steps take turns.
        let step = (life % 2 == 1).then(|| steps[usize::try_from(life / 2).unwrap() % steps.len()]);
        let environment = step.map(|step| ("FAXBRIDGE_CRASH_AT", format!("{step}:{}", 1 + chance.below(6))));
        let at_most = match step {
            Some(_) => STEP_AT_MOST,
            None => Duration::from_millis(10 + chance.below(LIFE)),
        };
        let weather = Weather::draw(chance);
        *killed.weather.entry(weather).or_default() += 1;
        let environment: Vec<_> = environment.into_iter().chain(sky.environment()).collect();
        stage.spawn(&environment);
        let pid = stage.daemon().pid();
        let by_itself = tokio::select! {
            () = live(stage, clients) => true,
            () = sky.blow(weather, pid, clients, chance) => false,
            () = tokio::time::sleep(at_most) => false,
        };
        sky.calm();
        clients.tell(None);
        match step {
            Some(step) if by_itself => *killed.at.entry(step).or_default() += 1,
            _ => {
                assert!(!by_itself, "the daemon ended by itself; its log:\n{}", stage.log_tail());
                stage.daemon().kill().await;
                killed.by_chance += 1;
            }
        }
        killed.note(stage).await;
    }
    killed
}

/// Returns when the daemon has killed itself.
async fn live(stage: &mut Stage, clients: &Clients) {
    use std::os::unix::process::ExitStatusExt;
    let ended = match stage.daemon().listening().await {
        Ok(()) => {
            clients.tell(Some(stage));
            stage.daemon().ended().await
        }
        Err(failed) => failed.status,
    };
    assert_eq!(
        ended.signal(),
        Some(9),
        "the daemon ended otherwise, {ended}; its log:\n{}",
        stage.log_tail()
    );
}
