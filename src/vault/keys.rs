//! Keys, and small values sealed under them. A key is wiped from memory when it is dropped and never prints.
//!
//! Neither the master key nor a Submission's key is used directly: each purpose has a key of its own, derived with
//! HKDF-SHA256 under a label, so that a value can never be taken for a wrapped key or a chunk of a document.
//!
//! A sealed value is one byte of version, 12 random bytes of nonce, the AES-256-GCM ciphertext and its tag.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{hkdf, rand};
use zeroize::Zeroizing;

use super::VaultError;
use super::marker::{Marker, Purpose};

type KeyBytes = Zeroizing<[u8; 32]>;

/// The key under which every Submission's key is wrapped. It comes from outside and is on no disk of ours.
pub struct MasterKey(pub(super) KeyBytes);

impl MasterKey {
    /// Reads 32 raw bytes, or 64 hex digits with or without a line end.
    ///
    /// # Errors
    /// [`VaultError::NotAMasterKey`], which says what was found and how to make a key.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, VaultError> {
        let refuse = |found: String| Err(VaultError::NotAMasterKey { found });
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
    pub(super) fn random() -> Result<Self, VaultError> {
        let mut key = Zeroizing::new([0u8; 32]);
        rand::fill(key.as_mut()).map_err(|_| VaultError::NoRandomness)?;
        Ok(SealKey(Arc::new(key)))
    }

    /// The key of one document: HKDF-SHA256 of this key with the document's salt.
    pub(crate) fn document_key(&self, salt: &[u8]) -> Result<LessSafeKey, VaultError> {
        derive(&self.0, salt, b"faxbridge 1 document")
    }

    /// Seals a small value, as a subject line or a file name. `context` says what it is; it opens under the same only.
    ///
    /// # Errors
    /// Only where the operating system has no randomness to give.
    pub fn seal(&self, context: &str, plain: &[u8]) -> Result<Vec<u8>, VaultError> {
        seal_value(&self.value_key()?, context, plain)
    }

    /// Opens what [`SealKey::seal`] sealed.
    ///
    /// # Errors
    /// [`VaultError::Damaged`] when it was altered, or sealed under another key or context.
    pub fn open(&self, context: &str, sealed: &[u8]) -> Result<Vec<u8>, VaultError> {
        open_value(&self.value_key()?, context, sealed)
    }

    fn value_key(&self) -> Result<LessSafeKey, VaultError> {
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
    pub(super) fn derive(master: &MasterKey) -> Result<Self, VaultError> {
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

    pub(super) fn wrap(&self, key: &SealKey) -> Result<WrappedKey, VaultError> {
        seal_value(&self.wrap, WRAPPED_KEY, key.0.as_ref().as_ref()).map(WrappedKey)
    }

    pub(super) fn unwrap(&self, wrapped: &WrappedKey) -> Result<SealKey, VaultError> {
        let plain =
            open_value(&self.wrap, WRAPPED_KEY, &wrapped.0).map(Zeroizing::new).map_err(
                |error| match error {
                    VaultError::Damaged { .. } => VaultError::WrongKey,
                    other => other,
                },
            )?;
        let bytes = <[u8; 32]>::try_from(plain.as_slice()).map_err(|_| VaultError::WrongKey)?;
        Ok(SealKey(Arc::new(Zeroizing::new(bytes))))
    }

    pub(super) fn seal(&self, context: &str, plain: &[u8]) -> Result<Vec<u8>, VaultError> {
        seal_value(&self.value, context, plain)
    }

    pub(super) fn open(&self, context: &str, sealed: &[u8]) -> Result<Vec<u8>, VaultError> {
        open_value(&self.value, context, sealed)
    }
}

fn derive(key: &KeyBytes, salt: &[u8], label: &[u8]) -> Result<LessSafeKey, VaultError> {
    let extracted = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(key.as_ref());
    let info = [label];
    let output = extracted.expand(&info, &AES_256_GCM).map_err(|_| VaultError::Cryptography)?;
    Ok(LessSafeKey::new(UnboundKey::from(output)))
}

fn seal_value(key: &LessSafeKey, context: &str, plain: &[u8]) -> Result<Vec<u8>, VaultError> {
    let mut nonce = [0u8; NONCE_LEN];
    rand::fill(&mut nonce).map_err(|_| VaultError::NoRandomness)?;
    let mut sealed = Vec::with_capacity(BEFORE + plain.len() + AES_256_GCM.tag_len());
    sealed.push(VERSION);
    sealed.extend_from_slice(&nonce);
    sealed.extend_from_slice(plain);
    let (_, body) = sealed.split_at_mut(BEFORE);
    let tag = key
        .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(context), body)
        .map_err(|_| VaultError::Cryptography)?;
    sealed.extend_from_slice(tag.as_ref());
    Ok(sealed)
}

fn open_value(key: &LessSafeKey, context: &str, sealed: &[u8]) -> Result<Vec<u8>, VaultError> {
    let damaged = || VaultError::Damaged { what: "a sealed value".into() };
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

const VERSION: u8 = 1;
const BEFORE: usize = 1 + NONCE_LEN;
const WRAPPED_KEY: &str = "submission key";
