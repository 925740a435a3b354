//! While mails and files come in one after the other, what can wait does wait.
//!
//! Opening a document and drawing its cover takes several times the work of taking it. Nobody waits for that moment, but the client
//! of the next mail does: even at a lower rank the preparing threads keep a session from its processor for a millisecond or two each
//! time it wants one, and a mail wants one a dozen times. So nothing new is prepared while a rush lasts. Not for long, though:
//! a fax may be some seconds late, but under a load that never ends the documents are prepared all the same.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// A rush is over when nothing has come in for so long: a client that sends one after the other takes a few milliseconds each.
const QUIET: Duration = Duration::from_millis(40);
/// From its beginning on a rush is waited for no longer than this.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the ways in tell, and those who can wait ask.
#[derive(Debug, Default)]
pub struct Rush {
    span: Mutex<Option<Span>>,
}

/// The last rush, of at least one event.
#[derive(Debug, Clone, Copy)]
struct Span {
    began: Instant,
    last: Instant,
}

impl Rush {
    /// Something begins to come in at `now`, or has been taken.
    pub(super) fn note(&self, now: Instant) {
        let mut span = self.lock();
        *span = Some(match *span {
            Some(Span { began, last }) if now.saturating_duration_since(last) < QUIET => {
                Span { began, last: now.max(last) }
            }
            _ => Span { began: now, last: now },
        });
    }

    /// Returns when nobody needs to be waited for.
    pub async fn over(&self) {
        while let Some(wait) = self.wait(Instant::now()) {
            tokio::time::sleep(wait).await;
        }
    }

    /// How long to wait at `now` before asking again; `None` where there is nothing to wait for.
    fn wait(&self, now: Instant) -> Option<Duration> {
        let Span { began, last } = (*self.lock())?;
        let quiet = QUIET.checked_sub(now.saturating_duration_since(last))?;
        let patience = PATIENCE.checked_sub(now.saturating_duration_since(began))?;
        Some(quiet.min(patience)).filter(|wait| !wait.is_zero())
    }

    fn lock(&self) -> MutexGuard<'_, Option<Span>> {
        self.span.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn a_rush_is_waited_for_until_it_is_quiet_and_never_longer_than_patience_allows() {
        let start = Instant::now();
        let rush = Rush::default();
        assert_eq!(rush.wait(start), None, "nothing has come yet");
        rush.note(start);
        assert_eq!(rush.wait(start), Some(QUIET));
        assert_eq!(rush.wait(start + ms(30)), Some(ms(10)));
        assert_eq!(rush.wait(start + QUIET), None, "one mail alone is waited for that long");
        // One after the other, each 10 ms after the one before, for six seconds.
        let start = start + ms(1000);
        for n in 0..600 {
            let now = start + ms(10 * n);
            rush.note(now);
            let wait = rush.wait(now);
            match PATIENCE.checked_sub(ms(10 * n)).filter(|left| !left.is_zero()) {
                Some(left) => assert_eq!(wait, Some(QUIET.min(left)), "after {n} mails"),
                None => assert_eq!(wait, None, "after {n} mails it has lasted too long"),
            }
        }
        // The next one, after a pause.
        let later = start + ms(6000) + QUIET;
        rush.note(later);
        assert_eq!(rush.wait(later), Some(QUIET));
    }

    #[tokio::test]
    async fn who_waits_goes_on_when_it_is_over() {
        let rush = Rush::default();
        let start = Instant::now();
        rush.note(start);
        rush.over().await;
        assert!(start.elapsed() >= QUIET);
    }
}
