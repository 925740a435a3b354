//! An OAuth provider on this machine: it gives tokens, and tells Dovecot which of them are good.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::post;

use super::dovecot::USER;

/// See the module.
#[derive(Clone)]
pub(crate) struct Provider {
    pub(crate) port: u16,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    given: usize,
    good: BTreeSet<String>,
    /// The one refresh token that is good; each is good once.
    refresh: String,
    /// Says this to everybody in place of a token.
    refuses: Option<(u16, &'static str)>,
    asked: Vec<String>,
}

impl Provider {
    pub(crate) async fn start() -> Provider {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let inner = Arc::new(Mutex::new(Inner { refresh: "refresh-0".into(), ..Inner::default() }));
        let provider = Provider { port, inner };
        let (tokens, questions) = (provider.clone(), provider.clone());
        let router = Router::new()
            .route("/token", post(move |body: String| std::future::ready(tokens.token(&body))))
            .route("/introspect", post(move |body: String| std::future::ready(questions.introspect(&body))));
        tokio::spawn(async move { axum::serve(listener, router).await });
        provider
    }

    pub(crate) fn token_url(&self) -> String {
        format!("http://127.0.0.1:{}/token", self.port)
    }

    pub(crate) fn introspection(&self) -> String {
        format!("http://127.0.0.1:{}/introspect", self.port)
    }

    /// No token that was given is good any more.
    pub(crate) fn revoke(&self) {
        self.inner.lock().unwrap().good.clear();
    }

    /// From now on, this is what it says in place of a token.
    pub(crate) fn refuse(&self, refusal: Option<(u16, &'static str)>) {
        self.inner.lock().unwrap().refuses = refusal;
    }

    /// What it was asked for tokens.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.inner.lock().unwrap().asked.clone()
    }

    fn token(&self, body: &str) -> (StatusCode, String) {
        let mut inner = self.inner.lock().unwrap();
        inner.asked.push(body.to_owned());
        if let Some((status, body)) = inner.refuses {
            return (StatusCode::from_u16(status).unwrap(), body.to_owned());
        }
        let mut answer = String::new();
        if body.contains("grant_type=refresh_token") {
            if !body.contains(&format!("refresh_token={}&", inner.refresh)) {
                return (StatusCode::BAD_REQUEST, r#"{"error":"invalid_grant"}"#.into());
            }
            inner.refresh = format!("refresh-{}", inner.given + 1);
            answer = format!(r#","refresh_token":"{}""#, inner.refresh);
        }
        inner.given += 1;
        let token = format!("access-{}", inner.given);
        inner.good.insert(token.clone());
        (
            StatusCode::OK,
            format!(r#"{{"access_token":"{token}","token_type":"Bearer","expires_in":3600{answer}}}"#),
        )
    }

    fn introspect(&self, body: &str) -> String {
        let inner = self.inner.lock().unwrap();
        let good = inner.good.iter().any(|token| body.split(['=', '&']).any(|word| word == token));
        format!(r#"{{"active":{good},"username":"{USER}"}}"#)
    }
}
