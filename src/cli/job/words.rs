//! Where a job stands, in words.

use faxbridge::job::{JobState, Sent};
use faxbridge::receipt::{cause_words, hold_sentence};
use faxbridge::store::{AttemptRow, CancelWish};
use jiff::Timestamp;

use crate::cli::listing::Times;

/// A state in a few words.
pub(crate) fn state_words(state: &JobState, now: Timestamp, times: &Times) -> String {
    match state {
        JobState::Queued { due } if *due <= now => "waits for its turn".to_owned(),
        JobState::Queued { due } => format!("waits for its next try at {}", times.full(*due)),
        JobState::Sending { attempt, .. } => format!("is being handed over (try {attempt})"),
        JobState::InTransit { attempt, .. } => format!("is with the provider (try {attempt})"),
        JobState::Unclear { attempt, .. } => {
            format!("unclear whether try {attempt} was sent; the provider is being asked")
        }
        JobState::Held { hold, until } => {
            let why = hold_sentence(*hold);
            format!("held until {}: {}", times.full(*until), why.trim_end_matches('.'))
        }
        JobState::Delivered => "delivered".to_owned(),
        JobState::Failed { cause } => format!("not delivered: {}", cause_words(*cause)),
        JobState::Cancelled => "cancelled, not sent".to_owned(),
    }
}

/// What came of a wish to cancel.
pub(crate) fn cancel_words(wish: CancelWish, provider: &str) -> String {
    match wish {
        CancelWish::Wished => format!("is to be cancelled; {provider} has not been told yet"),
        CancelWish::Stopped => format!("was cancelled; {provider} says that it will not be sent"),
        CancelWish::Asked => {
            format!("is to be cancelled; {provider} noted it, and the outcome tells whether in time")
        }
        CancelWish::TooLate => format!("was to be cancelled, but {provider} says that it is too late"),
        CancelWish::NotThere => format!("was to be cancelled, but {provider} says that it has no such fax"),
        CancelWish::Cannot => format!("was to be cancelled, but {provider} cannot take back what it has"),
    }
}

/// What a try came to, with the provider's own words.
pub(super) fn attempt_words(attempt: &AttemptRow) -> String {
    let mut words = match (attempt.outcome.as_deref(), attempt.cause()) {
        (None, _) => "not ended yet".to_owned(),
        (Some("delivered"), _) => "delivered".to_owned(),
        (_, Some(cause)) => cause_words(cause).to_owned(),
        (Some("unclear"), None) => "unclear whether it was sent".to_owned(),
        (Some(other), None) => other.to_owned(),
    };
    if let Some(pages) = attempt.pages_sent {
        words.push_str(&format!(", pages through: {pages}"));
    }
    if let Some(seconds) = attempt.seconds {
        words.push_str(&format!(", {seconds} s"));
    }
    if let Some(far_end) = &attempt.remote_id {
        words.push_str(&format!(", far end \"{far_end}\""));
    }
    let raw: Vec<&str> =
        [&attempt.raw_code, &attempt.raw_text].into_iter().flatten().map(String::as_str).collect();
    if !raw.is_empty() {
        words.push_str(&format!(" [{}]", raw.join(": ")));
    }
    words
}

/// Whether pages of this try may be lying at the far end.
pub(super) fn may_have_arrived(attempt: &AttemptRow) -> bool {
    attempt.sent() != Some(Sent::Nothing)
}

#[cfg(test)]
pub(super) mod tests {
    use faxbridge::job::{Cause, Hold};

    use super::*;

    pub(in crate::cli::job) fn attempt(
        outcome: Option<&str>,
        cause: Option<&str>,
        pages: Option<i64>,
    ) -> AttemptRow {
        AttemptRow {
            n: 1,
            reference: "x-1".into(),
            provider: "main".into(),
            provider_ref: None,
            started_at: 0,
            ended_at: None,
            outcome: outcome.map(str::to_owned),
            cause: cause.map(str::to_owned),
            pages_sent: pages,
            remote_id: None,
            seconds: None,
            raw_code: Some("line.busy".into()),
            raw_text: None,
            stated: 0,
            copy_deleted_at: None,
            kept_ref: None,
            copy: "there".into(),
            news_at: None,
            told: None,
            hints: None,
            asked_first: 0,
            bytes: None,
            sha256: None,
        }
    }

    #[test]
    fn what_may_lie_at_the_far_end_is_known() {
        for (outcome, cause, pages, may) in [
            (None, None, None, true),
            (Some("unclear"), None, None, true),
            (Some("retry"), Some("busy"), None, false),
            (Some("retry"), Some("busy"), Some(0), false),
            (Some("retry"), Some("line_trouble"), Some(1), true),
            (Some("retry"), Some("partly_sent"), None, true),
            (Some("refused"), Some("not_in_service"), None, false),
        ] {
            assert_eq!(
                may_have_arrived(&attempt(outcome, cause, pages)),
                may,
                "{outcome:?} {cause:?} {pages:?}"
            );
        }
    }

    #[test]
    fn states_and_tries_are_told_in_words() {
        let config = faxbridge::config::parse(faxbridge::config::SAMPLE, "sample").unwrap().config;
        let times = Times::of(&config);
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let words = |state| state_words(&state, now, &times);
        assert_eq!(words(JobState::Queued { due: now }), "waits for its turn");
        assert_eq!(words(JobState::Failed { cause: Cause::Busy }), "not delivered: busy");
        let held = words(JobState::Held { hold: Hold::Unverified, until: now });
        assert_eq!(held, "held until 2027-01-15 03:00 EST: Its number is not verified");
        let busy = attempt(Some("retry"), Some("busy"), Some(0));
        assert_eq!(attempt_words(&busy), "busy, pages through: 0 [line.busy]");
    }
}
