//! A thread for the file operations of one folder.
//!
//! A network file system that hangs keeps a thread for as long as it likes. One of its own is all that it gets: nobody else
//! waits for it, and neither does the end of the process, which would wait for a thread that the runtime lent.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};

use tokio::sync::oneshot;

type Work = Box<dyn FnOnce() + Send>;

/// See the module. It ends when this is dropped and its last work is done.
#[derive(Debug)]
pub struct FileThread {
    works: Sender<Work>,
    waiting: Arc<AtomicUsize>,
}

impl FileThread {
    /// Starts it.
    ///
    /// # Errors
    /// Where the system gives no thread.
    pub fn start() -> io::Result<FileThread> {
        let (works, queue) = channel::<Work>();
        let waiting = Arc::new(AtomicUsize::new(0));
        let done = Arc::clone(&waiting);
        std::thread::Builder::new().name("folder".into()).spawn(move || {
            for work in queue {
                work();
                done.fetch_sub(1, Ordering::Relaxed);
            }
        })?;
        Ok(FileThread { works, waiting })
    }

    /// Whether it has nothing to do. Work that nobody waits for any more counts: it may hang.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) == 0
    }

    /// Runs `work` there, after what was asked for before.
    ///
    /// # Errors
    /// Those of `work`.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let (answer, answered) = oneshot::channel();
        let work = Box::new(move || {
            // Who asked may have gone.
            let _ = answer.send(work());
        });
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let ended = || io::Error::other("the thread for this folder has ended");
        self.works.send(work).map_err(|_| ended())?;
        answered.await.map_err(|_| ended())?
    }
}
