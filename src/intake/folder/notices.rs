//! Notices of the system: which files of a folder were closed by a writer, or moved in.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind, RenameMode};
use notify::{RecursiveMode, Watcher};
use tokio::sync::Notify;

/// Names that wait for us; beyond that, files are found by the scan.
const WAITING_NAMES: usize = 10_000;

/// What the system told us, until we come to it.
#[derive(Debug, Default)]
pub(super) struct Notices {
    names: Mutex<HashSet<OsString>>,
    pub(super) came: Notify,
}

impl Notices {
    fn add(&self, event: &notify::Event) {
        let whole = matches!(
            event.kind,
            EventKind::Access(AccessKind::Close(AccessMode::Write))
                | EventKind::Modify(ModifyKind::Name(RenameMode::To))
        );
        if !whole {
            return;
        }
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let new = event.paths.iter().filter_map(|path| path.file_name()).map(OsStr::to_owned);
        let room = WAITING_NAMES.saturating_sub(names.len());
        names.extend(new.take(room));
        drop(names);
        self.came.notify_one();
    }

    pub(super) fn take(&self) -> HashSet<OsString> {
        std::mem::take(&mut self.names.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Sets the watch; it ends when what is returned is dropped.
pub(super) fn watcher(path: &Path, notices: Arc<Notices>) -> io::Result<notify::RecommendedWatcher> {
    let told = move |event: notify::Result<notify::Event>| {
        // An error here is a lost notice, and those are what the scan is for.
        if let Ok(event) = event {
            notices.add(&event);
        }
    };
    let mut watcher = notify::recommended_watcher(told).map_err(io::Error::other)?;
    watcher.watch(path, RecursiveMode::NonRecursive).map_err(io::Error::other)?;
    Ok(watcher)
}
