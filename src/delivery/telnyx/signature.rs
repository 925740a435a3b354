//! The signature of Telnyx' webhooks: Ed25519 (RFC 8032) under the account's key over `timestamp|body`, in the headers
//! `telnyx-timestamp` (seconds) and `telnyx-signature-ed25519` (base64).

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use axum::http::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;

use crate::delivery::WebhookRefusal;

/// A webhook signed longer ago (or further ahead) than this many seconds is refused. Telnyx names no window; its own clients
/// use this one.
const WINDOW: i64 = 300;

/// The account's public key.
pub(super) struct PublicKey([u8; 32]);

impl PublicKey {
    /// The key as the portal shows it: base64 of 32 bytes.
    ///
    /// # Errors
    /// A sentence that begins with the key at fault.
    pub(super) fn read(text: &[u8]) -> Result<PublicKey, String> {
        let bytes = STANDARD.decode(text.trim_ascii()).ok();
        bytes.and_then(|bytes| bytes.try_into().ok()).map(PublicKey).ok_or_else(|| {
            "webhook_key: is not the public key of a Telnyx account: base64 of 32 bytes, as the portal shows it"
                .to_owned()
        })
    }

    /// Checks the headers against the raw body as it came at `now`.
    ///
    /// # Errors
    /// [`WebhookRefusal`]; age is judged only once the signature has proven the time.
    pub(super) fn verify(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        now: Timestamp,
    ) -> Result<(), WebhookRefusal> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let timestamp = text("telnyx-timestamp").ok_or(WebhookRefusal::Unsigned)?;
        let seconds: i64 = timestamp.parse().map_err(|_| WebhookRefusal::Unsigned)?;
        let signature = text("telnyx-signature-ed25519")
            .and_then(|text| STANDARD.decode(text).ok())
            .filter(|signature| signature.len() == 64)
            .ok_or(WebhookRefusal::Unsigned)?;
        let mut signed = format!("{timestamp}|").into_bytes();
        signed.extend_from_slice(body);
        UnparsedPublicKey::new(&ED25519, self.0)
            .verify(&signed, &signature)
            .map_err(|_| WebhookRefusal::WrongSignature)?;
        let age = now.as_second().saturating_sub(seconds);
        if age.saturating_abs() > WINDOW {
            return Err(WebhookRefusal::Stale { seconds: age, allowed: WINDOW });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    const KEY: &str = "6kpsY+KcUgq+9VB7Ey7F+ZVHdq6+vnuSQh7qaRRG0iw=";
    const TIME: i64 = 1_767_225_600;
    const BODY: &[u8] = br#"{"data":{"event_type":"fax.delivered","id":"e1","payload":{"fax_id":"f1","status":"delivered","page_count":2}}}"#;
    const SIGNATURE: &str =
        "Ijtlqs8WUfRnG99sxZNBiU/zk5X7IURyPz1QNicR371xTPrEQlZJrZ3ghVQHUbZswl9r7skAY8LAvWva/6AMAg==";

    fn headers(time: &str, signature: &str) -> HeaderMap {
        HeaderMap::from_iter([
            ("telnyx-timestamp".parse().unwrap(), HeaderValue::from_str(time).unwrap()),
            ("telnyx-signature-ed25519".parse().unwrap(), HeaderValue::from_str(signature).unwrap()),
        ])
    }

    fn check(key: &str, headers: &HeaderMap, body: &[u8], late: i64) -> Result<(), WebhookRefusal> {
        let now = Timestamp::from_second(TIME + late).unwrap();
        PublicKey::read(key.as_bytes()).unwrap().verify(headers, body, now)
    }

    #[test]
    fn a_signature_by_another_implementation() {
        let time = TIME.to_string();
        let good = headers(&time, SIGNATURE);
        let stale = |seconds| Err(WebhookRefusal::Stale { seconds, allowed: 300 });
        for (late, expected) in
            [(0, Ok(())), (300, Ok(())), (-300, Ok(())), (301, stale(301)), (-301, stale(-301))]
        {
            assert_eq!(check(KEY, &good, BODY, late), expected, "{late}");
        }
        assert_eq!(check(&format!(" {KEY}\n"), &good, BODY, 0), Ok(()), "as it stands in a file");
        let other = STANDARD.encode([7; 32]);
        let wrong = Err(WebhookRefusal::WrongSignature);
        assert_eq!(check(&other, &good, BODY, 0), wrong);
        assert_eq!(check(KEY, &good, b"{}", 0), wrong);
        // A new time under an old signature is no way past the window, nor is another spelling of the old one.
        for time in ["1767225601", "+1767225600", "01767225600"] {
            assert_eq!(check(KEY, &headers(time, SIGNATURE), BODY, 0), wrong, "{time}");
        }
    }

    #[test]
    fn what_is_no_signature() {
        let unsigned = Err(WebhookRefusal::Unsigned);
        for (time, signature) in
            [("", SIGNATURE), ("soon", SIGNATURE), ("1767225600", ""), ("1767225600", "AAAA")]
        {
            assert_eq!(check(KEY, &headers(time, signature), BODY, 0), unsigned, "{time} {signature}");
        }
        assert_eq!(check(KEY, &HeaderMap::new(), BODY, 0), unsigned);
        for key in ["", "AAAA", "key-of-the-test", &STANDARD.encode([7; 33])] {
            assert!(PublicKey::read(key.as_bytes()).is_err(), "{key}");
        }
    }
}
