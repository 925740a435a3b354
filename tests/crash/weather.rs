//! What happens around a life of the daemon beside its death: reloads without end, a disk without room, a clock that steps.
//!
//! Each of them goes on until the life ends, and is over when the next one begins.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::Chance;
use super::load::Clients;
use super::support::Stage;
use super::support::clock::Clock;
use super::support::disk::SmallDisk;

/// Size of the disk that holds the data folder: the spool of some hundred submissions and the database fit well.
pub(crate) const ROOM: &str = "192m";
/// How far the clock jumps.
const JUMPS: [&str; 5] = ["+8d", "-8d", "+400d", "-1h", "+90"];

/// A life's weather.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Weather {
    Calm,
    Reloads,
    NoRoom,
    Clock,
}

impl Weather {
    pub(crate) fn draw(chance: &mut Chance) -> Weather {
        match chance.below(8) {
            0 => Weather::Reloads,
            1 => Weather::NoRoom,
            2 => Weather::Clock,
            _ => Weather::Calm,
        }
    }
}

/// What the weather touches.
#[derive(Debug)]
pub(crate) struct Sky {
    disk: SmallDisk,
    clock: Clock,
}

impl Sky {
    /// Over the `disk` with the data of `stage`, with a clock of its own for the daemon.
    pub(crate) fn over(stage: &Stage, disk: SmallDisk) -> Sky {
        Sky { disk, clock: Clock::at(stage.path("clock")) }
    }

    /// What the daemon needs in its environment.
    pub(crate) fn environment(&self) -> Vec<(&'static str, String)> {
        self.clock.environment()
    }

    /// Lets `weather` blow on the daemon of `pid` once it listens: on a full disk none starts. Never returns.
    pub(crate) async fn blow(&self, weather: Weather, pid: u32, clients: &Clients, chance: &mut Chance) {
        clients.served().await;
        loop {
            pause(chance, 400).await;
            match weather {
                Weather::Calm => std::future::pending().await,
                Weather::Reloads => {
                    for _ in 0..1 + chance.below(12) {
                        hang_up(pid);
                        pause(chance, 20).await;
                    }
                }
                Weather::NoRoom => {
                    self.disk.fill();
                    pause(chance, 400).await;
                    self.disk.empty();
                }
                Weather::Clock => {
                    self.clock.step(JUMPS[usize::try_from(chance.below(JUMPS.len() as u64)).unwrap()]);
                    pause(chance, 600).await;
                    self.clock.step("+0");
                }
            }
        }
    }

    /// Ends whatever blew.
    pub(crate) fn calm(&self) {
        self.disk.empty();
        self.clock.step("+0");
    }
}

/// The weather comes and goes at moments of chance, so this is no wait for anything.
async fn pause(chance: &mut Chance, at_most: u64) {
    tokio::time::sleep(Duration::from_millis(chance.below(at_most))).await;
}

fn hang_up(pid: u32) {
    let Some(pid) = Pid::from_raw(pid.cast_signed()) else { return };
    // Fails where the life has just ended.
    let _ = kill_process(pid, Signal::HUP);
}
