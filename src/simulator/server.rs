//! The simulator: a fax provider's HTTP API that dials nobody.
//!
//! It has an API of its own (`simulator::face::own`) and the faces of real providers
//! (`simulator::face`). `GET /v1/numbers`, which needs no token, tells what happens to which number
//! ([`super::script`]). The same reference sent twice is two faxes: like every provider we know, it
//! has no idempotency. What it must never see (two calls to one number at once, a wrong page count)
//! it notes as a [`Violation`].

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::get;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;
use zeroize::Zeroizing;

pub use super::book::{Fax, Violation};
pub use super::face::Face;
pub use super::script::{Chaos, Quirks};

use super::book::Book;
use super::face;
use super::line::{Cut, Lines};
use super::office::Office;
use super::print::Records;
use super::script;
use super::webhook::Reporter;
use crate::clock::{SharedClock, SystemClock};
use crate::job;

/// How a simulator is to behave.
#[derive(Clone)]
pub struct Options {
    /// Where to listen; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// The record folder; made if missing.
    pub record: PathBuf,
    /// What clients must show.
    pub token: Zeroizing<String>,
    /// Under what webhooks are signed.
    pub webhook_key: Zeroizing<Vec<u8>>,
    /// How long a call lasts.
    pub call_time: Duration,
    /// How long "later than the client waits" is.
    pub late_by: Duration,
    /// Pause before a webhook that was not taken is sent again; it doubles.
    pub webhook_pause: Duration,
    /// Printed pages stay when the client deletes its copy.
    pub keep: bool,
    /// Answers in a second at most; without, as many as it can give.
    pub per_second: Option<u32>,
    /// Faxes kept in memory.
    pub remember: usize,
    /// Where faxes of the InterFAX face are reported. That provider takes no URL with an order; its
    /// panel has one for all.
    pub interfax_callback: Option<String>,
    /// Misbehaviour by chance.
    pub chaos: Option<Chaos>,
    /// How it differs from what is expected.
    pub quirks: Quirks,
    /// Whom to ask for the time.
    pub clock: SharedClock,
}

impl Options {
    /// A well-behaved simulator on a free port of this machine.
    #[must_use]
    pub fn new(record: PathBuf, token: &str, webhook_key: &[u8]) -> Self {
        Options {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            record,
            token: Zeroizing::new(token.to_owned()),
            webhook_key: Zeroizing::new(webhook_key.to_vec()),
            call_time: Duration::from_secs(1),
            late_by: Duration::from_secs(90),
            webhook_pause: Duration::from_secs(1),
            keep: false,
            per_second: None,
            remember: 100_000,
            interfax_callback: None,
            chaos: None,
            quirks: Quirks::default(),
            clock: Arc::new(SystemClock),
        }
    }
}

/// A simulator at work. Dropping it stops it.
pub struct Running {
    /// Where it listens.
    pub addr: SocketAddr,
    office: Arc<Office>,
    counter: Option<Counter>,
    /// Dropped to end calls and webhooks.
    _open: watch::Sender<()>,
}

/// The listening part, which can go away and come back.
struct Counter {
    close: oneshot::Sender<()>,
    down: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<()>,
}

impl Running {
    /// Stops listening, breaks every connection, ends all calls. Returns when the port is free.
    pub async fn stop(mut self) {
        self.close().await;
    }

    /// Goes off the net as in an outage: connections break, new ones are refused. Calls go on.
    pub async fn close(&mut self) {
        if let Some(counter) = self.counter.take() {
            counter.down.store(true, Ordering::Release);
            let _ = counter.close.send(());
            // Dropping the listener is what frees the port; connections find out by themselves.
            let _ = counter.task.await;
        }
    }

    /// Comes back at the same address.
    ///
    /// # Errors
    /// When the port has been taken by somebody else meanwhile.
    pub async fn reopen(&mut self) -> io::Result<()> {
        self.close().await;
        self.counter = Some(open_counter(TcpListener::bind(self.addr).await?, &self.office));
        Ok(())
    }

    /// The URL for `provider.NAME.url`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Every fax it remembers, oldest first.
    #[must_use]
    pub fn faxes(&self) -> Vec<Fax> {
        self.office.book.all()
    }

    /// Returns once no call and no webhook is under way. Faxes that wait or hang by script do not
    /// count.
    pub async fn idle(&self) {
        let mut busy = self.office.busy.subscribe();
        // Fails only when the sender is gone, which `self.office` holds.
        let _ = busy.wait_for(|busy| *busy == 0).await;
    }

    /// What it should never have seen.
    #[must_use]
    pub fn violations(&self) -> Vec<Violation> {
        self.office.book.violations()
    }
}

/// Opens a simulator.
///
/// # Errors
/// When the address is taken or the record folder cannot be written.
pub async fn serve(options: Options) -> io::Result<Running> {
    let records = Records::open(&options.record, options.keep)?;
    let listener = TcpListener::bind(options.listen).await?;
    let addr = listener.local_addr()?;
    let reporter =
        Reporter::new(options.webhook_key.clone(), Arc::clone(&options.clock), options.webhook_pause)
            .map_err(io::Error::other)?;
    let (open, closed) = watch::channel(());
    let office = Arc::new(Office {
        book: Book::new(options.remember.max(1)),
        records,
        reporter,
        // Ids of one run are told from those of another in the same folder.
        run: job::chance().map_err(|_| io::Error::other("the system has no randomness"))? & 0xffff_ffff,
        options,
        closed,
        busy: watch::Sender::new(0),
    });
    let counter = Some(open_counter(listener, &office));
    Ok(Running { addr, office, counter, _open: open })
}

fn open_counter(listener: TcpListener, office: &Arc<Office>) -> Counter {
    let router = face::routes(office)
        .route("/v1/numbers", get(async || Json(json!({ "numbers": script::TABLE }))))
        .with_state(Arc::clone(office));
    let router = match office.options.per_second {
        Some(per_second) => router.layer(middleware::from_fn_with_state(Pace::new(per_second), in_turn)),
        None => router,
    };
    let down = Arc::new(AtomicBool::new(false));
    let (close, closed) = oneshot::channel();
    let lines = Lines { listener, down: Arc::clone(&down) };
    let serving = axum::serve(lines, router.into_make_service_with_connect_info::<Cut>()).into_future();
    let task = tokio::spawn(async move {
        tokio::select! {
            _ = serving => {}
            // Also when the sender is dropped.
            _ = closed => {}
        }
    });
    Counter { close, down, task }
}

/// When the next answer is due.
#[derive(Clone)]
struct Pace {
    between: Duration,
    next: Arc<Mutex<Instant>>,
}

impl Pace {
    fn new(per_second: u32) -> Pace {
        let between = Duration::from_secs(1) / per_second.max(1);
        Pace { between, next: Arc::new(Mutex::new(Instant::now())) }
    }

    fn turn(&self) -> Instant {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = (*next).max(Instant::now());
        *next = turn + self.between;
        turn
    }
}

/// Each answer waits for its turn.
async fn in_turn(State(pace): State<Pace>, request: Request, next: Next) -> Response {
    tokio::time::sleep_until(pace.turn()).await;
    next.run(request).await
}
