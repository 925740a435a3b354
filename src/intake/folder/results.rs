//! Result files beside the drops: whole or not there, and never over another file.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::claim::numbered;
use crate::intake::sftp::names;

/// Names tried before giving up.
const TRIES: u32 = 1000;

/// Writes `body` as `results/NAME` in `folder`: under a temporary name, synced, then renamed.
///
/// Where a file of that name is there, it stays and the new one is called `NAME.2` and so on (`scan.2.json`); if the one
/// that is there says the same, this result was written before, by a try that did not come to record it, and nothing is
/// written. Returns the path of the file that holds `body`.
///
/// # Errors
/// The folder cannot be written, or `name` is not a file name.
pub async fn write_result(folder: &Path, name: &str, body: &[u8]) -> io::Result<PathBuf> {
    names::check(name).map_err(|bad| io::Error::new(io::ErrorKind::InvalidInput, bad))?;
    let (folder, name, body) = (folder.join("results"), name.to_owned(), body.to_owned());
    super::blocking(move || write(&folder, OsStr::new(&name), &body)).await
}

fn write(folder: &Path, name: &OsStr, body: &[u8]) -> io::Result<PathBuf> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    make_plain(folder)?;
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let temporary = folder.join(format!(".faxbridge-{}-{count}.tmp", std::process::id()));
    let result = write_and_move(&temporary, folder, name, body);
    // Gone when it was moved; left when it was not.
    let _ = std::fs::remove_file(&temporary);
    result
}

fn write_and_move(temporary: &Path, folder: &Path, name: &OsStr, body: &[u8]) -> io::Result<PathBuf> {
    // What lies under the temporary name is what a crash left of an earlier process of the same number.
    let _ = std::fs::remove_file(temporary);
    let mut file = File::create_new(temporary)?;
    file.write_all(body)?;
    file.sync_all()?;
    for number in 1..=TRIES {
        let target = folder.join(if number == 1 { name.to_owned() } else { numbered(name, number) });
        match move_new(temporary, &target) {
            Ok(()) => {
                File::open(folder)?.sync_all()?;
                return Ok(target);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if std::fs::read(&target).is_ok_and(|there| there == body) {
                    return Ok(target);
                }
            }
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Makes a folder in one that strangers write to; one that is there must be a folder, not a link to where they would have us
/// write.
pub(super) fn make_plain(folder: &Path) -> io::Result<()> {
    match std::fs::create_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => return made,
    }
    if std::fs::symlink_metadata(folder)?.is_dir() {
        return Ok(());
    }
    Err(io::Error::other("something that is no folder has the name of ours"))
}

/// Removes what processes that were killed left half-written in `results/`.
pub(super) fn clear_temporaries(folder: &Path) -> io::Result<()> {
    let entries = match std::fs::read_dir(folder.join("results")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    // Ours may be at work this moment.
    let own = format!(".faxbridge-{}-", std::process::id());
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(".faxbridge-") && name.ends_with(".tmp") && !name.starts_with(&own) {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Renames, but never over another file.
pub(super) fn move_new(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // File systems that know no such rename (NFS, some FUSE ones) know links, or nothing at all.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
            std::fs::hard_link(from, to)?;
            std::fs::remove_file(from)
        }
        moved => Ok(moved?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn results_never_overwrite_and_are_written_once() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join("results").join(name);
        assert_eq!(write_result(folder.path(), "a.json", b"one").await.unwrap(), at("a.json"));
        assert_eq!(write_result(folder.path(), "a.json", b"one").await.unwrap(), at("a.json"));
        assert_eq!(write_result(folder.path(), "a.json", b"two").await.unwrap(), at("a.2.json"));
        assert_eq!(std::fs::read(at("a.json")).unwrap(), b"one");
        assert_eq!(std::fs::read_dir(folder.path().join("results")).unwrap().count(), 2);
        let elsewhere = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(folder.path(), elsewhere.path().join("results")).unwrap();
        assert!(write_result(elsewhere.path(), "a.json", b"x").await.is_err(), "a link leads elsewhere");
        for name in ["", "..", "../a.json", "a/b"] {
            assert!(write_result(folder.path(), name, b"x").await.is_err(), "{name}");
        }
    }
}
