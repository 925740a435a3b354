//! Who signed a record, and whether it is still what was signed. Ed25519 over the record's canonical bytes.
//!
//! Canonical means RFC 8785: keys sorted, no blanks. A record holds no fractions, so the rest of that RFC has no say here,
//! and a program in any language can check a receipt with a JCS library and the public key.
//!
//! A signed record is `{"receipt": {...}, "signature": {"algorithm", "key", "public_key", "value"}}`. The public key in it
//! only saves looking it up: whoever checks compares it, or its id, with the one that the organization published.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::ReceiptError;

/// The key that signs receipts.
pub struct SigningKey {
    pair: Ed25519KeyPair,
}

impl SigningKey {
    /// Reads the key from its file, or makes the file, mode 0600, with a new key.
    ///
    /// # Errors
    /// [`ReceiptError::KeyFile`], or [`ReceiptError::NotAKey`] when the file holds something else.
    pub fn load_or_make(path: &Path) -> Result<Self, ReceiptError> {
        let at = |doing| move |source| ReceiptError::KeyFile { doing, path: path.to_owned(), source };
        let bytes = match read_key(path).map_err(at("read"))? {
            Some(bytes) => bytes,
            None => {
                let pair = Ed25519KeyPair::generate().map_err(|_| ReceiptError::Signing)?;
                let document = pair.to_pkcs8v1().map_err(|_| ReceiptError::Signing)?;
                write_key(path, document.as_ref()).map_err(at("write"))?;
                // Read back: of two starts at once only one has written.
                read_key(path).map_err(at("read"))?.unwrap_or_default()
            }
        };
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&bytes)
            .map_err(|_| ReceiptError::NotAKey(path.to_owned()))?;
        Ok(SigningKey { pair })
    }

    /// A key for one run, as in tests and previews.
    ///
    /// # Errors
    /// Only where the operating system has no randomness to give.
    pub fn ephemeral() -> Result<Self, ReceiptError> {
        Ok(SigningKey { pair: Ed25519KeyPair::generate().map_err(|_| ReceiptError::Signing)? })
    }

    /// The public key, 32 bytes.
    #[must_use]
    pub fn public_key(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    /// The public key's id: the first 16 hex digits of its SHA-256.
    #[must_use]
    pub fn id(&self) -> String {
        key_id(self.public_key())
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKey({})", self.id())
    }
}

/// Puts a record under a signature.
///
/// # Errors
/// [`ReceiptError::Signing`] when the library of cryptography refuses.
pub fn sign(receipt: &Value, key: &SigningKey) -> Result<Value, ReceiptError> {
    let signature = key.pair.try_sign(canonical(receipt).as_bytes()).map_err(|_| ReceiptError::Signing)?;
    Ok(json!({
        "signature": {
            "algorithm": ALGORITHM,
            "key": key.id(),
            "public_key": STANDARD.encode(key.public_key()),
            "value": STANDARD.encode(signature.as_ref()),
        },
        "receipt": receipt,
    }))
}

/// Checks a signed record and tells the id of the key that signed it, which the caller compares with the one it trusts.
///
/// # Errors
/// [`ReceiptError::NotGenuine`], which says what is wrong.
pub fn verify(signed: &Value) -> Result<String, ReceiptError> {
    let wrong = ReceiptError::NotGenuine;
    let receipt = signed.get("receipt").ok_or(wrong("there is no receipt in it"))?;
    let signature = signed.get("signature").ok_or(wrong("there is no signature in it"))?;
    let field = |name: &str| signature.get(name).and_then(Value::as_str);
    if field("algorithm") != Some(ALGORITHM) {
        return Err(wrong("it is signed in a way that is not known here"));
    }
    let bytes =
        |name: &str| STANDARD.decode(field(name).unwrap_or("")).ok().filter(|bytes| !bytes.is_empty());
    let public_key = bytes("public_key").ok_or(wrong("the public key in it cannot be read"))?;
    let value = bytes("value").ok_or(wrong("the signature in it cannot be read"))?;
    let id = key_id(&public_key);
    if field("key") != Some(id.as_str()) {
        return Err(wrong("the key's id is not that of the public key"));
    }
    UnparsedPublicKey::new(&ED25519, public_key)
        .verify(canonical(receipt).as_bytes(), &value)
        .map_err(|_| wrong("the receipt is not what was signed"))?;
    Ok(id)
}

/// The record as RFC 8785 writes it.
fn canonical(value: &Value) -> String {
    let mut text = String::new();
    write_canonical(value, &mut text);
    text
}

fn write_canonical(value: &Value, text: &mut String) {
    match value {
        Value::Object(members) => {
            // By UTF-16 units, as the RFC has it, whatever order the map keeps.
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by(|(one, _), (other, _)| one.encode_utf16().cmp(other.encode_utf16()));
            text.push('{');
            for (nth, (name, member)) in members.into_iter().enumerate() {
                if nth > 0 {
                    text.push(',');
                }
                text.push_str(&Value::from(name.as_str()).to_string());
                text.push(':');
                write_canonical(member, text);
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for (nth, item) in items.iter().enumerate() {
                if nth > 0 {
                    text.push(',');
                }
                write_canonical(item, text);
            }
            text.push(']');
        }
        // serde_json escapes strings as the RFC does.
        scalar => text.push_str(&scalar.to_string()),
    }
}

fn key_id(public_key: &[u8]) -> String {
    let sum = digest(&SHA256, public_key);
    sum.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

fn read_key(path: &Path) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    match File::open(path) {
        Ok(file) => {
            let mut bytes = Zeroizing::new(Vec::with_capacity(KEY_FILE_LIMIT));
            file.take(KEY_FILE_LIMIT as u64).read_to_end(&mut bytes)?;
            Ok(Some(bytes))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Written beside and linked into place: a crash leaves no half key, and a key that is there already stays.
fn write_key(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    match fs::hard_link(&fresh, path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => fs::remove_file(&fresh)?,
    }
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => File::open(dir)?.sync_all(),
        _ => Ok(()),
    }
}

const ALGORITHM: &str = "ed25519";
/// An Ed25519 key in PKCS #8 has under 100 bytes.
const KEY_FILE_LIMIT: usize = 4096;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn canonical_bytes_are_those_of_the_rfc() {
        let value: Value = serde_json::from_str(
            r#"{ "b": [1, null, true], "a": {"é": "\u20ac\u000f\n\"\\/", "z": -7}, "A": "" }"#,
        )
        .unwrap();
        assert_eq!(canonical(&value), r#"{"A":"","a":{"z":-7,"é":"€\u000f\n\"\\/"},"b":[1,null,true]}"#);
    }

    #[test]
    fn a_signed_record_verifies_until_anything_in_it_changes() {
        let key = SigningKey::ephemeral().unwrap();
        let signed = sign(&json!({"state": "delivered", "pages": 3}), &key).unwrap();
        assert_eq!(verify(&signed).unwrap(), key.id());
        // Indented, and read again: what counts is the content.
        let again: Value = serde_json::from_slice(&serde_json::to_vec_pretty(&signed).unwrap()).unwrap();
        assert!(verify(&again).is_ok());

        let changes: &[(&str, Value, &str)] = &[
            ("/receipt/pages", json!(4), "the receipt is not what was signed"),
            ("/receipt", json!({}), "the receipt is not what was signed"),
            ("/signature/key", json!("0000000000000000"), "the key's id is not that of the public key"),
            ("/signature/value", json!("!"), "the signature in it cannot be read"),
            ("/signature/public_key", json!(""), "the public key in it cannot be read"),
            ("/signature/algorithm", json!("none"), "it is signed in a way that is not known here"),
        ];
        for (place, value, expected) in changes {
            let mut forged = signed.clone();
            *forged.pointer_mut(place).unwrap() = value.clone();
            let error = verify(&forged).unwrap_err().to_string();
            assert!(error.ends_with(expected), "{place}: {error}");
        }
        assert!(verify(&json!({})).is_err());
    }

    #[test]
    fn the_key_is_made_once_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("receipt.key");
        let made = SigningKey::load_or_make(&path).unwrap();
        assert_eq!(SigningKey::load_or_make(&path).unwrap().id(), made.id());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        fs::write(&path, b"something else").unwrap();
        assert!(matches!(SigningKey::load_or_make(&path), Err(ReceiptError::NotAKey(_))));
    }
}
