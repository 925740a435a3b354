//! Faults of meaning: values that have the right type and still cannot work, alone or together.
//!
//! A fault is what would make faxbridge refuse work, or do something else than the file says. A warning is what works and
//! is probably not meant. One file per group of sections; each function looks at one section and says everything.

mod forms;
mod outward;
mod people;
mod rules;
mod values;
mod ways;

use std::collections::BTreeSet;

use super::faults::Report;
use super::sections::Config;
use super::source::{Path, at};
use crate::text::nearest::nearest;

/// Looks at everything.
pub(super) fn all(config: &Config, report: &mut Report<'_>) {
    values::organization(&config.organization, report);
    values::store(&config.store, report);
    values::retention(&config.retention, report);
    values::limits(&config.limits, report);
    values::policy(&config.policy, report);
    known_providers(&at("policy").key("providers"), &config.policy.providers, config, report);
    values::cover(&config.cover, report);
    values::telemetry(&config.telemetry, report);
    ways::listeners(config, report);
    ways::smtp(config, report);
    outward::mailboxes(config, report);
    outward::oauth(config, report);
    ways::sftp(config, report);
    ways::folders(config, report);
    people::senders(config, report);
    rules::rules(config, report);
    outward::providers(config, report);
    outward::webhook(config, report);
    outward::media(config, report);
    outward::receipt(config, report);
    outward::alarm(config, report);
}

/// A fault when `n` is 0.
fn at_least_one(path: &Path, n: u64, report: &mut Report<'_>) {
    if n == 0 {
        report.fault(path, "found 0; allowed: 1 or more");
    }
}

/// A fault when only one of two keys, which mean nothing without each other, is there.
fn both_or_neither(here: &Path, first: (&str, bool), second: (&str, bool), report: &mut Report<'_>) {
    let (alone, other) = match (first.1, second.1) {
        (true, false) => (first.0, second.0),
        (false, true) => (second.0, first.0),
        _ => return,
    };
    report.fault(&here.key(alone), format!("stands alone; allowed: together with {other}, or neither"));
}

/// A fault for every entry of `names` that came before; `whose` is what is named.
fn no_repeats<'a>(names: impl Iterator<Item = (Path, &'a str)>, whose: &str, report: &mut Report<'_>) {
    let mut seen: Vec<&str> = Vec::new();
    for (path, name) in names {
        if report.is_spoiled(&path) {
            continue;
        }
        if name.trim().is_empty() {
            report.fault(&path, "found nothing; allowed: any text that is not blank");
        } else if seen.contains(&name) {
            report.fault(&path, format!("found {name:?} a second time; allowed: once, {whose}"));
        } else {
            seen.push(name);
        }
    }
}

/// A fault when no sender is called `name`.
fn known_sender(path: &Path, name: &str, config: &Config, report: &mut Report<'_>) {
    let list = at("sender");
    let unread = (0..config.sender.len()).any(|i| report.is_unread(&list.nth(i).key("name")));
    // Where a sender's own name could not be read, it may be the very one.
    if unread || report.is_unread(&list) || config.sender.iter().any(|sender| sender.name == name) {
        return;
    }
    report.fault(path, unknown(name, "sender", "[[sender]]", config.sender.iter().map(|s| s.name.as_str())));
}

/// A fault for each of `names` that is no provider or stands there twice.
fn known_providers(path: &Path, names: &[String], config: &Config, report: &mut Report<'_>) {
    if report.is_spoiled(&at("provider")) {
        return;
    }
    for (i, name) in names.iter().enumerate() {
        if !config.provider.contains_key(name) {
            let known = config.provider.keys().map(String::as_str);
            report.fault(&path.nth(i), unknown(name, "provider", "[provider.NAME]", known));
        } else if names.iter().take(i).any(|earlier| earlier == name) {
            report.fault(&path.nth(i), format!("found {name:?} a second time; allowed: once"));
        }
    }
}

/// `found "x", which no [[sender]] is called; allowed: "a", "b"; did you mean "a"?`
fn unknown<'a>(name: &str, kind: &str, section: &str, known: impl Iterator<Item = &'a str>) -> String {
    let known: BTreeSet<&str> = known.collect();
    if known.is_empty() {
        return format!("found {name:?}, but there is no {section}; add the {kind}");
    }
    let guess = match nearest(name, known.iter().copied()) {
        Some(meant) => format!("; did you mean {meant:?}?"),
        None => String::new(),
    };
    let known = known.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ");
    format!("found {name:?}, which no {section} is called; allowed: {known}{guess}")
}
