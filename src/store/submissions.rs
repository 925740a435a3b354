//! Submissions and their sealed documents: prepare, forget. How they are recorded stands in [`super::accept`].

use jiff::{SignedDuration, Timestamp};

use super::accept::SourceKeys;
use super::ledger::LedgerEvent;
use super::sql::{self, Connection, FromRow};
use super::{Store, StoreError, ledger, millis, timestamp};
use crate::job::{Actor, JobId, Source, SubmissionId, word_type};
use crate::vault::{Marker, SealedAddress};

/// A final time so far ahead was written by a clock that was wrong; one that is nearer may be one of this moment.
const AHEAD: SignedDuration = SignedDuration::from_mins(5);

word_type!(
    /// What preparing a Submission came to.
    Verdict {
        /// It became Jobs; they tell the rest.
        Jobs = "jobs",
        /// Nothing can be faxed, for good; the sender was told why.
        Refused = "refused",
        /// It must not be faxed and must not be answered, as an automatic reply.
        Ignored = "ignored",
        /// Every fax of it was made before, of the same mail that had come another way or to another spelling of the number.
        Known = "known",
        /// It was an answer to a receipt, with a command in it; its own answer says what came of that.
        Command = "command",
    }
);

/// A sealed file of a Submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Name in the spool.
    pub name: String,
    /// Size of the plaintext.
    pub bytes: u64,
    /// SHA-256 of the plaintext, hex; a mark of it where only that is kept, see [`Document::digest`].
    pub sha256: String,
}

/// In front of a mark that stands in the place of a digest.
const MARK: &str = "mark:";

/// Whether `text` is a mark in the place of a digest.
#[must_use]
pub fn is_mark(text: &str) -> bool {
    text.starts_with(MARK)
}

impl Document {
    /// The digest itself, while it is known: of what was received it never is, and of a packet no longer than its documents.
    #[must_use]
    pub fn digest(&self) -> Option<&str> {
        Some(self.sha256.as_str()).filter(|sha256| !sha256.is_empty() && !is_mark(sha256))
    }

    /// What stands in the place of the digest `sha256`, made with the [`Purpose::Digest`](crate::vault::Purpose) marker: whoever
    /// has the document and the master key can tell that it was this one, nobody else can try others.
    #[must_use]
    pub fn mark(sha256: &str, marker: &Marker) -> String {
        format!("{MARK}{}", marker.mark(sha256))
    }
}

/// What intake hands to the store.
#[derive(Debug, Clone)]
pub struct NewSubmission {
    /// Its name.
    pub id: SubmissionId,
    /// Where it came from.
    pub source: Source,
    /// What recognises it when it comes again.
    pub source_keys: SourceKeys,
    /// The sender's name in the configuration.
    pub sender: String,
    /// Where receipts go by mail.
    pub receipt_to: Option<SealedAddress>,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// Its key, wrapped by the master key.
    pub wrapped_key: Vec<u8>,
    /// Envelope, file name and the like, sealed.
    pub facts: Vec<u8>,
    /// What was received; one at least.
    pub documents: Vec<Document>,
}

impl NewSubmission {
    /// Size of what was received.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.documents.iter().fold(0, |all, document| all.saturating_add(document.bytes))
    }
}

/// A Submission as stored.
#[derive(Debug, Clone)]
pub struct Submission {
    /// Its name.
    pub id: SubmissionId,
    /// Where it came from.
    pub source: Source,
    /// The sender's name in the configuration.
    pub sender: String,
    /// The mark of the address that receipts go to by mail.
    pub answer_mark: Option<String>,
    /// Size of what was received.
    pub bytes: u64,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// Its key, wrapped; `None` once destroyed.
    pub wrapped_key: Option<Vec<u8>>,
    /// Sealed facts.
    pub facts: Vec<u8>,
    /// How often preparing it was begun.
    pub prepare_tries: u32,
    /// What preparing it came to.
    pub verdict: Option<Verdict>,
    /// When its last Job ended.
    pub final_at: Option<Timestamp>,
    /// When its documents were destroyed.
    pub destroyed_at: Option<Timestamp>,
}

/// Which Submissions to list.
#[derive(Debug, Clone, Default)]
pub struct SubmissionFilter {
    /// Only from this source.
    pub source: Option<Source>,
    /// Only those that have not ended.
    pub open: bool,
}

#[derive(FromRow)]
struct Row {
    id: String,
    source: String,
    sender: String,
    answer_mark: Option<String>,
    bytes: i64,
    accepted_at: i64,
    wrapped_key: Option<Vec<u8>>,
    facts: Option<Vec<u8>>,
    prepare_tries: i64,
    verdict: Option<String>,
    final_at: Option<i64>,
    destroyed_at: Option<i64>,
}

impl TryFrom<Row> for Submission {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let what = || format!("submission {}", row.id);
        Ok(Submission {
            id: row.id.parse().map_err(|e| StoreError::unreadable(what(), e))?,
            source: row.source.parse().map_err(|e| StoreError::unreadable(what(), e))?,
            sender: row.sender,
            answer_mark: row.answer_mark,
            bytes: row.bytes.unsigned_abs(),
            accepted_at: timestamp(row.accepted_at),
            wrapped_key: row.wrapped_key,
            facts: row.facts.unwrap_or_default(),
            prepare_tries: super::count(row.prepare_tries),
            verdict: row
                .verdict
                .map(|word| {
                    word.parse().map_err(|e| StoreError::unreadable(format!("submission {}", row.id), e))
                })
                .transpose()?,
            final_at: row.final_at.map(timestamp),
            destroyed_at: row.destroyed_at.map(timestamp),
        })
    }
}

fn all(rows: Vec<Row>) -> Result<Vec<Submission>, StoreError> {
    rows.into_iter().map(Submission::try_from).collect()
}

/// The senders who have anything to be prepared. From one to the next by the index: what each has waiting, a thousand or one, is not
/// walked over.
macro_rules! waiting {
    () => {
        "WITH RECURSIVE waiting (sender) AS (\
           SELECT MIN(sender) FROM submission WHERE prepare_at IS NOT NULL \
           UNION ALL SELECT (SELECT MIN(submission.sender) FROM submission \
             WHERE prepare_at IS NOT NULL AND submission.sender > waiting.sender) \
           FROM waiting WHERE waiting.sender IS NOT NULL) "
    };
}

impl Store {
    /// The senders of Submissions that could be prepared at `now`, each with the time since when its oldest waits.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn senders_waiting(&self, now: Timestamp) -> Result<Vec<(String, Timestamp)>, StoreError> {
        let rows: Vec<(String, Option<i64>)> = sql::query(concat!(
            waiting!(),
            "SELECT waiting.sender, (SELECT prepare_at FROM submission WHERE submission.sender = waiting.sender \
               AND prepare_at <= $1 AND (lease_until IS NULL OR lease_until <= $1) ORDER BY prepare_at LIMIT 1) \
             FROM waiting WHERE waiting.sender IS NOT NULL",
        ))
        .bind(millis(now))
        .fetch_all(self.readers())
        .await?;
        Ok(rows.into_iter().filter_map(|(sender, since)| Some((sender, timestamp(since?)))).collect())
    }

    /// When the first of the Submissions whose time comes after `now` is to be prepared.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn next_preparation(&self, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        let next: Option<i64> = sql::query(concat!(
            waiting!(),
            "SELECT MIN((SELECT MIN(prepare_at) FROM submission WHERE submission.sender = waiting.sender AND prepare_at > $1)) \
             FROM waiting WHERE waiting.sender IS NOT NULL",
        ))
        .bind(millis(now))
        .scalar(self.readers())
        .await?;
        Ok(next.map(timestamp))
    }

    /// Leases the Submission of `sender` that has waited longest to be prepared.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn claim_submission(
        &self,
        sender: &str,
        now: Timestamp,
        lease_until: Timestamp,
    ) -> Result<Option<Submission>, StoreError> {
        let (node, sender) = (self.node.clone(), sender.to_owned());
        self.write(move |tx| {
            Box::pin(async move {
                let row: Option<Row> = sql::query(
                    "UPDATE submission SET lease_by = $1, lease_until = $2, prepare_tries = prepare_tries + 1 \
                     WHERE id IN (SELECT id FROM submission WHERE sender = $3 AND prepare_at <= $4 \
                       AND (lease_until IS NULL OR lease_until <= $4) ORDER BY prepare_at, id LIMIT 1) RETURNING *",
                )
                .bind(node)
                .bind(millis(lease_until))
                .bind(sender)
                .bind(millis(now))
                .fetch_optional(&mut *tx)
                .await?;
                // One row that cannot be read must not keep all others waiting; it keeps its lease and is told each time.
                Ok(row.and_then(|row| super::told(Submission::try_from(row))))
            })
        })
        .await
    }

    /// Has everything prepared at `now` that waits for another try, as when what was in the way is gone.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn prepare_now(&self, now: Timestamp) -> Result<u64, StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                let done = sql::query(concat!(
                    waiting!(),
                    "UPDATE submission SET prepare_at = $1 WHERE sender IN (SELECT sender FROM waiting) \
                     AND prepare_at > $1 AND lease_until IS NULL",
                ))
                .bind(millis(now))
                .execute(&mut *tx)
                .await?;
                Ok(done)
            })
        })
        .await
    }

    /// Whether `id` still waits to be prepared.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn is_unprepared(&self, id: SubmissionId) -> Result<bool, StoreError> {
        let waits: Option<bool> = sql::query("SELECT prepare_at IS NOT NULL FROM submission WHERE id = $1")
            .bind(id.as_str())
            .scalar_optional(self.readers())
            .await?;
        Ok(waits.unwrap_or(false))
    }

    /// Gives a Submission back to be prepared again at `at`, as after trouble that was not its own. One that was prepared
    /// meanwhile, by a run that outlived its lease, stays so, and one that another node has by now stays with that.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn postpone_prepare(&self, id: SubmissionId, at: Timestamp) -> Result<(), StoreError> {
        let node = self.node.clone();
        self.write(move |tx| {
            Box::pin(async move {
                sql::query(
                    "UPDATE submission SET prepare_at = $1, lease_by = NULL, lease_until = NULL \
                     WHERE id = $2 AND prepare_at IS NOT NULL AND (lease_by IS NULL OR lease_by = $3)",
                )
                .bind(millis(at))
                .bind(id.as_str())
                .bind(node)
                .execute(&mut *tx)
                .await?;
                Ok(())
            })
        })
        .await
    }

    /// One Submission.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn submission(&self, id: SubmissionId) -> Result<Option<Submission>, StoreError> {
        let row: Option<Row> = sql::query("SELECT * FROM submission WHERE id = $1")
            .bind(id.as_str())
            .fetch_optional(self.readers())
            .await?;
        row.map(Submission::try_from).transpose()
    }

    /// Submissions, newest first.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn submissions(
        &self,
        filter: &SubmissionFilter,
        limit: u32,
    ) -> Result<Vec<Submission>, StoreError> {
        let rows: Vec<Row> = sql::query(
            "SELECT * FROM submission WHERE (CAST($1 AS TEXT) IS NULL OR source = $1) AND ($2 = 0 OR final_at IS NULL) \
             ORDER BY id DESC LIMIT CAST($3 AS BIGINT)",
        )
        .bind(filter.source.as_ref().map(ToString::to_string))
        .bind(i64::from(filter.open))
        .bind(i64::from(limit))
        .fetch_all(self.readers())
        .await?;
        all(rows)
    }

    /// What was received as `id`, in order; its packets are left out.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn received(&self, id: SubmissionId) -> Result<Vec<Document>, StoreError> {
        let rows: Vec<(String, i64, String)> = sql::query(
            "SELECT name, bytes, sha256 FROM document WHERE submission_id = $1 AND job_id IS NULL ORDER BY n",
        )
        .bind(id.as_str())
        .fetch_all(self.readers())
        .await?;
        let document =
            |(name, bytes, sha256): (_, i64, _)| Document { name, bytes: bytes.unsigned_abs(), sha256 };
        Ok(rows.into_iter().map(document).collect())
    }

    /// Submissions that ended before `final_before`, or at a time that is later than `now`, and whose documents still exist. No clock
    /// that is right has written such a time: nobody may wait for it.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn due_for_destruction(
        &self,
        final_before: Timestamp,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<SubmissionId>, StoreError> {
        let ids: Vec<String> = sql::query(
            "SELECT id FROM submission WHERE destroyed_at IS NULL AND final_at IS NOT NULL \
             AND (final_at <= $1 OR final_at > $2) ORDER BY final_at LIMIT CAST($3 AS BIGINT)",
        )
        .bind(millis(final_before))
        .bind(millis(now.saturating_add(AHEAD).unwrap_or(now)))
        .bind(i64::from(limit))
        .scalars(self.readers())
        .await?;
        ids.iter().map(|id| id.parse().map_err(|e| StoreError::unreadable("submission.id", e))).collect()
    }

    /// When the first of the Submissions whose documents still exist ended.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn next_destruction(&self) -> Result<Option<Timestamp>, StoreError> {
        let next: Option<i64> = sql::query(
            "SELECT MIN(final_at) FROM submission WHERE destroyed_at IS NULL AND final_at IS NOT NULL",
        )
        .scalar(self.readers())
        .await?;
        Ok(next.map(timestamp))
    }

    /// Destroys the key and the sealed facts of `id`: from this commit on, nobody can read its documents. What else would identify
    /// them goes too: digests become marks (`digests`). Returns the names of the files that are to be unlinked.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn destroy_key(
        &self,
        id: SubmissionId,
        digests: Marker,
        now: Timestamp,
    ) -> Result<Vec<String>, StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                sql::query(
                    "UPDATE submission SET wrapped_key = NULL, facts = NULL, answer_to = NULL, destroyed_at = $1 \
                     WHERE id = $2 AND final_at IS NOT NULL",
                )
                .bind(millis(now))
                .bind(id.as_str())
                .execute(&mut *tx)
                .await?;
                sql::query("UPDATE job SET facts = NULL WHERE submission_id = $1")
                    .bind(id.as_str())
                    .execute(&mut *tx)
                    .await?;
                sql::query(
                    "UPDATE attempt SET raw_text = NULL, told = NULL, hints = NULL \
                     WHERE job_id IN (SELECT id FROM job WHERE submission_id = $1)",
                )
                .bind(id.as_str())
                .execute(&mut *tx)
                .await?;
                mark_digests(tx, id, &digests).await?;
                ledger::write(tx, now, ledger::Entry::new(&Actor::Retention, &LedgerEvent::KeyDestroyed).submission(id));
                let names = sql::query("SELECT name FROM document WHERE submission_id = $1")
                    .bind(id.as_str())
                    .scalars(&mut *tx)
                    .await?;
                Ok(names)
            })
        })
        .await
    }

    /// Names of files that belong to destroyed Submissions and are not known to be unlinked yet.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn files_to_unlink(&self) -> Result<Vec<String>, StoreError> {
        sql::query(
            "SELECT document.name FROM document JOIN submission ON submission.id = document.submission_id \
             WHERE submission.wrapped_key IS NULL",
        )
        .scalars(self.readers())
        .await
    }

    /// Names of packets of `id` that no Job has any more, as after it was prepared anew.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn replaced_packets(&self, id: SubmissionId) -> Result<Vec<String>, StoreError> {
        sql::query(
            "SELECT name FROM document WHERE submission_id = $1 AND job_id IS NOT NULL AND NOT EXISTS \
             (SELECT 1 FROM job WHERE job.submission_id = $1 \
             AND (job.document = COALESCE(document.form_of, document.name) OR job.shared = document.name))",
        )
        .bind(id.as_str())
        .scalars(self.readers())
        .await
    }

    /// Forgets `names`, whose files are unlinked.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn forget_documents(&self, names: Vec<String>) -> Result<(), StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                for name in &names {
                    sql::query("DELETE FROM document WHERE name = $1").bind(name).execute(&mut *tx).await?;
                }
                Ok(())
            })
        })
        .await
    }

    /// Names of all files that the store knows; what lies in the spool beside them is an orphan of a crash.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn document_names(&self) -> Result<Vec<String>, StoreError> {
        sql::query("SELECT name FROM document").scalars(self.readers()).await
    }

    /// How many Submissions have not ended.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn open_submissions(&self) -> Result<u64, StoreError> {
        let n: i64 = sql::query("SELECT COUNT(*) FROM submission WHERE final_at IS NULL")
            .scalar(self.readers())
            .await?;
        Ok(n.unsigned_abs())
    }
}

/// The first Job stands for all that share these pages. How long they are nobody asks: they never leave alone.
pub(super) async fn insert_shared(
    tx: &mut Connection,
    submission: SubmissionId,
    job: JobId,
    name: &str,
) -> Result<(), StoreError> {
    sql::query(
        "INSERT INTO document (name, submission_id, job_id, bytes, sha256) VALUES ($1, $2, $3, 0, '') \
         ON CONFLICT (name) DO NOTHING",
    )
    .bind(name)
    .bind(submission.as_str())
    .bind(String::from(job))
    .execute(&mut *tx)
    .await?;
    Ok(())
}

/// Puts marks in the place of the digests of what was made and what left.
async fn mark_digests(
    tx: &mut Connection,
    submission: SubmissionId,
    digests: &Marker,
) -> Result<(), StoreError> {
    let plain: Vec<String> = sql::query(
        "SELECT sha256 FROM job WHERE submission_id = $1 AND sha256 NOT LIKE 'mark:%' UNION \
         SELECT attempt.sha256 FROM attempt JOIN job ON job.id = attempt.job_id \
         WHERE job.submission_id = $1 AND attempt.sha256 NOT LIKE 'mark:%'",
    )
    .bind(submission.as_str())
    .scalars(&mut *tx)
    .await?;
    for sha256 in plain {
        for sql in [
            "UPDATE job SET sha256 = $1 WHERE submission_id = $2 AND sha256 = $3",
            "UPDATE attempt SET sha256 = $1 WHERE sha256 = $3 \
             AND job_id IN (SELECT id FROM job WHERE submission_id = $2)",
        ] {
            sql::query(sql)
                .bind(Document::mark(&sha256, digests))
                .bind(submission.as_str())
                .bind(&sha256)
                .execute(&mut *tx)
                .await?;
        }
    }
    Ok(())
}

/// The row of a document at `place`, from 1 on, of what was received, or of what was made for a Job.
pub(super) fn document_row(
    submission: SubmissionId,
    job: Option<JobId>,
    place: i64,
    document: &Document,
) -> sql::Query {
    sql::query("INSERT INTO document (name, submission_id, job_id, bytes, sha256, n) VALUES ($1, $2, $3, $4, $5, $6)")
    .bind(&document.name)
    .bind(submission.as_str())
    .bind(job.map(String::from))
    .bind(document.bytes.cast_signed())
    .bind(&document.sha256)
    .bind(place)
}
