//! The words that travel between adapter and simulator, as JSON.

use serde::{Deserialize, Serialize};

/// Largest document the simulator takes.
pub const DOCUMENT_AT_MOST: u64 = 100 << 20;

/// How a fax stands, in the simulator's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// Taken, not dialled yet.
    Queued,
    /// The call is under way.
    Sending,
    /// Every page arrived.
    Delivered,
    /// It ended otherwise.
    Failed,
    /// Cancelled before it was dialled.
    Cancelled,
}

impl Standing {
    /// Whether nothing follows.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Standing::Delivered | Standing::Failed | Standing::Cancelled)
    }
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallResult {
    /// As `line.busy`; `ok` when delivered.
    pub code: String,
    /// The same in words.
    pub text: String,
    /// Pages that the far end confirmed.
    pub pages_sent: u32,
    /// Length of the call.
    pub seconds: u32,
    /// The far end's identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote_id: Option<String>,
}

/// One fax.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaxView {
    /// The simulator's name for it.
    pub id: String,
    /// The client's name for it.
    pub reference: String,
    /// How it stands.
    pub status: Standing,
    /// How it ended, once it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<CallResult>,
}

/// Answer to the question by reference, oldest first.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FaxList {
    /// Every fax with that reference; the same reference sent twice is two faxes.
    pub faxes: Vec<FaxView>,
}

/// Body of a webhook.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// `fax.ended`.
    pub event: String,
    /// The fax as it stands.
    pub fax: FaxView,
}

/// Body of every answer that is not 2xx.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ErrorBody {
    /// What is wrong.
    pub error: ErrorView,
}

/// What is wrong.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ErrorView {
    /// For programs, as `document.refused`.
    pub code: String,
    /// For people.
    pub message: String,
}
