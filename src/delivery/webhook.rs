//! Where providers report back: `POST /hooks/NAME`.
//!
//! A webhook is believed only as far as "there is news": its Job is looked at now, and the worker asks the provider itself.
//! So a webhook that comes twice, out of order, before the answer to the submit, or from a stranger can do no harm; and one
//! that never comes is made up for by polling.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};

use super::worker::Providers;
use super::{Hook, Status};
use crate::clock::SharedClock;
use crate::store::Store;

/// Largest webhook that is read. Some providers send the document along; it is not wanted.
const LARGEST: usize = 1 << 20;

/// For requests under way when the daemon stops. A stranger who never ends his must not keep it from stopping, or
/// from coming back with a new configuration.
const FAREWELL: Duration = Duration::from_secs(5);

struct Desk {
    providers: Providers,
    store: Store,
    clock: SharedClock,
    wake: Arc<Notify>,
}

/// Listens until `shutdown` turns true.
///
/// # Errors
/// Where the listener fails.
pub async fn serve(
    listener: TcpListener,
    providers: Providers,
    store: Store,
    clock: SharedClock,
    wake: Arc<Notify>,
    mut shutdown: watch::Receiver<bool>,
) -> std::io::Result<()> {
    let desk = Arc::new(Desk { providers, store, clock, wake });
    let router = Router::new()
        .route("/hooks/{provider}", post(take))
        .layer(DefaultBodyLimit::max(LARGEST))
        .with_state(desk);
    let mut asked = shutdown.clone();
    let served = axum::serve(listener, router).with_graceful_shutdown(async move {
        let _ = asked.wait_for(|stop| *stop).await;
    });
    tokio::select! {
        served = served.into_future() => served,
        () = async {
            let _ = shutdown.wait_for(|stop| *stop).await;
            tokio::time::sleep(FAREWELL).await;
        } => Ok(()),
    }
}

async fn take(
    State(desk): State<Arc<Desk>>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let Some(provider) = desk.providers.get(&name) else { return StatusCode::NOT_FOUND };
    let now = desk.clock.now();
    let hook = Hook { url: "", reference: None, headers: &headers, body: &body };
    let news = match provider.read_webhook(&hook, now) {
        Ok(news) => news,
        Err(refusal) => {
            tracing::warn!(provider = name, "a webhook for {name} is not believed: {refusal}");
            return StatusCode::FORBIDDEN;
        }
    };
    for item in news {
        let told = match item.status {
            Status::Ended(report) => Some(report),
            Status::Working | Status::NotThere => None,
        };
        let (reference, provider_ref) = (item.reference.as_deref(), item.provider_ref.as_deref());
        let noted = desk.store.note_news(&name, reference, provider_ref, told, now).await;
        match noted {
            Ok(Some(_)) => desk.wake.notify_one(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_request_without_an_end_does_not_keep_it_from_stopping() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), "test").await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        let clock: SharedClock = Arc::new(crate::clock::SystemClock);
        let served = tokio::spawn(serve(listener, Providers::new(), store, clock, Arc::default(), stopped));
        let mut endless = tokio::net::TcpStream::connect(address).await.unwrap();
        let begun = b"POST /hooks/x HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n";
        tokio::io::AsyncWriteExt::write_all(&mut endless, begun).await.unwrap();
        // A whole exchange, so that the one before it is certainly served too.
        assert!(reqwest::get(format!("http://{address}/")).await.is_ok());
        stop.send(true).unwrap();
        tokio::time::timeout(FAREWELL * 3, served).await.expect("it stops").unwrap().unwrap();
        drop(endless);
    }
}
