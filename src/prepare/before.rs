//! A mail is faxed to a number once: what of a plan was made before, of the same mail.
//!
//! Its keys told at the door that it was new; they know addresses, and not that two of them mean one telephone, now that it is
//! prepared. What is known gets no second fax, and its sender is told of the first one.

use super::plan::PlannedJob;
use super::{PrepareError, Preparer};
use crate::intake::fax_mark;
use crate::job::{Hold, SubmissionId};
use crate::sealed::{Before, MailMark};
use crate::store::FaxMark;
use crate::vault::Purpose;

impl Preparer {
    /// Marks what of `planned` is new, and tells what is not.
    pub(super) async fn new_ones(
        &self,
        submission: SubmissionId,
        mail: Option<&MailMark>,
        planned: Vec<PlannedJob>,
    ) -> Result<(Vec<PlannedJob>, Vec<Before>), PrepareError> {
        let Some(mail) = mail else { return Ok((planned, Vec::new())) };
        let marker = self.spool.vault().marker(Purpose::Source);
        let (mut new, mut before) = (Vec::new(), Vec::new());
        for mut job in planned {
            job.mark = job.number.as_ref().map(|number| FaxMark {
                key: fax_mark(&mail.mark, number, &marker),
                doubtful: job.holds.has(Hold::Proof),
                counts: mail.counts,
            });
            let known = match &job.mark {
                Some(mark) => self.store.faxed_before(mark, submission).await?,
                None => None,
            };
            match known {
                Some(known) => {
                    before.push(Before { to: job.to, job: known.job, submission: known.submission });
                }
                None => new.push(job),
            }
        }
        Ok((new, before))
    }
}
