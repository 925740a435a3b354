//! When to try again: a ladder of pauses per cause. Pure; chance comes in as an argument.
//!
//! The bridge owns the ladder; a provider's own redials are switched off, because each of them rings a telephone that we
//! do not count. The figures are those of the field: HylaFAX waits 180 s after busy and 300 s after no answer and dials at
//! most 12 times; FileTime tries a human hang-up once; 47 CFR 68.318(b)(1) allows 15 successive calls. Causes that another
//! call cannot mend have no rung at all.

use jiff::SignedDuration;

use super::{Cause, Hold};

/// The pauses, in seconds, after the first, second, ... failure for one cause, and whether such a failure rang a telephone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ladder {
    /// Pauses in order. When they are used up, what [`Ladder::then`] says happens.
    pub pauses: Vec<SignedDuration>,
    /// What happens after the last rung.
    pub then: AfterLast,
}

/// What happens when a ladder's rungs are used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterLast {
    /// The Job fails for this cause.
    Fail,
    /// The last pause repeats until the Job's deadline (for trouble that rings nobody's telephone).
    Repeat,
    /// A person decides.
    Hold(Hold),
}

/// How often and how fast a Job is tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Calls per Job that may ring the far end, over all causes.
    pub calls: u32,
    /// Calls to one number, by whichever Jobs, that may fail one after the other before it is left alone.
    pub number_calls: u32,
    /// For how long it is then left alone.
    pub number_rest: SignedDuration,
    /// Divides every pause: 1 in earnest, more in the demo and in tests.
    pub hurry: u32,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        RetryPolicy { calls: 15, number_calls: 15, number_rest: SignedDuration::from_mins(60), hurry: 1 }
    }
}

/// How long a number is left alone after a call to it failed: as long as the Job that called waits itself (`pause`), so that
/// the Jobs behind it do not ring an engaged line in its place; longer after too many failures in a row, `failed` with this
/// one.
#[must_use]
pub fn number_rest(pause: SignedDuration, failed: u32, policy: &RetryPolicy) -> SignedDuration {
    if failed.is_multiple_of(policy.number_calls.max(1)) {
        pause.max(hurried(policy.number_rest, policy))
    } else {
        pause
    }
}

fn hurried(pause: SignedDuration, policy: &RetryPolicy) -> SignedDuration {
    pause / i32::try_from(policy.hurry.max(1)).unwrap_or(i32::MAX)
}

/// What to do after a failed Attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Try again after this pause.
    Again(SignedDuration),
    /// Give up for this cause.
    Fail,
    /// Ask a person.
    Hold(Hold),
}

/// The ladder for `cause`.
#[must_use]
pub fn ladder(cause: Cause) -> Ladder {
    let (minutes, then): (&[i64], AfterLast) = match cause {
        Cause::Busy => (&[3, 3, 5, 5, 10, 10, 15, 15, 30, 30, 60], AfterLast::Fail),
        Cause::NoAnswer => (&[5, 30, 60], AfterLast::Fail),
        Cause::NotAFax => (&[10], AfterLast::Fail),
        Cause::LineTrouble => (&[1, 5, 15], AfterLast::Fail),
        Cause::RateLimited => (&[1, 2, 5], AfterLast::Repeat),
        Cause::ProviderTrouble | Cause::NotTaken => (&[1, 2, 5, 10, 15], AfterLast::Repeat),
        // The provider itself is left alone meanwhile (`delivery::health`); its Jobs are kept.
        Cause::AccountTrouble => (&[1, 5, 15], AfterLast::Repeat),
        // Pages may be lying in a tray: only a person may have them printed a second time.
        Cause::PartlySent => (&[], AfterLast::Hold(Hold::PartlySent)),
        Cause::Unknown => (&[], AfterLast::Hold(Hold::UnknownCause)),
        Cause::Unclear => (&[], AfterLast::Hold(Hold::Unclear)),
        Cause::Voice
        | Cause::NotInService
        | Cause::Blocked
        | Cause::NumberRefused
        | Cause::DocumentRefused
        | Cause::Cancelled
        | Cause::Expired
        | Cause::NotReceived => (&[], AfterLast::Fail),
    };
    Ladder { pauses: minutes.iter().map(|m| SignedDuration::from_mins(*m)).collect(), then }
}

/// Whether a failure for `cause` may have rung a telephone, and so counts against [`RetryPolicy::calls`].
#[must_use]
pub fn rang(cause: Cause) -> bool {
    !matches!(
        cause,
        Cause::RateLimited
            | Cause::ProviderTrouble
            | Cause::NotTaken
            | Cause::AccountTrouble
            | Cause::NumberRefused
            | Cause::DocumentRefused
            | Cause::Cancelled
            | Cause::Expired
    )
}

/// Whether `cause` is the provider's own trouble, with which certainly nothing was sent: another provider may do better.
/// An answer that was lost is not among them: what is known then is only the word of the provider that lost it.
#[must_use]
pub fn at_the_provider(cause: Cause) -> bool {
    matches!(cause, Cause::RateLimited | Cause::ProviderTrouble | Cause::AccountTrouble)
}

/// What follows the failure of an Attempt for `cause`, the `nth` of that cause (1 for the first), after `calls` calls in
/// all that may have rung, this one included. `wait` is what the provider asked for (Retry-After). `jitter` in 0..=1 spreads
/// the tries of many Jobs by up to a tenth of the pause.
#[must_use]
pub fn after(
    cause: Cause,
    nth: u32,
    calls: u32,
    wait: Option<SignedDuration>,
    policy: &RetryPolicy,
    jitter: f64,
) -> Next {
    let ladder = ladder(cause);
    if rang(cause) && calls >= policy.calls && !matches!(ladder.then, AfterLast::Hold(_)) {
        return Next::Fail;
    }
    let rung = usize::try_from(nth.saturating_sub(1)).unwrap_or(usize::MAX);
    let pause = match (ladder.pauses.get(rung), ladder.then) {
        (Some(pause), _) => *pause,
        (None, AfterLast::Fail) => return Next::Fail,
        (None, AfterLast::Hold(hold)) => return Next::Hold(hold),
        (None, AfterLast::Repeat) => ladder.pauses.last().copied().unwrap_or(SignedDuration::from_mins(1)),
    };
    let pause = hurried(pause, policy).max(wait.unwrap_or(SignedDuration::ZERO));
    let jitter = if jitter.is_finite() { jitter.clamp(0.0, 1.0) } else { 0.0 };
    let spread = SignedDuration::try_from_secs_f64(pause.as_secs_f64() * 0.1 * jitter);
    Next::Again(pause.saturating_add(spread.unwrap_or(SignedDuration::ZERO)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Follows one cause to its end and returns the pauses in minutes and what stood at the end.
    fn climb(cause: Cause, at_most: u32) -> (Vec<i64>, Option<Next>) {
        let policy = RetryPolicy::default();
        let mut pauses = Vec::new();
        for nth in 1..=at_most {
            match after(cause, nth, nth, None, &policy, 0.0) {
                Next::Again(pause) => pauses.push(pause.as_mins()),
                end => return (pauses, Some(end)),
            }
        }
        (pauses, None)
    }

    #[test]
    fn every_ladder_in_real_figures() {
        let table: &[(Cause, &[i64], Next)] = &[
            (Cause::Busy, &[3, 3, 5, 5, 10, 10, 15, 15, 30, 30, 60], Next::Fail),
            (Cause::NoAnswer, &[5, 30, 60], Next::Fail),
            (Cause::NotAFax, &[10], Next::Fail),
            (Cause::LineTrouble, &[1, 5, 15], Next::Fail),
            (Cause::PartlySent, &[], Next::Hold(Hold::PartlySent)),
            (Cause::Unknown, &[], Next::Hold(Hold::UnknownCause)),
            (Cause::Unclear, &[], Next::Hold(Hold::Unclear)),
            (Cause::Voice, &[], Next::Fail),
            (Cause::NotInService, &[], Next::Fail),
            (Cause::Blocked, &[], Next::Fail),
            (Cause::NumberRefused, &[], Next::Fail),
            (Cause::DocumentRefused, &[], Next::Fail),
            (Cause::Cancelled, &[], Next::Fail),
            (Cause::Expired, &[], Next::Fail),
            (Cause::NotReceived, &[], Next::Fail),
        ];
        for (cause, pauses, end) in table {
            assert_eq!(climb(*cause, 40), (pauses.to_vec(), Some(*end)), "{cause}");
        }
        assert_eq!(climb(Cause::ProviderTrouble, 8), (vec![1, 2, 5, 10, 15, 15, 15, 15], None));
        assert_eq!(climb(Cause::NotTaken, 6), (vec![1, 2, 5, 10, 15, 15], None));
        assert_eq!(climb(Cause::AccountTrouble, 4), (vec![1, 5, 15, 15], None));
        assert_eq!(climb(Cause::RateLimited, 5), (vec![1, 2, 5, 5, 5], None));
        assert_eq!(table.len() + 4, Cause::ALL.len(), "every cause is in the table");
    }

    #[test]
    fn calls_that_ring_have_a_ceiling_over_all_causes() {
        let policy = RetryPolicy { calls: 3, ..RetryPolicy::default() };
        assert_eq!(after(Cause::Busy, 1, 3, None, &policy, 0.0), Next::Fail);
        assert!(matches!(after(Cause::Busy, 1, 2, None, &policy, 0.0), Next::Again(_)));
        assert!(matches!(after(Cause::ProviderTrouble, 9, 90, None, &policy, 0.0), Next::Again(_)));
        assert_eq!(after(Cause::PartlySent, 1, 3, None, &policy, 0.0), Next::Hold(Hold::PartlySent));
    }

    #[test]
    fn a_number_is_left_alone_as_long_as_its_caller_and_for_an_hour_after_fifteen_failures() {
        let policy = RetryPolicy::default();
        let rest = |failed| number_rest(SignedDuration::from_mins(3), failed, &policy).as_mins();
        assert_eq!([rest(1), rest(14), rest(15), rest(16), rest(30)], [3, 3, 60, 3, 60]);
        let hurried = RetryPolicy { hurry: 60, ..policy };
        assert_eq!(number_rest(SignedDuration::ZERO, 15, &hurried), SignedDuration::from_secs(60));
    }

    #[test]
    fn a_provider_may_ask_for_longer_but_not_for_shorter() {
        let policy = RetryPolicy::default();
        let wait = |s| Some(SignedDuration::from_secs(s));
        assert_eq!(
            after(Cause::RateLimited, 1, 0, wait(600), &policy, 0.0),
            Next::Again(SignedDuration::from_secs(600))
        );
        assert_eq!(
            after(Cause::RateLimited, 1, 0, wait(1), &policy, 0.0),
            Next::Again(SignedDuration::from_secs(60))
        );
    }

    #[test]
    fn jitter_adds_at_most_a_tenth_and_hurry_divides() {
        let policy = RetryPolicy { hurry: 60, ..RetryPolicy::default() };
        assert_eq!(after(Cause::Busy, 1, 1, None, &policy, 0.0), Next::Again(SignedDuration::from_secs(3)));
        assert_eq!(
            after(Cause::Busy, 1, 1, None, &RetryPolicy::default(), 1.0),
            Next::Again(SignedDuration::from_secs(198))
        );
        assert_eq!(
            after(Cause::Busy, 1, 1, None, &RetryPolicy::default(), f64::NAN),
            Next::Again(SignedDuration::from_secs(180))
        );
    }
}
