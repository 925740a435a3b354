//! How an answer leaves: as a mail in the sender's thread, through the relay of the configuration.
//!
//! It must never start a loop or a bounce: the envelope sender is null, and `Auto-Submitted` says that a machine wrote it
//! (RFC 3834, section 5). The Message-ID follows from the Submission, so that an answer that was sent twice, because the
//! relay's yes was lost, is one answer to whoever compares.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use jiff::Timestamp;
use lettre::address::Envelope;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message, MultiPart, SinglePart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{Address, AsyncSmtpTransport, AsyncTransport, Tokio1Executor};

use super::letter::Letter;
use super::{Account, Kind, ReceiptError, html, text};
use crate::config::RelayTls;

/// From whom, to whom and when.
#[derive(Clone, PartialEq, Eq)]
pub struct Post {
    /// Address of the From line, with or without a name; the organization's name stands in for none.
    pub from: String,
    /// Address of the sender who gets the answer.
    pub to: String,
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
    kind: Kind,
    letter: &Letter,
    post: &Post,
) -> Result<Mail, ReceiptError> {
    let mut from: Mailbox = post.from.parse().map_err(|_| ReceiptError::Address("From"))?;
    from.name.get_or_insert_with(|| one_line(&account.organization));
    let to: Address = post.to.trim().parse().map_err(|_| ReceiptError::Address("sender's"))?;
    let plain = text::render(letter);
    let stem = match kind {
        Kind::Final => format!("{}.final", account.submission),
        // There may be several notices on the way; each has an id of its own, and the same one has the same.
        Kind::Held => format!("{}.held.{}", account.submission, short_digest(plain.as_bytes())),
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
        .envelope(envelope(&to)?);
    if let Some(original) = account.original_message_id.as_deref().and_then(thread_id) {
        builder =
            builder.raw_header(header("In-Reply-To", original)).raw_header(header("References", original));
    }
    let message = builder.multipart(
        MultiPart::alternative()
            // Not by chance: the same answer is the same bytes.
            .boundary(format!("=_{stem}"))
            .singlepart(SinglePart::plain(plain))
            .singlepart(SinglePart::html(html::render(letter))),
    )?;
    Ok(Mail { to: to.to_string(), message_id, bytes: message.formatted() })
}

/// The Message-ID of the sender's mail, if it is fit for a header of ours: one line, nothing but an id in angle brackets.
fn thread_id(original: &str) -> Option<&str> {
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

fn envelope(to: &Address) -> Result<Envelope, ReceiptError> {
    Ok(Envelope::new(None, vec![to.clone()])?)
}

fn one_line(text: &str) -> String {
    text.split(|c: char| c.is_control()).collect::<Vec<_>>().join(" ").trim().to_owned()
}

fn short_digest(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref().iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

/// The relay that takes our mail.
#[derive(Clone)]
pub struct Relay {
    transport: AsyncSmtpTransport<Tokio1Executor>,
}

impl Relay {
    /// For the relay at `address` (`host:port`). `hello` is our host name; `login` is name and password.
    ///
    /// # Errors
    /// A sentence for the operator when the address is none, or the system's certificates cannot be read.
    pub fn new(
        address: &str,
        tls: RelayTls,
        login: Option<(String, String)>,
        hello: &str,
    ) -> Result<Self, RelayError> {
        let (host, port) = host_and_port(address)
            .ok_or_else(|| RelayError::later(format!("the relay {address:?} is not written as host:port")))?;
        let parameters = || {
            TlsParameters::new(host.clone()).map_err(|error| {
                RelayError::later(format!("TLS for the relay cannot be set up: {}", chain(&error)))
            })
        };
        let tls = match tls {
            RelayTls::None => Tls::None,
            RelayTls::Starttls => Tls::Required(parameters()?),
            RelayTls::Implicit => Tls::Wrapper(parameters()?),
        };
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host)
            .port(port)
            .tls(tls)
            .hello_name(ClientId::Domain(hello.to_owned()))
            .timeout(Some(STEP));
        if let Some((name, password)) = login {
            builder = builder.credentials(Credentials::new(name, password));
        }
        Ok(Relay { transport: builder.build() })
    }

    /// Greets the relay and signs in, for `faxbridge check`; sends nothing.
    ///
    /// # Errors
    /// [`RelayError`] with what the operator has to mend.
    pub async fn check(&self) -> Result<(), RelayError> {
        match tokio::time::timeout(STEP, self.transport.test_connection()).await {
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false)) => Err(RelayError::later("the relay breaks off after its greeting".to_owned())),
            Ok(Err(error)) => Err(classify(&error)),
            Err(_) => Err(RelayError::later(format!("the relay did not answer within {} s", STEP.as_secs()))),
        }
    }

    /// Sends a mail to `to`, from nobody. When it returns, the relay has taken it.
    ///
    /// # Errors
    /// [`RelayError`], which tells whether another try can succeed.
    pub async fn send(&self, to: &str, bytes: &[u8]) -> Result<(), RelayError> {
        let to: Address = to
            .parse()
            .map_err(|_| RelayError::permanent("the address for the receipt is not a mail address".into()))?;
        let envelope = envelope(&to)
            .map_err(|_| RelayError::permanent("the address for the receipt is not a mail address".into()))?;
        match tokio::time::timeout(WHOLE, self.transport.send_raw(&envelope, bytes)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(classify(&error)),
            Err(_) => {
                Err(RelayError::later(format!("the relay did not finish within {} s", WHOLE.as_secs())))
            }
        }
    }
}

impl std::fmt::Debug for Relay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Relay")
    }
}

/// Why the relay did not take a mail.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{sentence}")]
pub struct RelayError {
    /// Whether the same mail will never be taken.
    pub permanent: bool,
    /// For the operator; holds no address.
    pub sentence: String,
}

impl RelayError {
    fn permanent(sentence: String) -> Self {
        RelayError { permanent: true, sentence }
    }

    fn later(sentence: String) -> Self {
        RelayError { permanent: false, sentence }
    }
}

/// Only a refusal of this very mail is for good. A refused sign-in is the operator's to mend, and then the mail goes out.
fn classify(error: &lettre::transport::smtp::Error) -> RelayError {
    let Some(code) = error.status() else {
        return RelayError::later(format!("the relay could not be reached or broke off: {}", chain(error)));
    };
    let code = code.to_string();
    // The relay's text repeats addresses; its codes say enough.
    let text = chain(error);
    let enhanced =
        text.split(|c: char| c.is_whitespace() || c == ':').find(|word| is_enhanced(word)).unwrap_or("");
    let reply = format!("{code} {enhanced}");
    let reply = reply.trim_end();
    match code.as_str() {
        "530" | "534" | "535" | "538" => {
            RelayError::later(format!("the relay refuses our sign-in ({reply})"))
        }
        _ if error.is_permanent() => {
            RelayError::permanent(format!("the relay refused the receipt for good ({reply})"))
        }
        _ => RelayError::later(format!("the relay refused the receipt for now ({reply})")),
    }
}

/// `5.1.1` and the like (RFC 3463).
fn is_enhanced(word: &str) -> bool {
    let parts: Vec<&str> = word.split('.').collect();
    matches!(parts.as_slice(), ["2" | "4" | "5", subject, detail]
        if [subject, detail].iter().all(|part| (1..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit())))
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let next = error.to_string();
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        source = error.source();
    }
    text
}

fn host_and_port(address: &str) -> Option<(String, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let port = port.parse().ok().filter(|port| *port != 0)?;
    (!host.is_empty()).then(|| (host.to_owned(), port))
}

/// For one step of the dialogue, and for all of it.
const STEP: Duration = Duration::from_secs(60);
const WHOLE: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests;
