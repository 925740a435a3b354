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
use axum::extract::{Query, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use jiff::Timestamp;
use reqwest::Url;
use serde_json::{Value, json};

use super::form::Question;
use super::{Face, telnyx};
use crate::delivery::simulator::wire::Standing;
use crate::job::FaxNumber;
use crate::simulator::api::{self, Api, Ending, Message, Refusal};
use crate::simulator::book::Fax;
use crate::simulator::office::{Office, Submitted};

/// The encoding of every request and callback.
const FORM: &str = "application/x-www-form-urlencoded";
/// A request is longer than this only by mistake.
const FORM_AT_MOST: usize = 64 << 10;

pub(super) struct Signalwire;

impl Api for Signalwire {
    const FACE: Face = Face::Signalwire;
    type Order = ();

    fn routes() -> Router<Arc<Office>> {
        let fax = get(api::show::<Signalwire>).post(change).delete(api::delete::<Signalwire>);
        Router::new()
            .route("/api/laml/2010-04-01/Accounts/{project}/Faxes", post(api::submit::<Signalwire>).get(list))
            .route("/api/laml/2010-04-01/Accounts/{project}/Faxes/{sid}", fax)
    }

    fn lets_in(request: &Request, office: &Office) -> bool {
        let path = request.uri().path();
        api::login_of(request, office).is_some_and(|own| path.contains(&format!("/Accounts/{own}/Faxes")))
    }

    async fn read(office: &Arc<Office>, request: Request) -> Result<(Submitted, ()), Box<Response>> {
        let mut form = read(request).await?;
        if let Some(fault) = fault(&form) {
            return Err(Box::new(error(StatusCode::UNPROCESSABLE_ENTITY, 42201, &fault)));
        }
        let submitted = enter(office, &mut form).await;
        Ok((submitted.map_err(|fault| Box::new(api::disk_trouble::<Signalwire>(&fault)))?, ()))
    }

    fn taken(fax: &Fax, (): &()) -> Response {
        (StatusCode::CREATED, Json(view(fax))).into_response()
    }

    fn refuse(refusal: Refusal) -> Response {
        let (status, code, message) = match refusal {
            Refusal::WrongCredentials => {
                (StatusCode::UNAUTHORIZED, 20003, "Authentication Error - No credentials provided")
            }
            Refusal::DocumentRefused => (StatusCode::UNPROCESSABLE_ENTITY, 42202, "MediaUrl is no PDF"),
            Refusal::NumberRefused => (StatusCode::UNPROCESSABLE_ENTITY, 42201, "To is not accepted"),
            // The one code that is known for an account that cannot send.
            Refusal::NoBalance => (StatusCode::BAD_REQUEST, 20003, "The account is not active"),
            Refusal::RateLimited => (StatusCode::TOO_MANY_REQUESTS, 42901, "Too many requests"),
            Refusal::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, 50301, "Come again"),
            Refusal::NoSuchFax => (StatusCode::NOT_FOUND, 20404, "The requested resource was not found"),
            Refusal::NotEnded => (StatusCode::CONFLICT, 40901, "it is in progress"),
            Refusal::BeingSent | Refusal::Ended => {
                (StatusCode::UNPROCESSABLE_ENTITY, 42203, "only queued faxes can be canceled")
            }
            Refusal::Trouble => (StatusCode::INTERNAL_SERVER_ERROR, 50001, "Internal Server Error"),
        };
        error(status, code, message)
    }

    /// The fax of that name, if it came by this face and was not deleted.
    fn known(office: &Office, sid: &str) -> Result<Fax, Box<Response>> {
        let fax = office.book.fax(sid).filter(|fax| fax.face == Face::Signalwire && !fax.deleted);
        fax.ok_or_else(|| Box::new(Signalwire::refuse(Refusal::NoSuchFax)))
    }

    fn shown(fax: &Fax, _asked: &HeaderMap) -> Response {
        Json(view(fax)).into_response()
    }

    fn cancelled(fax: &Fax) -> Response {
        Json(view(fax)).into_response()
    }

    fn message(ending: &Ending<'_>) -> Option<Message> {
        let fax = ending.fax;
        let (status, error) = ended(fax);
        let result = fax.result.as_ref();
        let pages = fax.pages.map(|pages| pages.to_string()).unwrap_or_default();
        Message::form([
            ("FaxStatus", status),
            ("ErrorCode", error.map_or("", |(code, _)| code)),
            ("ErrorMessage", error.map_or("", |(_, text)| text)),
            ("NumPages", &pages),
            ("OriginalMediaUrl", fax.details.get("media_url").map_or("", String::as_str)),
            ("RemoteStationId", result.and_then(|result| result.remote_id.as_deref()).unwrap_or("")),
        ])
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
    let document = office.records.store(&id, b"").await?;
    let mut take = |key: &str| form.remove(key);
    let webhook_url = take("StatusCallback");
    let reference = webhook_url.as_deref().and_then(|url| {
        let url = Url::parse(url).ok()?;
        url.query_pairs().find(|(key, _)| key == "ref").map(|(_, value)| value.into_owned())
    });
    let details = [("from", "From"), ("media_url", "MediaUrl"), ("quality", "Quality")];
    let details = details.into_iter().filter_map(|(name, key)| Some((name.to_owned(), take(key)?))).collect();
    let number = take("To").unwrap_or_default();
    let reference = reference.unwrap_or_else(|| id.clone());
    Ok(Submitted { webhook_url, details, ..Submitted::of(Face::Signalwire, id, document, reference, number) })
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

async fn change(State(office): State<Arc<Office>>, names: api::Names, request: Request) -> Response {
    let form = match read(request).await {
        Ok(form) => form,
        Err(refusal) => return *refusal,
    };
    if form != BTreeMap::from([("Status".to_owned(), "canceled".to_owned())]) {
        return error(StatusCode::UNPROCESSABLE_ENTITY, 42201, "allowed: Status=canceled");
    }
    api::cancel_fax::<Signalwire>(&office, api::named::<Signalwire>(&office, &names)).await
}

fn error(status: StatusCode, code: u32, message: &str) -> Response {
    let more_info = format!("https://developer.signalwire.com/errors/{code}");
    let body = json!({ "code": code, "message": message, "more_info": more_info, "status": status.as_u16() });
    (status, Json(body)).into_response()
}
