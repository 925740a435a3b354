//! Which provider stands behind a name, and how it fares.

use jiff::Timestamp;

use super::ledger::LedgerEvent;
use super::sql::{self, FromRow};
use super::{Store, StoreError, ledger, millis, timestamp};
use crate::job::{Actor, Cause, word_type};

word_type!(
    /// How a provider fares.
    Condition {
        /// It takes faxes.
        Good = "good",
        /// It is left alone for a while; its Jobs wait, or go another way.
        Resting = "resting",
    }
);

/// How a provider fares, as the daemon last saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderRow {
    /// Its name in the configuration.
    pub name: String,
    /// Good, or resting.
    pub condition: Condition,
    /// Why it rests.
    pub cause: Option<Cause>,
    /// The same as it told it, for the operator.
    pub detail: Option<String>,
    /// Since when it is so.
    pub since: Option<Timestamp>,
    /// When it is tried again.
    pub rests_until: Option<Timestamp>,
    /// Jobs that wait for it.
    pub queued: u64,
    /// Jobs that it has in hand, or may have.
    pub in_hand: u64,
}

#[derive(FromRow)]
struct Row {
    name: String,
    condition: String,
    cause: Option<String>,
    detail: Option<String>,
    since: Option<i64>,
    rests_until: Option<i64>,
    queued: i64,
    in_hand: i64,
}

impl Store {
    /// How many Jobs may still be in the hands of the provider that `name` stood for so far, where that was reached elsewhere than
    /// at `url`. Changes nothing.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn left_behind(&self, name: &str, url: &str) -> Result<u64, StoreError> {
        let open: i64 = sql::query(
            "SELECT COUNT(*) FROM job WHERE provider = $1 AND state IN ('sending', 'in_transit', 'unclear') \
             AND EXISTS (SELECT 1 FROM provider WHERE provider.name = $1 AND provider.url <> $2)",
        )
        .bind(name)
        .bind(url)
        .scalar(self.readers())
        .await?;
        Ok(open.unsigned_abs())
    }

    /// Notes that the provider `name` is reached at `url` from now on. Where it was reached elsewhere before and Jobs may still
    /// be in that one's hands, nothing is noted, and their number is returned: the new one would say of each that it never
    /// had it, and they would be sent a second time.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn meet_provider(&self, name: &str, url: &str) -> Result<u64, StoreError> {
        let (name, url) = (name.to_owned(), url.to_owned());
        self.write(move |tx| {
            Box::pin(async move {
                let before: Option<String> = sql::query("SELECT url FROM provider WHERE name = $1")
                    .bind(&name)
                    .scalar_optional(&mut *tx)
                    .await?;
                if before.is_some_and(|before| before != url) {
                    let open: i64 = sql::query(
                        "SELECT COUNT(*) FROM job WHERE provider = $1 AND state IN ('sending', 'in_transit', 'unclear')",
                    )
                    .bind(&name)
                    .scalar(&mut *tx)
                    .await?;
                    if open > 0 {
                        return Ok(open.unsigned_abs());
                    }
                }
                sql::query(
                    "INSERT INTO provider (name, url) VALUES ($1, $2) \
                     ON CONFLICT (name) DO UPDATE SET url = excluded.url",
                )
                .bind(name)
                .bind(url)
                .execute(&mut *tx)
                .await?;
                Ok(0)
            })
        })
        .await
    }

    /// How every provider fares that a daemon has met, by name.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn providers(&self) -> Result<Vec<ProviderRow>, StoreError> {
        let rows: Vec<Row> = sql::query(
            "SELECT name, condition, cause, detail, since, rests_until, \
             (SELECT COUNT(*) FROM job WHERE job.provider = provider.name AND state = 'queued') AS queued, \
             (SELECT COUNT(*) FROM job WHERE job.provider = provider.name \
               AND state IN ('sending', 'in_transit', 'unclear')) AS in_hand \
             FROM provider ORDER BY name",
        )
        .fetch_all(self.readers())
        .await?;
        rows.into_iter()
            .map(|row| {
                let bad = |e| StoreError::unreadable(format!("provider {}", row.name), e);
                Ok(ProviderRow {
                    condition: row.condition.parse().map_err(bad)?,
                    cause: row.cause.as_deref().map(str::parse).transpose().map_err(bad)?,
                    detail: row.detail,
                    since: row.since.map(timestamp),
                    rests_until: row.rests_until.map(timestamp),
                    queued: row.queued.unsigned_abs(),
                    in_hand: row.in_hand.unsigned_abs(),
                    name: row.name.clone(),
                })
            })
            .collect()
    }

    /// Notes how the provider `name` fares from now on: it rests for a cause until a time, or (`None`) it is well.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn note_condition(
        &self,
        name: &str,
        rest: Option<(Cause, String, Timestamp)>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let name = name.to_owned();
        self.write(move |tx| {
            Box::pin(async move {
                let condition = if rest.is_some() { Condition::Resting } else { Condition::Good };
                let (cause, detail, until) = match rest {
                    Some((cause, detail, until)) => (Some(cause), Some(detail), Some(until)),
                    None => (None, None, None),
                };
                sql::query(
                    "UPDATE provider SET since = CASE WHEN condition = $1 AND since IS NOT NULL THEN since ELSE $2 END, \
                     condition = $1, cause = $3, detail = $4, rests_until = $5 WHERE name = $6",
                )
                .bind(condition.as_str())
                .bind(millis(now))
                .bind(cause.map(Cause::as_str))
                .bind(detail)
                .bind(until.map(millis))
                .bind(&name)
                .execute(&mut *tx)
                .await?;
                let event = match cause {
                    Some(cause) => LedgerEvent::ProviderRests { name, cause },
                    None => LedgerEvent::ProviderIsWell { name },
                };
                ledger::write(tx, now, ledger::Entry::new(&Actor::Worker, &event));
                Ok(())
            })
        })
        .await
    }
}
