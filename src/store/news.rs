//! What providers tell by themselves: news of an Attempt, kept until its Job has followed them.
//!
//! Signed news are the provider's word. Its name for the fax is kept as if an answer had told it, and how the fax ended
//! (`attempt.told`) as well, until the worker has made a step of it. Unsigned news are a hint: a name in them
//! (`attempt.hints`) is believed once the provider was asked about it. Both prove that there is something to have news of
//! (`attempt.news_at`): no list that does not show it is believed after that.

use jiff::Timestamp;

use super::attempts::AttemptRow;
use super::ledger::LedgerEvent;
use super::sql::{self, Connection, FromRow};
use super::steps::record_outcome;
use super::{Store, StoreError, ledger, millis};
use crate::job::{Actor, JobId, Report};

/// Names from unsigned webhooks that are kept of one Attempt: whoever sends more sends nonsense.
const HINTS: usize = 8;
/// Attempts without a name that one name which nobody knows is noted with.
const NAMELESS: i64 = 64;

/// News of one fax, as a webhook brought them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Heard {
    /// Our name for the Attempt.
    pub reference: Option<String>,
    /// The provider's name for it.
    pub provider_ref: Option<String>,
    /// Whether they were signed.
    pub signed: bool,
    /// How it ended, where they say so.
    pub ended: Option<Report>,
}

#[derive(FromRow)]
struct Known {
    job_id: String,
    state: String,
    #[sqlx(flatten)]
    attempt: AttemptRow,
}

impl Store {
    /// Keeps news from `provider`; their Job is looked at now. Returns it, or `None` if no open one is meant.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn note_news(
        &self,
        provider: &str,
        heard: Heard,
        now: Timestamp,
    ) -> Result<Option<JobId>, StoreError> {
        let provider = provider.to_owned();
        self.write(move |tx| {
            Box::pin(async move {
                let Some(known) = find(tx, &provider, &heard).await? else {
                    return stray(tx, &provider, &heard, now).await;
                };
                let id: JobId =
                    known.job_id.parse().map_err(|e| StoreError::unreadable("attempt.job_id", e))?;
                keep(tx, id, &known, &heard, now).await?;
                let late = heard.signed && heard.ended.is_some() && known.attempt.is_doubtful();
                wake(tx, id, late, now).await
            })
        })
        .await
    }
}

/// The Attempt that is meant. Only one with this very provider: another's webhook has no say.
async fn find(tx: &mut Connection, provider: &str, heard: &Heard) -> Result<Option<Known>, StoreError> {
    let by_reference = "SELECT attempt.*, job.state FROM attempt JOIN job ON job.id = attempt.job_id \
         WHERE attempt.provider = $1 AND attempt.reference = $2 LIMIT 1";
    let by_provider_ref = "SELECT attempt.*, job.state FROM attempt JOIN job ON job.id = attempt.job_id \
         WHERE attempt.provider = $1 AND attempt.provider_ref = $2 LIMIT 1";
    let (sql, value) = match (&heard.reference, &heard.provider_ref) {
        (Some(reference), _) => (by_reference, reference),
        (None, Some(provider_ref)) => (by_provider_ref, provider_ref),
        (None, None) => return Ok(None),
    };
    sql::query(sql).bind(provider).bind(value).fetch_optional(tx).await
}

async fn keep(
    tx: &mut Connection,
    id: JobId,
    known: &Known,
    heard: &Heard,
    now: Timestamp,
) -> Result<(), StoreError> {
    let attempt = &known.attempt;
    let signed_ref = heard.provider_ref.as_ref().filter(|_| heard.signed);
    let hint = heard.provider_ref.as_ref().filter(|_| !heard.signed && attempt.provider_ref.is_none());
    let told = heard.ended.as_ref().filter(|_| heard.signed);
    sql::query(
        "UPDATE attempt SET news_at = $1, provider_ref = COALESCE(provider_ref, $2), hints = $3, \
         pages_sent = COALESCE(pages_sent, $4), seconds = COALESCE(seconds, $5), remote_id = COALESCE(remote_id, $6) \
         WHERE job_id = $7 AND n = $8",
    )
    .bind(millis(now))
    .bind(signed_ref)
    .bind(with_hint(attempt, hint))
    .bind(told.and_then(|told| told.pages_sent).map(i64::from))
    .bind(told.and_then(|told| told.seconds).map(i64::from))
    .bind(told.and_then(|told| told.remote_id.as_ref()))
    .bind(id.as_str())
    .bind(attempt.n)
    .execute(&mut *tx)
    .await?;
    let Some(told) = told else { return Ok(()) };
    match (attempt.ended_at, known.state.as_str()) {
        // The first final word stands, whatever comes later.
        (Some(_), _) if !attempt.is_doubtful() => Ok(()),
        // Its Job has ended, and so it was told: that is not taken back, but it is written down.
        (Some(_), "delivered" | "failed" | "cancelled") => {
            let entry = ledger::Entry::new(&Actor::Worker, &LedgerEvent::NewsAfterTheEnd(told.outcome));
            ledger::write(tx, now, entry.job(id));
            Ok(())
        }
        // Another Attempt is under way: what this one came to is known when that has ended.
        (Some(_), "sending" | "in_transit" | "unclear") => {
            record_outcome(tx, id, Some(attempt.n), told, now).await
        }
        _ => {
            let text = serde_json::to_string(told).map_err(|e| StoreError::unreadable("attempt.told", e))?;
            sql::query("UPDATE attempt SET told = COALESCE(told, $1) WHERE job_id = $2 AND n = $3")
                .bind(text)
                .bind(id.as_str())
                .bind(attempt.n)
                .execute(&mut *tx)
                .await?;
            Ok(())
        }
    }
}

/// The hints of an Attempt with one more.
fn with_hint(attempt: &AttemptRow, hint: Option<&String>) -> Option<String> {
    let mut hints = attempt.hints();
    if let Some(hint) = hint.filter(|hint| !hints.contains(hint)) {
        hints.insert(0, hint.clone());
        hints.truncate(HINTS);
    }
    if hints.is_empty() { None } else { serde_json::to_string(&hints).ok() }
}

/// An unsigned name that nobody knows: perhaps that of a fax whose answer was lost. Each of them is asked about it.
async fn stray(
    tx: &mut Connection,
    provider: &str,
    heard: &Heard,
    now: Timestamp,
) -> Result<Option<JobId>, StoreError> {
    let (None, Some(hint), false) = (&heard.reference, &heard.provider_ref, heard.signed) else {
        return Ok(None);
    };
    let nameless: Vec<Known> = sql::query(
        "SELECT attempt.*, job.state FROM job JOIN attempt ON attempt.job_id = job.id AND attempt.ended_at IS NULL \
         WHERE job.wake_at IS NOT NULL AND job.state <> 'queued' AND job.provider = $1 \
         AND job.state IN ('sending', 'unclear') AND attempt.provider_ref IS NULL LIMIT CAST($2 AS BIGINT)",
    )
    .bind(provider)
    .bind(NAMELESS)
    .fetch_all(&mut *tx)
    .await?;
    let mut woken = None;
    for known in nameless {
        sql::query("UPDATE attempt SET hints = $1 WHERE job_id = $2 AND n = $3")
            .bind(with_hint(&known.attempt, Some(hint)))
            .bind(&known.job_id)
            .bind(known.attempt.n)
            .execute(&mut *tx)
            .await?;
        let id = known.job_id.parse().map_err(|e| StoreError::unreadable("attempt.job_id", e))?;
        woken = wake(tx, id, false, now).await?.or(woken);
    }
    Ok(woken)
}

/// The Job is looked at now; `late` where the news are of an Attempt that was closed without knowing.
async fn wake(
    tx: &mut Connection,
    id: JobId,
    late: bool,
    now: Timestamp,
) -> Result<Option<JobId>, StoreError> {
    // A Job whose request is still under way must not be looked at by another worker: only the time is noted, and the answer
    // then finds it.
    let done = sql::query(
        "UPDATE job SET news_at = $1, parked = CASE WHEN $3 = 1 THEN 0 ELSE parked END, \
         wake_at = CASE WHEN wake_at > $1 AND (state IN ('in_transit', 'unclear') \
           OR ($3 = 1 AND state IN ('queued', 'held'))) THEN $1 ELSE wake_at END \
         WHERE id = $2 AND wake_at IS NOT NULL",
    )
    .bind(millis(now))
    .bind(id.as_str())
    .bind(i64::from(late))
    .execute(&mut *tx)
    .await?;
    Ok((done > 0).then_some(id))
}
