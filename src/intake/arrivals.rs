//! While mails and files come in one after the other, what can wait does wait, but never for long.
//!
//! Opening a document and drawing its cover takes several times the work of taking it. Nobody waits for that moment, but the client
//! of the next mail does: even at a lower rank the preparing threads keep a session from its processor for a millisecond or two each
//! time it wants one, and a mail wants one a dozen times. So preparing begins when nothing has come in for a quiet period ([`QUIET`]).
//!
//! What waits is not kept waiting longer than [`PATIENCE`], counted from the oldest that is not prepared; from then on preparing runs
//! alongside until it has caught up. Only where mails come as fast as they can be taken ([`Arrivals::is_dense`]), so that no time is
//! left for both, they are taken first for longer ([`PATIENCE_DENSE`]).

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// A client that sends one mail after the other takes a few milliseconds each.
const QUIET: Duration = Duration::from_millis(40);
/// The oldest waits no longer than this for a quiet period.
const PATIENCE: Duration = Duration::from_secs(1);
/// The same where nothing but taking mails can be done.
const PATIENCE_DENSE: Duration = Duration::from_secs(5);
/// Mails that come closer after one another than this, by one processor, leave it no time: about what preparing one takes, and half of
/// that again for taking it.
const DENSE: Duration = Duration::from_millis(30);
/// So many gaps count in the average of the last ones.
const GAPS: u32 = 8;

/// What the ways in tell, and those who can wait ask.
#[derive(Debug)]
pub struct Arrivals {
    state: Mutex<State>,
    /// The average gap below which arrivals are dense.
    dense: Duration,
}

#[derive(Debug, Default)]
struct State {
    /// Something began to come in, or was taken.
    last: Option<Instant>,
    /// The last one was taken.
    taken: Option<Instant>,
    /// Average time between two that were taken.
    gap: Duration,
    /// Since when something waits to be prepared.
    waiting: Option<Instant>,
}

impl Default for Arrivals {
    fn default() -> Self {
        Arrivals::on(std::thread::available_parallelism().map_or(1, std::num::NonZero::get))
    }
}

impl Arrivals {
    /// On a machine with so many processors.
    fn on(processors: usize) -> Self {
        let processors = u32::try_from(processors.max(1)).unwrap_or(u32::MAX);
        Arrivals { state: Mutex::default(), dense: DENSE / processors }
    }

    /// Something begins to come in at `now`.
    pub(super) fn begin(&self, now: Instant) {
        let mut state = self.lock();
        state.last = state.last.max(Some(now));
    }

    /// Something has been taken at `now`, and waits to be prepared from now on.
    pub(super) fn taken(&self, now: Instant) {
        let mut state = self.lock();
        let gap = state.taken.map_or(QUIET, |before| now.saturating_duration_since(before)).min(QUIET);
        state.gap = (state.gap * (GAPS - 1) + gap) / GAPS;
        (state.last, state.taken) = (state.last.max(Some(now)), Some(now));
        state.waiting.get_or_insert(now);
    }

    /// Nothing waits to be prepared any more.
    pub fn caught_up(&self) {
        self.lock().waiting = None;
    }

    /// How long to wait at `now` before asking again; `None` where there is nothing to wait for.
    #[must_use]
    pub fn pause(&self, now: Instant) -> Option<Duration> {
        let state = self.lock();
        let quiet = QUIET.checked_sub(now.saturating_duration_since(state.last?))?;
        let patience = if self.is_dense(&state) { PATIENCE_DENSE } else { PATIENCE };
        let waited = state.waiting.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        Some(quiet.min(patience.checked_sub(waited)?)).filter(|wait| !wait.is_zero())
    }

    /// Whether mails come so close after one another that the machine is busy with taking them.
    fn is_dense(&self, state: &State) -> bool {
        state.gap < self.dense
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    /// Mails every `gap` ms for `seconds`; the longest time that the oldest of them had waited when preparing might begin. What it then
    /// does takes no time.
    fn longest_wait(gap: impl Fn(u64) -> u64, seconds: u64) -> Duration {
        let (start, arrivals) = (Instant::now(), Arrivals::on(2));
        let (mut next, mut n, mut oldest, mut longest) = (0, 0, None, Duration::ZERO);
        for at in 0..seconds * 1000 {
            let now = start + ms(at);
            if at >= next {
                arrivals.begin(now);
                arrivals.taken(now);
                oldest.get_or_insert(now);
                n += 1;
                next = at + gap(n);
            }
            if let (Some(since), None) = (oldest, arrivals.pause(now)) {
                longest = longest.max(now - since);
                oldest = None;
                arrivals.caught_up();
            }
        }
        longest.max(oldest.map_or(Duration::ZERO, |since| start + ms(seconds * 1000) - since))
    }

    #[test]
    fn it_waits_for_a_quiet_period() {
        let (start, arrivals) = (Instant::now(), Arrivals::on(2));
        assert_eq!(arrivals.pause(start), None, "nothing has come yet");
        arrivals.begin(start);
        assert_eq!(arrivals.pause(start), Some(QUIET));
        arrivals.taken(start + ms(5));
        assert_eq!(arrivals.pause(start + ms(35)), Some(ms(10)));
        assert_eq!(arrivals.pause(start + ms(45)), None, "one mail alone is waited for that long");
    }

    #[test]
    fn however_mails_come_the_oldest_does_not_wait_long() {
        let second = PATIENCE + ms(1);
        type Row = (&'static str, fn(u64) -> u64, Duration);
        let rows: [Row; 5] = [
            ("a mail each 60 ms", |_| 60, QUIET),
            ("33 a second", |_| 30, second),
            // Some gaps are longer than the quiet period, and no new second begins with them.
            ("33 a second, unevenly", |n| if n % 12 == 0 { 45 } else { 29 }, second),
            ("20 ms apart", |_| 20, second),
            ("as fast as they can be taken", |_| 3, PATIENCE_DENSE + ms(1)),
        ];
        for (case, gap, at_most) in rows {
            let waited = longest_wait(gap, 30);
            assert!(waited <= at_most, "{case}: {waited:?}");
        }
    }

    #[test]
    fn what_comes_as_fast_as_it_can_is_taken_first() {
        assert_eq!(longest_wait(|_| 3, 4), ms(4000), "four seconds of it are not disturbed");
    }

    #[test]
    fn once_patience_is_over_it_runs_alongside_until_it_has_caught_up() {
        let (start, arrivals) = (Instant::now(), Arrivals::on(2));
        for n in 0..60 {
            arrivals.taken(start + ms(30 * n));
        }
        let now = start + ms(1800);
        assert_eq!(arrivals.pause(now), None);
        arrivals.taken(now);
        assert_eq!(arrivals.pause(now), None, "not only for one");
        arrivals.caught_up();
        arrivals.taken(now + ms(1));
        assert_eq!(arrivals.pause(now + ms(1)), Some(QUIET));
    }
}
