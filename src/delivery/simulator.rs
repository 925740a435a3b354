//! The adapter for faxbridge's own simulator (`crate::simulator`), and the words that travel between the two.
//!
//! The adapter is written as one for a stranger's API would be: it believes nothing that it cannot read. It is also the
//! example to copy for the next provider.

use async_trait::async_trait;
use jiff::Timestamp;
use reqwest::{Method, StatusCode, multipart};
use zeroize::Zeroizing;

use super::http::{Dialect, Http, HttpAnswer, bearer, cut, nonsense, not_sent, unknown};
use super::{
    AskError, Cancelled, Capabilities, CheckFault, Found, Hook, News, Order, Provider, Search, Secrets,
    Sought, Status, SubmitError, Taken, WebhookRefusal,
};
use crate::config;
use crate::job::{Cause, Outcome, Report};
use wire::{ErrorBody, FaxList, FaxView, Standing};

pub mod signature;
pub mod wire;

/// The simulator's codes, in the bridge's words. What is not in here is `Cause::Unknown`.
const CAUSES: &[(&str, Cause)] = &[
    ("line.busy", Cause::Busy),
    ("line.no_answer", Cause::NoAnswer),
    ("line.voice", Cause::Voice),
    ("line.not_in_service", Cause::NotInService),
    ("line.blocked", Cause::Blocked),
    ("fax.no_tone", Cause::NotAFax),
    ("fax.line_trouble", Cause::LineTrouble),
    ("fax.partly_sent", Cause::PartlySent),
    ("document.refused", Cause::DocumentRefused),
    ("document.unreadable", Cause::DocumentRefused),
    ("document.too_large", Cause::DocumentRefused),
    ("number.refused", Cause::NumberRefused),
    ("cancelled", Cause::Cancelled),
];

const DIALECT: Dialect = Dialect { word: error_of, no_such_fax: Some("fax.unknown") };

/// A simulator somewhere.
pub struct Simulator {
    http: Http,
    webhook_key: Option<Zeroizing<Vec<u8>>>,
}

impl Simulator {
    /// The adapter for the simulator at the section's URL.
    ///
    /// # Errors
    /// A sentence, beginning with the key at fault, when the URL is none or the token cannot travel in a header.
    pub fn new(provider: &config::Provider, secrets: &Secrets) -> Result<Self, String> {
        Ok(Simulator {
            http: Http::new(provider, Some(bearer(&secrets.token)?), DIALECT)?,
            webhook_key: secrets.webhook_key.clone(),
        })
    }
}

#[async_trait]
impl Provider for Simulator {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            finds_by_reference: true,
            cancels: true,
            deletes: true,
            reports_remote_id: true,
            reports_pages: true,
            signs_webhooks: self.webhook_key.is_some(),
            max_bytes: Some(wire::DOCUMENT_AT_MOST),
            ..Capabilities::LEAST
        }
    }

    async fn submit(&self, order: Order<'_>) -> Result<Taken, SubmitError> {
        let mut form = multipart::Form::new()
            .text("reference", order.reference.to_owned())
            .text("to", order.number.as_str().to_owned())
            .text("pages", order.pages.to_string())
            .text("sha256", order.sha256.to_owned());
        if let Some(url) = order.webhook_url {
            form = form.text("webhook_url", url.to_owned());
        }
        if let Some(caller) = order.caller {
            form = form.text("caller", caller.to_owned());
        }
        let url = self.http.url(&["v1", "faxes"]);
        let answer = self.http.submit_form(url, form, "document", order.document, order.bytes).await?;
        judge_submit(&answer, order.reference)
    }

    async fn status(&self, provider_ref: &str) -> Result<Status, AskError> {
        let url = self.http.url(&["v1", "faxes", provider_ref]);
        let fax = self.http.fax(url, |fax: &FaxView| fax.id == provider_ref).await?;
        Ok(fax.map_or(Status::NotThere, |fax| status_of(&fax)))
    }

    async fn find(&self, sought: Sought<'_>) -> Result<Search, AskError> {
        let reference = sought.reference;
        let mut url = self.http.url(&["v1", "faxes"]);
        url.query_pairs_mut().append_pair("reference", reference);
        let list: FaxList = self.http.ask(Method::GET, url).await?.understood()?;
        if list.faxes.iter().any(|fax| fax.reference != reference || fax.id.is_empty()) {
            return Err(nonsense("the list holds what was not asked for"));
        }
        // One Attempt is one submit, so there should be one. If not, the one that counts is what may be in a tray.
        let furthest = list.faxes.into_iter().min_by_key(|fax| match fax.status {
            Standing::Delivered => 0,
            Standing::Sending => 1,
            Standing::Queued => 2,
            Standing::Failed => 3,
            Standing::Cancelled => 4,
        });
        Ok(match furthest {
            Some(fax) => Search::Found(Found { status: status_of(&fax), provider_ref: fax.id }),
            None => Search::NotListed,
        })
    }

    async fn cancel(&self, provider_ref: &str) -> Result<Cancelled, AskError> {
        let url = self.http.url(&["v1", "faxes", provider_ref, "cancel"]);
        let answer = self.http.ask(Method::POST, url).await?;
        if DIALECT.says_not_there(&answer) {
            return Ok(Cancelled::NotThere);
        }
        if answer.status == StatusCode::CONFLICT && error_of(&answer).is_some() {
            return Ok(Cancelled::TooLate);
        }
        let fax: FaxView = answer.understood()?;
        Ok(if fax.status == Standing::Cancelled { Cancelled::Stopped } else { Cancelled::Asked })
    }

    async fn delete(&self, provider_ref: &str) -> Result<(), AskError> {
        self.http.delete(self.http.url(&["v1", "faxes", provider_ref])).await
    }

    fn read_webhook(&self, hook: &Hook<'_>, now: Timestamp) -> Result<Vec<News>, WebhookRefusal> {
        let key = self.webhook_key.as_ref().ok_or(WebhookRefusal::NoKey)?;
        let header = hook.headers.get(signature::HEADER).and_then(|value| value.to_str().ok());
        signature::verify(key, header, hook.body, now)?;
        let wire::Report { fax, .. } = hook.json()?;
        if fax.id.is_empty() || fax.reference.is_empty() {
            return Err(WebhookRefusal::Malformed("it names no fax".into()));
        }
        let status = status_of(&fax);
        Ok(vec![News { status, provider_ref: Some(fax.id), reference: Some(fax.reference) }])
    }

    async fn check(&self) -> Result<(), CheckFault> {
        let url = self.http.url(&["v1", "account"]);
        self.http.check::<serde_json::Map<String, serde_json::Value>>(url, "token").await
    }
}

/// What the API says is wrong; `None` when it is not the API that speaks.
fn error_of(answer: &HttpAnswer) -> Option<(String, String)> {
    let ErrorBody { error } = answer.json().ok()?;
    (!answer.status.is_success() && !error.code.is_empty()).then_some((error.code, error.message))
}

/// What the answer to a submit says about the one question: may it have left?
fn judge_submit(answer: &HttpAnswer, reference: &str) -> Result<Taken, SubmitError> {
    if answer.status.is_success() {
        let fax: FaxView = answer.json().map_err(unknown)?;
        return if !fax.id.is_empty() && fax.reference == reference {
            Ok(Taken { provider_ref: fax.id })
        } else {
            Err(unknown("the answer is about another fax"))
        };
    }
    // The API says when to come again only where it took nothing; a proxy in between does not.
    if answer.status == StatusCode::SERVICE_UNAVAILABLE && answer.wait().is_some() {
        return Err(not_sent(Cause::ProviderTrouble, answer.wait(), &DIALECT.describe(answer)));
    }
    let error = error_of(answer);
    let cause = error.as_ref().map_or(Cause::Unknown, |(code, _)| cause_of(code));
    Err(answer.refused(error, cause))
}

fn status_of(fax: &FaxView) -> Status {
    let result = fax.result.as_ref();
    let outcome = match fax.status {
        Standing::Queued | Standing::Sending => return Status::Working,
        Standing::Delivered => Outcome::Delivered,
        Standing::Cancelled => Outcome::of(Cause::Cancelled),
        Standing::Failed => Outcome::of(result.map_or(Cause::Unknown, |result| cause_of(&result.code))),
    };
    Status::Ended(Report {
        outcome,
        pages_sent: result.map(|result| result.pages_sent),
        remote_id: result.and_then(|result| result.remote_id.as_deref()).map(cut),
        seconds: result.map(|result| result.seconds),
        raw_code: result.map(|result| cut(&result.code)),
        raw_text: result.map(|result| cut(&result.text)),
    })
}

fn cause_of(code: &str) -> Cause {
    CAUSES.iter().find(|(known, _)| *known == code).map_or(Cause::Unknown, |(_, cause)| *cause)
}

#[cfg(test)]
mod tests;
