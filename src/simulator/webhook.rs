//! Sends signed webhooks, a few times where the receiver does not answer 2xx.

use std::time::Duration;

use reqwest::Client;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use super::api::Ending;
use super::book::Fax;
use crate::clock::SharedClock;

/// Tries per webhook; the pause doubles after each.
const TRIES: u32 = 5;

/// Webhooks on their way at once.
const AT_ONCE: usize = 64;

pub(super) struct Reporter {
    pub(super) client: Client,
    key: Zeroizing<Vec<u8>>,
    clock: SharedClock,
    /// After the first failure.
    pause: Duration,
    slots: Semaphore,
}

impl Reporter {
    pub(super) fn new(key: Zeroizing<Vec<u8>>, clock: SharedClock, pause: Duration) -> reqwest::Result<Self> {
        let client = Client::builder()
            .timeout(Duration::from_secs(10))
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .build()?;
        Ok(Reporter { client, key, clock, pause, slots: Semaphore::new(AT_ONCE) })
    }

    /// Tells `url` how `fax` stands, in the words of the API that it came by; false when nobody wanted to know.
    pub(super) async fn tell(&self, url: &str, fax: &Fax, document: Option<&[u8]>) -> bool {
        let mut pause = self.pause;
        for remaining in (0..TRIES).rev() {
            if self.post(url, fax, document).await {
                return true;
            }
            if remaining > 0 {
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
        }
        false
    }

    /// Tells `url` once how `fax` stands on its way, where its API does that. Nobody depends on it.
    pub(super) async fn progress(&self, url: &str, fax: &Fax) {
        for message in fax.face.progress(fax, &self.key, self.clock.now()) {
            let Ok(_slot) = self.slots.acquire().await else { return };
            let _ = self.client.post(url).headers(message.headers).body(message.body).send().await;
        }
    }

    async fn post(&self, url: &str, fax: &Fax, document: Option<&[u8]>) -> bool {
        let Ok(_slot) = self.slots.acquire().await else { return false };
        // Made anew each time: with an old signature a late retry would be taken for a replay.
        let ending = Ending { fax, document, url, key: &self.key, now: self.clock.now() };
        let message = fax.face.message(&ending);
        let Some(message) = message else { return false };
        let request = self.client.post(url).headers(message.headers).body(message.body);
        request.send().await.is_ok_and(|response| response.status().is_success())
    }
}
