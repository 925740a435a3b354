//! Access tokens, where a mail server wants one in place of a password: Microsoft 365, Google, and whoever speaks OAuth 2.0.
//!
//! A [`TokenSource`] asks the token endpoint when somebody needs a token and keeps it until shortly before it ends; whoever comes
//! meanwhile waits for the same answer. A token that a server refused is renewed once ([`TokenSource::renewed`]). Where the provider
//! gives a new refresh token in place of the configured one, that is kept sealed under the master key, since the old one may be
//! worth nothing from then on.
//!
//! What goes wrong is told as the setting that is at fault ([`OauthError::key`]), for `faxbridge check` and for the log. Neither a
//! token nor what an endpoint answered is ever shown: only codes of a known form (RFC 6749, section 5.2; Microsoft's AADSTS numbers).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use jiff::{SignedDuration, Timestamp};
use reqwest::{Client, Url};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use crate::clock::SharedClock;
use crate::config::secret::SecretRef;
use crate::config::{Config, Oauth, OauthFlow, OauthProvider};
use crate::store::Store;
use crate::vault::Vault;

mod answer;
mod sasl;

use answer::{Granted, TokenAnswer};
pub use sasl::{oauthbearer, xoauth2};

/// One question to the token endpoint, from dialling to the last byte.
const PATIENCE: Duration = Duration::from_secs(20);
/// A tenth of a token's life, and never more than this, is left when it is renewed.
const MARGIN: SignedDuration = SignedDuration::from_mins(5);
/// What a provider that does not say how long its token lives may mean at least.
const SHORT_LIFE: u32 = 300;
/// A refusal is the answer to everybody who asks within this time: the endpoint is not hammered by many mailboxes.
const REFUSAL_HOLDS: SignedDuration = SignedDuration::from_secs(5);

/// Every token source of a configuration, by name.
pub type Sources = BTreeMap<String, Arc<TokenSource>>;

/// Why there is no token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{sentence}")]
pub struct OauthError {
    /// The key of the `[oauth.NAME]` section that is at fault, or where a look for the fault begins.
    pub key: &'static str,
    /// For the operator. Holds no token, no secret, and nothing of an answer but its codes.
    pub sentence: String,
    /// Whether only a person can mend it.
    pub permanent: bool,
}

impl OauthError {
    fn setting(key: &'static str, sentence: impl Into<String>) -> Self {
        OauthError { key, sentence: sentence.into(), permanent: true }
    }

    fn later(key: &'static str, sentence: impl Into<String>) -> Self {
        OauthError { key, sentence: sentence.into(), permanent: false }
    }
}

/// Where a provider's new refresh token is kept.
#[derive(Debug, Clone)]
pub struct Keeper {
    /// Rows.
    pub store: Store,
    /// Seals them.
    pub vault: Vault,
}

/// What an `[oauth.NAME]` section describes.
pub struct TokenSource {
    name: String,
    provider: OauthProvider,
    flow: OauthFlow,
    url: Url,
    scope: Option<String>,
    client_id: String,
    client_secret: Option<Zeroizing<String>>,
    /// As configured.
    refresh_token: Option<Zeroizing<String>>,
    client: Client,
    keeper: Option<Keeper>,
    clock: SharedClock,
    /// Held while the endpoint is asked: whoever comes meanwhile gets the same answer.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    access: Option<Access>,
    refused: Option<(Timestamp, OauthError)>,
    /// The refresh token that the provider gave last, and whether the store was asked for it.
    rotated: Option<Zeroizing<String>>,
    looked: bool,
}

struct Access {
    token: Zeroizing<String>,
    /// When it is to be renewed.
    until: Timestamp,
}

/// A refresh token as it is kept. Worth nothing once another one is configured.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// SHA-256 of the configured one that it descends from, hex.
    instead_of: String,
    token: String,
}

impl fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenSource").field("name", &self.name).finish_non_exhaustive()
    }
}

/// All token sources of `config`.
///
/// # Errors
/// The name of the section, and what is wrong with it.
pub fn sources(
    config: &Config,
    keeper: Option<&Keeper>,
    clock: &SharedClock,
) -> Result<Sources, (String, OauthError)> {
    let built = config.oauth.iter().map(|(name, section)| {
        let source = TokenSource::new(name, section, keeper.cloned(), Arc::clone(clock));
        Ok((name.clone(), Arc::new(source.map_err(|error| (name.clone(), error))?)))
    });
    built.collect()
}

impl TokenSource {
    /// Of the section `[oauth.NAME]`. Without a `keeper` a new refresh token is kept as long as this lives.
    ///
    /// # Errors
    /// The key whose secret cannot be read or whose value is of no use.
    pub fn new(
        name: &str,
        section: &Oauth,
        keeper: Option<Keeper>,
        clock: SharedClock,
    ) -> Result<TokenSource, OauthError> {
        Self::patient(name, section, keeper, clock, PATIENCE)
    }

    /// Whether `other` would ask the same endpoint for the same with the same secrets.
    #[must_use]
    pub fn is_the_same(&self, other: &TokenSource) -> bool {
        let parts = |source: &TokenSource| {
            let TokenSource { name, provider, flow, url, scope, client_id, .. } = source;
            (name.clone(), *provider, *flow, url.clone(), scope.clone(), client_id.clone())
        };
        parts(self) == parts(other)
            && self.client_secret == other.client_secret
            && self.refresh_token == other.refresh_token
    }

    fn patient(
        name: &str,
        section: &Oauth,
        keeper: Option<Keeper>,
        clock: SharedClock,
        patience: Duration,
    ) -> Result<TokenSource, OauthError> {
        let client = Client::builder()
            .timeout(patience)
            .connect_timeout(patience / 2)
            // Secrets go where the configuration says, not where an answer or an inherited variable says.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .user_agent(concat!("faxbridge/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|_| OauthError::later("token_url", "no HTTP client can be set up"))?;
        Ok(TokenSource {
            name: name.to_owned(),
            provider: section.provider,
            flow: section.flow,
            url: endpoint(section)?,
            scope: section.scope.clone().or_else(|| usual_scope(section).map(str::to_owned)),
            client_id: section.client_id.clone(),
            client_secret: secret("client_secret", section.client_secret.as_ref())?,
            refresh_token: secret("refresh_token", section.refresh_token.as_ref())?,
            client,
            keeper,
            clock,
            state: Mutex::default(),
        })
    }

    /// Its name in the configuration.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whose endpoints.
    #[must_use]
    pub fn provider(&self) -> OauthProvider {
        self.provider
    }

    /// A token that is good for a while, asked for only if there is none.
    ///
    /// # Errors
    /// The setting that is at fault, as far as the endpoint tells.
    pub async fn token(&self) -> Result<Zeroizing<String>, OauthError> {
        let mut state = self.state.lock().await;
        self.current(&mut state).await
    }

    /// Another token than `refused`, which a server did not take although it should still have been good. Where somebody else had
    /// it renewed meanwhile, that one.
    ///
    /// # Errors
    /// As [`TokenSource::token`].
    pub async fn renewed(&self, refused: &str) -> Result<Zeroizing<String>, OauthError> {
        let mut state = self.state.lock().await;
        if state.access.as_ref().is_some_and(|access| access.token.as_str() == refused) {
            state.access = None;
        }
        self.current(&mut state).await
    }

    async fn current(&self, state: &mut State) -> Result<Zeroizing<String>, OauthError> {
        let now = self.clock.now();
        if let Some(access) = state.access.as_ref().filter(|access| access.until > now) {
            return Ok(access.token.clone());
        }
        if let Some((until, error)) = &state.refused
            && *until > now
        {
            return Err(error.clone());
        }
        let granted = match self.ask(state).await {
            Ok(granted) => granted,
            Err(error) => {
                let until = now.saturating_add(REFUSAL_HOLDS).unwrap_or(now);
                state.refused = error.permanent.then(|| (until, error.clone()));
                return Err(error);
            }
        };
        state.refused = None;
        let life = SignedDuration::from_secs(i64::from(granted.expires_in.unwrap_or(SHORT_LIFE)));
        let until = now.saturating_add(life - MARGIN.min(life / 10)).unwrap_or(Timestamp::MAX);
        state.access = Some(Access { token: granted.access_token.clone(), until });
        if let Some(token) = granted.refresh_token {
            self.keep(state, token).await;
        }
        Ok(granted.access_token)
    }

    async fn ask(&self, state: &mut State) -> Result<Granted, OauthError> {
        if self.flow == OauthFlow::ClientCredentials {
            return self.post(&[("grant_type", "client_credentials")]).await;
        }
        let Some(configured) = &self.refresh_token else {
            return Err(OauthError::setting("refresh_token", "is missing, and needed for this flow"));
        };
        if !state.looked {
            state.rotated = self.kept(configured).await?;
            state.looked = true;
        }
        let rotated = state.rotated.clone();
        let newest = rotated.as_ref().unwrap_or(configured);
        let answer = self.post(&[("grant_type", "refresh_token"), ("refresh_token", newest)]).await;
        match answer {
            // A database out of a backup may hold one that is long spent; the configured one may still be good.
            Err(error) if error.key == "refresh_token" && rotated.is_some() => {
                let again =
                    self.post(&[("grant_type", "refresh_token"), ("refresh_token", configured)]).await;
                again.map_err(|_| error)
            }
            answer => answer,
        }
    }

    async fn post(&self, fields: &[(&str, &str)]) -> Result<Granted, OauthError> {
        let mut form = Form::default();
        for (key, value) in fields {
            form.add(key, value);
        }
        form.add("client_id", &self.client_id);
        if let Some(secret) = &self.client_secret {
            form.add("client_secret", secret);
        }
        if let Some(scope) = &self.scope {
            form.add("scope", scope);
        }
        let request = self
            .client
            .post(self.url.clone())
            .header("content-type", "application/x-www-form-urlencoded")
            .header("accept", "application/json")
            .body(form.0.as_bytes().to_vec());
        let answer = match request.send().await {
            Ok(response) => TokenAnswer::read(response).await,
            Err(error) => Err(error),
        };
        let host = self.url.host_str().unwrap_or_default();
        answer.map_err(|error| answer::unreachable(&error, host))?.granted(
            self.flow,
            self.client_secret.is_some(),
            host,
        )
    }

    /// The refresh token that stands for the configured one since the provider gave it.
    async fn kept(&self, configured: &str) -> Result<Option<Zeroizing<String>>, OauthError> {
        let Some(keeper) = &self.keeper else { return Ok(None) };
        let sealed = keeper.store.token(&self.name).await;
        let sealed = sealed
            .map_err(|error| OauthError::later("refresh_token", format!("cannot be looked up: {error}")))?;
        let Some(sealed) = sealed else { return Ok(None) };
        let kept = keeper.vault.open(&self.context(), &sealed).map(Zeroizing::new);
        let kept = kept.ok().and_then(|plain| serde_json::from_slice::<Kept>(&plain).ok());
        let Some(kept) = kept else {
            tracing::error!(
                oauth = self.name,
                "oauth.{}: the refresh token that the provider gave last cannot be read; the configured one is used",
                self.name
            );
            return Ok(None);
        };
        let token = Zeroizing::new(kept.token);
        Ok((kept.instead_of == fingerprint(configured)).then_some(token))
    }

    /// Keeps a new refresh token: in memory at once, in the store so that it survives this process.
    async fn keep(&self, state: &mut State, token: Zeroizing<String>) {
        let Some(configured) = &self.refresh_token else { return };
        if state.rotated.as_ref().unwrap_or(configured).as_str() == token.as_str() {
            return;
        }
        state.rotated = Some(token.clone());
        let Some(keeper) = &self.keeper else { return };
        let kept = Kept { instead_of: fingerprint(configured), token: token.to_string() };
        let plain = Zeroizing::new(serde_json::to_vec(&kept).unwrap_or_default());
        drop(Zeroizing::new(kept.token));
        let done = match keeper.vault.seal(&self.context(), &plain) {
            Ok(sealed) => {
                // On its own: whoever asked may be gone in this moment, and the provider gives such a token once.
                let (keeper, name, now) = (keeper.clone(), self.name.clone(), self.clock.now());
                let kept =
                    tokio::spawn(async move { keeper.store.keep_token(&name, sealed, now).await }).await;
                kept.map_err(|e| e.to_string()).and_then(|kept| kept.map_err(|e| e.to_string()))
            }
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = done {
            tracing::error!(
                oauth = self.name,
                "oauth.{}: the provider gave a new refresh token, which could not be kept: {error}; should the old one be \
                 refused after the next start, consent has to be given anew",
                self.name
            );
        }
    }

    fn context(&self) -> String {
        format!("oauth {}", self.name)
    }
}

/// The server where the mailboxes of `provider` are, as `host:port`.
#[must_use]
pub fn imap_server(provider: OauthProvider) -> Option<&'static str> {
    match provider {
        OauthProvider::Microsoft => Some("outlook.office365.com:993"),
        OauthProvider::Google => Some("imap.gmail.com:993"),
        OauthProvider::Other => None,
    }
}

/// Microsoft: "Microsoft identity platform and OAuth 2.0"; Google: "Using OAuth 2.0 for Web Server Applications".
fn endpoint(section: &Oauth) -> Result<Url, OauthError> {
    let wrong =
        |key, text: &str| OauthError::setting(key, format!("{text:?} makes no URL of a token endpoint"));
    if let Some(text) = &section.token_url {
        return Url::parse(text).map_err(|_| wrong("token_url", text));
    }
    match (section.provider, &section.tenant) {
        (OauthProvider::Microsoft, tenant) => {
            // Without a tenant it is whichever the refresh token was given in.
            let tenant = tenant.as_deref().unwrap_or("organizations");
            let mut url =
                Url::parse("https://login.microsoftonline.com/").map_err(|_| wrong("tenant", tenant))?;
            if let Ok(mut path) = url.path_segments_mut() {
                path.pop_if_empty().extend([tenant, "oauth2", "v2.0", "token"]);
            }
            Ok(url)
        }
        (OauthProvider::Google, _) => {
            Url::parse("https://oauth2.googleapis.com/token").map_err(|_| wrong("provider", "google"))
        }
        (OauthProvider::Other, _) => Err(OauthError::setting("token_url", "is missing")),
    }
}

/// Microsoft: "Authenticate an IMAP, POP or SMTP connection using OAuth"; Google: "OAuth 2.0 Mechanism".
fn usual_scope(section: &Oauth) -> Option<&'static str> {
    match (section.provider, section.flow) {
        (OauthProvider::Microsoft, OauthFlow::ClientCredentials) => {
            Some("https://outlook.office365.com/.default")
        }
        (OauthProvider::Microsoft, OauthFlow::RefreshToken) => Some(
            "https://outlook.office.com/IMAP.AccessAsUser.All https://outlook.office.com/SMTP.Send offline_access",
        ),
        (OauthProvider::Google, _) => Some("https://mail.google.com/"),
        (OauthProvider::Other, _) => None,
    }
}

fn secret(key: &'static str, secret: Option<&SecretRef>) -> Result<Option<Zeroizing<String>>, OauthError> {
    let Some(secret) = secret else { return Ok(None) };
    let read = secret.read().map_err(|error| OauthError::setting(key, error.to_string()))?;
    let text = read.text().ok_or_else(|| OauthError::setting(key, "is no text"))?;
    Ok(Some(Zeroizing::new(text.to_owned())))
}

fn fingerprint(token: &str) -> String {
    crate::text::hex(digest::digest(&digest::SHA256, token.as_bytes()).as_ref())
}

/// `application/x-www-form-urlencoded`, wiped when dropped.
#[derive(Default)]
struct Form(Zeroizing<String>);

impl Form {
    fn add(&mut self, key: &str, value: &str) {
        use std::fmt::Write;
        if !self.0.is_empty() {
            self.0.push('&');
        }
        self.0.push_str(key);
        self.0.push('=');
        for byte in value.bytes() {
            if byte.is_ascii_alphanumeric() || b"-._*".contains(&byte) {
                self.0.push(char::from(byte));
            } else {
                // Writing to a String cannot fail.
                let _ = write!(*self.0, "%{byte:02X}");
            }
        }
    }
}

#[cfg(test)]
mod tests;
