//! How a provider fares, and how much may be handed to it now. Pure: time comes in as an argument.
//!
//! A provider that is down, or does not let us in, would cost every waiting Job an Attempt, and its owner a log full of them.
//! So after a few failures in a row it rests; when the rest is over, one Job tries it, and only when that was taken do the
//! others follow. Account trouble (sign-in, balance) and "slow down" need no few: one is enough. The Jobs wait meanwhile, or go
//! another way of their route; none is lost, and none is failed for it before its deadline.

use jiff::{SignedDuration, Timestamp};

use crate::job::Cause;

/// Failures in a row after which a provider rests.
const TOO_MANY: u32 = 5;

/// A provider as its submits show it.
#[derive(Debug, Clone)]
pub struct Health {
    /// Failures since the last fax that it took.
    failures: u32,
    /// Rests since then; each is twice as long as the one before.
    rests: u32,
    resting: Option<Rest>,
    /// Submits under way.
    under_way: u32,
    /// Submits at once.
    at_once: u32,
    per_minute: Option<u32>,
    /// Submits that the rate allows, in thousandths, as of `filled_at`.
    allowance: i64,
    filled_at: Timestamp,
    /// Divides rests; 1 in earnest.
    hurry: u32,
}

/// A rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rest {
    /// What it is for.
    pub cause: Cause,
    /// When it is over.
    pub until: Timestamp,
}

/// What a submit showed of its provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// It answered as it should: took the fax, or had a reason to refuse that very one.
    Well,
    /// It did not take it, or nobody knows. `wait` is what it asked for (Retry-After).
    Trouble {
        /// `RateLimited`, `AccountTrouble`, `ProviderTrouble` or, for a lost answer, `Unclear`.
        cause: Cause,
        /// How long it wants to be left alone.
        wait: Option<SignedDuration>,
    },
}

/// What changed by it, for those who watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Nothing that anybody must know.
    None,
    /// It rests now.
    Rests(Rest),
    /// It is well again.
    Well,
}

impl Health {
    /// A provider that nothing is known of: taken to be well.
    #[must_use]
    pub fn new(at_once: u32, per_minute: Option<u32>, hurry: u32, now: Timestamp) -> Health {
        Health {
            failures: 0,
            rests: 0,
            resting: None,
            under_way: 0,
            at_once: at_once.max(1),
            per_minute,
            allowance: per_minute.map_or(0, |n| i64::from(n.min(1000)).saturating_mul(1000) / 60).max(1000),
            filled_at: now,
            hurry: hurry.max(1),
        }
    }

    /// Takes other limits. A rest ends, and one tries it: whoever changed the configuration may have mended what it rests for.
    pub fn renew(&mut self, at_once: u32, per_minute: Option<u32>, hurry: u32, now: Timestamp) {
        self.fill(now);
        (self.at_once, self.hurry) = (at_once.max(1), hurry.max(1));
        if self.per_minute != per_minute {
            let fresh = Health::new(at_once, per_minute, hurry, now);
            (self.per_minute, self.allowance, self.filled_at) = (per_minute, fresh.allowance, now);
        }
        self.end_rest(now);
    }

    /// Ends a rest, if there is one: one tries it.
    pub fn end_rest(&mut self, now: Timestamp) {
        if let Some(rest) = &mut self.resting {
            rest.until = rest.until.min(now);
        }
    }

    /// How many Jobs may be handed to it now.
    pub fn room(&mut self, now: Timestamp) -> u32 {
        let free = self.at_once.saturating_sub(self.under_way);
        let free = match &self.resting {
            Some(rest) if rest.until > now => 0,
            // One tries whether it is well again.
            Some(_) => free.min(1).min(1_u32.saturating_sub(self.under_way)),
            None => free,
        };
        self.fill(now);
        match self.per_minute {
            Some(_) => free.min(u32::try_from(self.allowance / 1000).unwrap_or(0)),
            None => free,
        }
    }

    /// Whether Jobs may wait for it: false while it rests, so that those with another way take that.
    #[must_use]
    pub fn is_usable(&self, now: Timestamp) -> bool {
        self.resting.as_ref().is_none_or(|rest| rest.until <= now)
    }

    /// Why and until when it rests, if it does.
    #[must_use]
    pub fn rest(&self) -> Option<&Rest> {
        self.resting.as_ref()
    }

    /// A Job was taken in hand for it; counts against the rate.
    pub fn begin(&mut self, now: Timestamp) {
        self.under_way = self.under_way.saturating_add(1);
        self.fill(now);
        self.allowance = self.allowance.saturating_sub(1000);
    }

    /// The Job is out of hand.
    pub fn end(&mut self) {
        self.under_way = self.under_way.saturating_sub(1);
    }

    /// Draws the conclusion from a submit.
    pub fn note(&mut self, seen: Seen, now: Timestamp) -> Change {
        let Seen::Trouble { cause, wait } = seen else {
            // One that began before the rest says nothing about its end.
            if self.resting.as_ref().is_some_and(|rest| rest.until > now) {
                return Change::None;
            }
            let was_resting = self.resting.take().is_some();
            (self.failures, self.rests) = (0, 0);
            return if was_resting { Change::Well } else { Change::None };
        };
        self.failures = self.failures.saturating_add(1);
        let at_once = matches!(cause, Cause::AccountTrouble | Cause::RateLimited);
        // The one that tries it after a rest is one failure too many.
        if !at_once && self.failures < TOO_MANY && self.resting.is_none() {
            return Change::None;
        }
        let (first, longest) = match cause {
            Cause::AccountTrouble => (SignedDuration::from_mins(5), SignedDuration::from_mins(60)),
            Cause::RateLimited => (SignedDuration::from_secs(10), SignedDuration::from_mins(5)),
            _ => (SignedDuration::from_mins(1), SignedDuration::from_mins(15)),
        };
        let doubled = first.saturating_mul(1_i32 << self.rests.min(10)).min(longest);
        let pause = doubled / i32::try_from(self.hurry).unwrap_or(i32::MAX);
        let pause = pause.max(wait.unwrap_or(SignedDuration::ZERO));
        self.rests = self.rests.saturating_add(1);
        let rest = Rest { cause, until: now.saturating_add(pause).unwrap_or(Timestamp::MAX) };
        // Answers of those that were under way when it began add nothing to it, unless they want more of it.
        if self.resting.as_ref().is_some_and(|old| {
            old.until > now && (old.cause == cause && wait.is_none() || old.until >= rest.until)
        }) {
            self.rests = self.rests.saturating_sub(1);
            return Change::None;
        }
        self.resting = Some(rest.clone());
        Change::Rests(rest)
    }

    /// Adds what the rate allows since the last look; at most a second's worth, or one, is saved up.
    fn fill(&mut self, now: Timestamp) {
        let Some(per_minute) = self.per_minute else { return };
        let millis = i64::try_from(now.duration_since(self.filled_at).as_millis()).unwrap_or(0);
        // A clock that was set back must not stop it until it has caught up.
        if millis < 0 {
            self.filled_at = now;
            return;
        }
        let more = millis.saturating_mul(i64::from(per_minute)) / 60;
        if more > 0 {
            let most = (i64::from(per_minute).saturating_mul(1000) / 60).max(1000);
            self.allowance = self.allowance.saturating_add(more).min(most);
            // Only as far as it was credited: what is left of the division counts the next time.
            let credited = SignedDuration::from_millis(more.saturating_mul(60) / i64::from(per_minute));
            self.filled_at = self.filled_at.saturating_add(credited).unwrap_or(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_790_000_000 + second).unwrap()
    }

    fn trouble(cause: Cause) -> Seen {
        Seen::Trouble { cause, wait: None }
    }

    fn new() -> Health {
        Health::new(8, None, 1, at(0))
    }

    #[test]
    fn five_failures_in_a_row_are_too_many_and_one_that_is_taken_mends_all() {
        let mut health = new();
        for n in 0..4 {
            assert_eq!(health.note(trouble(Cause::ProviderTrouble), at(n)), Change::None);
            assert_eq!(health.room(at(n)), 8);
        }
        let rest = Rest { cause: Cause::Unclear, until: at(65) };
        assert_eq!(health.note(trouble(Cause::Unclear), at(5)), Change::Rests(rest));
        assert_eq!((health.room(at(64)), health.is_usable(at(64))), (0, false));
        assert_eq!((health.room(at(65)), health.is_usable(at(65))), (1, true), "one tries it");
        health.begin(at(65));
        assert_eq!(health.room(at(66)), 0, "the others wait for that one");
        assert_eq!(health.note(Seen::Well, at(67)), Change::Well);
        health.end();
        assert_eq!(health.room(at(67)), 8);
        assert_eq!(health.note(trouble(Cause::ProviderTrouble), at(68)), Change::None);
    }

    #[test]
    fn rests_grow_up_to_a_quarter_of_an_hour() {
        let mut health = new();
        let mut now = 0;
        let mut rests = Vec::new();
        for _ in 0..12 {
            if let Change::Rests(rest) = health.note(trouble(Cause::ProviderTrouble), at(now)) {
                rests.push(rest.until.duration_since(at(now)).as_mins());
                now = rest.until.duration_since(at(0)).as_secs();
            }
        }
        assert_eq!(rests, [1, 2, 4, 8, 15, 15, 15, 15]);
    }

    #[test]
    fn account_trouble_stops_it_at_once_and_those_under_way_add_nothing() {
        let mut health = new();
        assert!(matches!(health.note(trouble(Cause::AccountTrouble), at(0)), Change::Rests(_)));
        assert_eq!(health.note(trouble(Cause::AccountTrouble), at(1)), Change::None);
        assert_eq!(health.rest().unwrap().until, at(300));
        assert!(matches!(health.note(trouble(Cause::AccountTrouble), at(300)), Change::Rests(_)));
        assert_eq!(health.rest().unwrap().until, at(900), "twice as long");
    }

    #[test]
    fn it_is_left_alone_as_long_as_it_asks() {
        let mut health = new();
        let seen = Seen::Trouble { cause: Cause::RateLimited, wait: Some(SignedDuration::from_secs(90)) };
        health.note(seen, at(0));
        assert_eq!([health.room(at(89)), health.room(at(90))], [0, 1]);
    }

    #[test]
    fn the_rate_is_kept() {
        let mut health = Health::new(1000, Some(120), 1, at(0));
        let mut taken = 0;
        for second in 0..60 {
            for _ in 0..health.room(at(second)) {
                health.begin(at(second));
                health.end();
                taken += 1;
            }
        }
        assert!((118..=122).contains(&taken), "{taken} in a minute");
        let mut slow = Health::new(8, Some(1), 1, at(0));
        assert_eq!(slow.room(at(0)), 1);
        slow.begin(at(0));
        slow.end();
        assert_eq!([slow.room(at(30)), slow.room(at(61))], [0, 1]);
    }

    #[test]
    fn what_began_before_a_rest_neither_ends_nor_shortens_it() {
        let mut health = new();
        health.note(trouble(Cause::AccountTrouble), at(0));
        assert_eq!(health.note(Seen::Well, at(1)), Change::None);
        for n in 0..9 {
            assert_eq!(health.note(trouble(Cause::ProviderTrouble), at(2 + n)), Change::None);
        }
        assert_eq!(health.rest(), Some(&Rest { cause: Cause::AccountTrouble, until: at(300) }));
        assert_eq!(health.note(Seen::Well, at(300)), Change::Well);
    }

    #[test]
    fn a_rate_is_kept_by_small_steps_and_after_the_clock_was_set_back() {
        let mut slow = Health::new(8, Some(1), 1, at(0));
        slow.begin(at(0));
        slow.end();
        let tenths = |n: i64| at(0).saturating_add(SignedDuration::from_millis(n * 100)).unwrap();
        let first = (1..1000).find(|n| slow.room(tenths(*n)) == 1);
        assert!(first.is_some_and(|n| (600..=602).contains(&n)), "{first:?} tenths of a second");
        slow.begin(at(61));
        slow.end();
        assert_eq!([slow.room(at(-3600)), slow.room(at(-3539))], [0, 1]);
    }

    #[test]
    fn other_limits_keep_what_is_under_way_and_end_a_rest_with_one_try() {
        let mut health = new();
        health.begin(at(0));
        health.note(trouble(Cause::AccountTrouble), at(0));
        health.renew(2, None, 1, at(1));
        assert_eq!((health.is_usable(at(1)), health.room(at(1))), (true, 0), "one is under way still");
        health.end();
        assert_eq!(health.room(at(1)), 1, "one tries it");
        assert!(matches!(health.note(trouble(Cause::AccountTrouble), at(2)), Change::Rests(_)));
        health.renew(2, Some(60), 1, at(400));
        assert_eq!(health.note(Seen::Well, at(401)), Change::Well);
        assert_eq!(health.room(at(401)), 1, "a second's worth");
    }

    #[test]
    fn no_more_at_once_than_it_is_given() {
        let mut health = Health::new(2, None, 1, at(0));
        health.begin(at(0));
        assert_eq!(health.room(at(0)), 1);
        health.begin(at(0));
        assert_eq!(health.room(at(0)), 0);
        health.end();
        assert_eq!(health.room(at(0)), 1);
    }
}
