//! When a Submission is prepared again that could not be for a reason of ours, and how often.

use jiff::SignedDuration;

use super::PrepareError;
use crate::packet::WorkshopError;

/// With the pauses of [`after`], for about half an hour.
const MOST_TRIES: u32 = 20;
/// Where the document may be the cause after all, as when its children are killed by a machine that is out of memory, or where what is
/// wrong does not pass.
const FEW_TRIES: u32 = 6;

/// For the sender of a document that was accepted and cannot be read any more.
pub(super) const LOST: &str =
    "The document was received, but cannot be read any more for a reason that lies with us. Send it again.";
const NO_ROOM: &str = "There was no room on our disk for the pages of this fax, for half an hour. Nothing was faxed. Send it in smaller parts, \
                       or ask the administrator, who can release it when there is room.";
const OURS: &str = "The document could not be worked on for a reason that lies with us. Nothing was faxed. Ask the administrator, who can release \
                    it when that is mended, or send it again later.";

/// The pause after try number `tries`.
pub(super) fn after(tries: u32) -> SignedDuration {
    SignedDuration::from_secs(match tries {
        0..=4 => 15,
        5..=8 => 60,
        9..=MOST_TRIES => 120,
        // It could not even be held.
        _ => 600,
    })
}

impl PrepareError {
    /// Tries after which the Submission is held.
    pub(super) fn most_tries(&self) -> u32 {
        match self {
            PrepareError::Gone | PrepareError::Workshop(WorkshopError::Ended { .. }) => FEW_TRIES,
            PrepareError::Spool(error) if !error.is_for_now() => FEW_TRIES,
            PrepareError::Store(_)
            | PrepareError::Spool(_)
            | PrepareError::Workshop(_)
            | PrepareError::Command(_) => MOST_TRIES,
        }
    }

    /// Whether room on the disk was wanting.
    pub(super) fn is_room(&self) -> bool {
        match self {
            PrepareError::Spool(error) => error.is_full(),
            PrepareError::Store(error) => error.is_full(),
            PrepareError::Workshop(_) | PrepareError::Command(_) | PrepareError::Gone => false,
        }
    }

    /// For the sender, when it is held for it.
    pub(super) fn sentence(&self) -> String {
        let sentence = match self {
            trouble if trouble.is_room() => NO_ROOM,
            PrepareError::Gone => LOST,
            PrepareError::Spool(error) if !error.is_for_now() => LOST,
            _ => OURS,
        };
        sentence.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::SpoolError;
    use crate::store::StoreError;

    #[test]
    fn it_is_tried_for_half_an_hour_and_not_without_end() {
        let minutes = |tries| (1..tries).map(after).sum::<SignedDuration>().as_mins();
        assert_eq!(minutes(MOST_TRIES), 27);
        assert_eq!(minutes(FEW_TRIES), 2);
        assert!((1..1000).all(|tries| after(tries) >= SignedDuration::from_secs(15)));
    }

    #[test]
    fn each_trouble_has_its_tries_and_its_sentence() {
        let missing = || SpoolError::Missing { name: "x".into() };
        for (trouble, tries, said) in [
            (PrepareError::Spool(SpoolError::NoRoom { wanted: 2, room: 1 }), MOST_TRIES, "no room"),
            (PrepareError::Store(StoreError::Full), MOST_TRIES, "no room"),
            (PrepareError::Store(StoreError::Locked), MOST_TRIES, "lies with us"),
            (PrepareError::Spool(missing()), FEW_TRIES, "cannot be read any more"),
            (PrepareError::Gone, FEW_TRIES, "cannot be read any more"),
            (PrepareError::Workshop(WorkshopError::Ended { signal: 9 }), FEW_TRIES, "lies with us"),
            (
                PrepareError::from(WorkshopError::Source(Box::new(missing()))),
                FEW_TRIES,
                "cannot be read any more",
            ),
            (PrepareError::from(WorkshopError::Sink("pipe".into())), MOST_TRIES, "lies with us"),
        ] {
            assert_eq!(trouble.most_tries(), tries, "{trouble}");
            assert!(trouble.sentence().contains(said), "{trouble}: {}", trouble.sentence());
        }
    }
}
