//! What a part is, by its first bytes before anything it claims, and what follows: pages, left out, or holding.
use super::graphic::{Around, decoration};
use super::mail::{Entity, Role};
use super::notice;
use crate::sealed::PartKind;

/// What becomes of a part.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum KindVerdict {
    /// It is a PDF: its pages are faxed, or it holds the packet.
    Pages,
    /// Nothing of substance is in it.
    LeftOut(&'static str),
    /// The packet must wait for its sender or a person.
    Holds(String),
}

const ENCRYPTED_PGP: &str =
    "The mail is encrypted (PGP) and cannot be read here. Send it without encryption.";
const ENCRYPTED_SMIME: &str =
    "The mail is encrypted (S/MIME) and cannot be read here. Send it without encryption.";
const SEALED: &str = "The mail is sealed: its S/MIME signature is wrapped around everything in it, which cannot be \
                      opened here. Send it unsigned, or signed in clear text.";

const SIGNATURE: &str = "the digital signature of the mail";
const PGP_SIGNATURE: &[u8] = b"-----BEGIN PGP SIGNATURE-----";

/// The kind of a part, the name it goes by, and what becomes of it.
pub(super) fn judge(entity: &Entity, around: &Around) -> (PartKind, String, KindVerdict) {
    let sniffed = sniff(&entity.bytes);
    // A mail's text that only mentions `%PDF-` is text; a PDF without a type or name starts with it.
    let is_pdf = match entity.role {
        Role::Body => entity.bytes.starts_with(b"%PDF-"),
        Role::Attachment => sniffed == Sniffed::Pdf && !entity.damaged && !entity.place.in_encrypted,
        _ => false,
    };
    let kind = if is_pdf { PartKind::Pdf } else { kind(entity, sniffed) };
    let name = entity.name.clone().unwrap_or_else(|| unnamed(kind, entity.role).to_owned());
    let verdict = match entity.role {
        _ if is_pdf => KindVerdict::Pages,
        Role::Body => of_text(entity, kind),
        Role::Mail(_) => KindVerdict::LeftOut("the attached mail; its own parts follow"),
        Role::Wrapping => KindVerdict::LeftOut("Outlook's wrapping; its contents follow"),
        Role::OutlookText => KindVerdict::LeftOut("the mail's text in Outlook's own form"),
        Role::BrokenWrapping => KindVerdict::Holds(format!(
            "{name} is Outlook's own wrapping of attachments, and damaged. Send the mail as HTML or plain text \
             instead of Rich Text."
        )),
        Role::OutlookObject => KindVerdict::Holds(format!(
            "{name} is a mail or drawing that only Outlook can open. Save it as PDF and attach that."
        )),
        Role::Attachment => of_attachment(entity, kind, sniffed, &name, around),
    };
    (kind, name, verdict)
}

/// A mail within the mail of which nothing is faxed and nothing else holds would get lost.
pub(super) fn mail_without_document(name: &str) -> String {
    format!(
        "{name} is a mail within the mail without a document; only PDF files can be faxed for now. \
         Attach the documents themselves."
    )
}

fn of_text(entity: &Entity, kind: PartKind) -> KindVerdict {
    let text = entity.text.as_deref().unwrap_or_default();
    if let Some(encoding) = &entity.encoding {
        return KindVerdict::Holds(format!(
            "The text of the mail is written in the transfer encoding {encoding:?}, which cannot be read here. Send it from \
             another mail program."
        ));
    }
    if entity.damaged {
        return KindVerdict::Holds(
            "The text of the mail was damaged on the way and cannot be decoded. Send it again.".into(),
        );
    }
    let armor = b"-----BEGIN PGP MESSAGE-----";
    if line_begins(&entity.bytes, armor) || line_begins(text.as_bytes(), armor) {
        return KindVerdict::Holds(ENCRYPTED_PGP.into());
    }
    if has_uuencoded_file(text) {
        return KindVerdict::Holds(
            "The text of the mail carries a file in an old form (uuencode). Send it as an attachment.".into(),
        );
    }
    if notice::is_of_a_filter(text, entity.behind) {
        return KindVerdict::Holds(
            "A mail filter on the way took a file out of this mail and left a notice in its place. Send the file in a form \
             that the filter lets pass, or ask whoever runs your mail."
                .into(),
        );
    }
    KindVerdict::LeftOut(match (kind, entity.place.mail) {
        _ if text.is_empty() && entity.name.is_some() => "an empty text",
        (_, 1..) => "the text of the attached mail; it is not faxed as pages",
        (PartKind::Html, 0) if entity.media_type == "text/html" => {
            "the mail's text in its HTML form; it is not faxed as pages"
        }
        _ if matches!(entity.media_type.as_str(), "text/plain" | "text/enriched") => {
            "the mail's text; it is not faxed as pages"
        }
        _ => "the mail's text in another form; it is not faxed as pages",
    })
}

fn of_attachment(
    entity: &Entity,
    kind: PartKind,
    sniffed: Sniffed,
    name: &str,
    around: &Around,
) -> KindVerdict {
    if let Some(verdict) = of_protected(entity, sniffed, name) {
        return verdict;
    }
    match entity.media_type.as_str() {
        "message/partial" => {
            return KindVerdict::Holds(
                "The scanner or mail program split this mail into several, and this is one piece. Turn that off there, or \
                 send less at once."
                    .into(),
            );
        }
        "text/x-moz-deleted" => {
            return KindVerdict::Holds(format!(
                "{name} was deleted from this mail before it was sent; only a notice is left. Send the file itself."
            ));
        }
        _ => {}
    }
    // What claims to be of no substance and is something else is not believed.
    if matches!(sniffed, Sniffed::Text | Sniffed::Unknown)
        && let Some(reason) = of_no_substance(entity)
    {
        return KindVerdict::LeftOut(reason);
    }
    if entity.bytes.is_empty() {
        return KindVerdict::Holds(format!("{name} is empty. Send it again."));
    }
    if let Some(encoding) = &entity.encoding {
        return KindVerdict::Holds(format!(
            "{name} is written in the transfer encoding {encoding:?}, which cannot be read here. Send it from another mail \
             program."
        ));
    }
    if entity.damaged {
        return KindVerdict::Holds(format!(
            "{name} was damaged on the way and cannot be decoded. Send it again."
        ));
    }
    if let Some(reason) = decoration(entity, sniffed, around) {
        return KindVerdict::LeftOut(reason);
    }
    let claims_pdf = entity.media_type == "application/pdf" || name.to_ascii_lowercase().ends_with(".pdf");
    if claims_pdf {
        let really = if is_html(&entity.bytes) { "an HTML page" } else { sniffed.words() };
        return KindVerdict::Holds(format!(
            "{name} is called a PDF, but it holds {really}. Save or print the document as PDF and send that."
        ));
    }
    let what = match (kind, sniffed) {
        (PartKind::Text, _) => "a text file".to_owned(),
        (PartKind::Html, _) => "an HTML file".to_owned(),
        (PartKind::Image, _) => "a picture".to_owned(),
        _ => in_words(&entity.media_type, &entity.bytes).unwrap_or(sniffed.words()).to_owned(),
    };
    KindVerdict::Holds(format!("{name} is {what}; only PDF files can be faxed for now. Send it as PDF."))
}

/// What is signed or encrypted (RFC 8551, RFC 3156, RFC 9580).
fn of_protected(entity: &Entity, sniffed: Sniffed, name: &str) -> Option<KindVerdict> {
    let kind = entity.media_type.as_str();
    if entity.place.in_encrypted {
        return Some(match kind {
            "application/pgp-encrypted" if entity.length < 1 << 10 => {
                KindVerdict::LeftOut("the control part of an encrypted mail")
            }
            _ => KindVerdict::Holds(ENCRYPTED_PGP.into()),
        });
    }
    let is_signature = matches!(
        kind,
        "application/pkcs7-signature" | "application/x-pkcs7-signature" | "application/pgp-signature"
    );
    let lower = name.to_ascii_lowercase();
    let content = cms_content(&entity.bytes);
    if is_signature || (content == Some(Cms::Signed) && lower.ends_with(".p7s")) {
        return is_a_signature(entity, sniffed, kind).then_some(KindVerdict::LeftOut(SIGNATURE));
    }
    let is_cms = matches!(kind, "application/pkcs7-mime" | "application/x-pkcs7-mime");
    if is_cms || content.is_some() {
        let is_signed =
            content.map_or(entity.smime_type.as_deref() == Some("signed-data"), |it| it == Cms::Signed);
        return Some(KindVerdict::Holds(if is_signed { SEALED } else { ENCRYPTED_SMIME }.into()));
    }
    if kind == "application/pgp-encrypted" || line_begins(&entity.bytes, b"-----BEGIN PGP MESSAGE-----") {
        return Some(KindVerdict::Holds(format!(
            "{name} is encrypted (PGP) and cannot be read here. Send it without encryption."
        )));
    }
    None
}

/// Whether a part that is typed or named as a signature is one. A letter under that type would vanish.
fn is_a_signature(entity: &Entity, sniffed: Sniffed, kind: &str) -> bool {
    match sniffed {
        // Base64 that a gateway left undecoded: "MII" is how every sequence of some length begins.
        Sniffed::Text => begins(entity, PGP_SIGNATURE) || begins(entity, b"MII"),
        Sniffed::Unknown => kind != "application/pgp-signature",
        _ => false,
    }
}

/// Whether a part begins with these words, whatever their case; blanks and a byte order mark may stand before.
fn begins(entity: &Entity, word: &[u8]) -> bool {
    let start = entity.bytes.trim_ascii_start();
    let start = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start);
    start.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word))
}

/// Whether every line is one of a header: a field, or the rest of one (RFC 5322 section 2.2).
fn is_all_fields(bytes: &[u8]) -> bool {
    let is_name = |byte: &u8| byte.is_ascii_graphic() && *byte != b':';
    bytes.split(|byte| *byte == b'\n').all(|line| match memchr::memchr(b':', line) {
        _ if line.trim_ascii().is_empty() || matches!(line.first(), Some(b' ' | b'\t')) => true,
        Some(end) => end > 0 && line.get(..end).is_some_and(|name| name.trim_ascii_end().iter().all(is_name)),
        None => false,
    })
}

/// What mail programs add that nobody means to be faxed. Nothing is taken for that by its type alone.
fn of_no_substance(entity: &Entity) -> Option<&'static str> {
    let is_blank = entity.bytes.trim_ascii().is_empty();
    let begins = |word: &[u8]| begins(entity, word);
    match entity.media_type.as_str() {
        "text/calendar" | "application/ics" if is_blank => Some("a calendar entry"),
        _ if begins(b"BEGIN:VCALENDAR") => Some("a calendar entry"),
        "text/vcard" | "text/x-vcard" | "text/directory" if is_blank => Some("a visiting card"),
        _ if begins(b"BEGIN:VCARD") => Some("a visiting card"),
        _ if begins(b"-----BEGIN PGP PUBLIC KEY BLOCK-----") => Some("a PGP key"),
        _ if begins(PGP_SIGNATURE) => Some(SIGNATURE),
        "message/delivery-status"
        | "message/global-delivery-status"
        | "message/disposition-notification"
        | "message/global-disposition-notification"
        | "message/feedback-report"
        | "text/rfc822-headers"
            if is_all_fields(&entity.bytes) =>
        {
            Some("a part of a mail system's report")
        }
        "text/x-amp-html" if entity.place.alternative.is_some() => {
            Some("the mail's text in another form; it is not faxed as pages")
        }
        _ => None,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cms {
    Signed,
    Encrypted,
}

/// What a file in the form of CMS holds (RFC 5652 section 3: a sequence that begins with the type of its content).
fn cms_content(bytes: &[u8]) -> Option<Cms> {
    /// 1.2.840.113549.1.7, the arc of PKCS #7.
    const PKCS7: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07";
    /// 1.2.840.113549.1.9.16.1.23, authEnvelopedData (RFC 5083).
    const AUTHENTICATED: &[u8] = b"\x06\x0b\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x01\x17";
    let (&length, after) = bytes.strip_prefix(b"\x30")?.split_first()?;
    let long = if length > 0x80 { usize::from(length & 0x7f) } else { 0 };
    let content = after.get(long..)?;
    if content.starts_with(AUTHENTICATED) {
        return Some(Cms::Encrypted);
    }
    match content.strip_prefix(PKCS7)?.first()? {
        2 => Some(Cms::Signed),
        3 | 6 | 9 => Some(Cms::Encrypted),
        _ => None,
    }
}

fn line_begins(bytes: &[u8], words: &[u8]) -> bool {
    memchr::memmem::find_iter(bytes, words).any(|at| {
        let before = bytes.get(..at).unwrap_or_default();
        matches!(before.last(), None | Some(b'\n' | b'\r'))
    })
}

/// Whether a text carries a file as mail did before MIME: `begin 644 name`, then lines of full length.
fn has_uuencoded_file(text: &str) -> bool {
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some(rest) = line.strip_prefix("begin ") else { continue };
        let mode = rest.split(' ').next().unwrap_or_default();
        let is_mode = matches!(mode.len(), 3 | 4) && mode.bytes().all(|digit| (b'0'..=b'7').contains(&digit));
        let next = lines.clone().next().unwrap_or_default();
        // The first letter is the length of the line: 45 bytes are 60 letters.
        let length = next.bytes().next().map_or(0, |first| usize::from(first.wrapping_sub(32) & 63));
        if is_mode
            && length > 0
            && next.len() > length.div_ceil(3) * 4
            && next.len() < length.div_ceil(3) * 4 + 4
        {
            return true;
        }
    }
    false
}

fn is_html(bytes: &[u8]) -> bool {
    let start = bytes.trim_ascii_start();
    let begins = |tag: &[u8]| start.get(..tag.len()).is_some_and(|head| head.eq_ignore_ascii_case(tag));
    begins(b"<!doctype html") || begins(b"<html")
}

fn kind(entity: &Entity, sniffed: Sniffed) -> PartKind {
    let media_type = entity.media_type.as_str();
    match entity.role {
        Role::Mail(_) => return PartKind::Mail,
        Role::Wrapping | Role::BrokenWrapping | Role::OutlookText | Role::OutlookObject => {
            return PartKind::Other;
        }
        Role::Body | Role::Attachment => {}
    }
    match sniffed {
        Sniffed::Picture => PartKind::Image,
        Sniffed::Archive | Sniffed::Office => PartKind::Other,
        _ if matches!(media_type, "text/html" | "text/x-amp-html" | "application/xhtml+xml") => {
            PartKind::Html
        }
        _ if media_type.starts_with("image/") => PartKind::Image,
        _ if media_type.starts_with("text/") => PartKind::Text,
        _ if matches!(media_type, "message/rfc822" | "message/global") => PartKind::Mail,
        Sniffed::Text if media_type == "application/octet-stream" && is_html(&entity.bytes) => PartKind::Html,
        Sniffed::Text if media_type == "application/octet-stream" => PartKind::Text,
        _ => PartKind::Other,
    }
}

fn unnamed(kind: PartKind, role: Role) -> &'static str {
    match (kind, role) {
        (_, Role::OutlookText) => "text of the mail",
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

/// A declared type as office staff call it, where the content does not contradict that.
fn in_words(media_type: &str, bytes: &[u8]) -> Option<&'static str> {
    const OPEN_XML: &str = "application/vnd.openxmlformats-officedocument.";
    const OPEN_DOCUMENT: &str = "application/vnd.oasis.opendocument.";
    let zipped = bytes.starts_with(b"PK");
    let family = |name: &str| media_type.strip_prefix(name).filter(|_| zipped);
    let (xml, odf) = (family(OPEN_XML).unwrap_or_default(), family(OPEN_DOCUMENT).unwrap_or_default());
    Some(match media_type {
        "application/msword" => "a Word document",
        "application/vnd.ms-excel" => "an Excel sheet",
        "application/vnd.ms-powerpoint" => "a PowerPoint presentation",
        "application/rtf" | "text/rtf" => "a rich text document",
        "text/csv" => "a list (CSV)",
        _ if xml.starts_with("wordprocessingml") => "a Word document",
        _ if xml.starts_with("spreadsheetml") => "an Excel sheet",
        _ if xml.starts_with("presentationml") => "a PowerPoint presentation",
        _ if odf.starts_with("text") => "a text document (OpenDocument)",
        _ if odf.starts_with("spreadsheet") => "a spreadsheet (OpenDocument)",
        "application/zip" | "application/x-zip-compressed" if zipped => "a ZIP archive",
        _ if media_type.starts_with("audio/") => "a sound recording",
        _ if media_type.starts_with("video/") => "a film",
        _ => return None,
    })
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
            Sniffed::Unknown => "a file of another kind",
        }
    }
}

/// Looks at the content. Readers accept a PDF header anywhere in the first 1024 bytes (PDF 1.7, annex H, note 13).
pub(super) fn sniff(bytes: &[u8]) -> Sniffed {
    const PICTURES: &[&[u8]] = &[b"\xff\xd8\xff", b"\x89PNG\r\n", b"GIF8", b"II*\0", b"MM\0*"];
    let head = bytes.get(..1024).unwrap_or(bytes);
    if head.starts_with(b"%PDF-") {
        return Sniffed::Pdf;
    }
    let brand = bytes.get(4..12).unwrap_or_default();
    let is_bitmap = head.starts_with(b"BM")
        && matches!(head.get(14..18), Some([12 | 40 | 52 | 56 | 64 | 108 | 124, 0, 0, 0]));
    if is_bitmap
        || PICTURES.iter().any(|magic| head.starts_with(magic))
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
    // After those: a ZIP archive may hold a PDF as it is.
    if memchr::memmem::find(head, b"%PDF-").is_some() {
        return Sniffed::Pdf;
    }
    if is_printable(bytes) { Sniffed::Text } else { Sniffed::Unknown }
}

/// Whether the beginning is text in some character set that is not far from ASCII.
pub(super) fn is_printable(bytes: &[u8]) -> bool {
    let head = bytes.get(..1024).unwrap_or(bytes);
    let printable = |byte: &u8| !byte.is_ascii_control() || byte.is_ascii_whitespace();
    !head.is_empty() && head.iter().all(printable)
}
