//! Outbox and sent faxes of the Fax.Plus account: the one until it is sent, the other afterwards.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Faxplus, error};
use crate::delivery::simulator::wire::Standing;
use crate::simulator::api::{self, Api, Names, Refusal};
use crate::simulator::book::Fax;
use crate::simulator::face::Face;
use crate::simulator::office::Office;

/// How times are written, always in UTC.
const TIME: &str = "%Y-%m-%d %H:%M:%S";

/// Whether it still is in the outbox.
fn waits(fax: &Fax) -> bool {
    matches!(fax.status, Standing::Queued | Standing::Sending)
}

/// Whether there is a record of it among the sent ones.
fn has_ended(fax: &Fax) -> bool {
    matches!(fax.status, Standing::Delivered | Standing::Failed) && !fax.deleted
}

fn outbox_view(fax: &Fax) -> Value {
    let status = if fax.status == Standing::Queued { "scheduled_for_sending" } else { "sending" };
    json!({
        "id": fax.id, "uid": "self", "to": [fax.number], "status": status, "page_count": fax.pages,
        "comment": { "tags": fax.label().as_slice(), "text": fax.details.get("text").filter(|_| fax.label().is_some()) },
        "submit_time": time(fax.taken),
        "status_changes": [{ "at": time(fax.dialled.unwrap_or(fax.taken)), "status": status }],
    })
}

pub(super) fn fax_view(fax: &Fax) -> Value {
    let seconds = fax.result.as_ref().map_or(0, |result| result.seconds);
    json!({
        "id": fax.id, "owner_id": "self", "direction": "outgoing", "from": fax.details.get("from"), "to": fax.number,
        "status": status_of(fax), "pages": fax.pages.unwrap_or(0), "cost": fax.pages.unwrap_or(0),
        "cost_details": { "multiplier": 1, "notification_cost": 0 }, "duration": seconds,
        "start_time": fax.dialled.map(time), "submit_time": time(fax.taken), "max_retry": 0, "retry_delay": 0,
        "file": format!("{}.tiff", fax.id), "comment": fax.details.get("text").filter(|_| fax.label().is_some()), "header": null,
    })
}

/// How it ended, in the vendor's words.
pub(super) fn status_of(fax: &Fax) -> &'static str {
    match fax.result.as_ref().map_or("", |result| result.code.as_str()) {
        "ok" => "success",
        "line.busy" => "failed_user_busy",
        "line.no_answer" => "failed_no_answer",
        "line.not_in_service" => "failed_unallocated_number",
        "line.blocked" => "failed_destination_not_supported",
        // It does not tell a voice from a machine that is not one for faxes.
        "line.voice" | "fax.no_tone" => "failed_fs_2",
        "fax.partly_sent" => "partially_sent",
        "fax.line_trouble" => "failed_fs_49",
        "document.unreadable" => "failed_convert_to_tiff_issue",
        _ => "failed_fs_9917",
    }
}

pub(super) async fn list_outbox(State(office): State<Arc<Office>>) -> Response {
    let records: Vec<Value> = office.book.search(Face::Faxplus, waits).iter().map(outbox_view).collect();
    Json(json!({ "records": records })).into_response()
}

/// The fax that a path names, where it is one of those.
fn among(office: &Office, names: &Names, those: fn(&Fax) -> bool) -> Result<Fax, Box<Response>> {
    let fax = api::named::<Faxplus>(office, names)?;
    if those(&fax) { Ok(fax) } else { Err(Box::new(Faxplus::refuse(Refusal::NoSuchFax))) }
}

pub(super) async fn show_outbox(State(office): State<Arc<Office>>, names: Names) -> Response {
    match among(&office, &names, waits) {
        Ok(fax) => Json(outbox_view(&fax)).into_response(),
        Err(refusal) => *refusal,
    }
}

pub(super) async fn take_out(State(office): State<Arc<Office>>, names: Names) -> Response {
    api::cancel_fax::<Faxplus>(&office, among(&office, &names, waits)).await
}

/// What the list is asked for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    #[serde(default)]
    category: Option<String>,
    #[serde(default)]
    after: Option<String>,
    #[serde(default)]
    before: Option<String>,
    #[serde(default)]
    limit: Option<usize>,
}

pub(super) async fn list_faxes(
    State(office): State<Arc<Office>>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Response {
    let bad = |text: &str| error(StatusCode::BAD_REQUEST, "invalid_request", text);
    let Ok(Query(wanted)) = wanted else { return bad("allowed: category, after, before, limit") };
    let limit = wanted.limit.unwrap_or(50);
    if !(1..=50).contains(&limit) {
        return bad("a limit is 1 to 50");
    }
    let (Ok(after), Ok(before)) = (moment(wanted.after.as_deref()), moment(wanted.before.as_deref())) else {
        return bad("times are written as 2018-01-01 00:00:00");
    };
    match wanted.category.as_deref() {
        None | Some("sent") => {}
        Some("inbox" | "spam") => return Json(json!({ "data": { "records": [] } })).into_response(),
        Some(_) => return bad("a category is inbox, sent or spam"),
    }
    let found = office.book.search(Face::Faxplus, |fax| {
        has_ended(fax)
            && after.is_none_or(|after| fax.taken >= after)
            && before.is_none_or(|before| fax.taken <= before)
    });
    let records: Vec<Value> = found.iter().rev().take(limit).map(fax_view).collect();
    Json(json!({ "data": { "records": records } })).into_response()
}

pub(super) async fn show_fax(State(office): State<Arc<Office>>, names: Names) -> Response {
    match among(&office, &names, has_ended) {
        Ok(fax) => Json(fax_view(&fax)).into_response(),
        Err(refusal) => *refusal,
    }
}

pub(super) async fn delete_fax(State(office): State<Arc<Office>>, names: Names) -> Response {
    api::delete_fax::<Faxplus>(&office, among(&office, &names, has_ended)).await
}

pub(super) fn time(at: Timestamp) -> String {
    at.strftime(TIME).to_string()
}

/// A time as clients write it, where there is one.
fn moment(text: Option<&str>) -> Result<Option<Timestamp>, jiff::Error> {
    let Some(text) = text else { return Ok(None) };
    let read = DateTime::strptime(TIME, text)?.to_zoned(TimeZone::UTC)?;
    Ok(Some(read.timestamp()))
}
