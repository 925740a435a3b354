//! Keys, and small values sealed under them. A key is wiped from memory when it is dropped and never prints.
//!
//! Neither the master key nor a Submission's key is used directly: each purpose has a key of its own, derived with
//! HKDF-SHA256 under a label, so that a value can never be taken for a wrapped key or a chunk of a document.
//!
//! Texts that must be known as ours again without being remembered are marked ([`Marker`]): a name, a number or a digest can be
//! guessed, so a plain digest of one says as much as the text itself to whoever has the database.
//!
//! A sealed value is one byte of version, 12 random bytes of nonce, the AES-256-GCM ciphertext and its tag.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{constant_time, digest, hkdf, hmac, rand};
use zeroize::Zeroizing;

use super::{LETTERS, SpoolError, hex};

type KeyBytes = Zeroizing<[u8; 32]>;

/// The key under which every Submission's key is wrapped. It comes from outside and is on no disk of ours.
pub struct MasterKey(KeyBytes);

impl MasterKey {
    /// Reads 32 raw bytes, or 64 hex digits with or without a line end.
    ///
    /// # Errors
    /// [`SpoolError::NotAMasterKey`], which says what was found and how to make a key.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SpoolError> {
        let refuse = |found: String| Err(SpoolError::NotAMasterKey { found });
        if let Ok(raw) = <[u8; 32]>::try_from(bytes) {
            if raw.iter().all(u8::is_ascii_graphic) {
                return refuse("is 32 typed characters, far fewer than 32 random bytes".into());
            }
            return Ok(MasterKey(Zeroizing::new(raw)));
        }
        let line = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.len() != 64 {
            return refuse(match bytes.len() {
                0 => "is empty".into(),
                n => format!("has {n} bytes"),
            });
        }
        let mut key = Zeroizing::new([0u8; 32]);
        for (byte, pair) in key.iter_mut().zip(line.chunks_exact(2)) {
            let digit = |at: usize| pair.get(at).and_then(|c| char::from(*c).to_digit(16));
            match (digit(0), digit(1)) {
                (Some(high), Some(low)) => *byte = u8::try_from(high * 16 + low).unwrap_or(0),
                _ => return refuse("has 64 characters that are not all hex digits".into()),
            }
        }
        Ok(MasterKey(key))
    }

    /// What marks texts for `purpose`: the same for the same key, in every process.
    ///
    /// # Errors
    /// Where the derivation fails, which it has no reason to.
    pub fn marker(&self, purpose: Purpose) -> Result<Marker, SpoolError> {
        let extracted = hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(self.0.as_ref());
        let info = [purpose.label()];
        let output = extracted.expand(&info, hmac::HMAC_SHA256).map_err(|_| SpoolError::Cryptography)?;
        Ok(Marker(hmac::Key::from(output)))
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey")
    }
}

/// A Submission's key.
#[derive(Clone)]
pub struct SealKey(Arc<KeyBytes>);

impl SealKey {
    pub(super) fn random() -> Result<Self, SpoolError> {
        let mut key = Zeroizing::new([0u8; 32]);
        rand::fill(key.as_mut()).map_err(|_| SpoolError::NoRandomness)?;
        Ok(SealKey(Arc::new(key)))
    }

    /// The key of one document: HKDF-SHA256 of this key with the document's salt.
    pub(super) fn document_key(&self, salt: &[u8]) -> Result<LessSafeKey, SpoolError> {
        derive(&self.0, salt, b"faxbridge 1 document")
    }

    /// Seals a small value, as a subject line or a file name. `context` says what it is; it opens under the same only.
    ///
    /// # Errors
    /// Only where the operating system has no randomness to give.
    pub fn seal(&self, context: &str, plain: &[u8]) -> Result<Vec<u8>, SpoolError> {
        seal_value(&self.value_key()?, context, plain)
    }

    /// Opens what [`SealKey::seal`] sealed.
    ///
    /// # Errors
    /// [`SpoolError::Damaged`] when it was altered, or sealed under another key or context.
    pub fn open(&self, context: &str, sealed: &[u8]) -> Result<Vec<u8>, SpoolError> {
        open_value(&self.value_key()?, context, sealed)
    }

    fn value_key(&self) -> Result<LessSafeKey, SpoolError> {
        derive(&self.0, &[], b"faxbridge 1 value")
    }
}

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealKey")
    }
}

/// A Submission's key as the store keeps it: sealed under the master key. Destroying it destroys the documents.
#[derive(Clone, PartialEq, Eq)]
pub struct WrappedKey(
    /// The sealed value.
    pub Vec<u8>,
);

impl fmt::Debug for WrappedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WrappedKey")
    }
}

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
        (0..SHORT_MARK).map(|_| char::from(LETTERS.get(letter()).copied().unwrap_or(b'0'))).collect()
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

/// What is derived from the master key, once.
pub(super) struct MasterKeys {
    wrap: LessSafeKey,
    value: LessSafeKey,
    webhook: Marker,
    media: Marker,
    reply: Marker,
    source: Marker,
    address: Marker,
    digest: Marker,
    reference: Marker,
}

impl MasterKeys {
    pub(super) fn derive(master: &MasterKey) -> Result<Self, SpoolError> {
        Ok(MasterKeys {
            wrap: derive(&master.0, &[], b"faxbridge 1 wrapped key")?,
            value: derive(&master.0, &[], b"faxbridge 1 master value")?,
            webhook: master.marker(Purpose::Webhook)?,
            media: master.marker(Purpose::Media)?,
            reply: master.marker(Purpose::Reply)?,
            source: master.marker(Purpose::Source)?,
            address: master.marker(Purpose::Address)?,
            digest: master.marker(Purpose::Digest)?,
            reference: master.marker(Purpose::Reference)?,
        })
    }

    pub(super) fn marker(&self, purpose: Purpose) -> &Marker {
        match purpose {
            Purpose::Webhook => &self.webhook,
            Purpose::Media => &self.media,
            Purpose::Reply => &self.reply,
            Purpose::Source => &self.source,
            Purpose::Address => &self.address,
            Purpose::Digest => &self.digest,
            Purpose::Reference => &self.reference,
        }
    }

    pub(super) fn wrap(&self, key: &SealKey) -> Result<WrappedKey, SpoolError> {
        seal_value(&self.wrap, WRAPPED_KEY, key.0.as_ref().as_ref()).map(WrappedKey)
    }

    pub(super) fn unwrap(&self, wrapped: &WrappedKey) -> Result<SealKey, SpoolError> {
        let plain =
            open_value(&self.wrap, WRAPPED_KEY, &wrapped.0).map(Zeroizing::new).map_err(
                |error| match error {
                    SpoolError::Damaged { .. } => SpoolError::WrongKey,
                    other => other,
                },
            )?;
        let bytes = <[u8; 32]>::try_from(plain.as_slice()).map_err(|_| SpoolError::WrongKey)?;
        Ok(SealKey(Arc::new(Zeroizing::new(bytes))))
    }

    pub(super) fn seal(&self, context: &str, plain: &[u8]) -> Result<Vec<u8>, SpoolError> {
        seal_value(&self.value, context, plain)
    }

    pub(super) fn open(&self, context: &str, sealed: &[u8]) -> Result<Vec<u8>, SpoolError> {
        open_value(&self.value, context, sealed)
    }
}

fn derive(key: &KeyBytes, salt: &[u8], label: &[u8]) -> Result<LessSafeKey, SpoolError> {
    let extracted = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(key.as_ref());
    let info = [label];
    let output = extracted.expand(&info, &AES_256_GCM).map_err(|_| SpoolError::Cryptography)?;
    Ok(LessSafeKey::new(UnboundKey::from(output)))
}

fn seal_value(key: &LessSafeKey, context: &str, plain: &[u8]) -> Result<Vec<u8>, SpoolError> {
    let mut nonce = [0u8; NONCE_LEN];
    rand::fill(&mut nonce).map_err(|_| SpoolError::NoRandomness)?;
    let mut sealed = Vec::with_capacity(BEFORE + plain.len() + AES_256_GCM.tag_len());
    sealed.push(VERSION);
    sealed.extend_from_slice(&nonce);
    sealed.extend_from_slice(plain);
    let (_, body) = sealed.split_at_mut(BEFORE);
    let tag = key
        .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(context), body)
        .map_err(|_| SpoolError::Cryptography)?;
    sealed.extend_from_slice(tag.as_ref());
    Ok(sealed)
}

fn open_value(key: &LessSafeKey, context: &str, sealed: &[u8]) -> Result<Vec<u8>, SpoolError> {
    let damaged = || SpoolError::Damaged { what: "a sealed value".into() };
    let (version, rest) = sealed.split_first().ok_or_else(damaged)?;
    let (nonce, body) = rest.split_first_chunk::<NONCE_LEN>().ok_or_else(damaged)?;
    if *version != VERSION {
        return Err(damaged());
    }
    let mut body = body.to_vec();
    let nonce = Nonce::assume_unique_for_key(*nonce);
    let plain = key.open_in_place(nonce, Aad::from(context), &mut body).map_err(|_| damaged())?.len();
    body.truncate(plain);
    Ok(body)
}

/// Letters of a short mark, of five bits each.
const SHORT_MARK: usize = 20;
const VERSION: u8 = 1;
const BEFORE: usize = 1 + NONCE_LEN;
const WRAPPED_KEY: &str = "submission key";
