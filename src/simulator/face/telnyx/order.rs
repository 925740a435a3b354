//! What `POST /v2/faxes` accepts as JSON: `SendFaxRequest`, field by field.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Url;
use serde_json::{Map, Value};

use super::Fault;
use crate::job::FaxNumber;

/// Every field there is, with what it takes.
const FIELDS: &[(&str, Kind)] = &[
    ("connection_id", Kind::Id),
    ("to", Kind::Number),
    ("from", Kind::Number),
    ("media_url", Kind::Url),
    ("media_name", Kind::Text),
    ("from_display_name", Kind::DisplayName),
    ("quality", Kind::OneOf(&["normal", "high", "very_high", "ultra_light", "ultra_dark"])),
    ("t38_enabled", Kind::Bool),
    ("monochrome", Kind::Bool),
    ("black_threshold", Kind::Percent),
    ("store_media", Kind::Bool),
    ("store_preview", Kind::Bool),
    ("preview_format", Kind::OneOf(&["tiff", "pdf"])),
    ("client_state", Kind::Base64),
    ("webhook_url", Kind::Url),
];

/// What a field takes.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    Id,
    /// E.164. Telnyx dials SIP addresses too; the simulator has no such telephones.
    Number,
    Url,
    DisplayName,
    OneOf(&'static [&'static str]),
    Bool,
    Percent,
    Base64,
}

impl Kind {
    /// What `value` should be, if it is not.
    fn complaint(self, value: &Value) -> Option<String> {
        let text = value.as_str();
        let right = match self {
            Kind::Text => text.is_some_and(|text| !text.is_empty()),
            Kind::Id => text.is_some_and(|text| {
                !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            }),
            Kind::Number => text.is_some_and(|text| FaxNumber::from_e164(text).is_ok()),
            Kind::Url => text.and_then(|text| Url::parse(text).ok()).is_some_and(|url| {
                matches!(url.scheme(), "http" | "https")
                    && url.host_str().is_some_and(|host| !host.is_empty())
            }),
            Kind::DisplayName => text.is_some_and(|text| {
                text.chars().count() <= 128
                    && text.chars().all(|c| c.is_ascii_alphanumeric() || " -_~!.+".contains(c))
            }),
            Kind::OneOf(words) => text.is_some_and(|text| words.contains(&text)),
            Kind::Bool => value.is_boolean(),
            Kind::Percent => value.as_u64().is_some_and(|percent| (1..=100).contains(&percent)),
            Kind::Base64 => text.is_some_and(|text| STANDARD.decode(text).is_ok()),
        };
        (!right).then(|| match self {
            Kind::Text => "must be a text".to_owned(),
            Kind::Id => "must be the id of an application".to_owned(),
            Kind::Number => "must be a number in E.164 form".to_owned(),
            Kind::Url => "must be a URL".to_owned(),
            Kind::DisplayName => {
                "must have at most 128 letters, digits, spaces and characters of -_~!.+".to_owned()
            }
            Kind::OneOf(words) => format!("must be one of {}", words.join(", ")),
            Kind::Bool => "must be true or false".to_owned(),
            Kind::Percent => "must be a whole number from 1 to 100".to_owned(),
            Kind::Base64 => "must be base64".to_owned(),
        })
    }
}

/// An order that is as it should be.
pub(super) struct Order {
    pub(super) to: String,
    /// The client's name for the fax: what its `client_state` says.
    pub(super) reference: Option<String>,
    pub(super) webhook_url: Option<String>,
    /// All texts in it, and the defaults of those left out.
    pub(super) details: BTreeMap<String, String>,
}

/// The order in `body`.
///
/// # Errors
/// All that is wrong with it.
pub(super) fn read(body: &[u8]) -> Result<Order, Vec<Fault>> {
    let fields: Map<String, Value> = serde_json::from_slice(body)
        .map_err(|_| vec![Fault::of("Invalid request", "the body is no JSON object")])?;
    let mut faults = Vec::new();
    for (name, value) in &fields {
        match FIELDS.iter().find(|(known, _)| known == name) {
            None => faults.push(Fault::at(name, "is not a field of this request")),
            Some((_, kind)) => faults.extend(kind.complaint(value).map(|words| Fault::at(name, words))),
        }
    }
    for name in ["connection_id", "to", "from"] {
        if !fields.contains_key(name) {
            faults.push(Fault::at(name, "is missing"));
        }
    }
    let is_true = |name: &str| fields.get(name).and_then(Value::as_bool) == Some(true);
    match (fields.contains_key("media_url"), fields.contains_key("media_name")) {
        (false, false) => faults.push(Fault::at("media_url", "is missing, and so is media_name")),
        (true, true) => faults.push(Fault::at("media_url", "excludes media_name")),
        (false, true) => {
            if is_true("store_media") {
                faults.push(Fault::at("store_media", "excludes media_name"));
            }
            faults.push(Fault::at("media_name", "is not the name of any stored file"));
        }
        (true, false) => {}
    }
    if fields.contains_key("black_threshold") && !is_true("monochrome") {
        faults.push(Fault::at("black_threshold", "needs monochrome"));
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    let mut details: BTreeMap<String, String> = fields
        .iter()
        .filter_map(|(name, value)| value.as_str().map(|text| (name.clone(), text.to_owned())))
        .collect();
    details.entry("quality".to_owned()).or_insert_with(|| "high".to_owned());
    let client_state = details.get("client_state").and_then(|state| STANDARD.decode(state).ok());
    Ok(Order {
        to: details.get("to").cloned().unwrap_or_default(),
        reference: client_state
            .and_then(|state| String::from_utf8(state).ok())
            .filter(|text| !text.is_empty()),
        webhook_url: details.get("webhook_url").cloned(),
        details,
    })
}
