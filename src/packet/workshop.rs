//! The daemon's side of document work: a pool of child processes, one dialogue at a time with each.
//!
//! A document streams to its child and the finished PDF streams back; no whole document is ever in this process. A child
//! that is slow, crashes or goes over a limit is killed, and what it was working on gets an answer that says so. A child
//! serves `SERVED_AT_MOST` documents, fewer if it keeps memory, so that nothing in a reader can pile up for ever.

use std::fmt;
use std::future::Future;
use std::io;
use std::ops::Range;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::pin::pin;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use super::frames::{self, CHUNK};
use super::{Contents, Front, Input, Made, Rules};
use crate::addressing::Selection;

/// Documents after which a child is replaced.
const SERVED_AT_MOST: u32 = 50;
/// Memory a child may keep between documents, bytes.
const KEPT_AT_MOST: u64 = 128 << 20;
/// For the last words of a child and for its farewell between documents.
const PATIENCE: Duration = Duration::from_secs(5);

/// An error of the caller's own stream or sink, handed back as it came.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Where the bytes of a finished PDF go, chunk by chunk.
pub trait Sink: Send {
    /// Takes the next bytes.
    fn write(&mut self, bytes: &[u8]) -> impl Future<Output = Result<(), BoxError>> + Send;
}

impl Sink for Vec<u8> {
    async fn write(&mut self, bytes: &[u8]) -> Result<(), BoxError> {
        self.extend_from_slice(bytes);
        Ok(())
    }
}

/// Limits of the children.
#[derive(Debug, Clone)]
pub struct WorkshopLimits {
    /// Children at once; at least one.
    pub workers: usize,
    /// Address space of one child, bytes.
    pub memory: u64,
    /// Time a child may work on one submission, counted while somebody waits for it.
    pub time: Duration,
}

/// Why a document could not be worked on. `Display` is for the operator and names nothing of the document;
/// [`WorkshopError::sentence`] is for its sender.
#[derive(Debug, thiserror::Error)]
pub enum WorkshopError {
    /// The document cannot be made into the pages asked for.
    #[error("the documents cannot be made into the pages asked for")]
    Held {
        /// For the sender.
        sentence: String,
    },
    /// The child came to grief over it.
    #[error("the document worker {cause}")]
    Crashed {
        /// What is known of it.
        cause: String,
    },
    /// The child took longer than `limits.worker_time`.
    #[error("the document worker was killed after {0:?}, the longest it may take (limits.worker_time)")]
    TimedOut(Duration),
    /// Somebody ended the child from outside.
    #[error("the document worker was ended from outside (signal {signal})")]
    Ended {
        /// The signal.
        signal: i32,
    },
    /// No child could be started, or it did not answer as one.
    #[error("no document worker could be started: {0}")]
    Start(#[source] io::Error),
    /// The caller's document stream failed.
    #[error("the document could not be read from where it is kept: {0}")]
    Source(BoxError),
    /// The caller's sink failed.
    #[error("the finished PDF could not be put away: {0}")]
    Sink(BoxError),
}

impl WorkshopError {
    /// One sentence for the sender.
    #[must_use]
    pub fn sentence(&self) -> String {
        match self {
            WorkshopError::Held { sentence } => sentence.clone(),
            WorkshopError::Crashed { .. } => {
                "This document crashed the reader. Print it to a new PDF and send that.".into()
            }
            WorkshopError::TimedOut(_) => {
                "This document takes too long to read. Print it to a new PDF and send that.".into()
            }
            WorkshopError::Ended { .. }
            | WorkshopError::Start(_)
            | WorkshopError::Source(_)
            | WorkshopError::Sink(_) => {
                "The document could not be worked on for a reason that lies with us; it will be tried again."
                    .into()
            }
        }
    }

    /// Whether the cause lies with us or with this machine, so that trying again later makes sense and the packet need
    /// not be held.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        match self {
            WorkshopError::Held { .. } | WorkshopError::Crashed { .. } | WorkshopError::TimedOut(_) => false,
            WorkshopError::Ended { .. }
            | WorkshopError::Start(_)
            | WorkshopError::Source(_)
            | WorkshopError::Sink(_) => true,
        }
    }
}

/// The pool of children. Cheap to clone; children start when first needed.
#[derive(Clone)]
pub struct Workshop {
    shop: Arc<Shop>,
}

struct Shop {
    program: PathBuf,
    limits: WorkshopLimits,
    slots: Arc<Semaphore>,
    idle: Mutex<Vec<Worker>>,
}

impl fmt::Debug for Workshop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workshop").field("limits", &self.shop.limits).finish_non_exhaustive()
    }
}

impl Workshop {
    /// A pool that starts `program packet-worker` for each child. `/proc/self/exe` is a good program: it stays the one
    /// that runs when the file is replaced by an update.
    #[must_use]
    pub fn new(program: PathBuf, limits: WorkshopLimits) -> Self {
        let slots = Arc::new(Semaphore::new(limits.workers.max(1)));
        Workshop { shop: Arc::new(Shop { program, limits, slots, idle: Mutex::default() }) }
    }

    /// Gives a document to a child and learns what it holds. Waits while all children are busy.
    ///
    /// `bytes` says how long the document is going to be; it may be off, which only costs time.
    ///
    /// A document that cannot be faxed is not an error here: then [`Contents::hold`] says why.
    ///
    /// # Errors
    /// See [`WorkshopError`].
    pub async fn open<S, E>(
        &self,
        input: Input,
        bytes: u64,
        document: S,
        rules: &Rules,
    ) -> Result<Bench, WorkshopError>
    where
        S: Stream<Item = Result<Bytes, E>> + Send,
        E: Into<BoxError>,
    {
        self.open_all(vec![(input, bytes, document)], rules).await
    }

    /// The same with all documents of a submission, in the order in which their pages are to stand.
    ///
    /// # Errors
    /// See [`WorkshopError`].
    pub async fn open_all<S, E>(
        &self,
        given: Vec<(Input, u64, S)>,
        rules: &Rules,
    ) -> Result<Bench, WorkshopError>
    where
        S: Stream<Item = Result<Bytes, E>> + Send,
        E: Into<BoxError>,
    {
        let (mut documents, mut streams) = (Vec::new(), Vec::new());
        for (input, bytes, stream) in given {
            documents.push(frames::Incoming { input, bytes });
            streams.push(stream);
        }
        let slot = Arc::clone(&self.shop.slots).acquire_owned().await;
        let slot = slot.map_err(|_| WorkshopError::Start(io::Error::other("the workshop is closed")))?;
        let worker = match self.shop.pop() {
            Some(worker) => worker,
            None => self.shop.start().map_err(WorkshopError::Start)?,
        };
        let mut bench = Bench {
            shop: Arc::clone(&self.shop),
            slot: Some(slot),
            worker: Some(worker),
            contents: Contents::default(),
            left: self.shop.limits.time,
        };
        let request = frames::Open { documents, rules: rules.clone() };
        bench.contents = bench
            .dialogue(async |worker| {
                worker.say(frames::OPEN, &request).await?;
                for stream in streams {
                    let mut document = pin!(stream);
                    while let Some(bytes) = document.next().await {
                        let bytes = bytes.map_err(|error| ExchangeError::Source(error.into()))?;
                        for chunk in bytes.chunks(CHUNK) {
                            worker.write(frames::DATA, chunk).await?;
                        }
                    }
                    worker.write(frames::END, b"").await?;
                }
                worker.answer(frames::CONTENTS).await
            })
            .await?;
        Ok(bench)
    }
}

impl Shop {
    fn pop(&self) -> Option<Worker> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn start(&self) -> io::Result<Worker> {
        // A backstop for a child whose parent was killed; the parent itself counts seconds per document.
        let cpu = self.limits.time.as_secs().saturating_add(1).saturating_mul(u64::from(SERVED_AT_MOST));
        let mut process = Command::new(&self.program)
            .arg("packet-worker")
            .arg(self.limits.memory.to_string())
            .arg(cpu.to_string())
            .env_clear()
            // glibc: one arena, and every large buffer goes back to the system when it is freed.
            .env("MALLOC_ARENA_MAX", "1")
            .env("MALLOC_MMAP_THRESHOLD_", "1048576")
            .env("MALLOC_TRIM_THRESHOLD_", "1048576")
            .current_dir("/")
            // Ctrl-C at a terminal is for the daemon, which drains; a child that died of it would spoil that.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let lost = || io::Error::other("the child came without its pipes");
        Ok(Worker {
            input: process.stdin.take().ok_or_else(lost)?,
            output: BufReader::new(process.stdout.take().ok_or_else(lost)?),
            last_words: process.stderr.take().ok_or_else(lost)?,
            process,
            served: 0,
        })
    }
}

/// An opened document in its child. Dropping it makes the child forget the document and gives it back to the pool.
pub struct Bench {
    shop: Arc<Shop>,
    slot: Option<OwnedSemaphorePermit>,
    /// Not here while a dialogue runs, so that one that is dropped half-way takes the child with it.
    worker: Option<Worker>,
    contents: Contents,
    left: Duration,
}

impl fmt::Debug for Bench {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bench").finish_non_exhaustive()
    }
}

impl Bench {
    /// What the document holds.
    #[must_use]
    pub fn contents(&self) -> &Contents {
        &self.contents
    }

    /// Makes a whole container: what stands in `front`, then the selected pages. May be called several times.
    ///
    /// The PDF is checked before its first byte goes to `sink`.
    ///
    /// # Errors
    /// See [`WorkshopError`]. After anything but `Held` this bench is of no more use.
    pub async fn make(
        &mut self,
        front: Front<'_>,
        selection: Option<&Selection>,
        sink: &mut impl Sink,
    ) -> Result<Made, WorkshopError> {
        let request = frames::Make { selection: selection.cloned() };
        self.dialogue(async |worker| {
            worker.show(front).await?;
            worker.say(frames::MAKE, &request).await?;
            parse(&worker.carry(sink, frames::MADE).await?)
        })
        .await
    }

    /// Makes the selected pages for several faxes, each of which then gets a front of its own ([`Bench::front`]).
    ///
    /// # Errors
    /// See [`WorkshopError`]. After anything but `Held` this bench is of no more use.
    pub async fn pages(
        &mut self,
        selection: Option<&Selection>,
        sink: &mut impl Sink,
    ) -> Result<(), WorkshopError> {
        let request = frames::Make { selection: selection.cloned() };
        self.dialogue(async |worker| {
            worker.say(frames::PAGES, &request).await?;
            worker.carry(sink, frames::DONE).await.map(drop)
        })
        .await
    }

    /// Makes what one fax has before and behind the pages made last. The container that the two are is checked before the first byte
    /// goes to `sink`, and [`Made::container`] is what it measures.
    ///
    /// # Errors
    /// See [`WorkshopError`]. After anything but `Held` this bench is of no more use.
    pub async fn front(&mut self, front: Front<'_>, sink: &mut impl Sink) -> Result<Made, WorkshopError> {
        // Sixty covers are not the document's doing: its time is not spent on them.
        let left = std::mem::replace(&mut self.left, self.shop.limits.time);
        let made = self.dialogue(async |worker| {
            worker.show(front).await?;
            worker.write(frames::FRONT, b"").await?;
            parse(&worker.carry(sink, frames::MADE).await?)
        });
        let made = made.await;
        self.left = left;
        made
    }

    /// PNG pictures of pages of the PDF made last; `pages` counts from 0, cover included.
    ///
    /// # Errors
    /// See [`WorkshopError`]. After anything but `Held` this bench is of no more use.
    pub async fn pictures(&mut self, pages: Range<u32>, dpi: u32) -> Result<Vec<Vec<u8>>, WorkshopError> {
        let request = frames::Pictures { first: pages.start, after_last: pages.end, dpi };
        self.dialogue(async |worker| {
            worker.say(frames::PICTURES, &request).await?;
            let mut pictures = Vec::new();
            let mut picture = Vec::new();
            loop {
                match worker.read().await? {
                    (frames::DATA, mut chunk) => picture.append(&mut chunk),
                    (frames::END, _) => pictures.push(std::mem::take(&mut picture)),
                    (frames::DONE, _) => return Ok(pictures),
                    other => return Err(unexpected(other)),
                }
            }
        })
        .await
    }

    /// Runs one exchange with the child against what is left of its time. On any trouble but a verdict the child is gone.
    async fn dialogue<T>(
        &mut self,
        exchange: impl AsyncFnOnce(&mut Worker) -> Result<T, ExchangeError>,
    ) -> Result<T, WorkshopError> {
        let Some(mut worker) = self.worker.take() else {
            return Err(WorkshopError::Start(io::Error::other("its child is gone after an earlier error")));
        };
        let began = Instant::now();
        let result = timeout(self.left, exchange(&mut worker)).await;
        self.left = self.left.saturating_sub(began.elapsed());
        match result {
            Err(_) => Err(WorkshopError::TimedOut(self.shop.limits.time)),
            Ok(Err(ExchangeError::Held(sentence))) => {
                self.worker = Some(worker);
                Err(WorkshopError::Held { sentence })
            }
            Ok(Err(ExchangeError::Source(error))) => Err(WorkshopError::Source(error)),
            Ok(Err(ExchangeError::Sink(error))) => Err(WorkshopError::Sink(error)),
            Ok(Err(ExchangeError::Crashed)) => {
                Err(WorkshopError::Crashed { cause: "panicked over the document".into() })
            }
            Ok(Err(ExchangeError::Pipe(error))) => Err(worker.post_mortem(error).await),
            Ok(Ok(value)) => {
                self.worker = Some(worker);
                Ok(value)
            }
        }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let (Some(mut worker), Some(slot)) = (self.worker.take(), self.slot.take()) else { return };
        // Without a runtime to wait in, dropping the worker kills it, which forgets the document too.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let shop = Arc::clone(&self.shop);
        runtime.spawn(async move {
            let closed = timeout(PATIENCE, async {
                worker.write(frames::CLOSE, b"").await?;
                worker.answer::<frames::Closed>(frames::CLOSED).await
            });
            if let Ok(Ok(closed)) = closed.await {
                worker.served += 1;
                // The last bytes of the finished PDF are in that buffer still.
                worker.output = BufReader::new(worker.output.into_inner());
                if worker.served < SERVED_AT_MOST && closed.resident < KEPT_AT_MOST {
                    shop.idle.lock().unwrap_or_else(PoisonError::into_inner).push(worker);
                }
            }
            drop(slot);
        });
    }
}

/// A child process and the ends of its pipes.
struct Worker {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    last_words: ChildStderr,
    served: u32,
}

/// What can go wrong in a dialogue.
enum ExchangeError {
    Held(String),
    Crashed,
    Pipe(io::Error),
    Source(BoxError),
    Sink(BoxError),
}

impl From<io::Error> for ExchangeError {
    fn from(error: io::Error) -> Self {
        ExchangeError::Pipe(error)
    }
}

impl Worker {
    async fn write(&mut self, kind: u8, body: &[u8]) -> io::Result<()> {
        self.input.write_all(&frames::head(kind, body.len())?).await?;
        self.input.write_all(body).await
    }

    async fn say(&mut self, kind: u8, message: &impl Serialize) -> io::Result<()> {
        let body = serde_json::to_vec(message)?;
        self.write(kind, &body).await
    }

    /// What stands in front of the documents.
    async fn show(&mut self, front: Front<'_>) -> io::Result<()> {
        for (kind, pdf) in [(frames::COVER, front.cover), (frames::BODY, front.body)] {
            if let Some(pdf) = pdf {
                self.write(kind, pdf).await?;
            }
        }
        Ok(())
    }

    /// Hands what the child makes to `sink`; returns the body of the frame that ends it.
    async fn carry(&mut self, sink: &mut impl Sink, end: u8) -> Result<Vec<u8>, ExchangeError> {
        // One buffer for all frames.
        let mut body = Vec::new();
        loop {
            match self.read_into(&mut body).await? {
                frames::DATA => sink.write(&body).await.map_err(ExchangeError::Sink)?,
                kind if kind == end => return Ok(body),
                kind => return Err(unexpected((kind, body))),
            }
        }
    }

    async fn read(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let mut body = Vec::new();
        Ok((self.read_into(&mut body).await?, body))
    }

    /// Reads the next frame into `body`; returns its kind.
    async fn read_into(&mut self, body: &mut Vec<u8>) -> io::Result<u8> {
        let mut head = [0; frames::HEAD];
        self.output.read_exact(&mut head).await?;
        let (kind, length) = frames::unhead(head)?;
        body.resize(length, 0);
        self.output.read_exact(body).await?;
        Ok(kind)
    }

    async fn answer<T: DeserializeOwned>(&mut self, expected: u8) -> Result<T, ExchangeError> {
        match self.read().await? {
            (kind, body) if kind == expected => parse(&body),
            other => Err(unexpected(other)),
        }
    }

    /// What became of a child whose pipe broke.
    async fn post_mortem(mut self, error: io::Error) -> WorkshopError {
        let Ok(Ok(status)) = timeout(PATIENCE, self.process.wait()).await else {
            return WorkshopError::Crashed { cause: format!("does not answer as it should: {error}") };
        };
        let mut words = vec![0; 4096];
        let read = timeout(PATIENCE, self.last_words.read(&mut words)).await;
        words.truncate(read.ok().and_then(Result::ok).unwrap_or(0));
        // The allocator's and the stack guard's messages, the only ones there can be, hold nothing of a document.
        let said = |text: &str| memchr::memmem::find(&words, text.as_bytes()).is_some();
        match (status.signal(), status.code()) {
            (_, Some(2 | 3)) => WorkshopError::Start(io::Error::other("it does not take its limits")),
            (Some(1 | 2 | 9 | 15), _) => WorkshopError::Ended { signal: status.signal().unwrap_or(0) },
            _ if said("memory allocation") => {
                WorkshopError::Crashed { cause: "went over its memory limit (limits.worker_memory)".into() }
            }
            _ if said("overflowed its stack") => {
                WorkshopError::Crashed { cause: "ran out of stack over the document".into() }
            }
            _ => WorkshopError::Crashed { cause: format!("ended early: {status}") },
        }
    }
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, ExchangeError> {
    serde_json::from_slice(body).map_err(|error| ExchangeError::Pipe(error.into()))
}

fn unexpected((kind, body): (u8, Vec<u8>)) -> ExchangeError {
    match kind {
        frames::HELD => ExchangeError::Held(String::from_utf8_lossy(&body).into_owned()),
        frames::CRASHED => ExchangeError::Crashed,
        _ => ExchangeError::Pipe(io::Error::new(io::ErrorKind::InvalidData, "an answer out of step")),
    }
}
