//! Why a Job is held: every reason, since whoever releases it lifts all of them. One must not hide another.

use crate::job::Hold;
use crate::policy::rank;

/// The reasons for which a Job is held, each once, with a sentence for its sender. None: it is not held.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Holds(Vec<(Hold, String)>);

impl Holds {
    /// Adds a reason. Of two sentences for the same one the first is told.
    pub fn add(&mut self, hold: Hold, sentence: String) {
        if !self.has(hold) {
            self.0.push((hold, sentence));
            self.0.sort_by_key(|(hold, _)| rank(*hold));
        }
    }

    /// Whether `hold` is among them.
    #[must_use]
    pub fn has(&self, hold: Hold) -> bool {
        self.0.iter().any(|(known, _)| *known == hold)
    }

    /// The reasons alone, in the order in which they are told.
    #[must_use]
    pub fn kinds(&self) -> Vec<Hold> {
        self.0.iter().map(|(hold, _)| *hold).collect()
    }

    /// The reason that the Job's state names, and what its sender is told: all of them.
    #[must_use]
    pub fn told(&self) -> Option<(Hold, String)> {
        let (first, _) = self.0.first()?;
        let sentences: Vec<&str> = self.0.iter().map(|(_, sentence)| sentence.as_str()).collect();
        Some((*first, sentences.join(" ")))
    }
}

impl Extend<(Hold, String)> for Holds {
    fn extend<T: IntoIterator<Item = (Hold, String)>>(&mut self, holds: T) {
        holds.into_iter().for_each(|(hold, sentence)| self.add(hold, sentence));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_reason_hides_another() {
        let all = |holds: &[Hold]| {
            let mut found = Holds::default();
            found.extend(holds.iter().map(|hold| (*hold, format!("It is {hold}."))));
            found.told()
        };
        let told = |hold: Hold, sentence: &str| Some((hold, sentence.to_owned()));
        for (holds, wanted) in [
            (&[][..], None),
            (&[Hold::Cover], told(Hold::Cover, "It is cover.")),
            (&[Hold::Cover, Hold::Proof], told(Hold::Proof, "It is proof. It is cover.")),
            (&[Hold::Proof, Hold::Cover], told(Hold::Proof, "It is proof. It is cover.")),
            (&[Hold::Unverified, Hold::Cover], told(Hold::Cover, "It is cover. It is unverified.")),
            (&[Hold::Suspended, Hold::Proof], told(Hold::Proof, "It is proof. It is suspended.")),
            (
                &[Hold::Proof, Hold::Unverified, Hold::Part],
                told(Hold::Part, "It is part. It is proof. It is unverified."),
            ),
            (&[Hold::Part, Hold::Part], told(Hold::Part, "It is part.")),
        ] {
            assert_eq!(all(holds), wanted, "{holds:?}");
        }
    }
}
