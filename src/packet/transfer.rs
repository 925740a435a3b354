//! Content transfer encodings (RFC 2045 section 6).

use std::borrow::Cow;

use mail_parser::decoders::base64::base64_decode;

/// How the bytes of a part are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Transfer {
    /// `7bit`, `8bit`, `binary`, or nothing said.
    #[default]
    Plain,
    Base64,
    QuotedPrintable,
    /// As mail was written before MIME (POSIX, `uuencode`); some programs declare it.
    Uuencode,
    /// Something else, which nobody here can undo.
    Unknown,
}

impl Transfer {
    /// By the value of `Content-Transfer-Encoding`.
    pub(super) fn named(value: &str) -> Transfer {
        let word = value.trim().split([';', '(', ' ', '\t', '\r', '\n']).next().unwrap_or_default();
        match word.trim_matches('"').to_ascii_lowercase().as_str() {
            "" | "7bit" | "8bit" | "binary" | "7-bit" | "8-bit" | "7 bit" | "8 bit" | "none" => {
                Transfer::Plain
            }
            "base64" => Transfer::Base64,
            "quoted-printable" => Transfer::QuotedPrintable,
            "uuencode" | "x-uuencode" | "uue" | "x-uue" => Transfer::Uuencode,
            _ => Transfer::Unknown,
        }
    }

    /// The bytes that are meant, and whether they may be damaged. Damaged base64 comes back as it is.
    pub(super) fn decoded(self, written: &[u8]) -> (Cow<'_, [u8]>, bool) {
        match self {
            Transfer::Plain => (Cow::Borrowed(written), false),
            Transfer::Unknown => (Cow::Borrowed(written), true),
            Transfer::QuotedPrintable => {
                let (bytes, damaged) = quoted_printable(written);
                (Cow::Owned(bytes), damaged)
            }
            Transfer::Uuencode => match uudecoded(written) {
                Some(bytes) => (Cow::Owned(bytes), false),
                None => (Cow::Borrowed(written), true),
            },
            Transfer::Base64 => match base64_decode(written) {
                // Four letters are three bytes: a single one left over has lost its fellows on the way.
                Some(bytes) if letters(written) % 4 != 1 => (Cow::Owned(bytes), false),
                _ => (Cow::Borrowed(written), true),
            },
        }
    }
}

/// Counts in bytes, of pieces whose count a byte holds: so the compiler looks at many letters at once.
fn letters(written: &[u8]) -> usize {
    let is_letter = |byte: &u8| u8::from(byte.is_ascii_alphanumeric() | matches!(byte, b'+' | b'/'));
    written.chunks(255).map(|piece| usize::from(piece.iter().map(is_letter).sum::<u8>())).sum()
}

/// What is not an escape after all stays as it is written: in text that is an equals sign that nobody escaped. The second
/// value says whether there was any.
fn quoted_printable(written: &[u8]) -> (Vec<u8>, bool) {
    let mut bytes = Vec::with_capacity(written.len());
    let mut damaged = false;
    for line in written.split_inclusive(|byte| *byte == b'\n') {
        let content = line.strip_suffix(b"\n").unwrap_or(line);
        let content = content.strip_suffix(b"\r").unwrap_or(content);
        let line_end = line.get(content.len()..).unwrap_or_default();
        // RFC 2045 section 6.7, rule 3: blanks at the end of a line were added on the way.
        let blanks = content.iter().rev().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        let mut rest = content.get(..content.len() - blanks).unwrap_or_default();
        let soft = rest.last() == Some(&b'=');
        if soft {
            rest = rest.get(..rest.len() - 1).unwrap_or_default();
        }
        while let Some(place) = memchr::memchr(b'=', rest) {
            bytes.extend_from_slice(rest.get(..place).unwrap_or_default());
            rest = rest.get(place + 1..).unwrap_or_default();
            let digits = rest.get(..2).filter(|two| two.iter().all(u8::is_ascii_hexdigit));
            let digits = digits.and_then(|two| std::str::from_utf8(two).ok());
            match digits.and_then(|two| u8::from_str_radix(two, 16).ok()) {
                Some(value) => {
                    bytes.push(value);
                    rest = rest.get(2..).unwrap_or_default();
                }
                None => {
                    bytes.push(b'=');
                    damaged = true;
                }
            }
        }
        bytes.extend_from_slice(rest);
        if !soft {
            bytes.extend_from_slice(line_end);
        }
    }
    (bytes, damaged)
}

/// The one file in a text by `uuencode`: a line `begin MODE NAME`, lines that say how many bytes they stand for, a line that says none,
/// and `end`. `None` where any of it is otherwise, or words stand around it.
fn uudecoded(written: &[u8]) -> Option<Vec<u8>> {
    let lines = written.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let mut lines = lines.skip_while(|line| line.trim_ascii().is_empty());
    let mode = lines.next()?.strip_prefix(b"begin ")?.get(..4)?;
    if !mode.starts_with(b"0") && !matches!(mode, [b'0'..=b'7', b'0'..=b'7', b'0'..=b'7', b' ']) {
        return None;
    }
    let mut bytes = Vec::with_capacity(written.len() / 4 * 3);
    loop {
        let (length, letters) = lines.next()?.split_first()?;
        let length = usize::from(sextet(*length)?);
        if length == 0 {
            break;
        }
        // Blanks at the end of a line get lost on many ways, and stand for zero.
        let full = length.div_ceil(3).checked_mul(4)?;
        if letters.len() > full.saturating_add(2) {
            return None;
        }
        let mut line = Vec::with_capacity(full);
        for place in (0..full).step_by(4) {
            let mut four = [0; 4];
            for (offset, value) in four.iter_mut().enumerate() {
                *value =
                    u32::from(sextet(letters.get(place.saturating_add(offset)).copied().unwrap_or(b' '))?);
            }
            let [a, b, c, d] = four;
            let whole = (a << 18) | (b << 12) | (c << 6) | d;
            line.extend_from_slice(whole.to_be_bytes().get(1..).unwrap_or_default());
        }
        bytes.extend_from_slice(line.get(..length)?);
    }
    let ended = lines.next().is_some_and(|line| line.trim_ascii_end() == b"end");
    (ended && lines.all(|line| line.trim_ascii().is_empty())).then_some(bytes)
}

/// Six bits as a letter: blank or `` ` `` for zero, up to `_`.
fn sextet(letter: u8) -> Option<u8> {
    match letter {
        b'`' => Some(0),
        b' '..=b'_' => letter.checked_sub(b' '),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_printable_is_undone() {
        for (written, bytes, damaged) in [
            ("a=3Db=0D=0A", "a=b\r\n", false),
            ("soft=\r\nbreak = \nagain", "softbreak again", false),
            ("blank \t\r\nnext=20\r\n", "blank\r\nnext \r\n", false),
            ("=C3=BC=c3=bc", "üü", false),
            ("1 = 1, =XY, =4", "1 = 1, =XY, =4", true),
            ("", "", false),
        ] {
            assert_eq!(
                quoted_printable(written.as_bytes()),
                (bytes.as_bytes().to_vec(), damaged),
                "{written:?}"
            );
        }
    }

    #[test]
    fn damaged_base64_is_noticed() {
        for (written, bytes) in [
            ("aGVs\r\nbG8=\r\n", Some("hello")),
            ("aGVsbG8", Some("hello")),
            ("", Some("")),
            ("aGVsbG8=\r\n-- \r\nlist footer!", None),
            ("aGVsb", None),
            ("a!Vs", None),
        ] {
            let (decoded, damaged) = Transfer::Base64.decoded(written.as_bytes());
            assert_eq!(damaged, bytes.is_none(), "{written:?}");
            if let Some(bytes) = bytes {
                assert_eq!(decoded, bytes.as_bytes(), "{written:?}");
            }
        }
    }

    #[test]
    fn uuencode_is_undone_whole_or_not_at_all() {
        for (written, bytes) in [
            ("begin 644 a.txt\n%:&5L;&\\\n`\nend\n", Some("hello")),
            ("\r\nbegin 644 a.txt\r\n%:&5L;&\\\r\n`\r\nend\r\n\r\n", Some("hello")),
            ("begin 644 a.txt\n#86)C\n#9&5F\n \nend", Some("abcdef")),
            ("begin 644 a.txt\n#86)C\n`\n", None),
            ("begin 644 a.txt\n#86)C\nend\n", None),
            ("begin 644 a.txt\n#86)c\n`\nend\n", None),
            ("begin 644 a.txt\n#86)CABCDEFG\n`\nend\n", None),
            ("words\nbegin 644 a.txt\n#86)C\n`\nend\n", None),
            ("begin 644 a.txt\n#86)C\n`\nend\nwords", None),
            ("begin here\n", None),
            ("", None),
        ] {
            let (decoded, damaged) = Transfer::Uuencode.decoded(written.as_bytes());
            assert_eq!(damaged, bytes.is_none(), "{written:?}");
            if let Some(bytes) = bytes {
                assert_eq!(decoded, bytes.as_bytes(), "{written:?}");
            }
        }
    }

    #[test]
    fn encodings_by_name() {
        for (value, transfer) in [
            ("BASE64", Transfer::Base64),
            (" base64 (comment)", Transfer::Base64),
            ("Quoted-Printable", Transfer::QuotedPrintable),
            ("8bit", Transfer::Plain),
            ("", Transfer::Plain),
            ("x-uuencode", Transfer::Uuencode),
            ("x-yenc", Transfer::Unknown),
        ] {
            assert_eq!(Transfer::named(value), transfer, "{value}");
        }
    }
}
