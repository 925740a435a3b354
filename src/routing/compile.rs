//! From a rule as it stands in the configuration to one that can be tried, with every fault it has.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::pattern::{Captures, Match, Pattern, Template};
use super::{Ask, Route, Rule, RuleFault};
use crate::addressing::Address;
use crate::job::{Source, SourceKind};

/// A rule that can be tried.
#[derive(Debug, Clone)]
pub(super) struct Compiled {
    pub(super) name: String,
    pub(super) source: Option<SourcePattern>,
    pub(super) senders: Vec<String>,
    pub(super) to: Option<To>,
    pub(super) subject: Option<Pattern>,
    pub(super) file: Option<Pattern>,
    target: Target,
    reference: Option<Template>,
    identifier: Option<(String, Template)>,
    body_on_cover: bool,
    body_as_pages: bool,
    cover_may_be_left_out: bool,
    subject_on_cover: bool,
    pages: Option<String>,
    providers: Vec<String>,
}

/// What a rule's `source` takes: `sftp` stands for every SFTP user, `folder` for every folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SourcePattern {
    Kind(SourceKind),
    One(Source),
}

impl SourcePattern {
    fn parse(text: &str) -> Option<Self> {
        text.parse().map(SourcePattern::Kind).or_else(|_| text.parse().map(SourcePattern::One)).ok()
    }

    fn kind(&self) -> SourceKind {
        match self {
            SourcePattern::Kind(kind) => *kind,
            SourcePattern::One(source) => source.kind(),
        }
    }

    pub(super) fn matches(&self, source: &Source) -> bool {
        match self {
            SourcePattern::Kind(kind) => source.kind() == *kind,
            SourcePattern::One(one) => source == one,
        }
    }

    fn covers(&self, later: &SourcePattern) -> bool {
        self == later || *self == SourcePattern::Kind(later.kind())
    }
}

impl fmt::Display for SourcePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SourcePattern::Kind(kind) => kind.fmt(f),
            SourcePattern::One(source) => source.fmt(f),
        }
    }
}

/// A pattern for an address: its halves are matched apart, so that no capture reaches over the `@` that counts.
#[derive(Debug, Clone)]
pub(super) struct To {
    local: Pattern,
    domain: Pattern,
}

#[derive(Debug, Clone)]
enum Target {
    Key(Template),
    Number(Template),
}

/// Compiles all, or tells every fault of every rule.
pub(super) fn all(rules: &[Rule]) -> Result<Vec<Compiled>, Vec<RuleFault>> {
    let mut faults = Vec::new();
    let mut names = BTreeSet::new();
    let compiled = rules.iter().enumerate().filter_map(|(place, rule)| {
        let called = if rule.name.trim().is_empty() { format!("#{}", place + 1) } else { rule.name.clone() };
        let mut report = Report { rule: called, faults: &mut faults };
        if rule.name.trim().is_empty() {
            report.fault("name", "is empty; traces and receipts need it");
        } else if !names.insert(rule.name.clone()) {
            report.fault("name", "belongs to an earlier rule too; give each rule its own");
        }
        one(rule, &mut report)
    });
    let compiled: Vec<Compiled> = compiled.collect();
    if faults.is_empty() { Ok(compiled) } else { Err(faults) }
}

struct Report<'a> {
    rule: String,
    faults: &'a mut Vec<RuleFault>,
}

impl Report<'_> {
    fn fault(&mut self, key: &'static str, sentence: &str) {
        self.faults.push(RuleFault { rule: self.rule.clone(), key, sentence: sentence.to_owned() });
    }

    fn take<T>(&mut self, key: &'static str, result: Result<T, String>) -> Option<T> {
        result.map_err(|sentence| self.fault(key, &sentence)).ok()
    }
}

fn one(rule: &Rule, report: &mut Report<'_>) -> Option<Compiled> {
    let source = source_of(rule, report);
    let mut to = rule.to.as_deref().and_then(|text| report.take("to", To::compile(text)));
    let mut subject = rule.subject.as_deref().and_then(|text| report.take("subject", Pattern::compile(text)));
    let mut file = rule.file.as_deref().and_then(|text| report.take("file", Pattern::for_files(text)));
    let mut patterns: Vec<(&'static str, &mut Pattern)> = Vec::new();
    if let Some(To { local, domain }) = to.as_mut() {
        patterns.push(("to", local));
        patterns.push(("to", domain));
    }
    patterns.extend(subject.as_mut().map(|pattern| ("subject", pattern)));
    patterns.extend(file.as_mut().map(|pattern| ("file", pattern)));
    let known = known_captures(&patterns, report);
    let broken = [(&rule.to, "to"), (&rule.subject, "subject"), (&rule.file, "file")]
        .iter()
        .any(|(text, key)| text.is_some() && !patterns.iter().any(|(pattern_key, _)| pattern_key == key));

    let mut template = |key: &'static str, text: Option<&str>| {
        let template = report.take(key, Template::compile(text?))?;
        // Where a pattern itself is at fault, its captures are unknown and not worth a second complaint.
        if let Some(missing) = template.names().find(|name| !broken && !known.contains_key(*name)) {
            report.fault(key, &format!("uses {{{missing}}}, which no pattern of this rule captures"));
        }
        Some(template)
    };
    let reference = template("reference", rule.reference.as_deref());
    let identifier = template("identifier", rule.identifier.as_deref());
    let recipient = template("recipient", rule.recipient.as_deref());
    let number = template("number", rule.number.as_deref());
    if rule.identifier_label.is_some() && rule.identifier.is_none() {
        report.fault("identifier_label", "names an identifier that the rule does not have");
    }
    if let Some(pages) = rule.pages.as_deref().filter(|pages| !is_page_list(pages)) {
        report.fault("pages", &format!("is {pages:?}; pages are written in rising order, as \"1-3,7\""));
    }
    if broken {
        return None;
    }

    let capture = |name: &str| {
        known.contains_key(name).then(|| Template::compile(&format!("{{{name}}}")).ok()).flatten()
    };
    let asked = (rule.recipient.is_some(), rule.number.is_some());
    let target = match (recipient, number) {
        (Some(_), Some(_)) => {
            report.fault("number", "stands beside recipient; a rule sends to one or the other");
            None
        }
        (Some(key), None) => Some(Target::Key(key)),
        (None, Some(number)) => Some(Target::Number(number)),
        (None, None) if asked != (false, false) => None,
        (None, None) => match (capture("recipient"), capture("number")) {
            (Some(_), Some(_)) => {
                report.fault(
                    "number",
                    "and recipient are both captured; say which one counts with recipient = or number =",
                );
                None
            }
            (Some(key), None) => Some(Target::Key(key)),
            (None, Some(number)) => Some(Target::Number(number)),
            (None, None) => {
                let sentence = "is missing: the rule must capture {recipient} or {number}, or say recipient = or number =";
                report.fault("recipient", sentence);
                None
            }
        },
    };
    let target = target?;
    for (_, pattern) in patterns {
        pattern.watch(target.template().names());
    }
    let label = rule.identifier_label.clone().unwrap_or_else(|| "Identifier".to_owned());
    Some(Compiled {
        name: rule.name.clone(),
        source,
        senders: rule.require_sender.clone(),
        to,
        subject,
        file,
        target,
        reference,
        identifier: identifier.map(|template| (label, template)),
        body_on_cover: rule.body_on_cover,
        body_as_pages: rule.body_as_pages,
        cover_may_be_left_out: rule.cover_may_be_left_out,
        subject_on_cover: rule.subject_on_cover,
        pages: rule.pages.clone(),
        providers: rule.providers.clone(),
    })
}

/// A source that exists, and that has what the other conditions look at.
fn source_of(rule: &Rule, report: &mut Report<'_>) -> Option<SourcePattern> {
    let text = rule.source.as_deref()?;
    let Some(source) = SourcePattern::parse(text) else {
        report.fault(
            "source",
            &format!(
                "is {text:?}; there are smtp, imap, imap:NAME, sftp, sftp:USER, folder, folder:NAME and cli"
            ),
        );
        return None;
    };
    let kind = source.kind();
    if kind.brings_drops() && rule.to.is_some() {
        report.fault("to", &format!("can never hold: what comes by {source} has no envelope recipient"));
    }
    if kind.brings_drops() && rule.subject.is_some() {
        report.fault("subject", &format!("can never hold: what comes by {source} has no subject"));
    }
    if kind.brings_mails() && rule.file.is_some() {
        report.fault("file", &format!("can never hold: what comes by {source} has no file name"));
    }
    Some(source)
}

/// Every capture with the key of its pattern; one name in two patterns would leave open which of them counts.
fn known_captures(
    patterns: &[(&'static str, &mut Pattern)],
    report: &mut Report<'_>,
) -> BTreeMap<String, &'static str> {
    let mut known = BTreeMap::new();
    for (key, pattern) in patterns {
        for name in pattern.names() {
            if let Some(earlier) = known.insert(name.to_owned(), *key) {
                report.fault(
                    key,
                    &format!("captures {{{name}}}, and so does {earlier}; give them different names"),
                );
            }
        }
    }
    known
}

/// `1-3,7`: rising, from 1.
fn is_page_list(text: &str) -> bool {
    let page = |text: &str| -> Option<u32> {
        let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        text.parse().ok().filter(|page| plain && *page > 0)
    };
    let mut last = 0;
    text.split(',').all(|part| {
        let part = part.trim();
        let (first, end) = part.split_once('-').unwrap_or((part, part));
        match (page(first.trim()), page(end.trim())) {
            (Some(first), Some(end)) if last < first && first <= end => {
                last = end;
                true
            }
            _ => false,
        }
    })
}

impl To {
    fn compile(written: &str) -> Result<To, String> {
        let (local, domain) =
            written.rsplit_once('@').ok_or("has no @; write it as {recipient}@fax.example.com")?;
        Ok(To { local: Pattern::compile(local)?, domain: Pattern::compile(domain)? })
    }

    pub(super) fn written(&self) -> String {
        format!("{}@{}", self.local.written(), self.domain.written())
    }

    pub(super) fn matches(&self, address: &Address) -> Option<Match> {
        match (self.local.matches(&address.local)?, self.domain.matches(&address.domain)?) {
            (Match::Plain(mut local), Match::Plain(domain)) => {
                local.extend(domain);
                Some(Match::Plain(local))
            }
            (unclear @ Match::Ambiguous(_), _) | (_, unclear @ Match::Ambiguous(_)) => Some(unclear),
        }
    }
}

impl Target {
    fn template(&self) -> &Template {
        match self {
            Target::Key(template) | Target::Number(template) => template,
        }
    }

    fn ask(&self, captures: &Captures) -> Ask {
        match self {
            // Keys are lower-case; addresses may be typed in any case.
            Target::Key(key) => Ask::Key(key.fill(captures).trim().to_ascii_lowercase()),
            Target::Number(number) => Ask::Number(number.fill(captures).trim().to_owned()),
        }
    }
}

impl Compiled {
    pub(super) fn route(&self, captures: &Captures) -> Route {
        Route {
            rule: self.name.clone(),
            ask: self.target.ask(captures),
            reference: self.reference.as_ref().map(|template| template.fill(captures)),
            identifier: self
                .identifier
                .as_ref()
                .map(|(label, template)| (label.clone(), template.fill(captures))),
            body_on_cover: self.body_on_cover,
            body_as_pages: self.body_as_pages,
            cover_may_be_left_out: self.cover_may_be_left_out,
            subject_on_cover: self.subject_on_cover,
            pages: self.pages.clone(),
            providers: self.providers.clone(),
        }
    }

    pub(super) fn fixed_ask(&self) -> Option<Ask> {
        self.target.template().names().next().is_none().then(|| self.target.ask(&Captures::new()))
    }

    /// Whether every Submission that `later` takes is taken by this rule already.
    pub(super) fn covers(&self, later: &Compiled) -> bool {
        let source = match (&self.source, &later.source) {
            (None, _) => true,
            (Some(own), Some(other)) => own.covers(other),
            (Some(_), None) => false,
        };
        let senders = self.senders.is_empty()
            || !later.senders.is_empty() && later.senders.iter().all(|sender| self.senders.contains(sender));
        let to = match (&self.to, &later.to) {
            (None, _) => true,
            (Some(own), Some(other)) => own.local.covers(&other.local) && own.domain.covers(&other.domain),
            (Some(_), None) => false,
        };
        source && senders && to && covers(&self.subject, &later.subject) && covers(&self.file, &later.file)
    }
}

fn covers(own: &Option<Pattern>, later: &Option<Pattern>) -> bool {
    match (own, later) {
        (None, _) => true,
        // With folders the whole path is looked at, without them the name alone: two different texts.
        (Some(own), Some(other)) => own.has_folders() == other.has_folders() && own.covers(other),
        (Some(_), None) => false,
    }
}
