//! The words of the field as types: Submission, Job, Attempt, Outcome, Receipt each mean one thing, everywhere.
//!
//! A **Submission** is what intake accepted. Its documents become one **Packet** per **Recipient**; that pair is a
//! **Job**, the only thing with a state machine ([`state`]). Each try of a Job with a provider is an **Attempt**, on disk
//! before the request leaves; what it came to is an **Outcome**. The **Receipt** tells the sender what became of the
//! Submission, once, when every Job of it is final.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub mod retry;
pub mod state;

pub use state::JobState;

/// Crockford's base 32 in lower case: no i, l, o, u, so that an identifier survives being read out on the telephone.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// An identifier of 80 bits, 44 of time in milliseconds and 36 of chance, written as 16 characters.
///
/// Short because it travels: providers cap the reference they hand back (SRFax at 20 characters), people type it, and
/// covers print it. It sorts by time, so that new rows land at the end of an index.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id([u8; 16]);

impl Id {
    /// The identifier for something made at `now`; `chance` supplies its 36 random bits.
    #[must_use]
    pub fn new(now: Timestamp, chance: u64) -> Self {
        let millis = u128::from(now.as_millisecond().unsigned_abs() & 0xfff_ffff_ffff);
        let bits = (millis << 36) | u128::from(chance & 0xf_ffff_ffff);
        let mut text = [b'0'; 16];
        for (place, character) in text.iter_mut().enumerate() {
            let shift = 75 - 5 * place;
            let digit = usize::try_from((bits >> shift) & 31).unwrap_or(0);
            *character = ALPHABET.get(digit).copied().unwrap_or(b'0');
        }
        Id(text)
    }

    /// The 16 characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("0000000000000000")
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that is no identifier.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is not an identifier: those have 16 characters of 0-9 and a-z without i, l, o, u")]
pub struct NotAnId(String);

impl FromStr for Id {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Self, NotAnId> {
        let lower = text.trim().to_ascii_lowercase();
        match <[u8; 16]>::try_from(lower.as_bytes()) {
            Ok(bytes) if bytes.iter().all(|byte| ALPHABET.contains(byte)) => Ok(Id(bytes)),
            _ => Err(NotAnId(text.chars().take(40).collect())),
        }
    }
}

macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Id);

        impl $name {
            /// The identifier for one made at `now`; `chance` supplies its random bits.
            #[must_use]
            pub fn new(now: Timestamp, chance: u64) -> Self {
                $name(Id::new(now, chance))
            }

            /// The 16 characters.
            #[must_use]
            pub fn as_str(&self) -> &str {
                self.0.as_str()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = NotAnId;

            fn from_str(text: &str) -> Result<Self, NotAnId> {
                text.parse().map($name)
            }
        }

        impl TryFrom<String> for $name {
            type Error = NotAnId;

            fn try_from(text: String) -> Result<Self, NotAnId> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.as_str().to_owned()
            }
        }
    };
}

id_type!(
    /// Names a Submission.
    SubmissionId
);
id_type!(
    /// Names a Job; printed on covers and receipts, and (with the attempt's number) our reference with providers.
    JobId
);

/// 64 random bits from the operating system's generator, for identifiers and jitter.
///
/// # Errors
/// Only where the operating system has no randomness to give.
pub fn chance() -> Result<u64, aws_lc_rs::error::Unspecified> {
    let mut bytes = [0u8; 8];
    aws_lc_rs::rand::fill(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

/// A telephone number in E.164 form, `+` and 4 to 15 digits. Only [`crate::register::number`] makes one from outside text.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FaxNumber(String);

/// A text that is not in E.164 form.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is not in E.164 form (+ and 4 to 15 digits)")]
pub struct NotE164(String);

impl FaxNumber {
    /// Takes a number that is in E.164 form already, as from the store or from the numbering-plan library.
    ///
    /// # Errors
    /// [`NotE164`] for anything else.
    pub fn from_e164(text: &str) -> Result<Self, NotE164> {
        let digits = text.strip_prefix('+').unwrap_or("");
        if (4..=15).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()) {
            Ok(FaxNumber(text.to_owned()))
        } else {
            Err(NotE164(text.chars().take(40).collect()))
        }
    }

    /// The number with its `+`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last four digits, for logs: a whole number is never logged.
    #[must_use]
    pub fn tail(&self) -> &str {
        let start = self.0.len().saturating_sub(4);
        self.0.get(start..).unwrap_or("")
    }
}

impl fmt::Display for FaxNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for FaxNumber {
    type Error = NotE164;

    fn try_from(text: String) -> Result<Self, NotE164> {
        FaxNumber::from_e164(&text)
    }
}

impl From<FaxNumber> for String {
    fn from(number: FaxNumber) -> String {
        number.0
    }
}

macro_rules! word_type {
    ($(#[$doc:meta])* $name:ident { $($(#[$word_doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name {
            $($(#[$word_doc])* $variant,)+
        }

        impl $name {
            /// Every value, in the order of declaration.
            pub const ALL: &'static [$name] = &[$($name::$variant,)+];

            /// The word that stands for it in the store, in result files and in listings.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => $word,)+ }
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl ::std::str::FromStr for $name {
            type Err = $crate::job::UnknownWord;

            fn from_str(word: &str) -> Result<Self, $crate::job::UnknownWord> {
                match word {
                    $($word => Ok($name::$variant),)+
                    _ => Err($crate::job::UnknownWord { kind: stringify!($name), word: word.chars().take(60).collect() }),
                }
            }
        }

        impl ::serde::Serialize for $name {
            fn serialize<S: ::serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> ::serde::Deserialize<'de> for $name {
            fn deserialize<D: ::serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let word = <String as ::serde::Deserialize>::deserialize(deserializer)?;
                word.parse().map_err(::serde::de::Error::custom)
            }
        }
    };
}

pub(crate) use word_type;

/// A word that is none of its kind, as from a store written by a newer version.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("{word:?} is not a known {kind}")]
pub struct UnknownWord {
    /// The type that was asked for.
    pub kind: &'static str,
    /// What was found.
    pub word: String,
}

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

word_type!(
    /// Why a Job is held for a person.
    Hold {
        /// The number is not in the register, or its entry is not verified.
        Unverified = "unverified",
        /// The register's entry has expired.
        ExpiredEntry = "expired_entry",
        /// The register's entry is suspended.
        Suspended = "suspended",
        /// No entry of the register has this key.
        UnknownRecipient = "unknown_recipient",
        /// What was written is no number that can be dialled, or could be several.
        BadNumber = "bad_number",
        /// A part of the mail or drop cannot be made into pages.
        Part = "part",
        /// The cover would show what must not be on a cover, or cannot be printed.
        Cover = "cover",
        /// Pages may have been printed at the far end; sending again needs a person's word.
        PartlySent = "partly_sent",
        /// We could not find out whether the fax was sent.
        Unclear = "unclear",
        /// The provider reports a code that we do not know.
        UnknownCause = "unknown_cause",
        /// No configured provider can send it.
        Account = "account",
        /// What proves its sender leaves out what says how the mail is to be read.
        Proof = "proof",
        /// A person held it.
        Person = "person",
    }
);

word_type!(
    /// How urgent a Job is: whatever waits for a provider, the more urgent goes first.
    #[derive(Default)]
    Priority {
        /// Before all others.
        High = "high",
        /// As most.
        #[default]
        Normal = "normal",
        /// When no other waits.
        Low = "low",
    }
);

/// The reference by which a provider and we name an Attempt: the Job's identifier and the attempt's number.
#[must_use]
pub fn reference(job: JobId, attempt: u32) -> String {
    format!("{job}-{attempt}")
}

/// Takes a [`reference()`] apart.
#[must_use]
pub fn from_reference(reference: &str) -> Option<(JobId, u32)> {
    let (job, attempt) = reference.split_once('-')?;
    Some((job.parse().ok()?, attempt.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_sort_by_time_and_read_back() {
        let early = JobId::new(Timestamp::from_millisecond(1_700_000_000_000).unwrap(), u64::MAX);
        let late = JobId::new(Timestamp::from_millisecond(1_700_000_000_001).unwrap(), 0);
        assert!(early < late);
        assert_eq!(early.as_str().len(), 16);
        assert_eq!(early.to_string().to_uppercase().parse::<JobId>(), Ok(early));
        assert!("not an id".parse::<JobId>().is_err());
        assert!("iiiiiiiiiiiiiiii".parse::<JobId>().is_err());
    }

    #[test]
    fn references_fit_the_tightest_provider_and_read_back() {
        let job = JobId::new(Timestamp::from_millisecond(1_795_000_000_000).unwrap(), 12345);
        let text = reference(job, 999);
        assert!(text.len() <= 20, "{text}");
        assert_eq!(from_reference(&text), Some((job, 999)));
        assert_eq!(from_reference("x-1"), None);
        assert_eq!(from_reference(job.as_str()), None);
    }

    #[test]
    fn only_e164_is_a_fax_number() {
        assert!(FaxNumber::from_e164("+12125550199").is_ok());
        for bad in ["", "+", "12125550199", "+1212555019x", "+123", "+1234567890123456", "+ 12125550199"] {
            assert!(FaxNumber::from_e164(bad).is_err(), "{bad}");
        }
        assert_eq!(FaxNumber::from_e164("+12125550199").unwrap().tail(), "0199");
    }

    #[test]
    fn words_read_back() {
        for cause in Cause::ALL {
            assert_eq!(cause.as_str().parse(), Ok(*cause));
        }
        for hold in Hold::ALL {
            assert_eq!(hold.as_str().parse(), Ok(*hold));
        }
        assert!("gone".parse::<Cause>().is_err());
    }
}
