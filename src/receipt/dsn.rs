//! What a mail's client asked for by DSN parameters (RFC 3461), answered in that shape (RFC 3464, RFC 6522).
//!
//! The receipt stays one mail with its text for people; where somebody asked to be told of failure (or success) and that is how
//! it ended, the mail is a `multipart/report` around that text, and mail programs show it as what it is. Each envelope recipient
//! that asked is told of by the address that was written. RFC 3464 knows no address type for telephones that a mail system
//! understands, so it is `rfc822`.
//!
//! `NOTIFY=NEVER` is kept (RFC 3461, section 4.1): no mail goes out about that recipient, no notice and no receipt; the signed
//! record of it is made all the same. `RET=FULL` is not: documents never travel back, nor does the subject. What stands for the
//! mail is its Message-ID alone.

use jiff::Timestamp;
use lettre::message::header::ContentType;
use lettre::message::{MultiPart, SinglePart};

use super::mail::thread_id;
use super::words::cause_words;
use super::{Account, AccountVerdict, JobAccount, ReceiptError};
use crate::job::{Cause, JobState};
use crate::sealed::{Dsn, DsnRecipient};
use crate::store::AnswerKind;

/// How much of an answer the mail's client does not want.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Silence {
    /// Nothing was said against it.
    None,
    /// Some of its recipients are not to be told of.
    Partly,
    /// None of them is.
    Wholly,
}

impl Account {
    /// How much of the answer must not be mailed.
    #[must_use]
    pub fn silence(&self) -> Silence {
        let (Some(dsn), false) = (&self.dsn, matches!(self.verdict, AccountVerdict::Command { .. })) else {
            return Silence::None;
        };
        let silent = match &self.verdict {
            // A refusal is about all recipients of the mail.
            AccountVerdict::Refused { .. } | AccountVerdict::Command { .. } => {
                return match dsn.recipients.iter().all(|recipient| recipient.never) {
                    true if !dsn.recipients.is_empty() => Silence::Wholly,
                    _ => Silence::None,
                };
            }
            AccountVerdict::Jobs => self.jobs.iter().filter(|job| is_silent(dsn, job)).count(),
        };
        match silent {
            0 => Silence::None,
            n if n == self.jobs.len() => Silence::Wholly,
            _ => Silence::Partly,
        }
    }

    /// The same without the Jobs that must not be told of by mail.
    #[must_use]
    pub fn without_silent(&self) -> Account {
        let mut account = self.clone();
        if let Some(dsn) = &self.dsn {
            account.jobs.retain(|job| !is_silent(dsn, job));
        }
        account
    }
}

/// Whether nobody who asked for this Job wants to hear of it.
fn is_silent(dsn: &Dsn, job: &JobAccount) -> bool {
    !job.to.is_empty() && job.to.iter().all(|to| asked(dsn, to).is_some_and(|recipient| recipient.never))
}

fn asked<'a>(dsn: &'a Dsn, to: &str) -> Option<&'a DsnRecipient> {
    dsn.recipients.iter().find(|recipient| recipient.to.eq_ignore_ascii_case(to))
}

/// How it ended for one recipient.
struct End {
    delivered: bool,
    status: &'static str,
    diagnostic: String,
    last_attempt: Option<Timestamp>,
}

/// The body of the `message/delivery-status` part, where anybody asked for it; `host` reports at `now`.
pub(super) fn report(account: &Account, kind: AnswerKind, host: &str, now: Timestamp) -> Option<String> {
    let dsn = account.dsn.as_ref().filter(|_| kind == AnswerKind::Final)?;
    let mut recipients = Vec::new();
    for recipient in dsn.recipients.iter().filter(|recipient| !recipient.never) {
        let Some(end) = end(account, recipient) else { continue };
        if (end.delivered && recipient.success) || (!end.delivered && recipient.failure) {
            recipients.push(of_recipient(recipient, &end)?);
        }
    }
    if recipients.is_empty() {
        return None;
    }
    let mut report = format!("Reporting-MTA: dns; {host}\r\n");
    // As it was before its encoding for MAIL (RFC 3461, section 4.4), like the address of ORCPT below.
    if let Some(id) = dsn.envelope_id.as_deref().and_then(one_line).filter(|id| id.is_ascii()) {
        report.push_str(&format!("Original-Envelope-Id: {id}\r\n"));
    }
    report.push_str(&format!("Arrival-Date: {}\r\n", date(account.accepted_at.min(now))));
    for recipient in recipients {
        report.push_str("\r\n");
        report.push_str(&recipient);
    }
    Some(report)
}

/// The fields of one recipient; `None` where an address is none that can stand in a field.
fn of_recipient(recipient: &DsnRecipient, end: &End) -> Option<String> {
    let mut fields = String::new();
    if let Some(original) = recipient.original.as_deref().and_then(one_line) {
        let (kind, address) = original.split_once(';').unwrap_or(("rfc822", original));
        fields.push_str(&format!("Original-Recipient: {};{}\r\n", kind.trim(), in_ascii(address.trim())));
    }
    let to = one_line(&recipient.to)?;
    let kind = if to.is_ascii() { "rfc822" } else { "utf-8" };
    fields.push_str(&format!("Final-Recipient: {kind};{}\r\n", in_ascii(to)));
    fields.push_str(&format!("Action: {}\r\n", if end.delivered { "delivered" } else { "failed" }));
    fields.push_str(&format!("Status: {}\r\n", end.status));
    fields.push_str(&format!("Diagnostic-Code: X-Fax; {}\r\n", end.diagnostic));
    if let Some(at) = end.last_attempt {
        fields.push_str(&format!("Last-Attempt-Date: {}\r\n", date(at)));
    }
    Some(fields)
}

/// How it ended for `recipient`; `None` where that cannot be told.
fn end(account: &Account, recipient: &DsnRecipient) -> Option<End> {
    if let AccountVerdict::Refused { .. } = account.verdict {
        let diagnostic = "nothing of the mail could be faxed".to_owned();
        return Some(End { delivered: false, status: "5.6.0", diagnostic, last_attempt: None });
    }
    let job =
        account.jobs.iter().find(|job| job.to.iter().any(|to| to.eq_ignore_ascii_case(&recipient.to)))?;
    let last_attempt = job.attempts.iter().filter_map(|attempt| attempt.ended_at).max();
    let end = |delivered, status, words: &str| {
        let diagnostic = format!("{words} (job {})", job.job);
        Some(End { delivered, status, diagnostic, last_attempt })
    };
    match &job.state {
        JobState::Delivered => end(true, "2.0.0", "delivered"),
        JobState::Failed { cause } => end(false, status(*cause), cause_words(*cause)),
        JobState::Cancelled => end(false, "5.0.0", "cancelled"),
        _ => None,
    }
}

/// RFC 3463, sections 3.2 to 3.8: the code that says most without saying too much.
fn status(cause: Cause) -> &'static str {
    match cause {
        // "Not answered, because the remote system was busy or unable to take a call" is one code.
        Cause::Busy | Cause::NoAnswer => "5.4.1",
        // "Does not exist, or is incapable of accepting mail."
        Cause::Voice | Cause::NotAFax | Cause::NotInService => "5.1.2",
        // "Bad destination mailbox address syntax."
        Cause::NumberRefused => "5.1.3",
        Cause::Blocked => "5.7.1",
        Cause::LineTrouble | Cause::PartlySent => "5.4.2",
        Cause::DocumentRefused => "5.6.1",
        Cause::RateLimited | Cause::ProviderTrouble | Cause::NotTaken => "5.3.0",
        Cause::AccountTrouble => "5.3.5",
        Cause::Expired => "5.4.7",
        Cause::Cancelled | Cause::Unknown | Cause::Unclear | Cause::NotReceived => "5.0.0",
    }
}

/// The whole `multipart/report` around the words for people.
pub(super) fn shaped(
    words: MultiPart,
    report: String,
    stem: &str,
    account: &Account,
) -> Result<MultiPart, ReceiptError> {
    let kind = |text: &str| ContentType::parse(text).map_err(|_| ReceiptError::Signing);
    let outer =
        kind(&format!("multipart/report; report-type=delivery-status; boundary=\"=_report.{stem}\""))?;
    let id = account.original_message_id.as_deref().and_then(thread_id);
    let original = id.map_or(String::new(), |id| format!("Message-ID: {id}\r\n"));
    Ok(MultiPart::builder()
        .header(outer)
        .multipart(words)
        .singlepart(SinglePart::builder().header(kind("message/delivery-status")?).body(report))
        .singlepart(SinglePart::builder().header(kind("text/rfc822-headers")?).body(original)))
}

/// RFC 5322, section 3.3.
fn date(at: Timestamp) -> String {
    at.strftime("%a, %d %b %Y %H:%M:%S +0000").to_string()
}

/// What may stand in a field as it is: one short line of visible characters.
fn one_line(text: &str) -> Option<&str> {
    let text = text.trim();
    (!text.is_empty() && text.len() <= 500 && !text.chars().any(char::is_control)).then_some(text)
}

/// Characters beyond ASCII as RFC 6533, section 3 writes them where only ASCII may stand.
fn in_ascii(address: &str) -> String {
    address.chars().fold(String::new(), |mut written, c| {
        if c.is_ascii() {
            written.push(c);
        } else {
            written.push_str(&format!("\\x{{{:X}}}", u32::from(c)));
        }
        written
    })
}

#[cfg(test)]
mod tests;
