//! Whose Submission is prepared next.
//!
//! Documents cost what their senders make them cost: a small file can keep a worker busy until it is killed. So worker time is shared
//! by sender. Of those who wait, the one goes first that has used the least of it lately, and among equals the one whose
//! Submission waits longest. Nobody is slowed down by that while nobody else waits.
//!
//! What has begun is not broken off. Where all workers are busy with something slow, one more is started for a sender who has none:
//! so nobody waits for another's slow document, be there one worker or ten.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

/// A sender with at least one Submission that could be prepared now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Name in the configuration.
    pub sender: String,
    /// Since when the oldest of them waits.
    pub since: Timestamp,
}

/// Used worker time counts half after this.
const HALF_LIFE: Duration = Duration::from_secs(60);
/// A worker that has been busy for so long is slow.
const SLOW: Duration = Duration::from_secs(1);
/// Workers beside those that are configured, for senders who have none.
pub const SPARE_WORKERS: usize = 1;

/// What is being prepared, and what each sender has used.
#[derive(Debug)]
pub(super) struct Turns<K> {
    workers: usize,
    running: Vec<(K, String, Instant)>,
    used: BTreeMap<String, Used>,
}

/// Worker time, as it counted at an instant.
#[derive(Debug, Clone, Copy)]
struct Used {
    seconds: f64,
    at: Instant,
}

impl<K: PartialEq> Turns<K> {
    pub(super) fn new(workers: usize) -> Self {
        Turns { workers: workers.max(1), running: Vec::new(), used: BTreeMap::new() }
    }

    /// Whether anything could begin at `now`.
    pub(super) fn has_room(&self, now: Instant) -> bool {
        self.running.len() < self.workers || self.has_spare(now)
    }

    /// Whose turn it is at `now`, if anyone's.
    pub(super) fn next<'a>(&self, waiting: &'a [Waiting], now: Instant) -> Option<&'a str> {
        let spare_only = self.running.len() >= self.workers;
        if spare_only && !self.has_spare(now) {
            return None;
        }
        let may =
            |waits: &&Waiting| !spare_only || !self.running.iter().any(|(_, who, _)| *who == waits.sender);
        let first = waiting.iter().filter(may).min_by(|a, b| {
            let used = |waits: &Waiting| self.used(&waits.sender, now);
            used(a).total_cmp(&used(b)).then_with(|| (a.since, &a.sender).cmp(&(b.since, &b.sender)))
        });
        first.map(|waits| waits.sender.as_str())
    }

    /// A Submission of `sender` is being prepared from `now` on.
    pub(super) fn begin(&mut self, key: K, sender: &str, now: Instant) {
        self.running.push((key, sender.to_owned(), now));
    }

    /// It has ended.
    pub(super) fn end(&mut self, key: &K, now: Instant) {
        let Some(place) = self.running.iter().position(|(known, ..)| known == key) else { return };
        let (_, sender, since) = self.running.swap_remove(place);
        let seconds = self.counted(&sender, now) + now.saturating_duration_since(since).as_secs_f64();
        self.used.insert(sender, Used { seconds, at: now });
        self.used.retain(|_, used| faded(*used, now) > 0.001);
    }

    /// All configured workers are slow, and the spare one is free.
    fn has_spare(&self, now: Instant) -> bool {
        let slow = |(_, _, since): &(K, String, Instant)| now.saturating_duration_since(*since) >= SLOW;
        self.running.len() < self.workers + SPARE_WORKERS && self.running.iter().all(slow)
    }

    /// What `sender` has used lately, what runs included.
    fn used(&self, sender: &str, now: Instant) -> f64 {
        let running = self.running.iter().filter(|(_, who, _)| who == sender);
        let running: f64 =
            running.map(|(_, _, since)| now.saturating_duration_since(*since).as_secs_f64()).sum();
        self.counted(sender, now) + running
    }

    fn counted(&self, sender: &str, now: Instant) -> f64 {
        self.used.get(sender).map_or(0.0, |used| faded(*used, now))
    }
}

fn faded(used: Used, now: Instant) -> f64 {
    let age = now.saturating_duration_since(used.at).as_secs_f64();
    used.seconds * 0.5_f64.powf(age / HALF_LIFE.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Senders who wait, the first longest.
    fn waiting(senders: &[&str]) -> Vec<Waiting> {
        let since = |n: i64| Timestamp::from_second(1_790_000_000 + n).unwrap();
        (0..).zip(senders).map(|(n, sender)| Waiting { sender: (*sender).into(), since: since(n) }).collect()
    }

    #[test]
    fn each_row_says_who_is_next() {
        // (workers, what runs and for how many ms, what was used by whom in s and when, who waits, whose turn it is)
        type Row<'a> =
            (usize, &'a [(&'a str, u64)], &'a [(&'a str, u64, u64)], &'a [&'a str], Option<&'a str>);
        let rows: [Row<'_>; 13] = [
            (2, &[], &[], &[], None),
            (2, &[], &[], &["a", "b"], Some("a")),
            (2, &[], &[("a", 1, 0)], &["a", "b"], Some("b")),
            (2, &[], &[("a", 30, 0), ("b", 1, 0)], &["a", "b", "c"], Some("c")),
            // Long ago counts for little.
            (2, &[], &[("a", 30, 600), ("b", 1, 0)], &["a", "b"], Some("a")),
            // Nobody else waits: all workers are one sender's.
            (2, &[("a", 30_000)], &[], &["a"], Some("a")),
            (2, &[("a", 30_000)], &[], &["a", "b"], Some("b")),
            (2, &[("a", 30_000), ("a", 20)], &[], &["a", "b"], None),
            // All are slow: one more, for somebody who has none.
            (2, &[("a", 30_000), ("a", 2_000)], &[], &["a", "b"], Some("b")),
            (2, &[("a", 30_000), ("a", 2_000)], &[], &["a"], None),
            (2, &[("a", 30_000), ("a", 2_000), ("b", 5_000)], &[], &["a", "b", "c"], None),
            (1, &[("a", 500)], &[], &["b"], None),
            (1, &[("a", 2_000)], &[], &["a", "b"], Some("b")),
        ];
        for (workers, running, used, senders, turn) in rows {
            let now = Instant::now() + Duration::from_secs(10_000);
            let mut turns = Turns::new(workers);
            for (n, (sender, seconds, ago)) in used.iter().enumerate() {
                let end = now - Duration::from_secs(*ago);
                turns.begin(n, sender, end - Duration::from_secs(*seconds));
                turns.end(&n, end);
            }
            for (n, (sender, ms)) in running.iter().enumerate() {
                turns.begin(100 + n, sender, now - Duration::from_millis(*ms));
            }
            let row = format!("{workers} {running:?} {used:?} {senders:?}");
            assert_eq!(turns.next(&waiting(senders), now), turn, "{row}");
            assert!(turn.is_none() || turns.has_room(now), "{row}");
        }
    }

    #[test]
    fn slow_documents_of_one_sender_do_not_delay_anothers() {
        // Six that take a minute each, then every second a quick one of somebody else.
        for workers in [1, 2, 4] {
            let start = Instant::now();
            let mut turns = Turns::new(workers);
            let (mut bombs, mut quick, mut ends) = (6, 0u64, Vec::<(usize, Instant)>::new());
            let (mut oldest, mut longest, mut key) = (None, Duration::ZERO, 0);
            for tick in 0..6_000u64 {
                let now = start + Duration::from_millis(100 * tick);
                if tick % 10 == 0 {
                    quick += 1;
                    oldest.get_or_insert(now);
                }
                ends.retain(|(key, end)| {
                    if *end <= now {
                        turns.end(key, now);
                    }
                    *end > now
                });
                loop {
                    let who = [(bombs > 0, "bomber"), (quick > 0, "clinic")];
                    let who: Vec<_> = who.iter().filter(|(waits, _)| *waits).map(|(_, who)| *who).collect();
                    let waits = waiting(&who);
                    let Some(next) = turns.next(&waits, now) else { break };
                    key += 1;
                    turns.begin(key, next, now);
                    if next == "bomber" {
                        bombs -= 1;
                        ends.push((key, now + Duration::from_secs(60)));
                    } else {
                        quick -= 1;
                        ends.push((key, now + Duration::from_millis(100)));
                        longest = longest.max(oldest.take().map_or(Duration::ZERO, |since| now - since));
                    }
                }
            }
            assert!(longest <= Duration::from_secs(2), "{workers} workers: {longest:?}");
            assert_eq!(bombs, 0, "{workers} workers: they had their turn too");
        }
    }
}
