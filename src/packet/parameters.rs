//! The value of a `Content-Type` or `Content-Disposition` field: a word and its parameters, in all the ways in which mail
//! programs write the names of files.
//!
//! The parser of the library joins continued values in quadratic time, decodes each piece of a name by itself (a letter of
//! two bytes may be split between two pieces) and takes the last of two `boundary` parameters; so this is done here.

use std::collections::BTreeMap;

use mail_parser::HeaderValue;
use mail_parser::parsers::MessageStream;

use super::text::{in_charset, readable};

/// Parameters of one field that are looked at.
const MOST: usize = 5_000;

/// A field's value, taken apart.
#[derive(Debug, Default)]
pub(super) struct Value {
    /// What stands before the first `;`, lower case, without comments.
    pub word: String,
    parameters: BTreeMap<String, String>,
    /// There are two different boundaries.
    pub unclear: bool,
}

impl Value {
    /// A parameter's value, by its name in lower case.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str)
    }
}

/// Takes the value of a field apart (RFC 2045 section 5.1, RFC 2231).
pub(super) fn parse(raw: &[u8]) -> Value {
    let text: String = readable(raw).chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    let mut rest = text.as_str();
    let word = without_comments(until_semicolon(&mut rest)).trim().to_ascii_lowercase();
    let mut value = Value { word, ..Value::default() };
    // RFC 2231 section 3: the pieces of a value by their number; and whether a piece is percent-encoded.
    let mut pieces: BTreeMap<String, BTreeMap<u32, (bool, String)>> = BTreeMap::new();
    for _ in 0..MOST {
        if rest.is_empty() {
            break;
        }
        let Some((name, content)) = parameter(&mut rest) else { continue };
        match piece(&name) {
            Some((base, number, encoded)) => {
                pieces.entry(base.to_owned()).or_default().entry(number).or_insert((encoded, content));
            }
            None => {
                let known = value.parameters.get(&name);
                value.unclear |= name == "boundary" && known.is_some_and(|known| *known != content);
                if known.is_none() {
                    // RFC 2047 section 5 forbids encoded words here, and everybody writes them.
                    let content = if content.contains("=?") { decoded_words(&content) } else { content };
                    value.parameters.insert(name, content);
                }
            }
        }
    }
    for (name, pieces) in pieces {
        value.unclear |= name == "boundary" && value.parameters.contains_key(&name);
        // The extended form is the more exact one where a program writes both (RFC 6266 section 4.3).
        value.parameters.insert(name, joined(&pieces));
    }
    value
}

/// Takes off everything up to the next `;` that is not in quotes or in a comment, and that `;`.
fn until_semicolon<'t>(rest: &mut &'t str) -> &'t str {
    let (mut quoted, mut depth, mut escaped) = (false, 0u32, false);
    for (place, c) in rest.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted || depth > 0 => escaped = true,
            '"' if depth == 0 => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => depth = depth.saturating_sub(1),
            ';' if !quoted && depth == 0 => return cut_off(rest, place),
            _ => {}
        }
    }
    std::mem::take(rest)
}

/// Takes off what stands before the `;` at `place`, and the `;`.
fn cut_off<'t>(rest: &mut &'t str, place: usize) -> &'t str {
    let before = rest.get(..place).unwrap_or_default();
    *rest = rest.get(place + 1..).unwrap_or_default();
    before
}

fn without_comments(text: &str) -> String {
    let mut depth = 0u32;
    text.chars()
        .filter(|c| {
            match c {
                '(' => depth += 1,
                ')' => {
                    depth = depth.saturating_sub(1);
                    return false;
                }
                _ => {}
            }
            depth == 0
        })
        .collect()
}

/// Takes off one parameter: its name in lower case, and its value without quotes.
fn parameter(rest: &mut &str) -> Option<(String, String)> {
    let text = rest.trim_start();
    let Some(equals) = text.find(['=', ';']) else {
        *rest = "";
        return None;
    };
    let name = without_comments(text.get(..equals).unwrap_or_default()).trim().to_ascii_lowercase();
    let after = text.get(equals + 1..).unwrap_or_default();
    if text.get(equals..=equals) == Some(";") {
        *rest = after;
        return None;
    }
    let after = after.trim_start();
    let content = match after.strip_prefix('"') {
        Some(inner) => {
            let (content, behind) = quoted(inner);
            *rest = behind;
            until_semicolon(rest);
            content
        }
        // Not to the next blank: `name=scan of today (1).pdf` is wrong, and common.
        None => {
            let mut behind = after;
            let place = after.find(';').unwrap_or(after.len());
            let content = cut_off(&mut behind, place).trim_end().to_owned();
            *rest = behind;
            content
        }
    };
    (!name.is_empty()).then_some((name, content))
}

/// A quoted string after its first quote, and what follows it. A backslash hides only quotes and backslashes: those of
/// `"C:\scans\a.pdf"` were never meant to hide anything.
fn quoted(inner: &str) -> (String, &str) {
    let mut content = String::new();
    let mut characters = inner.char_indices().peekable();
    while let Some((place, c)) = characters.next() {
        match c {
            '"' => return (content, inner.get(place + 1..).unwrap_or_default()),
            '\\' => match characters.next_if(|(_, next)| matches!(next, '"' | '\\')) {
                Some((_, next)) => content.push(next),
                None => content.push('\\'),
            },
            _ => content.push(c),
        }
    }
    (content, "")
}

/// `filename*1*` is piece 1 of `filename`, and percent-encoded.
fn piece(name: &str) -> Option<(&str, u32, bool)> {
    let (base, number) = name.split_once('*')?;
    match number {
        "" => Some((base, 0, true)),
        _ => {
            let (digits, encoded) = match number.strip_suffix('*') {
                Some(digits) => (digits, true),
                None => (number, false),
            };
            Some((base, digits.parse().ok()?, encoded))
        }
    }
}

/// The pieces from 0 on, up to the first that is missing. All are decoded as one, by the character set of the first.
fn joined(pieces: &BTreeMap<u32, (bool, String)>) -> String {
    let mut bytes = Vec::new();
    let mut charset = String::new();
    for (expected, (number, (encoded, content))) in (0u32..).zip(pieces) {
        if expected != *number {
            break;
        }
        if !encoded {
            bytes.extend_from_slice(content.as_bytes());
            continue;
        }
        let mut content = content.as_str();
        if expected == 0 {
            // RFC 2231 section 4: charset'language'text.
            let mut marks = content.splitn(3, '\'');
            if let (Some(first), Some(_), Some(text)) = (marks.next(), marks.next(), marks.next()) {
                (charset, content) = (first.to_owned(), text);
            }
        }
        percent_decode(content.as_bytes(), &mut bytes);
    }
    in_charset(&bytes, Some(charset.as_str()).filter(|charset| !charset.is_empty()))
}

/// Appends the bytes that `%41` and the like stand for.
pub(super) fn percent_decode(mut rest: &[u8], bytes: &mut Vec<u8>) {
    while let Some((&first, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        match digits.and_then(|two| u8::from_str_radix(two, 16).ok()) {
            Some(value) if first == b'%' => {
                bytes.push(value);
                rest = after.get(2..).unwrap_or_default();
            }
            _ => {
                bytes.push(first);
                rest = after;
            }
        }
    }
}

/// RFC 2047 encoded words, decoded.
fn decoded_words(text: &str) -> String {
    let line = format!("{text}\n");
    match MessageStream::new(line.as_bytes()).parse_unstructured() {
        HeaderValue::Text(decoded) => decoded.into_owned(),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_in_all_their_ways() {
        for (raw, name) in [
            ("attachment; filename=a.pdf", "a.pdf"),
            ("attachment; filename=\"a b.pdf\"", "a b.pdf"),
            ("attachment; filename=scan (1) of 2.pdf; size=3", "scan (1) of 2.pdf"),
            ("attachment; FileName = \"a;b.pdf\" (comment; x)", "a;b.pdf"),
            ("attachment; filename=\"C:\\scans\\a.pdf\"", "C:\\scans\\a.pdf"),
            ("attachment; filename=\"say \\\"hi\\\".pdf\"", "say \"hi\".pdf"),
            ("attachment; filename*=utf-8''Befund%20f%C3%BCr.pdf", "Befund für.pdf"),
            ("attachment; filename*=iso-8859-1'de'Befund%20f%FCr.pdf", "Befund für.pdf"),
            ("attachment; filename*0=\"long \"; filename*1=\"name.pdf\"", "long name.pdf"),
            ("attachment; filename*1=\"name.pdf\"; filename*0=\"long \"", "long name.pdf"),
            // A letter split between two pieces, and a piece that is not encoded.
            ("attachment; filename*0*=utf-8''f%C3; filename*1*=%BCr; filename*2=\" 5%.pdf\"", "für 5%.pdf"),
            ("attachment; filename*0=a; filename*2=c", "a"),
            ("attachment; filename=plain.pdf; filename*=utf-8''sch%C3%B6n.pdf", "schön.pdf"),
            ("attachment; filename=\"=?utf-8?Q?Befund_f=C3=BCr.pdf?=\"", "Befund für.pdf"),
            ("attachment;\r\n filename=\"=?iso-2022-jp?B?GyRCPj4bKEIucGRm?=\"", "松.pdf"),
            ("attachment; filename==?utf-8?B?w7wucGRm?=", "ü.pdf"),
            ("attachment; filename=\"never closed", "never closed"),
            ("attachment; filename=first.pdf; filename=second.pdf", "first.pdf"),
        ] {
            assert_eq!(parse(raw.as_bytes()).get("filename"), Some(name), "{raw}");
        }
        assert_eq!(parse(b"attachment; filename=f\xfcr.pdf").get("filename"), Some("für.pdf"));
    }

    #[test]
    fn words_and_boundaries() {
        let value = parse(b" Multipart/Mixed (really); boundary=\"a b\"; charset=x");
        assert_eq!(
            (value.word.as_str(), value.get("boundary"), value.unclear),
            ("multipart/mixed", Some("a b"), false)
        );
        assert!(parse(b"multipart/mixed; boundary=a; boundary=b").unclear);
        assert!(parse(b"multipart/mixed; boundary=a; boundary*=''b").unclear);
        assert!(!parse(b"multipart/mixed; boundary=a; boundary=\"a\"").unclear);
        assert_eq!(parse(b"").word, "");
        assert_eq!(parse(b";;;=;x").word, "");
    }

    #[test]
    fn twenty_thousand_pieces_take_no_time() {
        let mut raw = String::from("attachment");
        for number in 0..100_000 {
            raw += &format!("; a*{number}=xxxx");
        }
        let began = Instant::now();
        parse(raw.as_bytes());
        assert!(began.elapsed() < Duration::from_secs(5));
    }

    proptest! {
        #[test]
        fn anything_is_parsed(raw in "[a-z*0-9=;\"\\\\()'% \r\n?ü]{0,80}") {
            parse(raw.as_bytes());
        }
    }
}
