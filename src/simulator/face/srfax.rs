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

use axum::extract::Request;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::StreamExt;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::Face;
use crate::delivery::simulator::wire::Standing;
use crate::simulator::api::{self, Api, Ending, Message, Refusal};
use crate::simulator::book::Fax;
use crate::simulator::office::{Office, Submitted};

/// Largest request. It is held in memory whole.
const BODY_AT_MOST: usize = 64 << 20;

const NOT_FOUND: &str = "FaxDetailsID Not Found";

/// The fields of a request.
type Fields = BTreeMap<String, String>;

pub(super) struct Srfax;

impl Api for Srfax {
    const FACE: Face = Face::Srfax;
    type Order = ();

    fn routes() -> Router<Arc<Office>> {
        Router::new().route("/SRF_SecWebSvc.php", post(api::submit::<Srfax>))
    }

    /// The credentials stand in the body.
    fn lets_in(_request: &Request, _office: &Office) -> bool {
        true
    }

    /// One URL takes everything: what is no order is answered in here.
    async fn read(office: &Arc<Office>, request: Request) -> Result<(Submitted, ()), Box<Response>> {
        let fields = fields_of(request).await?;
        fault(&fields, office).map_or(Ok(()), |text| Err(Box::new(failed(&text))))?;
        let field = |name: &str| fields.get(name).map_or("", String::as_str);
        let found = |name: &str| Srfax::known(office, field(name));
        Err(Box::new(match field("action") {
            "Queue_Fax" => return Ok((order(office, &fields).await?, ())),
            "Get_FaxStatus" => success(&record(&found("sFaxDetailsID")?)),
            "Get_Fax_Outbox" => list(office, &fields),
            "Stop_Fax" => match found("sFaxDetailsID") {
                Ok(fax) => api::cancel_fax::<Srfax>(office, Ok(fax)).await,
                Err(_) => failed("File not found - Please try again"),
            },
            _ if field("sDirection") != "OUT" => failed("Invalid Direction /"),
            _ => api::delete_fax::<Srfax>(office, found("sFaxDetailsID_1")).await,
        }))
    }

    fn taken(fax: &Fax, (): &()) -> Response {
        success(&json!(details_id(fax)))
    }

    fn refuse(refusal: Refusal) -> Response {
        failed(match refusal {
            Refusal::WrongCredentials => "Forbidden: Access is denied / Invalid Authentication.",
            Refusal::DocumentRefused => "No Files to Fax /",
            Refusal::NumberRefused => "Invalid Fax Number /",
            Refusal::NoBalance => "Forbidden: Access is denied /",
            Refusal::NoSuchFax => NOT_FOUND,
            Refusal::NotEnded => "Fax in Progress /",
            Refusal::BeingSent => "Unable to Cancel Fax",
            Refusal::Ended => "Fax transmission completed",
            // The web server in front of it says these.
            Refusal::RateLimited => return page(StatusCode::TOO_MANY_REQUESTS),
            Refusal::Unavailable => return page(StatusCode::SERVICE_UNAVAILABLE),
            Refusal::Trouble => return page(StatusCode::INTERNAL_SERVER_ERROR),
        })
    }

    /// By the API's name for it; what was taken out or could not be converted has left no trace.
    fn known(office: &Office, details_id: &str) -> Result<Fax, Box<Response>> {
        let chance = details_id.parse::<u64>().ok();
        let fax = chance.and_then(|chance| office.book.fax(&format!("fx-{:08x}-{chance:012x}", office.run)));
        let there = fax.filter(|fax| fax.face == Face::Srfax && is_there(fax));
        there.ok_or_else(|| Box::new(Srfax::refuse(Refusal::NoSuchFax)))
    }

    fn shown(fax: &Fax, _asked: &HeaderMap) -> Response {
        success(&record(fax))
    }

    fn cancelled(_fax: &Fax) -> Response {
        success(&json!("Fax Cancelled"))
    }

    fn deleted() -> Response {
        success(&json!("Fax Deleted"))
    }

    /// The status record. How it is encoded is not documented.
    fn message(ending: &Ending<'_>) -> Option<Message> {
        let record = record(ending.fax);
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let fields: Vec<(&String, String)> =
            record.as_object()?.iter().map(|(key, value)| (key, text(value))).collect();
        Message::form(fields.iter().map(|(key, value)| (key.as_str(), value.as_str())))
    }
}

/// The fields of the request, which is read to its very end.
async fn fields_of(request: Request) -> Result<Fields, Box<Response>> {
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

/// What is wrong with a request, whatever it asks for, and with the order in it.
fn fault(fields: &Fields, office: &Office) -> Option<String> {
    let field = |name: &str| fields.get(name).map_or("", String::as_str);
    let known_account =
        !field("access_id").is_empty() && field("access_id").bytes().all(|b| b.is_ascii_digit());
    if !known_account || !api::is_right(field("access_pwd").as_bytes(), office) {
        return Some("Forbidden: Access is denied / Invalid Authentication.".into());
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
        _ => return Some("Invalid Action /".into()),
    };
    let common = ["action", "access_id", "access_pwd", "sResponseFormat"];
    if let Some(stray) = fields.keys().find(|key| ![&common[..], allowed].concat().contains(&key.as_str())) {
        return Some(format!("Invalid Variable {stray} /"));
    }
    if !matches!(fields.get("sResponseFormat").map(String::as_str), None | Some("JSON")) {
        return Some("Invalid Response Format /".into());
    }
    if field("action") == "Queue_Fax" { fault_in_order(fields).map(str::to_owned) } else { None }
}

/// What is wrong with a fax that is to be queued.
fn fault_in_order(fields: &Fields) -> Option<&'static str> {
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

/// The order as the office takes it.
async fn order(office: &Office, fields: &Fields) -> Result<Submitted, Box<Response>> {
    let field = |name: &str| fields.get(name).map_or("", String::as_str);
    let content = STANDARD.decode(field("sFileContent_1"));
    let content = content.map_err(|_| Box::new(failed("Invalid File Content /")))?;
    let disk = |fault: std::io::Error| Box::new(api::disk_trouble::<Srfax>(&fault));
    let id = office.next_id().map_err(disk)?;
    let document = office.records.store(&id, &content).await.map_err(disk)?;
    let (reference, number) = (field("sAccountCode").to_owned(), format!("+{}", field("sToFaxNumber")));
    let webhook_url = fields.get("sNotifyURL").cloned();
    Ok(Submitted { webhook_url, ..Submitted::of(Face::Srfax, id, document, reference, number) })
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

/// What a web server says for itself.
fn page(status: StatusCode) -> Response {
    (status, format!("<html><title>{status}</title>")).into_response()
}
