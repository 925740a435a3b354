//! The ledger's rows, chained with the commit that makes them: there is one writer, and its transaction begins with the last row.

use jiff::Timestamp;

use crate::job::{JobId, SubmissionId};
use crate::store::ledger::{Entry, Link};
use crate::store::sql::{self, Connection};
use crate::store::{StoreError, millis};

/// Adds rows to the ledger, as many as there are in a JSON list: one text for any number, so that it stays prepared.
macro_rules! chain {
    () => {
        "INSERT INTO ledger (seq, at, actor, submission_id, job_id, event, detail, hash) \
         SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7 \
         FROM json_each($1) ORDER BY key; "
    };
}
pub(super) use chain;

/// The ledger's last row.
pub(super) async fn last(connection: &mut Connection) -> Result<Option<Link>, StoreError> {
    sql::query("SELECT seq, hash FROM ledger ORDER BY seq DESC LIMIT 1").fetch_optional(connection).await
}

/// The rows of `entries`, which follow `last`, as JSON; also the last of them, or else `last`.
pub(super) fn rows(last: Option<&Link>, entries: &[(Timestamp, Entry)]) -> (String, Option<Link>) {
    let mut before = last.cloned();
    let mut rows = Vec::with_capacity(entries.len());
    for (at, entry) in entries {
        let link = Link::after(before.as_ref(), *at, entry);
        rows.push(serde_json::json!([
            link.seq,
            millis(*at),
            entry.actor,
            entry.submission.as_ref().map(SubmissionId::as_str),
            entry.job.as_ref().map(JobId::as_str),
            entry.event,
            entry.detail,
            link.hash,
        ]));
        before = Some(link);
    }
    (serde_json::Value::Array(rows).to_string(), before)
}
