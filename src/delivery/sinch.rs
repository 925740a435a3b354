//! The adapter for Sinch Fax API v3 (developers.sinch.com/docs/fax/api-reference).
//!
//! * **Submit**: one multipart form, the document as its last part. Everything that has a default at the vendor's which
//!   is not ours is sent in so many words, above all `maxRetries=0`: else Sinch redials three times before it tells us.
//! * **Our reference** travels as the label `job`. How labels are written in a query is not documented well enough to
//!   build on, so [`Provider::find`] lists by number and time, and picks by the label itself. Labels are optional in the
//!   vendor's description: a fax of that number and time that shows none may be ours.
//! * **No cancel**: the API has none.
//! * **Webhooks are not signed**, and bring the document back. They are hints; of the body no more than the fax's name
//!   is read, and that only if it is short.
//! * **Pages**: `pagesSentSuccessfully` is the far end's count. A failure with confirmed pages is never tried again by
//!   itself, whatever its code, and neither is trouble on the way without a confirmed count of none.
//! * **Header**: printed on every page by Sinch. Its time is the office's, the vendor's default: an order does not say in
//!   which zone the sender is.

use async_trait::async_trait;
use jiff::Timestamp;
use reqwest::{Method, Url, multipart};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::http::{Dialect, Http, HttpAnswer, after_call, basic, could_be, cut, nonsense, not_sent, unknown};
use super::{
    AskError, Capabilities, CheckFault, Found, HeaderLine, Hook, News, Order, Provider, Search, Secrets,
    Sought, Status, SubmitError, Taken, WebhookRefusal, Whose,
};
use crate::config::{self, kinds};
use crate::job::{Cause, Outcome, Report};

pub(super) mod codes;

/// The vendor's limit of `headerText`, in characters.
const HEADER_AT_MOST: usize = 50;

/// The label that carries our reference.
const LABEL: &str = "job";

/// Faxes on one page of a list, and pages that are read before a list is called endless.
const PAGE: usize = 500;
const PAGES_AT_MOST: u32 = 20;

/// A webhook longer than this is not read for the fax's name: what is long in it is the document.
const WEBHOOK_READ: usize = 64 << 10;

const DIALECT: Dialect = Dialect {
    word: |answer| refusal_in(answer).map(|refusal| (refusal.code, refusal.text)),
    no_such_fax: None,
};

/// An account with Sinch.
pub struct Sinch {
    http: Http,
    project: String,
}

impl Sinch {
    /// The adapter for the account that `keys` name.
    ///
    /// # Errors
    /// A sentence that begins with the key at fault.
    pub fn new(provider: &config::Provider, keys: &kinds::Sinch, secrets: &Secrets) -> Result<Self, String> {
        if !is_name(&keys.account) {
            return Err("account: must be the id of the project, as the dashboard shows it".into());
        }
        let authorization = basic(&keys.login, &secrets.password)?;
        Ok(Sinch { http: Http::new(provider, Some(authorization), DIALECT)?, project: keys.account.clone() })
    }

    /// The URL of all faxes, or of what `below` names.
    fn url(&self, below: &[&str]) -> Url {
        let mut segments = vec!["v3", "projects", self.project.as_str(), "faxes"];
        segments.extend(below);
        self.http.url(&segments)
    }

    /// The fax of that name, by its fields; `None` where the API says that there is none.
    async fn fax<T: serde::de::DeserializeOwned>(
        &self,
        provider_ref: &str,
        id_of: fn(&T) -> Option<&str>,
    ) -> Result<Option<T>, AskError> {
        self.http.fax(self.url(&[provider_ref]), |fax| id_of(fax) == Some(provider_ref)).await
    }
}

#[async_trait]
impl Provider for Sinch {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            finds_by_reference: true,
            deletes: true,
            reports_pages: true,
            header: HeaderLine::Provider,
            ..Capabilities::LEAST
        }
    }

    async fn submit(&self, order: Order<'_>) -> Result<Taken, SubmitError> {
        let header: String = order.header.chars().take(HEADER_AT_MOST).collect();
        let mut form = multipart::Form::new()
            .text("to", order.number.as_str().to_owned())
            .text("headerText", header)
            .text("headerPageNumbers", "true")
            .text("headerTimeZone", order.time_zone.to_owned())
            .text("maxRetries", "0")
            .text("resolution", "FINE")
            .text(format!("labels[{LABEL}]"), order.reference.to_owned());
        if let Some(caller) = order.caller {
            form = form.text("from", caller.to_owned());
        }
        if let Some(url) = order.webhook_url {
            form = form.text("callbackUrl", url.to_owned());
            form = form.text("callbackUrlContentType", "application/json");
        }
        let answer = self.http.submit_form(self.url(&[]), form, "file", order.document, order.bytes).await?;
        judge_submit(&answer, order.reference)
    }

    async fn status(&self, provider_ref: &str) -> Result<Status, AskError> {
        let fax = self.fax(provider_ref, |fax: &FaxView| Some(&fax.id)).await?;
        Ok(fax.map_or(Status::NotThere, |fax| status_of(&fax)))
    }

    async fn find(&self, sought: Sought<'_>) -> Result<Search, AskError> {
        let since = sought.earliest();
        let mut url = self.url(&[]);
        url.query_pairs_mut()
            // "createTime>=TIME" once it is in the URL.
            .append_pair("createTime>", &since.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
            .append_pair("to", sought.number.as_str())
            .append_pair("direction", "OUTBOUND")
            .append_pair("pageSize", &PAGE.to_string());
        let (mut ours, mut silent) = (Vec::new(), Vec::new());
        let mut page = None;
        for read in 1..=PAGES_AT_MOST {
            let mut url = url.clone();
            if let Some(page) = page {
                url.query_pairs_mut().append_pair("page", &u32::to_string(&page));
            }
            let list: FaxList = self.http.ask(Method::GET, url).await?.understood()?;
            let full = list.faxes.len() >= PAGE;
            for fax in list.faxes {
                match whose(&fax, &sought) {
                    Whose::Ours => ours.push(readable(fax)?),
                    Whose::Silent => silent.push(text_of(&fax, "id").unwrap_or_default().to_owned()),
                    Whose::Another => {}
                }
            }
            match (list.page, list.total_pages) {
                (_, Some(total)) if read >= total => return furthest(ours, silent),
                (_, None) if !full => return furthest(ours, silent),
                // Whether the first page is 0 or 1 is not documented, so each says where the next one begins.
                (Some(this), _) if page.is_none_or(|page| page == this) => page = this.checked_add(1),
                _ => return Err(nonsense("the answer holds another page than was asked for")),
            }
        }
        Err(nonsense("the answer holds a list without an end"))
    }

    async fn confirm(&self, provider_ref: &str, sought: Sought<'_>) -> Result<Search, AskError> {
        let fax = self.fax(provider_ref, |fax: &Value| text_of(fax, "id")).await?;
        let Some(fax) = fax else { return Ok(Search::NotListed) };
        match whose(&fax, &sought) {
            Whose::Another => Ok(Search::NotListed),
            Whose::Silent => Ok(Search::Undecided(vec![provider_ref.to_owned()])),
            Whose::Ours => furthest(vec![readable(fax)?], Vec::new()),
        }
    }

    async fn delete(&self, provider_ref: &str) -> Result<(), AskError> {
        self.http.delete(self.url(&[provider_ref, "file"])).await
    }

    fn read_webhook(&self, hook: &Hook<'_>, _now: Timestamp) -> Result<Vec<News>, WebhookRefusal> {
        hook.hint(named_in(hook.body))
    }

    async fn check(&self) -> Result<(), CheckFault> {
        let mut url = self.url(&[]);
        url.query_pairs_mut().append_pair("pageSize", "1");
        let answer = self.http.ask(Method::GET, url).await;
        if answer.as_ref().is_ok_and(|answer| DIALECT.says_not_there(answer)) {
            let sentence = "Sinch knows no such project: put the project's id here".to_owned();
            return Err(CheckFault { key: "account", sentence });
        }
        let listed = answer.and_then(|answer| answer.understood::<FaxList>());
        // A wrong project is answered like a wrong password.
        listed.map(|_| ()).map_err(|error| CheckFault::of(&error, "password"))
    }
}

/// A fax as the API shows it, as far as it is used.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FaxView {
    id: String,
    status: Standing,
    number_of_pages: Option<u32>,
    pages_sent_successfully: Option<u32>,
    error_type: Option<String>,
    error_code: Option<Value>,
    error_message: Option<String>,
    labels: Option<Map<String, Value>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum Standing {
    Queued,
    InProgress,
    Completed,
    Failure,
}

/// One page of a list. Its faxes are read one by one: a strange one is no reason not to find ours.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FaxList {
    faxes: Vec<Value>,
    page: Option<u32>,
    total_pages: Option<u32>,
}

/// What the API says is wrong.
struct Refusal {
    code: String,
    text: String,
    /// The fields of the request that it names.
    fields: Vec<String>,
}

/// Reads the vendor's error object and the other shape of its examples; `None` when it is not the API that speaks. The
/// one has `code` as a number and `status`, the other `code` as digits and `error`, and the numbers are not always
/// those of HTTP.
fn refusal_in(answer: &HttpAnswer) -> Option<Refusal> {
    if answer.status.is_success() {
        return None;
    }
    let body: Map<String, Value> = answer.json().ok()?;
    let code = whole(body.get("code")?)?;
    let text = body.get("message")?.as_str()?;
    let short = ["status", "error"].iter().find_map(|key| body.get(*key)?.as_str()).unwrap_or_default();
    let details = match body.get("details") {
        Some(Value::Array(details)) => details.as_slice(),
        Some(details) => std::slice::from_ref(details),
        None => &[],
    };
    let violations = details.iter().filter_map(|detail| detail.get("fieldViolations")?.as_array()).flatten();
    let fields = violations.filter_map(|violation| violation.get("field")?.as_str()).map(cut).collect();
    Some(Refusal { code: format!("{code} {short}").trim_end().to_owned(), text: text.to_owned(), fields })
}

fn readable(fax: Value) -> Result<FaxView, AskError> {
    serde_json::from_value(fax).map_err(|_| nonsense("the answer holds a fax that cannot be read"))
}

/// What the answer to a submit says about the one question: may it have left?
fn judge_submit(answer: &HttpAnswer, reference: &str) -> Result<Taken, SubmitError> {
    if answer.status.is_success() {
        let fax: FaxView = answer.json().map_err(unknown)?;
        let label = fax.labels.as_ref().and_then(|labels| labels.get(LABEL)).and_then(Value::as_str);
        return if is_name(&fax.id) && label.is_none_or(|label| label == reference) {
            Ok(Taken { provider_ref: fax.id })
        } else {
            Err(unknown("the answer is about another fax"))
        };
    }
    if DIALECT.says_not_there(answer) {
        // Nothing is wrong with the order: there is no such project, or no such service.
        return Err(not_sent(Cause::AccountTrouble, None, &DIALECT.describe(answer)));
    }
    let refusal = refusal_in(answer);
    let cause = refusal.as_ref().map_or(Cause::Unknown, |refusal| {
        let names = |field: &str| refusal.fields.iter().any(|named| named == field);
        match () {
            () if names("file") => Cause::DocumentRefused,
            () if names("to") => Cause::NumberRefused,
            () => Cause::Unknown,
        }
    });
    let word = refusal.map(|refusal| (refusal.code, refusal.text)).or_else(|| answer.bare_refusal());
    Err(answer.refused(word, cause))
}

fn status_of(fax: &FaxView) -> Status {
    let pages_sent = fax.pages_sent_successfully;
    let code = fax.error_code.as_ref().and_then(whole);
    let kind = fax.error_type.as_deref().unwrap_or_default();
    let outcome = match fax.status {
        Standing::Queued | Standing::InProgress => return Status::Working,
        // "Completed" with fewer pages than the document has is no delivery.
        Standing::Completed => match (pages_sent, fax.number_of_pages) {
            (Some(sent), Some(whole)) if sent < whole => Outcome::of(Cause::PartlySent),
            _ => Outcome::Delivered,
        },
        Standing::Failure => {
            let cause = code.map_or(Cause::Unknown, |code| codes::cause_of(kind, code));
            Outcome::of(after_call(cause, pages_sent))
        }
    };
    let number = code.map_or(String::new(), |code| code.to_string());
    let raw_code = cut(format!("{kind} {number}").trim());
    Status::Ended(Report {
        outcome,
        pages_sent,
        remote_id: None,
        seconds: None,
        raw_code: (!raw_code.is_empty()).then_some(raw_code),
        raw_text: fax.error_message.as_deref().map(cut),
    })
}

/// One Attempt is one submit, so there should be one fax. If not, the one that counts is what may be in a tray.
/// `silent` are names of faxes that may be it all the same.
fn furthest(faxes: Vec<FaxView>, silent: Vec<String>) -> Result<Search, AskError> {
    let furthest = faxes.into_iter().min_by_key(|fax| match fax.status {
        Standing::Completed => 0,
        Standing::InProgress => 1,
        Standing::Queued => 2,
        Standing::Failure => 3,
    });
    match furthest {
        Some(fax) if is_name(&fax.id) => {
            Ok(Search::Found(Found { status: status_of(&fax), provider_ref: fax.id }))
        }
        Some(_) => Err(nonsense("the answer holds a fax without a name")),
        None => Ok(Search::unless_silent(silent)),
    }
}

fn text_of<'a>(fax: &'a Value, key: &str) -> Option<&'a str> {
    fax.get(key)?.as_str()
}

/// Whose fax it is: labels are optional, so only another's label, number or time contradicts us.
fn whose(fax: &Value, sought: &Sought<'_>) -> Whose {
    let label = fax.get("labels").and_then(|labels| labels.get(LABEL)).and_then(Value::as_str);
    let made = text_of(fax, "createTime").and_then(|time| time.parse::<Timestamp>().ok());
    match sought.whose(label) {
        Whose::Silent if !could_be(sought, text_of(fax, "to"), made) => Whose::Another,
        whose => whose,
    }
}

/// The vendor's name of the fax that a webhook is about, if that is soon read.
fn named_in(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Event {
        fax: Named,
    }
    #[derive(Deserialize)]
    struct Named {
        id: String,
    }
    if body.len() > WEBHOOK_READ {
        return None;
    }
    let event: Event = serde_json::from_slice(body).ok()?;
    Some(event.fax.id).filter(|id| is_name(id))
}

/// Whether this can be the vendor's name of something: it becomes a segment of URLs.
fn is_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=100).contains(&text.len()) && text.bytes().all(plain)
}

/// A number that may have been written as text.
pub(super) fn whole(value: &Value) -> Option<u32> {
    match value {
        Value::String(text) => text.parse().ok(),
        value => value.as_u64().and_then(|number| u32::try_from(number).ok()),
    }
}

#[cfg(test)]
mod tests;
