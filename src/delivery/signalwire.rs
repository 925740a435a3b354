//! The adapter for SignalWire fax, Compatibility API: <https://developer.signalwire.com>
//! (compatibility-api/rest: faxes; common-fax-errors; rate-limits).
//!
//! SignalWire takes no upload: it is given a URL and fetches the document there once it has taken
//! the fax. There is no field in which our reference comes back; so a fax whose submit had no
//! answer cannot be found again for certain, and is left to a person
//! ([`Capabilities::finds_by_reference`] is false). There is a list by number and date, which helps
//! whoever decides ([`Provider::look_alikes`]).
//!
//! Callbacks go to the URL that comes with the order. How their signature is made is spelled out
//! nowhere, so they are hints, and only their URL is read. Why a fax failed is told by a text
//! alone: what is tried again by itself must be one of the known texts, word for word. Pages that
//! arrived are known for delivered faxes alone.

use async_trait::async_trait;
use jiff::Timestamp;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, RequestBuilder, StatusCode, Url};
use serde::Deserialize;
use serde_json::Value;

use super::http::{Dialect, Http, HttpAnswer, after_call, basic, could_be, cut, nonsense, not_sent, unknown};
use super::{
    AskError, Cancelled, Capabilities, CheckFault, Hook, LookAlike, News, Order, Provider, Secrets, Sought,
    Status, SubmitError, Taken, WebhookRefusal,
};
use crate::config::{self, kinds};
use crate::job::{Cause, Outcome, Report};

/// Status and error text of an ended fax, in the bridge's words. What is not in here, nor has one
/// of the [`T30`] words in its text, is `Cause::Unknown`. `LineTrouble` stands for every
/// transmission that broke off; how far it came is judged apart. With a lost log entry nobody knows
/// what was sent.
pub(super) const CODES: &[((&str, &str), Cause)] = &[
    (("busy", ""), Cause::Busy),
    (("no-answer", ""), Cause::NoAnswer),
    (("canceled", ""), Cause::Cancelled),
    (("failed", "Connection Failed"), Cause::NotAFax),
    (("failed", "Fax transmission not established"), Cause::NotAFax),
    (("failed", "Timed out waiting for initial communication"), Cause::NotAFax),
    (("failed", "Far end cannot receive at the resolution"), Cause::LineTrouble),
    (("failed", "The call dropped prematurely"), Cause::LineTrouble),
    (("failed", "No response after sending a page"), Cause::LineTrouble),
    (("failed", "Document generation/loading error"), Cause::ProviderTrouble),
    (("failed", "Log entry lost"), Cause::Unknown),
];

/// Words of the texts that tell of a transmission that broke off: steps and frames of T.30.
const T30: &[&str] = &["dcn", "dcs", "tcf", "ecm", "hdlc", "train"];

/// The API's code for credentials that are not right.
const NOT_LET_IN: &str = "20003";

/// A fax that is hardly anybody's.
const NOBODYS: &str = "00000000-0000-4000-8000-000000000000";

const DIALECT: Dialect = Dialect { word: error_of, no_such_fax: None };

/// A project with SignalWire.
pub struct Signalwire {
    http: Http,
    /// The project's id.
    project: String,
}

impl Signalwire {
    /// The adapter for the project that `keys` name.
    ///
    /// # Errors
    /// A sentence that begins with the key at fault.
    pub fn new(
        provider: &config::Provider,
        keys: &kinds::Signalwire,
        secrets: &Secrets,
    ) -> Result<Self, String> {
        let project = keys.account.clone();
        let authorization =
            basic(&project, &secrets.token).map_err(|fault| fault.replacen("password", "token", 1))?;
        Ok(Signalwire { http: Http::new(provider, Some(authorization), DIALECT)?, project })
    }

    fn url(&self, rest: &[&str]) -> Url {
        let mut segments = vec!["api", "laml", "2010-04-01", "Accounts", self.project.as_str(), "Faxes"];
        segments.extend(rest);
        self.http.url(&segments)
    }

    /// `request` with these fields as a form (WHATWG URL, application/x-www-form-urlencoded), which
    /// is how a query is written too.
    fn with_form(&self, request: RequestBuilder, fields: &[(&str, &str)]) -> RequestBuilder {
        let mut carrier = self.http.url(&[]);
        carrier.query_pairs_mut().clear().extend_pairs(fields);
        let form = carrier.query().unwrap_or_default().to_owned();
        request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form)
    }
}

#[async_trait]
impl Provider for Signalwire {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            cancels: true,
            deletes: true,
            reports_pages: true,
            fetches: true,
            ..Capabilities::LEAST
        }
    }

    async fn submit(&self, order: Order<'_>) -> Result<Taken, SubmitError> {
        let Some(caller) = order.caller else {
            return Err(not_sent(Cause::AccountTrouble, None, "from: is missing, and SignalWire needs it"));
        };
        let Some(media) = order.media_url else {
            let detail = "SignalWire fetches documents: it needs a section [media] where it can";
            return Err(not_sent(Cause::AccountTrouble, None, detail));
        };
        let mut fields = vec![
            ("To", order.number.as_str()),
            ("From", caller),
            ("MediaUrl", media),
            ("Quality", "fine"),
            // Else it keeps a copy for ever.
            ("StoreMedia", "false"),
        ];
        if let Some(url) = order.webhook_url {
            fields.extend([("StatusCallback", url), ("StatusCallbackMethod", "POST")]);
        }
        let request = self.with_form(self.http.order(self.url(&[])), &fields);
        judge_submit(&self.http.submit(request, None).await?)
    }

    async fn status(&self, provider_ref: &str) -> Result<Status, AskError> {
        let fax = self.http.fax(self.url(&[provider_ref]), |fax: &Fax| fax.sid == provider_ref).await?;
        fax.map_or(Ok(Status::NotThere), |fax| fax.status())
    }

    async fn look_alikes(
        &self,
        caller: Option<&str>,
        sought: Sought<'_>,
    ) -> Result<Vec<LookAlike>, AskError> {
        let since = sought.earliest().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let mut url = self.url(&[]);
        url.query_pairs_mut()
            .append_pair("To", sought.number.as_str())
            .append_pair("DateCreatedAfter", &since)
            .extend_pairs(caller.map(|caller| ("From", caller)));
        let list: FaxList = self.http.ask(Method::GET, url).await?.understood()?;
        Ok(list.faxes.into_iter().filter(|fax| fax.could_be(&sought)).map(LookAlike::from).collect())
    }

    async fn cancel(&self, provider_ref: &str) -> Result<Cancelled, AskError> {
        let question = self.http.question(Method::POST, self.url(&[provider_ref]));
        let answer = self.http.ask_with(self.with_form(question, &[("Status", "canceled")])).await?;
        if DIALECT.says_not_there(&answer) {
            return Ok(Cancelled::NotThere);
        }
        // Only what is in the queue can be taken out of it.
        if answer.status.is_client_error() && error_of(&answer).is_some() {
            return Ok(Cancelled::TooLate);
        }
        let fax: Fax = answer.understood()?;
        let stopped = fax.sid == provider_ref && fax.status == "canceled";
        Ok(if stopped { Cancelled::Stopped } else { Cancelled::Asked })
    }

    async fn delete(&self, provider_ref: &str) -> Result<(), AskError> {
        let answer = self.http.ask(Method::DELETE, self.url(&[provider_ref])).await?;
        match answer.status {
            status if status.is_success() => Ok(()),
            _ if DIALECT.says_not_there(&answer) => Ok(()),
            StatusCode::CONFLICT => Err(AskError::NoAnswer { detail: "it has not ended".into() }),
            _ => Err(DIALECT.nonsense(&answer)),
        }
    }

    /// The documented fields do not name the fax, so nothing of the body is read: the URL names it.
    fn read_webhook(&self, hook: &Hook<'_>, _now: Timestamp) -> Result<Vec<News>, WebhookRefusal> {
        hook.hint(None)
    }

    /// Asks how a fax stands that is hardly ours: that there is none is as good an answer as any.
    async fn check(&self) -> Result<(), CheckFault> {
        let fax = self.http.fax::<Fax>(self.url(&[NOBODYS]), |_| true).await;
        fax.map(|_| ()).map_err(|error| CheckFault::of(&error, "token"))
    }
}

/// A fax, as far as it is read. Numbers come as numbers or as text.
#[derive(Deserialize)]
struct Fax {
    sid: String,
    status: String,
    #[serde(default)]
    num_pages: Value,
    #[serde(default)]
    duration: Value,
    #[serde(default)]
    error_code: Value,
    #[serde(default)]
    error_message: Option<String>,
    #[serde(default)]
    to: Option<String>,
    #[serde(default)]
    date_created: Option<String>,
}

/// The first page of a list: nobody gets more faxes than that in the time that is looked at.
#[derive(Deserialize)]
struct FaxList {
    faxes: Vec<Fax>,
}

impl From<Fax> for LookAlike {
    fn from(fax: Fax) -> LookAlike {
        LookAlike {
            pages: count(&fax.num_pages),
            provider_ref: cut(&fax.sid),
            made: fax.date_created.as_deref().map(cut),
            status: cut(&fax.status),
        }
    }
}

impl Fax {
    /// Whether number and time, as far as it shows them, are those of the sought one.
    fn could_be(&self, sought: &Sought<'_>) -> bool {
        let made = self.date_created.as_deref().and_then(|time| time.parse::<Timestamp>().ok());
        could_be(sought, self.to.as_deref(), made)
    }

    fn status(&self) -> Result<Status, AskError> {
        let delivered = match self.status.as_str() {
            "queued" | "processing" | "sending" => return Ok(Status::Working),
            "delivered" => true,
            "busy" | "no-answer" | "canceled" | "failed" => false,
            other => {
                return Err(nonsense(format!("a status that no fax of ours can have: {}", cut(other))));
            }
        };
        let message = self.error_message.as_deref().unwrap_or_default().trim();
        let outcome = match cause_of(&self.status, message) {
            _ if delivered => Outcome::Delivered,
            // What is counted then is the document's pages, for all that is known.
            Cause::LineTrouble => Outcome::of(after_call(Cause::LineTrouble, None)),
            cause => Outcome::of(cause),
        };
        let code = text(&self.error_code).unwrap_or_else(|| self.status.clone());
        Ok(Status::Ended(Report {
            outcome,
            pages_sent: if delivered { count(&self.num_pages) } else { None },
            remote_id: None,
            seconds: count(&self.duration),
            raw_code: Some(cut(&code)),
            raw_text: Some(cut(message)).filter(|text| !text.is_empty()),
        }))
    }
}

/// A text that may have come as a number.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// A number that may have come as text.
fn count(value: &Value) -> Option<u32> {
    text(value)?.parse().ok()
}

/// One error; the API gives it alone or in a list.
#[derive(Deserialize)]
struct ApiError {
    code: Value,
    message: String,
}

/// Code and text of what the API says is wrong; `None` when it is not the API that speaks.
fn error_of(answer: &HttpAnswer) -> Option<(String, String)> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Body {
        List { errors: Vec<ApiError> },
        One(ApiError),
    }
    if answer.status.is_success() {
        return None;
    }
    let error = match answer.json().ok()? {
        Body::List { errors } => errors.into_iter().next()?,
        Body::One(error) => error,
    };
    Some((text(&error.code)?, error.message))
}

/// What the answer to a submit says about the one question: may it have left?
fn judge_submit(answer: &HttpAnswer) -> Result<Taken, SubmitError> {
    if answer.status.is_success() {
        let fax: Fax = answer.json().map_err(unknown)?;
        return if fax.sid.is_empty() {
            Err(unknown("the answer names no fax"))
        } else {
            Ok(Taken { provider_ref: fax.sid })
        };
    }
    let error = error_of(answer);
    if answer.status.is_client_error() && error.as_ref().is_some_and(|(code, _)| code == NOT_LET_IN) {
        return Err(not_sent(Cause::AccountTrouble, None, &DIALECT.describe(answer)));
    }
    Err(answer.refused(error, Cause::Unknown))
}

fn cause_of(status: &str, message: &str) -> Cause {
    let message = message.trim_end_matches('.');
    let known = CODES.iter().find(|((known, text), _)| {
        *known == status && (text.is_empty() || text.eq_ignore_ascii_case(message))
    });
    if let Some((_, cause)) = known {
        return *cause;
    }
    let message = message.to_ascii_lowercase();
    let broke = status == "failed" && T30.iter().any(|word| message.contains(word));
    if broke { Cause::LineTrouble } else { Cause::Unknown }
}

#[cfg(test)]
mod tests;
