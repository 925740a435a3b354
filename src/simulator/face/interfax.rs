//! The face of InterFAX (REST API), as docs.uplandsoftware.com `interfax/documentation/api/rest` and the answers recorded in the
//! vendor's client for Java have it.
//!
//! | request | answer |
//! | --- | --- |
//! | `POST /outbound/faxes?faxNumber=..` | options in the query, the document as the body; 201, empty, with `Location` |
//! | `GET /outbound/faxes/{id}` | the fax; 404 with code -1005 |
//! | `GET /outbound/faxes/completed?ids=..` | those of them that have ended |
//! | `GET /outbound/search?reference=..` | faxes, newest first |
//! | `POST /outbound/faxes/{id}/cancel` | 200 while it waits; 404 with code -1005 later |
//! | `POST /outbound/faxes/{id}/hide` | 200: out of the lists, nothing is erased |
//!
//! Not shown: documents in several parts, uploads in chunks, batches, `resend`. Errors are `{"code", "message", "moreInfo"}`;
//! JSON comes as `text/json`. Callbacks go where the "panel" says, which is an option of the simulator.

use std::io;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Query, Request, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, LOCATION};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::StreamExt;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::Face;
use crate::delivery::simulator::wire::Standing;
use crate::job;
use crate::simulator::api::{self, Api, Ending, Message, Refusal};
use crate::simulator::book::Fax;
use crate::simulator::office::{Office, Submitted};

mod query;
#[cfg(test)]
mod tests;

/// Largest document.
const DOCUMENT_AT_MOST: u64 = 20_000_000;

/// What marks a fax that was taken out of the lists.
const HIDDEN: &str = "hidden";

/// Pairs of a query, in order.
type Pairs = Vec<(String, String)>;

pub(super) struct Interfax;

impl Api for Interfax {
    const FACE: Face = Face::Interfax;
    /// The host that was asked: the answer to an order is a URL.
    type Order = String;

    fn routes() -> Router<Arc<Office>> {
        Router::new()
            .route("/outbound/faxes", post(api::submit::<Interfax>))
            .route("/outbound/faxes/completed", get(completed))
            .route("/outbound/faxes/{id}", get(api::show::<Interfax>))
            .route("/outbound/faxes/{id}/cancel", post(cancel))
            .route("/outbound/faxes/{id}/hide", post(hide))
            .route("/outbound/search", get(search))
    }

    fn lets_in(request: &Request, office: &Office) -> bool {
        api::login_of(request, office).is_some()
    }

    async fn read(office: &Arc<Office>, request: Request) -> Result<(Submitted, String), Box<Response>> {
        let pairs = Query::<Pairs>::try_from_uri(request.uri());
        let pairs = pairs.map_err(|fault| Box::new(fault.into_response()))?.0;
        match query::order(&pairs).and_then(|order| body_is_right(request.headers()).map(|()| order)) {
            Ok(order) => {
                let host = host_of(request.headers()).to_owned();
                Ok((enter(office, order, request).await?, host))
            }
            Err(refusal) => {
                api::drain(request).await;
                Err(refusal)
            }
        }
    }

    fn taken(fax: &Fax, host: &String) -> Response {
        (StatusCode::CREATED, [(CONTENT_TYPE, "text/json".to_owned()), (LOCATION, uri(host, &fax.id))])
            .into_response()
    }

    fn refuse(refusal: Refusal) -> Response {
        let (status, code, message, more) = match refusal {
            Refusal::WrongCredentials => {
                (StatusCode::UNAUTHORIZED, -1003, "Authentication failed", "wrong user name or password")
            }
            Refusal::DocumentRefused => {
                let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
                (status, -1004, "File type is not supported", "no pages can be made of it")
            }
            Refusal::NumberRefused => return wrong("faxNumber: is no telephone number"),
            Refusal::NoBalance => (StatusCode::PAYMENT_REQUIRED, -1006, "Out of credit", ""),
            Refusal::RateLimited => (StatusCode::TOO_MANY_REQUESTS, -1011, "Too many requests", ""),
            Refusal::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, -1011, "Come again", ""),
            // Unknown, or finished, or just being sent: it has one word for all of them.
            Refusal::NoSuchFax | Refusal::NotEnded | Refusal::BeingSent | Refusal::Ended => {
                let more = "not found or not accessible";
                (StatusCode::NOT_FOUND, -1005, "Fax resource not found", more)
            }
            Refusal::Trouble => {
                (StatusCode::INTERNAL_SERVER_ERROR, -150, "Internal error", "something went wrong")
            }
        };
        refuse(status, code, message, more)
    }

    fn shown(fax: &Fax, asked: &HeaderMap) -> Response {
        json_answer(StatusCode::OK, &view(fax, host_of(asked)))
    }

    fn cancelled(_fax: &Fax) -> Response {
        StatusCode::OK.into_response()
    }

    /// Nothing is signed.
    fn message(ending: &Ending<'_>) -> Option<Message> {
        let fax = ending.fax;
        let completed = fax.ended.unwrap_or(ending.now).strftime("%d/%m/%Y %H:%M:%S").to_string();
        Message::form([
            ("TransactionIDType", "Outbound"),
            ("TransactionID", &fax.id),
            ("CompletionTime", &completed),
            ("Contact", fax.details.get("contact").map_or("", String::as_str)),
            ("CostPerUnit", "0.15"),
            ("DeleteAfterUsage", "0"),
            ("DestinationFax", &destination(fax)),
        ])
    }
}

fn json_answer(status: StatusCode, body: &Value) -> Response {
    (status, [(CONTENT_TYPE, "text/json")], body.to_string()).into_response()
}

fn refuse(status: StatusCode, code: i32, message: &str, more: &str) -> Response {
    json_answer(status, &json!({ "code": code, "message": message, "moreInfo": more }))
}

/// What the vendor's table calls a wrong parameter.
fn wrong(more: &str) -> Response {
    refuse(StatusCode::BAD_REQUEST, -1062, "Wrong parameter", more)
}

fn uri(host: &str, id: &str) -> String {
    format!("http://{host}/interfax/outbound/faxes/{id}")
}

/// One PDF whose length is known. The API takes more kinds of documents; the simulator prints only this one.
fn body_is_right(headers: &HeaderMap) -> Result<(), Box<Response>> {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let refused = |status, code, message| Err(Box::new(refuse(status, code, message, "")));
    if text(CONTENT_TYPE) != Some("application/pdf") {
        return refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, -1004, "File type is not supported");
    }
    match text(CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok()) {
        None => refused(StatusCode::LENGTH_REQUIRED, -1008, "The length is missing"),
        Some(0) => refused(StatusCode::BAD_REQUEST, -123, "There is no document"),
        Some(length) if length > DOCUMENT_AT_MOST => {
            refused(StatusCode::PAYLOAD_TOO_LARGE, -1008, "The document is too large")
        }
        Some(_) => Ok(()),
    }
}

async fn enter(
    office: &Arc<Office>,
    order: query::Order,
    request: Request,
) -> Result<Submitted, Box<Response>> {
    let disk = |fault: io::Error| Box::new(api::disk_trouble::<Interfax>(&fault));
    let chance = job::chance().map_err(|_| disk(io::Error::other("the system has no randomness")))?;
    // Fifteen digits: what the vendor's own pages show, and small enough for every JSON reader.
    let id = (100_000_000_000_000 + chance % 900_000_000_000_000).to_string();
    let mut document = office.records.receive(&id).await.map_err(disk)?;
    let mut body = request.into_body().into_data_stream();
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|_| Box::new(wrong("the document broke off")))?;
        document.write(&chunk).await.map_err(disk)?;
    }
    document.finish().await.map_err(disk)?;
    let reference = order.reference.unwrap_or_else(|| id.clone());
    Ok(Submitted {
        webhook_url: office.options.interfax_callback.clone(),
        details: order.details,
        ..Submitted::of(Face::Interfax, id, document, reference, order.number)
    })
}

/// The number as the API gives it back: digits after the international prefix.
fn destination(fax: &Fax) -> String {
    fax.number.replacen('+', "00", 1)
}

/// Below zero on the way, zero delivered, above zero failed.
fn status(fax: &Fax) -> i32 {
    let code = fax.result.as_ref().map_or("", |result| result.code.as_str());
    match (fax.status, code) {
        (Standing::Queued, _) => -2,
        (Standing::Sending, _) => -3,
        (Standing::Delivered, _) => 0,
        (Standing::Cancelled, _) => 403,
        (_, "line.busy") => 6017,
        (_, "line.no_answer") => 3935,
        (_, "line.voice") => 3936,
        (_, "line.not_in_service") => 6001,
        (_, "line.blocked") => 6021,
        (_, "fax.no_tone") => 3224,
        (_, "fax.line_trouble") => 7200,
        (_, "fax.partly_sent") => 3230,
        (_, "document.unreadable") => 204_000,
        // In no table of theirs.
        _ => 9917,
    }
}

fn view(fax: &Fax, host: &str) -> Value {
    let time = |at: Timestamp| at.strftime("%Y-%m-%dT%H:%M:%S").to_string();
    let detail = |key: &str, unset: &str| fax.details.get(key).map_or_else(|| unset.to_owned(), Clone::clone);
    let result = fax.result.as_ref();
    json!({
        "id": fax.id.parse::<u64>().unwrap_or_default(),
        "uri": uri(host, &fax.id),
        "status": status(fax),
        "userId": "simulator",
        "submitTime": time(fax.taken),
        "completionTime": fax.ended.map(time),
        "destinationFax": destination(fax),
        "contact": fax.details.get("contact"),
        "subject": fax.details.get("reference").filter(|_| fax.label().is_some()),
        "replyEmail": detail("replyAddress", ""),
        "senderCSID": detail("csid", "simulator"),
        "remoteCSID": result.and_then(|result| result.remote_id.as_deref()).unwrap_or_default(),
        "pagesSubmitted": fax.pages,
        "pagesSent": result.map_or(0, |result| result.pages_sent),
        "attemptsToPerform": attempts(fax),
        "attemptsMade": u8::from(fax.dialled.is_some()),
        "duration": result.map_or(0, |result| result.seconds),
        "units": result.map_or(0, |result| result.pages_sent),
        "costPerUnit": 0.15,
        "pageSize": detail("pageSize", "Letter"),
        "pageResolution": detail("resolution", "Standard"),
        "pageOrientation": detail("pageOrientation", "Portrait"),
        "rendering": detail("rendering", "Standard"),
        "pageHeader": detail("pageHeader", "0"),
        "priority": 2,
    })
}

/// Calls that were asked for; the panel is set to three.
fn attempts(fax: &Fax) -> u32 {
    let attempts = fax.details.get("retriesToPerform").and_then(|attempts| attempts.parse::<u32>().ok());
    attempts.unwrap_or(3)
}

fn host_of(headers: &HeaderMap) -> &str {
    headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default()
}

async fn completed(
    State(office): State<Arc<Office>>,
    headers: HeaderMap,
    Query(pairs): Query<Pairs>,
) -> Response {
    let [(name, ids)] = pairs.as_slice() else { return wrong("ask with ?ids=") };
    if name != "ids" {
        return wrong("ask with ?ids=");
    }
    let ended =
        ids.split(',').filter_map(|id| Interfax::known(&office, id).ok()).filter(|fax| fax.status.is_final());
    let views: Vec<Value> = ended.map(|fax| view(&fax, host_of(&headers))).collect();
    json_answer(StatusCode::OK, &json!(views))
}

async fn search(
    State(office): State<Arc<Office>>,
    headers: HeaderMap,
    Query(pairs): Query<Pairs>,
) -> Response {
    let search = match query::search(&pairs) {
        Ok(search) => search,
        Err(response) => return *response,
    };
    let wanted = |fax: &Fax| !fax.details.contains_key(HIDDEN) && search.takes(fax, status(fax));
    let mut faxes = office.book.search(Face::Interfax, wanted);
    faxes.reverse();
    let views: Vec<Value> =
        faxes.iter().skip(search.offset).take(search.limit).map(|fax| view(fax, host_of(&headers))).collect();
    json_answer(StatusCode::OK, &json!(views))
}

async fn cancel(State(office): State<Arc<Office>>, names: api::Names) -> Response {
    let waits = api::named::<Interfax>(&office, &names).and_then(|fax| match fax.status {
        Standing::Queued => Ok(fax),
        _ => Err(Box::new(Interfax::refuse(Refusal::Ended))),
    });
    api::cancel_fax::<Interfax>(&office, waits).await
}

async fn hide(State(office): State<Arc<Office>>, names: api::Names) -> Response {
    match api::named::<Interfax>(&office, &names) {
        Ok(fax) => {
            office.book.mark(&fax.id, HIDDEN);
            StatusCode::OK.into_response()
        }
        Err(refusal) => *refusal,
    }
}
