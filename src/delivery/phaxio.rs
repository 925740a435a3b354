//! The adapter for Phaxio API v2.1 (phaxio.com/docs, now of Sinch).
//!
//! * **Submit**: one multipart form, the document as its last part. An envelope that says `success: false` is a
//!   refusal, also under HTTP 200. 5xx, the documented 503 among them, says nothing.
//! * **Redials** are a setting of the account and cannot be turned off by us: set them to none there.
//! * **Our reference** travels as the tag `job`, by which the list can be asked.
//! * **Cancel** is a wish: the API notes it, and the status tells whether it came in time.
//! * **Pages**: the API does not say how many arrived. A `lineError` is by the vendor's definition a call that could
//!   not be placed, so nothing was sent; it is not trusted for the codes that say "dropped". Every other trouble on the
//!   way leaves it open, and a person decides. So does `partialsuccess`, which a fax to one number should never be.
//! * **Header**: printed on every page by Phaxio.
//! * **Webhooks** are signed; see `phaxio::webhook` for what that is worth.

use async_trait::async_trait;
use jiff::Timestamp;
use reqwest::{Method, Url, multipart};
use serde::Deserialize;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::http::{Dialect, Http, HttpAnswer, after_call, basic, could_be, cut, nonsense, not_sent, unknown};
use super::sinch::{codes, whole};
use super::{
    AskError, Cancelled, Capabilities, CheckFault, Found, HeaderLine, Hook, News, Order, Provider, Search,
    Secrets, Sought, Status, SubmitError, Taken, WebhookRefusal, Whose,
};
use crate::config::{self, kinds};
use crate::job::{Cause, Outcome, Report};

pub(super) mod form;
mod webhook;

/// Codes of calls that could not be placed (phaxio.com/docs/api/v2.1/faxes/errors; 107 to 124 from a client library),
/// and what they come to. What is in neither this table nor [`SHARED`] is `Cause::Unknown`, as are all of `fatalError`
/// and `generalError`.
#[rustfmt::skip]
pub(super) const CODES: &[(&str, &[u32], Cause)] = &[
    ("lineError", &[17, 118], Cause::Busy),
    ("lineError", &[16, 30, 87, 112], Cause::NoAnswer),
    // Hung up at once; incompatible destination.
    ("lineError", &[19, 32], Cause::NotAFax),
    // Not operational; changed.
    ("lineError", &[34, 49, 116, 123, 73, 115], Cause::NotInService),
    ("lineError", &[50], Cause::Blocked),
    // Congestion; no route; network.
    ("lineError", &[15, 111, 124, 43, 52, 88, 100, 110], Cause::ProviderTrouble),
    // Dropped: so it was placed after all.
    ("lineError", &[11, 107, 108, 109, 114], Cause::LineTrouble),
];

/// Types whose codes are those of a Sinch type.
pub(super) const SHARED: &[(&str, &str)] =
    &[("faxError", "FAX_ERROR"), ("documentConversionError", "DOCUMENT_CONVERSION_ERROR")];

/// The vendor's limit of `header_text`, in characters.
const HEADER_AT_MOST: usize = 50;

/// The tag that carries our reference.
const LABEL: &str = "job";

/// Faxes on one page of a list, and pages that are read before a list is called endless.
const PAGE: usize = 100;
const PAGES_AT_MOST: usize = 20;

const DIALECT: Dialect = Dialect {
    word: |answer| {
        let refused = envelope(answer).filter(|envelope| !envelope.success)?;
        // The API gives no codes with a refusal.
        Some(("success: false".to_owned(), refused.message.unwrap_or_default()))
    },
    no_such_fax: None,
};

/// An account with Phaxio.
pub struct Phaxio {
    http: Http,
    webhook_key: Option<Zeroizing<Vec<u8>>>,
}

impl Phaxio {
    /// The adapter for the account that `keys` name.
    ///
    /// # Errors
    /// A sentence that begins with the key at fault.
    pub fn new(provider: &config::Provider, keys: &kinds::Phaxio, secrets: &Secrets) -> Result<Self, String> {
        let authorization = basic(&keys.login, &secrets.password)?;
        Ok(Phaxio {
            http: Http::new(provider, Some(authorization), DIALECT)?,
            webhook_key: secrets.webhook_key.clone(),
        })
    }

    /// The URL of all faxes, or of what `below` names.
    fn url(&self, below: &[&str]) -> Url {
        let mut segments = vec!["v2.1", "faxes"];
        segments.extend(below);
        self.http.url(&segments)
    }

    /// All faxes since the sought one was ordered of which the parameter `name` is `value`.
    async fn faxes(&self, sought: &Sought<'_>, name: &str, value: &str) -> Result<Vec<Value>, AskError> {
        let since = sought.earliest();
        let mut url = self.url(&[]);
        url.query_pairs_mut()
            .append_pair(name, value)
            .append_pair("created_after", &since.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
            .append_pair("direction", "sent")
            .append_pair("per_page", &PAGE.to_string());
        let mut all = Vec::new();
        for page in 1..=PAGES_AT_MOST {
            let mut url = url.clone();
            url.query_pairs_mut().append_pair("page", &page.to_string());
            let envelope = success(&self.http.ask(Method::GET, url).await?)?;
            let faxes = envelope
                .data
                .as_ref()
                .and_then(Value::as_array)
                .ok_or_else(|| nonsense("the answer holds no list"))?;
            all.extend_from_slice(faxes);
            let read = page * PAGE;
            match envelope.paging.as_ref().and_then(|paging| whole(paging.get("total")?)) {
                Some(total) if u64::from(total) <= read as u64 => return Ok(all),
                None if faxes.len() < PAGE => return Ok(all),
                _ => {}
            }
        }
        Err(nonsense("the answer holds a list without an end"))
    }
}

#[async_trait]
impl Provider for Phaxio {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            finds_by_reference: true,
            cancels: true,
            deletes: true,
            // Of what was delivered whole; of what was not, it does not.
            reports_pages: true,
            header: HeaderLine::Provider,
            signs_webhooks: self.webhook_key.is_some(),
            ..Capabilities::LEAST
        }
    }

    async fn submit(&self, order: Order<'_>) -> Result<Taken, SubmitError> {
        let header: String = order.header.chars().take(HEADER_AT_MOST).collect();
        let mut form = multipart::Form::new()
            .text("to", order.number.as_str().to_owned())
            .text("header_text", header)
            .text(format!("tag[{LABEL}]"), order.reference.to_owned());
        if let Some(caller) = order.caller {
            form = form.text("caller_id", caller.to_owned());
        }
        if let Some(url) = order.webhook_url {
            form = form.text("callback_url", url.to_owned());
        }
        judge_submit(&self.http.submit_form(self.url(&[]), form, "file", order.document, order.bytes).await?)
    }

    async fn status(&self, provider_ref: &str) -> Result<Status, AskError> {
        let answer = self.http.ask(Method::GET, self.url(&[provider_ref])).await?;
        if DIALECT.says_not_there(&answer) {
            return Ok(Status::NotThere);
        }
        let fax = success(&answer)?.data.and_then(|data| FaxView::deserialize(data).ok());
        let fax = fax.ok_or_else(|| nonsense("the answer holds no fax"))?;
        if fax.id().as_deref() != Some(provider_ref) {
            return Err(nonsense("the answer is about another fax"));
        }
        status_of(&fax)
    }

    async fn find(&self, sought: Sought<'_>) -> Result<Search, AskError> {
        let ours = self.faxes(&sought, &format!("tag[{LABEL}]"), sought.reference).await?;
        let ours = ours.iter().filter(|fax| sought.whose(label_of(fax.get("tags"))) == Whose::Ours);
        let ours = ours.map(FaxView::deserialize).collect::<Result<Vec<_>, _>>();
        let ours = ours.map_err(|_| nonsense("the answer holds a fax that cannot be read"))?;
        if !ours.is_empty() {
            return furthest(ours);
        }
        // Nobody promises that a tag is shown: what goes to that number without one may be ours.
        let mut silent = Vec::new();
        for fax in self.faxes(&sought, "phone_number", sought.number.as_str()).await? {
            let fax = FaxView::deserialize(fax)
                .map_err(|_| nonsense("the answer holds a fax that cannot be read"))?;
            match sought.whose(fax.label()) {
                Whose::Ours => return furthest(vec![fax]),
                Whose::Silent if fax.could_be(&sought) => silent.push(fax.id().unwrap_or_default()),
                Whose::Silent | Whose::Another => {}
            }
        }
        Ok(Search::unless_silent(silent))
    }

    async fn cancel(&self, provider_ref: &str) -> Result<Cancelled, AskError> {
        let answer = self.http.ask(Method::POST, self.url(&[provider_ref, "cancel"])).await?;
        match envelope(&answer) {
            Some(envelope) if answer.status.is_success() && envelope.success => Ok(Cancelled::Asked),
            Some(_) if DIALECT.says_not_there(&answer) => Ok(Cancelled::NotThere),
            // It read the wish and will not: the fax is being sent, or has ended.
            Some(envelope) if !envelope.success => Ok(Cancelled::TooLate),
            _ => Err(DIALECT.nonsense(&answer)),
        }
    }

    async fn delete(&self, provider_ref: &str) -> Result<(), AskError> {
        let answer = self.http.ask(Method::DELETE, self.url(&[provider_ref, "file"])).await?;
        if DIALECT.says_not_there(&answer) { Ok(()) } else { success(&answer).map(|_| ()) }
    }

    fn read_webhook(&self, hook: &Hook<'_>, _now: Timestamp) -> Result<Vec<News>, WebhookRefusal> {
        webhook::read(self.webhook_key.as_ref().ok_or(WebhookRefusal::NoKey)?, hook)
    }

    async fn check(&self) -> Result<(), CheckFault> {
        let mut url = self.url(&[]);
        url.query_pairs_mut().append_pair("per_page", "1");
        let listed = self.http.ask(Method::GET, url).await.and_then(|answer| success(&answer).map(|_| ()));
        listed.map_err(|error| CheckFault::of(&error, "password"))
    }
}

/// What every answer of the API is.
#[derive(Deserialize)]
struct Envelope {
    success: bool,
    message: Option<String>,
    data: Option<Value>,
    paging: Option<Map<String, Value>>,
}

/// A fax as the API shows it, as far as it is used. Webhooks may bring all of it as text.
#[derive(Deserialize)]
struct FaxView {
    id: Value,
    status: String,
    num_pages: Option<Value>,
    error_type: Option<String>,
    error_id: Option<Value>,
    error_message: Option<String>,
    tags: Option<Value>,
    to_number: Option<String>,
    created_at: Option<String>,
    #[serde(default)]
    recipients: Option<Vec<Recipient>>,
}

#[derive(Deserialize)]
struct Recipient {
    phone_number: Option<String>,
    error_type: Option<String>,
    error_id: Option<Value>,
    error_message: Option<String>,
}

impl FaxView {
    /// The vendor's name for it, a number.
    fn id(&self) -> Option<String> {
        let number = match &self.id {
            Value::String(text) => text.parse().ok(),
            id => id.as_u64(),
        };
        number.map(|number| number.to_string())
    }

    /// Whether number and time, as far as it shows them, are those of the sought one.
    fn could_be(&self, sought: &Sought<'_>) -> bool {
        let first = self.recipients.as_ref().and_then(|recipients| recipients.first());
        let number = self.to_number.as_deref().or_else(|| first?.phone_number.as_deref());
        let made = self.created_at.as_deref().and_then(|time| time.parse::<Timestamp>().ok());
        could_be(sought, number, made)
    }

    /// Our reference.
    fn label(&self) -> Option<&str> {
        label_of(self.tags.as_ref())
    }

    /// Type, code and text of what went wrong, of the fax or else of its only recipient.
    fn error(&self) -> (Option<&str>, Option<u32>, Option<&str>) {
        let own = (&self.error_type, &self.error_id, &self.error_message);
        let first = self.recipients.as_ref().and_then(|recipients| recipients.first());
        let of_recipient = first.map(|one| (&one.error_type, &one.error_id, &one.error_message));
        let (kind, code, text) = match of_recipient {
            Some(error) if own.0.is_none() => error,
            _ => own,
        };
        (kind.as_deref(), code.as_ref().and_then(whole), text.as_deref())
    }
}

fn label_of(tags: Option<&Value>) -> Option<&str> {
    tags?.get(LABEL)?.as_str()
}

/// The envelope, whatever the status; `None` when it is not the API that speaks.
fn envelope(answer: &HttpAnswer) -> Option<Envelope> {
    answer.json().ok()
}

/// The envelope of an answer that says that all is well.
fn success(answer: &HttpAnswer) -> Result<Envelope, AskError> {
    let well = envelope(answer).filter(|envelope| envelope.success && answer.status.is_success());
    well.ok_or_else(|| DIALECT.nonsense(answer))
}

/// What the answer to a submit says about the one question: may it have left?
fn judge_submit(answer: &HttpAnswer) -> Result<Taken, SubmitError> {
    let status = answer.status;
    // The code of HTTP stands for the API's own.
    let refusal = (DIALECT.word)(answer).map(|(_, text)| (status.as_u16().to_string(), text));
    let detail = DIALECT.describe(answer);
    match (status.as_u16(), refusal) {
        (200..=299, Some((code, text))) => Err(SubmitError::Refused(Report {
            raw_code: Some(code),
            raw_text: Some(cut(&text)),
            ..Report::bare(Outcome::of(Cause::Unknown))
        })),
        (200..=299, None) => {
            let data = envelope(answer).and_then(|envelope| envelope.data);
            match data.as_ref().and_then(|data| data.get("id")).and_then(Value::as_u64) {
                Some(id) => Ok(Taken { provider_ref: id.to_string() }),
                None => Err(unknown(format!("{detail}: the answer names no fax"))),
            }
        }
        // Nothing is wrong with the order: the URL is, or the account.
        (404, Some(_)) => Err(not_sent(Cause::AccountTrouble, None, &detail)),
        (422, Some((code, text))) if text.to_ascii_lowercase().contains("phone number") => {
            Err(answer.refused(Some((code, text)), Cause::NumberRefused))
        }
        (_, refusal) => Err(answer.refused(refusal, Cause::Unknown)),
    }
}

/// How the fax stands.
///
/// # Errors
/// Where it stands in a way that the API's documentation does not know.
fn status_of(fax: &FaxView) -> Result<Status, AskError> {
    let (kind, code, text) = fax.error();
    let outcome = match fax.status.as_str() {
        "queued" | "pendingbatch" | "inprogress" => return Ok(Status::Working),
        "success" => Outcome::Delivered,
        "failure" => Outcome::of(cause_of(kind.unwrap_or_default(), code)),
        "partialsuccess" => Outcome::of(Cause::PartlySent),
        _ => return Err(nonsense("the answer holds a status that is not documented")),
    };
    // Pages of the document; that so many arrived is certain only of a success.
    let pages = fax.num_pages.as_ref().and_then(whole).filter(|pages| *pages > 0);
    let number = code.map_or(String::new(), |code| code.to_string());
    let raw_code = cut(format!("{} {number}", kind.unwrap_or_default()).trim());
    Ok(Status::Ended(Report {
        outcome,
        pages_sent: pages.filter(|_| outcome == Outcome::Delivered),
        remote_id: None,
        seconds: None,
        raw_code: (!raw_code.is_empty()).then_some(raw_code),
        raw_text: text.map(cut),
    }))
}

/// What a failure comes to. How many pages arrived is never known.
fn cause_of(kind: &str, code: Option<u32>) -> Cause {
    let Some(code) = code else { return Cause::Unknown };
    if let Some((_, of_sinch)) = SHARED.iter().find(|(ours, _)| *ours == kind) {
        return after_call(codes::cause_of(of_sinch, code), None);
    }
    let row = CODES.iter().find(|(known, codes, _)| *known == kind && codes.contains(&code));
    match row.map_or(Cause::Unknown, |(.., cause)| *cause) {
        // By the vendor's definition the call was not placed; not trusted where the code says that it was dropped.
        Cause::LineTrouble => after_call(Cause::LineTrouble, None),
        cause => cause,
    }
}

/// One Attempt is one submit, so there should be one fax. If not, the one that counts is what may be in a tray.
fn furthest(faxes: Vec<FaxView>) -> Result<Search, AskError> {
    let furthest = faxes.into_iter().min_by_key(|fax| match fax.status.as_str() {
        "success" | "partialsuccess" => 0,
        "inprogress" => 1,
        "failure" => 3,
        _ => 2,
    });
    let Some(fax) = furthest else { return Ok(Search::NotListed) };
    let provider_ref = fax.id().ok_or_else(|| nonsense("the answer holds a fax without a name"))?;
    Ok(Search::Found(Found { provider_ref, status: status_of(&fax)? }))
}

#[cfg(test)]
mod tests;
