//! What can go wrong in the spool, in sentences for the operator. None of them holds a key or a byte of a document.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::vault::VaultError;

/// Why the spool could not do it.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SpoolError {
    /// The disk or the quota is used up.
    #[error("the disk of the spool is full: {0}")]
    Full(#[source] io::Error),
    /// The disk is not full, but has no room for this above what is to be left free.
    #[error("{wanted} bytes are needed, and {room} may be used (limits.disk_reserve stays free)")]
    NoRoom {
        /// Bytes.
        wanted: u64,
        /// Bytes above the reserve that nobody else was promised.
        room: u64,
    },
    /// The disk refused something else.
    #[error("could not {doing} at {}: {source}", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// Where.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A sealed document does not open: it is not what was written, or it was written under another key.
    #[error("{what} cannot be opened: it was altered or cut off, or it was sealed under another key")]
    Damaged {
        /// Which.
        what: String,
    },
    /// The master key is not the one the spool was begun with.
    #[error(
        "the master key is not the one that the spool in {} was made with; \
         put the former key back, or choose another data_dir to begin anew (documents in the old one stay unreadable)",
        dir.display()
    )]
    WrongMasterKey {
        /// The spool's folder.
        dir: PathBuf,
    },
    /// There is no such document.
    #[error("document {name} is not in the spool")]
    Missing {
        /// The document's name.
        name: String,
    },
    /// Not the name of a document.
    #[error("that is not the name of a document in the spool (26 letters and digits)")]
    BadName,
    /// The document is longer than the caller takes.
    #[error("document {name} is longer than the {at_most} bytes allowed here")]
    TooLarge {
        /// The document's name.
        name: String,
        /// The bound, in bytes.
        at_most: u64,
    },
    /// The document is longer than the format can hold (256 TiB).
    #[error("the document is longer than the spool's format can hold")]
    TooLong,
    /// An earlier write or read of the same document failed or was broken off, so that its bytes cannot be trusted.
    #[error("an earlier write or read of this document failed or was broken off")]
    BrokenOff,
    /// A key or a value.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The process is about to end.
    #[error("the process is shutting down")]
    Stopped,
}

impl SpoolError {
    /// Sorts an error of the operating system: a full disk is a case of its own, because the peer is to come again later.
    pub(super) fn io(doing: &'static str, path: &Path, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => SpoolError::Full(source),
            _ => SpoolError::Io { doing, path: path.to_owned(), source },
        }
    }

    /// Whether it may be better later, as with a full disk or without descriptors; what is damaged stays so.
    #[must_use]
    pub fn is_for_now(&self) -> bool {
        matches!(
            self,
            SpoolError::Full(_)
                | SpoolError::NoRoom { .. }
                | SpoolError::Io { .. }
                | SpoolError::Vault(VaultError::NoRandomness)
                | SpoolError::Stopped
        )
    }

    /// Whether the disk or the quota is used up, as far as it may be used.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self, SpoolError::Full(_) | SpoolError::NoRoom { .. })
    }
}
