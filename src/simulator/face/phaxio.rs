//! The face of Phaxio API v2.1 (phaxio.com/docs), as far as a bridge uses it.
//!
//! | request | answer |
//! | --- | --- |
//! | `POST /v2.1/faxes` | multipart form; 200 and the fax's number |
//! | `GET /v2.1/faxes` | the list: `tag[job]`, `created_after`, `created_before`, `status`, `phone_number`, `direction`, pages |
//! | `GET /v2.1/faxes/{id}` | the fax |
//! | `POST /v2.1/faxes/{id}/cancel` | 200, the wish is noted |
//! | `DELETE /v2.1/faxes/{id}/file` | 200, the stored document is gone |
//!
//! Every answer is an envelope `{"success", "message", "data"}`. Narrower than the original: one number and one
//! uploaded file per fax (no `content_url`), and no test keys, so no `test_fail`. Of the tags it keeps `job`.

use std::sync::Arc;

use aws_lc_rs::{digest, hmac};
use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::Face;
use super::form::{Form, Question, Violation, page_of, wrong};
use crate::delivery::simulator::wire::Standing;
use crate::job;
use crate::simulator::api::{self, Api, Ending, Message, Refusal};
use crate::simulator::book::Fax;
use crate::simulator::office::{Office, Submitted};
use crate::text::hex;

/// What the simulator's codes are called here: type, id, text. What is not in here is `generalError` 9917, which the
/// vendor does not have.
const CODES: &[(&str, &str, u32, &str)] = &[
    ("line.busy", "lineError", 17, "User busy"),
    ("line.no_answer", "lineError", 16, "Ring timeout"),
    // Nothing here tells a voice from a mute machine.
    ("line.voice", "faxError", 14, "Timeout at the start of the fax"),
    ("line.not_in_service", "lineError", 34, "Number not operational"),
    ("line.blocked", "lineError", 50, "Call rejected"),
    ("fax.no_tone", "faxError", 13, "Timeout while waiting for the fax"),
    ("fax.line_trouble", "faxError", 12, "Training failed"),
    ("fax.partly_sent", "lineError", 11, "Call dropped"),
    ("document.unreadable", "documentConversionError", 4, "Document could not be converted"),
    ("cancelled", "faxError", 75, "Cancelled by user"),
];

/// Fields of a submit.
const FIELDS: &[&str] = &[
    "to",
    "to[]",
    "header_text",
    "caller_id",
    "callback_url",
    "cancel_timeout",
    "batch_delay",
    "batch_collision_avoidance",
];

/// Parameters of the list.
const PARAMETERS: &[&str] = &[
    "tag[job]",
    "created_after",
    "created_before",
    "status",
    "phone_number",
    "direction",
    "per_page",
    "page",
];

/// Tags of one fax.
const TAGS_AT_MOST: usize = 10;

pub(super) struct Phaxio;

impl Api for Phaxio {
    const FACE: Face = Face::Phaxio;
    type Order = ();

    fn routes() -> Router<Arc<Office>> {
        Router::new()
            .route("/v2.1/faxes", post(api::submit::<Phaxio>).get(list))
            .route("/v2.1/faxes/{id}", get(api::show::<Phaxio>))
            .route("/v2.1/faxes/{id}/cancel", post(api::cancel::<Phaxio>))
            .route("/v2.1/faxes/{id}/file", delete(api::delete::<Phaxio>))
    }

    fn lets_in(request: &Request, office: &Office) -> bool {
        api::login_of(request, office).is_some()
    }

    async fn read(office: &Arc<Office>, request: Request) -> Result<(Submitted, ()), Box<Response>> {
        // Names are numbers here.
        let chance = job::chance().map_err(|_| Box::new(Phaxio::refuse(Refusal::Trouble)))?;
        let id = (1 + (chance & 0xffff_ffff_ffff)).to_string();
        let read = Form::read(office, &id, &["file", "file[]"], request).await;
        let submitted = read.and_then(|form| Ok(submitted(id, form)?));
        Ok((submitted.map_err(|unread| unread.answer::<Phaxio>(invalid))?, ()))
    }

    fn taken(fax: &Fax, (): &()) -> Response {
        done("Fax queued for sending", &json!({ "id": number(fax) }))
    }

    fn refuse(refusal: Refusal) -> Response {
        let (status, message) = match refusal {
            Refusal::WrongCredentials => (StatusCode::UNAUTHORIZED, "invalid API credentials"),
            Refusal::DocumentRefused => return invalid(&wrong("file", "no pages can be made of it")),
            Refusal::NumberRefused => return invalid(&wrong("to", "is not a valid phone number")),
            Refusal::NoBalance => (StatusCode::PAYMENT_REQUIRED, "insufficient funds"),
            Refusal::RateLimited => (StatusCode::TOO_MANY_REQUESTS, "too many requests"),
            Refusal::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "nothing was taken, come again"),
            Refusal::NoSuchFax => (StatusCode::NOT_FOUND, "that fax does not exist"),
            Refusal::NotEnded => return invalid(&wrong("id", "this fax has not ended")),
            Refusal::BeingSent | Refusal::Ended => {
                return invalid(&wrong("id", "this fax can no longer be cancelled"));
            }
            Refusal::Trouble => (StatusCode::INTERNAL_SERVER_ERROR, "something went wrong"),
        };
        refused(status, message)
    }

    fn shown(fax: &Fax, _asked: &HeaderMap) -> Response {
        done("Metadata for fax", &view(fax))
    }

    fn cancelled(fax: &Fax) -> Response {
        done("Fax cancellation scheduled successfully.", &json!({ "id": number(fax) }))
    }

    fn deleted() -> Response {
        Json(json!({ "success": true, "message": "Deleted files successfully!" })).into_response()
    }

    /// Signed under the account's key.
    fn message(ending: &Ending<'_>) -> Option<Message> {
        let boundary = format!("simulator-{:016x}", job::chance().ok()?);
        let success = (ending.fax.status == Standing::Delivered).to_string();
        let view = view(ending.fax).to_string();
        // Sorted by name, as they are signed.
        let fields = [("direction", "sent"), ("fax", &view), ("is_test", "false"), ("success", &success)];
        let mut body = Vec::new();
        let mut signed = ending.url.to_owned();
        for (name, value) in fields {
            let head = format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n");
            body.extend_from_slice(head.as_bytes());
            body.extend_from_slice(value.as_bytes());
            body.extend_from_slice(b"\r\n");
            signed.push_str(name);
            signed.push_str(value);
        }
        if let Some(document) = ending.document {
            let head = format!(
                "--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"fax.pdf\"\r\n\
                 Content-Type: application/pdf\r\n\r\n"
            );
            body.extend_from_slice(head.as_bytes());
            body.extend_from_slice(document);
            body.extend_from_slice(b"\r\n");
            signed.push_str("file");
            signed.push_str(&hex(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, document).as_ref()));
        }
        body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, ending.key);
        let signature = hex(hmac::sign(&key, signed.as_bytes()).as_ref());
        let kind = HeaderValue::try_from(format!("multipart/form-data; boundary={boundary}")).ok()?;
        Message::of(kind, body).with("x-phaxio-signature", signature)
    }
}

/// The order in a form, if the vendor would accept it.
fn submitted(id: String, mut form: Form) -> Result<Submitted, Violation> {
    form.knows_only(FIELDS, &["tag"])?;
    let number = match (form.number("to")?, form.number("to[]")?) {
        (Some(number), None) | (None, Some(number)) => number.to_owned(),
        (Some(_), Some(_)) => return Err(wrong("to", "stands there twice")),
        (None, None) => return Err(wrong("to", "is missing")),
    };
    form.number("caller_id")?;
    form.short("header_text", 50)?;
    form.whole("cancel_timeout", 3..=60)?;
    form.whole("batch_delay", 0..=3600)?;
    form.word("batch_collision_avoidance", &["true", "false"])?;
    let webhook_url = form.url("callback_url")?.map(str::to_owned);
    let tags = form.entries("tag");
    if tags.len() > TAGS_AT_MOST {
        return Err(wrong("tag", format!("there are more than {TAGS_AT_MOST}")));
    }
    let reference = tags.iter().find(|(key, _)| *key == "job").map_or("", |(_, value)| *value).to_owned();
    let document = form.document.take().ok_or_else(|| wrong("file", "there is nothing to fax"))?;
    Ok(Submitted { webhook_url, ..Submitted::of(Face::Phaxio, id, document, reference, number) })
}

async fn list(State(office): State<Arc<Office>>, Query(query): Query<Vec<(String, String)>>) -> Response {
    listed(&office, query).unwrap_or_else(|violation| invalid(&violation))
}

fn listed(office: &Office, query: Vec<(String, String)>) -> Result<Response, Violation> {
    let asked = Question::new(query, PARAMETERS)?;
    let (after, before) =
        (asked.read::<Timestamp>("created_after")?, asked.read::<Timestamp>("created_before")?);
    let size = asked.whole("per_page", 25, 1..=1000)?;
    let page = asked.whole("page", 1, 1..=usize::MAX)?;
    if asked.one("direction").is_some_and(|direction| direction != "sent") {
        return Err(wrong("direction", "the simulator sends only"));
    }
    let faxes = office.book.search(Face::Phaxio, |fax| {
        after.is_none_or(|after| fax.taken >= after)
            && before.is_none_or(|before| fax.taken <= before)
            && asked.one("tag[job]").is_none_or(|job| fax.label() == Some(job))
            && asked.one("phone_number").is_none_or(|number| fax.number == number)
            && asked.one("status").is_none_or(|status| word(fax.status) == status)
    });
    let views: Vec<Value> = page_of(&faxes, page, size).iter().map(view).collect();
    let paging = json!({ "total": faxes.len(), "per_page": size, "page": page });
    let message = "Retrieved faxes successfully";
    Ok(Json(json!({ "success": true, "message": message, "data": views, "paging": paging })).into_response())
}

fn word(status: Standing) -> &'static str {
    match status {
        Standing::Queued => "queued",
        Standing::Sending => "inprogress",
        Standing::Delivered => "success",
        Standing::Failed | Standing::Cancelled => "failure",
    }
}

/// The vendor's names of faxes are numbers.
fn number(fax: &Fax) -> Option<u64> {
    fax.id.parse().ok()
}

/// The fax in the vendor's words. It does not say how many pages arrived: `num_pages` are those of the document.
fn view(fax: &Fax) -> Value {
    let code = fax.result.as_ref().map_or("cancelled", |result| result.code.as_str());
    let failed = matches!(fax.status, Standing::Failed | Standing::Cancelled);
    let error = failed.then(|| {
        let known = CODES.iter().find(|(own, ..)| *own == code);
        known.unwrap_or(&("", "generalError", 9917, "General disturbance"))
    });
    let (kind, id, text) = (error.map(|e| e.1), error.map(|e| e.2), error.map(|e| e.3));
    json!({
        "id": number(fax), "direction": "sent", "num_pages": fax.pages.unwrap_or(0), "status": word(fax.status),
        "is_test": false, "created_at": fax.taken, "completed_at": fax.ended, "caller_id": null,
        "from_number": null, "to_number": null, "caller_name": null, "cost": 0,
        "tags": fax.label().map_or_else(|| json!({}), |label| json!({ "job": label })), "error_id": id, "error_type": kind, "error_message": text,
        "recipients": [{
            "phone_number": fax.number, "status": word(fax.status), "retry_count": 0,
            "completed_at": fax.ended, "bitrate": null, "resolution": null,
            "error_type": kind, "error_id": id, "error_message": text,
        }],
        "barcodes": [],
    })
}

fn done(message: &str, data: &Value) -> Response {
    Json(json!({ "success": true, "message": message, "data": data })).into_response()
}

fn refused(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({ "success": false, "message": message }))).into_response()
}

fn invalid(violation: &Violation) -> Response {
    refused(StatusCode::UNPROCESSABLE_ENTITY, &format!("{} {}", violation.field, violation.what))
}
