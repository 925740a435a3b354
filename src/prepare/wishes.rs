//! What a sender's wishes do within what a rule says (pure): they narrow it, or the mail is answered.
//!
//! A rule decides whether the text of a mail, its subject and a packet without cover are possible at all; a wish only chooses
//! among that. So the same mail without its options goes to the same number, with more on it or sooner, never less checked.

use jiff::Timestamp;

use crate::addressing::Selection;
use crate::addressing::directive::{Asked, Stop};
use crate::addressing::letter::Letter;
use crate::addressing::message::own_words_or_part;
use crate::config::Sender;
use crate::job::Priority;
use crate::packet::Contents;
use crate::routing::Route;

/// For the sender of a text that is too long for any cover.
const CUT: &str = "The text of the mail was too long for the cover sheet; its end was cut.";

/// What the law and the rule leave to wishes.
#[derive(Debug, Clone, Copy)]
pub struct Bounds<'a> {
    /// The sender's entry in the configuration.
    pub sender: Option<&'a Sender>,
    /// Whether every provider that may send it prints the header line of 47 CFR 68.318(d); where one does not, the cover has to
    /// say who sends.
    pub header_printed: bool,
}

/// A Job's content, decided.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Granted {
    /// For whose attention, in place of the register's.
    pub attention: Option<String>,
    /// Who sends it, in place of the mail's From.
    pub from: Option<String>,
    /// The subject for the cover, if that shows one.
    pub subject: Option<String>,
    /// The message on the cover.
    pub message: Option<String>,
    /// The text to be faxed as pages.
    pub body: Option<String>,
    /// Pages of the documents; all where it is `None`.
    pub selection: Option<Selection>,
    /// Whether there is a cover.
    pub cover: bool,
    /// Not before this instant.
    pub send_at: Option<Timestamp>,
    /// How urgent.
    pub priority: Priority,
    /// What its sender would like to know, as sentences.
    pub warnings: Vec<String>,
}

/// Decides what `asked` does to what `route` says; reference and identifier are put into `route`.
///
/// # Errors
/// [`Stop`] for what the rule does not leave to its sender, and for what is not there.
pub fn grant(
    asked: &Asked,
    letter: &Letter,
    route: &mut Route,
    contents: &Contents,
    bounds: Bounds<'_>,
) -> Result<Granted, Stop> {
    let mut granted = Granted {
        attention: asked.attention.as_ref().map(|told| told.value.clone()),
        cover: true,
        send_at: asked.send_at.as_ref().map(|told| told.value),
        priority: asked.priority.as_ref().map_or(Priority::Normal, |told| told.value),
        warnings: asked.warnings.clone(),
        ..Granted::default()
    };
    named(asked, route)?;
    granted.from = from(asked, bounds.sender)?;
    granted.selection = selection(asked, route, contents, &mut granted.warnings)?;
    words(asked, letter, route, &mut granted)?;
    if let Some(told) = asked.cover.as_ref().filter(|told| !told.value) {
        if !route.cover_may_be_left_out {
            return Err(told
                .stop("cannot be followed: what is sent to this address always has a cover; leave it out"));
        }
        if !bounds.header_printed {
            return Err(told.stop(
                "cannot be followed: a fax must say who sends it and when, and on the way this one is sent only its cover does; \
                 leave it out",
            ));
        }
        without_cover(&mut granted);
    }
    Ok(granted)
}

/// Reference and identifier: the rule's own are captured from address, subject or file name, and another is a conflict.
fn named(asked: &Asked, route: &mut Route) -> Result<(), Stop> {
    if let Some(told) = &asked.reference {
        match &route.reference {
            Some(known) if *known != told.value => {
                return Err(told.stop(
                    "does not fit to the reference in the address, the subject or the file name; leave one of them out",
                ));
            }
            _ => route.reference = Some(told.value.clone()),
        }
    }
    if let Some(told) = &asked.identifier {
        let (label, value) = &told.value;
        match &route.identifier {
            Some((known, same)) if !(known.eq_ignore_ascii_case(label) && same == value) => {
                return Err(told.stop(
                    "does not fit to the identifier in the address, the subject or the file name, and the cover has room for one; \
                     leave one of them out",
                ));
            }
            Some(_) => {}
            None => route.identifier = Some(told.value.clone()),
        }
    }
    Ok(())
}

/// Whoever the configuration names on a cover stays there.
fn from(asked: &Asked, sender: Option<&Sender>) -> Result<Option<String>, Stop> {
    let Some(told) = &asked.from else { return Ok(None) };
    match sender.and_then(|sender| sender.cover_name.as_deref()) {
        Some(name) if !name.trim().eq_ignore_ascii_case(told.value.trim()) => Err(told.stop(
            "cannot be followed: your covers always bear the name that the administrator gave them; leave it out",
        )),
        _ => Ok(Some(told.value.clone())),
    }
}

/// The pages that both the rule and the sender want. A rule's own list is looked at when the Job is made.
fn selection(
    asked: &Asked,
    route: &Route,
    contents: &Contents,
    warnings: &mut Vec<String>,
) -> Result<Option<Selection>, Stop> {
    let of_rule = route.pages.as_deref().and_then(|pages| pages.parse::<Selection>().ok());
    let Some(told) = &asked.pages else { return Ok(of_rule) };
    if let Some(count) = told.value.lone().filter(|_| !told.written().contains('-'))
        && is_a_count(count, contents)
    {
        return Err(told.stop(&format!(
            "can be read in two ways: that there are so many pages, or that only page {count} is to be faxed. Leave it out to \
             send all pages, or write {count}-{count} for that page alone"
        )));
    }
    // Of a document that could not be opened nobody knows how many pages it has.
    if (contents.hold.is_none() || contents.nothing)
        && let Err(fault) = told.value.of(contents.pages)
    {
        return Err(told.stop(&format!("cannot be followed: {fault}")));
    }
    let Some(of_rule) = of_rule else { return Ok(Some(told.value.clone())) };
    let both = told.value.both(&of_rule);
    match both {
        None => Err(told.stop(&format!("names no page that is sent to this address; those are {of_rule}"))),
        Some(both) => {
            if both != told.value {
                warnings.push(format!("Of the pages asked for, only {both} are sent to this address."));
            }
            Ok(Some(both))
        }
    }
}

/// Whether a number may be meant as that of all pages, as forms of cover sheets ask for it. With the cover it is one more than there
/// are, which is refused in any case.
fn is_a_count(number: u32, contents: &Contents) -> bool {
    contents.hold.is_none() && contents.pages > 1 && number == contents.pages
}

/// Subject, message and text as pages.
fn words(asked: &Asked, letter: &Letter, route: &Route, granted: &mut Granted) -> Result<(), Stop> {
    let shown = asked.body.as_ref().is_none_or(|told| told.value);
    if let Some(told) = asked.body.as_ref().filter(|told| told.value)
        && !route.body_on_cover
        && !route.body_as_pages
    {
        return Err(
            told.stop("cannot be followed: the text of a mail to this address is not faxed; leave it out")
        );
    }
    if route.subject_on_cover {
        granted.subject =
            asked.subject.as_ref().map(|told| told.value.clone()).or_else(|| letter.subject.clone());
    } else if asked.subject.is_some() {
        granted.warnings.push("The cover of what is sent to this address shows no subject.".to_owned());
    }
    let note = asked.note.as_ref();
    if let Some(told) = note.filter(|_| !route.body_on_cover) {
        return Err(told.stop(
            "cannot be followed: no words of a mail to this address stand on its cover; leave it out",
        ));
    }
    let text = letter.text.as_deref().filter(|text| shown && !text.trim().is_empty());
    if route.body_on_cover {
        let own = text.map(own_words_or_part);
        if own.as_ref().is_some_and(|(_, cut)| *cut) {
            granted.warnings.push(CUT.to_owned());
        }
        let own = own.map(|(words, _)| words);
        let pieces = [note.map(|told| told.value.as_str()), own.as_deref()];
        let pieces = pieces.into_iter().flatten().map(str::trim).filter(|piece| !piece.is_empty());
        let message = pieces.collect::<Vec<_>>().join("\n\n");
        granted.message = Some(message).filter(|message| !message.is_empty());
    }
    if route.body_as_pages {
        // Whole, with what it quotes: pages that were cut would be a letter that nobody wrote.
        granted.body = text.map(str::to_owned);
    }
    Ok(())
}

fn without_cover(granted: &mut Granted) {
    granted.cover = false;
    if granted.message.take().is_some() {
        granted.warnings.push("Without a cover, its message is not faxed.".to_owned());
    }
    if granted.attention.is_some() {
        granted.warnings.push("Without a cover, the fax does not say for whose attention it is.".to_owned());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::addressing::directive::{Place, Said, Wish};
    use crate::routing::Ask;

    fn route() -> Route {
        let ask = Ask::Key("mercy-radiology".into());
        Route { rule: "named recipient".into(), ..Route::direct(ask) }
    }

    fn letter() -> Letter {
        Letter { subject: Some("X-ray".into()), text: Some("Dear colleague".into()), said: Vec::new() }
    }

    fn decide(wishes: Vec<Wish>, mut route: Route, header_printed: bool) -> Result<(Granted, Route), String> {
        let said: Vec<Said> = wishes.into_iter().map(|wish| Said::new(Place::Text, "This", wish)).collect();
        let asked = Asked::gather(&said).map_err(Stop::sentence)?;
        let contents = Contents { pages: 5, ..Contents::default() };
        let bounds = Bounds { sender: None, header_printed };
        let granted = grant(&asked, &letter(), &mut route, &contents, bounds).map_err(Stop::sentence)?;
        Ok((granted, route))
    }

    fn pages(text: &str) -> Selection {
        text.parse().unwrap()
    }

    /// A cover sheet's form asks for the number of pages; whoever writes it down means no choice.
    #[test]
    fn a_lone_number_that_is_the_number_of_pages_is_asked_about() {
        for (asked, is_asked) in [("5", true), ("5-5", false), ("4", false), ("1", false), ("4,5", false)] {
            let said = Said::new(Place::Text, &format!("Pages: {asked}"), Wish::Pages(pages(asked)));
            let asked_for = Asked::gather(&[said]).map_err(Stop::sentence).unwrap();
            let contents = Contents { pages: 5, ..Contents::default() };
            let bounds = Bounds { sender: None, header_printed: true };
            let granted =
                grant(&asked_for, &letter(), &mut route(), &contents, bounds).map_err(Stop::sentence);
            let sentence = granted.err().unwrap_or_default();
            assert_eq!(sentence.contains("two ways"), is_asked, "{asked}: {sentence}");
            assert!(!is_asked || sentence.contains(&format!("{asked}-{asked}")), "{sentence}");
        }
    }

    #[test]
    fn nothing_asked_is_what_the_rule_says() {
        let (granted, _) = decide(vec![], route(), true).unwrap();
        assert_eq!(
            granted,
            Granted { subject: Some("X-ray".into()), cover: true, ..Granted::default() },
            "the text is not faxed unless the rule says so"
        );
        let shown = Route { body_on_cover: true, body_as_pages: true, subject_on_cover: false, ..route() };
        let (granted, _) = decide(vec![], shown, true).unwrap();
        assert_eq!(granted.subject, None);
        assert_eq!(granted.message.as_deref(), Some("Dear colleague"));
        assert_eq!(granted.body.as_deref(), Some("Dear colleague"));
    }

    #[test]
    fn wishes_choose_among_what_the_rule_leaves_open() {
        let all = Route {
            body_on_cover: true,
            cover_may_be_left_out: true,
            pages: Some("1-3".into()),
            identifier: Some(("claim".into(), "4711".into())),
            ..route()
        };
        let (granted, route) = decide(
            vec![
                Wish::Attention("Jane".into()),
                Wish::Subject("Other".into()),
                Wish::Reference("R1".into()),
                Wish::Identifier("Claim".into(), "4711".into()),
                Wish::Pages(pages("2-5")),
                Wish::Note("See page 2.".into()),
                Wish::Priority(Priority::Low),
                Wish::From("Dr. Smith".into()),
            ],
            all.clone(),
            true,
        )
        .unwrap();
        assert_eq!(granted.attention.as_deref(), Some("Jane"));
        assert_eq!(granted.subject.as_deref(), Some("Other"));
        assert_eq!(granted.from.as_deref(), Some("Dr. Smith"));
        assert_eq!(granted.message.as_deref(), Some("See page 2.\n\nDear colleague"));
        assert_eq!(granted.selection, Some(pages("2-3")));
        assert_eq!(granted.warnings, ["Of the pages asked for, only 2-3 are sent to this address."]);
        assert_eq!((granted.priority, granted.cover), (Priority::Low, true));
        assert_eq!(route.reference.as_deref(), Some("R1"));
        let (granted, _) =
            decide(vec![Wish::Cover(false), Wish::Attention("Jane".into())], all.clone(), true).unwrap();
        assert_eq!((granted.cover, granted.message, granted.warnings.len()), (false, None, 2));
        let (granted, _) = decide(vec![Wish::Body(false)], all, true).unwrap();
        assert_eq!(granted.message, None);
    }

    #[test]
    fn what_the_rule_does_not_leave_open_stops_the_mail() {
        let off = || vec![Wish::Cover(false)];
        let may = Route { cover_may_be_left_out: true, ..route() };
        for (wishes, route, printed, why) in [
            (off(), route(), true, "always has a cover"),
            (off(), may, false, "who sends it and when"),
            (vec![Wish::Body(true)], route(), true, "text of a mail to this address is not faxed"),
            (vec![Wish::Note("x".into())], route(), true, "no words of a mail"),
            (
                vec![Wish::Pages(pages("1-7"))],
                route(),
                true,
                "page 7 was asked for, but the documents have only 5 pages",
            ),
            (
                vec![Wish::Pages(pages("4-5"))],
                Route { pages: Some("1-3".into()), ..route() },
                true,
                "those are 1-3",
            ),
            (
                vec![Wish::Reference("a".into())],
                Route { reference: Some("b".into()), ..route() },
                true,
                "does not fit to the reference",
            ),
            (
                vec![Wish::Identifier("Patient".into(), "4711".into())],
                Route { identifier: Some(("Claim".into(), "4711".into())), ..route() },
                true,
                "does not fit to the identifier",
            ),
        ] {
            let sentence = decide(wishes, route, printed).unwrap_err();
            assert!(sentence.contains(why), "{sentence}");
        }
        let (granted, _) =
            decide(vec![Wish::Subject("x".into())], Route { subject_on_cover: false, ..route() }, true)
                .unwrap();
        assert_eq!((granted.subject, granted.warnings.len()), (None, 1));
    }

    fn any_wish() -> impl Strategy<Value = Wish> {
        prop_oneof![
            "[a-z]{1,9}".prop_map(Wish::Attention),
            "[a-z]{1,9}".prop_map(Wish::From),
            "[a-z]{1,9}".prop_map(Wish::Subject),
            "[ab]".prop_map(Wish::Reference),
            "[ab]".prop_map(|value| Wish::Identifier("Claim".into(), value)),
            (1u32..9).prop_map(|page| Wish::Pages(pages(&page.to_string()))),
            any::<bool>().prop_map(Wish::Cover),
            any::<bool>().prop_map(Wish::Body),
            "[a-z]{1,9}".prop_map(Wish::Note),
            "[0-9]{7,11}"
                .prop_map(|number| Wish::Target(crate::addressing::directive::Target::Number(number))),
        ]
    }

    proptest! {
        #[test]
        fn no_wish_widens_a_rule(
            wishes in proptest::collection::vec(any_wish(), 0..5),
            flags in any::<[bool; 4]>(),
            list in proptest::option::of(Just("1-3".to_owned())),
            printed in any::<bool>(),
        ) {
            let [body_on_cover, body_as_pages, cover_may_be_left_out, subject_on_cover] = flags;
            let rule = Route {
                body_on_cover, body_as_pages, cover_may_be_left_out, subject_on_cover, pages: list, ..route()
            };
            let (plain, _) = decide(vec![], rule.clone(), printed).unwrap();
            if let Ok((granted, after)) = decide(wishes, rule.clone(), printed) {
                // Where it goes, by whom and by which rule is untouched.
                prop_assert_eq!((&after.ask, &after.rule, &after.providers), (&rule.ask, &rule.rule, &rule.providers));
                prop_assert!(granted.cover || cover_may_be_left_out && printed);
                prop_assert!(granted.message.is_none() || body_on_cover);
                prop_assert!(granted.body.is_none() || plain.body == granted.body);
                prop_assert!(granted.subject.is_none() || subject_on_cover);
                let chosen = |granted: &Granted| {
                    granted.selection.as_ref().map_or_else(|| Ok((1..=5).collect::<Vec<u32>>()), |pages| pages.of(5)).unwrap()
                };
                let most = chosen(&plain);
                prop_assert!(chosen(&granted).iter().all(|page| most.contains(page)));
            }
        }
    }
}
