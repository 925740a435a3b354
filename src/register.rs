//! To come.
pub mod number;
use crate::job::{FaxNumber, Hold, word_type};
use jiff::Timestamp;
word_type!(
    /// State.
    EntryState {
        /// a
        Unverified = "unverified",
        /// b
        Verified = "verified",
        /// c
        Expired = "expired",
        /// d
        Suspended = "suspended",
    }
);
/// Entry.
#[allow(missing_docs)]
#[derive(Debug, Clone)]
pub struct Entry {
    pub key: String,
    pub name: String,
    pub organization: Option<String>,
    pub department: Option<String>,
    pub attention: Option<String>,
    pub number: FaxNumber,
    pub typed: String,
    pub csid: Option<String>,
    pub state: EntryState,
    pub state_reason: Option<String>,
    pub verified_how: Option<String>,
    pub evidence: Option<String>,
    pub verified_by: Option<String>,
    pub second_by: Option<String>,
    pub verified_at: Option<Timestamp>,
    pub valid_until: Option<Timestamp>,
    pub notes: Option<String>,
    pub voice_count: u32,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}
impl Entry {
    /// s
    pub fn suspend(&mut self, _reason: &str, _now: Timestamp) {}
    /// c
    pub fn count_voice(&mut self, _now: Timestamp) {}
}
/// w
#[must_use]
pub fn why_not(_entry: &Entry, _number: &FaxNumber, _two_person: bool, _now: Timestamp) -> Option<Hold> {
    None
}

/// r
pub fn resolve(_ask: &crate::routing::Ask, entry: Option<&Entry>, _two: bool, _now: Timestamp) -> Result<(), (Hold, String)> {
    match entry { Some(_) => Ok(()), None => Err((Hold::Unverified, "not there".into())) }
}
