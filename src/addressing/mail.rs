//! What the header of a mail says, as far as anything here asks; read by `packet/facts.rs`.

use serde::{Deserialize, Serialize};

/// Header facts of a mail. Decoded, one line each, without control characters.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MailFacts {
    /// Subject.
    pub subject: Option<String>,
    /// Display name of the first From address.
    pub from_name: Option<String>,
    /// First From address.
    pub from_address: Option<String>,
    /// Message-ID without angle brackets.
    pub message_id: Option<String>,
    /// References, the oldest first, without angle brackets; In-Reply-To where there are none. At most the last 50.
    pub references: Vec<String>,
    /// When the mail says it was written.
    pub date: Option<jiff::Timestamp>,
    /// Why this is no mail that a person wrote by hand; `None` for mail of people.
    pub automatic: Option<Automatic>,
    /// Addresses of To and Cc with their display names, at most 500.
    #[serde(default)]
    pub addressees: Vec<Addressee>,
    /// Header fields whose names begin with `X-FAX-`, as name (lower case, without that) and value; at most 50.
    #[serde(default)]
    pub fax_fields: Vec<(String, String)>,
}

/// An address of To or Cc.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addressee {
    /// Display name.
    pub name: Option<String>,
    /// Address.
    pub address: String,
}

/// Mail that nobody wrote by hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Automatic {
    /// What says so.
    pub reason: String,
    /// It reports on another mail or answers one by itself: it is never a document for somebody, and must never be answered.
    pub notice: bool,
}
