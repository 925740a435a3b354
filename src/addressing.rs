//! What the sender asked for, as facts that rules can match on: where it came from, who sent it, to which address.
//!
//! Addresses arrive from SMTP commands, so that every byte of them is hostile. An address is taken apart once, here: quotes
//! and backslashes of the local part are undone (RFC 5321, section 4.1.2), the domain is lower-cased, and whatever could be
//! read in two ways is refused. Digits are never collected from free text, and a `+` is never a tag to be cut off: in
//! `+12125550199@fax.example.com` it is the number.
//!
//! What else a mail asks for stands in its subject, at the head of its text ([`letter`]), or in another system's form ([`readers`]);
//! all of it comes out as one [`directive::Asked`].

use std::ops::Range;

use crate::job::Source;
use crate::text::is_invisible;

mod block;
pub mod directive;
mod keys;
pub mod letter;
mod mail;
pub mod message;
pub mod readers;
pub mod selection;
mod subject;
mod value;

pub use mail::{Addressee, Automatic, MailFacts};
pub use selection::Selection;
pub use subject::option_in;
pub use value::Moment;

/// What rules see of one Submission and one of its envelope recipients.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Where it came from.
    pub source: Source,
    /// The configured sender's name.
    pub sender: String,
    /// One envelope recipient, as in RCPT TO without the angle brackets.
    pub to: Option<String>,
    /// The mail's subject, decoded.
    pub subject: Option<String>,
    /// The dropped file's name, as the sender wrote it; with folders in front where it lay in some.
    pub file: Option<String>,
}

/// An address in two halves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Before the last `@`, without the quoting; capitals are kept.
    pub local: String,
    /// Behind it, in lower case, without a trailing dot.
    pub domain: String,
}

/// Why a text is not one mail address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressFault {
    /// Longer than RFC 5321 allows (64 for the local part, 255 for the domain).
    #[error("the address is longer than an address may be")]
    TooLong,
    /// No `@`, or nothing before or behind it.
    #[error("the address needs a name, an @ and a domain")]
    Incomplete,
    /// A second `@`, a source route, a blank or another character that has to be quoted.
    #[error("the address has characters that would have to stand in quotes; write it as name@domain")]
    Unquoted,
    /// A quote that does not end, or text beside it.
    #[error("the quotes in the address do not fit together")]
    Quotes,
    /// Control characters, or such that make a line read differently from what it holds.
    #[error("the address has invisible characters")]
    Invisible,
}

impl Address {
    /// Takes an envelope address apart; one pair of angle brackets around it is allowed.
    ///
    /// # Errors
    /// [`AddressFault`] for what is not exactly one address.
    pub fn parse(text: &str) -> Result<Address, AddressFault> {
        let text = text.strip_prefix('<').and_then(|inner| inner.strip_suffix('>')).unwrap_or(text);
        if text.len() > 2 * 64 + 2 + 1 + 255 {
            return Err(AddressFault::TooLong);
        }
        if text.chars().any(is_invisible) {
            return Err(AddressFault::Invisible);
        }
        let (local, domain) = match text.strip_prefix('"') {
            Some(quoted) => unquote(quoted)?,
            None => {
                let (local, domain) = text.rsplit_once('@').ok_or(AddressFault::Incomplete)?;
                if local.chars().any(|c| c.is_whitespace() || "\"(),:;<>@[\\]".contains(c)) {
                    return Err(AddressFault::Unquoted);
                }
                (local.to_owned(), domain)
            }
        };
        let domain = domain.strip_suffix('.').unwrap_or(domain);
        if local.is_empty() || domain.is_empty() {
            return Err(AddressFault::Incomplete);
        }
        if local.len() > 64 || domain.len() > 255 {
            return Err(AddressFault::TooLong);
        }
        let literal = domain.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(domain);
        if literal.chars().any(|c| c.is_whitespace() || "\"(),;<>@[\\]/".contains(c)) {
            return Err(AddressFault::Unquoted);
        }
        Ok(Address { local, domain: domain.to_lowercase() })
    }

    /// As it stands in a command, with quotes where it needs them.
    #[must_use]
    pub fn written(&self) -> String {
        if self.local.chars().any(|c| c.is_whitespace() || "\"(),:;<>@[\\]".contains(c)) {
            let quoted = self.local.replace('\\', "\\\\").replace('"', "\\\"");
            return format!("\"{quoted}\"@{}", self.domain);
        }
        format!("{}@{}", self.local, self.domain)
    }

    /// Whether mail to either arrives at the same place here: capitals make no difference.
    #[must_use]
    pub fn is_same_as(&self, other: &Address) -> bool {
        self.domain == other.domain && self.local.to_lowercase() == other.local.to_lowercase()
    }
}

/// `text` without these pieces, which rise and do not overlap; the rest stays byte for byte.
#[must_use]
pub fn without(text: &str, pieces: &[Range<usize>]) -> String {
    let mut left = String::with_capacity(text.len());
    let mut at = 0;
    for piece in pieces {
        left.push_str(text.get(at..piece.start).unwrap_or_default());
        at = piece.end.max(at);
    }
    left.push_str(text.get(at..).unwrap_or_default());
    left
}

/// Undoes a quoted local part, its opening quote already gone; also gives the domain behind it.
fn unquote(quoted: &str) -> Result<(String, &str), AddressFault> {
    let mut local = String::new();
    let mut characters = quoted.char_indices();
    while let Some((place, c)) = characters.next() {
        match c {
            '\\' => local.push(characters.next().ok_or(AddressFault::Quotes)?.1),
            '"' => {
                let domain = quoted.get(place + 1..).and_then(|rest| rest.strip_prefix('@'));
                return Ok((local, domain.ok_or(AddressFault::Quotes)?));
            }
            c => local.push(c),
        }
    }
    Err(AddressFault::Quotes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn addresses_come_apart() {
        for (text, local, domain) in [
            ("+12125550199@fax.example.com", "+12125550199", "fax.example.com"),
            ("<Mercy-Radiology@FAX.Example.COM.>", "Mercy-Radiology", "fax.example.com"),
            ("\"+1 212 555 0199\"@fax.example.com", "+1 212 555 0199", "fax.example.com"),
            (r#""a\"b\\c"@fax.example.com"#, r#"a"b\c"#, "fax.example.com"),
            ("\"a@b\"@fax.example.com", "a@b", "fax.example.com"),
            ("FAX=+12125550199/T33S=1@[192.0.2.1]", "FAX=+12125550199/T33S=1", "[192.0.2.1]"),
            ("m\u{fc}ller@fax.example.com", "m\u{fc}ller", "fax.example.com"),
        ] {
            let address = Address::parse(text).unwrap();
            assert_eq!((address.local.as_str(), address.domain.as_str()), (local, domain), "{text}");
            assert_eq!(Address::parse(&address.written()), Ok(address), "{text}");
        }
    }

    #[test]
    fn what_is_not_one_address_is_refused() {
        let long = format!("{}@fax.example.com", "a".repeat(65));
        for (text, fault) in [
            ("", AddressFault::Incomplete),
            ("postmaster", AddressFault::Incomplete),
            ("@fax.example.com", AddressFault::Incomplete),
            ("a@", AddressFault::Incomplete),
            ("a@.", AddressFault::Incomplete),
            ("John Doe@2125550199@ExtraFax", AddressFault::Unquoted),
            ("a@b@fax.example.com", AddressFault::Unquoted),
            ("@relay.example,@b.example:a@fax.example.com", AddressFault::Unquoted),
            ("a@fax.example.com,b@fax.example.com", AddressFault::Unquoted),
            ("a@fax.example.com b", AddressFault::Unquoted),
            ("\"a", AddressFault::Quotes),
            ("\"a\\", AddressFault::Quotes),
            ("\"a\"b@fax.example.com", AddressFault::Quotes),
            ("\"a\"", AddressFault::Quotes),
            ("\"\"@fax.example.com", AddressFault::Incomplete),
            ("a\r\nRCPT TO:<b@fax.example.com", AddressFault::Invisible),
            ("a\0@fax.example.com", AddressFault::Invisible),
            ("a\u{202e}@fax.example.com", AddressFault::Invisible),
            (long.as_str(), AddressFault::TooLong),
        ] {
            assert_eq!(Address::parse(text), Err(fault), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_taken_or_refused(text in "\\PC*|[\"\\\\@<>a. ]{0,20}") {
            if let Ok(address) = Address::parse(&text) {
                prop_assert!(!address.local.is_empty() && !address.domain.contains('@'));
            }
        }
    }
}
