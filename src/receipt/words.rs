//! Every sentence of a receipt about a Job: what happened, what the bridge does next, what the sender should do.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::{Account, AttemptAccount, JobAccount};
use crate::job::{Cause, Hold, JobState, Sent, number_words};
use crate::store::CancelWish;
use crate::text::counted;

/// What is said about one Job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Said {
    /// The state's word in receipts.
    pub(super) state: State,
    /// What happened, beginning with the state.
    pub(super) what: String,
    /// What the bridge will and will not do, and what the sender should do; empty where there is nothing to do.
    pub(super) next: String,
}

/// A Job's state in the words of receipts, from the calmest to the one that most needs a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum State {
    Delivered,
    UnderWay,
    Cancelled,
    Expired,
    Failed,
    Unclear,
    Held,
}

impl State {
    pub(super) fn of(job: &JobAccount) -> Self {
        match &job.state {
            JobState::Delivered => State::Delivered,
            JobState::Cancelled => State::Cancelled,
            JobState::Held { .. } => State::Held,
            JobState::Unclear { .. } | JobState::Failed { cause: Cause::Unclear } => State::Unclear,
            JobState::Failed { cause: Cause::Expired } => State::Expired,
            JobState::Failed { .. } => State::Failed,
            JobState::Queued { .. } | JobState::Sending { .. } | JobState::InTransit { .. } => {
                State::UnderWay
            }
        }
    }

    /// As in records.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            State::Delivered => "delivered",
            State::UnderWay => "under_way",
            State::Cancelled => "cancelled",
            State::Expired => "expired",
            State::Failed => "failed",
            State::Unclear => "unclear",
            State::Held => "held",
        }
    }
}

/// Tells times in the sender's zone; the date only where it is not that of the Submission.
pub(super) struct Times {
    zone: TimeZone,
    day: jiff::civil::Date,
}

impl Times {
    pub(super) fn of(account: &Account) -> Self {
        let zone = TimeZone::get(&account.time_zone).unwrap_or(TimeZone::UTC);
        let day = account.accepted_at.to_zoned(zone.clone()).date();
        Times { zone, day }
    }

    /// `14:20 EST`, or `2026-11-23 14:20 EST` on another day than that of the Submission.
    pub(super) fn short(&self, at: Timestamp) -> String {
        let at = at.to_zoned(self.zone.clone());
        let form = if at.date() == self.day { "%H:%M %Z" } else { "%Y-%m-%d %H:%M %Z" };
        at.strftime(form).to_string()
    }

    /// `14:20:05 to 14:22:09 EST`, with the date where it is not that of the Submission.
    pub(super) fn span(&self, from: Timestamp, to: Option<Timestamp>) -> String {
        let from = from.to_zoned(self.zone.clone());
        let form = |at: &jiff::Zoned, day| if at.date() == day { "%H:%M:%S" } else { "%Y-%m-%d %H:%M:%S" };
        let start = from.strftime(form(&from, self.day)).to_string();
        match to.map(|to| to.to_zoned(self.zone.clone())) {
            Some(to) => {
                let end = to.strftime(form(&to, from.date())).to_string();
                format!("{start} to {end} {}", to.strftime("%Z"))
            }
            None => format!("{start} {}", from.strftime("%Z")),
        }
    }

    /// `2026-11-22 14:20 EST`.
    pub(super) fn full(&self, at: Timestamp) -> String {
        at.to_zoned(self.zone.clone()).strftime("%Y-%m-%d %H:%M %Z").to_string()
    }
}

/// What to say about `job`.
pub(super) fn about(job: &JobAccount, account: &Account, times: &Times) -> Said {
    let state = State::of(job);
    let (what, next) = match &job.state {
        JobState::Delivered => delivered(job, times),
        JobState::Failed { cause } => failed(*cause, job, account, times),
        JobState::Cancelled => (
            if job.attempts.iter().all(|attempt| attempt.sent == Some(Sent::Nothing)) {
                format!("Cancelled: the fax to {} was not sent.", whom(job))
            } else {
                format!("Cancelled: the fax to {} is not tried again.", whom(job))
            },
            "Somebody cancelled it, and it will not be tried again.".to_owned(),
        ),
        JobState::Held { hold, until } => held(*hold, *until, job, times),
        JobState::Unclear { .. } => (
            format!("Unclear: we do not know yet whether the fax to {} was sent.", whom(job)),
            "The fax provider is being asked. It is not sent again by itself. You will be told how it ended."
                .to_owned(),
        ),
        JobState::Queued { .. } | JobState::Sending { .. } | JobState::InTransit { .. } => (
            format!("Under way: the fax to {} has not ended yet.", whom(job)),
            "You will be told how it ended.".to_owned(),
        ),
    };
    let what = match residue(job) {
        Some(residue) => format!("{what} {residue}"),
        None => what,
    };
    Said { state, what, next }
}

/// What was understood of `job`, and when it goes out; told at `now`.
pub(super) fn accepted(job: &JobAccount, now: Timestamp, times: &Times) -> Said {
    let state = State::of(job);
    let pages = job.pages.map_or("the fax".to_owned(), |pages| counted(pages, "page"));
    let wanted = match &job.state {
        JobState::Queued { due } => Some(*due).filter(|due| *due > now),
        _ => None,
    };
    let next = match (wanted, job.quiet_until.filter(|until| *until > now)) {
        (wanted, Some(quiet)) if wanted.is_none_or(|wanted| wanted < quiet) => {
            format!("It goes out from {}; until then its recipient takes no calls.", times.short(quiet))
        }
        (Some(due), _) => format!("It goes out from {}.", times.short(due)),
        (None, _) => "It goes out now.".to_owned(),
    };
    let next = format!("{next} You will be told how it ended.");
    Said { state, what: format!("Accepted: {pages} for {}.", whom(job)), next }
}

/// How the sender can decide about `job` by answering the mail; with `several` told of, the Job is named.
pub(super) fn answer(job: &JobAccount, state: State, several: bool) -> Option<String> {
    let named = if several { format!(" {}", job.job) } else { String::new() };
    match (&job.state, state) {
        (JobState::Held { hold: Hold::PartlySent | Hold::Unclear, .. }, _) => Some(format!(
            "You can decide that by an answer to this mail: release{named} sends it again, whole; cancel{named} gives it up."
        )),
        (JobState::Held { .. }, _) => Some(format!("To give it up, answer this mail with: cancel{named}")),
        (_, State::UnderWay) => Some(format!("To stop it, answer this mail with: cancel{named}")),
        _ => None,
    }
}

/// What earlier tries may have left at the far end, where the sentence about the end would hide it.
fn residue(job: &JobAccount) -> Option<String> {
    let told = match &job.state {
        JobState::Held { hold: Hold::PartlySent | Hold::Unclear, .. }
        | JobState::Failed { cause: Cause::PartlySent | Cause::Unclear | Cause::NotReceived }
        | JobState::Unclear { .. } => true,
        JobState::Delivered => job.attempts.len() < 2,
        _ => false,
    };
    if told {
        return None;
    }
    // The last try of a delivered fax is the one that delivered it.
    let delivered = job.state == JobState::Delivered;
    let earlier = job.attempts.len() - usize::from(delivered && !job.attempts.is_empty());
    let earlier = job.attempts.get(..earlier).unwrap_or_default();
    let twice = if delivered { ", and may lie there twice" } else { "" };
    let pages = earlier.iter().filter_map(|attempt| attempt.pages_sent).max().filter(|pages| *pages > 0);
    match pages {
        Some(1) => Some(format!("But page 1 was through in an earlier try{twice}.")),
        Some(pages) => Some(format!("But pages 1-{pages} were through in an earlier try{twice}.")),
        None if earlier.iter().any(|attempt| matches!(attempt.sent, Some(Sent::Perhaps | Sent::Some))) => {
            Some(format!("But an earlier try may have arrived{twice}."))
        }
        None => None,
    }
}

fn delivered(job: &JobAccount, times: &Times) -> (String, String) {
    let last = job.attempts.last();
    let at = last.and_then(|attempt| attempt.ended_at);
    let at = at.map_or(String::new(), |at| format!(", {}", times.short(at)));
    let pages = match job.pages {
        Some(1) => "1 page".to_owned(),
        Some(pages) => format!("all {pages} pages"),
        None => "the fax".to_owned(),
    };
    let confirmed =
        last.is_some_and(|attempt| attempt.outcome.as_deref() == Some("delivered") && !attempt.stated);
    let next =
        if confirmed { "" } else { "A person stated that it arrived; the fax provider did not confirm it." };
    (format!("Delivered: {pages} to {}{at}.", whom(job)), next.to_owned())
}

fn failed(cause: Cause, job: &JobAccount, account: &Account, times: &Times) -> (String, String) {
    let who = whom(job);
    let tries = tries(cause, job, times);
    let anew = again(account);
    let again = format!("{} to try anew.", upper(anew));
    let not_sent = |what: String| format!("Not sent: {what}.");
    let stop = "It will not be tried again by itself.";
    match cause {
        Cause::Busy => (not_sent(format!("{who} was busy{tries}")), format!("{stop} {again}")),
        Cause::NoAnswer => (not_sent(format!("{who} did not answer{tries}")), format!("{stop} {again}")),
        Cause::Voice => (
            not_sent(format!("a person or a voice mailbox answered at {who}, not a fax machine{tries}")),
            format!("{stop} Check the number before you send anything to it again."),
        ),
        Cause::NotAFax => (
            not_sent(format!("no fax machine answered at {who}{tries}")),
            format!("{stop} Check with the recipient that the machine is on and the number is right. {again}"),
        ),
        Cause::NotInService => (
            not_sent(format!("{} is not in service{tries}", number_of(job))),
            "The number is suspended: nothing is sent to it until somebody has verified it anew. Ask the recipient for \
             the right number."
                .to_owned(),
        ),
        Cause::Blocked => (
            not_sent(format!("calls to {who} are refused, by the far end, the carrier or the fax provider{tries}")),
            format!("{stop} Ask the recipient whether it takes faxes at this number."),
        ),
        Cause::NumberRefused => (
            not_sent(format!("the number {} is refused as no telephone number: nobody was called", number_of(job))),
            format!("{stop} Ask the recipient for the right number."),
        ),
        Cause::LineTrouble => (
            not_sent(format!("the connection to {who} broke before a page was through{tries}")),
            format!("{stop} {again}"),
        ),
        Cause::PartlySent => partly(
            job,
            &who,
            &format!("{stop} Ask the recipient what arrived. If the rest is needed, {anew}; it is then sent whole."),
        ),
        Cause::DocumentRefused => (
            not_sent(format!("the fax provider could not print the document for {who}{tries}")),
            format!("{stop} Make the PDF anew, for example by printing it into a PDF, and send that."),
        ),
        Cause::RateLimited | Cause::ProviderTrouble | Cause::NotTaken => (
            not_sent(format!("the fax provider was out of order until the time for the fax to {who} was up{tries}")),
            format!("{stop} {again}"),
        ),
        Cause::AccountTrouble => (
            not_sent(format!("the fax provider did not let us send to {who}: our account with it has a problem{tries}")),
            format!("{stop} Tell whoever runs the fax bridge. {again}"),
        ),
        Cause::Unknown => (
            not_sent(format!("the fax provider reported a failure that we do not know for {who}{tries}")),
            format!("{stop} Tell whoever runs the fax bridge."),
        ),
        Cause::Cancelled => {
            (not_sent(format!("the fax provider cancelled the fax to {who}, and nobody here had asked for that")), format!("{stop} {again}"))
        }
        Cause::Expired => {
            let why = match &job.hold_sentence {
                Some(sentence) => format!("it was held and nobody released it in time. {}", closed(sentence)),
                None => format!("the time for it was up{tries}."),
            };
            (format!("Expired: the fax to {who} was not sent: {why}"), format!("{stop} {again}"))
        }
        Cause::NotReceived => (
            not_sent(format!("somebody closed the fax to {who} as not delivered")),
            format!("{stop} {again}"),
        ),
        Cause::Unclear => (
            format!("Unclear: we do not know whether the fax to {who} arrived, and nobody could find out."),
            format!(
                "It will not be sent again by itself, because it may have arrived. Ask the recipient; if it did not \
                 arrive, {anew}."
            ),
        ),
    }
}

/// Some pages may be lying at the far end.
fn partly(job: &JobAccount, who: &str, next: &str) -> (String, String) {
    let through =
        job.attempts.iter().filter_map(|attempt| attempt.pages_sent).max().filter(|pages| *pages > 0);
    let of = job.pages.map_or(String::new(), |pages| format!(" of {pages}"));
    let what = match through {
        Some(1) => format!("page 1{of} is through, the rest is not"),
        Some(pages) => format!("pages 1-{pages}{of} are through, the rest is not"),
        None => format!("some pages{of} may be through, the rest is not"),
    };
    (format!("Partly sent: the connection to {who} broke; {what}."), next.to_owned())
}

fn held(hold: Hold, until: Timestamp, job: &JobAccount, times: &Times) -> (String, String) {
    let who = whom(job);
    let why = job.hold_sentence.as_deref().map(closed).unwrap_or_else(|| hold_sentence(hold).to_owned());
    let id = job.job;
    let expires = format!("Otherwise it expires unsent at {}.", times.full(until));
    match hold {
        Hold::PartlySent => {
            let next = format!(
                "It is not sent again by itself, because pages would lie there twice. Ask the recipient what arrived, then \
                 tell whoever runs the fax bridge whether to send job {id} again, whole, or to close it. Without an answer \
                 it is closed as failed at {}.",
                times.full(until)
            );
            let (what, next) = partly(job, &who, &next);
            (format!("Held. {what}"), next)
        }
        Hold::Unclear => (
            format!("Held: we do not know whether the fax to {who} arrived. The fax provider cannot say."),
            format!(
                "It is not sent again by itself, because it may have arrived. Ask the recipient, then tell whoever runs the \
                 fax bridge whether job {id} arrived. Without an answer it is closed as unclear at {}.",
                times.full(until)
            ),
        ),
        Hold::Unverified | Hold::ExpiredEntry | Hold::Suspended => (
            format!("Held: the fax to {who} was not sent. {why}"),
            format!(
                "It goes out once the number is verified and job {id} is released: ask whoever keeps your register of fax \
                 numbers. {expires}"
            ),
        ),
        Hold::UnknownRecipient => (
            format!("Held: the fax was not sent. {why}"),
            format!(
                "Send it again to a recipient of the register, or ask whoever keeps it to add this one. {expires}"
            ),
        ),
        Hold::BadNumber => (
            format!("Held: the fax was not sent. {why}"),
            format!("Send it again with the whole number, + and country code first. {expires}"),
        ),
        Hold::Part => (
            format!("Held: the fax to {who} was not sent. {why}"),
            format!("Nothing of it is sent without the rest. Send it again with that put right. {expires}"),
        ),
        Hold::Cover => (
            format!("Held: the fax to {who} was not sent. {why}"),
            format!(
                "Send it again with that changed, or ask whoever runs the fax bridge to release job {id} if it is right as \
                 it is. {expires}"
            ),
        ),
        Hold::Proof => (
            format!("Held: the fax to {who} was not sent. {why}"),
            format!(
                "Whoever runs the fax bridge can release job {id} once it is certain that the mail is yours as it is. {expires}"
            ),
        ),
        Hold::UnknownCause | Hold::Account => (
            format!("Held: the fax to {who} was not sent. {why}"),
            format!(
                "Whoever runs the fax bridge has to look at job {id}; there is nothing for you to do. {expires}"
            ),
        ),
        Hold::Person => (
            format!("Held: the fax to {who} was not sent. {why}"),
            format!("It goes out once job {id} is released; do not send it again meanwhile. {expires}"),
        ),
    }
}

/// Why a Job is held, where the hold itself brings no sentence.
#[must_use]
pub fn hold_sentence(hold: Hold) -> &'static str {
    match hold {
        Hold::Unverified => "Its number is not verified.",
        Hold::ExpiredEntry => "The verification of its number has expired.",
        Hold::Suspended => "Its number is suspended.",
        Hold::UnknownRecipient => "The register has no such recipient.",
        Hold::BadNumber => "What was written is not a number that can be dialled.",
        Hold::Part => "One of its documents cannot be made into pages.",
        Hold::Cover => "Its cover sheet would show what must not be on one, or cannot be printed.",
        Hold::PartlySent => "Some pages may have been sent.",
        Hold::Unclear => "Nobody can tell whether it was sent.",
        Hold::UnknownCause => "The fax provider reported a failure that we do not know.",
        Hold::Account => "The fax provider did not let us send: our account with it has a problem.",
        Hold::Proof => "What proves its sender does not cover all of the mail.",
        Hold::Person => "Somebody held it.",
    }
}

/// What came of a wish to cancel while a call may have been under way.
pub(super) fn cancel_words(wish: CancelWish) -> &'static str {
    match wish {
        CancelWish::Wished => "asked for; the fax provider had not been told when it ended",
        CancelWish::Stopped => "asked for; the fax provider stopped it in time",
        CancelWish::Asked => "asked for; the fax provider noted it",
        CancelWish::TooLate => "asked for, but it was too late",
        CancelWish::NotThere => "asked for, but the fax provider says that it has no such fax",
        CancelWish::Cannot => "asked for, but the fax provider cannot take back what it has",
    }
}

/// The cause of one Attempt, in a few words.
#[must_use]
pub fn cause_words(cause: Cause) -> &'static str {
    match cause {
        Cause::Busy => "busy",
        Cause::NoAnswer => "no answer",
        Cause::Voice => "a person or a voice mailbox answered",
        Cause::NotAFax => "no fax machine answered",
        Cause::NotInService => "number not in service",
        Cause::Blocked => "calls refused",
        Cause::NumberRefused => "number refused as no telephone number, nobody was called",
        Cause::LineTrouble => "connection broke before a page was through",
        Cause::PartlySent => "connection broke after some pages",
        Cause::DocumentRefused => "document refused by the provider",
        Cause::RateLimited => "provider asked us to slow down",
        Cause::ProviderTrouble => "provider out of order, nothing sent",
        Cause::NotTaken => "answer lost, fax not taken",
        Cause::AccountTrouble => "problem with our account at the provider",
        Cause::Cancelled => "cancelled",
        Cause::Expired => "time was up",
        Cause::Unknown => "failure of an unknown kind",
        Cause::Unclear => "unclear whether it was sent",
        Cause::NotReceived => "not received, as a person found out",
    }
}

/// What an Attempt came to, in a few words.
pub(super) fn outcome_words(attempt: &AttemptAccount) -> &'static str {
    match (attempt.outcome.as_deref(), attempt.cause) {
        (Some("delivered"), _) => "delivered",
        (_, Some(cause)) => cause_words(cause),
        (Some("unclear"), None) => cause_words(Cause::Unclear),
        (Some(_), None) => "not delivered",
        (None, None) => "not ended yet",
    }
}

/// Recipient and number, as far as they are known.
pub(super) fn whom(job: &JobAccount) -> String {
    match (&job.recipient, &job.number) {
        (Some((_, name)), Some(number)) => format!("{name} at {}", number_words(number)),
        (Some((_, name)), None) => name.clone(),
        (None, Some(number)) => format!("the number {}", number_words(number)),
        (None, None) => "its recipient".to_owned(),
    }
}

/// The number, with the recipient's name beside it.
fn number_of(job: &JobAccount) -> String {
    match (&job.recipient, &job.number) {
        (Some((_, name)), Some(number)) => format!("the number {} of {name}", number_words(number)),
        _ => whom(job),
    }
}

/// ` (4 tries until 14:20 EST)`; empty where nothing was tried.
fn tries(cause: Cause, job: &JobAccount, times: &Times) -> String {
    let last = job.attempts.iter().filter_map(|attempt| attempt.ended_at).max();
    let other = job.attempts.iter().any(|attempt| attempt.cause != Some(cause));
    match (job.attempts.len(), last) {
        (0, _) => String::new(),
        (1, Some(at)) => format!(" (1 try, at {})", times.short(at)),
        // "Did not answer (4 tries)" would be false where two of the four found it busy.
        (n, Some(at)) if other => format!(" at the last of {n} tries (until {})", times.short(at)),
        (n, Some(at)) => format!(" ({n} tries until {})", times.short(at)),
        (n, None) => format!(" ({n} tries)"),
    }
}

/// How this sender sends anew. The same file again would be recognised as the one that came before.
fn again(account: &Account) -> &'static str {
    if account.source.kind().brings_drops() { "drop it again under another name" } else { "send it again" }
}

fn upper(sentence: &str) -> String {
    let mut letters = sentence.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

/// With a full stop at the end.
fn closed(sentence: &str) -> String {
    let sentence = sentence.trim();
    if sentence.ends_with(['.', '!', '?']) { sentence.to_owned() } else { format!("{sentence}.") }
}
