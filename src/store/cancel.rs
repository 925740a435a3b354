//! A person's wish to cancel a Job while a call may be under way: kept beside the state, since it does not change it.

use jiff::Timestamp;

use super::ledger::LedgerEvent;
use super::sql;
use super::{Store, StoreError, ledger, millis};
use crate::job::{Actor, JobId, word_type};

word_type!(
    /// What became of a person's wish to cancel a Job while a call may be under way.
    CancelWish {
        /// The provider has not been told yet.
        Wished = "wished",
        /// The provider says that it will certainly not be sent.
        Stopped = "stopped",
        /// The provider noted the wish; what happens shows whether it came in time.
        Asked = "asked",
        /// The provider says that it is too late.
        TooLate = "too_late",
        /// The provider has no such fax.
        NotThere = "not_there",
        /// This provider cannot cancel.
        Cannot = "cannot",
    }
);

impl Store {
    /// A person wants a Job cancelled while a call may be under way: the provider is told as soon as it has a name for the
    /// fax. False where no call is under way any more, or the wish was noted before.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn wish_to_cancel(&self, id: JobId, actor: &Actor, now: Timestamp) -> Result<bool, StoreError> {
        let actor = actor.clone();
        self.write(move |tx| {
            Box::pin(async move {
                // The version stays: the worker that has the Job in hand must be able to save what it finds.
                let done = sql::query(
                    "UPDATE job SET cancel = 'wished', news_at = $1, \
                     wake_at = CASE WHEN state IN ('in_transit', 'unclear') AND wake_at > $1 THEN $1 ELSE wake_at END \
                     WHERE id = $2 AND cancel IS NULL AND state IN ('sending', 'in_transit', 'unclear')",
                )
                .bind(millis(now))
                .bind(id.as_str())
                .execute(&mut *tx)
                .await?;
                let noted = done > 0;
                if noted {
                    ledger::write(tx, now, ledger::Entry::new(&actor, &LedgerEvent::CancelWished).job(id));
                }
                Ok(noted)
            })
        })
        .await
    }

    /// What came of the wish to cancel a Job.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn answer_cancel(
        &self,
        id: JobId,
        answer: CancelWish,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                sql::query("UPDATE job SET cancel = $1 WHERE id = $2 AND cancel IS NOT NULL")
                    .bind(answer.as_str())
                    .bind(id.as_str())
                    .execute(&mut *tx)
                    .await?;
                let entry = ledger::Entry::new(&Actor::Worker, &LedgerEvent::CancelAnswered(answer));
                ledger::write(tx, now, entry.job(id));
                Ok(())
            })
        })
        .await
    }

    /// The wish to cancel a Job, as it stands now.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn cancel_wish(&self, id: JobId) -> Result<Option<CancelWish>, StoreError> {
        let word: Option<Option<String>> = sql::query("SELECT cancel FROM job WHERE id = $1")
            .bind(id.as_str())
            .scalar_optional(self.readers())
            .await?;
        let word = word.flatten().map(|word| word.parse()).transpose();
        word.map_err(|e| StoreError::unreadable("job.cancel", e))
    }
}
