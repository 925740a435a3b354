//! To a mailbox: dial, TLS, sign in. What goes wrong is told as the setting that is at fault.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_imap::imap_proto::{Response, Status};
use async_imap::{Authenticator, Client};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

use super::guard::{Guard, Line};
use super::session::Session;
use super::{MailboxError, MailboxFault};
use crate::config::secret::Secret;
use crate::config::{self, OauthProvider, Tls, TokenMechanism};
use crate::oauth::{self, TokenSource};

/// For each step of the way in.
const STEP: Duration = Duration::from_secs(30);

/// What is needed to open a mailbox, checked once.
pub(super) struct Access {
    host: String,
    port: u16,
    tls: Tls,
    connector: Option<TlsConnector>,
    login: String,
    proof: Credential,
    /// Literals of one answer may have so many bytes.
    limit: u64,
}

enum Credential {
    Password(Secret),
    Token(Arc<TokenSource>, TokenMechanism),
}

impl Access {
    /// Of a section, with the token source that its `oauth` names.
    pub(super) fn new(
        section: &config::Imap,
        tokens: Option<Arc<TokenSource>>,
        limit: u64,
    ) -> Result<Access, MailboxFault> {
        let fault = |key, sentence: String| MailboxFault::new(key, sentence);
        let usual = tokens.as_ref().and_then(|source| oauth::imap_server(source.provider()));
        let server =
            section.server.as_deref().or(usual).ok_or_else(|| fault("server", "is missing".into()))?;
        let (host, port) = host_and_port(server)
            .ok_or_else(|| fault("server", format!("found {server:?}; allowed: host:port")))?;
        let connector = match section.tls {
            Tls::None => None,
            _ => Some(connector(section)?),
        };
        let proof = match (tokens, &section.password) {
            (Some(source), _) => Credential::Token(source, section.mechanism),
            (None, Some(password)) => {
                Credential::Password(password.read().map_err(|error| fault("password", error.to_string()))?)
            }
            (None, None) => return Err(fault("password", "is missing".into())),
        };
        Ok(Access { host, port, tls: section.tls, connector, login: section.login.clone(), proof, limit })
    }

    /// Connects and signs in. A token that is refused is renewed once.
    pub(super) async fn open(&self) -> Result<Session, MailboxError> {
        let token = match &self.proof {
            Credential::Password(_) => None,
            Credential::Token(source, _) => Some(source.token().await?),
        };
        let client = self.greet().await?;
        match self.sign_in(client, token.as_ref()).await {
            Err(MailboxError::Setting(fault)) => {
                let (Credential::Token(source, _), Some(token)) = (&self.proof, token) else {
                    return Err(MailboxError::Setting(fault));
                };
                // It may have been revoked before its time; a fresh one that is refused too is not the token's fault.
                let fresh = source.renewed(&token).await?;
                let client = self.greet().await?;
                self.sign_in(client, Some(&fresh)).await
            }
            done => done,
        }
    }

    /// Dials, brings TLS up and reads the greeting.
    async fn greet(&self) -> Result<Client<Guard>, MailboxError> {
        let to = (self.host.as_str(), self.port);
        let there = format!("{}:{}", self.host, self.port);
        let unreachable = |cause: String| {
            MailboxError::Unreachable(MailboxFault::new(
                "server",
                format!("{there} cannot be reached: {cause}"),
            ))
        };
        let stream = match timeout(STEP, TcpStream::connect(to)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(unreachable(error.to_string())),
            Err(_) => return Err(unreachable(format!("no answer within {} s", STEP.as_secs()))),
        };
        let _ = stream.set_nodelay(true);
        match (self.tls, &self.connector) {
            (Tls::Implicit, Some(connector)) => {
                let mut client = self.client(self.wrapped(connector, stream).await?);
                self.greeting(&mut client).await?;
                Ok(client)
            }
            (Tls::Starttls, Some(connector)) => {
                let mut client = self.client(Box::new(stream));
                self.greeting(&mut client).await?;
                let done = timeout(STEP, client.run_command_and_check_ok("STARTTLS", None)).await;
                match done {
                    Ok(Ok(())) => {}
                    Ok(Err(async_imap::error::Error::No(_) | async_imap::error::Error::Bad(_))) => {
                        let sentence = format!(
                            "{there} does not offer STARTTLS; implicit (port 993) may be what it has"
                        );
                        return Err(MailboxError::Setting(MailboxFault::new("tls", sentence)));
                    }
                    _ => return Err(MailboxError::Lost),
                }
                // What came in clear behind the answer is thrown away with the client: nobody vouches for it (RFC 3501, section 6.2.1).
                let plain = client.into_inner().into_inner();
                Ok(self.client(self.wrapped(connector, plain).await?))
            }
            _ => {
                let mut client = self.client(Box::new(stream));
                self.greeting(&mut client).await?;
                Ok(client)
            }
        }
    }

    fn client(&self, line: Box<dyn Line>) -> Client<Guard> {
        Client::new(Guard::new(line, self.limit))
    }

    async fn wrapped<S: Line + 'static>(
        &self,
        connector: &TlsConnector,
        stream: S,
    ) -> Result<Box<dyn Line>, MailboxError> {
        let fault = |key, sentence: String| MailboxFault::new(key, sentence);
        let name = ServerName::try_from(self.host.clone()).map_err(|_| {
            MailboxError::Setting(fault("server", format!("{:?} is no name of a host", self.host)))
        })?;
        match timeout(STEP, connector.connect(name, stream)).await {
            Ok(Ok(stream)) => Ok(Box::new(stream)),
            Ok(Err(error)) => Err(tls_trouble(&error, &self.host)),
            Err(_) => {
                let sentence = format!("{} does not answer with TLS within {} s", self.host, STEP.as_secs());
                Err(MailboxError::Unreachable(fault("tls", sentence)))
            }
        }
    }

    async fn greeting(&self, client: &mut Client<Guard>) -> Result<(), MailboxError> {
        let refused =
            |sentence: String| Err(MailboxError::Unreachable(MailboxFault::new("server", sentence)));
        let host = &self.host;
        let greeting = match timeout(STEP, client.read_response()).await {
            Ok(Ok(Some(greeting))) => greeting,
            Ok(_) => {
                return refused(format!(
                    "{host} hangs up without a greeting; with tls = \"{}\" another port may be meant",
                    self.tls_word()
                ));
            }
            Err(_) => {
                return refused(format!(
                    "{host} gives no greeting within {} s; with tls = \"{}\" another port may be meant",
                    STEP.as_secs(),
                    self.tls_word()
                ));
            }
        };
        match greeting.parsed() {
            Response::Data { status: Status::Ok, .. } => Ok(()),
            Response::Data { status: Status::Bye, .. } => {
                refused(format!("{host} is too busy, or does not want us"))
            }
            // Nobody has signed in yet: before TLS it would be somebody in between who says so.
            Response::Data { status: Status::PreAuth, .. } => {
                refused(format!("{host} takes us for signed in already, which is not believed"))
            }
            _ => refused(format!("{host} does not greet as a server of IMAP does")),
        }
    }

    fn tls_word(&self) -> &'static str {
        match self.tls {
            Tls::Implicit => "implicit",
            Tls::Starttls => "starttls",
            Tls::None => "none",
        }
    }

    async fn sign_in(
        &self,
        client: Client<Guard>,
        token: Option<&Zeroizing<String>>,
    ) -> Result<Session, MailboxError> {
        use async_imap::error::Error;
        let login = &self.login;
        let signed_in = match (&self.proof, token) {
            (Credential::Token(_, mechanism), Some(token)) => {
                let (word, message) = match mechanism {
                    TokenMechanism::Xoauth2 => ("XOAUTH2", oauth::xoauth2(login, token)),
                    TokenMechanism::Oauthbearer => {
                        ("OAUTHBEARER", oauth::oauthbearer(login, token, &self.host, self.port))
                    }
                };
                // After a failure the server tells why, and waits for an answer that says nothing (RFC 7628, section 3.2.3).
                let last = if *mechanism == TokenMechanism::Oauthbearer { "\x01" } else { "" };
                let sasl = Sasl { message: Some(message), last };
                timeout(STEP, client.authenticate(word, sasl)).await
            }
            (Credential::Password(password), _) => {
                let text =
                    password.text().filter(|text| text.is_ascii() && !text.contains(['\r', '\n', '\0']));
                match text {
                    Some(text) if login.is_ascii() => timeout(STEP, client.login(login, text)).await,
                    // LOGIN takes ASCII only (RFC 3501, section 9: quoted); PLAIN takes everything (RFC 4616).
                    _ => {
                        let text = Zeroizing::new(String::from_utf8_lossy(password.bytes()).into_owned());
                        let message = Zeroizing::new(format!("\0{login}\0{}", text.as_str()));
                        timeout(
                            STEP,
                            client.authenticate("PLAIN", Sasl { message: Some(message), last: "*" }),
                        )
                        .await
                    }
                }
            }
            (Credential::Token(..), None) => return Err(MailboxError::Lost),
        };
        match signed_in {
            Ok(Ok(session)) => Session::begin(session).await,
            Ok(Err((Error::No(text) | Error::Bad(text), _))) => Err(self.refused(&text)),
            Ok(Err((Error::Validate(_), _))) => Err(MailboxError::Setting(MailboxFault::new(
                "login",
                "has characters that IMAP cannot carry",
            ))),
            // Servers that are asked too often hang up in place of an answer; so do those whose token is no good.
            Ok(Err(_)) => Err(MailboxError::Lost),
            Err(_) => {
                let sentence =
                    format!("{} does not answer the sign-in within {} s", self.host, STEP.as_secs());
                Err(MailboxError::Unreachable(MailboxFault::new("server", sentence)))
            }
        }
    }

    /// What a refused sign-in means. The server's own words are not shown: some repeat what was sent.
    fn refused(&self, text: &str) -> MailboxError {
        let upper = text.to_ascii_uppercase();
        let host = &self.host;
        // RFC 5530, section 3.
        if ["[UNAVAILABLE]", "[INUSE]", "[LIMIT]", "[SERVERBUG]", "TOO MANY"]
            .iter()
            .any(|word| upper.contains(word))
        {
            return MailboxError::Unreachable(MailboxFault::new(
                "server",
                format!(
                    "{host} cannot let us in at the moment: it is busy, or has too many connections of this account"
                ),
            ));
        }
        let (key, sentence) = match &self.proof {
            Credential::Password(_) => (
                "password",
                format!(
                    "{host} does not take this login and password; some servers want a password for applications, or oauth"
                ),
            ),
            Credential::Token(source, mechanism) => {
                let word = match mechanism {
                    TokenMechanism::Xoauth2 => "xoauth2",
                    TokenMechanism::Oauthbearer => "oauthbearer",
                };
                let why = match source.provider() {
                    OauthProvider::Microsoft => {
                        "login is not the mailbox's address, or the application may not open it: it needs IMAP.AccessAsApp with \
                         consent, a service principal in Exchange (New-ServicePrincipal, by the enterprise application's object id) \
                         and FullAccess (Add-MailboxPermission)"
                    }
                    OauthProvider::Google => {
                        "login is not the account that gave consent, or IMAP is switched off for it"
                    }
                    OauthProvider::Other => {
                        "login is not the account that the token is for, or scope does not cover IMAP"
                    }
                };
                (
                    "login",
                    format!("{host} does not take a fresh access token ({word}) for this mailbox: {why}"),
                )
            }
        };
        MailboxError::Setting(MailboxFault::new(key, sentence))
    }
}

/// Says one thing, and after that nothing more.
struct Sasl {
    message: Option<Zeroizing<String>>,
    last: &'static str,
}

impl Authenticator for Sasl {
    type Response = Zeroizing<String>;

    fn process(&mut self, _: &[u8]) -> Self::Response {
        self.message.take().unwrap_or_else(|| Zeroizing::new(self.last.to_owned()))
    }
}

fn connector(section: &config::Imap) -> Result<TlsConnector, MailboxFault> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = &section.authorities {
        let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let found = read.map_err(|error| {
            MailboxFault::new("authorities", format!("{} cannot be read as PEM: {error}", path.display()))
        })?;
        roots.add_parsable_certificates(found);
        if roots.is_empty() {
            return Err(MailboxFault::new(
                "authorities",
                format!("{} has no certificate in it", path.display()),
            ));
        }
    } else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            let sentence = "is needed: this machine has no certificates of authorities of its own (package ca-certificates)";
            return Err(MailboxFault::new("authorities", sentence));
        }
    }
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| MailboxFault::new("tls", error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

fn tls_trouble(error: &io::Error, host: &str) -> MailboxError {
    use rustls::{CertificateError, Error};
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    let fault = |key, sentence: String| MailboxFault::new(key, sentence);
    match inner {
        Some(Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        )) => MailboxError::Setting(fault(
            "server",
            format!("the certificate that it shows is not one for {host}"),
        )),
        Some(Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        )) => MailboxError::Setting(fault(
            "server",
            format!("the certificate of {host} has expired; nothing is fetched until it is renewed"),
        )),
        Some(Error::InvalidCertificate(_)) => MailboxError::Setting(fault(
            "authorities",
            format!(
                "the certificate of {host} is from none of the authorities that are trusted; if it is right, name its authority here"
            ),
        )),
        Some(Error::InvalidMessage(_)) => MailboxError::Setting(fault(
            "tls",
            format!("{host} does not speak TLS on this port; starttls (port 143) may be what it has"),
        )),
        _ => MailboxError::Unreachable(fault("server", format!("TLS with {host} failed: {error}"))),
    }
}

fn host_and_port(server: &str) -> Option<(String, u16)> {
    let (host, port) = server.rsplit_once(':')?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let port = port.parse().ok().filter(|port| *port != 0)?;
    (!host.is_empty()).then(|| (host.to_owned(), port))
}
