//! Text of a mail: from bytes in some character set to plain lines.

use std::borrow::Cow;

use mail_parser::decoders::charsets::map::charset_decoder;

/// How the lines of a plain text are to be read (RFC 3676).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Flow {
    /// `format=flowed`: a line that ends with a blank goes on in the next.
    pub flowed: bool,
    /// `delsp=yes`: that blank is no part of the text.
    pub delsp: bool,
}

/// Bytes as text: in the character set they claim; without one, or with one that nobody knows, as UTF-8 where they are
/// that, and as Windows-1252 otherwise, which is what the programs write that do not say.
pub(super) fn in_charset(bytes: &[u8], charset: Option<&str>) -> String {
    let name = charset.unwrap_or_default().to_ascii_lowercase();
    match name.as_str() {
        // What is UTF-8 and not only ASCII is not by chance, and programs that say ASCII write what they like.
        "" | "us-ascii" | "ascii" | "unknown-8bit" => readable(bytes).into_owned(),
        "utf-8" | "utf8" => String::from_utf8_lossy(without_mark(bytes)).into_owned(),
        name => match charset_decoder(name.as_bytes()) {
            Some(decode) => decode(bytes),
            None => readable(bytes).into_owned(),
        },
    }
}

/// Bytes that do not say what they are.
pub(super) fn readable(bytes: &[u8]) -> Cow<'_, str> {
    let bytes = without_mark(bytes);
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        // Cut within a character.
        Err(error) if error.error_len().is_none() => String::from_utf8_lossy(bytes),
        Err(_) => match charset_decoder(b"windows-1252") {
            Some(decode) => Cow::Owned(decode(bytes)),
            None => String::from_utf8_lossy(bytes),
        },
    }
}

/// Without the mark that Windows programs write in front of UTF-8.
fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}

/// Lines that end in `\n`, without control characters, and without blank lines at either end.
pub(super) fn tidy(text: &str) -> String {
    let mut tidy = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '\r' => {
                characters.next_if_eq(&'\n');
                tidy.push('\n');
            }
            '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}' => tidy.push('\n'),
            '\n' | '\t' => tidy.push(c),
            '\u{feff}' => {}
            _ if c.is_control() => {}
            _ => tidy.push(c),
        }
    }
    let end = tidy.trim_end().len();
    tidy.truncate(end);
    let start = tidy.len() - tidy.trim_start().len();
    // The blanks before the first word stay if they are on its line.
    let line = tidy.get(..start).and_then(|blank| blank.rfind('\n')).map_or(0, |end| end + 1);
    tidy.drain(..line);
    tidy
}

/// Joins the lines of a flowed text (RFC 3676 section 4): a line that ends with a blank goes on in the next of the same
/// depth of quotes; the blank in front of stuffed lines is taken off; the signature's mark stands alone.
pub(super) fn joined(text: &str, flow: Flow) -> String {
    if !flow.flowed {
        return text.to_owned();
    }
    let mut joined = String::with_capacity(text.len());
    // Depth of the line that waits for its rest.
    let mut open: Option<usize> = None;
    for (number, line) in text.split('\n').enumerate() {
        let line = line.strip_suffix('\r').unwrap_or(line);
        let words = line.trim_start_matches('>');
        let depth = line.len() - words.len();
        let words = words.strip_prefix(' ').unwrap_or(words);
        let is_signature = words == "-- ";
        let goes_on = open.take() == Some(depth) && !is_signature;
        if !goes_on {
            if number > 0 {
                joined.push('\n');
            }
            joined.extend(std::iter::repeat_n('>', depth));
            if depth > 0 {
                joined.push(' ');
            }
        }
        let flows = words.ends_with(' ') && !is_signature;
        joined.push_str(if flows && flow.delsp { words.strip_suffix(' ').unwrap_or(words) } else { words });
        open = flows.then_some(depth);
    }
    joined
}

/// The first `bytes` bytes or a little less, so that no character is cut.
pub(super) fn cut(text: &str, bytes: usize) -> &str {
    let mut end = bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn character_sets() {
        for (bytes, charset, text) in [
            (&b"gr\xfc\xdfe"[..], Some("iso-8859-1"), "grüße"),
            (b"gr\xfc\xdfe", None, "grüße"),
            (b"gr\xfc\xdfe", Some("us-ascii"), "grüße"),
            ("grüße".as_bytes(), None, "grüße"),
            ("grüße".as_bytes(), Some("x-nobody-knows"), "grüße"),
            ("\u{feff}grüße".as_bytes(), Some("utf-8"), "grüße"),
            (b"\xf0\xd2\xc9\xd7\xc5\xd4", Some("KOI8-R"), "Привет"),
            (b"\x1b$B>>\x1b(B", Some("iso-2022-jp"), "松"),
            (b"\xc4\xe3", Some("gb18030"), "你"),
            (b"Gr+APwA3w-e", Some("utf-7"), "Grüße"),
            ("grü\u{fffd}e".as_bytes(), Some("utf-8"), "grü\u{fffd}e"),
            (b"gr\xc3\xbc\xdf", Some("utf-8"), "grü\u{fffd}"),
            (b"gr\xc3\xbc\xc3", None, "grü\u{fffd}"),
            (b"", Some("utf-8"), ""),
        ] {
            assert_eq!(in_charset(bytes, charset), text, "{charset:?}");
        }
    }

    #[test]
    fn lines_are_tidied() {
        for (raw, text) in [
            ("a\r\nb\rc\n", "a\nb\nc"),
            (" \r\n\r\n  first\n\nsecond \r\n \r\n", "  first\n\nsecond"),
            ("a\u{0}\u{7}\tb\u{a0}c\u{2028}d", "a\tb\u{a0}c\nd"),
            ("\r\n \n", ""),
        ] {
            assert_eq!(tidy(raw), text, "{raw:?}");
        }
    }

    #[test]
    fn flowed_lines_are_joined() {
        let flowed = Flow { flowed: true, delsp: false };
        for (flow, raw, text) in [
            (flowed, "one \r\ntwo \r\nthree\r\nfour", "one two three\nfour"),
            (Flow { flowed: true, delsp: true }, "one \r\ntwo\r\n", "onetwo\n"),
            (flowed, " >not a quote\r\n From here\n", ">not a quote\nFrom here\n"),
            (
                flowed,
                "> quoted \n> more\n>> deeper \nmine \n-- \nJane",
                "> quoted more\n>> deeper \nmine \n-- \nJane",
            ),
            (flowed, "<TOFAX \nNUM:1>", "<TOFAX NUM:1>"),
            (Flow::default(), "one \ntwo", "one \ntwo"),
        ] {
            assert_eq!(joined(raw, flow), text, "{raw:?}");
        }
    }
}
