//! The adapter for InterFAX (Upland), REST API (docs.uplandsoftware.com, `interfax/documentation/api/rest`: `send-fax`,
//! `search-fax-list`, `cancel-fax`, `response-format`; `fax-status-codes`).
//!
//! The document is the body of the order, its options are the query, and the only thing that comes back is the name of the fax, in
//! `Location`. Our reference travels as `reference` (up to 60 characters), by which [`Provider::find`] searches; the fax itself
//! does not repeat it for certain, so number and time of what was found are compared. Where nothing is found, all faxes to that
//! number since then may be it.
//!
//! * Nothing signs its callbacks, and where they go is set in the control panel, not in the order: they are hints, and name the fax by
//!   InterFAX' own number.
//! * `hide` takes a fax out of lists and is not documented to erase anything, so this adapter deletes nothing: how long InterFAX
//!   keeps images (14 days) is a setting of the account.
//! * The header line is ours to word, but its placeholder for the time is documented nowhere outside the panel: the line that
//!   the law wants stands on the cover.

use std::cmp::Ordering;

use async_trait::async_trait;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;

use super::http::{Dialect, Http, HttpAnswer, Upload, basic, could_be, cut, nonsense, not_sent, unknown};
use super::{
    AskError, Cancelled, Capabilities, CheckFault, Found, Hook, News, Order, Provider, Search, Secrets,
    Sought, Status, SubmitError, Taken, WebhookRefusal,
};
use crate::config::{self, kinds};
use crate::job::{Cause, Outcome, Report};

mod codes;

/// Longest `csid`.
const CSID_AT_MOST: usize = 20;
/// What the header line may take of who sends, so that the rest still fits a line.
const SENDER_AT_MOST: usize = 50;

/// Faxes that one search finds at most.
const FOUND_AT_MOST: usize = 100;

const DIALECT: Dialect = Dialect {
    word: |answer| error_of(answer).map(|error| (error.code.to_string(), error.message)),
    no_such_fax: Some("-1005"),
};

/// The account is out of credit; the fax is held for up to 24 hours.
const OUT_OF_CREDIT: i64 = -22;

/// An account with InterFAX.
pub struct Interfax {
    /// The provider's name in the configuration, for the log.
    name: String,
    http: Http,
}

impl Interfax {
    /// The adapter for the account that `keys` name.
    ///
    /// # Errors
    /// A sentence that begins with the key at fault.
    pub fn new(
        name: &str,
        provider: &config::Provider,
        keys: &kinds::Interfax,
        secrets: &Secrets,
    ) -> Result<Self, String> {
        let authorization = basic(&keys.login, &secrets.password)?;
        Ok(Interfax { name: name.to_owned(), http: Http::new(provider, Some(authorization), DIALECT)? })
    }

    fn url(&self, rest: &[&str]) -> Url {
        self.http.url(&[&["outbound", "faxes"], rest].concat())
    }

    /// Where the order goes, with all that it says. What it leaves out, the paper's size among it, is as set in the panel.
    fn order_url(&self, order: &Order<'_>) -> Url {
        let mut url = self.url(&[]);
        let mut query = url.query_pairs_mut();
        query
            .append_pair("faxNumber", order.number.as_str())
            .append_pair("reference", order.reference)
            // It would redial by itself otherwise: calls that nobody counts. By the vendor's word the value is the number of
            // transmission attempts, so one is the least; `attemptsToPerform` shows what it made of it.
            .append_pair("retriesToPerform", "1")
            .append_pair("pageHeader", &page_header(order.header, order.caller))
            .append_pair("resolution", "fine")
            .append_pair("rendering", "bw");
        if let Some(caller) = order.caller.filter(|caller| caller.len() <= CSID_AT_MOST) {
            query.append_pair("csid", caller);
        }
        drop(query);
        url
    }

    async fn search(&self, wanted: &[(&str, &str)]) -> Result<Vec<Fax>, AskError> {
        let mut url = self.http.url(&["outbound", "search"]);
        url.query_pairs_mut().extend_pairs(wanted).append_pair("limit", &FOUND_AT_MOST.to_string());
        let list: Vec<Fax> = self.http.ask(Method::GET, url).await?.understood()?;
        if list.len() >= FOUND_AT_MOST {
            return Err(nonsense("the list is full, and may go on"));
        }
        Ok(list)
    }

    /// The names of all faxes to the sought number since then: a fax whose reference was not kept is found by nothing else.
    async fn to_that_number(&self, sought: &Sought<'_>) -> Result<Vec<String>, AskError> {
        let since = sought.earliest().strftime("%Y-%m-%dT%H:%M:%S").to_string();
        let list = self.search(&[("faxNumber", sought.number.as_str()), ("dateFrom", &since)]).await?;
        Ok(list.iter().filter(|fax| fax.could_be(sought)).map(|fax| fax.id.to_string()).collect())
    }
}

#[async_trait]
impl Provider for Interfax {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            finds_by_reference: true,
            cancels: true,
            reports_remote_id: true,
            reports_pages: true,
            max_pages: Some(100),
            max_bytes: Some(20_000_000),
            ..Capabilities::LEAST
        }
    }

    async fn submit(&self, order: Order<'_>) -> Result<Taken, SubmitError> {
        let request = self.http.order(self.order_url(&order));
        let (upload, body) = Upload::body(order.document, order.bytes);
        let request = request.header(CONTENT_TYPE, "application/pdf").header(CONTENT_LENGTH, order.bytes);
        judge_submit(&self.http.submit(request.body(body), Some(&upload)).await?, &self.http)
    }

    async fn status(&self, provider_ref: &str) -> Result<Status, AskError> {
        let is_it = |fax: &Fax| fax.id.to_string() == provider_ref;
        let Some(fax) = self.http.fax(self.url(&[provider_ref]), is_it).await? else {
            return Ok(Status::NotThere);
        };
        if fax.status == OUT_OF_CREDIT {
            tracing::warn!(
                provider = self.name,
                "{} is out of credit and holds a fax for up to 24 hours",
                self.name
            );
        }
        if fax.attempts_to_perform.is_some_and(|attempts| attempts > 1) {
            tracing::warn!(
                provider = self.name,
                "{} means to redial by itself, although each order forbids it: nobody counts those calls",
                self.name
            );
        }
        Ok(fax.standing())
    }

    async fn find(&self, sought: Sought<'_>) -> Result<Search, AskError> {
        let list = self.search(&[("reference", sought.reference)]).await?;
        if list.iter().any(|fax| !fax.could_be(&sought)) {
            return Err(nonsense("the list holds what was not asked for"));
        }
        // One Attempt is one submit, so there should be one. If not, the one that counts is what may be in a tray.
        let furthest = list.into_iter().min_by_key(|fax| match fax.status.cmp(&0) {
            Ordering::Equal => 0,
            Ordering::Less => 1,
            Ordering::Greater => 2,
        });
        Ok(match furthest {
            Some(fax) => Search::Found(Found { status: fax.standing(), provider_ref: fax.id.to_string() }),
            None => Search::unless_silent(self.to_that_number(&sought).await?),
        })
    }

    /// The fax itself does not show its reference, so number and time alone speak.
    async fn confirm(&self, provider_ref: &str, sought: Sought<'_>) -> Result<Search, AskError> {
        let fax = self.http.fax::<Fax>(self.url(&[provider_ref]), |_| true).await?;
        let fits = fax.is_some_and(|fax| fax.id.to_string() == provider_ref && fax.could_be(&sought));
        Ok(Search::unless_silent(fits.then(|| provider_ref.to_owned()).into_iter().collect()))
    }

    async fn cancel(&self, provider_ref: &str) -> Result<Cancelled, AskError> {
        let answer = self.http.ask(Method::POST, self.url(&[provider_ref, "cancel"])).await?;
        match answer.status {
            // Whether it came before the call is for the status to tell.
            StatusCode::OK => Ok(Cancelled::Asked),
            // The same word for a fax that has ended and for one that never was.
            _ if DIALECT.says_not_there(&answer) => Ok(Cancelled::TooLate),
            _ => Err(DIALECT.nonsense(&answer)),
        }
    }

    fn read_webhook(&self, hook: &Hook<'_>, _now: Timestamp) -> Result<Vec<News>, WebhookRefusal> {
        let body = std::str::from_utf8(hook.body)
            .map_err(|_| WebhookRefusal::Malformed("it is no form".to_owned()))?;
        let mut form = self.http.url(&[]);
        form.set_query(Some(body));
        let value =
            |sought: &str| form.query_pairs().find(|(name, _)| name == sought).map(|(_, value)| value);
        // The panel sends news of received faxes to the same place, if told to.
        if value("TransactionIDType").is_some_and(|kind| !kind.eq_ignore_ascii_case("outbound")) {
            return Ok(Vec::new());
        }
        hook.hint(value("TransactionID").filter(|id| is_id(id)).map(std::borrow::Cow::into_owned))
    }

    /// A search for one fax.
    async fn check(&self) -> Result<(), CheckFault> {
        let mut url = self.http.url(&["outbound", "search"]);
        url.query_pairs_mut().append_pair("limit", "1");
        self.http.check::<Vec<Fax>>(url, "password").await
    }
}

/// A fax, in InterFAX' words.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fax {
    id: u64,
    status: i64,
    destination_fax: Option<String>,
    submit_time: Option<String>,
    pages_sent: Option<u32>,
    duration: Option<u32>,
    attempts_to_perform: Option<u32>,
    #[serde(rename = "remoteCSID")]
    remote_id: Option<String>,
}

impl Fax {
    /// How it stands: below zero it is on its way, zero is delivered, anything else failed for good. Also when the account is out
    /// of credit: the fax is held and goes out when there is some.
    fn standing(&self) -> Status {
        let outcome = match self.status.cmp(&0) {
            Ordering::Less => return Status::Working,
            Ordering::Equal => Outcome::Delivered,
            Ordering::Greater => Outcome::of(codes::cause_of(self.status, self.pages_sent)),
        };
        Status::Ended(Report {
            outcome,
            pages_sent: self.pages_sent,
            remote_id: self.remote_id.as_deref().map(cut).filter(|id| !id.is_empty()),
            seconds: self.duration,
            raw_code: (self.status != 0).then(|| self.status.to_string()),
            raw_text: None,
        })
    }

    /// Whether it goes to that number and was not handed over before, as far as it says. Numbers come back as digits after the
    /// international prefix, times in GMT without saying so.
    fn could_be(&self, sought: &Sought<'_>) -> bool {
        let time = self.submit_time.as_deref().and_then(|time| time.parse::<DateTime>().ok());
        let made = time.and_then(|time| TimeZone::UTC.to_timestamp(time).ok());
        let digits =
            self.destination_fax.as_deref().map(|number| number.strip_prefix("00").unwrap_or(number));
        could_be(sought, digits.filter(|digits| !digits.is_empty()), made)
    }
}

/// What the API says is wrong.
#[derive(Deserialize)]
struct ErrorView {
    code: i64,
    message: String,
}

/// What the API says is wrong; `None` when it is not the API that speaks.
fn error_of(answer: &HttpAnswer) -> Option<ErrorView> {
    if answer.status.is_success() { None } else { answer.json().ok() }
}

/// InterFAX' names for faxes are numbers.
fn is_id(text: &str) -> bool {
    (1..=19).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The text of the header line. Braces would be placeholders.
fn page_header(sender: &str, caller: Option<&str>) -> String {
    let sender: String =
        sender.chars().filter(|c| !c.is_control() && !"{}".contains(*c)).take(SENDER_AT_MOST).collect();
    format!("From: {sender} {}  To: {{To}}  Pages: {{TotalPages}}", caller.unwrap_or_default())
}

/// What the answer to a submit says about the one question: may it have left?
fn judge_submit(answer: &HttpAnswer, http: &Http) -> Result<Taken, SubmitError> {
    if answer.status.is_success() {
        return match id_in_location(answer, http) {
            Some(id) => Ok(Taken { provider_ref: id }),
            None => Err(unknown(format!("{} that names no fax", answer.describe(None)))),
        };
    }
    let error = error_of(answer);
    let cause = match (answer.status, &error) {
        (StatusCode::UNSUPPORTED_MEDIA_TYPE | StatusCode::PAYLOAD_TOO_LARGE, _) => Cause::DocumentRefused,
        (_, Some(error)) => codes::cause_of_refusal(error.code),
        (_, None) => Cause::Unknown,
    };
    if cause == Cause::AccountTrouble && answer.status.is_client_error() {
        return Err(not_sent(cause, answer.wait(), &DIALECT.describe(answer)));
    }
    Err(answer.refused(error.map(|error| (error.code.to_string(), error.message)), cause))
}

/// The name of the fax that was made: the last step of `Location`, whose path is otherwise that of the order. The host may be
/// another of InterFAX'.
fn id_in_location(answer: &HttpAnswer, http: &Http) -> Option<String> {
    let location = answer.headers.get(LOCATION)?.to_str().ok()?;
    let location = http.url(&[]).join(location).ok()?;
    let id = location.path_segments()?.next_back().filter(|id| is_id(id))?;
    (location.path() == http.url(&["outbound", "faxes", id]).path()).then(|| id.to_owned())
}

#[cfg(test)]
mod tests;
