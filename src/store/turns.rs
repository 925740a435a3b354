//! Whose Job is next at a provider.
//!
//! Of the Jobs of one urgency each sender has its turn: whoever had the last one longest ago is next, so that a thousand Jobs of one
//! sender delay another's by one. What is urgent goes first, but not always: in four turns one is for what has normal urgency
//! and one for what has waited long ([`AGED`]), so that nobody keeps others waiting for ever by being urgent.
//!
//! A turn is counted where a Job is taken in hand, by the worker; a start begins anew.

use std::collections::{HashMap, VecDeque};

use jiff::{SignedDuration, Timestamp};

use super::jobs::urgency;
use super::sql::{self, Connection, FromRow};
use super::{StoreError, millis};
use crate::job::Priority;

/// A Job that has been due for so long is let go now and then, whatever more urgent ones wait: "when no other waits" must not
/// become never.
pub(super) const AGED: SignedDuration = SignedDuration::from_mins(60);
/// Turns after which the shares begin again.
const ROUND: u32 = 4;
/// Looks at one queue in one claim: each parks what finds its line taken, and the next one sees what comes after that.
const LOOKS: u8 = 4;

/// The turns that senders had at one provider.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Turns {
    count: u32,
    /// For each sender the number of its last turn, from 1.
    last: HashMap<String, u32>,
}

/// Whose turn it is, among urgencies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Share {
    Urgent,
    Normal,
    Aged,
}

impl Turns {
    /// A Job of `sender` has its turn.
    pub fn note(&mut self, sender: &str) {
        self.count = self.count.checked_add(1).unwrap_or_else(|| {
            // After four thousand million turns nobody remembers who was last.
            self.last.clear();
            1
        });
        match self.last.get_mut(sender) {
            Some(last) => *last = self.count,
            None => _ = self.last.insert(sender.to_owned(), self.count),
        }
    }

    fn share(&self) -> Share {
        match self.count % ROUND {
            1 => Share::Normal,
            3 => Share::Aged,
            _ => Share::Urgent,
        }
    }

    /// In the order in which they are next.
    fn order(&self, senders: &mut [String]) {
        senders.sort_by_key(|sender| self.last.get(sender).copied().unwrap_or(0));
    }
}

/// A Job in a queue.
#[derive(Debug, Clone, FromRow)]
pub(super) struct Waiting {
    pub(super) id: String,
    pub(super) sender: String,
    pub(super) number: Option<String>,
    /// Its number is being called.
    pub(super) taken: bool,
    /// Until when its number is left alone.
    pub(super) rest: Option<i64>,
}

/// The Jobs that wait for one provider.
pub(super) struct Queues<'a> {
    provider: &'a str,
    now: Timestamp,
    /// How many may go.
    room: u32,
    pub(super) turns: Turns,
    /// What is due, the most urgent first.
    due: [Queue; 3],
    /// What has been due for long, the least urgent first: nobody else lets it go.
    aged: [Queue; 3],
}

/// The Jobs of one urgency, and of those what was looked at.
struct Queue {
    priority: i64,
    /// Only those that have been due since then.
    due: Timestamp,
    seen: VecDeque<Waiting>,
    looks: u8,
}

impl Queue {
    fn of(priority: Priority, due: Timestamp) -> Queue {
        Queue { priority: urgency(priority), due, seen: VecDeque::new(), looks: 0 }
    }
}

impl<'a> Queues<'a> {
    pub(super) fn new(provider: &'a str, room: u32, turns: Turns, now: Timestamp) -> Queues<'a> {
        use Priority::{High, Low, Normal};
        let long_ago = now.checked_sub(AGED).unwrap_or(Timestamp::MIN);
        let due = [High, Normal, Low].map(|priority| Queue::of(priority, now));
        let aged = [Low, Normal, High].map(|priority| Queue::of(priority, long_ago));
        Queues { provider, now, room, turns, due, aged }
    }

    /// The next one that waits; whether it can go is for the caller to see.
    pub(super) async fn next(&mut self, tx: &mut Connection) -> Result<Option<Waiting>, StoreError> {
        let Queues { provider, now, room, ref turns, ref mut due, ref mut aged } = *self;
        let [high, normal, low] = due;
        let order: Vec<&mut Queue> = match turns.share() {
            Share::Urgent => vec![high, normal, low],
            Share::Normal => vec![normal, high, low],
            Share::Aged => aged.iter_mut().chain([high, normal, low]).collect(),
        };
        for queue in order {
            if queue.seen.is_empty() && queue.looks < LOOKS {
                queue.looks += 1;
                queue.seen = look(tx, (provider, queue.priority, queue.due), room, turns, now).await?;
                if queue.seen.is_empty() {
                    // Nothing comes while this claim goes on.
                    queue.looks = LOOKS;
                }
            }
            if let Some(waiting) = queue.seen.pop_front() {
                return Ok(Some(waiting));
            }
        }
        Ok(None)
    }
}

/// The senders who have a Job due in a queue. From one to the next by the index: what each has waiting, ten thousand or one, is not
/// walked over.
pub(super) const SENDERS: &str = "WITH RECURSIVE waits (name) AS (\
       SELECT MIN(sender) FROM job WHERE state = 'queued' AND parked = 0 AND provider = $1 AND priority = $2 \
       UNION ALL SELECT (SELECT MIN(sender) FROM job WHERE state = 'queued' AND parked = 0 AND provider = $1 AND priority = $2 \
         AND sender > waits.name) FROM waits WHERE waits.name IS NOT NULL) \
     SELECT name FROM waits WHERE name IS NOT NULL AND EXISTS (SELECT 1 FROM job WHERE state = 'queued' AND parked = 0 \
       AND provider = $1 AND priority = $2 AND sender = name AND wake_at <= $3 AND (lease_until IS NULL OR lease_until <= $4))";

/// Those of one of them.
pub(super) const OF_SENDER: &str = "SELECT id, sender, number, EXISTS (SELECT 1 FROM job AS other WHERE other.number = job.number \
       AND other.state IN ('sending', 'in_transit', 'unclear')) AS taken, \
       (SELECT rest_until FROM line WHERE line.number = job.number AND line.rest_until > $4) AS rest \
     FROM job WHERE state = 'queued' AND parked = 0 AND provider = $1 AND priority = $2 AND sender = $5 AND wake_at <= $3 \
     AND (lease_until IS NULL OR lease_until <= $4) ORDER BY wake_at, id LIMIT CAST($6 AS BIGINT)";

/// The first of a queue, one of each sender in turn: enough for `room`, where some of them find their lines taken.
async fn look(
    tx: &mut Connection,
    (provider, priority, due): (&str, i64, Timestamp),
    room: u32,
    turns: &Turns,
    now: Timestamp,
) -> Result<VecDeque<Waiting>, StoreError> {
    let mut senders: Vec<String> = sql::query(SENDERS)
        .bind(provider)
        .bind(priority)
        .bind(millis(due))
        .bind(millis(now))
        .scalars(&mut *tx)
        .await?;
    turns.order(&mut senders);
    let enough = usize::try_from(room).unwrap_or(usize::MAX).saturating_mul(2).saturating_add(32);
    let each = enough.div_ceil(senders.len().max(1)).max(ROUND as usize);
    let mut found: Vec<VecDeque<Waiting>> = Vec::new();
    for sender in senders.iter().take(enough) {
        let of_sender: Vec<Waiting> = sql::query(OF_SENDER)
            .bind(provider)
            .bind(priority)
            .bind(millis(due))
            .bind(millis(now))
            .bind(sender)
            .bind(i64::try_from(each).unwrap_or(i64::MAX))
            .fetch_all(&mut *tx)
            .await?;
        found.push(of_sender.into());
    }
    Ok(in_turn(found))
}

/// One of each, round and round.
fn in_turn<T>(mut lists: Vec<VecDeque<T>>) -> VecDeque<T> {
    let mut all = VecDeque::new();
    while !lists.is_empty() {
        lists.retain_mut(|list| {
            all.extend(list.pop_front());
            !list.is_empty()
        });
    }
    all
}

#[cfg(test)]
impl Turns {
    /// As after `count` turns of nobody.
    pub(crate) fn after(count: u32) -> Turns {
        Turns { count, last: HashMap::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_four_turns_one_is_for_the_normal_and_one_for_those_that_have_waited_long() {
        use Share::{Aged, Normal, Urgent};
        let mut turns = Turns::default();
        let mut shares = Vec::new();
        for _ in 0..8 {
            shares.push(turns.share());
            turns.note("a");
        }
        assert_eq!(shares, [Urgent, Normal, Urgent, Aged, Urgent, Normal, Urgent, Aged]);
    }

    #[test]
    fn whoever_had_the_last_turn_longest_ago_is_next() {
        let mut turns = Turns::after(u32::MAX - 2);
        let next = |turns: &Turns| {
            let mut senders: Vec<String> = ["a", "b", "c"].map(str::to_owned).into();
            turns.order(&mut senders);
            senders.concat()
        };
        assert_eq!(next(&turns), "abc");
        turns.note("a");
        assert_eq!(next(&turns), "bca");
        turns.note("c");
        assert_eq!(next(&turns), "bac");
        turns.note("b");
        assert_eq!(next(&turns), "acb", "the count began anew");
    }

    #[test]
    fn each_has_one_before_any_has_two() {
        let lists = vec![vec![1, 2, 3].into(), VecDeque::new(), vec![4].into(), vec![5, 6].into()];
        assert_eq!(in_turn(lists), [1, 4, 5, 2, 6, 3]);
    }
}
