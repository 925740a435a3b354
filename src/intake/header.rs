//! Watches a mail while it streams by: for the one field of its header that intake needs, for the header's size, and for
//! a digest of what stands behind the header.
//!
//! Everything else about a mail is found out later, in a process of its own; the Message-ID is needed before, because a
//! mail that was answered but whose answer got lost comes again, and must be recognised then. The digest tells it from another
//! document under the same Message-ID: there are scanners that give every mail the same one. (The header does not count: each
//! way that a mail takes adds lines to it.)

use std::borrow::Cow;

use aws_lc_rs::digest;
use memchr::memchr;

/// A header longer than this is refused. Real ones have a few KiB.
const MAX_HEADER: u64 = 1 << 20;
/// A Message-ID longer than this (RFC 5322 allows 998 in a line) is taken for none.
const MAX_LINE: usize = 2048;
const MESSAGE_ID: &[u8] = b"message-id";

/// Looks at the bytes of a mail in order, in pieces of any size.
pub(super) struct HeaderWatch {
    seen: u64,
    /// The current line, cut off behind [`MAX_LINE`].
    line: Vec<u8>,
    /// The last field was the first Message-ID: lines that begin with white space belong to it.
    in_id: bool,
    id: Option<Vec<u8>>,
    done: bool,
    body: digest::Context,
    /// Where the header must be UTF-8: its bytes that may begin a character which the next piece ends.
    text: Option<Vec<u8>>,
}

/// What a header is refused for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BadHeader {
    /// It is over [`MAX_HEADER`].
    TooLarge,
    /// SMTPUTF8 was declared, and it is not UTF-8 (RFC 6532, section 3.2).
    NoUtf8,
}

impl HeaderWatch {
    /// With `international`, the header must be UTF-8. Without, bytes of any kind are let pass: there are scanners that put
    /// the letters of their own country there.
    pub(super) fn new(international: bool) -> Self {
        HeaderWatch {
            seen: 0,
            line: Vec::new(),
            in_id: false,
            id: None,
            done: false,
            body: digest::Context::new(&digest::SHA256),
            text: international.then(Vec::new),
        }
    }

    /// Takes the next bytes of the mail.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) -> Result<(), BadHeader> {
        while !self.done && !bytes.is_empty() {
            let taken = memchr(b'\n', bytes).map_or(bytes.len(), |at| at + 1);
            let (now, later) = bytes.split_at(taken);
            self.seen += now.len() as u64;
            if self.seen > MAX_HEADER {
                return Err(BadHeader::TooLarge);
            }
            if let Some(begun) = &mut self.text {
                continue_text(begun, now)?;
            }
            let room = (MAX_LINE + 1).saturating_sub(self.line.len());
            self.line.extend_from_slice(now.get(..room).unwrap_or(now));
            if now.ends_with(b"\n") {
                self.end_of_line();
            }
            bytes = later;
        }
        self.body.update(bytes);
        Ok(())
    }

    fn end_of_line(&mut self) {
        let too_long = self.line.len() > MAX_LINE;
        let line = self.line.trim_ascii_end();
        if line.is_empty() && !self.line.starts_with(b" ") && !self.line.starts_with(b"\t") {
            self.done = true;
        } else if self.line.starts_with(b" ") || self.line.starts_with(b"\t") {
            if let Some(id) = self.id.as_mut().filter(|_| self.in_id) {
                id.extend_from_slice(line.trim_ascii_start());
            }
        } else {
            let value = value_of_message_id(line).filter(|_| self.id.is_none());
            self.in_id = value.is_some();
            if let Some(value) = value {
                self.id = Some(value.to_vec());
            }
        }
        if self.in_id && (too_long || self.id.as_ref().is_some_and(|id| id.len() > MAX_LINE)) {
            // Half an identifier could be another mail's: none is better. The field keeps its place as the first one.
            self.id = Some(Vec::new());
        }
        self.line.clear();
    }

    /// What names the mail when it comes again: its Message-ID in angle brackets, if it had a usable one, and the SHA-256 of what
    /// stands behind its header, hex.
    pub(super) fn identity(self) -> (Option<String>, String) {
        let body = crate::spool::hex(self.body.clone().finish().as_ref());
        (self.message_id(), body)
    }

    fn message_id(self) -> Option<String> {
        let text = String::from_utf8(self.id?).ok()?;
        let text = text.trim();
        let inner =
            text.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map_or(text, |(id, _)| id);
        let inner = inner.trim();
        let usable = !inner.is_empty() && !inner.contains(|c: char| c.is_control() || c.is_whitespace());
        usable.then(|| format!("<{inner}>"))
    }
}

/// Checks that `bytes` go on with the character that has `begun`, and with whole ones; keeps what begins the next.
fn continue_text(begun: &mut Vec<u8>, bytes: &[u8]) -> Result<(), BadHeader> {
    let joined = if begun.is_empty() { Cow::Borrowed(bytes) } else { Cow::Owned([begun, bytes].concat()) };
    let rest = match std::str::from_utf8(&joined) {
        Ok(_) => &[],
        Err(error) if error.error_len().is_some() => return Err(BadHeader::NoUtf8),
        Err(error) => joined.get(error.valid_up_to()..).unwrap_or_default(),
    };
    *begun = rest.to_vec();
    Ok(())
}

fn value_of_message_id(line: &[u8]) -> Option<&[u8]> {
    let colon = memchr(b':', line)?;
    // White space before the colon is obsolete syntax (RFC 5322, section 4.5) that parsers still read.
    let name = line.get(..colon)?.trim_ascii_end();
    name.eq_ignore_ascii_case(MESSAGE_ID).then(|| line.get(colon + 1..)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id_of(mail: &[u8], size: usize) -> Option<String> {
        let mut watch = HeaderWatch::new(false);
        for piece in mail.chunks(size) {
            watch.feed(piece).unwrap();
        }
        watch.message_id()
    }

    #[test]
    fn message_ids() {
        let long = format!("Message-ID: <{}@example.com>\r\n\r\n", "a".repeat(3000));
        let cases: &[(&str, Option<&str>)] = &[
            ("Subject: x\r\nMessage-ID: <a@example.com>\r\n\r\nbody", Some("<a@example.com>")),
            ("message-id:<a@example.com>\r\n\r\n", Some("<a@example.com>")),
            ("MESSAGE-ID :  a@example.com \r\n\r\n", Some("<a@example.com>")),
            ("Message-ID:\r\n <folded@example.com>\r\nTo: x\r\n\r\n", Some("<folded@example.com>")),
            ("Message-ID:\r\n\t<fol\r\n ded@example.com>\r\n\r\n", Some("<folded@example.com>")),
            (
                "Message-ID: <first@example.com>\r\nMessage-ID: <second@example.com>\r\n\r\n",
                Some("<first@example.com>"),
            ),
            ("X-Message-ID: <a@example.com>\r\n\r\n", None),
            ("Subject: Message-ID: <a@example.com>\r\n Message-ID: <b@example.com>\r\n\r\n", None),
            ("Subject: x\r\n\r\nMessage-ID: <body@example.com>\r\n", None),
            ("\r\nMessage-ID: <body@example.com>\r\n", None),
            ("Message-ID: <>\r\n\r\n", None),
            ("Message-ID: <a b@example.com>\r\n\r\n", None),
            ("Message-ID: <only@example.com>\r\n", Some("<only@example.com>")),
            (&long, None),
            ("", None),
        ];
        for (mail, expected) in cases {
            for size in [1, 7, 4096] {
                assert_eq!(id_of(mail.as_bytes(), size).as_deref(), *expected, "{mail:?} by {size}");
            }
        }
        assert_eq!(id_of(b"Message-ID: <\xff\xfe@example.com>\r\n\r\n", 9), None);
    }

    #[test]
    fn a_header_that_is_said_to_be_utf8_is() {
        let cases: &[(&[u8], bool)] = &[
            (b"Subject: plain\r\n\r\n\xff", true),
            ("Subject: \u{e9}\u{4e2d}\u{1f4e0}\r\n\r\n".as_bytes(), true),
            (b"Subject: caf\xe9\r\n\r\n", false),
            (b"Subject: \xf0\x9f\x93\r\n\r\n", false),
            (b"Subject: \xc0\xaf\r\n\r\n", false),
        ];
        for (mail, good) in cases {
            for size in [1, 2, 3, 4096] {
                let mut watch = HeaderWatch::new(true);
                let fed = mail.chunks(size).try_for_each(|piece| watch.feed(piece));
                assert_eq!(fed, if *good { Ok(()) } else { Err(BadHeader::NoUtf8) }, "{mail:?} by {size}");
                let mut watch = HeaderWatch::new(false);
                assert_eq!(mail.chunks(size).try_for_each(|piece| watch.feed(piece)), Ok(()));
            }
        }
    }

    #[test]
    fn a_header_without_end_is_refused_and_costs_no_memory() {
        let mut watch = HeaderWatch::new(false);
        let mut fed = 0;
        let end = loop {
            if let Err(end) = watch.feed(&[b'x'; 1000]) {
                break end;
            }
            fed += 1000;
            assert!(watch.line.len() <= MAX_LINE + 1);
        };
        assert_eq!(end, BadHeader::TooLarge);
        assert!(fed > 1_000_000 && fed <= MAX_HEADER);
        // Behind the header there is no limit here.
        let mut watch = HeaderWatch::new(false);
        watch.feed(b"\r\n").unwrap();
        watch.feed(&vec![b'x'; 3 << 20]).unwrap();
    }
}
