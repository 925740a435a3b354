//! The face of SignalWire fax, Compatibility API (<https://developer.signalwire.com>, compatibility-api/rest: faxes).
//!
//! | request under `/api/laml/2010-04-01/Accounts/{project}` | answer |
//! | --- | --- |
//! | `POST /Faxes` | a form; 201 and the fax, whose document is fetched afterwards |
//! | `GET /Faxes` | faxes by `To`, `From`, `DateCreatedAfter`, `DateCreatedOnOrBefore`, newest first |
//! | `GET /Faxes/{sid}` | the fax |
//! | `POST /Faxes/{sid}` | `Status=canceled`: the fax; 422 once it is dialled |
//! | `DELETE /Faxes/{sid}` | 204, the fax is gone; 409 before its end |
//!
//! All want Basic authentication with the project and its token. Errors are `{"code", "message", "more_info", "status"}`; but
//! for 20003 the codes are the simulator's own. Callbacks are not signed: how that is done is spelled out nowhere. They do not
//! name the fax either; what the simulator calls a fax in its records it takes from `ref` in the callback's URL.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use axum::body::to_bytes;
use axum::extract::{ConnectInfo, Path, Query, Request, State};
use axum::http::header::{AUTHORIZATION, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use reqwest::Url;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use serde_json::{Value, json};

use super::form::Question;
use super::{Face, Message, disturbed, is_right, telnyx};
use crate::delivery::simulator::wire::Standing;
use crate::job::FaxNumber;
use crate::simulator::book::{Cancel, Fax};
use crate::simulator::line::Cut;
use crate::simulator::office::{Office, Submitted, Took};
use crate::simulator::script::Answer;
use crate::simulator::server::drain;

/// The encoding of every request and callback.
const FORM: &str = "application/x-www-form-urlencoded";
/// A request is longer than this only by mistake.
const FORM_AT_MOST: usize = 64 << 10;

/// What lies under `/signalwire`.
pub(super) fn routes(office: &Arc<Office>) -> Router<Arc<Office>> {
    Router::new()
        .route("/api/laml/2010-04-01/Accounts/{project}/Faxes", post(submit).get(list))
        .route("/api/laml/2010-04-01/Accounts/{project}/Faxes/{sid}", get(show).post(change).delete(delete))
        .layer(middleware::from_fn_with_state(Arc::clone(office), only_with_token))
}

/// The callback to `url` that reports how `fax` ended.
pub(super) fn message(fax: &Fax, url: &str) -> Option<Message> {
    let (status, error) = ended(fax);
    let result = fax.result.as_ref();
    let pages = fax.pages.map(|pages| pages.to_string()).unwrap_or_default();
    let mut form = Url::parse(url).ok()?;
    form.query_pairs_mut().clear().extend_pairs([
        ("FaxStatus", status),
        ("ErrorCode", error.map_or("", |(code, _)| code)),
        ("ErrorMessage", error.map_or("", |(_, text)| text)),
        ("NumPages", &pages),
        ("OriginalMediaUrl", fax.details.get("media_url").map_or("", String::as_str)),
        ("RemoteStationId", result.and_then(|result| result.remote_id.as_deref()).unwrap_or("")),
    ]);
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(FORM));
    Some(Message { headers, body: form.query()?.as_bytes().to_vec() })
}

async fn only_with_token(State(office): State<Arc<Office>>, request: Request, next: Next) -> Response {
    let shown =
        request.headers().get(AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Basic "));
    let shown = shown.and_then(|coded| STANDARD.decode(coded).ok()).unwrap_or_default();
    let project = shown.split(|byte| *byte == b':').next().unwrap_or_default();
    let token = shown.get(project.len() + 1..).unwrap_or_default();
    let own = std::str::from_utf8(project).ok().filter(|project| !project.is_empty());
    let in_path = own.is_some_and(|own| request.uri().path().contains(&format!("/Accounts/{own}/Faxes")));
    if in_path && is_right(token, office.options.token.as_bytes()) {
        return next.run(request).await;
    }
    drain(request).await;
    error(StatusCode::UNAUTHORIZED, 20003, "Authentication Error - No credentials provided")
}

async fn submit(
    State(office): State<Arc<Office>>,
    ConnectInfo(line): ConnectInfo<Cut>,
    request: Request,
) -> Response {
    let mut form = match read(request).await {
        Ok(form) => form,
        Err(refusal) => return *refusal,
    };
    if let Some(fault) = fault(&form) {
        return error(StatusCode::UNPROCESSABLE_ENTITY, 42201, &fault);
    }
    let Ok(submitted) = enter(&office, &mut form).await else { return broken() };
    match office.take(submitted).await {
        Took::NotTaken(answer) => not_taken(answer, &line),
        Took::Full => not_taken(Answer::Unavailable, &line),
        Took::Taken(fax, answer) => disturbed(answer, &line).unwrap_or_else(|| match answer {
            Answer::FailureTaken => broken(),
            _ => (StatusCode::CREATED, Json(view(&fax))).into_response(),
        }),
    }
}

/// The fields of a form.
async fn read(request: Request) -> Result<BTreeMap<String, String>, Box<Response>> {
    let bad = |text: &str| Box::new(error(StatusCode::BAD_REQUEST, 40001, text));
    let is_form = request.headers().get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes() == FORM.as_bytes());
    let body =
        to_bytes(request.into_body(), FORM_AT_MOST).await.map_err(|_| bad("no request is that long"))?;
    let body = std::str::from_utf8(&body).ok().filter(|_| is_form).ok_or_else(|| bad("that is no form"))?;
    let carrier = Url::parse(&format!("http://form/?{body}")).map_err(|_| bad("that is no form"))?;
    Ok(carrier.query_pairs().into_owned().collect())
}

/// What is wrong with an order.
fn fault(form: &BTreeMap<String, String>) -> Option<String> {
    let is_number = |text: &str| FaxNumber::from_e164(text).is_ok();
    let is_url = |text: &str| text.starts_with("http://") || text.starts_with("https://");
    for needed in ["To", "From", "MediaUrl"] {
        if !form.contains_key(needed) {
            return Some(format!("{needed} is missing"));
        }
    }
    let wrong = form.iter().find(|(key, value)| {
        !match key.as_str() {
            "To" | "From" => is_number(value),
            "MediaUrl" | "StatusCallback" => is_url(value),
            "Quality" => matches!(value.as_str(), "standard" | "fine" | "superfine"),
            "StoreMedia" => matches!(value.as_str(), "true" | "false"),
            "StatusCallbackMethod" => matches!(value.as_str(), "POST" | "GET"),
            "Ttl" => value.parse::<u32>().is_ok_and(|minutes| (5..=300).contains(&minutes)),
            // What else there is, is nothing to this simulator, and a mistake of whoever sends it.
            _ => false,
        }
    });
    wrong.map(|(key, _)| format!("{key} is not accepted"))
}

/// The order as the office takes it, its document still to come.
async fn enter(office: &Arc<Office>, form: &mut BTreeMap<String, String>) -> io::Result<Submitted> {
    let id = telnyx::new_id()?;
    let mut document = office.records.receive(&id).await?;
    let sha256 = document.finish().await?;
    let mut take = |key: &str| form.remove(key);
    let webhook_url = take("StatusCallback");
    let reference = webhook_url.as_deref().and_then(|url| {
        let url = Url::parse(url).ok()?;
        url.query_pairs().find(|(key, _)| key == "ref").map(|(_, value)| value.into_owned())
    });
    let details = [("from", "From"), ("media_url", "MediaUrl"), ("quality", "Quality")];
    let details = details.into_iter().filter_map(|(name, key)| Some((name.to_owned(), take(key)?))).collect();
    Ok(Submitted {
        reference: reference.unwrap_or_else(|| id.clone()),
        id,
        face: Face::Signalwire,
        number: take("To").unwrap_or_default(),
        pages_announced: None,
        webhook_url,
        document,
        sha256,
        details,
    })
}

/// The answer to an order that was not taken.
fn not_taken(answer: Answer, line: &Cut) -> Response {
    let wait =
        |response: Response| ([(RETRY_AFTER, HeaderValue::from_static("1"))], response).into_response();
    match answer {
        Answer::DocumentRefused => error(StatusCode::UNPROCESSABLE_ENTITY, 42202, "MediaUrl is no PDF"),
        Answer::NumberRefused => error(StatusCode::UNPROCESSABLE_ENTITY, 42201, "To is not accepted"),
        Answer::RateLimited => wait(error(StatusCode::TOO_MANY_REQUESTS, 42901, "Too many requests")),
        Answer::Unavailable => wait(error(StatusCode::SERVICE_UNAVAILABLE, 50301, "Come again")),
        // The one code that is known for an account that cannot send.
        Answer::NoBalance => error(StatusCode::BAD_REQUEST, 20003, "The account is not active"),
        other => disturbed(other, line).unwrap_or_else(|| StatusCode::BAD_GATEWAY.into_response()),
    }
}

/// A fax as the API shows it.
fn view(fax: &Fax) -> Value {
    let (status, error) = ended(fax);
    let detail = |key: &str| fax.details.get(key);
    let time = |at: Timestamp| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    json!({
        "sid": fax.id, "account_sid": "project", "api_version": "2010-04-01", "status": status,
        "direction": "outbound", "from": detail("from"), "to": fax.number, "quality": detail("quality"),
        "num_pages": fax.pages.map(|pages| pages.to_string()), "price": null, "price_unit": "USD",
        "duration": fax.result.as_ref().map(|result| result.seconds), "media_url": detail("media_url"),
        "media_sid": null, "error_code": error.map(|(code, _)| code), "error_message": error.map(|(_, text)| text),
        "date_created": time(fax.taken), "date_updated": time(fax.ended.or(fax.dialled).unwrap_or(fax.taken)),
    })
}

/// Its status, and why it failed if it did.
fn ended(fax: &Fax) -> (&'static str, Option<(&'static str, &'static str)>) {
    let text = match (fax.status, fax.result.as_ref().map_or("", |result| result.code.as_str())) {
        (Standing::Queued, _) => return ("queued", None),
        (Standing::Sending, _) => return ("sending", None),
        (Standing::Delivered, _) => return ("delivered", None),
        (Standing::Cancelled, _) => return ("canceled", None),
        (_, "line.busy") => return ("busy", None),
        (_, "line.no_answer") => return ("no-answer", None),
        // It does not tell a voice from a machine that is not one for faxes.
        (_, "line.voice" | "fax.no_tone") => "Fax transmission not established",
        (_, "line.not_in_service" | "line.blocked") => "Connection Failed",
        (_, "fax.partly_sent") => "The call dropped prematurely",
        (_, "fax.line_trouble") => "Failed to train with any of the compatible modems",
        (_, code) if code.starts_with("document.") => "Document generation/loading error",
        _ => "General disturbance 9917",
    };
    ("failed", Some(("40001", text)))
}

type At = Path<(String, String)>;

/// What the list can be asked for.
const PARAMETERS: &[&str] = &["To", "From", "DateCreatedAfter", "DateCreatedOnOrBefore"];

async fn list(State(office): State<Arc<Office>>, Query(query): Query<Vec<(String, String)>>) -> Response {
    let asked = Question::new(query, PARAMETERS).and_then(|asked| {
        let after = asked.read::<Timestamp>("DateCreatedAfter")?;
        let before = asked.read::<Timestamp>("DateCreatedOnOrBefore")?;
        Ok((asked, after, before))
    });
    let Ok((asked, after, before)) = asked else {
        return error(StatusCode::UNPROCESSABLE_ENTITY, 42201, "a parameter is not accepted");
    };
    let faxes = office.book.search(Face::Signalwire, |fax| {
        !fax.deleted
            && asked.one("To").is_none_or(|to| fax.number == to)
            && asked.one("From").is_none_or(|from| fax.details.get("from").is_some_and(|own| own == from))
            && after.is_none_or(|after| fax.taken > after)
            && before.is_none_or(|before| fax.taken <= before)
    });
    Json(json!({ "faxes": faxes.iter().rev().map(view).collect::<Vec<_>>() })).into_response()
}

/// The fax of that name, if it came by this face and was not deleted.
fn known(office: &Office, sid: &str) -> Result<Fax, Box<Response>> {
    let fax = office.book.fax(sid).filter(|fax| fax.face == Face::Signalwire && !fax.deleted);
    fax.ok_or_else(|| Box::new(error(StatusCode::NOT_FOUND, 20404, "The requested resource was not found")))
}

async fn show(State(office): State<Arc<Office>>, Path((_, sid)): At) -> Response {
    match known(&office, &sid) {
        Ok(fax) => Json(view(&fax)).into_response(),
        Err(response) => *response,
    }
}

async fn change(State(office): State<Arc<Office>>, Path((_, sid)): At, request: Request) -> Response {
    let form = match read(request).await {
        Ok(form) => form,
        Err(refusal) => return *refusal,
    };
    if form != BTreeMap::from([("Status".to_owned(), "canceled".to_owned())]) {
        return error(StatusCode::UNPROCESSABLE_ENTITY, 42201, "allowed: Status=canceled");
    }
    if let Err(response) = known(&office, &sid) {
        return *response;
    }
    let now = office.options.clock.now();
    match office.book.cancel(&sid, now) {
        Cancel::Done(fax) => {
            office.log(&json!({ "at": now, "event": "cancelled", "id": sid }));
            match office.records.note(&fax).await {
                Ok(()) => Json(view(&fax)).into_response(),
                Err(_) => broken(),
            }
        }
        _ => error(StatusCode::UNPROCESSABLE_ENTITY, 42203, "only queued faxes can be canceled"),
    }
}

async fn delete(State(office): State<Arc<Office>>, Path((_, sid)): At) -> Response {
    match known(&office, &sid) {
        Err(response) => return *response,
        Ok(fax) if !fax.status.is_final() => return error(StatusCode::CONFLICT, 40901, "it is in progress"),
        Ok(_) => {}
    }
    if office.records.delete(&sid).await.is_err() {
        return broken();
    }
    if let Some(fax) = office.book.delete(&sid) {
        office.log(&json!({ "at": office.options.clock.now(), "event": "deleted", "id": sid }));
        if office.records.note(&fax).await.is_err() {
            return broken();
        }
    }
    StatusCode::NO_CONTENT.into_response()
}

fn broken() -> Response {
    error(StatusCode::INTERNAL_SERVER_ERROR, 50001, "Internal Server Error")
}

fn error(status: StatusCode, code: u32, message: &str) -> Response {
    let more_info = format!("https://developer.signalwire.com/errors/{code}");
    let body = json!({ "code": code, "message": message, "more_info": more_info, "status": status.as_u16() });
    (status, Json(body)).into_response()
}
