//! How things are shown: tables for people, one JSON object a line for scripts, times in the organization's zone.

use std::fmt;
use std::io::{self, Write};

use anyhow::Context;
use faxbridge::config::Config;
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Rows under a head, each column as wide as its widest cell.
pub(crate) struct Table {
    head: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(head: &[&'static str]) -> Self {
        Table { head: head.to_vec(), rows: Vec::new() }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|cell| plain(&cell)).collect());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head: Vec<String> = self.head.iter().map(|cell| (*cell).to_owned()).collect();
        let all = || std::iter::once(&head).chain(&self.rows);
        let width = |column: usize| {
            all().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..head.len()).map(width).collect();
        for row in all() {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(&format!("{cell:width$}  "));
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// `text` without what a terminal would obey: names and sentences may come from a stranger's mail.
pub(crate) fn plain(text: &str) -> String {
    let obeyed = |c: char| {
        c.is_control()
            || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    text.chars().map(|c| if obeyed(c) { ' ' } else { c }).collect()
}

pub(crate) use faxbridge::text::counted as count;

/// Tells times as people here read them.
pub(crate) struct Times(TimeZone);

impl Times {
    pub(crate) fn of(config: &Config) -> Self {
        Times(TimeZone::get(&config.organization.time_zone).unwrap_or(TimeZone::UTC))
    }

    /// The organization's zone.
    pub(crate) fn zone(&self) -> &TimeZone {
        &self.0
    }

    /// `2026-11-22 14:20 EST`.
    pub(crate) fn full(&self, at: Timestamp) -> String {
        at.to_zoned(self.0.clone()).strftime("%Y-%m-%d %H:%M %Z").to_string()
    }

    /// The end of the day that is written as `2026-12-31`.
    pub(crate) fn end_of(&self, day: jiff::civil::Date) -> anyhow::Result<Timestamp> {
        let next = day.tomorrow().context("that day is too far away")?;
        Ok(next.to_zoned(self.0.clone()).context("that day is too far away")?.timestamp())
    }
}

/// Prints `text` as it is. Whoever reads us may stop reading (`| head`): that is no failure.
pub(crate) fn print(text: impl fmt::Display) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match write!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("standard output cannot be written"),
    }
}

/// Prints `text` and ends the line.
pub(crate) fn say(text: impl fmt::Display) -> anyhow::Result<()> {
    print(format_args!("{text}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_must_be_and_nothing_is_obeyed() {
        let mut table = Table::new(&["KEY", "NAME"]);
        table.row(["mercy".to_owned(), "M\u{fc}ller\u{1b}[2J".to_owned()]);
        table.row(["a".to_owned(), String::new()]);
        assert_eq!(table.to_string(), "KEY    NAME\nmercy  M\u{fc}ller [2J\na\n");
        assert_eq!(plain("a\u{202e}b\nc"), "a b c");
    }

    #[test]
    fn a_day_ends_where_the_next_begins() {
        let times = Times(TimeZone::get("America/New_York").unwrap());
        let end = times.end_of(jiff::civil::date(2026, 12, 31)).unwrap();
        assert_eq!(end.to_string(), "2027-01-01T05:00:00Z");
        assert_eq!(times.full(end), "2027-01-01 00:00 EST");
    }
}
