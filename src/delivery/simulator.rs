//! The adapter for faxbridge's own simulator.

use std::time::Duration;

use axum::http::HeaderMap;
use futures_util::future::BoxFuture;
use jiff::Timestamp;

use super::{
    AskError, BuildError, Cancelled, Capabilities, Found, News, Order, Provider, Secrets, Status,
    SubmitError, Taken, WebhookRefusal,
};

/// A simulator somewhere.
pub struct Simulator {
    name: String,
}

impl Simulator {
    /// The adapter for the simulator at `url`.
    ///
    /// # Errors
    /// [`BuildError`] when the URL is none or the token cannot travel in a header.
    pub fn new(name: &str, _url: &str, _timeout: Duration, _secrets: &Secrets) -> Result<Self, BuildError> {
        Ok(Simulator { name: name.to_owned() })
    }
}

impl Provider for Simulator {
    fn name(&self) -> &str {
        &self.name
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            finds_by_reference: true,
            cancels: true,
            deletes: true,
            reports_remote_id: true,
            reports_pages: true,
            prints_header: false,
            signs_webhooks: true,
            max_pages: None,
            max_bytes: None,
        }
    }

    fn submit<'a>(&'a self, _order: Order<'a>) -> BoxFuture<'a, Result<Taken, SubmitError>> {
        Box::pin(async { Err(SubmitError::Unknown { detail: "not built yet".into() }) })
    }

    fn status<'a>(&'a self, _provider_ref: &'a str) -> BoxFuture<'a, Result<Status, AskError>> {
        Box::pin(async { Err(AskError::Unsupported) })
    }

    fn find<'a>(&'a self, _reference: &'a str) -> BoxFuture<'a, Result<Option<Found>, AskError>> {
        Box::pin(async { Err(AskError::Unsupported) })
    }

    fn cancel<'a>(&'a self, _provider_ref: &'a str) -> BoxFuture<'a, Result<Cancelled, AskError>> {
        Box::pin(async { Err(AskError::Unsupported) })
    }

    fn delete<'a>(&'a self, _provider_ref: &'a str) -> BoxFuture<'a, Result<(), AskError>> {
        Box::pin(async { Err(AskError::Unsupported) })
    }

    fn read_webhook(
        &self,
        _headers: &HeaderMap,
        _body: &[u8],
        _now: Timestamp,
    ) -> Result<Vec<News>, WebhookRefusal> {
        Err(WebhookRefusal::NoKey)
    }

    fn check(&self) -> BoxFuture<'_, Result<(), AskError>> {
        Box::pin(async { Err(AskError::Unsupported) })
    }
}
