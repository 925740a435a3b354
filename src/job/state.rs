//! The state machine of a Job. Pure, and the only place where a Job's state changes.
//!
//! ```text
//! Queued{due} --claimed--> Sending{attempt} --taken--> InTransit{provider_ref, ask_at} --> Delivered | Failed | Queued{later}
//! Sending --refused for good--> Failed      Sending --refused for now--> Queued{later}
//! Sending --no answer, or we crashed--> Unclear{since}      InTransit --silent past the limit--> Unclear{since}
//! Unclear --provider knows it--> InTransit      --provider never got it--> Queued      --cannot tell--> Held
//! Queued | Held --signed news: it was delivered after all--> Delivered
//! Queued --the store forgot what it did--> Unclear{since}
//! any state without a call under way --person or rule--> Held | Cancelled
//! Held --person--> Queued | Cancelled | Delivered | Failed
//! ```
//!
//! While a call may be under way, cancelling is a wish ([`Context::cancel`]): the provider is told, and the Job ends as what
//! really became of it. The wish decides only what is ours to decide: that it is not tried again.
//!
//! What a provider says under its signature is its word as much as an answer of its own: it settles an Attempt that was closed in
//! doubt ([`Event::Told`]), and whatever it says of an Attempt ([`Context::news`]) shows that it has the fax: its list's silence
//! counts no more.
//!
//! A fax costs money and rings a telephone. So *Unclear goes back to Queued only on the provider's word or a person's*,
//! never by time; and a pair of state and event that makes no sense is an error, not a shrug.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::retry::{self, Next, RetryPolicy};
use super::{Absent, Cause, Hold, Outcome, Report, Sent, word_type};

/// Where a Job stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum JobState {
    /// Waits for its turn, not before `due`.
    Queued {
        /// Not before this instant.
        due: Timestamp,
    },
    /// An Attempt is on disk and its request may be on its way.
    Sending {
        /// The Attempt's number, from 1.
        attempt: u32,
        /// When the Attempt was opened.
        since: Timestamp,
    },
    /// The provider has taken it and works on it.
    InTransit {
        /// The Attempt's number.
        attempt: u32,
        /// The provider's name for it.
        provider_ref: String,
        /// When the Attempt was opened.
        since: Timestamp,
        /// When to ask the provider next.
        ask_at: Timestamp,
    },
    /// We do not know whether the provider has it.
    Unclear {
        /// The Attempt's number.
        attempt: u32,
        /// The provider's name for it, where an answer once told it.
        provider_ref: Option<String>,
        /// Since when we do not know.
        since: Timestamp,
        /// When the provider first said that it has no fax of ours.
        absent_since: Option<Timestamp>,
        /// When to ask the provider next.
        ask_at: Timestamp,
    },
    /// A person has to decide, until `until`; then it fails as expired.
    Held {
        /// Why.
        hold: Hold,
        /// When it expires.
        until: Timestamp,
    },
    /// Every page arrived. Final.
    Delivered,
    /// It was not delivered and will not be tried again. Final.
    Failed {
        /// Why.
        cause: Cause,
    },
    /// A person cancelled it; its Attempts tell whether something may have been sent before. Final.
    Cancelled,
}

word_type!(
    /// A state without what it carries.
    StateWord {
        /// [`JobState::Queued`].
        Queued = "queued",
        /// [`JobState::Sending`].
        Sending = "sending",
        /// [`JobState::InTransit`].
        InTransit = "in_transit",
        /// [`JobState::Unclear`].
        Unclear = "unclear",
        /// [`JobState::Held`].
        Held = "held",
        /// [`JobState::Delivered`].
        Delivered = "delivered",
        /// [`JobState::Failed`].
        Failed = "failed",
        /// [`JobState::Cancelled`].
        Cancelled = "cancelled",
    }
);

impl JobState {
    /// The same with every time in it moved by `by`.
    #[must_use]
    pub fn moved(mut self, by: SignedDuration) -> JobState {
        let move_one = |at: &mut Timestamp| *at = at.saturating_add(by).unwrap_or(*at);
        match &mut self {
            JobState::Queued { due } => move_one(due),
            JobState::Sending { since, .. } => move_one(since),
            JobState::InTransit { since, ask_at, .. } => [since, ask_at].into_iter().for_each(move_one),
            JobState::Unclear { since, absent_since, ask_at, .. } => {
                [since, ask_at].into_iter().chain(absent_since).for_each(move_one);
            }
            JobState::Held { until, .. } => move_one(until),
            JobState::Delivered | JobState::Failed { .. } | JobState::Cancelled => {}
        }
        self
    }

    /// The state without what it carries.
    #[must_use]
    pub fn word(&self) -> StateWord {
        match self {
            JobState::Queued { .. } => StateWord::Queued,
            JobState::Sending { .. } => StateWord::Sending,
            JobState::InTransit { .. } => StateWord::InTransit,
            JobState::Unclear { .. } => StateWord::Unclear,
            JobState::Held { .. } => StateWord::Held,
            JobState::Delivered => StateWord::Delivered,
            JobState::Failed { .. } => StateWord::Failed,
            JobState::Cancelled => StateWord::Cancelled,
        }
    }

    /// Its word in the store, in result files and in listings.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        self.word().as_str()
    }

    /// Whether nothing can follow.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(self, JobState::Delivered | JobState::Failed { .. } | JobState::Cancelled)
    }

    /// When a worker must look at it next; `None` for final states.
    ///
    /// For `Sending` that is the start of the Attempt: whoever opened it holds a lease on the Job meanwhile, so a worker
    /// only sees it when that lease has run out, which means that the process died between Attempt and answer.
    #[must_use]
    pub fn wake_at(&self) -> Option<Timestamp> {
        match self {
            JobState::Queued { due } => Some(*due),
            JobState::Sending { since, .. } => Some(*since),
            JobState::InTransit { ask_at, .. } | JobState::Unclear { ask_at, .. } => Some(*ask_at),
            JobState::Held { until, .. } => Some(*until),
            JobState::Delivered | JobState::Failed { .. } | JobState::Cancelled => None,
        }
    }

    /// The Attempt that is under way, if one is.
    #[must_use]
    pub fn open_attempt(&self) -> Option<u32> {
        match self {
            JobState::Sending { attempt, .. }
            | JobState::InTransit { attempt, .. }
            | JobState::Unclear { attempt, .. } => Some(*attempt),
            _ => None,
        }
    }
}

/// What can happen to a Job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A worker opens Attempt number `attempt`.
    Claimed {
        /// From 1.
        attempt: u32,
    },
    /// The provider answered that it has the fax.
    Taken {
        /// Its name for it.
        provider_ref: String,
    },
    /// The provider said how it ended, or that it did not take it.
    Ended {
        /// What it came to.
        report: Report,
        /// How long the provider asked us to wait, if it did.
        wait: Option<SignedDuration>,
    },
    /// No answer came, or this process crashed before one was recorded.
    Lost,
    /// Asked; the provider still works on it.
    StillGoing,
    /// Asked; the provider could not be reached or answered nonsense.
    NoAnswer,
    /// Asked by our reference; the provider has it.
    Found {
        /// Its name for it.
        provider_ref: String,
    },
    /// Asked by our reference; the provider does not have it.
    NotThere,
    /// Asked by our reference; the provider has a fax that may be it, and does not say whose it is.
    Undecided,
    /// Asked by our reference; the provider has certainly not taken it, and will not.
    NeverSent,
    /// The provider has no way to be asked by our reference.
    CannotTell,
    /// The provider told under its signature how an Attempt ended that was closed without knowing.
    Told {
        /// The Attempt's number.
        attempt: u32,
        /// What it came to.
        report: Report,
    },
    /// The store may have forgotten Attempt number `attempt`, as when a backup was copied back: it is opened as one whose answer
    /// was lost, so that the provider is asked before anything is sent.
    Forgotten {
        /// From 1.
        attempt: u32,
    },
    /// A person or a rule holds it.
    Hold(Hold),
    /// A person lets it go on.
    Release,
    /// A person cancels it.
    Cancel,
    /// A person states that it did arrive (true) or did not (false).
    Resolve(bool),
    /// Not now, as in the recipient's quiet hours: it waits until then.
    Postponed(Timestamp),
    /// Its time came and nothing else had happened: the deadline of a queued or held Job.
    Deadline,
}

/// How long to wait for news, and for how long to believe that there will be some.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patience {
    /// Between two questions about a Job in transit, at first; it doubles up to `ask_at_most`.
    pub ask_first: SignedDuration,
    /// The longest pause between two questions.
    pub ask_at_most: SignedDuration,
    /// A Job in transit without an end for this long is Unclear.
    pub silent_after: SignedDuration,
    /// Absence at the provider counts only when it is seen, and seen again after this: a list may lag behind.
    pub quiet: SignedDuration,
    /// An Unclear Job that nobody could tell about for this long is Held.
    pub unclear_at_most: SignedDuration,
}

impl Default for Patience {
    fn default() -> Self {
        Patience {
            ask_first: SignedDuration::from_secs(15),
            ask_at_most: SignedDuration::from_mins(2),
            silent_after: SignedDuration::from_mins(90),
            quiet: SignedDuration::from_mins(3),
            unclear_at_most: SignedDuration::from_mins(60),
        }
    }
}

/// What a decision needs to know beside the state and the event.
#[derive(Debug, Clone)]
pub struct Context<'a> {
    /// The current instant.
    pub now: Timestamp,
    /// After this instant no further Attempt is opened.
    pub deadline: Timestamp,
    /// Before this instant, where there is one, none is: its sender asked for that.
    pub not_before: Option<Timestamp>,
    /// How long a held Job waits for a person.
    pub hold_for: SignedDuration,
    /// How long a Job may be tried from the moment it is made or released.
    pub try_for: SignedDuration,
    /// The causes of all earlier failed Attempts, in order, the one that just ended left out.
    pub earlier: &'a [Cause],
    /// Calls and pauses.
    pub retry: &'a RetryPolicy,
    /// Waiting for news.
    pub patience: &'a Patience,
    /// The providers that may send it, in order, and the one that has it now.
    pub route: &'a Route,
    /// What follows when the provider does not know a fax whose answer was lost.
    pub absent: Absent,
    /// Whether an earlier Attempt may have been sent, for all that is certain: then no other provider has a part in it.
    pub doubt: bool,
    /// Whether the provider has told anything of the open Attempt: then it has it, and that no list shows it is no absence.
    pub news: bool,
    /// Whether an earlier Attempt was delivered, as its provider told when the next one was under way.
    pub proven: bool,
    /// Calls to its number, by whichever Jobs, that failed since the last that did not.
    pub number_failed: u32,
    /// Whether a person wants it cancelled.
    pub cancel: bool,
    /// A random number in 0..=1 that spreads retries.
    pub jitter: f64,
}

#[cfg(test)]
impl Context<'static> {
    /// One for tests, with every policy at its default, nothing tried before and one provider, `sim`.
    pub(crate) fn plain(now: Timestamp, deadline: Timestamp) -> Context<'static> {
        let route = Route { providers: vec!["sim".into()], current: "sim".into() };
        Context {
            now,
            deadline,
            not_before: None,
            hold_for: SignedDuration::from_hours(72),
            try_for: SignedDuration::from_hours(24),
            earlier: &[],
            retry: Box::leak(Box::default()),
            patience: Box::leak(Box::default()),
            route: Box::leak(Box::new(route)),
            absent: Absent::Resend,
            doubt: false,
            news: false,
            proven: false,
            number_failed: 0,
            cancel: false,
            jitter: 0.0,
        }
    }
}

/// The providers that may send a Job: always the same number, another one only where the one before certainly sent nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Route {
    /// Names of the configuration, in order.
    pub providers: Vec<String>,
    /// The one that has it now.
    pub current: String,
}

impl Route {
    /// The one after the current, round and round; `None` where there is no other.
    #[must_use]
    pub fn next(&self) -> Option<&str> {
        let place = self.providers.iter().position(|name| *name == self.current);
        let next = place.map_or(0, |place| (place + 1) % self.providers.len());
        self.providers.get(next).map(String::as_str).filter(|name| *name != self.current)
    }
}

/// The next state, and what has to be done in the same transaction or right after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The state that follows.
    pub state: JobState,
    /// What follows from it, in order.
    pub effects: Vec<Effect>,
}

/// A consequence of a step, as data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Record a new Attempt with this number.
    OpenAttempt(u32),
    /// Record what the open Attempt came to.
    CloseAttempt(Report),
    /// Record what an Attempt came to that was closed without knowing.
    CorrectAttempt(u32, Report),
    /// The number is not in service: suspend the register's entry for everybody.
    SuspendRecipient,
    /// A person answered: the register counts it, and suspends the entry at the second time.
    CountVoice,
    /// A call to the number ended: it failed, and the number is left alone until then; or it did not fail.
    Called {
        /// Until when no Job calls it; `None` where it was reached.
        rest: Option<Timestamp>,
    },
    /// The Job goes to this provider now.
    Switch(String),
    /// What the open Attempt came to is a person's word, not the provider's.
    Stated,
    /// Tell the sender that the Job is held, and why.
    TellHeld(Hold),
    /// Tries may go on until this instant: the time that a Job was held is not held against it.
    Extend(Timestamp),
    /// The Job is final: the Submission may be complete.
    Finished,
}

/// A pair of state and event that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a job that is {state} cannot be {event}{advice}")]
pub struct Impossible {
    /// The state's word.
    pub state: &'static str,
    /// What was to happen.
    pub event: &'static str,
    /// What to do instead, or empty.
    pub advice: &'static str,
}

/// Decides what `event` makes of a Job in `state`.
///
/// # Errors
/// [`Impossible`] where the pair makes no sense; the Job then stays as it is.
pub fn step(state: &JobState, event: Event, context: &Context<'_>) -> Result<Step, Impossible> {
    match (state, event) {
        (JobState::Queued { .. }, event) => queued(state, event, context),
        (JobState::Sending { attempt, since }, event) => sending(state, *attempt, *since, event, context),
        (JobState::InTransit { attempt, provider_ref, since, .. }, event) => {
            in_transit(state, *attempt, provider_ref, *since, event, context)
        }
        (JobState::Unclear { attempt, provider_ref, since, absent_since, .. }, event) => {
            let doubt = Doubt { since: *since, absent_since: *absent_since };
            unclear(state, *attempt, provider_ref.as_deref(), doubt, event, context)
        }
        (JobState::Held { hold, .. }, event) => held(state, *hold, event, context),
        (JobState::Delivered | JobState::Failed { .. } | JobState::Cancelled, event) => {
            Err(impossible(state, &event))
        }
    }
}

fn queued(state: &JobState, event: Event, context: &Context<'_>) -> Result<Step, Impossible> {
    match event {
        Event::Claimed { .. } | Event::Deadline if context.now >= context.deadline => {
            // What kept it from being sent is the truth, if anything did.
            let cause = context.earlier.last().copied().unwrap_or(Cause::Expired);
            Ok(fail(cause, Vec::new()))
        }
        Event::Postponed(until) => {
            Ok(Step { state: JobState::Queued { due: until.min(context.deadline) }, effects: Vec::new() })
        }
        Event::Claimed { attempt } => Ok(Step {
            state: JobState::Sending { attempt, since: context.now },
            effects: vec![Effect::OpenAttempt(attempt)],
        }),
        Event::Forgotten { attempt } => {
            let mut step = lost(attempt, None, context);
            step.effects.push(Effect::OpenAttempt(attempt));
            Ok(step)
        }
        // The call that it waits for is not needed, or must not be made.
        Event::Told { attempt, report } => match Sent::of(report.outcome, report.pages_sent) {
            Sent::Nothing => {
                Ok(Step { state: state.clone(), effects: vec![Effect::CorrectAttempt(attempt, report)] })
            }
            _ => Ok(ended(&report, None, Which::Earlier(attempt), context)),
        },
        Event::Hold(why) => Ok(hold(why, Vec::new(), context)),
        Event::Cancel => Ok(Step { state: JobState::Cancelled, effects: vec![Effect::Finished] }),
        event => Err(impossible(state, &event)),
    }
}

fn sending(
    state: &JobState,
    attempt: u32,
    since: Timestamp,
    event: Event,
    context: &Context<'_>,
) -> Result<Step, Impossible> {
    match event {
        Event::Taken { provider_ref } => Ok(transit(attempt, provider_ref, since, context)),
        Event::Ended { report, wait } => Ok(ended(&report, wait, Which::Open(attempt, None), context)),
        Event::Lost => Ok(lost(attempt, None, context)),
        event => Err(impossible(state, &event)),
    }
}

fn in_transit(
    state: &JobState,
    attempt: u32,
    provider_ref: &str,
    since: Timestamp,
    event: Event,
    context: &Context<'_>,
) -> Result<Step, Impossible> {
    match event {
        Event::Ended { report, wait } => {
            Ok(ended(&report, wait, Which::Open(attempt, Some(provider_ref)), context))
        }
        Event::StillGoing | Event::NoAnswer
            if context.now.duration_since(since) >= context.patience.silent_after =>
        {
            Ok(lost(attempt, Some(provider_ref.to_owned()), context))
        }
        Event::StillGoing | Event::NoAnswer => Ok(transit(attempt, provider_ref.to_owned(), since, context)),
        // The provider that took it says now that it has no such fax: nobody knows what became of it.
        Event::Lost | Event::NotThere => Ok(lost(attempt, Some(provider_ref.to_owned()), context)),
        event => Err(impossible(state, &event)),
    }
}

/// Since when we do not know, and since when the provider says that it has no fax of ours.
#[derive(Clone, Copy)]
struct Doubt {
    since: Timestamp,
    absent_since: Option<Timestamp>,
}

fn unclear(
    state: &JobState,
    attempt: u32,
    provider_ref: Option<&str>,
    doubt: Doubt,
    event: Event,
    context: &Context<'_>,
) -> Result<Step, Impossible> {
    let over = context.now.duration_since(doubt.since) >= context.patience.unclear_at_most;
    let ask_again = |absent_since: Option<Timestamp>| Step {
        state: JobState::Unclear {
            attempt,
            provider_ref: provider_ref.map(str::to_owned),
            since: doubt.since,
            absent_since,
            ask_at: next_question(doubt.since, context),
        },
        effects: Vec::new(),
    };
    match event {
        Event::Found { provider_ref } => Ok(transit(attempt, provider_ref, context.now, context)),
        Event::Ended { report, wait } => {
            Ok(ended(&report, wait, Which::Open(attempt, provider_ref), context))
        }
        // Only a fax that the provider never acknowledged can be "never got it". And one look is not enough, however long
        // ago the request was: this process may have been down all the time, and the first list it sees may lag behind.
        Event::NotThere if provider_ref.is_none() && !context.news => {
            let first = doubt.absent_since.unwrap_or(context.now);
            if doubt.absent_since.is_none() || context.now.duration_since(first) < context.patience.quiet {
                return Ok(ask_again(Some(first)));
            }
            // By the operator's word for this provider, its own word is not enough.
            if context.absent == Absent::Hold {
                return Ok(give_up(context));
            }
            Ok(never_got_it(attempt, context))
        }
        Event::NeverSent if provider_ref.is_none() && !context.news => Ok(never_got_it(attempt, context)),
        Event::StillGoing | Event::NoAnswer | Event::NotThere | Event::NeverSent | Event::Undecided
            if over =>
        {
            Ok(give_up(context))
        }
        // A list that may show it, or has shown it, has to begin anew to show that it is absent.
        Event::Undecided => Ok(ask_again(None)),
        Event::StillGoing | Event::NoAnswer | Event::NotThere => Ok(ask_again(doubt.absent_since)),
        Event::NeverSent if provider_ref.is_none() => Ok(ask_again(None)),
        Event::CannotTell => Ok(give_up(context)),
        Event::Resolve(arrived) => Ok(resolved(arrived, true)),
        event => Err(impossible(state, &event)),
    }
}

fn never_got_it(attempt: u32, context: &Context<'_>) -> Step {
    let report = Report {
        raw_text: Some("the provider has no fax with our reference".into()),
        ..Report::bare(Outcome::Retry(Cause::NotTaken))
    };
    ended(&report, None, Which::Open(attempt, None), context)
}

fn held(state: &JobState, why: Hold, event: Event, context: &Context<'_>) -> Result<Step, Impossible> {
    match event {
        Event::Release => {
            let due = context.not_before.unwrap_or(context.now).max(context.now);
            let until = due.saturating_add(context.try_for).unwrap_or(Timestamp::MAX);
            let effects = vec![Effect::Extend(until)];
            Ok(Step { state: JobState::Queued { due }, effects })
        }
        // Held again for another reason, as when a released Job still cannot go.
        Event::Hold(again) => Ok(hold(again, Vec::new(), context)),
        // "Delivered" is proof whatever it is held for; anything else answers only the question that a person was asked.
        Event::Told { attempt, report }
            if report.outcome == Outcome::Delivered || matches!(why, Hold::Unclear | Hold::UnknownCause) =>
        {
            Ok(ended(&report, None, Which::Earlier(attempt), context))
        }
        Event::Cancel => Ok(Step { state: JobState::Cancelled, effects: vec![Effect::Finished] }),
        // "It arrived" needs something that may have: else a fax that nobody sent would be proven by a word.
        Event::Resolve(true) if !context.doubt && !matches!(why, Hold::Unclear | Hold::PartlySent) => {
            Err(Impossible {
                state: state.as_str(),
                event: "resolved as delivered",
                advice: ": nothing of it was ever sent; release it, or cancel it",
            })
        }
        Event::Resolve(arrived) => Ok(resolved(arrived, false)),
        Event::Deadline => {
            let cause = match why {
                Hold::Unclear => Cause::Unclear,
                Hold::PartlySent => Cause::PartlySent,
                _ => Cause::Expired,
            };
            Ok(fail(cause, Vec::new()))
        }
        event => Err(impossible(state, &event)),
    }
}

/// Which Attempt ended.
#[derive(Clone, Copy)]
enum Which<'a> {
    /// The one under way, with the provider's name for it.
    Open(u32, Option<&'a str>),
    /// One that was closed without knowing.
    Earlier(u32),
}

/// An Attempt ended: delivered, tried again later, held or failed.
fn ended(report: &Report, wait: Option<SignedDuration>, which: Which<'_>, context: &Context<'_>) -> Step {
    let recorded = match which {
        Which::Open(..) => Effect::CloseAttempt(report.clone()),
        Which::Earlier(attempt) => Effect::CorrectAttempt(attempt, report.clone()),
    };
    let mut effects = vec![recorded];
    let cause = match report.outcome {
        Outcome::Delivered => {
            effects.extend([Effect::Called { rest: None }, Effect::Finished]);
            return Step { state: JobState::Delivered, effects };
        }
        Outcome::Unclear => {
            return match which {
                Which::Open(attempt, provider_ref) => lost(attempt, provider_ref.map(str::to_owned), context),
                Which::Earlier(_) => hold(Hold::Unclear, effects, context),
            };
        }
        // The document is there: by the Attempt before this one.
        _ if context.proven => {
            effects.push(Effect::Finished);
            return Step { state: JobState::Delivered, effects };
        }
        // Whatever the provider calls it: where a page may lie in a tray, the document is not sent twice by itself.
        Outcome::Retry(_) | Outcome::Refused(Cause::Cancelled)
            if report.pages_sent.is_some_and(|pages| pages > 0) =>
        {
            Cause::PartlySent
        }
        Outcome::Retry(cause) | Outcome::Refused(cause) => cause,
    };
    match cause {
        Cause::NotInService => effects.push(Effect::SuspendRecipient),
        Cause::Voice => effects.push(Effect::CountVoice),
        _ => {}
    }
    let next = after(cause, wait, context);
    if retry::rang(cause) {
        let pause = if let Next::Again(pause) = next { pause } else { SignedDuration::ZERO };
        let rest = retry::number_rest(pause, context.number_failed.saturating_add(1), context.retry);
        let rest = Some(context.now.saturating_add(rest).unwrap_or(Timestamp::MAX));
        effects.push(Effect::Called { rest });
    }
    let sent = Sent::of(Outcome::of(cause), report.pages_sent);
    // Stopped by whoever wished it; what a provider calls cancelled without our wish is a failure like any other.
    if context.cancel && (cause == Cause::Cancelled || sent == Sent::Nothing) {
        effects.push(Effect::Finished);
        return Step { state: JobState::Cancelled, effects };
    }
    match next {
        Next::Again(pause) => {
            let due = context.now.saturating_add(pause).unwrap_or(context.deadline);
            if due >= context.deadline {
                return fail(cause, effects);
            }
            if retry::at_the_provider(cause) && !context.doubt {
                effects.extend(context.route.next().map(|name| Effect::Switch(name.to_owned())));
            }
            Step { state: JobState::Queued { due }, effects }
        }
        Next::Hold(why) => hold(why, effects, context),
        Next::Fail => fail(cause, effects),
    }
}

/// What the ladder says. Where the trouble is the provider's and others are left to try, there is no pause: the ladder
/// counts rounds through all of them.
fn after(cause: Cause, wait: Option<SignedDuration>, context: &Context<'_>) -> Next {
    let calls = count(context.earlier.iter().filter(|earlier| retry::rang(**earlier)).count())
        + u32::from(retry::rang(cause));
    let nth = if retry::at_the_provider(cause) {
        let in_a_row = context.earlier.iter().rev().take_while(|c| retry::at_the_provider(**c)).count() + 1;
        let providers = if context.doubt { 1 } else { context.route.providers.len().max(1) };
        if in_a_row % providers != 0 {
            return Next::Again(SignedDuration::ZERO);
        }
        count(in_a_row / providers)
    } else {
        count(context.earlier.iter().filter(|earlier| **earlier == cause).count()) + 1
    };
    retry::after(cause, nth, calls, wait, context.retry, context.jitter)
}

fn transit(attempt: u32, provider_ref: String, since: Timestamp, context: &Context<'_>) -> Step {
    let ask_at = next_question(since, context);
    Step { state: JobState::InTransit { attempt, provider_ref, since, ask_at }, effects: Vec::new() }
}

fn lost(attempt: u32, provider_ref: Option<String>, context: &Context<'_>) -> Step {
    // Asked at once: the answer may have been all that was lost.
    let now = context.now;
    let state = JobState::Unclear { attempt, provider_ref, since: now, absent_since: None, ask_at: now };
    Step { state, effects: Vec::new() }
}

/// Nobody can tell what became of the open Attempt: it is closed as Unclear, and a person decides.
fn give_up(context: &Context<'_>) -> Step {
    if context.proven {
        let report = Report::bare(Outcome::Unclear);
        return Step {
            state: JobState::Delivered,
            effects: vec![Effect::CloseAttempt(report), Effect::Finished],
        };
    }
    hold(Hold::Unclear, vec![Effect::CloseAttempt(Report::bare(Outcome::Unclear))], context)
}

fn hold(why: Hold, mut effects: Vec<Effect>, context: &Context<'_>) -> Step {
    effects.push(Effect::TellHeld(why));
    let until = context.now.saturating_add(context.hold_for).unwrap_or(Timestamp::MAX);
    Step { state: JobState::Held { hold: why, until }, effects }
}

fn fail(cause: Cause, mut effects: Vec<Effect>) -> Step {
    effects.push(Effect::Finished);
    Step { state: JobState::Failed { cause }, effects }
}

/// A person's word on what became of it.
fn resolved(arrived: bool, attempt_open: bool) -> Step {
    let (state, outcome) = if arrived {
        (JobState::Delivered, Outcome::Delivered)
    } else {
        (JobState::Failed { cause: Cause::NotReceived }, Outcome::Refused(Cause::NotReceived))
    };
    let mut effects = Vec::new();
    if attempt_open {
        let raw_text = Some("stated by a person".to_owned());
        effects.push(Effect::CloseAttempt(Report { raw_text, ..Report::bare(outcome) }));
        effects.push(Effect::Stated);
    }
    effects.push(Effect::Finished);
    Step { state, effects }
}

/// When to ask next: as long again as we have waited already, within the bounds of [`Patience`].
fn next_question(since: Timestamp, context: &Context<'_>) -> Timestamp {
    let pause = context
        .now
        .duration_since(since)
        .clamp(context.patience.ask_first, context.patience.ask_at_most.max(context.patience.ask_first));
    context.now.saturating_add(pause).unwrap_or(Timestamp::MAX)
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX - 1)
}

fn impossible(state: &JobState, event: &Event) -> Impossible {
    let (event, advice) = match event {
        Event::Claimed { .. } => ("claimed", ""),
        Event::Taken { .. } => ("taken by a provider", ""),
        Event::Ended { .. } => ("ended by a provider", ""),
        Event::Lost => ("lost", ""),
        Event::StillGoing => ("still going", ""),
        Event::NoAnswer => ("asked about", ""),
        Event::Found { .. } => ("found at a provider", ""),
        Event::NotThere => ("missed at a provider", ""),
        Event::NeverSent => ("disowned by a provider", ""),
        Event::Undecided => ("undecided at a provider", ""),
        Event::CannotTell => ("untold by a provider", ""),
        Event::Told { .. } => ("told of by a provider", ""),
        Event::Forgotten { .. } => ("forgotten", ""),
        Event::Hold(_) if state.open_attempt().is_some() => {
            ("held", ": a call may be under way; wait for its outcome")
        }
        Event::Hold(_) => ("held", ""),
        Event::Release => ("released", ": only a held job can be"),
        Event::Cancel if state.open_attempt().is_some() => {
            ("cancelled", ": a call may be under way; the provider has to be told")
        }
        Event::Cancel => ("cancelled", ": it has ended already"),
        Event::Resolve(_) => ("resolved", ": only an unclear or held job can be"),
        Event::Postponed(_) => ("postponed", ""),
        Event::Deadline => ("expired", ""),
    };
    Impossible { state: state.as_str(), event, advice }
}

#[cfg(test)]
mod tests;
