//! The clinic whose faxes the stories send: its organization, who may write in its name, its rules and
//! its recipients.
//!
//! A story begins with [`Clinic::new`] and says what is different about its own clinic, in lines of TOML
//! as an operator writes them.

use std::fmt;

use toml::{Table, Value};

use super::Stage;

/// Who writes, where a story does not say otherwise: from this machine, with [`Clinic::mail`].
pub(crate) const JANE: &str = "jane@clinic.example";
/// The number of [`Clinic::radiology`].
pub(crate) const NUMBER: &str = "+12125550199";
/// Its address, with [`Clinic::by_name`].
pub(crate) const RADIOLOGY: &str = "mercy-radiology@fax.clinic.example";

/// What every configuration needs. [`Stage::configure`] replaces the words in capitals.
const BASE: &str = r#"
[organization]
name = "Lakeside Family Clinic"
country = "US"
time_zone = "America/New_York"
phone = "+1 212 555 0100"

[store]
data_dir = "DIR/data"
master_key = "file:DIR/master.key"

[provider.simulator]
kind = "simulator"
url = "PROVIDER"
token = "file:DIR/provider.token"
webhook_key = "file:DIR/webhook.key"
timeout = "3 s"

[webhook]
listen = "127.0.0.1:0"

[receipt]
relay = "RELAY"
tls = "none"
from = "fax@clinic.example"
"#;

const SMTP: &str = r#"
[smtp]
listen = ["127.0.0.1:0"]
hostname = "fax.clinic.example"
"#;

const FRONT_DESK: &str = r#"
[[sender]]
name = "front desk"
addresses = ["jane@clinic.example"]
networks = ["127.0.0.0/8"]
"#;

const TLS: &str = r#"
[smtp]
tls_certificate = "FIXTURES/tls/fax.example.com.pem"
tls_key = "FIXTURES/tls/fax.example.com.key"
"#;

const SFTP: &str = r#"
[sftp]
listen = ["127.0.0.1:0"]
[[sender]]
name = "billing"
sftp_user = "billing"
sftp_keys = ["SFTP_KEY"]
receipts_to = "billing@clinic.example"
"#;

const STATEMENTS: &str = r#"
[[rule]]
name = "billing statements"
source = "sftp:billing"
file = "{account}_{number}.pdf"
reference = "{account}"
"#;

const BY_NUMBER: &str = r#"
[[rule]]
name = "number in the address"
to = "{number}@fax.clinic.example"
"#;

const BY_NAME: &str = r#"
[[rule]]
name = "named recipient"
to = "{recipient}@fax.clinic.example"
"#;

const BRISK: &str = r#"
[policy]
hurry = 600
ask_first = "200 ms"
ask_at_most = "500 ms"
quiet = "1 s"
"#;

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Clinic {
    config: Table,
    /// Key and number of each.
    pub(super) recipients: Vec<(String, String)>,
}

impl Clinic {
    /// One with an organization, a store, the simulator as its provider, and a relay for its receipts.
    /// Nobody may send yet.
    pub(crate) fn new() -> Clinic {
        Clinic { config: Table::new(), recipients: Vec::new() }.with(BASE)
    }

    /// Adds lines of configuration. They replace keys that are there; a `[[sender]]` or `[[rule]]` comes
    /// behind those before.
    pub(crate) fn with(mut self, lines: &str) -> Clinic {
        let lines = lines.parse().unwrap_or_else(|error| panic!("{error} in the configuration\n{lines}"));
        merge(&mut self.config, lines);
        self
    }

    /// Takes out a key or a section, which must be there. Dots stand between sections and key.
    pub(crate) fn without(mut self, path: &str) -> Clinic {
        let (sections, key) =
            path.rsplit_once('.').map_or((None, path), |(sections, key)| (Some(sections), key));
        let mut table = &mut self.config;
        for section in sections.into_iter().flat_map(|sections| sections.split('.')) {
            table = table[section].as_table_mut().unwrap();
        }
        assert!(table.remove(key).is_some(), "the clinic has no {path}");
        self
    }

    /// Takes mail over SMTP.
    pub(crate) fn smtp(self) -> Clinic {
        self.with(SMTP)
    }

    /// The same, from [`JANE`] of the front desk on this machine.
    pub(crate) fn mail(self) -> Clinic {
        self.smtp().with(FRONT_DESK)
    }

    /// SMTP with a certificate.
    pub(crate) fn tls(self) -> Clinic {
        self.with(TLS)
    }

    /// Takes files over SFTP, from the billing program.
    pub(crate) fn sftp(self) -> Clinic {
        self.with(SFTP)
    }

    /// These files are statements: account and number are their name.
    pub(crate) fn statements(self) -> Clinic {
        self.with(STATEMENTS)
    }

    /// A rule for mail to a number.
    pub(crate) fn by_number(self) -> Clinic {
        self.with(BY_NUMBER)
    }

    /// A rule for mail to a name of the register.
    pub(crate) fn by_name(self) -> Clinic {
        self.with(BY_NAME)
    }

    /// Tries and questions follow each other within seconds.
    pub(crate) fn brisk(self) -> Clinic {
        self.with(BRISK)
    }

    /// Adds a verified recipient.
    pub(crate) fn recipient(mut self, key: &str, number: &str) -> Clinic {
        self.recipients.push((key.to_owned(), number.to_owned()));
        self
    }

    /// Adds the recipient that most stories fax to.
    pub(crate) fn radiology(self) -> Clinic {
        self.recipient("mercy-radiology", NUMBER)
    }

    /// A stage with a running daemon.
    pub(crate) async fn open(&self) -> Stage {
        let mut stage = Stage::new(self).await;
        stage.start().await;
        stage
    }
}

/// The configuration's text.
impl fmt::Display for Clinic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&toml::to_string(&self.config).map_err(|_| fmt::Error)?)
    }
}

fn merge(config: &mut Table, lines: Table) {
    for (key, value) in lines {
        match (config.get_mut(&key), value) {
            (Some(Value::Table(section)), Value::Table(more)) => merge(section, more),
            (Some(Value::Array(all)), Value::Array(more)) if more.iter().any(Value::is_table) => {
                all.extend(more);
            }
            (_, value) => {
                config.insert(key, value);
            }
        }
    }
}
