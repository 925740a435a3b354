//! From text to sections, past every fault.
//!
//! serde stops at the first fault. So the fault is recorded, what stands there is taken out of the parsed table or replaced
//! by a stand-in of the right type, and the table is read again, until it can be read: then all that is left to find are
//! faults of meaning (`check.rs`), which never look at a value that is at fault already. The sentences of serde are
//! reworded for people who write configuration files and not Rust; a test holds each kind.

use std::collections::BTreeMap;

use serde::Deserialize as _;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::faults::Report;
use super::provider::{COMMON, Provider};
use super::sections::Config;
use super::source::{Path, Segment, Source, at};
use crate::text::nearest::nearest;

/// After so many faults the file is something else than a configuration, and the rest is left out.
const ENOUGH: usize = 100;

/// What may stand for a value that cannot be used, tried in this order until one is of the right type. Nobody sees them.
const STAND_INS: &[&str] = &["{}", "[]", "\"file:/\"", "\"1 s\"", "\"127.0.0.1:0\"", "1", "true", "1.0"];

/// Reads the sections; `None` when something is so far off that no stand-in helps. Faults are in `report`.
pub(super) fn sections(source: &Source<'_>, report: &mut Report<'_>) -> Option<Config> {
    let mut table = source.table.clone();
    brackets(&mut table, report);
    // How many stand-ins were tried at each path.
    let mut tried: BTreeMap<Path, usize> = BTreeMap::new();
    loop {
        let error = match serde_path_to_error::deserialize(toml::Deserializer::from(table.clone())) {
            Ok(config) => return Some(config),
            Err(error) => error,
        };
        if report.count() >= ENOUGH {
            return None;
        }
        let Located { path, message, kind } = Located::of(&mut table, &error);
        let message = message.as_str();
        // A kind that cannot be read says nothing about the keys beside it.
        let kind_is_unread = kind.as_ref().is_some_and(|kind| report.is_unread(&kind.path));
        if let Some((key, allowed)) = quoted(message, "unknown field ") {
            let path = if path.segments().last() == Some(&Segment::Key(key.to_owned())) {
                path
            } else {
                path.key(key)
            };
            match &kind {
                Some(_) if kind_is_unread => {}
                Some(kind) => report.unreadable(&path, foreign_key(key, &kind.word, &allowed)),
                None => report.unreadable(&path, unknown_key(key, &allowed)),
            }
            remove(&mut table, &path)?;
            continue;
        }
        let path = match quoted(message, "missing field ") {
            Some((key, _)) => {
                let path = path.key(key);
                match &kind {
                    Some(_) if kind_is_unread => report.made_up(&path),
                    Some(Kind { word, .. }) => {
                        report.unreadable(&path, format!("is missing; kind = \"{word}\" needs it"));
                    }
                    None => report.unreadable(&path, missing(&path)),
                }
                path
            }
            None => {
                // Also where a stand-in failed: then the path is at fault already and nothing is recorded.
                report.unreadable(&path, wrong(message));
                path
            }
        };
        let count = tried.entry(path.clone()).or_default();
        *count += 1;
        // A choice among words is its own best source of a stand-in. It comes after any number of other tries, and once.
        let stand_in = match quoted(message, "unknown variant ") {
            Some((_, allowed)) if *count <= STAND_INS.len() + 1 => {
                DeValue::String(allowed.first()?.to_string().into())
            }
            _ => DeValue::parse(STAND_INS.get(*count - 1)?).ok()?.into_inner(),
        };
        put(&mut table, &path, stand_in)?;
    }
}

/// Where the text can be mended, what serde says, and the kind whose key it is, where only one kind of provider has it.
struct Located {
    path: Path,
    message: String,
    kind: Option<Kind>,
}

/// What a provider's `kind` says, and where.
struct Kind {
    path: Path,
    word: String,
}

impl Located {
    /// A provider's section is read as a whole once its kind is known, so serde names no key of it: that is found out here.
    fn of(table: &mut Spanned<DeTable<'_>>, error: &serde_path_to_error::Error<toml::de::Error>) -> Located {
        let path = Path::from(error.path());
        let outer = Located { path: path.clone(), message: error.inner().message().to_owned(), kind: None };
        let [Segment::Key(list), Segment::Key(_)] = path.segments() else { return outer };
        if list != "provider" {
            return outer;
        }
        let Some(DeValue::Table(section)) = find(table.get_mut(), path.segments()) else { return outer };
        let section = toml::Deserializer::from(Spanned::new(0..0, section.clone()));
        let Some(error) = toml::Table::deserialize(section).ok().and_then(|keys| Provider::read(keys).err())
        else {
            return outer;
        };
        let inner = Path::from(error.path());
        let message = error.inner().message().to_owned();
        let is_key = !message.starts_with("unknown variant ");
        let (kind, keys) = match inner.segments() {
            [Segment::Key(first), Segment::Key(word), keys @ ..] if first == "kind" && is_key => {
                (Some(Kind { path: path.key("kind"), word: word.clone() }), keys)
            }
            [Segment::Key(first), ..] if first == "kind" => {
                (None, inner.segments().get(..1).unwrap_or_default())
            }
            keys => (None, keys),
        };
        let path = keys.iter().cloned().fold(path, Path::with);
        Located { path, message, kind }
    }
}

/// `[sender]` for `[[sender]]` and the reverse: what serde says about these helps nobody.
fn brackets(table: &mut Spanned<DeTable<'_>>, report: &mut Report<'_>) {
    let mut wrong = Vec::new();
    for (key, value) in table.get_ref() {
        let key = key.get_ref().as_ref();
        let list = matches!(key, "sender" | "rule");
        let section = SECTIONS.contains(&key);
        match value.get_ref() {
            DeValue::Table(_) if list => {
                wrong.push((
                    at(key),
                    format!("found [{key}]; allowed: [[{key}]], with two brackets, once for each {key}"),
                ));
            }
            DeValue::Array(_) if section => {
                let allowed = match key {
                    "folder" | "provider" | "imap" | "oauth" => format!("sections [{key}.NAME]"),
                    _ => format!("one section [{key}]"),
                };
                wrong.push((at(key), format!("found a list or [[{key}]]; allowed: {allowed}")));
            }
            DeValue::Table(inner) if matches!(key, "folder" | "provider" | "imap" | "oauth") => {
                let loose = inner.iter().filter(|(_, value)| !value.get_ref().is_table());
                for (name, _) in loose {
                    let name = name.get_ref();
                    let sentence = format!(
                        "found a key outside of a {key}; allowed: sections [{key}.NAME], each with its keys"
                    );
                    wrong.push((at(key).key(name), sentence));
                }
            }
            _ => {}
        }
    }
    for (path, sentence) in wrong {
        report.unreadable(&path, sentence);
        // Gone from the table, unless it is a section that must be there: for that a stand-in comes.
        remove(table, &path);
    }
}

/// Top-level keys that are one section, or a table of sections.
const SECTIONS: &[&str] = &[
    "organization",
    "store",
    "retention",
    "limits",
    "dns",
    "smtp",
    "imap",
    "oauth",
    "sftp",
    "folder",
    "policy",
    "cover",
    "provider",
    "webhook",
    "media",
    "receipt",
    "alarm",
    "telemetry",
];

/// Reads `` PREFIX`x`, expected one of `a`, `b` `` into `x` and the allowed words.
fn quoted<'m>(message: &'m str, prefix: &str) -> Option<(&'m str, Vec<&'m str>)> {
    let rest = message.strip_prefix(prefix)?.strip_prefix('`')?;
    // From the right: what was written may hold a backtick itself.
    let (found, allowed) = match rest.rfind("`, expected ") {
        Some(end) => (rest.get(..end)?, rest.get(end + 1..)?),
        None => (rest.strip_suffix('`').or_else(|| rest.split_once('`').map(|(x, _)| x))?, ""),
    };
    Some((found, allowed.split('`').skip(1).step_by(2).collect()))
}

fn guess(found: &str, allowed: &[&str]) -> String {
    nearest(found, allowed.iter().copied()).map_or(String::new(), |word| format!("; did you mean {word}?"))
}

fn unknown_key(key: &str, allowed: &[&str]) -> String {
    let guess = guess(key, allowed);
    format!("unknown key; allowed here: {}{guess}", allowed.join(", "))
}

/// A key that `kind` does not have: another's, or nobody's.
fn foreign_key(key: &str, kind: &str, own: &[&str]) -> String {
    let allowed = [own, &COMMON].concat();
    let guess = guess(key, &allowed);
    format!("has no meaning for kind = \"{kind}\"; that kind has: {}{guess}", allowed.join(", "))
}

fn missing(path: &Path) -> String {
    match path.segments() {
        [Segment::Key(section)] => {
            format!("the section [{section}] is missing; `faxbridge config sample` shows it")
        }
        _ => {
            "the key is missing and has no default; `faxbridge config sample` shows what it means".to_owned()
        }
    }
}

/// serde's sentences, and those of std's address parser, in the words of a person.
fn wrong(message: &str) -> String {
    if let Some((found, allowed)) = quoted(message, "unknown variant ") {
        let guess = guess(found, &allowed);
        return format!("found {found:?}; allowed: {}{guess}", allowed.join(", "));
    }
    if message.contains("socket address") {
        return "found something else than an address with a port; allowed: \"127.0.0.1:2525\", \"[::1]:2525\" (a number, \
                not a name; port 0 lets the system choose)"
            .to_owned();
    }
    for prefix in ["invalid type: ", "invalid value: ", "invalid length "] {
        if let Some(rest) = message.strip_prefix(prefix)
            && let Some((found, expected)) = rest.rsplit_once(", expected ")
        {
            return format!("found {}; allowed: {}", plain(found), plain(expected));
        }
    }
    message.to_owned()
}

/// Rust's words for types in everybody's.
fn plain(words: &str) -> String {
    let known = match words {
        "map" => "a section",
        "sequence" => "a list",
        "a sequence" => "a list, as [\"first\", \"second\"]",
        "a string" | "path string" => "a text in quotes",
        "a map" => "a section with keys",
        "a boolean" => "true or false",
        "u32" | "u64" | "usize" => "a whole number, 0 or more",
        _ => {
            return match words.strip_prefix("struct ") {
                Some(_) => "a section with keys".to_owned(),
                None => words.replace('`', ""),
            };
        }
    };
    known.to_owned()
}

/// Takes the key at `path` out. `None` when it is not there, which ends the reading rather than repeat it for ever.
fn remove(table: &mut Spanned<DeTable<'_>>, path: &Path) -> Option<()> {
    let (last, above) = path.segments().split_last()?;
    let Segment::Key(key) = last else { return None };
    match above {
        [] => table.get_mut().remove(key.as_str()).map(|_| ()),
        _ => match find(table.get_mut(), above)? {
            DeValue::Table(inner) => inner.remove(key.as_str()).map(|_| ()),
            _ => None,
        },
    }
}

/// Puts `stand_in` where `path` points to, be there something or not.
fn put<'a>(table: &mut Spanned<DeTable<'a>>, path: &Path, stand_in: DeValue<'a>) -> Option<()> {
    let (last, above) = path.segments().split_last()?;
    let inner = match above {
        [] => table.get_mut(),
        _ => match (find(table.get_mut(), above)?, last) {
            (DeValue::Table(inner), _) => inner,
            (DeValue::Array(array), Segment::Nth(index)) => {
                *array.get_mut(*index)?.get_mut() = stand_in;
                return Some(());
            }
            _ => return None,
        },
    };
    let Segment::Key(key) = last else { return None };
    inner.insert(Spanned::new(0..0, key.clone().into()), Spanned::new(0..0, stand_in));
    Some(())
}

/// The value at the end of `segments`, of which there is at least one.
fn find<'t, 'a>(table: &'t mut DeTable<'a>, segments: &[Segment]) -> Option<&'t mut DeValue<'a>> {
    let (first, rest) = segments.split_first()?;
    let Segment::Key(key) = first else { return None };
    let mut value = table.get_mut(key.as_str())?.get_mut();
    for segment in rest {
        value = match (segment, value) {
            (Segment::Key(key), DeValue::Table(inner)) => inner.get_mut(key.as_str())?.get_mut(),
            (Segment::Nth(index), DeValue::Array(array)) => array.get_mut(*index)?.get_mut(),
            _ => return None,
        };
    }
    Some(value)
}
