//! A small disk of its own, which a story fills and empties.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::FallocateFlags;

/// A tmpfs that goes when this does. Mounting it takes root.
#[derive(Debug)]
pub(crate) struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts one at `at`, a folder that is made for it; `size` as the system writes it: `8m`.
    pub(crate) fn mount(at: PathBuf, size: &str) -> SmallDisk {
        std::fs::create_dir(&at).unwrap();
        let options = format!("size={size}");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&at).status();
        assert!(mounted.unwrap().success(), "this story mounts a small tmpfs, which takes root");
        SmallDisk(at)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Bytes that are free.
    pub(crate) fn free(&self) -> u64 {
        let told = rustix::fs::statvfs(&self.0).unwrap();
        told.f_bavail * told.f_frsize
    }

    /// Takes all that is free.
    pub(crate) fn fill(&self) {
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(self.filler()).unwrap();
        let held = file.metadata().unwrap().len();
        // The daemon takes and frees some meanwhile: then a little is left, or this fails with nothing left at all.
        let _ = rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, held + self.free().max(1));
    }

    /// Takes all that is free but `free` bytes.
    pub(crate) fn leave(&self, free: u64) {
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(self.filler()).unwrap();
        let held = file.metadata().unwrap().len();
        let more = self.free().checked_sub(free).expect("there is more than that");
        rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, held + more).unwrap();
    }

    /// Gives it back.
    pub(crate) fn empty(&self) {
        let _ = std::fs::remove_file(self.filler());
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: the daemon may be on its last breath.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Sealed documents in the spool of a data folder, finished or not.
pub(crate) fn sealed_files(data: &Path) -> usize {
    let entries = |dir: &Path| std::fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok);
    let folders = entries(&data.join("spool")).filter(|entry| entry.path().is_dir());
    folders.map(|folder| entries(&folder.path()).count()).sum()
}
