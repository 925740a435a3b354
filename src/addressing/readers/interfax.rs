//! InterFAX: switches at the end of the subject, as `Statement /bn /d 2026-12-01 08:30`. From the first word that is a slash and
//! letters on, everything has to be one.

use std::ops::Range;

use super::super::directive::{Place, Said, Stop, Wish};
use super::super::value::{self, Moment};

/// Letters of the longest switch (`/fonttype`), and a few for its misspellings.
const LONGEST: usize = 12;

/// What the switches say, and where they stand.
///
/// # Errors
/// [`Stop`] for switches that nobody knows, that cannot be followed, or with other words behind them.
pub(crate) fn switches(subject: &str, moment: &Moment) -> Result<(Vec<Said>, Range<usize>), Stop> {
    let words = words(subject);
    let Some(first) = words.iter().position(|(_, word)| is_switch(word)) else {
        return Ok((Vec::new(), 0..0));
    };
    let mut said = Vec::new();
    let mut rest = words.get(first..).unwrap_or_default();
    while let Some(((place, switch), behind)) = rest.split_first() {
        let arguments = behind.iter().take_while(|(_, word)| !is_switch(word)).count();
        let (arguments, next) = behind.split_at_checked(arguments).unwrap_or((behind, &[]));
        rest = next;
        let end = arguments.last().map_or(place + switch.len(), |(place, word)| place + word.len());
        let written = subject.get(*place..end).unwrap_or(switch);
        let text = arguments.iter().map(|(_, word)| *word).collect::<Vec<_>>().join(" ");
        match read(&switch.to_ascii_lowercase(), &text, moment) {
            Ok(wish) => said.push(Said::new(Place::Subject, written, wish)),
            Err(why) => return Err(Stop::new(Place::Subject, written, &why)),
        }
    }
    let start = words.get(first).map_or(subject.len(), |(place, _)| *place);
    let start = subject.get(..start).unwrap_or_default().trim_end().len();
    Ok((said, start..subject.len()))
}

fn read(switch: &str, text: &str, moment: &Moment) -> Result<Wish, String> {
    let takes_text = matches!(switch, "/d" | "/fonttype" | "/fontsize" | "/h");
    match (takes_text, text.is_empty()) {
        (false, false) => {
            return Err("is a switch with other words behind it; switches stand at the end".into());
        }
        (true, true) => return Err("lacks what belongs behind it".into()),
        _ => {}
    }
    Ok(match switch {
        "/b" => Wish::Body(true),
        "/bn" => Wish::Body(false),
        "/d" => Wish::SendAt(value::send_at(text, moment)?),
        "/rf" => Wish::Ignored("changes nothing: faxes are sent in fine resolution"),
        "/rs" => Wish::Ignored("has no effect: faxes are sent in fine resolution"),
        "/ib" | "/fonttype" | "/fontsize" => {
            Wish::Ignored("has no effect: the text of a mail is set in one type here")
        }
        "/bb" => {
            return Err(
                "cannot be followed: every document of a mail is faxed; send the text in a mail of its own"
                    .into(),
            );
        }
        // The law wants that line, with the true sender in it (47 CFR 68.318(d)).
        "/h" | "/hn" => {
            return Err("cannot be followed: the header line of a fax is not the sender's to choose".into());
        }
        _ => return Err("is none of the switches that are known here; leave it out".into()),
    })
}

fn is_switch(word: &str) -> bool {
    let Some(letters) = word.strip_prefix('/') else { return false };
    (1..=LONGEST).contains(&letters.len()) && letters.bytes().all(|b| b.is_ascii_alphabetic())
}

/// Words with their places.
fn words(text: &str) -> Vec<(usize, &str)> {
    let mut words = Vec::new();
    let mut start = None;
    for (place, c) in text.char_indices().chain(std::iter::once((text.len(), ' '))) {
        match (c.is_whitespace(), start) {
            (true, Some(from)) => {
                words.push((from, text.get(from..place).unwrap_or_default()));
                start = None;
            }
            (false, None) => start = Some(place),
            _ => {}
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::super::without;
    use super::*;
    use crate::addressing::value::tests::moment;

    #[test]
    fn switches_are_read_from_the_end() {
        let at = |text: &str| Wish::SendAt(text.parse().unwrap());
        for (subject, wishes, left) in [
            ("Statement", vec![], "Statement"),
            ("Statement and/or letter 3/4", vec![], "Statement and/or letter 3/4"),
            ("see /etc/passwd", vec![], "see /etc/passwd"),
            ("Statement /b", vec![Wish::Body(true)], "Statement"),
            (
                "Statement\u{a0} /BN /d 2026-12-01 08:30",
                vec![Wish::Body(false), at("2026-12-01T08:30:00Z")],
                "Statement",
            ),
            ("/bn", vec![Wish::Body(false)], ""),
        ] {
            let (said, cut) = switches(subject, &moment()).unwrap();
            assert_eq!(said.into_iter().map(|said| said.wish).collect::<Vec<_>>(), wishes, "{subject}");
            assert_eq!(without(subject, &[cut]), left, "{subject}");
        }
        let (said, _) = switches("x /rs /rf /ib /fonttype Times New /fontsize 12", &moment()).unwrap();
        assert_eq!(said.len(), 5);
        assert!(said.iter().all(|said| matches!(said.wish, Wish::Ignored(_))));
        assert_eq!(said.get(3).map(|said| said.written.as_str()), Some("/fonttype Times New"));
    }

    #[test]
    fn other_switches_stop_the_mail() {
        for (subject, beginning) in [
            ("x /x", "\"/x\" in the subject is none of the switches"),
            ("x /b letter", "\"/b letter\" in the subject is a switch with other words"),
            ("x /d", "\"/d\" in the subject lacks"),
            ("x /d tomorrow", "\"/d tomorrow\" in the subject is not a point in time"),
            ("x /bb", "\"/bb\" in the subject cannot be followed"),
            ("x /h Dr. Smith /b", "\"/h Dr. Smith\" in the subject cannot be followed"),
            ("x /hn", "\"/hn\" in the subject cannot be followed"),
        ] {
            let sentence = switches(subject, &moment()).unwrap_err().sentence();
            assert!(sentence.starts_with(beginning), "{sentence}");
        }
    }

    proptest! {
        #[test]
        fn any_subject_is_read(subject in "\\PC*|(/?(b|bn|d|x)?[0-9 :-]{0,4} ?){0,6}") {
            if let Ok((said, cut)) = switches(&subject, &moment()) {
                prop_assert_eq!(said.is_empty(), cut.is_empty() );
                prop_assert_eq!(without(&subject, std::slice::from_ref(&cut)).len() + cut.len(), subject.len());
            }
        }
    }
}
