//! The answer as a structure, from which text and HTML are rendered: both say the same.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::words::{self, Said, State, Times};
use super::{Account, AccountVerdict, AttemptAccount, Deletion, JobAccount, PartAccount, Post};
use crate::job::{Cause, JobState, SubmissionId, number_words};
use crate::sealed::CommandOutcome;
use crate::store::{AnswerKind, ProviderCopy};
use crate::text::counted;

/// Parts of a mail that are told one by one.
const TOLD_PARTS: usize = 20;

/// What is said of a file that came again.
pub(super) const AGAIN: &str = "This file came before, and is not faxed a second time.";

/// The same of a mail that came another way, or to another address of the same telephone.
pub(super) const SAME_MAIL: &str = "This mail came before, and is not faxed a second time.";

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ReceiptLetter {
    pub(super) subject: String,
    /// The one sentence that says it all.
    pub(super) headline: String,
    pub(super) tone: Tone,
    pub(super) sections: Vec<Section>,
    /// Small print.
    pub(super) footer: Vec<String>,
}

/// How it looks at a glance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Good,
    Wait,
    Bad,
}

/// What is said about one Job, or about a refused Submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Section {
    /// With several Jobs: what happened to this one. Empty where the headline says it.
    pub(super) title: String,
    pub(super) tone: Tone,
    /// What happens next and what to do.
    pub(super) next: String,
    pub(super) facts: Vec<(&'static str, String)>,
    /// What was handed in, part by part.
    pub(super) parts: Vec<String>,
    /// What its sender should know.
    pub(super) notes: Vec<String>,
    pub(super) attempts: Vec<String>,
    pub(super) checks: Vec<(bool, String)>,
}

/// What to say, by mail where there is a `post`: only a mail can be answered.
pub(super) fn letter(account: &Account, kind: AnswerKind, post: Option<&Post>) -> ReceiptLetter {
    let letter = about(account, kind, post);
    // The rest is what became of the first one.
    let (what, sentence) = match kind {
        AnswerKind::Again => ("file", AGAIN),
        _ if account.brought_nothing_new() => ("mail", SAME_MAIL),
        _ => return letter,
    };
    let headline = format!("{sentence} {}", letter.headline);
    ReceiptLetter { subject: format!("The same {what} again. {}", letter.subject), headline, ..letter }
}

fn about(account: &Account, kind: AnswerKind, post: Option<&Post>) -> ReceiptLetter {
    let times = Times::of(account);
    let answerable = post.is_some_and(|post| post.reply_to.is_some());
    let now = post.map_or(account.accepted_at, |post| post.at);
    let footer = footer(account, &times, answerable);
    if let AccountVerdict::Refused { sentence } = &account.verdict {
        let section = Section {
            title: String::new(),
            tone: Tone::Bad,
            next: match account.left {
                true => "Nothing of it was sent. It lies where it was.",
                false => "Nothing of it was sent, and nothing of it will be.",
            }
            .into(),
            facts: vec![("Submission", account.submission.to_string())],
            parts: Vec::new(),
            notes: Vec::new(),
            attempts: Vec::new(),
            checks: Vec::new(),
        };
        let headline = format!("Not sent: {}", clean(sentence));
        let subject = "Fax not sent: it could not be accepted".to_owned();
        return ReceiptLetter { subject, headline, tone: Tone::Bad, sections: vec![section], footer };
    }
    let about = |job| match kind {
        AnswerKind::Accepted => words::accepted(job, now, &times),
        _ => words::about(job, account, &times),
    };
    let mut told: Vec<(&JobAccount, Said)> = account.jobs.iter().map(|job| (job, about(job))).collect();
    match kind {
        AnswerKind::Held => {
            // A notice is about what is held; the rest is told when it has ended.
            let held = told.iter().any(|(_, said)| said.state == State::Held);
            told.retain(|(_, said)| !held || said.state == State::Held);
        }
        // Each of those has a notice of its own.
        AnswerKind::Accepted => told.retain(|(_, said)| said.state != State::Held),
        AnswerKind::Final | AnswerKind::Command | AnswerKind::Again => {}
    }
    let (headline, subject) = match told.as_slice() {
        [] if kind == AnswerKind::Command => (String::new(), "Fax".to_owned()),
        // Each of them has come to wait for a person meanwhile, and a notice of its own says why.
        [] if kind == AnswerKind::Accepted => (
            "Accepted. It waits for a person now, as another mail says.".to_owned(),
            "Fax accepted".to_owned(),
        ),
        [(job, said)] if kind == AnswerKind::Accepted => (clean(&said.what), subject_of(job, "Fax accepted")),
        _ if kind == AnswerKind::Accepted => {
            (format!("{} faxes were accepted.", told.len()), format!("{} faxes accepted", told.len()))
        }
        [(job, said)] => (clean(&said.what), subject(job, said.state)),
        [] => ("Nothing was sent: no fax came of it.".to_owned(), "Fax not sent".to_owned()),
        _ => {
            let counts = counts(&told);
            (format!("{} faxes: {counts}.", told.len()), format!("{} faxes: {counts}", told.len()))
        }
    };
    let alone = told.len() == 1 && kind != AnswerKind::Command;
    let (headline, subject) = match &account.verdict {
        AccountVerdict::Command { outcome, sentence, .. } => (clean(sentence), commanded(*outcome, &subject)),
        AccountVerdict::Jobs | AccountVerdict::Refused { .. } => (headline, subject),
    };
    let sections = told
        .iter()
        .enumerate()
        .map(|(nth, (job, said))| Section {
            title: if alone { String::new() } else { format!("{}. {}", nth + 1, clean(&said.what)) },
            tone: tone(said.state),
            next: clean(&match words::answer(job, said.state, told.len() > 1) {
                // An answer is about what came as this mail.
                Some(answer) if answerable && job.before.is_none() => format!("{} {answer}", said.next),
                _ => said.next.clone(),
            }),
            facts: facts(job),
            parts: parts(&job.parts),
            notes: job.before.iter().map(before).chain(job.warnings.iter().map(|note| clean(note))).collect(),
            attempts: job.attempts.iter().map(|attempt| attempt_line(attempt, job, &times)).collect(),
            // Of a fax that has only just been accepted, half of that is still to come.
            checks: job
                .checklist
                .iter()
                .filter(|_| kind != AnswerKind::Accepted)
                .map(|check| (check.ok, clean(&format!("{}: {}", check.item, check.note))))
                .collect(),
        })
        .collect();
    let tone = told.iter().map(|(_, said)| said.state).max().map_or(Tone::Wait, tone);
    ReceiptLetter { subject: clean(&subject), headline, tone, sections, footer }
}

fn tone(state: State) -> Tone {
    match state {
        State::Delivered => Tone::Good,
        State::UnderWay | State::Held | State::Cancelled => Tone::Wait,
        State::Expired | State::Failed | State::Unclear => Tone::Bad,
    }
}

/// `Fax delivered: ...0199, your reference 483920`. The number's tail: a subject is shown on locked screens and in logs.
fn subject(job: &JobAccount, state: State) -> String {
    let what = match state {
        State::Delivered => "Fax delivered",
        State::UnderWay => "Fax under way",
        State::Cancelled => "Fax cancelled",
        State::Expired => "Fax expired unsent",
        State::Failed if job.state == (JobState::Failed { cause: Cause::PartlySent }) => "Fax partly sent",
        State::Failed => "Fax not delivered",
        State::Unclear => "Fax unclear",
        State::Held => "Fax held",
    };
    subject_of(job, what)
}

fn subject_of(job: &JobAccount, what: &str) -> String {
    let to = job.number.as_ref().map(|number| format!("number ending in {}", number.tail()));
    let reference =
        job.reference.as_ref().map(|reference| format!("your reference {}", short(reference, 60)));
    let rest: Vec<String> = to.into_iter().chain(reference).collect();
    if rest.is_empty() { format!("{what}: job {}", job.job) } else { format!("{what}: {}", rest.join(", ")) }
}

/// `Done: Fax cancelled: number ending in 0199`.
fn commanded(outcome: CommandOutcome, subject: &str) -> String {
    match outcome {
        CommandOutcome::Done => format!("Done: {subject}"),
        CommandOutcome::Told => subject.to_owned(),
        CommandOutcome::NotDone => format!("Nothing changed: {subject}"),
    }
}

/// `2 delivered, 1 failed`, the worst last.
fn counts(told: &[(&JobAccount, Said)]) -> String {
    let mut counts = std::collections::BTreeMap::<State, usize>::new();
    for (_, said) in told {
        *counts.entry(said.state).or_default() += 1;
    }
    let counts: Vec<String> =
        counts.iter().map(|(state, n)| format!("{n} {}", state.as_str().replace('_', " "))).collect();
    counts.join(", ")
}

fn facts(job: &JobAccount) -> Vec<(&'static str, String)> {
    let pages = job.pages.map(|pages| match job.cover_pages {
        0 => format!("{pages} (no cover)"),
        1 => format!("{pages} (1 of them the cover)"),
        cover => format!("{pages} ({cover} of them cover)"),
    });
    let recipient = job.recipient.as_ref().map(|(key, name)| format!("{name} ({key})"));
    let once = format!("{} of your mail's mean this number; it is faxed there once", job.to.len());
    [
        ("Your reference", job.reference.clone()),
        ("Recipient", recipient),
        ("Number", job.number.as_ref().map(number_words)),
        ("Addresses", (job.to.len() > 1).then_some(once)),
        ("Pages", pages),
        ("Rule", job.rule.clone()),
        ("Cancelling", job.cancel.map(|wish| words::cancel_words(wish).to_owned())),
        ("Job", Some(job.job.to_string())),
        ("SHA-256 of the PDF", job.sha256.clone()),
    ]
    .into_iter()
    .filter_map(|(label, value)| Some((label, clean(&value?))))
    .collect()
}

/// Of a fax that was made before, of the same mail.
fn before(first: &SubmissionId) -> String {
    format!("The same mail came before, as submission {first}; this number gets it once.")
}

/// `2. PDF: pages 5-7, the same file as 1`.
fn parts(parts: &[PartAccount]) -> Vec<String> {
    let line = |part: &PartAccount| {
        let kind = match part.kind {
            "pdf" => "PDF",
            "html" => "HTML",
            "image" => "picture",
            "other" => "file",
            kind => kind,
        };
        let fate = match (part.pages, &part.left_out) {
            (Some((first, last)), _) if first == last => format!("page {first}"),
            (Some((first, last)), _) => format!("pages {first}-{last}"),
            (None, Some(reason)) => format!("not faxed ({reason})"),
            (None, None) if part.holds => "holds the fax".to_owned(),
            (None, None) => "not faxed".to_owned(),
        };
        let same = part.same_as.map(|n| format!(", the same file as {n}")).unwrap_or_default();
        clean(&format!("{}. {kind}: {fate}{same}", part.n))
    };
    let mut lines: Vec<String> = parts.iter().take(TOLD_PARTS).map(line).collect();
    if parts.len() > TOLD_PARTS {
        lines.push(format!("... and {} more", parts.len().saturating_sub(TOLD_PARTS)));
    }
    lines
}

/// `2. 14:20:05 to 14:22:09 UTC, simulator: delivered, 3 of 3 pages, far end "MERCY RAD"`.
fn attempt_line(attempt: &AttemptAccount, job: &JobAccount, times: &Times) -> String {
    let when = times.span(attempt.started_at, attempt.ended_at);
    let mut line = format!("{}. {when}", attempt.n);
    line.push_str(&format!(", {}: {}", attempt.provider, words::outcome_words(attempt)));
    match (attempt.pages_sent, job.pages) {
        (Some(sent), Some(pages)) => line.push_str(&format!(", {sent} of {}", counted(pages, "page"))),
        (Some(sent), None) => line.push_str(&format!(", {}", counted(sent, "page"))),
        (None, _) => {}
    }
    if let Some(remote) = &attempt.remote_id {
        line.push_str(&format!(", far end {:?}", short(remote, 40)));
    }
    let raw: Vec<String> = [&attempt.raw_code, &attempt.raw_text]
        .into_iter()
        .flatten()
        .map(|raw| short(raw, 200))
        .filter(|raw| !raw.is_empty())
        .collect();
    if !raw.is_empty() {
        line.push_str(&format!(" (provider: {})", raw.join(" ")));
    }
    clean(&line)
}

fn footer(account: &Account, times: &Times, answerable: bool) -> Vec<String> {
    let documents = match account.deletion {
        Deletion::After { minutes } => {
            format!(
                "The documents are kept sealed, and destroyed {} after the last fax has ended.",
                counted(minutes, "minute")
            )
        }
        Deletion::By(at) => format!("The documents are destroyed by {} at the latest.", times.short(at)),
        Deletion::Done(at) => format!("The documents were destroyed at {}.", times.short(at)),
    };
    let accepted = format!(
        "Submission {}, accepted {} from {}, for {}.",
        account.submission,
        times.full(account.accepted_at),
        account.source,
        account.organization
    );
    let machine = if answerable {
        "A machine wrote this. It understands an answer whose first line is one of the words status, cancel, release; nobody reads \
         anything else."
    } else {
        "A machine wrote this; an answer to it is read by nobody."
    };
    let machine = machine.to_owned();
    if matches!(account.verdict, AccountVerdict::Command { .. }) && account.jobs.is_empty() {
        // Nothing is said of a submission that the command was not allowed to be about.
        return vec![machine];
    }
    let mut lines = vec![documents];
    lines.extend(copies(account, times).iter().map(|line| clean(line)));
    lines.extend([clean(&accepted), machine]);
    lines
}

/// What became of the documents that providers were given: one sentence for each provider.
fn copies(account: &Account, times: &Times) -> Vec<String> {
    let mut providers: BTreeMap<&str, (ProviderCopy, Option<Timestamp>)> = BTreeMap::new();
    for attempt in account.jobs.iter().flat_map(|job| &job.attempts) {
        let Some((copy, at)) = attempt.copy else { continue };
        let worst = providers.entry(&attempt.provider).or_insert((copy, at));
        // The order of the words is the order of comfort: one that is still there counts more than all that are gone.
        match (copy, worst.0) {
            (ProviderCopy::Deleted, ProviderCopy::Deleted) => worst.1 = worst.1.max(at),
            (ProviderCopy::Deleted, _) => {}
            (ProviderCopy::There, ProviderCopy::There | ProviderCopy::Kept) => {}
            _ => *worst = (copy, at),
        }
    }
    let sentence = |(name, (copy, at)): (&str, (ProviderCopy, Option<Timestamp>))| match (copy, at) {
        (ProviderCopy::Deleted, Some(at)) => {
            format!("The copy at the fax provider ({name}) was deleted at {}.", times.short(at))
        }
        (ProviderCopy::Deleted, None) => format!("The copy at the fax provider ({name}) was deleted."),
        (ProviderCopy::Kept, _) => {
            format!(
                "The fax provider ({name}) keeps its copy by its own rules: it deletes nothing at our request."
            )
        }
        (ProviderCopy::There, _) => {
            format!(
                "The copy at the fax provider ({name}) is not deleted yet; that is tried until it is done."
            )
        }
    };
    providers.into_iter().map(sentence).collect()
}

/// One line, no control characters: what came from outside must not forge lines of ours.
fn clean(text: &str) -> String {
    text.split(|c: char| c.is_control() || c.is_whitespace() || is_invisible(c))
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

/// Marks that turn the direction of writing make a number read as another one.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

fn short(text: &str, at_most: usize) -> String {
    let text = clean(text);
    match text.char_indices().nth(at_most) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or("")),
        None => text,
    }
}
