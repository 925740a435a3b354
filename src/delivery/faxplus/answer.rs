//! What the answers of Fax.Plus prove. Pure.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use reqwest::StatusCode;
use serde::Deserialize;
use serde_json::Value;

use super::cause_of;
use crate::delivery::http::{HttpAnswer, cut, not_sent, same_number, unknown};
use crate::delivery::{SubmitError, Taken};
use crate::job::{Cause, Outcome, Report};

/// The answer to `POST files`.
#[derive(Deserialize)]
struct Stored {
    path: String,
}

/// The answer to `POST outbox`: the id by destination.
#[derive(Deserialize)]
struct Ordered {
    ids: BTreeMap<String, Value>,
}

/// What the API says is wrong.
#[derive(Deserialize)]
pub(super) struct ApiError {
    pub(super) error: String,
    description: String,
}

/// Code and text of what the API says is wrong; `None` when it is not the API that speaks.
pub(super) fn error_of(answer: &HttpAnswer) -> Option<(String, String)> {
    let body: ApiError = answer.json().ok()?;
    (!answer.status.is_success() && !body.error.is_empty()).then_some((body.error, body.description))
}

/// The upload came to nothing, and so did the fax.
pub(super) fn upload_failed(wait: Option<SignedDuration>, detail: &str) -> SubmitError {
    not_sent(Cause::ProviderTrouble, wait, &format!("the document could not be uploaded: {detail}"))
}

/// What the answer to the upload says. That nobody was called is certain in any case.
pub(super) fn judge_upload(answer: &HttpAnswer) -> Result<String, SubmitError> {
    if answer.status.is_success() {
        let stored: Stored = answer.json().map_err(|detail| upload_failed(None, &detail))?;
        return if stored.path.is_empty() {
            Err(upload_failed(None, "the file got no name"))
        } else {
            Ok(stored.path)
        };
    }
    let error = error_of(answer);
    if answer.status == StatusCode::PAYLOAD_TOO_LARGE {
        return Err(SubmitError::Refused(Report {
            raw_code: Some(error.as_ref().map_or("413".into(), |(code, _)| cut(code))),
            raw_text: error.as_ref().map(|(_, text)| cut(text)),
            ..Report::bare(Outcome::of(Cause::DocumentRefused))
        }));
    }
    let cause = error.as_ref().map_or(Cause::Unknown, |(code, _)| cause_of(code));
    Err(match answer.refused(error, cause) {
        SubmitError::Unknown { detail } => upload_failed(answer.wait(), &detail),
        other => other,
    })
}

/// What the answer to the order says about the one question: may it have left?
pub(super) fn judge_order(answer: &HttpAnswer, number: &str) -> Result<Taken, SubmitError> {
    if answer.status.is_success() {
        let ordered: Ordered = answer.json().map_err(unknown)?;
        let id = ordered.ids.iter().find(|(to, _)| same_number(to, number)).map(|(_, id)| id);
        return match id.and_then(Value::as_str).filter(|id| !id.is_empty()) {
            Some(id) => Ok(Taken { provider_ref: id.to_owned() }),
            None => Err(unknown("the answer names no fax to this number")),
        };
    }
    let error = error_of(answer);
    let cause = match &error {
        _ if answer.status == StatusCode::PAYLOAD_TOO_LARGE => Cause::DocumentRefused,
        Some((code, _)) => cause_of(code),
        None => Cause::Unknown,
    };
    Err(answer.refused(error, cause))
}
