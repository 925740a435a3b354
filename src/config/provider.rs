//! `[provider.NAME]`: which fax API, how to sign in, and how much of it. One shape for all kinds; [`ProviderKind::keys`]
//! says which keys each kind needs and takes.

use serde::{Deserialize, Serialize};

use super::secret::SecretRef;
use super::units::Duration;
use crate::job::Absent;

/// Which API a provider speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ProviderKind {
    /// faxbridge's own simulator.
    Simulator,
    /// Sinch Fax API v3.
    Sinch,
    /// Telnyx Programmable Fax, API v2.
    Telnyx,
    /// Phaxio API v2.1.
    Phaxio,
    /// InterFAX REST API.
    Interfax,
    /// Fax.Plus REST API v3.
    Faxplus,
    /// SRFax HTTP POST API.
    Srfax,
    /// SignalWire fax, Compatibility API.
    Signalwire,
    /// A HylaFAX or HylaFAX+ server, client protocol.
    Hylafax,
}

/// What the keys of one kind mean.
#[derive(Debug)]
pub struct Keys {
    /// Keys that it cannot do without.
    pub needs: &'static [&'static str],
    /// Further keys that it understands. Those that every kind understands stand in neither.
    pub takes: &'static [&'static str],
    /// Where its API is, unless `url` says otherwise; `None` where only the configuration can tell.
    pub url: Option<&'static str>,
    /// Whether its webhooks are signed, and so checked with `webhook_key`.
    pub signs: bool,
    /// Whether it fetches documents from `[media]`.
    pub fetches: bool,
    /// Whether it prints the header line of 47 CFR 68.318(d); where it does not, the cover carries what that line must say.
    pub prints_header: bool,
}

impl ProviderKind {
    /// Its word in the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            ProviderKind::Simulator => "simulator",
            ProviderKind::Sinch => "sinch",
            ProviderKind::Telnyx => "telnyx",
            ProviderKind::Phaxio => "phaxio",
            ProviderKind::Interfax => "interfax",
            ProviderKind::Faxplus => "faxplus",
            ProviderKind::Srfax => "srfax",
            ProviderKind::Signalwire => "signalwire",
            ProviderKind::Hylafax => "hylafax",
        }
    }

    /// What its keys mean.
    #[must_use]
    pub fn keys(self) -> Keys {
        let plain =
            Keys { needs: &[], takes: &[], url: None, signs: false, fetches: false, prints_header: false };
        match self {
            ProviderKind::Simulator => {
                Keys { needs: &["url", "token"], takes: &["webhook_key", "from"], signs: true, ..plain }
            }
            ProviderKind::Sinch => Keys {
                needs: &["account", "login", "password"],
                takes: &["from"],
                url: Some("https://fax.api.sinch.com"),
                prints_header: true,
                ..plain
            },
            ProviderKind::Telnyx => Keys {
                needs: &["account", "token", "from"],
                takes: &["webhook_key"],
                url: Some("https://api.telnyx.com"),
                signs: true,
                fetches: true,
                ..plain
            },
            ProviderKind::Phaxio => Keys {
                needs: &["login", "password"],
                takes: &["webhook_key", "from"],
                url: Some("https://api.phaxio.com"),
                prints_header: true,
                signs: true,
                ..plain
            },
            ProviderKind::Interfax => {
                Keys { needs: &["login", "password"], url: Some("https://rest.interfax.net"), ..plain }
            }
            ProviderKind::Faxplus => Keys {
                needs: &["token", "from"],
                takes: &["account"],
                url: Some("https://restapi.fax.plus"),
                ..plain
            },
            ProviderKind::Srfax => Keys {
                needs: &["account", "password", "mail", "from"],
                url: Some("https://secure.srfax.com"),
                prints_header: true,
                ..plain
            },
            // Each customer has an address of its own, https://SPACE.signalwire.com.
            ProviderKind::Signalwire => {
                Keys { needs: &["url", "account", "token", "from"], fetches: true, ..plain }
            }
            ProviderKind::Hylafax => {
                Keys { needs: &["url", "login"], takes: &["password", "from"], prints_header: true, ..plain }
            }
        }
    }
}

/// `[provider.NAME]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provider {
    /// Which API it speaks.
    pub kind: ProviderKind,
    /// Base URL of the API without its version, `https`, or `http` on this machine; without a name or password in it.
    /// HylaFAX: `hylafax://host:4559`. Default: the vendor's.
    pub url: Option<String>,
    /// Token (simulator, telnyx, faxplus, signalwire).
    pub token: Option<SecretRef>,
    /// Name that goes with the password: sinch key id, phaxio API key, interfax user, hylafax user.
    pub login: Option<String>,
    /// Password: sinch key secret, phaxio API secret, interfax, srfax and hylafax password.
    pub password: Option<SecretRef>,
    /// Whose account: sinch project id, telnyx `connection_id` of the Fax Application, srfax account number, signalwire project id, faxplus member
    /// id (default `self`).
    pub account: Option<String>,
    /// The number that faxes come from, E.164. Default: `organization.fax`.
    pub from: Option<String>,
    /// Mail address of the sender (srfax).
    pub mail: Option<String>,
    /// What webhooks are checked with: the simulator's key, telnyx' public key, phaxio's callback token.
    pub webhook_key: Option<SecretRef>,
    /// A request without an answer for this long is given up, and the job unclear.
    #[serde(default = "Provider::default_timeout")]
    pub timeout: Duration,
    /// Requests at once.
    #[serde(default = "Provider::default_concurrency")]
    pub concurrency: usize,
    /// Faxes handed over per minute at most.
    pub per_minute: Option<u32>,
    /// What follows when it does not know a fax whose submit had no answer. Default: see [`Provider::absent`].
    pub absent: Option<Absent>,
    /// How long its list may lag behind, instead of `policy.quiet`.
    pub quiet: Option<Duration>,
}

impl Provider {
    fn default_timeout() -> Duration {
        Duration::seconds(60)
    }
    fn default_concurrency() -> usize {
        8
    }

    /// What follows when it does not know a fax whose submit had no answer: it is sent again, but held where nobody promises
    /// that the provider's list shows a fax that still waits (srfax).
    #[must_use]
    pub fn absent(&self) -> Absent {
        let usual = if self.kind == ProviderKind::Srfax { Absent::Hold } else { Absent::Resend };
        self.absent.unwrap_or(usual)
    }

    /// Where its API is; empty where nobody said.
    #[must_use]
    pub fn url(&self) -> &str {
        self.url.as_deref().or(self.kind.keys().url).unwrap_or_default()
    }

    /// The keys of those that some kinds need and others do not know, with whether they are there.
    #[must_use]
    pub fn chosen(&self) -> [(&'static str, bool); 8] {
        [
            ("url", self.url.is_some()),
            ("token", self.token.is_some()),
            ("login", self.login.is_some()),
            ("password", self.password.is_some()),
            ("account", self.account.is_some()),
            ("from", self.from.is_some()),
            ("mail", self.mail.is_some()),
            ("webhook_key", self.webhook_key.is_some()),
        ]
    }

    /// Which account at which API it is: faxes handed over under another are not found under this one.
    #[must_use]
    pub fn identity(&self) -> String {
        let account = self.account.as_deref().or(self.login.as_deref()).unwrap_or_default();
        format!("{} {} {account}", self.kind.as_str(), self.url())
    }
}
