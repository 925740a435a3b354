//! Keys, marks and sealed values: what keeps the store and the spool from saying anything to whoever only has the disk.
//!
//! A key is wiped from memory when it is dropped and never prints. Neither the master key nor a Submission's key is used
//! directly: each purpose has a key of its own, derived under a label.

use std::sync::Arc;

use thiserror::Error;

mod address;
mod keys;
mod marker;
#[cfg(test)]
mod tests;

pub use address::SealedAddress;
use keys::MasterKeys;
pub use keys::{MasterKey, SealKey, WrappedKey};
pub use marker::{Marker, Purpose};

/// Why a key or a value cannot be had. None of the sentences holds a key or a byte of a value.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum VaultError {
    /// A sealed value does not open: it is not what was written, or it was written under another key.
    #[error("{what} cannot be opened: it was altered or cut off, or it was sealed under another key")]
    Damaged {
        /// Which.
        what: String,
    },
    /// A Submission's wrapped key does not open under the master key.
    #[error("the key of a submission cannot be opened: it was wrapped under another master key, or altered")]
    WrongKey,
    /// What was given as the master key is none.
    #[error(
        "the master key {found}; it must be 32 random bytes, or those as 64 hex digits. \
         Make one with: head -c 32 /dev/urandom > FILE; chmod 600 FILE"
    )]
    NotAMasterKey {
        /// What is wrong with it, as a half sentence.
        found: String,
    },
    /// The operating system has no randomness to give.
    #[error("the operating system gives no random bytes")]
    NoRandomness,
    /// The library of cryptography refused what it never refuses.
    #[error("sealing failed inside the cryptographic library")]
    Cryptography,
}

/// What the master key does: wraps keys, seals values, marks texts. A cheap handle.
#[derive(Clone)]
pub struct Vault {
    keys: Arc<MasterKeys>,
}

impl Vault {
    /// Derives what is needed from the master key, once.
    ///
    /// # Errors
    /// Where the derivation fails, which it has no reason to.
    pub fn new(master: &MasterKey) -> Result<Self, VaultError> {
        Ok(Vault { keys: Arc::new(MasterKeys::derive(master)?) })
    }

    /// A new Submission's key, and the form in which the store keeps it.
    ///
    /// # Errors
    /// Only where the operating system has no randomness to give.
    pub fn new_key(&self) -> Result<(SealKey, WrappedKey), VaultError> {
        let key = SealKey::random()?;
        let wrapped = self.keys.wrap(&key)?;
        Ok((key, wrapped))
    }

    /// The key that [`Vault::new_key`] wrapped.
    ///
    /// # Errors
    /// [`VaultError::WrongKey`] when it was not wrapped under this master key, or was altered since.
    pub fn unwrap_key(&self, wrapped: &WrappedKey) -> Result<SealKey, VaultError> {
        self.keys.unwrap(wrapped)
    }

    /// Seals a small value under the master key. `context` says what it is; it opens under the same context only.
    ///
    /// # Errors
    /// Only where the operating system has no randomness to give.
    pub fn seal(&self, context: &str, plain: &[u8]) -> Result<Vec<u8>, VaultError> {
        self.keys.seal(context, plain)
    }

    /// Opens what [`Vault::seal`] sealed.
    ///
    /// # Errors
    /// [`VaultError::Damaged`] when it was altered, or sealed under another key or context.
    pub fn open(&self, context: &str, sealed: &[u8]) -> Result<Vec<u8>, VaultError> {
        self.keys.open(context, sealed)
    }

    /// What marks texts for `purpose` under the master key.
    #[must_use]
    pub fn marker(&self, purpose: Purpose) -> Marker {
        self.keys.marker(purpose).clone()
    }
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Vault")
    }
}
