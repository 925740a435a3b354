//! The simulator: a fax provider's HTTP API that dials nobody.
//!
//! | request | answer |
//! | --- | --- |
//! | `POST /v1/faxes` | multipart `reference`, `to`, `pages`?, `sha256`?, `webhook_url`?, `caller`?, `document`; 201 and the fax |
//! | `GET /v1/faxes/{id}` | the fax; 404 `fax.unknown` |
//! | `GET /v1/faxes?reference=R` | `{"faxes": [..]}`, every fax with that reference |
//! | `POST /v1/faxes/{id}/cancel` | the fax; 409 `fax.too_late` once it is dialled |
//! | `DELETE /v1/faxes/{id}` | 204, the stored document is gone; 409 `fax.not_ended` before its end |
//! | `GET /v1/account` | 200 when the token is right |
//! | `GET /v1/numbers` | what happens to which number ([`super::script`]); needs no token |
//!
//! Beside this API of its own it shows the faces of real providers (`simulator::face`).
//!
//! All but the last want `Authorization: Bearer TOKEN`. Other answers than 2xx carry `{"error": {"code", "message"}}`. The
//! same reference sent twice is two faxes: like every provider we know, it has no idempotency. What it must never see (two
//! calls to one number at once, a wrong page count) it notes as a [`Violation`].

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::constant_time;
use axum::extract::rejection::QueryRejection;
use axum::extract::{ConnectInfo, DefaultBodyLimit, FromRequest, Multipart, Path, Query, Request, State};
use axum::http::header::{AUTHORIZATION, RETRY_AFTER};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::StreamExt;
use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;
use zeroize::Zeroizing;

pub use super::book::{Fax, Violation};
pub use super::face::Face;
pub use super::script::{Chaos, Quirks};

use super::book::{Book, Cancel};
use super::face;
use super::line::{Cut, Lines};
use super::office::{Office, Submitted, Took};
use super::print::{Incoming, Records};
use super::script::{self, Answer};
use super::webhook::Reporter;
use crate::clock::{SharedClock, SystemClock};
use crate::delivery::simulator::wire::{DOCUMENT_AT_MOST, ErrorBody, ErrorView, FaxList};
use crate::job::{self, FaxNumber};

/// Largest value of any other field.
const FIELD_AT_MOST: usize = 2048;

/// How a simulator is to behave.
#[derive(Clone)]
pub struct Options {
    /// Where to listen; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// The record folder; made if missing.
    pub record: PathBuf,
    /// What clients must show.
    pub token: Zeroizing<String>,
    /// Under what webhooks are signed.
    pub webhook_key: Zeroizing<Vec<u8>>,
    /// How long a call lasts.
    pub call_time: Duration,
    /// How long "later than the client waits" is.
    pub late_by: Duration,
    /// Pause before a webhook that was not taken is sent again; it doubles.
    pub webhook_pause: Duration,
    /// Printed pages stay when the client deletes its copy.
    pub keep: bool,
    /// Answers in a second at most; without, as many as it can give.
    pub per_second: Option<u32>,
    /// Faxes kept in memory.
    pub remember: usize,
    /// Where faxes of the InterFAX face are reported. That provider takes no URL with an order; its panel has one for all.
    pub interfax_callback: Option<String>,
    /// Misbehaviour by chance.
    pub chaos: Option<Chaos>,
    /// How it differs from what is expected.
    pub quirks: Quirks,
    /// Whom to ask for the time.
    pub clock: SharedClock,
}

impl Options {
    /// A well-behaved simulator on a free port of this machine.
    #[must_use]
    pub fn new(record: PathBuf, token: &str, webhook_key: &[u8]) -> Self {
        Options {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            record,
            token: Zeroizing::new(token.to_owned()),
            webhook_key: Zeroizing::new(webhook_key.to_vec()),
            call_time: Duration::from_secs(1),
            late_by: Duration::from_secs(90),
            webhook_pause: Duration::from_secs(1),
            keep: false,
            per_second: None,
            remember: 100_000,
            interfax_callback: None,
            chaos: None,
            quirks: Quirks::default(),
            clock: Arc::new(SystemClock),
        }
    }
}

/// A simulator at work. Dropping it stops it.
pub struct Running {
    /// Where it listens.
    pub addr: SocketAddr,
    office: Arc<Office>,
    counter: Option<Counter>,
    /// Dropped to end calls and webhooks.
    _open: watch::Sender<()>,
}

/// The listening part, which can go away and come back.
struct Counter {
    close: oneshot::Sender<()>,
    down: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<()>,
}

impl Running {
    /// Stops listening, breaks every connection, ends all calls. Returns when the port is free.
    pub async fn stop(mut self) {
        self.close().await;
    }

    /// Goes off the net as in an outage: connections break, new ones are refused. Calls go on.
    pub async fn close(&mut self) {
        if let Some(counter) = self.counter.take() {
            counter.down.store(true, Ordering::Release);
            let _ = counter.close.send(());
            // Dropping the listener is what frees the port; connections find out by themselves.
            let _ = counter.task.await;
        }
    }

    /// Comes back at the same address.
    ///
    /// # Errors
    /// When the port has been taken by somebody else meanwhile.
    pub async fn reopen(&mut self) -> io::Result<()> {
        self.close().await;
        self.counter = Some(open_counter(TcpListener::bind(self.addr).await?, &self.office));
        Ok(())
    }

    /// The URL for `provider.NAME.url`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Every fax it remembers, oldest first.
    #[must_use]
    pub fn faxes(&self) -> Vec<Fax> {
        self.office.book.all()
    }

    /// Returns once no call and no webhook is under way. Faxes that wait or hang by script do not count.
    pub async fn idle(&self) {
        let mut busy = self.office.busy.subscribe();
        // Fails only when the sender is gone, which `self.office` holds.
        let _ = busy.wait_for(|busy| *busy == 0).await;
    }

    /// What it should never have seen.
    #[must_use]
    pub fn violations(&self) -> Vec<Violation> {
        self.office.book.violations()
    }
}

/// Opens a simulator.
///
/// # Errors
/// When the address is taken or the record folder cannot be written.
pub async fn serve(options: Options) -> io::Result<Running> {
    let records = Records::open(&options.record, options.keep)?;
    let listener = TcpListener::bind(options.listen).await?;
    let addr = listener.local_addr()?;
    let reporter =
        Reporter::new(options.webhook_key.clone(), Arc::clone(&options.clock), options.webhook_pause)
            .map_err(io::Error::other)?;
    let (open, closed) = watch::channel(());
    let office = Arc::new(Office {
        book: Book::new(options.remember.max(1)),
        records,
        reporter,
        // Ids of one run are told from those of another in the same folder.
        run: job::chance().map_err(|_| io::Error::other("the system has no randomness"))? & 0xffff_ffff,
        options,
        closed,
        busy: watch::Sender::new(0),
    });
    let counter = Some(open_counter(listener, &office));
    Ok(Running { addr, office, counter, _open: open })
}

fn open_counter(listener: TcpListener, office: &Arc<Office>) -> Counter {
    let guarded = Router::new()
        .route("/v1/faxes", post(submit).get(list))
        .route("/v1/faxes/{id}", get(show).delete(delete))
        .route("/v1/faxes/{id}/cancel", post(cancel))
        .route("/v1/account", get(account))
        .layer(DefaultBodyLimit::disable())
        .layer(middleware::from_fn_with_state(Arc::clone(office), only_with_token));
    let router = guarded
        .merge(face::routes(office))
        .route("/v1/numbers", get(async || Json(json!({ "numbers": script::TABLE }))))
        .fallback(async || error(StatusCode::NOT_FOUND, "path.unknown", "there is nothing here"))
        .with_state(Arc::clone(office));
    let router = match office.options.per_second {
        Some(per_second) => router.layer(middleware::from_fn_with_state(Pace::new(per_second), in_turn)),
        None => router,
    };
    let down = Arc::new(AtomicBool::new(false));
    let (close, closed) = oneshot::channel();
    let lines = Lines { listener, down: Arc::clone(&down) };
    let serving = axum::serve(lines, router.into_make_service_with_connect_info::<Cut>()).into_future();
    let task = tokio::spawn(async move {
        tokio::select! {
            _ = serving => {}
            // Also when the sender is dropped.
            _ = closed => {}
        }
    });
    Counter { close, down, task }
}

/// When the next answer is due.
#[derive(Clone)]
struct Pace {
    between: Duration,
    next: Arc<Mutex<Instant>>,
}

impl Pace {
    fn new(per_second: u32) -> Pace {
        let between = Duration::from_secs(1) / per_second.max(1);
        Pace { between, next: Arc::new(Mutex::new(Instant::now())) }
    }

    fn turn(&self) -> Instant {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = (*next).max(Instant::now());
        *next = turn + self.between;
        turn
    }
}

/// Each answer waits for its turn.
async fn in_turn(State(pace): State<Pace>, request: Request, next: Next) -> Response {
    tokio::time::sleep_until(pace.turn()).await;
    next.run(request).await
}

async fn only_with_token(State(office): State<Arc<Office>>, request: Request, next: Next) -> Response {
    let shown = request.headers().get(AUTHORIZATION).map_or(&[][..], |value| value.as_bytes());
    let wanted = office.options.token.as_bytes();
    let right = shown
        .strip_prefix(b"Bearer ")
        .is_some_and(|shown| constant_time::verify_slices_are_equal(shown, wanted).is_ok());
    if right {
        return next.run(request).await;
    }
    drain(request).await;
    error(StatusCode::UNAUTHORIZED, "token.wrong", "no such token")
}

/// Reads what the client still sends: it would otherwise see a reset in place of the answer.
pub(super) async fn drain(request: Request) {
    let mut body = request.into_body().into_data_stream();
    let mut left = DOCUMENT_AT_MOST;
    while let Some(Ok(chunk)) = body.next().await {
        left = left.saturating_sub(chunk.len() as u64);
        if left == 0 {
            break;
        }
    }
}

/// What came in with a submit.
#[derive(Default)]
struct Form {
    reference: String,
    to: String,
    pages: Option<u32>,
    sha256: Option<String>,
    webhook_url: Option<String>,
    document: Option<(Incoming, String)>,
}

async fn submit(
    State(office): State<Arc<Office>>,
    ConnectInfo(line): ConnectInfo<Cut>,
    request: Request,
) -> Response {
    let (mut form, id) = match read_form(&office, request).await {
        Ok(read) => read,
        Err(answer) => return *answer,
    };
    let Some((document, sha256)) = form.document.take() else {
        return error(StatusCode::BAD_REQUEST, "request.incomplete", "there is no document");
    };
    if form.reference.is_empty() || form.reference.len() > 64 {
        return error(StatusCode::BAD_REQUEST, "request.incomplete", "a reference has 1 to 64 characters");
    }
    if FaxNumber::from_e164(&form.to).is_err() {
        return error(StatusCode::UNPROCESSABLE_ENTITY, "number.refused", "`to` is not in E.164 form");
    }
    if form.sha256.as_ref().is_some_and(|announced| !announced.eq_ignore_ascii_case(&sha256)) {
        return error(
            StatusCode::BAD_REQUEST,
            "document.damaged",
            "the document is not the one that was announced",
        );
    }
    let submitted = Submitted {
        id,
        face: Face::Own,
        reference: form.reference,
        number: form.to,
        pages_announced: form.pages,
        webhook_url: form.webhook_url,
        document,
        sha256,
        details: BTreeMap::new(),
    };
    match office.take(submitted).await {
        Took::NotTaken(answer) => refusal(answer, &line),
        Took::Full => {
            wait_a_second(StatusCode::SERVICE_UNAVAILABLE, "queue.full", "too many faxes are waiting")
        }
        Took::Taken(_, Answer::FailureTaken) => {
            error(StatusCode::INTERNAL_SERVER_ERROR, "server.failure", "something went wrong")
        }
        Took::Taken(fax, answer) => match face::disturbed(answer, &line) {
            Some(response) => response,
            None => (StatusCode::CREATED, Json(fax.view())).into_response(),
        },
    }
}

/// The answer to a submit that was not taken.
fn refusal(answer: Answer, line: &Cut) -> Response {
    match answer {
        Answer::DocumentRefused => error(
            StatusCode::UNPROCESSABLE_ENTITY,
            "document.refused",
            "no pages can be made of the document",
        ),
        Answer::NumberRefused => {
            error(StatusCode::UNPROCESSABLE_ENTITY, "number.refused", "`to` is no telephone number")
        }
        Answer::RateLimited => {
            wait_a_second(StatusCode::TOO_MANY_REQUESTS, "rate.limited", "too many requests")
        }
        Answer::Unavailable => {
            wait_a_second(StatusCode::SERVICE_UNAVAILABLE, "server.busy", "nothing was taken, come again")
        }
        Answer::NoBalance => {
            error(StatusCode::PAYMENT_REQUIRED, "account.no_balance", "the account has no balance")
        }
        other => face::disturbed(other, line).unwrap_or_else(|| StatusCode::BAD_GATEWAY.into_response()),
    }
}

/// Reads the upload to its very end, the document straight into a file.
async fn read_form(office: &Arc<Office>, request: Request) -> Result<(Form, String), Box<Response>> {
    let bad = |text: String| Box::new(error(StatusCode::BAD_REQUEST, "request.malformed", &text));
    let mut parts =
        Multipart::from_request(request, &()).await.map_err(|rejection| bad(rejection.body_text()))?;
    let id = office.next_id().map_err(|fault| Box::new(disk_trouble(&fault)))?;
    let mut form = Form::default();
    let mut too_large = false;
    while let Some(mut part) = parts.next_field().await.map_err(|fault| bad(fault.body_text()))? {
        let name = part.name().unwrap_or_default().to_owned();
        if name == "document" {
            if form.document.is_some() {
                return Err(bad("there are two documents".into()));
            }
            let mut document =
                office.records.receive(&id).await.map_err(|fault| Box::new(disk_trouble(&fault)))?;
            while let Some(chunk) = part.chunk().await.map_err(|fault| bad(fault.body_text()))? {
                // Read on all the same: a client that is still sending would see a reset in place of the answer.
                too_large |= document.bytes + chunk.len() as u64 > DOCUMENT_AT_MOST;
                if too_large {
                    continue;
                }
                document.write(&chunk).await.map_err(|fault| Box::new(disk_trouble(&fault)))?;
            }
            let sha256 = document.finish().await.map_err(|fault| Box::new(disk_trouble(&fault)))?;
            form.document = Some((document, sha256));
            continue;
        }
        let mut value = Vec::new();
        while let Some(chunk) = part.chunk().await.map_err(|fault| bad(fault.body_text()))? {
            if value.len() + chunk.len() > FIELD_AT_MOST {
                return Err(bad("a field is too long".into()));
            }
            value.extend_from_slice(&chunk);
        }
        let value = String::from_utf8(value).map_err(|_| bad("a field is not UTF-8".into()))?;
        match name.as_str() {
            "reference" => form.reference = value,
            "to" => form.to = value,
            "pages" => form.pages = value.parse().ok(),
            "sha256" => form.sha256 = Some(value),
            "webhook_url" => form.webhook_url = Some(value),
            _ => {}
        }
    }
    if too_large {
        return Err(Box::new(error(
            StatusCode::PAYLOAD_TOO_LARGE,
            "document.too_large",
            "the document is too large",
        )));
    }
    Ok((form, id))
}

#[derive(Deserialize)]
struct Wanted {
    reference: String,
}

async fn list(State(office): State<Arc<Office>>, wanted: Result<Query<Wanted>, QueryRejection>) -> Response {
    match wanted {
        Ok(Query(wanted)) => Json(FaxList { faxes: office.book.list(&wanted.reference) }).into_response(),
        Err(_) => error(StatusCode::BAD_REQUEST, "request.incomplete", "ask with ?reference="),
    }
}

async fn show(State(office): State<Arc<Office>>, Path(id): Path<String>) -> Response {
    office.book.view(&id).map_or_else(no_such_fax, |view| Json(view).into_response())
}

async fn cancel(State(office): State<Arc<Office>>, Path(id): Path<String>) -> Response {
    let now = office.options.clock.now();
    match office.book.cancel(&id, now) {
        Cancel::Done(fax) => {
            office.log(&json!({ "at": now, "event": "cancelled", "id": id }));
            if let Err(fault) = office.records.note(&fax).await {
                return disk_trouble(&fault);
            }
            Json(fax.view()).into_response()
        }
        Cancel::TooLate => error(StatusCode::CONFLICT, "fax.too_late", "it is dialled already"),
        Cancel::Unknown => no_such_fax(),
    }
}

async fn delete(State(office): State<Arc<Office>>, Path(id): Path<String>) -> Response {
    match office.book.view(&id) {
        None => return no_such_fax(),
        Some(view) if !view.status.is_final() => {
            return error(StatusCode::CONFLICT, "fax.not_ended", "it has not ended");
        }
        Some(_) => {}
    }
    if let Err(fault) = office.records.delete(&id).await {
        return disk_trouble(&fault);
    }
    if let Some(fax) = office.book.delete(&id) {
        office.log(&json!({ "at": office.options.clock.now(), "event": "deleted", "id": id }));
        if let Err(fault) = office.records.note(&fax).await {
            return disk_trouble(&fault);
        }
    }
    StatusCode::NO_CONTENT.into_response()
}

async fn account() -> Response {
    Json(json!({ "account": "simulator", "state": "active" })).into_response()
}

fn no_such_fax() -> Response {
    error(StatusCode::NOT_FOUND, "fax.unknown", "there is no such fax")
}

fn disk_trouble(fault: &io::Error) -> Response {
    tracing::error!(%fault, "simulator: the record folder fails: {fault}");
    error(StatusCode::INTERNAL_SERVER_ERROR, "server.disk", "the record folder fails")
}

fn wait_a_second(status: StatusCode, code: &str, message: &str) -> Response {
    let mut headers = HeaderMap::new();
    headers.insert(RETRY_AFTER, axum::http::HeaderValue::from_static("1"));
    (headers, error(status, code, message)).into_response()
}

fn error(status: StatusCode, code: &str, message: &str) -> Response {
    let error = ErrorView { code: code.to_owned(), message: message.to_owned() };
    (status, Json(ErrorBody { error })).into_response()
}
