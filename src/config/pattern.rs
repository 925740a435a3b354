//! Patterns of file names, as `*.part` or `inprogress-*`.

use std::fmt;
use std::str::FromStr;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer};

/// Longest pattern, in bytes; what a file name may have.
const LONGEST: usize = 255;

/// Which file names are meant: `*` stands for any letters, or none; large and small ASCII letters are the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamePattern {
    text: String,
}

impl NamePattern {
    /// Whether `name` is one of those that are meant.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        let mut parts = self.text.split('*');
        // `split` gives at least one part, and a pattern has a star, so that the last one is another.
        let (Some(first), Some(last)) = (parts.next(), parts.next_back()) else { return name == self.text };
        let Some(mut rest) = name.strip_prefix(first).and_then(|rest| rest.strip_suffix(last)) else {
            return false;
        };
        // Leftmost is enough: what stands further right only leaves less for the parts behind it.
        for part in parts {
            let Some((_, behind)) = rest.split_once(part) else { return false };
            rest = behind;
        }
        true
    }
}

impl FromStr for NamePattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let allowed =
            "allowed: a part of a file name and a * for the rest, as \"*.part\" or \"inprogress-*\"";
        if text.len() > LONGEST || text.contains('/') || text.chars().any(char::is_control) {
            return Err(format!("found {text:?}; {allowed}"));
        }
        if !text.contains('*') || text.chars().all(|c| c == '*') {
            return Err(format!(
                "found {text:?}, which means {} name; {allowed}",
                match text {
                    "" => "no",
                    text if text.contains('*') => "every",
                    _ => "a single",
                }
            ));
        }
        Ok(NamePattern { text: text.to_ascii_lowercase() })
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for NamePattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = NamePattern;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a pattern of file names, as \"*.part\"")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<NamePattern, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_letters() {
        let table = [
            ("*.part", &["a.pdf.part", "A.PART", ".part"][..], &["a.part.pdf", "part"][..]),
            ("tmp_*", &["tmp_a.pdf", "TMP_"], &["a.tmp_", "tmp"]),
            ("*.sb-*-*", &["a.pdf.sb-1234abcd-xyz", "a.sb--"], &["a.sb-1234", "a.pdf"]),
            ("a*a", &["aa", "aba"], &["a", "ab"]),
            ("*.a*.a", &["x.a.a", ".a.b.a.a"], &[".a", "x.a"]),
            ("ä*", &["ä.pdf"], &["a.pdf", "Ä.pdf"]),
        ];
        for (pattern, yes, no) in table {
            let pattern: NamePattern = pattern.parse().unwrap();
            for name in yes {
                assert!(pattern.matches(name), "{pattern} means {name}");
            }
            for name in no {
                assert!(!pattern.matches(name), "{pattern} does not mean {name}");
            }
        }
    }

    #[test]
    fn what_means_every_name_or_one_is_refused() {
        for text in ["", "*", "**", "a.pdf", "in/*", "a\n*"] {
            assert!(text.parse::<NamePattern>().unwrap_err().contains("*.part"), "{text:?}");
        }
    }
}
