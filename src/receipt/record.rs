//! The answer as JSON: for result files, and for `receipt show` and `receipt verify` years later.
//!
//! Fields are added, never renamed or given another meaning; `format` changes if that ever has to be broken. Times are
//! UTC, RFC 3339.

use serde_json::{Map, Value, json};

use super::letter::{AGAIN, SAME_MAIL};
use super::words::{self, State, Times};
use super::{Account, AccountVerdict, AttemptAccount, Deletion, JobAccount, PartAccount};
use crate::store::AnswerKind;

/// The record, unsigned.
pub(super) fn record(account: &Account, kind: AnswerKind) -> Value {
    let times = Times::of(account);
    let states: Vec<State> = account.jobs.iter().map(State::of).collect();
    let (state, sentence) = match &account.verdict {
        AccountVerdict::Refused { sentence } => ("failed", Some(sentence.as_str())),
        AccountVerdict::Command { sentence, .. } => {
            (states.iter().max().map_or("failed", |state| state.as_str()), Some(sentence.as_str()))
        }
        // A batch is as good as its worst fax.
        AccountVerdict::Jobs => (
            states.iter().max().map_or("failed", |state| state.as_str()),
            match kind {
                AnswerKind::Again => Some(AGAIN),
                _ => account.brought_nothing_new().then_some(SAME_MAIL),
            },
        ),
    };
    let mut counts = Map::new();
    for state in &states {
        let n = states.iter().filter(|other| *other == state).count();
        counts.insert(state.as_str().to_owned(), json!(n));
    }
    let jobs: Vec<Value> = account.jobs.iter().map(|job| job_record(job, account, &times)).collect();
    let mut record = json!({
        "format": FORMAT,
        "kind": kind.as_str(),
        "command": match &account.verdict {
            AccountVerdict::Command { id, outcome, .. } => json!({"submission": id.as_str(), "outcome": outcome.as_str()}),
            _ => Value::Null,
        },
        "submission": account.submission.as_str(),
        "source": account.source.to_string(),
        "organization": account.organization,
        "accepted_at": account.accepted_at.to_string(),
        "state": state,
        "sentence": sentence,
        "counts": counts,
        "jobs": jobs,
        "documents": match account.deletion {
            Deletion::After { minutes } => json!({"state": "kept", "destroyed_after_minutes": minutes}),
            Deletion::By(at) => json!({"state": "kept", "destroyed_by": at.to_string()}),
            Deletion::Done(at) => json!({"state": "destroyed", "destroyed_at": at.to_string()}),
        },
    });
    if let (Some(file), Some(record)) = (&account.file, record.as_object_mut()) {
        record.insert(
            "file".to_owned(),
            json!({"name": file.name, "sha256": file.sha256, "left": account.left}),
        );
    }
    record
}

fn job_record(job: &JobAccount, account: &Account, times: &Times) -> Value {
    let said = words::about(job, account, times);
    let cause = match &job.state {
        crate::job::JobState::Failed { cause } => Some(cause.as_str()),
        _ => None,
    };
    let hold = match &job.state {
        crate::job::JobState::Held { hold, until } => {
            json!({"reason": hold.as_str(), "until": until.to_string()})
        }
        _ => Value::Null,
    };
    let mut record = json!({
        "job": job.job.as_str(),
        "reference": job.reference,
        "reference_mark": job.reference_mark,
        "recipient": job.recipient.as_ref().map(|(key, name)| json!({"key": key, "name": name})),
        "number": job.number.as_ref().map(crate::job::FaxNumber::as_str),
        "state": said.state.as_str(),
        "cause": cause,
        "hold": hold,
        "sentence": said.what,
        "next": said.next,
        "pages": job.pages,
        "cover_pages": job.cover_pages,
        "sha256": job.sha256,
        "rule": job.rule,
        "cancel": job.cancel,
        "parts": job.parts.iter().map(part_record).collect::<Vec<_>>(),
        "warnings": job.warnings,
        "attempts": job.attempts.iter().map(attempt_record).collect::<Vec<_>>(),
        "checklist": job.checklist.iter().map(|check| {
            json!({"item": check.item, "ok": check.ok, "note": check.note})
        }).collect::<Vec<_>>(),
    });
    if let (Some(first), Some(record)) = (job.before, record.as_object_mut()) {
        record.insert("before".to_owned(), json!(first.as_str()));
    }
    record
}

fn part_record(part: &PartAccount) -> Value {
    json!({
        "part": part.n,
        "kind": part.kind,
        "pages": part.pages.map(|(first, last)| [first, last]),
        "left_out": part.left_out,
        "holds": part.holds,
        "same_as": part.same_as,
    })
}

fn attempt_record(attempt: &AttemptAccount) -> Value {
    json!({
        "attempt": attempt.n,
        "provider": attempt.provider,
        "started_at": attempt.started_at.to_string(),
        "ended_at": attempt.ended_at.map(|at| at.to_string()),
        "outcome": attempt.outcome,
        "cause": attempt.cause.map(crate::job::Cause::as_str),
        "words": words::outcome_words(attempt),
        "sent": attempt.sent,
        "pages_sent": attempt.pages_sent,
        "remote_id": attempt.remote_id,
        "raw_code": attempt.raw_code,
        "raw_text": attempt.raw_text,
        "copy": attempt.copy.map(|(copy, at)| json!({"state": copy, "deleted_at": at.map(|at| at.to_string())})),
    })
}

const FORMAT: &str = "faxbridge receipt 1";
