//! Notices that there is work: who makes a row tells who waits for such rows.
//!
//! Each waiter looks for itself now and then, so a notice that is lost costs time and nothing else. Behind the trait, since a notice
//! of this process reaches this node only: with a database that several nodes share, it has to come from there.

use std::fmt::Debug;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::sync::Notify;

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
