//! The face of Telnyx Programmable Fax (API v2), as the vendor's OpenAPI description and developers.telnyx.com
//! (`programmable-fax/send-a-fax-api`, `sending-commands`, `receiving-webhooks`) have it.
//!
//! | request | answer |
//! | --- | --- |
//! | `POST /v2/faxes` | JSON; 202 and the fax, whose document is fetched afterwards |
//! | `GET /v2/faxes/{id}` | the fax, without pages |
//! | `GET /v2/faxes?filter[..]&page[..]` | faxes, newest first |
//! | `POST /v2/faxes/{id}/actions/cancel` | 202: noted, not done; 422 once it has ended |
//! | `DELETE /v2/faxes/{id}` | 204, the fax is gone; 422 before its end |
//!
//! Not shown: uploads (`multipart/form-data`) and stored media. What the API does not accept is refused with
//! `{"errors": [{"code", "title", "detail", "source"}]}`; the codes in there are the simulator's own.

use std::fmt::Write as _;
use std::io;
use std::sync::Arc;

use axum::body::to_bytes;
use axum::extract::{ConnectInfo, Path, Query, Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

pub use events::public_key;
pub(super) use events::{message, progress};

use super::{Face, disturbed, is_right};
use crate::delivery::simulator::wire::Standing;
use crate::job;
use crate::simulator::book::{Cancel, Fax};
use crate::simulator::line::Cut;
use crate::simulator::office::{Office, Submitted, Took};
use crate::simulator::script::Answer;
use crate::simulator::server::drain;

mod events;
mod filter;
mod order;
#[cfg(test)]
mod tests;

/// An order is longer than this only by mistake.
const ORDER_AT_MOST: usize = 64 << 10;

/// What lies under `/telnyx`.
pub(super) fn routes(office: &Arc<Office>) -> Router<Arc<Office>> {
    Router::new()
        .route("/v2/faxes", post(submit).get(list))
        .route("/v2/faxes/{id}", get(show).delete(delete))
        .route("/v2/faxes/{id}/actions/cancel", post(cancel))
        .layer(middleware::from_fn_with_state(Arc::clone(office), only_with_key))
}

/// One thing that is wrong with a request.
struct Fault {
    title: &'static str,
    detail: String,
    /// Where in the body, or which parameter.
    pointer: Option<String>,
}

impl Fault {
    fn of(title: &'static str, detail: impl Into<String>) -> Fault {
        Fault { title, detail: detail.into(), pointer: None }
    }

    fn at(pointer: &str, detail: impl Into<String>) -> Fault {
        Fault { pointer: Some(format!("/{pointer}")), ..Fault::of("Invalid parameter", detail) }
    }
}

fn refusal(status: StatusCode, faults: &[Fault]) -> Response {
    let errors: Vec<Value> = faults
        .iter()
        .map(|fault| {
            let mut error = json!({
                "code": format!("{}00", status.as_u16()), "title": fault.title, "detail": fault.detail,
            });
            if let (Some(pointer), Some(error)) = (&fault.pointer, error.as_object_mut()) {
                error.insert("source".into(), json!({ "pointer": pointer }));
            }
            error
        })
        .collect();
    (status, Json(json!({ "errors": errors }))).into_response()
}

fn refuse(status: StatusCode, title: &'static str, detail: &str) -> Response {
    refusal(status, &[Fault::of(title, detail)])
}

fn come_again(status: StatusCode, title: &'static str, detail: &str) -> Response {
    let mut response = refuse(status, title, detail);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

fn no_such_fax() -> Response {
    refuse(StatusCode::NOT_FOUND, "Resource not found", "there is no fax with that id")
}

fn disk_trouble(fault: &io::Error) -> Response {
    tracing::error!(%fault, "simulator: the record folder fails: {fault}");
    refuse(StatusCode::INTERNAL_SERVER_ERROR, "Internal error", "the record folder fails")
}

async fn only_with_key(State(office): State<Arc<Office>>, request: Request, next: Next) -> Response {
    let shown = request.headers().get(AUTHORIZATION).map_or(&[][..], |value| value.as_bytes());
    if shown.strip_prefix(b"Bearer ").is_some_and(|key| is_right(key, office.options.token.as_bytes())) {
        return next.run(request).await;
    }
    drain(request).await;
    refuse(StatusCode::UNAUTHORIZED, "Authentication failed", "no such API key")
}

async fn submit(
    State(office): State<Arc<Office>>,
    ConnectInfo(line): ConnectInfo<Cut>,
    request: Request,
) -> Response {
    let kind = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    if !kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json")) {
        drain(request).await;
        let detail = "the simulator takes application/json only";
        return refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, "Unsupported media type", detail);
    }
    let Ok(body) = to_bytes(request.into_body(), ORDER_AT_MOST).await else {
        return refuse(StatusCode::PAYLOAD_TOO_LARGE, "Request too large", "no order is that long");
    };
    let order = match order::read(&body) {
        Ok(order) => order,
        Err(faults) => return refusal(StatusCode::UNPROCESSABLE_ENTITY, &faults),
    };
    let submitted = match enter(&office, order).await {
        Ok(submitted) => submitted,
        Err(fault) => return disk_trouble(&fault),
    };
    match office.take(submitted).await {
        Took::NotTaken(answer) => not_taken(answer, &line),
        Took::Full => come_again(StatusCode::SERVICE_UNAVAILABLE, "Queue full", "too many faxes are waiting"),
        Took::Taken(_, Answer::FailureTaken) => {
            refuse(StatusCode::INTERNAL_SERVER_ERROR, "Internal error", "something went wrong")
        }
        Took::Taken(fax, answer) => match disturbed(answer, &line) {
            Some(response) => response,
            None => (StatusCode::ACCEPTED, Json(json!({ "data": view(&fax) }))).into_response(),
        },
    }
}

/// The order as the office takes it, its document still to come.
async fn enter(office: &Arc<Office>, order: order::Order) -> io::Result<Submitted> {
    let id = new_id()?;
    let mut document = office.records.receive(&id).await?;
    let sha256 = document.finish().await?;
    Ok(Submitted {
        reference: order.reference.unwrap_or_else(|| id.clone()),
        id,
        face: Face::Telnyx,
        number: order.to,
        pages_announced: None,
        webhook_url: order.webhook_url,
        document,
        sha256,
        details: order.details,
    })
}

/// A random UUID (RFC 9562 section 5.4), as Telnyx names its faxes.
pub(super) fn new_id() -> io::Result<String> {
    let chance = || job::chance().map_err(|_| io::Error::other("the system has no randomness"));
    Ok(uuid((u128::from(chance()?) << 64) | u128::from(chance()?)))
}

/// `bits` in the shape of a UUID of version 4.
fn uuid(bits: u128) -> String {
    let bits = bits & !(0xf << 76) & !(0x3 << 62) | (0x4 << 76) | (0x2 << 62);
    let mut text = String::with_capacity(36);
    for (place, digit) in format!("{bits:032x}").chars().enumerate() {
        if matches!(place, 8 | 12 | 16 | 20) {
            text.push('-');
        }
        let _ = text.write_char(digit);
    }
    text
}

/// The answer to a submit that was not taken.
fn not_taken(answer: Answer, line: &Cut) -> Response {
    match answer {
        Answer::DocumentRefused => {
            let fault = Fault::at("media_url", "no pages can be made of what lies there");
            refusal(StatusCode::UNPROCESSABLE_ENTITY, &[fault])
        }
        Answer::NumberRefused => {
            refusal(StatusCode::UNPROCESSABLE_ENTITY, &[Fault::at("to", "is no telephone number")])
        }
        Answer::RateLimited => {
            come_again(StatusCode::TOO_MANY_REQUESTS, "Too many requests", "the limit is exceeded")
        }
        Answer::Unavailable => {
            come_again(StatusCode::SERVICE_UNAVAILABLE, "Service unavailable", "come again")
        }
        Answer::NoBalance => {
            refuse(StatusCode::PAYMENT_REQUIRED, "Insufficient funds", "the account has no balance")
        }
        other => disturbed(other, line).unwrap_or_else(|| StatusCode::BAD_GATEWAY.into_response()),
    }
}

/// A fax as the API shows it. Pages and duration are not in it; those come in webhooks only.
fn view(fax: &Fax) -> Value {
    let detail = |key: &str| fax.details.get(key);
    let mut view = json!({
        "record_type": "fax",
        "id": fax.id,
        "direction": "outbound",
        "connection_id": detail("connection_id"),
        "from": detail("from"),
        "to": fax.number,
        "media_url": detail("media_url"),
        "quality": detail("quality"),
        "store_media": false,
        "client_state": detail("client_state").filter(|_| fax.label().is_some()),
        "webhook_url": detail("webhook_url"),
        "webhook_failover_url": "",
        "status": status(fax.status),
        "created_at": fax.taken,
        "updated_at": fax.ended.or(fax.dialled).unwrap_or(fax.taken),
    });
    let reason = failure(fax).filter(|_| !fax.is_silent());
    if let (Some(reason), Some(view)) = (reason, view.as_object_mut()) {
        view.insert("failure_reason".into(), json!(reason));
    }
    view
}

fn status(standing: Standing) -> &'static str {
    match standing {
        Standing::Queued => "queued",
        Standing::Sending => "sending",
        Standing::Delivered => "delivered",
        Standing::Failed | Standing::Cancelled => "failed",
    }
}

/// Why a fax failed, if it did.
fn failure(fax: &Fax) -> Option<&'static str> {
    let code = match fax.status {
        Standing::Cancelled => "cancelled",
        Standing::Failed => fax.result.as_ref().map_or("", |result| result.code.as_str()),
        _ => return None,
    };
    Some(match code {
        "line.busy" => "user_busy",
        "line.no_answer" => "receiver_no_answer",
        // Nobody at Telnyx tells a voice from silence.
        "line.voice" | "fax.no_tone" => "fax_initial_communication_timeout",
        "line.not_in_service" => "receiver_unallocated_number",
        "line.blocked" => "receiver_decline",
        "fax.line_trouble" => "fax_signaling_error",
        "fax.partly_sent" => "receiver_call_dropped",
        "document.unreadable" => "file_format_invalid",
        "document.too_large" => "file_size_limit_exceeded",
        "document.unreachable" => "file_download_failed",
        "cancelled" => "sender_canceled",
        // In no table of theirs.
        _ => "general_disturbance",
    })
}

/// The fax of that name, unless it was deleted.
fn known(office: &Office, id: &str) -> Result<Fax, Box<Response>> {
    if id.len() != 36 || !id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-') {
        let fault = Fault::at("id", "is no UUID");
        return Err(Box::new(refusal(StatusCode::UNPROCESSABLE_ENTITY, &[fault])));
    }
    office.book.fax(id).filter(|fax| !fax.deleted).ok_or_else(|| Box::new(no_such_fax()))
}

async fn show(State(office): State<Arc<Office>>, Path(id): Path<String>) -> Response {
    match known(&office, &id) {
        Ok(fax) => Json(json!({ "data": view(&fax) })).into_response(),
        Err(response) => *response,
    }
}

async fn list(State(office): State<Arc<Office>>, Query(pairs): Query<Vec<(String, String)>>) -> Response {
    let filter = match filter::read(&pairs) {
        Ok(filter) => filter,
        Err(fault) => return refusal(StatusCode::UNPROCESSABLE_ENTITY, &[fault]),
    };
    let mut faxes = office.book.search(Face::Telnyx, |fax| !fax.deleted && filter.takes(fax));
    faxes.reverse();
    let data: Vec<Value> = faxes.iter().skip(filter.skipped()).take(filter.size).map(view).collect();
    Json(json!({
        "data": data,
        "meta": {
            "page_number": filter.number, "page_size": filter.size,
            "total_pages": faxes.len().div_ceil(filter.size), "total_results": faxes.len(),
        },
    }))
    .into_response()
}

async fn cancel(State(office): State<Arc<Office>>, Path(id): Path<String>) -> Response {
    let fax = match known(&office, &id) {
        Ok(fax) => fax,
        Err(response) => return *response,
    };
    if fax.status.is_final() {
        return refuse(StatusCode::UNPROCESSABLE_ENTITY, "Invalid state", "the fax has ended");
    }
    let now = office.options.clock.now();
    if let Cancel::Done(fax) = office.book.cancel(&id, now) {
        office.log(&json!({ "at": now, "event": "cancelled", "id": id }));
        if let Err(fault) = office.records.note(&fax).await {
            return disk_trouble(&fault);
        }
    }
    // Also while it is being sent, which goes on.
    (StatusCode::ACCEPTED, Json(json!({ "data": { "result": "ok" } }))).into_response()
}

async fn delete(State(office): State<Arc<Office>>, Path(id): Path<String>) -> Response {
    match known(&office, &id) {
        Err(response) => return *response,
        Ok(fax) if !fax.status.is_final() => {
            return refuse(StatusCode::UNPROCESSABLE_ENTITY, "Invalid state", "the fax has not ended");
        }
        Ok(_) => {}
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
    StatusCode::NO_CONTENT.into_response()
}
