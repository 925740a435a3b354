//! The adapter for faxbridge's own simulator, and beside it the simulator: a fax provider of the demo and the tests.
//!
//! The adapter is written as one for a stranger's API would be: it believes nothing that it cannot read. It is also the
//! example to copy for the next provider. The simulator ([`server`]) speaks real HTTP, takes real uploads, signs its
//! webhooks and misbehaves as scripted ([`script`]); it is never called by any other way than HTTP.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::http::HeaderMap;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use reqwest::header::{AUTHORIZATION, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Method, StatusCode, Url, multipart};
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use super::{
    AskError, BuildError, Cancelled, Capabilities, Document, Found, News, Order, Provider, Secrets, Status,
    SubmitError, Taken, WebhookRefusal,
};
use crate::job::{Cause, Outcome, Report};
use wire::{ErrorBody, ErrorView, FaxList, FaxView, Standing};

mod book;
mod line;
mod office;
mod print;
pub mod script;
pub mod server;
pub mod signature;
mod webhook;
pub mod wire;

/// An answer longer than this is not of this API.
const ANSWER_AT_MOST: usize = 256 << 10;

/// What the provider tells in words is kept up to this length.
const TEXT_AT_MOST: usize = 300;

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
    ("number.refused", Cause::Blocked),
    ("cancelled", Cause::Cancelled),
];

/// A simulator somewhere.
pub struct Simulator {
    name: String,
    base: Url,
    authorization: HeaderValue,
    webhook_key: Option<Zeroizing<Vec<u8>>>,
    /// For submits: a connection of its own each. On a kept connection that the far end is just closing, "never left" and
    /// "left and lost" look the same; on a fresh one a failure to connect is certain.
    submits: Client,
    /// For questions, which can be repeated.
    questions: Client,
}

impl Simulator {
    /// The adapter for the simulator at `url`; a request without an answer for `timeout` is given up.
    ///
    /// # Errors
    /// [`BuildError`] when the URL is none or the token cannot travel in a header.
    pub fn new(name: &str, url: &str, timeout: Duration, secrets: &Secrets) -> Result<Self, BuildError> {
        let fault = |fault: String| BuildError { name: name.to_owned(), fault };
        let base = Url::parse(url).map_err(|e| fault(format!("url: {url:?} is no URL: {e}")))?;
        if !matches!(base.scheme(), "http" | "https") || base.cannot_be_a_base() {
            return Err(fault(format!("url: {url:?} must begin with http:// or https://")));
        }
        let mut authorization =
            HeaderValue::try_from(Zeroizing::new(format!("Bearer {}", secrets.token.as_str())).as_str())
                .map_err(|_| fault("token: contains characters that no HTTP header can carry".into()))?;
        authorization.set_sensitive(true);
        let client = || {
            Client::builder()
                .timeout(timeout)
                // Shorter than the whole, so that "never connected" is told from "no answer".
                .connect_timeout((timeout / 2).min(Duration::from_secs(10)))
                .redirect(reqwest::redirect::Policy::none())
                .retry(reqwest::retry::never())
                // Documents go where the configuration says, not where an inherited variable says.
                .no_proxy()
                .user_agent(concat!("faxbridge/", env!("CARGO_PKG_VERSION")))
        };
        let built = |client: reqwest::ClientBuilder| {
            client.build().map_err(|e| fault(format!("no HTTP client: {}", whole_story(&e))))
        };
        Ok(Simulator {
            name: name.to_owned(),
            base,
            authorization,
            webhook_key: secrets.webhook_key.clone(),
            submits: built(client().pool_max_idle_per_host(0))?,
            questions: built(client())?,
        })
    }

    fn url(&self, segments: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }

    async fn hand_over(&self, order: Order<'_>) -> Result<Taken, SubmitError> {
        let reference = order.reference.to_owned();
        let unreadable = Arc::new(AtomicBool::new(false));
        let document = exactly(order.document, order.bytes, Arc::clone(&unreadable));
        let mut form = multipart::Form::new()
            .text("reference", reference.clone())
            .text("to", order.number.as_str().to_owned())
            .text("pages", order.pages.to_string())
            .text("sha256", order.sha256.to_owned());
        if let Some(url) = order.webhook_url {
            form = form.text("webhook_url", url.to_owned());
        }
        if let Some(caller) = order.caller {
            form = form.text("caller", caller.to_owned());
        }
        let part = multipart::Part::stream_with_length(reqwest::Body::wrap_stream(document), order.bytes)
            .file_name("fax.pdf")
            .mime_str("application/pdf")
            .map_err(|e| unknown(whole_story(&e)))?;
        let request = self
            .submits
            .post(self.url(&["v1", "faxes"]))
            .header(AUTHORIZATION, self.authorization.clone())
            .multipart(form.part("document", part));
        let response = request.send().await;
        // The length was announced and not reached: no server may take that for the whole.
        let broken = || unreadable.load(Ordering::Acquire);
        let answer = match response {
            Ok(response) => Answer::read(response).await.map_err(|detail| SubmitError::Unknown { detail })?,
            Err(_) if broken() => {
                return Err(not_sent(
                    Cause::ProviderTrouble,
                    None,
                    "the document could not be read to its end",
                ));
            }
            Err(error) if error.is_connect() || error.is_builder() => {
                return Err(not_sent(Cause::ProviderTrouble, None, &whole_story(&error)));
            }
            Err(error) => return Err(SubmitError::Unknown { detail: whole_story(&error) }),
        };
        judge_submit(&answer, &reference)
    }

    async fn ask(&self, method: Method, url: Url) -> Result<Answer, AskError> {
        let request = self.questions.request(method, url).header(AUTHORIZATION, self.authorization.clone());
        let response =
            request.send().await.map_err(|error| AskError::NoAnswer { detail: whole_story(&error) })?;
        let answer = Answer::read(response).await.map_err(|detail| AskError::NoAnswer { detail })?;
        match answer.status.as_u16() {
            401..=403 => Err(AskError::Account { detail: answer.describe() }),
            408 | 429 | 500.. => Err(AskError::NoAnswer { detail: answer.describe() }),
            _ => Ok(answer),
        }
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
            prints_header: false,
            signs_webhooks: self.webhook_key.is_some(),
            max_pages: None,
            max_bytes: Some(server::DOCUMENT_AT_MOST),
        }
    }

    fn submit<'a>(&'a self, order: Order<'a>) -> BoxFuture<'a, Result<Taken, SubmitError>> {
        Box::pin(self.hand_over(order))
    }

    fn status<'a>(&'a self, provider_ref: &'a str) -> BoxFuture<'a, Result<Status, AskError>> {
        Box::pin(async move {
            let answer = self.ask(Method::GET, self.url(&["v1", "faxes", provider_ref])).await?;
            if answer.says_no_such_fax() {
                return Ok(Status::NotThere);
            }
            let fax: FaxView = answer.understood()?;
            if fax.id != provider_ref {
                return Err(AskError::Nonsense { detail: "the answer is about another fax".into() });
            }
            Ok(status_of(&fax))
        })
    }

    fn find<'a>(&'a self, reference: &'a str) -> BoxFuture<'a, Result<Option<Found>, AskError>> {
        Box::pin(async move {
            let mut url = self.url(&["v1", "faxes"]);
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
            Ok(furthest.map(|fax| Found { status: status_of(&fax), provider_ref: fax.id }))
        })
    }

    fn cancel<'a>(&'a self, provider_ref: &'a str) -> BoxFuture<'a, Result<Cancelled, AskError>> {
        Box::pin(async move {
            let url = self.url(&["v1", "faxes", provider_ref, "cancel"]);
            let answer = self.ask(Method::POST, url).await?;
            if answer.says_no_such_fax() {
                return Ok(Cancelled::NotThere);
            }
            if answer.status == StatusCode::CONFLICT && answer.error().is_some() {
                return Ok(Cancelled::TooLate);
            }
            let fax: FaxView = answer.understood()?;
            Ok(if fax.status == Standing::Cancelled { Cancelled::Stopped } else { Cancelled::Asked })
        })
    }

    fn delete<'a>(&'a self, provider_ref: &'a str) -> BoxFuture<'a, Result<(), AskError>> {
        Box::pin(async move {
            let answer = self.ask(Method::DELETE, self.url(&["v1", "faxes", provider_ref])).await?;
            match answer.status {
                StatusCode::NO_CONTENT => Ok(()),
                _ if answer.says_no_such_fax() => Ok(()),
                _ => Err(AskError::Nonsense { detail: answer.describe() }),
            }
        })
    }

    fn read_webhook(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        now: Timestamp,
    ) -> Result<Vec<News>, WebhookRefusal> {
        let key = self.webhook_key.as_ref().ok_or(WebhookRefusal::NoKey)?;
        let header = headers.get(signature::HEADER).and_then(|value| value.to_str().ok());
        signature::verify(key, header, body, now)?;
        let report: wire::Report =
            serde_json::from_slice(body).map_err(|error| WebhookRefusal::Malformed(place(&error)))?;
        if report.fax.id.is_empty() || report.fax.reference.is_empty() {
            return Err(WebhookRefusal::Malformed("it names no fax".into()));
        }
        Ok(vec![News {
            status: status_of(&report.fax),
            provider_ref: Some(report.fax.id),
            reference: Some(report.fax.reference),
        }])
    }

    fn check(&self) -> BoxFuture<'_, Result<(), AskError>> {
        Box::pin(async move {
            let answer = self.ask(Method::GET, self.url(&["v1", "account"])).await?;
            answer.understood::<serde_json::Map<String, serde_json::Value>>().map(|_| ())
        })
    }
}

/// An answer, read whole.
struct Answer {
    status: StatusCode,
    wait: Option<SignedDuration>,
    body: Vec<u8>,
}

impl Answer {
    async fn read(mut response: reqwest::Response) -> Result<Answer, String> {
        let status = response.status();
        let wait = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.trim().parse::<u32>().ok())
            .map(|seconds| SignedDuration::from_secs(i64::from(seconds)));
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| whole_story(&error))? {
            if body.len() + chunk.len() > ANSWER_AT_MOST {
                return Err(format!("HTTP {status} with more than {ANSWER_AT_MOST} bytes"));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { status, wait, body })
    }

    /// What the API says is wrong; `None` when it is not the API that speaks.
    fn error(&self) -> Option<ErrorView> {
        let body: ErrorBody = serde_json::from_slice(&self.body).ok()?;
        (!self.status.is_success() && !body.error.code.is_empty()).then_some(body.error)
    }

    /// A 404 alone proves nothing: a wrong URL or a proxy says that too.
    fn says_no_such_fax(&self) -> bool {
        self.status == StatusCode::NOT_FOUND && self.error().is_some_and(|error| error.code == "fax.unknown")
    }

    fn understood<T: DeserializeOwned>(&self) -> Result<T, AskError> {
        if !self.status.is_success() {
            return Err(AskError::Nonsense { detail: self.describe() });
        }
        serde_json::from_slice(&self.body)
            .map_err(|error| AskError::Nonsense { detail: format!("{}: {}", self.describe(), place(&error)) })
    }

    /// Status and code, for the log; never the body, which may repeat what we sent.
    fn describe(&self) -> String {
        match self.error() {
            Some(error) => format!("HTTP {} {}", self.status.as_u16(), cut(&error.code)),
            None if self.status.is_success() => format!("HTTP {}", self.status.as_u16()),
            None => format!("HTTP {} without a reason of the API", self.status.as_u16()),
        }
    }
}

/// What the answer to a submit says about the one question: may it have left?
fn judge_submit(answer: &Answer, reference: &str) -> Result<Taken, SubmitError> {
    match answer.status.as_u16() {
        200..=299 => match serde_json::from_slice::<FaxView>(&answer.body) {
            Ok(fax) if !fax.id.is_empty() && fax.reference == reference => Ok(Taken { provider_ref: fax.id }),
            Ok(_) => Err(unknown("the answer is about another fax")),
            Err(error) => Err(unknown(format!("{}: {}", answer.describe(), place(&error)))),
        },
        401..=403 => Err(not_sent(Cause::AccountTrouble, None, &answer.describe())),
        429 => Err(not_sent(Cause::RateLimited, answer.wait, &answer.describe())),
        // The API says when to come again only where it took nothing; a proxy in between does not.
        503 if answer.wait.is_some() => {
            Err(not_sent(Cause::ProviderTrouble, answer.wait, &answer.describe()))
        }
        400..=499 => match answer.error() {
            Some(error) => Err(SubmitError::Refused(Report {
                raw_code: Some(cut(&error.code)),
                raw_text: Some(cut(&error.message)),
                ..Report::bare(Outcome::of(cause_of(&error.code)))
            })),
            None => Err(unknown(answer.describe())),
        },
        _ => Err(unknown(answer.describe())),
    }
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

/// The document, which fails unless it has exactly `bytes` bytes; `unreadable` tells afterwards that it did fail.
fn exactly(
    document: Document,
    bytes: u64,
    unreadable: Arc<AtomicBool>,
) -> impl futures_util::Stream<Item = Result<Bytes, std::io::Error>> + Send + 'static {
    let start = (document, bytes);
    futures_util::stream::try_unfold(start, move |(mut document, left)| {
        let unreadable = Arc::clone(&unreadable);
        async move {
            let fault = match document.next().await {
                Some(Ok(chunk)) => match left.checked_sub(chunk.len() as u64) {
                    Some(left) => return Ok(Some((chunk, (document, left)))),
                    None => std::io::Error::other("the document is longer than announced"),
                },
                None if left == 0 => return Ok(None),
                None => std::io::ErrorKind::UnexpectedEof.into(),
                Some(Err(fault)) => fault,
            };
            unreadable.store(true, Ordering::Release);
            Err(fault)
        }
    })
}

fn not_sent(cause: Cause, wait: Option<SignedDuration>, detail: &str) -> SubmitError {
    SubmitError::NotSent { cause, wait, detail: detail.to_owned() }
}

fn unknown(detail: impl Into<String>) -> SubmitError {
    SubmitError::Unknown { detail: detail.into() }
}

/// The error with its causes, without the URL (which may hold a reference or a secret of another provider's).
fn whole_story(error: &reqwest::Error) -> String {
    let mut story = if error.is_timeout() { "no answer in time".to_owned() } else { String::new() };
    let mut cause = error.source();
    while let Some(inner) = cause {
        let text = inner.to_string();
        if !story.contains(&text) {
            if !story.is_empty() {
                story.push_str(": ");
            }
            story.push_str(&text);
        }
        cause = inner.source();
    }
    if story.is_empty() { "the request failed".to_owned() } else { story }
}

/// Where and how an answer is not what it should be; serde's own text would repeat what stands there.
fn place(error: &serde_json::Error) -> String {
    let kind = match error.classify() {
        serde_json::error::Category::Data => "a field is missing or of the wrong kind",
        serde_json::error::Category::Eof => "it breaks off",
        _ => "it is no JSON",
    };
    format!("{kind} (line {}, column {})", error.line(), error.column())
}

/// Outside text, bounded and without control characters.
fn cut(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(TEXT_AT_MOST).collect()
}

#[cfg(test)]
mod tests;
