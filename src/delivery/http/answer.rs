//! Answers of an API, and how it says that something is wrong.

use jiff::SignedDuration;
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use serde::de::DeserializeOwned;

use super::{cut, nonsense, not_sent, place, unknown, whole_story};
use crate::delivery::{AskError, SubmitError};
use crate::job::{Cause, Outcome, Report};

/// An answer longer than this is not of a fax API.
const ANSWER_AT_MOST: usize = 4 << 20;

/// Longest wait that a provider may ask for.
const LONGEST_WAIT: SignedDuration = SignedDuration::from_hours(1);

/// How an API says that something is wrong.
#[derive(Clone, Copy)]
pub(in crate::delivery) struct Dialect {
    /// The API's own code and text in an answer; `None` when it is not the API that speaks.
    pub(in crate::delivery) word: fn(&HttpAnswer) -> Option<(String, String)>,
    /// The code that it gives with a 404 for a fax that it does not know; without one, any of its codes will do.
    pub(in crate::delivery) no_such_fax: Option<&'static str>,
}

impl Dialect {
    /// Whether the API says that it has no such fax. A 404 alone proves nothing: a wrong URL or a proxy says that too.
    pub(in crate::delivery) fn says_not_there(self, answer: &HttpAnswer) -> bool {
        answer.status == StatusCode::NOT_FOUND
            && (self.word)(answer).is_some_and(|(code, _)| self.no_such_fax.is_none_or(|known| known == code))
    }

    /// Status and code of an answer, for the log.
    pub(in crate::delivery) fn describe(self, answer: &HttpAnswer) -> String {
        answer.describe((self.word)(answer).map(|(code, _)| code).as_deref())
    }

    /// An answer that was not to be expected.
    pub(in crate::delivery) fn nonsense(self, answer: &HttpAnswer) -> AskError {
        nonsense(self.describe(answer))
    }
}

/// An answer, read whole.
pub(in crate::delivery) struct HttpAnswer {
    pub(in crate::delivery) status: StatusCode,
    pub(in crate::delivery) headers: HeaderMap,
    pub(in crate::delivery) body: Vec<u8>,
}

impl HttpAnswer {
    pub(super) async fn read(mut response: reqwest::Response) -> Result<HttpAnswer, String> {
        let status = response.status();
        let headers = response.headers().clone();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| whole_story(&error))? {
            if body.len() + chunk.len() > ANSWER_AT_MOST {
                return Err(format!("HTTP {status} with more than {ANSWER_AT_MOST} bytes"));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(HttpAnswer { status, headers, body })
    }

    /// How long the provider asks us to wait (Retry-After in seconds, RFC 9110 section 10.2.3); an hour at most, since who
    /// writes a time of day there must not stop us for decades.
    pub(in crate::delivery) fn wait(&self) -> Option<SignedDuration> {
        let seconds = self.headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse::<u32>().ok()?;
        Some(SignedDuration::from_secs(i64::from(seconds)).min(LONGEST_WAIT))
    }

    /// The body as JSON, whatever the status.
    ///
    /// # Errors
    /// Where and how it is not what it should be.
    pub(in crate::delivery) fn json<T: DeserializeOwned>(&self) -> Result<T, String> {
        serde_json::from_slice(&self.body)
            .map_err(|error| format!("{}: {}", self.describe(None), place(&error)))
    }

    /// The body of a 2xx as JSON.
    ///
    /// # Errors
    /// [`AskError::Nonsense`] for any other status, and for a body that is something else.
    pub(in crate::delivery) fn understood<T: DeserializeOwned>(&self) -> Result<T, AskError> {
        if !self.status.is_success() {
            return Err(nonsense(self.describe(None)));
        }
        self.json().map_err(nonsense)
    }

    /// Status and the API's own code, for the log; never the body, which may repeat what we sent.
    pub(in crate::delivery) fn describe(&self, code: Option<&str>) -> String {
        match code {
            Some(code) => format!("HTTP {} {}", self.status.as_u16(), cut(code)),
            None if self.status.is_success() => format!("HTTP {}", self.status.as_u16()),
            None => format!("HTTP {} without a reason of the API", self.status.as_u16()),
        }
    }

    /// What an answer other than 2xx says about a submit. `refusal` is the API's own code and text, where the body is of the
    /// API: only then can a 4xx be its word that it did not take the fax.
    ///
    /// 402 is no balance and 429 too many requests everywhere; 5xx says nothing, since providers take faxes and then fail to
    /// say so.
    pub(in crate::delivery) fn refused(
        &self,
        refusal: Option<(String, String)>,
        cause: Cause,
    ) -> SubmitError {
        let detail = self.describe(refusal.as_ref().map(|(code, _)| code.as_str()));
        match self.status.as_u16() {
            // The API forbids this very order, and says why.
            403 if refusal.is_some() && cause != Cause::Unknown && cause != Cause::AccountTrouble => {
                Self::refusal(refusal.unwrap_or_default(), cause)
            }
            401..=403 => not_sent(Cause::AccountTrouble, None, &detail),
            429 => not_sent(Cause::RateLimited, self.wait(), &detail),
            400..=499 => match refusal {
                Some(refusal) => Self::refusal(refusal, cause),
                None => unknown(detail),
            },
            _ => unknown(detail),
        }
    }

    /// A 422 without a body, as word of the API: vendors describe it so, and nothing in between says it.
    pub(in crate::delivery) fn bare_refusal(&self) -> Option<(String, String)> {
        let bare = self.status == StatusCode::UNPROCESSABLE_ENTITY && self.body.trim_ascii().is_empty();
        bare.then(|| ("422".to_owned(), String::new()))
    }

    fn refusal((code, text): (String, String), cause: Cause) -> SubmitError {
        SubmitError::Refused(Report {
            raw_code: Some(cut(&code)),
            raw_text: Some(cut(&text)),
            ..Report::bare(Outcome::of(cause))
        })
    }
}
