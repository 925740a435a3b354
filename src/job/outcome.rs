//! What an Attempt came to, and what the provider told beside it.

use serde::{Deserialize, Serialize};

use super::word_type;

word_type!(
    /// Why an Attempt did not deliver: the one vocabulary that every provider's codes are mapped to (field notes, section 6).
    Cause {
        /// The line was engaged.
        Busy = "busy",
        /// It rang and nobody answered.
        NoAnswer = "no_answer",
        /// A person or a voice mailbox answered.
        Voice = "voice",
        /// Something answered that is not a fax machine, or the handshake never began.
        NotAFax = "not_a_fax",
        /// The number is not in service.
        NotInService = "not_in_service",
        /// The far end, the carrier or the account's rules refuse calls to this number.
        Blocked = "blocked",
        /// The provider refuses the number as no telephone number; nobody was called.
        NumberRefused = "number_refused",
        /// The transmission broke before any page was through.
        LineTrouble = "line_trouble",
        /// The transmission broke when at least one page may have been printed.
        PartlySent = "partly_sent",
        /// The provider cannot make pages of the document.
        DocumentRefused = "document_refused",
        /// The provider asks us to slow down.
        RateLimited = "rate_limited",
        /// The provider or its lines are out of order, and certainly nothing was sent.
        ProviderTrouble = "provider_trouble",
        /// The answer to the submit was lost, and the provider does not have the fax.
        NotTaken = "not_taken",
        /// Sign-in or balance: nothing will go through until the operator acts.
        AccountTrouble = "account_trouble",
        /// Cancelled at the provider at our request.
        Cancelled = "cancelled",
        /// The Job's deadline passed.
        Expired = "expired",
        /// A code that we do not know.
        Unknown = "unknown",
        /// Nobody could find out whether it was sent.
        Unclear = "unclear",
        /// A person found out that it did not arrive.
        NotReceived = "not_received",
    }
);

/// What an Attempt came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Every page arrived.
    Delivered,
    /// Not delivered, and another try would end the same way.
    Refused(Cause),
    /// Not delivered; another try may succeed.
    Retry(Cause),
    /// We do not know whether anything was sent.
    Unclear,
}

impl Outcome {
    /// The outcome that `cause` stands for.
    #[must_use]
    pub fn of(cause: Cause) -> Self {
        match cause {
            Cause::Voice
            | Cause::NotInService
            | Cause::Blocked
            | Cause::NumberRefused
            | Cause::DocumentRefused
            | Cause::Cancelled
            | Cause::Expired
            | Cause::NotReceived => Outcome::Refused(cause),
            Cause::Busy
            | Cause::NoAnswer
            | Cause::NotAFax
            | Cause::LineTrouble
            | Cause::PartlySent
            | Cause::RateLimited
            | Cause::ProviderTrouble
            | Cause::NotTaken
            | Cause::AccountTrouble
            | Cause::Unknown => Outcome::Retry(cause),
            Cause::Unclear => Outcome::Unclear,
        }
    }

    /// Its word in the store and in result files.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Delivered => "delivered",
            Outcome::Refused(_) => "refused",
            Outcome::Retry(_) => "retry",
            Outcome::Unclear => "unclear",
        }
    }

    /// The cause, where there is one.
    #[must_use]
    pub fn cause(self) -> Option<Cause> {
        match self {
            Outcome::Refused(cause) | Outcome::Retry(cause) => Some(cause),
            Outcome::Delivered | Outcome::Unclear => None,
        }
    }
}

/// An Outcome with what the provider told beside it; raw code and text are kept as they came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// What it came to.
    pub outcome: Outcome,
    /// Pages that the far end confirmed, if the provider says.
    pub pages_sent: Option<u32>,
    /// The far end's identity (CSID, T.30), if reported.
    pub remote_id: Option<String>,
    /// Length of the call in seconds, if reported.
    pub seconds: Option<u32>,
    /// The provider's code, as it came.
    pub raw_code: Option<String>,
    /// The provider's text, as it came.
    pub raw_text: Option<String>,
}

word_type!(
    /// Whether anything of the document reached the far end. After anything but `nothing`, no resend and no other provider
    /// without a person.
    Sent {
        /// Certainly nothing.
        Nothing = "nothing",
        /// Some of it, perhaps.
        Perhaps = "perhaps",
        /// At least one page, but not all.
        Some = "some",
        /// Every page.
        All = "all",
    }
);

impl Sent {
    /// What an outcome says about it, with the pages that the far end confirmed.
    #[must_use]
    pub fn of(outcome: Outcome, pages_sent: Option<u32>) -> Sent {
        let cause = match outcome {
            Outcome::Delivered => return Sent::All,
            Outcome::Unclear => return Sent::Perhaps,
            Outcome::Refused(cause) | Outcome::Retry(cause) => cause,
        };
        match (pages_sent, cause) {
            (Some(1..), _) => Sent::Some,
            (_, Cause::PartlySent | Cause::Unknown | Cause::Unclear) => Sent::Perhaps,
            // Broken off by whoever cancelled it: nobody says how far it had come.
            (None, Cause::Cancelled) => Sent::Perhaps,
            _ => Sent::Nothing,
        }
    }
}

impl Report {
    /// A report that tells no more than the outcome.
    #[must_use]
    pub fn bare(outcome: Outcome) -> Self {
        Report { outcome, pages_sent: None, remote_id: None, seconds: None, raw_code: None, raw_text: None }
    }
}

/// What follows when a provider does not know a fax whose submit had no answer, after the quiet time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Absent {
    /// It is sent again.
    Resend,
    /// It is held for a person.
    Hold,
}
