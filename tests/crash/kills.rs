//! The lives of the daemon, each ended by SIGKILL: by ourselves at a moment of chance, or by itself at a named step.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use faxbridge::crash::STEPS;

use super::Chance;
use super::load::Clients;
use super::support::Stage;

/// A step that is not reached within this is passed over, and the daemon killed where it is.
const STEP_AT_MOST: Duration = Duration::from_secs(4);
/// Longest life that ends by chance, in milliseconds; starting takes a part of it.
const LIFE: u64 = 1600;

/// How it was killed.
#[derive(Debug, Default)]
pub(crate) struct Killed {
    by_chance: u64,
    at: BTreeMap<&'static str, u64>,
}

impl Killed {
    fn all(&self) -> u64 {
        self.by_chance + self.at.values().sum::<u64>()
    }

    /// Fails where a named step was never the last one; not asked of short runs.
    pub(crate) fn every_step_was_hit(&self, kills: u64) {
        let missed: Vec<&&str> = STEPS.iter().filter(|step| !self.at.contains_key(**step)).collect();
        assert!(kills < 4 * STEPS.len() as u64 || missed.is_empty(), "never killed at {missed:?}");
    }
}

impl fmt::Display for Killed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} times: {} by chance", self.all(), self.by_chance)?;
        self.at.iter().try_for_each(|(step, times)| write!(f, ", {times} at {step}"))
    }
}

/// Lets the daemon live `kills` times; each life gets its share of the load.
pub(crate) async fn run(stage: &mut Stage, clients: &Clients, kills: u64, chance: &mut Chance) -> Killed {
    let mut killed = Killed::default();
    let share = (clients.left() as u64).div_ceil(kills.max(1));
    for life in 0..kills {
        clients.release(share);
        // Every other life ends at a step, and the steps take turns.
        let step = (life % 2 == 1).then(|| STEPS[usize::try_from(life / 2).unwrap() % STEPS.len()]);
        let environment = step.map(|step| ("FAXBRIDGE_CRASH_AT", format!("{step}:{}", 1 + chance.below(6))));
        let at_most = match step {
            Some(_) => STEP_AT_MOST,
            None => Duration::from_millis(10 + chance.below(LIFE)),
        };
        stage.spawn(environment.as_slice());
        let by_itself = tokio::time::timeout(at_most, live(stage, clients)).await.is_ok();
        clients.tell(None);
        match step {
            Some(step) if by_itself => *killed.at.entry(step).or_default() += 1,
            _ => {
                assert!(!by_itself, "the daemon ended by itself; its log:\n{}", stage.log_tail());
                stage.daemon().kill().await;
                killed.by_chance += 1;
            }
        }
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
