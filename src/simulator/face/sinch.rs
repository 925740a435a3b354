//! The face of Sinch Fax API v3 (developers.sinch.com/docs/fax/api-reference), as far as a bridge uses it.
//!
//! | request | answer |
//! | --- | --- |
//! | `POST /v3/projects/{project}/faxes` | multipart form; 200 and the fax |
//! | `GET /v3/projects/{project}/faxes` | the list: `createTime>=`, `createTime<=`, `to` (a beginning), `direction`, `status`, pages |
//! | `GET .../faxes/{id}` | the fax |
//! | `DELETE .../faxes/{id}/file` | 204, the stored document is gone |
//!
//! Narrower than the original: one number and one uploaded file per fax (no JSON, no `contentUrl`, no cover), webhooks
//! as JSON only. Of the labels it keeps `job`. Any project goes; the vendor has no cancelling, so the own API's
//! `/v1/faxes/{id}/cancel` plays the person at the dashboard.

use std::sync::Arc;

use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::Face;
use super::form::{Form, Question, Violation, page_of, wrong};
use crate::delivery::simulator::wire::Standing;
use crate::simulator::api::{self, Api, Ending, Message, Refusal};
use crate::simulator::book::Fax;
use crate::simulator::office::{Office, Submitted};

/// What the simulator's codes are called here: type, code, text. What is not in here is `FAX_ERROR` 9917, which the
/// vendor does not have.
const CODES: &[(&str, &str, u32, &str)] = &[
    ("line.busy", "CALL_ERROR", 17, "Busy"),
    ("line.no_answer", "CALL_ERROR", 16, "Ring timeout"),
    // Nothing here tells a voice from a mute machine.
    ("line.voice", "FAX_ERROR", 26, "Remote fax machine failed to respond"),
    ("line.not_in_service", "CALL_ERROR", 34, "Number not operational"),
    ("line.blocked", "FAX_ERROR", 133, "Number not permitted"),
    ("fax.no_tone", "FAX_ERROR", 132, "No fax tone"),
    ("fax.line_trouble", "FAX_ERROR", 12, "Training failed"),
    ("fax.partly_sent", "CALL_ERROR", 11, "Call dropped"),
    ("document.unreadable", "DOCUMENT_CONVERSION_ERROR", 133, "Could not normalise the PDF"),
    ("cancelled", "FAX_ERROR", 75, "Cancelled by user"),
];

/// Fields of a submit.
const FIELDS: &[&str] = &[
    "to",
    "from",
    "headerText",
    "headerPageNumbers",
    "headerTimeZone",
    "maxRetries",
    "retryDelaySeconds",
    "callbackUrl",
    "callbackUrlContentType",
    "imageConversionMethod",
    "resolution",
    "inProgressNotifications",
    "serviceId",
];

/// Parameters of the list. `labels` is left out: how it is written in a query is not known.
const PARAMETERS: &[&str] =
    &["createTime>", "createTime<", "direction", "status", "to", "from", "serviceId", "pageSize", "page"];

const STATUSES: &[&str] = &["QUEUED", "IN_PROGRESS", "COMPLETED", "FAILURE"];

const JSON: &str = "application/json";

pub(super) struct Sinch;

impl Api for Sinch {
    const FACE: Face = Face::Sinch;
    type Order = ();

    fn routes() -> Router<Arc<Office>> {
        Router::new()
            .route("/v3/projects/{project}/faxes", post(api::submit::<Sinch>).get(list))
            .route("/v3/projects/{project}/faxes/{id}", get(api::show::<Sinch>))
            .route("/v3/projects/{project}/faxes/{id}/file", delete(api::delete::<Sinch>))
    }

    fn lets_in(request: &Request, office: &Office) -> bool {
        api::login_of(request, office).is_some()
    }

    async fn read(office: &Arc<Office>, request: Request) -> Result<(Submitted, ()), Box<Response>> {
        let id = office.next_id().map_err(|fault| Box::new(api::disk_trouble::<Sinch>(&fault)))?;
        let read = Form::read(office, &id, &["file"], request).await;
        let submitted = read.and_then(|form| Ok(submitted(id, form)?));
        Ok((submitted.map_err(|unread| unread.answer::<Sinch>(invalid))?, ()))
    }

    fn taken(fax: &Fax, (): &()) -> Response {
        Json(view(fax)).into_response()
    }

    fn refuse(refusal: Refusal) -> Response {
        let (status, short) = match refusal {
            // Without a body, as the vendor says.
            Refusal::WrongCredentials => return StatusCode::UNAUTHORIZED.into_response(),
            Refusal::DocumentRefused => return invalid(&wrong("file", "no pages can be made of it")),
            Refusal::NumberRefused => return invalid(&wrong("to", "not a phone number")),
            Refusal::NoBalance => (StatusCode::PAYMENT_REQUIRED, "Payment required"),
            Refusal::RateLimited => (StatusCode::TOO_MANY_REQUESTS, "Rate limit exceeded"),
            Refusal::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "Service unavailable"),
            Refusal::NoSuchFax => (StatusCode::NOT_FOUND, "Not found"),
            Refusal::NotEnded | Refusal::BeingSent | Refusal::Ended => {
                (StatusCode::BAD_REQUEST, "Bad Request")
            }
            Refusal::Trouble => (StatusCode::INTERNAL_SERVER_ERROR, "Internal service error"),
        };
        error(status, short)
    }

    fn shown(fax: &Fax, _asked: &HeaderMap) -> Response {
        Json(view(fax)).into_response()
    }

    /// The vendor has no cancelling.
    fn cancelled(fax: &Fax) -> Response {
        Json(view(fax)).into_response()
    }

    /// Unsigned, as the vendor's are.
    fn message(ending: &Ending<'_>) -> Option<Message> {
        let fax = view(ending.fax);
        let mut event = json!({ "event": "FAX_COMPLETED", "eventTime": ending.now, "fax": fax });
        if let (Some(document), Some(event)) = (ending.document, event.as_object_mut()) {
            event.insert("files".into(), json!([{ "file": STANDARD.encode(document), "fileType": "PDF" }]));
        }
        Message::json(&event)
    }
}

/// The order in a form, if the vendor would accept it.
fn submitted(id: String, mut form: Form) -> Result<Submitted, Violation> {
    form.knows_only(FIELDS, &["labels"])?;
    let number = form.number("to")?.ok_or_else(|| wrong("to", "is missing"))?.to_owned();
    form.number("from")?;
    form.short("headerText", 50)?;
    for name in ["headerPageNumbers", "inProgressNotifications"] {
        form.word(name, &["true", "false"])?;
    }
    if form.one("headerTimeZone")?.is_some_and(|zone| jiff::tz::TimeZone::get(zone).is_err()) {
        return Err(wrong("headerTimeZone", "is no time zone"));
    }
    form.whole("maxRetries", 0..=5)?;
    form.whole("retryDelaySeconds", 30..=300)?;
    form.word("imageConversionMethod", &["HALFTONE", "MONOCHROME"])?;
    form.word("resolution", &["FINE", "SUPERFINE"])?;
    let webhook_url = form.url("callbackUrl")?.map(str::to_owned);
    let kind = form.word("callbackUrlContentType", &["multipart/form-data", JSON])?;
    if webhook_url.is_some() && kind != Some(JSON) {
        return Err(wrong("callbackUrlContentType", format!("the simulator sends {JSON} only")));
    }
    let labels = form.entries("labels");
    let reference = labels.iter().find(|(key, _)| *key == "job").map_or("", |(_, value)| *value).to_owned();
    let document = form.document.take().ok_or_else(|| wrong("file", "there is no content to fax"))?;
    Ok(Submitted { webhook_url, ..Submitted::of(Face::Sinch, id, document, reference, number) })
}

async fn list(State(office): State<Arc<Office>>, Query(query): Query<Vec<(String, String)>>) -> Response {
    listed(&office, query).unwrap_or_else(|violation| invalid(&violation))
}

fn listed(office: &Office, query: Vec<(String, String)>) -> Result<Response, Violation> {
    let asked = Question::new(query, PARAMETERS)?;
    let (since, until) = (asked.read::<Timestamp>("createTime>")?, asked.read::<Timestamp>("createTime<")?);
    let size = asked.whole("pageSize", 100, 1..=1000)?;
    let page = asked.whole("page", 1, 1..=usize::MAX)?;
    if asked.one("direction").is_some_and(|direction| direction != "OUTBOUND") {
        return Err(wrong("direction", "the simulator sends only"));
    }
    if asked.one("status").is_some_and(|status| !STATUSES.contains(&status)) {
        return Err(wrong("status", "must be a status"));
    }
    let faxes = office.book.search(Face::Sinch, |fax| {
        since.is_none_or(|since| fax.taken >= since)
            && until.is_none_or(|until| fax.taken <= until)
            && asked.one("to").is_none_or(|start| fax.number.starts_with(start))
            && asked.one("status").is_none_or(|status| word(fax.status) == status)
    });
    let views: Vec<Value> = page_of(&faxes, page, size).iter().map(view).collect();
    Ok(Json(json!({
        "faxes": views, "page": page, "pageSize": size, "totalItems": faxes.len(),
        "totalPages": faxes.len().div_ceil(size),
    }))
    .into_response())
}

fn word(status: Standing) -> &'static str {
    match status {
        Standing::Queued => "QUEUED",
        Standing::Sending => "IN_PROGRESS",
        Standing::Delivered => "COMPLETED",
        Standing::Failed | Standing::Cancelled => "FAILURE",
    }
}

/// The fax in the vendor's words.
fn view(fax: &Fax) -> Value {
    let mut view = json!({
        "id": fax.id, "direction": "OUTBOUND", "to": fax.number, "status": word(fax.status),
        "maxRetries": 0, "retryDelaySeconds": 60, "retryCount": 0,
        "createTime": fax.taken, "hasFile": !fax.deleted,
    });
    let Some(fields) = view.as_object_mut() else { return view };
    if let Some(label) = fax.label() {
        fields.insert("labels".into(), json!({ "job": label }));
    }
    if let Some(ended) = fax.ended {
        fields.insert("completedTime".into(), json!(ended));
        fields.insert("price".into(), json!({ "currencyCode": "USD", "amount": "0.0000" }));
    }
    if let Some(pages) = fax.pages {
        fields.insert("numberOfPages".into(), json!(pages));
    }
    if let Some(result) = &fax.result {
        fields.insert("pagesSentSuccessfully".into(), json!(result.pages_sent));
    }
    let code = fax.result.as_ref().map_or("cancelled", |result| result.code.as_str());
    if matches!(fax.status, Standing::Failed | Standing::Cancelled) {
        let known = CODES.iter().find(|(own, ..)| *own == code);
        let (_, kind, number, text) = known.unwrap_or(&("", "FAX_ERROR", 9917, "General disturbance"));
        fields.insert("errorType".into(), json!(kind));
        fields.insert("errorCode".into(), json!(number));
        fields.insert("errorMessage".into(), json!(text));
    }
    view
}

/// 422, in the form of the vendor's error object.
fn invalid(violation: &Violation) -> Response {
    let status = StatusCode::UNPROCESSABLE_ENTITY;
    let violations = json!([{ "field": violation.field, "description": violation.what }]);
    let body = json!({
        "code": status.as_u16(), "status": "INVALID_ARGUMENT", "message": "Invalid parameters",
        "details": [{ "type": "BadRequest", "fieldViolations": violations }],
    });
    (status, Json(body)).into_response()
}

/// Other errors, in the form of the vendor's examples: the code is text, and the short word is called `error`.
fn error(status: StatusCode, short: &str) -> Response {
    let message = format!("{short}: this is the simulator");
    let body = json!({ "code": status.as_u16().to_string(), "error": short, "message": message });
    (status, Json(body)).into_response()
}
