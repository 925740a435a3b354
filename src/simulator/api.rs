//! The skeleton of every API that the simulator speaks: who is let in, how a fax is taken, shown,
//! cancelled and deleted. Each
//! [`Api`] has its own words for that, its order and its list.

use std::io;
use std::sync::Arc;

use aws_lc_rs::constant_time;
use axum::Router;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::StreamExt;
use jiff::Timestamp;
use reqwest::Url;
use serde::Serialize;

use super::book::{Cancel, Fax};
use super::face::Face;
use super::line::Cut;
use super::office::{Office, Submitted, Took};
use super::script::ScriptedAnswer;
use crate::delivery::simulator::wire::DOCUMENT_AT_MOST;

/// One API.
pub(super) trait Api: Sized + 'static {
    /// Which faxes are its own.
    const FACE: Face;

    /// What the answer to an order depends on beside the fax.
    type Order: Send;

    /// Its routes.
    fn routes() -> Router<Arc<Office>>;

    /// Whether the request shows the credentials of the account.
    fn lets_in(request: &Request, office: &Office) -> bool;

    /// Reads an order to its very end: a client that is still sending would see a reset in place of
    /// the answer.
    ///
    /// # Errors
    /// The answer to an order that the provider would not accept.
    fn read(
        office: &Arc<Office>,
        request: Request,
    ) -> impl Future<Output = Result<(Submitted, Self::Order), Box<Response>>> + Send;

    /// The answer to an order that was taken.
    fn taken(fax: &Fax, order: &Self::Order) -> Response;

    /// Says no. What holds only for now gets its `Retry-After` elsewhere.
    fn refuse(refusal: Refusal) -> Response;

    /// The fax that a client calls `id`.
    ///
    /// # Errors
    /// The answer that there is none.
    fn known(office: &Office, id: &str) -> Result<Fax, Box<Response>> {
        let fax = office.book.fax(id).filter(|fax| fax.face == Self::FACE);
        fax.ok_or_else(|| Box::new(Self::refuse(Refusal::NoSuchFax)))
    }

    /// A fax that was asked for, with these headers.
    fn shown(fax: &Fax, asked: &HeaderMap) -> Response;

    /// The answer to a wish to cancel that came in time.
    fn cancelled(fax: &Fax) -> Response;

    /// The answer when the client's copy is gone.
    fn deleted() -> Response {
        StatusCode::NO_CONTENT.into_response()
    }

    /// The webhook that reports how a fax ended.
    fn message(ending: &Ending<'_>) -> Option<Message>;
}

/// What an API says no to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    WrongCredentials,
    DocumentRefused,
    NumberRefused,
    NoBalance,
    /// For now.
    RateLimited,
    /// For now, and nothing was taken.
    Unavailable,
    NoSuchFax,
    /// It has not ended, so it cannot be deleted.
    NotEnded,
    /// It is dialled, so it cannot be cancelled.
    BeingSent,
    /// It has ended, so it cannot be cancelled.
    Ended,
    /// Something went wrong.
    Trouble,
}

/// The end of a fax, to be reported.
pub(super) struct Ending<'a> {
    pub(super) fax: &'a Fax,
    /// The client's copy, where it is there, not too large, and [wanted](Face::returns_documents).
    pub(super) document: Option<&'a [u8]>,
    /// Where it is reported.
    pub(super) url: &'a str,
    /// Under what it is signed, where the provider signs.
    pub(super) key: &'a [u8],
    pub(super) now: Timestamp,
}

/// A webhook, ready to be sent.
pub(super) struct Message {
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Message {
    pub(super) fn json(body: &impl Serialize) -> Option<Message> {
        Some(Message::of(HeaderValue::from_static("application/json"), serde_json::to_vec(body).ok()?))
    }

    pub(super) fn form<'a>(fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> Option<Message> {
        let mut form = Url::parse("form:").ok()?;
        form.query_pairs_mut().extend_pairs(fields);
        let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
        Some(Message::of(kind, form.query()?.as_bytes().to_vec()))
    }

    pub(super) fn of(kind: HeaderValue, body: Vec<u8>) -> Message {
        Message { headers: HeaderMap::from_iter([(header::CONTENT_TYPE, kind)]), body }
    }

    /// The same with one more header.
    pub(super) fn with(mut self, name: &'static str, value: String) -> Option<Message> {
        self.headers.insert(name, HeaderValue::try_from(value).ok()?);
        Some(self)
    }
}

/// The routes of an API, for those who are let in.
pub(super) fn guarded<A: Api>(office: &Arc<Office>) -> Router<Arc<Office>> {
    A::routes()
        .layer(DefaultBodyLimit::disable())
        .layer(middleware::from_fn_with_state(Arc::clone(office), only_let_in::<A>))
}

async fn only_let_in<A: Api>(State(office): State<Arc<Office>>, request: Request, next: Next) -> Response {
    if A::lets_in(&request, &office) {
        return next.run(request).await;
    }
    drain(request).await;
    A::refuse(Refusal::WrongCredentials)
}

/// Whether the request shows the simulator's token as a bearer.
pub(super) fn shows_token(request: &Request, office: &Office) -> bool {
    let shown = request.headers().get(header::AUTHORIZATION).map_or(&[][..], |value| value.as_bytes());
    shown.strip_prefix(b"Bearer ").is_some_and(|shown| is_right(shown, office))
}

/// The login that the request shows with the simulator's token as the password of HTTP Basic; it
/// may be any.
pub(super) fn login_of(request: &Request, office: &Office) -> Option<String> {
    let shown = request.headers().get(header::AUTHORIZATION)?.as_bytes().strip_prefix(b"Basic ")?;
    let pair = String::from_utf8(STANDARD.decode(shown).ok()?).ok()?;
    let (login, password) = pair.split_once(':')?;
    (!login.is_empty() && is_right(password.as_bytes(), office)).then(|| login.to_owned())
}

/// Whether `shown` is the simulator's token, without telling by its time how much of it was right.
pub(super) fn is_right(shown: &[u8], office: &Office) -> bool {
    constant_time::verify_slices_are_equal(shown, office.options.token.as_bytes()).is_ok()
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

/// Takes a fax, or does what the script has in place of that.
pub(super) async fn submit<A: Api>(
    State(office): State<Arc<Office>>,
    ConnectInfo(line): ConnectInfo<Cut>,
    request: Request,
) -> Response {
    let (submitted, order) = match A::read(&office, request).await {
        Ok(read) => read,
        Err(refusal) => return *refusal,
    };
    let (fax, answer) = match office.take(submitted).await {
        Took::NotTaken(answer) => (None, answer),
        Took::Full => (None, ScriptedAnswer::Unavailable),
        Took::Taken(fax, answer) => (Some(fax), answer),
    };
    match (answer, fax) {
        (ScriptedAnswer::ResetTaken | ScriptedAnswer::ResetUntaken, _) => {
            line.now();
            StatusCode::IM_A_TEAPOT.into_response()
        }
        (ScriptedAnswer::Garbage, _) => (StatusCode::OK, "<html><title>Welcome</title>").into_response(),
        (ScriptedAnswer::GatewayLost, _) => {
            (StatusCode::BAD_GATEWAY, "<html><title>502 Bad Gateway</title>").into_response()
        }
        (ScriptedAnswer::DocumentRefused, _) => A::refuse(Refusal::DocumentRefused),
        (ScriptedAnswer::NumberRefused, _) => A::refuse(Refusal::NumberRefused),
        (ScriptedAnswer::NoBalance, _) => A::refuse(Refusal::NoBalance),
        (ScriptedAnswer::RateLimited, _) => for_now(A::refuse(Refusal::RateLimited)),
        (ScriptedAnswer::Unavailable, _) => for_now(A::refuse(Refusal::Unavailable)),
        (ScriptedAnswer::Created | ScriptedAnswer::Late, Some(fax)) => A::taken(&fax, &order),
        (ScriptedAnswer::FailureTaken | ScriptedAnswer::Created | ScriptedAnswer::Late, _) => {
            A::refuse(Refusal::Trouble)
        }
    }
}

fn for_now(mut response: Response) -> Response {
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

/// What a path names; a fax comes last in all of them.
pub(super) type Names = Path<Vec<(String, String)>>;

/// The fax that a path names.
pub(super) fn named<A: Api>(office: &Office, names: &Names) -> Result<Fax, Box<Response>> {
    A::known(office, names.last().map_or("", |(_, id)| id.as_str()))
}

/// Shows a fax.
pub(super) async fn show<A: Api>(
    State(office): State<Arc<Office>>,
    names: Names,
    asked: HeaderMap,
) -> Response {
    match named::<A>(&office, &names) {
        Ok(fax) => A::shown(&fax, &asked),
        Err(refusal) => *refusal,
    }
}

/// Cancels a fax.
pub(super) async fn cancel<A: Api>(State(office): State<Arc<Office>>, names: Names) -> Response {
    cancel_fax::<A>(&office, named::<A>(&office, &names)).await
}

/// Cancels a fax that was found.
pub(super) async fn cancel_fax<A: Api>(office: &Office, found: Result<Fax, Box<Response>>) -> Response {
    let fax = match found {
        Ok(fax) => fax,
        Err(refusal) => return *refusal,
    };
    match office.cancel(&fax.id).await {
        Ok(Cancel::Done(fax)) => A::cancelled(&fax),
        Ok(Cancel::TooLate) if !fax.status.is_final() => A::refuse(Refusal::BeingSent),
        Ok(Cancel::TooLate) => A::refuse(Refusal::Ended),
        Ok(Cancel::Unknown) => A::refuse(Refusal::NoSuchFax),
        Err(fault) => disk_trouble::<A>(&fault),
    }
}

/// Deletes the client's copy of a fax that has ended.
pub(super) async fn delete<A: Api>(State(office): State<Arc<Office>>, names: Names) -> Response {
    delete_fax::<A>(&office, named::<A>(&office, &names)).await
}

/// Deletes the client's copy of a fax that was found.
pub(super) async fn delete_fax<A: Api>(office: &Office, found: Result<Fax, Box<Response>>) -> Response {
    match found {
        Err(refusal) => *refusal,
        Ok(fax) if !fax.status.is_final() => A::refuse(Refusal::NotEnded),
        // Only the simulator's own API goes on showing what was deleted as if nothing had been.
        Ok(fax) if fax.deleted && A::FACE != Face::Own => A::refuse(Refusal::NoSuchFax),
        Ok(fax) => match office.delete(&fax.id).await {
            Ok(()) => A::deleted(),
            Err(fault) => disk_trouble::<A>(&fault),
        },
    }
}

/// Notes that the record folder fails.
pub(super) fn disk_trouble<A: Api>(fault: &io::Error) -> Response {
    tracing::error!(%fault, "simulator: the record folder fails: {fault}");
    A::refuse(Refusal::Trouble)
}
