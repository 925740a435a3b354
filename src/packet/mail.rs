//! A mail to its parts, with mail-parser behind types of our own, so that a change of parser is a change of this file.
//!
//! The parser is lenient by design: it makes something of everything, and what it makes of a broken structure may lack a
//! part. We must not fax half a mail, so the structure is counted against the raw bytes ([`structure_problem`]): every
//! delimiter line of a multipart must have become a part, and every multipart must be closed.

use std::borrow::Cow;
use std::collections::HashMap;

use mail_parser::decoders::base64::base64_decode;
use mail_parser::decoders::html::html_to_text;
use mail_parser::decoders::quoted_printable::quoted_printable_decode;
use mail_parser::{
    Encoding, HeaderName, HeaderValue, Message, MessageParser, MessagePart, MimeHeaders, PartType,
};

use super::names::{clean_name, one_line};
use super::{Addressee, MailFacts, Rules};

/// Text handed on for the cover.
const TEXT_LIMIT: usize = 8 << 10;
/// HTML looked at for that text; the rest of a longer one is not converted.
const HTML_LIMIT: usize = 256 << 10;

/// Addresses of To and Cc that are looked at.
const MOST_ADDRESSEES: usize = 500;
/// `X-FAX-` header fields that are looked at.
const MOST_FAX_FIELDS: usize = 50;

/// A mail, taken apart.
#[derive(Debug)]
pub(super) struct Mail<'x> {
    pub facts: MailFacts,
    pub text: Option<String>,
    /// Leaves in the order of the mail; empty where `problem` is set.
    pub entities: Vec<Entity<'x>>,
    /// Why the mail as a whole cannot be taken apart.
    pub problem: Option<String>,
}

/// A part that is no container.
#[derive(Debug)]
pub(super) struct Entity<'x> {
    /// File name, cleaned.
    pub name: Option<String>,
    /// Declared type, lower case.
    pub media_type: String,
    pub role: Role,
    /// The decoded bytes.
    pub bytes: Cow<'x, [u8]>,
    /// The transfer encoding could not be undone.
    pub damaged: bool,
}

/// What a part is within the mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// What the sender typed, in one of its forms.
    Body,
    /// A picture that belongs to the layout of an HTML body.
    Layout,
    /// A mail within the mail.
    Mail,
    /// Everything else.
    Attachment,
}

/// Takes a mail apart. Bounded: one pass over the bytes for each step, nothing recursive over what the mail nests.
pub(super) fn read<'x>(raw: &'x [u8], rules: &Rules) -> Mail<'x> {
    let failed = |facts: MailFacts, sentence: String| Mail {
        facts,
        text: None,
        entities: Vec::new(),
        problem: Some(sentence),
    };
    if raw.iter().all(u8::is_ascii_whitespace) {
        return failed(MailFacts::default(), "The mail is empty.".into());
    }
    let header = header_length(raw);
    if u64::try_from(header).unwrap_or(u64::MAX) > rules.max_header {
        let most = rules.max_header >> 10;
        return failed(MailFacts::default(), format!("The header of the mail is longer than {most} KiB."));
    }
    let parsed = MessageParser::default().parse(raw);
    let Some(message) = parsed.filter(|message| !message.parts.is_empty()) else {
        return failed(MailFacts::default(), "This is not a mail: it has no header.".into());
    };
    let facts = facts(&message);
    if let Some(sentence) = structure_problem(&message, raw, rules) {
        return failed(facts, sentence);
    }
    let text = cover_text(&message);
    let places = places(&message);
    let entities = message
        .parts
        .into_iter()
        .zip(places)
        .filter(|(part, _)| !matches!(part.body, PartType::Multipart(_)))
        .map(|(part, place)| entity(part, place, raw))
        .collect();
    Mail { facts, text, entities, problem: None }
}

/// Bytes before the first empty line.
fn header_length(raw: &[u8]) -> usize {
    let mut from = 0;
    while let Some(found) = memchr::memchr(b'\n', raw.get(from..).unwrap_or_default()) {
        from += found + 1;
        let rest = raw.get(from..).unwrap_or_default();
        if rest.starts_with(b"\n") || rest.starts_with(b"\r\n") {
            return from;
        }
    }
    raw.len()
}

/// Where a part lies: how deep, and in what kind of container.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    depth: u32,
    in_alternative: bool,
    in_related: bool,
}

/// The place of each part. Containers come before what they contain, so one pass is enough.
fn places(message: &Message<'_>) -> Vec<Place> {
    let mut places = vec![Place::default(); message.parts.len()];
    for (index, part) in message.parts.iter().enumerate() {
        let PartType::Multipart(children) = &part.body else { continue };
        let here = places.get(index).copied().unwrap_or_default();
        let below = Place {
            depth: here.depth + 1,
            in_alternative: here.in_alternative || part.is_content_type("multipart", "alternative"),
            in_related: here.in_related || part.is_content_type("multipart", "related"),
        };
        for &child in children {
            if let Some(place) = usize::try_from(child).ok().and_then(|child| places.get_mut(child)) {
                *place = below;
            }
        }
    }
    places
}

/// Why the mail's structure cannot be trusted to be whole, or is more than the limits allow.
fn structure_problem(message: &Message<'_>, raw: &[u8], rules: &Rules) -> Option<String> {
    let depth = places(message).iter().map(|place| place.depth).max().unwrap_or(0);
    if depth > rules.max_depth {
        return Some(format!(
            "The mail nests {depth} parts in one another; at most {} are read. Send the documents as plain attachments.",
            rules.max_depth
        ));
    }
    let (containers, leaves): (Vec<_>, Vec<_>) =
        message.parts.iter().partition(|part| matches!(part.body, PartType::Multipart(_)));
    let most = usize::try_from(rules.max_parts).unwrap_or(usize::MAX);
    if leaves.len() > most || containers.len() > most {
        let found = leaves.len().max(containers.len());
        return Some(format!(
            "The mail has {found} parts; at most {most} are taken. Send it as several mails."
        ));
    }
    if leaves.iter().any(|part| part.content_type().is_some_and(|kind| kind.ctype() == "multipart")) {
        return Some(
            "The mail says that it has several parts, but not where they begin (its boundary is missing). \
             Send it again, or from another mail program."
                .into(),
        );
    }
    let lines = delimiter_lines(raw);
    for part in containers {
        let PartType::Multipart(children) = &part.body else { continue };
        let boundary = part.content_type().and_then(|kind| kind.attribute("boundary")).unwrap_or_default();
        let found = |suffix: &str| {
            lines.get(format!("{boundary}{suffix}").trim_end().as_bytes()).copied().unwrap_or(0)
        };
        if found("--") == 0 {
            return Some(
                "The mail ends before its last part does; it may have been cut off on the way. Send it again."
                    .into(),
            );
        }
        if found("") != children.len() {
            return Some(
                "The parts of the mail are not marked off clearly, so that one could be missed. \
                 Send it again, or from another mail program."
                    .into(),
            );
        }
    }
    None
}

/// How often each line that begins with two hyphens occurs, without those and without trailing blanks.
fn delimiter_lines(raw: &[u8]) -> HashMap<&[u8], usize> {
    let mut lines = HashMap::new();
    let mut count = |start: usize| {
        let rest = raw.get(start..).unwrap_or_default();
        // RFC 2046 section 5.1.1: a boundary has at most 70 characters; longer lines are text.
        let window = rest.get(..200).unwrap_or(rest);
        let end = memchr::memchr(b'\n', window).unwrap_or(window.len());
        let line = window.get(..end).unwrap_or_default().trim_ascii_end();
        *lines.entry(line).or_insert(0) += 1;
    };
    if raw.starts_with(b"--") {
        count(2);
    }
    for found in memchr::memmem::find_iter(raw, b"\n--") {
        count(found + 3);
    }
    lines
}

fn entity<'x>(part: MessagePart<'x>, place: Place, raw: &'x [u8]) -> Entity<'x> {
    let media_type = part.content_type().map_or_else(
        || "text/plain".to_owned(),
        |kind| {
            let subtype = kind.subtype().unwrap_or("unknown");
            one_line(&format!("{}/{subtype}", kind.ctype()), 100).to_ascii_lowercase()
        },
    );
    let name = part.attachment_name().and_then(clean_name);
    let disposition = part.content_disposition();
    let attached = disposition.is_some_and(mail_parser::ContentType::is_attachment);
    let is_mail = matches!(part.body, PartType::Message(_)) || media_type == "message/rfc822";
    let role = if is_mail {
        Role::Mail
    } else if media_type.starts_with("text/") && !attached && name.is_none() && body_type(&media_type, place)
    {
        Role::Body
    } else if media_type.starts_with("image/")
        && place.in_related
        && part.content_id().is_some()
        && disposition.is_some_and(mail_parser::ContentType::is_inline)
    {
        Role::Layout
    } else {
        Role::Attachment
    };
    let damaged = part.is_encoding_problem && !is_mail;
    let bytes = match part.body {
        PartType::Binary(bytes) | PartType::InlineBinary(bytes) => bytes,
        // The parser has put text into UTF-8; a PDF that was declared as text would not survive that.
        _ => decoded(part.encoding, part.offset_body, part.offset_end, raw),
    };
    Entity { name, media_type, role, bytes, damaged }
}

/// Whether a text part without a name is what the sender typed, rather than a document.
fn body_type(media_type: &str, place: Place) -> bool {
    place.in_alternative || matches!(media_type, "text/plain" | "text/html" | "text/enriched")
}

fn decoded(encoding: Encoding, start: u32, end: u32, raw: &[u8]) -> Cow<'_, [u8]> {
    let range = usize::try_from(start).unwrap_or(0)..usize::try_from(end).unwrap_or(0);
    let slice = raw.get(range).unwrap_or_default();
    let decoded = match encoding {
        Encoding::None => None,
        Encoding::Base64 => base64_decode(slice),
        Encoding::QuotedPrintable => quoted_printable_decode(slice),
    };
    decoded.map_or(Cow::Borrowed(slice), Cow::Owned)
}

/// The mail's text, plain where there is such a form.
fn cover_text(message: &Message<'_>) -> Option<String> {
    let plain = message.text_bodies().find_map(|part| match &part.body {
        PartType::Text(text) if !text.trim().is_empty() && !part.is_encoding_problem => Some(text),
        _ => None,
    });
    let text: Cow<'_, str> = match plain {
        Some(text) => Cow::Borrowed(text.as_ref()),
        None => message.html_bodies().find_map(|part| match &part.body {
            PartType::Html(html) => Some(Cow::Owned(html_to_text(cut(html, HTML_LIMIT)))),
            _ => None,
        })?,
    };
    let text: String = cut(&text, TEXT_LIMIT)
        .replace("\r\n", "\n")
        .chars()
        .filter(|c| *c == '\n' || *c == '\t' || !c.is_control())
        .collect();
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// The first `bytes` bytes or a little less, so that no character is cut.
fn cut(text: &str, bytes: usize) -> &str {
    let mut end = bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

fn facts(message: &Message<'_>) -> MailFacts {
    let from = message.from().and_then(mail_parser::Address::first);
    let line = |text: &str| Some(one_line(text, 500)).filter(|line| !line.is_empty());
    let mut references = identifiers(message.references());
    if references.is_empty() {
        references = identifiers(message.in_reply_to());
    }
    references.drain(..references.len().saturating_sub(50));
    MailFacts {
        subject: message.subject().and_then(line),
        from_name: from.and_then(|from| from.name.as_deref()).and_then(line),
        from_address: from.and_then(|from| from.address.as_deref()).and_then(line),
        message_id: message.message_id().and_then(line),
        references,
        date: message
            .date()
            .filter(|date| date.is_valid())
            .and_then(|date| jiff::Timestamp::from_second(date.to_timestamp()).ok()),
        auto_submitted: auto_submitted(message),
        addressees: addressees(message),
        fax_fields: fax_fields(message),
    }
}

fn addressees(message: &Message<'_>) -> Vec<Addressee> {
    let fields = [message.to(), message.cc()].into_iter().flatten();
    let addresses = fields.flat_map(mail_parser::Address::iter);
    let named = addresses.filter_map(|one| {
        let address = one.address.as_deref().map(|text| one_line(text, 500))?;
        let name = one.name.as_deref().map(|text| one_line(text, 500)).filter(|name| !name.is_empty());
        Some(Addressee { name, address })
    });
    named.take(MOST_ADDRESSEES).collect()
}

fn fax_fields(message: &Message<'_>) -> Vec<(String, String)> {
    let fields = message.headers_raw().filter_map(|(name, value)| {
        let name = name.to_ascii_lowercase();
        Some((name.strip_prefix("x-fax-")?.to_owned(), one_line(value, 500)))
    });
    fields.take(MOST_FAX_FIELDS).collect()
}

fn identifiers(value: &HeaderValue<'_>) -> Vec<String> {
    let clean = |text: &str| Some(one_line(text, 500)).filter(|line| !line.is_empty());
    match value {
        HeaderValue::Text(text) => clean(text).into_iter().collect(),
        HeaderValue::TextList(list) => list.iter().filter_map(|text| clean(text)).collect(),
        _ => Vec::new(),
    }
}

/// Why nobody wrote this mail by hand (RFC 3834 section 5; `Precedence` from before it; RFC 6522 for reports).
///
/// `X-Auto-Response-Suppress` is not among the signs: Exchange puts it into mail of people too.
fn auto_submitted(message: &Message<'_>) -> Option<String> {
    let raw = |name: HeaderName<'static>| {
        message.header_raw(name).map(|value| {
            let value = value.split([';', '(']).next().unwrap_or_default();
            one_line(value, 40).to_ascii_lowercase()
        })
    };
    if let Some(value) = raw(HeaderName::AutoSubmitted).filter(|value| !value.is_empty() && value != "no") {
        return Some(format!("a program sent it (Auto-Submitted: {value})"));
    }
    if raw(HeaderName::Other("X-Faxbridge".into())).is_some() {
        return Some("a fax bridge wrote it (X-Faxbridge)".to_owned());
    }
    if let Some(value) = raw(HeaderName::Other("Precedence".into()))
        && matches!(value.as_str(), "bulk" | "list" | "junk")
    {
        return Some(format!("it is mail to many (Precedence: {value})"));
    }
    if message.is_content_type("multipart", "report") {
        return Some("it is a report of a mail system (multipart/report)".into());
    }
    None
}
