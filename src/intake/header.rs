//! Watches a mail while it streams by: for the few fields of its header that intake needs, for the header's size, and for
//! digests of the mail.
//!
//! Everything else about a mail is found out later, in a process of its own; the Message-ID is needed before, because a
//! mail that was answered but whose answer got lost comes again, and must be recognised then. The digest of what it says
//! (`content_digest`) tells it from another document under the same Message-ID (there are scanners that give every mail the same
//! one), and from a copy in which somebody changed what is faxed. The rest of the header does not count, since each way that a mail
//! takes adds lines to it.
//!
//! Who wrote it and whether a program did is decided by this header and again by the whole mail later. Both must come to the same,
//! so a header in which one of those fields is too long to be looked at here is refused.

use std::borrow::Cow;

use aws_lc_rs::digest;
use memchr::memchr;

use super::content_digest::{Content, Fields, Text};
use crate::addressing::Automatic;
use crate::packet::{MACHINE_FIELDS, automatic, from_address, header_fields as fields};
use crate::text::hex;

/// A header longer than this is refused. Real ones have a few KiB.
const MAX_HEADER: u64 = 1 << 20;
/// A Message-ID longer than this (RFC 5322 allows 998 in a line) is taken for none.
const MAX_LINE: usize = 2048;
const MESSAGE_ID: &[u8] = b"message-id";
const FROM: &[u8] = b"from";
/// Bytes of the fields that say who wrote a mail, and whether a program did.
const MAX_KEPT: usize = 16 << 10;

/// Looks at the bytes of a mail in order, in pieces of any size.
pub(super) struct HeaderWatch {
    seen: u64,
    /// The current line, cut off behind [`MAX_LINE`].
    line: Vec<u8>,
    /// Of what was cut off of it.
    beyond: digest::Context,
    /// The last field was the first Message-ID: lines that begin with white space belong to it.
    in_id: bool,
    id: Option<Vec<u8>>,
    /// Of the fields that decide what is faxed.
    fields: Fields,
    /// From, and the first of each field that may say that a program wrote the mail, as in a header.
    kept: Vec<u8>,
    in_kept: bool,
    /// One of those did not fit.
    overlong: bool,
    done: bool,
    text: Text,
    /// Of what stands behind the header, to the byte; only where earlier versions may have recorded such.
    body: Option<digest::Context>,
    /// Where the header must be UTF-8: its bytes that may begin a character which the next piece ends.
    begun: Option<Vec<u8>>,
}

/// What [`HeaderWatch`] knows of a mail.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    /// Its Message-ID in angle brackets, if it had a usable one.
    pub(super) message_id: Option<String>,
    /// Its address in From, as whatever reads the mail later sees it.
    pub(super) from: Option<String>,
    /// Digests of what decides what is faxed.
    pub(super) content: Content,
    /// What earlier versions knew the mail by, where they may have.
    pub(super) former: Option<FormerContent>,
    /// It says that a program wrote it.
    pub(super) automatic: Option<Automatic>,
}

/// What a mail says, as earlier versions recorded it: SHA-256, hex.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormerContent {
    /// Of the fields that say when it was written and how its body is to be read.
    pub(super) reading_sha256: String,
    /// Of what stands behind its header, to the byte.
    pub(super) body_sha256: String,
}

/// What a header is refused for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BadHeader {
    /// It is over [`MAX_HEADER`].
    TooLarge,
    /// SMTPUTF8 was declared, and it is not UTF-8 (RFC 6532, section 3.2).
    NoUtf8,
    /// The fields that say who or what wrote the mail are over [`MAX_KEPT`], or a line of them over [`MAX_LINE`].
    Overlong,
}

impl HeaderWatch {
    /// With `international`, the header must be UTF-8. Without, bytes of any kind are let pass: there are scanners that put
    /// the letters of their own country there.
    pub(super) fn new(international: bool) -> Self {
        HeaderWatch {
            seen: 0,
            line: Vec::new(),
            beyond: digest::Context::new(&digest::SHA256),
            in_id: false,
            id: None,
            fields: Fields::new(),
            kept: Vec::new(),
            in_kept: false,
            overlong: false,
            done: false,
            text: Text::new(),
            body: None,
            begun: international.then(Vec::new),
        }
    }

    /// Also makes the digests that earlier versions recorded.
    pub(super) fn with_former(mut self) -> Self {
        self.body = Some(digest::Context::new(&digest::SHA256));
        self
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
            if let Some(begun) = &mut self.begun {
                continue_text(begun, now)?;
            }
            let room = (MAX_LINE + 1).saturating_sub(self.line.len());
            let (kept, beyond) = now.split_at_checked(room).unwrap_or((now, b""));
            self.line.extend_from_slice(kept);
            if !beyond.is_empty() {
                self.beyond.update(beyond);
            }
            if now.ends_with(b"\n") {
                self.end_of_line();
            }
            if self.overlong {
                return Err(BadHeader::Overlong);
            }
            bytes = later;
        }
        self.text.feed(bytes);
        if let Some(body) = &mut self.body {
            body.update(bytes);
        }
        Ok(())
    }

    fn end_of_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let whole = line.len() <= MAX_LINE;
        let text = line.trim_ascii_end();
        if line.starts_with(b" ") || line.starts_with(b"\t") {
            self.go_on(text);
        } else if text.is_empty() {
            self.done = true;
        } else {
            self.begin(text);
        }
        if self.in_id && (!whole || self.id.as_ref().is_some_and(|id| id.len() > MAX_LINE)) {
            // Half an identifier could be another mail's: none is better. The field keeps its place as the first one.
            self.id = Some(Vec::new());
        }
        if !whole {
            let beyond = std::mem::replace(&mut self.beyond, digest::Context::new(&digest::SHA256));
            self.fields.beyond(beyond);
            self.overlong |= self.in_kept;
        }
        // The line's memory serves the next one.
        self.line = line;
        self.line.clear();
    }

    /// A line that begins a field.
    fn begin(&mut self, line: &[u8]) {
        let (name, value) = field(line).unwrap_or_default();
        let first_id = name.eq_ignore_ascii_case(MESSAGE_ID) && self.id.is_none();
        self.in_id = first_id;
        if first_id {
            self.id = Some(value.to_vec());
        }
        self.fields.begin(name, value);
        let machine = MACHINE_FIELDS.iter().any(|wanted| name.eq_ignore_ascii_case(wanted.as_bytes()));
        self.in_kept = name.eq_ignore_ascii_case(FROM)
            || machine && !fields(&self.kept).any(|(known, _)| known.eq_ignore_ascii_case(name));
        if self.in_kept {
            self.keep(line);
        }
    }

    /// A line that goes on with the field above it.
    fn go_on(&mut self, line: &[u8]) {
        if let Some(id) = self.id.as_mut().filter(|_| self.in_id) {
            id.extend_from_slice(line.trim_ascii_start());
        }
        self.fields.go_on(line);
        if self.in_kept && !line.trim_ascii().is_empty() {
            self.keep(line);
        }
    }

    fn keep(&mut self, line: &[u8]) {
        self.overlong |= self.kept.len().saturating_add(line.len()) > MAX_KEPT;
        if !self.overlong {
            self.kept.extend_from_slice(line);
            self.kept.extend_from_slice(b"\r\n");
        }
    }

    /// What is known of the mail at its end.
    pub(super) fn seen(self) -> Seen {
        let message_id = self.message_id();
        let content = self.fields.content(self.text);
        let former = |body: digest::Context| FormerContent {
            reading_sha256: content.former_sha256(),
            body_sha256: hex(body.finish().as_ref()),
        };
        Seen {
            message_id,
            automatic: automatic(&self.kept),
            from: from_address(&self.kept),
            former: self.body.map(former),
            content,
        }
    }

    fn message_id(&self) -> Option<String> {
        let text = std::str::from_utf8(self.id.as_ref()?).ok()?;
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

/// Name and value of the field that `line` begins.
fn field(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = memchr(b':', line)?;
    // White space before the colon is obsolete syntax (RFC 5322, section 4.5) that parsers still read.
    Some((line.get(..colon)?.trim_ascii_end(), line.get(colon + 1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id_of(mail: &[u8], size: usize) -> Option<String> {
        let mut watch = HeaderWatch::new(false);
        for piece in mail.chunks(size) {
            watch.feed(piece).unwrap();
        }
        watch.seen().message_id
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

    fn seen(mail: &str) -> Seen {
        let mut watch = HeaderWatch::new(false).with_former();
        for piece in mail.as_bytes().chunks(7) {
            watch.feed(piece).unwrap();
        }
        watch.seen()
    }

    /// What a signature may have left out is part of what a mail is; what the way adds, and how lines are folded, is not.
    #[test]
    fn the_fields_that_say_how_a_mail_is_read_tell_it_from_a_copy() {
        let long = format!("x={}", "a".repeat(3000));
        let mail = |kind: &str, more: &str| {
            format!(
                "{more}Date: Mon, 30 Nov 2026 09:15:00 -0500\r\nContent-Type: {kind}\r\nMessage-ID: <1@x>\r\n\r\nbody\r\n"
            )
        };
        let of = |kind: &str, more: &str| seen(&mail(kind, more)).content.former_sha256();
        let real = of("multipart/mixed; boundary=a", "");
        assert_eq!(of("multipart/mixed;\r\n\tboundary=a ", "Received: from x\r\n"), real, "its way");
        for (kind, more, what) in [
            ("multipart/mixed; boundary=b", "", "another boundary"),
            ("text/plain", "", "another type"),
            ("multipart/mixed; boundary=a", "Content-Transfer-Encoding: base64\r\n", "an encoding"),
            ("multipart/mixed; boundary=a", "MIME-Version: 1.0\r\n", "a version"),
            ("multipart/mixed; boundary=a", "Date: Tue, 1 Dec 2026 09:15:00 -0500\r\n", "another date"),
            ("multipart/mixed; boundary=a", "Content-type: text/plain\r\n", "a second type"),
        ] {
            assert_ne!(of(kind, more), real, "{what}");
        }
        let of_long = |value: &str| {
            let line = format!("Content-Transfer-Encoding: {value}\r\n");
            seen(&mail("multipart/mixed", &line)).content.former_sha256()
        };
        assert_ne!(of_long(&long), of("multipart/mixed", ""));
        assert_ne!(of_long(&long), of_long(&format!("{long}b")), "what stands far behind counts too");
        assert_ne!(of_long(&long), of_long(&long.replacen("x=a", "x=b", 1)));
        let (one, other) = (seen(&mail("a/b", "X: 1\r\n")), seen(&mail("a/b", "X: 2\r\n")));
        assert_eq!(one.former, other.former);
        assert!(one.former.is_some());
    }

    #[test]
    fn mail_of_a_program_is_known_by_its_header() {
        for (header, notice) in [
            ("Subject: x", None),
            ("Auto-Submitted: no", None),
            ("auto-submitted:\r\n auto-generated", Some(false)),
            ("Precedence: bulk\r\nAuto-Submitted: auto-generated", Some(false)),
            ("Auto-Submitted: auto-replied (vacation)", Some(true)),
            ("Content-Type: multipart/report;\r\n boundary=x\r\nAuto-Submitted: auto-generated", Some(true)),
        ] {
            let found =
                seen(&format!("From: a@example.com\r\n{header}\r\n\r\nAuto-Submitted: auto-replied\r\n"));
            assert_eq!(found.automatic.map(|found| found.notice), notice, "{header}");
        }
        let mut watch = HeaderWatch::new(false);
        for n in 0..2000 {
            let name = MACHINE_FIELDS[n % MACHINE_FIELDS.len()];
            watch
                .feed(format!("{name}: {}\r\n {}\r\n", "x".repeat(100), "y".repeat(100)).as_bytes())
                .unwrap();
        }
        assert!(watch.kept.len() <= MAX_KEPT + 2);
    }

    /// What reads the mail later sees all of a field. One that would say something else there is refused here.
    #[test]
    fn a_field_that_says_who_wrote_it_is_looked_at_as_a_whole_or_refused() {
        let fold = format!("{}\r\n", " x".repeat(450));
        let fed = |header: &str| HeaderWatch::new(false).feed(format!("{header}\r\n\r\n").as_bytes());
        let filled = format!("In-Reply-To: <a@b>\r\n{}Auto-Submitted: auto-replied", fold.repeat(20));
        for (header, good) in [
            (filled.as_str(), false),
            (&format!("Auto-Submitted: ({}) auto-replied", "x".repeat(3000)), false),
            (&format!("From: \"{}\" <fax@clinic.example>", "x".repeat(3000)), false),
            (&format!("From: a@b.example\r\n{}", fold.repeat(20)), false),
            (&format!("X: {0}\r\nSubject: {0}", "x".repeat(3000)), true),
            (&format!("References: <a@b>\r\n{}", fold.repeat(20)), true),
        ] {
            let expected = if good { Ok(()) } else { Err(BadHeader::Overlong) };
            assert_eq!(fed(header), expected, "{}", header.get(..40).unwrap_or_default());
        }
        let from = |header: &str| seen(&format!("{header}\r\nSubject: x\r\n\r\n")).from;
        for (header, address) in [
            ("From: Jane Doe\r\n <jane@x.example>", Some("jane@x.example")),
            ("X: y\r\nfrom: jane@x.example", Some("jane@x.example")),
            ("Sender: jane@x.example", None),
        ] {
            assert_eq!(from(header).as_deref(), address, "{header}");
        }
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
