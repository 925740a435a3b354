//! Where providers that take no upload fetch a document: `GET /media/REFERENCE.EXPIRY.MARK.pdf`.
//!
//! The URL goes to one provider, in one request, for one Attempt. MARK is a mark of what stands before it under the master
//! key ([`crate::vault::Marker`]): nobody can guess it or lengthen its time, nobody has to remember it, and it survives a
//! restart. It is good
//!
//! * until EXPIRY (seconds since 1970);
//! * while its Attempt is open and the Job's last one;
//! * until it was fetched whole, and `AFTER` that: some look at it, or fetch its first bytes, before they download it, or
//!   hand the URL to a second machine of theirs. When the last byte was handed to the connection, that is noted on the Attempt.
//!   At most `AT_ONCE` transfers of it run at once.
//!
//! To everything else, and whatever is wrong, the answer is the same 404. The document streams out of the sealed spool,
//! decrypted piece by piece; its last piece leaves only when the whole was proven to be what the Attempt noted. One range of bytes is answered
//! with 206 (RFC 9110 section 14); what is asked for in another way gets the whole. There is no file name, and no cache on the
//! way may keep it.

use std::collections::HashMap;
use std::io;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, RANGE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use jiff::{SignedDuration, Timestamp};
use rustls::ServerConfig;
use tokio::sync::watch;

use super::door::{Door, DoorAnswer, Limits};
use crate::alarm::Alarms;
use crate::clock::SharedClock;
use crate::job::{self, JobId};
use crate::listener::Socket;
use crate::packet::{Container, Measured};
use crate::spool::{Spool, SpoolError};
use crate::store::{Fetch, Store};
use crate::vault::{Marker, WrappedKey};

const LIMITS: Limits = Limits {
    connections: 64,
    head: Duration::from_secs(10),
    stall: Duration::from_secs(30),
    whole: Duration::from_secs(600),
};
const PATH: &str = "/media/";
/// Some tell by the end of a URL what lies there.
const SUFFIX: &str = ".pdf";
/// How long a document can still be fetched once it was fetched whole.
const AFTER: SignedDuration = SignedDuration::from_mins(10);
/// Transfers of one document at once.
const AT_ONCE: usize = 4;

/// The URLs that documents are fetched from.
#[derive(Debug, Clone)]
pub struct Media {
    base: String,
    marker: Marker,
    valid_for: SignedDuration,
}

impl Media {
    /// Below the public URL `base`, each good for `valid_for`; `marker` is that for [`crate::vault::Purpose::Media`].
    #[must_use]
    pub fn new(base: &str, marker: Marker, valid_for: SignedDuration) -> Self {
        Media { base: base.trim_end_matches('/').to_owned(), marker, valid_for }
    }

    /// Where the document of the Attempt with `reference` can be fetched from `now` on.
    #[must_use]
    pub fn url_for(&self, reference: &str, now: Timestamp) -> String {
        let expiry = now.as_second().saturating_add(self.valid_for.as_secs());
        let pass = format!("{reference}.{expiry}");
        format!("{}{PATH}{pass}.{}{SUFFIX}", self.base, self.marker.mark(&pass))
    }

    /// The Attempt that `path` is a good URL for.
    fn admits(&self, path: &str, now: Timestamp) -> Option<(JobId, u32)> {
        let (pass, mark) = path.strip_prefix(PATH)?.strip_suffix(SUFFIX)?.rsplit_once('.')?;
        if !self.marker.is_mark(pass, mark) {
            return None;
        }
        // From here on the text is one that `url_for` wrote.
        let (reference, expiry) = pass.rsplit_once('.')?;
        let good = now.as_second() < expiry.parse().ok()?;
        job::from_reference(reference).filter(|_| good)
    }
}

/// What hands documents out.
pub struct Host {
    /// The URLs they are fetched from.
    pub media: Media,
    /// Attempts.
    pub store: Store,
    /// Documents.
    pub spool: Spool,
    /// Time.
    pub clock: SharedClock,
    /// Told what wants a person.
    pub alarms: Alarms,
}

impl Host {
    /// Listens until `shutdown` turns true.
    pub async fn serve(
        self,
        listener: impl Into<Socket>,
        tls: Option<Arc<ServerConfig>>,
        shutdown: watch::Receiver<bool>,
    ) {
        self.serve_within(LIMITS, listener, tls, shutdown).await;
    }

    async fn serve_within(
        self,
        limits: Limits,
        listener: impl Into<Socket>,
        tls: Option<Arc<ServerConfig>>,
        shutdown: watch::Receiver<bool>,
    ) {
        let alarms = self.alarms.clone();
        let (host, leaving) = (Arc::new(self), Arc::new(Leaving::default()));
        let handler = move |request| {
            let (host, leaving) = (Arc::clone(&host), Arc::clone(&leaving));
            async move { host.answer(request, &leaving).await.unwrap_or_else(|| StatusCode::NOT_FOUND.into()) }
        };
        Door { name: "the media host", key: "media.listen", alarms, tls, limits, handler }
            .serve(listener, shutdown)
            .await;
    }

    /// `None` for whatever is wrong.
    async fn answer(self: &Arc<Self>, request: Request, leaving: &Arc<Leaving>) -> Option<DoorAnswer> {
        let (Parts { method, uri, headers, .. }, _) = request.into_parts();
        let now = self.clock.now();
        let (job, attempt) = self.media.admits(uri.path(), now)?;
        let head_only = method == Method::HEAD;
        if uri.query().is_some() || !(head_only || method == Method::GET) {
            return None;
        }
        let seat = if head_only { None } else { Some(leaving.take(job, attempt)?) };
        let failed = |error: &dyn std::fmt::Display| {
            tracing::error!(job.id = %job, "job {job}: its document cannot be handed out: {error}");
        };
        let since = now.checked_sub(AFTER).unwrap_or(Timestamp::MIN);
        let fetch =
            self.store.fetchable(job, attempt, since).await.inspect_err(|error| failed(error)).ok()??;
        let range = match wanted(&headers, fetch.bytes) {
            Wanted::Whole => None,
            Wanted::Part(range) => Some(range),
            Wanted::Nothing => return Some(beyond(fetch.bytes).into()),
        };
        if head_only {
            return Some(paper(&fetch, range, Body::empty()).into());
        }
        let container = self.container(&fetch).await.inspect_err(|error| failed(error)).ok()?;
        let whole = Arc::new(AtomicBool::new(false));
        let measured = Measured { bytes: fetch.bytes, sha256: fetch.sha256.clone() };
        let all = container.into_stream(measured, Arc::clone(&whole));
        let body = match range.clone() {
            None => Body::from_stream(all),
            Some(range) => Body::from_stream(part(all, range)),
        };
        let is_whole = range.as_ref().is_none_or(|range| range_length(range) == fetch.bytes);
        let host = Arc::clone(self);
        let done = async move {
            if is_whole && whole.load(Ordering::Acquire) {
                host.fetched(job, attempt).await;
            }
            drop(seat);
        };
        Some(DoorAnswer::from(paper(&fetch, range, body)).afterwards(done))
    }

    async fn container(&self, fetch: &Fetch) -> Result<Container, SpoolError> {
        let key = self.spool.vault().unwrap_key(&WrappedKey(fetch.wrapped_key.clone()))?;
        Container::open(&self.spool, &key, &fetch.document, fetch.shared.as_deref()).await
    }

    async fn fetched(&self, job: JobId, attempt: u32) {
        match self.store.note_fetched(job, attempt, self.clock.now()).await {
            Ok(()) => tracing::info!(job.id = %job, "job {job}: the provider has fetched its document"),
            Err(error) => {
                tracing::error!(job.id = %job, error = %error, "job {job}: that its document was fetched cannot be noted: {error}");
            }
        }
    }
}

fn paper(fetch: &Fetch, range: Option<RangeInclusive<u64>>, body: Body) -> Response {
    let length = range.as_ref().map_or(fetch.bytes, range_length);
    let headers = [
        (CONTENT_TYPE, "application/pdf".to_owned()),
        (CONTENT_LENGTH, length.to_string()),
        (ACCEPT_RANGES, "bytes".to_owned()),
        (CACHE_CONTROL, "no-store".to_owned()),
    ];
    match range {
        None => (headers, body).into_response(),
        Some(range) => {
            let part = format!("bytes {}-{}/{}", range.start(), range.end(), fetch.bytes);
            (StatusCode::PARTIAL_CONTENT, headers, [(CONTENT_RANGE, part)], body).into_response()
        }
    }
}

/// 416: the range lies behind the end.
fn beyond(bytes: u64) -> Response {
    let headers: [(HeaderName, String); 2] =
        [(CONTENT_RANGE, format!("bytes */{bytes}")), (CACHE_CONTROL, "no-store".to_owned())];
    (StatusCode::RANGE_NOT_SATISFIABLE, headers).into_response()
}

fn range_length(range: &RangeInclusive<u64>) -> u64 {
    range.end().saturating_sub(*range.start()).saturating_add(1)
}

/// How much of a document is asked for.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    /// All of it: also where it is asked for in a way that this does not understand (RFC 9110 section 14.2).
    Whole,
    /// These bytes.
    Part(RangeInclusive<u64>),
    /// Bytes that it does not have.
    Nothing,
}

/// What the request wants of a document of so many `bytes`.
fn wanted(headers: &HeaderMap, bytes: u64) -> Wanted {
    let text = headers.get(RANGE).and_then(|value| value.to_str().ok());
    let range =
        text.and_then(|text| text.trim().strip_prefix("bytes=")).and_then(|range| range.split_once('-'));
    let Some((first, last)) = range else { return Wanted::Whole };
    let number = |text: &str| {
        let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| text.parse::<u64>().unwrap_or(u64::MAX))
    };
    let (start, end) = match (number(first.trim()), number(last.trim())) {
        (Some(first), Some(last)) if first <= last => (first, last.min(bytes.saturating_sub(1))),
        (Some(first), None) if last.trim().is_empty() => (first, bytes.saturating_sub(1)),
        // So many from the end.
        (None, Some(many)) if first.trim().is_empty() && many > 0 => {
            (bytes.saturating_sub(many), bytes.saturating_sub(1))
        }
        (None, Some(_)) if first.trim().is_empty() => return Wanted::Nothing,
        _ => return Wanted::Whole,
    };
    if start >= bytes { Wanted::Nothing } else { Wanted::Part(start..=end) }
}

/// The bytes in `range` of a document that comes in `pieces`, which are read to their end all the same: only that proves the
/// document.
fn part(
    pieces: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    range: RangeInclusive<u64>,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    let mut at = 0u64;
    pieces.filter_map(move |piece| {
        let cut = piece.map(|piece| {
            let begin = at;
            at = at.saturating_add(piece.len() as u64);
            let within = |place: u64| usize::try_from(place.saturating_sub(begin)).unwrap_or(usize::MAX);
            let from = within(*range.start()).min(piece.len());
            let to = within(range.end().saturating_add(1)).min(piece.len());
            piece.slice(from..to.max(from))
        });
        std::future::ready(Some(cut).filter(|cut| cut.as_ref().map_or(true, |cut| !cut.is_empty())))
    })
}

/// The Attempts whose documents are on their way out, and how often each.
#[derive(Default)]
struct Leaving(Mutex<HashMap<(JobId, u32), usize>>);

/// One of them, until this is dropped.
struct Seat {
    all: Arc<Leaving>,
    attempt: (JobId, u32),
}

impl Leaving {
    /// `None` where the document of that Attempt is on its way too often already.
    fn take(self: &Arc<Self>, job: JobId, attempt: u32) -> Option<Seat> {
        let attempt = (job, attempt);
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let many = all.entry(attempt).or_insert(0);
        if *many >= AT_ONCE {
            return None;
        }
        *many += 1;
        drop(all);
        Some(Seat { all: Arc::clone(self), attempt })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut all = self.all.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(many) = all.get_mut(&self.attempt) {
            *many = many.saturating_sub(1);
            if *many == 0 {
                all.remove(&self.attempt);
            }
        }
    }
}

#[cfg(test)]
mod tests;
