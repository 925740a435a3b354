//! Load, check everything, report every fault.
//!
//! [`load`] reads the one file and hands out either sections whose every value makes sense, or all that is wrong with it:
//! unknown keys, wrong types and faults of meaning in one run, each with its line. What lies outside of the file
//! (secrets, certificates, folders) is looked at by those who use it; [`Loaded::fault`] gives them the line of a key, and
//! [`Loaded::secrets`] tries every secret.

mod check;
mod faults;
mod network;
mod pattern;
mod provider;
mod read;
pub mod secret;
mod sections;
mod source;
pub mod units;

use std::path::Path;

use toml::de::DeTable;

pub use faults::{Fault, Faults};
pub use network::Network;
pub use pattern::NamePattern;
pub use provider::{Facts, Kind, Provider, kinds};
pub use sections::*;

use faults::Report;
use source::Source;

/// The commented sample with every key, as `faxbridge config sample` prints it.
pub const SAMPLE: &str = include_str!("../config/faxbridge.toml");

/// The configuration of `faxbridge demo`, with the placeholders that its head explains.
pub const DEMO: &str = include_str!("../config/demo.toml");

/// Where systemd puts the credentials of the unit.
const CREDENTIALS: &str = "/run/credentials/faxbridge.service";

/// A file of root's that systemd hands over.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Handed {
    /// As the configuration calls it.
    pub name: String,
    /// Whether it is a private key of TLS.
    pub is_tls_key: bool,
}

/// A configuration without faults.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The sections.
    pub config: Config,
    /// What should be looked at, but keeps nothing from starting.
    pub warnings: Vec<Fault>,
    name: String,
    text: String,
}

impl Loaded {
    /// A fault of the key at `key` (`smtp.tls_key`, `provider.main.token`, `sender[1].password`; entries counted from 1) that
    /// only showed when what it points to was used. Has the key's line as far as the file has the key.
    #[must_use]
    pub fn fault(&self, key: &str, sentence: impl Into<String>) -> Fault {
        let (table, _) = DeTable::parse_recoverable(&self.text);
        let source = Source { name: &self.name, text: &self.text, table: &table };
        let mut fault = source.fault(&source::Path::parse(key), sentence.into());
        key.clone_into(&mut fault.key);
        fault
    }

    /// Reads every secret and forgets it: faults for those that cannot be had, and warnings for those that everybody can.
    #[must_use]
    pub fn secrets(&self) -> (Vec<Fault>, Vec<Fault>) {
        let (mut faults, mut warnings) = (Vec::new(), Vec::new());
        for (key, secret) in self.config.secrets() {
            if let Err(error) = secret.read_raw() {
                faults.push(self.fault(&key, error.to_string()));
            } else if let Some(sentence) = secret.too_open() {
                warnings.push(self.fault(&key, sentence));
            }
        }
        (faults, warnings)
    }
}

impl Config {
    /// Whether `address` is one that receipts come from, or are answered at: a mail from there would be our own.
    #[must_use]
    pub fn is_own_address(&self, address: &str) -> bool {
        let Some(receipt) = &self.receipt else { return false };
        let bare = |text: &str| {
            let text = text.rsplit_once('<').map_or(text, |(_, address)| address);
            text.trim().trim_end_matches('>').to_ascii_lowercase()
        };
        let without_tag = |text: String| match text.split_once('@') {
            Some((local, domain)) => format!("{}@{domain}", local.split('+').next().unwrap_or(local)),
            None => text,
        };
        let address = bare(address);
        let replies = receipt.reply_to.as_deref().map(bare);
        address == bare(&receipt.from) || replies.is_some_and(|own| own == without_tag(address))
    }

    /// What systemd is to hand over: each `credential:NAME`, and the TLS keys that lie where it puts credentials. By name.
    #[must_use]
    pub fn credentials(&self) -> Vec<Handed> {
        let secrets = self.secrets().into_iter().filter_map(|(_, secret)| match secret {
            secret::SecretRef::Credential(name) => Some(Handed { name: name.clone(), is_tls_key: false }),
            _ => None,
        });
        let keys = [
            self.smtp.as_ref().and_then(|section| section.tls_key.as_ref()),
            self.webhook.as_ref().and_then(|section| section.tls_key.as_ref()),
            self.media.as_ref().and_then(|section| section.tls_key.as_ref()),
        ];
        let keys = keys.into_iter().flatten().filter_map(|path| path.strip_prefix(CREDENTIALS).ok());
        let keys = keys.map(|path| Handed { name: path.display().to_string(), is_tls_key: true });
        let mut all: Vec<Handed> = secrets.chain(keys).collect();
        all.sort();
        all.dedup();
        all
    }

    /// Every secret that the file refers to, with its key.
    #[must_use]
    pub fn secrets(&self) -> Vec<(String, &secret::SecretRef)> {
        let mut secrets = vec![("store.master_key".to_owned(), &self.store.master_key)];
        for (i, sender) in self.sender.iter().enumerate() {
            secrets.extend(sender.password.iter().map(|s| (format!("sender[{}].password", i + 1), s)));
        }
        for (name, provider) in &self.provider {
            let at = source::at("provider").key(name);
            let Facts { token, password, webhook_key, .. } = provider.facts();
            let all = [("token", token), ("password", password), ("webhook_key", webhook_key)];
            let present = all.into_iter().filter_map(|(key, secret)| Some((key, secret?)));
            secrets.extend(present.map(|(key, secret)| (at.key(key).to_string(), secret)));
        }
        for (name, mailbox) in &self.imap {
            let key = source::at("imap").key(name).key("password").to_string();
            secrets.extend(mailbox.password.iter().map(|secret| (key.clone(), secret)));
        }
        for (name, oauth) in &self.oauth {
            let at = source::at("oauth").key(name);
            let all = [("client_secret", &oauth.client_secret), ("refresh_token", &oauth.refresh_token)];
            let present = all.into_iter().filter_map(|(key, secret)| Some((key, secret.as_ref()?)));
            secrets.extend(present.map(|(key, secret)| (at.key(key).to_string(), secret)));
        }
        let dkim = self.receipt.as_ref().and_then(|receipt| receipt.dkim_key.as_ref());
        secrets.extend(dkim.map(|s| ("receipt.dkim_key".to_owned(), s)));
        let password = self.receipt.as_ref().and_then(|receipt| receipt.password.as_ref());
        secrets.extend(password.map(|s| ("receipt.password".to_owned(), s)));
        secrets
    }
}

/// Reads and checks the file at `path`.
///
/// # Errors
/// All that is wrong with it, or that it cannot be read.
pub fn load(path: &Path) -> Result<Loaded, Faults> {
    let name = path.display().to_string();
    let whole = |line, sentence: String| Faults {
        faults: vec![Fault { file: name.clone(), line, key: String::new(), sentence }],
        warnings: Vec::new(),
    };
    let bytes = std::fs::read(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            whole(None, "there is no such file; `faxbridge config sample` prints one to start from".into())
        }
        _ => whole(None, format!("cannot be read: {error}")),
    })?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let good = error.as_bytes().iter().take(error.utf8_error().valid_up_to());
        let line = 1 + good.filter(|byte| **byte == b'\n').count();
        whole(Some(line), "found bytes that are not UTF-8 text; save the file as UTF-8".into())
    })?;
    parse(&text, &name)
}

/// Checks `text`, the content of a file that is called `name` in faults.
///
/// # Errors
/// All that is wrong with it.
pub fn parse(text: &str, name: &str) -> Result<Loaded, Faults> {
    let (table, errors) = DeTable::parse_recoverable(text);
    let source = Source { name, text, table: &table };
    if !errors.is_empty() {
        return Err(syntax(&source, &errors));
    }
    let mut report = Report::new(&source);
    let config = read::sections(&source, &mut report);
    if let Some(config) = &config {
        check::all(config, &mut report);
    }
    let warnings = report.finish()?;
    match config {
        Some(config) => Ok(Loaded { config, warnings, name: name.to_owned(), text: text.to_owned() }),
        // Reading gives up only over faults; should it not, then this is one.
        None => Err(Faults {
            faults: vec![
                source.fault(&source::Path::default(), "cannot be read as a configuration".to_owned()),
            ],
            warnings,
        }),
    }
}

/// What is not even TOML. What comes after such a fault may be misread, so one a line, and no look at the meaning.
fn syntax(source: &Source<'_>, errors: &[toml::de::Error]) -> Faults {
    let mut faults: Vec<Fault> = Vec::new();
    for error in errors {
        let line = error.span().map(|span| source.line(span.start));
        if faults.iter().all(|fault| fault.line != line) {
            let sentence = format!("not TOML: {}; the rest is checked once this is right", error.message());
            faults.push(Fault { file: source.name.to_owned(), line, key: String::new(), sentence });
        }
    }
    faults.sort_by_key(|fault| fault.line);
    Faults { faults, warnings: Vec::new() }
}

#[cfg(test)]
mod tests;
