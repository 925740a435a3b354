//! A disk that is soon full.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A tmpfs that goes when this does.
pub(crate) struct SmallDisk(pub(crate) PathBuf);

impl SmallDisk {
    /// One of so many MiB at `at`, which is made.
    pub(crate) fn mount(at: PathBuf, mib: u32) -> SmallDisk {
        std::fs::create_dir(&at).unwrap();
        let size = format!("size={mib}m");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&at).status();
        assert!(mounted.unwrap().success(), "this story mounts a small tmpfs, which takes root");
        SmallDisk(at)
    }

    /// Bytes that are free.
    pub(crate) fn free(&self) -> u64 {
        let facts = rustix::fs::statvfs(&self.0).unwrap();
        facts.f_bavail * facts.f_frsize
    }

    /// Another program's file that leaves `free` bytes.
    pub(crate) fn fill(&self, free: u64) -> PathBuf {
        let filler = self.0.join("filler");
        let bytes = usize::try_from(self.free() - free).unwrap();
        std::fs::write(&filler, vec![0; bytes]).unwrap();
        filler
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: the daemon may be on its last breath.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Sealed documents in a spool, finished or not.
pub(crate) fn sealed_files(data: &Path) -> usize {
    let entries = |dir: &Path| std::fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok);
    let folders = entries(&data.join("spool")).filter(|entry| entry.path().is_dir());
    folders.map(|folder| entries(&folder.path()).count()).sum()
}
