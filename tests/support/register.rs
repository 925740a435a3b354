//! Entries of the register.

use faxbridge::job::FaxNumber;
use faxbridge::register::{Entry, EntryState};
use jiff::Timestamp;

/// One that the tests verified at `now`.
pub(crate) fn verified(key: &str, number: &FaxNumber, now: Timestamp) -> Entry {
    Entry {
        key: key.to_owned(),
        name: format!("Office of {key}"),
        organization: None,
        department: None,
        attention: None,
        number: number.clone(),
        typed: number.as_str().to_owned(),
        csid: None,
        state: EntryState::Verified,
        state_reason: None,
        verified_how: Some("website".into()),
        evidence: None,
        verified_by: Some("the tests".into()),
        verified_account: None,
        second_by: None,
        second_account: None,
        verified_at: Some(now),
        valid_until: None,
        notes: None,
        quiet_hours: None,
        voice_count: 0,
        created_at: now,
        updated_at: now,
    }
}
