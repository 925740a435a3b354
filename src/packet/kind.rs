//! What a part is, by its first bytes before anything it claims, and what follows: pages, left out, or holding.

use super::PartKind;
use super::mail::{Entity, Role};

/// What becomes of a part.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is a PDF: its pages are faxed, or it holds the packet.
    Pages,
    /// Nothing of substance is in it.
    LeftOut(&'static str),
    /// The packet must wait for its sender or a person.
    Holds(String),
}

/// The kind of a part, the name it goes by, and what becomes of it.
pub(super) fn judge(entity: &Entity<'_>) -> (PartKind, String, Verdict) {
    let sniffed = sniff(&entity.bytes);
    // A mail's text that only mentions `%PDF-` is text; a PDF without a type or name starts with it.
    let is_pdf = match entity.role {
        Role::Body => entity.bytes.starts_with(b"%PDF-"),
        Role::Mail => false,
        Role::Layout | Role::Attachment => sniffed == Sniffed::Pdf,
    };
    let kind = if is_pdf { PartKind::Pdf } else { kind(entity, sniffed) };
    let name = entity.name.clone().unwrap_or_else(|| unnamed(kind, entity.role).to_owned());
    let verdict = if is_pdf { Verdict::Pages } else { verdict(entity, kind, sniffed, &name) };
    (kind, name, verdict)
}

fn verdict(entity: &Entity<'_>, kind: PartKind, sniffed: Sniffed, name: &str) -> Verdict {
    match entity.role {
        Role::Body if kind == PartKind::Html => {
            return Verdict::LeftOut("the mail's text in its HTML form; it is not faxed as pages");
        }
        Role::Body => return Verdict::LeftOut("the mail's text; it is not faxed as pages"),
        Role::Layout => return Verdict::LeftOut("an inline picture of the mail's layout"),
        Role::Mail => {
            return Verdict::Holds(format!(
                "{name} is a mail within the mail; only PDF files can be faxed for now. \
                 Attach the documents themselves."
            ));
        }
        Role::Attachment => {}
    }
    match entity.media_type.as_str() {
        "application/pkcs7-signature" | "application/x-pkcs7-signature" | "application/pgp-signature" => {
            return Verdict::LeftOut("the digital signature of the mail");
        }
        "text/calendar" | "application/ics" => return Verdict::LeftOut("a calendar entry"),
        "text/vcard" | "text/x-vcard" | "text/directory" => return Verdict::LeftOut("a visiting card"),
        "application/pkcs7-mime" | "application/x-pkcs7-mime" | "application/pgp-encrypted" => {
            return Verdict::Holds(
                "The mail is encrypted or sealed (S/MIME or PGP) and cannot be read here. Send it without."
                    .into(),
            );
        }
        "application/ms-tnef" | "application/vnd.ms-tnef" => {
            return Verdict::Holds(format!(
                "{name} is Outlook's own wrapping of attachments. Send the mail as HTML or plain text instead of \
                 Rich Text."
            ));
        }
        _ => {}
    }
    if entity.bytes.is_empty() {
        return Verdict::Holds(format!("{name} is empty. Send it again."));
    }
    if entity.damaged {
        return Verdict::Holds(format!(
            "{name} was damaged on the way and cannot be decoded. Send it again."
        ));
    }
    let claims_pdf = entity.media_type == "application/pdf" || name.to_ascii_lowercase().ends_with(".pdf");
    if claims_pdf {
        let really = sniffed.words();
        return Verdict::Holds(format!(
            "{name} is called a PDF, but it holds {really}. Save or print the document as PDF and send that."
        ));
    }
    let what = match (kind, sniffed) {
        (PartKind::Text, _) => "a text file".to_owned(),
        (PartKind::Html, _) => "an HTML file".to_owned(),
        _ if entity.media_type == "application/octet-stream" => sniffed.words().to_owned(),
        _ => format!("{} {}", article(&entity.media_type), entity.media_type),
    };
    Verdict::Holds(format!("{name} is {what}; only PDF files can be faxed for now. Send it as PDF."))
}

fn kind(entity: &Entity<'_>, sniffed: Sniffed) -> PartKind {
    let media_type = entity.media_type.as_str();
    match sniffed {
        _ if entity.role == Role::Mail => PartKind::Mail,
        Sniffed::Picture => PartKind::Image,
        _ if media_type == "text/html" => PartKind::Html,
        _ if media_type.starts_with("image/") => PartKind::Image,
        _ if media_type.starts_with("text/") => PartKind::Text,
        Sniffed::Text if media_type == "application/octet-stream" => PartKind::Text,
        _ => PartKind::Other,
    }
}

fn unnamed(kind: PartKind, role: Role) -> &'static str {
    match (kind, role) {
        (PartKind::Pdf, _) => "document.pdf",
        (PartKind::Text, Role::Body) => "text of the mail",
        (PartKind::Html, Role::Body) => "HTML text of the mail",
        (PartKind::Text, _) => "a text without a name",
        (PartKind::Html, _) => "an HTML page without a name",
        (PartKind::Image, _) => "a picture without a name",
        (PartKind::Mail, _) => "an attached mail",
        (PartKind::Other, _) => "an attachment without a name",
    }
}

fn article(word: &str) -> &'static str {
    if word.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" }
}

/// What the first bytes say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sniffed {
    Pdf,
    Picture,
    Archive,
    Office,
    Text,
    Unknown,
}

impl Sniffed {
    fn words(self) -> &'static str {
        match self {
            Sniffed::Pdf => "a PDF",
            Sniffed::Picture => "a picture",
            Sniffed::Archive => "a ZIP archive or an Office document",
            Sniffed::Office => "an old Office document",
            Sniffed::Text => "plain text",
            Sniffed::Unknown => "something else",
        }
    }
}

/// Looks at the content. Readers accept a PDF header anywhere in the first 1024 bytes (PDF 1.7, annex H, note 13).
pub(super) fn sniff(bytes: &[u8]) -> Sniffed {
    const PICTURES: &[&[u8]] = &[b"\xff\xd8\xff", b"\x89PNG\r\n", b"GIF8", b"II*\0", b"MM\0*"];
    let head = bytes.get(..1024).unwrap_or(bytes);
    if memchr::memmem::find(head, b"%PDF-").is_some() {
        return Sniffed::Pdf;
    }
    let brand = bytes.get(4..12).unwrap_or_default();
    if PICTURES.iter().any(|magic| head.starts_with(magic))
        || (head.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP"))
        || [&b"ftyphei"[..], b"ftypmif", b"ftypavi", b"ftyphev"].iter().any(|magic| brand.starts_with(magic))
    {
        return Sniffed::Picture;
    }
    if head.starts_with(b"PK\x03\x04") {
        return Sniffed::Archive;
    }
    if head.starts_with(b"\xd0\xcf\x11\xe0") {
        return Sniffed::Office;
    }
    let printable = |byte: &u8| !byte.is_ascii_control() || byte.is_ascii_whitespace();
    if !head.is_empty() && head.iter().all(printable) { Sniffed::Text } else { Sniffed::Unknown }
}
