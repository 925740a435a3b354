//! New entries and their keys.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::number::{self, NumberRules, shown};
use super::{Entry, EntryState, QuietHours};
use crate::job::FaxNumber;

/// Longest key; with `@` and a domain it still makes a short address.
const LONGEST_KEY: usize = 48;

/// Longest text of any other field, in characters.
const LONGEST_FIELD: usize = 200;

/// An entry that is complete and checked, but not in the register yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEntry {
    /// See [`check_key`].
    pub key: String,
    /// Person or place.
    pub name: String,
    /// For the cover.
    pub organization: Option<String>,
    /// For the cover.
    pub department: Option<String>,
    /// For the cover.
    pub attention: Option<String>,
    /// Where a fax goes.
    pub number: FaxNumber,
    /// The number as it was typed.
    pub typed: String,
    /// For the records desk.
    pub notes: Option<String>,
    /// When it is not to be called.
    pub quiet_hours: Option<QuietHours>,
}

impl NewEntry {
    /// Checks the fields of an entry, by name: `key`, `name`, `number`, `organization`, `department`, `attention`, `notes`,
    /// `quiet_hours`. Without a key one is made from the name. Empty fields count as missing.
    ///
    /// # Errors
    /// Every fault, as sentences.
    pub fn check(fields: &BTreeMap<&str, &str>, rules: &NumberRules) -> Result<NewEntry, Vec<String>> {
        let mut faults = Vec::new();
        let field = |name: &str| fields.get(name).map(|text| text.trim()).filter(|text| !text.is_empty());
        for (name, text) in fields {
            if text.chars().count() > LONGEST_FIELD {
                faults.push(format!("The {name} is longer than {LONGEST_FIELD} characters."));
            }
            if text.trim().chars().any(char::is_control) {
                faults.push(format!("The {name} has line breaks or control characters in it."));
            }
        }
        let name = field("name").unwrap_or_default().to_owned();
        if name.is_empty() {
            faults.push("The name is missing.".to_owned());
        }
        let key = match field("key") {
            Some(key) => check_key(key).map(|()| key.to_owned()),
            None if name.is_empty() => Ok(String::new()),
            None => suggest_key(&name)
                .ok_or_else(|| format!("No key can be made from the name \"{}\"; give one.", shown(&name))),
        };
        let typed = field("number").unwrap_or_default().to_owned();
        let number = number::parse(&typed, rules).map_err(|fault| fault.sentence);
        let quiet_hours = field("quiet_hours").map(str::parse).transpose();
        let text = |name: &str| field(name).map(str::to_owned);
        match (key, number, quiet_hours) {
            (Ok(key), Ok(number), Ok(quiet_hours)) if faults.is_empty() => Ok(NewEntry {
                key,
                name,
                organization: text("organization"),
                department: text("department"),
                attention: text("attention"),
                number,
                typed,
                notes: text("notes"),
                quiet_hours,
            }),
            (key, number, quiet_hours) => {
                faults.extend(key.err());
                faults.extend(number.err());
                faults.extend(quiet_hours.err());
                Err(faults)
            }
        }
    }

    /// As a row of the register, unverified.
    #[must_use]
    pub fn into_entry(self, now: Timestamp) -> Entry {
        Entry {
            key: self.key,
            name: self.name,
            organization: self.organization,
            department: self.department,
            attention: self.attention,
            number: self.number,
            typed: self.typed,
            csid: None,
            state: EntryState::Unverified,
            state_reason: None,
            verified_how: None,
            evidence: None,
            verified_by: None,
            verified_account: None,
            second_by: None,
            second_account: None,
            verified_at: None,
            valid_until: None,
            notes: self.notes,
            quiet_hours: self.quiet_hours,
            voice_count: 0,
            created_at: now,
            updated_at: now,
        }
    }
}

/// Whether `key` can name an entry: lower-case letters, digits, dash and dot, with a letter or digit at both ends and at least one
/// letter, so that it can stand before an `@` and is never taken for a number.
///
/// # Errors
/// A sentence with what is allowed.
pub fn check_key(key: &str) -> Result<(), String> {
    let solid = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let good = (1..=LONGEST_KEY).contains(&key.len())
        && key.chars().all(|c| solid(c) || c == '-' || c == '.')
        && key.starts_with(solid)
        && key.ends_with(solid)
        && key.contains(|c: char| c.is_ascii_lowercase())
        && !key.contains("..");
    if good {
        Ok(())
    } else {
        Err(format!(
            "\"{}\" cannot be a key: those have 1 to {LONGEST_KEY} lower-case letters, digits, dashes and single dots, at least one \
             letter, and begin and end with a letter or digit.",
            shown(key)
        ))
    }
}

/// A key for something of that name, as `mercy-radiology` for "Mercy Radiology"; `None` where no letter is left.
#[must_use]
pub fn suggest_key(name: &str) -> Option<String> {
    let mut key = String::new();
    for c in name.to_lowercase().chars() {
        match folded(c) {
            "" if c.is_ascii_lowercase() || c.is_ascii_digit() => key.push(c),
            // "St. Mary's" reads better as st-marys than as st-mary-s.
            "" if c == '\'' || c == '\u{2019}' => {}
            "" if key.ends_with('-') || key.is_empty() => {}
            "" => key.push('-'),
            letters => key.push_str(letters),
        }
    }
    key.truncate(LONGEST_KEY);
    let key = key.trim_end_matches('-').to_owned();
    check_key(&key).is_ok().then_some(key)
}

/// Latin letters with marks, as people write them without.
fn folded(c: char) -> &'static str {
    match c {
        'à' | 'á' | 'â' | 'ã' | 'å' | 'ā' | 'ă' | 'ą' => "a",
        'ä' | 'æ' => "ae",
        'ç' | 'ć' | 'č' => "c",
        'ď' | 'đ' | 'ð' => "d",
        'è' | 'é' | 'ê' | 'ë' | 'ē' | 'ę' | 'ě' => "e",
        'ì' | 'í' | 'î' | 'ï' | 'ī' | 'ı' => "i",
        'ł' => "l",
        'ñ' | 'ń' | 'ň' => "n",
        'ò' | 'ó' | 'ô' | 'õ' | 'ő' | 'ø' => "o",
        'ö' | 'œ' => "oe",
        'ř' => "r",
        'ś' | 'š' | 'ş' => "s",
        'ß' => "ss",
        'ť' | 'ţ' => "t",
        'ù' | 'ú' | 'û' | 'ů' | 'ű' => "u",
        'ü' => "ue",
        'ý' | 'ÿ' => "y",
        'ź' | 'ż' | 'ž' => "z",
        _ => "",
    }
}
