//! What parent and child say to one another: frames of four bytes of length, one of kind, then the body.
//!
//! One dialogue: `OPEN`, `DATA`..., `END` is answered with `CONTENTS`; then any number of
//!
//! - `COVER`, `BODY` (either may be missing) + `MAKE`, answered with `DATA`..., `MADE`: a whole container;
//! - `PAGES`, answered with `DATA`..., `DONE`, and then any number of `COVER`, `BODY` + `FRONT`, answered with `DATA`..., `MADE`: pages that
//!   several faxes share, and what each of them has of its own;
//! - `PICTURES`, answered for each picture with `DATA`..., `END`; then `DONE`;
//!
//! then `CLOSE`, answered with `CLOSED`.
//! Instead of an answer there may be `HELD` with a sentence, after which the dialogue goes on, or `CRASHED`, after which
//! the child ends. Requests are small or read whole before anything is answered, so that neither side can wait for the
//! other to read.

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};

use super::{Input, Rules};
use crate::addressing::Selection;

pub(super) const OPEN: u8 = b'O';
pub(super) const DATA: u8 = b'D';
pub(super) const END: u8 = b'E';
pub(super) const CONTENTS: u8 = b'C';
pub(super) const COVER: u8 = b'F';
pub(super) const BODY: u8 = b'B';
pub(super) const MAKE: u8 = b'M';
pub(super) const MADE: u8 = b'm';
pub(super) const PAGES: u8 = b'G';
pub(super) const FRONT: u8 = b'N';
pub(super) const PICTURES: u8 = b'P';
pub(super) const DONE: u8 = b'd';
pub(super) const CLOSE: u8 = b'X';
pub(super) const CLOSED: u8 = b'x';
pub(super) const HELD: u8 = b'H';
pub(super) const CRASHED: u8 = b'!';

/// Largest body: the parts list of the largest mail is far below.
pub(super) const MOST: usize = 16 << 20;
/// Body of a `DATA` frame.
pub(super) const CHUNK: usize = 256 << 10;
pub(super) const HEAD: usize = 5;

/// Body of `OPEN`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Open {
    /// The documents that follow, each up to its `END`.
    pub documents: Vec<Incoming>,
    pub rules: Rules,
}

/// A document that is going to follow.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Incoming {
    pub input: Input,
    /// Its bytes, as far as they are known: a buffer that grows is copied again and again.
    pub bytes: u64,
}

/// Body of `MAKE` and `PAGES`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Make {
    pub selection: Option<Selection>,
}

/// Body of `PICTURES`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Pictures {
    pub first: u32,
    pub after_last: u32,
    pub dpi: u32,
}

/// Body of `CLOSED`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Closed {
    /// Memory the child still holds, bytes.
    pub resident: u64,
}

/// The five bytes before a body.
///
/// # Errors
/// When the body is over [`MOST`].
pub(super) fn head(kind: u8, length: usize) -> io::Result<[u8; HEAD]> {
    let length = u32::try_from(length).ok().filter(|_| length <= MOST).ok_or_else(too_long)?;
    let [a, b, c, d] = length.to_be_bytes();
    Ok([a, b, c, d, kind])
}

/// Kind and length out of the five bytes.
///
/// # Errors
/// When the length is over [`MOST`].
pub(super) fn unhead(head: [u8; HEAD]) -> io::Result<(u8, usize)> {
    let [a, b, c, d, kind] = head;
    let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).map_err(|_| too_long())?;
    if length > MOST { Err(too_long()) } else { Ok((kind, length)) }
}

fn too_long() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a frame is longer than allowed")
}

/// Writes a frame.
pub(super) fn write(to: &mut impl Write, kind: u8, body: &[u8]) -> io::Result<()> {
    to.write_all(&head(kind, body.len())?)?;
    to.write_all(body)
}

/// Reads a frame; `None` at the end of the stream between frames.
pub(super) fn read(from: &mut impl Read) -> io::Result<Option<(u8, Vec<u8>)>> {
    let mut head = [0; HEAD];
    if from.read(&mut head[..1])? == 0 {
        return Ok(None);
    }
    from.read_exact(&mut head[1..])?;
    let (kind, length) = unhead(head)?;
    let mut body = vec![0; length];
    from.read_exact(&mut body)?;
    Ok(Some((kind, body)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_survive_the_way_and_refuse_nonsense() {
        let mut wire = Vec::new();
        write(&mut wire, DATA, b"abc").unwrap();
        write(&mut wire, END, b"").unwrap();
        let mut reader = wire.as_slice();
        assert_eq!(read(&mut reader).unwrap(), Some((DATA, b"abc".to_vec())));
        assert_eq!(read(&mut reader).unwrap(), Some((END, Vec::new())));
        assert_eq!(read(&mut reader).unwrap(), None);
        assert!(read(&mut &wire[..3]).is_err(), "cut in the head");
        assert!(read(&mut &wire[..6]).is_err(), "cut in the body");
        assert!(read(&mut &[0xff; 9][..]).is_err(), "a length of 4 GiB");
    }
}
