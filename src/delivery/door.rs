//! The door to the Internet: what strangers may cost us before it is known who they are.
//!
//! [`super::webhook`] and [`super::media`] listen where everybody can come. Whatever comes,
//!
//! * no more than [`Limits::connections`] are open at once; further ones wait, unanswered, in the system's queue. One address (IPv6: one
//!   /64) has a quarter of them at most, and further ones of it are closed at once: it cannot keep the others waiting. A reverse
//!   proxy in front, which is one address, has all: where no TLS is spoken here, and on this machine;
//! * a TLS handshake, and then the head of a request, each have [`Limits::head`] to arrive, and the head about 64 KiB;
//! * a client that takes none of its answer for [`Limits::stall`] is cut off, and any client after [`Limits::whole`];
//! * a connection is good for one request. So nothing has to be kept for a second one, and its end is the answer's end;
//! * it stops within [`FAREWELL`] when it is told to.
//!
//! An answer may come before its request has been read to the end (a wrong token, a body that is too large). Closing at once
//! would then reset the connection, and the client would often see the reset in place of the answer. So the door first says
//! that it is done, and throws away what comes for up to [`LINGER`].

use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use futures_util::future::BoxFuture;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Sleep, sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::alarm::Alarms;
use crate::gate::{Gate, Most, Seat};
use crate::listener::{Listener, Socket};
use crate::tally::{Tally, peer_of};

/// For requests under way when the daemon stops. A stranger who never ends his must not keep it from stopping, or
/// from coming back with a new configuration.
pub(super) const FAREWELL: Duration = Duration::from_secs(5);
/// How long what still comes after the answer is thrown away.
const LINGER: Duration = Duration::from_secs(2);
/// Bytes that are held of a request's head, or of what is read and written at once.
const BUFFER: usize = 64 << 10;

/// How much a door bears.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Connections at once.
    pub(super) connections: usize,
    /// How long the TLS handshake may take, and then the request's head.
    pub(super) head: Duration,
    /// How long a client may take nothing of what is written.
    pub(super) stall: Duration,
    /// How long a connection may last.
    pub(super) whole: Duration,
}

impl Limits {
    /// The semaphore counts all; this is about each peer.
    fn most(&self) -> Most {
        let per_peer = (self.connections / 4).max(1);
        Most { all: self.connections.saturating_mul(2), per_peer, per_known_peer: self.connections }
    }
}

/// What a request is answered with.
pub(super) struct DoorAnswer {
    response: Response,
    afterwards: Option<BoxFuture<'static, ()>>,
}

impl DoorAnswer {
    /// Done once the whole answer was handed to the connection, before the client is told that it is over; dropped undone
    /// where the connection broke before that.
    pub(super) fn afterwards(mut self, work: impl Future<Output = ()> + Send + 'static) -> Self {
        self.afterwards = Some(Box::pin(work));
        self
    }
}

impl From<Response> for DoorAnswer {
    fn from(response: Response) -> Self {
        DoorAnswer { response, afterwards: None }
    }
}

impl From<StatusCode> for DoorAnswer {
    fn from(status: StatusCode) -> Self {
        status.into_response().into()
    }
}

/// A way in for requests that `handler` answers.
pub(super) struct Door<H> {
    /// What it is called in the log.
    pub(super) name: &'static str,
    /// The key of its address in the configuration.
    pub(super) key: &'static str,
    /// Told what wants a person.
    pub(super) alarms: Alarms,
    /// With certificate and key, only TLS is spoken.
    pub(super) tls: Option<Arc<ServerConfig>>,
    /// How much it bears.
    pub(super) limits: Limits,
    /// What answers.
    pub(super) handler: H,
}

impl<H, F> Door<H>
where
    H: Fn(Request) -> F + Send + Sync + 'static,
    F: Future<Output = DoorAnswer> + Send + 'static,
{
    /// Stands open until `shutdown` turns true, or `socket` is closed and the last connection has ended.
    pub(super) async fn serve(self, socket: impl Into<Socket>, mut shutdown: watch::Receiver<bool>) {
        let door = Arc::new(self);
        let seats = Arc::new(Semaphore::new(door.limits.connections));
        let gate = Gate::new(door.limits.most());
        let told = Tally::default();
        let mut open = JoinSet::new();
        let mut listener = Listener::new(socket, door.key, door.alarms.clone());
        while !(listener.is_closed() && open.is_empty()) {
            tokio::select! {
                biased;
                () = stop(&mut shutdown) => break,
                Some(ended) = open.join_next() => door.report(ended),
                next = next(&mut listener, &seats), if !listener.is_closed() => {
                    if let Some((stream, peer, seat)) = next
                        && let Some(place) = door.place(&gate, &told, peer)
                    {
                        open.spawn(Arc::clone(&door).connection(stream, (seat, place)));
                    }
                }
            }
        }
        drop(listener);
        let over = timeout(FAREWELL, async {
            while let Some(ended) = open.join_next().await {
                door.report(ended);
            }
        });
        if over.await.is_err() {
            tracing::info!("{}: {} connections did not end in time and were cut off", door.name, open.len());
        }
    }

    /// A place for `peer`, if it has not too many.
    fn place(&self, gate: &Gate, told: &Tally<IpAddr>, peer: IpAddr) -> Option<Seat> {
        let known = self.tls.is_none() || peer.to_canonical().is_loopback();
        let place = gate.enter().and_then(|mut place| place.belongs_to(peer, known).map(|()| place));
        let now = std::time::Instant::now();
        if place.is_err() && told.note(&peer_of(peer), now) {
            tracing::warn!(peer.ip = %peer, "{}: a connection of {peer} was closed, since that address has so many already", self.key);
        }
        for untold in told.due(now) {
            let (count, whose) =
                (untold.count, untold.kind.map_or("many addresses".to_owned(), |peer| peer.to_string()));
            tracing::warn!(count, "{}: {count} connections more of {whose} were closed", self.key);
        }
        place.ok()
    }

    async fn connection(self: Arc<Self>, stream: TcpStream, seat: (Option<OwnedSemaphorePermit>, Seat)) {
        let Limits { head, whole, .. } = self.limits;
        let served = timeout(whole, async {
            match self.tls.clone() {
                None => self.request(stream).await,
                Some(tls) => match timeout(head, TlsAcceptor::from(tls).accept(stream)).await {
                    Ok(Ok(stream)) => self.request(stream).await,
                    Ok(Err(error)) => tracing::debug!("{}: no TLS came about: {error}", self.name),
                    Err(_) => tracing::debug!("{}: a TLS handshake took too long", self.name),
                },
            }
        });
        if served.await.is_err() {
            tracing::debug!("{}: a connection lasted too long and was cut off", self.name);
        }
        drop(seat);
    }

    async fn request<S>(&self, stream: S)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let afterwards = Mutex::new(None);
        let service = service_fn(|request: hyper::Request<Incoming>| {
            let answer = (self.handler)(request.map(Body::new));
            let afterwards = &afterwards;
            async move {
                let answer = answer.await;
                *afterwards.lock().unwrap_or_else(PoisonError::into_inner) = answer.afterwards;
                Ok::<_, Infallible>(answer.response)
            }
        });
        let (written, all_written) = oneshot::channel();
        let (done, all_done) = oneshot::channel();
        let line = Line::new(stream, self.limits.stall, written, all_done);
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.head)
            .max_buf_size(BUFFER)
            .keep_alive(false)
            .serve_connection(TokioIo::new(line), service);
        let after = async {
            if all_written.await.is_ok() {
                let work = afterwards.lock().unwrap_or_else(PoisonError::into_inner).take();
                if let Some(work) = work {
                    work.await;
                }
                let _ = done.send(());
            }
        };
        let (served, ()) = tokio::join!(connection, after);
        if let Err(error) = served {
            tracing::debug!("{}: a connection broke: {error}", self.name);
        }
    }

    fn report(&self, ended: Result<(), tokio::task::JoinError>) {
        if let Err(error) = ended {
            tracing::error!("{}: a connection failed within: {error}", self.name);
        }
    }
}

async fn stop(shutdown: &mut watch::Receiver<bool>) {
    // Whoever could say so is gone: that is a stop too.
    let _ = shutdown.wait_for(|stop| *stop).await;
}

/// The next connection, once there is a seat for it.
async fn next(
    listener: &mut Listener,
    seats: &Arc<Semaphore>,
) -> Option<(TcpStream, IpAddr, Option<OwnedSemaphorePermit>)> {
    // Never closed.
    let seat = Arc::clone(seats).acquire_owned().await.ok();
    let (stream, peer) = listener.accept().await?;
    // Answers are small, or come in large pieces.
    let _ = stream.set_nodelay(true);
    Some((stream, peer.ip(), seat))
}

/// A connection that waits for its client only so long, tells when everything is written, and ends in two steps.
struct Line<S> {
    stream: S,
    stall: Duration,
    /// Set while the client takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
    /// Dropped unsent where the connection breaks before.
    written: Option<oneshot::Sender<()>>,
    /// Told, or dropped, when what comes afterwards is done.
    done: oneshot::Receiver<()>,
    end: End,
}

/// How far a [`Line`] has ended.
enum End {
    Open,
    /// Everything is written, and what comes afterwards is done.
    Closing,
    /// The client knows that nothing more comes; what it still sends is thrown away until then.
    Lingering(Pin<Box<Sleep>>),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Line<S> {
    fn new(stream: S, stall: Duration, written: oneshot::Sender<()>, done: oneshot::Receiver<()>) -> Self {
        Line { stream, stall, stalled: None, written: Some(written), done, end: End::Open }
    }

    /// Passes on what came of writing, unless nothing has come of it for too long.
    fn patiently<T>(
        &mut self,
        context: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut S>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let written = write(Pin::new(&mut self.stream), context);
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let stall = self.stall;
        let deadline = self.stalled.get_or_insert_with(|| Box::pin(sleep(stall)));
        ready!(deadline.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Line<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Line<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.patiently(context, |stream, context| stream.poll_write(context, bytes))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.patiently(context, AsyncWrite::poll_flush)
    }

    /// Called when all has been flushed.
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(written) = self.written.take() {
            let _ = written.send(());
        }
        if matches!(self.end, End::Open) {
            let _ = ready!(Pin::new(&mut self.done).poll(context));
            self.end = End::Closing;
        }
        if matches!(self.end, End::Closing) {
            ready!(self.patiently(context, AsyncWrite::poll_shutdown))?;
            self.end = End::Lingering(Box::pin(sleep(LINGER)));
        }
        let Line { stream, end: End::Lingering(deadline), .. } = &mut *self else {
            return Poll::Ready(Ok(()));
        };
        let mut rest = [0; 4096];
        loop {
            if deadline.as_mut().poll(context).is_ready() {
                return Poll::Ready(Ok(()));
            }
            let mut buffer = ReadBuf::new(&mut rest);
            match ready!(Pin::new(&mut *stream).poll_read(context, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => {}
                // It has ended too, or broken off: the answer is out either way.
                _ => return Poll::Ready(Ok(())),
            }
        }
    }
}

#[cfg(test)]
pub(super) mod testing;
#[cfg(test)]
mod tests;
