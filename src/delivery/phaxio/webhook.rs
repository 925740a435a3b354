//! Phaxio's webhooks: signature and contents (phaxio.com/docs/security/callbacks).
//!
//! `X-Phaxio-Signature` is HMAC-SHA1 under the account's callback token over the URL as it was submitted, then each
//! field, sorted by name, as name and value, then each file, sorted by name, as name and SHA-1 of its bytes. Two
//! weaknesses are the vendor's: names and values are not told apart, and **there is no time in it, so an old webhook
//! can be played back for ever**. That does no harm: news only make the bridge ask the API, which answers with what is
//! true now.

use aws_lc_rs::{digest, hmac};
use serde_json::{Value, json};

use super::form::{self, Part};
use super::{FaxView, LABEL, status_of};
use crate::delivery::http::place;
use crate::delivery::{Hook, News, Status, WebhookRefusal};
use crate::text::hex;

/// The header with the signature.
const HEADER: &str = "x-phaxio-signature";

/// Checks the signature under `key` and reads the news.
pub(super) fn read(key: &[u8], hook: &Hook<'_>) -> Result<Vec<News>, WebhookRefusal> {
    let shown = hook.headers.get(HEADER).and_then(|value| unhex(value.as_bytes()));
    let shown = shown.ok_or(WebhookRefusal::Unsigned)?;
    let parts = form::parts(hook.headers, hook.body).map_err(malformed)?;
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key);
    // Compares in constant time.
    hmac::verify(&key, &signed_bytes(hook.url, &parts), &shown)
        .map_err(|_| WebhookRefusal::WrongSignature)?;
    let field = |name: &str| {
        let part = parts.iter().find(|part| !part.is_file && part.name == name);
        part.and_then(|part| std::str::from_utf8(part.value).ok())
    };
    if field("direction") == Some("received") {
        // Somebody sent a fax to the account's number, and its settings report that to the same place.
        return Ok(Vec::new());
    }
    let fax: FaxView = match field("fax") {
        Some(text) => serde_json::from_str(text).map_err(|error| WebhookRefusal::Malformed(place(&error)))?,
        None => serde_json::from_value(from_fields(&field)).map_err(|_| malformed("it names no fax"))?,
    };
    let provider_ref = fax.id().ok_or_else(|| malformed("it names no fax"))?;
    // A state that we do not know is news all the same: the question that follows tells.
    let status = status_of(&fax).unwrap_or(Status::Working);
    let reference = fax.label().or(hook.reference).map(str::to_owned);
    Ok(vec![News { provider_ref: Some(provider_ref), reference, status }])
}

fn malformed(what: &str) -> WebhookRefusal {
    WebhookRefusal::Malformed(what.to_owned())
}

/// What is signed.
fn signed_bytes(url: &str, parts: &[Part<'_>]) -> Vec<u8> {
    let mut sorted: Vec<&Part<'_>> = parts.iter().collect();
    // Stable, so that parts of one name stay in their order.
    sorted.sort_by_key(|part| (part.is_file, part.name));
    let mut bytes = url.as_bytes().to_vec();
    for part in sorted {
        bytes.extend_from_slice(part.name.as_bytes());
        if part.is_file {
            let digest = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, part.value);
            bytes.extend_from_slice(hex(digest.as_ref()).as_bytes());
        } else {
            bytes.extend_from_slice(part.value);
        }
    }
    bytes
}

/// The fax, where its parameters come as fields `fax[NAME]` in place of JSON.
fn from_fields<'a>(field: &impl Fn(&str) -> Option<&'a str>) -> Value {
    let of = |names: &[&str]| {
        let mut path = "fax".to_owned();
        names.iter().for_each(|name| path.push_str(&format!("[{name}]")));
        field(&path).filter(|value| !value.is_empty())
    };
    let of_recipient = |name: &str| of(&["recipients", "0", name]);
    json!({
        "id": of(&["id"]), "status": of(&["status"]), "num_pages": of(&["num_pages"]),
        "error_type": of(&["error_type"]), "error_id": of(&["error_id"]), "error_message": of(&["error_message"]),
        "tags": { LABEL: of(&["tags", LABEL]) },
        "recipients": [{
            "error_type": of_recipient("error_type"), "error_id": of_recipient("error_id"),
            "error_message": of_recipient("error_message"),
        }],
    })
}

/// The 20 bytes of a signature.
fn unhex(text: &[u8]) -> Option<[u8; 20]> {
    let mut bytes = [0; 20];
    if text.len() != 2 * bytes.len() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        let pair =
            std::str::from_utf8(pair).ok().filter(|pair| pair.bytes().all(|b| b.is_ascii_hexdigit()))?;
        *byte = u8::from_str_radix(pair, 16).ok()?;
    }
    Some(bytes)
}
