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
use axum::extract::{ConnectInfo, DefaultBodyLimit, Path, Query, Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HOST, LOCATION, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::StreamExt;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Face, Message, disturbed, is_right};
use crate::delivery::simulator::wire::Standing;
use crate::job;
use crate::simulator::book::{Cancel, Fax};
use crate::simulator::line::Cut;
use crate::simulator::office::{Office, Submitted, Took};
use crate::simulator::script::Answer;
use crate::simulator::server::drain;

mod query;
#[cfg(test)]
mod tests;

/// Largest document.
const DOCUMENT_AT_MOST: u64 = 20_000_000;

/// What marks a fax that was taken out of the lists.
const HIDDEN: &str = "hidden";

/// Pairs of a query, in order.
type Pairs = Vec<(String, String)>;

/// What lies under `/interfax`.
pub(super) fn routes(office: &Arc<Office>) -> Router<Arc<Office>> {
    Router::new()
        .route("/outbound/faxes", post(submit))
        .route("/outbound/faxes/completed", get(completed))
        .route("/outbound/faxes/{id}", get(show))
        .route("/outbound/faxes/{id}/cancel", post(cancel))
        .route("/outbound/faxes/{id}/hide", post(hide))
        .route("/outbound/search", get(search))
        .layer(DefaultBodyLimit::disable())
        .layer(middleware::from_fn_with_state(Arc::clone(office), only_with_password))
}

/// The callback to `url` that reports how `fax` ended; nothing is signed.
pub(super) fn message(fax: &Fax, _url: &str, _key: &[u8], now: Timestamp) -> Option<Message> {
    let mut form = reqwest::Url::parse("form:").ok()?;
    let completed = fax.ended.unwrap_or(now).strftime("%d/%m/%Y %H:%M:%S").to_string();
    form.query_pairs_mut()
        .append_pair("TransactionIDType", "Outbound")
        .append_pair("TransactionID", &fax.id)
        .append_pair("CompletionTime", &completed)
        .append_pair("Contact", fax.details.get("contact").map_or("", String::as_str))
        .append_pair("CostPerUnit", "0.15")
        .append_pair("DeleteAfterUsage", "0")
        .append_pair("DestinationFax", &destination(fax));
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    Some(Message { headers, body: form.query()?.as_bytes().to_vec() })
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

fn come_again(status: StatusCode, message: &str) -> Response {
    let mut response = refuse(status, -1011, message, "");
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

fn no_such_fax() -> Response {
    refuse(StatusCode::NOT_FOUND, -1005, "Fax resource not found", "not found or not accessible")
}

fn disk_trouble(fault: &io::Error) -> Response {
    tracing::error!(%fault, "simulator: the record folder fails: {fault}");
    refuse(StatusCode::INTERNAL_SERVER_ERROR, -150, "Internal error", "the record folder fails")
}

async fn only_with_password(State(office): State<Arc<Office>>, request: Request, next: Next) -> Response {
    let shown =
        request.headers().get(AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Basic "));
    let pair = shown.and_then(|coded| STANDARD.decode(coded).ok()).unwrap_or_default();
    let colon = pair.iter().position(|byte| *byte == b':').filter(|place| *place > 0);
    let password = colon.and_then(|place| pair.get(place + 1..));
    if password.is_some_and(|password| is_right(password, office.options.token.as_bytes())) {
        return next.run(request).await;
    }
    drain(request).await;
    refuse(StatusCode::UNAUTHORIZED, -1003, "Authentication failed", "wrong user name or password")
}

async fn submit(
    State(office): State<Arc<Office>>,
    ConnectInfo(line): ConnectInfo<Cut>,
    Query(pairs): Query<Pairs>,
    request: Request,
) -> Response {
    let order = match query::order(&pairs).and_then(|order| {
        body_is_right(request.headers())?;
        Ok(order)
    }) {
        Ok(order) => order,
        Err(response) => {
            drain(request).await;
            return *response;
        }
    };
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default().to_owned();
    let submitted = match enter(&office, order, request).await {
        Ok(submitted) => submitted,
        Err(response) => return *response,
    };
    match office.take(submitted).await {
        Took::NotTaken(answer) => not_taken(answer, &line),
        Took::Full => come_again(StatusCode::SERVICE_UNAVAILABLE, "Too many faxes are waiting"),
        Took::Taken(_, Answer::FailureTaken) => {
            refuse(StatusCode::INTERNAL_SERVER_ERROR, -150, "Internal error", "something went wrong")
        }
        Took::Taken(fax, answer) => disturbed(answer, &line).unwrap_or_else(|| {
            (StatusCode::CREATED, [(CONTENT_TYPE, "text/json".to_owned()), (LOCATION, uri(&host, &fax.id))])
                .into_response()
        }),
    }
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
    let disk = |fault: io::Error| Box::new(disk_trouble(&fault));
    let chance = job::chance().map_err(|_| disk(io::Error::other("the system has no randomness")))?;
    // Fifteen digits: what the vendor's own pages show, and small enough for every JSON reader.
    let id = (100_000_000_000_000 + chance % 900_000_000_000_000).to_string();
    let mut document = office.records.receive(&id).await.map_err(disk)?;
    let mut body = request.into_body().into_data_stream();
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|_| Box::new(wrong("the document broke off")))?;
        document.write(&chunk).await.map_err(disk)?;
    }
    let sha256 = document.finish().await.map_err(disk)?;
    Ok(Submitted {
        reference: order.reference.unwrap_or_else(|| id.clone()),
        id,
        face: Face::Interfax,
        number: order.number,
        pages_announced: None,
        webhook_url: office.options.interfax_callback.clone(),
        document,
        sha256,
        details: order.details,
    })
}

/// The answer to a submit that was not taken.
fn not_taken(answer: Answer, line: &Cut) -> Response {
    match answer {
        Answer::DocumentRefused => {
            let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            refuse(status, -1004, "File type is not supported", "no pages can be made of it")
        }
        Answer::NumberRefused => wrong("faxNumber: is no telephone number"),
        Answer::RateLimited => come_again(StatusCode::TOO_MANY_REQUESTS, "Too many requests"),
        Answer::Unavailable => come_again(StatusCode::SERVICE_UNAVAILABLE, "Come again"),
        Answer::NoBalance => refuse(StatusCode::PAYMENT_REQUIRED, -1006, "Out of credit", ""),
        other => disturbed(other, line).unwrap_or_else(|| StatusCode::BAD_GATEWAY.into_response()),
    }
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

/// The fax of that name, if it came by this face.
fn known(office: &Office, id: &str) -> Option<Fax> {
    office.book.fax(id).filter(|fax| fax.face == Face::Interfax)
}

async fn show(State(office): State<Arc<Office>>, headers: HeaderMap, Path(id): Path<String>) -> Response {
    known(&office, &id)
        .map_or_else(no_such_fax, |fax| json_answer(StatusCode::OK, &view(&fax, host_of(&headers))))
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
    let ended = ids.split(',').filter_map(|id| known(&office, id)).filter(|fax| fax.status.is_final());
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

async fn cancel(State(office): State<Arc<Office>>, Path(id): Path<String>) -> Response {
    // Unknown, or finished, or just being sent: it has one word for all of them.
    if known(&office, &id).is_none_or(|fax| fax.status != Standing::Queued) {
        return no_such_fax();
    }
    let now = office.options.clock.now();
    let Cancel::Done(fax) = office.book.cancel(&id, now) else { return no_such_fax() };
    office.log(&json!({ "at": now, "event": "cancelled", "id": id }));
    match office.records.note(&fax).await {
        Ok(()) => StatusCode::OK.into_response(),
        Err(fault) => disk_trouble(&fault),
    }
}

async fn hide(State(office): State<Arc<Office>>, Path(id): Path<String>) -> Response {
    if known(&office, &id).is_none() {
        return no_such_fax();
    }
    office.book.mark(&id, HIDDEN);
    StatusCode::OK.into_response()
}
