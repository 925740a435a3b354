//! The options that have a name: `Attn`, `Re`, `Ref`, `Claim`, `Patient`, `Pages`, `Cover`, `Send-At`, `Priority`. Which word is
//! one of them, which is nearly one, and what its value means.

use super::directive::Wish;
use super::value::{self, Moment};
use crate::text::is_invisible;
use crate::text::nearest::distance;

/// An option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Attn,
    Re,
    Ref,
    Claim,
    Patient,
    Pages,
    Cover,
    SendAt,
    Priority,
}

/// What a word before a colon is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// The name of an option.
    Key(Key),
    /// Nearly the name of one: this.
    Near(&'static str),
    /// Any other word.
    Other,
}

/// Names as they are written; more than one for what people write in full.
const NAMES: [(&str, Key); 11] = [
    ("Attn", Key::Attn),
    ("Attention", Key::Attn),
    ("Re", Key::Re),
    ("Ref", Key::Ref),
    ("Reference", Key::Ref),
    ("Claim", Key::Claim),
    ("Patient", Key::Patient),
    ("Pages", Key::Pages),
    ("Cover", Key::Cover),
    ("Send-At", Key::SendAt),
    ("Priority", Key::Priority),
];

/// Every other word of two or three letters is one edit from `Re` or `Ref`; these are slips.
const SHORT_SLIPS: [(&str, &str); 5] =
    [("refs", "Ref"), ("reff", "Ref"), ("rfe", "Ref"), ("erf", "Ref"), ("res", "Re")];

/// What `word` is, in any case.
pub(super) fn find(word: &str) -> Found {
    let lower = word.to_lowercase();
    let mut names = NAMES.iter();
    if let Some((_, key)) = names.find(|(name, _)| name.eq_ignore_ascii_case(&lower)) {
        return Found::Key(*key);
    }
    let slip = SHORT_SLIPS.iter().find(|(slip, _)| *slip == lower).map(|(_, name)| *name);
    let near = || {
        let long = NAMES.iter().map(|(name, _)| *name).filter(|name| name.len() >= 4);
        long.into_iter()
            .find(|name| distance(&lower, &name.to_lowercase()) == 1 || distance_is_t(&lower, name))
    };
    slip.or_else(near).map_or(Found::Other, Found::Near)
}

/// `Sent-At` is two slips of one: a participle.
fn distance_is_t(lower: &str, name: &str) -> bool {
    name == "Send-At" && matches!(lower, "sent-at" | "sent at" | "sendat" | "send-on" | "send_at")
}

impl Key {
    /// What its value means; the error is the rest of a sentence that begins with what was written.
    pub(super) fn read(self, text: &str, moment: &Moment) -> Result<Wish, String> {
        Ok(match self {
            Key::Attn => Wish::Attention(value::line(text)?),
            Key::Re => Wish::Subject(value::subject(text)?),
            Key::Ref => Wish::Reference(value::line(text)?),
            Key::Claim => Wish::Identifier("Claim".to_owned(), value::line(text)?),
            Key::Patient => Wish::Identifier("Patient".to_owned(), value::line(text)?),
            Key::Pages => Wish::Pages(value::pages(text)?),
            Key::Cover => Wish::Cover(value::on_or_off(text)?),
            Key::SendAt => Wish::SendAt(value::send_at(text, moment)?),
            Key::Priority => Wish::Priority(value::priority(text)?),
        })
    }
}

/// A text as `word: value`, in one form whatever a mail program made of blanks and colons: the word in letters, dashes and single blanks,
/// the value as it stands behind the colon. `None` for what is no such text.
pub(super) fn split(text: &str) -> Option<(String, &str)> {
    let (place, colon) = text.char_indices().find(|(_, c)| matches!(c, ':' | '\u{ff1a}' | '\u{fe55}'))?;
    let word = text.get(..place)?;
    // A key is short; a letter's first line may be long.
    if word.len() > 80 {
        return None;
    }
    let word: String = value::formal(word).chars().filter(|&c| !is_invisible(c)).collect();
    let good = word.starts_with(|c: char| c.is_ascii_alphabetic())
        && word.len() <= 20
        && word.chars().all(|c| c.is_ascii_alphabetic() || c == '-' || c == '_' || c == ' ')
        && word.matches(' ').count() <= 1;
    good.then_some((word, text.get(place + colon.len_utf8()..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_and_slips_are_told_from_other_words() {
        for (word, expected) in [
            ("attn", Found::Key(Key::Attn)),
            ("ATTENTION", Found::Key(Key::Attn)),
            ("Re", Found::Key(Key::Re)),
            ("send-at", Found::Key(Key::SendAt)),
            ("Page", Found::Near("Pages")),
            ("Refs", Found::Near("Ref")),
            ("Sent-At", Found::Near("Send-At")),
            ("Send At", Found::Near("Send-At")),
            ("SendAt", Found::Near("Send-At")),
            ("Priorty", Found::Near("Priority")),
            ("Attm", Found::Near("Attn")),
            ("Pateint", Found::Near("Patient")),
            ("Hello", Found::Other),
            ("Note", Found::Other),
            ("Dear", Found::Other),
            ("Red", Found::Other),
            ("From", Found::Other),
            ("Sent", Found::Other),
            ("To", Found::Other),
            ("Date", Found::Other),
            ("Fax", Found::Other),
            ("http", Found::Other),
        ] {
            assert_eq!(find(word), expected, "{word}");
        }
    }

    #[test]
    fn a_word_and_its_value() {
        for (text, expected) in [
            ("Attn: Dr. Smith", Some(("Attn", " Dr. Smith"))),
            ("\u{a0}Attn\u{a0}:\u{a0}x", Some(("Attn", "\u{a0}x"))),
            ("\u{feff}Ref\u{ff1a}4711", Some(("Ref", "4711"))),
            ("\u{ff32}ef: 1", Some(("Ref", " 1"))),
            ("Send\u{2011}At: 08:30", Some(("Send-At", " 08:30"))),
            ("Dear Dr. Smith: hello", None),
            ("Dear Mr Smith: hello", None),
            ("08:30 is fine", None),
            ("no colon", None),
            (": x", None),
            ("", None),
        ] {
            assert_eq!(split(text).as_ref().map(|(word, value)| (word.as_str(), *value)), expected, "{text}");
        }
    }
}
