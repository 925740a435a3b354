//! Token sources against an endpoint on this machine that answers by script.

use std::sync::Mutex as Plain;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::routing::post;

use super::*;
use crate::clock::Clock;
use crate::vault::MasterKey;

/// Status and body; a status of 0 is never answered.
type Script = Vec<(u16, &'static str)>;

/// An endpoint that gives the answers of its script in order, the last one for ever.
struct Endpoint {
    url: String,
    asked: Arc<Plain<Vec<String>>>,
}

impl Endpoint {
    async fn new(script: Script) -> Endpoint {
        let asked: Arc<Plain<Vec<String>>> = Arc::default();
        let (seen, next) = (Arc::clone(&asked), Arc::new(AtomicUsize::new(0)));
        let answer = move |body: String| {
            seen.lock().unwrap().push(body);
            let turn = next.fetch_add(1, Ordering::Relaxed).min(script.len() - 1);
            let (status, body) = script[turn];
            async move {
                if status == 0 {
                    std::future::pending::<()>().await;
                }
                (axum::http::StatusCode::from_u16(status).unwrap(), body)
            }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/token", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, Router::new().route("/token", post(answer))).await });
        Endpoint { url, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

#[derive(Debug)]
struct Hands(Plain<Timestamp>);

impl Hands {
    fn new() -> Arc<Hands> {
        Arc::new(Hands(Plain::new(Timestamp::from_second(1_790_000_000).unwrap())))
    }

    fn turn(&self, seconds: i64) {
        let mut now = self.0.lock().unwrap();
        *now = now.saturating_add(SignedDuration::from_secs(seconds)).unwrap();
    }
}

impl Clock for Hands {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

struct Rig {
    folder: tempfile::TempDir,
    clock: Arc<Hands>,
    refresh: std::path::PathBuf,
}

impl Rig {
    fn new() -> Rig {
        let folder = tempfile::tempdir().unwrap();
        let refresh = folder.path().join("refresh");
        std::fs::write(&refresh, "first refresh\n").unwrap();
        std::fs::write(folder.path().join("secret"), "s&cret\n").unwrap();
        Rig { folder, clock: Hands::new(), refresh }
    }

    async fn keeper(&self) -> Keeper {
        let master: [u8; 32] = std::array::from_fn(|place| place as u8);
        let master = MasterKey::from_bytes(&master).unwrap();
        Keeper {
            store: Store::open(self.folder.path(), "test").await.unwrap(),
            vault: Vault::new(&master).unwrap(),
        }
    }

    fn source(&self, flow: &str, url: &str, keeper: Option<Keeper>) -> TokenSource {
        let text = format!(
            "provider = \"other\"\nflow = \"{flow}\"\nclient_id = \"app 1\"\ntoken_url = \"{url}\"\nscope = \"mail a\"\n\
             client_secret = \"file:{}\"\nrefresh_token = \"file:{}\"",
            self.folder.path().join("secret").display(),
            self.refresh.display()
        );
        let section = toml::from_str(&text).unwrap();
        let patience = Duration::from_millis(700);
        TokenSource::patient("x", &section, keeper, self.clock.clone(), patience).unwrap()
    }
}

const GOOD: (u16, &str) = (200, r#"{"access_token":"one","token_type":"Bearer","expires_in":3600}"#);
const SECOND: (u16, &str) = (200, r#"{"access_token":"two","token_type":"Bearer","expires_in":3600}"#);

#[tokio::test]
async fn a_token_is_asked_for_once_and_kept_until_shortly_before_its_end() {
    let (rig, endpoint) = (Rig::new(), Endpoint::new(vec![GOOD, SECOND]).await);
    let source = rig.source("client-credentials", &endpoint.url, None);
    let all = futures_util::future::join_all((0..20).map(|_| source.token())).await;
    assert!(all.into_iter().all(|token| token.unwrap().as_str() == "one"));
    assert_eq!(
        endpoint.asked(),
        ["grant_type=client_credentials&client_id=app%201&client_secret=s%26cret&scope=mail%20a"]
    );
    rig.clock.turn(3600 - 301);
    assert_eq!(source.token().await.unwrap().as_str(), "one");
    rig.clock.turn(2);
    assert_eq!(source.token().await.unwrap().as_str(), "two");
}

#[tokio::test]
async fn a_token_that_a_server_refused_is_renewed_once() {
    let (rig, endpoint) = (Rig::new(), Endpoint::new(vec![GOOD, SECOND]).await);
    let source = rig.source("client-credentials", &endpoint.url, None);
    let refused = source.token().await.unwrap();
    let both = futures_util::future::join(source.renewed(&refused), source.renewed(&refused)).await;
    assert_eq!((both.0.unwrap().as_str(), both.1.unwrap().as_str()), ("two", "two"));
    assert_eq!(endpoint.asked().len(), 2, "two that were refused the same token share the new one");
}

#[tokio::test]
async fn a_new_refresh_token_is_used_from_then_on_also_after_a_restart_and_lies_sealed() {
    let rotated = (200, r#"{"access_token":"one","expires_in":60,"refresh_token":"second-refresh"}"#);
    let (rig, endpoint) = (Rig::new(), Endpoint::new(vec![rotated, GOOD, GOOD]).await);
    let keeper = rig.keeper().await;
    let source = rig.source("refresh-token", &endpoint.url, Some(keeper.clone()));
    source.token().await.unwrap();
    let again = rig.source("refresh-token", &endpoint.url, Some(keeper.clone()));
    again.token().await.unwrap();
    let asked = endpoint.asked();
    assert!(asked[0].starts_with("grant_type=refresh_token&refresh_token=first%20refresh&"), "{asked:?}");
    assert!(asked[1].starts_with("grant_type=refresh_token&refresh_token=second-refresh&"), "{asked:?}");
    let body = keeper.store.token("x").await.unwrap().unwrap();
    assert!(memchr::memmem::find(&body, b"second-refresh").is_none());
    // Another consent makes the kept one worthless.
    std::fs::write(&rig.refresh, "third").unwrap();
    rig.source("refresh-token", &endpoint.url, Some(keeper)).token().await.unwrap();
    assert!(endpoint.asked()[2].starts_with("grant_type=refresh_token&refresh_token=third&"));
}

#[tokio::test]
async fn a_kept_token_that_is_spent_gives_way_to_the_configured_one() {
    let rotated = (200, r#"{"access_token":"one","expires_in":60,"refresh_token":"second"}"#);
    let spent = (400, r#"{"error":"invalid_grant"}"#);
    let (rig, endpoint) = (Rig::new(), Endpoint::new(vec![rotated, spent, SECOND]).await);
    let source = rig.source("refresh-token", &endpoint.url, Some(rig.keeper().await));
    source.token().await.unwrap();
    rig.clock.turn(61);
    assert_eq!(source.token().await.unwrap().as_str(), "two");
    assert!(endpoint.asked()[2].contains("refresh_token=first%20refresh"));
}

#[tokio::test]
async fn a_refusal_holds_for_a_moment_and_no_longer() {
    let refusal = (401, r#"{"error":"invalid_client"}"#);
    let (rig, endpoint) = (Rig::new(), Endpoint::new(vec![refusal, GOOD]).await);
    let source = rig.source("client-credentials", &endpoint.url, None);
    for _ in 0..3 {
        let error = source.token().await.unwrap_err();
        assert_eq!((error.key, error.permanent), ("client_secret", true));
    }
    assert_eq!(endpoint.asked().len(), 1);
    rig.clock.turn(6);
    assert_eq!(source.token().await.unwrap().as_str(), "one");
}

#[tokio::test]
async fn an_endpoint_that_is_slow_or_gone_is_no_fault_of_a_setting() {
    let (rig, endpoint) = (Rig::new(), Endpoint::new(vec![(0, ""), GOOD]).await);
    let source = rig.source("client-credentials", &endpoint.url, None);
    let error = source.token().await.unwrap_err();
    assert_eq!((error.key, error.permanent), ("token_url", false));
    assert!(error.sentence.contains("did not answer in time"), "{error}");
    assert_eq!(source.token().await.unwrap().as_str(), "one");
    let gone = rig.source("client-credentials", "http://127.0.0.1:1/token", None).token().await.unwrap_err();
    assert_eq!((gone.key, gone.permanent), ("token_url", false));
    assert!(gone.sentence.contains("127.0.0.1 cannot be reached"), "{gone}");
}

#[test]
fn presets() {
    let section = |text: &str| toml::from_str::<Oauth>(&format!("client_id = \"a\"\n{text}")).unwrap();
    let cases = [
        (
            "provider = \"microsoft\"\nflow = \"client-credentials\"\ntenant = \"clinic.example\"",
            "https://login.microsoftonline.com/clinic.example/oauth2/v2.0/token",
            "https://outlook.office365.com/.default",
        ),
        (
            "provider = \"microsoft\"\nflow = \"refresh-token\"",
            "https://login.microsoftonline.com/organizations/oauth2/v2.0/token",
            "https://outlook.office.com/IMAP.AccessAsUser.All https://outlook.office.com/SMTP.Send offline_access",
        ),
        (
            "provider = \"google\"\nflow = \"refresh-token\"",
            "https://oauth2.googleapis.com/token",
            "https://mail.google.com/",
        ),
    ];
    for (text, url, scope) in cases {
        let section = section(text);
        assert_eq!(endpoint(&section).unwrap().as_str(), url);
        assert_eq!(usual_scope(&section), Some(scope));
    }
}
