//! What must become of the mails of `fixtures/mails`, as `expected.toml` there has it, and what preview says, compared.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// Longest name of a part, in characters.
const LONGEST_NAME: usize = 120;
/// Where the mails are.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/mails")
}

/// `expected.toml`, which explains itself.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expected {
    group: Vec<Group>,
}

/// Mails with something in common. What they have is written out as in [`Said`]: serde tells of unknown keys only so.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Group {
    /// For readers of the file.
    #[serde(rename = "about")]
    _about: String,
    mail: BTreeMap<String, Said>,
    from: Option<String>,
    to: Option<Vec<String>>,
    verdict: Option<String>,
    parts: Option<Lines>,
    jobs: Option<Lines>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Said {
    from: Option<String>,
    to: Option<Vec<String>>,
    verdict: Option<String>,
    reason: Option<String>,
    subject: Option<String>,
    cover: Option<u64>,
    parts: Option<Lines>,
    jobs: Option<Lines>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(crate) enum Lines {
    Word(Any),
    Lines(Vec<String>),
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) enum Any {
    #[serde(rename = "any")]
    Any,
}

impl Said {
    pub(crate) fn or(&self, common: &Group) -> Said {
        Said {
            from: self.from.clone().or_else(|| common.from.clone()),
            to: self.to.clone().or_else(|| common.to.clone()),
            verdict: self.verdict.clone().or_else(|| common.verdict.clone()),
            parts: self.parts.clone().or_else(|| common.parts.clone()),
            jobs: self.jobs.clone().or_else(|| common.jobs.clone()),
            ..self.clone()
        }
    }

    pub(crate) fn envelope(&self) -> (String, Vec<String>) {
        let from = self.from.clone().unwrap_or_else(|| "jane@clinic.example".into());
        let to = self.to.clone().unwrap_or_else(|| vec!["mercy-radiology@fax.example.com".into()]);
        (from, to)
    }
}

pub(crate) fn expected() -> BTreeMap<String, Said> {
    let text = std::fs::read_to_string(folder().join("expected.toml")).unwrap();
    let expected: Expected = toml::from_str(&text).unwrap_or_else(|error| panic!("expected.toml: {error}"));
    let mut mails = BTreeMap::new();
    for group in expected.group {
        for (name, said) in &group.mail {
            let double = mails.insert(name.clone(), said.or(&group));
            assert!(double.is_none(), "{name} stands twice in expected.toml");
        }
    }
    mails
}

/// One line of `preview --json`.
#[derive(Debug, Deserialize)]
pub(crate) struct Shown {
    pub(crate) verdict: String,
    pub(crate) reason: Option<String>,
    pub(crate) subject: Option<String>,
    pub(crate) parts: Vec<Part>,
    pub(crate) packet: Option<Packet>,
    pub(crate) jobs: Vec<Job>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Part {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) pages: Option<(u32, u32)>,
    pub(crate) left_out: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Packet {
    pub(crate) pages: u32,
    pub(crate) cover_pages: u64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Job {
    pub(crate) recipient: Option<String>,
    pub(crate) number: Option<String>,
    pub(crate) rule: String,
    pub(crate) held: Option<String>,
}

/// Whether `text` is what `wanted` says, in which `*` stands for anything.
pub(crate) fn fits(wanted: &str, text: &str) -> bool {
    let mut pieces = wanted.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let Some(last) = wanted.contains('*').then(|| pieces.next_back()).flatten() else {
        return rest.is_empty();
    };
    for piece in pieces {
        match rest.split_once(piece) {
            Some((_, behind)) => rest = behind,
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// A part of a sentence; `*` for any sentence, `-` for none.
pub(crate) fn says(wanted: &str, sentence: Option<&str>) -> bool {
    match (wanted, sentence) {
        ("-" | "", None) => true,
        ("-" | "", Some(_)) | (_, None) => false,
        ("*", Some(_)) => true,
        (wanted, Some(sentence)) => sentence.contains(wanted),
    }
}

pub(crate) fn part_fits(wanted: &str, part: &Part) -> bool {
    let wanted = match wanted {
        "text" => "text of the mail | text | - | the mail's text",
        "html" => "HTML text of the mail | html | - | the mail's text",
        "text within" => "* | text | - | the text of the attached mail",
        "html within" => "* | html | - | the text of the attached mail",
        wanted => wanted,
    };
    let columns: Vec<&str> = wanted.split('|').map(str::trim).collect();
    let [name, kind, pages, why] = columns[..] else { panic!("not four columns: {wanted}") };
    let shown = part.pages.map_or("-".to_owned(), |(first, last)| format!("{first}-{last}"));
    fits(name, &part.name) && fits(kind, &part.kind) && pages == shown && says(why, part.left_out.as_deref())
}

pub(crate) fn job_fits(wanted: &str, job: &Job) -> bool {
    let columns: Vec<&str> = wanted.split('|').map(str::trim).collect();
    let [recipient, number, rule, held] = columns[..] else { panic!("not four columns: {wanted}") };
    fits(recipient, job.recipient.as_deref().unwrap_or("-"))
        && fits(number, job.number.as_deref().unwrap_or("-"))
        && fits(rule, &job.rule)
        && says(held, job.held.as_deref())
}

/// Everything in which a mail differs from what was expected.
pub(crate) fn differences(said: &Said, shown: &Shown) -> Vec<String> {
    let mut differences = Vec::new();
    let mut differ = |what: &str, wanted: &dyn std::fmt::Debug, found: &dyn std::fmt::Debug| {
        differences.push(format!("{what}: expected {wanted:?}, is {found:?}"));
    };
    let verdicts = said.verdict.as_deref().unwrap_or("ready");
    if !verdicts.split('|').any(|verdict| verdict == shown.verdict) {
        differ("verdict", &verdicts, &(&shown.verdict, &shown.reason));
    }
    if shown.reason.is_none() != (shown.verdict == "ready") {
        differ("reason", &"one where it is not ready, and only there", &shown.reason);
    }
    if let Some(reason) = said.reason.as_deref().filter(|reason| !says(reason, shown.reason.as_deref())) {
        differ("reason", &reason, &shown.reason);
    }
    let subject = shown.subject.as_deref().unwrap_or("-");
    if let Some(wanted) = said.subject.as_deref().filter(|wanted| !fits(wanted, subject)) {
        differ("subject", &wanted, &subject);
    }
    if subject.chars().any(char::is_control) {
        differ("subject", &"one line", &subject);
    }
    if let Some(Lines::Lines(wanted)) = &said.parts {
        let fit = wanted.len() == shown.parts.len()
            && wanted.iter().zip(&shown.parts).all(|(wanted, part)| part_fits(wanted, part));
        if !fit {
            let found: Vec<String> = shown.parts.iter().map(part_words).collect();
            differences.push(format!(
                "parts: expected\n      {}\n    are\n      {}",
                wanted.join("\n      "),
                found.join("\n      ")
            ));
        }
    }
    for part in &shown.parts {
        if part.name.chars().count() > LONGEST_NAME || part.name.chars().any(char::is_control) {
            differences
                .push(format!("name: expected at most {LONGEST_NAME} plain characters, is {:?}", part.name));
        }
        if part.pages.is_some() == part.left_out.is_some() {
            differences.push(format!("part: neither faxed nor left out, or both: {}", part_words(part)));
        }
    }
    // Where two verdicts are right, the recipients are those of the one that was given.
    let verdict = if verdicts.contains('|') { shown.verdict.as_str() } else { verdicts };
    let default = match verdict {
        "ready" => vec!["mercy-radiology | +12125550199 | named recipient | -".to_owned()],
        "held" => vec!["mercy-radiology | +12125550199 | named recipient | *".to_owned()],
        _ => Vec::new(),
    };
    match said.jobs.clone().unwrap_or(Lines::Lines(default)) {
        Lines::Word(Any::Any) => {}
        Lines::Lines(wanted) => {
            let fit = wanted.len() == shown.jobs.len()
                && wanted.iter().zip(&shown.jobs).all(|(wanted, job)| job_fits(wanted, job));
            if !fit {
                differences.push(format!("jobs: expected {wanted:?}, are {:?}", shown.jobs));
            }
        }
    }
    if shown.verdict == "ready" {
        differences.extend(packet_differences(said, shown));
    }
    differences
}

/// Cover and parts must fill the packet without a gap.
pub(crate) fn packet_differences(said: &Said, shown: &Shown) -> Option<String> {
    let Some(packet) = &shown.packet else { return Some("packet: expected one, is none".to_owned()) };
    let cover = said.cover.unwrap_or(1);
    if packet.cover_pages != cover {
        return Some(format!("cover: expected {cover} pages, are {}", packet.cover_pages));
    }
    let last = shown.parts.iter().filter_map(|part| part.pages).map(|(_, last)| last).max();
    let last = last.unwrap_or(u32::try_from(cover).unwrap());
    (packet.pages != last)
        .then(|| format!("pages: the last part ends with page {last} of a packet of {}", packet.pages))
}

pub(crate) fn part_words(part: &Part) -> String {
    let pages = part.pages.map_or("-".to_owned(), |(first, last)| format!("{first}-{last}"));
    format!("{} | {} | {pages} | {}", part.name, part.kind, part.left_out.as_deref().unwrap_or(""))
}

#[test]
fn stars_stand_for_anything() {
    for (wanted, text, fit) in [
        ("a.pdf", "a.pdf", true),
        ("a.pdf", "a.pdf ", false),
        ("*", "", true),
        ("*.pdf", "a.pdf", true),
        ("a*c*e", "abcde", true),
        ("a*c*e", "abde", false),
        ("a*a", "a", false),
    ] {
        assert_eq!(fits(wanted, text), fit, "{wanted} {text}");
    }
}
