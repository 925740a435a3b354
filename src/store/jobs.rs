//! Jobs: made when a Submission is prepared, listed, read. How they change stands in [`super::steps`].

use std::collections::HashMap;

use jiff::Timestamp;

use super::cancel::CancelWish;
use super::fax_marks::{self, FaxMark};
use super::ledger::LedgerEvent;
use super::sql::{self, Connection, FromRow};
use super::submissions::{Document, Verdict, document_row, insert_shared};
use super::{Store, StoreError, count, ledger, millis, outbox, timestamp};
use crate::job::{Actor, FaxNumber, JobId, JobState, Priority, SubmissionId};

/// The pages of a Job, as they will leave: [`crate::packet::Container`] opens them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PacketRow {
    /// Length and digest of the file that leaves; the name is that of the sealed file which is that file, or where it shares its pages
    /// what it has of its own.
    pub document: Document,
    /// The sealed file with the pages that it shares with other Jobs of its Submission.
    pub shared: Option<String>,
    /// Pages, cover included.
    pub pages: u32,
    /// Pages of cover among them.
    pub cover_pages: u32,
}

/// A Job that is to be recorded.
#[derive(Debug, Clone)]
pub struct NewJob {
    /// Its name; that of a former Job of the Submission where it takes that one's place.
    pub id: JobId,
    /// How often it was changed, this time included; 1 for a new one.
    pub version: i64,
    /// Key in the register, where it is known.
    pub recipient: Option<String>,
    /// Number, where it is known.
    pub number: Option<FaxNumber>,
    /// The rule that made it.
    pub rule: String,
    /// The providers that may send it, in order; the first has it first.
    pub route: Vec<String>,
    /// `Queued` or `Held`.
    pub state: JobState,
    /// No try starts after this.
    pub deadline: Timestamp,
    /// Its sender wants no try before this.
    pub send_at: Option<Timestamp>,
    /// How urgent it is.
    pub priority: Priority,
    /// Its pages; `None` where a part holds the packet.
    pub packet: Option<PacketRow>,
    /// Reference, trace, hold sentence and the like, sealed.
    pub facts: Vec<u8>,
    /// By which the same mail to the same number is known.
    pub mark: Option<FaxMark>,
}

/// A Job as stored.
#[derive(Debug, Clone)]
pub struct Job {
    /// Its name.
    pub id: JobId,
    /// Its Submission.
    pub submission: SubmissionId,
    /// The Submission's sender.
    pub sender: String,
    /// Place within the Submission, from 1.
    pub n: u32,
    /// Key in the register.
    pub recipient: Option<String>,
    /// Number to dial.
    pub number: Option<FaxNumber>,
    /// The rule that made it.
    pub rule: String,
    /// The provider that has it now.
    pub provider: String,
    /// The providers that may send it, in order.
    pub route: Vec<String>,
    /// A person's wish to cancel it while a call may be under way, and what came of it.
    pub cancel: Option<CancelWish>,
    /// Where it stands.
    pub state: JobState,
    /// When it was made.
    pub made_at: Timestamp,
    /// No try starts after this.
    pub deadline: Timestamp,
    /// Its sender wants no try before this.
    pub send_at: Option<Timestamp>,
    /// How urgent it is.
    pub priority: Priority,
    /// When it ended.
    pub final_at: Option<Timestamp>,
    /// Its pages.
    pub packet: Option<PacketRow>,
    /// Sealed facts; empty once destroyed.
    pub facts: Vec<u8>,
    /// A change is saved only where the row still has this.
    pub version: i64,
    /// Whether it is held as it was made, or expired from that: what stands in the way was told when it was made.
    pub as_made: bool,
}

/// Which Jobs to list.
#[derive(Debug, Clone, Default)]
pub struct JobFilter {
    /// Only in this state (its word).
    pub state: Option<String>,
    /// Only of this Submission.
    pub submission: Option<SubmissionId>,
    /// Only to this key of the register.
    pub recipient: Option<String>,
    /// Only those that have not ended.
    pub open: bool,
}

/// Each urgency at its number in the column, the most urgent first.
pub(super) const URGENCIES: [Priority; 3] = [Priority::High, Priority::Normal, Priority::Low];

/// The number of an urgency in the column.
pub(super) fn urgency(priority: Priority) -> i64 {
    let place = URGENCIES.iter().position(|known| *known == priority);
    place.and_then(|place| i64::try_from(place).ok()).unwrap_or(1)
}

#[derive(FromRow)]
pub(super) struct Row {
    id: String,
    submission_id: String,
    sender: String,
    n: i64,
    recipient: Option<String>,
    number: Option<String>,
    rule: String,
    provider: String,
    route: Option<String>,
    cancel: Option<String>,
    detail: String,
    made_at: i64,
    deadline: i64,
    send_at: Option<i64>,
    priority: i64,
    final_at: Option<i64>,
    version: i64,
    as_made: i64,
    document: Option<String>,
    pages: Option<i64>,
    cover_pages: Option<i64>,
    bytes: Option<i64>,
    sha256: Option<String>,
    shared: Option<String>,
    facts: Option<Vec<u8>>,
}

impl TryFrom<Row> for Job {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let id = row.id;
        let bad = |e: &dyn ToString| StoreError::unreadable(format!("job {id}"), e.to_string());
        let packet = match (row.document, row.pages, row.cover_pages, row.bytes, row.sha256) {
            (Some(name), Some(pages), Some(cover_pages), Some(bytes), Some(sha256)) => Some(PacketRow {
                document: Document { name, bytes: bytes.unsigned_abs(), sha256 },
                shared: row.shared,
                pages: count(pages),
                cover_pages: count(cover_pages),
            }),
            _ => None,
        };
        let route = match &row.route {
            Some(route) => serde_json::from_str(route).map_err(|e| bad(&e))?,
            None => vec![row.provider.clone()],
        };
        Ok(Job {
            route,
            cancel: row.cancel.map(|word| word.parse()).transpose().map_err(|e| bad(&e))?,
            id: id.parse().map_err(|e| bad(&e))?,
            submission: row.submission_id.parse().map_err(|e| bad(&e))?,
            sender: row.sender,
            n: count(row.n),
            recipient: row.recipient,
            number: row.number.map(|n| FaxNumber::from_e164(&n)).transpose().map_err(|e| bad(&e))?,
            rule: row.rule,
            provider: row.provider,
            state: serde_json::from_str(&row.detail).map_err(|e| bad(&e))?,
            made_at: timestamp(row.made_at),
            deadline: timestamp(row.deadline),
            send_at: row.send_at.map(timestamp),
            priority: usize::try_from(row.priority)
                .ok()
                .and_then(|place| URGENCIES.get(place).copied())
                .ok_or_else(|| StoreError::unreadable(format!("job {id}"), "an unknown priority"))?,
            final_at: row.final_at.map(timestamp),
            packet,
            facts: row.facts.unwrap_or_default(),
            version: row.version,
            as_made: row.as_made != 0,
        })
    }
}

impl Store {
    /// Records what preparing `submission` came to: its Jobs, or a verdict without any. The Submission leaves the queue of
    /// those to be prepared in the same commit, and its answers enter the outbox. `false`: nothing was recorded, because it
    /// was prepared already, or one of its earlier Jobs is held no more. With `acceptance` its sender is told at once what was
    /// understood, once, as soon as one of its Jobs is not held.
    ///
    /// # Errors
    /// Where the database fails, or a fax that stands in the way of one of these was made meanwhile ([`StoreError::FaxedBefore`]);
    /// then nothing is recorded.
    pub async fn record_prepared(
        &self,
        submission: SubmissionId,
        verdict: Verdict,
        facts: Vec<u8>,
        jobs: Vec<NewJob>,
        acceptance: bool,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                let Some(made) = take_over(tx, submission, verdict, facts, now).await? else {
                    return Ok(false);
                };
                let moving = jobs.iter().any(|job| !matches!(job.state, JobState::Held { .. }));
                if acceptance && moving {
                    outbox::tell_accepted(tx, submission, now).await?;
                }
                for (place, job) in jobs.iter().enumerate() {
                    let made_at = made.get(job.id.as_str()).copied().unwrap_or(millis(now));
                    insert_job(tx, submission, place + 1, job, made_at).await?;
                    if let Some(mark) = &job.mark {
                        fax_marks::insert(tx, mark, (job.id, submission)).await?;
                    }
                    if let JobState::Held { hold, .. } = job.state {
                        outbox::tell_held(tx, submission, job.id, job.version, now).await?;
                        let entry = ledger::Entry::new(&Actor::Preparer, &LedgerEvent::Held(hold));
                        ledger::write(tx, now, entry.submission(submission).job(job.id));
                    }
                }
                let entry = ledger::Entry::new(&Actor::Preparer, &LedgerEvent::Prepared(verdict));
                ledger::write(tx, now, entry.submission(submission));
                finish_if_complete(tx, submission, now).await?;
                Ok(true)
            })
        })
        .await
    }

    /// One Job.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn job(&self, id: JobId) -> Result<Option<Job>, StoreError> {
        let row: Option<Row> = sql::query("SELECT * FROM job WHERE id = $1")
            .bind(id.as_str())
            .fetch_optional(self.readers())
            .await?;
        row.map(Job::try_from).transpose()
    }

    /// Jobs, newest first; those of one Submission in their order.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn jobs(&self, filter: &JobFilter, limit: u32) -> Result<Vec<Job>, StoreError> {
        // A Submission's Jobs are asked for with every receipt: those must not cost a walk over all there ever were.
        let of_one = "SELECT * FROM job WHERE (CAST($1 AS TEXT) IS NULL OR state = $1) AND submission_id = $2 \
             AND (CAST($3 AS TEXT) IS NULL OR recipient = $3) AND ($4 = 0 OR wake_at IS NOT NULL) ORDER BY n LIMIT CAST($5 AS BIGINT)";
        let of_all = "SELECT * FROM job WHERE (CAST($1 AS TEXT) IS NULL OR state = $1) AND (CAST($2 AS TEXT) IS NULL OR submission_id = $2) \
             AND (CAST($3 AS TEXT) IS NULL OR recipient = $3) AND ($4 = 0 OR wake_at IS NOT NULL) \
             ORDER BY submission_id DESC, n LIMIT CAST($5 AS BIGINT)";
        let rows: Vec<Row> = sql::query(if filter.submission.is_some() { of_one } else { of_all })
            .bind(filter.state.as_deref())
            .bind(filter.submission.map(String::from))
            .bind(filter.recipient.as_deref())
            .bind(i64::from(filter.open))
            .bind(i64::from(limit))
            .fetch_all(self.readers())
            .await?;
        rows.into_iter().map(Job::try_from).collect()
    }

    /// Puts a Submission whose Jobs are all held, and none was ever tried, back to be prepared anew, as when a person releases one that was
    /// held for a part or for its recipient. The Jobs stay until the new ones replace them.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn prepare_again(
        &self,
        id: SubmissionId,
        actor: &Actor,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let actor = actor.clone();
        self.write(move |tx| {
            Box::pin(async move {
                let done = sql::query(
                    "UPDATE submission SET prepare_at = $1, prepare_tries = 0 WHERE id = $2 AND wrapped_key IS NOT NULL \
                     AND NOT EXISTS (SELECT 1 FROM job JOIN attempt ON attempt.job_id = job.id \
                       WHERE job.submission_id = submission.id) \
                     AND NOT EXISTS (SELECT 1 FROM job WHERE submission_id = submission.id AND state <> 'held')",
                )
                .bind(millis(now))
                .bind(id.as_str())
                .execute(&mut *tx)
                .await?;
                let again = done > 0;
                if again {
                    ledger::write(tx, now, ledger::Entry::new(&actor, &LedgerEvent::PrepareAgain).submission(id));
                }
                Ok(again)
            })
        })
        .await
    }
}

/// Takes `submission` from those to be prepared, with what that came to; its Jobs from before are gone, and when each was made is
/// returned. `None`: it was prepared already, or one of them is held no more.
pub(super) async fn take_over(
    tx: &mut Connection,
    submission: SubmissionId,
    verdict: Verdict,
    facts: Vec<u8>,
    now: Timestamp,
) -> Result<Option<HashMap<String, i64>>, StoreError> {
    let done = sql::query(
        "UPDATE submission SET prepare_at = NULL, lease_by = NULL, lease_until = NULL \
         WHERE id = $1 AND prepare_at IS NOT NULL",
    )
    .bind(submission.as_str())
    .execute(&mut *tx)
    .await?;
    if done == 0 {
        return Ok(None);
    }
    // A Submission that was held for a part and is prepared anew has Jobs already: those are replaced. Not so where a
    // person or the clock was faster and one of them went on, ended or was cancelled: that stands, the rest waits
    // as it is. A new Job in the place of a cancelled one would be sent against a person's word.
    if moved_on(tx, submission).await? {
        let entry = ledger::Entry::new(&Actor::Preparer, &LedgerEvent::NotPreparedAgain);
        ledger::write(tx, now, entry.submission(submission));
        return Ok(None);
    }
    let made: Vec<(String, i64)> =
        sql::query("DELETE FROM job WHERE submission_id = $1 RETURNING id, made_at")
            .bind(submission.as_str())
            .fetch_all(&mut *tx)
            .await?;
    fax_marks::forget_of(tx, submission).await?;
    // A notice that is not written yet would tell of a Job that is gone; the new ones bring their own.
    sql::query(
        "UPDATE outbox SET next_at = NULL WHERE submission_id = $1 AND kind = 'held' AND body IS NULL",
    )
    .bind(submission.as_str())
    .execute(&mut *tx)
    .await?;
    sql::query("UPDATE submission SET verdict = $1, facts = $2 WHERE id = $3")
        .bind(verdict.as_str())
        .bind(facts)
        .bind(submission.as_str())
        .execute(&mut *tx)
        .await?;
    Ok(Some(made.into_iter().collect()))
}

/// Whether a Job of `submission` is held no more, or was ever tried.
async fn moved_on(tx: &mut Connection, submission: SubmissionId) -> Result<bool, StoreError> {
    let n: i64 = sql::query(
        "SELECT COUNT(*) FROM job WHERE submission_id = $1 AND (state <> 'held' \
           OR EXISTS (SELECT 1 FROM attempt WHERE attempt.job_id = job.id))",
    )
    .bind(submission.as_str())
    .scalar(&mut *tx)
    .await?;
    Ok(n > 0)
}

async fn insert_job(
    tx: &mut Connection,
    submission: SubmissionId,
    place: usize,
    job: &NewJob,
    made_at: i64,
) -> Result<(), StoreError> {
    let packet = job.packet.as_ref();
    sql::query(
        "INSERT INTO job (id, submission_id, n, recipient, number, rule, provider, state, detail, wake_at, made_at, \
         deadline, document, pages, cover_pages, bytes, sha256, facts, route, priority, send_at, shared, version, as_made, sender) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, \
         (SELECT sender FROM submission WHERE id = $2))",
    )
    .bind(job.id.as_str())
    .bind(submission.as_str())
    .bind(i64::try_from(place).unwrap_or(i64::MAX))
    .bind(&job.recipient)
    .bind(job.number.as_ref().map(FaxNumber::as_str))
    .bind(&job.rule)
    .bind(job.route.first().map_or("", String::as_str))
    .bind(job.state.as_str())
    .bind(detail(&job.state)?)
    .bind(job.state.wake_at().map(millis))
    .bind(made_at)
    .bind(millis(job.deadline))
    .bind(packet.map(|p| p.document.name.as_str()))
    .bind(packet.map(|p| i64::from(p.pages)))
    .bind(packet.map(|p| i64::from(p.cover_pages)))
    .bind(packet.map(|p| p.document.bytes.cast_signed()))
    .bind(packet.map(|p| p.document.sha256.as_str()))
    .bind(&job.facts)
    .bind(serde_json::to_string(&job.route).map_err(|e| StoreError::unreadable("job.route", e))?)
    .bind(urgency(job.priority))
    .bind(job.send_at.map(millis))
    .bind(packet.and_then(|p| p.shared.as_deref()))
    .bind(job.version)
    .bind(i64::from(matches!(job.state, JobState::Held { .. })))
    .execute(&mut *tx)
    .await?;
    if let Some(packet) = packet {
        document_row(submission, Some(job.id), 1, &packet.document).execute(&mut *tx).await?;
        if let Some(shared) = &packet.shared {
            insert_shared(tx, submission, job.id, shared).await?;
        }
    }
    Ok(())
}

pub(super) fn detail(state: &JobState) -> Result<String, StoreError> {
    serde_json::to_string(state).map_err(|e| StoreError::unreadable("job.detail", e))
}

/// Where every Job of `submission` is final and it is prepared, the Submission is: its final answers enter the outbox, once.
pub(super) async fn finish_if_complete(
    tx: &mut Connection,
    submission: SubmissionId,
    now: Timestamp,
) -> Result<(), StoreError> {
    let done = sql::query(
        "UPDATE submission SET final_at = $1 WHERE id = $2 AND final_at IS NULL AND verdict IS NOT NULL \
         AND NOT EXISTS (SELECT 1 FROM job WHERE submission_id = $2 AND wake_at IS NOT NULL)",
    )
    .bind(millis(now))
    .bind(submission.as_str())
    .execute(&mut *tx)
    .await?;
    if done > 0 {
        outbox::tell_final(tx, submission, now).await?;
    }
    Ok(())
}
