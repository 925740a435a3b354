//! Counts, sizes and foreign words as sentences have them; the nearest of several words (`text/nearest.rs`).

use std::fmt;

pub(crate) mod nearest;

/// Crockford's base 32 in lower case: no i, l, o, u, so that what is written in it survives being read out on the telephone.
pub(crate) const BASE32: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Bytes as lower-case hex digits, as digests are written everywhere.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// `1 page`, `2 pages`: `n` of `what`, whose plural ends in "s".
#[must_use]
pub fn counted(n: impl TryInto<u64>, what: &str) -> String {
    match n.try_into().unwrap_or(u64::MAX) {
        1 => format!("1 {what}"),
        n => format!("{n} {what}s"),
    }
}

/// A number of bytes, shown in the largest unit of which there is at least one: `1.5 MB`, `52 MB`, `900 bytes`. Powers of ten, rounded down:
/// what is shown as allowed is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bytes(pub u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(1_000_000_000, "GB"), (1_000_000, "MB"), (1000, "kB")];
        let Some((unit, name)) = units.into_iter().find(|(unit, _)| self.0 >= *unit) else {
            return f.write_str(&counted(self.0, "byte"));
        };
        let (whole, tenth) = (self.0 / unit, self.0 % unit / (unit / 10));
        if whole < 10 && tenth > 0 {
            write!(f, "{whole}.{tenth} {name}")
        } else {
            write!(f, "{whole} {name}")
        }
    }
}

/// `text` fit to stand in a sentence or a log line: at most `longest` characters, an ellipsis where it was cut, blanks for line
/// breaks, and nothing invisible that could turn the line around or fake another one.
#[must_use]
pub fn quotable(text: &str, longest: usize) -> String {
    let mut shown: String = text
        .trim()
        .chars()
        .take(longest)
        .map(|c| if is_invisible(c) || c == '"' { '?' } else { c })
        .collect();
    if text.trim().chars().nth(longest).is_some() {
        shown.push('\u{2026}');
    }
    shown
}

/// Control characters, zero-width ones, and those that change the direction of writing.
pub(crate) fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffd}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_text_cannot_break_a_line() {
        assert_eq!(quotable("  a\r\nb\u{202e}c\"d ", 20), "a??b?c?d");
        assert_eq!(quotable("abcdef", 3), "abc\u{2026}");
    }

    proptest::proptest! {
        #[test]
        fn quoted_text_is_short(text in "\\PC*|[\"\\\\@<>a. ]{0,20}") {
            proptest::prop_assert!(quotable(&text, 10).chars().count() <= 11);
        }
    }

    #[test]
    fn counts_and_sizes_read_right() {
        let counts = [(0_u32, "0 pages"), (1, "1 page"), (2, "2 pages")];
        for (n, words) in counts {
            assert_eq!(counted(n, "page"), words);
        }
        for (bytes, words) in [
            (0, "0 bytes"),
            (1, "1 byte"),
            (999, "999 bytes"),
            (1000, "1 kB"),
            (262_144, "262 kB"),
            (1_500_000, "1.5 MB"),
            (52_428_800, "52 MB"),
            (u64::MAX, "18446744073 GB"),
        ] {
            assert_eq!(Bytes(bytes).to_string(), words);
        }
    }
}
