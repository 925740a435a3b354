//! Where providers report back: `POST /hooks/NAME/TOKEN?ref=REFERENCE`.
//!
//! The URL is given to the provider and to nobody else. TOKEN is a mark of NAME under the master key
//! ([`crate::vault::Marker`]): nobody can guess it, nobody has to remember it, and it is the same after every restart. It is
//! checked before one byte of the body is read; without the right one there is nothing here. REFERENCE names the Attempt, so
//! that the webhook of a provider that does not sign need not be understood at all.
//!
//! A webhook that is not signed is believed only as far as "there is news": its Job is looked at now, and the worker asks the
//! provider itself. One that is signed is the provider's word on that very Attempt: the first final one settles it, and no later
//! one changes that ([`Store::note_news`]). So a webhook that comes twice, out of order, before the answer to the submit, or from
//! a stranger can do no harm; and one that never comes is made up for by polling.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::http::header::CONTENT_LENGTH;
use axum::http::{HeaderMap, Method, StatusCode};
use futures_util::StreamExt;
use rustls::ServerConfig;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use super::door::{Door, Limits};
use super::worker::Providers;
use super::{Hook, Provider, Status, WebhookRefusal};
use crate::alarm::Alarms;
use crate::clock::SharedClock;
use crate::listener::Socket;
use crate::store::{Heard, Store, Wake};
use crate::vault::Marker;

/// Largest webhook that is read. Some providers send the document along; it is not wanted. The news of a larger one are found
/// out by polling.
const LARGEST: usize = 16 << 20;
/// Bodies in memory at once.
const BODIES: usize = 8;
/// How long a body may take to arrive, the wait for a place in memory included.
const BODY_TIME: Duration = Duration::from_secs(60);
const LIMITS: Limits = Limits {
    connections: 64,
    head: Duration::from_secs(10),
    stall: Duration::from_secs(20),
    whole: Duration::from_secs(120),
};
const PATH: &str = "/hooks/";

/// The URLs that providers report to.
#[derive(Debug, Clone)]
pub struct Hooks {
    base: String,
    marker: Marker,
}

impl Hooks {
    /// Below the public URL `base`; `marker` is that for [`crate::vault::Purpose::Webhook`].
    #[must_use]
    pub fn new(base: &str, marker: Marker) -> Self {
        Hooks { base: base.trim_end_matches('/').to_owned(), marker }
    }

    /// Where `provider` is to report on the Attempt with `reference`, or on whatever it has news of.
    #[must_use]
    pub fn url_for(&self, provider: &str, reference: Option<&str>) -> String {
        let name = segment(provider);
        let token = self.marker.mark(&name);
        let query = reference.map_or(String::new(), |reference| format!("?ref={}", segment(reference)));
        format!("{}{PATH}{name}/{token}{query}", self.base)
    }

    /// The provider's name, as it stands in `path`, where the token behind it is right.
    fn admits<'p>(&self, path: &'p str) -> Option<&'p str> {
        let (name, token) = path.strip_prefix(PATH)?.split_once('/')?;
        self.marker.is_mark(name, token).then_some(name)
    }
}

/// `name` as a segment of a path or a value of a query.
fn segment(name: &str) -> String {
    name.bytes().fold(String::new(), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
        text
    })
}

/// The value of `ref` in a query; `None` for what no reference of ours looks like.
fn reference_in(query: &str) -> Option<&str> {
    let reference = query.split('&').find_map(|pair| pair.strip_prefix("ref="))?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    ((1..=64).contains(&reference.len()) && reference.bytes().all(plain)).then_some(reference)
}

/// What takes webhooks.
pub struct WebhookReceiver {
    /// The URLs they come to.
    pub hooks: Hooks,
    /// Who may report.
    pub providers: Providers,
    /// Whose Jobs are woken.
    pub store: Store,
    /// Time.
    pub clock: SharedClock,
    /// Told what wants a person.
    pub alarms: Alarms,
    /// Told when a Job is to be looked at.
    pub wake: Arc<dyn Wake>,
}

impl WebhookReceiver {
    /// Listens until `shutdown` turns true.
    pub async fn serve(
        self,
        listener: impl Into<Socket>,
        tls: Option<Arc<ServerConfig>>,
        shutdown: watch::Receiver<bool>,
    ) {
        self.serve_within(LIMITS, BODY_TIME, listener, tls, shutdown).await;
    }

    async fn serve_within(
        self,
        limits: Limits,
        body_time: Duration,
        listener: impl Into<Socket>,
        tls: Option<Arc<ServerConfig>>,
        shutdown: watch::Receiver<bool>,
    ) {
        let alarms = self.alarms.clone();
        let (desk, places) = (Arc::new(self), Arc::new(Semaphore::new(BODIES)));
        let handler = move |request| {
            let (desk, places) = (Arc::clone(&desk), Arc::clone(&places));
            async move { desk.take(request, &places, body_time).await.into() }
        };
        Door { name: "the webhook listener", key: "webhook.listen", alarms, tls, limits, handler }
            .serve(listener, shutdown)
            .await;
    }

    async fn take(&self, request: Request, places: &Semaphore, body_time: Duration) -> StatusCode {
        let (head, body) = request.into_parts();
        // The token first, for names of nobody too: how long it takes tells nothing about who is configured.
        let Some(admitted) = self.hooks.admits(head.uri.path()) else { return StatusCode::NOT_FOUND };
        let provider = self.providers.iter().find(|(name, _)| segment(name) == admitted);
        let Some((name, provider)) = provider else { return StatusCode::NOT_FOUND };
        if head.method != Method::POST {
            return StatusCode::NOT_FOUND;
        }
        if announced(&head.headers).is_some_and(|length| length > LARGEST as u64) {
            tracing::info!(provider = name, "a webhook for {name} is too large to be read");
            return StatusCode::PAYLOAD_TOO_LARGE;
        }
        let read = timeout(body_time, async {
            let place = places.acquire().await;
            (read(body.into_data_stream()).await, place)
        });
        // The place is kept for as long as the body is.
        let (body, _place) = match read.await {
            Ok((Ok(body), place)) => (body, place),
            Ok((Err(status), _)) => {
                tracing::info!(provider = name, "a webhook for {name} could not be read: {status}");
                return status;
            }
            Err(_) => {
                tracing::info!(provider = name, "a webhook for {name} took too long");
                return StatusCode::REQUEST_TIMEOUT;
            }
        };
        let received = head.uri.path_and_query().map_or(head.uri.path(), |received| received.as_str());
        let hook = Hook {
            url: &format!("{}{received}", self.hooks.base),
            reference: head.uri.query().and_then(reference_in),
            headers: &head.headers,
            body: &body,
        };
        self.note(name, provider.as_ref(), &hook).await
    }

    async fn note(&self, name: &str, provider: &dyn Provider, hook: &Hook<'_>) -> StatusCode {
        let now = self.clock.now();
        let news = match provider.read_webhook(hook, now) {
            Ok(news) => news,
            Err(refusal) => {
                tracing::warn!(provider = name, "a webhook for {name} is not believed: {refusal}");
                return match refusal {
                    WebhookRefusal::Malformed(_) => StatusCode::BAD_REQUEST,
                    _ => StatusCode::FORBIDDEN,
                };
            }
        };
        let signed = provider.capabilities().signs_webhooks;
        for item in news {
            let ended = match item.status {
                Status::Ended(report) => Some(report),
                Status::Working | Status::NotThere => None,
            };
            let heard = Heard { reference: item.reference, provider_ref: item.provider_ref, signed, ended };
            match self.store.note_news(name, heard, now).await {
                Ok(Some(_)) => self.wake.wake(),
                // Taken all the same, or the provider would repeat it.
                Ok(None) => tracing::debug!(provider = name, "a webhook for {name} names no open job"),
                // Not taken: the provider will repeat it, and polling finds out anyway.
                Err(error) => {
                    tracing::error!(provider = name, error = %error, "a webhook for {name} could not be noted: {error}");
                    return StatusCode::SERVICE_UNAVAILABLE;
                }
            }
        }
        StatusCode::NO_CONTENT
    }
}

/// How long the body is said to be.
fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The whole body, or why not.
async fn read(mut pieces: axum::body::BodyDataStream) -> Result<Vec<u8>, StatusCode> {
    let mut body = Vec::new();
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|_| StatusCode::BAD_REQUEST)?;
        if body.len() + piece.len() > LARGEST {
            return Err(StatusCode::PAYLOAD_TOO_LARGE);
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

#[cfg(test)]
mod tests;
