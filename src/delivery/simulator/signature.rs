//! The signature of the simulator's webhooks: `Faxsim-Signature: t=SECONDS,v1=HEX`.
//!
//! `HEX` is HMAC-SHA256 under the webhook key over the decimal seconds, a full stop and the raw body. The time is part of
//! what is signed, so that a webhook caught once cannot be played back later. Several `v1` may stand in one header while
//! a key is being replaced.

use aws_lc_rs::hmac;
use jiff::Timestamp;

use super::super::WebhookRefusal;
use crate::text::hex;

/// The header's name.
pub const HEADER: &str = "faxsim-signature";

/// A webhook signed longer ago (or further ahead) than this many seconds is refused.
pub const WINDOW: i64 = 300;

/// The header's value for `body`, sent at `at`.
#[must_use]
pub fn sign(key: &[u8], at: Timestamp, body: &[u8]) -> String {
    let seconds = at.as_second();
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), &signed_bytes(seconds, body));
    format!("t={seconds},v1={}", hex(tag.as_ref()))
}

/// Checks the header's value against the raw body as it came at `now`.
///
/// # Errors
/// [`WebhookRefusal`]; age is judged only once the signature has proven the time.
pub fn verify(key: &[u8], header: Option<&str>, body: &[u8], now: Timestamp) -> Result<(), WebhookRefusal> {
    let header = header.ok_or(WebhookRefusal::Unsigned)?;
    let mut seconds = None;
    let mut tags = Vec::new();
    for pair in header.split(',').take(8) {
        match pair.trim().split_once('=') {
            Some(("t", value)) => seconds = value.parse::<i64>().ok(),
            Some(("v1", value)) => tags.extend(unhex(value)),
            _ => {}
        }
    }
    let seconds = seconds.ok_or(WebhookRefusal::Unsigned)?;
    if tags.is_empty() {
        return Err(WebhookRefusal::Unsigned);
    }
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    let signed = signed_bytes(seconds, body);
    // `hmac::verify` compares in constant time.
    if !tags.iter().any(|tag| hmac::verify(&key, &signed, tag).is_ok()) {
        return Err(WebhookRefusal::WrongSignature);
    }
    let age = now.as_second().saturating_sub(seconds);
    if age.saturating_abs() > WINDOW {
        return Err(WebhookRefusal::Stale { seconds: age, allowed: WINDOW });
    }
    Ok(())
}

fn signed_bytes(seconds: i64, body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{seconds}.").into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    (0..32).map(|i| text.get(2 * i..2 * i + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn good_wrong_old_and_missing() {
        let body = br#"{"a":1}"#;
        let header = sign(b"key", at(1000), body);
        let check = |key: &[u8], header: Option<&str>, body: &[u8], now| verify(key, header, body, at(now));
        assert_eq!(check(b"key", Some(&header), body, 1000), Ok(()));
        assert_eq!(check(b"key", Some(&header), body, 1300), Ok(()));
        assert_eq!(
            check(b"key", Some(&header), body, 1301),
            Err(WebhookRefusal::Stale { seconds: 301, allowed: 300 })
        );
        assert_eq!(
            check(b"key", Some(&header), body, 699),
            Err(WebhookRefusal::Stale { seconds: -301, allowed: 300 })
        );
        assert_eq!(check(b"other", Some(&header), body, 1000), Err(WebhookRefusal::WrongSignature));
        assert_eq!(check(b"key", Some(&header), b"{}", 1000), Err(WebhookRefusal::WrongSignature));
        // A new time under an old signature is no way past the window.
        let later = header.replace("t=1000", "t=5000");
        assert_eq!(check(b"key", Some(&later), body, 5000), Err(WebhookRefusal::WrongSignature));
        for header in
            [None, Some(""), Some("t=1000"), Some("v1=00"), Some("t=x,v1="), Some("t=1000,v1=\u{e9}")]
        {
            assert_eq!(check(b"key", header, body, 1000), Err(WebhookRefusal::Unsigned), "{header:?}");
        }
        let two = format!("{},{}", sign(b"old", at(1000), body), header.split(',').nth(1).unwrap());
        assert_eq!(check(b"key", Some(&two), body, 1000), Ok(()));
    }

    #[test]
    fn one_signature_by_another_implementation() {
        // printf '1000.{"a":1}' | openssl dgst -sha256 -hmac key
        assert_eq!(sign(b"key", at(1000), br#"{"a":1}"#), format!("t=1000,v1={OPENSSL}"));
    }

    proptest::proptest! {
        #[test]
        fn no_header_opens_without_the_key(header in "(t=[0-9]{0,20},?|v1=[0-9a-f+]{0,70},?|.){0,6}", body: Vec<u8>) {
            proptest::prop_assert!(verify(b"key", Some(&header), &body, at(0)).is_err());
        }

        #[test]
        fn one_changed_byte_is_noticed(body in proptest::collection::vec(0u8.., 1..200), place: proptest::sample::Index, flip in 1u8..) {
            let header = sign(b"key", at(0), &body);
            let mut changed = body.clone();
            changed[place.index(body.len())] ^= flip;
            proptest::prop_assert_eq!(verify(b"key", Some(&header), &body, at(0)), Ok(()));
            let refusal = verify(b"key", Some(&header), &changed, at(0));
            proptest::prop_assert_eq!(refusal, Err(WebhookRefusal::WrongSignature));
        }
    }

    const OPENSSL: &str = "703e95d4ed8aa99f3cf59728e8680a5aef1eb7fb7c4e4c827051b950902ca353";
}
