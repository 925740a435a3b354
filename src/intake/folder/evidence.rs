//! What was seen of each entry of a folder, and what that says: wait, take it, or tell of it. Pure.
//!
//! Age alone is no sign that a file is whole: uploads take longer than any fixed age, and the clock of a file server may be
//! another one. So quiet means that we ourselves saw no change of size, time and inode, by our own steady clock: for `quiet`
//! where the system told that a writer closed it, for `settle` where it did not. A close alone is no sign either: scanners
//! close a file after each page, and programs save it twice.
//!
//! What is not taken is told of once it has lain unchanged for `settle`, and again when it has changed.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::time::Duration;

use crate::shared_folder::Facts;
use rustix::fs::FileType;
use tokio::time::Instant;

/// A file under a temporary name that has not changed for this long was left lying.
const LEFT: Duration = Duration::from_secs(60 * 60);

/// What changes when a file is written or replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Print {
    inode: u64,
    bytes: u64,
    changed: (i64, i64),
}

impl Print {
    pub(super) fn of(facts: &Facts) -> Self {
        if facts.kind == FileType::Directory {
            // What is done in it is no news of it.
            return Print { inode: facts.inode, bytes: 0, changed: (0, 0) };
        }
        Print { inode: facts.inode, bytes: facts.bytes, changed: facts.changed }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// As a text that is another one for each version of a file.
    pub(super) fn version(&self) -> String {
        format!("{} {} {}.{}", self.inode, self.bytes, self.changed.0, self.changed.1)
    }
}

/// Why an entry is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Odd {
    Empty,
    Link,
    HardLink,
    Folder,
    Pipe,
    Socket,
    Device,
    /// A temporary name that nobody made final.
    Left,
    /// A plain file that is not whole.
    Cut,
    /// A plain file whose first bytes are still to come.
    Begun,
    /// A plain file that we cannot claim or read.
    Closed,
}

impl Odd {
    /// For the log: what it is, without its name.
    pub(super) fn what(self) -> &'static str {
        match self {
            Odd::Empty => "an empty file",
            Odd::Link => "a symbolic link",
            Odd::HardLink => "a file with a second name somewhere (a hard link)",
            Odd::Folder => "a folder",
            Odd::Pipe => "a pipe",
            Odd::Socket => "a socket",
            Odd::Device => "a device",
            Odd::Left => "a file under a temporary name that was left lying",
            Odd::Cut => "a PDF that is cut off, or has something behind its end",
            Odd::Begun => "a file that begins with zeros, as one that is still to be written",
            Odd::Closed => "a file that the daemon's user may not move or read",
        }
    }

    /// For its sender: what it is and what to do.
    pub(super) fn sentence(self, name: &str) -> String {
        let (what, cure) = match self {
            Odd::Empty => {
                ("is empty, so there is nothing to fax", "Write the document into it, or remove it.")
            }
            Odd::Link => {
                ("is a link to another file, and links are not followed here", "Copy the file itself here.")
            }
            Odd::HardLink => (
                "is the same file as one elsewhere (a hard link), which could not be taken from there",
                "Copy it here, or remove its other name.",
            ),
            Odd::Folder => (
                "is a folder; only files that lie directly in this one are faxed",
                "Move its files up, and remove it.",
            ),
            Odd::Pipe | Odd::Socket | Odd::Device => ("is no file but something special", "Remove it."),
            Odd::Left => (
                "has had a temporary name for an hour, and no writer has come back to it",
                "Give it its final name, or remove it.",
            ),
            Odd::Cut => (
                "is a PDF that is cut off, or has something behind its end, so a part of it could be missing",
                "If it is still being written it is taken once it is whole; otherwise put it here again.",
            ),
            Odd::Begun => (
                "begins with zeros, as a file does that is still to be written",
                "If it is still being written it is taken once it is whole; otherwise put it here again.",
            ),
            Odd::Closed => (
                "cannot be moved or read by the fax service",
                "Let the service's user read it, or put it here again.",
            ),
        };
        format!("The file {name} {what}. {cure}")
    }
}

/// What lies under a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// One plain file with something in it.
    Plain,
    /// A plain file under a temporary name.
    Temporary,
    /// Nothing that is taken.
    Odd(Odd),
}

impl Look {
    pub(super) fn of(facts: &Facts, temporary: bool) -> Self {
        match facts.kind {
            FileType::RegularFile if temporary => Look::Temporary,
            FileType::RegularFile if facts.links > 1 => Look::Odd(Odd::HardLink),
            FileType::RegularFile if facts.bytes == 0 => Look::Odd(Odd::Empty),
            FileType::RegularFile => Look::Plain,
            FileType::Directory => Look::Odd(Odd::Folder),
            FileType::Symlink => Look::Odd(Odd::Link),
            FileType::Fifo => Look::Odd(Odd::Pipe),
            FileType::Socket => Look::Odd(Odd::Socket),
            _ => Look::Odd(Odd::Device),
        }
    }
}

/// What is to be done about an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Wait,
    /// It was quiet for long enough: take it if it is whole.
    Take,
    /// Tell of it.
    Tell(Odd),
}

/// Why an entry is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// The system told that its writer closed it, or that it was moved in.
    Notice,
    /// The time has come to look again.
    Scan,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    print: Print,
    look: Look,
    /// Since when it has looked like that.
    since: Instant,
    /// A plain file: how long it has to be quiet.
    wait: Duration,
    /// It was put back, and a notice of that is no news.
    put_back: bool,
    /// It was quiet, and found not to be whole or not to be ours to take.
    fault: Option<Odd>,
    told: bool,
    /// Nothing is done about it before this.
    not_before: Option<Instant>,
}

impl Seen {
    /// When something is to be done about it, if it does not change.
    fn due(&self, settle: Duration) -> Option<Instant> {
        let wait = match (self.look, self.fault) {
            _ if self.told => return None,
            (Look::Plain, None) => self.wait,
            (Look::Plain, Some(_)) | (Look::Odd(_), _) => settle,
            (Look::Temporary, _) => LEFT.max(settle),
        };
        self.since.checked_add(wait).map(|due| self.not_before.map_or(due, |later| later.max(due)))
    }

    fn step(&self, settle: Duration, now: Instant) -> Step {
        if self.due(settle).is_none_or(|due| now < due) {
            return Step::Wait;
        }
        match (self.look, self.fault) {
            (Look::Plain, None) => Step::Take,
            (_, Some(odd)) | (Look::Odd(odd), None) => Step::Tell(odd),
            (Look::Temporary, None) => Step::Tell(Odd::Left),
        }
    }
}

/// What was seen.
pub(super) struct Evidence {
    quiet: Duration,
    settle: Duration,
    seen: HashMap<OsString, Seen>,
}

impl Evidence {
    pub(super) fn new(quiet: Duration, settle: Duration) -> Self {
        Evidence { quiet, settle, seen: HashMap::new() }
    }

    /// Under `name` lies now what `print` and `look` say.
    pub(super) fn observe(
        &mut self,
        name: &OsStr,
        (print, look): (Print, Look),
        why: Why,
        now: Instant,
    ) -> Step {
        let noticed = why == Why::Notice;
        let fresh = Seen {
            print,
            look,
            since: now,
            wait: if noticed { self.quiet.min(self.settle) } else { self.settle },
            put_back: false,
            fault: None,
            told: false,
            not_before: None,
        };
        match self.seen.get_mut(name) {
            Some(seen) if seen.print == print && seen.look == look => {
                // A writer that was busy when the last look was taken has come to an end.
                if noticed && !seen.put_back && seen.fault.is_none() && seen.wait > fresh.wait {
                    (seen.since, seen.wait) = (now, fresh.wait);
                }
                seen.step(self.settle, now)
            }
            _ => {
                self.seen.insert(name.to_owned(), fresh);
                fresh.step(self.settle, now)
            }
        }
    }

    /// A file was put back, as `print`; it is tried again after `pause`.
    pub(super) fn put_back(&mut self, name: OsString, print: Print, pause: Duration, now: Instant) {
        let seen = Seen {
            print,
            look: Look::Plain,
            since: now,
            wait: pause,
            put_back: true,
            fault: None,
            told: false,
            not_before: None,
        };
        self.seen.insert(name, seen);
    }

    /// What was quiet cannot be taken for this reason, unless it changes.
    pub(super) fn cannot_take(&mut self, name: &OsStr, odd: Odd) {
        if let Some(seen) = self.seen.get_mut(name) {
            seen.fault = Some(odd);
        }
    }

    /// Nothing could be done about it now; it is due again at `later`.
    pub(super) fn put_off(&mut self, name: &OsStr, later: Instant) {
        if let Some(seen) = self.seen.get_mut(name) {
            seen.not_before = Some(later);
        }
    }

    /// The sender knows of it.
    pub(super) fn told(&mut self, name: &OsStr) {
        if let Some(seen) = self.seen.get_mut(name) {
            seen.told = true;
        }
    }

    pub(super) fn forget(&mut self, name: &OsStr) {
        self.seen.remove(name);
    }

    pub(super) fn forget_all_but(&mut self, names: &HashSet<OsString>) {
        self.seen.retain(|name, _| names.contains(name));
    }

    /// When the next of them is due, if none changes.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.seen.values().filter_map(|seen| seen.due(self.settle)).min()
    }

    /// Those that are due.
    pub(super) fn due(&self, now: Instant) -> Vec<OsString> {
        let due = self.seen.iter().filter(|(_, seen)| seen.step(self.settle, now) != Step::Wait);
        due.map(|(name, _)| name.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "a.pdf";

    fn print(bytes: u64) -> Print {
        Print { inode: 1, bytes, changed: (0, 0) }
    }

    /// Looks at one entry again and again: when, why, as what; and what is to be done then.
    fn story(steps: &[(u64, Why, u64, Look, Step)]) {
        let mut evidence = Evidence::new(Duration::from_secs(2), Duration::from_secs(60));
        let start = Instant::now();
        for (second, why, bytes, look, step) in steps {
            let now = start + Duration::from_secs(*second);
            let found = evidence.observe(OsStr::new(A), (print(*bytes), *look), *why, now);
            assert_eq!(found, *step, "after {second} s");
            match found {
                Step::Tell(_) => evidence.told(OsStr::new(A)),
                Step::Take => evidence.cannot_take(OsStr::new(A), Odd::Cut),
                Step::Wait => {}
            }
        }
    }

    #[test]
    fn a_file_is_taken_when_it_was_quiet() {
        use Look::Plain;
        use Step::{Take, Tell, Wait};
        use Why::{Notice, Scan};
        // Nobody closed it: it has to settle, and begins anew with each change.
        story(&[
            (0, Scan, 1, Plain, Wait),
            (59, Scan, 1, Plain, Wait),
            (60, Scan, 2, Plain, Wait),
            (119, Scan, 2, Plain, Wait),
            (120, Scan, 2, Plain, Take),
        ]);
        // Closed, appended, closed again: one document.
        story(&[
            (0, Notice, 1, Plain, Wait),
            (1, Notice, 2, Plain, Wait),
            (2, Scan, 2, Plain, Wait),
            (3, Scan, 2, Plain, Take),
        ]);
        // Written for long, then closed.
        story(&[(0, Scan, 9, Plain, Wait), (30, Notice, 9, Plain, Wait), (32, Scan, 9, Plain, Take)]);
        // Closed, and opened again by a writer that is not done.
        story(&[(0, Notice, 1, Plain, Wait), (1, Scan, 2, Plain, Wait), (4, Scan, 2, Plain, Wait)]);
        // Not whole: told once it has settled, and once only; taken when more of it has come.
        story(&[
            (0, Notice, 1, Plain, Wait),
            (2, Scan, 1, Plain, Take),
            (3, Notice, 1, Plain, Wait),
            (60, Scan, 1, Plain, Tell(Odd::Cut)),
            (300, Scan, 1, Plain, Wait),
            (301, Notice, 2, Plain, Wait),
            (303, Scan, 2, Plain, Take),
        ]);
    }

    #[test]
    fn what_is_not_taken_is_told_of_once() {
        use Step::{Take, Tell, Wait};
        use Why::{Notice, Scan};
        let empty = Look::Odd(Odd::Empty);
        story(&[
            (0, Notice, 0, empty, Wait),
            (59, Scan, 0, empty, Wait),
            (60, Scan, 0, empty, Tell(Odd::Empty)),
            (900, Scan, 0, empty, Wait),
            (901, Notice, 5, Look::Plain, Wait),
            (903, Scan, 5, Look::Plain, Take),
        ]);
        story(&[
            (0, Scan, 1, Look::Temporary, Wait),
            (3599, Scan, 1, Look::Temporary, Wait),
            (3600, Scan, 1, Look::Temporary, Tell(Odd::Left)),
        ]);
        // The second name goes away, and nothing else changes.
        let linked = Look::Odd(Odd::HardLink);
        story(&[
            (0, Scan, 1, linked, Wait),
            (30, Scan, 1, Look::Plain, Wait),
            (90, Scan, 1, Look::Plain, Take),
        ]);
    }

    #[test]
    fn what_was_put_back_waits_for_its_pause() {
        let mut evidence = Evidence::new(Duration::from_secs(2), Duration::from_secs(60));
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let name = OsStr::new(A);
        evidence.put_back(name.to_owned(), print(1), Duration::from_secs(30), start);
        let seen = (print(1), Look::Plain);
        assert_eq!(evidence.observe(name, seen, Why::Notice, at(1)), Step::Wait, "the notice is our own");
        assert_eq!(evidence.observe(name, seen, Why::Scan, at(10)), Step::Wait);
        assert_eq!(evidence.next_due(), Some(at(30)));
        assert_eq!(evidence.observe(name, seen, Why::Scan, at(30)), Step::Take);
        let other = (Print { inode: 2, ..print(1) }, Look::Plain);
        assert_eq!(
            evidence.observe(name, other, Why::Notice, at(31)),
            Step::Wait,
            "another file of that name"
        );
        assert_eq!(evidence.due(at(33)), [name]);
        evidence.forget(name);
        assert_eq!((evidence.next_due(), evidence.due(at(99))), (None, Vec::new()));
    }
}
