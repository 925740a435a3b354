//! Rules: what routing says of each, names of other sections, rules that can never match.

use std::slice;

use super::{known_providers, known_sender, no_repeats, unknown};
use crate::addressing::option_in;
use crate::config::faults::Report;
use crate::config::source::{Path, at};
use crate::config::{Config, Sender};
use crate::routing::{Rule, Rules};

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
        option_in_subject(&here.key("subject"), rule, config, report);
        cover_needed(&here.key("cover_may_be_left_out"), rule, config, report);
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

/// An option is taken out of the subject before rules see it.
fn option_in_subject(here: &Path, rule: &Rule, config: &Config, report: &mut Report<'_>) {
    let reads = |sender: &&Sender| {
        sender.directives && (rule.require_sender.is_empty() || rule.require_sender.contains(&sender.name))
    };
    let Some(option) = rule.subject.as_deref().and_then(option_in) else { return };
    if config.sender.iter().any(|sender| reads(&sender)) {
        let sentence = format!(
            "never sees {option}: that is an option of the sender, and no part of the subject for rules; write it without the colon, \
             or set directives = false for its senders"
        );
        report.warn(here, sentence);
    }
}

/// Where a provider prints no header line, the cover says who sends (47 CFR 68.318(d)).
fn cover_needed(here: &Path, rule: &Rule, config: &Config, report: &mut Report<'_>) {
    if !rule.cover_may_be_left_out {
        return;
    }
    let names = if rule.providers.is_empty() { &config.policy.providers } else { &rule.providers };
    let silent = names.iter().find(|name| config.provider.get(*name).is_some_and(|it| !it.says_who_sends()));
    if let Some(name) = silent {
        let sentence = format!(
            "has no use: provider {name:?} prints no header line, so that the cover has to say who sends (47 CFR 68.318(d))"
        );
        report.warn(here, sentence);
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
