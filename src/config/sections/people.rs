//! The section about people: who may submit, what proves that it is they, and how they write.

use serde::{Deserialize, Serialize};

use crate::addressing::readers::Reader;
use crate::config::NamePattern;
use crate::config::secret::SecretRef;

/// `[[sender]]`: who may submit, and who they are on a cover.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sender {
    /// The name that rules, folders and receipts use.
    pub name: String,
    /// Whether a person or a program writes.
    #[serde(default)]
    pub kind: SenderKind,
    /// Mail addresses (`jane@example.com`) or whole domains (`@example.com`) this sender may write from. Without any, only
    /// its login proves who it is, and it may write from every address.
    #[serde(default)]
    pub addresses: Vec<String>,
    /// Networks (`192.0.2.0/24`, `::1`; see [`Network`](crate::config::Network)) from which those addresses need no password.
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
    /// Whether that user's client is too old for today's ciphers: it may come in by `sftp.listen_legacy`.
    #[serde(default)]
    pub sftp_legacy: bool,
    /// Names that this user's client gives to files that are not whole yet, beside those that are known: `*.upload2`.
    #[serde(default)]
    pub temporary_names: Vec<NamePattern>,
    /// Names that are final although they look like temporary ones: `_*`.
    #[serde(default)]
    pub final_names: Vec<NamePattern>,
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

    /// Whether `from` is one of the sender's addresses or in one of its domains.
    #[must_use]
    pub fn writes_from(&self, from: &str) -> bool {
        let domain = from.rsplit_once('@').map(|(_, domain)| domain);
        self.addresses.iter().any(|allowed| match allowed.strip_prefix('@') {
            Some(allowed) => domain.is_some_and(|domain| domain.eq_ignore_ascii_case(allowed)),
            None => allowed.eq_ignore_ascii_case(from),
        })
    }
}

/// Who writes a sender's mail.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SenderKind {
    /// A person: mail that says a program wrote it is refused.
    #[default]
    Person,
    /// A program, as billing and ticket systems are: such mail is faxed and answered as any other. Notices and automatic answers
    /// never are.
    Program,
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
