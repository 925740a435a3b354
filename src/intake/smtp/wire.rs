//! One session's connection: a fixed read buffer, lines out of it, replies gathered until the client waits for them.

use std::ops::Range;
use std::time::Duration;

use memchr::memchr;
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::reply::Reply;

/// Bytes of a mail read at once; the whole of what a session keeps of it, beside what the spool is sealing.
const INPUT: usize = 32 * 1024;
/// Bytes read at once before the first mail: a thousand sessions that only wait are to cost little.
const FIRST_INPUT: usize = 2 * MAX_LINE;
/// Longest command line, CR LF included. RFC 5321 asks for 512 and a bit per extension.
pub(super) const MAX_LINE: usize = 4096;
/// Replies are sent at the latest when they fill this.
const OUTPUT: usize = 8 * 1024;
/// While a mail streams in, at least so much must arrive in every idle time, else a byte now and then would hold a session
/// and a spool file for as long as a session may last.
const LEAST_PER_IDLE: usize = 16 * 1024;
/// The same in a session that has proven nothing: so much must arrive within this time.
const STRETCH: Duration = Duration::from_secs(30);
/// How long a client may take to close when the session is over.
const FAREWELL: Duration = Duration::from_secs(2);

/// The connection to a client.
pub(super) struct Wire<S> {
    stream: Stream<S>,
    input: Vec<u8>,
    /// What of `input` is read but not used yet.
    unread: Range<usize>,
    output: Vec<u8>,
    idle: Duration,
    /// What is left of the time for commands while nothing is proven.
    unproven: Option<Duration>,
    end: Instant,
    shutdown: watch::Receiver<bool>,
    /// Where the present stretch of a streaming mail began, and what it brought.
    stretch: Option<(Instant, usize)>,
}

enum Stream<S> {
    Plain(S),
    Tls(Box<TlsStream<S>>),
    /// Lost in a TLS handshake.
    Gone,
}

/// Why a session ends before the client said QUIT.
#[derive(Debug, thiserror::Error)]
pub(super) enum Hangup {
    #[error("the client closed the connection")]
    Closed,
    #[error("the client was silent or too slow")]
    Idle,
    #[error("the client proved nothing for too long")]
    Unproven,
    #[error("the session lasted too long")]
    Overtime,
    #[error("the service stops")]
    Stopping,
    #[error("the connection broke: {0}")]
    Broken(#[from] std::io::Error),
}

/// What [`Wire::line`] found.
pub(super) enum Line {
    /// A line with its end; [`Wire::text`] has it.
    Whole(Range<usize>),
    /// It had more than [`MAX_LINE`] bytes, which are gone.
    TooLong,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(super) fn new(stream: S, idle: Duration, lasts: Duration, shutdown: watch::Receiver<bool>) -> Self {
        Wire {
            stream: Stream::Plain(stream),
            input: vec![0; FIRST_INPUT],
            unread: 0..0,
            output: Vec::new(),
            idle,
            unproven: None,
            end: Instant::now() + lasts,
            shutdown,
            stretch: None,
        }
    }

    /// From now on commands may take no longer than this in all, until [`Wire::proven`].
    pub(super) fn unproven(&mut self, time: Duration) {
        self.unproven = Some(time);
    }

    /// Somebody whom the configuration knows is at the other end.
    pub(super) fn proven(&mut self) {
        self.unproven = None;
    }

    pub(super) fn is_tls(&self) -> bool {
        matches!(self.stream, Stream::Tls(_))
    }

    /// The client's certificates, its own first; none without TLS, and none where it showed none.
    pub(super) fn certificates(&self) -> &[CertificateDer<'static>] {
        match &self.stream {
            Stream::Tls(stream) => stream.get_ref().1.peer_certificates().unwrap_or_default(),
            Stream::Plain(_) | Stream::Gone => &[],
        }
    }

    /// Whether bytes have come that nobody has used yet.
    pub(super) fn has_unread(&self) -> bool {
        !self.unread.is_empty()
    }

    /// Puts a reply behind those that wait to be sent. They are sent when [`Wire::line`] finds no further command in what
    /// was read (RFC 2920, section 3.2).
    pub(super) async fn reply(&mut self, reply: &Reply) -> Result<(), Hangup> {
        reply.write(&mut self.output);
        if self.output.len() < OUTPUT { Ok(()) } else { self.flush().await }
    }

    /// Sends the waiting replies.
    pub(super) async fn flush(&mut self) -> Result<(), Hangup> {
        if self.output.is_empty() {
            return Ok(());
        }
        let by = (Instant::now() + self.idle).min(self.end);
        let sent = match &mut self.stream {
            Stream::Plain(stream) => timeout_at(by, send(stream, &self.output)).await,
            Stream::Tls(stream) => timeout_at(by, send(stream, &self.output)).await,
            Stream::Gone => return Err(Hangup::Closed),
        };
        self.output.clear();
        Ok(sent.map_err(|_| self.late())??)
    }

    /// The next line. The whole of it must come within the idle time. A stop of the service ends the wait for it, unless a mail
    /// is `under_way`.
    pub(super) async fn line(&mut self, under_way: bool) -> Result<Line, Hangup> {
        let begun = Instant::now();
        let line = self.line_by(begun + self.patience(), under_way).await;
        self.spent(begun, line)
    }

    async fn line_by(&mut self, by: Instant, under_way: bool) -> Result<Line, Hangup> {
        let mut searched = 0;
        let mut too_long = false;
        loop {
            let unread = self.unread();
            if let Some(at) = memchr(b'\n', unread.get(searched..).unwrap_or_default()) {
                let length = searched + at + 1;
                let line = self.unread.start..self.unread.start + length;
                self.unread.start = line.end;
                return Ok(if too_long || length > MAX_LINE { Line::TooLong } else { Line::Whole(line) });
            }
            searched = unread.len();
            if searched > MAX_LINE {
                // What is too long to be a command is not kept, only its end is looked for.
                too_long = true;
                self.unread = 0..0;
                searched = 0;
            }
            self.flush().await?;
            if self.unread.is_empty() {
                // A session may wait here for as long as it lasts: with nothing of the mail before.
                self.input.fill(0);
            }
            let mut shutdown = self.shutdown.clone();
            tokio::select! {
                biased;
                _ = shutdown.wait_for(|stop| *stop), if !under_way => return Err(Hangup::Stopping),
                read = self.fill(by) => read?,
            }
        }
    }

    /// How long the next command may take.
    fn patience(&self) -> Duration {
        self.unproven.map_or(self.idle, |left| left.min(self.idle))
    }

    /// Counts the time that the client had since `begun`, where it counts.
    fn spent<T>(&mut self, begun: Instant, result: Result<T, Hangup>) -> Result<T, Hangup> {
        let Some(left) = &mut self.unproven else { return result };
        *left = left.saturating_sub(begun.elapsed());
        match result {
            Err(Hangup::Idle) if left.is_zero() => Err(Hangup::Unproven),
            result => result,
        }
    }

    /// Waits, as a punishment. A stop of the service ends it, as does the end of the session's time.
    pub(super) async fn pause(&mut self, time: Duration) -> Result<(), Hangup> {
        let mut shutdown = self.shutdown.clone();
        tokio::select! {
            biased;
            _ = shutdown.wait_for(|stop| *stop) => Err(Hangup::Stopping),
            () = sleep_until((Instant::now() + time).min(self.end)) => Ok(()),
        }
    }

    /// Ends the session between two commands if the service is being stopped.
    pub(super) fn stop_if_asked(&self) -> Result<(), Hangup> {
        if *self.shutdown.borrow() { Err(Hangup::Stopping) } else { Ok(()) }
    }

    /// The bytes of a line that [`Wire::line`] found just now.
    pub(super) fn text(&self, line: Range<usize>) -> &[u8] {
        self.input.get(line).unwrap_or_default()
    }

    /// Overwrites a line that had a password in it.
    pub(super) fn wipe(&mut self, line: Range<usize>) {
        if let Some(bytes) = self.input.get_mut(line) {
            bytes.fill(0);
        }
    }

    /// Bytes of the mail that streams in: at least one. A stop of the service waits for the mail's end.
    pub(super) async fn body(&mut self) -> Result<&[u8], Hangup> {
        let now = Instant::now();
        let since = match self.stretch {
            Some((since, brought)) if brought < LEAST_PER_IDLE => since,
            _ => {
                self.stretch = Some((now, 0));
                now
            }
        };
        if self.unread.is_empty() {
            // A client that pipelines BDAT may wait for these before it sends its mail.
            self.flush().await?;
            if self.input.len() < INPUT {
                self.input.resize(INPUT, 0);
            }
            self.fill(since + self.stretch()).await?;
        } else if now > since + self.stretch() {
            return Err(Hangup::Idle);
        }
        Ok(self.unread())
    }

    /// In how much time a stretch of a mail must come.
    fn stretch(&self) -> Duration {
        if self.unproven.is_some() { self.idle.min(STRETCH) } else { self.idle }
    }

    /// Marks bytes of [`Wire::body`] as used.
    pub(super) fn consume(&mut self, bytes: usize) {
        self.unread.start = self.unread.end.min(self.unread.start + bytes);
        if let Some((_, brought)) = &mut self.stretch {
            *brought = brought.saturating_add(bytes);
        }
    }

    /// Reads bytes that belong to no mail.
    pub(super) async fn skip(&mut self, bytes: u64) -> Result<(), Hangup> {
        let mut left = bytes;
        while left > 0 {
            let here = self.body().await?.len();
            let now = usize::try_from(left).unwrap_or(usize::MAX).min(here);
            self.consume(now);
            left = left.saturating_sub(now as u64);
        }
        Ok(())
    }

    /// Time for the next mail is counted anew.
    pub(super) fn end_of_body(&mut self) {
        self.stretch = None;
    }

    /// Changes to TLS. Nothing may be unread: bytes that came unprotected must never count as said under TLS.
    pub(super) async fn start_tls(&mut self, acceptor: &TlsAcceptor) -> Result<(), Hangup> {
        let stream = match std::mem::replace(&mut self.stream, Stream::Gone) {
            Stream::Plain(stream) if self.unread.is_empty() => stream,
            _ => return Err(Hangup::Closed),
        };
        let begun = Instant::now();
        let by = (begun + self.patience()).min(self.end);
        let mut shutdown = self.shutdown.clone();
        let shaken = tokio::select! {
            biased;
            _ = shutdown.wait_for(|stop| *stop) => return Err(Hangup::Stopping),
            stream = timeout_at(by, acceptor.accept(stream)) => stream.map_err(|_| self.late()),
        };
        let stream = self.spent(begun, shaken)??;
        self.stream = Stream::Tls(Box::new(stream));
        Ok(())
    }

    /// Closes in an order in which the client still gets our last words: a connection that is closed while bytes of the
    /// client are unread is reset, and what was sent before may be lost with it. So we wait for the client to close, a
    /// moment.
    pub(super) async fn close(mut self) {
        let farewell = async {
            match &mut self.stream {
                Stream::Plain(stream) => see_off(stream, &mut self.input).await,
                Stream::Tls(stream) => see_off(stream, &mut self.input).await,
                Stream::Gone => Ok(()),
            }
        };
        if let Ok(Err(error)) = timeout(FAREWELL, farewell).await {
            tracing::debug!("an SMTP connection did not close in order: {error}");
        }
    }

    fn unread(&self) -> &[u8] {
        self.input.get(self.unread.clone()).unwrap_or_default()
    }

    /// Reads once, behind what is unread.
    async fn fill(&mut self, by: Instant) -> Result<(), Hangup> {
        if self.unread.start > 0 {
            self.input.copy_within(self.unread.clone(), 0);
            self.unread = 0..self.unread.len();
        }
        let by = by.min(self.end);
        let room = self.input.get_mut(self.unread.end..).unwrap_or_default();
        let read = match &mut self.stream {
            Stream::Plain(stream) => timeout_at(by, stream.read(room)).await,
            Stream::Tls(stream) => timeout_at(by, stream.read(room)).await,
            Stream::Gone => return Err(Hangup::Closed),
        };
        match read.map_err(|_| self.late())?? {
            0 => Err(Hangup::Closed),
            bytes => {
                self.unread.end += bytes;
                Ok(())
            }
        }
    }

    fn late(&self) -> Hangup {
        if Instant::now() >= self.end { Hangup::Overtime } else { Hangup::Idle }
    }
}

async fn see_off<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, scrap: &mut [u8]) -> std::io::Result<()> {
    stream.shutdown().await?;
    while stream.read(scrap).await? > 0 {}
    Ok(())
}

async fn send<W: AsyncWrite + Unpin>(stream: &mut W, bytes: &[u8]) -> std::io::Result<()> {
    stream.write_all(bytes).await?;
    stream.flush().await
}
