//! A mail's bytes from the connection to the sealed spool. None of it is ever whole in memory.

use tokio::io::{AsyncRead, AsyncWrite};

use super::data::Scanner;
use super::reply::Reply;
use super::wire::{Hangup, Wire};
use crate::intake::Draft;
use crate::intake::header::HeaderWatch;

/// What came behind `354`.
pub(super) enum Received {
    /// A mail, written but not accepted yet.
    Whole {
        draft: Draft,
        message_id: Option<String>,
        /// Of what stands behind its header, hex.
        body_sha256: String,
    },
    /// A mail that is read to its end, thrown away, and to be answered so.
    Refused(Reply),
}

/// Reads to the end of the mail, also when it is refused half way: its rest must not be taken for commands.
///
/// # Errors
/// [`Hangup`] if the end never comes; nothing is kept then.
pub(super) async fn receive<S>(wire: &mut Wire<S>, draft: Draft) -> Result<Received, Hangup>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut scanner = Scanner::new();
    let mut header = HeaderWatch::new();
    let mut draft = Ok(draft);
    loop {
        let step = scanner.step(wire.body().await?);
        if let Ok(open) = &mut draft {
            // A refused draft is dropped here and now, and its file with it: the rest may be gigabytes.
            if scanner.bare_line_end() {
                draft = refused(bare_line_end());
            } else if header.feed(step.content).is_err() {
                draft = refused(header_too_large());
            } else if let Err(refusal) = open.write(step.content).await {
                super::tell_operator(&refusal);
                draft = Err(Reply::refusal(&refusal));
            }
        }
        let (consumed, ended) = (step.consumed, step.ended);
        wire.consume(consumed);
        if ended {
            wire.end_of_body();
            return Ok(match draft {
                Ok(draft) => {
                    let (message_id, body_sha256) = header.identity();
                    Received::Whole { draft, message_id, body_sha256 }
                }
                Err(reply) => Received::Refused(reply),
            });
        }
    }
}

fn refused(reply: Reply) -> Result<Draft, Reply> {
    tracing::info!(smtp.code = reply.enhanced, "a mail was refused with {}", reply.enhanced);
    Err(reply)
}

fn bare_line_end() -> Reply {
    Reply::new(
        550,
        "5.6.0",
        "This mail has a carriage return or line feed that stands alone, so its lines cannot be told apart safely. \
         Send it with CR LF at the end of every line.",
    )
}

fn header_too_large() -> Reply {
    Reply::new(552, "5.3.4", "The header of this mail is larger than 1 MiB. Nothing of it was kept.")
}
