//! Signs that a file without a notice is whole: quiet for long enough, and a PDF that ends as one.
//!
//! Age alone is no sign: uploads take longer than any fixed age, and the clock of a file server may be another one. So
//! quiet means that we ourselves saw no change of size, time and inode over `settle`, by our own steady clock.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs::{Metadata, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use rustix::fs::OFlags;
use tokio::time::Instant;

/// A PDF's `%%EOF` stands within this many bytes from its end (ISO 32000-1 annex H, note 18).
const TAIL: u64 = 1024;

/// What changes when a file is written or replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Print {
    inode: u64,
    bytes: u64,
    changed: (i64, i64),
}

impl Print {
    pub(super) fn of(meta: &Metadata) -> Self {
        Print { inode: meta.ino(), bytes: meta.len(), changed: (meta.mtime(), meta.mtime_nsec()) }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// What the scans saw.
pub(super) struct Evidence {
    settle: Duration,
    seen: HashMap<OsString, (Print, Instant)>,
}

impl Evidence {
    pub(super) fn new(settle: Duration) -> Self {
        Evidence { settle, seen: HashMap::new() }
    }

    /// Whether the file has looked like `print` in every scan since `settle` ago or longer.
    pub(super) fn quiet(&mut self, name: &OsStr, print: Print, now: Instant) -> bool {
        match self.seen.get(name) {
            Some((known, since)) if *known == print => now.duration_since(*since) >= self.settle,
            _ => {
                self.seen.insert(name.to_owned(), (print, now));
                false
            }
        }
    }

    pub(super) fn forget(&mut self, name: &OsStr) {
        self.seen.remove(name);
    }

    pub(super) fn forget_all_but(&mut self, names: &HashSet<OsString>) {
        self.seen.retain(|name, _| names.contains(name));
    }
}

/// The content test. Only a PDF says where it ends; other kinds pass.
pub(super) fn looks_whole(file: &Path) -> bool {
    let pdf = file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("pdf"));
    !pdf || pdf_has_both_ends(file).unwrap_or(false)
}

/// Opens a plain file for reading: follows no link, and does not wait for the writer of a pipe.
pub(super) fn open_plain(file: &Path) -> io::Result<std::fs::File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(file)
}

fn pdf_has_both_ends(file: &Path) -> io::Result<bool> {
    let mut file = open_plain(file)?;
    let mut head = Vec::new();
    (&mut file).take(TAIL).read_to_end(&mut head)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
    let mut tail = Vec::new();
    file.take(TAIL).read_to_end(&mut tail)?;
    Ok(memchr::memmem::find(&head, b"%PDF-").is_some() && memchr::memmem::find(&tail, b"%%EOF").is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quiet_is_what_did_not_change_for_long_enough() {
        let mut evidence = Evidence::new(Duration::from_secs(60));
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let name = OsStr::new("a.pdf");
        let print = |bytes| Print { inode: 1, bytes, changed: (0, 0) };
        assert!(!evidence.quiet(name, print(1), at(0)));
        assert!(!evidence.quiet(name, print(1), at(59)));
        assert!(!evidence.quiet(name, print(2), at(60)), "it grew, so the time starts anew");
        assert!(!evidence.quiet(name, print(2), at(119)));
        assert!(evidence.quiet(name, print(2), at(120)));
        assert!(!evidence.quiet(name, Print { inode: 2, ..print(2) }, at(121)), "another file of that name");
        evidence.forget(name);
        assert!(!evidence.quiet(name, print(2), at(300)));
    }

    #[test]
    fn a_pdf_needs_both_ends() {
        let folder = tempfile::tempdir().unwrap();
        let long = [b"%PDF-1.4\n".as_slice(), &[b'x'; 5000], b"%%EOF\n"].concat();
        let cases: &[(&str, &[u8], bool)] = &[
            ("a.pdf", b"%PDF-1.4 ... %%EOF\n", true),
            ("long.PDF", &long, true),
            ("cut.pdf", &long[..4000], false),
            ("text.pdf", b"hello %%EOF", false),
            ("note.txt", b"hello", true),
        ];
        for (name, bytes, whole) in cases {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(looks_whole(&path), *whole, "{name}");
        }
        assert!(!looks_whole(&folder.path().join("missing.pdf")));
    }
}
