//! Mail addresses and Message-IDs as the store keeps them: what must be read once more is sealed, what must only be known again is
//! a mark.

use super::{Purpose, Vault, VaultError};

/// A mail address under the master key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedAddress {
    /// The address, sealed.
    pub sealed: Vec<u8>,
    /// What tells that two are the same, whatever their case.
    pub mark: String,
}

const CONTEXT: &str = "mail address";
const MESSAGE_ID: &str = "message-id";

impl Vault {
    /// Seals a mail address under the master key: it may be needed when the Submission's own key is gone.
    ///
    /// # Errors
    /// Only where the operating system has no randomness to give.
    pub fn seal_address(&self, address: &str) -> Result<SealedAddress, VaultError> {
        let sealed = self.seal(CONTEXT, address.as_bytes())?;
        Ok(SealedAddress { sealed, mark: self.address_mark(address) })
    }

    /// Opens what [`Vault::seal_address`] sealed.
    ///
    /// # Errors
    /// [`VaultError::Damaged`] when it was altered.
    pub fn open_address(&self, sealed: &[u8]) -> Result<String, VaultError> {
        String::from_utf8(self.open(CONTEXT, sealed)?)
            .map_err(|_| VaultError::Damaged { what: "a mail address".into() })
    }

    /// Seals the Message-ID of a mail that may have to be found again in its mailbox.
    ///
    /// # Errors
    /// Only where the operating system has no randomness to give.
    pub fn seal_message_id(&self, message_id: &str) -> Result<Vec<u8>, VaultError> {
        self.seal(MESSAGE_ID, message_id.as_bytes())
    }

    /// Opens what [`Vault::seal_message_id`] sealed.
    ///
    /// # Errors
    /// [`VaultError::Damaged`] when it was altered.
    pub fn open_message_id(&self, sealed: &[u8]) -> Result<String, VaultError> {
        String::from_utf8(self.open(MESSAGE_ID, sealed)?)
            .map_err(|_| VaultError::Damaged { what: "a Message-ID".into() })
    }

    /// The mark of `address`.
    #[must_use]
    pub fn address_mark(&self, address: &str) -> String {
        self.marker(Purpose::Address).mark_secret(&address.to_lowercase())
    }
}
