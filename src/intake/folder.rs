//! Folder in: files that other programs leave in a folder of this machine.
//!
//! Nobody tells us when a foreign file is whole, so a file counts only when one of these is seen:
//!
//! - the system's notice that a writer closed it, or that it was moved in (under a final name, see
//!   `sftp/names.rs`); or
//! - for files without a notice (there before we started, on a file system without notices, or lost in a flood of
//!   them): two scans that find it unchanged for `settle`, and for a PDF also its last line (see `folder/evidence.rs`).
//!
//! It is then claimed by a rename into `.faxbridge/claimed/`, on the same file system and ours alone: from there nobody
//! swaps it, and two scans cannot take it twice. Only when [`Intake::accept`] has it on disk is the claim deleted. After
//! a crash, claims are taken again at the start, and the same file from the same folder is one submission. A refusal
//! for good moves the file to `refused/`, with the reason beside it; a refusal for now puts it back for the next scan.
//!
//! Never taken: temporary names, empty files, folders, links of both kinds, anything that is not a plain file.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind, RenameMode};
use notify::{RecursiveMode, Watcher};
use tokio::io::AsyncReadExt;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use self::claim::{Claim, Claims};
use self::evidence::{Evidence, Print};
use super::sftp::names;
use super::{Arrival, Intake, Refusal, Source};
use crate::{config, crash};

mod claim;
mod evidence;
mod results;
#[cfg(test)]
mod tests;

pub use results::write_result;

/// Bytes read at a time.
const CHUNK: usize = 256 << 10;
/// Names that wait for us; beyond that, files are found by the scan.
const WAITING_NAMES: usize = 10_000;

/// Takes files from the folder `[folder.NAME]` until `stop` turns true; a file being taken then is finished first.
///
/// A folder that is missing or unreadable is reported once and tried again at every `scan`.
pub async fn watch(name: String, config: config::Folder, intake: Intake, mut stop: watch::Receiver<bool>) {
    let mut reported = false;
    loop {
        let problem = match Folder::open(&name, &config, &intake).await {
            Ok(mut folder) => {
                if std::mem::take(&mut reported) {
                    tracing::info!(folder.name = name, "folder {name} can be used again");
                }
                match folder.run(&mut stop).await {
                    Ok(()) => return,
                    Err(problem) => problem,
                }
            }
            Err(problem) => problem,
        };
        if !std::mem::replace(&mut reported, true) {
            tracing::error!(
                folder.name = name,
                "folder {name} cannot be used: {problem}; trying again until it can"
            );
        }
        tokio::select! {
            () = tokio::time::sleep(config.scan.std()) => {}
            () = stopped(&mut stop) => return,
        }
    }
}

/// What the system told us, until we come to it.
#[derive(Default)]
struct Notices {
    names: Mutex<HashSet<OsString>>,
    came: Notify,
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

    fn take(&self) -> HashSet<OsString> {
        std::mem::take(&mut self.names.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

struct Folder<'a> {
    name: &'a str,
    config: &'a config::Folder,
    intake: &'a Intake,
    claims: Claims,
    /// Device and inode of the folder when the watch was set: another folder of the same name needs a new watch.
    identity: (u64, u64),
    notices: Arc<Notices>,
    evidence: Evidence,
    /// Files put back. That makes a notice of its own, which must not start the next try at once.
    waiting: HashMap<OsString, Waiting>,
    /// Ends the watch when dropped.
    _watcher: notify::RecommendedWatcher,
}

/// A file that was put back, as it looked then.
#[derive(Clone, Copy, PartialEq)]
struct Waiting {
    print: Print,
    /// It is known to be whole, so the next scan may take it; otherwise the evidence starts anew.
    whole: bool,
}

/// What became of a claimed file.
enum End {
    Accepted,
    Refused(Refusal),
    /// It goes back: whole or not, and why.
    Waits(bool, String),
}

impl<'a> Folder<'a> {
    async fn open(name: &'a str, config: &'a config::Folder, intake: &'a Intake) -> io::Result<Self> {
        let path = config.path.clone();
        let notices = Arc::new(Notices::default());
        let (claims, identity, watcher) = {
            let notices = Arc::clone(&notices);
            blocking(move || {
                let claims = Claims::open(&path)?;
                results::clear_temporaries(&path)?;
                // Before the first scan, so that no file can come between the two unseen.
                let watcher = watcher(&path, notices)?;
                Ok((claims, identity(&path)?, watcher))
            })
            .await?
        };
        let (evidence, waiting) = (Evidence::new(config.settle.std()), HashMap::new());
        Ok(Folder { name, config, intake, claims, identity, notices, evidence, waiting, _watcher: watcher })
    }

    async fn run(&mut self, stop: &mut watch::Receiver<bool>) -> io::Result<()> {
        let mut scan = tokio::time::interval(self.config.scan.std());
        scan.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = stopped(stop) => return Ok(()),
                _ = scan.tick() => self.scan(stop).await?,
                () = self.notices.came.notified() => {}
            }
            for name in self.notices.take() {
                if *stop.borrow() {
                    return Ok(());
                }
                self.noticed(name).await?;
            }
        }
    }

    /// A writer closed the file, or it was moved in.
    async fn noticed(&mut self, name: OsString) -> io::Result<()> {
        let Some(print) = self.candidate(&name).await? else { return Ok(()) };
        if self.waiting.get(&name).is_some_and(|waiting| waiting.print == print) {
            return Ok(());
        }
        self.take(name, print).await
    }

    /// First what was claimed and not brought in, after a crash or because another file had taken its name. Then looks
    /// at every file; takes those that have been quiet for long enough, or wait for another try.
    async fn scan(&mut self, stop: &watch::Receiver<bool>) -> io::Result<()> {
        for claim in self.claims.left_over()? {
            if *stop.borrow() {
                return Ok(());
            }
            self.bring_in(claim).await?;
        }
        let path = self.config.path.clone();
        let (names, now_at) = blocking(move || Ok((file_names(&path)?, identity(&path)?))).await?;
        if now_at != self.identity {
            return Err(io::Error::other("it was replaced by another folder"));
        }
        self.evidence.forget_all_but(&names);
        self.waiting.retain(|name, _| names.contains(name));
        for name in names {
            if *stop.borrow() {
                return Ok(());
            }
            let Some(print) = self.candidate(&name).await? else { continue };
            let retry = self.waiting.get(&name) == Some(&Waiting { print, whole: true });
            let quiet = self.evidence.quiet(&name, print, Instant::now());
            let file = self.config.path.join(&name);
            if retry || (quiet && blocking(move || Ok(evidence::looks_whole(&file))).await?) {
                self.take(name, print).await?;
            }
        }
        Ok(())
    }

    /// The file's print if it is one that may be taken.
    async fn candidate(&self, name: &OsStr) -> io::Result<Option<Print>> {
        let (temporary, finals) = (&self.config.temporary_names, &self.config.final_names);
        if names::is_temporary(&name.to_string_lossy(), temporary, finals) {
            return Ok(None);
        }
        let file = self.config.path.join(name);
        blocking(move || match std::fs::symlink_metadata(&file) {
            Ok(meta) if meta.is_file() && meta.nlink() == 1 && meta.len() > 0 => Ok(Some(Print::of(&meta))),
            Ok(_) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        })
        .await
    }

    async fn take(&mut self, name: OsString, print: Print) -> io::Result<()> {
        self.evidence.forget(&name);
        let (claims, file) = (self.claims.clone(), name.clone());
        match blocking(move || claims.claim(&file)).await {
            Ok(Some(claim)) => self.bring_in(claim).await,
            Ok(None) => Ok(()),
            Err(error) => {
                self.wait(name, Waiting { print, whole: true }, &format!("cannot be claimed: {error}"));
                Ok(())
            }
        }
    }

    /// Leaves the file for the next scan. The log tells it once, not at every scan; and never its name.
    fn wait(&mut self, name: OsString, waiting: Waiting, problem: &str) {
        if !waiting.whole {
            // Nothing to do about a writer that opens its file twice.
            tracing::debug!(folder.name = self.name, "folder {}: a file {problem}", self.name);
            self.waiting.insert(name, waiting);
        } else if self.waiting.insert(name, waiting) != Some(waiting) {
            tracing::warn!(folder.name = self.name, "folder {}: a file {problem}; trying again", self.name);
        }
    }

    /// A claimed file becomes a submission, or goes back, or is refused.
    async fn bring_in(&mut self, claim: Claim) -> io::Result<()> {
        let end = match self.submit(&claim).await {
            Ok(end) => end,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            // One unreadable file must not keep the others waiting.
            Err(error) => End::Waits(true, format!("cannot be read: {error}")),
        };
        match end {
            End::Accepted => {
                crash::reached("intake.answered");
                self.waiting.remove(claim.name());
                blocking(move || claim.delete()).await
            }
            End::Refused(refusal) if refusal.permanent => {
                let cause = refusal.cause.as_deref().unwrap_or(&refusal.sentence);
                tracing::warn!(folder.name = self.name, "folder {}: a file was refused: {cause}", self.name);
                blocking(move || claim.refuse(&refusal.sentence)).await
            }
            End::Refused(refusal) => {
                let cause = refusal.cause.unwrap_or(refusal.sentence);
                self.put_back(claim, true, &format!("was refused for now: {cause}")).await
            }
            End::Waits(whole, problem) => self.put_back(claim, whole, &problem).await,
        }
    }

    async fn put_back(&mut self, claim: Claim, whole: bool, problem: &str) -> io::Result<()> {
        if let Some((name, print)) = blocking(move || claim.put_back()).await? {
            self.wait(name, Waiting { print, whole }, problem);
        }
        Ok(())
    }

    async fn submit(&self, claim: &Claim) -> io::Result<End> {
        let (file, before) = match claim.open() {
            Ok(Some(opened)) => opened,
            Ok(None) => return Ok(End::Waits(false, "is not a plain file".into())),
            Err(error) => return Err(error),
        };
        let Some(file_name) = claim.name().to_str().filter(|name| names::check(name).is_ok()) else {
            let sentence = "The name of this file is not valid UTF-8 or contains control characters.";
            return Ok(End::Refused(Refusal::permanent("5.6.0", sentence)));
        };
        let mut file = tokio::fs::File::from_std(file);
        let mut draft = match self.intake.begin().await {
            Ok(draft) => draft,
            Err(refusal) => return Ok(End::Refused(refusal)),
        };
        let mut chunk = vec![0; CHUNK];
        loop {
            let length = file.read(&mut chunk).await?;
            let Some(bytes) = chunk.get(..length).filter(|bytes| !bytes.is_empty()) else { break };
            if let Err(refusal) = draft.write(bytes).await {
                return Ok(End::Refused(refusal));
            }
        }
        let after = Print::of(&file.metadata().await?);
        if after != before || draft.written() != after.bytes() {
            return Ok(End::Waits(false, "is still being written".into()));
        }
        let arrival = Arrival {
            file: Some(file_name.to_owned()),
            ..Arrival::new(Source::Folder(self.name.to_owned()), self.config.sender.clone())
        };
        Ok(match self.intake.accept(draft, arrival).await {
            Ok(_) => End::Accepted,
            Err(refusal) => End::Refused(refusal),
        })
    }
}

fn watcher(path: &Path, notices: Arc<Notices>) -> io::Result<notify::RecommendedWatcher> {
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

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let meta = std::fs::metadata(path)?;
    Ok((meta.dev(), meta.ino()))
}

fn file_names(path: &PathBuf) -> io::Result<HashSet<OsString>> {
    std::fs::read_dir(path)?.map(|entry| Ok(entry?.file_name())).collect()
}

/// Runs file operations off the tasks that serve the network.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}
