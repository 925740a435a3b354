//! The simulator's table, as every adapter tells it.

use super::{Stage, end_word, hex_digest, pdf, word};
use crate::delivery::Status;
use crate::simulator::script;

/// For the ending of a number: what the submits of one job come to, one after the other, and how
/// each of them ends.
pub(in crate::delivery) type Row = (&'static str, &'static [(&'static str, &'static str)]);

/// What an API comes to that tells all there is to tell. 20 and 26 are about time and have stories
/// of their own.
const ROWS: &[Row] = &[
    ("00", &[("taken", "delivered 3")]),
    ("10", &[("taken", "retry busy 0"), ("taken", "delivered 3")]),
    ("11", &[("taken", "retry busy 0"), ("taken", "retry busy 0"), ("taken", "delivered 3")]),
    ("12", &[("taken", "retry busy 0"), ("taken", "retry busy 0"), ("taken", "retry busy 0")]),
    ("13", &[("taken", "retry no_answer 0")]),
    ("14", &[("taken", "refused voice 0")]),
    ("15", &[("taken", "refused not_in_service 0")]),
    ("16", &[("taken", "retry partly_sent 1")]),
    ("17", &[("refused document_refused", "")]),
    ("18", &[("not sent rate_limited 1s", ""), ("not sent rate_limited 1s", ""), ("taken", "delivered 3")]),
    ("19", &[("unknown", "delivered 3")]),
    ("21", &[("taken", "delivered 3")]),
    ("22", &[("taken", "delivered 3")]),
    ("23", &[("taken", "delivered 3")]),
    ("24", &[("unknown", "delivered 3")]),
    // No vendor promises that it took nothing when it answers 503.
    ("25", &[("unknown", ""), ("unknown", ""), ("taken", "delivered 3")]),
    ("27", &[("taken", "retry not_a_fax 0"), ("taken", "retry not_a_fax 0")]),
    ("28", &[("taken", "retry line_trouble 0"), ("taken", "delivered 3")]),
    ("29", &[("taken", "retry unknown 0")]),
    ("30", &[("taken", "refused blocked 0")]),
    ("31", &[("taken", "refused document_refused 0")]),
    ("32", &[("not sent account_trouble", "")]),
    ("33", &[("unknown", "delivered 3")]),
    ("34", &[("unknown", ""), ("taken", "delivered 3")]),
    ("35", &[("taken", "working")]),
    ("36", &[("taken", "working")]),
    ("37", &[("taken", "")]),
    ("38", &[("unknown", ""), ("taken", "delivered 3")]),
    ("39", &[("refused number_refused", "")]),
];

impl Stage {
    /// Sends to each ending of the simulator's table. `others` are the lines that this provider
    /// tells otherwise than [`ROWS`].
    pub(in crate::delivery) async fn every_line_of_the_table(&self, others: &[Row]) {
        let finds = self.adapter.capabilities().finds_by_reference;
        let own = |ending: &str| others.iter().copied().find(|row| row.0 == ending);
        for row in others {
            assert!(!ROWS.contains(row), "{} is as with everybody", row.0);
        }
        for row in script::TABLE.iter().filter(|row| row.ending != "20" && (row.ending != "26" || !finds)) {
            let usual = || ROWS.iter().copied().find(|usual| usual.0 == row.ending);
            let (ending, tries) = own(row.ending).or_else(usual).expect("every line is tested");
            for (index, (submit, end)) in tries.iter().enumerate() {
                let reference = format!("job{ending}-{}", index + 1);
                self.try_once(&format!("+121255501{ending}"), &reference, submit, end).await;
            }
        }
        assert_eq!(self.simulator.violations(), []);
        for fax in self.simulator.faxes() {
            assert_eq!(self.paper(&fax), fax.printed.then(|| pdf(3)), "{fax:?}");
            assert_eq!(fax.sha256, hex_digest(&pdf(3)), "{fax:?}");
            assert!(!fax.printed || fax.pages == Some(3), "{fax:?}");
        }
    }

    async fn try_once(&self, number: &str, reference: &str, submit: &str, end: &str) {
        let end = end.replace("delivered 3", &format!("delivered {}", self.account.shows_pages));
        let result = self.send(number, reference).await;
        assert_eq!(word(&result), submit, "{reference}: {result:?}");
        self.simulator.idle().await;
        let found = self.listed(reference, number).await;
        if self.adapter.capabilities().finds_by_reference {
            let ended = found.as_ref().map_or(String::new(), |found| end_word(&found.status));
            assert_eq!(ended, end, "{reference}");
        }
        let Ok(taken) = result else { return };
        let status = self.adapter.status(&taken.provider_ref).await.unwrap();
        match found {
            Some(found) => assert_eq!((taken.provider_ref, status), (found.provider_ref, found.status)),
            None if self.adapter.capabilities().finds_by_reference => {
                assert_eq!(status, Status::NotThere, "{reference}");
            }
            None => assert_eq!(end_word(&status), end, "{reference}"),
        }
    }
}
