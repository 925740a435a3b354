//! One document on its way into the spool.
//!
//! Bytes gather in a block of a few chunks; a full block goes to a thread that digests, seals and writes it while the next
//! one fills. So a writer holds two blocks at most, and a network session and the disk work at the same time. The file is made
//! for the first of them: what fits into one block changes threads once.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::directory::DirectorySync;
use super::seal::{CHUNK, HEADER, SLOT, Sealer, TAG};
use super::{Prefix, SpoolError, blocking, create_file};

/// Chunks that go to the disk in one write.
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

/// What finished: a document that survives a power cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// Its name in the spool.
    pub name: String,
    /// Its length in bytes, unsealed.
    pub bytes: u64,
    /// SHA-256 of its bytes, unsealed.
    pub sha256: [u8; 32],
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
    /// Makes the file where there is none yet. Blocks.
    fn begin(&mut self) -> Result<&mut File, SpoolError> {
        match &mut self.file {
            Some(file) => Ok(file),
            none => Ok(none.insert(create_file(&self.path)?)),
        }
    }

    /// Seals and writes a block. Blocks.
    fn put(&mut self, block: &mut [u8], end: bool) -> Result<(), SpoolError> {
        self.sealer.seal(block, end)?;
        let header = self.header.take();
        let file = self.begin()?;
        let written = match header {
            Some(header) => file.write_all(&header).and_then(|()| file.write_all(block)),
            None => file.write_all(block),
        };
        written.map_err(|error| SpoolError::io("write a document", &self.path, error))
    }

    /// Seals and writes the last block, and returns when the file is on disk. Blocks.
    fn end(&mut self, block: &mut [u8]) -> Result<[u8; 32], SpoolError> {
        self.put(block, true)?;
        if let Some(file) = &self.file {
            file.sync_data().map_err(|error| SpoolError::io("sync a document", &self.path, error))?;
        }
        Ok(self.sealer.digest())
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
    pub(super) fn into_file(mut self, file: File) -> Self {
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
                if self.block.len() >= BLOCK {
                    self.dispatch().await?;
                }
                continue;
            }
            let (now, later) = bytes.split_at(bytes.len().min(CHUNK - in_chunk));
            if self.block.len() + now.len() > CHUNK / 4 && self.block.capacity() < BLOCK {
                // Once, and no more than needed: a vector that grows by doubling would take twice that.
                self.block.reserve_exact(BLOCK - self.block.len());
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
    pub async fn finish(mut self) -> Result<Sealed, SpoolError> {
        if !self.whole {
            return Err(SpoolError::BrokenOff);
        }
        let (mut output, _) = self.idle().await?;
        let mut block = std::mem::take(&mut self.block);
        let folder = self.folder();
        let (done, waiter) = oneshot::channel();
        let sealed = blocking(move || {
            block.resize(block.len() + TAG, 0);
            output.begin()?;
            let _ = done.send(());
            let sha256 = output.end(&mut block)?;
            Ok((output, sha256))
        });
        let directory = async {
            // A directory is synced for an entry that is there. Where none could be made, that error is told.
            match waiter.await {
                Ok(()) => self.sync.sync(folder).await,
                Err(_) => Ok(()),
            }
        };
        // Both at once: on a journalling file system they wait for the same commit.
        let ((mut output, sha256), ()) = tokio::try_join!(sealed, directory)?;
        output.kept = true;
        Ok(Sealed { name: self.name, bytes: self.written, sha256 })
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
