//! What whoever runs this looks at: alarms, and how much waits where.

use jiff::Timestamp;

use super::sql::{self, FromRow};
use super::{Store, StoreError, millis, timestamp};

/// An alarm as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlarmRow {
    /// Its kind, in one word.
    pub kind: String,
    /// Which of its kind.
    pub name: Option<String>,
    /// What is wrong and what to do.
    pub cause: String,
    /// Since when.
    pub since: Timestamp,
    /// When it was over; `None` while it is open.
    pub over_at: Option<Timestamp>,
    /// Who was told of it by mail, as JSON.
    pub mails: String,
}

/// How much waits in one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backlog {
    /// How many.
    pub count: u64,
    /// When the oldest came.
    pub oldest: Option<Timestamp>,
}

/// How much waits, by place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backlogs {
    /// Submissions that are accepted and not prepared.
    pub unprepared: Backlog,
    /// Jobs that wait to be sent.
    pub queued: Backlog,
    /// Jobs that a provider has, or may have.
    pub in_hand: Backlog,
    /// Jobs that wait for a person.
    pub held: Backlog,
    /// Answers that have not left.
    pub outbox: Backlog,
}

#[derive(FromRow)]
struct Row {
    kind: String,
    name: Option<String>,
    cause: String,
    since: i64,
    over_at: Option<i64>,
    mails: String,
}

impl Store {
    /// The alarms that are open, or were a moment ago.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn alarms(&self) -> Result<Vec<AlarmRow>, StoreError> {
        let rows: Vec<Row> =
            sql::query("SELECT kind, name, cause, since, over_at, mails FROM alarm ORDER BY since, id")
                .fetch_all(self.readers())
                .await?;
        let read = |row: Row| AlarmRow {
            kind: row.kind,
            name: row.name,
            cause: row.cause,
            since: timestamp(row.since),
            over_at: row.over_at.map(timestamp),
            mails: row.mails,
        };
        Ok(rows.into_iter().map(read).collect())
    }

    /// Keeps `alarms` in place of those before.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn keep_alarms(&self, alarms: Vec<AlarmRow>) -> Result<(), StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                sql::query("DELETE FROM alarm").execute(&mut *tx).await?;
                for row in alarms {
                    sql::query(
                        "INSERT INTO alarm (id, kind, name, cause, since, over_at, mails) \
                         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (id) DO NOTHING",
                    )
                    .bind(format!("{}.{}", row.kind, row.name.as_deref().unwrap_or_default()))
                    .bind(row.kind)
                    .bind(row.name)
                    .bind(row.cause)
                    .bind(millis(row.since))
                    .bind(row.over_at.map(millis))
                    .bind(row.mails)
                    .execute(&mut *tx)
                    .await?;
                }
                Ok(())
            })
        })
        .await
    }

    /// How much waits where.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn queues(&self) -> Result<Backlogs, StoreError> {
        let unprepared = "SELECT COUNT(*), MIN(accepted_at) FROM submission WHERE prepare_at IS NOT NULL";
        let queued = "SELECT COUNT(*), MIN(made_at) FROM job WHERE state = 'queued'";
        let in_hand =
            "SELECT COUNT(*), MIN(made_at) FROM job WHERE state IN ('sending', 'in_transit', 'unclear')";
        let held = "SELECT COUNT(*), MIN(made_at) FROM job WHERE state = 'held'";
        let outbox = "SELECT COUNT(*), MIN(made_at) FROM outbox WHERE next_at IS NOT NULL";
        Ok(Backlogs {
            unprepared: self.queue(unprepared).await?,
            queued: self.queue(queued).await?,
            in_hand: self.queue(in_hand).await?,
            held: self.queue(held).await?,
            outbox: self.queue(outbox).await?,
        })
    }

    /// The mailbox `name` was looked through to its end.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn note_looked(&self, name: &str, now: Timestamp) -> Result<(), StoreError> {
        let name = name.to_owned();
        self.write(move |tx| {
            Box::pin(async move {
                sql::query("UPDATE mailbox SET looked_at = $1 WHERE name = $2")
                    .bind(millis(now))
                    .bind(name)
                    .execute(&mut *tx)
                    .await?;
                Ok(())
            })
        })
        .await
    }

    /// When each mailbox was last looked through, by name.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn mailbox_looks(&self) -> Result<Vec<(String, Option<Timestamp>)>, StoreError> {
        let rows: Vec<(String, Option<i64>)> =
            sql::query("SELECT name, looked_at FROM mailbox ORDER BY name").fetch_all(self.readers()).await?;
        Ok(rows.into_iter().map(|(name, at)| (name, at.map(timestamp))).collect())
    }

    async fn queue(&self, sql: &'static str) -> Result<Backlog, StoreError> {
        let (count, oldest): (i64, Option<i64>) = sql::query(sql).fetch_one(self.readers()).await?;
        Ok(Backlog { count: count.unsigned_abs(), oldest: oldest.map(timestamp) })
    }
}
