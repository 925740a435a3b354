//! The register of verified recipients, row by row.

use jiff::Timestamp;

use super::ledger::{LedgerEvent, RegisterChange};
use super::sql::{self, Connection, FromRow};
use super::{Store, StoreError, count, ledger, millis, timestamp};
use crate::job::{Actor, FaxNumber, Outcome, Report};
use crate::register::Entry;

#[derive(FromRow)]
struct Row {
    key: String,
    name: String,
    organization: Option<String>,
    department: Option<String>,
    attention: Option<String>,
    number: String,
    typed: String,
    csid: Option<String>,
    state: String,
    state_reason: Option<String>,
    verified_how: Option<String>,
    evidence: Option<String>,
    verified_by: Option<String>,
    verified_account: Option<String>,
    second_by: Option<String>,
    second_account: Option<String>,
    verified_at: Option<i64>,
    valid_until: Option<i64>,
    notes: Option<String>,
    quiet_hours: Option<String>,
    voice_count: i64,
    created_at: i64,
    updated_at: i64,
}

impl TryFrom<Row> for Entry {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let what = format!("recipient {}", row.key);
        let quiet_hours = row.quiet_hours.as_deref().map(str::parse).transpose();
        Ok(Entry {
            number: FaxNumber::from_e164(&row.number).map_err(|e| StoreError::unreadable(&what, e))?,
            quiet_hours: quiet_hours.map_err(|e: String| StoreError::unreadable(&what, e))?,
            state: row.state.parse().map_err(|e| StoreError::unreadable(&what, e))?,
            key: row.key,
            name: row.name,
            organization: row.organization,
            department: row.department,
            attention: row.attention,
            typed: row.typed,
            csid: row.csid,
            state_reason: row.state_reason,
            verified_how: row.verified_how,
            evidence: row.evidence,
            verified_by: row.verified_by,
            verified_account: row.verified_account,
            second_by: row.second_by,
            second_account: row.second_account,
            verified_at: row.verified_at.map(timestamp),
            valid_until: row.valid_until.map(timestamp),
            notes: row.notes,
            voice_count: count(row.voice_count),
            created_at: timestamp(row.created_at),
            updated_at: timestamp(row.updated_at),
        })
    }
}

impl Store {
    /// The entry with this key.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn recipient(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        let row: Option<Row> = sql::query("SELECT * FROM recipient WHERE key = $1")
            .bind(key)
            .fetch_optional(self.readers())
            .await?;
        row.map(Entry::try_from).transpose()
    }

    /// The entries with this number, by key.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn recipients_with_number(&self, number: &FaxNumber) -> Result<Vec<Entry>, StoreError> {
        let rows: Vec<Row> = sql::query("SELECT * FROM recipient WHERE number = $1 ORDER BY key")
            .bind(number.as_str())
            .fetch_all(self.readers())
            .await?;
        rows.into_iter().map(Entry::try_from).collect()
    }

    /// The whole register, by key.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn recipients(&self) -> Result<Vec<Entry>, StoreError> {
        let rows: Vec<Row> =
            sql::query("SELECT * FROM recipient ORDER BY key").fetch_all(self.readers()).await?;
        rows.into_iter().map(Entry::try_from).collect()
    }

    /// Adds `entries`, all or none; returns the first key that exists already, if one does.
    ///
    /// # Errors
    /// Where the database fails; then none is added.
    pub async fn add_recipients(
        &self,
        entries: Vec<Entry>,
        actor: &Actor,
        now: Timestamp,
    ) -> Result<Option<String>, StoreError> {
        for entry in &entries {
            if self.recipient(&entry.key).await?.is_some() {
                return Ok(Some(entry.key.clone()));
            }
        }
        let actor = actor.clone();
        self.write(move |tx| {
            Box::pin(async move {
                for entry in &entries {
                    put(tx, entry).await?;
                    record(tx, &actor, RegisterChange::Added, entry, now).await?;
                }
                Ok(None)
            })
        })
        .await
    }

    /// Replaces an entry, as after verifying or suspending it.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn put_recipient(
        &self,
        entry: Entry,
        actor: &Actor,
        change: RegisterChange,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let actor = actor.clone();
        self.write(move |tx| {
            Box::pin(async move {
                sql::query("DELETE FROM recipient WHERE key = $1").bind(&entry.key).execute(&mut *tx).await?;
                put(tx, &entry).await?;
                record(tx, &actor, change, &entry, now).await
            })
        })
        .await
    }
}

/// The entries with this number, as they stand in this transaction.
pub(super) async fn with_number(tx: &mut Connection, number: &FaxNumber) -> Result<Vec<Entry>, StoreError> {
    let rows: Vec<Row> = sql::query("SELECT * FROM recipient WHERE number = $1 ORDER BY key")
        .bind(number.as_str())
        .fetch_all(&mut *tx)
        .await?;
    rows.into_iter().map(Entry::try_from).collect()
}

async fn put(tx: &mut Connection, entry: &Entry) -> Result<(), StoreError> {
    sql::query(
        "INSERT INTO recipient (key, name, organization, department, attention, number, typed, csid, state, \
         state_reason, verified_how, evidence, verified_by, second_by, verified_at, valid_until, notes, quiet_hours, \
         voice_count, created_at, updated_at, verified_account, second_account) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23)",
    )
    .bind(&entry.key)
    .bind(&entry.name)
    .bind(&entry.organization)
    .bind(&entry.department)
    .bind(&entry.attention)
    .bind(entry.number.as_str())
    .bind(&entry.typed)
    .bind(&entry.csid)
    .bind(entry.state.as_str())
    .bind(&entry.state_reason)
    .bind(&entry.verified_how)
    .bind(&entry.evidence)
    .bind(&entry.verified_by)
    .bind(&entry.second_by)
    .bind(entry.verified_at.map(millis))
    .bind(entry.valid_until.map(millis))
    .bind(&entry.notes)
    .bind(entry.quiet_hours.as_ref().map(ToString::to_string))
    .bind(i64::from(entry.voice_count))
    .bind(millis(entry.created_at))
    .bind(millis(entry.updated_at))
    .bind(&entry.verified_account)
    .bind(&entry.second_account)
    .execute(&mut *tx)
    .await?;
    Ok(())
}

async fn record(
    tx: &mut Connection,
    actor: &Actor,
    change: RegisterChange,
    entry: &Entry,
    now: Timestamp,
) -> Result<(), StoreError> {
    ledger::write(tx, now, ledger::Entry::new(actor, &LedgerEvent::register(change, entry)));
    Ok(())
}

/// A provider said that the number is dead: nobody's fax goes there any more until a person has verified it anew.
pub(super) async fn suspend(
    tx: &mut Connection,
    key: Option<&str>,
    number: Option<&FaxNumber>,
    reason: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    change(tx, key, number, now, |entry| entry.suspend(reason, now)).await
}

/// A person answered instead of a machine; the second time suspends the entry.
pub(super) async fn count_voice(
    tx: &mut Connection,
    key: Option<&str>,
    number: Option<&FaxNumber>,
    now: Timestamp,
) -> Result<(), StoreError> {
    change(tx, key, number, now, |entry| entry.count_voice(now)).await
}

/// The first fax that arrives teaches which identity (CSID) answers at this number.
pub(super) async fn learn_identity(
    tx: &mut Connection,
    key: Option<&str>,
    report: &Report,
) -> Result<(), StoreError> {
    let (Some(key), Some(identity), Outcome::Delivered) = (key, &report.remote_id, report.outcome) else {
        return Ok(());
    };
    sql::query("UPDATE recipient SET csid = $1 WHERE key = $2 AND csid IS NULL")
        .bind(identity)
        .bind(key)
        .execute(&mut *tx)
        .await?;
    Ok(())
}

async fn change(
    tx: &mut Connection,
    key: Option<&str>,
    number: Option<&FaxNumber>,
    now: Timestamp,
    how: impl FnOnce(&mut Entry),
) -> Result<(), StoreError> {
    let Some(key) = key else { return Ok(()) };
    let row: Option<Row> =
        sql::query("SELECT * FROM recipient WHERE key = $1").bind(key).fetch_optional(&mut *tx).await?;
    let Some(row) = row else { return Ok(()) };
    let mut entry = Entry::try_from(row)?;
    if number != Some(&entry.number) {
        // It has another number by now, and nothing was heard about that one.
        return Ok(());
    }
    how(&mut entry);
    sql::query("DELETE FROM recipient WHERE key = $1").bind(key).execute(&mut *tx).await?;
    put(tx, &entry).await?;
    record(tx, &Actor::Worker, RegisterChange::Changed, &entry, now).await
}
