use proptest::prelude::*;

use super::*;

fn hours(text: &str) -> QuietHours {
    text.parse().unwrap_or_else(|fault| panic!("{text}: {fault}"))
}

fn zone(name: &str) -> TimeZone {
    TimeZone::get(name).unwrap()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap_or_else(|fault| panic!("{text}: {fault}"))
}

#[test]
fn texts_are_read_and_told_in_one_form() {
    for (text, told) in [
        ("22:00-07:00", "22:00-07:00"),
        ("  22:00-07:00   america/chicago ", "22:00-07:00 America/Chicago"),
        ("SAT-sun", "Sat-Sun"),
        ("wed", "Wed"),
        ("Mon-Fri  18:00-08:00 ;Sat-Sun", "Mon-Fri 18:00-08:00; Sat-Sun"),
        ("Mon-Fri 18:00-08:00; Sat-Sun Europe/Berlin", "Mon-Fri 18:00-08:00; Sat-Sun Europe/Berlin"),
        ("Sun 00:00-24:00 UTC", "Sun 00:00-24:00 UTC"),
    ] {
        assert_eq!(hours(text).to_string(), told);
        assert_eq!(hours(told), hours(text));
        let json = serde_json::to_value(hours(text)).unwrap();
        assert_eq!(json, told);
        assert_eq!(serde_json::from_value::<QuietHours>(json).unwrap(), hours(text));
    }
}

#[test]
fn anything_else_is_refused_with_what_was_found() {
    for (text, found) in [
        ("", "a range is missing"),
        (";Sat", "a range is missing"),
        ("Sat;", "a range is missing"),
        ("America/Chicago", "a range is missing"),
        ("none", "found \"none\""),
        ("7:00-8:00", "found \"7:00-8:00\""),
        ("22:00", "found \"22:00\""),
        ("22:00 - 07:00", "found \"07:00\""),
        ("22:00-22:00", "found \"22:00-22:00\""),
        ("24:00-07:00", "found \"24:00-07:00\""),
        ("22:60-07:00", "found \"22:60-07:00\""),
        ("22:00-24:01", "found \"22:00-24:01\""),
        ("+2:00-07:00", "found \"+2:00-07:00\""),
        ("22:00\u{2013}07:00", "found \"22:00\u{2013}07:00\""),
        ("Mon-Mon", "found \"Mon-Mon\""),
        ("Monday", "found \"Monday\""),
        ("Mon-Fri-Sun", "found \"Mon-Fri-Sun\""),
        ("Mon,Tue", "found \"Mon,Tue\""),
        ("18:00-20:00 Mon", "found \"18:00-20:00\""),
        ("Sat Sun", "found \"Sun\""),
        ("Mon 18:00-20:00 Sun 18:00-20:00", "found \"Sun\""),
        ("Sat America/Gotham", "found \"America/Gotham\""),
        ("Sat Etc/Unknown", "found \"Etc/Unknown\""),
        ("Sat America/Chicago; Sun", "found \"America/Chicago\""),
    ] {
        let told = text.parse::<QuietHours>().unwrap_err();
        assert!(
            told.starts_with("The quiet hours cannot be read:") && told.contains(found),
            "{text}: {told}"
        );
    }
    assert!("Sat;".repeat(60).parse::<QuietHours>().unwrap_err().contains("longer than 200"));
}

#[test]
fn the_whole_week_is_refused() {
    for text in ["Mon-Sun", "00:00-24:00", "Sat-Thu; Fri", "08:00-20:00; 20:00-08:00 UTC"] {
        let told = text.parse::<QuietHours>().unwrap_err();
        assert!(told.contains("cover the whole week"), "{text}: {told}");
    }
    hours("Mon-Sat; Sun 00:01-24:00");
}

#[test]
fn the_first_free_instant_is_told() {
    // 2026-11-23 is a Monday.
    for (text, now, until) in [
        ("22:00-07:00", "2026-11-23T21:59:59.9-05", None),
        ("22:00-07:00", "2026-11-23T22:00-05", Some("2026-11-24T07:00-05")),
        ("22:00-07:00", "2026-11-24T06:59:59.5-05", Some("2026-11-24T07:00-05")),
        ("22:00-07:00", "2026-11-24T07:00-05", None),
        // Another zone, named or the organization's.
        ("22:00-07:00 America/Chicago", "2026-11-23T22:30-05", None),
        ("22:00-07:00 America/Chicago", "2026-11-24T07:30-05", Some("2026-11-24T08:00-05")),
        // Chained: Friday's evening, the weekend, and no night before Monday.
        ("Mon-Fri 18:00-08:00; Sat-Sun", "2026-11-27T18:30-05", Some("2026-11-30T00:00-05")),
        ("Mon-Fri 18:00-08:00; Sat-Sun", "2026-11-23T07:00-05", None),
        ("Mon-Fri 18:00-08:00; Sat-Sun", "2026-11-24T07:00-05", Some("2026-11-24T08:00-05")),
        (
            "Mon-Fri 00:00-08:00; Mon-Fri 18:00-24:00; Sat-Sun",
            "2026-11-27T18:30-05",
            Some("2026-11-30T08:00-05"),
        ),
        ("Fri 18:00-24:00; Sat-Mon", "2026-11-27T18:30-05", Some("2026-12-01T00:00-05")),
        ("Sun 20:00-04:00", "2026-11-23T03:00-05", Some("2026-11-23T04:00-05")),
        // All but one minute of the week.
        ("Mon-Sat; Sun 00:01-24:00", "2026-11-22T00:01-05", Some("2026-11-29T00:00-05")),
        // The clocks go forward at 02:00 on 2026-03-08 and back at 02:00 on 2026-11-01.
        ("22:00-07:00", "2026-03-07T23:00-05", Some("2026-03-08T07:00-04")),
        ("22:00-02:30", "2026-03-07T23:00-05", Some("2026-03-08T03:00-04")),
        ("22:00-07:00", "2026-10-31T23:00-04", Some("2026-11-01T07:00-05")),
        // The hour that comes twice: free from half past one, quiet again when it is one again.
        ("22:00-01:30", "2026-11-01T00:00-04", Some("2026-11-01T01:30-04")),
        ("22:00-01:30", "2026-11-01T01:45-04", None),
        ("22:00-01:30", "2026-11-01T01:00-05", Some("2026-11-01T01:30-05")),
        // The only free hour of the week is the one that is left out.
        ("Mon-Sat; Sun 00:00-02:00; Sun 03:00-24:00", "2026-03-02T12:00-05", Some("2026-03-15T02:00-04")),
    ] {
        let now = at(now);
        assert_eq!(hours(text).until(now, &zone("America/New_York")), until.map(at), "{text} at {now}");
    }
    // A day that never was: Samoa went from Thursday to Saturday.
    let apia = zone("Pacific/Apia");
    assert_eq!(hours("Thu-Fri").until(at("2011-12-29T12:00-10"), &apia), Some(at("2011-12-31T00:00+14")));
    let last = Timestamp::MAX - SignedDuration::from_secs(1);
    assert_eq!(
        hours("Thu").until(last, &TimeZone::UTC),
        Some(Timestamp::MAX),
        "time itself ends on a Thursday"
    );
}

fn range_text() -> impl Strategy<Value = String> {
    let day = prop::sample::select(DAYS.to_vec());
    let days = (day.clone(), day).prop_map(|(a, b)| if a == b { a.to_owned() } else { format!("{a}-{b}") });
    let time = |hours| (hours, prop::sample::select(vec![0_u32, 1, 15, 30, 59]));
    let times = (time(0..24_u32), time(0..24_u32))
        .prop_filter("begins and ends at the same time", |(a, b)| a != b)
        .prop_map(|((h, m), (hh, mm))| format!("{h:02}:{m:02}-{hh:02}:{mm:02}"));
    prop_oneof![
        days.clone(),
        times.clone(),
        (days, times).prop_map(|(days, times)| format!("{days} {times}"))
    ]
}

fn hours_text() -> impl Strategy<Value = String> {
    // Clocks that change by an hour, by half an hour, by nothing, twice a month of fasting, and on the other
    // half of the globe.
    let zone = prop::sample::select(vec![
        "",
        " America/New_York",
        " Australia/Lord_Howe",
        " Asia/Kolkata",
        " Africa/Casablanca",
        " America/Santiago",
    ]);
    (prop::collection::vec(range_text(), 1..5), zone)
        .prop_map(|(ranges, zone)| format!("{}{zone}", ranges.join("; ")))
}

/// Whether it is quiet, told once more and more simply: the day and the time on the wall, range by range.
fn quiet(text: &str, at: Timestamp, home: &TimeZone) -> bool {
    let hours = hours(text);
    let wall = at.to_zoned(hours.zone.as_ref().map_or(home, |zone| &zone.rules).clone());
    let today = wall.strftime("%a").to_string();
    let yesterday = wall.datetime().yesterday().unwrap().strftime("%a").to_string();
    let time = &*wall.strftime("%H:%M").to_string();
    let named = |days: &str, day: &str| {
        let (first, last) = days.split_once('-').unwrap_or((days, days));
        let from_first: Vec<&str> =
            DAYS.iter().cycle().skip_while(|d| **d != first).take(7).copied().collect();
        let length = from_first.iter().position(|d| *d == last).unwrap();
        from_first[..=length].contains(&day)
    };
    let ranges = text.split(" A").next().unwrap();
    ranges.split("; ").any(|range| {
        let (days, times) = match range.split_once(' ') {
            Some((days, times)) => (days, times),
            None if range.contains(':') => ("Mon-Sun", range),
            None => (range, "00:00-24:00"),
        };
        let (from, to) = times.split_once('-').unwrap();
        if from < to {
            named(days, &today) && from <= time && time < to
        } else {
            named(days, &today) && from <= time || named(days, &yesterday) && time < to
        }
    })
}

proptest! {
    #[test]
    fn no_text_panics(text in "(\\PC|[-:; 0-9]|Sat|Mon|UTC){0,30}") {
        drop(text.parse::<QuietHours>());
    }

    #[test]
    fn what_is_told_reads_back(text in hours_text()) {
        if let Ok(hours) = text.parse::<QuietHours>() {
            prop_assert_eq!(hours.to_string(), &*text);
        }
    }

    #[test]
    fn all_before_the_told_instant_is_quiet_and_the_instant_is_not(
        text in hours_text(),
        now in 1_700_000_000..1_900_000_000_i64,
        // Near the night in which the clocks of one or the other zone change, or anywhere.
        near in prop::option::of((prop::sample::select(vec!["2026-03-08T07:00Z", "2026-11-01T06:00Z", "2026-04-04T15:00Z",
            "2026-10-03T15:30Z", "2026-02-15T02:00Z", "2026-09-06T04:00Z"]), -90_000..90_000_i64)),
    ) {
        let Ok(hours) = text.parse::<QuietHours>() else { return Ok(()) };
        let now = match near {
            Some((night, seconds)) => at(night) + SignedDuration::from_secs(seconds),
            None => Timestamp::from_second(now).unwrap(),
        };
        let home = zone("Europe/Berlin");
        match hours.until(now, &home) {
            None => prop_assert!(!quiet(&text, now, &home), "{} is quiet at {}", text, now),
            Some(end) => {
                prop_assert!(end > now);
                prop_assert!(!quiet(&text, end, &home), "{} is quiet at its end {}", text, end);
                prop_assert_eq!(hours.until(end, &home), None);
                // Every 7 minutes, and the last second of all.
                let length = end.duration_since(now).as_secs();
                for seconds in (0..length).step_by(7 * 60) {
                    let at = now + SignedDuration::from_secs(seconds);
                    prop_assert!(quiet(&text, at, &home), "{} is not quiet at {}", text, at);
                }
                prop_assert!(quiet(&text, end - SignedDuration::from_secs(1), &home));
            }
        }
    }
}
