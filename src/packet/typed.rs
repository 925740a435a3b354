//! What the sender typed: which parts of a mail that is, and which of its forms is its text.

use super::kind::{Sniffed, is_printable, sniff};
use super::mail::{Entity, Place, Role};
use super::mime::Head;
use super::{html, text};

/// Text handed on for cover and pages of text.
const TEXT_LIMIT: usize = 64 << 10;

/// Whether a part is what the sender typed, rather than a document.
pub(super) fn is_body(head: &Head, bytes: &[u8], place: Place) -> bool {
    let kind = head.media_type.as_str();
    let is_text = match sniff(bytes) {
        Sniffed::Text | Sniffed::Unknown => true,
        // A text may talk of `%PDF-`.
        Sniffed::Pdf => !bytes.starts_with(b"%PDF-") && is_printable(bytes),
        Sniffed::Picture | Sniffed::Archive | Sniffed::Office => false,
    };
    let is_text = is_text
        && !matches!(
            kind,
            "text/calendar" | "text/vcard" | "text/x-vcard" | "text/directory" | "text/rfc822-headers"
        );
    if !kind.starts_with("text/") || !is_text || place.in_encrypted {
        return false;
    }
    let plain_or_html = matches!(kind, "text/plain" | "text/html");
    let name = head.name.as_deref();
    if plain_or_html && (name.is_some_and(is_exchange_segment) || is_blank(head, bytes)) {
        return true;
    }
    !head.attached
        && match place.alternative {
            Some(_) => name.is_none() || (plain_or_html && place.is_form),
            None => name.is_none() && (plain_or_html || kind == "text/enriched"),
        }
}

/// Exchange gives the texts that stand between and behind attachments names: `ATT00001.txt`, `ATT00002.htm`.
fn is_exchange_segment(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let digits = name.strip_prefix("att").and_then(|rest| rest.split_once('.'));
    digits.is_some_and(|(digits, extension)| {
        digits.len() == 5
            && digits.bytes().all(|digit| digit.is_ascii_digit())
            && matches!(extension, "txt" | "htm" | "html")
    })
}

/// Whether nothing is in a text. Only small ones are looked into.
fn is_blank(head: &Head, bytes: &[u8]) -> bool {
    if bytes.len() > 4 << 10 {
        return false;
    }
    let characters = text::in_charset(bytes, head.charset.as_deref());
    match head.media_type.as_str() {
        "text/html" => {
            !characters.to_ascii_lowercase().contains("<img")
                && text::tidy(&html::text_of(&characters)).is_empty()
        }
        _ => text::tidy(&characters).is_empty(),
    }
}

/// The mail's own text: of each alternative one form, the plain one if something is in it; all pieces in their order. Marks
/// where it came from.
pub(super) fn text_of(entities: &mut [Entity]) -> (Option<String>, bool) {
    let says = |entity: &Entity| entity.text.as_deref().is_some_and(|text| !text.is_empty());
    let is_own = |entity: &Entity| {
        entity.role == Role::Body && entity.place.mail == 0 && !entity.damaged && says(entity)
    };
    let plain: Vec<u32> = entities
        .iter()
        .filter(|entity| is_own(entity) && entity.media_type == "text/plain")
        .filter_map(|entity| entity.place.alternative)
        .collect();
    // What a wrapping repeats of the text around it does not count twice.
    let around = entities.iter().any(|entity| is_own(entity) && !entity.place.wrapped);
    let mut text = String::new();
    let mut cut = false;
    for entity in entities.iter_mut() {
        let chosen = match entity.place.alternative {
            Some(group) if plain.contains(&group) => entity.media_type == "text/plain",
            Some(_) => entity.media_type == "text/html",
            None => true,
        };
        let here = entity.role == Role::Body && entity.place.mail == 0 && chosen;
        // Also where what was looked at says nothing.
        cut |= here && entity.text_lost;
        if !here || !is_own(entity) || (around && entity.place.wrapped) {
            continue;
        }
        let piece = entity.text.as_deref().unwrap_or_default();
        if !text.is_empty() {
            text.push_str("\n\n");
        }
        let room = TEXT_LIMIT.saturating_sub(text.len());
        cut |= piece.len() > room;
        entity.gives_text = true;
        text.push_str(text::cut(piece, room));
    }
    let text = text::tidy(&text);
    ((!text.is_empty()).then_some(text), cut)
}
