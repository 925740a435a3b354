//! The two lists of Fax.Plus, and what they say together about a fax of which only our reference is known. Pure.

use serde::Deserialize;
use serde_json::Value;

use super::status_of;
use crate::delivery::http::{could_be, same_number};
use crate::delivery::{AskError, Found, Search, Sought, Status, Whose};
use crate::job::Outcome;

/// Records that one question returns at most.
pub(super) const AT_ONCE: usize = 50;

/// `GET outbox`.
#[derive(Deserialize)]
pub(super) struct WaitingList {
    pub(super) records: Vec<Waiting>,
}

/// A fax that is still in the outbox.
#[derive(Deserialize)]
pub(super) struct Waiting {
    pub(super) id: String,
    #[serde(default)]
    pub(super) status: Option<String>,
    #[serde(default)]
    pub(super) to: Vec<String>,
    #[serde(default)]
    pub(super) comment: Value,
}

/// `GET faxes`.
#[derive(Deserialize)]
pub(super) struct EndedList {
    pub(super) data: EndedRecords,
}

/// What `GET faxes` wraps.
#[derive(Deserialize)]
pub(super) struct EndedRecords {
    pub(super) records: Vec<Ended>,
}

/// A fax that has left the outbox.
#[derive(Deserialize)]
pub(super) struct Ended {
    pub(super) id: String,
    pub(super) status: String,
    #[serde(default)]
    pub(super) to: Option<String>,
    #[serde(default)]
    pub(super) comment: Value,
    #[serde(default)]
    pub(super) pages: Option<u32>,
    #[serde(default)]
    pub(super) duration: Option<u32>,
    #[serde(default)]
    pub(super) description: Option<String>,
}

#[cfg(test)]
impl Ended {
    pub(super) fn with_status(status: &str) -> Ended {
        serde_json::from_value(serde_json::json!({ "id": "f", "status": status })).unwrap()
    }
}

/// What both lists say about the fax that is sought.
///
/// # Errors
/// [`AskError::Nonsense`] where a list is full, and may go on: then nothing is proven.
pub(super) fn judge(waiting: &[Waiting], ended: &[Ended], sought: &Sought<'_>) -> Result<Search, AskError> {
    let is_ours = |comment: &Value| whose(comment, sought) == Whose::Ours;
    let waits = waiting.iter().filter(|fax| is_ours(&fax.comment)).map(|fax| (1, &fax.id, Status::Working));
    let ends = ended.iter().filter(|fax| is_ours(&fax.comment)).map(|fax| {
        let status = status_of(fax);
        let rank = match &status {
            Status::Ended(report) if report.outcome == Outcome::Delivered => 0,
            Status::Ended(_) => 2,
            _ => 1,
        };
        (rank, &fax.id, status)
    });
    // One Attempt is one order, so there should be one. If not, the one that counts is what may be in a tray.
    let furthest = waits.chain(ends).filter(|(_, id, _)| !id.is_empty()).min_by_key(|(rank, _, _)| *rank);
    if let Some((_, id, status)) = furthest {
        return Ok(Search::Found(Found { provider_ref: id.clone(), status }));
    }
    let silent = waiting.iter().filter(|fax| fax.may_be(sought)).map(|fax| fax.id.clone());
    let silent: Vec<String> =
        silent.chain(ended.iter().filter(|fax| fax.may_be(sought)).map(|fax| fax.id.clone())).collect();
    if !silent.is_empty() {
        return Ok(Search::Undecided(silent));
    }
    if ended.len() >= AT_ONCE || waiting.len() >= AT_ONCE {
        return Err(AskError::Nonsense { detail: "the list is full, and may go on".into() });
    }
    Ok(Search::NotListed)
}

impl Waiting {
    /// Whether it may be the sought one, without saying so.
    pub(super) fn may_be(&self, sought: &Sought<'_>) -> bool {
        let fits = self.to.is_empty() || self.to.iter().any(|to| same_number(to, sought.number.as_str()));
        fits && whose(&self.comment, sought) == Whose::Silent
    }
}

impl Ended {
    /// Whether it may be the sought one, without saying so.
    pub(super) fn may_be(&self, sought: &Sought<'_>) -> bool {
        could_be(sought, self.to.as_deref(), None) && whose(&self.comment, sought) == Whose::Silent
    }
}

/// Whose fax it is that carries `comment`: tags and text in the outbox, one text afterwards.
pub(super) fn whose(comment: &Value, sought: &Sought<'_>) -> Whose {
    let mut texts: Vec<&str> = Vec::new();
    match comment {
        Value::String(text) => texts.push(text),
        Value::Object(parts) => {
            texts.extend(parts.get("text").and_then(Value::as_str));
            let tags = parts.get("tags").and_then(Value::as_array);
            texts.extend(tags.into_iter().flatten().filter_map(Value::as_str));
        }
        _ => {}
    }
    // Whole words: the reference of the first try begins that of the twelfth.
    let words = texts.iter().flat_map(|text| text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-'));
    let words = words.filter(|word| !word.is_empty()).map(|word| sought.whose(Some(word)));
    let all: Vec<Whose> = words.collect();
    // A label of ours that may be forgotten speaks before the words around it.
    let first = [Whose::Ours, Whose::Silent, Whose::Another].into_iter().find(|whose| all.contains(whose));
    match first {
        Some(whose) => whose,
        None if texts.iter().any(|text| !text.trim().is_empty()) => Whose::Another,
        None => Whose::Silent,
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;

    use super::*;
    use crate::delivery::testing::searched;
    use crate::job::FaxNumber;

    fn judged(waiting: Value, ended: Value) -> String {
        let waiting: Vec<Waiting> = serde_json::from_value(waiting).unwrap();
        let ended: Vec<Ended> = serde_json::from_value(ended).unwrap();
        let number = FaxNumber::from_e164("+12125550100").unwrap();
        let sought = Sought {
            reference: "job-1",
            kept: None,
            number: &number,
            since: Timestamp::UNIX_EPOCH,
            forgotten: false,
        };
        searched(&judge(&waiting, &ended, &sought))
    }

    #[test]
    fn what_two_lists_prove() {
        let to = "+12125550100";
        let sent = |comment: Value| json!([{"id": "f", "status": "success", "pages": 3, "to": to, "comment": comment}]);
        let waits = |comment: Value| json!([{"id": "w", "to": [to], "comment": comment}]);
        let none = || json!([]);
        let table = [
            (none(), none(), "not listed"),
            (none(), sent(json!("job-1")), "f delivered 3"),
            (none(), sent(json!({"tags": ["job-1"], "text": ""})), "f delivered 3"),
            (none(), sent(json!("job-12")), "not listed"),
            (none(), sent(json!("tags: x, job-1.")), "f delivered 3"),
            // The comment was not carried over, or is somebody's who sets none: it may be ours.
            (none(), sent(json!("")), "may be f"),
            (none(), sent(Value::Null), "may be f"),
            (none(), sent(json!({"tags": [], "text": " "})), "may be f"),
            (none(), json!([{"id": "f", "status": "success", "to": "+1 (212) 555-0100"}]), "may be f"),
            (none(), json!([{"id": "f", "status": "success"}]), "may be f"),
            (none(), json!([{"id": "f", "status": "success", "to": "+12125550199"}]), "not listed"),
            (waits(json!({"tags": ["job-1"]})), none(), "w working"),
            (waits(Value::Null), none(), "may be w"),
            (json!([{"id": "w", "to": ["+12125550199"]}]), none(), "not listed"),
            (waits(json!({"text": "job-1"})), sent(json!("job-1")), "f delivered 3"),
            (
                waits(json!({"text": "job-1"})),
                json!([{"id": "f", "status": "failed_user_busy", "comment": "job-1"}]),
                "w working",
            ),
        ];
        for (waiting, ended, expected) in table {
            assert_eq!(judged(waiting.clone(), ended.clone()), expected, "{waiting} {ended}");
        }
    }

    #[test]
    fn a_full_list_proves_no_absence() {
        let many = |n: usize| json!(vec![json!({"id": "f", "status": "success", "comment": "job-9"}); n]);
        assert_eq!(judged(json!([]), many(AT_ONCE - 1)), "not listed");
        assert_eq!(judged(json!([]), many(AT_ONCE)), "cannot tell");
    }
}
