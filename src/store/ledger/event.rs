//! What the ledger tells of, and the only place that knows its texts: they are persisted and hashed, so that they stay as they
//! are.

use crate::job::{Cause, FaxNumber, Hold, Outcome, StateWord, SubmissionId, word_type};
use crate::register::{Entry, EntryState, QuietHours};
use crate::store::{CancelWish, Verdict};

word_type!(
    /// What was done to an entry of the register. Its word stands in the ledger.
    RegisterChange {
        /// It is new.
        Added = "recipient added",
        /// A person verified its number.
        Verified = "recipient verified",
        /// A person suspended it.
        Suspended = "recipient suspended",
        /// A person said when it is not called.
        QuietHours = "recipient quiet hours",
        /// What a provider told changed it.
        Changed = "recipient changed",
    }
);

/// What happened. It holds no patient data: words, counts, codes, keys of the register.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::store) enum LedgerEvent {
    Accepted {
        sender: String,
        bytes: u64,
        sha256: String,
    },
    TurnedAway {
        sender: String,
        bytes: u64,
    },
    MailRefused {
        reason: String,
    },
    Prepared(Verdict),
    PreparedAsKnown {
        first: SubmissionId,
    },
    PrepareAgain,
    NotPreparedAgain,
    Held(Hold),
    State {
        from: StateWord,
        to: StateWord,
    },
    ProviderSwitched {
        from: String,
        to: String,
    },
    ProviderRests {
        name: String,
        cause: Cause,
    },
    ProviderIsWell {
        name: String,
    },
    CancelWished,
    CancelAnswered(CancelWish),
    NewsAfterTheEnd(Outcome),
    Fetched {
        attempt: u32,
    },
    Answered {
        answer: String,
    },
    LeftUnsaid {
        answer: String,
        reason: String,
    },
    KeyDestroyed,
    CopiedBack {
        why: &'static str,
    },
    Register {
        change: RegisterChange,
        key: String,
        number: FaxNumber,
        state: EntryState,
        quiet: Option<QuietHours>,
    },
}

impl LedgerEvent {
    pub(in crate::store) fn register(change: RegisterChange, entry: &Entry) -> Self {
        LedgerEvent::Register {
            change,
            key: entry.key.clone(),
            number: entry.number.clone(),
            state: entry.state,
            quiet: entry.quiet_hours.clone(),
        }
    }

    /// Its texts: the columns `event` and `detail`.
    pub(in crate::store) fn texts(&self) -> (&'static str, String) {
        match self {
            LedgerEvent::Accepted { sender, bytes, sha256 } => {
                ("accepted", format!("from {sender}, {bytes} bytes, {sha256}"))
            }
            LedgerEvent::TurnedAway { sender, bytes } => {
                ("turned away", format!("from {sender}, {bytes} bytes"))
            }
            LedgerEvent::MailRefused { reason } => ("mail refused", reason.clone()),
            LedgerEvent::Prepared(verdict) => ("prepared", verdict.to_string()),
            LedgerEvent::PreparedAsKnown { first } => ("prepared", format!("known as {first}")),
            LedgerEvent::PrepareAgain => ("prepare again", String::new()),
            LedgerEvent::NotPreparedAgain => ("not prepared again", "a job went on meanwhile".to_owned()),
            LedgerEvent::Held(hold) => ("held", hold.to_string()),
            LedgerEvent::State { from, to } => (STATE, format!("{from}{ARROW}{to}")),
            LedgerEvent::ProviderSwitched { from, to } => ("provider", format!("{from}{ARROW}{to}")),
            LedgerEvent::ProviderRests { name, cause } => ("provider rests", format!("{name}: {cause}")),
            LedgerEvent::ProviderIsWell { name } => ("provider is well", name.clone()),
            LedgerEvent::CancelWished => (CANCEL_WISHED, String::new()),
            LedgerEvent::CancelAnswered(answer) => ("cancel answered", answer.to_string()),
            LedgerEvent::NewsAfterTheEnd(outcome) => ("news after the end", outcome.as_str().to_owned()),
            LedgerEvent::Fetched { attempt } => ("fetched", format!("attempt {attempt}")),
            LedgerEvent::Answered { answer } => ("answered", answer.clone()),
            LedgerEvent::LeftUnsaid { answer, reason } => ("left unsaid", format!("{answer}: {reason}")),
            LedgerEvent::KeyDestroyed => ("key destroyed", String::new()),
            LedgerEvent::CopiedBack { why } => ("database copied back", (*why).to_owned()),
            LedgerEvent::Register { change, key, number, state, quiet } => {
                let quiet = quiet.as_ref().map_or(String::new(), |hours| format!(" quiet {hours}"));
                (change.as_str(), format!("{key} {number} {state}{quiet}"))
            }
        }
    }
}

const STATE: &str = "state";
const CANCEL_WISHED: &str = "cancel wished";
const ARROW: &str = " -> ";

/// What somebody did to a Job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobChange {
    /// Its state.
    State(StateWord),
    /// It is to be cancelled as soon as the provider says that it can be.
    CancelWished,
}

impl JobChange {
    /// What a row tells, where that is such a change.
    pub(super) fn read(event: &str, detail: &str) -> Option<JobChange> {
        match event {
            STATE => Some(JobChange::State(detail.split_once(ARROW)?.1.parse().ok()?)),
            CANCEL_WISHED => Some(JobChange::CancelWished),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_texts_stay_as_they_are() {
        let name = || "sinch".to_owned();
        let answer = || "final:06d0s8mk2c0000a1:mail".to_owned();
        let number = || FaxNumber::from_e164("+12125550199").unwrap();
        let register = |change, quiet: Option<&str>| LedgerEvent::Register {
            change,
            key: "mercy".into(),
            number: number(),
            state: EntryState::Verified,
            quiet: quiet.map(|hours| hours.parse().unwrap()),
        };
        for (event, texts) in [
            (
                LedgerEvent::Accepted { sender: "desk".into(), bytes: 9, sha256: "mark:ab".into() },
                ("accepted", "from desk, 9 bytes, mark:ab"),
            ),
            (
                LedgerEvent::TurnedAway { sender: "desk".into(), bytes: 9 },
                ("turned away", "from desk, 9 bytes"),
            ),
            (LedgerEvent::MailRefused { reason: "too large".into() }, ("mail refused", "too large")),
            (LedgerEvent::Prepared(Verdict::Jobs), ("prepared", "jobs")),
            (
                LedgerEvent::PreparedAsKnown { first: "06d0s8mk2c0000a1".parse().unwrap() },
                ("prepared", "known as 06d0s8mk2c0000a1"),
            ),
            (LedgerEvent::PrepareAgain, ("prepare again", "")),
            (LedgerEvent::NotPreparedAgain, ("not prepared again", "a job went on meanwhile")),
            (LedgerEvent::Held(Hold::BadNumber), ("held", "bad_number")),
            (
                LedgerEvent::State { from: StateWord::Sending, to: StateWord::InTransit },
                ("state", "sending -> in_transit"),
            ),
            (
                LedgerEvent::ProviderSwitched { from: name(), to: "telnyx".into() },
                ("provider", "sinch -> telnyx"),
            ),
            (
                LedgerEvent::ProviderRests { name: name(), cause: Cause::ProviderTrouble },
                ("provider rests", "sinch: provider_trouble"),
            ),
            (LedgerEvent::ProviderIsWell { name: name() }, ("provider is well", "sinch")),
            (LedgerEvent::CancelWished, ("cancel wished", "")),
            (LedgerEvent::CancelAnswered(CancelWish::Wished), ("cancel answered", "wished")),
            (LedgerEvent::NewsAfterTheEnd(Outcome::Delivered), ("news after the end", "delivered")),
            (LedgerEvent::Fetched { attempt: 2 }, ("fetched", "attempt 2")),
            (LedgerEvent::Answered { answer: answer() }, ("answered", "final:06d0s8mk2c0000a1:mail")),
            (
                LedgerEvent::LeftUnsaid { answer: answer(), reason: "too many".into() },
                ("left unsaid", "final:06d0s8mk2c0000a1:mail: too many"),
            ),
            (LedgerEvent::KeyDestroyed, ("key destroyed", "")),
            (LedgerEvent::CopiedBack { why: "older" }, ("database copied back", "older")),
            (register(RegisterChange::Added, None), ("recipient added", "mercy +12125550199 verified")),
            (
                register(RegisterChange::QuietHours, Some("22:00-06:00")),
                ("recipient quiet hours", "mercy +12125550199 verified quiet 22:00-06:00"),
            ),
        ] {
            let (event, detail) = event.texts();
            assert_eq!((event, detail.as_str()), texts);
        }
        let changes = ["added", "verified", "suspended", "quiet hours", "changed"];
        let changes: Vec<String> = changes.iter().map(|change| format!("recipient {change}")).collect();
        assert_eq!(RegisterChange::ALL.iter().map(|change| change.as_str()).collect::<Vec<_>>(), changes);
    }

    #[test]
    fn changes_of_a_job_read_back() {
        for to in StateWord::ALL.iter().copied() {
            let (event, detail) = LedgerEvent::State { from: StateWord::Queued, to }.texts();
            assert_eq!(JobChange::read(event, &detail), Some(JobChange::State(to)));
        }
        let (event, detail) = LedgerEvent::CancelWished.texts();
        assert_eq!(JobChange::read(event, &detail), Some(JobChange::CancelWished));
        assert_eq!(JobChange::read("provider", "a -> held"), None);
    }
}
