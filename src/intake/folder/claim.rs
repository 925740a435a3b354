//! Claims: files moved to where only we are, and where they go from there.
//!
//! That is `claims/NAME` in the data folder, which nobody else may enter, where it is on the watched folder's file system. What
//! a rename may do is found by trying: under systemd two folders of one disk can be two mounts. Where it may not, it is
//! `.faxbridge/claimed` in the watched folder itself, held by its descriptor.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::Errno;

use super::evidence::Print;
use crate::shared_folder::{Dir, Facts, TEMPORARY, numbered};

/// Names tried for a file in `refused/` before it gets one that nobody has.
const TRIES: u32 = 20;
/// Claims looked at in one go.
const MOST: usize = 1000;
/// Where refused files go.
pub(super) const REFUSED: &str = "refused";
/// Ours in a watched folder, where claims cannot lie elsewhere.
pub(super) const OWN: &str = ".faxbridge";

/// The claims of one folder.
#[derive(Debug)]
pub(super) struct Claims {
    folder: Dir,
    outside: Dir,
    /// A rename to `outside` is not possible.
    apart: AtomicBool,
}

/// One file that is ours now.
#[derive(Debug)]
pub(super) struct Claim {
    place: Dir,
    name: OsString,
    facts: Facts,
    /// It was not claimed just now: what was said about it may have been said.
    pub(super) left_over: bool,
}

/// What came of trying to claim a file.
#[derive(Debug)]
pub(super) enum Claimed {
    Ours(Claim),
    /// It is gone, another now, or a claim of that name is still open: the next look tells.
    Not,
    /// The system does not let us.
    Closed,
}

impl Claims {
    /// Claims of `folder`; `outside` is the place apart from it, in the data folder.
    pub(super) fn open(folder: Dir, outside: &Path, name: &str) -> io::Result<Self> {
        let outside = Dir::open(outside)?.private(OsStr::new("claims"))?.private(&plain(name))?;
        // After a reload the former watch may be finishing a file: what is in its hands is not left over.
        if !outside.lock()? {
            return Err(io::ErrorKind::ResourceBusy.into());
        }
        let claims = Claims { folder, outside, apart: AtomicBool::new(false) };
        claims.probe()?;
        Ok(claims)
    }

    /// Finds out where claims can lie, and makes that place before somebody else makes one of its name.
    fn probe(&self) -> io::Result<()> {
        let name = OsString::from(format!("{TEMPORARY}{}-probe.tmp", std::process::id()));
        let facts = Facts::of_open(&self.folder.create_anew(&name)?)?;
        match self.folder.move_to_private(&name, &self.outside) {
            Ok(_) => {}
            Err(error) if is_apart(&error) => {
                self.apart.store(true, Ordering::Relaxed);
                self.inside(true)?;
            }
            Err(error) => return Err(error),
        }
        self.outside.remove(&name, &facts)?;
        self.folder.remove(&name, &facts)
    }

    fn inside(&self, make: bool) -> io::Result<Option<Dir>> {
        if !make && self.folder.look(OsStr::new(OWN))?.is_none() {
            return Ok(None);
        }
        self.folder.private(OsStr::new(OWN))?.private(OsStr::new("claimed")).map(Some)
    }

    /// Claims that a crash left, in either place.
    pub(super) fn left_over(&self) -> io::Result<Vec<Claim>> {
        let inside = match self.inside(false) {
            Ok(inside) => inside,
            // Somebody else's, which we have no use for: nothing of ours lies there.
            Err(_) if !self.apart.load(Ordering::Relaxed) => None,
            Err(error) => return Err(error),
        };
        let mut claims = Vec::new();
        for place in inside.iter().chain([&self.outside]) {
            for name in place.names(MOST)? {
                if let Some(facts) = place.look(&name)? {
                    claims.push(Claim { place: place.clone(), name, facts, left_over: true });
                }
            }
        }
        Ok(claims)
    }

    /// Claims the plain file `name`, if it still is the one with this `print`.
    pub(super) fn claim(&self, name: &OsStr, print: Print) -> io::Result<Claimed> {
        if !self.apart.load(Ordering::Relaxed) {
            match self.claim_to(&self.outside, name, print) {
                Err(error) if is_apart(&error) => {
                    self.apart.store(true, Ordering::Relaxed);
                }
                claimed => return claimed,
            }
        }
        match self.inside(true)? {
            Some(place) => self.claim_to(&place, name, print),
            None => Ok(Claimed::Not),
        }
    }

    fn claim_to(&self, place: &Dir, name: &OsStr, print: Print) -> io::Result<Claimed> {
        match self.folder.move_to_private(name, place) {
            Ok(true) => {}
            Ok(false) => return Ok(Claimed::Not),
            Err(error) => {
                return match Errno::from_io_error(&error) {
                    Some(Errno::NOENT) => Ok(Claimed::Not),
                    Some(Errno::PERM | Errno::ACCESS) => Ok(Claimed::Closed),
                    _ => Err(error),
                };
            }
        }
        let Some(facts) = place.look(name)? else { return Ok(Claimed::Not) };
        let claim = Claim { place: place.clone(), name: name.to_owned(), facts, left_over: false };
        if facts.is_plain() && Print::of(&facts) == print {
            return Ok(Claimed::Ours(claim));
        }
        // It was exchanged between the look and the claim, or is still written to.
        claim.put_back(&self.folder)?;
        Ok(Claimed::Not)
    }

    /// Back to where it was, as it was.
    pub(super) fn put_back(&self, claim: Claim) -> io::Result<Option<(OsString, Print)>> {
        claim.put_back(&self.folder)
    }

    /// Into `refused/`, with the reason in a text file beside it.
    pub(super) fn refuse(&self, claim: Claim, sentence: &str) -> io::Result<()> {
        claim.refuse(&self.folder, sentence)
    }
}

/// Claims in the data folder `data` that lie there for folders other than these: nobody takes them up. Name and number of each.
#[must_use]
pub fn abandoned<'a>(data: &Path, configured: impl Iterator<Item = &'a str>) -> Vec<(String, usize)> {
    let known: Vec<OsString> = configured.map(plain).collect();
    let Ok(claims) = Dir::open(&data.join("claims")) else { return Vec::new() };
    let others = claims.names(MOST).unwrap_or_default().into_iter().filter(|name| !known.contains(name));
    let counted = others.filter_map(|name| {
        let files = claims.folder(&name).and_then(|folder| folder.names(MOST)).ok()?.len();
        (files > 0).then(|| (name.to_string_lossy().into_owned(), files))
    });
    counted.collect()
}

impl Claim {
    pub(super) fn name(&self) -> &OsStr {
        &self.name
    }

    pub(super) fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The file and its print. `None` if it is not one plain file.
    pub(super) fn open(&self) -> io::Result<Option<(File, Print)>> {
        let opened = self.place.open_plain(&self.name)?;
        Ok(opened
            .filter(|(_, facts)| facts.is_same_file(&self.facts))
            .map(|(file, facts)| (file, Print::of(&facts))))
    }

    /// The submission has it now.
    pub(super) fn delete(self) -> io::Result<()> {
        self.place.remove(&self.name, &self.facts)
    }

    /// If another file took its name meanwhile, the claim stays, for the next scan.
    fn put_back(self, folder: &Dir) -> io::Result<Option<(OsString, Print)>> {
        match self.place.move_new(&self.name, folder, &self.name) {
            Ok(()) => {
                let now = folder.look(&self.name)?;
                Ok(now.map(|facts| (self.name, Print::of(&facts))))
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn refuse(self, folder: &Dir, sentence: &str) -> io::Result<()> {
        let refused = folder.returned(OsStr::new(REFUSED))?;
        let numbers = (1..=u64::from(TRIES)).chain([self.facts.inode.saturating_add(u64::from(TRIES))]);
        for number in numbers {
            let name = if number == 1 { self.name.clone() } else { numbered(&self.name, number) };
            let reason = reason_of(&name);
            if refused.look(&reason)?.is_some() {
                continue;
            }
            // The reason first: after a crash between the two there is one too many, and no file without one.
            let mut file = refused.create(&reason)?;
            file.write_all(format!("{sentence}\n").as_bytes())?;
            let Err(error) = self.place.move_new(&self.name, &refused, &name) else { return Ok(()) };
            refused.remove(&reason, &Facts::of_open(&file)?)?;
            if error.kind() != io::ErrorKind::AlreadyExists {
                return Err(error);
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }
}

fn is_apart(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::XDEV)
}

/// The name of the reason beside a refused file.
pub(super) fn reason_of(name: &OsStr) -> OsString {
    let mut reason = name.to_owned();
    reason.push(".txt");
    // The file keeps its name; a reason that would have too long a one is cut in the middle of it.
    if reason.len() <= 255 { reason } else { numbered(&reason, 1) }
}

/// A section's name as that of a folder: nothing in it leads elsewhere.
fn plain(name: &str) -> OsString {
    let mut plain = String::new();
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => plain.push(char::from(byte)),
            byte => plain.push_str(&format!("%{byte:02x}")),
        }
    }
    if plain.is_empty() { "%".into() } else { plain.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_of_sections_that_are_gone_are_found() {
        let data = tempfile::tempdir().unwrap();
        assert_eq!(abandoned(data.path(), ["scans"].into_iter()), []);
        for name in ["scans/a.pdf", "old/b.pdf", "old/c.pdf"] {
            let path = data.path().join("claims").join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        }
        std::fs::create_dir(data.path().join("claims/empty")).unwrap();
        assert_eq!(abandoned(data.path(), ["scans"].into_iter()), [("old".to_owned(), 2)]);
    }

    #[test]
    fn names_of_sections_lead_nowhere() {
        for (name, expected) in [("scans", "scans"), ("../x", "%2e%2e%2fx"), ("", "%"), ("ä b", "%c3%a4%20b")]
        {
            assert_eq!(plain(name), expected);
        }
    }
}
