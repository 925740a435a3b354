//! Marks: texts that must be known as ours again without being remembered.
//!
//! A name, a number or a digest can be guessed, so a plain digest of one says as much as the text itself to whoever has the
//! database; a mark says it to nobody without the master key.

use std::fmt;

use aws_lc_rs::{constant_time, digest, hkdf, hmac};

use super::{MasterKey, VaultError};
use crate::text::{BASE32, hex};

/// What texts are marked for. A mark for one purpose is none for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// URLs that providers report to.
    Webhook,
    /// URLs that providers fetch documents from.
    Media,
    /// Addresses at which receipts are answered.
    Reply,
    /// Mails and files, to know them when they come again.
    Source,
    /// Mail addresses, to know that two are the same.
    Address,
    /// Digests of documents, to tell later whether one was ours.
    Digest,
    /// What senders call their business: references, claim numbers.
    Reference,
}

impl Purpose {
    fn label(self) -> &'static [u8] {
        match self {
            Purpose::Webhook => b"faxbridge 1 mark webhook",
            Purpose::Media => b"faxbridge 1 mark media",
            Purpose::Reply => b"faxbridge 1 mark reply",
            Purpose::Source => b"faxbridge 1 mark source",
            Purpose::Address => b"faxbridge 1 mark address",
            Purpose::Digest => b"faxbridge 1 mark digest",
            Purpose::Reference => b"faxbridge 1 mark reference",
        }
    }
}

/// Marks texts as ours, so that they need not be remembered: HMAC-SHA256 under a key derived for one [`Purpose`].
#[derive(Clone)]
pub struct Marker(hmac::Key);

impl Marker {
    /// The mark of `text`: 64 hex digits that nobody without the master key can tell.
    #[must_use]
    pub fn mark(&self, text: &str) -> String {
        hex(hmac::sign(&self.0, text.as_bytes()).as_ref())
    }

    /// The mark of a text that nobody may find: of its digest, since what is signed here stays on the stack for a while.
    #[must_use]
    pub fn mark_secret(&self, text: &str) -> String {
        self.mark(&hex(digest::digest(&digest::SHA256, text.as_bytes()).as_ref()))
    }

    /// The first 100 bits of the mark of `text`, as 20 letters: for places where case is not kept and room is short.
    #[must_use]
    pub fn short_mark(&self, text: &str) -> String {
        let tag = hmac::sign(&self.0, text.as_bytes());
        let mut bits =
            tag.as_ref().iter().flat_map(|byte| (0..8).rev().map(move |place| (byte >> place) & 1));
        let mut letter = || bits.by_ref().take(5).fold(0usize, |digit, bit| (digit << 1) | usize::from(bit));
        (0..SHORT_MARK).map(|_| char::from(BASE32.get(letter()).copied().unwrap_or(b'0'))).collect()
    }

    /// Whether `mark` is the short mark of `text`; as [`Marker::is_mark`].
    #[must_use]
    pub fn is_short_mark(&self, text: &str, mark: &str) -> bool {
        constant_time::verify_slices_are_equal(self.short_mark(text).as_bytes(), mark.as_bytes()).is_ok()
    }

    /// Whether `mark` is that of `text`. How long that takes says nothing about how much of it is right.
    #[must_use]
    pub fn is_mark(&self, text: &str, mark: &str) -> bool {
        constant_time::verify_slices_are_equal(self.mark(text).as_bytes(), mark.as_bytes()).is_ok()
    }
}

impl fmt::Debug for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Marker")
    }
}

impl MasterKey {
    /// What marks texts for `purpose`: the same for the same key, in every process.
    ///
    /// # Errors
    /// Where the derivation fails, which it has no reason to.
    pub fn marker(&self, purpose: Purpose) -> Result<Marker, VaultError> {
        let extracted = hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(self.0.as_ref());
        let info = [purpose.label()];
        let output = extracted.expand(&info, hmac::HMAC_SHA256).map_err(|_| VaultError::Cryptography)?;
        Ok(Marker(hmac::Key::from(output)))
    }
}

/// Letters of a short mark, of five bits each.
const SHORT_MARK: usize = 20;
