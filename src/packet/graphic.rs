//! Pictures of a mail: their size by their first bytes, without decoding one, and which of them are only decoration.
//!
//! A picture that somebody means to be faxed must not vanish, so what is left out has to be small or have a place in the
//! layout of the text. Everything else holds the mail: only PDF becomes pages for now.

use std::collections::{HashMap, HashSet};

use super::kind::Sniffed;
use super::mail::Entity;

/// Narrower or lower than this in pixels: spacers, rules, counters, icons.
const TINY: u32 = 64;
/// A file this small is an icon, if it is no larger than [`TINY_AREA`].
const TINY_BYTES: u64 = 2 << 10;
const TINY_AREA: (u32, u32) = (300, 300);
/// A logo beside a signature.
const SMALL: (u32, u32) = (300, 120);
const SMALL_BYTES: u64 = 30 << 10;
/// A logo or banner that one mail carries several times. A page that was scanned is larger, and holds.
const REPEATED: (u32, u32) = (1000, 500);
const REPEATED_BYTES: u64 = 128 << 10;

/// A page that was scanned or photographed is as wide and as high as this, or more: letter paper at 120 dpi. A file so small is none.
const PAGE: (u32, u32) = (1000, 1000);
const PAGE_BYTES: u64 = 32 << 10;
/// Where the size in pixels is not known, and for pictures of any shape.
const LAYOUT_BYTES: u64 = 1 << 20;

/// What must be known of the whole mail to judge one picture.
#[derive(Debug, Default)]
pub(super) struct Around {
    /// The Content-IDs that HTML texts refer to, with the mail (within the mail) of the text; lower case.
    pub referenced: HashSet<(u32, String)>,
    /// How often each content occurs.
    pub contents: HashMap<[u8; 32], u32>,
    /// There is a PDF among the parts.
    pub has_pdf: bool,
}

/// Why the picture is only decoration; `None` where it may mean something.
pub(super) fn decoration(entity: &Entity, sniffed: Sniffed, around: &Around) -> Option<&'static str> {
    let declared = entity.media_type.starts_with("image/") || entity.media_type == "application/x-mso";
    match sniffed {
        Sniffed::Picture => {}
        // Formats that are not told by their first bytes: SVG, EMF, WMF.
        Sniffed::Unknown | Sniffed::Text if declared => {}
        _ => return None,
    }
    let id = entity.content_id.as_deref().map(str::to_ascii_lowercase).unwrap_or_default();
    let is_inline = !id.is_empty() && entity.inline && entity.place.in_related;
    let is_in_layout = is_inline || around.referenced.contains(&(entity.place.mail, id));
    if is_in_layout && !may_be_a_page(entity, sniffed) {
        return Some("an inline picture of the mail's layout");
    }
    if sniffed != Sniffed::Picture {
        return None;
    }
    let size = size(&entity.bytes);
    let within = |most: (u32, u32)| size.is_some_and(|(width, height)| width <= most.0 && height <= most.1);
    let is_web = is_web_picture(&entity.bytes);
    if size.is_some_and(|(width, height)| width <= TINY || height <= TINY)
        || (entity.length <= TINY_BYTES && (within(TINY_AREA) || (size.is_none() && is_web)))
    {
        return Some("a tiny picture, as in signatures");
    }
    let times = around.contents.get(&entity.sha256).copied().unwrap_or(0);
    if times > 1 && within(REPEATED) && entity.length <= REPEATED_BYTES {
        return Some("a picture that the mail repeats, as in signatures");
    }
    if around.has_pdf && within(SMALL) && entity.length <= SMALL_BYTES {
        return Some("a small picture, as in signatures");
    }
    None
}

/// Whether a picture in the text of a mail is large enough to be what the mail is about: the photograph of a card, a scanned page.
fn may_be_a_page(entity: &Entity, sniffed: Sniffed) -> bool {
    let is_of_a_scanner = [&b"II*\0"[..], b"MM\0*"].iter().any(|magic| entity.bytes.starts_with(magic));
    let (width, height) = size(&entity.bytes).unwrap_or_default();
    sniffed == Sniffed::Picture
        && (is_of_a_scanner
            || entity.length > LAYOUT_BYTES
            || (width >= PAGE.0 && height >= PAGE.1 && entity.length > PAGE_BYTES))
}

/// Formats of signatures and web pages; never those of scanners and cameras.
fn is_web_picture(bytes: &[u8]) -> bool {
    [&b"\x89PNG"[..], b"GIF8", b"\xff\xd8\xff", b"BM"].iter().any(|magic| bytes.starts_with(magic))
}

/// Width and height in pixels, as PNG, GIF, BMP and JPEG say in their first bytes.
fn size(bytes: &[u8]) -> Option<(u32, u32)> {
    let (width, height) = if bytes.starts_with(b"\x89PNG\r\n\x1a\n") && bytes.get(12..16)? == b"IHDR" {
        (big(bytes.get(16..20)?), big(bytes.get(20..24)?))
    } else if bytes.starts_with(b"GIF8") {
        (little(bytes.get(6..8)?), little(bytes.get(8..10)?))
    } else if bytes.starts_with(b"BM") {
        match little(bytes.get(14..18)?) {
            12 => (little(bytes.get(18..20)?), little(bytes.get(20..22)?)),
            // A picture that is stored from the top has a negative height.
            _ => (little(bytes.get(18..22)?), little(bytes.get(22..26)?).cast_signed().unsigned_abs()),
        }
    } else if bytes.starts_with(b"\xff\xd8\xff") {
        let frame = jpeg_frame(bytes)?;
        (big(frame.get(5..7)?), big(frame.get(3..5)?))
    } else {
        return None;
    };
    (width > 0 && height > 0).then_some((width, height))
}

/// Whether a JPEG has a frame and, behind it, its end mark.
pub(super) fn is_whole_jpeg(bytes: &[u8]) -> bool {
    let start =
        memchr::memmem::find(bytes.get(..64).unwrap_or(bytes), b"\xff\xd8\xff").unwrap_or(bytes.len());
    let frame = jpeg_frame(bytes.get(start..).unwrap_or_default());
    frame.is_some_and(|rest| memchr::memmem::find(rest, b"\xff\xd9").is_some())
}

/// Walks over the segments to the one that begins a frame (ITU T.81, section B.2); what follows its mark.
fn jpeg_frame(bytes: &[u8]) -> Option<&[u8]> {
    let mut rest = bytes.get(2..)?;
    loop {
        let (&mark, after) = rest.split_first()?;
        let (&kind, after) = after.split_first()?;
        match (mark, kind) {
            // Any number of fill bytes may stand before a marker.
            (0xff, 0xff) => rest = rest.get(1..)?,
            (0xff, 0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf) => {
                return Some(after);
            }
            (0xff, 0x01 | 0xd0..=0xd8) => rest = after,
            // The picture itself begins, or ends, without a frame.
            (0xff, 0xda | 0xd9) => return None,
            (0xff, _) => rest = after.get(usize::try_from(big(after.get(..2)?)).ok()?.max(2)..)?,
            _ => return None,
        }
    }
}

fn big(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |value: u32, byte| value << 8 | u32::from(*byte))
}

fn little(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |value: u32, byte| value << 8 | u32::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::super::samples::{bmp, gif, jpeg, png};
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_stand_in_the_first_bytes() {
        for (bytes, known) in [
            (png(300, 120), Some((300, 120))),
            (gif(1, 1), Some((1, 1))),
            (bmp(640, -480), Some((640, 480))),
            (jpeg(1700, 2200), Some((1700, 2200))),
            (png(0, 1), None),
            (b"\xff\xd8\xff\xda\0\0".to_vec(), None),
            (b"II*\0".to_vec(), None),
        ] {
            assert_eq!(size(&bytes), known);
            for cut in 0..bytes.len().min(40) {
                size(bytes.get(..cut).unwrap());
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes_have_some_size(bytes in proptest::collection::vec(any::<u8>(), 0..60), magic in 0..4) {
            let magic = [&b"\xff\xd8\xff"[..], b"BM", b"GIF8", b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR"][magic as usize];
            size(&[magic, &bytes].concat());
        }
    }
}
