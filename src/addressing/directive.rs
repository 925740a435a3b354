//! What a sender may ask for beside the address, as data: each wish with the words it was written in, so that an answer can
//! quote them, and all of one Job together as [`Asked`].
//!
//! Wishes narrow what a rule says, never widen it; whether a rule allows them is decided in [`crate::prepare::wishes`]. Here
//! stands only what can be decided without one: the same thing asked for twice in different ways is an error and not a
//! question of which goes first (field notes, section 2, rule 5).

use jiff::Timestamp;

use crate::addressing::Selection;
use crate::job::Priority;
use crate::text::quotable;

/// How much of a directive a sentence repeats, in characters.
const REPEATED: usize = 60;

/// Where something was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// An envelope recipient, or its display name.
    Address,
    /// The subject.
    Subject,
    /// The text of the mail.
    Text,
    /// A header field of its own.
    Field,
}

impl Place {
    fn words(self) -> &'static str {
        match self {
            Place::Address => "the address",
            Place::Subject => "the subject",
            Place::Text => "the text of the mail",
            Place::Field => "the header of the mail",
        }
    }
}

/// Why a mail goes nowhere because of what it asks for: the sentence for its sender. It repeats what was written, so it is not for
/// the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Stop(String);

impl Stop {
    /// `why` is the rest of a sentence that begins with what was written: what is wrong and how to write it.
    #[must_use]
    pub fn new(place: Place, written: &str, why: &str) -> Stop {
        let why = why.trim_end_matches('.');
        Stop(format!(
            "\"{}\" in {} {why}. Correct it and send the mail again.",
            quotable(written, REPEATED),
            place.words()
        ))
    }

    /// The sentence.
    #[must_use]
    pub fn sentence(self) -> String {
        self.0
    }
}

/// One thing that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// For whose attention.
    Attention(String),
    /// Who sends it, where the configuration leaves that to the mail.
    From(String),
    /// The subject on the cover.
    Subject(String),
    /// The sender's reference.
    Reference(String),
    /// Patient or claim identifier: what it is called, and its value.
    Identifier(String, String),
    /// Pages of the documents.
    Pages(Selection),
    /// With or without a cover.
    Cover(bool),
    /// Not before this instant.
    SendAt(Timestamp),
    /// How urgent.
    Priority(Priority),
    /// With or without the text of the mail.
    Body(bool),
    /// Words for the cover beside that text.
    Note(String),
    /// To whom, in another system's way.
    Target(Target),
    /// Understood, and without effect here; the rest of a sentence that begins with it.
    Ignored(&'static str),
}

/// To whom, as another system's directive names them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A number, as written; digits and `+` only.
    Number(String),
    /// A short code: a key of the register.
    Key(String),
}

/// A wish with the words it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Where.
    pub place: Place,
    /// As it was written.
    pub written: String,
    /// What it means.
    pub wish: Wish,
}

impl Said {
    /// `wish`, as it was `written` at `place`.
    #[must_use]
    pub fn new(place: Place, written: &str, wish: Wish) -> Said {
        Said { place, written: written.to_owned(), wish }
    }
}

/// A value with the words it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told<T> {
    /// What is asked for.
    pub value: T,
    place: Place,
    written: String,
}

impl<T> Told<T> {
    /// As its sender wrote it.
    #[must_use]
    pub fn written(&self) -> &str {
        &self.written
    }

    /// The mail goes nowhere because of this; `why` as in [`Stop::new`].
    #[must_use]
    pub fn stop(&self, why: &str) -> Stop {
        Stop::new(self.place, &self.written, why)
    }
}

/// All that is asked for of one Job.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    /// See [`Wish::Attention`].
    pub attention: Option<Told<String>>,
    /// See [`Wish::From`].
    pub from: Option<Told<String>>,
    /// See [`Wish::Subject`].
    pub subject: Option<Told<String>>,
    /// See [`Wish::Reference`].
    pub reference: Option<Told<String>>,
    /// See [`Wish::Identifier`].
    pub identifier: Option<Told<(String, String)>>,
    /// See [`Wish::Pages`].
    pub pages: Option<Told<Selection>>,
    /// See [`Wish::Cover`].
    pub cover: Option<Told<bool>>,
    /// See [`Wish::SendAt`].
    pub send_at: Option<Told<Timestamp>>,
    /// See [`Wish::Priority`].
    pub priority: Option<Told<Priority>>,
    /// See [`Wish::Body`].
    pub body: Option<Told<bool>>,
    /// See [`Wish::Note`]; several stand below each other.
    pub note: Option<Told<String>>,
    /// See [`Wish::Target`]. All of them, since `+1 212 ...` and `1212...` may be one number.
    pub targets: Vec<Told<Target>>,
    /// What was understood and has no effect, as sentences.
    pub warnings: Vec<String>,
}

impl Asked {
    /// Puts together what was said in several places.
    ///
    /// # Errors
    /// [`Stop`] where two of them do not fit together.
    pub fn gather<'a>(said: impl IntoIterator<Item = &'a Said>) -> Result<Asked, Stop> {
        let mut asked = Asked::default();
        for one in said {
            match &one.wish {
                Wish::Attention(name) => keep(&mut asked.attention, one, name, |a, b| same_words(a, b))?,
                Wish::From(name) => keep(&mut asked.from, one, name, |a, b| same_words(a, b))?,
                Wish::Subject(text) => keep(&mut asked.subject, one, text, |a, b| same_words(a, b))?,
                Wish::Reference(text) => keep(&mut asked.reference, one, text, PartialEq::eq)?,
                Wish::Identifier(label, value) => {
                    let both = (label.clone(), value.clone());
                    keep(&mut asked.identifier, one, &both, PartialEq::eq)?;
                }
                Wish::Pages(selection) => keep(&mut asked.pages, one, selection, PartialEq::eq)?,
                Wish::Cover(on) => keep(&mut asked.cover, one, on, PartialEq::eq)?,
                Wish::SendAt(at) => keep(&mut asked.send_at, one, at, PartialEq::eq)?,
                Wish::Priority(priority) => keep(&mut asked.priority, one, priority, PartialEq::eq)?,
                Wish::Body(shown) => keep(&mut asked.body, one, shown, PartialEq::eq)?,
                Wish::Note(text) => match &mut asked.note {
                    Some(note) => note.value.extend(["\n", text]),
                    None => asked.note = Some(told(one, text)),
                },
                Wish::Target(target) => asked.targets.push(told(one, target)),
                Wish::Ignored(why) => {
                    asked.warnings.push(format!("\"{}\" {why}.", quotable(&one.written, REPEATED)));
                }
            }
        }
        Ok(asked)
    }
}

fn told<T: Clone>(said: &Said, value: &T) -> Told<T> {
    Told { value: value.clone(), place: said.place, written: said.written.clone() }
}

/// Keeps the first; the same again is no news, and another is a conflict.
fn keep<T: Clone>(
    slot: &mut Option<Told<T>>,
    said: &Said,
    value: &T,
    same: fn(&T, &T) -> bool,
) -> Result<(), Stop> {
    match slot {
        None => *slot = Some(told(said, value)),
        Some(first) if same(&first.value, value) => {}
        Some(first) => {
            let why = format!(
                "does not fit to \"{}\" in {}; leave one of them out",
                quotable(&first.written, REPEATED),
                first.place.words()
            );
            return Err(Stop::new(said.place, &said.written, &why));
        }
    }
    Ok(())
}

/// Names are the same however they are spaced and capitalised: systems disagree on that, people do not care.
fn same_words(a: &str, b: &str) -> bool {
    let words = |text: &str| text.split_whitespace().map(str::to_lowercase).collect::<Vec<_>>();
    words(a) == words(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(place: Place, written: &str, wish: Wish) -> Said {
        Said::new(place, written, wish)
    }

    #[test]
    fn the_same_twice_is_no_news_and_another_is_a_conflict() {
        let attention =
            |place, name: &str| said(place, &format!("Attn: {name}"), Wish::Attention(name.into()));
        let asked =
            Asked::gather(&[attention(Place::Address, "Jane Doe"), attention(Place::Text, "jane  doe")])
                .unwrap();
        assert_eq!(asked.attention.unwrap().value, "Jane Doe");
        let stop =
            Asked::gather(&[attention(Place::Address, "Jane Doe"), attention(Place::Text, "John Doe")]);
        assert_eq!(
            stop.unwrap_err().sentence(),
            "\"Attn: John Doe\" in the text of the mail does not fit to \"Attn: Jane Doe\" in the address; leave one of them \
             out. Correct it and send the mail again."
        );
        // A cover has one line for both.
        let claim = said(Place::Text, "Claim: 1", Wish::Identifier("Claim".into(), "1".into()));
        let patient = said(Place::Subject, "[Patient: 1]", Wish::Identifier("Patient".into(), "1".into()));
        assert!(Asked::gather([&claim, &patient]).is_err());
        let on = said(Place::Address, "cp=on", Wish::Cover(true));
        let off = said(Place::Text, "Cover: off", Wish::Cover(false));
        assert!(Asked::gather([&on, &off]).is_err());
    }

    #[test]
    fn notes_add_up_and_what_has_no_effect_is_told() {
        let asked = Asked::gather(&[
            said(Place::Text, "<NOTE:a>", Wish::Note("a".into())),
            said(Place::Text, "<NOTE:b>", Wish::Note("b".into())),
            said(Place::Text, "<RETRYCOUNT:1>", Wish::Ignored("has no effect here")),
        ])
        .unwrap();
        assert_eq!(asked.note.unwrap().value, "a\nb");
        assert_eq!(asked.warnings, ["\"<RETRYCOUNT:1>\" has no effect here."]);
    }
}
