//! Threads for what can wait.
//!
//! A client waits for the answer to its mail or file; nobody waits for the moment in which the document is opened and its
//! cover drawn, and that work takes several times as long. On threads of the same rank it took the processors from the
//! sessions: a client that sends one mail after the other got 60 answered a second in place of 300. So it is done on threads
//! (and by child processes, which inherit that from them) that the system lets run when no session wants to.

use std::io;

use tokio::runtime::{Builder, Handle, Runtime};

use crate::process::wipe_stack;

/// "Nice" value: a processor that both want goes to the sessions for nine tenths of the time. Never all of it, so that
/// documents go on being prepared under any load.
const NICE: i32 = 10;
/// Threads for files and covers.
const BLOCKING: usize = 32;

/// A runtime of its own. Dropping it aborts what still runs there.
#[derive(Debug)]
pub(super) struct Backstage {
    handle: Handle,
    runtime: Option<Runtime>,
}

impl Backstage {
    pub(super) fn open() -> io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .thread_name("backstage")
            .max_blocking_threads(BLOCKING)
            .on_thread_start(step_back)
            .on_thread_park(wipe_stack)
            .on_thread_stop(wipe_stack)
            .enable_all()
            .build()?;
        Ok(Backstage { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }

    /// Where to spawn.
    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for Backstage {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Not the plain drop: that waits, which is forbidden on a thread of another runtime.
            runtime.shutdown_background();
        }
    }
}

fn step_back() {
    // On Linux the calling thread's alone. Where it is not allowed, all work has one rank, as without it.
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        tracing::debug!("a thread for what can wait keeps its rank: {error}");
    }
}
