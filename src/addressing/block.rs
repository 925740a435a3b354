//! Options at the head of a mail's text, one to a line:
//!
//! ```text
//! Attn: Dr. Smith
//! Pages: 1-3
//!
//! Dear colleague, ...
//! ```
//!
//! The block begins with the first line that is not blank, if that names an option (or nearly: then it stops the mail, rather
//! than appear on a cover). It ends at a blank line, or at one that is not of the form `Word: value`. A letter that begins with
//! `Hello: ...` or `Note: ...` has no block. Within one, a line of the form that names no option stops the mail too: it is a
//! misspelt option, or a letter that a blank line should part from them, and only its writer knows which.

use std::ops::Range;

use super::directive::{Place, Said, Stop};
use super::keys::{self, Found};
use super::value::Moment;

/// What the block says, and where in `text` it stands.
///
/// # Errors
/// [`Stop`] for a line that looks like an option and cannot be followed.
pub(super) fn read(text: &str, moment: &Moment) -> Result<(Vec<Said>, Range<usize>), Stop> {
    let mut said = Vec::new();
    let mut block = 0..0;
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let start = at;
        at += line.len();
        let line = line.trim_end_matches(['\n', '\r']);
        let begun = !said.is_empty();
        if super::value::plain(line).is_empty() {
            if begun {
                break;
            }
            continue;
        }
        let Some((word, value)) = keys::split(line) else { break };
        let stop = |why: &str| Err(Stop::new(Place::Text, line, why));
        match keys::find(&word) {
            Found::Key(key) => match key.read(value, moment) {
                Ok(wish) => said.push(Said::new(Place::Text, line, wish)),
                Err(why) => return stop(&why),
            },
            Found::Near(name) => {
                let why = format!(
                    "is no option; {name} is one. If it is the beginning of your letter, put another line in front of it"
                );
                return stop(&why);
            }
            Found::Other if begun && is_value(value) => {
                return stop(
                    "stands among the options and is none; put a blank line between the options and your letter",
                );
            }
            Found::Other => break,
        }
        if block.is_empty() {
            block.start = start;
        }
        block.end = at;
    }
    Ok((said, block))
}

/// Something behind a colon and a blank: `http://` is a colon too.
fn is_value(text: &str) -> bool {
    text.starts_with(char::is_whitespace) && !super::value::plain(text).is_empty()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::addressing::directive::Wish;
    use crate::addressing::value::tests::moment;

    fn rest(text: &str) -> Result<(usize, String), String> {
        let (said, block) = read(text, &moment()).map_err(Stop::sentence)?;
        Ok((said.len(), format!("{}{}", &text[..block.start], &text[block.end..])))
    }

    #[test]
    fn blocks_are_read_and_taken_out_exactly() {
        for (text, options, left) in [
            ("", 0, ""),
            ("Dear colleague,\nPages: 1", 0, "Dear colleague,\nPages: 1"),
            ("Hello: please see attached.\nPages: 1\n", 0, "Hello: please see attached.\nPages: 1\n"),
            ("Dear: Dr. Smith", 0, "Dear: Dr. Smith"),
            ("Note: the patient comes on Monday", 0, "Note: the patient comes on Monday"),
            ("Attn: Dr. Smith", 1, ""),
            ("Attn: Dr. Smith\n\nDear colleague,\n", 1, "\nDear colleague,\n"),
            ("\n\u{a0}\nattn:Dr. Smith\nPAGES: 1-3\nDear colleague,", 2, "\n\u{a0}\nDear colleague,"),
            (
                "Attn: a\r\nRef: b\r\n\r\nRe: not an option any more\r\n",
                2,
                "\r\nRe: not an option any more\r\n",
            ),
            ("Attn: a\nhttp://example.com/x\n", 1, "http://example.com/x\n"),
            ("Attn: a\nGreetings:\nx", 1, "Greetings:\nx"),
            ("Attn: a\nDear Dr. Smith: x", 1, "Dear Dr. Smith: x"),
            ("\u{feff}Send-At\u{ff1a} 2026-12-01\u{a0}08:30\nbye", 1, "bye"),
        ] {
            assert_eq!(rest(text), Ok((options, left.to_owned())), "{text:?}");
        }
        let (said, _) = read("Claim: 4711\nCover: no\nPriority: low", &moment()).unwrap();
        let wishes: Vec<&Wish> = said.iter().map(|said| &said.wish).collect();
        assert!(
            matches!(wishes.as_slice(), [Wish::Identifier(label, value), Wish::Cover(false), Wish::Priority(_)]
            if label == "Claim" && value == "4711")
        );
    }

    #[test]
    fn what_looks_like_an_option_and_is_none_stops_the_mail() {
        for (text, beginning) in [
            ("Page: 1", "\"Page: 1\" in the text of the mail is no option; Pages is one."),
            ("Attn: a\nRefs: b", "\"Refs: b\" in the text of the mail is no option; Ref is one."),
            ("Sent-At: 08:30", "\"Sent-At: 08:30\" in the text of the mail is no option; Send-At is one."),
            ("Pages: all", "\"Pages: all\" in the text of the mail is not a list of pages;"),
            ("Attn:", "\"Attn:\" in the text of the mail says nothing behind its name"),
            (
                "Attn: a\nColour: red",
                "\"Colour: red\" in the text of the mail stands among the options and is none;",
            ),
        ] {
            let sentence = rest(text).unwrap_err();
            assert!(sentence.starts_with(beginning), "{sentence}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "\\PC*|((Attn|Ref|Page|Note|x y)?:? ?[a-z1]{0,3}\n){0,6}") {
            if let Ok((said, block)) = read(&text, &moment()) {
                prop_assert_eq!(said.is_empty(), block.is_empty());
                let rest = format!("{}{}", &text[..block.start], &text[block.end..]);
                prop_assert_eq!(rest.len() + block.len(), text.len());
                for one in said {
                    prop_assert!(text[block.clone()].contains(&one.written));
                }
            }
        }
    }
}
