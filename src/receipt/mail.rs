//! The answer as a mail in the sender's thread.
//!
//! It must never start a loop or a bounce: the envelope sender is null, and `Auto-Submitted` says that a machine wrote it
//! (RFC 3834, section 5). The Message-ID follows from the Submission, so that an answer that was sent twice, because the
//! relay's yes was lost, is one answer to whoever compares.

use aws_lc_rs::digest::{SHA256, digest};
use jiff::Timestamp;
use lettre::Address;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message, MultiPart, SinglePart};

use super::letter::ReceiptLetter;
use super::{Account, AccountVerdict, ReceiptError, dsn, html, relay, text};
use crate::store::AnswerKind;

/// From whom, to whom and when.
#[derive(Clone, PartialEq, Eq)]
pub struct Post {
    /// Address of the From line, with or without a name; the organization's name stands in for none.
    pub from: String,
    /// Address of the sender who gets the answer.
    pub to: String,
    /// Where it can be answered with a command.
    pub reply_to: Option<String>,
    /// Our host name, for the Message-ID.
    pub host: String,
    /// Time of the Date line.
    pub at: Timestamp,
}

impl std::fmt::Debug for Post {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Post").field("host", &self.host).field("at", &self.at).finish_non_exhaustive()
    }
}

/// A mail, ready to leave.
#[derive(Clone, PartialEq, Eq)]
pub struct Mail {
    /// The envelope recipient. The envelope sender is null.
    pub to: String,
    /// Its Message-ID, with the angle brackets.
    pub message_id: String,
    /// Header and body.
    pub bytes: Vec<u8>,
}

impl std::fmt::Debug for Mail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mail")
            .field("message_id", &self.message_id)
            .field("bytes", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

/// Builds the mail.
pub(super) fn build(
    account: &Account,
    kind: AnswerKind,
    letter: &ReceiptLetter,
    post: &Post,
) -> Result<Mail, ReceiptError> {
    let mut from: Mailbox = post.from.parse().map_err(|_| ReceiptError::Address("From"))?;
    from.name.get_or_insert_with(|| one_line(&account.organization));
    let to: Address = post.to.trim().parse().map_err(|_| ReceiptError::Address("sender's"))?;
    let plain = text::render(letter);
    let stem = match kind {
        AnswerKind::Final => format!("{}.final", account.submission),
        AnswerKind::Accepted => format!("{}.accepted", account.submission),
        AnswerKind::Command => match &account.verdict {
            AccountVerdict::Command { id, .. } => format!("{id}.command"),
            _ => format!("{}.command", account.submission),
        },
        // There may be several notices on the way; each has an id of its own, and the same one has the same.
        AnswerKind::Held => format!("{}.held.{}", account.submission, short_digest(plain.as_bytes())),
        // It may come again and again, each time with the same answer.
        AnswerKind::Again => format!("{}.again.{}", account.submission, post.at.as_millisecond()),
    };
    let host: String = post.host.chars().filter(|c| c.is_ascii_alphanumeric() || ".-".contains(*c)).collect();
    let host = if host.is_empty() { "localhost" } else { &host };
    let message_id = format!("<{stem}@{host}>");
    let mut builder = Message::builder()
        .from(from)
        .to(Mailbox::new(None, to.clone()))
        .date(post.at.into())
        .subject(letter.subject.clone())
        .raw_header(header("Message-ID", &message_id))
        .raw_header(header("Auto-Submitted", "auto-replied"))
        // Exchange asks for this one before it sends its own automatic answers.
        .raw_header(header("X-Auto-Response-Suppress", "All"))
        // By this a bridge knows a bridge, whatever a mail system on the way made of the other headers.
        .raw_header(header("X-Faxbridge", "receipt"))
        .envelope(relay::from_nobody(&to)?);
    if let Some(original) = account.original_message_id.as_deref().and_then(thread_id) {
        builder =
            builder.raw_header(header("In-Reply-To", original)).raw_header(header("References", original));
    }
    if let Some(reply_to) = &post.reply_to {
        let reply_to: Address = reply_to.parse().map_err(|_| ReceiptError::Address("Reply-To"))?;
        builder = builder.reply_to(Mailbox::new(None, reply_to));
    }
    let words = MultiPart::alternative()
        // Not by chance: the same answer is the same bytes.
        .boundary(format!("=_{stem}"))
        .singlepart(SinglePart::plain(plain))
        .singlepart(SinglePart::html(html::render(letter)));
    let message = builder.multipart(match dsn::report(account, kind, host, post.at) {
        Some(report) => dsn::shaped(words, report, &stem, account)?,
        None => words,
    })?;
    Ok(Mail { to: to.to_string(), message_id, bytes: message.formatted() })
}

/// The Message-ID of the sender's mail, if it is fit for a header of ours: one line, nothing but an id in angle brackets.
pub(super) fn thread_id(original: &str) -> Option<&str> {
    let original = original.trim();
    let inner = original.strip_prefix('<')?.strip_suffix('>')?;
    let fit = !inner.is_empty()
        && original.len() <= 900
        && inner.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'<' && byte != b'>');
    fit.then_some(original)
}

/// A header whose value is known to be one line of ASCII; an id must not be folded or encoded.
fn header(name: &'static str, value: &str) -> HeaderValue {
    let name = HeaderName::new_from_ascii_str(name);
    HeaderValue::dangerous_new_pre_encoded(name, value.to_owned(), value.to_owned())
}

fn one_line(text: &str) -> String {
    text.split(|c: char| c.is_control()).collect::<Vec<_>>().join(" ").trim().to_owned()
}

fn short_digest(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref().iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
