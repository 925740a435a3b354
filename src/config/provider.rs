//! `[provider.NAME]`: which fax API, how to sign in, and how much of it. What every kind understands stands here; what
//! only one understands is a type of its own in [`kinds`].

use serde::{Deserialize, Deserializer, de};

use super::secret::SecretRef;
use super::units::Duration;
use crate::job::Absent;

pub mod kinds;

/// Which API a provider speaks, with the keys of that kind. With [`Kind::facts`] it is the register of kinds.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// faxbridge's own simulator.
    Simulator(kinds::Simulator),
    /// Sinch Fax API v3.
    Sinch(kinds::Sinch),
    /// Telnyx Programmable Fax, API v2.
    Telnyx(kinds::Telnyx),
    /// Phaxio API v2.1.
    Phaxio(kinds::Phaxio),
    /// InterFAX REST API.
    Interfax(kinds::Interfax),
    /// Fax.Plus REST API v3.
    Faxplus(kinds::Faxplus),
    /// SRFax HTTP POST API.
    Srfax(kinds::Srfax),
    /// SignalWire fax, Compatibility API.
    Signalwire(kinds::Signalwire),
    /// A HylaFAX or HylaFAX+ server, client protocol.
    Hylafax(kinds::Hylafax),
}

impl Kind {
    /// What is asked of a section by those who do not care which kind it is.
    #[must_use]
    pub fn facts(&self) -> Facts<'_> {
        match self {
            Kind::Simulator(keys) => keys.facts(),
            Kind::Sinch(keys) => keys.facts(),
            Kind::Telnyx(keys) => keys.facts(),
            Kind::Phaxio(keys) => keys.facts(),
            Kind::Interfax(keys) => keys.facts(),
            Kind::Faxplus(keys) => keys.facts(),
            Kind::Srfax(keys) => keys.facts(),
            Kind::Signalwire(keys) => keys.facts(),
            Kind::Hylafax(keys) => keys.facts(),
        }
    }
}

/// What every kind can be asked.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The kind's word in the configuration.
    pub word: &'static str,
    /// Where its API is.
    pub url: &'a str,
    /// Whose account it is, as far as the section says so.
    pub account: &'a str,
    /// The number that faxes come from; else `organization.fax`.
    pub from: Option<&'a str>,
    /// Whether it cannot do without such a number.
    pub needs_from: bool,
    /// Mail address of the sender.
    pub mail: Option<&'a str>,
    /// Token.
    pub token: Option<&'a SecretRef>,
    /// Password.
    pub password: Option<&'a SecretRef>,
    /// What webhooks are checked with.
    pub webhook_key: Option<&'a SecretRef>,
    /// Whether its webhooks are signed, and so checked with `webhook_key`.
    pub signs: bool,
    /// Whether it fetches documents from `[media]`.
    pub fetches: bool,
    /// Whether it prints the header line of 47 CFR 68.318(d); where it does not, the cover carries what that line must say.
    pub prints_header: bool,
    /// What follows when it does not know a fax whose submit had no answer.
    pub absent: Absent,
}

/// `[provider.NAME]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct Provider {
    /// Which API it speaks, and the keys of that kind.
    pub kind: Kind,
    /// A request without an answer for this long is given up, and the job unclear.
    #[serde(default = "Provider::default_timeout")]
    pub timeout: Duration,
    /// Requests at once.
    #[serde(default = "Provider::default_concurrency")]
    pub concurrency: usize,
    /// Faxes handed over per minute at most.
    pub per_minute: Option<u32>,
    /// What follows when it does not know a fax whose submit had no answer. Default: as [`Facts::absent`] says.
    pub absent: Option<Absent>,
    /// How long its list may lag behind, instead of `policy.quiet`.
    pub quiet: Option<Duration>,
}

/// The keys of [`Provider`] that every kind understands.
pub(super) const COMMON: [&str; 5] = ["timeout", "concurrency", "per_minute", "absent", "quiet"];

impl<'de> Deserialize<'de> for Provider {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let section = <toml::Table as Deserialize>::deserialize(deserializer)?;
        Provider::read(section).map_err(|error| de::Error::custom(error.inner().message()))
    }
}

impl Provider {
    /// Reads a section: the keys that are not of every kind are those of the kind that `kind` names.
    ///
    /// # Errors
    /// The first fault, at `KEY`, or at `kind.KIND.KEY` where the key is one of a kind.
    pub(super) fn read(section: toml::Table) -> Result<Self, serde_path_to_error::Error<toml::de::Error>> {
        let of_all = |key: &str| key == "kind" || COMMON.contains(&key);
        let (mut all, own): (toml::Table, toml::Table) =
            section.into_iter().partition(|(key, _)| of_all(key));
        if let Some(kind) = all.get_mut("kind")
            && let toml::Value::String(word) = kind
        {
            *kind = toml::Table::from_iter([(std::mem::take(word), own.into())]).into();
        }
        let mut track = serde_path_to_error::Track::new();
        let all = toml::Value::Table(all);
        Provider::deserialize(serde_path_to_error::Deserializer::new(all, &mut track))
            .map_err(|error| serde_path_to_error::Error::new(track.path(), error))
    }

    fn default_timeout() -> Duration {
        Duration::seconds(60)
    }
    fn default_concurrency() -> usize {
        8
    }

    /// What every kind can be asked.
    #[must_use]
    pub fn facts(&self) -> Facts<'_> {
        self.kind.facts()
    }

    /// What follows when it does not know a fax whose submit had no answer.
    #[must_use]
    pub fn absent(&self) -> Absent {
        self.absent.unwrap_or(self.facts().absent)
    }

    /// Whether its faxes say who sends them without a cover. The simulator's need not: it calls nobody.
    #[must_use]
    pub fn says_who_sends(&self) -> bool {
        self.facts().prints_header || matches!(self.kind, Kind::Simulator(_))
    }

    /// Which account at which API it is: faxes handed over under another are not found under this one.
    #[must_use]
    pub fn identity(&self) -> String {
        let Facts { word, url, account, .. } = self.facts();
        format!("{word} {url} {account}")
    }
}
