//! Durations and sizes as people write them: `30 min`, `90s`, `24 h`, `7 days`, `25 MB`, `1 GiB`.
//!
//! A bare number is not a duration: whether `idle = 5` means seconds or minutes is what the reader would have to guess.

use std::fmt;
use std::str::FromStr;

use jiff::{SignedDuration, Span, SpanRelativeTo};
use serde::de::{Deserializer, Unexpected, Visitor};
use serde::{Deserialize, de};

/// A length of time, written as `30 min`. Positive, and at most [`Duration::LONGEST`] when it was read from a file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Duration(SignedDuration);

impl Duration {
    /// Ten years: long enough for every key, short enough for every sum with a timestamp.
    pub const LONGEST: Duration = Duration::hours(3652 * 24);

    /// From seconds.
    #[must_use]
    pub const fn seconds(n: i64) -> Self {
        Duration(SignedDuration::from_secs(n))
    }
    /// From minutes.
    #[must_use]
    pub const fn minutes(n: i64) -> Self {
        Duration(SignedDuration::from_secs(60 * n))
    }
    /// From hours.
    #[must_use]
    pub const fn hours(n: i64) -> Self {
        Duration(SignedDuration::from_secs(3600 * n))
    }
    /// For sums with timestamps.
    #[must_use]
    pub const fn signed(self) -> SignedDuration {
        self.0
    }
    /// For timers.
    #[must_use]
    pub fn std(self) -> std::time::Duration {
        self.0.unsigned_abs()
    }
}

const DURATION_WANTED: &str =
    "a length of time with its unit, as \"90 s\", \"30 min\", \"24 h\" or \"7 days\"";

impl FromStr for Duration {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // A Span knows days, which a SignedDuration refuses; a day of the file is 24 hours, whatever clocks are put back.
        let length = text
            .trim()
            .parse::<Span>()
            .and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()))
            .map_err(|_| format!("found {text:?}; allowed: {DURATION_WANTED}"))?;
        if length <= SignedDuration::ZERO {
            return Err(format!("found {text:?}; allowed: more than zero"));
        }
        if length > Duration::LONGEST.0 {
            return Err(format!("found {text:?}; allowed: at most ten years"));
        }
        Ok(Duration(length))
    }
}

impl fmt::Debug for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// In the largest unit that divides it: `30 min`, `7 days`, `90 s`.
impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        if self.0.subsec_nanos() != 0 || seconds <= 0 {
            return write!(f, "{:#}", self.0);
        }
        match seconds {
            _ if seconds == 86_400 => f.write_str("1 day"),
            _ if seconds % 86_400 == 0 => write!(f, "{} days", seconds / 86_400),
            _ if seconds % 3600 == 0 => write!(f, "{} h", seconds / 3600),
            _ if seconds % 60 == 0 => write!(f, "{} min", seconds / 60),
            _ => write!(f, "{seconds} s"),
        }
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Duration;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(DURATION_WANTED)
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Duration, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// A size in bytes, written as `25 MB` (powers of ten), `25 MiB` (powers of two) or a plain number of bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(u64);

impl Bytes {
    /// From bytes.
    #[must_use]
    pub const fn new(n: u64) -> Self {
        Bytes(n)
    }
    /// From powers of two.
    #[must_use]
    pub const fn mebibytes(n: u64) -> Self {
        Bytes(n << 20)
    }
    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

const SIZE_WANTED: &str = "a size, as \"25 MB\", \"512 KiB\", \"1 GiB\" or a plain number of bytes";

/// In any case of letters: nobody means millibytes.
const SIZE_UNITS: &[(&str, u64)] = &[
    ("TiB", 1 << 40),
    ("TB", 1_000_000_000_000),
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("kB", 1000),
];

impl FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("found {text:?}; allowed: {SIZE_WANTED}");
        let trimmed = text.trim();
        let (digits, unit) =
            trimmed.split_at(trimmed.find(|c: char| !c.is_ascii_digit()).unwrap_or(trimmed.len()));
        let number: u64 = digits.parse().map_err(|_| wrong())?;
        let unit = unit.trim();
        let factor = if unit.is_empty() || unit.eq_ignore_ascii_case("b") {
            1
        } else {
            let known = SIZE_UNITS.iter().find(|(name, _)| unit.eq_ignore_ascii_case(name));
            known.map(|(_, factor)| *factor).ok_or_else(wrong)?
        };
        number
            .checked_mul(factor)
            // What TOML's own integers can say, so that a size means the same in either form.
            .filter(|bytes| i64::try_from(*bytes).is_ok())
            .map(Bytes)
            .ok_or_else(|| format!("found {text:?}; allowed: at most {} bytes", i64::MAX))
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// In the largest unit that divides it: `25 MB`, `50 MiB`, `1234 bytes`.
impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits =
            SIZE_UNITS.iter().filter(|(_, factor)| self.0 >= *factor && self.0.is_multiple_of(*factor));
        match fits.max_by_key(|(_, factor)| *factor) {
            Some((unit, factor)) => write!(f, "{} {unit}", self.0 / factor),
            None => write!(f, "{} bytes", self.0),
        }
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Size;
        impl Visitor<'_> for Size {
            type Value = Bytes;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(SIZE_WANTED)
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Bytes, E> {
                text.parse().map_err(E::custom)
            }
            fn visit_i64<E: de::Error>(self, n: i64) -> Result<Bytes, E> {
                u64::try_from(n).map(Bytes).map_err(|_| E::invalid_value(Unexpected::Signed(n), &self))
            }
            fn visit_u64<E: de::Error>(self, n: u64) -> Result<Bytes, E> {
                Ok(Bytes(n))
            }
        }
        deserializer.deserialize_any(Size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_as_people_write_them() {
        for (text, seconds, shown) in [
            ("30 min", 1800, "30 min"),
            ("90s", 90, "90 s"),
            ("90 seconds", 90, "90 s"),
            ("24 h", 86_400, "1 day"),
            ("7 days", 604_800, "7 days"),
            ("1d 12h", 129_600, "36 h"),
            ("1.5 h", 5400, "90 min"),
            (" 5 minutes ", 300, "5 min"),
            ("2 weeks", 1_209_600, "14 days"),
        ] {
            let duration: Duration = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(duration, Duration::seconds(seconds), "{text}");
            assert_eq!(duration.to_string(), shown);
            assert_eq!(shown.parse(), Ok(duration), "what is shown can be written");
        }
        for (text, says) in [
            ("30", "with its unit"),
            ("", "with its unit"),
            ("soon", "with its unit"),
            ("1 month", "with its unit"),
            ("0 s", "more than zero"),
            ("-5 min", "more than zero"),
            ("5 min ago", "more than zero"),
            ("4000 days", "at most ten years"),
            ("999999999999999999999 h", "with its unit"),
        ] {
            let sentence = text.parse::<Duration>().unwrap_err();
            assert!(sentence.contains(says), "{text}: {sentence}");
        }
    }

    #[test]
    fn sizes_as_people_write_them() {
        for (text, bytes, shown) in [
            ("25 MB", 25_000_000, "25 MB"),
            ("25MB", 25_000_000, "25 MB"),
            ("1 GiB", 1 << 30, "1 GiB"),
            ("50 MiB", 50 << 20, "50 MiB"),
            ("300 kB", 300_000, "300 kB"),
            ("2 tb", 2_000_000_000_000, "2 TB"),
            ("4096", 4096, "4 KiB"),
            ("1234 B", 1234, "1234 bytes"),
            ("0", 0, "0 bytes"),
        ] {
            let size: Bytes = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!((size.get(), size.to_string().as_str()), (bytes, shown));
        }
        for text in ["", "MB", "-1", "1.5 MB", "1 XB", "25 MB more", "99999999999 TB", "18446744073709551615"]
        {
            assert!(text.parse::<Bytes>().is_err(), "{text}");
        }
    }
}
