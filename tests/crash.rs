//! Story: the daemon is killed, again and again, at chance moments and at every named step, while its fax providers misbehave, and in
//! many of its lives it is reloaded without end, has no room on its disk, or a clock that jumps by days.
//!
//! There is a provider of each kind that speaks HTTP, all of them faces of one simulator, and routes of one and of two
//! providers. HylaFAX has a test of its own (`tests/hylafax.rs`).
//!
//! Afterwards, measured from the outside (what clients were promised, what the simulator printed, what the sink and the
//! result folders hold) and from the store:
//!
//! - **none lost**: whatever a client got its yes for ended, or is held for a person;
//! - **none twice**: one job per submission and recipient, one delivered fax per job, except where a person released an
//!   Unclear one; nothing that came again became a second submission;
//! - **one receipt each**: exactly one final answer per submission and way. (A crash between the relay's yes and our record of
//!   it sends the same answer again, under the same Message-ID; such copies are counted and are one answer.)
//! - **never blind**: each call that the simulator saw has an Attempt that was on disk before;
//! - **gone when done**: at the end no document is left in the spool.
//!
//! | variable | meaning | default |
//! | --- | --- | --- |
//! | `FAXBRIDGE_CRASH_SEED` | what is sent and when is killed | by chance; printed |
//! | `FAXBRIDGE_CRASH_KILLS` | how often | 200 |
//! | `FAXBRIDGE_CRASH_SUBMISSIONS` | how many | 2000 |

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a fault ends the story")]

#[path = "crash/check.rs"]
mod check;
#[path = "crash/kills.rs"]
mod kills;
#[path = "crash/load.rs"]
mod load;
#[path = "crash/person.rs"]
mod person;
#[path = "crash/providers.rs"]
mod providers;
mod support;
#[path = "crash/weather.rs"]
mod weather;

use std::time::Duration;

use faxbridge::job;
use faxbridge::simulator::server::Chaos;
use support::{Clinic, Stage};

use load::{Clients, Submission};
use providers::Outside;
use weather::Sky;

fn clinic() -> Clinic {
    Clinic::new().mail().sftp().with(
        r#"
[folder.scans]
path = "DIR/scans"
sender = "scans"
scan = "1 s"
settle = "300 ms"

[[sender]]
name = "scans"
receipts_to = "desk@clinic.example"

[retention]
documents = "2 s"

[limits]
disk_reserve = "1 MB"

[policy]
hurry = 1200
ask_first = "300 ms"
ask_at_most = "1 s"
silent_after = "6 s"
quiet = "2 s"
unclear_at_most = "8 s"
"#,
    )
}

/// Chance that can be had again: splitmix64.
pub(crate) struct Chance(u64);

impl Chance {
    /// Below `n`.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}

fn setting(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(value) => value.parse().unwrap_or_else(|_| panic!("{name}={value:?} is no number")),
        Err(_) => default,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_and_nothing_is_sent_twice_however_often_it_is_killed() {
    let seed = setting("FAXBRIDGE_CRASH_SEED", job::chance().unwrap() % 1_000_000);
    let kills = setting("FAXBRIDGE_CRASH_KILLS", 200);
    let count = setting("FAXBRIDGE_CRASH_SUBMISSIONS", 2000);
    println!("FAXBRIDGE_CRASH_SEED={seed}: {kills} kills over {count} submissions");

    let mut chance = Chance(seed);
    let outside = Outside::choose();
    let (mut stage, disk) = Stage::on_small_disk(&outside.serve(clinic()), weather::ROOM, |simulator| {
        simulator.call_time = Duration::from_millis(5);
        simulator.late_by = Duration::from_secs(2);
        simulator.chaos = Some(Chaos::new(seed));
        simulator.interfax_callback = Some(outside.hook("interfax"));
    })
    .await;
    let sky = Sky::over(&stage, disk);
    outside.enrol(&stage).await;
    let submissions: Vec<Submission> = (0..count).map(|n| Submission::draw(n, &mut chance)).collect();
    load::register(&stage, &submissions).await;
    let mut clients = Clients::start(&stage, &submissions);

    let killed = kills::run(&mut stage, &sky, &clients, kills, &mut chance).await;
    stage.start_with(&sky.environment()).await;
    clients.tell(Some(&stage));
    clients.release_all();
    println!("killed {killed}; now everything comes to its end");
    killed.print_providers(&stage);
    load::all_promised(&stage, &mut clients).await;
    let decisions = person::settle(&stage).await;
    check::all(&stage, &submissions, &decisions).await;
    assert!(stage.daemon().stop().await.success(), "it stops in order:\n{}", stage.log_tail());
    killed.every_step_was_hit(kills);
    killed.every_provider_was_hit(&stage, kills);
}
