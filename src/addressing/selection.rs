//! Which pages of a packet to send: `1-3,7`.

use crate::text::counted;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Pages to send, as ranges from 1 that ascend and do not touch twice. The cover is not among them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Selection(Vec<(u32, u32)>);

/// A text that is no page selection, or one that the packet cannot satisfy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectionError {
    /// Not of the form `1-3,7`.
    #[error("{0:?} is not a list of pages; write them as 1-3,7")]
    Form(String),
    /// Pages out of order or named twice.
    #[error("{0:?} names pages out of order or twice; list them in rising order, as 1-3,7")]
    Order(String),
    /// A page that is not there.
    #[error("page {wanted} was asked for, but the documents have only {there}")]
    Beyond {
        /// The last page asked for.
        wanted: u32,
        /// "1 page", "5 pages".
        there: String,
    },
}

impl Selection {
    /// The chosen page numbers of a packet of `total` pages, rising, from 1.
    ///
    /// # Errors
    /// [`SelectionError::Beyond`] when it names a page that the packet does not have.
    pub fn of(&self, total: u32) -> Result<Vec<u32>, SelectionError> {
        match self.0.last() {
            Some(&(_, wanted)) if wanted > total => {
                let there = counted(total, "page");
                Err(SelectionError::Beyond { wanted, there })
            }
            _ => Ok(self.0.iter().flat_map(|&(first, last)| first..=last).collect()),
        }
    }

    /// The one page, where it is one.
    #[must_use]
    pub fn lone(&self) -> Option<u32> {
        match self.0.as_slice() {
            [(first, last)] if first == last => Some(*first),
            _ => None,
        }
    }

    /// The pages that are in this selection and in `other`; `None` where there are none.
    #[must_use]
    pub fn both(&self, other: &Selection) -> Option<Selection> {
        let mut both = Vec::new();
        let (mut ours, mut theirs) = (self.0.iter().peekable(), other.0.iter().peekable());
        while let (Some(&&(a, b)), Some(&&(c, d))) = (ours.peek(), theirs.peek()) {
            let (first, last) = (a.max(c), b.min(d));
            if first <= last {
                both.push((first, last));
            }
            if b < d {
                ours.next()
            } else {
                theirs.next()
            };
        }
        (!both.is_empty()).then_some(Selection(both))
    }
}

impl SelectionError {
    /// The same as a sentence for the sender.
    #[must_use]
    pub fn sentence(&self) -> String {
        let text = self.to_string();
        let mut characters = text.chars();
        let first = characters.next().map(|first| first.to_ascii_uppercase());
        first.into_iter().chain(characters).chain(['.']).collect()
    }
}

impl FromStr for Selection {
    type Err = SelectionError;

    fn from_str(text: &str) -> Result<Self, SelectionError> {
        let shown = || text.chars().take(60).collect::<String>();
        let number = |word: &str| -> Result<u32, SelectionError> {
            let word = word.trim();
            if !word.is_empty() && word.len() <= 6 && word.bytes().all(|b| b.is_ascii_digit()) {
                word.parse().map_err(|_| SelectionError::Form(shown()))
            } else {
                Err(SelectionError::Form(shown()))
            }
        };
        let mut ranges: Vec<(u32, u32)> = Vec::new();
        for range in text.split(',') {
            let (first, last) = match range.split_once('-') {
                Some((first, last)) => (number(first)?, number(last)?),
                None => (number(range)?, number(range)?),
            };
            let after = ranges.last().map_or(0, |&(_, last)| last);
            if first <= after || last < first {
                return Err(SelectionError::Order(shown()));
            }
            ranges.push((first, last));
        }
        Ok(Selection(ranges))
    }
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (first, last)) in self.0.iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            if first == last {
                write!(f, "{comma}{first}")?;
            } else {
                write!(f, "{comma}{first}-{last}")?;
            }
        }
        Ok(())
    }
}

impl TryFrom<String> for Selection {
    type Error = SelectionError;

    fn try_from(text: String) -> Result<Self, SelectionError> {
        text.parse()
    }
}

impl From<Selection> for String {
    fn from(selection: Selection) -> String {
        selection.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_pages_are_read_and_written() {
        for (text, total, pages) in [
            ("1", 1, vec![1]),
            ("1-3,7", 9, vec![1, 2, 3, 7]),
            (" 2 - 3 , 5", 5, vec![2, 3, 5]),
            ("4-4", 4, vec![4]),
        ] {
            let selection: Selection = text.parse().unwrap();
            assert_eq!(selection.of(total).unwrap(), pages, "{text}");
            assert_eq!(selection.to_string().parse(), Ok(selection), "{text}");
        }
    }

    #[test]
    fn two_selections_have_pages_in_common_or_not() {
        for (a, b, both) in [
            ("1-3,7", "2-9", Some("2-3,7")),
            ("2-9", "1-3,7", Some("2-3,7")),
            ("1-9", "2,4,6", Some("2,4,6")),
            ("1-5", "1-5", Some("1-5")),
            ("1-2", "3", None),
        ] {
            let [a, b]: [Selection; 2] = [a, b].map(|text| text.parse().unwrap());
            assert_eq!(a.both(&b).map(|both| both.to_string()).as_deref(), both, "{a} {b}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for text in ["", ",", "1,", "a", "1-", "-3", "+1", "1.5", "1-2-3", "1;2", "9999999"] {
            assert_eq!(text.parse::<Selection>(), Err(SelectionError::Form(text.into())), "{text}");
        }
        for text in ["0", "0-3", "3-1", "2,1", "1-3,3", "1,1"] {
            assert_eq!(text.parse::<Selection>(), Err(SelectionError::Order(text.into())), "{text}");
        }
    }

    #[test]
    fn a_page_that_is_not_there_is_an_error_not_a_blank() {
        let error = "1-3,7".parse::<Selection>().unwrap().of(5).unwrap_err();
        assert_eq!(error.to_string(), "page 7 was asked for, but the documents have only 5 pages");
    }
}
