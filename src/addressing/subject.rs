//! Options in the subject, in square brackets at its beginning or its end: `X-ray of today [Ref: 4711] [Pages: 1-3]`.
//!
//! Brackets with anything but `Option: value` in them are no options (`[EXTERNAL]`, `[claim 4711]`, `[Ticket: 5]`): they stay
//! where they are, for rules to match. Options may stand among such brackets, and behind the `Re:` or `Fwd:` of a reply; in
//! the middle of the words, or without their closing bracket, they stop the mail.

use std::ops::Range;

use super::directive::{Place, Said, Stop};
use super::keys::{self, Found};
use super::value::Moment;

/// A pair of brackets and what is in them.
struct Group<'a> {
    range: Range<usize>,
    whole: &'a str,
    inner: &'a str,
}

/// What the subject says, and which pieces of it.
///
/// # Errors
/// [`Stop`] for what looks like an option and cannot be followed.
pub(super) fn read(subject: &str, moment: &Moment) -> Result<(Vec<Said>, Vec<Range<usize>>), Stop> {
    let groups = groups(subject)?;
    let mut said = Vec::new();
    let mut cuts = Vec::new();
    for (n, group) in groups.iter().enumerate() {
        let stop = |why: &str| Err(Stop::new(Place::Subject, group.whole, why));
        let key = match keys::split(group.inner).map(|(word, value)| (keys::find(&word), value)) {
            Some((Found::Key(key), value)) => (key, value),
            Some((Found::Near(name), _)) => {
                return stop(&format!("is no option; {name} is one"));
            }
            Some((Found::Other, _)) | None => continue,
        };
        let in_front = is_only(subject, &groups, 0..group.range.start, is_reply_prefix);
        let behind = is_only(subject, &groups, group.range.end..subject.len(), |_| false);
        if !in_front && !behind {
            return stop("stands in the middle of the subject; put options at its beginning or end");
        }
        match key.0.read(key.1, moment) {
            Ok(wish) => said.push(Said::new(Place::Subject, group.whole, wish)),
            Err(why) => return stop(&why),
        }
        cuts.push(with_blanks(subject, &groups, n, behind));
    }
    Ok((said, cuts))
}

/// The first brackets in a rule's pattern for subjects that would be read as an option, and so never be seen by the rule.
#[must_use]
pub fn option_in(pattern: &str) -> Option<&str> {
    let groups = groups(pattern).unwrap_or_default();
    let option = |group: &&Group<'_>| {
        keys::split(group.inner).is_some_and(|(word, _)| keys::find(&word) != Found::Other)
    };
    groups.iter().find(option).map(|group| group.whole)
}

/// All pairs of brackets, none in another.
fn groups(subject: &str) -> Result<Vec<Group<'_>>, Stop> {
    let mut groups = Vec::new();
    let mut open: Option<usize> = None;
    let unclosed = |from: usize, to: usize| {
        let text = subject.get(from..to).unwrap_or_default();
        let named = keys::split(text.strip_prefix('[').unwrap_or(text)).map(|(word, _)| keys::find(&word));
        match named {
            Some(Found::Key(_)) => Err(Stop::new(Place::Subject, text, "has no closing bracket")),
            _ => Ok(()),
        }
    };
    for (place, c) in subject.char_indices() {
        match (c, open) {
            ('[', Some(from)) => {
                unclosed(from, place)?;
                open = Some(place);
            }
            ('[', None) => open = Some(place),
            (']', Some(from)) => {
                let range = from..place + 1;
                let whole = subject.get(range.clone()).unwrap_or_default();
                let inner = subject.get(from + 1..place).unwrap_or_default();
                groups.push(Group { range, whole, inner });
                open = None;
            }
            _ => {}
        }
    }
    if let Some(from) = open {
        unclosed(from, subject.len())?;
    }
    Ok(groups)
}

/// Whether in `range` there is nothing but brackets, blanks and what is `allowed`.
fn is_only(subject: &str, groups: &[Group<'_>], range: Range<usize>, allowed: impl Fn(&str) -> bool) -> bool {
    let mut at = range.start;
    let inside =
        groups.iter().filter(|group| range.contains(&group.range.start) && group.range.end <= range.end);
    let ends = inside.map(|group| group.range.clone()).chain(std::iter::once(range.end..range.end));
    ends.into_iter().all(|next| {
        let between = subject.get(at..next.start).unwrap_or_default().trim();
        at = next.end;
        between.is_empty() || allowed(between)
    })
}

/// `Re:`, `Fwd: RE:`, and what other languages have for them.
fn is_reply_prefix(text: &str) -> bool {
    text.split_whitespace().all(|word| {
        let word = word.to_lowercase();
        let marks = ["re", "fw", "fwd", "aw", "wg", "tr", "rv", "sv", "vs", "antw", "res", "enc", "i", "r"];
        word.strip_suffix(':').is_some_and(|word| marks.contains(&word))
    })
}

/// A group with the blanks that parted it from the words.
fn with_blanks(subject: &str, groups: &[Group<'_>], n: usize, behind: bool) -> Range<usize> {
    let Some(group) = groups.get(n) else { return 0..0 };
    let Range { mut start, mut end } = group.range.clone();
    if behind && start > 0 {
        let before = subject.get(..start).unwrap_or_default();
        start = before.trim_end().len();
    } else {
        let after = subject.get(end..).unwrap_or_default();
        end += after.len() - after.trim_start().len();
    }
    start..end
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::without;
    use super::*;
    use crate::addressing::value::tests::moment;

    fn rest(subject: &str) -> Result<(Vec<String>, String), String> {
        let (said, cuts) = read(subject, &moment()).map_err(Stop::sentence)?;
        Ok((said.into_iter().map(|said| said.written).collect(), without(subject, &cuts)))
    }

    #[test]
    fn options_are_taken_from_both_ends_and_other_brackets_stay() {
        for (subject, options, left) in [
            ("X-ray", vec![], "X-ray"),
            ("X-ray [Ref: 4711] [Pages: 1-3]", vec!["[Ref: 4711]", "[Pages: 1-3]"], "X-ray"),
            ("[Ref: 4711] X-ray", vec!["[Ref: 4711]"], "X-ray"),
            ("[Cover: on] X-ray [Ref: 4711]", vec!["[Cover: on]", "[Ref: 4711]"], "X-ray"),
            ("Re: [Ref: 4711] X-ray", vec!["[Ref: 4711]"], "Re: X-ray"),
            ("AW: Fwd: [EXTERNAL] [Ref: 4711] X-ray", vec!["[Ref: 4711]"], "AW: Fwd: [EXTERNAL] X-ray"),
            ("Jane's X-ray [claim 4711]", vec![], "Jane's X-ray [claim 4711]"),
            ("Jane's X-ray [claim 4711] [Attn: Bob]", vec!["[Attn: Bob]"], "Jane's X-ray [claim 4711]"),
            ("X-ray [Attn: Bob] [Ticket: 5]", vec!["[Attn: Bob]"], "X-ray [Ticket: 5]"),
            ("[Ref: 4711]", vec!["[Ref: 4711]"], ""),
            ("X [a [Ref: 1]", vec!["[Ref: 1]"], "X [a"),
            ("a ] b [", vec![], "a ] b ["),
        ] {
            let options = options.into_iter().map(str::to_owned).collect();
            assert_eq!(rest(subject), Ok((options, left.to_owned())), "{subject}");
        }
    }

    #[test]
    fn what_looks_like_an_option_and_is_none_stops_the_mail() {
        for (subject, beginning) in [
            ("X [Refs: 1]", "\"[Refs: 1]\" in the subject is no option; Ref is one."),
            ("X [Pages: x]", "\"[Pages: x]\" in the subject is not a list of pages"),
            ("X [Ref: 1] y", "\"[Ref: 1]\" in the subject stands in the middle of the subject"),
            ("X [Ref: 1", "\"[Ref: 1\" in the subject has no closing bracket"),
            ("[Ref: 1 [EXTERNAL] X", "\"[Ref: 1 \" in the subject has no closing bracket"),
        ] {
            let sentence = rest(subject).unwrap_err();
            assert!(
                sentence.replace("1\"", "1 \"").starts_with(&beginning.replace("1\"", "1 \"")),
                "{sentence}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_subject_is_read(subject in "\\PC*|((\\[?(Ref|Page|x)?:? ?[a1]{0,2}\\]?)? ?){0,6}") {
            if let Ok((said, left)) = rest(&subject) {
                prop_assert!(left.len() <= subject.len());
                prop_assert!(said.is_empty() != (left != subject));
            }
        }
    }
}
