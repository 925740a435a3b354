//! The values of directives: names, lists of pages, points in time. Each reader says what is wrong as the rest of a sentence that
//! begins with what was written, and how it is written instead; nothing is repaired.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp};

use crate::addressing::Selection;
use crate::job::Priority;
use crate::text::is_invisible;

/// Characters of a name or a subject on a cover that a directive may set.
const LONGEST_LINE: usize = 80;
const LONGEST_SUBJECT: usize = 200;

/// When a mail came, and how times in it are meant.
#[derive(Debug, Clone)]
pub struct Moment {
    /// When it was accepted: what `08:30` and "not past" are counted from, however often it is prepared.
    pub now: Timestamp,
    /// The organization's time zone.
    pub zone: TimeZone,
    /// How far ahead a fax may be put off (`policy.send_at_most`).
    pub most: SignedDuration,
}

/// A line as people read it: the non-breaking and typographic blanks of mail programs are blanks, what is invisible is not there,
/// and one pair of quotes around it is no part of it.
pub(super) fn plain(text: &str) -> String {
    let visible: String = text
        .chars()
        .filter(|&c| c == '\t' || !is_invisible(c))
        .map(|c| if c.is_whitespace() { ' ' } else { c })
        .collect();
    let trimmed = visible.trim();
    const QUOTES: [(char, char); 4] =
        [('"', '"'), ('\u{201c}', '\u{201d}'), ('\u{201e}', '\u{201c}'), ('\'', '\'')];
    let inner = QUOTES
        .iter()
        .find_map(|(open, close)| trimmed.strip_prefix(*open)?.strip_suffix(*close))
        .filter(|inner| !inner.trim().is_empty());
    inner.unwrap_or(trimmed).trim().to_owned()
}

/// The same for values with a form: one kind of dash, one width of letters.
pub(super) fn formal(text: &str) -> String {
    plain(text)
        .chars()
        .map(|c| match c {
            '\u{2010}'..='\u{2015}' | '\u{2212}' => '-',
            '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(c) - 0xfee0).unwrap_or(c),
            c => c,
        })
        .collect()
}

/// A name, a reference, an identifier: one line.
pub(super) fn line(text: &str) -> Result<String, String> {
    line_of(text, LONGEST_LINE)
}

/// A subject.
pub(super) fn subject(text: &str) -> Result<String, String> {
    line_of(text, LONGEST_SUBJECT)
}

fn line_of(text: &str, longest: usize) -> Result<String, String> {
    let text = plain(text);
    match text.chars().count() {
        0 => Err("says nothing behind its name; write it out or leave the line away".into()),
        n if n > longest => Err(format!("is too long: {n} characters, of which {longest} fit")),
        _ => Ok(text),
    }
}

/// `1-3,7`.
pub(super) fn pages(text: &str) -> Result<Selection, String> {
    formal(text).parse::<Selection>().map_err(|_| {
        "is not a list of pages; write them in rising order, as Pages: 1-3,7 (the cover is not counted)"
            .to_owned()
    })
}

/// `on`, `yes`; `off`, `no`, `none`.
pub(super) fn on_or_off(text: &str) -> Result<bool, String> {
    match formal(text).to_lowercase().as_str() {
        "on" | "yes" => Ok(true),
        "off" | "no" | "none" => Ok(false),
        _ => Err("is neither on nor off; write it as Cover: on or Cover: off".into()),
    }
}

/// `high`, `normal`, `low`.
pub(super) fn priority(text: &str) -> Result<Priority, String> {
    formal(text)
        .to_lowercase()
        .parse()
        .map_err(|_| "is none of the priorities; there are high, normal and low".to_owned())
}

/// `2026-12-01 08:30`, `08:30` (the next there is), RFC 3339; the first two with a zone behind them where it is not the
/// organization's. Never past, and never later than the policy allows.
pub(super) fn send_at(text: &str, moment: &Moment) -> Result<Timestamp, String> {
    let text = formal(text);
    let at = instant(&text, moment)?;
    if at < moment.now {
        return Err("is past; name a time that is still to come".into());
    }
    let latest = moment.now.saturating_add(moment.most).unwrap_or(Timestamp::MAX);
    if at > latest {
        let until = latest.to_zoned(moment.zone.clone()).strftime("%Y-%m-%d %H:%M").to_string();
        return Err(format!("is too far ahead; a fax can be put off until {until} at most"));
    }
    Ok(at)
}

fn instant(text: &str, moment: &Moment) -> Result<Timestamp, String> {
    const FORM: &str = "is not a point in time; write it as 2026-12-01 08:30, or as 08:30, with a time zone behind it if it is \
                        not ours (UTC, +02:00 or America/Chicago)";
    // RFC 3339, section 5.6.
    if let (Some('T' | 't'), Ok(at)) = (text.chars().nth(10), text.parse::<Timestamp>()) {
        return Ok(at);
    }
    let text = match text.char_indices().nth(10) {
        Some((place, 'T' | 't')) => {
            [text.get(..place), text.get(place + 1..)].map(Option::unwrap_or_default).join(" ")
        }
        _ => text.to_owned(),
    };
    let mut words: Vec<&str> = text.split_whitespace().collect();
    let zone = match words.last() {
        Some(word) if !word.starts_with(|c: char| c.is_ascii_digit()) => {
            let zone = zone(word).ok_or(FORM)?;
            words.pop();
            zone
        }
        _ => moment.zone.clone(),
    };
    match words.as_slice() {
        [date, time] => {
            let (date, time) = (date_of(date).ok_or(FORM)?, time_of(time).ok_or(FORM)?);
            certain(date.to_datetime(time), &zone)
        }
        [time] => {
            let time = time_of(time).ok_or(FORM)?;
            let today = moment.now.to_zoned(zone.clone()).date();
            match certain(today.to_datetime(time), &zone) {
                Ok(at) if at >= moment.now => Ok(at),
                _ => certain(today.tomorrow().map_err(|_| FORM)?.to_datetime(time), &zone),
            }
        }
        _ => Err(FORM.into()),
    }
}

/// In the night of the change, some times are not there and some are there twice.
fn certain(at: DateTime, zone: &TimeZone) -> Result<Timestamp, String> {
    zone.to_ambiguous_timestamp(at).unambiguous().map_err(|_| {
        "is not one point in time, because the clocks change that night; name another time".to_owned()
    })
}

fn date_of(text: &str) -> Option<Date> {
    let [year, month, day] = numbers(text, '-', [4, 2, 2])?;
    Date::new(i16::try_from(year).ok()?, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()
}

fn time_of(text: &str) -> Option<Time> {
    let padded = if text.find(':') == Some(1) { format!("0{text}") } else { text.to_owned() };
    let [hour, minute] = numbers(&padded, ':', [2, 2]).or_else(|| {
        let [hour, minute, second] = numbers(&padded, ':', [2, 2, 2])?;
        (second < 60).then_some([hour, minute])
    })?;
    Time::new(i8::try_from(hour).ok()?, i8::try_from(minute).ok()?, 0, 0).ok()
}

/// Numbers of so many digits each.
fn numbers<const N: usize>(text: &str, between: char, digits: [usize; N]) -> Option<[u32; N]> {
    let mut found = [0; N];
    let mut parts = text.split(between);
    for (place, digits) in found.iter_mut().zip(digits) {
        let part = parts.next()?;
        if part.len() != digits || !part.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        *place = part.parse().ok()?;
    }
    parts.next().is_none().then_some(found)
}

/// `UTC`, an offset, or a name of the time zone database. No abbreviations: `CST` is three zones.
fn zone(text: &str) -> Option<TimeZone> {
    if matches!(text, "Z" | "z" | "UTC" | "GMT" | "utc" | "gmt") {
        return Some(TimeZone::UTC);
    }
    if let Some(sign) =
        [('+', 1), ('-', -1)].iter().find_map(|(sign, factor)| text.starts_with(*sign).then_some(*factor))
    {
        let digits: String = text.chars().skip(1).collect();
        let [hours, minutes] = numbers(&digits, ':', [2, 2]).or_else(|| {
            let (hours, minutes) = digits.split_at_checked(2)?;
            numbers(&format!("{hours}:{minutes}"), ':', [2, 2])
        })?;
        let seconds =
            i32::try_from((hours <= 14 && minutes < 60).then_some(hours * 3600 + minutes * 60)?).ok()?;
        return Some(TimeZone::fixed(Offset::from_seconds(sign * seconds).ok()?));
    }
    // The database is looked up by file name on some systems.
    let name = text.contains('/')
        && text.split('/').all(|part| {
            part.starts_with(|c: char| c.is_ascii_alphabetic())
                && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-' || c == '+')
        });
    name.then(|| TimeZone::get(text).ok()).flatten()
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// When tests of wishes take place.
    pub(in crate::addressing) fn moment() -> Moment {
        Moment {
            now: "2026-11-26T15:00:00Z".parse().unwrap(),
            zone: TimeZone::UTC,
            most: SignedDuration::from_hours(7 * 24),
        }
    }

    fn in_chicago() -> Moment {
        Moment { zone: TimeZone::get("America/Chicago").unwrap(), ..moment() }
    }

    #[test]
    fn points_in_time_are_read_in_the_organizations_zone() {
        // It is 09:00 in Chicago.
        for (text, expected) in [
            ("2026-12-01 08:30", "2026-12-01T14:30:00Z"),
            ("2026-12-01\u{a0}08:30", "2026-12-01T14:30:00Z"),
            ("2026\u{2013}12\u{2013}01 8:30", "2026-12-01T14:30:00Z"),
            ("2026-12-01 08:30:00", "2026-12-01T14:30:00Z"),
            ("2026-12-01T08:30", "2026-12-01T14:30:00Z"),
            ("2026-12-01 08:30 UTC", "2026-12-01T08:30:00Z"),
            ("2026-12-01 08:30 +02:00", "2026-12-01T06:30:00Z"),
            ("2026-12-01 08:30 -0500", "2026-12-01T13:30:00Z"),
            ("2026-12-01 08:30 America/New_York", "2026-12-01T13:30:00Z"),
            ("2026-12-01T08:30:00-05:00", "2026-12-01T13:30:00Z"),
            ("2026-12-01T08:30:00Z", "2026-12-01T08:30:00Z"),
            ("09:30", "2026-11-26T15:30:00Z"),
            ("9:30", "2026-11-26T15:30:00Z"),
            ("08:30", "2026-11-27T14:30:00Z"),
            ("08:30 UTC", "2026-11-27T08:30:00Z"),
            ("15:30 UTC", "2026-11-26T15:30:00Z"),
        ] {
            assert_eq!(send_at(text, &in_chicago()), Ok(expected.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn what_is_no_point_in_time_or_not_allowed_is_told() {
        for (text, why) in [
            ("", "is not a point"),
            ("tomorrow", "is not a point"),
            ("8", "is not a point"),
            ("8:3", "is not a point"),
            ("25:00", "is not a point"),
            ("8:30 am", "is not a point"),
            ("12/01/2026 08:30", "is not a point"),
            ("2026-02-30 08:30", "is not a point"),
            ("2026-12-01", "is not a point"),
            ("2026-12-01 08:30 CST", "is not a point"),
            ("2026-12-01 08:30 ../../etc/passwd", "is not a point"),
            ("2026-12-01 08:30 Atlantis/Port", "is not a point"),
            ("2026-12-01 08:30 +15:00", "is not a point"),
            ("2026-12-01 08:30 09:30", "is not a point"),
            ("2026-11-26 08:59", "is past"),
            ("2026-12-04 08:30", "is too far ahead; a fax can be put off until 2026-12-03 09:00 at most"),
        ] {
            let answer = send_at(text, &in_chicago()).unwrap_err();
            assert!(answer.starts_with(why), "{text}: {answer}");
        }
        let autumn = Moment { now: "2026-10-31T15:00:00Z".parse().unwrap(), ..in_chicago() };
        assert!(send_at("2026-11-01 01:30", &autumn).unwrap_err().contains("clocks change"));
        assert!(send_at("2026-11-01 01:30 -05:00", &autumn).is_ok());
        let spring = Moment { now: "2026-03-07T15:00:00Z".parse().unwrap(), ..in_chicago() };
        assert!(send_at("2026-03-08 02:30", &spring).unwrap_err().contains("clocks change"));
    }

    #[test]
    fn lines_read_as_they_look() {
        for (text, expected) in [
            ("  Dr.\u{a0}Smith\u{200b} ", "Dr. Smith"),
            ("\u{201c}Dr. Smith\u{201d}", "Dr. Smith"),
            ("\"4711\"", "4711"),
            ("\"", "\""),
            ("O'Brien", "O'Brien"),
        ] {
            assert_eq!(line(text).as_deref(), Ok(expected), "{text}");
        }
        assert!(line("\u{a0}\u{200b}").is_err());
        assert!(line(&"a".repeat(81)).unwrap_err().contains("81 characters, of which 80 fit"));
        assert_eq!(pages("1\u{2013}3,7").map(|pages| pages.to_string()).as_deref(), Ok("1-3,7"));
        assert!(pages("3-1").is_err() && pages("all").is_err() && pages("").is_err());
        assert_eq!(on_or_off("OFF"), Ok(false));
        assert_eq!(on_or_off("\u{ff4f}\u{ff4e}"), Ok(true));
        assert!(on_or_off("maybe").is_err());
        assert_eq!(priority("High"), Ok(Priority::High));
        assert!(priority("urgent").is_err());
    }

    proptest! {
        #[test]
        fn no_value_makes_a_reader_panic(text in "\\PC*|[0-9TZ :+-]{0,30}") {
            let _ = (line(&text), subject(&text), pages(&text), on_or_off(&text), priority(&text));
            if let Ok(at) = send_at(&text, &in_chicago()) {
                prop_assert!(at >= moment().now);
            }
        }
    }
}
