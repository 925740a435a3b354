//! A living simulator with an account there, and the stories that every adapter goes through.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::routing::get;
use bytes::Bytes;
use futures_util::stream;
use tempfile::TempDir;
use tokio::net::TcpListener;

use super::{
    Arrived, Inbox, KEY, REFERENCE, Slip, TOKEN, adapter, end_word, find, now, pdf, receiver, send, word,
};
use crate::delivery::{
    AskError, Found, Hook, News, Provider, Search, Status, SubmitError, Taken, WebhookRefusal,
};
use crate::job::{Outcome, Report};
use crate::simulator::server::{Fax, Options, Running, serve};

/// An account, as it is configured.
#[derive(Clone, Copy)]
pub(in crate::delivery) struct Account {
    /// Where the simulator has the face of the provider.
    pub(in crate::delivery) path: &'static str,
    /// Its section, but for `url` and `timeout`.
    pub(in crate::delivery) keys: &'static str,
    /// The pages that the status of a delivered fax shows, of a document of three.
    pub(in crate::delivery) shows_pages: u32,
}

impl Account {
    /// Its section with the API at `url`.
    pub(in crate::delivery) fn section(&self, url: &str, timeout: u64) -> String {
        format!("{}\nurl = \"{url}\"\ntimeout = \"{timeout} ms\"", self.keys)
    }

    /// Its adapter with the API at `url`.
    pub(in crate::delivery) fn adapter(&self, url: &str) -> Box<dyn Provider> {
        adapter(&self.section(url, 20_000), TOKEN).unwrap()
    }
}

/// A simulator and an account there.
pub(in crate::delivery) struct Stage {
    pub(in crate::delivery) simulator: Running,
    pub(in crate::delivery) adapter: Box<dyn Provider>,
    pub(in crate::delivery) folder: TempDir,
    pub(in crate::delivery) hook: String,
    pub(in crate::delivery) inbox: Inbox,
    /// In place of the bridge's own media host, where the provider fetches documents.
    pub(in crate::delivery) media: Option<String>,
    pub(super) account: Account,
}

impl Stage {
    /// A simulator that is called at once.
    pub(in crate::delivery) async fn open(account: Account) -> Stage {
        Stage::set(account, |_| {}).await
    }

    /// A simulator changed by `change`.
    pub(in crate::delivery) async fn set(account: Account, change: impl FnOnce(&mut Options)) -> Stage {
        let folder = TempDir::new().unwrap();
        let mut options = Options::new(folder.path().to_owned(), TOKEN, KEY);
        options.call_time = Duration::from_millis(5);
        options.late_by = Duration::from_secs(30);
        options.webhook_pause = Duration::from_millis(5);
        change(&mut options);
        let simulator = serve(options).await.unwrap();
        let adapter = account.adapter(&format!("{}{}", simulator.url(), account.path));
        let (hook, inbox) = receiver(0).await;
        let media = if adapter.capabilities().fetches { Some(media_host().await) } else { None };
        Stage { simulator, adapter, folder, hook, inbox, media, account }
    }

    /// Where the provider's API is.
    pub(in crate::delivery) fn url(&self) -> String {
        format!("{}{}", self.simulator.url(), self.account.path)
    }

    /// Hands over a fax of three pages, with a webhook whose URL carries the reference.
    pub(in crate::delivery) async fn send(
        &self,
        number: &str,
        reference: &str,
    ) -> Result<Taken, SubmitError> {
        self.send_by(self.adapter.as_ref(), number, reference, "/fax.pdf").await
    }

    /// The same by another adapter, and where it is fetched with the document at `path`.
    pub(in crate::delivery) async fn send_by(
        &self,
        adapter: &dyn Provider,
        number: &str,
        reference: &str,
        path: &str,
    ) -> Result<Taken, SubmitError> {
        let hook = format!("{}?ref={reference}", self.hook);
        let Some(media) = &self.media else {
            return send(adapter, number, reference, &pdf(3), Some(&hook)).await;
        };
        let media = format!("{media}{path}");
        let slip = Slip { hook: Some(&hook), media: Some(&media), ..Slip::new(number, reference, &pdf(3)) };
        adapter.submit(slip.order(stream::empty())).await
    }

    /// The fax with that reference, if the provider lists it.
    pub(in crate::delivery) async fn listed(&self, reference: &str, number: &str) -> Option<Found> {
        match find(self.adapter.as_ref(), reference, number).await {
            Ok(Search::Found(found)) => Some(found),
            Ok(Search::NotListed) => None,
            Err(AskError::Unsupported) if !self.adapter.capabilities().finds_by_reference => None,
            other => panic!("{other:?}"),
        }
    }

    /// How the fax with that reference ended.
    pub(in crate::delivery) async fn end(&self, reference: &str, number: &str) -> Report {
        let found = self.listed(reference, number).await.unwrap();
        let Status::Ended(report) = found.status.clone() else { panic!("it has not ended: {found:?}") };
        assert_eq!(self.adapter.status(&found.provider_ref).await.unwrap(), found.status);
        report
    }

    pub(in crate::delivery) fn paper(&self, fax: &Fax) -> Option<Vec<u8>> {
        std::fs::read(self.folder.path().join(format!("{}.pdf", fax.id))).ok()
    }

    /// Documents that the simulator keeps for the client.
    pub(in crate::delivery) fn copies(&self) -> usize {
        std::fs::read_dir(self.folder.path().join(".copies")).unwrap().count()
    }

    /// An answer later than the client waits, which is `timeout` milliseconds, leaves it unknown,
    /// and the fax is there.
    pub(in crate::delivery) async fn answers_too_late(&self, timeout: u64) {
        let hasty = adapter(&self.account.section(&self.url(), timeout), TOKEN).unwrap();
        let (number, reference) = ("+12125550120", "job20-1");
        let result = self.send_by(hasty.as_ref(), number, reference, "/fax.pdf").await;
        assert_eq!(word(&result), "unknown");
        self.simulator.idle().await;
        assert!(self.simulator.faxes().iter().any(|fax| fax.reference == reference && fax.printed));
        if self.adapter.capabilities().finds_by_reference {
            assert_eq!(self.end(reference, number).await.outcome, Outcome::Delivered);
        }
    }

    /// A list that lags does not show the fax when it is asked first. Returns what it showed then.
    pub(in crate::delivery) async fn list_lags(&self) -> Search {
        let (number, reference) = ("+12125550126", "job26-1");
        assert_eq!(word(&self.send(number, reference).await), "unknown");
        self.simulator.idle().await;
        let first = find(self.adapter.as_ref(), reference, number).await.unwrap();
        assert_eq!(self.end(reference, number).await.outcome, Outcome::Delivered);
        first
    }

    /// A document that breaks off, ends early or goes on too long is certainly not sent.
    pub(in crate::delivery) async fn document_breaks_off(&self) {
        let whole = pdf(3);
        let start = || Ok(Bytes::copy_from_slice(&whole[..100]));
        let faulty: [Vec<std::io::Result<Bytes>>; 3] = [
            vec![start(), Err(std::io::ErrorKind::InvalidData.into())],
            vec![start()],
            vec![Ok(Bytes::copy_from_slice(&whole)), Ok(Bytes::from_static(b"more"))],
        ];
        for pieces in faulty {
            let slip = Slip::new("+12125550100", REFERENCE, &whole);
            let result = self.adapter.submit(slip.order(stream::iter(pieces))).await;
            assert_eq!(word(&result), "not sent provider_trouble");
        }
        assert_eq!(self.simulator.faxes(), []);
    }

    /// A wrong secret is trouble with the account, and the key at fault is named; the right one is
    /// well.
    pub(in crate::delivery) async fn wrong_secret(&self, key: &str) {
        let stranger = adapter(&self.account.section(&self.url(), 20_000), "guess").unwrap();
        let result = match self.media {
            Some(_) => self.send_by(stranger.as_ref(), "+12125550100", REFERENCE, "/fax.pdf").await,
            // More than fits into the buffers of a connection: the answer comes before its end.
            None => send(stranger.as_ref(), "+12125550100", REFERENCE, &vec![b'x'; 3 << 20], None).await,
        };
        assert_eq!(word(&result), "not sent account_trouble");
        assert!(matches!(stranger.status("1").await, Err(AskError::Account { .. })));
        let found = find(stranger.as_ref(), REFERENCE, "+12125550100").await;
        assert!(matches!(found, Err(AskError::Account { .. } | AskError::Unsupported)));
        assert_eq!(stranger.check().await.unwrap_err().key, key);
        assert_eq!(self.adapter.check().await, Ok(()));
        assert_eq!(self.simulator.faxes(), []);
    }

    /// A wrong URL proves nothing about any fax. A submit there comes to `submit`.
    pub(in crate::delivery) async fn wrong_url(&mut self, submit: &str) {
        fn proves_nothing<T>(can: bool, answer: &Result<T, AskError>) {
            match answer {
                Err(AskError::Nonsense { .. }) => {}
                Err(AskError::Unsupported) if !can => {}
                _ => panic!("it proves something"),
            }
        }
        let lost = self.account.adapter(&format!("{}/elsewhere{}", self.simulator.url(), self.account.path));
        let can = lost.capabilities();
        proves_nothing(true, &lost.status("1").await);
        proves_nothing(can.cancels, &lost.cancel("1").await);
        proves_nothing(can.deletes, &lost.delete("1").await);
        proves_nothing(can.finds_by_reference, &find(lost.as_ref(), REFERENCE, "+12125550100").await);
        assert_eq!(lost.check().await.unwrap_err().key, "url");
        let result = self.send_by(lost.as_ref(), "+12125550100", REFERENCE, "/fax.pdf").await;
        assert_eq!(word(&result), submit);
        self.simulator.close().await;
        assert_eq!(word(&self.send("+12125550100", REFERENCE).await), "not sent provider_trouble");
        assert_eq!(self.simulator.faxes(), []);
    }

    /// Deleting an ended fax removes the provider's copy and can be repeated. Returns why one
    /// cannot be deleted that is taken for the number with this `ending`, and has not ended.
    pub(in crate::delivery) async fn deletes_what_has_ended(&self, ending: &str) -> AskError {
        let id = self.send("+12125550100", REFERENCE).await.unwrap().provider_ref;
        self.simulator.idle().await;
        assert_eq!(self.copies(), 1);
        for _ in 0..2 {
            assert_eq!(self.adapter.delete(&id).await, Ok(()), "gone already is well");
        }
        assert_eq!(self.copies(), 0);
        assert_eq!(self.adapter.status(&id).await, Ok(Status::NotThere));
        let open = self.send(&format!("+121255501{ending}"), "jobb-1").await.unwrap().provider_ref;
        self.simulator.idle().await;
        let refusal = self.adapter.delete(&open).await.unwrap_err();
        assert_eq!(self.copies(), 1);
        refusal
    }

    /// What comes of cancelling a fax that waits, the same once more, one that is being sent and
    /// one that has ended; and how the first of them stands then.
    pub(in crate::delivery) async fn cancels(&self) -> [String; 5] {
        let word = async |id: &str| match self.adapter.cancel(id).await {
            Ok(cancelled) => format!("{cancelled:?}"),
            Err(AskError::NoAnswer { .. }) => "ask again".to_owned(),
            Err(error) => format!("{error:?}"),
        };
        let mut ids = Vec::new();
        for ending in ["35", "36", "00"] {
            let number = format!("+121255501{ending}");
            ids.push(self.send(&number, &format!("job{ending}-1")).await.unwrap().provider_ref);
        }
        self.simulator.idle().await;
        let words = [word(&ids[0]).await, word(&ids[0]).await, word(&ids[1]).await, word(&ids[2]).await];
        let [first, again, sending, ended] = words;
        [first, again, sending, ended, end_word(&self.adapter.status(&ids[0]).await.unwrap())]
    }

    /// Webhooks are hints, whatever they say of the end. They name the fax in their URL, or by the
    /// provider's name for it.
    pub(in crate::delivery) async fn webhooks_are_hints(&mut self, by_url: bool) {
        for (ending, times) in [("00", 1), ("12", 1), ("21", 2), ("22", 1), ("23", 0)] {
            let (taken, reference, webhooks) = self.webhooks(ending, times).await;
            let (provider_ref, reference) =
                if by_url { (None, Some(reference)) } else { (Some(taken.provider_ref), None) };
            let hint = News { provider_ref, reference, status: Status::Working };
            for arrived in webhooks {
                let news = self.adapter.read_webhook(&arrived.hook(), now());
                assert_eq!(news, Ok(vec![hint.clone()]), "{ending}");
                let nameless = Hook { reference: None, ..arrived.hook() };
                let news = self.adapter.read_webhook(&nameless, now());
                assert!(!by_url || matches!(news, Err(WebhookRefusal::Malformed(_))), "{ending}");
            }
        }
    }

    /// The webhooks about a fax to that ending: so many, and those of 22 before the answer.
    pub(in crate::delivery) async fn webhooks(
        &mut self,
        ending: &str,
        times: usize,
    ) -> (Taken, String, Vec<Arrived>) {
        let reference = format!("job{ending}-1");
        let taken = self.send(&format!("+121255501{ending}"), &reference).await.unwrap();
        assert!(ending != "22" || self.inbox.len() == times, "it came before the answer");
        self.simulator.idle().await;
        assert_eq!(self.inbox.len(), times, "{ending}");
        let mut arrived = Vec::new();
        while let Ok(webhook) = self.inbox.try_recv() {
            arrived.push(webhook);
        }
        (taken, reference, arrived)
    }
}

/// A fax of three pages, and ways not to get it.
async fn media_host() -> String {
    let chunked = async || Body::from_stream(stream::iter([Ok::<_, std::io::Error>(Bytes::from(pdf(3)))]));
    let router = Router::new()
        .route("/fax.pdf", get(async || pdf(3)))
        .route("/nonsense.pdf", get(async || "no PDF at all"))
        .route("/endless.pdf", get(chunked))
        .route("/moved.pdf", get(async || (StatusCode::FOUND, [(LOCATION, "/fax.pdf")])));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, router).into_future());
    url
}
