//! One document on its way out of the spool.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use tokio::task::JoinHandle;

use super::SpoolError;
use super::seal::{CHUNK, HEADER, Opener, SLOT};
use crate::vault::SealKey;

/// Chunks that are read at once.
const BLOCK_CHUNKS: u64 = 4;

/// A finished document, piece by piece. Each piece is proven when it comes; that the document is whole is proven by the end
/// only, so an error on the way means that nothing was read.
pub struct Reader {
    name: String,
    source: Source,
    ready: VecDeque<Bytes>,
}

/// The opening end: at rest, or at work on the next block on another thread.
enum Source {
    Idle(Box<Body>),
    Busy(JoinHandle<Result<Block, SpoolError>>),
    Lost,
}

/// The body behind a block, and the block's pieces.
type Block = (Box<Body>, VecDeque<Bytes>);

struct Body {
    name: String,
    path: PathBuf,
    file: File,
    opener: Opener,
    /// Sealed bytes not yet read. The file's length is taken once: whoever cuts or lengthens it is found out by the last
    /// chunk, which is sealed as the last.
    left: u64,
    /// The memory of the block before this one, for the next one if nobody has a piece of it any more.
    spare: BytesMut,
}

impl Reader {
    /// Blocks.
    pub(super) fn open(key: &SealKey, name: String, path: &Path) -> Result<Self, SpoolError> {
        let at = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => SpoolError::Missing { name: name.clone() },
            _ => SpoolError::io("open a document", path, source),
        };
        let mut file = File::open(path).map_err(at)?;
        let length = file.metadata().map_err(at)?.len();
        let left = length.checked_sub(HEADER as u64).ok_or_else(|| damaged(&name))?;
        let mut header = [0u8; HEADER];
        file.read_exact(&mut header).map_err(at)?;
        let opener = Opener::new(key, &header)?.ok_or_else(|| damaged(&name))?;
        if left == 0 {
            return Err(damaged(&name));
        }
        let body =
            Body { name: name.clone(), path: path.to_owned(), file, opener, left, spare: BytesMut::new() };
        Ok(Reader { name, source: Source::Idle(Box::new(body)), ready: VecDeque::new() })
    }

    /// The next piece, at most 64 KiB; `None` when the whole document has been read and proven.
    ///
    /// # Errors
    /// [`SpoolError::Damaged`], or what the disk says; then nothing more comes.
    pub async fn next(&mut self) -> Result<Option<Bytes>, SpoolError> {
        loop {
            if let Some(piece) = self.ready.pop_front() {
                return Ok(Some(piece));
            }
            match std::mem::replace(&mut self.source, Source::Lost) {
                Source::Idle(body) if body.left == 0 => {
                    self.source = Source::Idle(body);
                    return Ok(None);
                }
                Source::Idle(mut body) => {
                    self.source = Source::Busy(tokio::task::spawn_blocking(move || {
                        let ready = body.read()?;
                        Ok((body, ready))
                    }));
                }
                Source::Busy(work) => self.source = Source::Busy(work),
                Source::Lost => return Err(SpoolError::BrokenOff),
            }
            if let Source::Busy(work) = &mut self.source {
                let done = work.await.map_err(|_| SpoolError::Stopped);
                self.source = Source::Lost;
                let (body, ready) = done??;
                (self.source, self.ready) = (Source::Idle(body), ready);
            }
        }
    }

    /// The pieces as a stream, which ends after an error.
    pub fn into_stream(self) -> impl Stream<Item = Result<Bytes, SpoolError>> + Send + 'static {
        futures_util::stream::try_unfold(self, |mut reader| async move {
            Ok(reader.next().await?.map(|piece| (piece, reader)))
        })
    }

    /// The whole document, proven, if it has no more than `at_most` bytes.
    ///
    /// # Errors
    /// [`SpoolError::TooLarge`], and those of [`Reader::next`].
    pub async fn read_all(mut self, at_most: u64) -> Result<Vec<u8>, SpoolError> {
        let mut document = Vec::new();
        while let Some(piece) = self.next().await? {
            if (document.len() + piece.len()) as u64 > at_most {
                return Err(SpoolError::TooLarge { name: self.name, at_most });
            }
            document.extend_from_slice(&piece);
        }
        Ok(document)
    }
}

impl Body {
    /// Reads and opens the next block. Blocks.
    fn read(&mut self) -> Result<VecDeque<Bytes>, SpoolError> {
        let take = self.left.min(BLOCK_CHUNKS * SLOT as u64);
        self.left -= take;
        let length = usize::try_from(take).unwrap_or(usize::MAX);
        let mut block = std::mem::take(&mut self.spare);
        if !block.try_reclaim(length) {
            block = BytesMut::with_capacity(length);
        }
        block.resize(length, 0);
        self.file.read_exact(&mut block).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => damaged(&self.name),
            _ => SpoolError::io("read a document", &self.path, error),
        })?;
        let mut lengths = Vec::new();
        let mut slots = block.chunks_mut(SLOT).peekable();
        while let Some(slot) = slots.next() {
            let last = self.left == 0 && slots.peek().is_none();
            lengths.push(self.opener.open(slot, last).ok_or_else(|| damaged(&self.name))?);
        }
        let whole = block.split().freeze();
        self.spare = block;
        let pieces = lengths.iter().enumerate().filter(|(_, length)| **length > 0);
        Ok(pieces.map(|(nth, length)| whole.slice(nth * SLOT..nth * SLOT + (*length).min(CHUNK))).collect())
    }
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("name", &self.name).finish_non_exhaustive()
    }
}

fn damaged(name: &str) -> SpoolError {
    SpoolError::Damaged { what: format!("document {name}") }
}
