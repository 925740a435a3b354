//! Where the parts of a mail begin and end.
//!
//! Mail programs differ in what they make of a broken structure, and the library's parser makes something of everything: a
//! part that one of them shows may not exist for another. We must not fax half a mail, so structure is read here by the
//! letter of RFC 2046 section 5.1.1, and whatever another reader could understand otherwise is a [`Fault`] that holds the
//! mail: a delimiter that is almost one, a container that is never closed, a part that is described twice.

use crate::text::counted;
use memchr::{memchr, memchr2_iter};

use super::Rules;
use super::names::{clean_name, one_line};
use super::parameters::{self, Value};
use super::text::Flow;
use super::transfer::Transfer;

/// Why the parts of a mail cannot be told for sure, or are too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nothing but blanks.
    Empty,
    /// There is no header field.
    NoHeader,
    /// A header over the limit.
    LongHeader,
    /// Parts within parts over the limit.
    Deep,
    /// Parts over the limit.
    Many,
    /// A container whose boundary is not there.
    NoBoundary,
    /// The last part has no end.
    CutOff,
    /// Delimiters that can be read in two ways.
    Unclear,
    /// Two different types or encodings for one part.
    Twice,
}

impl Fault {
    /// For the sender.
    pub(super) fn sentence(self, rules: &Rules) -> String {
        match self {
            Fault::Empty => "The mail is empty.".into(),
            Fault::NoHeader => "This is not a mail: it has no header.".into(),
            Fault::LongHeader => {
                format!("The header of the mail is longer than {} KiB.", rules.max_header >> 10)
            }
            Fault::Deep => format!(
                "The mail nests more than {} parts in one another. Send the documents as plain attachments.",
                rules.max_depth
            ),
            Fault::Many => {
                format!(
                    "The mail has more than {}. Send it as several mails.",
                    counted(rules.max_parts, "part")
                )
            }
            Fault::NoBoundary => {
                "The mail says that it has several parts, but not where they begin (its boundary is \
                                  missing). Send it again, or from another mail program."
                    .into()
            }
            Fault::CutOff => "The mail ends before its last part does; it may have been cut off on the way. \
                              Send it again."
                .into(),
            Fault::Unclear => {
                "The parts of the mail are not marked off clearly, so that one could be missed. \
                               Send it again, or from another mail program."
                    .into()
            }
            Fault::Twice => "The mail describes one of its parts in two different ways. \
                             Send it again, or from another mail program."
                .into(),
        }
    }
}

/// What the header of a part says about it.
#[derive(Debug, Clone, Default)]
pub(super) struct Head {
    /// Declared type, lower case; what it is by default where nothing is declared.
    pub media_type: String,
    /// Marks off the parts of a container.
    pub boundary: Option<String>,
    /// Character set of a text.
    pub charset: Option<String>,
    pub flow: Flow,
    /// File name, cleaned.
    pub name: Option<String>,
    /// Disposition `attachment`.
    pub attached: bool,
    /// Disposition `inline`.
    pub inline: bool,
    /// Content-ID without angle brackets.
    pub content_id: Option<String>,
    pub transfer: Transfer,
    /// Its word, where nobody here knows it.
    pub encoding: Option<String>,
    /// What an S/MIME part holds (RFC 8551 section 3.2.2).
    pub smime_type: Option<String>,
}

impl Head {
    /// Reads the fields of a header; `default` is the type where it names none.
    pub(super) fn read(header: &[u8], default: &str) -> Result<Head, Fault> {
        let (mut kind, mut transfer) = (None, None);
        let (mut disposition, mut content_id) = (None, None);
        for (name, value) in fields(header) {
            // What a part is must be said once. Where a document has two names, either will do.
            let (place, once) = match name.to_ascii_lowercase().as_slice() {
                b"content-type" => (&mut kind, true),
                b"content-transfer-encoding" => (&mut transfer, true),
                b"content-disposition" => (&mut disposition, false),
                b"content-id" => (&mut content_id, false),
                _ => continue,
            };
            let value = value.trim_ascii();
            if once && place.is_some_and(|known: &[u8]| !known.eq_ignore_ascii_case(value)) {
                return Err(Fault::Twice);
            }
            place.get_or_insert(value);
        }
        let kind = kind.map(parameters::parse).unwrap_or_default();
        if kind.unclear {
            return Err(Fault::Twice);
        }
        let disposition = disposition.map(parameters::parse).unwrap_or_default();
        let name = disposition.get("filename").or_else(|| kind.get("name")).and_then(clean_name);
        let smime_type = kind.get("smime-type").map(str::to_ascii_lowercase);
        let written = transfer.map(String::from_utf8_lossy).unwrap_or_default();
        let transfer = Transfer::named(&written);
        Ok(Head {
            media_type: media_type(&kind, default),
            boundary: kind.get("boundary").map(|boundary| boundary.trim_end().to_owned()),
            charset: kind.get("charset").and_then(|set| set.split_whitespace().next()).map(str::to_owned),
            flow: Flow {
                flowed: kind.get("format").is_some_and(|format| format.eq_ignore_ascii_case("flowed")),
                delsp: kind.get("delsp").is_some_and(|answer| answer.eq_ignore_ascii_case("yes")),
            },
            name,
            attached: disposition.word == "attachment",
            inline: disposition.word == "inline",
            content_id: content_id.map(|id| {
                let id = String::from_utf8_lossy(id);
                id.trim_matches(|c: char| c == '<' || c == '>' || c.is_whitespace()).to_owned()
            }),
            transfer,
            encoding: (transfer == Transfer::Unknown).then(|| one_line(&written, 40)),
            smime_type,
        })
    }
}

/// RFC 2045 section 5.2: without a type it is plain text (in a digest, a mail); so too with one that is none.
fn media_type(kind: &Value, default: &str) -> String {
    match kind.word.split_once('/') {
        Some((major, minor)) => one_line(&format!("{}/{}", major.trim(), minor.trim()), 100),
        None if kind.word.is_empty() || kind.word == "text" => default.to_owned(),
        None => one_line(&format!("{}/unknown", kind.word), 100),
    }
}

/// The header with its last line end, and the body after the empty line between them.
pub(super) fn split(raw: &[u8]) -> (&[u8], &[u8]) {
    let mut from = 0;
    loop {
        let rest = raw.get(from..).unwrap_or_default();
        for empty in [&b"\n"[..], b"\r\n"] {
            if let Some(body) = rest.strip_prefix(empty) {
                return (raw.get(..from).unwrap_or_default(), body);
            }
        }
        match memchr(b'\n', rest) {
            Some(end) => from += end + 1,
            None => return (raw, b""),
        }
    }
}

/// The fields of a header: names without blanks around them, values with their folds.
pub(crate) fn fields(header: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut rest = header;
    std::iter::from_fn(move || {
        while !rest.is_empty() {
            let mut end = 0;
            loop {
                let line = rest.get(end..).unwrap_or_default();
                end += memchr(b'\n', line).map_or(line.len(), |end| end + 1);
                if !matches!(rest.get(end), Some(b' ' | b'\t')) {
                    break;
                }
            }
            let (field, after) = rest.split_at_checked(end).unwrap_or((rest, b""));
            rest = after;
            if let Some(colon) = memchr(b':', field) {
                let (name, value) = field.split_at_checked(colon).unwrap_or((field, b""));
                return Some((name.trim_ascii(), value.get(1..).unwrap_or_default()));
            }
        }
        None
    })
}

/// Without the line with which mailbox files begin a mail, where there is one.
pub(super) fn without_postmark(raw: &[u8]) -> &[u8] {
    if !raw.starts_with(b"From ") && !raw.starts_with(b">From ") {
        return raw;
    }
    memchr(b'\n', raw).and_then(|end| raw.get(end + 1..)).unwrap_or_default()
}

/// Whether this begins as mails do: a header that says from whom, and when or what about.
pub(super) fn is_mail(raw: &[u8]) -> bool {
    // Headers of real mails are far smaller, and everything that is attached is looked at.
    let head = without_postmark(raw);
    let (header, _) = split(head.get(..64 << 10).unwrap_or(head));
    // A text does not become a mail by a line that begins with `From:` somewhere.
    let first = header.split(|byte| *byte == b':').next().unwrap_or_default().trim_ascii_end();
    if first.is_empty() || !first.iter().all(u8::is_ascii_graphic) {
        return false;
    }
    let (mut from, mut rest) = (false, false);
    for (name, _) in fields(header) {
        from |= name.eq_ignore_ascii_case(b"from");
        rest |= name.eq_ignore_ascii_case(b"date") || name.eq_ignore_ascii_case(b"subject");
    }
    from && rest
}

/// A container's body, taken apart.
#[derive(Debug, Default)]
pub(super) struct Parts<'x> {
    pub parts: Vec<&'x [u8]>,
    /// What stands before the first delimiter and after the last: for nobody to see.
    pub outside: [&'x [u8]; 2],
}

/// Takes the body of a container apart. `outermost` says whether nothing of the mail follows it.
pub(super) fn parts<'x>(
    body: &'x [u8],
    boundary: &str,
    most: u32,
    outermost: bool,
) -> Result<Parts<'x>, Fault> {
    let mut found = Parts::default();
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let mut start: Option<usize> = None;
    let mut closed = false;
    for at in dashes(body) {
        let Some(line) = body.get(at + 2..).and_then(|line| line.strip_prefix(boundary.as_bytes())) else {
            continue;
        };
        let length = memchr(b'\n', line).map_or(line.len(), |end| end + 1);
        let close = match line.get(..length).unwrap_or_default().trim_ascii_end() {
            b"" => false,
            b"--" => true,
            // Almost a delimiter: `almost_delimited` finds it where it stands in a part.
            _ => continue,
        };
        if closed {
            if close {
                continue;
            }
            return Err(Fault::Unclear);
        }
        match start {
            Some(start) => found.parts.push(before_delimiter(body, start, at)),
            None => found.outside = [body.get(..at).unwrap_or_default(), b""],
        }
        if found.parts.len() > most {
            return Err(Fault::Many);
        }
        let after = at + 2 + boundary.len() + length;
        if close {
            closed = true;
            found.outside[1] = body.get(after..).unwrap_or_default();
        }
        start = Some(after);
    }
    match start {
        None => Err(Fault::NoBoundary),
        Some(_) if !closed => Err(if outermost { Fault::CutOff } else { Fault::Unclear }),
        Some(_) if found.parts.is_empty() => Err(Fault::NoBoundary),
        Some(_) => Ok(found),
    }
}

/// The part that ends at the delimiter line at `end`; the line end before that belongs to the delimiter.
fn before_delimiter(body: &[u8], start: usize, end: usize) -> &[u8] {
    let part = body.get(start..end).unwrap_or_default();
    let part = part.strip_suffix(b"\n").unwrap_or(part);
    part.strip_suffix(b"\r").unwrap_or(part)
}

/// Whether a line begins like a delimiter of one of these containers. Some readers take it for one.
pub(super) fn almost_delimited(text: &[u8], boundaries: &[String]) -> bool {
    !boundaries.is_empty()
        && dashes_after_any(text).any(|at| {
            let line = text.get(at + 2..).unwrap_or_default();
            boundaries.iter().any(|boundary| line.starts_with(boundary.as_bytes()))
        })
}

/// Whether a text has swallowed a part: a line with two hyphens, then a field as headers of parts have them. The delimiter
/// above it was damaged, or belongs to nothing.
pub(super) fn swallows_a_part(text: &[u8]) -> bool {
    dashes(text).any(|at| {
        let line = text.get(at..).unwrap_or_default();
        let next = memchr(b'\n', line).and_then(|end| line.get(end + 1..)).unwrap_or_default();
        let fields = [&b"content-type:"[..], b"content-disposition:", b"content-transfer-encoding:"];
        fields
            .iter()
            .any(|field| next.get(..field.len()).is_some_and(|head| head.eq_ignore_ascii_case(field)))
    })
}

/// Where lines begin with two hyphens.
fn dashes(text: &[u8]) -> impl Iterator<Item = usize> {
    let first = text.starts_with(b"--").then_some(0);
    first.into_iter().chain(memchr::memmem::find_iter(text, b"\n--").map(|at| at + 1))
}

/// The same, also after a carriage return that stands alone, which ends a line for some readers.
fn dashes_after_any(text: &[u8]) -> impl Iterator<Item = usize> {
    let first = text.starts_with(b"--").then_some(0);
    let others = memchr2_iter(b'\n', b'\r', text).map(|at| at + 1);
    first.into_iter().chain(others.filter(|at| text.get(*at..).is_some_and(|line| line.starts_with(b"--"))))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn header_and_body() {
        for (raw, header, body) in [
            ("A: b\r\nC: d\r\n\r\nbody\r\n", "A: b\r\nC: d\r\n", "body\r\n"),
            ("A: b\n\nbody", "A: b\n", "body"),
            ("\r\nbody", "", "body"),
            ("A: b\r\n", "A: b\r\n", ""),
            ("", "", ""),
        ] {
            assert_eq!(split(raw.as_bytes()), (header.as_bytes(), body.as_bytes()), "{raw:?}");
        }
    }

    #[test]
    fn fields_keep_their_folds() {
        let header = b"A : b\r\n\tc\r\nno colon\r\nD:\r\nE: x";
        let found: Vec<_> = fields(header).collect();
        assert_eq!(found, [(&b"A"[..], &b" b\r\n\tc\r\n"[..]), (b"D", b"\r\n"), (b"E", b" x")]);
    }

    #[test]
    fn parts_are_marked_off_by_whole_lines() {
        let body = b"preamble\r\n--b\r\none\r\n--b \t\r\n\r\ntwo\r\n\r\n--b--\r\nepilogue";
        let found = parts(body, "b", 9, true).unwrap();
        assert_eq!(found.parts, [&b"one"[..], b"\r\ntwo\r\n"]);
        assert_eq!(found.outside, [&b"preamble\r\n"[..], b"epilogue"]);
        for (body, outermost, fault) in [
            ("--c\r\nx\r\n--c--", true, Fault::NoBoundary),
            ("--b--", true, Fault::NoBoundary),
            ("--b\r\nx", true, Fault::CutOff),
            ("--b\r\nx", false, Fault::Unclear),
            ("--b\r\nx\r\n--b--\r\n--b\r\ny\r\n--b--", true, Fault::Unclear),
            ("--b\r\n--b\r\n--b\r\n--b\r\n--b--", true, Fault::Many),
        ] {
            assert_eq!(parts(body.as_bytes(), "b", 3, outermost).unwrap_err(), fault, "{body:?}");
        }
        assert_eq!(parts(b"--b\n--b\nx--b\n--b--", "b", 9, true).unwrap().parts, [&b""[..], b"x--b"]);
    }

    #[test]
    fn what_some_take_for_a_delimiter_is_noticed() {
        let of = ["outer".to_owned(), "inner".to_owned()];
        for (text, almost) in [
            ("--outerX\r\n", true),
            ("x\r\n--inner- -\r\n", true),
            ("x\r--outer\r\n", true),
            ("x --outer\r\n", false),
            ("--oute\r\n-- outer", false),
            ("", false),
        ] {
            assert_eq!(almost_delimited(text.as_bytes(), &of), almost, "{text:?}");
        }
    }

    #[test]
    fn a_swallowed_part_is_noticed() {
        for (text, swallows) in [
            ("words\r\n--x\r\ncontent-type: application/pdf\r\n", true),
            ("--x\nContent-Disposition: attachment\n", true),
            ("-- \r\nContent of this mail: none", false),
            ("Content-Type: application/pdf", false),
        ] {
            assert_eq!(swallows_a_part(text.as_bytes()), swallows, "{text}");
        }
    }

    #[test]
    fn a_part_is_described_once() {
        for (header, fault) in [
            ("Content-Type: text/plain\r\nContent-Type: text/html\r\n", true),
            ("Content-Type: text/plain\r\ncontent-type:  Text/Plain\r\n", false),
            ("Content-Transfer-Encoding: base64\r\nContent-Transfer-Encoding: 7bit\r\n", true),
            ("Content-Type: multipart/mixed; boundary=a; boundary=b\r\n", true),
            ("Content-Disposition: inline; filename=a\r\nContent-Disposition: inline; filename=b\r\n", false),
        ] {
            let head = Head::read(header.as_bytes(), "text/plain");
            assert_eq!(head.err(), fault.then_some(Fault::Twice), "{header}");
        }
        for (declared, media_type) in [
            ("", "text/plain"),
            ("Content-Type:\r\n", "text/plain"),
            ("Content-Type: TEXT\r\n", "text/plain"),
            ("Content-Type: Application / PDF ; x\r\n", "application/pdf"),
            ("Content-Type: pdf\r\n", "pdf/unknown"),
        ] {
            assert_eq!(Head::read(declared.as_bytes(), "text/plain").unwrap().media_type, media_type);
        }
    }

    #[test]
    fn mails_begin_as_mails() {
        for (raw, answer) in [
            ("From: a@example.com\r\nDate: x\r\n\r\n", true),
            ("From jane Mon Nov  2 10:00:00 2026\nReceived: x\nSubject: y\nFrom: a\n\n", true),
            ("From: a@example.com\r\n\r\nDate: x", false),
            ("Dear all:\r\nFrom: a\r\nDate: b\r\n", false),
            ("%PDF-1.7\nFrom: a\nDate: b\n", false),
            ("", false),
        ] {
            assert_eq!(is_mail(raw.as_bytes()), answer, "{raw:?}");
        }
    }

    proptest! {
        /// Every byte of a container is in a part, outside, or in a delimiter line.
        #[test]
        fn nothing_gets_lost(body in "(--b|--|b|x|\r\n|\n| |--b\r\n){0,40}(\r\n--b--)?") {
            if let Ok(found) = parts(body.as_bytes(), "b", 100, true) {
                let inside: usize = found.parts.iter().map(|part| part.len()).sum();
                let outside: usize = found.outside.iter().map(|part| part.len()).sum();
                let between = body.len() - inside - outside;
                let delimiters = found.parts.len() + 1;
                prop_assert!(between >= delimiters * 3 && between <= delimiters * 40 + body.matches(' ').count());
                prop_assert!(found.parts.iter().all(|part| !part.windows(5).any(|w| w == b"\n--b\n")));
            }
        }
    }
}
