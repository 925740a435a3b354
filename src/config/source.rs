//! The file as it was written: which line says what.

use std::fmt;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::faults::Fault;

/// Where a value stands, as `rule[1].to`.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Path(Vec<Segment>);

/// One step of a [`Path`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Segment {
    Key(String),
    /// Counted from 0; shown from 1.
    Nth(usize),
}

/// The path of a top-level key.
pub(super) fn at(key: &str) -> Path {
    Path::default().key(key)
}

impl Path {
    pub(super) fn key(&self, key: &str) -> Path {
        self.clone().with(Segment::Key(key.to_owned()))
    }

    pub(super) fn nth(&self, index: usize) -> Path {
        self.clone().with(Segment::Nth(index))
    }

    pub(super) fn with(mut self, segment: Segment) -> Path {
        self.0.push(segment);
        self
    }

    /// Reads what [`fmt::Display`] writes. Leniently: what it cannot make sense of names no value, and so has no line.
    pub(super) fn parse(text: &str) -> Path {
        let mut path = Path::default();
        let mut rest = text;
        while !rest.is_empty() {
            let (segment, after) =
                if let Some((index, after)) = rest.strip_prefix('[').and_then(|r| r.split_once(']')) {
                    (Segment::Nth(index.parse::<usize>().unwrap_or(0).wrapping_sub(1)), after)
                } else if let Some((key, after)) = rest.strip_prefix('"').and_then(|r| r.split_once('"')) {
                    (Segment::Key(key.to_owned()), after)
                } else {
                    let end = rest.find(['.', '[']).filter(|end| *end > 0).unwrap_or(rest.len());
                    let (key, after) = rest.split_at(end);
                    (Segment::Key(key.to_owned()), after)
                };
            path.0.push(segment);
            rest = after.strip_prefix('.').unwrap_or(after);
        }
        path
    }

    pub(super) fn segments(&self) -> &[Segment] {
        &self.0
    }

    /// Itself and all that it is part of, but not the whole file.
    pub(super) fn and_above(&self) -> impl Iterator<Item = Path> + '_ {
        (1..=self.0.len()).rev().map(|n| Path(self.0.iter().take(n).cloned().collect()))
    }
}

impl From<&serde_path_to_error::Path> for Path {
    fn from(path: &serde_path_to_error::Path) -> Self {
        use serde_path_to_error::Segment as Step;
        let step = |step: &Step| match step {
            Step::Seq { index } => Segment::Nth(*index),
            Step::Map { key } => Segment::Key(key.clone()),
            Step::Enum { variant } => Segment::Key(variant.clone()),
            Step::Unknown => Segment::Key("?".to_owned()),
        };
        Path(path.iter().map(step).collect())
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Nth(index) => write!(f, "[{}]", index + 1)?,
                Segment::Key(key) => {
                    let dot = if i == 0 { "" } else { "." };
                    let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
                    if !key.is_empty() && key.chars().all(bare) {
                        write!(f, "{dot}{key}")?;
                    } else {
                        write!(f, "{dot}{key:?}")?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// A file's name, text and, as far as it could be parsed, its table.
pub(super) struct Source<'a> {
    pub(super) name: &'a str,
    pub(super) text: &'a str,
    pub(super) table: &'a Spanned<DeTable<'a>>,
}

impl Source<'_> {
    /// A fault of the value at `path`. A key that is missing has the line of the section that lacks it.
    pub(super) fn fault(&self, path: &Path, sentence: String) -> Fault {
        let line = self.offset(path).map(|offset| self.line(offset));
        Fault { file: self.name.to_owned(), line, key: path.to_string(), sentence }
    }

    /// The line, counted from 1, that the byte at `offset` is in.
    pub(super) fn line(&self, offset: usize) -> usize {
        1 + self.text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
    }

    /// Where `path`, or the innermost part of it that the file has, begins.
    fn offset(&self, path: &Path) -> Option<usize> {
        let mut offset = None;
        let mut segments = path.segments().iter();
        let Some(Segment::Key(first)) = segments.next() else { return None };
        let (key, mut value) = self.table.get_ref().get_key_value(first.as_str())?;
        offset.replace(key.span().start);
        for segment in segments {
            let next = match (segment, value.get_ref()) {
                (Segment::Key(name), DeValue::Table(table)) => {
                    table.get_key_value(name.as_str()).map(|(key, inner)| (key.span().start, inner))
                }
                (Segment::Nth(index), DeValue::Array(array)) => {
                    array.get(*index).map(|inner| (inner.span().start, inner))
                }
                _ => None,
            };
            let Some((start, inner)) = next else { break };
            offset = Some(start);
            value = inner;
        }
        offset
    }
}
