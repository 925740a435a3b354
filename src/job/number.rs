//! Telephone numbers in the one form that is dialled.

use std::fmt;

use serde::{Deserialize, Serialize};

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

/// A number as people read it; North American ones in groups, others as they are dialled.
#[must_use]
pub fn number_words(number: &FaxNumber) -> String {
    let text = number.as_str();
    match text.strip_prefix("+1").filter(|digits| digits.len() == 10) {
        Some(digits) => {
            let part = |from: usize, to: usize| digits.get(from..to).unwrap_or("");
            format!("+1 {}-{}-{}", part(0, 3), part(3, 6), part(6, 10))
        }
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_e164_is_a_fax_number() {
        assert!(FaxNumber::from_e164("+12125550199").is_ok());
        for bad in ["", "+", "12125550199", "+1212555019x", "+123", "+1234567890123456", "+ 12125550199"] {
            assert!(FaxNumber::from_e164(bad).is_err(), "{bad}");
        }
        assert_eq!(FaxNumber::from_e164("+12125550199").unwrap().tail(), "0199");
    }
}
