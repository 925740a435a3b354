//! A mail's subject and text without what was asked for in them, and what that was.

use super::directive::{Place, Said, Stop, Target, Wish};
use super::readers::Reader;
use super::{Moment, block, readers, subject, without};
use crate::addressing::MailFacts;
use crate::addressing::message::own_words;

/// Which forms count in a sender's mail.
#[derive(Debug, Clone, Copy)]
pub struct Dialect<'a> {
    /// Our own options, in the subject and at the head of the text.
    pub directives: bool,
    /// Other systems' forms.
    pub readers: &'a [Reader],
}

/// A mail, read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Letter {
    /// The subject that is left; `None` where nothing is.
    pub subject: Option<String>,
    /// The text that is left.
    pub text: Option<String>,
    /// What was asked for.
    pub said: Vec<Said>,
}

impl Letter {
    /// Reads subject, text and header fields.
    ///
    /// # Errors
    /// [`Stop`] for what looks as if something were asked for and cannot be followed.
    pub fn read(
        mail: &MailFacts,
        text: Option<&str>,
        dialect: Dialect<'_>,
        moment: &Moment,
    ) -> Result<Letter, Stop> {
        let has = |reader| dialect.readers.contains(&reader);
        let mut letter =
            Letter { subject: mail.subject.clone(), text: text.map(str::to_owned), said: Vec::new() };
        if has(Reader::Hylafax) {
            letter.said.extend(readers::hylafax::fields(&mail.fax_fields)?);
        }
        if let Some(line) = letter.subject.as_mut() {
            if has(Reader::Interfax) {
                let (said, cut) = readers::interfax::switches(line, moment)?;
                letter.said.extend(said);
                *line = without(line, &[cut]);
            }
            if dialect.directives {
                let (said, cuts) = subject::read(line, moment)?;
                letter.said.extend(said);
                *line = without(line, &cuts);
            }
            if has(Reader::Interfax) && dialect.directives {
                // What stood close to an option is at the end only now: `[Ref: 1]/b`.
                let (said, cut) = readers::interfax::switches(line, moment)?;
                letter.said.extend(said);
                *line = without(line, &[cut]);
            }
        }
        letter.subject = letter.subject.filter(|line| !line.trim().is_empty());
        if let Some(text) = letter.text.as_mut() {
            if has(Reader::Rightfax) {
                let (said, cuts) = readers::rightfax::codes(text, moment)?;
                is_own(&said, text)?;
                letter.said.extend(said);
                *text = without(text, &cuts);
            }
            if has(Reader::Efax) {
                let (said, cuts) = readers::efax::tags(text)?;
                letter.said.extend(said);
                *text = without(text, &cuts);
            }
            if dialect.directives {
                let (said, cut) = block::read(text, moment)?;
                letter.said.extend(said);
                *text = without(text, &[cut]);
            }
        }
        Ok(letter)
    }

    /// Whom the text names, in another system's way. Header fields are never followed for that, only compared.
    #[must_use]
    pub fn targets(&self) -> Vec<Target> {
        let of = |said: &Said| match (&said.wish, said.place) {
            (Wish::Target(target), Place::Text) => Some(target.clone()),
            _ => None,
        };
        self.said.iter().filter_map(of).collect()
    }
}

/// Whom a fax goes to is for its sender to say: a number in a mail that he forwards or answers is somebody else's word.
fn is_own(said: &[Said], text: &str) -> Result<(), Stop> {
    let mut targets = said.iter().filter(|said| matches!(said.wish, Wish::Target(_))).peekable();
    if targets.peek().is_none() {
        return Ok(());
    }
    let own = own_words(text);
    match targets.find(|said| !own.contains(&said.written)) {
        Some(foreign) => Err(Stop::new(
            foreign.place,
            &foreign.written,
            "stands in what the mail quotes, or far down in it; write it at the top",
        )),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::addressing::value::tests::moment;

    const ALL: [Reader; 5] = [Reader::Efax, Reader::Rightfax, Reader::Interfax, Reader::Hylafax, Reader::T37];

    fn read(subject: &str, text: &str, directives: bool, readers: &[Reader]) -> Result<Letter, String> {
        let mail = MailFacts {
            subject: Some(subject.to_owned()),
            fax_fields: vec![("vres".into(), "98".into())],
            ..MailFacts::default()
        };
        Letter::read(&mail, Some(text), Dialect { directives, readers }, &moment()).map_err(Stop::sentence)
    }

    #[test]
    fn only_what_is_switched_on_is_read() {
        let (subject, text) = ("X [Ref: 1] /bn", "{nocoverpage}\n<TONAME:Jane>\nAttn: Jane\nhello");
        let letter = read(subject, text, false, &[]).unwrap();
        assert_eq!((letter.subject.as_deref(), letter.text.as_deref()), (Some(subject), Some(text)));
        assert!(letter.said.is_empty());
        let letter = read(subject, text, true, &ALL).unwrap();
        assert_eq!((letter.subject.as_deref(), letter.text.as_deref()), (Some("X"), Some("hello")));
        let places: Vec<Place> = letter.said.iter().map(|said| said.place).collect();
        use Place::{Field, Subject, Text};
        assert_eq!(places, [Field, Subject, Subject, Text, Text, Text]);
        let letter = read("[Ref: 1]/bn", text, true, &ALL).unwrap();
        assert_eq!((letter.subject, letter.said.len()), (None, 6));
        // With our own options only, the others are text, and text in front is no block.
        let letter = read("X [Ref: 1]", text, true, &[]).unwrap();
        assert_eq!((letter.subject.as_deref(), letter.text.as_deref()), (Some("X"), Some(text)));
        assert_eq!(letter.said.len(), 1);
        let letter = read("[Ref: 1]", "Attn: Jane", true, &[]).unwrap();
        assert_eq!((letter.subject, letter.text.as_deref()), (None, Some("")));
    }

    #[test]
    fn a_number_in_a_mail_that_is_quoted_is_not_the_senders() {
        let read = |text: &str| read("", text, false, &[Reader::Rightfax]);
        let quoted =
            "Please see below.\n\nOn Mon, 23 Nov 2026, Joe wrote:\n> <TOFAXNUM:12125550199>\n> hello";
        assert!(read(quoted).unwrap_err().contains("stands in what the mail quotes"), "{:?}", read(quoted));
        let own = format!("<TOFAXNUM:12125550123>\n{quoted}").replace("<TOFAXNUM:12125550199>", "no code");
        assert_eq!(read(&own).unwrap().targets(), [Target::Number("12125550123".into())]);
    }

    proptest! {
        #[test]
        fn nothing_that_was_asked_for_is_left(
            subject in "\\PC{0,40}|(\\[(Ref|Attn|x)?:? ?[a1]{0,2}\\] ?|/bn? ?|a ){0,5}",
            text in "\\PC{0,80}|(<(TONAME|NOCOVER|x)[:> ][a1]{0,2}>|\\{nocoverpage\\}|(Attn|Ref|Note): [a1]{0,2}|a|\n){0,8}",
        ) {
            if let Ok(letter) = read(&subject, &text, true, &ALL) {
                let (subject, text) = (letter.subject.unwrap_or_default(), letter.text.unwrap_or_default());
                // Read again, nothing is asked for in it any more, but by a letter that begins like an option behind a blank line.
                if let Ok(again) = read(&subject, &text, false, &ALL) {
                    prop_assert!(again.said.iter().all(|said| said.place == Place::Field), "{:?}", again.said);
                }
            }
        }
    }
}
