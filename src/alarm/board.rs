//! Alarms as they are shown and mailed, across restarts: which are open, since when, and who was told what.
//!
//! An address is told that an alarm is open once, at once, and that it is over once, after [`CALM`]: one that comes back before
//! that is the same one going on, so that an alarm that flaps is no flood. An alarm of the process before stays open until
//! this one has had [`SETTLE`] to raise it anew. Trouble with the relay is never mailed.

use std::collections::{BTreeMap, VecDeque};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Alarm, Raised};
use crate::store::AlarmRow;

/// An alarm that did not come back for so long is over.
const CALM: SignedDuration = SignedDuration::from_mins(10);
/// So long a new process has to raise again what the one before left open.
const SETTLE: SignedDuration = SignedDuration::from_mins(2);
/// Who could not be told that an alarm is over is not told any more after this.
const FORGOTTEN: SignedDuration = SignedDuration::from_hours(24);
/// Mails in an hour, whatever happens.
const MOST_IN_AN_HOUR: usize = 30;

/// What an address is told of an alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Said {
    /// That it is open.
    Open,
    /// That it is over.
    Over,
}

/// A mail that is to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// About this one.
    pub alarm: Alarm,
    /// What is wrong and what to do.
    pub cause: String,
    /// Since when.
    pub since: Timestamp,
    /// When it ended.
    pub over_at: Option<Timestamp>,
    /// What is told.
    pub said: Said,
    /// To whom.
    pub address: String,
    /// How often that was tried before.
    pub tries: u32,
}

/// How far one address was told of one alarm.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Told {
    said: Option<Said>,
    #[serde(default)]
    tries: u32,
    #[serde(default)]
    next_at: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    cause: String,
    since: Timestamp,
    over_at: Option<Timestamp>,
    told: BTreeMap<String, Told>,
    /// Left by the process before, and not raised by this one.
    inherited: bool,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Board {
    entries: BTreeMap<Alarm, Entry>,
    began: Timestamp,
    mailed: VecDeque<Timestamp>,
}

impl Board {
    /// The board of a process that began at `now`, with what the one before left.
    #[must_use]
    pub fn new(rows: Vec<AlarmRow>, now: Timestamp) -> Self {
        let read = |row: AlarmRow| {
            let alarm = Alarm::of(&row.kind, row.name.as_deref())?;
            let told = serde_json::from_str(&row.mails).unwrap_or_default();
            let entry =
                Entry { cause: row.cause, since: row.since, over_at: row.over_at, told, inherited: true };
            Some((alarm, entry))
        };
        Board { entries: rows.into_iter().filter_map(read).collect(), began: now, mailed: VecDeque::new() }
    }

    /// As it is kept.
    #[must_use]
    pub fn rows(&self) -> Vec<AlarmRow> {
        let row = |(alarm, entry): (&Alarm, &Entry)| AlarmRow {
            kind: alarm.kind().to_owned(),
            name: alarm.name().map(str::to_owned),
            cause: entry.cause.clone(),
            since: entry.since,
            over_at: entry.over_at,
            mails: serde_json::to_string(&entry.told).unwrap_or_default(),
        };
        self.entries.iter().map(row).collect()
    }

    /// Takes over which alarms are `open` at `now`.
    pub fn observe(&mut self, open: &[(Alarm, Raised)], now: Timestamp) {
        for (alarm, raised) in open {
            let entry = self.entries.entry(alarm.clone()).or_insert_with(|| Entry {
                cause: String::new(),
                since: raised.since,
                over_at: None,
                told: BTreeMap::new(),
                inherited: false,
            });
            entry.cause.clone_from(&raised.cause);
            entry.over_at = None;
            entry.inherited = false;
        }
        let settled = now.duration_since(self.began) >= SETTLE;
        for (alarm, entry) in &mut self.entries {
            let goes_on = open.iter().any(|(other, _)| other == alarm) || (entry.inherited && !settled);
            if !goes_on && entry.over_at.is_none() {
                entry.over_at = Some(now);
            }
        }
        self.entries.retain(|_, entry| {
            let Some(over_at) = entry.over_at else { return true };
            let since_then = now.duration_since(over_at);
            let untold = entry.told.values().any(|told| told.said == Some(Said::Open));
            since_then < CALM || (untold && since_then < FORGOTTEN)
        });
    }

    /// The next mail to one of `addresses` that is due at `now`.
    #[must_use]
    pub fn due(&self, addresses: &[String], now: Timestamp) -> Option<Notice> {
        let hour = SignedDuration::from_hours(1);
        if self.mailed.iter().filter(|at| now.duration_since(**at) < hour).count() >= MOST_IN_AN_HOUR {
            return None;
        }
        let mailed = self.entries.iter().filter(|(alarm, _)| **alarm != Alarm::Relay);
        let pairs = mailed.flat_map(|entry| addresses.iter().map(move |address| (entry, address)));
        pairs.into_iter().find_map(|((alarm, entry), address)| {
            let told = entry.told.get(address).cloned().unwrap_or_default();
            let said = match entry.over_at {
                None => Said::Open,
                Some(at) if now.duration_since(at) >= CALM && told.said.is_some() => Said::Over,
                Some(_) => return None,
            };
            let due = told.said != Some(said) && told.next_at <= now;
            due.then(|| Notice {
                alarm: alarm.clone(),
                cause: entry.cause.clone(),
                since: entry.since,
                over_at: entry.over_at,
                said,
                address: address.clone(),
                tries: told.tries,
            })
        })
    }

    /// `notice` has left, or will never.
    pub fn settled(&mut self, notice: &Notice, now: Timestamp) {
        self.mailed.push_back(now);
        while self.mailed.len() > MOST_IN_AN_HOUR {
            self.mailed.pop_front();
        }
        if let Some(entry) = self.entries.get_mut(&notice.alarm) {
            let told = Told { said: Some(notice.said), ..Told::default() };
            entry.told.insert(notice.address.clone(), told);
        }
    }

    /// `notice` could not leave, and is tried again at `next_at`.
    pub fn postponed(&mut self, notice: &Notice, next_at: Timestamp) {
        if let Some(entry) = self.entries.get_mut(&notice.alarm) {
            let told = entry.told.entry(notice.address.clone()).or_default();
            told.tries = notice.tries.saturating_add(1);
            told.next_at = next_at;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn open(alarms: &[Alarm]) -> Vec<(Alarm, Raised)> {
        let raised = |alarm: &Alarm| (alarm.clone(), Raised { cause: "the cause".into(), since: at(5) });
        alarms.iter().map(raised).collect()
    }

    fn addresses() -> Vec<String> {
        vec!["a@clinic.example".into(), "b@clinic.example".into()]
    }

    /// Sends all that is due, and tells what was said.
    fn mailed(board: &mut Board, now: Timestamp) -> Vec<Said> {
        let mut said = Vec::new();
        while let Some(notice) = board.due(&addresses(), now) {
            said.push(notice.said);
            board.settled(&notice, now);
        }
        said
    }

    #[test]
    fn everybody_is_told_once_when_it_is_raised_and_once_when_it_is_over() {
        let mut board = Board::new(Vec::new(), at(0));
        board.observe(&open(&[Alarm::Disk]), at(5));
        assert_eq!(mailed(&mut board, at(5)), [Said::Open, Said::Open]);
        assert_eq!(mailed(&mut board, at(6)), []);
        // It flaps for an hour.
        for minute in 1..60 {
            board.observe(&[], at(minute * 60));
            assert_eq!(mailed(&mut board, at(minute * 60)), []);
            board.observe(&open(&[Alarm::Disk]), at(minute * 60 + 30));
            assert_eq!(mailed(&mut board, at(minute * 60 + 30)), []);
        }
        assert_eq!(board.rows()[0].since, at(5), "it goes on since it was first raised");
        board.observe(&[], at(3600));
        board.observe(&[], at(3600 + 599));
        assert_eq!(mailed(&mut board, at(3600 + 599)), []);
        board.observe(&[], at(3600 + 600));
        assert_eq!(mailed(&mut board, at(3600 + 600)), [Said::Over, Said::Over]);
        board.observe(&[], at(3600 + 601));
        assert_eq!(board.rows(), []);
    }

    #[test]
    fn a_restart_tells_nothing_anew() {
        let mut board = Board::new(Vec::new(), at(0));
        board.observe(&open(&[Alarm::Disk, Alarm::Provider("main".into())]), at(5));
        assert_eq!(mailed(&mut board, at(5)).len(), 4);
        let mut board = Board::new(board.rows(), at(100));
        board.observe(&[], at(101));
        assert!(board.rows().iter().all(|row| row.over_at.is_none()), "nobody has looked yet");
        board.observe(&open(&[Alarm::Disk]), at(110));
        board.observe(&open(&[Alarm::Disk]), at(220));
        let rows = board.rows();
        assert_eq!((rows[0].over_at, rows[1].over_at), (None, Some(at(220))));
        assert_eq!(mailed(&mut board, at(220)), []);
    }

    #[test]
    fn the_relays_own_trouble_is_not_mailed_and_a_mail_that_cannot_leave_waits() {
        let mut board = Board::new(Vec::new(), at(0));
        board.observe(&open(&[Alarm::Relay]), at(5));
        assert_eq!(mailed(&mut board, at(5)), []);
        board.observe(&open(&[Alarm::Relay, Alarm::Store]), at(6));
        let notice = board.due(&addresses(), at(6)).unwrap();
        board.postponed(&notice, at(66));
        let other = board.due(&addresses(), at(6)).unwrap();
        assert_eq!(
            (notice.address.as_str(), other.address.as_str()),
            ("a@clinic.example", "b@clinic.example")
        );
        board.settled(&other, at(6));
        assert_eq!(board.due(&addresses(), at(65)), None);
        assert_eq!(board.due(&addresses(), at(66)).unwrap().tries, 1);
        // What nobody was told of is not told to be over.
        board.observe(&[], at(67));
        board.observe(&[], at(67 + 600));
        assert_eq!(mailed(&mut board, at(67 + 600)), [Said::Over], "b alone was told");
    }

    #[test]
    fn many_alarms_are_no_flood() {
        let mut board = Board::new(Vec::new(), at(0));
        let many: Vec<Alarm> = (0..100).map(|n| Alarm::Folder(format!("f{n}"))).collect();
        board.observe(&open(&many), at(5));
        assert_eq!(mailed(&mut board, at(5)).len(), MOST_IN_AN_HOUR);
        assert_eq!(mailed(&mut board, at(3605)).len(), MOST_IN_AN_HOUR);
    }
}
