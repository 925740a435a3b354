//! The format of a sealed document.
//!
//! ```text
//! header   "fxb1", then 32 random bytes of salt
//! chunk    up to 64 KiB of the document under AES-256-GCM, then its tag of 16 bytes
//! chunk    ...
//! ```
//!
//! The key is HKDF-SHA256 of the Submission's key with the salt, so no two documents share one and the nonce can count:
//! 7 zero bytes, the chunk's number as 32 bits, and one byte that is 1 for the last chunk only (the STREAM construction
//! of Hoang, Reyhanitabar, Rogaway and Vizár, 2015). The number refuses chunks that were moved, repeated or dropped; the
//! last byte refuses a document that was cut off between two chunks, and one that goes on after its end. Every chunk but
//! the last is full; a document without a byte is one empty chunk.

use aws_lc_rs::aead::{Aad, LessSafeKey, NONCE_LEN, Nonce};
use aws_lc_rs::{digest, rand};

use super::SpoolError;
use crate::vault::{SealKey, VaultError};

/// Bytes of the document in a chunk.
pub(super) const CHUNK: usize = 64 * 1024;
/// Bytes of a tag.
pub(super) const TAG: usize = 16;
/// Bytes of a full chunk in the file.
pub(super) const SLOT: usize = CHUNK + TAG;
/// Bytes of the header.
pub(super) const HEADER: usize = MAGIC.len() + SALT;

const MAGIC: &[u8; 4] = b"fxb1";
const SALT: usize = 32;

/// Seals the chunks of one document, in order.
pub(super) struct Sealer {
    key: LessSafeKey,
    next: u32,
    digest: digest::Context,
}

impl Sealer {
    /// For a new document under `key`, with the header that comes before its chunks.
    pub(super) fn new(key: &SealKey) -> Result<(Self, [u8; HEADER]), SpoolError> {
        let mut header = [0u8; HEADER];
        let (magic, salt) = header.split_at_mut(MAGIC.len());
        magic.copy_from_slice(MAGIC);
        rand::fill(salt).map_err(|_| VaultError::NoRandomness)?;
        let key = key.document_key(salt)?;
        Ok((Sealer { key, next: 0, digest: digest::Context::new(&digest::SHA256) }, header))
    }

    /// Seals where they lie the chunks in `slots`, each with [`TAG`] bytes of room behind it; all full, the last one may be
    /// shorter. `end` says that this last one is the document's last.
    pub(super) fn seal(&mut self, slots: &mut [u8], end: bool) -> Result<(), SpoolError> {
        let mut slots = slots.chunks_mut(SLOT).peekable();
        while let Some(slot) = slots.next() {
            let last = end && slots.peek().is_none();
            let room = slot.len().checked_sub(TAG).ok_or(VaultError::Cryptography)?;
            let (plain, tag) = slot.split_at_mut(room);
            self.digest.update(plain);
            let sealed = self
                .key
                .seal_in_place_separate_tag(nonce(self.next, last), Aad::empty(), plain)
                .map_err(|_| VaultError::Cryptography)?;
            tag.copy_from_slice(sealed.as_ref());
            self.next = self.next.checked_add(1).ok_or(SpoolError::TooLong)?;
        }
        Ok(())
    }

    /// SHA-256 of the document so far.
    pub(super) fn digest(&self) -> [u8; 32] {
        let mut sum = [0u8; 32];
        sum.copy_from_slice(self.digest.clone().finish().as_ref());
        sum
    }
}

/// Opens the chunks of one document, in order.
pub(super) struct Opener {
    key: LessSafeKey,
    next: u32,
}

impl Opener {
    /// For the document with this header; `None` when it is no header.
    pub(super) fn new(key: &SealKey, header: &[u8; HEADER]) -> Result<Option<Self>, SpoolError> {
        match header.strip_prefix(MAGIC) {
            Some(salt) => Ok(Some(Opener { key: key.document_key(salt)?, next: 0 })),
            None => Ok(None),
        }
    }

    /// Opens the next chunk where it lies and tells how many bytes of it are document; `None` when it is not what was
    /// sealed as this chunk. `last` says that the file ends behind it.
    pub(super) fn open(&mut self, slot: &mut [u8], last: bool) -> Option<usize> {
        let plain = self.key.open_in_place(nonce(self.next, last), Aad::empty(), slot).ok()?.len();
        // A document of 2^32 chunks cannot have been written.
        self.next = self.next.checked_add(1)?;
        Some(plain)
    }
}

fn nonce(number: u32, last: bool) -> Nonce {
    let [a, b, c, d] = number.to_be_bytes();
    let bytes: [u8; NONCE_LEN] = [0, 0, 0, 0, 0, 0, 0, a, b, c, d, u8::from(last)];
    Nonce::assume_unique_for_key(bytes)
}
