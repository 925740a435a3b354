//! The adapter for Telnyx Programmable Fax, API v2 (developers.telnyx.com: `programmable-fax/send-a-fax-api`,
//! `sending-commands`, `receiving-webhooks`; support article 4967498, "Fax API - Error List").
//!
//! Telnyx takes uploads too, but those carry neither our reference nor a webhook URL. So the order is JSON with
//! [`Order::media_url`], where Telnyx fetches the document once it has taken the fax. Our reference travels as `client_state`
//! (base64), which comes back in the fax and in every webhook; a list cannot be asked for it, so [`Provider::find`] reads the
//! faxes to that number since the Attempt began and picks ours out. The field is optional in the vendor's description: a fax of
//! that number and time that shows none may be ours.
//!
//! What Telnyx does not tell: pages and duration stand in the signed webhook `fax.delivered` only (`telnyx::wire`), never in
//! the fax itself; how far a broken transmission came stands nowhere, so none of those is tried again by itself. It prints no
//! header line: the cover carries it. It never redials by itself.

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use reqwest::{Method, StatusCode};
use serde_json::json;

use super::http::{Dialect, Http, HttpAnswer, bearer, nonsense, not_sent, unknown};
use super::{
    AskError, Cancelled, Capabilities, CheckFault, Found, Hook, News, Order, Provider, Search, Secrets,
    Sought, Status, SubmitError, Taken, WebhookRefusal, Whose,
};
use crate::config::{self, kinds};
use crate::job::Cause;
use signature::PublicKey;
use wire::{Fax, FaxList, FaxOne, error_of};

mod codes;
mod signature;
mod wire;

/// Faxes on one page of a list, and pages that are read at most: far more than one number gets in an hour.
const PAGE: usize = 100;
const PAGES: usize = 10;

const DIALECT: Dialect =
    Dialect { word: |answer| error_of(answer).map(|error| (error.code(), error.text())), no_such_fax: None };

/// An account with Telnyx.
pub struct Telnyx {
    http: Http,
    /// Id of the Fax Application, which holds the outbound voice profile.
    connection: String,
    webhook_key: Option<PublicKey>,
}

impl Telnyx {
    /// The adapter for the account that `keys` name: `account` is the `connection_id`, `webhook_key` the account's public key.
    ///
    /// # Errors
    /// A sentence that begins with the key at fault.
    pub fn new(provider: &config::Provider, keys: &kinds::Telnyx, secrets: &Secrets) -> Result<Self, String> {
        Ok(Telnyx {
            http: Http::new(provider, Some(bearer(&secrets.token)?), DIALECT)?,
            connection: keys.account.clone(),
            webhook_key: secrets.webhook_key.as_ref().map(|text| PublicKey::read(text)).transpose()?,
        })
    }

    /// One page of the faxes to the sought number.
    async fn page(&self, sought: &Sought<'_>, number: usize) -> Result<FaxList, AskError> {
        let since = sought.earliest();
        let mut url = self.http.url(&["v2", "faxes"]);
        url.query_pairs_mut()
            .append_pair("filter[created_at][gte]", &since.to_string())
            .append_pair("filter[to][eq]", sought.number.as_str())
            .append_pair("filter[direction][eq]", "outbound")
            .append_pair("page[size]", &PAGE.to_string())
            .append_pair("page[number]", &number.to_string());
        self.http.ask(Method::GET, url).await?.understood()
    }
}

#[async_trait]
impl Provider for Telnyx {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            finds_by_reference: true,
            cancels: true,
            deletes: true,
            // By the webhook, where that can be believed.
            reports_pages: self.webhook_key.is_some(),
            fetches: true,
            signs_webhooks: self.webhook_key.is_some(),
            max_pages: Some(350),
            max_bytes: Some(50_000_000),
            ..Capabilities::LEAST
        }
    }

    async fn submit(&self, order: Order<'_>) -> Result<Taken, SubmitError> {
        let Some(media_url) = order.media_url else {
            let detail = "Telnyx fetches documents: it needs a section [media] where it can";
            return Err(not_sent(Cause::ProviderTrouble, None, detail));
        };
        let Some(caller) = order.caller else {
            return Err(not_sent(Cause::AccountTrouble, None, "Telnyx needs the number we call from"));
        };
        let client_state = STANDARD.encode(order.reference);
        let mut body = json!({
            "connection_id": self.connection,
            "to": order.number.as_str(),
            "from": caller,
            "media_url": media_url,
            "quality": "high",
            "store_media": false,
            "client_state": client_state,
        });
        if let (Some(url), Some(body)) = (order.webhook_url, body.as_object_mut()) {
            body.insert("webhook_url".into(), json!(url));
        }
        let request = self.http.order(self.http.url(&["v2", "faxes"])).json(&body);
        judge_submit(&self.http.submit(request, None).await?, &client_state)
    }

    async fn status(&self, provider_ref: &str) -> Result<Status, AskError> {
        let url = self.http.url(&["v2", "faxes", provider_ref]);
        let fax = self.http.fax(url, |one: &FaxOne| one.data.id == provider_ref).await?;
        Ok(fax.map_or(Status::NotThere, |one| one.data.standing()))
    }

    async fn find(&self, sought: Sought<'_>) -> Result<Search, AskError> {
        let (mut ours, mut silent): (Vec<Fax>, Vec<String>) = (Vec::new(), Vec::new());
        for number in 1..=PAGES {
            let list = self.page(&sought, number).await?;
            let last = list.data.is_empty() || list.pages().is_some_and(|pages| pages <= number);
            for fax in list.data {
                match fax.whose(&sought) {
                    Whose::Ours => ours.push(fax),
                    Whose::Silent => silent.push(fax.id),
                    Whose::Another => {}
                }
            }
            if last {
                return furthest(ours, silent);
            }
        }
        // Ours may stand on a page that was not read.
        if ours.is_empty() {
            return Err(nonsense(format!("more than {PAGES} pages of faxes to one number")));
        }
        furthest(ours, silent)
    }

    async fn cancel(&self, provider_ref: &str) -> Result<Cancelled, AskError> {
        let url = self.http.url(&["v2", "faxes", provider_ref, "actions", "cancel"]);
        let answer = self.http.ask(Method::POST, url).await?;
        match answer.status {
            // "Accepted": the fax may go out all the same.
            StatusCode::ACCEPTED => Ok(Cancelled::Asked),
            StatusCode::UNPROCESSABLE_ENTITY
                if error_of(&answer).is_some() || answer.bare_refusal().is_some() =>
            {
                Ok(Cancelled::TooLate)
            }
            _ if DIALECT.says_not_there(&answer) => Ok(Cancelled::NotThere),
            _ => Err(DIALECT.nonsense(&answer)),
        }
    }

    async fn delete(&self, provider_ref: &str) -> Result<(), AskError> {
        self.http.delete(self.http.url(&["v2", "faxes", provider_ref])).await
    }

    fn read_webhook(&self, hook: &Hook<'_>, now: Timestamp) -> Result<Vec<News>, WebhookRefusal> {
        let key = self.webhook_key.as_ref().ok_or(WebhookRefusal::NoKey)?;
        key.verify(hook.headers, hook.body, now)?;
        wire::read_event(hook.body)
    }

    /// A list of one fax. Nothing that costs nothing names the Fax Application, so a wrong `account` shows at the first fax.
    async fn check(&self) -> Result<(), CheckFault> {
        let mut url = self.http.url(&["v2", "faxes"]);
        url.query_pairs_mut().append_pair("page[size]", "1");
        self.http.check::<FaxList>(url, "token").await
    }
}

/// One Attempt is one submit, so there should be one. If not, the one that counts is what may be in a tray.
/// `silent` are names of faxes that may be it all the same.
fn furthest(faxes: Vec<Fax>, silent: Vec<String>) -> Result<Search, AskError> {
    let Some(fax) = faxes.into_iter().min_by_key(Fax::distance) else {
        return Ok(Search::unless_silent(silent));
    };
    if fax.id.is_empty() {
        return Err(nonsense("the list holds a fax without id"));
    }
    Ok(Search::Found(Found { status: fax.standing(), provider_ref: fax.id }))
}

/// What the answer to a submit says about the one question: may it have left?
fn judge_submit(answer: &HttpAnswer, client_state: &str) -> Result<Taken, SubmitError> {
    if answer.status.is_success() {
        let FaxOne { data: fax } = answer.json().map_err(unknown)?;
        return if fax.id.is_empty() || fax.is_anothers(client_state) {
            Err(unknown("the answer is about another fax"))
        } else {
            Ok(Taken { provider_ref: fax.id })
        };
    }
    let error = error_of(answer);
    let cause = error.as_ref().map_or(Cause::Unknown, |error| codes::cause_of_field(error.field()));
    if cause == Cause::AccountTrouble && answer.status.is_client_error() {
        return Err(not_sent(cause, answer.wait(), &DIALECT.describe(answer)));
    }
    let word = error.map(|error| (error.code(), error.text())).or_else(|| answer.bare_refusal());
    Err(answer.refused(word, cause))
}

#[cfg(test)]
mod tests;
