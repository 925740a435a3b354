//! Looks after the steady clock: tells a jump, takes the time once it is believed, and keeps what was seen for the next start.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::Ground;
use crate::alarm::{Alarm, Alarms};
use crate::clock::{self, LONGEST_OFF, STABLE};
use crate::store::{Store, StoreError};

/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);
/// So often what was seen is kept.
const KEEP: SignedDuration = SignedDuration::from_secs(60);
/// A smaller jump is a line in the log, and no alarm.
const TOLD: SignedDuration = SignedDuration::from_secs(60);

/// Looks after the clock for as long as it is waited for.
pub(super) async fn keep(Ground { store, alarms, hands, .. }: Ground) {
    let (mut kept, mut told): (Option<SignedDuration>, Option<SignedDuration>) = (None, None);
    while let Some(look) = clock::look() {
        tell(look.jump, &mut told, &alarms, look.seen.at);
        if let Some(by) = look.believed {
            match take(&store, by).await {
                Ok(()) => {
                    hands.end_rests(look.seen.at.saturating_add(by).unwrap_or(look.seen.at));
                    kept = None;
                    tracing::warn!(
                        "the machine's clock is believed: what waits was moved along, by {}",
                        words(by)
                    );
                }
                Err(error) => {
                    tracing::error!(error = %error, "the machine's time cannot be taken yet: {error}");
                }
            }
        } else if kept.is_none_or(|kept| look.seen.running.saturating_sub(kept) >= KEEP) {
            let running = look.seen.running;
            match store.note_clock(look.seen).await {
                Ok(()) => kept = Some(running),
                Err(error) => tracing::debug!(error = %error, "what time it is could not be kept: {error}"),
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Takes the machine's time and moves what waits, both in one commit.
async fn take(store: &Store, by: SignedDuration) -> Result<(), StoreError> {
    let adopted = Arc::new(AtomicBool::new(false));
    let noted = Arc::clone(&adopted);
    let moved = store
        .move_times(by, move || {
            clock::adopt(by);
            noted.store(true, Ordering::Release);
        })
        .await;
    if moved.is_err() && adopted.load(Ordering::Acquire) {
        clock::adopt(by.saturating_mul(-1));
    }
    moved
}

fn tell(jump: Option<SignedDuration>, told: &mut Option<SignedDuration>, alarms: &Alarms, now: Timestamp) {
    let Some(by) = jump else {
        if told.take().is_some() {
            tracing::info!("the machine's clock agrees again with the time that has passed");
        }
        alarms.clear(&Alarm::Clock);
        return;
    };
    let news = told.is_none_or(|told| told.saturating_sub(by).abs() > SignedDuration::from_secs(2));
    if !news {
        return;
    }
    *told = Some(by);
    let sentence = sentence(by);
    if by.abs() >= TOLD {
        alarms.raise(Alarm::Clock, sentence, now);
    } else {
        tracing::warn!("{sentence}");
    }
}

fn sentence(by: SignedDuration) -> String {
    let (direction, off) = if by.is_negative() { ("behind", "back") } else { ("ahead of", "ahead") };
    format!(
        "the machine's clock was set {off}: it is {} {direction} the time that has passed. Faxes are sent on; deadlines and the \
         destruction of documents go by the time that has passed, until the clock has run evenly for {} minutes. Look at the \
         machine's time synchronisation (timedatectl). After a start: the machine was off for more than {} hours, or its clock \
         has lost the time",
        words(by),
        STABLE.as_mins(),
        LONGEST_OFF.as_hours()
    )
}

/// A length of time for people.
fn words(by: SignedDuration) -> String {
    let seconds = by.as_secs().unsigned_abs();
    match (seconds / 86_400, seconds / 3600, seconds / 60) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, _) => format!("{hours} h"),
        (days, ..) => format!("{days} d"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jump_is_told_once_and_cleared() {
        let (alarms, mut told, now) = (Alarms::default(), None, Timestamp::UNIX_EPOCH);
        let days = SignedDuration::from_hours(8 * 24);
        for _ in 0..3 {
            tell(Some(days), &mut told, &alarms, now);
        }
        let open = alarms.open();
        assert_eq!(open.len(), 1);
        assert!(open[0].1.cause.contains("set ahead: it is 8 d ahead of"), "{}", open[0].1.cause);
        tell(Some(-days), &mut told, &alarms, now);
        assert!(alarms.open()[0].1.cause.contains("set back: it is 8 d behind"));
        tell(None, &mut told, &alarms, now);
        assert_eq!(alarms.open(), []);
        tell(Some(SignedDuration::from_secs(5)), &mut told, &alarms, now);
        assert_eq!(alarms.open(), [], "five seconds want nobody");
    }

    #[test]
    fn lengths_of_time_have_their_unit() {
        for (seconds, expected) in [(5, "5 s"), (-90, "1 min"), (7200, "2 h"), (-8 * 86_400, "8 d")] {
            assert_eq!(words(SignedDuration::from_secs(seconds)), expected);
        }
    }
}
