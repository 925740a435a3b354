//! Rules: what routing says of each, names of other sections, rules that can never match.

use std::slice;

use super::{known_providers, known_sender, no_repeats, unknown};
use crate::config::Config;
use crate::config::faults::Report;
use crate::config::source::{Path, at};
use crate::routing::Rules;

pub(super) fn rules(config: &Config, report: &mut Report<'_>) {
    let list = at("rule");
    if config.rule.is_empty() && !report.is_spoiled(&list) {
        report.warn(&Path::default(), "no [[rule]]: no submission can be routed, and every one is refused");
    }
    let names = config.rule.iter().enumerate().map(|(i, rule)| (list.nth(i).key("name"), rule.name.as_str()));
    no_repeats(names, "each rule its own name", report);
    for (i, rule) in config.rule.iter().enumerate() {
        let here = list.nth(i);
        compiles(&here, i, config, report);
        if let Some(source) = &rule.source
            && let Err(sentence) = source_exists(source, config)
        {
            report.fault(&here.key("source"), sentence);
        }
        for (j, sender) in rule.require_sender.iter().enumerate() {
            known_sender(&here.key("require_sender").nth(j), sender, config, report);
        }
        known_providers(&here.key("providers"), &rule.providers, config, report);
    }
    // Only all together show that one stands in the way of another; that wants every one of them to be right.
    let dead = Rules::compile(&config.rule).map(|rules| rules.dead()).unwrap_or_default();
    for fault in dead {
        if let Some(i) = config.rule.iter().position(|rule| rule.name == fault.rule) {
            report.warn(&list.nth(i).key(fault.key), fault.sentence);
        }
    }
}

/// What routing finds in the rule alone. One at a time, because it knows rules by names, which may be at fault themselves.
fn compiles(here: &Path, i: usize, config: &Config, report: &mut Report<'_>) {
    const PATTERNS: [&str; 3] = ["to", "subject", "file"];
    let Some(rule) = config.rule.get(i) else { return };
    // What such a pattern would have captured nobody knows, and so not what is missing either.
    let unread = PATTERNS.iter().any(|key| report.is_unread(&here.key(key)));
    for fault in Rules::compile(slice::from_ref(rule)).err().unwrap_or_default() {
        if !unread || PATTERNS.contains(&fault.key) {
            report.fault(&here.key(fault.key), fault.sentence);
        }
    }
}

fn source_exists(source: &str, config: &Config) -> Result<(), String> {
    let (kind, name) = match source.split_once(':') {
        Some((kind, name)) => (kind, Some(name)),
        None => (source, None),
    };
    let users = || config.sender.iter().filter_map(|sender| sender.sftp_user.as_deref());
    match (kind, name) {
        ("smtp" | "imap" | "sftp" | "folder" | "cli", None) => Ok(()),
        ("imap", Some(name)) if config.imap.contains_key(name) => Ok(()),
        ("imap", Some(name)) => {
            Err(unknown(name, "mailbox", "[imap.NAME]", config.imap.keys().map(String::as_str)))
        }
        ("sftp", Some(user)) if users().any(|known| known == user) => Ok(()),
        ("sftp", Some(user)) => {
            Err(unknown(user, "sender with that sftp_user", "sftp_user of a [[sender]]", users()))
        }
        ("folder", Some(folder)) if config.folder.contains_key(folder) => Ok(()),
        ("folder", Some(folder)) => {
            Err(unknown(folder, "folder", "[folder.NAME]", config.folder.keys().map(String::as_str)))
        }
        _ => Err(format!(
            "found {source:?}; allowed: smtp, imap, imap:NAME, sftp, sftp:USER, folder, folder:NAME or cli"
        )),
    }
}
