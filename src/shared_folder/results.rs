//! Result files beside the drops: whole or not there, and never over another file.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::digest;
use rustix::fs::FileType;

use super::dir::{Dir, Facts, numbered};
use super::names;
use super::trust::trusted;
use crate::text::hex;

/// Names tried before a result gets one that nobody has.
const TRIES: u32 = 20;
/// Names in a folder that are looked through for leftovers.
const MOST: usize = 50_000;
/// Where results go.
pub(crate) const RESULTS: &str = "results";
/// How the names of files begin that are ours and not whole.
pub(crate) const TEMPORARY: &str = ".faxbridge-";

/// Writes `body` as `results/NAME` in `folder`: under a temporary name, synced, then renamed.
///
/// Where a file of that name is there, it stays and the new one is called `NAME.2` and so on (`scan.2.json`); if the one
/// that is there says the same, this result was written before, by a try that did not come to record it, and nothing is
/// written. Returns the path of the file that holds `body`. It may wait for a file system for as long as that hangs.
///
/// # Errors
/// The folder cannot be written or trusted, or `name` is not a file name.
pub fn write_result(folder: &Path, name: &str, body: &[u8]) -> io::Result<PathBuf> {
    names::check(name).map_err(|bad| io::Error::new(io::ErrorKind::InvalidInput, bad))?;
    trusted(folder).map_err(io::Error::other)?;
    let root = Dir::open(folder)?;
    let written = write(&root, OsStr::new(name), body)?;
    Ok(folder.join(RESULTS).join(written))
}

fn write(root: &Dir, name: &OsStr, body: &[u8]) -> io::Result<OsString> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let results = root.read_only(OsStr::new(RESULTS))?;
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let temporary = OsString::from(format!("{TEMPORARY}{}-{count}.tmp", std::process::id()));
    // In the folder itself, not in results/: there it gets the group that the folder hands down.
    let mut file = root.create_anew(&temporary)?;
    let facts = Facts::of_open(&file)?;
    let written = file
        .write_all(body)
        .and_then(|()| file.sync_all())
        .and_then(|()| move_in(root, &temporary, &results, name, body));
    // Gone when it was moved; left when it was not.
    let removed = root.remove(&temporary, &facts);
    let name = written?;
    removed?;
    results.sync()?;
    Ok(name)
}

fn move_in(root: &Dir, temporary: &OsStr, results: &Dir, name: &OsStr, body: &[u8]) -> io::Result<OsString> {
    let digest = hex(digest::digest(&digest::SHA256, body).as_ref());
    let own = || numbered(name, digest.get(..16).unwrap_or_default());
    for number in 1..=TRIES.saturating_add(1) {
        let target = match number {
            1 => name.to_owned(),
            2..=TRIES => numbered(name, number),
            _ => own(),
        };
        match root.move_new(temporary, results, &target) {
            Ok(()) => return Ok(target),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if says(results, &target, body)? {
                    return Ok(target);
                }
            }
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Whether a plain file is there that says the same. Anything else is not even opened.
fn says(results: &Dir, name: &OsStr, body: &[u8]) -> io::Result<bool> {
    let same_size = |facts: &Facts| facts.kind == FileType::RegularFile && facts.bytes == body.len() as u64;
    if !results.look(name)?.is_some_and(|facts| same_size(&facts)) {
        return Ok(false);
    }
    let Ok(Some((file, _))) = results.open_plain(name) else { return Ok(false) };
    let mut there = Vec::with_capacity(body.len());
    file.take((body.len() as u64).saturating_add(1)).read_to_end(&mut there)?;
    Ok(there == body)
}

/// Removes what processes that were killed left half-written.
pub(crate) fn clear_temporaries(root: &Dir) -> io::Result<()> {
    // Ours may be at work this moment.
    let own = format!("{TEMPORARY}{}-", std::process::id());
    // Earlier versions wrote them in results/.
    let results = root.look(OsStr::new(RESULTS))?.and_then(|_| root.folder(OsStr::new(RESULTS)).ok());
    for place in [Some(root.clone()), results].into_iter().flatten() {
        for name in place.names(MOST)? {
            let text = name.to_string_lossy();
            if !text.starts_with(TEMPORARY) || !text.ends_with(".tmp") || text.starts_with(&own) {
                continue;
            }
            if let Some(facts) = place.look(&name)?.filter(|facts| facts.is_plain() && facts.is_trusted()) {
                place.remove(&name, &facts)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::*;

    #[test]
    fn results_never_overwrite_and_are_written_once() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join("results").join(name);
        assert_eq!(write_result(folder.path(), "a.json", b"one").unwrap(), at("a.json"));
        assert_eq!(write_result(folder.path(), "a.json", b"one").unwrap(), at("a.json"));
        assert_eq!(write_result(folder.path(), "a.json", b"two").unwrap(), at("a.2.json"));
        assert_eq!(fs::read(at("a.json")).unwrap(), b"one");
        assert_eq!(fs::read_dir(folder.path().join("results")).unwrap().count(), 2);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing half-written is left");
        let elsewhere = tempfile::tempdir().unwrap();
        symlink(folder.path(), elsewhere.path().join("results")).unwrap();
        assert!(write_result(elsewhere.path(), "a.json", b"x").is_err(), "a link leads elsewhere");
        for name in ["", "..", "../a.json", "a/b"] {
            assert!(write_result(folder.path(), name, b"x").is_err(), "{name}");
        }
    }

    #[test]
    fn what_strangers_put_there_is_neither_opened_nor_written_to() {
        let folder = tempfile::tempdir().unwrap();
        let results = folder.path().join("results");
        fs::create_dir(&results).unwrap();
        // Opening it would wait for ever.
        rustix::fs::mkfifoat(rustix::fs::CWD, results.join("a.json"), rustix::fs::Mode::RWXU).unwrap();
        symlink("/etc/passwd", results.join("a.2.json")).unwrap();
        symlink("nowhere", results.join("a.3.json")).unwrap();
        for number in 4..=20 {
            fs::create_dir(results.join(format!("a.{number}.json"))).unwrap();
        }
        let written = write_result(folder.path(), "a.json", b"one").unwrap();
        assert_eq!(fs::read(&written).unwrap(), b"one");
        assert_eq!(write_result(folder.path(), "a.json", b"one").unwrap(), written, "and once only");
    }

    #[test]
    fn the_folders_group_reads_results_and_nobody_else_does() {
        let folder = tempfile::tempdir().unwrap();
        let results = folder.path().join("results");
        for (mode, place, file) in [(0o3770, 0o750, 0o640), (0o750, 0o750, 0o640), (0o700, 0o700, 0o600)] {
            fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode)).unwrap();
            let written = write_result(folder.path(), "a.json", b"one").unwrap();
            assert_eq!(results.metadata().unwrap().mode() & 0o1777, place);
            assert_eq!(written.metadata().unwrap().mode() & 0o777, file);
            fs::remove_dir_all(&results).unwrap();
        }
    }

    /// Whoever may write there may put his own answer in the place of ours.
    #[test]
    fn an_open_results_folder_of_before_is_closed_to_its_writers() {
        let folder = tempfile::tempdir().unwrap();
        let results = folder.path().join("results");
        fs::create_dir(&results).unwrap();
        for (before, after) in
            [(0o770, 0o750), (0o777, 0o755), (0o1770, 0o1750), (0o750, 0o750), (0o700, 0o700)]
        {
            fs::set_permissions(&results, fs::Permissions::from_mode(before)).unwrap();
            write_result(folder.path(), "a.json", b"one").unwrap();
            assert_eq!(results.metadata().unwrap().mode() & 0o1777, after, "{before:o}");
        }
    }

    #[test]
    fn from_a_folder_of_refused_files_each_takes_his_own() {
        let folder = tempfile::tempdir().unwrap();
        let root = Dir::open(folder.path()).unwrap();
        for (mode, refused) in [(0o3770, 0o1770), (0o750, 0o750), (0o700, 0o700)] {
            fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode)).unwrap();
            let place = folder.path().join("refused");
            for before in [None, Some(0o770)] {
                let wanted = before.map_or(refused, |_| 0o1770);
                if let Some(before) = before {
                    fs::set_permissions(&place, fs::Permissions::from_mode(before)).unwrap();
                }
                root.returned(OsStr::new("refused")).unwrap();
                assert_eq!(place.metadata().unwrap().mode() & 0o1777, wanted, "{mode:o} {before:?}");
            }
            fs::remove_dir_all(&place).unwrap();
        }
    }
}
