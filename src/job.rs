//! The words of the field as types: Submission, Job, Attempt, Outcome, Receipt each mean one thing, everywhere.
//!
//! A **Submission** is what intake accepted. Its documents become one **Packet** per **Recipient**; that pair is a
//! **Job**, the only thing with a state machine ([`state`]). Each try of a Job with a provider is an **Attempt**, on disk
//! before the request leaves; what it came to is an **Outcome**. The **Receipt** tells the sender what became of the
//! Submission, once, when every Job of it is final.

use std::fmt;
use std::str::FromStr;

use crate::text::BASE32;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

mod actor;
mod number;
mod outcome;
pub mod retry;
mod source;
pub mod state;

pub use actor::Actor;
pub use number::{FaxNumber, NotE164, number_words};
pub use outcome::{Absent, Cause, Outcome, Report, Sent};
pub use source::{Source, SourceKind};
pub use state::{JobState, StateWord};

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
            *character = BASE32.get(digit).copied().unwrap_or(b'0');
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
            Ok(bytes) if bytes.iter().all(|byte| BASE32.contains(byte)) => Ok(Id(bytes)),
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

        impl ::std::convert::TryFrom<String> for $name {
            type Error = $crate::job::UnknownWord;

            fn try_from(word: String) -> Result<Self, $crate::job::UnknownWord> {
                word.parse()
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
