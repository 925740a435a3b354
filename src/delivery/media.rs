//! Where providers that take no upload fetch a document: `GET /media/REFERENCE.EXPIRY.MARK`.
//!
//! The URL goes to one provider, in one request, for one Attempt. MARK is a mark of what stands before it under the master
//! key ([`crate::spool::Marker`]): nobody can guess it or lengthen its time, nobody has to remember it, and it survives a
//! restart. It is good
//!
//! * until EXPIRY (seconds since 1970);
//! * while its Attempt is open and the Job's last one;
//! * once: when the last byte was handed to the connection, that is noted on the Attempt, and the document is gone from here.
//!   A transfer that broke off may be repeated; two at once are not served.
//!
//! To everything else, and whatever is wrong, the answer is the same 404. The document streams out of the sealed spool,
//! decrypted piece by piece; its last piece leaves only when the whole was proven to be what the Attempt noted. There is no file name, and no
//! cache on the way may keep it.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use jiff::{SignedDuration, Timestamp};
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::door::{Answer, Door, Limits};
use crate::alarm::Alarms;
use crate::clock::SharedClock;
use crate::job::{self, JobId};
use crate::packet::{Container, Measured};
use crate::spool::{Marker, Spool, SpoolError, WrappedKey};
use crate::store::{Fetch, Store};

const LIMITS: Limits = Limits {
    connections: 32,
    head: Duration::from_secs(10),
    stall: Duration::from_secs(30),
    whole: Duration::from_secs(600),
};
const PATH: &str = "/media/";

/// The URLs that documents are fetched from.
#[derive(Debug, Clone)]
pub struct Media {
    base: String,
    marker: Marker,
    valid_for: SignedDuration,
}

impl Media {
    /// Below the public URL `base`, each good for `valid_for`; `marker` is that for [`crate::spool::Purpose::Media`].
    #[must_use]
    pub fn new(base: &str, marker: Marker, valid_for: SignedDuration) -> Self {
        Media { base: base.trim_end_matches('/').to_owned(), marker, valid_for }
    }

    /// Where the document of the Attempt with `reference` can be fetched from `now` on.
    #[must_use]
    pub fn url_for(&self, reference: &str, now: Timestamp) -> String {
        let expiry = now.as_second().saturating_add(self.valid_for.as_secs());
        let pass = format!("{reference}.{expiry}");
        format!("{}{PATH}{pass}.{}", self.base, self.marker.mark(&pass))
    }

    /// The Attempt that `path` is a good URL for.
    fn admits(&self, path: &str, now: Timestamp) -> Option<(JobId, u32)> {
        let (pass, mark) = path.strip_prefix(PATH)?.rsplit_once('.')?;
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
        listener: TcpListener,
        tls: Option<Arc<ServerConfig>>,
        shutdown: watch::Receiver<bool>,
    ) {
        self.serve_within(LIMITS, listener, tls, shutdown).await;
    }

    async fn serve_within(
        self,
        limits: Limits,
        listener: TcpListener,
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
    async fn answer(self: &Arc<Self>, request: Request, leaving: &Arc<Leaving>) -> Option<Answer> {
        let (Parts { method, uri, .. }, _) = request.into_parts();
        let (job, attempt) = self.media.admits(uri.path(), self.clock.now())?;
        let head_only = method == Method::HEAD;
        if uri.query().is_some() || !(head_only || method == Method::GET) {
            return None;
        }
        // Taken before it is asked whether the document was fetched: a transfer gives this back only when that is noted.
        let seat = if head_only { None } else { Some(leaving.take(job, attempt)?) };
        let failed = |error: &dyn std::fmt::Display| {
            tracing::error!(job.id = %job, "job {job}: its document cannot be handed out: {error}");
        };
        let fetch = self.store.fetchable(job, attempt).await.inspect_err(|error| failed(error)).ok()??;
        if head_only {
            return Some(paper(&fetch, Body::empty()).into());
        }
        let container = self.container(&fetch).await.inspect_err(|error| failed(error)).ok()?;
        let whole = Arc::new(AtomicBool::new(false));
        let measured = Measured { bytes: fetch.bytes, sha256: fetch.sha256.clone() };
        let body = Body::from_stream(container.into_stream(measured, Arc::clone(&whole)));
        let host = Arc::clone(self);
        let done = async move {
            if whole.load(Ordering::Acquire) {
                host.fetched(job, attempt).await;
            }
            drop(seat);
        };
        Some(Answer::from(paper(&fetch, body)).afterwards(done))
    }

    async fn container(&self, fetch: &Fetch) -> Result<Container, SpoolError> {
        let key = self.spool.unwrap_key(&WrappedKey(fetch.wrapped_key.clone()))?;
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

fn paper(fetch: &Fetch, body: Body) -> Response {
    let headers = [
        (CONTENT_TYPE, "application/pdf".to_owned()),
        (CONTENT_LENGTH, fetch.bytes.to_string()),
        (CACHE_CONTROL, "no-store".to_owned()),
    ];
    (headers, body).into_response()
}

/// The Attempts whose documents are on their way out.
#[derive(Default)]
struct Leaving(Mutex<HashSet<(JobId, u32)>>);

/// One of them, until this is dropped.
struct Seat {
    all: Arc<Leaving>,
    attempt: (JobId, u32),
}

impl Leaving {
    /// `None` where the document of that Attempt is on its way already.
    fn take(self: &Arc<Self>, job: JobId, attempt: u32) -> Option<Seat> {
        let attempt = (job, attempt);
        let new = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(attempt);
        new.then(|| Seat { all: Arc::clone(self), attempt })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.all.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.attempt);
    }
}

#[cfg(test)]
mod tests;
