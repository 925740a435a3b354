//! The way out: what a fax provider is to the bridge, and what it must promise.
//!
//! A fax costs money, rings a telephone and may show a patient's record to whoever stands at the far end. So the contract
//! of [`Provider`] is mostly about one question: *may the document have left?* Everything an adapter does not know for
//! certain it must call unknown; the worker then asks by reference, and never sends again on a guess.
//!
//! # What `submit` may and may not do
//!
//! The Attempt and its reference are committed before [`Provider::submit`] is called, so it may die at any point and the
//! restarted process can still ask for the reference. In return it
//!
//! * makes **at most one** request that could cause a call. No retry, no redirect, no second URL, no redial by the provider
//!   (adapters set the provider's own retries to the least it allows): each of them is a call that nobody counts;
//! * dials exactly [`Order::number`], once, with exactly the bytes of [`Order::document`], and never changes either;
//! * hands [`Order::reference`] to the provider in a field by which it can be asked for later ([`Provider::find`]), where
//!   the provider has such a field; it never invents another name for it;
//! * where a fax gets its name before the provider acts on it (HylaFAX: `JNEW`, then `JSUBM`), has that name kept
//!   ([`Order::keep`]) in between: then "was it submitted?" has a certain answer, whatever breaks;
//! * streams the document, holds a few chunks of it at most and writes nothing to disk;
//! * has an end: it answers within the configured timeout, whatever the provider does.
//!
//! # The three kinds of [`SubmitError`]
//!
//! | kind | what is certain | what the worker does |
//! | --- | --- | --- |
//! | [`SubmitError::Refused`] | the provider read the order and will not carry it out; nothing was dialled | closes the Attempt with that report |
//! | [`SubmitError::NotSent`] | the provider did not take it (never reached, or it said so) | closes the Attempt; may try again, after `wait` |
//! | [`SubmitError::Unknown`] | nothing | the Job is Unclear; the provider is asked by reference |
//!
//! A connection that could not be opened is `NotSent`. Once one byte of the request may have left, only a well-formed
//! answer of the provider's own API counts as its word, and 401, 402, 403 and 429, which whoever guards its door gives before
//! the order is read: a timeout, a reset, a 500, 502 or 504, an answer that cannot be
//! read, all are `Unknown`, because providers do accept faxes and then fail to say so. No provider offers a proven
//! idempotency key: to submit the same reference twice is to send two faxes.
//!
//! # References
//!
//! The reference is ours (`JOBID-ATTEMPT`, [`crate::job::reference`]), made before the request and new for every Attempt. The
//! *provider reference* is the provider's name for the fax, known only from its answers. [`Provider::find`] leads from the
//! first to the second. [`Search::NotListed`] says that the provider does not list the reference *now*: lists lag, so one
//! absence proves nothing, and [`crate::job::state`] counts it only after a quiet time. [`Search::NeverSent`] is for a
//! provider that can say so for certain.
//!
//! What an answer leaves out says nothing: a fax to the sought number in the sought time is somebody else's only where it carries
//! somebody else's label ([`Sought::whose`]). One without any label may be ours ([`Search::Undecided`]), unless its name is known
//! as that of another Attempt, which the worker looks up.
//!
//! # Webhooks and polling
//!
//! Webhooks come before the answer to the submit, twice, late, out of order, or never. [`Provider::read_webhook`] checks
//! signature and age over the raw bytes and returns the news without judging them; news may name the fax by our reference,
//! by the provider's, or both. A webhook of a provider that does not sign is a hint: its news are
//! [`Status::Working`], whatever stands in it, and the worker asks; a name in it is believed once [`Provider::confirm`] has
//! found what it names. Its URL carries a token that nobody can guess
//! ([`webhook`] checks it before a byte of the body is read) and the reference, so that not even the body is needed.
//! Polling is the backstop for all of them. What is signed is the provider's word: its name for the fax and how it ended are
//! believed as if it had been asked ([`crate::store::Store::note_news`]).
//!
//! # Words
//!
//! Adapters map the provider's codes to [`Cause`] by a table that can be read, keep the raw code and text in the
//! [`Report`], and map what is not in the table to `Cause::Unknown`: never to a cause that is tried again by itself.
//! `detail` of errors is for the operator's log: it holds no number, no name, no token and nothing of the document.

use std::fmt;
use std::io;

use async_trait::async_trait;
use axum::http::HeaderMap;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use jiff::{SignedDuration, Timestamp};
use zeroize::Zeroizing;

use crate::config::{self, Kind};
use crate::job::{Cause, FaxNumber, Report};

pub mod circumstances;
mod door;
pub mod faxplus;
pub mod health;
mod http;
pub mod hylafax;
pub mod interfax;
pub mod media;
pub mod phaxio;
pub mod signalwire;
pub mod simulator;
pub mod sinch;
pub mod srfax;
pub mod telnyx;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
pub mod webhook;
pub mod worker;

/// A fax provider, as configured under one name. The module documentation is its contract.
#[async_trait]
pub trait Provider: Send + Sync {
    /// What it can do.
    fn capabilities(&self) -> Capabilities;

    /// Hands over one fax. `Ok` means that the provider has it and named it; the call itself may come much later.
    ///
    /// # Errors
    /// [`SubmitError`] says whether the fax certainly did not leave. Dropping the future leaves that unknown.
    async fn submit(&self, order: Order<'_>) -> Result<Taken, SubmitError>;

    /// Asks how the fax stands that the provider calls `provider_ref`.
    ///
    /// # Errors
    /// [`AskError`] when no trustworthy answer came; nothing is known then.
    async fn status(&self, provider_ref: &str) -> Result<Status, AskError>;

    /// Asks for the fax that was submitted with our reference. Where the provider lists several, the one that went furthest.
    ///
    /// # Errors
    /// [`AskError::Unsupported`] without [`Capabilities::finds_by_reference`], others when no trustworthy answer came.
    async fn find(&self, sought: Sought<'_>) -> Result<Search, AskError> {
        let _ = sought;
        Err(AskError::Unsupported)
    }

    /// Asks whether the fax that the provider calls `provider_ref` is the sought one, as an unsigned webhook says.
    /// [`Search::Undecided`] where number and time fit and nothing says whose it is, [`Search::NotListed`] where something
    /// contradicts it.
    ///
    /// # Errors
    /// [`AskError::Unsupported`] where no unsigned webhook brings names, others when no trustworthy answer came.
    async fn confirm(&self, provider_ref: &str, sought: Sought<'_>) -> Result<Search, AskError> {
        let _ = (provider_ref, sought);
        Err(AskError::Unsupported)
    }

    /// The faxes from our number to the sought one since then, whoever ordered them, for a person who has to decide. Only a
    /// provider that cannot be asked by reference needs this.
    ///
    /// # Errors
    /// [`AskError::Unsupported`] where it does not, others when no trustworthy answer came.
    async fn look_alikes(
        &self,
        caller: Option<&str>,
        sought: Sought<'_>,
    ) -> Result<Vec<LookAlike>, AskError> {
        let _ = (caller, sought);
        Err(AskError::Unsupported)
    }

    /// Asks the provider not to send the fax.
    ///
    /// # Errors
    /// [`AskError::Unsupported`] without [`Capabilities::cancels`], others when no trustworthy answer came.
    async fn cancel(&self, provider_ref: &str) -> Result<Cancelled, AskError> {
        let _ = provider_ref;
        Err(AskError::Unsupported)
    }

    /// Deletes the provider's copy of the document. Gone already is `Ok`, so it can be repeated.
    ///
    /// # Errors
    /// [`AskError::Unsupported`] without [`Capabilities::deletes`], others when the provider did not confirm it.
    async fn delete(&self, provider_ref: &str) -> Result<(), AskError> {
        let _ = provider_ref;
        Err(AskError::Unsupported)
    }

    /// Checks a webhook's signature and age, and reads its news. Does no I/O; `now` is the arrival.
    ///
    /// # Errors
    /// [`WebhookRefusal`] for what is not certainly the provider's and fresh; the caller answers 4xx and forgets it.
    fn read_webhook(&self, hook: &Hook<'_>, now: Timestamp) -> Result<Vec<News>, WebhookRefusal>;

    /// Signs in and asks for something that costs nothing, for `faxbridge check`.
    ///
    /// # Errors
    /// [`CheckFault`] with the setting that the operator has to mend.
    async fn check(&self) -> Result<(), CheckFault>;
}

/// Keeps the provider's name for a fax of which nothing has been sent yet.
pub trait Keep: Send + Sync {
    /// Returns once `provider_ref` is on disk.
    ///
    /// # Errors
    /// Why it is not; the adapter then must not go on.
    fn keep<'a>(&'a self, provider_ref: &'a str) -> BoxFuture<'a, Result<(), String>>;
}

/// What a provider can do. What it cannot is left out of the worker's plans, not tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities {
    /// [`Provider::find`] works.
    pub finds_by_reference: bool,
    /// [`Provider::cancel`] works.
    pub cancels: bool,
    /// [`Provider::delete`] works.
    pub deletes: bool,
    /// Reports tell the far end's identity (CSID).
    pub reports_remote_id: bool,
    /// Reports tell how many pages arrived.
    pub reports_pages: bool,
    /// Who prints the header line with sender and time (47 CFR 68.318(d)).
    pub header: HeaderLine,
    /// It fetches the document from us ([`Order::media_url`]) and takes no upload.
    pub fetches: bool,
    /// Webhooks are signed; without, they are hints only.
    pub signs_webhooks: bool,
    /// Pages of one fax, where there is a limit.
    pub max_pages: Option<u32>,
    /// Bytes of one document, where there is a limit.
    pub max_bytes: Option<u64>,
}

impl Capabilities {
    /// A provider that takes uploads and can do nothing else.
    pub const LEAST: Capabilities = Capabilities {
        finds_by_reference: false,
        cancels: false,
        deletes: false,
        reports_remote_id: false,
        reports_pages: false,
        header: HeaderLine::Cover,
        fetches: false,
        signs_webhooks: false,
        max_pages: None,
        max_bytes: None,
    };
}

/// Who prints the line with date, time, sender and number that each fax must carry (47 CFR 68.318(d)): in the margin of
/// every page, or on the first one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderLine {
    /// The provider, on every page, with the text that the adapter gives it or that is set in the account.
    Provider,
    /// Nobody but us: the cover, which is the first page, carries it.
    Cover,
}

/// The bytes of a document as they come out of the sealed spool. An error in it ends the request.
pub type Document = BoxStream<'static, io::Result<Bytes>>;

/// One fax to hand over.
pub struct Order<'a> {
    /// Our name for this Attempt.
    pub reference: &'a str,
    /// The number to dial.
    pub number: &'a FaxNumber,
    /// Pages of the document, cover included.
    pub pages: u32,
    /// Length of the document in bytes; [`Order::document`] yields exactly that many.
    pub bytes: u64,
    /// SHA-256 of the document, as lower-case hex digits.
    pub sha256: &'a str,
    /// The document, a PDF.
    pub document: Document,
    /// Where the provider can fetch the document, once; set where [`Capabilities::fetches`] says so.
    pub media_url: Option<&'a str>,
    /// Where the provider is to report, if anywhere. Ends in a query with the reference.
    pub webhook_url: Option<&'a str>,
    /// The number we call from (E.164), where the provider takes one.
    pub caller: Option<&'a str>,
    /// Who sends, for the header line of providers that print one.
    pub header: &'a str,
    /// The zone of the times in it, as `America/New_York`.
    pub time_zone: &'a str,
    /// Has the provider's name for the fax kept, where there is one before anything is sent.
    pub keep: &'a dyn Keep,
}

impl fmt::Debug for Order<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Order")
            .field("reference", &self.reference)
            .field("number", &format_args!("...{}", self.number.tail()))
            .field("pages", &self.pages)
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

/// The provider has the fax.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// Its name for it.
    pub provider_ref: String,
}

/// Why a submit did not end in [`Taken`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// The provider will not carry out this order. Certainly not sent.
    #[error("refused by the provider: {}", .0.raw_text.as_deref().or(.0.raw_code.as_deref()).unwrap_or("no reason given"))]
    Refused(Report),
    /// The provider did not take it. Certainly not sent.
    #[error("not sent: {detail}")]
    NotSent {
        /// What stood in the way: `RateLimited`, `ProviderTrouble` or `AccountTrouble`.
        cause: Cause,
        /// How long the provider asked us to wait, if it did.
        wait: Option<SignedDuration>,
        /// For the operator's log.
        detail: String,
    },
    /// The request may have left and no trustworthy answer came. It may have been sent.
    #[error("no trustworthy answer: {detail}")]
    Unknown {
        /// For the operator's log.
        detail: String,
    },
}

/// How a fax stands at the provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// Waiting, dialling or sending.
    Working,
    /// It ended so. Final: a provider that says otherwise later is not believed.
    Ended(Report),
    /// The provider says that it has no such fax.
    NotThere,
}

/// A fax that we ask for by our reference.
#[derive(Debug, Clone, Copy)]
pub struct Sought<'a> {
    /// Our name for the Attempt.
    pub reference: &'a str,
    /// The provider's name for it, where one was kept ([`Order::keep`]) before anything was sent.
    pub kept: Option<&'a str>,
    /// The number that was to be dialled.
    pub number: &'a FaxNumber,
    /// When the Attempt was opened, by our clock.
    pub since: Timestamp,
    /// The store may have forgotten Attempts that it made since then: of faxes that are labelled in our way, only the sought one
    /// and those that the store knows are told apart.
    pub forgotten: bool,
}

/// How far a provider's clock and ours may be apart.
const CLOCKS_APART: SignedDuration = SignedDuration::from_mins(10);

/// Whose fax it is, by its label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// The sought one.
    Ours,
    /// Somebody else's: its label contradicts us.
    Another,
    /// It does not say.
    Silent,
}

impl Sought<'_> {
    /// Whose fax it is that carries `label`.
    #[must_use]
    pub fn whose(&self, label: Option<&str>) -> Whose {
        match label.map(str::trim).filter(|label| !label.is_empty()) {
            None => Whose::Silent,
            Some(label) if label == self.reference => Whose::Ours,
            Some(label) if self.forgotten && crate::job::from_reference(label).is_some() => Whose::Silent,
            Some(_) => Whose::Another,
        }
    }

    /// From when on, by whosever clock, the fax can have been made.
    #[must_use]
    pub fn earliest(&self) -> Timestamp {
        self.since.checked_sub(CLOCKS_APART).unwrap_or(Timestamp::MIN)
    }
}

/// What a search by reference came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Search {
    /// The provider has it.
    Found(Found),
    /// The provider does not list it now. It may yet.
    NotListed,
    /// It lists faxes to that number in that time without saying whose they are: these, by the provider's names for them.
    Undecided(Vec<String>),
    /// The provider has certainly not taken it, and will not.
    NeverSent,
}

/// A fax found by our reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The provider's name for it.
    pub provider_ref: String,
    /// How it stands; never [`Status::NotThere`].
    pub status: Status,
}

impl Search {
    /// What a list shows that does not show the sought fax: nothing, or faxes that do not say whose they are.
    #[must_use]
    pub fn unless_silent(silent: Vec<String>) -> Search {
        if silent.is_empty() { Search::NotListed } else { Search::Undecided(silent) }
    }
}

/// A fax that a person may know again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookAlike {
    /// The provider's name for it.
    pub provider_ref: String,
    /// When it was ordered, as the provider writes it.
    pub made: Option<String>,
    /// How it stands, in the provider's word.
    pub status: String,
    /// Its pages, as the provider counts them.
    pub pages: Option<u32>,
}

/// What came of the wish to cancel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelled {
    /// It will certainly not be sent.
    Stopped,
    /// The provider noted the wish; the status will tell whether it came in time.
    Asked,
    /// Too late: it is being sent or has ended.
    TooLate,
    /// The provider says that it has no such fax.
    NotThere,
}

/// A webhook as it came in.
#[derive(Debug, Clone, Copy)]
pub struct Hook<'a> {
    /// The URL that was called, as the provider was given it: public name, path and query.
    pub url: &'a str,
    /// The reference in that URL's query.
    pub reference: Option<&'a str>,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// The raw bytes.
    pub body: &'a [u8],
}

impl Hook<'_> {
    /// The news of a provider that does not sign: that there are some about the fax that the URL or `provider_ref` names.
    ///
    /// # Errors
    /// [`WebhookRefusal::Malformed`] where neither names one.
    pub fn hint(&self, provider_ref: Option<String>) -> Result<Vec<News>, WebhookRefusal> {
        let reference = self.reference.map(str::to_owned);
        if reference.is_none() && provider_ref.is_none() {
            return Err(WebhookRefusal::Malformed("it names no fax".into()));
        }
        Ok(vec![News { provider_ref, reference, status: Status::Working }])
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// [`WebhookRefusal::Malformed`] with where and how it is not what it should be.
    fn json<T: serde::de::DeserializeOwned>(&self) -> Result<T, WebhookRefusal> {
        serde_json::from_slice(self.body).map_err(|error| WebhookRefusal::Malformed(http::place(&error)))
    }
}

/// News of one fax, as a webhook brings them. At least one of the two names is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct News {
    /// The provider's name for it.
    pub provider_ref: Option<String>,
    /// Our name for the Attempt.
    pub reference: Option<String>,
    /// How it stands.
    pub status: Status,
}

/// Why a question got no trustworthy answer. Nothing is known about the fax then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// No connection, no answer in time, or an answer that promises better luck later.
    #[error("the provider did not answer: {detail}")]
    NoAnswer {
        /// For the operator's log.
        detail: String,
    },
    /// The provider does not let us in: token or balance.
    #[error("the provider does not let us in: {detail}")]
    Account {
        /// For the operator's log.
        detail: String,
    },
    /// An answer that is not of the provider's API: a wrong URL, a proxy, a changed interface.
    #[error("the answer cannot be understood: {detail}")]
    Nonsense {
        /// For the operator's log.
        detail: String,
    },
    /// The provider has no such question.
    #[error("this provider cannot be asked that")]
    Unsupported,
}

/// What keeps a provider from working with these settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{sentence}")]
pub struct CheckFault {
    /// The key of the provider's section that is to be mended, as `token`.
    pub key: &'static str,
    /// What is wrong and what to do.
    pub sentence: String,
}

impl CheckFault {
    /// `error` as a fault of `credential` where the provider does not let us in, else of `url`.
    #[must_use]
    pub fn of(error: &AskError, credential: &'static str) -> Self {
        let key = if matches!(error, AskError::Account { .. }) { credential } else { "url" };
        CheckFault { key, sentence: error.to_string() }
    }
}

/// Why a webhook is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WebhookRefusal {
    /// No `webhook_key` is configured for this provider, so nothing can be checked.
    #[error("no webhook key is configured for this provider")]
    NoKey,
    /// There is no signature, or it cannot be read.
    #[error("the webhook is not signed as it should be")]
    Unsigned,
    /// The signature is not that of these bytes.
    #[error("the webhook's signature is wrong")]
    WrongSignature,
    /// Signed properly, but too long ago (or ahead): a replay, or a clock that is wrong.
    #[error("the webhook was signed {seconds} s from now, more than the {allowed} s allowed")]
    Stale {
        /// Age in seconds; negative when it lies ahead.
        seconds: i64,
        /// The window.
        allowed: i64,
    },
    /// Signed properly, but the contents make no sense.
    #[error("the webhook cannot be read: {0}")]
    Malformed(String),
}

/// The secrets of one provider, read from where the configuration points.
#[derive(Clone, Default)]
pub struct Secrets {
    /// Bearer token, without white space around it.
    pub token: Zeroizing<String>,
    /// Password that goes with `login` or `account`.
    pub password: Zeroizing<String>,
    /// Key of the webhooks' signatures.
    pub webhook_key: Option<Zeroizing<Vec<u8>>>,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets(..)")
    }
}

/// A provider's section that no adapter can be made from.
#[derive(Debug, thiserror::Error)]
#[error("{fault}")]
pub struct BuildError {
    /// The provider's name in the configuration.
    pub name: String,
    /// What is wrong, beginning with the key.
    pub fault: String,
}

/// The adapter for the provider that the configuration calls `name`.
///
/// # Errors
/// [`BuildError`] when the URL is none or a secret cannot travel in a header.
pub fn build(
    name: &str,
    section: &config::Provider,
    secrets: &Secrets,
) -> Result<Box<dyn Provider>, BuildError> {
    let made = match &section.kind {
        Kind::Simulator(_) => simulator::Simulator::new(section, secrets).map(boxed),
        Kind::Sinch(keys) => sinch::Sinch::new(section, keys, secrets).map(boxed),
        Kind::Telnyx(keys) => telnyx::Telnyx::new(section, keys, secrets).map(boxed),
        Kind::Phaxio(keys) => phaxio::Phaxio::new(section, keys, secrets).map(boxed),
        Kind::Interfax(keys) => interfax::Interfax::new(name, section, keys, secrets).map(boxed),
        Kind::Faxplus(keys) => faxplus::Faxplus::new(section, keys, secrets).map(boxed),
        Kind::Srfax(keys) => srfax::Srfax::new(section, keys, secrets).map(boxed),
        Kind::Signalwire(keys) => signalwire::Signalwire::new(section, keys, secrets).map(boxed),
        Kind::Hylafax(keys) => hylafax::Hylafax::new(section, keys, secrets).map(boxed),
    };
    made.map_err(|fault| BuildError { name: name.to_owned(), fault })
}

fn boxed<P: Provider + 'static>(provider: P) -> Box<dyn Provider> {
    Box::new(provider)
}
