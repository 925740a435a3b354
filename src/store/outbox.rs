//! The outbox: answers to senders, made in the transaction that causes them and kept until they have left. And the two
//! places where answers stay: signed receipts, and result files of SFTP users.

use jiff::{SignedDuration, Timestamp};

use super::ledger::LedgerEvent;
use super::sql::{self, Connection, FromRow};
use super::{Store, StoreError, Verdict, ledger, millis};
use crate::job::{Actor, JobId, Source, SubmissionId, UnknownWord, word_type};
use crate::vault::SealedAddress;

word_type!(
    /// Which answer it is. Its word stands in rows, records and Message-IDs.
    AnswerKind {
        /// The one answer with which a Submission ends.
        Final = "final",
        /// A notice on the way: a person has to decide about a Job.
        Held = "held",
        /// What was understood, told at once.
        Accepted = "accepted",
        /// What came of an answer to a receipt. Its row says `final`: that it was a command, its Submission knows.
        Command = "command",
        /// A file came again, and makes no other fax: how the first one stands.
        Again = "again",
    }
);

word_type!(
    /// How an answer leaves.
    AnswerWay {
        /// By mail.
        Mail = "mail",
        /// As a result file that an SFTP user picks up.
        Sftp = "sftp",
        /// As a result file in a folder.
        Folder = "folder",
    }
);

/// An answer that has yet to leave.
#[derive(Debug, Clone, FromRow)]
pub struct OutboxRow {
    /// Names cause and way; a second answer of the same name cannot be made.
    pub id: String,
    /// The Submission it is about.
    pub submission_id: String,
    /// The Job it is about, for a notice.
    pub job_id: Option<String>,
    /// Which answer it is.
    #[sqlx(try_from = "String")]
    pub kind: AnswerKind,
    /// How it leaves.
    #[sqlx(try_from = "String")]
    pub way: AnswerWay,
    /// Mark of the address, SFTP user or folder name.
    pub target: String,
    /// The address of a mail, sealed; until it has left or was given up.
    pub address: Option<Vec<u8>>,
    /// 1 where it says that nothing was faxed.
    pub refusal: i64,
    /// What is to be sent, once composed; sealed under the master key.
    pub body: Option<Vec<u8>>,
    /// Which file it is about, sealed under the master key; of an answer to one that came again.
    pub note: Option<Vec<u8>>,
    /// How often it was tried, this time included.
    pub tries: i64,
    /// Milliseconds since 1970.
    pub made_at: i64,
}

/// How an answer stands.
#[derive(Debug, Clone, FromRow)]
pub struct AnswerRow {
    /// The Job it is about, for a notice.
    pub job_id: Option<String>,
    /// Which answer it is.
    #[sqlx(try_from = "String")]
    pub kind: AnswerKind,
    /// How it leaves.
    #[sqlx(try_from = "String")]
    pub way: AnswerWay,
    /// How often it was tried.
    pub tries: i64,
    /// Why the last try failed.
    pub last_error: Option<String>,
    /// When it left, milliseconds since 1970.
    pub sent_at: Option<i64>,
    /// When it is tried next; `None` once it has left or was given up.
    pub next_at: Option<i64>,
}

/// A result file.
#[derive(Debug, Clone, FromRow)]
pub struct ResultRow {
    /// Its row.
    pub id: String,
    /// Name and content, sealed under a key of its own.
    pub body: Vec<u8>,
    /// That key, wrapped; `None` of an earlier version, which used the master key.
    pub wrapped_key: Option<Vec<u8>>,
    /// Milliseconds since 1970.
    pub made_at: i64,
}

/// A result file, sealed under a key of its own that ends with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedResult {
    /// The key, wrapped by the master key.
    pub wrapped_key: Vec<u8>,
    /// Name and content, sealed.
    pub body: Vec<u8>,
}

/// A result file that waits to be picked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewResult {
    /// The SFTP user who picks it up.
    pub owner: String,
    /// What it says.
    pub sealed: SealedResult,
}

/// A final answer waits so long for what becomes of the providers' copies: it is to tell that too.
const COPIES_AT_MOST: SignedDuration = SignedDuration::from_secs(20);
/// Result files that are removed in one go.
const REMOVED_AT_ONCE: i64 = 1000;

/// Answers that are taken together. Each target that may keep us waiting has a queue of its own, so that it keeps no other answer
/// from leaving.
#[derive(Debug, Clone, Copy)]
pub enum Queue<'a> {
    /// All that is still to be composed; and composed ones that nothing of the others keeps: results in the database, and those
    /// for folders that are not among these.
    Compose(&'a [&'a str]),
    /// Composed mails.
    Mails,
    /// Composed results for this folder.
    Folder(&'a str),
}

/// Leases answers that meet one more condition, with its values from `$6` on. A final answer is left to wait a little while a
/// provider's copy of its documents is there.
macro_rules! claim {
    ($condition:literal) => {
        concat!(
            "UPDATE outbox SET lease_by = $1, lease_until = $2, tries = tries + 1 WHERE id IN \
             (SELECT id FROM outbox WHERE next_at <= $3 AND (lease_until IS NULL OR lease_until <= $3) \
               AND NOT (kind = 'final' AND body IS NULL AND made_at > $5 AND EXISTS (SELECT 1 FROM attempt \
                 JOIN job ON job.id = attempt.job_id WHERE job.submission_id = outbox.submission_id \
                 AND attempt.provider_ref IS NOT NULL AND attempt.copy = 'there')) AND ",
            $condition,
            " ORDER BY next_at LIMIT CAST($4 AS BIGINT)) RETURNING *"
        )
    };
}

impl Queue<'_> {
    /// The statement that claims its answers, and the targets that are its last values.
    fn claim(self) -> (&'static str, Vec<String>) {
        match self {
            Queue::Compose(folders) => (
                claim!(
                    "(body IS NULL OR way NOT IN ('mail', 'folder') OR (way = 'folder' AND target NOT IN ($6..)))"
                ),
                folders.iter().map(|name| (*name).to_owned()).collect(),
            ),
            Queue::Mails => (claim!("way = 'mail' AND body IS NOT NULL"), Vec::new()),
            Queue::Folder(name) => {
                (claim!("way = 'folder' AND body IS NOT NULL AND target IN ($6..)"), vec![name.to_owned()])
            }
        }
    }
}

impl Store {
    /// Leases up to `limit` answers of `queue` whose time has come.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn claim_outbox(
        &self,
        queue: Queue<'_>,
        now: Timestamp,
        lease_until: Timestamp,
        limit: u32,
    ) -> Result<Vec<OutboxRow>, StoreError> {
        let node = self.node.clone();
        let (sql, targets) = queue.claim();
        self.write(move |tx| {
            Box::pin(async move {
                sql::query(sql)
                    .bind(node)
                    .bind(millis(lease_until))
                    .bind(millis(now))
                    .bind(i64::from(limit))
                    .bind(millis(now.checked_sub(COPIES_AT_MOST).unwrap_or(Timestamp::MIN)))
                    .each(targets)
                    .fetch_all(tx)
                    .await
            })
        })
        .await
    }

    /// When the first of the answers whose time comes after `now` is due, or may be that no longer waits for a provider's copy to go.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn next_answer(&self, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        let next: Option<i64> = sql::query(
            "SELECT MIN(at) FROM (SELECT MIN(next_at) AS at FROM outbox WHERE next_at > $1 \
             UNION ALL SELECT MIN(made_at) + $2 FROM outbox WHERE next_at <= $1 AND kind = 'final' AND body IS NULL \
               AND made_at > $1 - $2) AS times",
        )
        .bind(millis(now))
        .bind(COPIES_AT_MOST.as_secs() * 1000)
        .scalar(self.readers())
        .await?;
        Ok(next.map(super::timestamp))
    }

    /// Keeps what an answer says, so that it can be sent after the Submission's key is gone; a final one brings its signed
    /// receipt along.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn record_composed(
        &self,
        id: &str,
        body: Vec<u8>,
        receipt: Option<(SubmissionId, String)>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let id = id.to_owned();
        self.write(move |tx| {
            Box::pin(async move {
                // What somebody else may keep waiting goes into a queue of its own; the rest goes on at once.
                sql::query(
                    "UPDATE outbox SET body = $1, note = NULL, \
                     tries = CASE WHEN way IN ('mail', 'folder') THEN 0 ELSE tries END, \
                     lease_by = CASE WHEN way IN ('mail', 'folder') THEN NULL ELSE lease_by END, \
                     lease_until = CASE WHEN way IN ('mail', 'folder') THEN NULL ELSE lease_until END WHERE id = $2",
                )
                .bind(body)
                .bind(id)
                .execute(&mut *tx)
                .await?;
                keep_receipt(tx, receipt, now).await
            })
        })
        .await
    }

    /// An answer is left unsaid, for good: the record of what would have been said is kept, and why it was not.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn record_unsaid(
        &self,
        id: &str,
        reason: &str,
        receipt: Option<(SubmissionId, String)>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let (id, reason) = (id.to_owned(), reason.to_owned());
        self.write(move |tx| {
            Box::pin(async move {
                let submission: Option<String> = sql::query(
                    "UPDATE outbox SET next_at = NULL, body = NULL, note = NULL, address = NULL, last_error = $1, lease_by = NULL, lease_until = NULL \
                     WHERE id = $2 RETURNING submission_id",
                )
                .bind(&reason)
                .bind(&id)
                .scalar_optional(&mut *tx)
                .await?;
                if let Some(submission) = submission {
                    let event = LedgerEvent::LeftUnsaid { answer: id, reason };
                    let entry = ledger::Entry::new(&Actor::Outbox, &event);
                    let submission = submission.parse().map_err(|e| StoreError::unreadable("outbox", e))?;
                    ledger::write(tx, now, entry.submission(submission));
                }
                keep_receipt(tx, receipt, now).await
            })
        })
        .await
    }

    /// Mails to the address with this mark after `since` that said, or will say, that nothing was faxed; and how many such were left unsaid.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn refusals_to(&self, mark: &str, since: Timestamp) -> Result<(u64, u64), StoreError> {
        let (said, unsaid): (i64, i64) = sql::query(
            "SELECT COUNT(CASE WHEN sent_at IS NOT NULL OR (next_at IS NOT NULL AND body IS NOT NULL) THEN 1 END), \
             COUNT(CASE WHEN sent_at IS NULL AND next_at IS NULL THEN 1 END) \
             FROM outbox WHERE refusal = 1 AND way = 'mail' AND target = $1 AND made_at > $2",
        )
        .bind(mark)
        .bind(millis(since))
        .fetch_one(self.readers())
        .await?;
        Ok((said.unsigned_abs(), unsaid.unsigned_abs()))
    }

    /// The answer has left; `result` is the file for an SFTP user that it consisted of, if that was its way.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn record_sent(
        &self,
        id: &str,
        result: Option<NewResult>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let id = id.to_owned();
        self.write(move |tx| {
            Box::pin(async move {
                if let Some(result) = result {
                    sql::query(
                        "INSERT INTO result (id, owner, body, made_at, wrapped_key) VALUES ($1, $2, $3, $4, $5) \
                         ON CONFLICT (id) DO NOTHING",
                    )
                    .bind(&id)
                    .bind(result.owner)
                    .bind(result.sealed.body)
                    .bind(millis(now))
                    .bind(result.sealed.wrapped_key)
                    .execute(&mut *tx)
                    .await?;
                }
                let submission: Option<String> =
                    sql::query("SELECT submission_id FROM outbox WHERE id = $1")
                        .bind(&id)
                        .scalar_optional(&mut *tx)
                        .await?;
                if let Some(submission) = submission {
                    // The name says cause and way, as final:SUBMISSION:mail; addresses are not for the ledger.
                    let entry = ledger::Entry::new(&Actor::Outbox, &LedgerEvent::Answered { answer: id.clone() });
                    let submission = submission.parse().map_err(|e| StoreError::unreadable("outbox", e))?;
                    ledger::write(tx, now, entry.submission(submission));
                }
                // What was said is kept in the receipt; the mail itself, with its addresses, is not.
                sql::query(
                    "UPDATE outbox SET sent_at = $1, next_at = NULL, body = NULL, address = NULL, lease_by = NULL, \
                     lease_until = NULL WHERE id = $2",
                )
                .bind(millis(now))
                .bind(&id)
                .execute(&mut *tx)
                .await?;
                Ok(())
            })
        })
        .await
    }

    /// The answer could not leave; it is tried again at `next_at`, or given up where that is `None`. Where another node has it by
    /// now, that one says what becomes of it.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn record_unsent(
        &self,
        id: &str,
        error: &str,
        next_at: Option<Timestamp>,
    ) -> Result<(), StoreError> {
        let (id, error, node) = (id.to_owned(), error.to_owned(), self.node.clone());
        self.write(move |tx| {
            Box::pin(async move {
                sql::query(
                    // What is given up keeps no mail: it is under a key that outlives the Submission's.
                    "UPDATE outbox SET last_error = $1, next_at = $2, lease_by = NULL, lease_until = NULL, \
                     body = CASE WHEN CAST($2 AS BIGINT) IS NULL THEN NULL ELSE body END, \
                     note = CASE WHEN CAST($2 AS BIGINT) IS NULL THEN NULL ELSE note END, \
                     address = CASE WHEN CAST($2 AS BIGINT) IS NULL THEN NULL ELSE address END \
                     WHERE id = $3 AND (lease_by IS NULL OR lease_by = $4)",
                )
                .bind(error)
                .bind(next_at.map(millis))
                .bind(id)
                .bind(node)
                .execute(&mut *tx)
                .await?;
                Ok(())
            })
        })
        .await
    }

    /// Answers of `submission` that have not left yet.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn unsent(&self, submission: SubmissionId) -> Result<u64, StoreError> {
        let n: i64 =
            sql::query("SELECT COUNT(*) FROM outbox WHERE submission_id = $1 AND next_at IS NOT NULL")
                .bind(submission.as_str())
                .scalar(self.readers())
                .await?;
        Ok(n.unsigned_abs())
    }

    /// All answers about `submission`, oldest first.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn answers(&self, submission: SubmissionId) -> Result<Vec<AnswerRow>, StoreError> {
        sql::query(
            "SELECT job_id, kind, way, tries, last_error, sent_at, next_at FROM outbox WHERE submission_id = $1 \
             ORDER BY made_at, id",
        )
        .bind(submission.as_str())
        .fetch_all(self.readers())
        .await
    }

    /// Whether an answer about `submission` still needs what only its key can read.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn uncomposed(&self, submission: SubmissionId) -> Result<bool, StoreError> {
        let n: i64 = sql::query(
            "SELECT COUNT(*) FROM outbox WHERE submission_id = $1 AND next_at IS NOT NULL AND body IS NULL",
        )
        .bind(submission.as_str())
        .scalar(self.readers())
        .await?;
        Ok(n > 0)
    }

    /// The signed receipt of `submission`, as JSON.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn receipt(&self, submission: SubmissionId) -> Result<Option<String>, StoreError> {
        sql::query("SELECT body FROM receipt WHERE submission_id = $1")
            .bind(submission.as_str())
            .scalar_optional(self.readers())
            .await
    }

    /// Result files that wait for `owner`.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn results(&self, owner: &str) -> Result<Vec<ResultRow>, StoreError> {
        sql::query(
            "SELECT id, body, wrapped_key, made_at FROM result WHERE owner = $1 ORDER BY made_at, id LIMIT 10000",
        )
        .bind(owner)
        .fetch_all(self.readers())
        .await
    }

    /// Removes a result file of `owner`, and its key.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn remove_result(&self, owner: &str, id: &str) -> Result<bool, StoreError> {
        let (owner, id) = (owner.to_owned(), id.to_owned());
        self.write(move |tx| {
            Box::pin(async move {
                let done = sql::query("DELETE FROM result WHERE owner = $1 AND id = $2")
                    .bind(owner)
                    .bind(id)
                    .execute(&mut *tx)
                    .await?;
                Ok(done > 0)
            })
        })
        .await
    }

    /// Removes result files made before `before` that nobody picked up, and their keys. Not all at once; returns how many.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn expire_results(&self, before: Timestamp) -> Result<u64, StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                let done = sql::query(
                    "DELETE FROM result WHERE id IN (SELECT id FROM result WHERE made_at < $1 LIMIT CAST($2 AS BIGINT))",
                )
                .bind(millis(before))
                .bind(REMOVED_AT_ONCE)
                .execute(&mut *tx)
                .await?;
                Ok(done)
            })
        })
        .await
    }
}

#[derive(FromRow)]
struct Ways {
    source: String,
    answer_to: Option<Vec<u8>>,
    answer_mark: Option<String>,
    verdict: Option<String>,
}

async fn keep_receipt(
    tx: &mut Connection,
    receipt: Option<(SubmissionId, String)>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let Some((submission, json)) = receipt else { return Ok(()) };
    sql::query(
        "INSERT INTO receipt (submission_id, made_at, body) VALUES ($1, $2, $3) ON CONFLICT (submission_id) DO NOTHING",
    )
    .bind(submission.as_str())
    .bind(millis(now))
    .bind(json)
    .execute(&mut *tx)
    .await?;
    Ok(())
}

/// The final answers of `submission`, one per way. An ignored mail gets none: answering automatic mail makes loops.
pub(super) async fn tell_final(
    tx: &mut Connection,
    submission: SubmissionId,
    now: Timestamp,
) -> Result<(), StoreError> {
    tell(tx, submission, None, AnswerKind::Final, (&format!("final:{submission}"), None), now).await
}

/// Notices that `job` is held; `version` tells one hold of a Job from the next.
pub(super) async fn tell_held(
    tx: &mut Connection,
    submission: SubmissionId,
    job: JobId,
    version: i64,
    now: Timestamp,
) -> Result<(), StoreError> {
    tell(tx, submission, Some(job), AnswerKind::Held, (&format!("held:{job}:{version}"), None), now).await
}

/// Tells the sender of `submission` by mail that it was accepted, and as what; once, however often it is prepared.
pub(super) async fn tell_accepted(
    tx: &mut Connection,
    submission: SubmissionId,
    now: Timestamp,
) -> Result<(), StoreError> {
    tell(tx, submission, None, AnswerKind::Accepted, (&format!("accepted:{submission}"), None), now).await
}

/// A file that came again.
#[derive(Debug, Clone)]
pub struct Again {
    /// Which, sealed.
    pub note: Vec<u8>,
    /// Where its sender is told by mail: the address of the first one may be gone.
    pub to: Option<SealedAddress>,
}

/// Tells the sender of a file that came again how the first one, `submission`, stands.
pub(super) async fn tell_again(
    tx: &mut Connection,
    submission: SubmissionId,
    again: Again,
    now: Timestamp,
) -> Result<(), StoreError> {
    let name = format!("again:{submission}:{}", millis(now));
    tell(tx, submission, None, AnswerKind::Again, (&name, Some(again)), now).await
}

async fn tell(
    tx: &mut Connection,
    submission: SubmissionId,
    job: Option<JobId>,
    kind: AnswerKind,
    (name, again): (&str, Option<Again>),
    now: Timestamp,
) -> Result<(), StoreError> {
    let unreadable = |e: UnknownWord| StoreError::unreadable(format!("submission {submission}"), e);
    let ways: Ways =
        sql::query("SELECT source, answer_to, answer_mark, verdict FROM submission WHERE id = $1")
            .bind(submission.as_str())
            .fetch_one(&mut *tx)
            .await?;
    let verdict: Option<Verdict> = ways.verdict.map(|word| word.parse()).transpose().map_err(unreadable)?;
    if verdict == Some(Verdict::Ignored) {
        return Ok(());
    }
    // A mail out of a mailbox is answered by mail, as every mail.
    let source: Source = ways.source.parse().map_err(unreadable)?;
    let drop = match source {
        Source::Sftp(user) => Some((AnswerWay::Sftp, user, None)),
        Source::Folder(name) => Some((AnswerWay::Folder, name, None)),
        Source::Smtp | Source::Imap(_) | Source::Cli => None,
    };
    // The address stands in its own row: the answer may leave when the Submission's is gone.
    let (note, to) = again.map_or((None, None), |again| (Some(again.note), again.to));
    let to = to.map(|to| (to.sealed, to.mark));
    let mail = ways.answer_to.zip(ways.answer_mark).or(to);
    let mail = mail.map(|(address, mark)| (AnswerWay::Mail, mark, Some(address)));
    // Who drops files waits for one result; an acceptance is for people.
    let drop = drop.filter(|_| kind != AnswerKind::Accepted);
    let refused = matches!(verdict, Some(Verdict::Refused | Verdict::Known | Verdict::Command));
    // What came again was not faxed again: a program that never tires must not write without end.
    let refusal = kind == AnswerKind::Again || (kind == AnswerKind::Final && refused);
    for (way, target, address) in drop.into_iter().chain(mail) {
        sql::query(
            "INSERT INTO outbox (id, submission_id, job_id, kind, way, target, made_at, next_at, refusal, note, address) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $7, $8, $9, $10) ON CONFLICT (id) DO NOTHING",
        )
        .bind(format!("{name}:{way}"))
        .bind(submission.as_str())
        .bind(job.map(String::from))
        .bind(kind.as_str())
        .bind(way.as_str())
        .bind(target)
        .bind(millis(now))
        .bind(i64::from(refusal))
        .bind(note.clone())
        .bind(address)
        .execute(&mut *tx)
        .await?;
    }
    Ok(())
}
