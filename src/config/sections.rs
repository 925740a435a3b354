//! The sections of the one configuration file, with defaults. `config/faxbridge.toml` shows every key with its meaning.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::NamePattern;
use super::provider::Provider;
use super::secret::SecretRef;
use super::units::{Bytes, Duration};
use crate::routing::Rule;

mod mail;
mod people;

pub use mail::{
    Dns, Imap, Oauth, OauthFlow, OauthProvider, Receipt, RecipientField, RelayTls, Smtp, Tls, TokenMechanism,
};
pub use people::{Proof, Sender, SenderKind};

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
    /// Who is told what wants a person.
    #[serde(default)]
    pub alarm: Alarm,
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
    /// The name of this node, under which it leases what it has in hand.
    #[serde(default = "Store::only_node")]
    pub node: String,
}

impl Store {
    /// The name that every version before this setting used.
    fn only_node() -> String {
        "this machine".to_owned()
    }
}

/// `[retention]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retention {
    /// Documents are gone this long after the final state. At most 30 minutes.
    pub documents: Duration,
    /// Result files in the `results/` of an SFTP user or a folder are removed after this.
    pub results: Duration,
    /// Files in a folder's `refused/` are removed after this, each with its reason.
    pub refused: Duration,
    /// A mail or file that comes again within this time is recognised; a mail also where another of its addresses means the same
    /// number.
    pub repeats: Duration,
    /// Mails in the folders that fetched mailboxes are sorted into are deleted there this long after they were moved. Left
    /// out, never.
    pub mailboxes: Option<Duration>,
    /// Rows of submissions, jobs, attempts and answers are deleted this long after their documents.
    pub records: Duration,
    /// Signed receipts and the ledger are deleted after this. Left out, never.
    pub proofs: Option<Duration>,
}

impl Default for Retention {
    fn default() -> Self {
        Retention {
            documents: Duration::minutes(30),
            results: Duration::hours(7 * 24),
            refused: Duration::hours(14 * 24),
            repeats: Duration::hours(24),
            mailboxes: None,
            records: Duration::hours(400 * 24),
            proofs: None,
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
    /// Document worker processes at once; one more for a sender who has none, where all of them are slow.
    pub workers: usize,
    /// Space on the disk that neither submissions nor what is made of them may take.
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

/// `[sftp]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sftp {
    /// Addresses to listen on; port 0 lets the system choose.
    pub listen: Vec<SocketAddr>,
    /// The same for users with `sftp_legacy`: what old clients speak is spoken here, and nowhere else.
    #[serde(default)]
    pub listen_legacy: Vec<SocketAddr>,
    /// Host key, OpenSSH format; made at the first start. Default: `ssh_host_ed25519_key` in the data folder.
    pub host_key: Option<PathBuf>,
    /// Sessions at once.
    #[serde(default = "Sftp::default_sessions")]
    pub max_sessions: usize,
    /// Sessions at once from one address.
    #[serde(default = "Sftp::default_sessions_per_address")]
    pub max_sessions_per_address: usize,
    /// Networks of proxies and of routers that translate addresses: many clients have one address there.
    #[serde(default)]
    pub gateways: Vec<String>,
    /// Sessions at once from one address of `gateways`.
    #[serde(default = "Sftp::default_sessions_per_gateway")]
    pub max_sessions_per_gateway: usize,
    /// A session that is silent for this long is closed.
    #[serde(default = "Sftp::default_idle")]
    pub idle: Duration,
    /// An upload that lies under a temporary name for this long is removed, and its user told.
    #[serde(default = "Sftp::default_temporary_for")]
    pub temporary_for: Duration,
    /// What one user's uploads that are not accepted yet may take on disk.
    #[serde(default = "Sftp::default_unaccepted")]
    pub max_unaccepted: Bytes,
}

impl Sftp {
    fn default_sessions() -> usize {
        200
    }
    fn default_sessions_per_address() -> usize {
        20
    }
    fn default_sessions_per_gateway() -> usize {
        100
    }
    fn default_idle() -> Duration {
        Duration::minutes(10)
    }
    fn default_temporary_for() -> Duration {
        Duration::hours(4)
    }
    fn default_unaccepted() -> Bytes {
        Bytes::mebibytes(2048)
    }
}

/// `[folder.NAME]`: a watched folder.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Folder {
    /// The folder, which must be the daemon's or root's. Results appear in its `results/`, refused files in its `refused/`.
    pub path: PathBuf,
    /// Name of the sender (a `[[sender]]`) for whom its files are faxed.
    pub sender: String,
    /// How often the folder is scanned beside the change notices of the system.
    #[serde(default = "Folder::default_scan")]
    pub scan: Duration,
    /// A file whose writer was seen to close it is taken once it has not changed for this long, and is whole.
    #[serde(default = "Folder::default_quiet")]
    pub quiet: Duration,
    /// A file that was never seen to be closed is taken once it has not changed for this long; what is not taken is told of after
    /// as long.
    #[serde(default = "Folder::default_settle")]
    pub settle: Duration,
    /// Names of files that are not whole yet, beside those that are known: `*.upload2`.
    #[serde(default)]
    pub temporary_names: Vec<NamePattern>,
    /// Names that are final although they look like temporary ones: `_*`.
    #[serde(default)]
    pub final_names: Vec<NamePattern>,
}

impl Folder {
    fn default_scan() -> Duration {
        Duration::seconds(15)
    }
    fn default_quiet() -> Duration {
        Duration::seconds(2)
    }
    fn default_settle() -> Duration {
        Duration::seconds(30)
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

/// `[alarm]`: who is told what wants a person.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Alarm {
    /// Mail addresses; each gets one mail when an alarm is raised and one when it is over, through the relay of `[receipt]`.
    pub mail_to: Vec<String>,
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
