//! May this Job be sent? One verdict, with its evidence. Pure.
//!
//! It is asked when a Job is prepared, and again before each Attempt. [`Evidence`] is what was examined then and what was found; it is
//! recorded with the Job and with each Attempt, and the checklist of a receipt prints it. [`verdict`] follows from it, and from the
//! [`Moment`]. What a person lets go on in spite of what preparing found is lifted ([`Evidence::again`]); what the register says is asked
//! again every time, also in the transaction that opens an Attempt.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::config::Proof;
use crate::job::{FaxNumber, Hold, word_type};
use crate::register::{self, Entry};

/// Until a packet is read again that could not be for now.
const AGAIN: SignedDuration = SignedDuration::from_secs(60);

/// What was examined about a Job, and what was found. Persisted: fields are added, never renamed or given another meaning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// When.
    pub at: Timestamp,
    /// Whose it is; `None` where that was examined before it was recorded.
    #[serde(default)]
    pub authorization: Option<Authorization>,
    /// What the register says of its number.
    pub recipient: Recipient,
    /// Its pages; `None` where there are none.
    #[serde(default)]
    pub packet: Option<Pages>,
    /// Whether its cover was looked through; `None` where that was examined before it was recorded.
    #[serde(default)]
    pub cover: Option<CoverLook>,
    /// Everything for which a person had to look at it when it was prepared.
    #[serde(default)]
    pub found: Vec<Hold>,
    /// A person let it go on in spite of that.
    #[serde(default)]
    pub lifted: bool,
    /// What was seen when its pages were read from their seal; `None` where nobody has read them yet.
    #[serde(default)]
    pub seal: Option<Seal>,
}

/// Whose a Job is, and what proved that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authorization {
    /// The sender of the configuration.
    pub sender: String,
    /// How it came in: a [`crate::job::Source`] as text.
    pub source: String,
    /// What proved that a mail is its sender's.
    #[serde(default)]
    pub proof: Option<Proof>,
}

/// What the register says of a Job's number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipient {
    /// Whether it stands behind it.
    pub standing: Standing,
    /// Who vouched for the number, where somebody did.
    #[serde(default)]
    pub verified_by: Option<String>,
    /// The second person.
    #[serde(default)]
    pub second_by: Option<String>,
    /// When the last of them did.
    #[serde(default)]
    pub verified_at: Option<Timestamp>,
    /// Until when that holds.
    #[serde(default)]
    pub valid_until: Option<Timestamp>,
}

word_type!(
    /// Whether the register stands behind a number.
    Standing {
        /// It does.
        Verified = "verified",
        /// It has no such recipient.
        Unknown = "unknown",
        /// What was written is no number that can be dialled, or none of a country that is allowed.
        BadNumber = "bad_number",
        /// It does not have this number, or not under this name.
        NotListed = "not_listed",
        /// Nobody has verified it.
        Unverified = "unverified",
        /// One person has verified it, and the policy wants two.
        OnePerson = "one_person",
        /// The verification has ended.
        Expired = "expired",
        /// The number is suspended, under this name or another.
        Suspended = "suspended",
    }
);

/// The pages of a Job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pages {
    /// Cover included.
    pub pages: u32,
    /// Pages of cover among them.
    pub cover_pages: u32,
}

word_type!(
    /// Whether a cover was looked through for what must not be on one.
    CoverLook {
        /// It was.
        LookedThrough = "looked_through",
        /// None is sent.
        LeftOut = "left_out",
    }
);

word_type!(
    /// What was seen when sealed pages were read.
    Seal {
        /// Length and SHA-256 are those that were prepared.
        AsPrepared = "as_prepared",
        /// They cannot be read for now.
        NotNow = "not_now",
        /// They cannot be read, or are others.
        Broken = "broken",
    }
);

/// Who can send it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Carrier {
    /// Its provider.
    Here,
    /// Its provider is no longer configured; the next of its route is.
    There(String),
    /// None that is configured.
    Nowhere,
}

/// What the verdict depends on beside the evidence: what passes.
#[derive(Debug, Clone)]
pub struct Moment {
    /// The current instant.
    pub now: Timestamp,
    /// After this instant no Attempt is opened.
    pub deadline: Timestamp,
    /// A provider has told of an earlier Attempt what nobody has followed yet.
    pub told: bool,
    /// A person wants it cancelled.
    pub cancel: bool,
    /// Until when its recipient wants no calls.
    pub quiet_until: Option<Timestamp>,
    /// Who can send it.
    pub carrier: Carrier,
    /// It may have been sent before the database was copied back.
    pub forgotten: bool,
}

impl Moment {
    /// One at which nothing else stands in the way, as when a Job is prepared.
    #[must_use]
    pub fn plain(now: Timestamp, deadline: Timestamp) -> Moment {
        let carrier = Carrier::Here;
        Moment { now, deadline, told: false, cancel: false, quiet_until: None, carrier, forgotten: false }
    }
}

/// May it be sent?
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It may.
    Send,
    /// What a provider has told is followed first.
    Follow,
    /// Not any more: its time is up.
    Over,
    /// Not any more: a person wants it cancelled.
    Cancelled,
    /// A person has to decide.
    Hold(Hold),
    /// Not before this instant.
    Later(Timestamp),
    /// By this provider, if nobody else has perhaps sent it.
    Elsewhere(String),
    /// Its provider is asked first whether it has it.
    AskFirst,
}

/// May a Job be sent of which this was found?
#[must_use]
pub fn verdict(evidence: &Evidence, moment: &Moment) -> Verdict {
    if moment.told {
        return Verdict::Follow;
    }
    if moment.now >= moment.deadline {
        return Verdict::Over;
    }
    if moment.cancel {
        return Verdict::Cancelled;
    }
    if let Some(hold) = evidence.holds().first() {
        return Verdict::Hold(*hold);
    }
    if let Some(until) = moment.quiet_until {
        return Verdict::Later(until);
    }
    match &moment.carrier {
        Carrier::Here => {}
        Carrier::There(provider) => return Verdict::Elsewhere(provider.clone()),
        Carrier::Nowhere => return Verdict::Hold(Hold::Account),
    }
    if moment.forgotten {
        return Verdict::AskFirst;
    }
    match evidence.seal {
        None | Some(Seal::AsPrepared) => Verdict::Send,
        Some(Seal::NotNow) => Verdict::Later(moment.now.saturating_add(AGAIN).unwrap_or(moment.now)),
        // A person who releases it has it prepared anew.
        Some(Seal::Broken) => Verdict::Hold(Hold::Part),
    }
}

impl Evidence {
    /// Every reason why a person has to decide, in the order in which they are told.
    #[must_use]
    pub fn holds(&self) -> Vec<Hold> {
        let found = if self.lifted { &[][..] } else { &self.found };
        let mut holds = found.to_vec();
        holds.extend(self.recipient.hold().filter(|hold| !found.contains(hold)));
        if self.packet.is_none() && holds.is_empty() {
            holds.push(Hold::Part);
        }
        holds.sort_by_key(|hold| rank(*hold));
        holds
    }

    /// The same Job before an Attempt: what the register says at this moment, and what was found when it was `prepared`, where that was
    /// recorded. A queued Job for which a person had to look was released.
    #[must_use]
    pub fn again(
        prepared: Option<Evidence>,
        recipient: Recipient,
        packet: Option<Pages>,
        now: Timestamp,
    ) -> Evidence {
        let (authorization, cover, found) = prepared
            .map_or((None, None, Vec::new()), |before| (before.authorization, before.cover, before.found));
        let lifted = !found.is_empty();
        Evidence { at: now, authorization, recipient, packet, cover, found, lifted, seal: None }
    }
}

impl Recipient {
    /// What the register says of `number` under `key`, by all the `entries` with that number.
    #[must_use]
    pub fn look(
        entries: &[Entry],
        key: Option<&str>,
        number: Option<&FaxNumber>,
        two_person: bool,
        now: Timestamp,
    ) -> Recipient {
        let entry = entries.iter().find(|entry| Some(entry.key.as_str()) == key);
        let (Some(key), Some(number)) = (key, number) else {
            return Recipient::found(Some(Hold::Unverified), None, two_person);
        };
        let stands = register::stands_behind(entries, key, number, two_person, now);
        Recipient::found(stands.err(), entry, two_person)
    }

    /// What follows from the register's own answer about `entry`.
    #[must_use]
    pub fn found(hold: Option<Hold>, entry: Option<&Entry>, two_person: bool) -> Recipient {
        let standing = match (hold, entry) {
            (None, Some(_)) => Standing::Verified,
            (Some(Hold::UnknownRecipient), _) => Standing::Unknown,
            (Some(Hold::BadNumber), _) => Standing::BadNumber,
            (Some(Hold::Suspended), _) => Standing::Suspended,
            (_, None) => Standing::NotListed,
            (Some(Hold::ExpiredEntry), _) => Standing::Expired,
            (Some(_), Some(entry))
                if two_person && entry.verified_by.is_some() && entry.second_by.is_none() =>
            {
                Standing::OnePerson
            }
            (Some(_), Some(_)) => Standing::Unverified,
        };
        Recipient {
            standing,
            verified_by: entry.and_then(|entry| entry.verified_by.clone()),
            second_by: entry.and_then(|entry| entry.second_by.clone()),
            verified_at: entry.and_then(|entry| entry.verified_at),
            valid_until: entry.and_then(|entry| entry.valid_until),
        }
    }

    /// Why it must not be sent there; `None` where it may.
    #[must_use]
    pub fn hold(&self) -> Option<Hold> {
        match self.standing {
            Standing::Verified => None,
            Standing::Unknown => Some(Hold::UnknownRecipient),
            Standing::BadNumber => Some(Hold::BadNumber),
            Standing::NotListed | Standing::Unverified | Standing::OnePerson => Some(Hold::Unverified),
            Standing::Expired => Some(Hold::ExpiredEntry),
            Standing::Suspended => Some(Hold::Suspended),
        }
    }
}

/// Whether a provider with these limits takes a packet.
#[must_use]
pub fn fits(pages: u32, bytes: u64, most_pages: Option<u32>, most_bytes: Option<u64>) -> bool {
    most_pages.is_none_or(|most| pages <= most) && most_bytes.is_none_or(|most| bytes <= most)
}

/// The order in which reasons are told. What no release can lift comes first; then what only a person who looks can lift. What the
/// register says is asked again at every release.
#[must_use]
pub fn rank(hold: Hold) -> u8 {
    match hold {
        Hold::Part => 0,
        Hold::Proof => 1,
        Hold::Cover => 2,
        _ => 3,
    }
}

#[cfg(test)]
mod tests;
