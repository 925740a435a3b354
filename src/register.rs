//! The register of verified recipients: a fax goes only to a number that somebody has checked, and that is written here.
//!
//! All decisions are here and pure; [`crate::store`] keeps the rows. [`lookup`] turns what a rule asks for into what to fetch,
//! [`resolve`] turns what was fetched into the entry to send to, or into why the job is held and what its sender can do.
//! Between that and the attempt days may pass, so the worker asks [`why_not`] once more before every call.
//!
//! A number counts as verified while its entry's state is `verified`, its time has not run out, a second person has vouched for
//! it where the policy wants that, and no entry with the same number is suspended: a dead number is dead under every name.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::job::{FaxNumber, Hold, word_type};
use crate::routing::Ask;
use number::{NumberRules, shown};

pub mod entry;
pub mod import;
pub mod number;
pub mod quiet;

pub use entry::{NewEntry, check_key, suggest_key};
pub use quiet::QuietHours;

/// A person answers this many times before the number is suspended for everyone.
const VOICES: u32 = 2;

word_type!(
    /// Whether an entry may be sent to.
    EntryState {
        /// Nobody has vouched for the number yet, or not everybody who must.
        Unverified = "unverified",
        /// It may be sent to, until its time runs out.
        Verified = "verified",
        /// Its time ran out.
        Expired = "expired",
        /// A person or a dead line stopped it.
        Suspended = "suspended",
    }
);

word_type!(
    /// How a number was checked.
    VerifiedHow {
        /// On the recipient's official website.
        Website = "website",
        /// In an official portal or directory.
        Portal = "portal",
        /// On a letter of the recipient.
        Letter = "letter",
        /// On a form that the recipient signed.
        Form = "form",
        /// By a call back to a published telephone number.
        Callback = "callback",
        /// By a code that was faxed there and read back.
        ConfirmationFax = "confirmation_fax",
    }
);

/// One recipient.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its name in addresses and rules.
    pub key: String,
    /// Person or place, for the cover.
    pub name: String,
    /// For the cover.
    pub organization: Option<String>,
    /// For the cover.
    pub department: Option<String>,
    /// For whose attention, for the cover.
    pub attention: Option<String>,
    /// Where a fax goes.
    pub number: FaxNumber,
    /// The number as it was typed.
    pub typed: String,
    /// The far end's identity, once a fax has been answered with one.
    pub csid: Option<String>,
    /// See [`EntryState`]; [`Entry::state_at`] also knows the time.
    pub state: EntryState,
    /// Why it is suspended.
    pub state_reason: Option<String>,
    /// A word of [`VerifiedHow`].
    pub verified_how: Option<String>,
    /// URL, date of a document, who was spoken to.
    pub evidence: Option<String>,
    /// Who vouches for the number.
    pub verified_by: Option<String>,
    /// The account of the system under which that was said; unknown of what earlier versions recorded.
    #[serde(default)]
    pub verified_account: Option<String>,
    /// The second person.
    pub second_by: Option<String>,
    /// Their account.
    #[serde(default)]
    pub second_account: Option<String>,
    /// When the last of them did.
    pub verified_at: Option<Timestamp>,
    /// Until when that holds.
    pub valid_until: Option<Timestamp>,
    /// For the records desk; never on a cover.
    pub notes: Option<String>,
    /// When it is not to be called.
    pub quiet_hours: Option<QuietHours>,
    /// How often a person has answered since it was verified.
    pub voice_count: u32,
    /// When it was added.
    pub created_at: Timestamp,
    /// When it was changed.
    pub updated_at: Timestamp,
}

/// What a rule asks for, as it can be fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// The entry with this key.
    Key(String),
    /// Every entry with this number.
    Number(FaxNumber),
}

/// Why a Job is held, and the sentence that tells its sender what is wrong and what to do. It may repeat a number: not for the log.
pub type Held = (Hold, String);

/// Why an entry could not be changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegisterFault {
    /// Verification without a name.
    #[error("say who verifies the number: --by NAME")]
    Nobody,
    /// Verification without evidence.
    #[error(
        "say what shows that the number is right (URL, date of the document, who was spoken to): --evidence TEXT"
    )]
    NoEvidence,
    /// The end lies in the past.
    #[error("the verification would have ended already; give a day in the future: --until DATE")]
    Over,
    /// The same person twice: the same name, or the same account of the system.
    #[error(
        "{0} has verified this number already; the policy wants a second person's word, under an account of their own"
    )]
    SamePerson(String),
}

/// Reads what a rule asks for.
///
/// # Errors
/// [`Held`] for a number that cannot be dialled and for what can be no key.
pub fn lookup(ask: &Ask, rules: &NumberRules) -> Result<Wanted, Held> {
    match ask {
        Ask::Key(key) => match check_key(key) {
            Ok(()) => Ok(Wanted::Key(key.clone())),
            Err(_) => Err(unknown_key(key)),
        },
        Ask::Number(text) => match number::parse(text, rules) {
            Ok(number) => Ok(Wanted::Number(number)),
            Err(fault) => Err((Hold::BadNumber, fault.sentence)),
        },
    }
}

/// The entry to send to, out of those that were `found`: what [`lookup`] said to fetch. Entries of other names that have the same
/// number may be among them, and should be, since a suspension counts for the number.
///
/// # Errors
/// [`Held`] when there is none, or none that may be sent to now.
pub fn resolve<'a>(
    ask: &Ask,
    found: impl IntoIterator<Item = &'a Entry>,
    rules: &NumberRules,
    two_person: bool,
    now: Timestamp,
) -> Result<&'a Entry, Held> {
    let wanted = lookup(ask, rules)?;
    let found: Vec<&Entry> = found.into_iter().collect();
    let candidates: Vec<&Entry> = found
        .iter()
        .copied()
        .filter(|entry| match &wanted {
            Wanted::Key(key) => entry.key == *key,
            Wanted::Number(number) => entry.number == *number,
        })
        .collect();
    let Some(first) = candidates.first() else {
        return Err(match &wanted {
            Wanted::Key(key) => unknown_key(key),
            Wanted::Number(number) => unknown_number(number),
        });
    };
    // The list of countries may have become shorter since the entry was added.
    if let Err(fault) = number::parse(first.number.as_str(), rules) {
        return Err((Hold::BadNumber, fault.sentence));
    }
    if let Some(stopped) = found.iter().find(|e| e.number == first.number && e.state == EntryState::Suspended)
    {
        return Err(stopped.held(Hold::Suspended, two_person));
    }
    let reasons: Vec<Option<Hold>> =
        candidates.iter().map(|entry| why_not(entry, &entry.number, two_person, now)).collect();
    match candidates.iter().zip(&reasons).find(|(_, reason)| reason.is_none()) {
        Some((entry, _)) => Ok(entry),
        None => {
            // Of several, the one that was verified once tells the sender more than one that never was.
            let nearest = candidates
                .iter()
                .zip(&reasons)
                .max_by_key(|(_, reason)| **reason == Some(Hold::ExpiredEntry));
            let (entry, reason) = nearest.unwrap_or((first, &None));
            Err(entry.held(reason.unwrap_or(Hold::Unverified), two_person))
        }
    }
}

/// Why a Job that was made for `entry` and `number` must not be sent at this moment; `None` when it may.
#[must_use]
pub fn why_not(entry: &Entry, number: &FaxNumber, two_person: bool, now: Timestamp) -> Option<Hold> {
    match entry.state_at(now) {
        EntryState::Suspended => Some(Hold::Suspended),
        // The entry's number was changed after the Job was made: nobody has vouched for this pair.
        _ if entry.number != *number => Some(Hold::Unverified),
        EntryState::Expired => Some(Hold::ExpiredEntry),
        EntryState::Unverified => Some(Hold::Unverified),
        EntryState::Verified if two_person && entry.second_by.is_none() => Some(Hold::Unverified),
        EntryState::Verified => None,
    }
}

/// The entry under `key` out of all with `number`, where it may be sent to at this moment.
///
/// # Errors
/// Why not.
pub fn stands_behind<'a>(
    entries: &'a [Entry],
    key: &str,
    number: &FaxNumber,
    two_person: bool,
    now: Timestamp,
) -> Result<&'a Entry, Hold> {
    if entries.iter().any(|entry| entry.state == EntryState::Suspended) {
        return Err(Hold::Suspended);
    }
    let entry = entries.iter().find(|entry| entry.key == key).ok_or(Hold::Unverified)?;
    why_not(entry, number, two_person, now).map_or(Ok(entry), Err)
}

/// Verified entries whose number is a slip of the finger away from `number`.
pub fn slips<'a>(number: &FaxNumber, entries: impl IntoIterator<Item = &'a Entry>) -> Vec<&'a Entry> {
    entries
        .into_iter()
        .filter(|entry| entry.state == EntryState::Verified && number::near(number, &entry.number))
        .collect()
}

/// What to add to the answer about an unknown number that is nearly a known one; `None` without `slips`.
#[must_use]
pub fn slip_sentence(slips: &[&Entry]) -> Option<String> {
    let first = slips.first()?;
    Some(format!(
        "It differs by one slip of the finger from the verified number {} of {} ({}); check which one is meant.",
        first.number,
        shown(&first.name),
        first.key
    ))
}

impl Entry {
    /// Its state at `now`: a verified entry whose time ran out has expired, whether or not anybody has written that down.
    #[must_use]
    pub fn state_at(&self, now: Timestamp) -> EntryState {
        match self.state {
            EntryState::Verified if self.valid_until.is_some_and(|until| until <= now) => EntryState::Expired,
            state => state,
        }
    }

    /// Records that `by` vouches for the number until `until`. With `two_person` the entry becomes verified with the second
    /// word, and holds until the earlier of the two ends. Verifying a suspended, an expired or a fully verified entry begins anew, and
    /// so does a second word where it is not known under which account the first was given: anybody can type two names.
    ///
    /// # Errors
    /// [`RegisterFault`]; then nothing is changed.
    pub fn verify(
        &mut self,
        word: &Word<'_>,
        two_person: bool,
        now: Timestamp,
    ) -> Result<EntryState, RegisterFault> {
        let (by, evidence) = (word.by.trim(), word.evidence.trim());
        if by.is_empty() {
            return Err(RegisterFault::Nobody);
        }
        if evidence.is_empty() {
            return Err(RegisterFault::NoEvidence);
        }
        if word.until.is_some_and(|until| until <= now) {
            return Err(RegisterFault::Over);
        }
        let half_done = two_person && self.second_by.is_none() && !self.is_over(now);
        let account = word.account.to_owned();
        match self.verified_by.clone().zip(self.verified_account.clone()).filter(|_| half_done) {
            Some((first, under)) if under == account || first.to_lowercase() == by.to_lowercase() => {
                return Err(RegisterFault::SamePerson(first));
            }
            Some(_) => {
                self.second_by = Some(by.to_owned());
                self.second_account = Some(account);
                self.evidence = Some(match self.evidence.take() {
                    Some(earlier) => format!("{earlier}; {} ({}): {evidence}", by, word.how),
                    None => evidence.to_owned(),
                });
                self.valid_until = match (self.valid_until, word.until) {
                    (Some(first), Some(second)) => Some(first.min(second)),
                    (first, second) => first.or(second),
                };
                self.state = EntryState::Verified;
            }
            None => {
                self.verified_how = Some(word.how.as_str().to_owned());
                self.evidence = Some(evidence.to_owned());
                self.verified_by = Some(by.to_owned());
                self.verified_account = Some(account);
                (self.second_by, self.second_account) = (None, None);
                self.valid_until = word.until;
                self.state = if two_person { EntryState::Unverified } else { EntryState::Verified };
            }
        }
        self.state_reason = None;
        self.voice_count = 0;
        self.verified_at = Some(now);
        self.updated_at = now;
        Ok(self.state)
    }

    /// Whether what was verified before counts no more.
    fn is_over(&self, now: Timestamp) -> bool {
        matches!(self.state, EntryState::Suspended | EntryState::Expired)
            || self.valid_until.is_some_and(|until| until <= now)
    }

    /// Stops every fax to it until it is verified anew.
    pub fn suspend(&mut self, reason: &str, now: Timestamp) {
        self.state = EntryState::Suspended;
        self.state_reason = Some(reason.trim().to_owned()).filter(|reason| !reason.is_empty());
        self.updated_at = now;
    }

    /// A person answered; the second time suspends the entry, so that nobody is rung up by a machine for ever.
    pub fn count_voice(&mut self, now: Timestamp) {
        self.voice_count = self.voice_count.saturating_add(1);
        self.updated_at = now;
        if self.voice_count >= VOICES && self.state != EntryState::Suspended {
            self.suspend("a person answered twice instead of a fax machine", now);
        }
    }

    /// Says when it is not to be called; `None`: it may be at any time.
    pub fn set_quiet_hours(&mut self, hours: Option<QuietHours>, now: Timestamp) {
        self.quiet_hours = hours;
        self.updated_at = now;
    }

    /// Gives it another number, which nobody has vouched for yet.
    pub fn renumber(&mut self, number: FaxNumber, typed: &str, now: Timestamp) {
        typed.clone_into(&mut self.typed);
        self.number = number;
        self.state = EntryState::Unverified;
        self.updated_at = now;
        self.voice_count = 0;
        (self.csid, self.state_reason, self.verified_how, self.evidence) = (None, None, None, None);
        (self.verified_by, self.second_by, self.verified_at, self.valid_until) = (None, None, None, None);
        (self.verified_account, self.second_account) = (None, None);
    }

    fn held(&self, hold: Hold, two_person: bool) -> Held {
        let (name, key, number) = (shown(&self.name), &self.key, &self.number);
        let again = format!("ask the records desk to verify it: faxbridge recipient verify {key}");
        let sentence = match hold {
            Hold::Suspended => match &self.state_reason {
                Some(reason) => format!(
                    "The number {number} of {name} ({key}) is suspended: {}. Find out the right number, then {again}.",
                    crate::text::quotable(reason.trim_end_matches('.'), 200)
                ),
                None => format!(
                    "The number {number} of {name} ({key}) is suspended. Find out the right number, then {again}."
                ),
            },
            Hold::ExpiredEntry => match self.valid_until {
                Some(until) => format!(
                    "The verification of {number} for {name} ({key}) ended on {}; {again}.",
                    until.strftime("%-d %B %Y (UTC)")
                ),
                None => format!("The verification of {number} for {name} ({key}) has ended; {again}."),
            },
            _ if two_person && self.verified_by.is_some() => format!(
                "The number {number} of {name} ({key}) has been verified by one person, and this office wants two; {again}."
            ),
            _ => format!("The number {number} of {name} ({key}) has not been verified yet; {again}."),
        };
        (hold, sentence)
    }
}

/// One person's word for a number.
#[derive(Debug, Clone, Copy)]
pub struct Word<'a> {
    /// Who, as receipts call them.
    pub by: &'a str,
    /// Under which account: what tells one person from another.
    pub account: &'a str,
    /// How it was checked.
    pub how: VerifiedHow,
    /// What shows it.
    pub evidence: &'a str,
    /// Until when it holds; without end where it is missing.
    pub until: Option<Timestamp>,
}

fn unknown_key(key: &str) -> Held {
    let sentence = format!(
        "There is no recipient called \"{}\". Check the spelling, or ask the records desk to add and verify it: faxbridge \
         recipient add, faxbridge recipient verify.",
        shown(key)
    );
    (Hold::UnknownRecipient, sentence)
}

fn unknown_number(number: &FaxNumber) -> Held {
    let sentence = format!(
        "Nobody has verified the number {number}. Check it digit by digit, then ask the records desk to add and verify it: \
         faxbridge recipient add, faxbridge recipient verify."
    );
    (Hold::Unverified, sentence)
}

#[cfg(test)]
mod tests;
