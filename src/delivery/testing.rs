//! What the tests of the adapters share: a living simulator with a record folder, an adapter made from a section of the
//! configuration, a place where webhooks arrive, and words for what came of it.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

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
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use zeroize::Zeroizing;

use super::http::Answer;
use super::{Found, Hook, Keep, Order, Provider, Search, Secrets, Sought, Status, SubmitError, Taken, build};
use crate::clock::{Clock, SystemClock};
use crate::config;
use crate::job::{Cause, FaxNumber, Report};
use crate::simulator::server::{Fax, Options, Running, serve};
use crate::simulator::{script, telnyx_public_key};

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

/// The adapter for the account in a section of these `keys`, which shows `token` as its token and password.
pub(super) fn adapter(keys: &str, token: &str) -> Result<Box<dyn Provider>, super::BuildError> {
    let section = section(keys);
    let webhook_key = match section.kind {
        config::ProviderKind::Telnyx => telnyx_public_key(KEY).into_bytes(),
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
pub(super) async fn find(
    adapter: &dyn Provider,
    reference: &str,
    number: &str,
) -> Result<Search, super::AskError> {
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

/// A simulator and an account there.
pub(super) struct Stage {
    pub(super) simulator: Running,
    pub(super) adapter: Box<dyn Provider>,
    pub(super) folder: TempDir,
    pub(super) hook: String,
    pub(super) inbox: Inbox,
}

impl Stage {
    /// Starts a simulator, changed by `change`, and makes the adapter from the section's keys, which `keys` writes for the
    /// simulator's URL.
    pub(super) async fn set(keys: impl Fn(&str) -> String, change: impl FnOnce(&mut Options)) -> Stage {
        let folder = TempDir::new().unwrap();
        let mut options = Options::new(folder.path().to_owned(), TOKEN, KEY);
        options.call_time = Duration::from_millis(5);
        options.late_by = Duration::from_secs(30);
        options.webhook_pause = Duration::from_millis(5);
        change(&mut options);
        let simulator = serve(options).await.unwrap();
        let adapter = adapter(&keys(&simulator.url()), TOKEN).unwrap();
        let (hook, inbox) = receiver(0).await;
        Stage { simulator, adapter, folder, hook, inbox }
    }

    /// Hands over a fax of three pages, with a webhook whose URL carries the reference.
    pub(super) async fn send(&self, number: &str, reference: &str) -> Result<Taken, SubmitError> {
        let hook = format!("{}?ref={reference}", self.hook);
        send(self.adapter.as_ref(), number, reference, &pdf(3), Some(&hook)).await
    }

    /// How the fax with that reference ended.
    pub(super) async fn end(&self, reference: &str, number: &str) -> Report {
        let found = find(self.adapter.as_ref(), reference, number).await.unwrap();
        let Search::Found(found) = found else { panic!("it is not found: {found:?}") };
        let Status::Ended(report) = found.status.clone() else { panic!("it has not ended: {found:?}") };
        assert_eq!(self.adapter.status(&found.provider_ref).await.unwrap(), found.status);
        report
    }

    /// The fax with that reference, if the provider lists it.
    pub(super) async fn listed(&self, reference: &str, number: &str) -> Option<Found> {
        match find(self.adapter.as_ref(), reference, number).await.unwrap() {
            Search::Found(found) => Some(found),
            Search::NotListed => None,
            Search::NeverSent => panic!("this provider cannot know that"),
            Search::Undecided(silent) => panic!("undecided: {silent:?}"),
        }
    }

    /// Sends to each ending of the simulator's table (but 20 and 26, which are about time). `expected` says for each what
    /// the submits of one job come to, one after the other, and how each of them ends.
    pub(super) async fn every_line_of_the_table(&self, expected: &[(&str, &[(&str, &str)])]) {
        let endings =
            script::TABLE.iter().map(|row| row.ending).filter(|ending| !["20", "26"].contains(ending));
        let tested: Vec<&str> = expected.iter().map(|(ending, _)| *ending).collect();
        assert_eq!(tested, endings.collect::<Vec<_>>(), "every line is tested");
        for (ending, tries) in expected {
            let number = format!("+121255501{ending}");
            for (index, (submit, end)) in tries.iter().enumerate() {
                let reference = format!("job{ending}-{}", index + 1);
                let result = self.send(&number, &reference).await;
                assert_eq!(word(&result), *submit, "{reference}: {result:?}");
                self.simulator.idle().await;
                let found = self.listed(&reference, &number).await;
                let ended = found.as_ref().map_or(String::new(), |found| end_word(&found.status));
                assert_eq!(ended, *end, "{reference}");
                let Ok(taken) = result else { continue };
                let status = self.adapter.status(&taken.provider_ref).await.unwrap();
                match found {
                    Some(found) => {
                        assert_eq!((taken.provider_ref, status), (found.provider_ref, found.status));
                    }
                    None => assert_eq!(status, Status::NotThere, "{reference}"),
                }
            }
        }
        assert_eq!(self.simulator.violations(), []);
        for fax in self.simulator.faxes() {
            assert_eq!(self.paper(&fax), fax.printed.then(|| pdf(3)), "{fax:?}");
            assert_eq!(fax.sha256, hex_digest(&pdf(3)), "{fax:?}");
        }
    }

    pub(super) fn paper(&self, fax: &Fax) -> Option<Vec<u8>> {
        std::fs::read(self.folder.path().join(format!("{}.pdf", fax.id))).ok()
    }
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

/// This moment.
pub(super) fn now() -> Timestamp {
    SystemClock.now()
}

/// The cause that stands for a class of the fact tables (`fixtures/providers/`), before pages are looked at.
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

/// A server that gives these answers in turn, the last of them for ever, and what it was asked: `METHOD PATH?QUERY`,
/// headers, body.
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

/// An answer as an adapter reads it, with `Retry-After` where `wait` says so.
pub(super) fn answer(status: u16, wait: Option<i64>, body: &str) -> Answer {
    Answer {
        status: reqwest::StatusCode::from_u16(status).unwrap(),
        headers: wait.map(|seconds| (reqwest::header::RETRY_AFTER, seconds.into())).into_iter().collect(),
        body: body.as_bytes().to_vec(),
    }
}
