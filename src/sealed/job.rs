//! What is known about a Job that only its Submission's key can read.

use serde::{Deserialize, Serialize};

use crate::routing::Trace;
use crate::vault::{SealKey, VaultError};

/// What is known about a Job that only its Submission's key can read.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct JobFacts {
    /// The envelope recipients that it stands for.
    #[serde(default)]
    pub to: Vec<String>,
    /// The sender's reference.
    pub reference: Option<String>,
    /// Name of the recipient as on the cover.
    pub recipient_name: String,
    /// Why it was held when it was made, for the sender: every reason. See [`JobFacts::hold_sentence`].
    pub hold: Option<String>,
    /// What each rule said.
    #[serde(default)]
    pub trace: Vec<Trace>,
    /// What a careful sender would like to know about the packet.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// First and last page of each part of the mail in the packet; none where no page of it is there.
    #[serde(default)]
    pub part_pages: Vec<Option<(u32, u32)>>,
    /// Pages of the mail's text, where it is faxed as pages.
    #[serde(default)]
    pub body_pages: Option<(u32, u32)>,
}

impl JobFacts {
    /// Why the Job is held, or was held when it expired, where it is so `as_made`. One that was released since, and is held or has
    /// ended for another reason, must not be told with the old sentence.
    #[must_use]
    pub fn hold_sentence(&self, as_made: bool) -> Option<&str> {
        self.hold.as_deref().filter(|_| as_made)
    }

    const CONTEXT: &'static str = "job facts";

    /// Seals them under the Submission's key.
    ///
    /// # Errors
    /// Where sealing fails.
    pub fn seal(&self, key: &SealKey) -> Result<Vec<u8>, VaultError> {
        key.seal(Self::CONTEXT, &serde_json::to_vec(self).unwrap_or_default())
    }

    /// Opens sealed facts.
    ///
    /// # Errors
    /// Where they are damaged or the key is another's.
    pub fn open(key: &SealKey, sealed: &[u8]) -> Result<Self, VaultError> {
        let plain = key.open(Self::CONTEXT, sealed)?;
        serde_json::from_slice(&plain).map_err(|_| VaultError::Damaged { what: "the facts of a job".into() })
    }
}
