//! The words of Telnyx' API: faxes, lists, errors, events. Fields that an answer may lack are optional here, so that an older or
//! newer API is understood too.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::codes;
use crate::delivery::http::{Answer, cut, place};
use crate::delivery::{News, Status, WebhookRefusal};
use crate::job::{Cause, Outcome, Report};

/// `{"data": Fax}`.
#[derive(Deserialize)]
pub(super) struct FaxOne {
    pub(super) data: Fax,
}

/// A page of faxes.
#[derive(Deserialize)]
pub(super) struct FaxList {
    pub(super) data: Vec<Fax>,
    meta: Option<Meta>,
}

#[derive(Deserialize)]
struct Meta {
    total_pages: Option<usize>,
}

impl FaxList {
    /// How many pages there are, where the answer says so.
    pub(super) fn pages(&self) -> Option<usize> {
        self.meta.as_ref()?.total_pages
    }
}

/// A fax.
#[derive(Deserialize)]
pub(super) struct Fax {
    pub(super) id: String,
    status: String,
    client_state: Option<String>,
    failure_reason: Option<String>,
}

impl Fax {
    /// Whether it was submitted with that state.
    pub(super) fn is_ours(&self, client_state: &str) -> bool {
        self.client_state.as_deref() == Some(client_state)
    }

    /// How it stands. Of statuses on the way there are several, and there may be more: none of them is an end.
    pub(super) fn standing(&self) -> Status {
        match self.status.as_str() {
            "delivered" => Status::Ended(Report::bare(Outcome::Delivered)),
            "failed" => Status::Ended(failed(self.failure_reason.as_deref())),
            _ => Status::Working,
        }
    }

    /// How far from an end that counts.
    pub(super) fn distance(&self) -> u8 {
        match self.status.as_str() {
            "delivered" => 0,
            "failed" => 2,
            _ => 1,
        }
    }
}

/// The report of a fax that failed. Older models of the API do not tell why.
fn failed(reason: Option<&str>) -> Report {
    Report {
        raw_code: reason.map(cut),
        ..Report::bare(Outcome::of(reason.map_or(Cause::Unknown, codes::cause_of)))
    }
}

/// What the API says is wrong, the first thing of several.
#[derive(Deserialize)]
pub(super) struct ErrorView {
    pub(super) code: String,
    pub(super) title: String,
    source: Option<Source>,
}

#[derive(Deserialize)]
struct Source {
    pointer: Option<String>,
    parameter: Option<String>,
}

#[derive(Deserialize)]
struct Errors {
    errors: Vec<ErrorView>,
}

impl ErrorView {
    /// The field that is wrong: the last step of a pointer as `/media_url`, or a parameter.
    pub(super) fn field(&self) -> Option<&str> {
        let source = self.source.as_ref()?;
        let pointer = source.pointer.as_deref().and_then(|pointer| pointer.rsplit('/').next());
        pointer.filter(|field| !field.is_empty()).or(source.parameter.as_deref())
    }
}

/// What the API says is wrong; `None` when it is not the API that speaks.
pub(super) fn error_of(answer: &Answer) -> Option<ErrorView> {
    let body: Errors = answer.json().ok()?;
    let first = body.errors.into_iter().next()?;
    (!answer.status.is_success() && !first.code.is_empty()).then_some(first)
}

/// A webhook's body.
#[derive(Deserialize)]
struct Hooked {
    data: Event,
}

#[derive(Deserialize)]
struct Event {
    event_type: String,
    payload: Payload,
}

#[derive(Deserialize)]
struct Payload {
    #[serde(default)]
    fax_id: String,
    direction: Option<String>,
    client_state: Option<String>,
    failure_reason: Option<String>,
    page_count: Option<u32>,
    call_duration_secs: Option<u32>,
}

/// The news in a webhook whose signature was right.
///
/// # Errors
/// [`WebhookRefusal::Malformed`] where it names no fax or is something else.
pub(super) fn read_event(body: &[u8]) -> Result<Vec<News>, WebhookRefusal> {
    let Hooked { data: Event { event_type, payload } } =
        serde_json::from_slice(body).map_err(|error| WebhookRefusal::Malformed(place(&error)))?;
    // An application that also receives faxes reports those to the same place.
    if payload.direction.as_deref() == Some("inbound") {
        return Ok(Vec::new());
    }
    if payload.fax_id.is_empty() {
        return Err(WebhookRefusal::Malformed("it names no fax".into()));
    }
    // `status` in the payload differs between the vendor's schema and prose; the event's type does not.
    let status = match event_type.as_str() {
        "fax.delivered" => Status::Ended(Report {
            pages_sent: payload.page_count,
            seconds: payload.call_duration_secs,
            ..Report::bare(Outcome::Delivered)
        }),
        "fax.failed" => Status::Ended(failed(payload.failure_reason.as_deref())),
        _ => Status::Working,
    };
    let reference = payload.client_state.and_then(|state| STANDARD.decode(state).ok());
    Ok(vec![News {
        provider_ref: Some(payload.fax_id),
        reference: reference.and_then(|state| String::from_utf8(state).ok()),
        status,
    }])
}
