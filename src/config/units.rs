//! Durations and sizes as people write them: `30 min`, `90s`, `24 h`, `25 MB`, `1 GiB`.
use serde::{Deserialize, Deserializer};
use std::fmt;

/// A length of time, written as `30 min`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Duration(jiff::SignedDuration);

impl Duration {
    /// From seconds.
    #[must_use]
    pub const fn seconds(n: i64) -> Self {
        Duration(jiff::SignedDuration::from_secs(n))
    }
    /// From minutes.
    #[must_use]
    pub const fn minutes(n: i64) -> Self {
        Duration(jiff::SignedDuration::from_secs(60 * n))
    }
    /// From hours.
    #[must_use]
    pub const fn hours(n: i64) -> Self {
        Duration(jiff::SignedDuration::from_secs(3600 * n))
    }
    /// For sums with timestamps.
    #[must_use]
    pub const fn signed(self) -> jiff::SignedDuration {
        self.0
    }
    /// For timers.
    #[must_use]
    pub fn std(self) -> std::time::Duration {
        self.0.unsigned_abs()
    }
}

impl fmt::Debug for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.0)
    }
}
impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.0)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Duration).map_err(serde::de::Error::custom)
    }
}

/// A size in bytes, written as `25 MB` (powers of ten) or `25 MiB` (powers of two).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Bytes(u64);

impl Bytes {
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

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u64::deserialize(deserializer).map(Bytes)
    }
}
