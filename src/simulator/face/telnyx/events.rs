//! Webhooks of Telnyx: an event in JSON, signed with Ed25519 over `timestamp|body`.
//!
//! Telnyx signs with a key of the account, whose public half its portal shows. Here it is made from the simulator's webhook key,
//! so that one secret does for all faces: the seed is the SHA-256 of that key.

use aws_lc_rs::digest;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{failure, status, uuid};
use crate::delivery::simulator::wire::Standing;
use crate::simulator::api::{Ending, Message};
use crate::simulator::book::Fax;

/// The public key (base64) under which the Telnyx face of a simulator with that webhook key signs: the `webhook_key` of the
/// provider's section.
#[must_use]
pub fn public_key(webhook_key: &[u8]) -> String {
    pair(webhook_key).map(|pair| STANDARD.encode(pair.public_key())).unwrap_or_default()
}

fn pair(webhook_key: &[u8]) -> Option<Ed25519KeyPair> {
    let seed = digest::digest(&digest::SHA256, webhook_key);
    // Fails only for a seed that has not 32 bytes.
    Ed25519KeyPair::from_seed_unchecked(seed.as_ref()).ok()
}

/// The webhook that reports how a fax ended.
pub(super) fn message(Ending { fax, url, key, now, .. }: &Ending<'_>) -> Option<Message> {
    let event = if fax.status == Standing::Delivered { "fax.delivered" } else { "fax.failed" };
    signed(&event_of(fax, event, Some(url), *now), key, *now)
}

/// The webhooks that report how `fax` stands on its way.
pub(in crate::simulator::face) fn progress(fax: &Fax, key: &[u8], now: Timestamp) -> Vec<Message> {
    let events: &[&str] = match fax.status {
        Standing::Queued => &["fax.queued"],
        Standing::Sending => &["fax.media.processed", "fax.sending.started"],
        _ => &[],
    };
    let url = fax.details.get("webhook_url").map(String::as_str);
    events.iter().filter_map(|event| signed(&event_of(fax, event, url, now), key, now)).collect()
}

fn event_of(fax: &Fax, event: &str, url: Option<&str>, now: Timestamp) -> Value {
    let detail = |key: &str| fax.details.get(key);
    let standing = match event {
        "fax.media.processed" => "media.processed",
        _ => status(fax.status),
    };
    let mut payload = json!({
        "fax_id": fax.id,
        "connection_id": detail("connection_id"),
        "direction": "outbound",
        "from": detail("from"),
        "to": fax.number,
        "user_id": "simulator",
        "status": standing,
        "client_state": detail("client_state").filter(|_| fax.label().is_some()),
        "original_media_url": detail("media_url"),
    });
    if let Some(payload) = payload.as_object_mut() {
        if let (Standing::Delivered, Some(result)) = (fax.status, &fax.result) {
            payload.insert("page_count".into(), json!(result.pages_sent));
            payload.insert("call_duration_secs".into(), json!(result.seconds));
        }
        if let Some(reason) = failure(fax) {
            payload.insert("failure_reason".into(), json!(reason));
        }
    }
    // The same event keeps its name when it comes again; that is what clients are to tell repetitions by.
    let digest = digest::digest(&digest::SHA256, format!("{} {event}", fax.id).as_bytes());
    let name = digest.as_ref().iter().take(16).fold(0u128, |bits, byte| (bits << 8) | u128::from(*byte));
    json!({
        "data": {
            "record_type": "event",
            "id": uuid(name),
            "event_type": event,
            "occurred_at": fax.ended.or(fax.dialled).unwrap_or(now),
            "payload": payload,
        },
        "meta": { "attempt": 1, "delivered_to": url },
    })
}

fn signed(event: &Value, key: &[u8], now: Timestamp) -> Option<Message> {
    let message = Message::json(event)?;
    let seconds = now.as_second().to_string();
    let bytes = [seconds.as_bytes(), b"|", &message.body].concat();
    let signature = STANDARD.encode(pair(key)?.sign(&bytes));
    message.with("telnyx-timestamp", seconds)?.with("telnyx-signature-ed25519", signature)
}
