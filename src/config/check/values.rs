//! Sections that stand alone: organization, retention, limits, policy, cover, telemetry.

use rlibphonenumber::{PHONE_NUMBER_UTIL, Region};

use super::at_least_one;
use super::forms::{is_e164, is_mail_address};
use crate::config::faults::Report;
use crate::config::source::{Path, at};
use crate::config::units::Duration;
use crate::config::{Cover, Limits, Organization, Policy, Retention, Store, Telemetry};
use crate::text::nearest::nearest;

/// Documents stay no longer than this after the final state: the promise of the README, so no file may widen it.
const LONGEST_FOR_DOCUMENTS: Duration = Duration::minutes(30);
/// Below this a provider that took a fax late may not list it yet when its absence counts.
const SHORTEST_QUIET: Duration = Duration::minutes(2);

pub(super) fn organization(organization: &Organization, report: &mut Report<'_>) {
    let here = at("organization");
    if organization.name.trim().is_empty() {
        report.fault(&here.key("name"), "found nothing; allowed: the name that covers and receipts show");
    }
    country(&here.key("country"), &organization.country, report);
    time_zone(&here.key("time_zone"), &organization.time_zone, report);
    if let Some(mail) = &organization.mail {
        mail_address(&here.key("mail"), mail, report);
    }
    if let Some(fax) = &organization.fax
        && !is_e164(fax)
    {
        let sentence =
            format!("found {fax:?}; allowed: the number with country code, as \"+12125550100\", digits only");
        report.fault(&here.key("fax"), sentence);
    }
}

pub(super) fn store(store: &Store, report: &mut Report<'_>) {
    if store.data_dir.as_os_str().is_empty() {
        report.fault(
            &at("store").key("data_dir"),
            "found nothing; allowed: the path of a folder, as \"/var/lib/faxbridge\"",
        );
    }
    if store.node.trim().is_empty() || store.node.len() > 64 || store.node.contains(char::is_control) {
        let sentence = format!("found {:?}; allowed: a name of up to 64 bytes, as \"fax-1\"", store.node);
        report.fault(&at("store").key("node"), sentence);
    }
}

pub(super) fn retention(retention: &Retention, report: &mut Report<'_>) {
    if retention.documents > LONGEST_FOR_DOCUMENTS {
        let sentence = format!(
            "found {}; allowed: at most {LONGEST_FOR_DOCUMENTS}, since documents are promised to be gone by then",
            retention.documents
        );
        report.fault(&at("retention").key("documents"), sentence);
    }
    // A repeat is answered with the first one's state, and a receipt is about rows.
    let least = [("repeats", retention.repeats), ("results", retention.results)];
    for (key, least) in least.into_iter().filter(|(_, least)| *least > retention.records) {
        let sentence = format!(
            "found {}; allowed: at least retention.{key} ({least}), for which these rows are needed",
            retention.records
        );
        report.fault(&at("retention").key("records"), sentence);
    }
    if let Some(proofs) = retention.proofs.filter(|proofs| *proofs < retention.records) {
        let sentence = format!(
            "found {proofs}; allowed: at least retention.records ({}), so that no job outlives its proof",
            retention.records
        );
        report.fault(&at("retention").key("proofs"), sentence);
    }
}

pub(super) fn limits(limits: &Limits, report: &mut Report<'_>) {
    let here = at("limits");
    for (key, n) in [
        ("submission", limits.submission.get()),
        ("pages", limits.pages.into()),
        ("parts", limits.parts.into()),
        ("worker_memory", limits.worker_memory.get()),
        ("workers", limits.workers as u64),
    ] {
        at_least_one(&here.key(key), n, report);
    }
    // A worker holds the document, what it decompresses to and the pages; below this even an office's scans fail.
    let least = limits.submission.get().saturating_mul(2);
    if limits.worker_memory.get() < least && limits.worker_memory.get() > 0 {
        let sentence = format!(
            "found {}, less than twice limits.submission ({}); large documents will be held for lack of memory",
            limits.worker_memory, limits.submission
        );
        report.warn(&here.key("worker_memory"), sentence);
    }
}

pub(super) fn policy(policy: &Policy, report: &mut Report<'_>) {
    let here = at("policy");
    for (i, code) in policy.countries.iter().enumerate() {
        country(&here.key("countries").nth(i), code, report);
    }
    at_least_one(&here.key("calls"), policy.calls.into(), report);
    at_least_one(&here.key("hurry"), policy.hurry.into(), report);
    if policy.ask_first > policy.ask_at_most {
        let sentence = format!(
            "found {}; allowed: at most policy.ask_at_most, which is {}",
            policy.ask_first, policy.ask_at_most
        );
        report.fault(&here.key("ask_first"), sentence);
    }
    if policy.quiet > policy.unclear_at_most {
        let sentence = format!(
            "found {}; allowed: at most policy.unclear_at_most, which is {}: a job would be held before absence counts",
            policy.quiet, policy.unclear_at_most
        );
        report.fault(&here.key("quiet"), sentence);
    }
    if policy.quiet < SHORTEST_QUIET && policy.hurry <= 1 {
        let sentence = format!(
            "found {}; below {SHORTEST_QUIET} a fax that a slow provider takes late may be sent a second time",
            policy.quiet
        );
        report.warn(&here.key("quiet"), sentence);
    }
    if policy.hurry > 1 {
        let sentence = format!(
            "found {}: busy numbers are called again after a {}th of the usual pauses; only for demos and tests",
            policy.hurry, policy.hurry
        );
        report.warn(&here.key("hurry"), sentence);
    }
}

pub(super) fn cover(cover: &Cover, report: &mut Report<'_>) {
    if cover.notice.trim().is_empty() {
        report.warn(&at("cover").key("notice"), "found nothing: covers carry no confidentiality notice");
    }
}

pub(super) fn telemetry(telemetry: &Telemetry, report: &mut Report<'_>) {
    let parsed = tracing_subscriber::EnvFilter::try_new(&telemetry.log);
    let wrong = log_fault(&telemetry.log).or_else(|| parsed.err().map(|error| error.to_string()));
    if let Some(wrong) = wrong {
        let sentence = format!(
            "found {:?}; allowed: error, warn, info, debug, trace, or levels by part, as \"info,faxbridge=debug\" ({wrong})",
            telemetry.log
        );
        report.fault(&at("telemetry").key("log"), sentence);
    }
}

/// What the filter itself takes, and nobody means: it reads a word that is no level as a part of the program, which it then
/// shows wholly, and nothing else.
fn log_fault(log: &str) -> Option<String> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let is_level = |word: &str| LEVELS.contains(&word.to_ascii_lowercase().as_str());
    let parts = log.split(',').map(str::trim);
    // Spans with their values have a grammar of their own.
    for part in parts.filter(|part| !part.contains(['[', '{', '}', ']'])) {
        let level = part.split_once('=').map_or(part, |(_, level)| level);
        if !is_level(level) {
            let meant =
                nearest(level, LEVELS).map_or(String::new(), |level| format!("; did you mean {level:?}?"));
            return Some(format!("{level:?} is no level{meant}"));
        }
    }
    None
}

/// A fault when `text` is no mail address.
pub(super) fn mail_address(path: &Path, text: &str, report: &mut Report<'_>) {
    if !is_mail_address(text) {
        report.fault(
            path,
            format!("found {text:?}; allowed: a mail address, as \"jane@example.com\", without a name"),
        );
    }
}

fn country(path: &Path, code: &str, report: &mut Report<'_>) {
    let region = code.parse::<Region>().ok();
    let known = region.and_then(|region| PHONE_NUMBER_UTIL.get_country_code_for_region(region)).is_some();
    // Lower case is what a domain has; the rest of the program compares codes as they are.
    if !known || code.len() != 2 || code != code.to_uppercase() {
        let sentence = format!(
            "found {code:?}; allowed: the two capital letters of a country (ISO 3166), as \"US\", \"DE\""
        );
        report.fault(path, sentence);
    }
}

fn time_zone(path: &Path, name: &str, report: &mut Report<'_>) {
    if jiff::tz::TimeZone::get(name).is_ok() {
        return;
    }
    let names: Vec<String> = jiff::tz::db().available().map(|name| name.as_str().to_owned()).collect();
    if names.is_empty() {
        let sentence =
            format!("found {name:?}, but this machine has no time zones; install the package tzdata");
        return report.fault(path, sentence);
    }
    let city = |full: &str| full.rsplit('/').next().unwrap_or(full).to_lowercase();
    let by_city = names.iter().find(|known| city(known) == city(name).replace(' ', "_")).map(String::as_str);
    let guess = match by_city.or_else(|| nearest(name, names.iter().map(String::as_str))) {
        Some(zone) => format!("; did you mean {zone:?}?"),
        None => String::new(),
    };
    report.fault(
        path,
        format!("found {name:?}; allowed: a zone of the IANA database, as \"America/New_York\"{guess}"),
    );
}
