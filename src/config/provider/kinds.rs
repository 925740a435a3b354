//! The keys of each kind of provider, and what follows from the kind. A URL is the API's without its version, `https`, or
//! `http` on this machine, without a name or password in it.

use serde::Deserialize;

use super::Facts;
use crate::config::secret::SecretRef;
use crate::job::Absent;

/// Of a kind that needs nothing and does nothing by itself.
const PLAIN: Facts<'static> = Facts {
    word: "",
    url: "",
    account: "",
    from: None,
    needs_from: false,
    mail: None,
    token: None,
    password: None,
    webhook_key: None,
    signs: false,
    fetches: false,
    prints_header: false,
    absent: Absent::Resend,
};

/// faxbridge's own simulator.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Simulator {
    /// Base URL of the API.
    pub url: String,
    /// Token.
    pub token: SecretRef,
    /// What webhooks are signed with.
    pub webhook_key: Option<SecretRef>,
    /// The number that faxes come from, E.164. Default: `organization.fax`.
    pub from: Option<String>,
}

impl Simulator {
    pub(super) fn facts(&self) -> Facts<'_> {
        Facts {
            word: "simulator",
            url: &self.url,
            from: self.from.as_deref(),
            token: Some(&self.token),
            webhook_key: self.webhook_key.as_ref(),
            signs: true,
            ..PLAIN
        }
    }
}

/// Sinch Fax API v3.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sinch {
    /// Id of the project.
    pub account: String,
    /// Id of the key.
    pub login: String,
    /// Secret of the key.
    pub password: SecretRef,
    /// The number that faxes come from, E.164. Default: `organization.fax`.
    pub from: Option<String>,
    /// Base URL of the API. Default: the vendor's.
    pub url: Option<String>,
}

impl Sinch {
    pub(super) fn facts(&self) -> Facts<'_> {
        Facts {
            word: "sinch",
            url: self.url.as_deref().unwrap_or("https://fax.api.sinch.com"),
            account: &self.account,
            from: self.from.as_deref(),
            password: Some(&self.password),
            prints_header: true,
            ..PLAIN
        }
    }
}

/// Telnyx Programmable Fax, API v2.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Telnyx {
    /// `connection_id` of the Fax Application.
    pub account: String,
    /// Token.
    pub token: SecretRef,
    /// The number that faxes come from, E.164. Default: `organization.fax`.
    pub from: Option<String>,
    /// The account's public key.
    pub webhook_key: Option<SecretRef>,
    /// Base URL of the API. Default: the vendor's.
    pub url: Option<String>,
}

impl Telnyx {
    pub(super) fn facts(&self) -> Facts<'_> {
        Facts {
            word: "telnyx",
            url: self.url.as_deref().unwrap_or("https://api.telnyx.com"),
            account: &self.account,
            from: self.from.as_deref(),
            token: Some(&self.token),
            webhook_key: self.webhook_key.as_ref(),
            needs_from: true,
            signs: true,
            fetches: true,
            ..PLAIN
        }
    }
}

/// Phaxio API v2.1.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Phaxio {
    /// API key.
    pub login: String,
    /// API secret.
    pub password: SecretRef,
    /// Callback token.
    pub webhook_key: Option<SecretRef>,
    /// The number that faxes come from, E.164. Default: `organization.fax`.
    pub from: Option<String>,
    /// Base URL of the API. Default: the vendor's.
    pub url: Option<String>,
}

impl Phaxio {
    pub(super) fn facts(&self) -> Facts<'_> {
        Facts {
            word: "phaxio",
            url: self.url.as_deref().unwrap_or("https://api.phaxio.com"),
            account: &self.login,
            from: self.from.as_deref(),
            password: Some(&self.password),
            webhook_key: self.webhook_key.as_ref(),
            signs: true,
            prints_header: true,
            ..PLAIN
        }
    }
}

/// InterFAX REST API.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interfax {
    /// Name of the user.
    pub login: String,
    /// Password of the user.
    pub password: SecretRef,
    /// Base URL of the API. Default: the vendor's.
    pub url: Option<String>,
}

impl Interfax {
    pub(super) fn facts(&self) -> Facts<'_> {
        Facts {
            word: "interfax",
            url: self.url.as_deref().unwrap_or("https://rest.interfax.net"),
            account: &self.login,
            password: Some(&self.password),
            ..PLAIN
        }
    }
}

/// Fax.Plus REST API v3.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Faxplus {
    /// Token.
    pub token: SecretRef,
    /// The number that faxes come from, E.164. Default: `organization.fax`.
    pub from: Option<String>,
    /// Id of a member. Default: `self`.
    pub account: Option<String>,
    /// Base URL of the API. Default: the vendor's.
    pub url: Option<String>,
}

impl Faxplus {
    pub(super) fn facts(&self) -> Facts<'_> {
        Facts {
            word: "faxplus",
            url: self.url.as_deref().unwrap_or("https://restapi.fax.plus"),
            account: self.account.as_deref().unwrap_or_default(),
            from: self.from.as_deref(),
            token: Some(&self.token),
            needs_from: true,
            ..PLAIN
        }
    }
}

/// SRFax HTTP POST API.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Srfax {
    /// Account number.
    pub account: String,
    /// Password of the account.
    pub password: SecretRef,
    /// Mail address of the sender.
    pub mail: String,
    /// The number that faxes come from, E.164. Default: `organization.fax`.
    pub from: Option<String>,
    /// Base URL of the API. Default: the vendor's.
    pub url: Option<String>,
}

impl Srfax {
    pub(super) fn facts(&self) -> Facts<'_> {
        Facts {
            word: "srfax",
            url: self.url.as_deref().unwrap_or("https://secure.srfax.com"),
            account: &self.account,
            from: self.from.as_deref(),
            password: Some(&self.password),
            needs_from: true,
            mail: Some(&self.mail),
            prints_header: true,
            // Nobody promises that its list shows a fax that still waits.
            absent: Absent::Hold,
            ..PLAIN
        }
    }
}

/// SignalWire fax, Compatibility API.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signalwire {
    /// Base URL of the API: each customer has one, `https://SPACE.signalwire.com`.
    pub url: String,
    /// Id of the project.
    pub account: String,
    /// Token.
    pub token: SecretRef,
    /// The number that faxes come from, E.164. Default: `organization.fax`.
    pub from: Option<String>,
}

impl Signalwire {
    pub(super) fn facts(&self) -> Facts<'_> {
        Facts {
            word: "signalwire",
            url: &self.url,
            account: &self.account,
            from: self.from.as_deref(),
            token: Some(&self.token),
            needs_from: true,
            fetches: true,
            ..PLAIN
        }
    }
}

/// A HylaFAX or HylaFAX+ server, client protocol.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hylafax {
    /// `hylafax://host:4559`.
    pub url: String,
    /// Name of the user.
    pub login: String,
    /// Password of the user, where the server asks for one.
    pub password: Option<SecretRef>,
    /// The number that faxes come from, E.164. Default: `organization.fax`.
    pub from: Option<String>,
}

impl Hylafax {
    pub(super) fn facts(&self) -> Facts<'_> {
        Facts {
            word: "hylafax",
            url: &self.url,
            account: &self.login,
            from: self.from.as_deref(),
            password: self.password.as_ref(),
            prints_header: true,
            ..PLAIN
        }
    }
}
