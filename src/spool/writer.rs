//! One document on its way into the spool.
//!
//! Bytes gather in a block of a few chunks; a full block goes to a thread that digests, seals and writes it while the next
//! one fills. So a writer holds two blocks at most, and a network session and the disk work at the same time. The file is made
//! for the first of them: what fits into one block changes threads once.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::directory::DirectorySync;
use super::seal::{CHUNK, HEADER, SLOT, Sealer, TAG};
use super::{Prefix, SpoolError, create_file};

/// Chunks that go to the disk in one write; the first goes alone, so that of an ordinary mail not all is left for its end.
const BLOCK_CHUNKS: usize = 2;
const BLOCK: usize = BLOCK_CHUNKS * SLOT;

/// A document that is being written. Dropped before it finished, it leaves no file.
pub struct Writer {
    name: String,
    sync: Arc<DirectorySync>,
    stage: Stage,
    /// Chunks in plain, each full one with room for its tag behind it once there is more to come.
    block: Vec<u8>,
    written: u64,
    /// False while a write is under way: one that was broken off took an unknown part of its bytes.
    whole: bool,
}

/// What a document is known by when it is whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// Its name in the spool.
    pub name: String,
    /// Its length in bytes, unsealed.
    pub bytes: u64,
    /// SHA-256 of its bytes, unsealed.
    pub sha256: [u8; 32],
}

/// A document that is whole and on its way to the disk. Dropped before it is there, it leaves no file.
pub struct Sealing {
    /// What it will be.
    pub sealed: Sealed,
    file: JoinHandle<Result<Box<Output>, SpoolError>>,
    directory: oneshot::Receiver<Result<(), SpoolError>>,
}

impl Sealing {
    /// Returns when the document and its directory entry are on disk; from then on it stays.
    ///
    /// # Errors
    /// What the disk says; the document is then gone.
    pub async fn synced(self) -> Result<(), SpoolError> {
        let mut output = self.file.await.map_err(|_| SpoolError::Stopped)??;
        self.directory.await.map_err(|_| SpoolError::Stopped)??;
        output.kept = true;
        Ok(())
    }
}

impl Sealing {
    /// As [`Sealing::synced`], for a document that may still not be wanted: dropped before [`Resting::perhaps_named`], it is removed.
    ///
    /// # Errors
    /// What the disk says; the document is then gone.
    pub async fn rest(self) -> Result<Resting, SpoolError> {
        let mut output = self.file.await.map_err(|_| SpoolError::Stopped)??;
        self.directory.await.map_err(|_| SpoolError::Stopped)??;
        output.kept = true;
        Ok(Resting { sealed: self.sealed, path: std::mem::take(&mut output.path), kept: false })
    }
}

/// A document on disk that is whole, and that nobody has taken yet. It holds no file open.
#[derive(Debug)]
pub struct Resting {
    /// What it is known by.
    pub sealed: Sealed,
    path: PathBuf,
    kept: bool,
}

impl Resting {
    /// A row may come to name it: it stays, whatever becomes of who holds it. The search for orphans finds what no row names.
    #[must_use]
    pub fn perhaps_named(mut self) -> Self {
        self.kept = true;
        self
    }

    /// No row names it: dropped, it is removed.
    #[must_use]
    pub fn unnamed(mut self) -> Self {
        self.kept = false;
        self
    }
}

impl Drop for Resting {
    fn drop(&mut self) {
        if !self.kept {
            // As with an output that is dropped: the search for orphans finds what stays here.
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl std::fmt::Debug for Sealing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sealing").field("sealed", &self.sealed).finish_non_exhaustive()
    }
}

/// The sealing end: at rest, or at work on a block on another thread.
enum Stage {
    Idle(Pair),
    Busy(JoinHandle<Result<Pair, SpoolError>>),
    Lost,
}

/// The output and an empty block to fill next.
type Pair = (Box<Output>, Vec<u8>);

/// Dropped before it is kept, it removes its file, wherever that happens: on the thread that writes it, too, when the writer has
/// gone meanwhile.
struct Output {
    path: PathBuf,
    file: Option<File>,
    /// Until it is written.
    header: Option<[u8; HEADER]>,
    sealer: Sealer,
    kept: bool,
}

impl Output {
    /// Seals and writes a block; makes the file for the first one. Blocks.
    fn put(&mut self, block: &mut [u8], end: bool) -> Result<(), SpoolError> {
        self.sealer.seal(block, end)?;
        let header = self.header.take();
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(create_file(&self.path)?),
        };
        let written = match header {
            Some(header) => file.write_all(&header).and_then(|()| file.write_all(block)),
            None => file.write_all(block),
        };
        written.map_err(|error| SpoolError::io("write a document", &self.path, error))
    }

    /// Returns when the file is on disk. Blocks.
    fn sync(&mut self) -> Result<(), SpoolError> {
        match &self.file {
            Some(file) => {
                file.sync_data().map_err(|error| SpoolError::io("sync a document", &self.path, error))
            }
            None => Ok(()),
        }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if !self.kept && self.file.is_some() {
            // Nothing more can be done about a failure here; the search for orphans at the next start finds the file.
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Writer {
    pub(super) fn new(
        name: String,
        path: PathBuf,
        sync: Arc<DirectorySync>,
        (sealer, header): (Sealer, [u8; HEADER]),
    ) -> Self {
        let output = Output { path, file: None, header: Some(header), sealer, kept: false };
        let stage = Stage::Idle((Box::new(output), Vec::new()));
        Writer { name, sync, stage, block: Vec::new(), written: 0, whole: true }
    }

    /// One whose file is `file`, whatever that is.
    #[cfg(test)]
    pub(crate) fn into_file(mut self, file: File) -> Self {
        if let Stage::Idle((output, _)) = &mut self.stage {
            output.file = Some(file);
        }
        self
    }

    /// Adds bytes. They are in memory or on disk when it returns; safe they are only after [`Writer::finish`].
    ///
    /// # Errors
    /// What the disk says, perhaps about bytes of an earlier call, see [`SpoolError::is_full`]. The document is then lost.
    pub async fn write(&mut self, mut bytes: &[u8]) -> Result<(), SpoolError> {
        if !self.whole {
            return Err(SpoolError::BrokenOff);
        }
        self.whole = false;
        while !bytes.is_empty() {
            let in_chunk = self.block.len() % SLOT;
            if in_chunk == CHUNK {
                // Only now it is certain that this chunk is not the last one.
                self.block.resize(self.block.len() + TAG, 0);
                let full = if self.written <= CHUNK as u64 { SLOT } else { BLOCK };
                if self.block.len() >= full {
                    self.dispatch().await?;
                }
                continue;
            }
            let (now, later) = bytes.split_at(bytes.len().min(CHUNK - in_chunk));
            let full = if self.written < CHUNK as u64 { SLOT } else { BLOCK };
            if self.block.len() + now.len() > CHUNK / 4 && self.block.capacity() < full {
                // Once, and no more than needed: a vector that grows by doubling would take twice that.
                self.block.reserve_exact(full - self.block.len());
            }
            self.block.extend_from_slice(now);
            self.written += now.len() as u64;
            bytes = later;
        }
        self.whole = true;
        Ok(())
    }

    /// Seals the rest and returns when the document and its directory entry are on disk.
    ///
    /// # Errors
    /// What the disk says; the document is then gone.
    pub async fn finish(self) -> Result<Sealed, SpoolError> {
        let sealing = self.seal().await?;
        let sealed = sealing.sealed.clone();
        sealing.synced().await?;
        Ok(sealed)
    }

    /// Seals the rest. What comes back is on its way to the disk, and safe only when [`Sealing::synced`] says so.
    ///
    /// # Errors
    /// What the disk says; the document is then gone.
    pub async fn seal(mut self) -> Result<Sealing, SpoolError> {
        if !self.whole {
            return Err(SpoolError::BrokenOff);
        }
        let stage = std::mem::replace(&mut self.stage, Stage::Lost);
        let mut block = std::mem::take(&mut self.block);
        let runtime = Handle::current();
        let (written, whole) = oneshot::channel();
        let file = tokio::task::spawn_blocking(move || {
            // The block before this one is waited for here: its thread began earlier, so that it always ends.
            let mut output = match stage {
                Stage::Idle((output, _)) => output,
                Stage::Busy(work) => runtime.block_on(work).map_err(|_| SpoolError::Stopped)??.0,
                Stage::Lost => return Err(SpoolError::BrokenOff),
            };
            block.resize(block.len() + TAG, 0);
            output.put(&mut block, true)?;
            // Whoever has gone meanwhile needs no sync either.
            if written.send(output.sealer.digest()).is_ok() {
                output.sync()?;
            }
            Ok(output)
        });
        let Ok(sha256) = whole.await else {
            // It said so by going away: the error is in what it left.
            return Err(match file.await {
                Ok(Err(error)) => error,
                Ok(Ok(_)) | Err(_) => SpoolError::Stopped,
            });
        };
        let folder = self.folder();
        let sealed = Sealed { name: std::mem::take(&mut self.name), bytes: self.written, sha256 };
        // At the same time as the other: on a journalling file system they wait for the same commit.
        let directory = self.sync.begin(folder);
        Ok(Sealing { sealed, file, directory })
    }

    /// Bytes taken so far.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Sends the full block off, once the one before it is written.
    async fn dispatch(&mut self) -> Result<(), SpoolError> {
        let (mut output, spare) = self.idle().await?;
        let mut block = std::mem::replace(&mut self.block, spare);
        self.stage = Stage::Busy(tokio::task::spawn_blocking(move || {
            output.put(&mut block, false)?;
            block.clear();
            Ok((output, block))
        }));
        Ok(())
    }

    /// Takes the output when it is at rest. Broken off while it waits, nothing is lost.
    async fn idle(&mut self) -> Result<Pair, SpoolError> {
        if let Stage::Busy(work) = &mut self.stage {
            let done = work.await.map_err(|_| SpoolError::Stopped);
            self.stage = Stage::Lost;
            return done?;
        }
        match std::mem::replace(&mut self.stage, Stage::Lost) {
            Stage::Idle(pair) => Ok(pair),
            Stage::Busy(_) | Stage::Lost => Err(SpoolError::BrokenOff),
        }
    }

    fn folder(&self) -> Prefix {
        self.name.as_bytes().first_chunk().copied().unwrap_or_default()
    }
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer")
            .field("name", &self.name)
            .field("written", &self.written)
            .finish_non_exhaustive()
    }
}
