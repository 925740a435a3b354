//! What is wrong with a configuration file: every fault as a sentence with file, line, key, what was found, what is allowed.

use std::collections::BTreeSet;
use std::fmt;

use super::source::{Path, Source};

/// One fault or warning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Name of the file, as the user gave it.
    pub file: String,
    /// Line, counted from 1. None where the whole file is meant.
    pub line: Option<usize>,
    /// Key, as `smtp.listen` or `rule[2].to` (the second `[[rule]]`). Empty where the whole file is meant.
    pub key: String,
    /// What was found and what is allowed, without a secret in it.
    pub sentence: String,
}

/// `config/faxbridge.toml:42: smtp.lisen: unknown key; ...`
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.sentence)
    }
}

/// All that is wrong with a file. Prints one fault a line, in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Faults {
    /// What keeps faxbridge from starting; at least one.
    pub faults: Vec<Fault>,
    /// What does not.
    pub warnings: Vec<Fault>,
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let warnings = self.warnings.iter().map(|fault| (fault, "warning: "));
        let faults = self.faults.iter().map(|fault| (fault, ""));
        for (i, (fault, mark)) in faults.chain(warnings).enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{mark}{fault}")?;
        }
        Ok(())
    }
}

/// Collects while a file is looked at: first while it is read, then while it is checked.
pub(super) struct Report<'a> {
    source: &'a Source<'a>,
    faults: Vec<Fault>,
    warnings: Vec<Fault>,
    /// Values that could not be read; what stands in their place is made up.
    unread: BTreeSet<Path>,
    /// Values that were read and make no sense.
    senseless: BTreeSet<Path>,
}

impl<'a> Report<'a> {
    pub(super) fn new(source: &'a Source<'a>) -> Self {
        let (unread, senseless) = (BTreeSet::new(), BTreeSet::new());
        Report { source, faults: Vec::new(), warnings: Vec::new(), unread, senseless }
    }

    /// Records that the value at `path` cannot be read, unless that is known of it or of what it is part of.
    pub(super) fn unreadable(&mut self, path: &Path, sentence: impl Into<String>) {
        if !self.is_unread(path) {
            self.faults.push(self.source.fault(path, sentence.into()));
            self.unread.insert(path.clone());
        }
    }

    /// Records that the value at `path` is made up, where another fault leaves open what it must be.
    pub(super) fn made_up(&mut self, path: &Path) {
        self.unread.insert(path.clone());
    }

    /// Records that the value at `path` makes no sense, unless it could not even be read, or is at fault already.
    pub(super) fn fault(&mut self, path: &Path, sentence: impl Into<String>) {
        if !self.is_spoiled(path) {
            self.faults.push(self.source.fault(path, sentence.into()));
            self.senseless.insert(path.clone());
        }
    }

    /// Records a warning, unless the value is at fault.
    pub(super) fn warn(&mut self, path: &Path, sentence: impl Into<String>) {
        if !self.is_spoiled(path) {
            self.warnings.push(self.source.fault(path, sentence.into()));
        }
    }

    /// Whether this value is at fault.
    pub(super) fn is_spoiled(&self, path: &Path) -> bool {
        self.senseless.contains(path) || self.is_unread(path)
    }

    /// Whether `path` or what it is part of could not be read.
    pub(super) fn is_unread(&self, path: &Path) -> bool {
        path.and_above().any(|part| self.unread.contains(&part))
    }

    pub(super) fn count(&self) -> usize {
        self.faults.len()
    }

    /// The warnings, or everything when there are faults.
    pub(super) fn finish(mut self) -> Result<Vec<Fault>, Faults> {
        // Stable: faults of one line stay in the order in which they were found.
        self.faults.sort_by_key(|fault| fault.line);
        self.warnings.sort_by_key(|fault| fault.line);
        if self.faults.is_empty() {
            Ok(self.warnings)
        } else {
            Err(Faults { faults: self.faults, warnings: self.warnings })
        }
    }
}
