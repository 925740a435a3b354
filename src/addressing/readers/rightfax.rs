//! RightFax: embedded codes, `<TOFAXNUM:12125550199>` and the like anywhere in the text, and `"/fax=212 555-0199/" <fax@gateway.example>`,
//! where the number stands in the display name and the address is the gateway's.
//!
//! A code stands on one line. Known ones are read in any case, with a colon or a blank behind their name; any other word in capitals of
//! the same form stops the mail, because RightFax would print what it does not know and nobody wants that on a fax.

use std::ops::Range;

use super::super::Address;
use super::super::directive::{Place, Said, Stop, Target, Wish};
use super::super::value::{self, Moment};
use super::{Addressed, SHORTEST_NUMBER, digits, with_target};
use crate::text::nearest::distance;

/// What stands before the first code of a mainframe's print job.
const MARK: &str = "*AUTOFAX*";
/// Codes in one mail at most.
const MOST: usize = 100;
/// Letters and digits of the longest code.
const LONGEST: usize = 20;

/// Whether this is the gateway's own address, which says nothing about where a fax goes.
pub(super) fn is_gateway(address: &Address) -> bool {
    address.local.eq_ignore_ascii_case("fax")
}

/// The register's key for a short code: a key has a letter in it.
pub(super) fn key_of(code: &str) -> String {
    format!("rightfax-{code}")
}

/// A number, or the short code of an office.
fn target(text: &str) -> Option<Target> {
    let number = digits(text)?;
    let short = !number.starts_with('+') && number.len() < SHORTEST_NUMBER;
    Some(if short { Target::Key(key_of(&number)) } else { Target::Number(number) })
}

/// What a display name of `gateway` says, if it is of this form.
pub(super) fn display(name: &str, gateway: &Address) -> Option<Addressed> {
    let name = value::formal(name);
    let fields = name.strip_prefix('/')?;
    let mut to = None;
    let mut said = Vec::new();
    for field in fields.split('/').map(str::trim).filter(|field| !field.is_empty()) {
        let stop = |why: &str| Stop::new(Place::Address, &name, why);
        let result = match field.split_once('=') {
            Some((key, text)) if key.trim().eq_ignore_ascii_case("fax") && to.is_none() => match target(text)
            {
                Some(target) => {
                    to = Some(with_target(&target, gateway));
                    Ok(())
                }
                None => Err(stop("has no plain number behind /fax=")),
            },
            Some((key, text)) if key.trim().eq_ignore_ascii_case("name") => value::line(text)
                .map(|text| said.push(Said::new(Place::Address, &name, Wish::Attention(text))))
                .map_err(|why| stop(&why)),
            _ => Err(stop("is not of the form /fax=NUMBER/ or /name=PERSON/fax=NUMBER/")),
        };
        if let Err(stop) = result {
            // A name that only begins with a slash is a name.
            let meant = name.to_ascii_lowercase().starts_with("/fax=") || to.is_some();
            return meant.then(|| Addressed { to: to.unwrap_or_else(|| gateway.written()), said: Err(stop) });
        }
    }
    Some(Addressed { to: to?, said: Ok(said) })
}

/// The codes in the text, and where they stand; a line that had nothing else on it goes with them.
///
/// # Errors
/// [`Stop`] for codes that cannot be followed, and for what looks like one and is none.
pub(crate) fn codes(text: &str, moment: &Moment) -> Result<(Vec<Said>, Vec<Range<usize>>), Stop> {
    let (mut said, mut cuts) = (Vec::new(), Vec::new());
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let start = at;
        at += line.len();
        let found = line_codes(line, moment, &mut said)?;
        if let Some(last) = said.get(MOST) {
            return Err(Stop::new(
                Place::Text,
                &last.written,
                "is one code too many for a mail; send several",
            ));
        }
        if found.is_empty() {
            continue;
        }
        let left = super::super::without(line, &found);
        if value::plain(&left).is_empty() {
            cuts.push(start..at);
        } else {
            cuts.extend(found.into_iter().map(|range| start + range.start..start + range.end));
        }
    }
    // `<TO<NOTE:x>NAME:y>`: what is left must not be a code again.
    let left = super::super::without(text, &cuts);
    if !cuts.is_empty()
        && left.split_inclusive('\n').any(|line| line_codes(line, moment, &mut Vec::new()) != Ok(Vec::new()))
    {
        let written = said.first().map(|said| said.written.clone()).unwrap_or_default();
        return Err(Stop::new(
            Place::Text,
            &written,
            "stands within another code; write each code by itself",
        ));
    }
    Ok((said, cuts))
}

fn line_codes(line: &str, moment: &Moment, said: &mut Vec<Said>) -> Result<Vec<Range<usize>>, Stop> {
    let mut cuts = Vec::new();
    let mut at = 0;
    while let Some((open, inner)) = next_opening(line, at) {
        at = inner;
        let rest = line.get(inner..).unwrap_or_default();
        let length = rest.bytes().take_while(u8::is_ascii_alphanumeric).count();
        let word = rest.get(..length).unwrap_or_default();
        let behind = rest.get(length..).unwrap_or_default();
        let known = code(word);
        if !is_code(word, behind, known.is_some()) {
            continue;
        }
        let (text, end) = match closing(behind) {
            Some((text, end)) => (text, inner + length + end),
            None => {
                return Err(Stop::new(
                    Place::Text,
                    line.get(open..).unwrap_or_default().trim_end(),
                    "is a code without its closing bracket on the same line",
                ));
            }
        };
        let written = line.get(open..end).unwrap_or_default();
        let stop = |why: &str| Stop::new(Place::Text, written, why);
        let Some(known) = known else {
            let near = CODES.iter().find(|(name, _)| distance(&word.to_uppercase(), name) == 1);
            return Err(match near {
                Some((name, _)) => stop(&format!("is no code that is known here; {name} is one")),
                None => stop(
                    "has the form of a fax code and is none that is known here; take it out, or write it without the \
                              brackets",
                ),
            });
        };
        let text = text.strip_prefix(':').unwrap_or(text);
        said.push(Said::new(Place::Text, written, known(text, moment).map_err(|why| stop(&why))?));
        let start = line.get(..open).unwrap_or_default();
        let marked = start.len() >= MARK.len() && start.to_ascii_uppercase().ends_with(MARK);
        cuts.push(if marked { open.saturating_sub(MARK.len())..end } else { open..end });
        at = end;
        if said.len() > MOST {
            break;
        }
    }
    Ok(cuts)
}

/// The next opening bracket from `from` on, in any of its forms, and the place behind it. One walk over the text.
fn next_opening(line: &str, from: usize) -> Option<(usize, usize)> {
    bracket(line, from, ['<', '\u{ff1c}'], "&lt;")
}

/// What stands before the closing bracket, and the place behind that; no second opening between them.
fn closing(text: &str) -> Option<(&str, usize)> {
    let (place, behind) = bracket(text, 0, ['>', '\u{ff1e}'], "&gt;")?;
    let inner = text.get(..place)?;
    next_opening(inner, 0).is_none().then_some((inner, behind))
}

fn bracket(text: &str, from: usize, plain: [char; 2], encoded: &str) -> Option<(usize, usize)> {
    let rest = text.get(from..)?;
    rest.char_indices().find_map(|(place, c)| {
        let length = match c {
            '&' if rest.get(place..)?.starts_with(encoded) => encoded.len(),
            c if plain.contains(&c) => c.len_utf8(),
            _ => return None,
        };
        Some((from + place, from + place + length))
    })
}

/// Whether a word behind a bracket begins a code.
fn is_code(word: &str, behind: &str, known: bool) -> bool {
    let ends = behind.starts_with([':', '>', '\u{ff1e}']) || behind.starts_with("&gt;");
    if known {
        // Also what runs on to the end of the line: it lost its bracket.
        return ends || behind.starts_with(char::is_whitespace) || behind.is_empty();
    }
    let capitals = (3..=LONGEST).contains(&word.len())
        && word.starts_with(|c: char| c.is_ascii_uppercase())
        && word.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    let address =
        behind.starts_with("://") || matches!(word, "MAILTO" | "TEL" | "FAX" if behind.starts_with(':'));
    capitals && ends && !address
}

type Code = fn(&str, &Moment) -> Result<Wish, String>;

/// The codes that are known, followed or not.
const CODES: [(&str, Code); 24] = [
    ("TOFAXNUM", to_fax_number),
    ("TONAME", |text, _| Ok(Wish::Attention(value::line(text)?))),
    ("TOCOMPANY", |text, _| {
        value::line(text)?;
        Ok(Wish::Ignored(
            "has no effect: the cover names the recipient's organization as the register has it",
        ))
    }),
    ("TOCONTACTNUM", |text, _| {
        value::line(text)?;
        Ok(Wish::Ignored("has no effect: the cover has no room for the recipient's telephone"))
    }),
    ("FROMNAME", |text, _| Ok(Wish::From(value::line(text)?))),
    ("UNIQUEID", |text, _| Ok(Wish::Reference(value::line(text)?))),
    ("NOCOVER", |text, _| alone(text, Wish::Cover(false))),
    ("NOTE", |text, _| Ok(Wish::Note(value::subject(text)?))),
    ("PRIORITY", |text, _| Ok(Wish::Priority(value::priority(text)?))),
    ("SENDAT", |text, moment| Ok(Wish::SendAt(value::send_at(text, moment)?))),
    ("RETRYCOUNT", |_, _| Ok(Wish::Ignored("has no effect: when a fax is tried again is decided here"))),
    ("RETRYINTERVAL", |_, _| Ok(Wish::Ignored("has no effect: when a fax is tried again is decided here"))),
    ("NOSMARTRESUME", |_, _| Ok(Wish::Ignored("has no effect: a fax is always sent as a whole"))),
    ("TOALTFAXNUM", |_, _| {
        Err("cannot be followed: a fax that failed never goes to another number; take the code out".into())
    }),
    ("WHO", |_, _| {
        Err("cannot be followed: a fax is sent for the one who sent the mail; take the code out".into())
    }),
    ("ADDDOC", library),
    ("LIBDOC", library),
    ("LIBDOC2", library),
    ("FORMTYPE", library),
    ("PREVIEW", |_, _| Err("cannot be followed: nobody would see the preview; take the code out".into())),
    ("DELETEALL", |_, _| {
        Err("cannot be followed: cancel a fax by answering its receipt; take the code out".into())
    }),
    ("COVER", library),
    ("FCSFILE", library),
    ("BILLINFO1", |_, _| {
        Err("cannot be followed: there is no billing information here; take the code out".into())
    }),
];

fn code(word: &str) -> Option<Code> {
    CODES.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)).map(|(_, code)| *code)
}

fn to_fax_number(text: &str, _: &Moment) -> Result<Wish, String> {
    let target = target(text)
        .ok_or("has no plain number in it; pauses, tones and extensions cannot be dialled. Write it with country code")?;
    Ok(Wish::Target(target))
}

fn library(_: &str, _: &Moment) -> Result<Wish, String> {
    Err("cannot be followed: there is no library of documents and forms here; attach the document and take the code out".into())
}

fn alone(text: &str, wish: Wish) -> Result<Wish, String> {
    if value::plain(text).is_empty() {
        Ok(wish)
    } else {
        Err("has something in it that does not belong there".into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::super::without;
    use super::*;
    use crate::addressing::value::tests::moment;
    use crate::job::Priority;

    fn read(text: &str) -> Result<(Vec<Wish>, String), String> {
        let (said, cuts) = codes(text, &moment()).map_err(Stop::sentence)?;
        Ok((said.into_iter().map(|said| said.wish).collect(), without(text, &cuts)))
    }

    #[test]
    fn codes_are_read_anywhere_and_taken_out_exactly() {
        let number = |text: &str| Wish::Target(Target::Number(text.into()));
        let key = |text: &str| Wish::Target(Target::Key(text.into()));
        for (text, wishes, left) in [
            ("Dear John <john@example.com>", vec![], "Dear John <john@example.com>"),
            (
                "<https://example.com> <HTTP://EXAMPLE.COM> 3 < 4 <b>",
                vec![],
                "<https://example.com> <HTTP://EXAMPLE.COM> 3 < 4 <b>",
            ),
            ("<TOFAXNUM:12125550199>\nDear John", vec![number("12125550199")], "Dear John"),
            ("<tofaxnum: 555-0199>", vec![number("5550199")], ""),
            ("*AUTOFAX*<TOFAXNUM:62612>", vec![key("rightfax-62612")], ""),
            ("a <TONAME John Doe> b", vec![Wish::Attention("John Doe".into())], "a  b"),
            ("\u{ff1c}TONAME:J\u{ff1e}\r\nx", vec![Wish::Attention("J".into())], "x"),
            ("&lt;TOFAXNUM:+12125550199&gt; x", vec![number("+12125550199")], " x"),
            (
                "<UNIQUEID:4711><NOCOVER>\n\nx",
                vec![Wish::Reference("4711".into()), Wish::Cover(false)],
                "\nx",
            ),
            ("<PRIORITY:HIGH>", vec![Wish::Priority(Priority::High)], ""),
            ("<NOTE:see\u{a0}page 2>", vec![Wish::Note("see page 2".into())], ""),
            ("<FROMNAME:Jane>", vec![Wish::From("Jane".into())], ""),
        ] {
            assert_eq!(read(text), Ok((wishes, left.to_owned())), "{text}");
        }
        let (wishes, _) =
            read("<RETRYCOUNT:1><RETRYINTERVAL:1><NOSMARTRESUME><TOCOMPANY:x><TOCONTACTNUM:1>").unwrap();
        assert!(wishes.len() == 5 && wishes.iter().all(|wish| matches!(wish, Wish::Ignored(_))));
    }

    #[test]
    fn codes_that_cannot_be_followed_stop_the_mail() {
        for (text, why) in [
            ("<TOALTFAXNUM:12125550199>", "never goes to another number"),
            ("<ADDDOC:x>", "no library"),
            ("<LIBDOC2:PRICEGUIDE>", "no library"),
            ("<FORMTYPE: PO>", "no library"),
            ("<DELETEALL>", "cannot be followed"),
            ("<PREVIEW>", "cannot be followed"),
            ("<WHO:jane>", "cannot be followed"),
            ("<TOFAXNUMM:1>", "TOFAXNUM is one"),
            ("<SOMETHING>", "is none that is known"),
            ("<SOMETHING:x>", "is none that is known"),
            ("<TOFAXNUM:1212\n5550199>", "without its closing bracket"),
            ("<TOFAXNUM\n", "without its closing bracket"),
            ("<TONAME:John <TOFAXNUM:12125550199>", "without its closing bracket"),
            ("<TOFAXNUM:>", "no plain number"),
            ("<TOFAXNUM:,,,,12125550199>", "no plain number"),
            ("<TOFAXNUM:12125550199 x3>", "no plain number"),
            ("<NOCOVER:x>", "does not belong there"),
            ("<TONAME:>", "says nothing"),
            ("<SENDAT:noon>", "is not a point in time"),
        ] {
            let sentence = read(text).unwrap_err();
            assert!(sentence.contains(why), "{text}: {sentence}");
        }
    }

    #[test]
    fn display_names() {
        let gateway = Address::parse("fax@gateway.example").unwrap();
        let one = display("/name=John Doe/fax=212 555-0199/", &gateway).unwrap();
        assert_eq!(one.to, "2125550199@gateway.example");
        assert!(
            matches!(one.said.unwrap().as_slice(), [Said { wish: Wish::Attention(name), .. }] if name == "John Doe")
        );
        assert_eq!(display("/fax=62612/", &gateway).unwrap().to, "rightfax-62612@gateway.example");
        for name in ["John Doe", "/etc", "/a=b", ""] {
            assert_eq!(display(name, &gateway), None, "{name}");
        }
        for name in ["/fax=/", "/fax=2125550199/fax=2125550198/", "/fax=2125550199/x=y/", "/fax=1,2/"] {
            assert!(display(name, &gateway).unwrap().said.is_err(), "{name}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "\\PC*|(</?(TONAME|NOTE|X|note)?[:> ]?[a1<]{0,3}>?\n?){0,6}") {
            if let Ok((said, cuts)) = codes(&text, &moment()) {
                let cut: usize = cuts.iter().map(Range::len).sum();
                prop_assert_eq!(said.is_empty(), cut == 0);
                prop_assert_eq!(without(&text, &cuts).len() + cut, text.len());
                // What was taken out is not to be found by a second reading.
                prop_assert!(codes(&without(&text, &cuts), &moment()).map_or(true, |(said, _)| said.is_empty()));
            }
        }
    }
}
