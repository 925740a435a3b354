//! What the tests of the adapters share: an adapter made from a section of the configuration, a
//! place where webhooks arrive, and words for what came of it. Beside it, in `stage`, a living
//! simulator and the stories that every adapter goes through.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use aws_lc_rs::digest;
use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::post;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{StreamExt, stream};
use jiff::Timestamp;
use lopdf::dictionary;
use reqwest::multipart;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use zeroize::Zeroizing;

use super::http::HttpAnswer;
use super::phaxio::form;
use super::{
    AskError, Hook, Keep, Order, Provider, Search, Secrets, Sought, Status, SubmitError, Taken,
    WebhookRefusal, build,
};
use crate::clock::{Clock, SystemClock};
use crate::config;
use crate::job::{Cause, FaxNumber};
use crate::simulator::telnyx_public_key;

mod stage;
mod table;

pub(super) use stage::{Account, Stage};
pub(super) use table::Row;

/// Token and password of every account at the simulator.
pub(super) const TOKEN: &str = "token-of-the-test";
/// The key of its webhooks.
pub(super) const KEY: &[u8] = b"key-of-the-test";
/// A reference of ours.
pub(super) const REFERENCE: &str = "0123456789abcdef-1";
/// The number we call from.
pub(super) const CALLER: &str = "+12125550101";

/// A PDF with that many pages.
pub(super) fn pdf(pages: u32) -> Vec<u8> {
    let mut document = lopdf::Document::with_version("1.5");
    let tree = document.new_object_id();
    let kids: Vec<lopdf::Object> = (0..pages)
        .map(|_| {
            let page = dictionary! {
                "Type" => "Page", "Parent" => tree,
                "MediaBox" => vec![0.into(), 0.into(), 612.into(), 792.into()],
            };
            document.add_object(page).into()
        })
        .collect();
    let count = i64::from(pages);
    document.objects.insert(
        tree,
        lopdf::Object::Dictionary(dictionary! { "Type" => "Pages", "Kids" => kids, "Count" => count }),
    );
    let catalog = document.add_object(dictionary! { "Type" => "Catalog", "Pages" => tree });
    document.trailer.set("Root", catalog);
    let mut bytes = Vec::new();
    document.save_to(&mut bytes).unwrap();
    bytes
}

pub(super) fn hex_digest(bytes: &[u8]) -> String {
    crate::text::hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

/// The section of a provider, from its keys in TOML.
pub(super) fn section(keys: &str) -> config::Provider {
    toml::from_str(keys).unwrap()
}

/// The adapter for the account in a section of these `keys`, which shows `token` as its token and
/// password.
pub(super) fn adapter(keys: &str, token: &str) -> Result<Box<dyn Provider>, super::BuildError> {
    let section = section(keys);
    let webhook_key = match section.kind {
        config::Kind::Telnyx(_) => telnyx_public_key(KEY).into_bytes(),
        _ => KEY.to_vec(),
    };
    let secrets = Secrets {
        token: Zeroizing::new(token.to_owned()),
        password: Zeroizing::new(token.to_owned()),
        webhook_key: Some(Zeroizing::new(webhook_key)),
    };
    build("sim", &section, &secrets)
}

/// Remembers what it was told to keep.
#[derive(Default)]
pub(super) struct Kept(pub(super) Mutex<Vec<String>>);

impl Keep for Kept {
    fn keep<'a>(&'a self, provider_ref: &'a str) -> BoxFuture<'a, Result<(), String>> {
        self.0.lock().unwrap().push(provider_ref.to_owned());
        Box::pin(std::future::ready(Ok(())))
    }
}

/// What an order says, but for its document.
pub(super) struct Slip<'a> {
    pub(super) number: FaxNumber,
    pub(super) reference: &'a str,
    pub(super) hook: Option<&'a str>,
    pub(super) media: Option<&'a str>,
    pub(super) sha256: String,
    pub(super) bytes: u64,
    pub(super) kept: Kept,
}

impl<'a> Slip<'a> {
    pub(super) fn new(number: &str, reference: &'a str, document: &[u8]) -> Slip<'a> {
        Slip {
            number: FaxNumber::from_e164(number).unwrap(),
            reference,
            hook: None,
            media: None,
            sha256: hex_digest(document),
            bytes: document.len() as u64,
            kept: Kept::default(),
        }
    }

    /// The order, whose document comes in these pieces.
    pub(super) fn order(
        &self,
        pieces: impl futures_util::Stream<Item = std::io::Result<Bytes>> + Send + 'static,
    ) -> Order<'_> {
        Order {
            reference: self.reference,
            number: &self.number,
            pages: 3,
            bytes: self.bytes,
            sha256: &self.sha256,
            document: pieces.boxed(),
            media_url: self.media,
            webhook_url: self.hook,
            caller: Some(CALLER),
            header: "Lakeside Family Clinic",
            time_zone: "America/Chicago",
            keep: &self.kept,
        }
    }
}

/// Hands `document` over in pieces of a thousand bytes.
pub(super) async fn send(
    adapter: &dyn Provider,
    number: &str,
    reference: &str,
    document: &[u8],
    hook: Option<&str>,
) -> Result<Taken, SubmitError> {
    let pieces: Vec<_> = document.chunks(1000).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    let slip = Slip { hook, ..Slip::new(number, reference, document) };
    adapter.submit(slip.order(stream::iter(pieces))).await
}

/// Asks for the fax with that reference.
pub(super) async fn find(adapter: &dyn Provider, reference: &str, number: &str) -> Result<Search, AskError> {
    let number = FaxNumber::from_e164(number).unwrap();
    let since = SystemClock.now() - jiff::SignedDuration::from_mins(1);
    adapter.find(Sought { reference, kept: None, number: &number, since, forgotten: false }).await
}

/// A webhook as it arrived: path and query, headers, body.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) url: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Arrived {
    /// As the adapter gets it from the listener.
    pub(super) fn hook(&self) -> Hook<'_> {
        let reference = self.url.split_once("ref=").map(|(_, rest)| rest.split('&').next().unwrap_or(rest));
        Hook { url: &self.url, reference, headers: &self.headers, body: &self.body }
    }
}

pub(super) type Inbox = mpsc::UnboundedReceiver<Arrived>;

/// A place where webhooks arrive, with its URL; answers 500 to the first `refusals`.
pub(super) async fn receiver(refusals: u32) -> (String, Inbox) {
    let (sender, inbox) = mpsc::unbounded_channel();
    let left = Arc::new(AtomicU32::new(refusals));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let url = format!("{base}/hook");
    let router = Router::new()
        .route(
            "/hook",
            post(
                async |State((sender, left, base)): State<(mpsc::UnboundedSender<_>, Arc<_>, String)>,
                       uri: axum::http::Uri,
                       headers: HeaderMap,
                       body: Bytes| {
                    let left: Arc<AtomicU32> = left;
                    if left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok() {
                        return axum::http::StatusCode::INTERNAL_SERVER_ERROR;
                    }
                    let _ = sender.send(Arrived { url: format!("{base}{uri}"), headers, body });
                    axum::http::StatusCode::OK
                },
            ),
        )
        .layer(axum::extract::DefaultBodyLimit::disable())
        .with_state((sender, left, base));
    tokio::spawn(axum::serve(listener, router).into_future());
    (url, inbox)
}

/// What a submit came to, in a word.
pub(super) fn word(result: &Result<Taken, SubmitError>) -> String {
    match result {
        Ok(_) => "taken".into(),
        Err(SubmitError::Refused(report)) => format!("refused {}", report.outcome.cause().unwrap()),
        Err(SubmitError::NotSent { cause, wait, .. }) => {
            format!("not sent {cause}{}", wait.map_or(String::new(), |wait| format!(" {}s", wait.as_secs())))
        }
        Err(SubmitError::Unknown { .. }) => "unknown".into(),
    }
}

/// How a fax stands, in a word.
pub(super) fn end_word(status: &Status) -> String {
    match status {
        Status::Working => "working".into(),
        Status::NotThere => "not there".into(),
        Status::Ended(report) => {
            let cause = report.outcome.cause().map_or(String::new(), |cause| format!(" {cause}"));
            format!("{}{cause} {}", report.outcome.as_str(), report.pages_sent.unwrap_or(0))
        }
    }
}

/// What a search came to, in words.
pub(super) fn searched(search: &Result<Search, AskError>) -> String {
    match search {
        Ok(Search::Found(found)) => format!("{} {}", found.provider_ref, end_word(&found.status)),
        Ok(Search::NotListed) => "not listed".into(),
        Ok(Search::NeverSent) => "never sent".into(),
        Ok(Search::Undecided(silent)) => format!("may be {}", silent.join(" ")),
        Err(AskError::Nonsense { .. }) => "cannot tell".into(),
        Err(other) => format!("{other:?}"),
    }
}

/// This moment.
pub(super) fn now() -> Timestamp {
    SystemClock.now()
}

/// The lines of a fact table (`fixtures/providers/`): two columns of the provider's own, and the
/// class.
pub(super) fn sheet(text: &str) -> Vec<[&str; 3]> {
    text.lines().skip(1).map(|line| line.split(',').collect::<Vec<_>>().try_into().unwrap()).collect()
}

/// The cause that stands for a class of the fact tables (`fixtures/providers/`), before pages are
/// looked at.
pub(super) fn cause_of_class(class: &str) -> Cause {
    match class {
        "busy" => Cause::Busy,
        "no_answer" => Cause::NoAnswer,
        "voice" => Cause::Voice,
        "not_a_fax" => Cause::NotAFax,
        "invalid_number" => Cause::NotInService,
        "blocked" => Cause::Blocked,
        "transmission_error" => Cause::LineTrouble,
        "partly_sent" => Cause::PartlySent,
        "document_rejected" => Cause::DocumentRefused,
        "provider_unavailable" => Cause::ProviderTrouble,
        "rate_limited" => Cause::RateLimited,
        "auth_or_balance" => Cause::AccountTrouble,
        "cancelled" => Cause::Cancelled,
        "unknown" => Cause::Unknown,
        other => panic!("{other:?} is no class"),
    }
}

/// A server that gives these answers in turn, the last of them for ever, and what it was asked:
/// `METHOD PATH?QUERY`, headers, body.
pub(super) async fn tap(status: u16, bodies: &[&str]) -> (String, Inbox) {
    let (sender, inbox) = mpsc::unbounded_channel();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let status = axum::http::StatusCode::from_u16(status).unwrap();
    let answers: Vec<String> = bodies.iter().map(ToString::to_string).collect();
    let asked = Arc::new(AtomicUsize::new(0));
    let router = Router::new()
        .fallback(
            async move |method: axum::http::Method, uri: axum::http::Uri, headers: HeaderMap, body: Bytes| {
                let _ = sender.send(Arrived { url: format!("{method} {uri}"), headers, body });
                let index = asked.fetch_add(1, Ordering::SeqCst).min(answers.len() - 1);
                (status, answers[index].clone())
            },
        )
        .layer(axum::extract::DefaultBodyLimit::disable());
    tokio::spawn(axum::serve(listener, router).into_future());
    (url, inbox)
}

/// Answers to a submit: status, `Retry-After`, body; and the word that `judge` has to find for
/// each.
pub(super) fn judged(
    table: &[(u16, Option<i64>, &str, &str)],
    judge: impl Fn(&HttpAnswer) -> Result<Taken, SubmitError>,
) {
    for (status, wait, body, expected) in table {
        let answer = HttpAnswer {
            status: reqwest::StatusCode::from_u16(*status).unwrap(),
            headers: wait.map(|seconds| (reqwest::header::RETRY_AFTER, seconds.into())).into_iter().collect(),
            body: body.as_bytes().to_vec(),
        };
        assert_eq!(word(&judge(&answer)), *expected, "{status} {body}");
    }
}

/// The fields of a form as it arrived, and its only file, which stands last: name and bytes.
pub(super) fn form_of(arrived: &Arrived) -> (HashMap<&str, &str>, (&str, &[u8])) {
    assert!(arrived.headers.contains_key("content-length"), "it is not sent in chunks");
    let mut parts = form::parts(&arrived.headers, &arrived.body).unwrap();
    let file = parts.pop().filter(|part| part.is_file).unwrap();
    assert!(parts.iter().all(|part| !part.is_file));
    let fields = parts.iter().map(|part| (part.name, std::str::from_utf8(part.value).unwrap()));
    (fields.collect(), (file.name, file.value))
}

/// A form with these fields, posted to the face of a provider as a client of its own making.
pub(super) fn posted<N: Into<Cow<'static, str>>>(
    url: &str,
    fields: Vec<(N, String)>,
    file: Option<multipart::Part>,
) -> reqwest::RequestBuilder {
    let form = fields.into_iter().fold(multipart::Form::new(), |form, (name, value)| form.text(name, value));
    let form = match file {
        Some(file) => form.part("file", file),
        None => form,
    };
    reqwest::Client::new().post(url).basic_auth("key", Some(TOKEN)).multipart(form)
}

/// A webhook whose signature has a time in it is believed unchanged and soon, and never else.
pub(super) fn only_signed_and_soon(adapter: &dyn Provider, arrived: &Arrived, now: Timestamp) {
    let refusal = |hook: &Hook<'_>, now| adapter.read_webhook(hook, now).unwrap_err();
    let bare = Hook { headers: &HeaderMap::new(), ..arrived.hook() };
    assert_eq!(refusal(&bare, now), WebhookRefusal::Unsigned);
    let forged = [&arrived.body[..], b" "].concat();
    let forged = Hook { body: &forged, ..arrived.hook() };
    assert_eq!(refusal(&forged, now), WebhookRefusal::WrongSignature);
    let later = now + jiff::SignedDuration::from_mins(6);
    assert!(matches!(refusal(&arrived.hook(), later), WebhookRefusal::Stale { .. }));
}
