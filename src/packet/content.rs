//! Content streams, as far as one must look into them.

use std::collections::HashSet;

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
}
