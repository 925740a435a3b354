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

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use aws_lc_rs::{digest, hmac};
use axum::extract::{ConnectInfo, DefaultBodyLimit, Path, Query, Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use jiff::Timestamp;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use serde_json::{Value, json};

use super::form::{Form, Question, Unread, Violation, complain, page_of, shows_password, wrong};
use super::{Face, Message, disturbed};
use crate::delivery::simulator::wire::Standing;
use crate::job;
use crate::simulator::book::{Cancel, Fax};
use crate::simulator::line::Cut;
use crate::simulator::office::{Office, Submitted, Took};
use crate::simulator::script::Answer;
use crate::simulator::server::drain;
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

/// What lies under `/phaxio`.
pub(super) fn routes(office: &Arc<Office>) -> Router<Arc<Office>> {
    Router::new()
        .route("/v2.1/faxes", post(submit).get(list))
        .route("/v2.1/faxes/{id}", get(show))
        .route("/v2.1/faxes/{id}/cancel", post(cancel))
        .route("/v2.1/faxes/{id}/file", delete(delete_file))
        .layer(DefaultBodyLimit::disable())
        .layer(middleware::from_fn_with_state(Arc::clone(office), only_with_password))
}

/// The webhook to `url` that reports how `fax` ended, signed under `key`.
pub(super) fn message(fax: &Fax, document: Option<&[u8]>, url: &str, key: &[u8]) -> Option<Message> {
    let boundary = format!("simulator-{:016x}", job::chance().ok()?);
    let success = (fax.status == Standing::Delivered).to_string();
    let view = view(fax).to_string();
    // Sorted by name, as they are signed.
    let fields = [("direction", "sent"), ("fax", &view), ("is_test", "false"), ("success", &success)];
    let mut body = Vec::new();
    let mut signed = url.to_owned();
    for (name, value) in fields {
        let head = format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n");
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(value.as_bytes());
        body.extend_from_slice(b"\r\n");
        signed.push_str(name);
        signed.push_str(value);
    }
    if let Some(document) = document {
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
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key), signed.as_bytes());
    let mut headers = HeaderMap::new();
    let kind = format!("multipart/form-data; boundary={boundary}");
    headers.insert(CONTENT_TYPE, HeaderValue::try_from(kind).ok()?);
    headers.insert("x-phaxio-signature", HeaderValue::try_from(hex(tag.as_ref())).ok()?);
    Some(Message { headers, body })
}

async fn only_with_password(State(office): State<Arc<Office>>, request: Request, next: Next) -> Response {
    if shows_password(request.headers(), &office) {
        return next.run(request).await;
    }
    drain(request).await;
    refused(StatusCode::UNAUTHORIZED, "invalid API credentials")
}

async fn submit(
    State(office): State<Arc<Office>>,
    ConnectInfo(line): ConnectInfo<Cut>,
    request: Request,
) -> Response {
    // Names are numbers here.
    let Ok(chance) = job::chance() else { return trouble() };
    let id = (1 + (chance & 0xffff_ffff_ffff)).to_string();
    let read = Form::read(&office, &id, &["file", "file[]"], request).await;
    let submitted = match read.and_then(|form| submitted(id, form).map_err(Unread::Wrong)) {
        Ok(submitted) => submitted,
        Err(Unread::Wrong(violation)) => return invalid(&violation),
        Err(Unread::Disk(fault)) => return disk_trouble(&fault),
    };
    match office.take(submitted).await {
        Took::NotTaken(answer) => refusal(answer, &line),
        Took::Full => wait_a_second(StatusCode::SERVICE_UNAVAILABLE, "come again"),
        Took::Taken(_, Answer::FailureTaken) => trouble(),
        Took::Taken(fax, answer) => disturbed(answer, &line)
            .unwrap_or_else(|| done("Fax queued for sending", &json!({ "id": number(&fax) }))),
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
    let received = form.document.take().ok_or_else(|| wrong("file", "there is nothing to fax"))?;
    Ok(Submitted {
        details: BTreeMap::new(),
        id,
        face: Face::Phaxio,
        reference,
        number,
        pages_announced: None,
        webhook_url,
        document: received.document,
        sha256: received.sha256,
    })
}

/// The answer to a submit that was not taken.
fn refusal(answer: Answer, line: &Cut) -> Response {
    match answer {
        Answer::DocumentRefused => invalid(&wrong("file", "no pages can be made of it")),
        Answer::NumberRefused => invalid(&wrong("to", "is not a valid phone number")),
        Answer::RateLimited => wait_a_second(StatusCode::TOO_MANY_REQUESTS, "too many requests"),
        Answer::Unavailable => {
            wait_a_second(StatusCode::SERVICE_UNAVAILABLE, "nothing was taken, come again")
        }
        Answer::NoBalance => refused(StatusCode::PAYMENT_REQUIRED, "insufficient funds"),
        other => disturbed(other, line).unwrap_or_else(|| StatusCode::BAD_GATEWAY.into_response()),
    }
}

fn fax_called(office: &Office, id: &str) -> Option<Fax> {
    office.book.fax(id).filter(|fax| fax.face == Face::Phaxio)
}

async fn show(State(office): State<Arc<Office>>, Path(id): Path<String>) -> Response {
    fax_called(&office, &id).map_or_else(no_such_fax, |fax| done("Metadata for fax", &view(&fax)))
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

async fn cancel(State(office): State<Arc<Office>>, Path(id): Path<String>) -> Response {
    if fax_called(&office, &id).is_none() {
        return no_such_fax();
    }
    let now = office.options.clock.now();
    match office.book.cancel(&id, now) {
        Cancel::Done(fax) => {
            office.log(&json!({ "at": now, "event": "cancelled", "id": id }));
            if let Err(fault) = office.records.note(&fax).await {
                return disk_trouble(&fault);
            }
            done("Fax cancellation scheduled successfully.", &json!({ "id": number(&fax) }))
        }
        Cancel::TooLate => invalid(&wrong("id", "this fax can no longer be cancelled")),
        Cancel::Unknown => no_such_fax(),
    }
}

async fn delete_file(State(office): State<Arc<Office>>, Path(id): Path<String>) -> Response {
    match fax_called(&office, &id) {
        Some(fax) if !fax.status.is_final() => return invalid(&wrong("id", "this fax has not ended")),
        Some(fax) if !fax.deleted => {}
        _ => return no_such_fax(),
    }
    if let Err(fault) = office.records.delete(&id).await {
        return disk_trouble(&fault);
    }
    if let Some(fax) = office.book.delete(&id) {
        office.log(&json!({ "at": office.options.clock.now(), "event": "deleted", "id": id }));
        if let Err(fault) = office.records.note(&fax).await {
            return disk_trouble(&fault);
        }
    }
    Json(json!({ "success": true, "message": "Deleted files successfully!" })).into_response()
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

fn no_such_fax() -> Response {
    refused(StatusCode::NOT_FOUND, "that fax does not exist")
}

fn trouble() -> Response {
    refused(StatusCode::INTERNAL_SERVER_ERROR, "something went wrong")
}

fn disk_trouble(fault: &io::Error) -> Response {
    complain(fault);
    trouble()
}

fn wait_a_second(status: StatusCode, message: &str) -> Response {
    ([(RETRY_AFTER, "1")], refused(status, message)).into_response()
}
