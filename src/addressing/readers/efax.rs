//! eFax: `12125550199/to=John_Doe/fr=Jane_Doe/co=Doe_Sprockets/cp=off@fax.example.com` (country code first, no plus, options between
//! number and `@`, underscores for blanks), and `{nocoverpage}` or `{showbodytext}` as the very first lines of the text.

use std::ops::Range;

use super::super::directive::{Place, Said, Stop, Wish};
use super::super::{Address, value};
use super::{Addressed, shown, unblanked};

/// A number with its country code has at least this many digits where it is told from a national one by nothing else.
const WITH_COUNTRY: usize = 11;

/// The address taken apart, if it has this form.
pub(super) fn address(address: &Address, to: &str) -> Option<Addressed> {
    let mut pieces = address.local.split('/');
    let head = pieces.next().unwrap_or_default();
    let options: Vec<&str> = pieces.filter(|piece| !piece.is_empty()).collect();
    let all_digits = !head.is_empty() && head.bytes().all(|b| b.is_ascii_digit());
    // Also in front of a key (`mercy-radiology/to=Jane`); but what has its own `=` in front is another system's.
    let has_option = |piece: &&str| piece.split_once('=').is_some_and(|(name, _)| option(name).is_some());
    if !all_digits && (head.contains('=') || !options.iter().any(has_option)) {
        return None;
    }
    // Country code first: no country's begins with 0, and ten digits or fewer may be a national number.
    let international = all_digits && (WITH_COUNTRY..=15).contains(&head.len()) && !head.starts_with('0');
    let plus = if international { "+" } else { "" };
    let said = options.into_iter().map(|piece| read(piece, to)).collect();
    Some(Addressed { to: format!("{plus}{head}@{}", address.domain), said })
}

fn option(name: &str) -> Option<&'static str> {
    ["to", "fr", "co", "cp"].into_iter().find(|known| known.eq_ignore_ascii_case(name))
}

fn read(piece: &str, to: &str) -> Result<Said, Stop> {
    let stop = |why: &str| Stop::new(Place::Address, piece, &format!("({}) {why}", shown(to)));
    let (name, text) = piece.split_once('=').unwrap_or((piece, ""));
    let words = || value::line(&unblanked(text, &['_'])).map_err(|why| stop(&why));
    let wish = match option(name) {
        Some("to") => Wish::Attention(words()?),
        Some("fr") => Wish::From(words()?),
        Some("co") => {
            words()?;
            Wish::Ignored(
                "has no effect: the cover names the recipient's organization as the register has it",
            )
        }
        Some("cp") => match text.to_ascii_lowercase().as_str() {
            "on" => Wish::Cover(true),
            "off" => Wish::Cover(false),
            _ => return Err(stop("is neither cp=on nor cp=off")),
        },
        _ => {
            return Err(stop(
                "is no option; behind the number there are to=, fr=, co= and cp=, with / between them",
            ));
        }
    };
    Ok(Said::new(Place::Address, piece, wish))
}

/// The tags in front of the text, and where they stand.
///
/// # Errors
/// [`Stop`] for tags elsewhere, and for other words in braces where tags stand.
pub(crate) fn tags(text: &str) -> Result<(Vec<Said>, Vec<Range<usize>>), Stop> {
    let (mut said, mut cuts) = (Vec::new(), Vec::new());
    let mut at = 0;
    let mut in_front = true;
    for line in text.split_inclusive('\n') {
        let range = at..at + line.len();
        at = range.end;
        let shown = value::formal(line);
        if in_front {
            match shown.to_ascii_lowercase().as_str() {
                "" => continue,
                "{nocoverpage}" => said.push(Said::new(Place::Text, &shown, Wish::Cover(false))),
                "{showbodytext}" => said.push(Said::new(Place::Text, &shown, Wish::Body(true))),
                other if is_tag(other) => {
                    return Err(Stop::new(
                        Place::Text,
                        &shown,
                        "is no tag; there are {nocoverpage} and {showbodytext}",
                    ));
                }
                _ => in_front = false,
            }
        }
        if in_front {
            cuts.push(range);
            continue;
        }
        let lower = shown.to_ascii_lowercase();
        if let Some(tag) = ["{nocoverpage}", "{showbodytext}"].into_iter().find(|tag| lower.contains(tag)) {
            return Err(Stop::new(
                Place::Text,
                tag,
                "is not on a line of its own in front of everything else",
            ));
        }
    }
    Ok((said, cuts))
}

/// One word in braces, alone on its line.
fn is_tag(line: &str) -> bool {
    let inner = line.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
    inner.is_some_and(|word| !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric()))
}

#[cfg(test)]
mod tests {
    use super::super::super::without;
    use super::super::normal;
    use super::*;
    use crate::addressing::readers::Reader;

    fn read_address(to: &str) -> (String, Result<Vec<Wish>, String>) {
        let one = normal(to, &[Reader::Efax]);
        (
            one.to,
            one.said.map(|said| said.into_iter().map(|said| said.wish).collect()).map_err(Stop::sentence),
        )
    }

    #[test]
    fn addresses_come_apart() {
        let (to, said) =
            read_address("12125550199/to=John_Doe/fr=Jane_Doe/co=Doe_Sprockets/cp=off@fax.example.com");
        assert_eq!(to, "+12125550199@fax.example.com");
        let said = said.unwrap();
        assert!(
            matches!(said.as_slice(), [Wish::Attention(to), Wish::From(from), Wish::Ignored(_), Wish::Cover(false)]
            if to == "John Doe" && from == "Jane Doe")
        );
        for (to, seen) in [
            ("81335550199@fax.example.com", "+81335550199@fax.example.com"),
            ("2125550199@fax.example.com", "2125550199@fax.example.com"),
            ("2125550199/CP=ON@fax.example.com", "2125550199@fax.example.com"),
            ("03012345678@fax.example.com", "03012345678@fax.example.com"),
            ("mercy-radiology/to=Jane@fax.example.com", "mercy-radiology@fax.example.com"),
            ("mercy-radiology@fax.example.com", "mercy-radiology@fax.example.com"),
            ("FAX=+12125550199/T33S=1@fax.example.com", "FAX=+12125550199/T33S=1@fax.example.com"),
        ] {
            let (found, said) = read_address(to);
            assert_eq!(found, seen);
            assert!(said.is_ok(), "{to}: {said:?}");
        }
    }

    #[test]
    fn options_that_are_none_stop_the_mail_and_leave_the_number_to_rcpt() {
        for (to, why) in [
            ("12125550199/cp=maybe@fax.example.com", "is neither cp=on nor cp=off"),
            ("12125550199/subject=x@fax.example.com", "is no option;"),
            ("12125550199/off@fax.example.com", "is no option;"),
            ("12125550199/to=@fax.example.com", "says nothing"),
        ] {
            let (seen, said) = read_address(to);
            assert_eq!(seen, "+12125550199@fax.example.com");
            assert!(said.clone().unwrap_err().contains(why), "{said:?}");
        }
    }

    #[test]
    fn tags_count_only_in_front() {
        for (text, wishes, left) in [
            ("{nocoverpage}\nHello", vec![Wish::Cover(false)], "Hello"),
            (
                "\n{ShowBodyText}\n{NOCOVERPAGE}\r\n\nHello",
                vec![Wish::Body(true), Wish::Cover(false)],
                "\n\nHello",
            ),
            ("Hello {name}", vec![], "Hello {name}"),
            ("", vec![], ""),
        ] {
            let (said, cuts) = tags(text).unwrap();
            assert_eq!(said.into_iter().map(|said| said.wish).collect::<Vec<_>>(), wishes, "{text}");
            assert_eq!(without(text, &cuts), left);
        }
        for text in ["Hello\n{nocoverpage}", "{nocoverpage} Hello", "{coverpage}\nHello"] {
            assert!(tags(text).is_err(), "{text}");
        }
    }
}
