//! How long results and refused files are kept in a watched folder. Only what is ours is removed: result files that we wrote,
//! and refused files beside which our reason lies.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;

use jiff::Timestamp;
use rustix::process::geteuid;

use super::claim::{REFUSED, reason_of};
use crate::shared_folder::{Dir, Facts, RESULTS};

/// Names looked through in one go.
const MOST: usize = 50_000;

/// What was made before these is removed; returns how many files that were.
pub(super) fn clear(root: &Dir, results: Timestamp, refused: Timestamp) -> io::Result<usize> {
    let mut removed = 0;
    if let Some(folder) = there(root, RESULTS)? {
        for name in folder.names(MOST)? {
            if !name.as_bytes().ends_with(b".json") {
                continue;
            }
            if let Some(facts) = folder.look(&name)?.filter(|facts| is_ours_from_before(facts, results)) {
                folder.remove(&name, &facts)?;
                removed += 1;
            }
        }
    }
    if let Some(folder) = there(root, REFUSED)? {
        for name in folder.names(MOST)? {
            let reason = reason_of(&name);
            let Some(said) = folder.look(&reason)?.filter(|facts| is_ours_from_before(facts, refused)) else {
                continue;
            };
            if let Some(facts) = folder.look(&name)?.filter(Facts::is_plain) {
                folder.remove(&name, &facts)?;
                removed += 1;
            }
            folder.remove(&reason, &said)?;
        }
    }
    Ok(removed)
}

fn there(root: &Dir, name: &str) -> io::Result<Option<Dir>> {
    let name = OsStr::new(name);
    Ok(if root.look(name)?.is_some() { root.folder(name).ok() } else { None })
}

fn is_ours_from_before(facts: &Facts, before: Timestamp) -> bool {
    facts.is_plain() && facts.owner == geteuid().as_raw() && facts.changed.0 < before.as_second()
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use std::fs;

    use super::*;
    use crate::clock::{Clock, SystemClock};

    #[test]
    fn what_is_ours_and_old_goes_and_nothing_else() {
        let base = tempfile::tempdir().unwrap();
        let now = SystemClock.now();
        let put = |name: &str, days: i64| {
            let path = base.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let file = fs::File::create(path).unwrap();
            file.set_modified((now - SignedDuration::from_hours(days * 24)).into()).unwrap();
        };
        let old = ["results/a.json", "refused/b.pdf", "refused/b.pdf.txt"];
        let kept = [
            "results/new.json",
            "results/notes.txt",
            "refused/c.pdf",
            "refused/c.pdf.txt",
            "refused/theirs.pdf",
            "x.json",
        ];
        for name in old.iter().chain(&kept) {
            let new = name.contains("new") || *name == "refused/c.pdf.txt";
            put(name, if new { 1 } else { 30 });
        }
        let root = Dir::open(base.path()).unwrap();
        let before = now - SignedDuration::from_hours(10 * 24);
        assert_eq!(clear(&root, before, before).unwrap(), 2);
        assert!(old.iter().all(|name| !base.path().join(name).exists()));
        assert!(kept.iter().all(|name| base.path().join(name).exists()));
        assert_eq!(clear(&Dir::open(tempfile::tempdir().unwrap().path()).unwrap(), now, now).unwrap(), 0);
    }
}
