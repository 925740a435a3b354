//! The adapter for SRFax, HTTP POST API: <https://www.srfax.com/developers/internet-fax-api/> (queue_fax, get_faxstatus,
//! get_fax_outbox, delete_fax) and <https://www.srfax.com/api-page/stop_fax/>.
//!
//! One URL takes everything; account and password stand in every body. The answer is always HTTP 200 with `Status` and
//! `Result`; so anything else comes from a server in between, and is no word of the API. What `Failed` means is only told
//! by a text: known ones are mapped, others are refusals of unknown cause.
//!
//! Numbers have 11 digits, those of North America; how others are to be written is said nowhere, so they are refused here.
//! Our reference is the account code. The outbox is "a list of faxes sent", and whether it shows one that still waits is not
//! said: whoever must not see a fax twice sets `absent = "hold"`, as the example configuration does.
//!
//! "FaxDetailsID Not Found" means a wrong id, or a document that could not be converted after it was taken. The two cannot be
//! told apart, nor from an id that is not there yet. So it is [`Status::NotThere`]: the job is asked about again, and left to
//! a person when it stays so.

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE};
use reqwest::{Method, Url};
use serde::Deserialize;
use serde_json::Value;
use zeroize::Zeroizing;

use super::http::{Dialect, Http, HttpAnswer, cut, nonsense, not_sent, unknown};
use super::{
    AskError, Cancelled, Capabilities, CheckFault, HeaderLine, Hook, News, Order, Provider, Search, Secrets,
    Sought, Status, SubmitError, Taken, WebhookRefusal,
};
use crate::config::{self, kinds};
use crate::job::{Cause, Outcome, Report};
use record::{Record, judge_list, one, text};

mod body;
mod record;

/// The `ErrorCode` of a failed fax, in the bridge's words. It is free text; what is not in here is told by the pages.
pub(super) const CODES: &[(&str, Cause)] =
    &[("Busy", Cause::Busy), ("No Answer", Cause::NoAnswer), ("No Remote Fax", Cause::NotAFax)];

/// What stands in the text of a refusal, in small letters, and what it means. What is not in here is `Cause::Unknown`.
///
/// A sender's address or number that is not the account's is for the operator to mend, as a wrong password is.
const REFUSALS: &[(&str, Cause)] = &[
    ("access denied", Cause::AccountTrouble),
    ("access is denied", Cause::AccountTrouble),
    ("invalid authentication", Cause::AccountTrouble),
    ("invalid senders email", Cause::AccountTrouble),
    ("invalid callerid", Cause::AccountTrouble),
    ("no files", Cause::DocumentRefused),
    ("invalid fax number", Cause::NumberRefused),
];

/// The longest account code.
const REFERENCE_AT_MOST: usize = 20;
/// The longest header text; the vendor's pages say 30 and 50.
const HEADER_AT_MOST: usize = 30;

/// It has no word in an answer that is not HTTP 200.
const DIALECT: Dialect = Dialect { word: |_| None, no_such_fax: None };

/// An account with SRFax.
pub struct Srfax {
    http: Http,
    /// The account number.
    account: String,
    password: Zeroizing<String>,
    /// The sender's mail address.
    mail: String,
}

impl Srfax {
    /// The adapter for the account that `keys` name.
    ///
    /// # Errors
    /// A sentence that begins with the key at fault.
    pub fn new(provider: &config::Provider, keys: &kinds::Srfax, secrets: &Secrets) -> Result<Self, String> {
        if let Some(from) = &keys.from
            && ten_digits(from).is_none()
        {
            return Err("from: SRFax takes numbers of North America only, as \"+12125550101\"".into());
        }
        Ok(Srfax {
            http: Http::new(provider, None, DIALECT)?,
            account: keys.account.clone(),
            password: secrets.password.clone(),
            mail: keys.mail.clone(),
        })
    }

    fn url(&self) -> Url {
        self.http.url(&["SRF_SecWebSvc.php"])
    }

    /// The fields of every request, with `more`.
    fn fields<'a>(&'a self, action: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        let mut fields =
            vec![("action", action), ("access_id", &self.account), ("access_pwd", self.password.as_str())];
        fields.extend(more);
        fields
    }

    async fn ask(&self, action: &str, more: &[(&str, &str)]) -> Result<Word, AskError> {
        let question = self.http.question(Method::POST, self.url()).header(CONTENT_TYPE, "application/json");
        let answer = self.http.ask_with(question.body(body::object(&self.fields(action, more)))).await?;
        match word_of(&answer) {
            None => Err(nonsense(answer.describe(None))),
            Some(Word::Failed(text)) if matches!(refusal(&text), Some((_, Cause::AccountTrouble))) => {
                Err(AskError::Account { detail: failed(&text) })
            }
            Some(word) => Ok(word),
        }
    }
}

#[async_trait]
impl Provider for Srfax {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            finds_by_reference: true,
            cancels: true,
            deletes: true,
            reports_remote_id: true,
            reports_pages: true,
            header: HeaderLine::Provider,
            ..Capabilities::LEAST
        }
    }

    async fn submit(&self, order: Order<'_>) -> Result<Taken, SubmitError> {
        let Some(number) = eleven_digits(order.number.as_str()) else {
            return Err(SubmitError::Refused(Report {
                raw_text: Some("SRFax takes numbers of North America (+1) only".into()),
                ..Report::bare(Outcome::of(Cause::Blocked))
            }));
        };
        let Some(caller) = order.caller.and_then(ten_digits) else {
            let detail = "from: SRFax needs a number of North America, as \"+12125550101\"";
            return Err(not_sent(Cause::AccountTrouble, None, detail));
        };
        if order.reference.len() > REFERENCE_AT_MOST {
            let detail = "the reference is longer than the 20 characters by which it can be asked for later";
            return Err(not_sent(Cause::AccountTrouble, None, detail));
        }
        let header: String = order.header.chars().take(HEADER_AT_MOST).collect();
        let mut more = vec![
            ("sCallerID", caller),
            ("sSenderEmail", self.mail.as_str()),
            ("sFaxType", "SINGLE"),
            ("sToFaxNumber", number),
            ("sAccountCode", order.reference),
            // Redials are ours to count.
            ("sRetries", "0"),
            ("sFaxFromHeader", header.as_str()),
        ];
        more.extend(order.webhook_url.map(|url| ("sNotifyURL", url)));
        let fields = self.fields("Queue_Fax", &more);
        let (upload, body, length) = body::with_document(&fields, order.document, order.bytes);
        let request = self.http.order(self.url()).header(CONTENT_TYPE, "application/json");
        let request = request.header(CONTENT_LENGTH, length).body(body);
        judge_submit(&self.http.submit(request, Some(&upload)).await?)
    }

    async fn status(&self, provider_ref: &str) -> Result<Status, AskError> {
        match self.ask("Get_FaxStatus", &[("sFaxDetailsID", provider_ref)]).await? {
            Word::Success(result) => {
                let fax: Record = read(one(result))?;
                match fax.id() {
                    Some(other) if other != provider_ref => Err(nonsense("the answer is about another fax")),
                    _ => fax.status(),
                }
            }
            Word::Failed(text) if says_not_there(&text) => Ok(Status::NotThere),
            Word::Failed(text) => Err(nonsense(failed(&text))),
        }
    }

    async fn find(&self, sought: Sought<'_>) -> Result<Search, AskError> {
        // Days are those of the account's zone, which nobody tells us: it may be one day off, and the list is asked later.
        let day = |hours: i64| {
            let moved = sought.since.saturating_add(SignedDuration::from_hours(hours));
            moved.unwrap_or(sought.since).strftime("%Y%m%d").to_string()
        };
        let (first, last) = (day(-24), day(48));
        let period = [("sPeriod", "RANGE"), ("sStartDate", first.as_str()), ("sEndDate", last.as_str())];
        match self.ask("Get_Fax_Outbox", &period).await? {
            Word::Success(result) => judge_list(read(result)?, &sought),
            Word::Failed(text) => Err(nonsense(failed(&text))),
        }
    }

    async fn cancel(&self, provider_ref: &str) -> Result<Cancelled, AskError> {
        let (done, text) = match self.ask("Stop_Fax", &[("sFaxDetailsID", provider_ref)]).await? {
            Word::Success(result) => (true, result.as_str().unwrap_or_default().to_ascii_lowercase()),
            Word::Failed(text) => (false, text.to_ascii_lowercase()),
        };
        match (done, text.trim()) {
            (true, "fax cancelled") => Ok(Cancelled::Stopped),
            (true, text) if text.contains("partially sent") => Ok(Cancelled::TooLate),
            // Another success: it says that it was taken out, but not that nothing had left before.
            (true, _) => Ok(Cancelled::Asked),
            (false, text) if text.contains("transmission completed") => Ok(Cancelled::TooLate),
            // "Try again", says the vendor, while it is converted or cannot be found yet.
            (false, text) if text.contains("not found") => match self.status(provider_ref).await? {
                Status::NotThere => Ok(Cancelled::NotThere),
                _ => Err(AskError::NoAnswer { detail: failed(text) }),
            },
            (false, text) if text.contains("unable to cancel") => {
                Err(AskError::NoAnswer { detail: failed(text) })
            }
            (false, text) => Err(nonsense(failed(text))),
        }
    }

    async fn delete(&self, provider_ref: &str) -> Result<(), AskError> {
        match self.ask("Delete_Fax", &[("sDirection", "OUT"), ("sFaxDetailsID_1", provider_ref)]).await? {
            Word::Success(_) => Ok(()),
            Word::Failed(text) if says_not_there(&text) => Ok(()),
            Word::Failed(text) => Err(nonsense(failed(&text))),
        }
    }

    /// Names and encoding of what comes are nowhere documented, so nothing of it is read: its URL names the fax.
    fn read_webhook(&self, hook: &Hook<'_>, _now: Timestamp) -> Result<Vec<News>, WebhookRefusal> {
        hook.hint(None)
    }

    /// Asks how a fax stands that is hardly ours: that there is none is as good an answer as any.
    async fn check(&self) -> Result<(), CheckFault> {
        let word = self.ask("Get_FaxStatus", &[("sFaxDetailsID", "1")]).await;
        let answered = word.and_then(|word| match word {
            Word::Failed(text) if !says_not_there(&text) => Err(nonsense(failed(&text))),
            _ => Ok(()),
        });
        answered.map_err(|error| CheckFault::of(&error, "password"))
    }
}

/// What the API says.
enum Word {
    Success(Value),
    Failed(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Envelope {
    status: String,
    #[serde(default)]
    result: Value,
}

/// The API's word; `None` when it is not the API that speaks.
fn word_of(answer: &HttpAnswer) -> Option<Word> {
    let Envelope { status, result } = answer.json().ok()?;
    match result {
        _ if answer.status.as_u16() != 200 => None,
        result if status.eq_ignore_ascii_case("success") => Some(Word::Success(result)),
        Value::String(text) if status.eq_ignore_ascii_case("failed") => Some(Word::Failed(text)),
        _ => None,
    }
}

fn read<T: serde::de::DeserializeOwned>(result: Value) -> Result<T, AskError> {
    serde_json::from_value(result).map_err(|_| nonsense("the result is not what was asked for"))
}

/// What the answer to a submit says about the one question: may it have left?
fn judge_submit(answer: &HttpAnswer) -> Result<Taken, SubmitError> {
    match word_of(answer) {
        Some(Word::Success(result)) => match text(&result) {
            Some(id) => Ok(Taken { provider_ref: id }),
            None => Err(unknown("the answer names no fax")),
        },
        Some(Word::Failed(text)) => Err(match refusal(&text) {
            Some((_, Cause::AccountTrouble)) => not_sent(Cause::AccountTrouble, None, &failed(&text)),
            known => SubmitError::Refused(Report {
                raw_text: Some(cut(&text)),
                ..Report::bare(Outcome::of(known.map_or(Cause::Unknown, |(_, cause)| cause)))
            }),
        }),
        // The API has no words for these; whoever stands in front of it has.
        None => Err(answer.refused(None, Cause::Unknown)),
    }
}

/// The line of [`REFUSALS`] that a text belongs to.
fn refusal(text: &str) -> Option<(&'static str, Cause)> {
    let text = text.to_ascii_lowercase();
    REFUSALS.iter().find(|(known, _)| text.contains(known)).copied()
}

fn says_not_there(text: &str) -> bool {
    text.to_ascii_lowercase().contains("not found")
}

/// The API's refusal for the log. Texts that we do not know may repeat what we sent.
fn failed(text: &str) -> String {
    let known = refusal(text).map(|(known, _)| known);
    let known = known.or_else(|| says_not_there(text).then_some("not found"));
    format!("the API answers \"Failed\", {}", known.unwrap_or("with a text that is not known here"))
}

/// A number of North America with its country code, without the plus sign.
fn eleven_digits(number: &str) -> Option<&str> {
    let digits = number.strip_prefix('+')?;
    let fits = digits.len() == 11 && digits.starts_with('1') && digits.bytes().all(|b| b.is_ascii_digit());
    fits.then_some(digits)
}

/// The same without its country code.
fn ten_digits(number: &str) -> Option<&str> {
    eleven_digits(number)?.strip_prefix('1')
}

#[cfg(test)]
mod tests;
