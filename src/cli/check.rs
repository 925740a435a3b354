//! `faxbridge check`: the configuration, and everything it points to.
//!
//! It looks, and changes nothing: no lock is taken, no folder, key or database is made, so that it can run beside a daemon and
//! before the first start. What a first `serve` would make is said. Exit status 2 where the configuration or what lies on this
//! machine is at fault, 1 where only a provider or the relay does not answer or let us in.

use std::collections::BTreeSet;
use std::fmt;

use faxbridge::config::{self, Config, Fault, Loaded};
use faxbridge::daemon;
use serde_json::json;

use super::listing::{count, plain, say};
use super::{ConfigFile, Misuse};

mod certificate;
mod disk;
mod mailboxes;
mod net;
mod rules;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    file: ConfigFile,
    /// Prints webhook URLs with their tokens, for control panels of providers
    #[arg(long)]
    show_tokens: bool,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

/// How an item was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Ok,
    Warning,
    Fault,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Level::Ok => "ok",
            Level::Warning => "warning",
            Level::Fault => "FAULT",
        })
    }
}

/// What was found, told as it is found.
struct Findings {
    json: bool,
    warnings: usize,
    faults: usize,
    /// Keys at fault, each told once.
    told: BTreeSet<String>,
    /// Faults among them that lie outside of this machine, and need not keep a daemon from starting.
    outside: usize,
}

impl Findings {
    fn ok(&mut self, sentence: impl fmt::Display) -> anyhow::Result<()> {
        self.tell(Level::Ok, &sentence.to_string())
    }

    fn warn(&mut self, sentence: impl fmt::Display) -> anyhow::Result<()> {
        self.tell(Level::Warning, &sentence.to_string())
    }

    fn fault(&mut self, sentence: impl fmt::Display) -> anyhow::Result<()> {
        self.tell(Level::Fault, &sentence.to_string())
    }

    /// What is wrong at one key, unless something at that key was told already.
    fn at(&mut self, fault: &Fault) -> anyhow::Result<()> {
        if self.told.insert(fault.key.clone()) { self.fault(fault) } else { Ok(()) }
    }

    /// A provider or relay that is down, or does not let us in: mails must be taken all the same.
    fn outside(&mut self, sentence: impl fmt::Display) -> anyhow::Result<()> {
        self.outside += 1;
        self.fault(sentence)
    }

    fn tell(&mut self, level: Level, sentence: &str) -> anyhow::Result<()> {
        match level {
            Level::Ok => {}
            Level::Warning => self.warnings += 1,
            Level::Fault => self.faults += 1,
        }
        if self.json {
            let level = level.to_string().to_lowercase();
            return say(json!({"level": level, "sentence": sentence}));
        }
        say(format_args!("{:8} {}", level.to_string(), plain(sentence)))
    }

    fn all(&mut self, level: Level, faults: &[Fault]) -> anyhow::Result<()> {
        faults.iter().try_for_each(|fault| self.tell(level, &fault.to_string()))
    }
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let path = &arguments.file.config;
    let mut findings =
        Findings { json: arguments.json, warnings: 0, faults: 0, told: BTreeSet::new(), outside: 0 };
    match config::load(path) {
        Err(faults) => {
            findings.all(Level::Warning, &faults.warnings)?;
            findings.all(Level::Fault, &faults.faults)?;
        }
        Ok(loaded) => {
            findings
                .ok(format_args!("{}: every key is known, and every value makes sense", path.display()))?;
            findings.all(Level::Warning, &loaded.warnings)?;
            check_all(&loaded, arguments.show_tokens, &mut findings).await?;
        }
    }
    let summary = format!("{}, {}.", count(findings.faults, "fault"), count(findings.warnings, "warning"));
    if findings.faults > findings.outside {
        return Err(Misuse(summary).into());
    }
    if findings.faults > 0 {
        anyhow::bail!("{summary} They lie outside of this machine: `faxbridge serve` starts all the same.");
    }
    if arguments.json { Ok(()) } else { say(summary) }
}

async fn check_all(loaded: &Loaded, show_tokens: bool, findings: &mut Findings) -> anyhow::Result<()> {
    let (faults, warnings) = loaded.secrets();
    if faults.is_empty() {
        findings.ok(format_args!("all {} can be read", count(loaded.config.secrets().len(), "secret")))?;
    }
    findings.all(Level::Warning, &warnings)?;
    // First what a start or a reload would refuse, in their words.
    let refused = daemon::faults(loaded).await;
    findings.all(Level::Fault, &refused)?;
    findings.told.extend(refused.into_iter().map(|fault| fault.key));
    let unreadable = |key: &str| faults.iter().any(|fault| fault.key == key);
    disk::data_dir(loaded, findings)?;
    if !unreadable("store.master_key") {
        disk::master_key(loaded, findings)?;
    }
    let store = disk::database(loaded, findings).await?;
    disk::files(loaded, findings)?;
    disk::folders(loaded, findings)?;
    rules::check(loaded, store.as_ref(), findings).await?;
    net::listeners(loaded, findings)?;
    net::hooks(loaded, show_tokens, findings)?;
    net::dns(loaded, findings).await?;
    let secret_of = |name: &str| format!("provider.{}.", config_key(name));
    for (name, section) in &loaded.config.provider {
        let prefix = secret_of(name);
        if !faults.iter().any(|fault| fault.key.starts_with(&prefix)) {
            net::provider(loaded, name, section, findings).await?;
        }
    }
    let unread: Vec<&str> = faults.iter().map(|fault| fault.key.as_str()).collect();
    let tokens = mailboxes::tokens(loaded, &unread, findings).await?;
    if !unreadable("receipt.password") {
        net::relay(loaded, &tokens, findings).await?;
    }
    mailboxes::check(loaded, &unread, &tokens, findings).await?;
    nothing_comes_in(&loaded.config, findings)
}

/// A provider's name as a part of a key.
fn config_key(name: &str) -> String {
    let bare = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    if bare { name.to_owned() } else { format!("{name:?}") }
}

fn nothing_comes_in(config: &Config, findings: &mut Findings) -> anyhow::Result<()> {
    if config.smtp.is_none() && config.imap.is_empty() && config.sftp.is_none() && config.folder.is_empty() {
        findings.warn("neither [smtp] nor [imap.NAME], [sftp] or [folder.NAME] is configured: only `faxbridge send` brings something in")?;
    }
    Ok(())
}
