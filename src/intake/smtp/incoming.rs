//! A mail on its way from the connection to the sealed spool, by DATA or by BDAT. None of it is ever whole in memory.

use tokio::io::{AsyncRead, AsyncWrite};

use super::data::{LineEnds, Scanner};
use super::reply::Reply;
use super::wire::{Hangup, Wire};
use crate::intake::header::{BadHeader, HeaderWatch, Seen};
use crate::intake::{Draft, Refusal};

/// A mail of which a part has come.
pub(super) struct Incoming {
    /// A refused draft is dropped at once, and its file with it: the rest may be gigabytes.
    draft: Result<Draft, Unfit>,
    header: HeaderWatch,
    lines: LineEnds,
}

/// What a mail was refused for while it came.
#[derive(Debug, Clone)]
pub(super) enum Unfit {
    /// By its bytes.
    Reply(Reply),
    /// By the spool.
    Refusal(Refusal),
}

/// A mail, written but not accepted yet.
pub(super) struct Whole {
    pub(super) draft: Draft,
    pub(super) seen: Seen,
}

impl Incoming {
    /// One that will stand in `draft`. With `international`, its header must be UTF-8.
    pub(super) fn new(draft: Draft, international: bool) -> Self {
        let header = draft.header_watch(international);
        Incoming { draft: Ok(draft), header, lines: LineEnds::new() }
    }

    /// Reads what comes behind `354` to the end of the mail, also when it is refused half way: its rest must not be taken for
    /// commands.
    ///
    /// # Errors
    /// [`Hangup`] if the end never comes; nothing is kept then.
    pub(super) async fn data<S>(mut self, wire: &mut Wire<S>) -> Result<Result<Whole, Unfit>, Hangup>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut scanner = Scanner::new();
        loop {
            let step = scanner.step(wire.body().await?);
            self.take(step.content, scanner.bare_line_end()).await;
            let (consumed, ended) = (step.consumed, step.ended);
            wire.consume(consumed);
            if ended {
                wire.end_of_body();
                return Ok(self.whole());
            }
        }
    }

    /// Reads the `size` bytes of one chunk, refused or not.
    ///
    /// # Errors
    /// [`Hangup`] if they never come.
    pub(super) async fn chunk<S>(&mut self, wire: &mut Wire<S>, size: u64) -> Result<(), Hangup>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut left = size;
        while left > 0 {
            let bytes = wire.body().await?;
            let bytes = bytes.get(..usize::try_from(left).unwrap_or(usize::MAX)).unwrap_or(bytes);
            let count = bytes.len();
            self.lines.feed(bytes);
            let bare = self.lines.bare_line_end();
            self.take(bytes, bare).await;
            wire.consume(count);
            left = left.saturating_sub(count as u64);
        }
        Ok(())
    }

    /// What it was refused for, so far.
    pub(super) fn refusal(&self) -> Option<&Unfit> {
        self.draft.as_ref().err()
    }

    /// The mail, after the last chunk.
    pub(super) async fn chunks(mut self) -> Result<Whole, Unfit> {
        self.lines.finish();
        let (bare, ended) = (self.lines.bare_line_end(), self.lines.ended());
        // The last line may lack its end here. By DATA it could not, and the same mail is to be the same by both.
        self.take(if ended { b"" } else { b"\r\n" }, bare).await;
        self.whole()
    }

    async fn take(&mut self, content: &[u8], bare_line_end: bool) {
        let Ok(open) = &mut self.draft else { return };
        if bare_line_end {
            self.draft = Err(Unfit::Reply(bare()));
        } else if let Err(fault) = self.header.feed(content) {
            self.draft = Err(Unfit::Reply(bad_header(fault)));
        } else if let Err(refusal) = open.write(content).await {
            self.draft = Err(Unfit::Refusal(refusal));
        }
    }

    fn whole(self) -> Result<Whole, Unfit> {
        let draft = self.draft?;
        Ok(Whole { draft, seen: self.header.seen() })
    }
}

fn bare() -> Reply {
    Reply::new(
        550,
        "5.6.0",
        "This mail has a carriage return or line feed that stands alone, so its lines cannot be told apart safely. \
         Send it with CR LF at the end of every line.",
    )
}

fn bad_header(fault: BadHeader) -> Reply {
    match fault {
        BadHeader::TooLarge => {
            Reply::new(552, "5.3.4", "The header of this mail is larger than 1 MiB. Nothing of it was kept.")
        }
        BadHeader::Overlong => Reply::new(
            552,
            "5.3.4",
            "The fields of this mail that say who wrote it are too long. Nothing of it was kept.",
        ),
        BadHeader::NoUtf8 => Reply::new(
            550,
            "5.6.0",
            "This mail was announced with SMTPUTF8, but its header is not UTF-8. Nothing of it was kept.",
        ),
    }
}
