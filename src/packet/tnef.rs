//! `winmail.dat`: what Outlook wraps a mail in when it writes in its own form (MS-OXTNEF). A row of attributes, those of the
//! mail first, then for each attachment its own.
//!
//! The crate `tnef` 0.1 (2018) reads neither checksums nor the properties that hold the long name of a file; `ytnef` binds a C
//! library. The form is small, and must be read strictly: an attachment that is lost is half a fax.

use super::mapi::{self, Bytes, Damaged, Value, number};
use super::text::in_charset;

/// The first four bytes.
pub(super) const SIGNATURE: &[u8] = b"\x78\x9f\x3e\x22";

/// Numbers of attributes, without their type (MS-OXTNEF section 2.1.3.2).
mod attribute {
    pub(super) const RENDERING: u16 = 0x9002;
    pub(super) const TITLE: u16 = 0x8010;
    pub(super) const DATA: u16 = 0x800f;
    pub(super) const ATTACHMENT: u16 = 0x9005;
    pub(super) const PROPERTIES: u16 = 0x9003;
    pub(super) const CODEPAGE: u16 = 0x9007;
    pub(super) const BODY: u16 = 0x800c;
}

/// What was in it.
#[derive(Debug, Default)]
pub(super) struct Unwrapped<'x> {
    /// The mail's text.
    pub text: Option<String>,
    /// The mail's text as HTML.
    pub html: Option<String>,
    /// The mail's text as compressed RTF.
    pub rtf: Option<&'x [u8]>,
    pub attachments: Vec<Attached<'x>>,
}

/// An attachment.
#[derive(Debug, Default)]
pub(super) struct Attached<'x> {
    /// The long name rather than the short one.
    pub name: Option<String>,
    /// What its sender's machine took it for.
    pub media_type: Option<String>,
    pub content_id: Option<String>,
    pub bytes: &'x [u8],
    /// A mail, or a drawing of another program, that only Outlook can open.
    pub is_object: bool,
    /// Attributes that were read: one that comes twice belongs to another attachment, whose beginning is damaged.
    seen: Vec<u16>,
}

/// Takes the file apart. It counts only if it is whole: every length fits, every checksum is right.
pub(super) fn unwrapped(file: &[u8]) -> Result<Unwrapped<'_>, Damaged> {
    let mut bytes = Bytes(file.strip_prefix(SIGNATURE).ok_or(Damaged)?);
    bytes.u16()?;
    let mut found = Unwrapped::default();
    let mut codepage = "windows-1252".to_owned();
    while !bytes.0.is_empty() {
        // Some gateways leave a line end or zeros behind it.
        if bytes.0.len() < 9 && bytes.0.iter().all(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
            break;
        }
        let level = bytes.u8()?;
        let id = bytes.u32()?;
        let data = bytes.counted()?;
        let sum = data.iter().fold(0u16, |sum, byte| sum.wrapping_add(u16::from(*byte)));
        if bytes.u16()? != sum {
            return Err(Damaged);
        }
        // The upper half is the type of the value.
        let id = u16::try_from(id & 0xffff).map_err(|_| Damaged)?;
        match (level, id) {
            (1, attribute::CODEPAGE) => {
                let number = Bytes(data).u32()?;
                codepage = charset(number);
            }
            (1, attribute::BODY) => {
                found.text.get_or_insert_with(|| in_charset(up_to_zero(data), Some(&codepage)));
            }
            (1, attribute::PROPERTIES) => mail_properties(&mut found, data, &codepage)?,
            (2, attribute::RENDERING) => found.attachments.push(Attached::default()),
            (2, id) => {
                // Every attachment begins with how it is drawn (section 2.1.3.3.15).
                let attached = found.attachments.last_mut().ok_or(Damaged)?;
                if matches!(id, attribute::TITLE | attribute::DATA | attribute::ATTACHMENT) {
                    if attached.seen.contains(&id) {
                        return Err(Damaged);
                    }
                    attached.seen.push(id);
                }
                match id {
                    attribute::TITLE => {
                        attached.name.get_or_insert_with(|| in_charset(up_to_zero(data), Some(&codepage)));
                    }
                    attribute::DATA => attached.bytes = data,
                    attribute::ATTACHMENT => attachment_properties(attached, data, &codepage)?,
                    _ => {}
                }
            }
            (1, _) => {}
            _ => return Err(Damaged),
        }
    }
    Ok(found)
}

fn mail_properties<'x>(found: &mut Unwrapped<'x>, data: &'x [u8], codepage: &str) -> Result<(), Damaged> {
    let properties = mapi::read(data)?;
    let internet = properties.iter().find_map(|property| match property {
        (number::INTERNET_CODEPAGE, Value::Number(page)) => Some(charset(*page)),
        _ => None,
    });
    for (number, value) in properties {
        match (number, value) {
            (number::BODY, value) => found.text = value.text(codepage).or(found.text.take()),
            (number::HTML, Value::Binary(html)) => {
                found.html = Some(in_charset(html, internet.as_deref()));
            }
            (number::HTML, value) => found.html = value.text(codepage),
            (number::RTF_COMPRESSED, Value::Binary(rtf)) => found.rtf = Some(rtf),
            _ => {}
        }
    }
    Ok(())
}

fn attachment_properties<'x>(
    attached: &mut Attached<'x>,
    data: &'x [u8],
    codepage: &str,
) -> Result<(), Damaged> {
    let mut names = [None, None, None];
    for (number, value) in mapi::read(data)? {
        match (number, value) {
            (number::ATTACH_LONG_FILENAME, value) => names[0] = value.text(codepage),
            (number::ATTACH_FILENAME, value) => names[1] = value.text(codepage),
            (number::DISPLAY_NAME, value) => names[2] = value.text(codepage),
            (number::ATTACH_MIME_TAG, value) => attached.media_type = value.text(codepage),
            (number::ATTACH_CONTENT_ID, value) => attached.content_id = value.text(codepage),
            (number::ATTACH_DATA, Value::Binary(bytes)) => attached.bytes = bytes,
            (number::ATTACH_DATA, Value::Object(bytes)) => {
                (attached.bytes, attached.is_object) = (bytes, true);
            }
            _ => {}
        }
    }
    let better = names.into_iter().flatten().find(|name| !name.trim().is_empty());
    if better.is_some() {
        attached.name = better;
    }
    Ok(())
}

/// The name of a Windows code page, as mail calls it.
fn charset(page: u32) -> String {
    match page {
        65001 => "utf-8".into(),
        20127 => "us-ascii".into(),
        28591..=28605 => format!("iso-8859-{}", page - 28590),
        932 => "shift_jis".into(),
        936 => "gbk".into(),
        949 => "euc-kr".into(),
        950 => "big5".into(),
        51932 => "euc-jp".into(),
        50220..=50222 => "iso-2022-jp".into(),
        20866 => "koi8-r".into(),
        54936 => "gb18030".into(),
        page => format!("windows-{page}"),
    }
}

fn up_to_zero(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::samples::{tnef, tnef_attribute, tnef_properties};
    use super::*;

    #[test]
    fn attachments_come_with_their_long_names() {
        let names = tnef_properties(&[(0x001e, number::ATTACH_LONG_FILENAME, b"long name.pdf\0")]);
        let mail = tnef_properties(&[
            (0x001f, number::BODY, b"h\0i\0\0\0"),
            (0x0102, number::RTF_COMPRESSED, b"rtf"),
            (0x0102, number::HTML, b"<p>h\xfc</p>"),
        ]);
        let file = tnef(&[
            (1, 0x0006_9007, &932u32.to_le_bytes()),
            (1, 0x0006_9003, &mail),
            (2, 0x0006_9002, &[0; 14]),
            (2, 0x0001_8010, b"LONGNA~1.PDF\0"),
            (2, 0x0006_800f, b"%PDF-1.7"),
            (2, 0x0006_9005, &names),
            (2, 0x0006_9002, &[0; 14]),
            (2, 0x0001_8010, b"b.txt\0"),
            (2, 0x0006_800f, b"text"),
        ]);
        let found = unwrapped(&file).unwrap();
        assert_eq!(found.text.as_deref(), Some("hi"));
        assert_eq!(found.html.as_deref(), Some("<p>hü</p>"));
        assert_eq!(found.rtf, Some(&b"rtf"[..]));
        let names: Vec<_> =
            found.attachments.iter().map(|one| (one.name.as_deref().unwrap(), one.bytes)).collect();
        assert_eq!(names, [("long name.pdf", &b"%PDF-1.7"[..]), ("b.txt", b"text")]);
        assert!(unwrapped(&[&file[..], b"\r\n"].concat()).is_ok());
        let ends: Vec<usize> = (6..file.len()).filter(|end| unwrapped(&file[..*end]).is_ok()).collect();
        // Cut exactly between two attributes it looks whole: that is why the mail around it must be whole too.
        assert_eq!(ends.len(), 9, "{ends:?}");
        for place in 15..file.len() {
            let mut flipped = file.clone();
            flipped[place] ^= 1;
            if let Ok(found) = unwrapped(&flipped) {
                assert_eq!(found.attachments.len(), 2, "flipped at {place}");
            }
        }
    }

    #[test]
    fn objects_are_told_from_files() {
        let object = tnef_properties(&[(0x000d, number::ATTACH_DATA, b"0123456789abcdefmail")]);
        let file = tnef(&[(2, 0x0006_9002, &[0; 14]), (2, 0x0006_9005, &object)]);
        let found = unwrapped(&file).unwrap();
        assert!(found.attachments[0].is_object && found.attachments[0].bytes == b"mail");
    }

    #[test]
    fn what_is_not_whole_is_nothing() {
        for file in [
            &b""[..],
            b"\x78\x9f\x3e\x22",
            b"\x78\x9f\x3e\x22\0\0\x01",
            b"\x78\x9f\x3e\x23\0\0",
            b"\x78\x9f\x3e\x22\0\0\x02\x10\x80\x01\0\x01\0\0\0a\x61\0",
            b"\x78\x9f\x3e\x22\0\0\x01\x0c\x80\x02\0\xff\xff\xff\xffa",
        ] {
            assert!(unwrapped(file).is_err(), "{file:?}");
        }
        let mut wrong = b"\x78\x9f\x3e\x22\0\0".to_vec();
        wrong.extend_from_slice(&tnef_attribute(1, 0x0002_800c, b"text"));
        *wrong.last_mut().unwrap() ^= 1;
        assert!(unwrapped(&wrong).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..200), level in 1..3u8, id in 0x8000..0x9010u32) {
            let _ = unwrapped(&bytes);
            let _ = unwrapped(&tnef(&[(2, 0x9002, b""), (level, id, &bytes)]));
        }
    }
}
