//! A mail to its parts: what is in it, in what role, wherever it lies (`packet/mime.rs` says where parts begin and end).
//!
//! Mails within mails and `winmail.dat` are opened where they lie, so that the list has everything in the order of the mail. All
//! limits count over the whole, whatever is wrapped in what: depth, parts, headers. One pass over the bytes per level.

use std::borrow::Cow;

use aws_lc_rs::digest;

use super::graphic::Around;
use super::kind::{Sniffed, sniff};
use super::mime::{self, Fault, Head};
use super::names::clean_name;
use super::transfer::Transfer;
use super::{Rules, facts, html, text, tnef, typed};
use crate::addressing::MailFacts;

/// Bytes of a text that are looked at.
const LOOKED_AT: usize = 4 << 20;
/// HTML converted for that text; the rest of a longer one is not looked at.
const HTML_LIMIT: usize = 512 << 10;
/// References to pictures that are looked at in one text.
const MOST_REFERENCES: usize = 2_000;

/// A mail, taken apart.
#[derive(Debug, Default)]
pub(super) struct Mail {
    pub facts: MailFacts,
    pub text: Option<String>,
    /// There was more text than that.
    pub text_cut: bool,
    /// What is in it, in its order; empty where `problem` is set.
    pub entities: Vec<Entity>,
    pub around: Around,
    /// Why the mail as a whole cannot be taken apart.
    pub problem: Option<String>,
}

/// A part that is no container, or a mail or wrapping whose own parts follow it.
#[derive(Debug, Default)]
pub(super) struct Entity {
    /// File name, cleaned.
    pub name: Option<String>,
    /// Declared type, lower case.
    pub media_type: String,
    pub role: Role,
    /// The decoded bytes; empty for what was opened.
    pub bytes: Vec<u8>,
    /// Digest and length of the decoded bytes.
    pub sha256: [u8; 32],
    pub length: u64,
    /// The transfer encoding could not be undone.
    pub damaged: bool,
    /// That one, where nobody here knows it.
    pub encoding: Option<String>,
    /// A document of the mail stands in front of it.
    pub behind: bool,
    /// Content-ID without angle brackets.
    pub content_id: Option<String>,
    /// Disposition `inline`.
    pub inline: bool,
    pub smime_type: Option<String>,
    pub place: Place,
    /// A text's characters, tidied.
    pub text: Option<String>,
    /// Some of them were not looked at: it is too long.
    pub text_lost: bool,
    /// The mail's text came from here.
    pub gives_text: bool,
}

/// What a part is within the mail.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Role {
    /// What the sender typed, in one of its forms.
    Body,
    /// A mail within the mail: so many of the following entities are its own.
    Mail(usize),
    /// Outlook's wrapping; what was in it follows.
    Wrapping,
    /// Outlook's wrapping, not whole.
    BrokenWrapping,
    /// What the sender typed, as Outlook keeps it for itself.
    OutlookText,
    /// Something within Outlook's wrapping that only Outlook can open.
    OutlookObject,
    /// Everything else.
    #[default]
    Attachment,
}

/// Where a part lies: how deep, in which mail (0 is the mail itself), and in what kinds of containers.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Place {
    pub depth: u32,
    pub mail: u32,
    /// The outermost `multipart/alternative` around it, by number.
    pub alternative: Option<u32>,
    /// It is one of the forms itself, or lies with the pictures of one; not in a container of its own within a form.
    pub is_form: bool,
    pub in_related: bool,
    pub in_encrypted: bool,
    /// It came out of Outlook's wrapping.
    pub wrapped: bool,
}

/// Takes a mail apart.
pub(super) fn read(raw: &[u8], rules: &Rules) -> Mail {
    let mut reader = Reader { rules, found: Mail::default(), containers: 0, alternatives: 0, mails: 0 };
    if let Err(fault) = reader.mail(raw) {
        let facts = std::mem::take(&mut reader.found.facts);
        return Mail { facts, problem: Some(fault.sentence(rules)), ..Mail::default() };
    }
    let mut mail = reader.found;
    for entity in &mail.entities {
        let times = mail.around.contents.entry(entity.sha256).or_insert(0);
        *times = times.saturating_add(1);
    }
    let mut behind = false;
    for entity in &mut mail.entities {
        entity.behind = behind;
        behind |= entity.role == Role::Attachment;
    }
    mail.around.has_pdf = mail
        .entities
        .iter()
        .any(|entity| entity.role == Role::Attachment && sniff(&entity.bytes) == Sniffed::Pdf);
    (mail.text, mail.text_cut) = typed::text_of(&mut mail.entities);
    mail
}

struct Reader<'r> {
    rules: &'r Rules,
    found: Mail,
    containers: u32,
    alternatives: u32,
    mails: u32,
}

impl Reader<'_> {
    fn mail(&mut self, raw: &[u8]) -> Result<(), Fault> {
        if raw.iter().all(u8::is_ascii_whitespace) {
            return Err(Fault::Empty);
        }
        let raw = mime::without_postmark(raw);
        let (header, body) = mime::split(raw);
        self.measure(header)?;
        self.found.facts = facts::facts(header).ok_or(Fault::NoHeader)?;
        self.part(Head::read(header, "text/plain")?, body, Place::default(), &mut Vec::new(), true)
    }

    fn measure(&self, header: &[u8]) -> Result<(), Fault> {
        let length = u64::try_from(header.len()).unwrap_or(u64::MAX);
        if length > self.rules.max_header { Err(Fault::LongHeader) } else { Ok(()) }
    }

    /// One level further in.
    fn below(&self, place: Place) -> Result<Place, Fault> {
        if place.depth >= self.rules.max_depth {
            return Err(Fault::Deep);
        }
        Ok(Place { depth: place.depth + 1, ..place })
    }

    /// A part with its header: within `boundaries`, those of the containers around it in the same bytes; `outermost`
    /// where it is a whole mail.
    fn part(
        &mut self,
        head: Head,
        body: &[u8],
        place: Place,
        boundaries: &mut Vec<String>,
        outermost: bool,
    ) -> Result<(), Fault> {
        if head.media_type.starts_with("multipart/") {
            return self.container(&head, body, place, boundaries, outermost);
        }
        let (bytes, damaged) = head.transfer.decoded(body);
        if let Cow::Borrowed(raw) = bytes
            && !damaged
            && is_mail(&head, raw)
        {
            return self.mail_within(head, raw, place, boundaries);
        }
        let is_text = head.media_type.starts_with("text/");
        if mime::almost_delimited(body, boundaries) || (is_text && mime::swallows_a_part(body)) {
            return Err(Fault::Unclear);
        }
        self.leaf(head, bytes, damaged, place)
    }

    fn container(
        &mut self,
        head: &Head,
        body: &[u8],
        place: Place,
        boundaries: &mut Vec<String>,
        outermost: bool,
    ) -> Result<(), Fault> {
        let mut below = self.below(place)?;
        self.containers += 1;
        if self.containers > self.rules.max_parts {
            return Err(Fault::Many);
        }
        let boundary = head.boundary.as_deref().filter(|boundary| !boundary.is_empty());
        let boundary = boundary.ok_or(Fault::NoBoundary)?;
        let parts = mime::parts(body, boundary, self.rules.max_parts, outermost)?;
        let mut default = "text/plain";
        below.is_form = match head.media_type.as_str() {
            "multipart/alternative" => true,
            "multipart/related" => below.is_form,
            _ => false,
        };
        match head.media_type.as_str() {
            "multipart/alternative" if below.alternative.is_none() => {
                self.alternatives += 1;
                below.alternative = Some(self.alternatives);
            }
            "multipart/related" => below.in_related = true,
            "multipart/encrypted" => below.in_encrypted = true,
            "multipart/digest" => default = "message/rfc822",
            _ => {}
        }
        boundaries.push(boundary.to_owned());
        if parts.outside.iter().any(|text| mime::almost_delimited(text, boundaries)) {
            return Err(Fault::Unclear);
        }
        for part in parts.parts {
            let (header, body) = mime::split(part);
            self.measure(header)?;
            self.part(Head::read(header, default)?, body, below, boundaries, false)?;
        }
        boundaries.pop();
        Ok(())
    }

    /// Bytes that are no container of this mail.
    fn leaf(&mut self, head: Head, bytes: Cow<'_, [u8]>, damaged: bool, place: Place) -> Result<(), Fault> {
        if !damaged && is_mail(&head, &bytes) {
            return self.mail_within(head, &bytes, place, &mut Vec::new());
        }
        let is_tnef = matches!(head.media_type.as_str(), "application/ms-tnef" | "application/vnd.ms-tnef")
            || bytes.starts_with(tnef::SIGNATURE);
        if is_tnef && !damaged {
            return self.wrapping(head, &bytes, place);
        }
        let role = if typed::is_body(&head, &bytes, place) { Role::Body } else { Role::Attachment };
        // An equals sign that nobody escaped is a damaged file, but only an equals sign in a text.
        let damaged = damaged && !(role == Role::Body && head.transfer == Transfer::QuotedPrintable);
        let mut entity = Entity { role, damaged, ..entity(head.clone(), &bytes, place) };
        if role == Role::Body {
            let looked_at = bytes.get(..LOOKED_AT).unwrap_or(&bytes);
            let characters = text::in_charset(looked_at, head.charset.as_deref());
            let is_html = head.media_type == "text/html";
            entity.text_lost = bytes.len() > LOOKED_AT || (is_html && characters.len() > HTML_LIMIT);
            entity.text = Some(if is_html {
                self.refer(&characters, place);
                text::tidy(&html::text_of(text::cut(&characters, HTML_LIMIT)))
            } else {
                text::tidy(&text::joined(&characters, head.flow))
            });
        }
        entity.bytes = bytes.into_owned();
        self.add(entity).map(drop)
    }

    fn refer(&mut self, html: &str, place: Place) {
        let references = html::references(html, MOST_REFERENCES);
        self.found.around.referenced.extend(references.into_iter().map(|id| (place.mail, id)));
    }

    fn mail_within(
        &mut self,
        head: Head,
        raw: &[u8],
        place: Place,
        boundaries: &mut Vec<String>,
    ) -> Result<(), Fault> {
        let below = self.below(place)?;
        let here = self.add(Entity { role: Role::Mail(0), ..entity(head, raw, place) })?;
        self.mails += 1;
        let (header, body) = mime::split(mime::without_postmark(raw));
        self.measure(header)?;
        let inside = Place { depth: below.depth, mail: self.mails, ..Place::default() };
        self.part(Head::read(header, "text/plain")?, body, inside, boundaries, true)?;
        let own = self.found.entities.len() - here - 1;
        if let Some(entity) = self.found.entities.get_mut(here) {
            entity.role = Role::Mail(own);
        }
        Ok(())
    }

    /// Outlook's wrapping: itself, the text in it, its attachments.
    fn wrapping(&mut self, head: Head, bytes: &[u8], place: Place) -> Result<(), Fault> {
        let below = Place { wrapped: true, ..self.below(place)? };
        let Ok(unwrapped) = tnef::unwrapped(bytes) else {
            let broken = Entity { role: Role::BrokenWrapping, ..entity(head, bytes, place) };
            return self.add(broken).map(drop);
        };
        self.add(Entity { role: Role::Wrapping, ..entity(head, bytes, place) })?;
        let typed = |media_type: &str| Head { media_type: media_type.to_owned(), ..Head::default() };
        // The forms of one text, as in `multipart/alternative`.
        self.alternatives += 1;
        let alternative = below.alternative.or(Some(self.alternatives));
        let forms = Place { alternative, is_form: true, ..below };
        for (media_type, form) in [("text/plain", &unwrapped.text), ("text/html", &unwrapped.html)] {
            if let Some(form) = form.as_deref().filter(|form| !form.trim().is_empty()) {
                let head = Head { charset: Some("utf-8".into()), ..typed(media_type) };
                self.leaf(head, Cow::Borrowed(form.as_bytes()), false, forms)?;
            }
        }
        if let Some(rtf) = unwrapped.rtf {
            let rtf = entity(typed("application/rtf"), rtf, below);
            self.add(Entity { role: Role::OutlookText, ..rtf })?;
        }
        for attached in unwrapped.attachments {
            let declared = attached.media_type.map(|kind| kind.trim().to_ascii_lowercase());
            let media_type = declared.filter(|kind| kind.contains('/') && !kind.starts_with("multipart/"));
            let head = Head {
                name: attached.name.as_deref().and_then(clean_name),
                attached: true,
                content_id: attached.content_id.map(|id| id.trim_matches(['<', '>']).to_owned()),
                ..typed(&super::names::one_line(
                    media_type.as_deref().unwrap_or("application/octet-stream"),
                    100,
                ))
            };
            if attached.is_object {
                let object = entity(head, attached.bytes, below);
                self.add(Entity { role: Role::OutlookObject, ..object })?;
            } else {
                self.leaf(head, Cow::Borrowed(attached.bytes), false, below)?;
            }
        }
        Ok(())
    }

    /// Its place in the list.
    fn add(&mut self, entity: Entity) -> Result<usize, Fault> {
        let place = self.found.entities.len();
        if u32::try_from(place).unwrap_or(u32::MAX) >= self.rules.max_parts {
            return Err(Fault::Many);
        }
        self.found.entities.push(entity);
        Ok(place)
    }
}

impl Entity {
    /// A file that is no part of a mail.
    pub(super) fn file(name: Option<String>, bytes: Vec<u8>) -> Entity {
        let head = Head { name, media_type: "application/octet-stream".into(), ..Head::default() };
        let described = entity(head, &bytes, Place::default());
        Entity { bytes, ..described }
    }
}

/// What every entity says of itself; `bytes` are measured, not kept.
fn entity(head: Head, bytes: &[u8], place: Place) -> Entity {
    let mut sha256 = [0; 32];
    sha256.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    Entity {
        name: head.name,
        media_type: head.media_type,
        sha256,
        length: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
        content_id: head.content_id,
        inline: head.inline,
        encoding: head.encoding,
        smime_type: head.smime_type,
        place,
        ..Entity::default()
    }
}

/// Whether the part is a mail: declared as one and not something else, or attached as a file that begins as one.
fn is_mail(head: &Head, bytes: &[u8]) -> bool {
    match head.media_type.as_str() {
        "message/rfc822" | "message/global" => {
            mime::fields(mime::split(mime::without_postmark(bytes)).0).next().is_some()
                && matches!(sniff(bytes), Sniffed::Text | Sniffed::Unknown | Sniffed::Pdf)
                && !bytes.starts_with(b"%PDF-")
        }
        kind => {
            let named = head.name.as_deref().is_some_and(|name| name.to_ascii_lowercase().ends_with(".eml"));
            (named || kind == "application/octet-stream") && mime::is_mail(bytes)
        }
    }
}
