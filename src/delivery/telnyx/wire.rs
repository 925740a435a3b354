//! The words of Telnyx' API: faxes, lists, errors, events. Fields that an answer may lack are optional here, so that an older or
//! newer API is understood too.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::codes;
use crate::delivery::http::{HttpAnswer, could_be, cut, place};
use crate::delivery::{News, Sought, Status, WebhookRefusal, Whose};
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
    to: Option<String>,
    created_at: Option<String>,
}

impl Fax {
    /// Whether it was submitted with another state than that.
    pub(super) fn is_anothers(&self, client_state: &str) -> bool {
        self.client_state.as_deref().is_some_and(|state| !state.is_empty() && state != client_state)
    }

    /// Whose it is: its state is optional, so only another's state, number or time contradicts us.
    pub(super) fn whose(&self, sought: &Sought<'_>) -> Whose {
        let state = self.client_state.as_deref().filter(|state| !state.is_empty());
        // What is no base64 of a text is nobody's reference of ours.
        let label = state.map(|state| text_in(state).unwrap_or_else(|| "?".to_owned()));
        let made = self.created_at.as_deref().and_then(|time| time.parse::<Timestamp>().ok());
        match sought.whose(label.as_deref()) {
            Whose::Silent if !could_be(sought, self.to.as_deref(), made) => Whose::Another,
            whose => whose,
        }
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

/// The text in a state, which is base64.
fn text_in(state: &str) -> Option<String> {
    String::from_utf8(STANDARD.decode(state).ok()?).ok()
}

/// What the API says is wrong, the first thing of several. Of its three words one is enough: the vendor's description of a 404
/// has but the last.
#[derive(Deserialize)]
pub(super) struct ErrorView {
    code: Option<Value>,
    title: Option<String>,
    detail: Option<String>,
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
    /// Its code, which may be written as a number.
    pub(super) fn code(&self) -> String {
        match &self.code {
            Some(Value::String(code)) => code.clone(),
            Some(Value::Number(code)) => code.to_string(),
            _ => String::new(),
        }
    }

    /// The same in words.
    pub(super) fn text(&self) -> String {
        self.title.clone().or_else(|| self.detail.clone()).unwrap_or_default()
    }

    /// The field that is wrong: the last step of a pointer as `/media_url`, or a parameter.
    pub(super) fn field(&self) -> Option<&str> {
        let source = self.source.as_ref()?;
        let pointer = source.pointer.as_deref().and_then(|pointer| pointer.rsplit('/').next());
        pointer.filter(|field| !field.is_empty()).or(source.parameter.as_deref())
    }
}

/// What the API says is wrong; `None` when it is not the API that speaks.
pub(super) fn error_of(answer: &HttpAnswer) -> Option<ErrorView> {
    let body: Errors = answer.json().ok()?;
    let first = body.errors.into_iter().next()?;
    let says = !first.code().is_empty() || !first.text().is_empty();
    (!answer.status.is_success() && says).then_some(first)
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
    Ok(vec![News {
        provider_ref: Some(payload.fax_id),
        reference: payload.client_state.as_deref().and_then(text_in),
        status,
    }])
}
