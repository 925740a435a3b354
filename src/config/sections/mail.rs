//! Sections about mail: where it comes in, how mailboxes and the relay are reached, and what leaves.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;

use crate::config::secret::SecretRef;
use crate::config::units::Duration;

/// `[dns]`: the resolver for SPF, DKIM and DMARC.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Dns {
    /// Name servers to ask. Empty: those of the system.
    pub servers: Vec<SocketAddr>,
    /// An answer that takes longer is none.
    pub timeout: Duration,
}

impl Default for Dns {
    fn default() -> Self {
        Dns { servers: Vec::new(), timeout: Duration::seconds(5) }
    }
}

/// `[smtp]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Smtp {
    /// Addresses to listen on; port 0 lets the system choose.
    #[serde(default)]
    pub listen: Vec<SocketAddr>,
    /// Addresses on which TLS comes before the first word (port 465; RFC 8314, section 3.3).
    #[serde(default)]
    pub listen_tls: Vec<SocketAddr>,
    /// Addresses on which LMTP (RFC 2033) is spoken, for a mail server that hands over.
    #[serde(default)]
    pub listen_lmtp: Vec<SocketAddr>,
    /// Our name in greetings.
    pub hostname: String,
    /// Certificate chain, PEM; with `tls_key` it turns STARTTLS on.
    pub tls_certificate: Option<PathBuf>,
    /// Private key, PEM; with `tls_certificate` or not at all.
    pub tls_key: Option<PathBuf>,
    /// Certificates of the authorities, PEM, whose client certificates are believed.
    pub client_authorities: Option<PathBuf>,
    /// Whether mail is refused that does not come over TLS; but from this machine, and from `without_tls_from`.
    #[serde(default)]
    pub require_tls: bool,
    /// Networks from which mail is taken without TLS where `require_tls` is set.
    #[serde(default)]
    pub without_tls_from: Vec<String>,
    /// Networks of load balancers that put a PROXY header (version 1 or 2) in front of every connection.
    #[serde(default)]
    pub proxy_from: Vec<String>,
    /// Networks of the one mail server in front whose Authentication-Results (RFC 8601) are believed; with `upstream_id`.
    #[serde(default)]
    pub upstream_from: Vec<String>,
    /// Its authserv-id, the first word of those fields.
    pub upstream_id: Option<String>,
    /// Mails from one address in a minute. Left out, any number.
    pub mails_per_minute: Option<u32>,
    /// Wrong passwords from one address within `failed_login_window` after which it may not sign in for as long.
    #[serde(default = "Smtp::default_failed_logins")]
    pub failed_logins: u32,
    /// See `failed_logins`.
    #[serde(default = "Smtp::default_failed_login_window")]
    pub failed_login_window: Duration,
    /// How long the answer to a wrong password is kept back; doubled with each further one, up to ten times as long.
    #[serde(default = "Smtp::default_tarpit")]
    pub tarpit: Duration,
    /// Recipients of one mail.
    #[serde(default = "Smtp::default_recipients")]
    pub max_recipients: usize,
    /// Sessions at once.
    #[serde(default = "Smtp::default_sessions")]
    pub max_sessions: usize,
    /// Sessions at once from one address (IPv6: one /64) that the configuration does not name.
    #[serde(default = "Smtp::default_sessions_per_address")]
    pub max_sessions_per_address: usize,
    /// The same from one that it names: as a sender's network, in `upstream_from`, in `proxy_from`.
    #[serde(default = "Smtp::default_sessions_per_relay")]
    pub max_sessions_per_relay: usize,
    /// A session in which nothing was proven yet is closed when its commands took so long in all. Addresses that the
    /// configuration names have `idle` instead.
    #[serde(default = "Smtp::default_unproven_time")]
    pub unproven_time: Duration,
    /// A session that is silent for this long is closed.
    #[serde(default = "Smtp::default_idle")]
    pub idle: Duration,
    /// No session lasts longer.
    #[serde(default = "Smtp::default_session_time")]
    pub session_time: Duration,
}

impl Smtp {
    fn default_failed_logins() -> u32 {
        10
    }
    fn default_failed_login_window() -> Duration {
        Duration::minutes(15)
    }
    fn default_tarpit() -> Duration {
        Duration::seconds(2)
    }
    fn default_recipients() -> usize {
        100
    }
    fn default_sessions() -> usize {
        300
    }
    fn default_sessions_per_address() -> usize {
        20
    }
    fn default_sessions_per_relay() -> usize {
        225
    }
    fn default_unproven_time() -> Duration {
        Duration::seconds(45)
    }
    fn default_idle() -> Duration {
        Duration::minutes(5)
    }
    fn default_session_time() -> Duration {
        Duration::minutes(60)
    }
}

/// TLS on the way to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tls {
    /// From the first byte.
    Implicit,
    /// STARTTLS, which is required.
    Starttls,
    /// None; only for a server on this machine.
    None,
}

/// `[imap.NAME]`: a mailbox that is fetched.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Imap {
    /// Server as `host:port`. Default: that of the provider that `oauth` names.
    pub server: Option<String>,
    /// TLS towards it.
    #[serde(default = "Imap::default_tls")]
    pub tls: Tls,
    /// Certificates of the authorities, PEM, that the server's certificate is checked with, instead of the system's.
    pub authorities: Option<PathBuf>,
    /// Name of the mailbox's account; for a shared mailbox, its address.
    pub login: String,
    /// Its password; this or `oauth`.
    pub password: Option<SecretRef>,
    /// Name of an `[oauth.NAME]` section; this or `password`.
    pub oauth: Option<String>,
    /// How the access token is presented.
    #[serde(default)]
    pub mechanism: TokenMechanism,
    /// The folder that is fetched.
    #[serde(default = "Imap::default_folder")]
    pub folder: String,
    /// Where mails go that became faxes.
    #[serde(default = "Imap::default_faxed")]
    pub faxed: String,
    /// Where mails go that wait for a person.
    #[serde(default = "Imap::default_held")]
    pub held: String,
    /// Where mails go of which nothing is faxed.
    #[serde(default = "Imap::default_refused")]
    pub refused: String,
    /// Between two looks where the server does not tell of new mail by itself (IDLE).
    #[serde(default = "Imap::default_poll")]
    pub poll: Duration,
    /// Header fields that name the recipient; the first counts that has an address which some rule takes.
    #[serde(default = "Imap::default_recipients")]
    pub recipients: Vec<RecipientField>,
    /// Name of the `[[sender]]` whose every mail in here is; without it each mail must be proven by `authserv_id`.
    pub sender: Option<String>,
    /// The authserv-id under which the mailbox's own server writes Authentication-Results.
    pub authserv_id: Option<String>,
}

impl Imap {
    fn default_tls() -> Tls {
        Tls::Implicit
    }
    fn default_folder() -> String {
        "INBOX".into()
    }
    fn default_faxed() -> String {
        "Faxed".into()
    }
    fn default_held() -> String {
        "Held".into()
    }
    fn default_refused() -> String {
        "Refused".into()
    }
    fn default_poll() -> Duration {
        Duration::seconds(60)
    }
    fn default_recipients() -> Vec<RecipientField> {
        vec![RecipientField::DeliveredTo, RecipientField::XOriginalTo, RecipientField::To]
    }
}

/// A header field that names a recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecipientField {
    /// `Delivered-To`.
    DeliveredTo,
    /// `X-Original-To`.
    XOriginalTo,
    /// `To`, and `Cc`.
    To,
}

/// How an access token is presented to a mail server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenMechanism {
    /// XOAUTH2, as Microsoft and Google have it.
    #[default]
    Xoauth2,
    /// OAUTHBEARER (RFC 7628).
    Oauthbearer,
}

/// `[oauth.NAME]`: where access tokens come from.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Oauth {
    /// Whose endpoints and scopes.
    pub provider: OauthProvider,
    /// How a token is asked for.
    pub flow: OauthFlow,
    /// Microsoft's tenant: its id or one of its domains.
    pub tenant: Option<String>,
    /// Application (client) id.
    pub client_id: String,
    /// Its secret.
    pub client_secret: Option<SecretRef>,
    /// The refresh token that a person's consent brought, for that flow.
    pub refresh_token: Option<SecretRef>,
    /// Token endpoint. Default: the provider's.
    pub token_url: Option<String>,
    /// Scopes, with blanks between them. Default: the provider's.
    pub scope: Option<String>,
}

/// Whose endpoints and scopes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OauthProvider {
    /// Microsoft 365.
    Microsoft,
    /// Google Workspace.
    Google,
    /// Another one: `token_url` and `scope` are needed.
    Other,
}

/// How a token is asked for (RFC 6749, sections 4.4 and 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OauthFlow {
    /// As the application itself.
    ClientCredentials,
    /// With a refresh token.
    RefreshToken,
}

/// `[receipt]`: mail out.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// Relay as `host:port`.
    pub relay: String,
    /// TLS towards the relay.
    #[serde(default)]
    pub tls: RelayTls,
    /// Name for SMTP AUTH at the relay.
    pub login: Option<String>,
    /// Password for SMTP AUTH at the relay; this or `oauth`.
    pub password: Option<SecretRef>,
    /// Name of an `[oauth.NAME]` section, for SMTP AUTH by XOAUTH2; `login` beside it.
    pub oauth: Option<String>,
    /// Certificates of the authorities, PEM, that the relay's certificate is checked with, instead of the system's.
    pub authorities: Option<PathBuf>,
    /// Address in the From line of receipts.
    pub from: String,
    /// Envelope sender of receipts, for relays that take no null sender. What cannot be delivered comes back there.
    pub bounce_from: Option<String>,
    /// Address at which receipts can be answered with `release`, `cancel` or `status`; must be one that reaches the daemon with a
    /// `+` and a token in its local part.
    pub reply_to: Option<String>,
    /// For how long.
    #[serde(default = "Receipt::default_replies_valid_for")]
    pub replies_valid_for: Duration,
    /// Domain of the DKIM signature; with `dkim_selector` and `dkim_key`, or none of them.
    pub dkim_domain: Option<String>,
    /// Its selector.
    pub dkim_selector: Option<String>,
    /// Its private key, PEM: RSA (PKCS #1 or #8) or Ed25519 (PKCS #8).
    pub dkim_key: Option<SecretRef>,
    /// Answers "nothing of this was faxed" to one address in an hour; more are left unsaid, against loops.
    #[serde(default = "Receipt::default_refusals_per_hour")]
    pub refusals_per_hour: u32,
}

impl Receipt {
    /// The longest name in front of the `@` of `reply_to`: with `+` and a token it fills a local part.
    pub const LONGEST_REPLY_NAME: usize = 23;

    fn default_replies_valid_for() -> Duration {
        Duration::hours(72)
    }
    fn default_refusals_per_hour() -> u32 {
        20
    }
}

/// TLS towards the relay.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RelayTls {
    /// STARTTLS is required.
    #[default]
    Starttls,
    /// TLS from the first byte.
    Implicit,
    /// None; only for a relay on this machine.
    None,
}
