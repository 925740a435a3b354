//! The only place that asks what time it is; everything else takes the time as an argument or holds a [`Clock`].
//!
//! Deadlines expire faxes and retention destroys documents, so neither may follow a clock that somebody sets, or that starts in
//! 1970 with an empty battery. The daemon therefore goes by [`Steady`]: the wall clock as it was, and the time that has passed since
//! by the clock that nobody can set (it counts while the machine sleeps too). As long as both agree the two are one. When the wall
//! clock jumps, the daemon goes on by the time that has really passed, tells it ([`crate::alarm::Alarm::Clock`]), and sends on. Once
//! the wall clock has run evenly for [`STABLE`], it is believed: its time is taken, and whatever waits for a time is moved
//! along by the jump ([`crate::store::Store::move_times`]), so that as much time is left for it as before.
//!
//! What was seen last is kept in the store. A start at an earlier time than that, or at one later by more than [`LONGEST_OFF`],
//! begins with a jump.

use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use jiff::{SignedDuration, Timestamp};

/// A source of wall-clock time.
pub trait Clock: Debug + Send + Sync {
    /// The current instant, UTC.
    fn now(&self) -> Timestamp;
}

/// The machine's clock; in the daemon, the steady one of this process.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        match steady() {
            Some(mut steady) => steady.look(wall(), running()),
            None => wall(),
        }
    }
}

/// The clock as most of the program holds it.
pub type SharedClock = Arc<dyn Clock>;

/// Differences below this are taken at once: those of two readings one after the other, and what a time server corrects.
const STEP: SignedDuration = SignedDuration::from_secs(2);
/// For so long the wall clock must run evenly after a jump before it is believed.
pub const STABLE: SignedDuration = SignedDuration::from_mins(5);
/// A machine may have been off for so long without a doubt about its clock.
pub const LONGEST_OFF: SignedDuration = SignedDuration::from_hours(72);

/// The steady clock of this process, once it has one.
static STEADY: OnceLock<Mutex<Steady>> = OnceLock::new();

fn steady() -> Option<MutexGuard<'static, Steady>> {
    STEADY.get().map(|steady| steady.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Sets the steady clock of this process going, from what was seen last; the commands go by the machine's.
pub fn begin(last: Option<&Seen>) {
    let begun = Steady::begin(wall(), running(), boot().as_deref(), last);
    // A second start in one process finds it going already.
    let _ = STEADY.set(Mutex::new(begun));
}

/// The clocks as they are now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// What may be kept for the next start.
    pub seen: Seen,
    /// How far the wall clock is ahead of the time that has passed, where the two do not agree.
    pub jump: Option<SignedDuration>,
    /// The same where the wall clock is believed.
    pub believed: Option<SignedDuration>,
}

/// Looks at the clocks; `None` before the steady clock has begun.
#[must_use]
pub fn look() -> Option<Look> {
    let mut steady = steady()?;
    let running = running();
    let at = steady.look(wall(), running);
    let (jump, believed) = (steady.jump(), steady.believed(running));
    drop(steady);
    Some(Look { seen: Seen { at, running, boot: boot() }, jump, believed })
}

/// Moves the steady clock by `by`, as the wall clock did.
pub fn adopt(by: SignedDuration) {
    if let Some(mut steady) = steady() {
        steady.adopt(by);
    }
}

/// Which start of the machine this is; hidden from a hardened service.
fn boot() -> Option<String> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_owned()).filter(|id| !id.is_empty())
}

/// What the machine's clock says, right or wrong.
#[allow(clippy::disallowed_methods, reason = "this is the one place")]
fn wall() -> Timestamp {
    Timestamp::now()
}

/// How long the machine has been running, asleep or not: the clock that nobody can set.
fn running() -> SignedDuration {
    #[cfg(target_os = "linux")]
    let clock = rustix::time::ClockId::Boottime;
    #[cfg(not(target_os = "linux"))]
    let clock = rustix::time::ClockId::Monotonic;
    let read = rustix::time::clock_gettime(clock);
    SignedDuration::new(read.tv_sec, i32::try_from(read.tv_nsec).unwrap_or(0))
}

/// What this process and the one before it saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The time by the steady clock.
    pub at: Timestamp,
    /// How long the machine had been running.
    pub running: SignedDuration,
    /// Which start of the machine that was, where the system tells.
    pub boot: Option<String>,
}

/// See the module. Pure: both clocks come in as arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Steady {
    base: Timestamp,
    /// What the clock that nobody can set said at `base`.
    at: SignedDuration,
    jump: Option<Jump>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Jump {
    /// How far the wall clock is ahead.
    by: SignedDuration,
    /// Since when, by the clock that nobody can set.
    since: SignedDuration,
}

impl Steady {
    /// Begins at `wall`, unless what was seen `last` makes that impossible: then it goes on from there.
    #[must_use]
    pub fn begin(
        wall: Timestamp,
        running: SignedDuration,
        boot: Option<&str>,
        last: Option<&Seen>,
    ) -> Steady {
        let Some(last) = last else { return Steady { base: wall, at: running, jump: None } };
        let same_boot = boot.is_some() && boot == last.boot.as_deref() && running >= last.running;
        let passed = if same_boot { running - last.running } else { SignedDuration::ZERO };
        let base = last.at.saturating_add(passed).unwrap_or(last.at);
        let off = wall.duration_since(base);
        let plausible = if same_boot { off.abs() < STEP } else { off > -STEP && off <= LONGEST_OFF };
        let mut steady = Steady { base: if plausible { wall } else { base }, at: running, jump: None };
        steady.look(wall, running);
        steady
    }

    fn time(&self, running: SignedDuration) -> Timestamp {
        let passed = running.saturating_sub(self.at);
        self.base.saturating_add(passed).unwrap_or(Timestamp::MAX)
    }

    /// What time it is, where the wall clock says `wall`.
    pub fn look(&mut self, wall: Timestamp, running: SignedDuration) -> Timestamp {
        let now = self.time(running);
        let by = wall.duration_since(now);
        if by.abs() < STEP {
            *self = Steady { base: wall, at: running, jump: None };
            return wall;
        }
        let goes_on = self.jump.as_ref().is_some_and(|jump| by.saturating_sub(jump.by).abs() < STEP);
        if !goes_on {
            self.jump = Some(Jump { by, since: running });
        }
        now
    }

    /// How far the wall clock is ahead of the time that has passed, where the two do not agree.
    #[must_use]
    pub fn jump(&self) -> Option<SignedDuration> {
        self.jump.as_ref().map(|jump| jump.by)
    }

    /// The same once the wall clock has run evenly for long enough.
    #[must_use]
    pub fn believed(&self, running: SignedDuration) -> Option<SignedDuration> {
        let jump = self.jump.as_ref()?;
        (running.saturating_sub(jump.since) >= STABLE).then_some(jump.by)
    }

    /// Moves the time by `by`, as the wall clock did.
    pub fn adopt(&mut self, by: SignedDuration) {
        self.base = self.base.saturating_add(by).unwrap_or(self.base);
        self.jump = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_790_000_000 + second).unwrap()
    }

    fn s(seconds: i64) -> SignedDuration {
        SignedDuration::from_secs(seconds)
    }

    fn new() -> Steady {
        Steady::begin(at(0), s(100), None, None)
    }

    #[test]
    fn a_jump_and_back_leaves_no_trace() {
        for jump in [8 * DAY, -10 * DAY, 60, -3] {
            let mut steady = new();
            assert_eq!(steady.look(at(10), s(110)), at(10));
            assert_eq!(steady.look(at(11 + jump), s(111)), at(11), "{jump}: the time that has passed");
            assert_eq!(steady.jump(), Some(s(jump)));
            assert_eq!(steady.look(at(17 + jump), s(117)), at(17));
            assert_eq!(steady.believed(s(117)), None);
            assert_eq!(steady.look(at(18), s(118)), at(18));
            assert_eq!((steady.jump(), steady.believed(s(10_000))), (None, None));
        }
    }

    #[test]
    fn what_a_time_server_corrects_is_taken_at_once() {
        let mut steady = new();
        let half = SignedDuration::from_millis(1500);
        let corrected = at(10).saturating_add(half).unwrap();
        assert_eq!(steady.look(corrected, s(110)), corrected);
        assert_eq!(steady.look(corrected + s(5), s(115)), corrected + s(5));
    }

    #[test]
    fn a_clock_that_runs_evenly_is_believed_after_a_while_and_another_jump_begins_anew() {
        let mut steady = new();
        steady.look(at(10 + 8 * DAY), s(110));
        steady.look(at(200 + 9 * DAY), s(300));
        let last = s(300) + STABLE;
        steady.look(at(200 + 9 * DAY) + STABLE, last);
        assert_eq!(steady.believed(last - s(1)), None);
        assert_eq!(steady.believed(last), Some(s(9 * DAY)));
        steady.adopt(s(9 * DAY));
        assert_eq!(steady.look(at(201 + 9 * DAY) + STABLE, last + s(1)), at(201 + 9 * DAY) + STABLE);
        assert_eq!(steady.jump(), None);
    }

    #[test]
    fn a_start_goes_on_from_what_was_seen_last_where_the_clock_cannot_be_right() {
        let seen = |boot: Option<&str>| Seen { at: at(0), running: s(100), boot: boot.map(str::to_owned) };
        // The wall clock, how long the machine runs, its boot, and the time that counts.
        for (wall, running, boot, expected) in [
            // Another boot: nobody knows how long it was off.
            (at(3600), 20, Some("b"), at(3600)),
            (at(2 * DAY), 20, Some("b"), at(2 * DAY)),
            (at(8 * DAY), 20, Some("b"), at(0)),
            (at(-10 * DAY), 20, Some("b"), at(0)),
            (at(-1), 20, Some("b"), at(-1)),
            (Timestamp::UNIX_EPOCH, 20, Some("b"), at(0)),
            // The same boot: the time that passed is known.
            (at(50), 150, Some("a"), at(50)),
            (at(DAY), 150, Some("a"), at(50)),
            (at(-DAY), 150, Some("a"), at(50)),
            // The system does not tell.
            (at(DAY), 150, None, at(DAY)),
            (at(-DAY), 150, None, at(0)),
        ] {
            let mut steady = Steady::begin(wall, s(running), boot, Some(&seen(Some("a"))));
            assert_eq!(steady.look(wall, s(running)), expected, "{wall} {running} {boot:?}");
            assert_eq!(steady.jump().is_some(), wall != expected);
        }
        assert_eq!(Steady::begin(at(5), s(1), Some("a"), None).look(at(5), s(1)), at(5));
    }
}
