//! What InterFAX takes as query parameters: of an order, and of a search.

use std::collections::BTreeMap;

use axum::response::Response;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::{destination, wrong};
use crate::job::FaxNumber;
use crate::simulator::book::Fax;

/// Faxes in an answer, unless the question says otherwise.
const LIMIT: usize = 25;

/// The words that a parameter takes, in any case; those without are checked one by one.
const WORDS: &[(&str, &[&str])] = &[
    ("pageSize", &["a4", "letter", "legal", "b4"]),
    ("fitToPage", &["scale", "noscale"]),
    ("pageOrientation", &["portrait", "landscape"]),
    ("resolution", &["fine", "standard"]),
    ("rendering", &["grayscale", "bw"]),
];

/// An order that is as it should be.
pub(super) struct Order {
    pub(super) number: String,
    pub(super) reference: Option<String>,
    pub(super) details: BTreeMap<String, String>,
}

fn fault(name: &str, words: &str) -> Box<Response> {
    Box::new(wrong(&format!("{name}: {words}")))
}

/// The order in a query.
///
/// # Errors
/// The answer to the first thing that is wrong with it.
pub(super) fn order(pairs: &[(String, String)]) -> Result<Order, Box<Response>> {
    let mut details = BTreeMap::new();
    let mut number = None;
    for (name, value) in pairs {
        let wrong = |words: &str| Err(fault(name, words));
        let words = WORDS.iter().find(|(known, _)| known == name).map(|(_, words)| *words);
        match name.as_str() {
            "faxNumber" => match number_of(value) {
                None => return wrong("must be a number as +1-212-5550100"),
                found => number = found,
            },
            "csid" if !(1..=20).contains(&value.chars().count()) => return wrong("has 1 to 20 characters"),
            "reference" if !(1..=60).contains(&value.chars().count()) => {
                return wrong("has 1 to 60 characters");
            }
            // The number of attempts: none at all makes no fax.
            "retriesToPerform" if value.parse::<u8>().is_ok_and(|attempts| attempts > 0) => {}
            "retriesToPerform" => return wrong("must be a whole number from 1"),
            "postponeTime" if value.parse::<DateTime>().is_err() => return wrong("must be a time"),
            "replyAddress" if !value.contains('@') => return wrong("must be a mail address"),
            "pageHeader" if value.is_empty() => return wrong("must be a template, or N"),
            "csid" | "reference" | "postponeTime" | "replyAddress" | "pageHeader" => {}
            "contact" => {}
            _ => match words {
                None => return wrong("is not a parameter of this request"),
                Some(words) if !words.iter().any(|word| value.eq_ignore_ascii_case(word)) => {
                    return wrong(&format!("must be one of {}", words.join(", ")));
                }
                Some(_) => {}
            },
        }
        if details.insert(name.clone(), value.clone()).is_some() {
            return wrong("stands twice");
        }
    }
    let Some(number) = number else { return Err(fault("faxNumber", "is missing")) };
    Ok(Order { number, reference: details.get("reference").cloned(), details })
}

/// A number in international form, with or without hyphens, as E.164.
fn number_of(text: &str) -> Option<String> {
    let number = text.replace('-', "");
    FaxNumber::from_e164(&number).ok().map(|number| number.as_str().to_owned())
}

/// What is sought.
pub(super) struct Search {
    ids: Option<Vec<String>>,
    reference: Option<String>,
    number: Option<String>,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    status: Wanted,
    pub(super) limit: usize,
    pub(super) offset: usize,
}

/// Which statuses are sought.
enum Wanted {
    All,
    Completed,
    Success,
    Failed,
    Inprocess,
    Exactly(i32),
}

/// The search in a query.
///
/// # Errors
/// The answer to the first thing that is wrong with it.
pub(super) fn search(pairs: &[(String, String)]) -> Result<Search, Box<Response>> {
    let mut search = Search {
        ids: None,
        reference: None,
        number: None,
        from: None,
        to: None,
        status: Wanted::All,
        limit: LIMIT,
        offset: 0,
    };
    for (name, value) in pairs {
        let wrong = |words: &str| fault(name, words);
        let count = || value.parse::<usize>().map_err(|_| wrong("must be a whole number"));
        let time = || {
            let time = value.parse::<DateTime>().ok().and_then(|time| TimeZone::UTC.to_timestamp(time).ok());
            time.map(Some).ok_or_else(|| wrong("must be a time"))
        };
        match name.as_str() {
            "ids" => search.ids = Some(value.split(',').map(str::to_owned).collect()),
            "reference" => search.reference = Some(value.clone()),
            "faxNumber" => {
                search.number =
                    Some(number_of(value).ok_or_else(|| wrong("must be a number as +1-212-5550100"))?);
            }
            "dateFrom" => search.from = time()?,
            "dateTo" => search.to = time()?,
            "status" => search.status = status(value).ok_or_else(|| wrong("is not a status"))?,
            "limit" => search.limit = count()?,
            "offset" => search.offset = count()?,
            "userId" => {}
            "sortOrder" if value == "desc" => {}
            _ => return Err(wrong("is not a parameter of this request")),
        }
    }
    Ok(search)
}

fn status(word: &str) -> Option<Wanted> {
    Some(match word.to_ascii_lowercase().as_str() {
        "all" => Wanted::All,
        "completed" => Wanted::Completed,
        "success" => Wanted::Success,
        "failed" => Wanted::Failed,
        "inprocess" => Wanted::Inprocess,
        number => Wanted::Exactly(number.parse().ok()?),
    })
}

impl Search {
    /// Whether `fax`, whose status is this, is sought.
    pub(super) fn takes(&self, fax: &Fax, status: i32) -> bool {
        let wanted = match self.status {
            Wanted::All => true,
            Wanted::Completed => status >= 0,
            Wanted::Success => status == 0,
            Wanted::Failed => status > 0,
            Wanted::Inprocess => status < 0,
            Wanted::Exactly(exactly) => status == exactly,
        };
        wanted
            && self.ids.as_ref().is_none_or(|ids| ids.contains(&fax.id))
            && self
                .reference
                .as_ref()
                .is_none_or(|sought| fax.label().is_some() && fax.details.get("reference") == Some(sought))
            && self
                .number
                .as_ref()
                .is_none_or(|number| destination(fax).ends_with(number.trim_start_matches('+')))
            && self.from.is_none_or(|from| fax.taken >= from)
            && self.to.is_none_or(|to| fax.taken <= to)
    }
}
