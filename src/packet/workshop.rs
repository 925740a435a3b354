//! The daemon's side of document work: a pool of child processes, one dialogue at a time with each.

use std::future::Future;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;

use super::{Contents, Input, Made, Rules, Selection};

/// An error of the caller's own stream or sink, handed back as it came.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Where the bytes of a finished PDF go, chunk by chunk.
pub trait Sink: Send {
    /// Takes the next bytes.
    fn write(&mut self, bytes: &[u8]) -> impl Future<Output = Result<(), BoxError>> + Send;
}

/// Limits of the children.
#[derive(Debug, Clone)]
pub struct WorkshopLimits {
    /// Children at once.
    pub workers: usize,
    /// Address space of one child, bytes.
    pub memory: u64,
    /// Time a child may work on one submission.
    pub time: Duration,
}

/// Why a document could not be worked on.
#[derive(Debug, thiserror::Error)]
pub enum WorkshopError {
    /// The document, not the work, is at fault.
    #[error("the documents cannot be made into the pages asked for")]
    Held {
        /// For the sender.
        sentence: String,
    },
}

impl WorkshopError {
    /// One sentence for the sender.
    #[must_use]
    pub fn sentence(&self) -> String {
        String::new()
    }

    /// Whether the cause lies with us or with this machine, so that trying again later makes sense and the packet need
    /// not be held.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        false
    }
}

/// The pool of children. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Workshop;

impl Workshop {
    /// A pool that starts `program packet-worker` for each child.
    #[must_use]
    pub fn new(_program: PathBuf, _limits: WorkshopLimits) -> Self {
        Workshop
    }

    /// Gives a document to a child and learns what it holds.
    ///
    /// # Errors
    /// See [`WorkshopError`].
    pub async fn open<S, E>(
        &self,
        _input: Input,
        _document: S,
        _rules: &Rules,
    ) -> Result<Bench, WorkshopError>
    where
        S: Stream<Item = Result<Bytes, E>> + Send,
        E: Into<BoxError>,
    {
        Err(WorkshopError::Held { sentence: "to come".into() })
    }
}

/// An opened document in its child. Dropping it gives the child back.
#[derive(Debug)]
pub struct Bench;

impl Bench {
    /// What the document holds.
    #[must_use]
    pub fn contents(&self) -> &Contents {
        unreachable!()
    }

    /// Makes the final PDF: `cover_pdf` in front (until `cover::Sheet` is there to be drawn in the child), then the
    /// selected pages. May be called several times, with other covers.
    ///
    /// # Errors
    /// See [`WorkshopError`].
    pub async fn make(
        &mut self,
        _cover_pdf: &[u8],
        _selection: Option<&Selection>,
        _sink: &mut impl Sink,
    ) -> Result<Made, WorkshopError> {
        Err(WorkshopError::Held { sentence: "to come".into() })
    }

    /// PNG pictures of pages of the PDF made last; `pages` counts from 0, cover included.
    ///
    /// # Errors
    /// See [`WorkshopError`].
    pub async fn pictures(&mut self, _pages: Range<u32>, _dpi: u32) -> Result<Vec<Vec<u8>>, WorkshopError> {
        Err(WorkshopError::Held { sentence: "to come".into() })
    }
}
