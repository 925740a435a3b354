//! A rule as it stands in the configuration.

use serde::Deserialize;

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
    /// Whether the receipt that is kept shows the reference in clear; otherwise a mark of it.
    #[serde(default)]
    pub keep_reference: bool,
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
