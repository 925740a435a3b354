//! Digests of what a mail says: its text, and the fields that decide what of it is faxed and how.
//!
//! They are part of what recognises a mail when it comes again, also where nothing but a signature proves it. So each is over the
//! form that a signature is made of at its most lenient (relaxed, RFC 6376, sections 3.4.2 and 3.4.4): white space that somebody
//! adds on the way without breaking the signature makes no other mail. A field that no signature has to cover is not in it.

use aws_lc_rs::digest::{Context, SHA256, SHA256_OUTPUT_LEN};
use memchr::{memchr, memchr_iter, memchr2, memchr3, memmem};

use crate::addressing::readers::Reader;
use crate::text::hex;

/// Fields with a digest each.
const NAMES: [&[u8]; 7] =
    [b"date", b"mime-version", b"content-type", b"content-transfer-encoding", b"subject", b"to", b"cc"];
/// Those whose digests earlier versions recorded.
const FORMER: [usize; 4] = [DATE, MIME_VERSION, TYPE, ENCODING];
const DATE: usize = 0;
const MIME_VERSION: usize = 1;
const TYPE: usize = 2;
const ENCODING: usize = 3;
const SUBJECT: usize = 4;
const TO: usize = 5;
const CC: usize = 6;
/// All fields whose names begin so have one digest together.
const FAX: &[u8] = b"x-fax-";

/// Bytes that the digest of a text takes at once.
const GATHERED: usize = 4096;

type Hash = [u8; SHA256_OUTPUT_LEN];

/// What a mail says, as digests.
#[derive(Debug, Clone)]
pub(super) struct Content {
    text: Hash,
    fields: [Hash; NAMES.len()],
    fax: Hash,
    is_multipart: bool,
}

impl Content {
    /// One digest of all that decides what is faxed for a sender with these `readers`, hex.
    pub(super) fn sha256(&self, readers: &[Reader]) -> String {
        let mut context = Context::new(&SHA256);
        context.update(&self.text);
        let mut places = vec![DATE, SUBJECT, TYPE];
        // What has parts is not encoded itself (RFC 2045, section 6.4), so the field says nothing there.
        if !self.is_multipart {
            places.push(ENCODING);
        }
        if readers.contains(&Reader::Rightfax) {
            places.extend([TO, CC]);
        }
        for place in places {
            context.update(self.fields.get(place).map_or(&[], Hash::as_slice));
        }
        if readers.contains(&Reader::Hylafax) {
            context.update(&self.fax);
        }
        hex(context.finish().as_ref())
    }

    /// The digest of fields that earlier versions recorded, hex.
    pub(super) fn former_sha256(&self) -> String {
        let mut context = Context::new(&SHA256);
        for place in FORMER {
            context.update(self.fields.get(place).map_or(&[], Hash::as_slice));
        }
        hex(context.finish().as_ref())
    }
}

/// Whether a Content-Type of this value has parts.
pub(in crate::intake) fn is_multipart(value: &[u8]) -> bool {
    let prefix = b"multipart/";
    value.trim_ascii_start().get(..prefix.len()).is_some_and(|kind| kind.eq_ignore_ascii_case(prefix))
}

/// Looks at a header line by line.
pub(super) struct Fields {
    /// Which digest the current field belongs to.
    current: Option<Place>,
    each: [Option<Context>; NAMES.len()],
    fax: Option<Context>,
    /// Of the Content-Type; none while no word of it has come.
    is_multipart: Option<bool>,
}

#[derive(Clone, Copy)]
enum Place {
    Named(usize),
    Fax,
}

impl Fields {
    pub(super) fn new() -> Self {
        Fields { current: None, each: [const { None }; NAMES.len()], fax: None, is_multipart: None }
    }

    /// A line begins a field.
    pub(super) fn begin(&mut self, name: &[u8], value: &[u8]) {
        let named = NAMES.iter().position(|wanted| name.eq_ignore_ascii_case(wanted));
        let is_fax = name.get(..FAX.len()).is_some_and(|prefix| prefix.eq_ignore_ascii_case(FAX));
        self.current = named.map(Place::Named).or(is_fax.then_some(Place::Fax));
        if is_fax {
            self.go_on(&[&name.to_ascii_lowercase(), b":".as_slice()].concat());
        }
        self.go_on(value);
    }

    /// A line goes on with the field above it. Its words count, however the field was folded.
    pub(super) fn go_on(&mut self, line: &[u8]) {
        if matches!(self.current, Some(Place::Named(TYPE))) && !line.trim_ascii().is_empty() {
            self.is_multipart.get_or_insert(is_multipart(line));
        }
        let Some(context) = self.context() else { return };
        for word in line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()) {
            context.update(word);
            context.update(b" ");
        }
    }

    /// What was cut off of a line that is too long.
    pub(super) fn beyond(&mut self, cut: Context) {
        if let Some(context) = self.context() {
            context.update(cut.finish().as_ref());
        }
    }

    fn context(&mut self) -> Option<&mut Context> {
        let context = match self.current? {
            Place::Named(place) => self.each.get_mut(place)?,
            Place::Fax => &mut self.fax,
        };
        Some(context.get_or_insert_with(|| Context::new(&SHA256)))
    }

    /// All digests at the end of the mail.
    pub(super) fn content(self, text: Text) -> Content {
        let fields = self.each.map(finish);
        let is_multipart = self.is_multipart.unwrap_or_default();
        Content { text: text.finish(), fields, fax: finish(self.fax), is_multipart }
    }
}

/// Zeros where there was nothing.
fn finish(context: Option<Context>) -> Hash {
    let digest = context.map(Context::finish);
    digest.and_then(|digest| digest.as_ref().try_into().ok()).unwrap_or_default()
}

/// How many of the first `bytes` are lines without white space that end as they should, as those of base64 do, but for the end of the
/// last: they are in their relaxed form. None where they are too few to be worth a look. Also how many were looked at.
fn plain_lines(bytes: &[u8]) -> (usize, usize) {
    let seen = memchr2(b' ', b'\t', bytes).unwrap_or(bytes.len());
    let lines = bytes.get(..seen).unwrap_or_default().trim_ascii_end();
    let ends = || memmem::find_iter(lines, b"\r\n").count();
    let is_plain = lines.len() > GATHERED
        && memchr_iter(b'\n', lines).count() == ends()
        && memchr_iter(b'\r', lines).count() == ends();
    (if is_plain { lines.len() } else { 0 }, seen.max(1))
}

/// The text of a mail in its relaxed form, in pieces of any size: white space within a line is one blank, at its end none, and
/// empty lines at the end of all do not count.
pub(super) struct Text {
    context: Context,
    /// What the digest takes next. It costs the same for a word as for some thousand bytes.
    gathered: Vec<u8>,
    /// Line ends that count once something follows them.
    lines: usize,
    /// White space that counts once something follows it in its line.
    blank: bool,
}

impl Text {
    pub(super) fn new() -> Self {
        Text {
            context: Context::new(&SHA256),
            gathered: Vec::with_capacity(GATHERED),
            lines: 0,
            blank: false,
        }
    }

    pub(super) fn feed(&mut self, mut bytes: &[u8]) {
        // Where lines have white space or odd ends, a look ahead is tried again behind that only.
        let mut odd = usize::MAX;
        while let Some(&first) = bytes.first() {
            if bytes.len() < odd && !first.is_ascii_whitespace() {
                let (plain, seen) = plain_lines(bytes);
                if plain > 0 {
                    let (lines, rest) = bytes.split_at_checked(plain).unwrap_or_default();
                    self.pending();
                    self.put(lines);
                    bytes = rest;
                    continue;
                }
                odd = bytes.len().saturating_sub(seen);
            }
            let taken = match first {
                b'\n' => {
                    self.lines = self.lines.saturating_add(1);
                    self.blank = false;
                    1
                }
                b' ' | b'\t' => {
                    self.blank = true;
                    1
                }
                b'\r' => 1,
                _ => {
                    let words = bytes.get(..memchr3(b' ', b'\t', b'\n', bytes).unwrap_or(bytes.len()));
                    let words = words.unwrap_or_default();
                    self.words(words);
                    words.len()
                }
            };
            bytes = bytes.get(taken..).unwrap_or_default();
        }
    }

    /// What counts now that something follows it.
    fn pending(&mut self) {
        for _ in 0..std::mem::take(&mut self.lines) {
            self.put(b"\r\n");
        }
        if std::mem::take(&mut self.blank) {
            self.put(b" ");
        }
    }

    fn words(&mut self, words: &[u8]) {
        self.pending();
        // A carriage return belongs to the line feed behind it; where it stands alone, mails are refused.
        let mut rest = words;
        while let Some(at) = memchr(b'\r', rest) {
            self.put(rest.get(..at).unwrap_or_default());
            rest = rest.get(at + 1..).unwrap_or_default();
        }
        self.put(rest);
    }

    fn put(&mut self, bytes: &[u8]) {
        if self.gathered.len() + bytes.len() > GATHERED {
            self.context.update(&self.gathered);
            self.gathered.clear();
        }
        if bytes.len() > GATHERED {
            self.context.update(bytes);
        } else {
            self.gathered.extend_from_slice(bytes);
        }
    }

    fn finish(mut self) -> Hash {
        self.context.update(&self.gathered);
        finish(Some(self.context))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAIL: &str = "Date: today\r\nSubject: a b\r\nContent-Type: multipart/mixed;\r\n boundary=x\r\nTo: a@x\r\nX-FAX-To: Roe";

    fn content(header: &str, text: &str, readers: &[Reader]) -> String {
        let mut fields = Fields::new();
        for line in header.split("\r\n") {
            match line.split_once(':') {
                Some((name, value)) if !line.starts_with(' ') => {
                    fields.begin(name.as_bytes(), value.as_bytes());
                }
                _ => fields.go_on(line.as_bytes()),
            }
        }
        let mut digest = Text::new();
        text.as_bytes().chunks(3).for_each(|piece| digest.feed(piece));
        fields.content(digest).sha256(readers)
    }

    /// What a relaxed signature lets pass is the same mail.
    #[test]
    fn white_space_makes_no_other_mail() {
        let real = content(MAIL, "a b\r\n\r\nc\r\n", &[]);
        for text in
            ["a b\r\n\r\nc\r\n\r\n\r\n", "a  b\r\n\r\nc\r\n", "a\tb \t\r\n \r\nc \r\n \r\n", "a b\n\nc\n"]
        {
            assert_eq!(content(MAIL, text, &[]), real, "{text:?}");
        }
        for text in [
            "ab\r\n\r\nc\r\n",
            "a b\r\nc\r\n",
            " a b\r\n\r\nc\r\n",
            "a b\r\n\r\n c\r\n",
            "\r\na b\r\n\r\nc\r\n",
            "",
        ] {
            assert_ne!(content(MAIL, text, &[]), real, "{text:?}");
        }
        let folded = MAIL.replace("a b", "a\r\n  b ").replace("Subject:", "SUBJECT: ");
        assert_eq!(content(&folded, "a b\r\n\r\nc\r\n", &[]), real);
    }

    /// Byte by byte there is no look ahead.
    #[test]
    fn a_text_in_large_pieces_is_the_same_text() {
        let digest = |text: &str, size: usize| {
            let mut digest = Text::new();
            text.as_bytes().chunks(size).for_each(|piece| digest.feed(piece));
            digest.finish()
        };
        let lines = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo0\r\n".repeat(600);
        let half = lines.len() / 2;
        for odd in
            ["", " ", "\t", "  ", "\r", "\n", "\n\n", "\r\n\r\n", " \r\n", "\r\r\n", "\x0c", "\r\n \r\n\x0c"]
        {
            let (before, behind) = lines.split_at(half);
            for text in [
                format!("{odd}{lines}"),
                format!("{before}{odd}{behind}"),
                format!("{before}x{odd}{behind}"),
                format!("{lines}{odd}"),
                format!("{lines}{odd}{lines}--end--\r\n\r\n"),
            ] {
                let wanted = digest(&text, 1);
                for size in [4097, 8192, 16_383, text.len()] {
                    assert_eq!(digest(&text, size), wanted, "{odd:?} by {size}");
                }
            }
        }
    }

    #[test]
    fn what_decides_what_is_faxed_makes_another_mail() {
        let (right, hyla) = ([Reader::Rightfax], [Reader::Hylafax]);
        let single = MAIL.replace("multipart/mixed", "text/plain");
        let rows: [(&str, &str, &str, &[Reader], bool); 12] = [
            (MAIL, "Date: today", "Date: then", &[], true),
            (MAIL, "a b", "a c", &[], true),
            (MAIL, "boundary=x", "boundary=y", &[], true),
            (MAIL, "To: a@x", "To: b@x", &[], false),
            (MAIL, "To: a@x", "To: b@x", &right, true),
            (MAIL, "To: a@x", "Cc: a@x", &right, true),
            (MAIL, "Roe", "Doe", &[], false),
            (MAIL, "Roe", "Doe", &hyla, true),
            (MAIL, "X-FAX-To", "X-FAX-Dialstring", &hyla, true),
            (MAIL, "X-FAX-To: Roe", "Received: x", &[], false),
            (MAIL, "To: a@x", "Content-Transfer-Encoding: 7bit", &[], false),
            (&single, "To: a@x", "Content-Transfer-Encoding: base64", &[], true),
        ];
        for (mail, from, to, readers, another) in rows {
            let changed = content(&mail.replace(from, to), "x", readers);
            assert_eq!(changed != content(mail, "x", readers), another, "{from} {to} {readers:?}");
        }
    }
}
