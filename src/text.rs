//! Counts and sizes as sentences have them.

use std::fmt;

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

#[cfg(test)]
mod tests {
    use super::*;

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
