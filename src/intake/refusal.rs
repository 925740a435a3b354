//! Why something is not taken, for two readers: the peer, who gets a sentence, and the operator, who gets the cause.

use std::fmt;

use crate::spool::SpoolError;
use crate::store::StoreError;
use crate::vault::VaultError;

/// Why something is not accepted: a sentence for the peer without internals, and the cause for the operator's log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{sentence}")]
pub struct Refusal {
    /// Whether trying again is useless.
    pub permanent: bool,
    /// Enhanced status code, RFC 3463, as `5.7.1`.
    pub code: &'static str,
    /// For the peer.
    pub sentence: String,
    /// For the operator; never shown to the peer.
    pub cause: Option<String>,
}

impl Refusal {
    /// A refusal for good.
    #[must_use]
    pub fn permanent(code: &'static str, sentence: impl Into<String>) -> Self {
        Refusal { permanent: true, code, sentence: sentence.into(), cause: None }
    }

    /// A refusal for now.
    #[must_use]
    pub fn temporary(code: &'static str, sentence: impl Into<String>, cause: impl fmt::Display) -> Self {
        Refusal { permanent: false, code, sentence: sentence.into(), cause: Some(cause.to_string()) }
    }
}

impl From<SpoolError> for Refusal {
    fn from(error: SpoolError) -> Self {
        if error.is_full() {
            return Refusal::temporary(
                "4.3.1",
                "There is no room for documents at the moment; try again later.",
                error,
            );
        }
        Refusal::temporary("4.3.0", "The document could not be stored; try again later.", error)
    }
}

impl From<VaultError> for Refusal {
    fn from(error: VaultError) -> Self {
        SpoolError::from(error).into()
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Full => Refusal::temporary(
                "4.3.1",
                "There is no room for documents at the moment; try again later.",
                error,
            ),
            _ => Refusal::temporary("4.3.0", "The document could not be recorded; try again later.", error),
        }
    }
}
