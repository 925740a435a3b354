//! Who is next: Jobs leased to workers, one call at a time per number, and no Job in the way of another.
//!
//! A claim must cost the same whether ten Jobs wait or a million. So it looks at each provider's own queues, only as far as
//! that provider has room; whose turn it is there, [`super::turns`] says. A Job whose number is being called, or is left alone for
//! a while, is taken out of the queue (parked) the first time a claim meets it. The first of a number's parked Jobs return to the
//! queues whenever a Job of that number changes and no call is under way any more ([`unpark`]). A parked Job therefore always has
//! somebody before it who will wake it.

use std::collections::HashSet;

use jiff::{SignedDuration, Timestamp};

use super::jobs::{Job, Row, URGENCIES, urgency};
use super::ledger::LedgerEvent;
use super::sql::{self, Connection};
use super::turns::{Queues, Turns, Waiting};
use super::{Store, StoreError, ledger, millis, told};
use crate::job::{Actor, JobId, SubmissionId};

/// Before a row that cannot be read is looked at again.
const UNREADABLE: SignedDuration = SignedDuration::from_mins(10);

/// How many Jobs of one provider a worker can take in hand now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Room {
    /// Name of the provider.
    pub provider: String,
    /// Jobs to be sent.
    pub sends: u32,
    /// Whose turn it is.
    pub turns: Turns,
    /// Jobs to be asked about.
    pub asks: u32,
}

/// How many Jobs a worker can take in hand now, for each provider.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rooms {
    /// Each provider.
    pub providers: Vec<Room>,
    /// Jobs that need no provider: their time is up, or theirs is configured no more.
    pub others: u32,
    /// Jobs that the worker still has in hand: whatever their rows say, they are not leased to it a second time.
    pub in_hand: HashSet<JobId>,
}

/// Of a Job: every provider that it was handed to said for certain that nothing was sent.
macro_rules! certain {
    () => {
        "NOT EXISTS (SELECT 1 FROM attempt WHERE attempt.job_id = job.id \
         AND (attempt.cause IS NULL OR attempt.cause IN ('not_taken', 'partly_sent', 'unknown', 'unclear')))"
    };
}

/// The first of each provider, urgency and sender, from one to the next by the index: the next sender's, else of the next urgency,
/// else of the next provider.
macro_rules! heads {
    () => {
        "WITH RECURSIVE heads (id) AS (\
       SELECT (SELECT id FROM job WHERE number = $1 AND parked = 1 ORDER BY provider, priority, sender, wake_at, id LIMIT 1) \
       UNION ALL SELECT (SELECT COALESCE(\
           (SELECT id FROM job WHERE number = $1 AND parked = 1 AND provider = head.provider AND priority = head.priority \
              AND sender > head.sender ORDER BY sender, wake_at, id LIMIT 1), \
           (SELECT id FROM job WHERE number = $1 AND parked = 1 AND provider = head.provider AND priority > head.priority \
              ORDER BY priority, sender, wake_at, id LIMIT 1), \
           (SELECT id FROM job WHERE number = $1 AND parked = 1 AND provider > head.provider \
              ORDER BY provider, priority, sender, wake_at, id LIMIT 1)) \
         FROM job AS head WHERE head.id = heads.id) \
       FROM heads WHERE heads.id IS NOT NULL) "
    };
}

#[cfg(test)]
pub(super) const HEADS: &str = concat!(heads!(), "SELECT id FROM heads WHERE id IS NOT NULL");

impl Store {
    /// Leases Jobs whose time has come: of each provider no more than it has room for, of each number at most one.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn claim_due_jobs(
        &self,
        now: Timestamp,
        lease_until: Timestamp,
        rooms: Rooms,
    ) -> Result<Vec<Job>, StoreError> {
        let node = self.node.clone();
        self.write(move |tx| {
            Box::pin(async move {
                let mut claimed =
                    Claimed { node, now, lease_until, in_hand: rooms.in_hand, jobs: Vec::new(), unreadable: Vec::new() };
                let (mut names, mut numbers) = (Vec::new(), HashSet::new());
                for Room { provider, sends, turns, asks } in rooms.providers {
                    let due: Vec<String> = sql::query(
                        "SELECT id FROM job WHERE wake_at IS NOT NULL AND state <> 'queued' AND provider = $1 \
                         AND wake_at <= $2 AND (lease_until IS NULL OR lease_until <= $2) ORDER BY wake_at LIMIT CAST($3 AS BIGINT)",
                    )
                    .bind(&provider)
                    .bind(millis(now))
                    .bind(i64::from(asks))
                    .scalars(&mut *tx)
                    .await?;
                    claimed.lease(tx, due).await?;
                    let queues = Queues::new(&provider, sends, turns, now);
                    claimed.send(tx, queues, sends, &mut numbers).await?;
                    names.push(provider);
                }
                if rooms.others > 0 {
                    let due = without_provider(tx, &names, now, rooms.others).await?;
                    claimed.lease(tx, due).await?;
                }
                for id in &claimed.unreadable {
                    set_aside(tx, id, now).await?;
                }
                Ok(claimed.jobs)
            })
        })
        .await
    }

    /// When the next Job of these `providers` must be looked at that nobody has in hand, or the next queued one expires.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn next_wake(
        &self,
        providers: impl Iterator<Item = &str>,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, StoreError> {
        let mut next: Option<i64> =
            sql::query("SELECT deadline FROM job WHERE state = 'queued' ORDER BY deadline LIMIT 1")
                .scalar_optional(self.readers())
                .await?;
        for provider in providers {
            let first: Option<i64> = sql::query(
                "SELECT MIN(at) FROM (SELECT (SELECT wake_at FROM job WHERE state = 'queued' AND parked = 0 AND provider = $1 \
                   AND priority = urgency.column1 AND (lease_until IS NULL OR lease_until <= $2) \
                   ORDER BY wake_at, id LIMIT 1) AS at FROM (VALUES (0), (1), (2)) AS urgency \
                 UNION ALL SELECT * FROM (SELECT wake_at AS at FROM job WHERE wake_at IS NOT NULL AND state <> 'queued' \
                   AND provider = $1 AND (lease_until IS NULL OR lease_until <= $2) ORDER BY wake_at LIMIT 1) AS asks) AS first",
            )
            .bind(provider)
            .bind(millis(now))
            .scalar(self.readers())
            .await?;
            next = [next, first].into_iter().flatten().min();
        }
        Ok(next.map(super::timestamp))
    }

    /// Moves queued Jobs of `from`, which cannot be used now, to the first provider of their routes that `usable` names. Only
    /// such as were never handed over, or of which every provider said for certain that nothing was sent. Returns how many.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn reroute(
        &self,
        from: &str,
        usable: Vec<String>,
        now: Timestamp,
        limit: u32,
    ) -> Result<u64, StoreError> {
        let from = from.to_owned();
        self.write(move |tx| {
            Box::pin(async move {
                let names: Vec<String> = usable.iter().map(|name| format!("%\"{name}\"%")).collect();
                let mut due: Vec<(String, String, String)> = Vec::new();
                for priority in URGENCIES {
                    let room = i64::from(limit) - i64::try_from(due.len()).unwrap_or(i64::MAX);
                    // Those with no way out must not fill the look; that a name within another's fits too is sorted out below.
                    let more: Vec<_> = sql::query(concat!(
                        "SELECT id, submission_id, route FROM job WHERE state = 'queued' AND parked = 0 AND provider = $1 \
                         AND priority = $4 AND wake_at <= $2 AND (lease_until IS NULL OR lease_until <= $2) AND ",
                        certain!(),
                        " AND EXISTS (SELECT 1 FROM (VALUES ($5)..) AS names WHERE job.route LIKE names.column1) \
                         ORDER BY wake_at, id LIMIT CAST($3 AS BIGINT)",
                    ))
                    .bind(&from)
                    .bind(millis(now))
                    .bind(room.max(0))
                    .bind(urgency(priority))
                    .each(&names)
                    .fetch_all(&mut *tx)
                    .await?;
                    due.extend(more);
                }
                let mut moved = 0;
                for (id, submission, route) in due {
                    let route: Vec<String> =
                        serde_json::from_str(&route).map_err(|e| StoreError::unreadable("job.route", e))?;
                    let Some(to) = route.iter().find(|name| usable.contains(name)) else { continue };
                    let id: JobId = id.parse().map_err(|e| StoreError::unreadable("job.id", e))?;
                    let submission =
                        submission.parse().map_err(|e| StoreError::unreadable("job.submission_id", e))?;
                    switch(tx, id, submission, &from, to, now).await?;
                    moved += 1;
                }
                Ok(moved)
            })
        })
        .await
    }

    /// Gives a queued Job, whose provider is configured no more, to the provider `to`, where it certainly was sent by none. False
    /// where it may have been, or has changed.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn move_on(&self, job: &Job, to: &str, now: Timestamp) -> Result<bool, StoreError> {
        let (id, submission, version) = (job.id, job.submission, job.version);
        let (from, to) = (job.provider.clone(), to.to_owned());
        self.write(move |tx| {
            Box::pin(async move {
                let free = sql::query(concat!(
                    "UPDATE job SET lease_by = NULL, lease_until = NULL WHERE id = $1 AND version = $2 \
                     AND state = 'queued' AND ",
                    certain!(),
                ))
                .bind(id.as_str())
                .bind(version)
                .execute(&mut *tx)
                .await?;
                if free == 0 {
                    return Ok(false);
                }
                switch(tx, id, submission, &from, &to, now).await?;
                Ok(true)
            })
        })
        .await
    }

    /// Gives up the lease on `job`, to be looked at again not before `at`. Where another node has it by now, that keeps it.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn release_job(&self, id: JobId, at: Timestamp) -> Result<(), StoreError> {
        let node = self.node.clone();
        self.write(move |tx| {
            Box::pin(async move {
                sql::query(
                    "UPDATE job SET lease_by = NULL, lease_until = NULL, \
                     wake_at = CASE WHEN wake_at < $1 THEN $1 ELSE wake_at END \
                     WHERE id = $2 AND (lease_by IS NULL OR lease_by = $3)",
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

    /// Forgets lines that nobody has called since `before`.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn forget_lines(&self, before: Timestamp) -> Result<(), StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                sql::query("DELETE FROM line WHERE rest_until < $1")
                    .bind(millis(before))
                    .execute(&mut *tx)
                    .await?;
                Ok(())
            })
        })
        .await
    }

    /// Calls to `number` that failed since the last that did not.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn failed_calls(&self, number: &str) -> Result<u32, StoreError> {
        let failed: Option<i64> = sql::query("SELECT failed FROM line WHERE number = $1")
            .bind(number)
            .scalar_optional(self.readers())
            .await?;
        Ok(failed.map_or(0, super::count))
    }
}

/// What a claim has leased so far.
struct Claimed {
    node: String,
    now: Timestamp,
    lease_until: Timestamp,
    in_hand: HashSet<JobId>,
    jobs: Vec<Job>,
    /// Rows that cannot be read.
    unreadable: Vec<String>,
}

impl Claimed {
    /// Leases the first `room` Jobs of `queues` whose lines are free; those before them whose lines are not are parked.
    /// `numbers` are those that this claim has chosen or passed over already.
    async fn send(
        &mut self,
        tx: &mut Connection,
        mut queues: Queues<'_>,
        room: u32,
        numbers: &mut HashSet<String>,
    ) -> Result<(), StoreError> {
        // What waits long and what is due are one Job; and what the worker still has in hand keeps no turn.
        let mut met: HashSet<String> = self.in_hand.iter().map(|id| id.as_str().to_owned()).collect();
        let mut chosen = 0;
        while chosen < room {
            let Some(Waiting { id, sender, number, taken, rest }) = queues.next(tx).await? else { break };
            if !met.insert(id.clone()) {
                continue;
            }
            if let Some(number) = number {
                if taken || numbers.contains(&number) {
                    park(tx, &id).await?;
                    continue;
                }
                numbers.insert(number);
            }
            if let Some(rest) = rest {
                // This one waits for the line in the queue; those of the same number behind it wait for this one.
                sql::query("UPDATE job SET wake_at = $1 WHERE id = $2")
                    .bind(rest)
                    .bind(&id)
                    .execute(&mut *tx)
                    .await?;
                continue;
            }
            queues.turns.note(&sender);
            chosen += 1;
            self.lease(tx, vec![id]).await?;
        }
        Ok(())
    }

    async fn lease(&mut self, tx: &mut Connection, ids: Vec<String>) -> Result<(), StoreError> {
        for id in ids {
            if id.parse().is_ok_and(|id: JobId| self.in_hand.contains(&id)) {
                continue;
            }
            let row: Option<Row> = sql::query(
                "UPDATE job SET lease_by = $1, lease_until = $2 WHERE id = $3 \
                 AND (lease_until IS NULL OR lease_until <= $4) RETURNING *",
            )
            .bind(&self.node)
            .bind(millis(self.lease_until))
            .bind(&id)
            .bind(millis(self.now))
            .fetch_optional(&mut *tx)
            .await?;
            let Some(row) = row else { continue };
            match told(Job::try_from(row)) {
                Some(job) => self.jobs.push(job),
                None => self.unreadable.push(id),
            }
        }
        Ok(())
    }
}

/// A row that cannot be read must stop no other. It keeps its lease, so that it is told of again when that is over, and goes
/// behind those that wait now: where it was the first to its number, the next one has its turn.
async fn set_aside(tx: &mut Connection, id: &str, now: Timestamp) -> Result<(), StoreError> {
    let later = now.saturating_add(UNREADABLE).unwrap_or(Timestamp::MAX);
    let number: Option<Option<String>> = sql::query(
        "UPDATE job SET wake_at = $1, parked = 0 WHERE id = $2 AND state = 'queued' RETURNING number",
    )
    .bind(millis(later))
    .bind(id)
    .scalar_optional(&mut *tx)
    .await?;
    match number.flatten() {
        Some(number) => unpark(tx, &number).await,
        None => Ok(()),
    }
}

/// Queued Jobs whose deadline has passed, wherever they wait, and Jobs of providers that are not among `names`.
async fn without_provider(
    tx: &mut Connection,
    names: &[String],
    now: Timestamp,
    room: u32,
) -> Result<Vec<String>, StoreError> {
    let mut ids: Vec<String> = sql::query(
        "SELECT id FROM job WHERE state = 'queued' AND deadline <= $1 \
         AND (lease_until IS NULL OR lease_until <= $1) ORDER BY deadline LIMIT CAST($2 AS BIGINT)",
    )
    .bind(millis(now))
    .bind(i64::from(room))
    .scalars(&mut *tx)
    .await?;
    // The names in the two indexes, each found from the one before it: DISTINCT would walk over every waiting Job.
    let providers: Vec<String> = sql::query(
        "WITH RECURSIVE waits (name) AS (SELECT MIN(provider) FROM job WHERE state = 'queued' AND parked = 0 \
           UNION ALL SELECT (SELECT MIN(provider) FROM job WHERE state = 'queued' AND parked = 0 \
             AND provider > waits.name) FROM waits WHERE waits.name IS NOT NULL), \
         asked (name) AS (SELECT MIN(provider) FROM job WHERE wake_at IS NOT NULL AND state <> 'queued' \
           UNION ALL SELECT (SELECT MIN(provider) FROM job WHERE wake_at IS NOT NULL AND state <> 'queued' \
             AND provider > asked.name) FROM asked WHERE asked.name IS NOT NULL) \
         SELECT name FROM waits WHERE name IS NOT NULL UNION SELECT name FROM asked WHERE name IS NOT NULL",
    )
    .scalars(&mut *tx)
    .await?;
    for gone in providers.iter().filter(|provider| !names.contains(provider)) {
        let queued = "SELECT id FROM job WHERE state = 'queued' AND parked = 0 AND priority = $4 AND provider = $2 \
             AND wake_at <= $1 AND (lease_until IS NULL OR lease_until <= $1) ORDER BY wake_at, id LIMIT CAST($3 AS BIGINT)";
        let asked = "SELECT id FROM job WHERE wake_at IS NOT NULL AND state <> 'queued' AND provider = $2 \
             AND wake_at <= $1 AND (lease_until IS NULL OR lease_until <= $1) ORDER BY wake_at, id LIMIT CAST($3 AS BIGINT)";
        let due = |sql| sql::query(sql).bind(millis(now)).bind(gone).bind(i64::from(room));
        for priority in URGENCIES {
            ids.extend(due(queued).bind(urgency(priority)).scalars::<String>(&mut *tx).await?);
        }
        ids.extend(due(asked).scalars::<String>(&mut *tx).await?);
    }
    Ok(ids)
}

async fn park(tx: &mut Connection, id: &str) -> Result<(), StoreError> {
    sql::query("UPDATE job SET parked = 1 WHERE id = $1").bind(id).execute(&mut *tx).await?;
    Ok(())
}

/// Lets parked Jobs to `number` back into the queues: of each provider, urgency and sender the first, so that the next claim decides
/// whose turn it is. Called whenever a Job of that number changes and no call of it is under way. Of each provider, since one that
/// rests must not keep the number from the others. Those that find the line taken all the same are parked again by that claim.
pub(super) async fn unpark(tx: &mut Connection, number: &str) -> Result<(), StoreError> {
    sql::query(concat!(
        heads!(),
        "UPDATE job SET parked = 0 WHERE id IN (SELECT id FROM heads WHERE id IS NOT NULL)"
    ))
    .bind(number)
    .execute(&mut *tx)
    .await?;
    Ok(())
}

/// Gives a Job to another provider.
pub(super) async fn switch(
    tx: &mut Connection,
    id: JobId,
    submission: SubmissionId,
    from: &str,
    to: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    sql::query("UPDATE job SET provider = $1 WHERE id = $2")
        .bind(to)
        .bind(id.as_str())
        .execute(&mut *tx)
        .await?;
    let event = LedgerEvent::ProviderSwitched { from: from.to_owned(), to: to.to_owned() };
    let entry = ledger::Entry::new(&Actor::Worker, &event);
    ledger::write(tx, now, entry.submission(submission).job(id));
    Ok(())
}

/// A call to `number` ended: it is left alone until `rest`, or it was reached.
pub(super) async fn called(
    tx: &mut Connection,
    number: &str,
    rest: Option<Timestamp>,
) -> Result<(), StoreError> {
    let Some(rest) = rest else {
        sql::query("DELETE FROM line WHERE number = $1").bind(number).execute(&mut *tx).await?;
        return Ok(());
    };
    sql::query(
        "INSERT INTO line (number, failed, rest_until) VALUES ($1, 1, $2) \
         ON CONFLICT (number) DO UPDATE SET failed = line.failed + 1, rest_until = excluded.rest_until",
    )
    .bind(number)
    .bind(millis(rest))
    .execute(&mut *tx)
    .await?;
    Ok(())
}
