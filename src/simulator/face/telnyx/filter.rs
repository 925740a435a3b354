//! What `GET /v2/faxes` can be asked: `filter[created_at][gte]`, `gt`, `lte`, `lt`, `filter[direction][eq]`,
//! `filter[from][eq]`, `filter[to][eq]`, `page[size]`, `page[number]`.

use jiff::Timestamp;

use super::Fault;
use crate::simulator::book::Fax;

/// Faxes on a page, unless the question says otherwise.
const PAGE: usize = 20;
/// And at most.
const PAGE_AT_MOST: usize = 250;

/// Which faxes are wanted, and which page of them.
pub(super) struct Filter {
    since: Vec<(bool, Timestamp)>,
    until: Vec<(bool, Timestamp)>,
    outbound: bool,
    from: Option<String>,
    to: Option<String>,
    pub(super) size: usize,
    pub(super) number: usize,
}

/// The filter in a query.
///
/// # Errors
/// The first thing that the API does not know.
pub(super) fn read(pairs: &[(String, String)]) -> Result<Filter, Fault> {
    let mut filter = Filter {
        since: Vec::new(),
        until: Vec::new(),
        outbound: true,
        from: None,
        to: None,
        size: PAGE,
        number: 1,
    };
    for (name, value) in pairs {
        let wrong = |words: &str| Fault::at(name, words);
        let time = || value.parse::<Timestamp>().map_err(|_| wrong("must be an ISO 8601 time"));
        let count = |at_most: usize| {
            let count = value.parse::<usize>().ok().filter(|count| (1..=at_most).contains(count));
            count.ok_or_else(|| wrong(&format!("must be a whole number from 1 to {at_most}")))
        };
        match name.as_str() {
            "filter[created_at][gte]" => filter.since.push((true, time()?)),
            "filter[created_at][gt]" => filter.since.push((false, time()?)),
            "filter[created_at][lte]" => filter.until.push((true, time()?)),
            "filter[created_at][lt]" => filter.until.push((false, time()?)),
            "filter[direction][eq]" => match value.as_str() {
                "outbound" => {}
                "inbound" => filter.outbound = false,
                _ => return Err(wrong("must be inbound or outbound")),
            },
            "filter[from][eq]" => filter.from = Some(value.clone()),
            "filter[to][eq]" => filter.to = Some(value.clone()),
            "page[size]" => filter.size = count(PAGE_AT_MOST)?,
            "page[number]" => filter.number = count(1_000_000)?,
            _ => return Err(wrong("is not a parameter of this request")),
        }
    }
    Ok(filter)
}

impl Filter {
    /// Whether `fax` is wanted.
    pub(super) fn takes(&self, fax: &Fax) -> bool {
        let is = |wanted: &Option<String>, there: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| there == Some(wanted))
        };
        self.outbound
            && is(&self.to, Some(&fax.number))
            && is(&self.from, fax.details.get("from").map(String::as_str))
            && self.since.iter().all(|(equal, at)| fax.taken > *at || (*equal && fax.taken == *at))
            && self.until.iter().all(|(equal, at)| fax.taken < *at || (*equal && fax.taken == *at))
    }

    /// Faxes on the pages before the wanted one.
    pub(super) fn skipped(&self) -> usize {
        self.size.saturating_mul(self.number.saturating_sub(1))
    }
}
