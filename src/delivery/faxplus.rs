//! The adapter for Fax.Plus REST API v3.

use std::convert::Infallible;

use futures_util::future::BoxFuture;
use jiff::Timestamp;

use super::{
    AskError, Cancelled, Capabilities, CheckFault, Hook, News, Order, Provider, Search, Secrets, Sought,
    Status, SubmitError, Taken, WebhookRefusal,
};
use crate::config;

/// An account with Faxplus.
pub struct Faxplus(Infallible);

impl Faxplus {
    /// The adapter for the account in `section`.
    ///
    /// # Errors
    /// A sentence that begins with the key at fault.
    pub fn new(_name: &str, _section: &config::Provider, _secrets: &Secrets) -> Result<Self, String> {
        Err("kind: is not built yet".into())
    }
}

impl Provider for Faxplus {
    fn name(&self) -> &str {
        match self.0 {}
    }

    fn capabilities(&self) -> Capabilities {
        match self.0 {}
    }

    fn submit<'a>(&'a self, _order: Order<'a>) -> BoxFuture<'a, Result<Taken, SubmitError>> {
        match self.0 {}
    }

    fn status<'a>(&'a self, _provider_ref: &'a str) -> BoxFuture<'a, Result<Status, AskError>> {
        match self.0 {}
    }

    fn find<'a>(&'a self, _sought: Sought<'a>) -> BoxFuture<'a, Result<Search, AskError>> {
        match self.0 {}
    }

    fn cancel<'a>(&'a self, _provider_ref: &'a str) -> BoxFuture<'a, Result<Cancelled, AskError>> {
        match self.0 {}
    }

    fn delete<'a>(&'a self, _provider_ref: &'a str) -> BoxFuture<'a, Result<(), AskError>> {
        match self.0 {}
    }

    fn read_webhook(&self, _hook: &Hook<'_>, _now: Timestamp) -> Result<Vec<News>, WebhookRefusal> {
        match self.0 {}
    }

    fn check(&self) -> BoxFuture<'_, Result<(), CheckFault>> {
        match self.0 {}
    }
}
