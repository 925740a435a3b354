//! Faxes as SRFax tells of them, in the status of one and in the list of sent ones. Pure.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::CODES;
use crate::delivery::http::{after_call, could_be, cut};
use crate::delivery::{AskError, Found, Search, Sought, Status, Whose};
use crate::job::{Cause, Outcome, Report};

/// One fax, in the status and in the outbox. Numbers come as numbers or as text.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Record {
    #[serde(default)]
    file_name: Option<String>,
    sent_status: String,
    #[serde(default)]
    pages: Value,
    #[serde(default)]
    duration: Value,
    #[serde(default, rename = "RemoteID")]
    remote_id: Value,
    #[serde(default)]
    error_code: Option<String>,
    #[serde(default)]
    account_code: Value,
    #[serde(default)]
    to_fax_number: Value,
    #[serde(default)]
    epoch_time: Value,
}

impl Record {
    /// Its id, which stands behind the bar in the file's name.
    pub(super) fn id(&self) -> Option<&str> {
        self.file_name.as_deref()?.rsplit_once('|').map(|(_, id)| id.trim()).filter(|id| !id.is_empty())
    }

    /// How it stands.
    ///
    /// # Errors
    /// [`AskError::Nonsense`] for a status that the vendor does not name.
    pub(super) fn status(&self) -> Result<Status, AskError> {
        let failed = match self.sent_status.trim().to_ascii_lowercase().as_str() {
            "in progress" | "sending email" => return Ok(Status::Working),
            "sent" => false,
            "failed" => true,
            _ => {
                let detail = format!("a status that nobody told of: {}", cut(&self.sent_status));
                return Err(AskError::Nonsense { detail });
            }
        };
        let code = self.error_code.as_deref().map(str::trim).filter(|code| !code.is_empty());
        let known = code.and_then(cause_of);
        let pages = count(&self.pages);
        let outcome = match known {
            _ if !failed => Outcome::Delivered,
            Some(cause) => Outcome::of(cause),
            None if pages.is_some_and(|pages| pages > 0) => {
                Outcome::of(after_call(Cause::LineTrouble, pages))
            }
            None => Outcome::of(Cause::Unknown),
        };
        Ok(Status::Ended(Report {
            outcome,
            // Where nobody took the call no page came through, whatever is counted here.
            pages_sent: if failed && known.is_some() { None } else { pages },
            remote_id: text(&self.remote_id).map(|id| cut(&id)),
            seconds: count(&self.duration),
            raw_code: Some(cut(&self.sent_status)),
            raw_text: code.map(cut),
        }))
    }
}

/// Whose fax it is: only another's account code, number or time contradicts us. The time is that at which it was sent.
fn whose(fax: &Record, sought: &Sought<'_>) -> Whose {
    let sent = text(&fax.epoch_time).and_then(|seconds| seconds.parse::<i64>().ok()).filter(|time| *time > 0);
    let sent = sent.and_then(|seconds| Timestamp::from_second(seconds).ok());
    match sought.whose(text(&fax.account_code).as_deref()) {
        Whose::Silent if !could_be(sought, text(&fax.to_fax_number).as_deref(), sent) => Whose::Another,
        whose => whose,
    }
}

/// What the outbox says about the fax with our reference.
pub(super) fn judge_list(list: Vec<Record>, sought: &Sought<'_>) -> Result<Search, AskError> {
    let mut furthest: Option<(u8, Found)> = None;
    let mut silent = Vec::new();
    for fax in list {
        match whose(&fax, sought) {
            Whose::Another => continue,
            Whose::Silent => {
                silent.push(fax.id().unwrap_or_default().to_owned());
                continue;
            }
            Whose::Ours => {}
        }
        let Some(id) = fax.id() else {
            return Err(AskError::Nonsense { detail: "the fax is listed without its id".into() });
        };
        let found = Found { status: fax.status()?, provider_ref: id.to_owned() };
        // One Attempt is one submit, so there should be one. If not, the one that counts is what may be in a tray.
        let rank = match &found.status {
            Status::Ended(report) if report.outcome == Outcome::Delivered => 0,
            Status::Working => 1,
            _ => 2,
        };
        if furthest.as_ref().is_none_or(|(best, _)| rank < *best) {
            furthest = Some((rank, found));
        }
    }
    Ok(furthest.map_or_else(|| Search::unless_silent(silent), |(_, found)| Search::Found(found)))
}

/// The only element of a list of one; anything else as it is.
pub(super) fn one(result: Value) -> Value {
    match result {
        Value::Array(mut list) if list.len() == 1 => list.pop().unwrap_or_default(),
        other => other,
    }
}

/// A text that may have come as a number; `None` when it is empty.
pub(super) fn text(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    (!text.is_empty()).then_some(text)
}

/// A number that may have come as text.
fn count(value: &Value) -> Option<u32> {
    text(value)?.parse().ok()
}

/// The cause behind an `ErrorCode`, if it is a known one.
pub(super) fn cause_of(code: &str) -> Option<Cause> {
    CODES.iter().find(|(known, _)| known.eq_ignore_ascii_case(code)).map(|(_, cause)| *cause)
}
