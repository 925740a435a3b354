//! Content streams, as far as one must look into them.

use std::collections::HashSet;

use lopdf::Object;
use lopdf::content::{Content, Operation};

/// Every name (`/F1`, `/Im0`) in a content stream. Also those in strings and pictures: more names than are used is fine,
/// one too few is not.
pub(super) fn names_in(content: &[u8]) -> HashSet<Vec<u8>> {
    let mut names = HashSet::new();
    for start in memchr::memchr_iter(b'/', content) {
        let rest = content.get(start + 1..).unwrap_or_default();
        let end = rest.iter().position(|byte| is_delimiter(*byte)).unwrap_or(rest.len());
        let token = rest.get(..end).unwrap_or_default();
        if !names.contains(token) {
            names.insert(token.to_vec());
            // PDF 1.7 section 7.3.5: #2F in a name is the byte it stands for.
            if token.contains(&b'#') {
                names.insert(unescaped(token));
            }
        }
    }
    names
}

fn is_delimiter(byte: u8) -> bool {
    matches!(
        byte,
        b'\0' | b'\t' | b'\n' | 0x0c | b'\r' | b' ' | b'(' | b')' | b'<' | b'>' | b'[' | b']' | b'{' | b'}'
    ) || matches!(byte, b'/' | b'%')
}

fn unescaped(token: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(token.len());
    let mut rest = token;
    while let Some((&byte, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        match digits.and_then(|two| u8::from_str_radix(two, 16).ok()) {
            Some(value) if byte == b'#' => {
                plain.push(value);
                rest = after.get(2..).unwrap_or_default();
            }
            _ => {
                plain.push(byte);
                rest = after;
            }
        }
    }
    plain
}

/// What paints, and so must not stand in a passage of a hidden layer.
const SHOWS_TEXT: &[&str] = &["Tj", "TJ", "'", "\""];
const PAINTS: &[&str] = &["Do", "sh", "BI", "EI"];
const PAINTS_PATH: &[&str] = &["S", "s", "f", "F", "f*", "B", "B*", "b", "b*"];

/// The content without what its passages in `hidden` layers (`/OC /Name BDC` ... `EMC`) paint. Their other operators stay: a
/// viewer that hides a passage still lets it move the state (PDF 1.7 section 8.11.3.2).
///
/// `None` when there is no such passage, or when it cannot be taken out without moving what follows it: it begins within a
/// text object, where showing text moves the place of the next text; or the content does not parse.
pub(super) fn without_hidden(content: &[u8], hidden: &HashSet<Vec<u8>>) -> Option<Vec<u8>> {
    let decoded = Content::decode_strict(content).ok()?;
    let mut operations = Vec::with_capacity(decoded.operations.len());
    // For each marked-content sequence that is open, whether it is hidden; and the text object, if one is open.
    let (mut open, mut in_text, mut found) = (Vec::new(), false, false);
    for operation in decoded.operations {
        match operation.operator.as_str() {
            "BT" => in_text = true,
            "ET" => in_text = false,
            "BMC" => open.push(false),
            "BDC" => {
                let begins = matches!(operation.operands.as_slice(), [Object::Name(tag), Object::Name(layer)]
                    if tag == b"OC" && hidden.contains(layer));
                if begins && in_text {
                    return None;
                }
                found |= begins;
                open.push(begins);
            }
            "EMC" => {
                // A passage may not end in a text object that it did not begin before.
                let ended = open.pop()?;
                if ended && in_text {
                    return None;
                }
            }
            painting if open.contains(&true) => {
                if PAINTS_PATH.contains(&painting) {
                    operations.push(Operation::new("n", Vec::new()));
                    continue;
                }
                if SHOWS_TEXT.contains(&painting) || PAINTS.contains(&painting) {
                    continue;
                }
            }
            _ => {}
        }
        operations.push(operation);
    }
    if found { Content { operations }.encode().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_end_at_blanks_and_delimiters() {
        let names = names_in(b"/F1 12 Tf/Im0 Do[/CS0]cs <</MC#200 1>>BDC (a/b) Tj /end");
        for name in ["F1", "Im0", "CS0", "MC#200", "MC 0", "b", "end"] {
            assert!(names.contains(name.as_bytes()), "{name}");
        }
        assert_eq!(names.len(), 7);
    }

    #[test]
    fn hidden_passages_lose_their_paint_and_keep_their_state() {
        let hidden = HashSet::from([b"L".to_vec()]);
        for (content, left) in [
            ("/OC /L BDC BT (x) Tj ET EMC BT (y) Tj ET", Some("/OC /L BDC\nBT\nET\nEMC\nBT\n(y) Tj\nET")),
            ("/OC /L BDC 0 0 9 9 re f EMC", Some("/OC /L BDC\n0 0 9 9 re\nn\nEMC")),
            ("/OC /L BDC 2 w /Im Do /P BMC (x) Tj EMC EMC", Some("/OC /L BDC\n2 w\n/P BMC\nEMC\nEMC")),
            ("/OC /Shown BDC BT (x) Tj ET EMC", None),
            ("BT /OC /L BDC (x) Tj EMC (y) Tj ET", None),
            ("/OC /L BDC BT (x) Tj EMC (y) Tj ET", None),
            ("EMC", None),
            ("(", None),
        ] {
            let got = without_hidden(content.as_bytes(), &hidden);
            assert_eq!(got.as_deref().map(String::from_utf8_lossy).as_deref(), left, "{content}");
        }
    }
}
