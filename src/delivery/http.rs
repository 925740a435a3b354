//! What the adapters that speak HTTP share: clients that never try twice, answers read whole and
//! bounded, and the one judgement that must not differ between them: may the request have left?

use std::error::Error;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Client, Method, RequestBuilder, StatusCode, Url, multipart};
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use super::{AskError, CheckFault, Document, Sought, SubmitError};
use crate::config;
use crate::job::Cause;

mod answer;
mod upload;

pub(super) use answer::{Dialect, HttpAnswer};
pub(super) use upload::{Upload, exactly};

/// What a provider tells in words is kept up to this length.
const TEXT_AT_MOST: usize = 300;

/// The base URL of an API, and how it is spoken to.
pub(super) struct Http {
    base: Url,
    /// What every request shows, unless the API wants its credentials in the body.
    authorization: Option<HeaderValue>,
    dialect: Dialect,
    /// For submits: a connection of its own each. On a kept connection that the far end is just
    /// closing, "never left" and "left and lost" look the same; on a fresh one a failure to connect
    /// is certain.
    submits: Client,
    /// For questions, which can be repeated.
    questions: Client,
}

impl Http {
    /// Clients for the API of `provider`; a request without an answer for its `timeout` is given up.
    ///
    /// # Errors
    /// A sentence that begins with the key at fault.
    pub(super) fn new(
        provider: &config::Provider,
        authorization: Option<HeaderValue>,
        dialect: Dialect,
    ) -> Result<Http, String> {
        let (url, timeout) = (provider.facts().url, provider.timeout.std());
        let base = Url::parse(url).map_err(|e| format!("url: {url:?} is no URL: {e}"))?;
        if !matches!(base.scheme(), "http" | "https") || base.cannot_be_a_base() {
            return Err(format!("url: {url:?} must begin with http:// or https://"));
        }
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
            client.build().map_err(|e| format!("url: no HTTP client: {}", whole_story(&e)))
        };
        let submits = built(client().pool_max_idle_per_host(0))?;
        Ok(Http { base, authorization, dialect, submits, questions: built(client())? })
    }

    /// The base URL with `segments` added to its path.
    pub(super) fn url(&self, segments: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }

    fn authorized(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.authorization {
            Some(authorization) => request.header(AUTHORIZATION, authorization.clone()),
            None => request,
        }
    }

    /// The request that may cause a call, for [`Http::submit`].
    pub(super) fn order(&self, url: Url) -> RequestBuilder {
        self.authorized(self.submits.post(url))
    }

    /// Something that can be asked again, for [`Http::ask_with`].
    pub(super) fn question(&self, method: Method, url: Url) -> RequestBuilder {
        self.authorized(self.questions.request(method, url))
    }

    /// Makes the one request that may cause a call. `document` is what it carries, if it carries
    /// one.
    ///
    /// # Errors
    /// `NotSent` only where no byte of it can have been taken for a whole request; `Unknown`
    /// otherwise.
    pub(super) async fn submit(
        &self,
        request: RequestBuilder,
        document: Option<&Upload>,
    ) -> Result<HttpAnswer, SubmitError> {
        match request.send().await {
            Ok(response) => {
                HttpAnswer::read(response).await.map_err(|detail| SubmitError::Unknown { detail })
            }
            // The length was announced and not reached: no server may take that for the whole.
            Err(_) if document.is_some_and(Upload::broke) => {
                Err(not_sent(Cause::ProviderTrouble, None, "the document could not be read to its end"))
            }
            Err(error) if error.is_connect() || error.is_builder() => {
                Err(not_sent(Cause::ProviderTrouble, None, &whole_story(&error)))
            }
            Err(error) => Err(SubmitError::Unknown { detail: whole_story(&error) }),
        }
    }

    /// Makes the one request that may cause a call: `form`, with the document of `bytes` bytes as
    /// its last part.
    ///
    /// # Errors
    /// As [`Http::submit`].
    pub(super) async fn submit_form(
        &self,
        url: Url,
        form: multipart::Form,
        part: &'static str,
        document: Document,
        bytes: u64,
    ) -> Result<HttpAnswer, SubmitError> {
        let (upload, body) = Upload::part(document, bytes)?;
        self.submit(self.order(url).multipart(form.part(part, body)), Some(&upload)).await
    }

    /// Asks something that can be asked again. Answers that say nothing about a fax are errors;
    /// what a 2xx, another 4xx or a 3xx means is for the adapter to say.
    pub(super) async fn ask(&self, method: Method, url: Url) -> Result<HttpAnswer, AskError> {
        self.ask_with(self.question(method, url)).await
    }

    /// The same, with more in the request than its URL.
    pub(super) async fn ask_with(&self, request: RequestBuilder) -> Result<HttpAnswer, AskError> {
        let response =
            request.send().await.map_err(|error| AskError::NoAnswer { detail: whole_story(&error) })?;
        let answer = HttpAnswer::read(response).await.map_err(|detail| AskError::NoAnswer { detail })?;
        match answer.status.as_u16() {
            401..=403 => Err(AskError::Account { detail: answer.describe(None) }),
            408 | 429 | 500.. => Err(AskError::NoAnswer { detail: answer.describe(None) }),
            _ => Ok(answer),
        }
    }

    /// The fax that lies at `url`; `None` where the API says that it has no such fax.
    ///
    /// # Errors
    /// [`AskError::Nonsense`] also for one that is not the one that was asked for.
    pub(super) async fn fax<T: DeserializeOwned>(
        &self,
        url: Url,
        is_it: impl Fn(&T) -> bool,
    ) -> Result<Option<T>, AskError> {
        let answer = self.ask(Method::GET, url).await?;
        if self.dialect.says_not_there(&answer) {
            return Ok(None);
        }
        let fax: T = answer.understood()?;
        if is_it(&fax) { Ok(Some(fax)) } else { Err(nonsense("the answer is about another fax")) }
    }

    /// Deletes what lies at `url`. Gone already is well.
    pub(super) async fn delete(&self, url: Url) -> Result<(), AskError> {
        let answer = self.ask(Method::DELETE, url).await?;
        let gone = answer.status == StatusCode::NO_CONTENT || self.dialect.says_not_there(&answer);
        if gone { Ok(()) } else { Err(self.dialect.nonsense(&answer)) }
    }

    /// Whether a `T` lies at `url`; it tells a wrong `credential` from a wrong URL.
    pub(super) async fn check<T: DeserializeOwned>(
        &self,
        url: Url,
        credential: &'static str,
    ) -> Result<(), CheckFault> {
        let answer = self.ask(Method::GET, url).await;
        let understood = answer.and_then(|answer| answer.understood::<T>());
        understood.map(|_| ()).map_err(|error| CheckFault::of(&error, credential))
    }
}

/// A header value that is never logged.
///
/// # Errors
/// A sentence that begins with the key at fault.
fn secret_header(key: &str, value: &Zeroizing<String>) -> Result<HeaderValue, String> {
    let mut value = HeaderValue::try_from(value.as_str())
        .map_err(|_| format!("{key}: contains characters that no HTTP header can carry"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// `Authorization: Bearer` of `token` (RFC 6750).
///
/// # Errors
/// A sentence that begins with the key at fault.
pub(super) fn bearer(token: &str) -> Result<HeaderValue, String> {
    secret_header("token", &Zeroizing::new(format!("Bearer {token}")))
}

/// `Authorization: Basic` of `login` and `password` (RFC 7617).
///
/// # Errors
/// A sentence that begins with the key at fault.
pub(super) fn basic(login: &str, password: &str) -> Result<HeaderValue, String> {
    use base64::Engine as _;
    let pair = Zeroizing::new(format!("{login}:{password}"));
    let coded = Zeroizing::new(base64::engine::general_purpose::STANDARD.encode(pair.as_bytes()));
    secret_header("password", &Zeroizing::new(format!("Basic {}", coded.as_str())))
}

pub(super) fn not_sent(cause: Cause, wait: Option<SignedDuration>, detail: &str) -> SubmitError {
    SubmitError::NotSent { cause, wait, detail: detail.to_owned() }
}

pub(super) fn unknown(detail: impl Into<String>) -> SubmitError {
    SubmitError::Unknown { detail: detail.into() }
}

pub(super) fn nonsense(detail: impl Into<String>) -> AskError {
    AskError::Nonsense { detail: detail.into() }
}

/// The error with its causes, without the URL (which may hold a reference or a secret).
pub(super) fn whole_story(error: &reqwest::Error) -> String {
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

/// Where and how JSON is not what it should be; serde's own text would repeat what stands there.
pub(super) fn place(error: &serde_json::Error) -> String {
    let kind = match error.classify() {
        serde_json::error::Category::Data => "a field is missing or of the wrong kind",
        serde_json::error::Category::Eof => "it breaks off",
        _ => "it is no JSON",
    };
    format!("{kind} (line {}, column {})", error.line(), error.column())
}

/// Outside text, bounded and without control characters.
pub(super) fn cut(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(TEXT_AT_MOST).collect()
}

/// Whether two ways to write a telephone number have the same digits.
pub(super) fn same_number(one: &str, other: &str) -> bool {
    let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
    digits(one) == digits(other)
}

/// Whether a fax that shows this number and time can be the sought one. What it does not show
/// contradicts nothing.
pub(super) fn could_be(sought: &Sought<'_>, number: Option<&str>, made: Option<Timestamp>) -> bool {
    number.is_none_or(|number| same_number(number, sought.number.as_str()))
        && made.is_none_or(|made| made >= sought.earliest())
}

/// What a failure of a call comes to, given the pages that the far end confirmed: may any of them
/// lie in a tray? Only a confirmed count of none lets a transmission that broke off, or the
/// provider's own trouble, be tried again by itself. Not for failures that certainly come before
/// the call.
pub(super) fn after_call(cause: Cause, pages_sent: Option<u32>) -> Cause {
    match (cause, pages_sent) {
        // Whatever the code says about the end of the call.
        (_, Some(1..)) => Cause::PartlySent,
        (Cause::LineTrouble | Cause::ProviderTrouble, None) => Cause::PartlySent,
        _ => cause,
    }
}
