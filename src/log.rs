//! The log: whoever logs hands a line over, and a thread of its own writes it.
//!
//! A fax must not wait for a log, and must not end with it. So handing a line over neither blocks nor fails: there is room for
//! `ROOM` bytes, and what finds none is counted and left out. The thread writes to standard error and may be kept there for
//! as long as nobody reads (a full pipe), or be refused (no reader any more, a full disk): then the lines are lost and counted
//! too. Once lines can be written again, the log itself says in that place how many are missing. [`trouble`] tells for the
//! alarm while that is not said yet.
//!
//! Nothing in here prints: the standard library's printing macros panic where standard error cannot be written, and hold its
//! lock while it blocks. At the end of the process [`flush`] gives what is waiting a moment to leave.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::SubscriberInitExt;

use crate::clock::{Clock, SystemClock};
use crate::config::{LogFormat, Telemetry};

/// Bytes of lines that may wait: some thousands of lines, for a reader that is slow for a moment.
const ROOM: usize = 1 << 20;
/// Where lines were lost, it is tried this often whether that can be said.
const AGAIN: Duration = Duration::from_secs(1);
/// Between two tries to write to what does not want to be waited for (a descriptor that somebody made non-blocking).
const PAUSE: Duration = Duration::from_millis(20);
/// What waits at the end of the process has this long to be written.
const FAREWELL: Duration = Duration::from_secs(2);
/// What the IMAP client logs of itself are whole commands and answers: passwords, tokens, mails.
const QUIET: [&str; 2] = ["async_imap=warn", "async_imap::imap_stream=warn"];

/// The log of this process, once it has one.
static LOG: OnceLock<Log> = OnceLock::new();

/// Told when the first line is lost.
static LOST: Notify = Notify::const_new();

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Its filter is none.
    #[error("telemetry.log: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// No thread, or no descriptor, to write it with.
    #[error("the log cannot be begun: {0}")]
    Thread(#[from] io::Error),
    /// There is one already.
    #[error("the log was begun before")]
    Begun,
}

/// Begins the log of this process, on standard error.
///
/// # Errors
/// Where its filter is none, or it was begun before.
pub fn start(telemetry: &Telemetry) -> Result<(), LogError> {
    let mut filter = EnvFilter::try_new(&telemetry.log)?;
    for quiet in QUIET {
        filter = filter.add_directive(quiet.parse()?);
    }
    // Not the library's handle, whose lock would be held for as long as a write is.
    let stderr = File::from(io::stderr().as_fd().try_clone_to_owned()?);
    let log = Log::to(stderr, telemetry.format)?;
    LOG.set(log.clone()).map_err(|_| LogError::Begun)?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).log_internal_errors(false).with_writer(log);
    // Takes what libraries log by way of the `log` crate along.
    let begun = match telemetry.format {
        LogFormat::Text => lines.with_ansi(false).finish().try_init(),
        LogFormat::Json => lines.json().finish().try_init(),
    };
    begun.map_err(|_| LogError::Begun)?;
    log_panics();
    Ok(())
}

/// What is wrong with the log at this moment, for the operator: lines were lost, and that could not be said yet.
#[must_use]
pub fn trouble() -> Option<String> {
    LOG.get().and_then(Log::trouble)
}

/// Waits until the first line after those that were told of is lost; a loss while nobody waited is kept.
pub async fn lost() {
    LOST.notified().await;
}

/// Gives what was logged a moment to be written, at the end of the process.
pub fn flush() {
    if let Some(log) = LOG.get() {
        log.flush(FAREWELL);
    }
}

/// Says `sentence` on standard error, in the log's turn where there is a log. Nobody may be there to read it, which is no
/// failure.
pub fn last_words(sentence: &str) {
    let line = format!("{sentence}\n").into_bytes();
    match LOG.get() {
        Some(log) => {
            log.hand_over(line);
            log.flush(FAREWELL);
        }
        None => drop(io::stderr().write_all(&line)),
    }
}

/// A failed task is a line of the log. Its words are left out where they were made for the occasion: then they may quote the
/// document that was worked on.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map_or_else(String::new, ToString::to_string);
        let thread = thread::current();
        let thread = thread.name().unwrap_or("?");
        let words = panic.payload().downcast_ref::<&'static str>().copied();
        tracing::error!("thread {thread} failed at {place}: {}", words.unwrap_or("(words left out)"));
    }));
}

/// A log at work: cheap to clone.
#[derive(Debug, Clone)]
struct Log {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// Told when there is something to write.
    handed_over: Condvar,
    /// Told when there is nothing left to write.
    written: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Entry>,
    /// Of the lines that wait.
    bytes: usize,
    /// Lines that found no room since the last one that did.
    left_out: u64,
    /// Whether the thread has something in hand.
    busy: bool,
    /// Lines that were lost in whatever way, and of which the log does not tell yet.
    untold: u64,
    /// Why a line could not be written.
    error: Option<String>,
}

#[derive(Debug)]
enum Entry {
    Line(Vec<u8>),
    /// In this place so many lines are missing.
    Gap(u64),
}

impl State {
    fn lose(&mut self) {
        if self.untold == 0 {
            LOST.notify_one();
        }
        self.untold = self.untold.saturating_add(1);
    }
}

impl Log {
    /// Begins a log that is written to `sink`.
    fn to(sink: impl Write + Send + 'static, format: LogFormat) -> io::Result<Log> {
        let log = Log { shared: Arc::default() };
        let writer = Writer { shared: Arc::clone(&log.shared), sink, format, lost: 0, torn: false };
        // Ends with the process.
        thread::Builder::new().name("log".into()).spawn(move || writer.write_for_ever())?;
        Ok(log)
    }

    fn hand_over(&self, line: Vec<u8>) {
        let mut state = self.shared.lock();
        if state.bytes.saturating_add(line.len()) > ROOM {
            state.left_out = state.left_out.saturating_add(1);
            state.lose();
            return;
        }
        if state.left_out > 0 {
            let gap = std::mem::take(&mut state.left_out);
            state.waiting.push_back(Entry::Gap(gap));
        }
        state.bytes += line.len();
        state.waiting.push_back(Entry::Line(line));
        drop(state);
        self.shared.handed_over.notify_one();
    }

    fn trouble(&self) -> Option<String> {
        let state = self.shared.lock();
        if state.untold == 0 {
            return None;
        }
        Some(match &state.error {
            Some(error) => format!(
                "lines of the log are lost, since it cannot be written ({error}): see who reads standard error, and whether the \
                 log's disk is full; where its reader is gone, only a restart of faxbridge gives it a new one"
            ),
            None => "lines of the log are lost, since whoever reads standard error does not keep up, or stands still".to_owned(),
        })
    }

    fn flush(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        let mut state = self.shared.lock();
        while state.busy || !state.waiting.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let waited = self.shared.written.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = &'a Log;

    fn make_writer(&'a self) -> &'a Log {
        self
    }
}

/// One call for each line, as the formatter does it.
impl Write for &Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.hand_over(line.to_vec());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the next entry; with `impatient`, for a moment only.
    fn next(&self, impatient: bool) -> Option<Entry> {
        let mut state = self.lock();
        state.busy = false;
        loop {
            let entry = state.waiting.pop_front();
            let entry = entry.or_else(|| match std::mem::take(&mut state.left_out) {
                0 => None,
                gap => Some(Entry::Gap(gap)),
            });
            if let Some(entry) = entry {
                if let Entry::Line(line) = &entry {
                    state.bytes = state.bytes.saturating_sub(line.len());
                }
                state.busy = true;
                return Some(entry);
            }
            self.written.notify_all();
            if !impatient {
                state = self.handed_over.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let waited = self.handed_over.wait_timeout(state, AGAIN).unwrap_or_else(PoisonError::into_inner);
            state = waited.0;
            if waited.1.timed_out() && state.waiting.is_empty() {
                state.busy = true;
                return None;
            }
        }
    }
}

/// What the thread has.
struct Writer<W> {
    shared: Arc<Shared>,
    sink: W,
    format: LogFormat,
    /// Lines that are missing before the next one.
    lost: u64,
    /// Whether the last line that was written lacks its end.
    torn: bool,
}

impl<W: Write> Writer<W> {
    fn write_for_ever(mut self) {
        loop {
            let entry = self.shared.next(self.lost > 0);
            let line = match entry {
                Some(Entry::Gap(lines)) => {
                    self.lost = self.lost.saturating_add(lines);
                    None
                }
                Some(Entry::Line(line)) => Some(line),
                None => None,
            };
            let told = self.tell_gap();
            let Some(line) = line else { continue };
            // Behind a gap that cannot be told nothing is written.
            if let Err(error) = told.and_then(|()| self.put(&line)) {
                self.lost = self.lost.saturating_add(1);
                let mut state = self.shared.lock();
                state.lose();
                state.error = Some(error.to_string());
            }
        }
    }

    /// Says how many lines are missing in this place, where any are.
    fn tell_gap(&mut self) -> io::Result<()> {
        if self.lost == 0 {
            return Ok(());
        }
        let said = self.put(&gap_line(self.lost, self.format));
        let mut state = self.shared.lock();
        match &said {
            Ok(()) => {
                state.untold = state.untold.saturating_sub(self.lost);
                state.error = None;
                self.lost = 0;
            }
            Err(error) => state.error = Some(error.to_string()),
        }
        said
    }

    fn put(&mut self, line: &[u8]) -> io::Result<()> {
        if self.torn {
            self.put_bytes(b"\n")?;
            self.torn = false;
        }
        self.put_bytes(line)
    }

    fn put_bytes(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.sink.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    bytes = bytes.get(n..).unwrap_or_default();
                    self.torn = !bytes.is_empty();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(PAUSE),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// A line as the formatter would have written it.
fn gap_line(lost: u64, format: LogFormat) -> Vec<u8> {
    let now = SystemClock.now();
    let lines = if lost == 1 { "1 line".to_owned() } else { format!("{lost} lines") };
    let message = format!("{lines} of this log could not be written and are lost");
    let target = module_path!();
    match format {
        LogFormat::Text => format!("{now:.6}  WARN {target}: {message} lost={lost}\n").into_bytes(),
        LogFormat::Json => {
            let fields = serde_json::json!({"message": message, "lost": lost});
            let line = serde_json::json!({"timestamp": format!("{now:.6}"), "level": "WARN", "fields": fields, "target": target});
            format!("{line}\n").into_bytes()
        }
    }
}

#[cfg(test)]
mod tests;
