//! The sections of the one configuration file, with defaults. `config/faxbridge.toml` shows every key with its meaning.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::provider::Provider;
use super::secret::SecretRef;
use super::units::{Bytes, Duration};

/// The whole file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Who sends.
    pub organization: Organization,
    /// Where everything is kept.
    pub store: Store,
    /// How long what is kept.
    #[serde(default)]
    pub retention: Retention,
    /// Bounds on what a submission may cost.
    #[serde(default)]
    pub limits: Limits,
    /// Where names are looked up.
    #[serde(default)]
    pub dns: Dns,
    /// Mail in; left out, no SMTP listener is started.
    pub smtp: Option<Smtp>,
    /// Mailboxes that are fetched, by name.
    #[serde(default)]
    pub imap: BTreeMap<String, Imap>,
    /// Where access tokens for mailboxes and the relay come from, by name.
    #[serde(default)]
    pub oauth: BTreeMap<String, Oauth>,
    /// Files in over SFTP; left out, no SFTP server is started.
    pub sftp: Option<Sftp>,
    /// Watched folders by name.
    #[serde(default)]
    pub folder: BTreeMap<String, Folder>,
    /// Who may submit.
    #[serde(default)]
    pub sender: Vec<Sender>,
    /// What goes where; first match wins.
    #[serde(default)]
    pub rule: Vec<Rule>,
    /// Numbers, deadlines, retries.
    #[serde(default)]
    pub policy: Policy,
    /// The sheet in front.
    #[serde(default)]
    pub cover: Cover,
    /// Fax providers by name.
    #[serde(default)]
    pub provider: BTreeMap<String, Provider>,
    /// Where providers report back; left out, they are polled only.
    pub webhook: Option<Webhook>,
    /// Where providers fetch documents; left out, those that take no upload cannot be used.
    pub media: Option<Media>,
    /// Mail out.
    pub receipt: Option<Receipt>,
    /// Log.
    #[serde(default)]
    pub telemetry: Telemetry,
}

/// `[organization]`: who sends; the defaults of every cover.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Organization {
    /// Name on covers and receipts.
    pub name: String,
    /// ISO 3166 code of the country whose numbering plan reads numbers without `+`, as `US`.
    pub country: String,
    /// IANA time zone of covers and receipts, as `America/New_York`.
    pub time_zone: String,
    /// Callback telephone on covers.
    pub phone: Option<String>,
    /// Contact mail address on covers.
    pub mail: Option<String>,
    /// Own fax number, E.164, for headers and as caller.
    pub fax: Option<String>,
}

/// `[store]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Store {
    /// Folder for database, sealed spool and host key.
    pub data_dir: PathBuf,
    /// 32 random bytes (raw, or as 64 hex digits) under which every submission's key is wrapped.
    pub master_key: SecretRef,
}

/// `[retention]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retention {
    /// Documents are gone this long after the final state. At most 30 minutes.
    pub documents: Duration,
    /// Result files in an SFTP user's `results/` are removed after this.
    pub results: Duration,
    /// A mail or file that comes again within this time is recognised.
    pub repeats: Duration,
    /// Mails in the folders that fetched mailboxes are sorted into are deleted there this long after they were moved. Left
    /// out, never.
    pub mailboxes: Option<Duration>,
}

impl Default for Retention {
    fn default() -> Self {
        Retention {
            documents: Duration::minutes(30),
            results: Duration::hours(7 * 24),
            repeats: Duration::hours(24),
            mailboxes: None,
        }
    }
}

/// `[limits]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Largest mail or file.
    pub submission: Bytes,
    /// Pages of one packet, cover included.
    pub pages: u32,
    /// Parts of one mail.
    pub parts: u32,
    /// Memory of one document worker process (RLIMIT_AS); at least twice `submission`.
    pub worker_memory: Bytes,
    /// Time a document worker may take for one submission.
    pub worker_time: Duration,
    /// Document worker processes at once.
    pub workers: usize,
    /// Free space below which submissions are refused for now; 0 for none.
    pub disk_reserve: Bytes,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            submission: Bytes::mebibytes(50),
            pages: 300,
            parts: 500,
            worker_memory: Bytes::mebibytes(1024),
            worker_time: Duration::seconds(60),
            workers: 2,
            disk_reserve: Bytes::mebibytes(200),
        }
    }
}

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
    /// Sessions at once from one address.
    #[serde(default = "Smtp::default_sessions_per_address")]
    pub max_sessions_per_address: usize,
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
        300
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

/// `[sftp]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sftp {
    /// Addresses to listen on; port 0 lets the system choose.
    pub listen: Vec<SocketAddr>,
    /// Host key, OpenSSH format; made at the first start. Default: `ssh_host_ed25519_key` in the data folder.
    pub host_key: Option<PathBuf>,
    /// Sessions at once.
    #[serde(default = "Sftp::default_sessions")]
    pub max_sessions: usize,
    /// Sessions at once from one address.
    #[serde(default = "Sftp::default_sessions")]
    pub max_sessions_per_address: usize,
    /// A session that is silent for this long is closed.
    #[serde(default = "Sftp::default_idle")]
    pub idle: Duration,
}

impl Sftp {
    fn default_sessions() -> usize {
        100
    }
    fn default_idle() -> Duration {
        Duration::minutes(10)
    }
}

/// `[folder.NAME]`: a watched folder.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Folder {
    /// The folder. Results appear in its `results/`, claimed files wait in its `.faxbridge/`.
    pub path: PathBuf,
    /// Name of the sender (a `[[sender]]`) for whom its files are faxed.
    pub sender: String,
    /// How often the folder is scanned beside the change notices of the system.
    #[serde(default = "Folder::default_scan")]
    pub scan: Duration,
    /// A file that was never seen to be closed is taken once it has not changed for this long.
    #[serde(default = "Folder::default_settle")]
    pub settle: Duration,
}

impl Folder {
    fn default_scan() -> Duration {
        Duration::seconds(30)
    }
    fn default_settle() -> Duration {
        Duration::seconds(60)
    }
}

/// `[[sender]]`: who may submit, and who they are on a cover.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sender {
    /// The name that rules, folders and receipts use.
    pub name: String,
    /// Mail addresses (`jane@example.com`) or whole domains (`@example.com`) this sender may write from. Without any, only
    /// its login proves who it is, and it may write from every address.
    #[serde(default)]
    pub addresses: Vec<String>,
    /// Networks (`192.0.2.0/24`, `::1`; see [`Network`](super::Network)) from which those addresses need no password.
    #[serde(default)]
    pub networks: Vec<String>,
    /// Names in client certificates (DNS names or mail addresses) that prove that a connection is this sender's.
    #[serde(default)]
    pub certificates: Vec<String>,
    /// The proofs that count for its mail. Default: those that the other keys make possible; `dmarc` and `upstream` only where
    /// they are named here.
    pub proof: Option<Vec<Proof>>,
    /// Mails of this sender in a minute. Left out, any number.
    pub mails_per_minute: Option<u32>,
    /// Whether a mail is answered at once, with what was understood, beside the final receipt.
    #[serde(default)]
    pub acceptance: bool,
    /// Whether options in the subject and at the head of the text are read.
    #[serde(default = "Sender::default_directives")]
    pub directives: bool,
    /// Other systems' ways to write options and numbers that are understood in its mail.
    #[serde(default)]
    pub readers: Vec<Reader>,
    /// Name for SMTP AUTH, which is taken over TLS only; with `password` or not at all.
    pub login: Option<String>,
    /// Password for SMTP AUTH.
    pub password: Option<SecretRef>,
    /// User name over SFTP.
    pub sftp_user: Option<String>,
    /// Public keys of that user, OpenSSH format.
    #[serde(default)]
    pub sftp_keys: Vec<String>,
    /// Receipts go to this address instead of the envelope sender; required for receipts by mail of files.
    pub receipts_to: Option<String>,
    /// Name on covers, instead of the mail's.
    pub cover_name: Option<String>,
    /// Callback telephone on covers, instead of the organization's.
    pub phone: Option<String>,
    /// Mail address on covers, instead of the mail's.
    pub mail: Option<String>,
    /// Organization or department on covers, instead of the organization's name.
    pub organization: Option<String>,
}

impl Sender {
    fn default_directives() -> bool {
        true
    }

    /// Whether `proof` counts for this sender's mail.
    #[must_use]
    pub fn accepts(&self, proof: Proof) -> bool {
        match &self.proof {
            Some(list) => list.contains(&proof),
            None => !matches!(proof, Proof::Dmarc | Proof::Upstream),
        }
    }
}

/// What proves that a mail is a sender's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Proof {
    /// SMTP AUTH with its login and password.
    Login,
    /// A client certificate with one of its names.
    Certificate,
    /// One of its addresses, from one of its networks.
    Network,
    /// One of its addresses in From, with a DKIM signature or SPF of that domain (DMARC, RFC 7489).
    Dmarc,
    /// The same by the word of the mail server in front (`smtp.upstream_from`) or of the mailbox's own (`imap.NAME.authserv_id`).
    Upstream,
    /// It lay in the sender's own mailbox (`imap.NAME.sender`).
    Mailbox,
}

impl Proof {
    /// Its word, for receipts.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Proof::Login => "signed in with a password",
            Proof::Certificate => "showed its certificate",
            Proof::Network => "wrote from its own network",
            Proof::Dmarc => "its domain vouches for the mail (DMARC)",
            Proof::Upstream => "the mail server in front vouches for the mail",
            Proof::Mailbox => "the mail lay in its own mailbox",
        }
    }
}

/// Another system's way to write options and numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reader {
    /// eFax: options in the address, tags in front of the text.
    Efax,
    /// RightFax: embedded codes, `/fax=.../` addresses.
    Rightfax,
    /// InterFAX: switches at the end of the subject.
    Interfax,
    /// HylaFAX: `X-FAX-` header fields, `name@number.fax` addresses.
    Hylafax,
    /// T.37: `FAX=` addresses (RFC 3191, RFC 3192).
    T37,
}

/// `[[rule]]`: what a submission must look like, and where it then goes. `{name}` captures.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// For traces and receipts.
    pub name: String,
    /// `smtp`, `imap`, `imap:NAME`, `sftp`, `sftp:USER`, `folder`, `folder:NAME` or `cli`.
    pub source: Option<String>,
    /// Pattern for the envelope recipient, as `{recipient}@fax.example.com`.
    pub to: Option<String>,
    /// Pattern for the subject.
    pub subject: Option<String>,
    /// Pattern for the file's name, as `{account}_{number}.pdf`.
    pub file: Option<String>,
    /// Only these senders, by name.
    #[serde(default)]
    pub require_sender: Vec<String>,
    /// Register key this rule sends to; may hold captures. Default: `{recipient}` where captured.
    pub recipient: Option<String>,
    /// Number this rule sends to; may hold captures. Default: `{number}` where captured.
    pub number: Option<String>,
    /// Sender's reference on cover and receipt; may hold captures.
    pub reference: Option<String>,
    /// Patient or claim identifier on the cover; may hold captures.
    pub identifier: Option<String>,
    /// What that identifier is called on the cover, as `Claim`.
    pub identifier_label: Option<String>,
    /// Whether a mail's text becomes the cover message.
    #[serde(default)]
    pub body_on_cover: bool,
    /// Whether a mail's text is faxed as pages, behind the cover.
    #[serde(default)]
    pub body_as_pages: bool,
    /// Whether the sender may leave the cover out (`Cover: off`).
    #[serde(default)]
    pub cover_may_be_left_out: bool,
    /// Whether the cover shows the mail's subject.
    #[serde(default = "Rule::default_subject_on_cover")]
    pub subject_on_cover: bool,
    /// Pages to send of the documents, as `1-3,7`. Default: all.
    pub pages: Option<String>,
    /// Names of the providers that may send it, in order. Default: `policy.providers`.
    #[serde(default)]
    pub providers: Vec<String>,
}

impl Rule {
    fn default_subject_on_cover() -> bool {
        true
    }
}

/// `[policy]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// ISO 3166 codes of the countries that may be dialled. Default: the organization's own.
    pub countries: Vec<String>,
    /// A verified entry needs a second person's word too.
    pub two_person: bool,
    /// No further try starts this long after a job was made.
    pub deadline: Duration,
    /// A held job expires after this.
    pub hold_for: Duration,
    /// A sender may put off a fax (`Send-At`) for so long.
    pub send_at_most: Duration,
    /// Names of the providers that may send a fax whose rule names none, in order. Default: the first by name.
    pub providers: Vec<String>,
    /// Calls per job that may ring the far end.
    pub calls: u32,
    /// Calls to one number that may fail one after the other, over all jobs, before it is left alone.
    pub number_calls: u32,
    /// For how long it is then left alone.
    pub number_rest: Duration,
    /// Divides every pause of the retry ladder; 1 in earnest, more in demos and tests.
    pub hurry: u32,
    /// First pause between two questions to a provider about a fax in transit.
    pub ask_first: Duration,
    /// Longest such pause, at least `ask_first`.
    pub ask_at_most: Duration,
    /// A fax in transit without an end for this long is unclear.
    pub silent_after: Duration,
    /// Absence at the provider counts when it is seen, and seen again this much later; at most `unclear_at_most`.
    pub quiet: Duration,
    /// An unclear job that nobody could tell about for this long is held for a person.
    pub unclear_at_most: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Policy {
            countries: Vec::new(),
            two_person: false,
            deadline: Duration::hours(24),
            hold_for: Duration::hours(72),
            send_at_most: Duration::hours(7 * 24),
            providers: Vec::new(),
            calls: 15,
            number_calls: 15,
            number_rest: Duration::minutes(60),
            hurry: 1,
            ask_first: Duration::seconds(15),
            ask_at_most: Duration::minutes(2),
            silent_after: Duration::minutes(90),
            quiet: Duration::minutes(3),
            unclear_at_most: Duration::minutes(60),
        }
    }
}

/// Paper of the cover.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Paper {
    /// 8.5 x 11 inches.
    #[default]
    Letter,
    /// 210 x 297 mm.
    A4,
}

/// `[cover]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cover {
    /// `letter` or `a4`.
    pub paper: Paper,
    /// Confidentiality notice.
    pub notice: String,
    /// Words on the cover in another language, by their English name (`to`, `from`, `pages`, ...).
    pub labels: BTreeMap<String, String>,
    /// Further font files (TrueType or OpenType) for scripts that the built-in fonts lack.
    pub fonts: Vec<PathBuf>,
}

impl Default for Cover {
    fn default() -> Self {
        Cover {
            paper: Paper::Letter,
            notice: "This fax may contain confidential information, including health information protected by law. \
                     If you are not the person named above, please telephone the sender at once, do not copy or use \
                     these pages, and destroy them."
                .into(),
            labels: BTreeMap::new(),
            fonts: Vec::new(),
        }
    }
}

/// `[webhook]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// Address to listen on; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// URL under which providers reach that address from outside. Default: the bound address.
    pub public_url: Option<String>,
    /// Certificate chain, PEM; with `tls_key` only TLS is spoken. Without, a reverse proxy in front has to.
    pub tls_certificate: Option<PathBuf>,
    /// Private key, PEM; with `tls_certificate` or not at all.
    pub tls_key: Option<PathBuf>,
}

/// `[media]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Media {
    /// Address to listen on; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// URL under which providers reach that address from outside: `https`, or `http` on this machine.
    pub public_url: String,
    /// Certificate chain, PEM; with `tls_key` only TLS is spoken. Without, a reverse proxy in front has to.
    pub tls_certificate: Option<PathBuf>,
    /// Private key, PEM; with `tls_certificate` or not at all.
    pub tls_key: Option<PathBuf>,
    /// How long a provider has to fetch a document.
    #[serde(default = "Media::default_valid_for")]
    pub valid_for: Duration,
}

impl Media {
    fn default_valid_for() -> Duration {
        Duration::minutes(30)
    }
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

/// `[telemetry]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Telemetry {
    /// As in `RUST_LOG`: `info`, `faxbridge=debug`.
    pub log: String,
    /// `text` or `json`.
    pub format: LogFormat,
}

impl Default for Telemetry {
    fn default() -> Self {
        Telemetry { log: "info".into(), format: LogFormat::Text }
    }
}

/// Shape of the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}
