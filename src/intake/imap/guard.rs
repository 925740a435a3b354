//! Bounds on what a server may make the parser hold.
//!
//! The IMAP client reads a whole response into memory, makes room for a literal ({LENGTH} at the end of a line, RFC 3501,
//! section 4.3) as soon as it is announced, up to 512 MiB, and reads nested lists by recursion. So every byte passes here first: a
//! response that would be too large, too deep or without an end breaks the connection before it is believed.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A connection to a server, with or without TLS.
pub(super) trait Line: AsyncRead + AsyncWrite + Unpin + fmt::Debug + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + fmt::Debug + Send> Line for T {}

/// What a response may have beside its literals: a search in a mailbox of half a million mails fits.
const TEXT_AT_MOST: u64 = 4 << 20;
/// Lists within lists.
const DEPTH_AT_MOST: i32 = 60;
/// Enough of a line's end to hold `{LENGTH+}` of the largest length.
const TAIL: usize = 24;
/// Enough of a line's beginning to tell what kind of response it is.
const HEAD: usize = 40;

/// A response was larger than the limit. The connection is of no use any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the server's answer is larger than what is taken here")]
pub(super) struct TooLarge;

/// A connection whose incoming bytes are watched.
pub(super) struct Guard {
    inner: Box<dyn Line>,
    watch: Watch,
    /// Bytes that came in, for whoever waits for a large answer.
    pub(super) received: u64,
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("received", &self.received).finish_non_exhaustive()
    }
}

impl Guard {
    /// Literals of one response may have `limit` bytes together.
    pub(super) fn new(inner: Box<dyn Line>, limit: u64) -> Guard {
        Guard { inner, watch: Watch::new(limit), received: 0 }
    }

    pub(super) fn into_inner(self) -> Box<dyn Line> {
        self.inner
    }
}

impl AsyncRead for Guard {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        let read = Pin::new(&mut this.inner).poll_read(cx, buf);
        let new = buf.filled().get(before..).unwrap_or_default();
        this.received = this.received.wrapping_add(new.len() as u64);
        match this.watch.see(new) {
            Ok(()) => read,
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}

impl AsyncWrite for Guard {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// Follows the bytes of responses in pieces of any size.
struct Watch {
    limit: u64,
    /// Of the literal that is passing.
    literal: u64,
    /// Of all literals of the response.
    literals: u64,
    /// Of the response beside them.
    text: u64,
    depth: i32,
    head: Vec<u8>,
    tail: Vec<u8>,
}

impl Watch {
    fn new(limit: u64) -> Watch {
        Watch { limit, literal: 0, literals: 0, text: 0, depth: 0, head: Vec::new(), tail: Vec::new() }
    }

    fn see(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while let Some((&byte, rest)) = bytes.split_first() {
            if self.literal > 0 {
                let skip = usize::try_from(self.literal).unwrap_or(usize::MAX).min(bytes.len());
                self.literal -= skip as u64;
                bytes = bytes.get(skip..).unwrap_or_default();
                continue;
            }
            bytes = rest;
            self.text += 1;
            match byte {
                b'\n' => self.end_of_line()?,
                b'(' => self.depth += 1,
                b')' => self.depth -= 1,
                _ => {}
            }
            if byte != b'\n' && byte != b'\r' {
                if self.head.len() < HEAD {
                    self.head.push(byte);
                }
                if self.tail.len() >= TAIL {
                    self.tail.remove(0);
                }
                self.tail.push(byte);
            }
            if self.text > TEXT_AT_MOST || self.depth > DEPTH_AT_MOST {
                return Err(io::Error::other("the server's answer has no end"));
            }
        }
        Ok(())
    }

    fn end_of_line(&mut self) -> io::Result<()> {
        // The human text of a status response ends in whatever it likes.
        let announced = if is_status(&self.head) { None } else { announced(&self.tail) };
        self.tail.clear();
        let Some(literal) = announced else {
            (self.literals, self.text, self.depth) = (0, 0, 0);
            self.head.clear();
            return Ok(());
        };
        self.literals = self.literals.saturating_add(literal);
        if self.literals > self.limit {
            return Err(io::Error::other(TooLarge));
        }
        self.literal = literal;
        Ok(())
    }
}

/// `{123}` or `{123+}` at the end of a line.
fn announced(tail: &[u8]) -> Option<u64> {
    let inner = tail.strip_suffix(b"}")?;
    let inner = inner.strip_suffix(b"+").unwrap_or(inner);
    let from = inner.iter().rposition(|byte| *byte == b'{')?;
    let digits = inner.get(from + 1..).filter(|digits| !digits.is_empty())?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    // More digits than fit are more bytes than fit.
    Some(std::str::from_utf8(digits).ok()?.parse().unwrap_or(u64::MAX))
}

/// `* OK ...`, `A0001 NO ...` and the like, and `+ ...`.
fn is_status(head: &[u8]) -> bool {
    let mut words = head.split(|byte| *byte == b' ');
    let tag = words.next().unwrap_or_default();
    let word = words.next().unwrap_or_default();
    tag == b"+"
        || [&b"OK"[..], b"NO", b"BAD", b"BYE", b"PREAUTH"]
            .iter()
            .any(|known| word.eq_ignore_ascii_case(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fate(bytes: &[u8], limit: u64, piece: usize) -> Result<(), bool> {
        let mut watch = Watch::new(limit);
        for piece in bytes.chunks(piece) {
            watch
                .see(piece)
                .map_err(|error| matches!(error.get_ref(), Some(inner) if inner.is::<TooLarge>()))?;
        }
        Ok(())
    }

    #[test]
    fn what_passes_and_what_does_not() {
        let two = b"* 1 FETCH (BODY[1] {6}\r\n123456 BODY[2] {6}\r\n123456)\r\n";
        let deep = [b"* 1 FETCH (BODYSTRUCTURE ".to_vec(), vec![b'('; 100]].concat();
        let cases: &[(&[u8], Result<(), bool>)] = &[
            (b"* 1 FETCH (BODY[] {10}\r\n0123456789)\r\nA1 OK done\r\n", Ok(())),
            (b"* 1 FETCH (BODY[] {11}\r\n", Err(true)),
            (b"* 1 FETCH (BODY[] {99999999999999999999}\r\n", Err(true)),
            (two, Err(true)),
            (b"* OK see {500}\r\n* 1 EXISTS\r\n", Ok(())),
            (b"A1 NO {500}\r\n", Ok(())),
            (b"* OK {5}\r\n* 1 FETCH (BODY[] {500}\r\n", Err(true)),
            (b"* 1 FETCH (BODY[] {9}\r\n{900}\r\nxx)\r\n* 2 FETCH (UID {500}\r\n", Err(true)),
            (b"* 1 FETCH (BODY[] {3}\r\n(((((()\r\n* 2 EXISTS\r\n", Ok(())),
            (&deep, Err(false)),
        ];
        for (bytes, expected) in cases {
            for piece in [1, 3, 4096] {
                assert_eq!(fate(bytes, 10, piece), *expected, "{:?} by {piece}", bytes.escape_ascii());
            }
        }
        let endless = vec![b'x'; (TEXT_AT_MOST + 1) as usize];
        assert_eq!(fate(&endless, 10, 4096), Err(false));
    }
}
