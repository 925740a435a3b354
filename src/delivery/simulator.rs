//! The adapter for faxbridge's own simulator (`crate::simulator`), and the words that travel between the two.
//!
//! The adapter is written as one for a stranger's API would be: it believes nothing that it cannot read. It is also the
//! example to copy for the next provider.

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Method, StatusCode, Url, multipart};
use zeroize::Zeroizing;

use super::http::{Answer, Http, Upload, cut, not_sent, place, secret_header, unknown};
use super::{
    AskError, Cancelled, Capabilities, CheckFault, Found, HeaderLine, Hook, News, Order, Provider, Search,
    Secrets, Sought, Status, SubmitError, Taken, WebhookRefusal,
};
use crate::config;
use crate::job::{Cause, Outcome, Report};
use wire::{ErrorBody, ErrorView, FaxList, FaxView, Standing};

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

/// A simulator somewhere.
pub struct Simulator {
    name: String,
    http: Http,
    authorization: HeaderValue,
    webhook_key: Option<Zeroizing<Vec<u8>>>,
}

impl Simulator {
    /// The adapter for the simulator at the section's URL.
    ///
    /// # Errors
    /// A sentence, beginning with the key at fault, when the URL is none or the token cannot travel in a header.
    pub fn new(name: &str, section: &config::Provider, secrets: &Secrets) -> Result<Self, String> {
        let bearer = Zeroizing::new(format!("Bearer {}", secrets.token.as_str()));
        Ok(Simulator {
            name: name.to_owned(),
            http: Http::new(section.url(), section.timeout.std())?,
            authorization: secret_header("token", &bearer)?,
            webhook_key: secrets.webhook_key.clone(),
        })
    }

    async fn hand_over(&self, order: Order<'_>) -> Result<Taken, SubmitError> {
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
        let (upload, part) = Upload::part(order.document, order.bytes)?;
        let request = self
            .http
            .submits
            .post(self.http.url(&["v1", "faxes"]))
            .header(AUTHORIZATION, self.authorization.clone())
            .multipart(form.part("document", part));
        let answer = self.http.submit(request, Some(&upload)).await?;
        judge_submit(&answer, order.reference)
    }

    async fn ask(&self, method: Method, url: Url) -> Result<Answer, AskError> {
        let request =
            self.http.questions.request(method, url).header(AUTHORIZATION, self.authorization.clone());
        self.http.ask(request).await
    }
}

impl Provider for Simulator {
    fn name(&self) -> &str {
        &self.name
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            finds_by_reference: true,
            cancels: true,
            deletes: true,
            reports_remote_id: true,
            reports_pages: true,
            header: HeaderLine::Cover,
            fetches: false,
            signs_webhooks: self.webhook_key.is_some(),
            max_pages: None,
            max_bytes: Some(wire::DOCUMENT_AT_MOST),
        }
    }

    fn submit<'a>(&'a self, order: Order<'a>) -> BoxFuture<'a, Result<Taken, SubmitError>> {
        Box::pin(self.hand_over(order))
    }

    fn status<'a>(&'a self, provider_ref: &'a str) -> BoxFuture<'a, Result<Status, AskError>> {
        Box::pin(async move {
            let answer = self.ask(Method::GET, self.http.url(&["v1", "faxes", provider_ref])).await?;
            if says_no_such_fax(&answer) {
                return Ok(Status::NotThere);
            }
            let fax: FaxView = answer.understood()?;
            if fax.id != provider_ref {
                return Err(AskError::Nonsense { detail: "the answer is about another fax".into() });
            }
            Ok(status_of(&fax))
        })
    }

    fn find<'a>(&'a self, sought: Sought<'a>) -> BoxFuture<'a, Result<Search, AskError>> {
        Box::pin(async move {
            let reference = sought.reference;
            let mut url = self.http.url(&["v1", "faxes"]);
            url.query_pairs_mut().append_pair("reference", reference);
            let list: FaxList = self.ask(Method::GET, url).await?.understood()?;
            if list.faxes.iter().any(|fax| fax.reference != reference || fax.id.is_empty()) {
                return Err(AskError::Nonsense { detail: "the list holds what was not asked for".into() });
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
        })
    }

    fn cancel<'a>(&'a self, provider_ref: &'a str) -> BoxFuture<'a, Result<Cancelled, AskError>> {
        Box::pin(async move {
            let url = self.http.url(&["v1", "faxes", provider_ref, "cancel"]);
            let answer = self.ask(Method::POST, url).await?;
            if says_no_such_fax(&answer) {
                return Ok(Cancelled::NotThere);
            }
            if answer.status == StatusCode::CONFLICT && error_of(&answer).is_some() {
                return Ok(Cancelled::TooLate);
            }
            let fax: FaxView = answer.understood()?;
            Ok(if fax.status == Standing::Cancelled { Cancelled::Stopped } else { Cancelled::Asked })
        })
    }

    fn delete<'a>(&'a self, provider_ref: &'a str) -> BoxFuture<'a, Result<(), AskError>> {
        Box::pin(async move {
            let answer = self.ask(Method::DELETE, self.http.url(&["v1", "faxes", provider_ref])).await?;
            match answer.status {
                StatusCode::NO_CONTENT => Ok(()),
                _ if says_no_such_fax(&answer) => Ok(()),
                _ => Err(AskError::Nonsense { detail: describe(&answer) }),
            }
        })
    }

    fn read_webhook(&self, hook: &Hook<'_>, now: Timestamp) -> Result<Vec<News>, WebhookRefusal> {
        let key = self.webhook_key.as_ref().ok_or(WebhookRefusal::NoKey)?;
        let header = hook.headers.get(signature::HEADER).and_then(|value| value.to_str().ok());
        signature::verify(key, header, hook.body, now)?;
        let report: wire::Report =
            serde_json::from_slice(hook.body).map_err(|error| WebhookRefusal::Malformed(place(&error)))?;
        if report.fax.id.is_empty() || report.fax.reference.is_empty() {
            return Err(WebhookRefusal::Malformed("it names no fax".into()));
        }
        Ok(vec![News {
            status: status_of(&report.fax),
            provider_ref: Some(report.fax.id),
            reference: Some(report.fax.reference),
        }])
    }

    fn check(&self) -> BoxFuture<'_, Result<(), CheckFault>> {
        Box::pin(async move {
            let answer = self.ask(Method::GET, self.http.url(&["v1", "account"])).await;
            answer
                .and_then(|answer| answer.understood::<serde_json::Map<String, serde_json::Value>>())
                .map(|_| ())
                .map_err(|error| CheckFault::of(&error, "token"))
        })
    }
}

/// What the API says is wrong; `None` when it is not the API that speaks.
fn error_of(answer: &Answer) -> Option<ErrorView> {
    let body: ErrorBody = answer.json().ok()?;
    (!answer.status.is_success() && !body.error.code.is_empty()).then_some(body.error)
}

/// A 404 alone proves nothing: a wrong URL or a proxy says that too.
fn says_no_such_fax(answer: &Answer) -> bool {
    answer.status == StatusCode::NOT_FOUND
        && error_of(answer).is_some_and(|error| error.code == "fax.unknown")
}

fn describe(answer: &Answer) -> String {
    answer.describe(error_of(answer).map(|error| error.code).as_deref())
}

/// What the answer to a submit says about the one question: may it have left?
fn judge_submit(answer: &Answer, reference: &str) -> Result<Taken, SubmitError> {
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
        return Err(not_sent(Cause::ProviderTrouble, answer.wait(), &describe(answer)));
    }
    let error = error_of(answer).map(|error| (error.code, error.message));
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
