//! Quiet hours: when a recipient is not to be called.
//!
//! ```text
//! hours  = range *( ";" range ) [ zone ]
//! range  = days | times | days " " times
//! days   = day | day "-" day          Mon Tue Wed Thu Fri Sat Sun, in any case; Fri-Mon is four days
//! times  = HH:MM "-" HH:MM            00:00 to 24:00; the first is quiet, the last no more
//! zone   = a name of the IANA database; stands once and holds for all ranges
//! ```
//!
//! Days without times are quiet from midnight to midnight, times without days on every day. Times that end
//! before they begin end on the following day and belong to the day on which they begin:
//! `Mon-Fri 18:00-08:00` is quiet on Saturday until 8, and not on Monday before 8. Without a zone, the hours
//! are those of the organization's zone.
//!
//! The hours are what the clock on the recipient's wall shows, so a night in which the clocks change is
//! longer or shorter; in an hour that comes twice the recipient may become free, and quiet again. Something
//! is always left of the week: what is quiet all the time is refused when it is read, for a recipient that
//! may never be called is suspended, not quiet.

use std::fmt;
use std::str::FromStr;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::number::shown;

const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const DAY: u32 = 24 * 60;
const WEEK: u32 = 7 * DAY;

/// Longest text that is read, in bytes.
const LONGEST: usize = 200;

/// How often [`QuietHours::until`] looks further than a change of the clocks. The free part of the week comes
/// round after at most one week on the wall, so a handful is enough for every real zone.
const LOOKS: usize = 100;

/// When a recipient is not to be called. Reads from and prints as the text that the module documentation
/// describes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct QuietHours {
    ranges: Vec<Range>,
    zone: Option<Zone>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Range {
    days: Option<(u32, u32)>,
    times: Option<Times>,
}

/// Minutes of a day; `to` is at most [`DAY`] and never `from`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Times {
    from: u32,
    to: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Zone {
    name: String,
    rules: TimeZone,
}

impl QuietHours {
    /// Until when the recipient is not to be called: `None` when it may be called at `now`, else the first
    /// instant at which it may. `home` is the organization's zone.
    #[must_use]
    pub fn until(&self, now: Timestamp, home: &TimeZone) -> Option<Timestamp> {
        let zone = self.zone.as_ref().map_or(home, |zone| &zone.rules);
        let mut at = now;
        for _ in 0..LOOKS {
            let Some(left) = self.left(at, zone) else { break };
            // On the wall the quiet ends `left` from here, if the clocks do not change before. If they do:
            // look again from there.
            let end = at.checked_add(left).unwrap_or(Timestamp::MAX);
            let change = zone.following(at).next().map(|change| change.timestamp());
            at = change.map_or(end, |change| change.min(end));
        }
        (at > now).then_some(at)
    }

    /// How long it stays quiet on a clock that nobody changes; `None` when it is not quiet.
    fn left(&self, at: Timestamp, zone: &TimeZone) -> Option<SignedDuration> {
        let wall = zone.to_datetime(at);
        let days = u32::try_from(wall.date().weekday().to_monday_zero_offset()).unwrap_or_default();
        let (hour, minute) = (u32::from(wall.hour().unsigned_abs()), u32::from(wall.minute().unsigned_abs()));
        let now = days * DAY + hour * 60 + minute;
        let minutes = (0..=WEEK).find(|later| !self.covers((now + later) % WEEK))?;
        let begun = SignedDuration::new(i64::from(wall.second()), wall.subsec_nanosecond());
        (minutes > 0).then(|| SignedDuration::from_mins(i64::from(minutes)) - begun)
    }

    fn covers(&self, minute: u32) -> bool {
        self.ranges.iter().any(|range| range.covers(minute))
    }
}

impl Range {
    /// Whether it is quiet in that minute of the week, which begins on Monday.
    fn covers(&self, minute: u32) -> bool {
        let (day, time) = (minute / DAY, minute % DAY);
        match self.times {
            None => self.on(day),
            Some(Times { from, to }) if from < to => self.on(day) && (from..to).contains(&time),
            Some(Times { from, to }) => self.on(day) && time >= from || self.on((day + 6) % 7) && time < to,
        }
    }

    fn on(&self, day: u32) -> bool {
        match self.days {
            None => true,
            Some((first, last)) if first <= last => (first..=last).contains(&day),
            Some((first, last)) => day >= first || day <= last,
        }
    }
}

impl FromStr for QuietHours {
    type Err = String;

    /// # Errors
    /// A sentence with what was found and what is allowed.
    fn from_str(text: &str) -> Result<Self, String> {
        if text.len() > LONGEST {
            return Err(format!("The quiet hours are longer than {LONGEST} characters."));
        }
        let mut pieces: Vec<Vec<&str>> =
            text.split(';').map(|piece| piece.split_ascii_whitespace().collect()).collect();
        let mut zone = None;
        if let Some(last) = pieces.last_mut()
            && let Some(word) = last.pop_if(|word| times(word).is_none() && days(word).is_none())
        {
            zone = Some(Zone::named(word).ok_or_else(|| fault(word))?);
        }
        let ranges = pieces.iter().map(|words| range(words)).collect::<Result<Vec<Range>, String>>()?;
        let hours = QuietHours { ranges, zone };
        if (0..WEEK).all(|minute| hours.covers(minute)) {
            return Err(format!(
                "The quiet hours \"{}\" cover the whole week; suspend a recipient that is never to \
                 be called.",
                shown(text)
            ));
        }
        Ok(hours)
    }
}

fn range(words: &[&str]) -> Result<Range, String> {
    match words {
        [] => Err(fault("")),
        [word] => match (days(word), times(word)) {
            (None, None) => Err(fault(word)),
            (days, times) => Ok(Range { days, times }),
        },
        [first, second] => {
            let days = days(first).ok_or_else(|| fault(first))?;
            let times = times(second).ok_or_else(|| fault(second))?;
            Ok(Range { days: Some(days), times: Some(times) })
        }
        [_, _, more, ..] => Err(fault(more)),
    }
}

fn fault(word: &str) -> String {
    let found =
        if word.is_empty() { "a range is missing".to_owned() } else { format!("found \"{}\"", shown(word)) };
    format!(
        "The quiet hours cannot be read: {found}; allowed: days (Sat-Sun), times (22:00-07:00) or both \
         (Mon-Fri 18:00-08:00), several with a semicolon between them, and one time zone at the very end (America/Chicago)."
    )
}

/// `Sat` or `Sat-Sun`, counted from Monday. From a day to the same day is refused: it could mean the day or
/// the week.
fn days(word: &str) -> Option<(u32, u32)> {
    let day =
        |name: &str| (0..).zip(DAYS).find(|(_, known)| known.eq_ignore_ascii_case(name)).map(|(n, _)| n);
    match word.split_once('-') {
        None => day(word).map(|day| (day, day)),
        Some((first, last)) => Some((day(first)?, day(last)?)).filter(|(first, last)| first != last),
    }
}

/// `22:00-07:00`. From a time to the same time is refused: it could mean nothing or a whole day.
fn times(word: &str) -> Option<Times> {
    let (from, to) = word.split_once('-')?;
    let (from, to) = (time(from)?, time(to)?);
    (from < DAY && from != to).then_some(Times { from, to })
}

fn time(text: &str) -> Option<u32> {
    let (hour, minute) = text.split_once(':')?;
    let two = |digits: &str, below: u32| {
        let good = digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_digit());
        digits.parse::<u32>().ok().filter(|n| good && *n < below)
    };
    let minutes = two(hour, 25)? * 60 + two(minute, 60)?;
    (minutes <= DAY).then_some(minutes)
}

impl Zone {
    fn named(name: &str) -> Option<Zone> {
        let rules = TimeZone::get(name).ok().filter(|zone| !zone.is_unknown())?;
        let name = rules.iana_name()?.to_owned();
        Some(Zone { name, rules })
    }
}

impl fmt::Display for QuietHours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, range) in self.ranges.iter().enumerate() {
            f.write_str(if n == 0 { "" } else { "; " })?;
            range.fmt(f)?;
        }
        match &self.zone {
            Some(zone) => write!(f, " {}", zone.name),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let day = |n: u32| DAYS.get(n as usize).copied().unwrap_or_default();
        match self.days {
            Some((first, last)) if first == last => f.write_str(day(first))?,
            Some((first, last)) => write!(f, "{}-{}", day(first), day(last))?,
            None => {}
        }
        if self.days.is_some() && self.times.is_some() {
            f.write_str(" ")?;
        }
        match self.times {
            Some(Times { from, to }) => {
                write!(f, "{:02}:{:02}-{:02}:{:02}", from / 60, from % 60, to / 60, to % 60)
            }
            None => Ok(()),
        }
    }
}

impl From<QuietHours> for String {
    fn from(hours: QuietHours) -> String {
        hours.to_string()
    }
}

impl TryFrom<String> for QuietHours {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

#[cfg(test)]
mod tests;
