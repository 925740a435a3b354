//! The sync of directories, shared: whoever asks while one sync runs is served, with all others, by the next one.
//!
//! A file that was synced can still be missing after a power cut if its directory was not. Two hundred mails that end in
//! the same moment need one such sync, not two hundred.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::{Prefix, SpoolError};

type Waiting = Vec<(Prefix, oneshot::Sender<Result<(), SpoolError>>)>;

/// The queue of those who wait for a sync.
pub(super) struct DirectorySync {
    root: PathBuf,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: Waiting,
    /// Whether a thread is at it; it then also takes what comes meanwhile.
    led: bool,
    /// Subfolders whose own entry in the spool's folder is known to be on disk.
    rooted: BTreeSet<Prefix>,
}

impl DirectorySync {
    pub(super) fn new(root: PathBuf) -> Self {
        DirectorySync { root, state: Mutex::default() }
    }

    /// Begins to bring to the disk everything that is in the subfolder now; what is returned tells the end.
    pub(super) fn begin(self: &Arc<Self>, folder: Prefix) -> oneshot::Receiver<Result<(), SpoolError>> {
        let (done, waiter) = oneshot::channel();
        let first = {
            let mut state = self.lock();
            state.waiting.push((folder, done));
            !std::mem::replace(&mut state.led, true)
        };
        if first {
            // On a thread of its own, so that a caller who goes away takes nobody else's sync along.
            let this = Arc::clone(self);
            tokio::task::spawn_blocking(move || this.lead());
        }
        waiter
    }

    /// Serves round after round until nobody waits. Tells how many directories it synced.
    fn lead(&self) -> usize {
        let mut synced = 0;
        loop {
            let (waiting, rooted) = {
                let mut state = self.lock();
                if state.waiting.is_empty() {
                    state.led = false;
                    return synced;
                }
                (std::mem::take(&mut state.waiting), state.rooted.clone())
            };
            let mut rounds = BTreeMap::<Prefix, Vec<_>>::new();
            for (folder, waiter) in waiting {
                rounds.entry(folder).or_default().push(waiter);
            }
            for (folder, waiters) in rounds {
                let letters: String = folder.iter().copied().map(char::from).collect();
                let path = self.root.join(letters);
                let mut result = sync_one(&path);
                synced += 1;
                if result.is_ok() && !rooted.contains(&folder) {
                    result = sync_one(&self.root);
                    synced += 1;
                    if result.is_ok() {
                        self.lock().rooted.insert(folder);
                    }
                }
                for waiter in waiters {
                    // A waiter that is gone has dropped its document.
                    let _ = waiter.send(match &result {
                        Ok(()) => Ok(()),
                        Err(error) => Err(SpoolError::io("sync the spool", &path, copy(error))),
                    });
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn sync_one(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn copy(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_sync_serves_all_who_wait_and_the_root_is_synced_once() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("ab")).unwrap();
        let sync = DirectorySync::new(dir.path().to_owned());
        let wait = |n: usize| -> Vec<_> {
            let (senders, receivers): (Vec<_>, Vec<_>) = (0..n).map(|_| oneshot::channel()).unzip();
            let mut state = sync.lock();
            state.led = true;
            state.waiting.extend(senders.into_iter().map(|sender| (*b"ab", sender)));
            receivers
        };
        let first = wait(200);
        assert_eq!(sync.lead(), 2, "the subfolder and, this once, the spool's folder");
        let second = wait(200);
        assert_eq!(sync.lead(), 1);
        for mut waiter in first.into_iter().chain(second) {
            assert!(matches!(waiter.try_recv(), Ok(Ok(()))));
        }
        assert!(!sync.lock().led);
    }

    #[test]
    fn a_sync_that_fails_is_told_to_everyone() {
        let dir = tempfile::tempdir().unwrap();
        let sync = DirectorySync::new(dir.path().to_owned());
        let (sender, mut receiver) = oneshot::channel();
        sync.lock().waiting.push((*b"zz", sender));
        sync.lead();
        assert!(matches!(receiver.try_recv(), Ok(Err(SpoolError::Io { .. }))));
    }
}
