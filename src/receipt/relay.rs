//! The relay of the configuration: how a mail of ours leaves.
//!
//! TLS is as configured or there is no mail: where the relay does not offer STARTTLS that is required (or somebody on the way
//! took the offer out), nothing is said beyond EHLO, and the mail waits. The relay's certificate must be good for its host
//! name. A sign-in that is refused is the operator's to mend and keeps the mail; with a token it is tried once more with a
//! fresh one, since a token may have been taken back before its time.
//!
//! Each mail has a connection of its own, a few at once. lettre's transport is not used, only its connection: a mail that takes too
//! long is broken off here, and it counts at which step a relay says no. Only the refusal of a recipient or of the mail itself is about
//! that mail, and for good. A relay that turns us away in its greeting, or refuses our envelope sender, refuses everybody's mail: that
//! is the operator's to mend, and the mail waits.
//!
//! The envelope sender is null, so that nothing comes back that is then answered; `receipt.bounce_from` is for relays that take no
//! null sender.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use lettre::Address;
use lettre::address::Envelope;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{
    AsyncSmtpConnection, Certificate, CertificateStore, Tls, TlsParameters,
};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt, Rset};
use lettre::transport::smtp::extension::{ClientId, Extension, MailBodyParameter, MailParameter};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use crate::config::RelayTls;
use crate::oauth::{self, OauthError, TokenSource};

/// For one step of the dialogue, and for all of it.
const STEP: Duration = Duration::from_secs(60);
const WHOLE: Duration = Duration::from_secs(300);
/// Connections at once: Microsoft 365 refuses the fourth of one mailbox.
pub(super) const CONNECTIONS: u32 = 3;
/// What lettre says where it gets a question in XOAUTH2: that is how a server refuses a token (it wants an empty line before it
/// says 535), and lettre has no answer to it.
const TOKEN_QUESTIONED: &str = "This mechanism does not expect a challenge";

/// Where tokens for XOAUTH2 come from. Both give a sentence for the operator where there is none to be had.
pub trait Tokens: Send + Sync {
    /// A token that should be good now.
    fn token(&self) -> BoxFuture<'_, Result<Zeroizing<String>, String>>;

    /// Another one than `refused`, which the relay did not take.
    fn renewed<'a>(&'a self, refused: &'a str) -> BoxFuture<'a, Result<Zeroizing<String>, String>>;
}

/// Token sources by the name of their `[oauth.NAME]` section.
pub type TokenMap = BTreeMap<String, Arc<dyn Tokens>>;

impl Tokens for TokenSource {
    fn token(&self) -> BoxFuture<'_, Result<Zeroizing<String>, String>> {
        Box::pin(async { self.token().await.map_err(|error| told(self, &error)) })
    }

    fn renewed<'a>(&'a self, refused: &'a str) -> BoxFuture<'a, Result<Zeroizing<String>, String>> {
        Box::pin(async move { self.renewed(refused).await.map_err(|error| told(self, &error)) })
    }
}

fn told(source: &TokenSource, error: &OauthError) -> String {
    format!("no token for the relay: oauth.{}.{}: {}", source.name(), error.key, error.sentence)
}

/// All of `sources`, for the relay.
#[must_use]
pub fn token_map(sources: &oauth::Sources) -> TokenMap {
    sources.iter().map(|(name, source)| (name.clone(), Arc::clone(source) as Arc<dyn Tokens>)).collect()
}

/// How we sign in.
#[derive(Clone)]
pub enum Login {
    /// Not at all.
    None,
    /// With name and password.
    Password(String, Zeroizing<String>),
    /// As this mailbox, with a token (XOAUTH2).
    Token(String, Arc<dyn Tokens>),
}

/// The relay that takes our mail.
#[derive(Clone)]
pub struct Relay {
    host: String,
    port: u16,
    tls: Tls,
    login: Login,
    hello: ClientId,
    /// Envelope sender; null where there is none.
    from: Option<Address>,
    hands: Arc<Semaphore>,
}

impl Relay {
    /// For the relay at `address` (`host:port`). `authorities` are certificates (PEM) that its own is checked with, instead of the
    /// system's; `hello` is our host name.
    ///
    /// # Errors
    /// A sentence for the operator when the address is none, or the certificates cannot be used.
    pub fn new(
        address: &str,
        tls: RelayTls,
        authorities: Option<&[u8]>,
        login: Login,
        hello: &str,
    ) -> Result<Self, RelayError> {
        let (host, port) = host_and_port(address)
            .ok_or_else(|| RelayError::later(format!("the relay {address:?} is not written as host:port")))?;
        let tls = match tls {
            RelayTls::None => Tls::None,
            RelayTls::Starttls => Tls::Required(parameters(&host, authorities)?),
            RelayTls::Implicit => Tls::Wrapper(parameters(&host, authorities)?),
        };
        let hands = Arc::new(Semaphore::new(CONNECTIONS as usize));
        let hello = ClientId::Domain(hello.to_owned());
        Ok(Relay { host, port, tls, login, hello, from: None, hands })
    }

    /// The same with an envelope sender (`receipt.bounce_from`).
    ///
    /// # Errors
    /// A sentence for the operator where that is no mail address.
    pub fn with_bounces_to(self, address: Option<&str>) -> Result<Self, RelayError> {
        let from = address.map(str::parse::<Address>).transpose();
        let from =
            from.map_err(|_| RelayError::later("receipt.bounce_from is not a mail address".to_owned()))?;
        Ok(Relay { from, ..self })
    }

    /// Greets the relay, signs in and names the envelope sender, for `faxbridge check`; sends nothing.
    ///
    /// # Errors
    /// [`RelayError`] with what the operator has to mend.
    pub async fn check(&self) -> Result<(), RelayError> {
        self.signed_in(&Work::Check).await
    }

    /// Sends a mail to `to`. When it returns, the relay has taken it.
    ///
    /// # Errors
    /// [`RelayError`], which tells whether another try can succeed.
    pub async fn send(&self, to: &str, bytes: &[u8]) -> Result<(), RelayError> {
        let unfit = || RelayError::permanent("the address for the receipt is not a mail address".into());
        let to: Address = to.parse().map_err(|_| unfit())?;
        self.signed_in(&Work::Send(&to, bytes)).await
    }

    /// Does `work` with the sign-in that is configured; with a fresh token once more where the first is refused.
    async fn signed_in(&self, work: &Work<'_>) -> Result<(), RelayError> {
        let _hand = self.hands.acquire().await;
        let (mailbox, tokens) = match &self.login {
            Login::None => return self.done(work, None).await,
            Login::Password(name, password) => {
                let credentials = Credentials::new(name.clone(), password.to_string());
                let mechanisms = vec![Mechanism::Plain, Mechanism::Login];
                return self.done(work, Some((credentials, mechanisms))).await;
            }
            Login::Token(mailbox, tokens) => (mailbox, tokens),
        };
        let with = |token: &Zeroizing<String>| {
            let credentials = Credentials::new(mailbox.clone(), token.to_string());
            self.done(work, Some((credentials, vec![Mechanism::Xoauth2])))
        };
        let token = tokens.token().await.map_err(RelayError::later)?;
        match with(&token).await {
            Err(error) if error.sign_in => {
                let fresh = tokens.renewed(&token).await.map_err(RelayError::later)?;
                if *fresh == *token { Err(error) } else { with(&fresh).await }
            }
            done => done,
        }
    }

    async fn done(
        &self,
        work: &Work<'_>,
        login: Option<(Credentials, Vec<Mechanism>)>,
    ) -> Result<(), RelayError> {
        let (limit, what) = match work {
            Work::Check => (STEP, "answer"),
            Work::Send(..) => (WHOLE, "finish"),
        };
        let dialogue = async {
            let mut connection = self.connected(login).await?;
            let done = self.through(&mut connection, work).await;
            // Whether it has heard our goodbye or not changes nothing.
            connection.abort().await;
            done
        };
        let overtime = || RelayError::later(format!("the relay did not {what} within {} s", limit.as_secs()));
        tokio::time::timeout(limit, dialogue).await.unwrap_or_else(|_| Err(overtime()))
    }

    /// From the greeting to the sign-in.
    async fn connected(
        &self,
        login: Option<(Credentials, Vec<Mechanism>)>,
    ) -> Result<AsyncSmtpConnection, RelayError> {
        let told = |error| classify(&error, Step::Hello);
        let wrapped = match &self.tls {
            Tls::Wrapper(parameters) => Some(parameters.clone()),
            _ => None,
        };
        let server = (self.host.as_str(), self.port);
        let connected = AsyncSmtpConnection::connect_tokio1(server, Some(STEP), &self.hello, wrapped, None);
        let mut connection = connected.await.map_err(told)?;
        if let Tls::Required(parameters) = &self.tls {
            connection.starttls(parameters.clone(), &self.hello).await.map_err(told)?;
        }
        if let Some((credentials, mechanisms)) = login {
            connection.auth(&mechanisms, &credentials).await.map_err(told)?;
        }
        Ok(connection)
    }

    async fn through(&self, connection: &mut AsyncSmtpConnection, work: &Work<'_>) -> Result<(), RelayError> {
        let null = self.from.is_none();
        let from_refused = |error| classify(&error, Step::From { null });
        let about_mail = |error| classify(&error, Step::Mail);
        let mut parameters = Vec::new();
        if let Work::Send(to, bytes) = work {
            let offers = connection.server_info();
            if !bytes.is_ascii() {
                if !offers.supports_feature(Extension::EightBitMime) {
                    return Err(RelayError::permanent("the relay takes no mail with 8 bits".to_owned()));
                }
                parameters.push(MailParameter::Body(MailBodyParameter::EightBitMime));
            }
            if !AsRef::<str>::as_ref(*to).is_ascii() {
                if !offers.supports_feature(Extension::SmtpUtfEight) {
                    return Err(RelayError::permanent(
                        "the relay takes no address with such letters".to_owned(),
                    ));
                }
                parameters.push(MailParameter::SmtpUtfEight);
            }
        }
        connection.command(Mail::new(self.from.clone(), parameters)).await.map_err(from_refused)?;
        match work {
            Work::Check => connection.command(Rset).await.map(drop).map_err(about_mail),
            Work::Send(to, bytes) => {
                connection.command(Rcpt::new((*to).clone(), Vec::new())).await.map_err(about_mail)?;
                connection.command(Data).await.map_err(about_mail)?;
                connection.message(bytes).await.map(drop).map_err(about_mail)
            }
        }
    }
}

/// What is done over one connection.
enum Work<'a> {
    Check,
    Send(&'a Address, &'a [u8]),
}

/// How far a dialogue has come.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// From the greeting to the sign-in.
    Hello,
    /// MAIL.
    From {
        /// With a null sender.
        null: bool,
    },
    /// Recipient and mail.
    Mail,
}

impl std::fmt::Debug for Relay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Relay")
    }
}

/// An envelope for the library that builds mails; what counts is [`Relay::send`].
pub(super) fn from_nobody(to: &Address) -> Result<Envelope, lettre::error::Error> {
    Envelope::new(None, vec![to.clone()])
}

fn parameters(host: &str, authorities: Option<&[u8]>) -> Result<TlsParameters, RelayError> {
    let mut builder = TlsParameters::builder(host.to_owned());
    if let Some(pem) = authorities {
        let unusable =
            || RelayError::later("receipt.authorities holds no certificate in PEM form".to_owned());
        if memchr::memmem::find(pem, b"-----BEGIN CERTIFICATE-----").is_none() {
            return Err(unusable());
        }
        let roots = Certificate::from_pem(pem).map_err(|_| unusable())?;
        builder = builder.certificate_store(CertificateStore::None).add_root_certificate(roots);
    }
    builder
        .build()
        .map_err(|error| RelayError::later(format!("TLS for the relay cannot be set up: {}", chain(&error))))
}

/// Why the relay did not take a mail.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{sentence}")]
pub struct RelayError {
    /// Whether the same mail will never be taken.
    pub permanent: bool,
    /// Whether our sign-in was refused.
    pub sign_in: bool,
    /// For the operator; holds no address.
    pub sentence: String,
}

impl RelayError {
    fn permanent(sentence: String) -> Self {
        RelayError { permanent: true, sign_in: false, sentence }
    }

    fn later(sentence: String) -> Self {
        RelayError { permanent: false, sign_in: false, sentence }
    }

    fn sign_in(sentence: String) -> Self {
        RelayError { permanent: false, sign_in: true, sentence }
    }
}

/// Only a refusal of this very mail is for good (see the module). A refused sign-in is the operator's to mend, and then the mail goes out.
fn classify(error: &lettre::transport::smtp::Error, step: Step) -> RelayError {
    let Some(code) = error.status() else {
        // lettre's own refusals have no kinds, only words; those it has today are told better.
        let words = if error.is_client() { chain(error) } else { String::new() };
        if words.contains(TOKEN_QUESTIONED) {
            return RelayError::sign_in("the relay refuses our token".to_owned());
        }
        if words.contains("STARTTLS") {
            let sentence =
                "the relay does not offer STARTTLS, which receipt.tls asks for; nothing is sent in clear";
            return RelayError::later(sentence.to_owned());
        }
        if words.contains("authentication mechanism") {
            let sentence = "the relay offers no way to sign in that goes with receipt.login";
            return RelayError::later(sentence.to_owned());
        }
        return RelayError::later(format!("the relay could not be reached or broke off: {}", chain(error)));
    };
    let code = code.to_string();
    // The relay's text repeats addresses; its codes say enough.
    let text = chain(error);
    let enhanced =
        text.split(|c: char| c.is_whitespace() || c == ':').find(|word| is_enhanced(word)).unwrap_or("");
    let reply = format!("{code} {enhanced}");
    let reply = reply.trim_end();
    match code.as_str() {
        "530" | "534" | "535" | "538" => {
            RelayError::sign_in(format!("the relay refuses our sign-in ({reply})"))
        }
        _ if error.is_permanent() && matches!(step, Step::From { null: true }) => RelayError::later(format!(
            "the relay refuses mail without an envelope sender ({reply}), as receipts have none; set receipt.bounce_from to an \
             address that it lets us send from, whose mail somebody reads"
        )),
        _ if error.is_permanent() && matches!(step, Step::From { null: false }) => {
            RelayError::later(format!("the relay refuses receipt.bounce_from as envelope sender ({reply})"))
        }
        _ if error.is_permanent() && matches!(step, Step::Hello) => {
            RelayError::later(format!("the relay turns us away ({reply})"))
        }
        _ if error.is_permanent() => {
            RelayError::permanent(format!("the relay refused the receipt for good ({reply})"))
        }
        _ => RelayError::later(format!("the relay refused the receipt for now ({reply})")),
    }
}

/// `5.1.1` and the like (RFC 3463).
fn is_enhanced(word: &str) -> bool {
    let parts: Vec<&str> = word.split('.').collect();
    matches!(parts.as_slice(), ["2" | "4" | "5", subject, detail]
        if [subject, detail].iter().all(|part| (1..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit())))
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let next = error.to_string();
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        source = error.source();
    }
    text
}

fn host_and_port(address: &str) -> Option<(String, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let port = port.parse().ok().filter(|port| *port != 0)?;
    (!host.is_empty()).then(|| (host.to_owned(), port))
}

#[cfg(test)]
mod tests;
