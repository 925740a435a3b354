//! What was seen of the clocks, and how what waits is moved when the machine's time is taken after a jump.

use jiff::SignedDuration;

use super::jobs::detail;
use super::sql::{self, Connection};
use super::{Store, StoreError, millis, timestamp};
use crate::clock::Seen;
use crate::job::JobState;

/// Moves every time that something waits for, or that a length of time is counted from, in the rows that are not done.
const WAITING: [&str; 16] = [
    "UPDATE submission SET prepare_at = prepare_at + $1 WHERE prepare_at IS NOT NULL",
    "UPDATE submission SET lease_until = lease_until + $1 WHERE lease_until IS NOT NULL",
    "UPDATE submission SET final_at = final_at + $1 WHERE final_at IS NOT NULL AND destroyed_at IS NULL",
    "UPDATE job SET wake_at = wake_at + $1, deadline = deadline + $1 WHERE wake_at IS NOT NULL",
    "UPDATE job SET lease_until = lease_until + $1 WHERE lease_until IS NOT NULL",
    // An answer that is on its way was asked for before: what it says of "since when" is not saved.
    "UPDATE job SET version = version + 1 WHERE state = 'unclear' AND $1 <> 0",
    "UPDATE attempt SET started_at = started_at + $1 WHERE ended_at IS NULL",
    "UPDATE line SET rest_until = rest_until + $1",
    "UPDATE provider SET rests_until = rests_until + $1 WHERE rests_until IS NOT NULL",
    "UPDATE outbox SET next_at = next_at + $1, made_at = made_at + $1 WHERE next_at IS NOT NULL",
    "UPDATE outbox SET lease_until = lease_until + $1 WHERE lease_until IS NOT NULL",
    "UPDATE mailbox SET lease_until = lease_until + $1 WHERE lease_until IS NOT NULL",
    "UPDATE result SET made_at = made_at + $1",
    "UPDATE source_key SET accepted_at = accepted_at + $1",
    "UPDATE fetched SET moved_at = moved_at + $1 WHERE moved_at IS NOT NULL",
    "UPDATE fetched SET fetched_at = fetched_at + $1",
];

impl Store {
    /// What the process before this one saw last.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn clock_seen(&self) -> Result<Option<Seen>, StoreError> {
        let row: Option<(i64, i64, Option<String>)> =
            sql::query("SELECT at, running, boot FROM clock WHERE id = 1")
                .fetch_optional(self.readers())
                .await?;
        Ok(row.map(|(at, running, boot)| Seen {
            at: timestamp(at),
            running: SignedDuration::from_millis(running),
            boot,
        }))
    }

    /// Keeps what is seen now.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn note_clock(&self, seen: Seen) -> Result<(), StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                let running = i64::try_from(seen.running.as_millis()).unwrap_or(i64::MAX);
                sql::query(
                    "INSERT INTO clock (id, at, running, boot) VALUES (1, $1, $2, $3) ON CONFLICT (id) DO UPDATE \
                     SET at = excluded.at, running = excluded.running, boot = excluded.boot",
                )
                .bind(millis(seen.at))
                .bind(running)
                .bind(seen.boot)
                .execute(&mut *tx)
                .await?;
                Ok(())
            })
        })
        .await
    }

    /// Moves every time that something waits for by `by`: as much time is left for it as before, by a clock that has moved as far.
    /// `adopt` moves the clock, in the same commit.
    ///
    /// # Errors
    /// Where the database fails; then nothing is moved here, whatever `adopt` did.
    pub async fn move_times(
        &self,
        by: SignedDuration,
        adopt: impl FnOnce() + Send + 'static,
    ) -> Result<(), StoreError> {
        let millis = i64::try_from(by.as_millis()).unwrap_or(0);
        self.write(move |tx| {
            Box::pin(async move {
                for change in WAITING {
                    sql::query(change).bind(millis).execute(&mut *tx).await?;
                }
                move_states(tx, by).await?;
                adopt();
                Ok(())
            })
        })
        .await
    }
}

/// The same of the times within the states of open Jobs.
async fn move_states(tx: &mut Connection, by: SignedDuration) -> Result<(), StoreError> {
    let mut last = String::new();
    loop {
        let open: Vec<(String, String)> = sql::query(
            "SELECT id, detail FROM job WHERE wake_at IS NOT NULL AND id > $1 ORDER BY id LIMIT 500",
        )
        .bind(&last)
        .fetch_all(&mut *tx)
        .await?;
        let Some((id, _)) = open.last() else { return Ok(()) };
        last.clone_from(id);
        for (id, state) in open {
            // A row that cannot be read is told where it is claimed.
            let Ok(state) = serde_json::from_str::<JobState>(&state) else { continue };
            sql::query("UPDATE job SET detail = $1 WHERE id = $2")
                .bind(detail(&state.moved(by))?)
                .bind(id)
                .execute(&mut *tx)
                .await?;
        }
    }
}
