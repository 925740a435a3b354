//! The face of SRFax, HTTP POST API (<https://www.srfax.com/developers/internet-fax-api/>).
//!
//! `POST /SRF_SecWebSvc.php` takes everything, as JSON (the API also knows forms; this face does not); `action` says what.
//! The answer is HTTP 200 and `{"Status": "Success"|"Failed", "Result"}`, whatever happened.
//!
//! | action | `Result` |
//! | --- | --- |
//! | `Queue_Fax` | the id, of digits |
//! | `Get_FaxStatus` | the record; fails with "FaxDetailsID Not Found" also where the document could not be converted |
//! | `Get_Fax_Outbox` | the records of `sPeriod` `ALL`, or `RANGE` with `sStartDate` and `sEndDate` |
//! | `Stop_Fax` | "Fax Cancelled" while it waits; there is no trace of it afterwards |
//! | `Delete_Fax` | the record and its document are gone |
//!
//! Fields that the API does not have are refused: whoever sends them is mistaken. Too many requests and the like, for
//! which it has no words, are answered by the web server in front of it. Days are those of UTC.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{ConnectInfo, DefaultBodyLimit, Request, State};
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::StreamExt;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use serde_json::{Value, json};

use super::{Face, Message, disturbed, is_right};
use crate::delivery::simulator::wire::Standing;
use crate::simulator::book::{Cancel, Fax};
use crate::simulator::line::Cut;
use crate::simulator::office::{Office, Submitted, Took};
use crate::simulator::script::Answer;

/// Largest request. It is held in memory whole.
const BODY_AT_MOST: usize = 64 << 20;

const NOT_FOUND: &str = "FaxDetailsID Not Found";

/// The fields of a request.
type Fields = BTreeMap<String, String>;

/// What lies under `/srfax`.
pub(super) fn routes(_office: &Arc<Office>) -> Router<Arc<Office>> {
    Router::new().route("/SRF_SecWebSvc.php", post(act)).layer(DefaultBodyLimit::disable())
}

/// The webhook to `url` that reports how `fax` ended: the status record. How it is encoded is not documented.
pub(super) fn message(fax: &Fax, url: &str, _key: &[u8], _now: Timestamp) -> Option<Message> {
    let mut form = reqwest::Url::parse(url).ok()?;
    form.set_query(None);
    for (key, value) in record(fax).as_object()? {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        form.query_pairs_mut().append_pair(key, &text);
    }
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    Some(Message { headers, body: form.query()?.as_bytes().to_vec() })
}

async fn act(
    State(office): State<Arc<Office>>,
    ConnectInfo(line): ConnectInfo<Cut>,
    request: Request,
) -> Response {
    let fields = match read(request).await {
        Ok(fields) => fields,
        Err(refusal) => return *refusal,
    };
    let field = |name: &str| fields.get(name).map_or("", String::as_str);
    let known_account =
        !field("access_id").is_empty() && field("access_id").bytes().all(|b| b.is_ascii_digit());
    if !known_account || !is_right(field("access_pwd").as_bytes(), office.options.token.as_bytes()) {
        return failed("Forbidden: Access is denied / Invalid Authentication.");
    }
    let allowed: &[&str] = match field("action") {
        "Queue_Fax" => &[
            "sCallerID",
            "sSenderEmail",
            "sFaxType",
            "sToFaxNumber",
            "sAccountCode",
            "sRetries",
            "sFaxFromHeader",
            "sNotifyURL",
            "sFileName_1",
            "sFileContent_1",
        ],
        "Get_FaxStatus" | "Stop_Fax" => &["sFaxDetailsID"],
        "Get_Fax_Outbox" => &["sPeriod", "sStartDate", "sEndDate", "sIncludeSubUsers"],
        "Delete_Fax" => &["sDirection", "sFaxDetailsID_1"],
        _ => return failed("Invalid Action /"),
    };
    let common = ["action", "access_id", "access_pwd", "sResponseFormat"];
    if let Some(stray) = fields.keys().find(|key| ![&common[..], allowed].concat().contains(&key.as_str())) {
        return failed(&format!("Invalid Variable {stray} /"));
    }
    if !matches!(fields.get("sResponseFormat").map(String::as_str), None | Some("JSON")) {
        return failed("Invalid Response Format /");
    }
    match field("action") {
        "Queue_Fax" => queue(&office, &line, &fields).await,
        "Get_FaxStatus" => match fax(&office, field("sFaxDetailsID")) {
            Some(fax) => success(&record(&fax)),
            None => failed(NOT_FOUND),
        },
        "Get_Fax_Outbox" => list(&office, &fields),
        "Stop_Fax" => stop(&office, field("sFaxDetailsID")).await,
        _ => delete(&office, &fields).await,
    }
}

/// The fields of the request, which is read to its very end.
async fn read(request: Request) -> Result<Fields, Box<Response>> {
    let is_json =
        request.headers().get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes() == b"application/json");
    let mut stream = request.into_body().into_data_stream();
    let mut body = Vec::new();
    let mut too_large = false;
    while let Some(chunk) = stream.next().await {
        let Ok(chunk) = chunk else { return Err(Box::new(StatusCode::BAD_REQUEST.into_response())) };
        too_large |= body.len() + chunk.len() > BODY_AT_MOST;
        if !too_large {
            body.extend_from_slice(&chunk);
        }
    }
    if too_large {
        return Err(Box::new(StatusCode::PAYLOAD_TOO_LARGE.into_response()));
    }
    let fields: Option<BTreeMap<String, Value>> =
        if is_json { serde_json::from_slice(&body).ok() } else { None };
    // The vendor's pages call it an integer.
    let whole = |fields: &BTreeMap<String, Value>| fields.get("access_id").is_none_or(Value::is_u64);
    let plain = fields.filter(whole).and_then(|fields| {
        let plain = fields.into_iter().map(|(key, value)| match value {
            Value::String(text) => Some((key, text)),
            Value::Number(number) => Some((key, number.to_string())),
            _ => None,
        });
        plain.collect::<Option<Fields>>()
    });
    plain.ok_or_else(|| Box::new(failed("Invalid Request /")))
}

/// What is wrong with a fax that is to be queued.
fn fault(fields: &Fields) -> Option<&'static str> {
    let field = |name: &str| fields.get(name).map_or("", String::as_str);
    let digits = |text: &str, n: usize| text.len() == n && text.bytes().all(|b| b.is_ascii_digit());
    let url = field("sNotifyURL");
    if field("sFaxType") != "SINGLE" {
        return Some("Invalid Fax Type /");
    }
    if !field("sSenderEmail").contains('@') {
        return Some("Invalid Senders Email Address /");
    }
    if !digits(field("sCallerID"), 10) {
        return Some("Invalid CallerID provided /");
    }
    if !digits(field("sToFaxNumber"), 11) || !field("sToFaxNumber").starts_with('1') {
        return Some("Invalid Fax Number /");
    }
    if field("sAccountCode").chars().count() > 20 {
        return Some("Invalid Account Code /");
    }
    // The real one would dial again by itself.
    if field("sRetries") != "0" {
        return Some("Invalid Retries /");
    }
    if field("sFaxFromHeader").chars().count() > 30 {
        return Some("Invalid Fax Header /");
    }
    if !url.is_empty() && !url.starts_with("http://") && !url.starts_with("https://") {
        return Some("Invalid Notify URL /");
    }
    if !field("sFileName_1").contains('.') || field("sFileContent_1").is_empty() {
        return Some("No Files to Fax /");
    }
    None
}

async fn queue(office: &Arc<Office>, line: &Cut, fields: &Fields) -> Response {
    if let Some(text) = fault(fields) {
        return failed(text);
    }
    let field = |name: &str| fields.get(name).map_or("", String::as_str);
    let Ok(content) = STANDARD.decode(field("sFileContent_1")) else {
        return failed("Invalid File Content /");
    };
    let Ok((id, document, sha256)) = store(office, &content).await else { return broken() };
    drop(content);
    let submitted = Submitted {
        details: BTreeMap::new(),
        id,
        face: Face::Srfax,
        reference: field("sAccountCode").to_owned(),
        number: format!("+{}", field("sToFaxNumber")),
        pages_announced: None,
        webhook_url: fields.get("sNotifyURL").cloned(),
        document,
        sha256,
    };
    match office.take(submitted).await {
        Took::NotTaken(answer) => refusal(answer, line),
        Took::Full => refusal(Answer::Unavailable, line),
        Took::Taken(fax, answer) => disturbed(answer, line).unwrap_or_else(|| match answer {
            Answer::FailureTaken => broken(),
            _ => success(&json!(details_id(&fax))),
        }),
    }
}

async fn store(
    office: &Office,
    content: &[u8],
) -> std::io::Result<(String, crate::simulator::print::Incoming, String)> {
    let id = office.next_id()?;
    let mut document = office.records.receive(&id).await?;
    document.write(content).await?;
    let sha256 = document.finish().await?;
    Ok((id, document, sha256))
}

/// The answer to a fax that was not taken.
fn refusal(answer: Answer, line: &Cut) -> Response {
    let wait =
        |status: StatusCode| ([(RETRY_AFTER, HeaderValue::from_static("1"))], page(status)).into_response();
    match answer {
        Answer::DocumentRefused => failed("No Files to Fax /"),
        Answer::NumberRefused => failed("Invalid Fax Number /"),
        Answer::RateLimited => wait(StatusCode::TOO_MANY_REQUESTS),
        Answer::Unavailable => wait(StatusCode::SERVICE_UNAVAILABLE),
        Answer::NoBalance => failed("Forbidden: Access is denied /"),
        other => disturbed(other, line).unwrap_or_else(|| page(StatusCode::BAD_GATEWAY)),
    }
}

fn list(office: &Office, fields: &Fields) -> Response {
    let day = |name: &str| fields.get(name).and_then(|text| Date::strptime("%Y%m%d", text).ok());
    let range = match fields.get("sPeriod").map_or("ALL", String::as_str) {
        "ALL" => None,
        "RANGE" => match (day("sStartDate"), day("sEndDate")) {
            (Some(first), Some(last)) => Some(first..=last),
            _ => return failed("Invalid Date /"),
        },
        _ => return failed("Invalid Period /"),
    };
    let faxes = office.book.search(Face::Srfax, |fax| {
        let day = fax.taken.to_zoned(TimeZone::UTC).date();
        is_there(fax) && range.as_ref().is_none_or(|range| range.contains(&day))
    });
    success(&faxes.iter().map(record).collect())
}

async fn stop(office: &Office, id: &str) -> Response {
    let Some(fax) = fax(office, id) else { return failed("File not found - Please try again") };
    let now = office.options.clock.now();
    match office.book.cancel(&fax.id, now) {
        Cancel::Done(fax) => {
            office.log(&json!({ "at": now, "event": "cancelled", "id": fax.id }));
            match office.records.note(&fax).await {
                Ok(()) => success(&json!("Fax Cancelled")),
                Err(_) => broken(),
            }
        }
        Cancel::TooLate if fax.status == Standing::Sending => failed("Unable to Cancel Fax"),
        _ => failed("Fax transmission completed"),
    }
}

async fn delete(office: &Office, fields: &Fields) -> Response {
    if fields.get("sDirection").map(String::as_str) != Some("OUT") {
        return failed("Invalid Direction /");
    }
    let wanted = fields.get("sFaxDetailsID_1").and_then(|id| fax(office, id));
    let Some(fax) = wanted else { return failed(NOT_FOUND) };
    if !fax.status.is_final() {
        return failed("Fax in Progress /");
    }
    if office.records.delete(&fax.id).await.is_err() {
        return broken();
    }
    if let Some(fax) = office.book.delete(&fax.id) {
        office.log(&json!({ "at": office.options.clock.now(), "event": "deleted", "id": fax.id }));
        if office.records.note(&fax).await.is_err() {
            return broken();
        }
    }
    success(&json!("Fax Deleted"))
}

/// Whether the API still knows it: what was taken out or could not be converted has left no trace.
fn is_there(fax: &Fax) -> bool {
    let unreadable = fax.result.as_ref().is_some_and(|result| result.code == "document.unreadable");
    !fax.deleted && !unreadable && fax.status != Standing::Cancelled
}

/// The API's name for a fax: the part of ours that is made by chance, in digits.
fn details_id(fax: &Fax) -> String {
    let chance = fax.id.rsplit_once('-').and_then(|(_, chance)| u64::from_str_radix(chance, 16).ok());
    chance.unwrap_or_default().to_string()
}

/// The fax of that name, if it came by this face.
fn fax(office: &Office, details_id: &str) -> Option<Fax> {
    let chance: u64 = details_id.parse().ok()?;
    let fax = office.book.fax(&format!("fx-{:08x}-{chance:012x}", office.run))?;
    (fax.face == Face::Srfax && is_there(&fax)).then_some(fax)
}

fn record(fax: &Fax) -> Value {
    let (status, error) = match fax.status {
        Standing::Queued | Standing::Sending => ("In Progress", ""),
        Standing::Delivered => ("Sent", ""),
        Standing::Failed | Standing::Cancelled => ("Failed", error_of(fax)),
    };
    let result = fax.result.as_ref();
    let time = |at: Timestamp| at.strftime("%b %d/%y %I:%M %p").to_string();
    let sent = fax.ended.unwrap_or(fax.taken);
    json!({
        "FileName": format!("{}-0001-1_0|{}", fax.taken.strftime("%Y%m%d%H%M%S"), details_id(fax)),
        "SentStatus": status, "DateQueued": time(fax.taken), "DateSent": time(sent),
        "EpochTime": sent.as_second().to_string(), "ToFaxNumber": fax.number.trim_start_matches('+'),
        "Pages": result.map_or(0, |result| result.pages_sent), "ErrorCode": error,
        "Duration": result.map_or(0, |result| result.seconds), "Size": fax.bytes,
        "RemoteID": result.and_then(|result| result.remote_id.as_deref()).unwrap_or_default(),
        "AccountCode": fax.label().unwrap_or_default(),
    })
}

/// Why it failed. Beside the three frequent texts that the vendor names there is "a wide range".
fn error_of(fax: &Fax) -> &'static str {
    match fax.result.as_ref().map_or("", |result| result.code.as_str()) {
        "line.busy" => "Busy",
        "line.no_answer" => "No Answer",
        // It does not tell a voice from a machine that is not one for faxes.
        "line.voice" | "fax.no_tone" => "No Remote Fax",
        "line.not_in_service" => "Number Not In Service",
        "line.blocked" => "Call Rejected",
        "fax.partly_sent" => "Connection Lost",
        "fax.line_trouble" => "Training Failed",
        _ => "General Disturbance 9917",
    }
}

fn success(result: &Value) -> Response {
    Json(json!({ "Status": "Success", "Result": result })).into_response()
}

fn failed(text: &str) -> Response {
    Json(json!({ "Status": "Failed", "Result": text })).into_response()
}

fn broken() -> Response {
    page(StatusCode::INTERNAL_SERVER_ERROR)
}

/// What a web server says for itself.
fn page(status: StatusCode) -> Response {
    (status, format!("<html><title>{status}</title>")).into_response()
}
