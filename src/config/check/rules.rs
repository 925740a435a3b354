//! Rules: patterns, captures, targets, names of other sections.

use super::{known_sender, no_repeats, unknown};
use crate::config::faults::Report;
use crate::config::source::{Path, at};
use crate::config::{Config, Rule};

pub(super) fn rules(config: &Config, report: &mut Report<'_>) {
    let list = at("rule");
    if config.rule.is_empty() && !report.is_spoiled(&list) {
        report
            .warn(&Path::default(), "no [[rule]]: every submission is answered with \"no rule takes this\"");
    }
    let names = config.rule.iter().enumerate().map(|(i, rule)| (list.nth(i).key("name"), rule.name.as_str()));
    no_repeats(names, "each rule its own name", report);
    for (i, rule) in config.rule.iter().enumerate() {
        let here = list.nth(i);
        let captured = patterns(&here, rule, report);
        if let Some(captured) = &captured {
            templates(&here, rule, captured, report);
            target(&here, rule, captured, report);
        }
        if let Some(source) = &rule.source
            && let Err(sentence) = source_exists(source, config)
        {
            report.fault(&here.key("source"), sentence);
        }
        for (j, sender) in rule.require_sender.iter().enumerate() {
            known_sender(&here.key("require_sender").nth(j), sender, config, report);
        }
        if let Some(provider) = &rule.provider
            && !config.provider.contains_key(provider)
            && !report.is_spoiled(&at("provider"))
        {
            let known = config.provider.keys().map(String::as_str);
            report.fault(&here.key("provider"), unknown(provider, "provider", "[provider.NAME]", known));
        }
        if let Some(pages) = &rule.pages
            && !is_page_list(pages)
        {
            let sentence =
                format!("found {pages:?}; allowed: pages and ranges from 1, as \"1-3,7\" or \"2-\"");
            report.fault(&here.key("pages"), sentence);
        }
        if rule.identifier_label.is_some() && rule.identifier.is_none() {
            report.warn(&here.key("identifier_label"), "has no use without identifier");
        }
    }
}

/// The names captured by all patterns of the rule; `None` when one of them is at fault.
fn patterns(here: &Path, rule: &Rule, report: &mut Report<'_>) -> Option<Vec<String>> {
    let mut captured: Option<Vec<String>> = Some(Vec::new());
    for (key, pattern) in [("to", &rule.to), ("subject", &rule.subject), ("file", &rule.file)] {
        let path = here.key(key);
        let Some(pattern) = pattern else {
            if report.is_spoiled(&path) {
                captured = None;
            }
            continue;
        };
        match pieces(pattern).and_then(|pieces| unambiguous(pattern, &pieces)) {
            Ok(names) => {
                if let Some(captured) = &mut captured {
                    captured.extend(names);
                }
            }
            Err(sentence) => {
                report.fault(&path, sentence);
                captured = None;
            }
        }
        if report.is_spoiled(&path) {
            captured = None;
        }
    }
    captured
}

/// Values that may hold captures hold none that no pattern of the rule captures.
fn templates(here: &Path, rule: &Rule, captured: &[String], report: &mut Report<'_>) {
    let all = [
        ("recipient", &rule.recipient),
        ("number", &rule.number),
        ("reference", &rule.reference),
        ("identifier", &rule.identifier),
    ];
    for (key, template) in all {
        let Some(template) = template else { continue };
        let path = here.key(key);
        match pieces(template) {
            Err(sentence) => report.fault(&path, sentence),
            Ok(pieces) => {
                let mut names = pieces.iter().filter_map(Piece::name);
                if let Some(name) = names.find(|name| !captured.iter().any(|known| known == name)) {
                    let known = match captured {
                        [] => "none, since to, subject and file of this rule capture nothing".to_owned(),
                        _ => captured.iter().map(|name| format!("{{{name}}}")).collect::<Vec<_>>().join(", "),
                    };
                    report.fault(
                        &path,
                        format!("found {{{name}}}, which this rule does not capture; allowed: {known}"),
                    );
                }
            }
        }
    }
}

/// A rule says, or captures, to whom it sends: by register key or by number, not both.
fn target(here: &Path, rule: &Rule, captured: &[String], report: &mut Report<'_>) {
    let captures = |name: &str| captured.iter().any(|known| known == name);
    if rule.recipient.is_some() && rule.number.is_some() {
        let sentence = "found beside recipient; allowed: one of the two, since a rule sends to one place";
        report.fault(&here.key("number"), sentence);
    } else if rule.recipient.is_none()
        && rule.number.is_none()
        && !captures("recipient")
        && !captures("number")
    {
        let sentence = "the rule has no target; allowed: recipient or number, or {recipient} or {number} in to, subject or file";
        report.fault(here, sentence);
    }
}

fn source_exists(source: &str, config: &Config) -> Result<(), String> {
    let (kind, name) = match source.split_once(':') {
        Some((kind, name)) => (kind, Some(name)),
        None => (source, None),
    };
    let users = || config.sender.iter().filter_map(|sender| sender.sftp_user.as_deref());
    match (kind, name) {
        ("smtp" | "sftp" | "folder" | "cli", None) => Ok(()),
        ("sftp", Some(user)) if users().any(|known| known == user) => Ok(()),
        ("sftp", Some(user)) => {
            Err(unknown(user, "sender with that sftp_user", "sftp_user of a [[sender]]", users()))
        }
        ("folder", Some(folder)) if config.folder.contains_key(folder) => Ok(()),
        ("folder", Some(folder)) => {
            Err(unknown(folder, "folder", "[folder.NAME]", config.folder.keys().map(String::as_str)))
        }
        _ => Err(format!("found {source:?}; allowed: smtp, sftp, sftp:USER, folder, folder:NAME or cli")),
    }
}

/// A part of a pattern or template.
#[derive(Debug, PartialEq)]
enum Piece<'a> {
    Text,
    Capture(&'a str),
}

impl<'a> Piece<'a> {
    fn name(&self) -> Option<&'a str> {
        match self {
            Piece::Capture(name) => Some(name),
            Piece::Text => None,
        }
    }
}

/// Splits `{account}_{number}.pdf`.
fn pieces(pattern: &str) -> Result<Vec<Piece<'_>>, String> {
    let mut pieces = Vec::new();
    if pattern.is_empty() {
        return Err(
            "found nothing; allowed: a text with captures, as \"{recipient}@fax.example.com\"".to_owned()
        );
    }
    let mut rest = pattern;
    while !rest.is_empty() {
        match rest.find(['{', '}']) {
            None => {
                pieces.push(Piece::Text);
                break;
            }
            Some(0) => {
                let inner = rest.strip_prefix('{').and_then(|inner| inner.split_once('}'));
                let Some((name, after)) = inner else {
                    return Err(format!(
                        "found {pattern:?}, with a brace that has no partner; allowed: {{name}}"
                    ));
                };
                let letters = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
                if !name.starts_with(|c: char| c.is_ascii_lowercase()) || !name.chars().all(letters) {
                    return Err(format!(
                        "found {{{name}}} in {pattern:?}; allowed: names of small letters, digits and _, as {{account}}"
                    ));
                }
                pieces.push(Piece::Capture(name));
                rest = after;
            }
            Some(brace) => {
                pieces.push(Piece::Text);
                rest = rest.get(brace..).unwrap_or_default();
            }
        }
    }
    Ok(pieces)
}

/// The names in a pattern, if there is only one way to read a text by it.
fn unambiguous(pattern: &str, pieces: &[Piece<'_>]) -> Result<Vec<String>, String> {
    let mut names: Vec<String> = Vec::new();
    for (i, piece) in pieces.iter().enumerate() {
        let Some(name) = piece.name() else { continue };
        if i > 0 && pieces.get(i - 1).is_some_and(|before| before.name().is_some()) {
            return Err(format!(
                "found {pattern:?}, with two captures side by side; allowed: some text between them"
            ));
        }
        if names.iter().any(|known| known == name) {
            return Err(format!("found {{{name}}} twice in {pattern:?}; allowed: each name once"));
        }
        names.push(name.to_owned());
    }
    Ok(names)
}

/// `1-3,7`, `2-`, with blanks.
fn is_page_list(text: &str) -> bool {
    let page = |text: &str| {
        let text = text.trim();
        text.bytes()
            .all(|b| b.is_ascii_digit())
            .then(|| text.parse::<u32>().ok())
            .flatten()
            .filter(|n| *n > 0)
    };
    text.split(',').all(|range| match range.split_once('-') {
        None => page(range).is_some(),
        Some((from, to)) if to.trim().is_empty() => page(from).is_some(),
        Some((from, to)) => page(from).zip(page(to)).is_some_and(|(from, to)| from <= to),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_have_one_meaning() {
        let names = |text| pieces(text).and_then(|pieces| unambiguous(text, &pieces));
        assert_eq!(names("{account}_{number}.pdf"), Ok(vec!["account".into(), "number".into()]));
        assert_eq!(names("urgent"), Ok(vec![]));
        for (text, says) in [
            ("", "found nothing"),
            ("{number", "no partner"),
            ("number}", "no partner"),
            ("{}", "allowed: names"),
            ("{Number}", "allowed: names"),
            ("{a b}", "allowed: names"),
            ("{a{b}}", "allowed: names"),
            ("{a}{b}", "side by side"),
            ("{a}-{a}", "twice"),
        ] {
            let sentence = names(text).unwrap_err();
            assert!(sentence.contains(says), "{text}: {sentence}");
        }
    }

    #[test]
    fn page_lists() {
        for (text, good) in [
            ("1-3,7", true),
            ("2-", true),
            (" 1 , 3 - 4 ", true),
            ("", false),
            ("0", false),
            ("3-1", false),
            ("-3", false),
            ("1,,2", false),
            ("1-2-3", false),
            ("all", false),
            ("+1", false),
        ] {
            assert_eq!(is_page_list(text), good, "{text:?}");
        }
    }
}
