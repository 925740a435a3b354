//! The adapter for Fax.Plus (Alohi), REST API v3: <https://apidoc.fax.plus> (concepts/fax, endpoints/outbox/send-a-fax,
//! endpoints/faxes/list-fax-records) and the models of the vendor's SDKs.
//!
//! A submit has two steps. The document is uploaded (`POST files`), which calls nobody: whatever happens there, the fax was
//! certainly not sent. Only the order (`POST outbox`) can cause a call, and only it can leave a fax unknown. Both together
//! have one timeout.
//!
//! A fax is found in the outbox until it has been sent, and under `faxes` afterwards, by the same id. Our reference travels
//! as the comment, as its tag and as its text: the outbox shows both, the records under `faxes` have a comment of one text.
//! Nobody promises that the one becomes the other. So a fax of that time to that number *without* any comment is not taken
//! for a stranger's: then nothing is certain, and the question is left to a person ([`Search::Undecided`]).
//!
//! Pages that arrived are known for delivered faxes alone. Webhooks are set up once in the account (`POST /hooks`, or its
//! web page) with the URL of our listener, are not signed, and so are hints. There is no field for a header line: the cover
//! carries it. A file whose order was refused stays in the account; the API has no call that deletes files.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use jiff::Timestamp;
use reqwest::{Method, Url, multipart};
use serde::Deserialize;
use serde_json::json;

use super::http::{Dialect, Http, Upload, after_call, bearer, cut, not_sent};
use super::{
    AskError, Cancelled, Capabilities, CheckFault, Document, Hook, News, Order, Provider, Search, Secrets,
    Sought, Status, SubmitError, Taken, WebhookRefusal,
};
use crate::config::{self, kinds};
use crate::job::{Cause, Outcome, Report};
use answer::{error_of, judge_order, judge_upload, upload_failed};

mod answer;
mod list;

/// The status of an ended fax, in the bridge's words. What is not in here is `Cause::Unknown`. `LineTrouble` stands for every
/// transmission that broke off; how far it came is judged apart.
///
/// `failed_fs_49` and `failed_fs_2` are in the vendor's models without a word of explanation. Their numbers look like
/// those of FreeSWITCH: call dropped, and no answer to the first signals. Believed is only what leads to a person.
pub(super) const CODES: &[(&str, Cause)] = &[
    ("partially_sent", Cause::LineTrouble),
    ("failed_fs_49", Cause::LineTrouble),
    ("failed_user_busy", Cause::Busy),
    ("failed_normal_clearing", Cause::Busy),
    ("failed_no_answer", Cause::NoAnswer),
    ("failed_unallocated_number", Cause::NotInService),
    ("failed_invalid_number_format", Cause::NotInService),
    ("failed_destination_not_supported", Cause::Blocked),
    ("failed_to_send", Cause::ProviderTrouble),
    ("failed_normal_temporary_failure", Cause::ProviderTrouble),
    ("failed_internal_process_error", Cause::ProviderTrouble),
    ("failed_office_converter_issue", Cause::DocumentRefused),
    ("failed_separate_file_pages_issue", Cause::DocumentRefused),
    ("failed_render_header_issue", Cause::DocumentRefused),
    ("failed_mimetype_not_supported", Cause::DocumentRefused),
    ("failed_image_preparation", Cause::DocumentRefused),
    ("failed_unknown_converter_issue", Cause::DocumentRefused),
    ("failed_convert_to_tiff_issue", Cause::DocumentRefused),
    ("insufficient_credit", Cause::AccountTrouble),
    ("failed", Cause::Unknown),
    ("failed_fs_2", Cause::Unknown),
];

/// All files of one fax together.
const DOCUMENT_AT_MOST: u64 = 150_000_000;

const DIALECT: Dialect = Dialect { word: error_of, no_such_fax: None };

/// An account with Fax.Plus.
pub struct Faxplus {
    http: Http,
    timeout: Duration,
    /// `self`, or a member's id.
    account: String,
}

impl Faxplus {
    /// The adapter for the account that `keys` name.
    ///
    /// # Errors
    /// A sentence that begins with the key at fault.
    pub fn new(
        provider: &config::Provider,
        keys: &kinds::Faxplus,
        secrets: &Secrets,
    ) -> Result<Self, String> {
        Ok(Faxplus {
            http: Http::new(provider, Some(bearer(&secrets.token)?), DIALECT)?,
            timeout: provider.timeout.std(),
            account: keys.account.clone().unwrap_or_else(|| "self".into()),
        })
    }

    fn url(&self, rest: &[&str]) -> Url {
        let mut segments = vec!["v3", "accounts", self.account.as_str()];
        segments.extend(rest);
        self.http.url(&segments)
    }

    /// Stores the document in the account and returns the name that it got there. Nobody is called by that: no error in here
    /// leaves anything unknown.
    async fn upload(&self, document: Document, bytes: u64) -> Result<String, SubmitError> {
        let (upload, part) = Upload::part(document, bytes)?;
        let request = self
            .http
            .order(self.url(&["files"]))
            // The order itself must have time to be answered.
            .timeout(self.timeout.saturating_mul(3) / 4)
            .multipart(multipart::Form::new().part("fax_file", part));
        match self.http.submit(request, Some(&upload)).await {
            Ok(answer) => judge_upload(&answer),
            Err(SubmitError::Unknown { detail }) => Err(upload_failed(None, &detail)),
            Err(error) => Err(error),
        }
    }

    /// The entry of the outbox, or nothing where the API says that there is none.
    async fn waiting(&self, id: &str) -> Result<Option<list::Waiting>, AskError> {
        self.http.fax(self.url(&["outbox", id]), |entry: &list::Waiting| entry.id == id).await
    }

    /// The record of a fax that has left the outbox, or nothing where the API says that there is none.
    async fn ended(&self, id: &str) -> Result<Option<list::Ended>, AskError> {
        self.http.fax(self.url(&["faxes", id]), |fax: &list::Ended| fax.id == id).await
    }
}

#[async_trait]
impl Provider for Faxplus {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            finds_by_reference: true,
            cancels: true,
            deletes: true,
            reports_pages: true,
            max_bytes: Some(DOCUMENT_AT_MOST),
            ..Capabilities::LEAST
        }
    }

    async fn submit(&self, order: Order<'_>) -> Result<Taken, SubmitError> {
        let Some(caller) = order.caller else {
            return Err(not_sent(Cause::AccountTrouble, None, "from: is missing, and Fax.Plus needs it"));
        };
        let begun = Instant::now();
        let path = self.upload(order.document, order.bytes).await?;
        let body = json!({
            "from": caller,
            "to": [order.number.as_str()],
            "files": [path],
            "return_ids": true,
            "comment": { "tags": [order.reference], "text": order.reference },
            "options": {
                // It is on unless it is turned off. Pages leave as they were made: what is improved for text spoils pictures.
                "enhancement": false,
                // Redials are ours to count.
                "retry": { "count": 0, "delay": 0 },
            },
        });
        let left = self.timeout.saturating_sub(begun.elapsed());
        let request = self.http.order(self.url(&["outbox"])).timeout(left).json(&body);
        judge_order(&self.http.submit(request, None).await?, order.number.as_str())
    }

    async fn status(&self, provider_ref: &str) -> Result<Status, AskError> {
        // In this order: between the two questions it can move only one way.
        if self.waiting(provider_ref).await?.is_some() {
            return Ok(Status::Working);
        }
        Ok(self.ended(provider_ref).await?.map_or(Status::NotThere, |fax| status_of(&fax)))
    }

    async fn find(&self, sought: Sought<'_>) -> Result<Search, AskError> {
        let waiting: list::WaitingList =
            self.http.ask(Method::GET, self.url(&["outbox"])).await?.understood()?;
        let from = sought.earliest();
        let mut url = self.url(&["faxes"]);
        url.query_pairs_mut()
            .append_pair("category", "sent")
            // All times of this API are UTC and say no zone.
            .append_pair("after", &from.strftime("%Y-%m-%d %H:%M:%S").to_string())
            .append_pair("limit", &list::AT_ONCE.to_string());
        let ended: list::EndedList = self.http.ask(Method::GET, url).await?.understood()?;
        list::judge(&waiting.records, &ended.data.records, &sought)
    }

    async fn cancel(&self, provider_ref: &str) -> Result<Cancelled, AskError> {
        // It can be taken out while it waits; what an answer to that means during the call, the vendor does not say.
        if self.waiting(provider_ref).await?.is_some_and(|fax| fax.status.as_deref() == Some("sending")) {
            return Ok(Cancelled::TooLate);
        }
        let answer = self.http.ask(Method::DELETE, self.url(&["outbox", provider_ref])).await?;
        if answer.status.is_success() {
            return Ok(Cancelled::Stopped);
        }
        if DIALECT.says_not_there(&answer) {
            let ended = self.ended(provider_ref).await?;
            return Ok(if ended.is_some() { Cancelled::TooLate } else { Cancelled::NotThere });
        }
        // It is in the outbox and stays there: only what waits for its time can be taken out.
        if answer.status.is_client_error() && error_of(&answer).is_some() {
            return Ok(Cancelled::TooLate);
        }
        Err(DIALECT.nonsense(&answer))
    }

    async fn delete(&self, provider_ref: &str) -> Result<(), AskError> {
        let answer = self.http.ask(Method::DELETE, self.url(&["faxes", provider_ref])).await?;
        if answer.status.is_success() {
            return Ok(());
        }
        if !DIALECT.says_not_there(&answer) {
            return Err(DIALECT.nonsense(&answer));
        }
        // Not among the ended ones: gone already, unless it has not ended.
        match self.waiting(provider_ref).await? {
            None => Ok(()),
            Some(_) => Err(AskError::NoAnswer { detail: "it has not ended".into() }),
        }
    }

    async fn confirm(&self, provider_ref: &str, sought: Sought<'_>) -> Result<Search, AskError> {
        let waiting: Vec<list::Waiting> = self.waiting(provider_ref).await?.into_iter().collect();
        let ended: Vec<list::Ended> = if waiting.is_empty() {
            self.ended(provider_ref).await?.into_iter().collect()
        } else {
            Vec::new()
        };
        list::judge(&waiting, &ended, &sought)
    }

    /// The hook belongs to the account, not to the fax, so its URL names none. `data.id` is the id that the order
    /// returned, except for a redial by Fax.Plus, which we turn off; an id that is not ours leads to no Job.
    fn read_webhook(&self, hook: &Hook<'_>, _now: Timestamp) -> Result<Vec<News>, WebhookRefusal> {
        let told: Told = hook.json()?;
        if told.hook.event != "fax_sent" {
            return Ok(Vec::new());
        }
        hook.hint(Some(told.data.id).filter(|id| !id.is_empty()))
    }

    async fn check(&self) -> Result<(), CheckFault> {
        self.http.check::<list::WaitingList>(self.url(&["outbox"]), "token").await
    }
}

/// A webhook, as far as it is read.
#[derive(Deserialize)]
struct Told {
    hook: ToldHook,
    data: ToldFax,
}

#[derive(Deserialize)]
struct ToldHook {
    event: String,
}

#[derive(Deserialize)]
struct ToldFax {
    id: String,
}

/// How a record under `faxes` ends; one that goes on has no business there, and is not taken for an end.
fn status_of(fax: &list::Ended) -> Status {
    const ON_ITS_WAY: &[&str] =
        &["submitted", "converting", "scheduled_for_sending", "sending", "in_progress"];
    if ON_ITS_WAY.contains(&fax.status.as_str()) { Status::Working } else { Status::Ended(report_of(fax)) }
}

fn report_of(fax: &list::Ended) -> Report {
    let delivered = fax.status == "success";
    let outcome = match cause_of(&fax.status) {
        _ if delivered => Outcome::Delivered,
        // The record counts the pages of the document, not those that arrived.
        // Its queue was too full to call at all.
        cause if fax.status == "failed_to_send" => Outcome::of(cause),
        cause => Outcome::of(after_call(cause, None)),
    };
    Report {
        outcome,
        pages_sent: if delivered { fax.pages } else { None },
        remote_id: None,
        seconds: fax.duration,
        raw_code: Some(cut(&fax.status)),
        raw_text: fax.description.as_deref().filter(|text| !text.is_empty()).map(cut),
    }
}

fn cause_of(code: &str) -> Cause {
    CODES.iter().find(|(known, _)| *known == code).map_or(Cause::Unknown, |(_, cause)| *cause)
}

#[cfg(test)]
mod tests;
