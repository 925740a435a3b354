//! Attempts: each try of a Job, what it came to, and what became of the document that the provider was given.

use jiff::Timestamp;

use super::sql::{self, FromRow};
use super::{Store, StoreError, count, millis, timestamp};
use crate::job::{Cause, JobId, Outcome, Report, Sent, word_type};

/// An Attempt as stored.
#[derive(Debug, Clone, FromRow)]
pub struct AttemptRow {
    /// Number within the Job, from 1.
    pub n: i64,
    /// Our reference with the provider.
    pub reference: String,
    /// The provider's name.
    pub provider: String,
    /// The provider's name for it.
    pub provider_ref: Option<String>,
    /// Milliseconds since 1970.
    pub started_at: i64,
    /// Milliseconds since 1970.
    pub ended_at: Option<i64>,
    /// Word of the Outcome.
    pub outcome: Option<String>,
    /// Word of the Cause.
    pub cause: Option<String>,
    /// Pages the far end confirmed.
    pub pages_sent: Option<i64>,
    /// The far end's identity.
    pub remote_id: Option<String>,
    /// Length of the call.
    pub seconds: Option<i64>,
    /// The provider's code.
    pub raw_code: Option<String>,
    /// The provider's text.
    pub raw_text: Option<String>,
    /// Not 0: a person said what it came to, not the provider.
    pub stated: i64,
    /// When the provider's copy was deleted, milliseconds since 1970.
    pub copy_deleted_at: Option<i64>,
    /// The provider's name for it, kept before the provider was told to send it.
    pub kept_ref: Option<String>,
    /// Word of what became of the provider's copy.
    pub copy: String,
    /// When a webhook last spoke of it, milliseconds since 1970.
    pub news_at: Option<i64>,
    /// How it ended by a signed webhook, until its Job has followed that.
    pub told: Option<String>,
    /// Names of the fax by unsigned webhooks.
    pub hints: Option<String>,
    /// Not 0: the provider was asked whether it has this Attempt, since the store may have forgotten it; nothing was sent by it.
    pub asked_first: i64,
    /// Length of the file that left; `None` where it began before that was noted.
    pub bytes: Option<i64>,
    /// Its SHA-256, hex.
    pub sha256: Option<String>,
}

word_type!(
    /// What became of the document that a provider was given.
    ProviderCopy {
        /// Not deleted yet.
        There = "there",
        /// Deleted at our request.
        Deleted = "deleted",
        /// The provider deletes nothing at our request.
        Kept = "kept",
    }
);

impl AttemptRow {
    /// What became of the provider's copy; `None` where it never had one, as far as is known.
    #[must_use]
    pub fn provider_copy(&self) -> Option<ProviderCopy> {
        self.provider_ref.as_ref()?;
        self.copy.parse().ok()
    }

    /// The cause it failed for, if it did.
    #[must_use]
    pub fn cause(&self) -> Option<Cause> {
        self.cause.as_deref()?.parse().ok()
    }

    /// Whether anything of the document reached the far end; `None` while it is under way.
    #[must_use]
    pub fn sent(&self) -> Option<Sent> {
        let outcome = match (self.outcome.as_deref()?, self.cause()) {
            ("delivered", _) => Outcome::Delivered,
            (_, Some(cause)) => Outcome::of(cause),
            (_, None) => Outcome::Unclear,
        };
        Some(Sent::of(outcome, self.pages_sent.map(count)))
    }

    /// Whether it ended, with every page at the far end.
    #[must_use]
    pub fn is_delivered(&self) -> bool {
        self.ended_at.is_some() && self.outcome.as_deref() == Some("delivered")
    }

    /// Whether it ended, and was for all that is certain perhaps sent: the answer was lost and only the provider's list says
    /// that it was never taken, pages went out, or nobody knows.
    #[must_use]
    pub fn is_doubtful(&self) -> bool {
        self.ended_at.is_some()
            && self.outcome.as_deref() != Some("delivered")
            && (self.cause() == Some(Cause::NotTaken) || self.sent() != Some(Sent::Nothing))
    }

    /// When a webhook last spoke of it.
    #[must_use]
    pub fn news(&self) -> Option<Timestamp> {
        self.news_at.map(timestamp)
    }

    /// How it ended by a signed webhook, where its Job has yet to follow that.
    #[must_use]
    pub fn told(&self) -> Option<Report> {
        serde_json::from_str(self.told.as_deref()?).ok()
    }

    /// The provider's names for it by unsigned webhooks, the latest first.
    #[must_use]
    pub fn hints(&self) -> Vec<String> {
        self.hints.as_deref().and_then(|hints| serde_json::from_str(hints).ok()).unwrap_or_default()
    }

    /// When the request was about to leave.
    #[must_use]
    pub fn started(&self) -> Timestamp {
        timestamp(self.started_at)
    }

    /// When the provider's copy was deleted.
    #[must_use]
    pub fn copy_deleted(&self) -> Option<Timestamp> {
        self.copy_deleted_at.map(timestamp)
    }

    /// When its outcome was known.
    #[must_use]
    pub fn ended(&self) -> Option<Timestamp> {
        self.ended_at.map(timestamp)
    }
}

impl Store {
    /// The Attempts of a Job in order.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn attempts(&self, id: JobId) -> Result<Vec<AttemptRow>, StoreError> {
        sql::query("SELECT * FROM attempt WHERE job_id = $1 ORDER BY n")
            .bind(id.as_str())
            .fetch_all(self.readers())
            .await
    }

    /// One Attempt.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn attempt(&self, id: JobId, n: u32) -> Result<Option<AttemptRow>, StoreError> {
        sql::query("SELECT * FROM attempt WHERE job_id = $1 AND n = $2")
            .bind(id.as_str())
            .bind(i64::from(n))
            .fetch_optional(self.readers())
            .await
    }

    /// Whether the fax that `provider` calls `provider_ref` is known to be of another Attempt than number `n` of `id`.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn is_of_another(
        &self,
        provider: &str,
        provider_ref: &str,
        (id, n): (JobId, u32),
    ) -> Result<bool, StoreError> {
        let others: i64 = sql::query(
            "SELECT COUNT(*) FROM attempt WHERE provider = $1 AND provider_ref = $2 AND NOT (job_id = $3 AND n = $4)",
        )
        .bind(provider)
        .bind(provider_ref)
        .bind(id.as_str())
        .bind(i64::from(n))
        .scalar(self.readers())
        .await?;
        Ok(others > 0)
    }

    /// Keeps the provider's name for the fax of an Attempt before the provider is told to send it.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn keep_provider_ref(
        &self,
        id: JobId,
        attempt: u32,
        provider_ref: &str,
    ) -> Result<(), StoreError> {
        let provider_ref = provider_ref.to_owned();
        self.write(move |tx| {
            Box::pin(async move {
                sql::query("UPDATE attempt SET kept_ref = $1 WHERE job_id = $2 AND n = $3")
                    .bind(provider_ref)
                    .bind(id.as_str())
                    .bind(i64::from(attempt))
                    .execute(&mut *tx)
                    .await?;
                Ok(())
            })
        })
        .await
    }

    /// Ended Attempts of final Jobs whose copy at the provider has yet to be deleted: (job, attempt, provider, its ref).
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn copies_to_delete(
        &self,
        ended_before: Timestamp,
        limit: u32,
    ) -> Result<Vec<(JobId, u32, String, String)>, StoreError> {
        let rows: Vec<(String, i64, String, String)> = sql::query(
            "SELECT attempt.job_id, attempt.n, attempt.provider, attempt.provider_ref FROM attempt \
             JOIN job ON job.id = attempt.job_id WHERE attempt.copy = 'there' \
             AND attempt.provider_ref IS NOT NULL AND attempt.ended_at <= $1 AND job.wake_at IS NULL \
             ORDER BY attempt.ended_at LIMIT CAST($2 AS BIGINT)",
        )
        .bind(millis(ended_before))
        .bind(i64::from(limit))
        .fetch_all(self.readers())
        .await?;
        rows.into_iter()
            .map(|(id, n, provider, provider_ref)| {
                let id = id.parse().map_err(|e| StoreError::unreadable("attempt.job_id", e))?;
                Ok((id, count(n), provider, provider_ref))
            })
            .collect()
    }

    /// What became of the provider's copy of an Attempt.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn record_copy(
        &self,
        id: JobId,
        attempt: u32,
        copy: ProviderCopy,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                sql::query("UPDATE attempt SET copy = $1, copy_deleted_at = $2 WHERE job_id = $3 AND n = $4")
                    .bind(copy.as_str())
                    .bind((copy == ProviderCopy::Deleted).then(|| millis(now)))
                    .bind(id.as_str())
                    .bind(i64::from(attempt))
                    .execute(&mut *tx)
                    .await?;
                Ok(())
            })
        })
        .await
    }
}
