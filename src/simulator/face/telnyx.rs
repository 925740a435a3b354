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
use axum::extract::{Query, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

pub(super) use events::progress;
pub use events::public_key;

use super::Face;
use crate::delivery::simulator::wire::Standing;
use crate::job;
use crate::simulator::api::{self, Api, Ending, Message, Refusal};
use crate::simulator::book::Fax;
use crate::simulator::office::{Office, Submitted};

mod events;
mod filter;
mod order;
#[cfg(test)]
mod tests;

/// An order is longer than this only by mistake.
const ORDER_AT_MOST: usize = 64 << 10;

pub(super) struct Telnyx;

impl Api for Telnyx {
    const FACE: Face = Face::Telnyx;
    type Order = ();

    fn routes() -> Router<Arc<Office>> {
        Router::new()
            .route("/v2/faxes", post(api::submit::<Telnyx>).get(list))
            .route("/v2/faxes/{id}", get(api::show::<Telnyx>).delete(api::delete::<Telnyx>))
            .route("/v2/faxes/{id}/actions/cancel", post(cancel))
    }

    fn lets_in(request: &Request, office: &Office) -> bool {
        api::shows_token(request, office)
    }

    async fn read(office: &Arc<Office>, request: Request) -> Result<(Submitted, ()), Box<Response>> {
        let kind = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if !kind.eq_ignore_ascii_case("application/json") {
            api::drain(request).await;
            let detail = "the simulator takes application/json only";
            return Err(refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, "Unsupported media type", detail));
        }
        let body = to_bytes(request.into_body(), ORDER_AT_MOST).await.map_err(|_| {
            refuse(StatusCode::PAYLOAD_TOO_LARGE, "Request too large", "no order is that long")
        })?;
        let order = order::read(&body)
            .map_err(|faults| Box::new(refusal(StatusCode::UNPROCESSABLE_ENTITY, &faults)))?;
        let submitted = enter(office, order).await;
        Ok((submitted.map_err(|fault| Box::new(api::disk_trouble::<Telnyx>(&fault)))?, ()))
    }

    fn taken(fax: &Fax, (): &()) -> Response {
        (StatusCode::ACCEPTED, Json(json!({ "data": view(fax) }))).into_response()
    }

    fn refuse(refusal: Refusal) -> Response {
        let (status, title, detail) = match refusal {
            Refusal::WrongCredentials => {
                (StatusCode::UNAUTHORIZED, "Authentication failed", "no such API key")
            }
            Refusal::DocumentRefused => {
                return at("media_url", "no pages can be made of what lies there");
            }
            Refusal::NumberRefused => return at("to", "is no telephone number"),
            Refusal::NoBalance => {
                (StatusCode::PAYMENT_REQUIRED, "Insufficient funds", "the account has no balance")
            }
            Refusal::RateLimited => {
                (StatusCode::TOO_MANY_REQUESTS, "Too many requests", "the limit is exceeded")
            }
            Refusal::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "Service unavailable", "come again"),
            Refusal::NoSuchFax => {
                (StatusCode::NOT_FOUND, "Resource not found", "there is no fax with that id")
            }
            Refusal::NotEnded => (StatusCode::UNPROCESSABLE_ENTITY, "Invalid state", "the fax has not ended"),
            Refusal::Ended => (StatusCode::UNPROCESSABLE_ENTITY, "Invalid state", "the fax has ended"),
            // Which goes on.
            Refusal::BeingSent => return noted(),
            Refusal::Trouble => (StatusCode::INTERNAL_SERVER_ERROR, "Internal error", "something went wrong"),
        };
        *refuse(status, title, detail)
    }

    /// The fax of that name, unless it was deleted.
    fn known(office: &Office, id: &str) -> Result<Fax, Box<Response>> {
        if id.len() != 36 || !id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-') {
            return Err(Box::new(at("id", "is no UUID")));
        }
        let fax = office.book.fax(id).filter(|fax| !fax.deleted);
        fax.ok_or_else(|| Box::new(Telnyx::refuse(Refusal::NoSuchFax)))
    }

    fn shown(fax: &Fax, _asked: &HeaderMap) -> Response {
        Json(json!({ "data": view(fax) })).into_response()
    }

    fn cancelled(_fax: &Fax) -> Response {
        noted()
    }

    fn message(ending: &Ending<'_>) -> Option<Message> {
        events::message(ending)
    }
}

/// A wish is noted, not done.
fn noted() -> Response {
    (StatusCode::ACCEPTED, Json(json!({ "data": { "result": "ok" } }))).into_response()
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

fn refuse(status: StatusCode, title: &'static str, detail: &str) -> Box<Response> {
    Box::new(refusal(status, &[Fault::of(title, detail)]))
}

fn at(pointer: &str, detail: &str) -> Response {
    refusal(StatusCode::UNPROCESSABLE_ENTITY, &[Fault::at(pointer, detail)])
}

/// The order as the office takes it, its document still to come.
async fn enter(office: &Arc<Office>, order: order::Order) -> io::Result<Submitted> {
    let id = new_id()?;
    let document = office.records.store(&id, b"").await?;
    let reference = order.reference.unwrap_or_else(|| id.clone());
    Ok(Submitted {
        webhook_url: order.webhook_url,
        details: order.details,
        ..Submitted::of(Face::Telnyx, id, document, reference, order.to)
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

async fn cancel(State(office): State<Arc<Office>>, names: api::Names) -> Response {
    let open = api::named::<Telnyx>(&office, &names).and_then(|fax| match fax.status.is_final() {
        true => Err(Box::new(Telnyx::refuse(Refusal::Ended))),
        false => Ok(fax),
    });
    api::cancel_fax::<Telnyx>(&office, open).await
}
