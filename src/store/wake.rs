//! Notices that there is work: who makes a row tells who waits for such rows.
//!
//! A notice within the process ([`Wake`]) is for those for whom half a second is long. Whoever waits for rows is told of every commit
//! too ([`Commits`]), so a notice that is lost costs that time and nothing else. Behind the trait, since a notice of this process
//! reaches this node only: with a database that several nodes share, it has to come from there.

use std::fmt::Debug;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::sync::{Notify, watch};

/// Tells one kind of work.
pub trait Wake: Debug + Send + Sync {
    /// There is work.
    fn wake(&self);

    /// Waits until there is. What was told while nobody waited is kept, once for all the times it was told.
    fn woken(&self) -> BoxFuture<'_, ()>;
}

impl Wake for Notify {
    fn wake(&self) {
        self.notify_one();
    }

    fn woken(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.notified())
    }
}

/// A notice that this process gives itself.
#[must_use]
pub fn within_process() -> Arc<dyn Wake> {
    Arc::new(Notify::new())
}

/// Tells that something was committed, by this process or another, half a second late at most.
#[derive(Debug, Clone)]
pub struct Commits(pub(super) watch::Receiver<u64>);

impl Commits {
    /// Waits until there is something new since the last time; for ever where the store is only looked at.
    pub async fn made(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_notice_is_kept_once_for_who_comes_later() {
        let wake = within_process();
        let woken = async || tokio::time::timeout(std::time::Duration::ZERO, wake.woken()).await.is_ok();
        assert!(!woken().await);
        wake.wake();
        wake.wake();
        assert!(woken().await);
        assert!(!woken().await);
    }
}
