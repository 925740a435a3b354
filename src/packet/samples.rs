//! Small PDFs and mails for tests; also taken in by `tests/parts/packet.rs`.
#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    reason = "test material, used by two crates"
)]

use lopdf::{Dictionary, Document, Object, ObjectId, Stream, dictionary};

/// A document with one line of Helvetica per page; fonts and paper size are inherited from the page tree.
pub fn document(lines: &[&str]) -> Document {
    let mut doc = Document::with_version("1.5");
    let pages = doc.new_object_id();
    let font = doc.add_object(dictionary! {
        "Type" => "Font", "Subtype" => "Type1", "BaseFont" => "Helvetica",
    });
    let kids: Vec<Object> = lines
        .iter()
        .map(|line| {
            let content = format!("BT /F1 24 Tf 72 700 Td ({line}) Tj ET");
            let content = doc.add_object(Stream::new(Dictionary::new(), content.into_bytes()));
            doc.add_object(dictionary! { "Type" => "Page", "Parent" => pages, "Contents" => content }).into()
        })
        .collect();
    let count = i64::try_from(kids.len()).unwrap();
    let resources = dictionary! { "Font" => dictionary! { "F1" => font } };
    doc.set_object(
        pages,
        dictionary! {
            "Type" => "Pages", "Kids" => kids, "Count" => count, "Resources" => resources,
            "MediaBox" => vec![0.into(), 0.into(), 612.into(), 792.into()],
        },
    );
    let catalog = doc.add_object(dictionary! { "Type" => "Catalog", "Pages" => pages });
    doc.trailer.set("Root", catalog);
    doc
}

/// The file of a document, with a classic cross-reference table.
pub fn saved(mut doc: Document) -> Vec<u8> {
    let mut file = Vec::new();
    let options = lopdf::SaveOptions::builder().use_object_streams(false).use_xref_streams(false).build();
    doc.reference_table.cross_reference_type = lopdf::xref::XrefType::CrossReferenceTable;
    doc.save_with_options(&mut file, options).unwrap();
    file
}

/// The file of a document, with object streams.
pub fn saved_modern(mut doc: Document) -> Vec<u8> {
    let mut file = Vec::new();
    doc.save_modern(&mut file).unwrap();
    file
}

/// A PDF with one line of text per page.
pub fn pdf(lines: &[&str]) -> Vec<u8> {
    saved(document(lines))
}

/// The page dictionary's id, from 0.
pub fn page(doc: &Document, number: usize) -> ObjectId {
    doc.page_iter().nth(number).unwrap()
}

/// A form XObject that draws a line of text, as appearances and drawings have it.
pub fn drawing(doc: &mut Document, text: &str) -> ObjectId {
    let font = doc.add_object(dictionary! {
        "Type" => "Font", "Subtype" => "Type1", "BaseFont" => "Helvetica",
    });
    doc.add_object(Stream::new(
        dictionary! {
            "Type" => "XObject", "Subtype" => "Form",
            "BBox" => vec![0.into(), 0.into(), 200.into(), 50.into()],
            "Resources" => dictionary! { "Font" => dictionary! { "F1" => font } },
        },
        format!("BT /F1 12 Tf 5 5 Td ({text}) Tj ET").into_bytes(),
    ))
}

/// A mail of parts: each is its header lines and its raw bytes; those with `base64` in the header are encoded.
pub fn mail(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut mail = b"From: Jane Doe <jane@example.com>\r\nTo: mercy-radiology@fax.example.com\r\n\
        Subject: Referral\r\nMessage-ID: <1@example.com>\r\nDate: Mon, 2 Nov 2026 10:00:00 +0100\r\n\
        MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=outer\r\n\r\npreamble\r\n"
        .to_vec();
    for (header, bytes) in parts {
        mail.extend_from_slice(b"--outer\r\n");
        mail.extend_from_slice(header.replace('\n', "\r\n").as_bytes());
        mail.extend_from_slice(b"\r\n\r\n");
        if header.contains("base64") {
            mail.extend_from_slice(base64_lines(bytes).as_bytes());
        } else {
            mail.extend_from_slice(bytes);
        }
        mail.extend_from_slice(b"\r\n");
    }
    mail.extend_from_slice(b"--outer--\r\n");
    mail
}

/// Header of an attached PDF.
pub fn attached(name: &str) -> String {
    format!(
        "Content-Type: application/pdf; name=\"{name}\"\nContent-Transfer-Encoding: base64\n\
         Content-Disposition: attachment; filename=\"{name}\""
    )
}

/// Base64 in lines of 76 characters.
pub fn base64_lines(bytes: &[u8]) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(bytes);
    text.as_bytes().chunks(76).map(|line| std::str::from_utf8(line).unwrap()).collect::<Vec<_>>().join("\r\n")
}

/// Everything a PDF says, decompressed: what a search through it would find.
pub fn everything(file: &[u8]) -> Vec<u8> {
    let mut doc = Document::load_mem(file).unwrap();
    doc.decompress();
    let mut all = Vec::new();
    for object in doc.objects.values() {
        if let Object::Stream(stream) = object {
            all.extend_from_slice(&stream.content);
        }
        all.extend_from_slice(format!("{object:?}").as_bytes());
    }
    all
}

/// Whether `text` is found by a search through [`everything`].
pub fn says(file: &[u8], text: &str) -> bool {
    memchr::memmem::find(&everything(file), text.as_bytes()).is_some()
}

/// The first bytes of a PNG of this size, and enough after them not to be an icon.
pub fn png(width: u32, height: u32) -> Vec<u8> {
    let mut png = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".to_vec();
    png.extend_from_slice(&width.to_be_bytes());
    png.extend_from_slice(&height.to_be_bytes());
    png.extend_from_slice(b"\x08\x02\0\0\0");
    png.extend_from_slice(&[7; 4000]);
    png
}

/// The first bytes of a GIF.
pub fn gif(width: u16, height: u16) -> Vec<u8> {
    [&b"GIF89a"[..], &width.to_le_bytes(), &height.to_le_bytes(), &[0; 20]].concat()
}

/// The first bytes of a BMP.
pub fn bmp(width: i32, height: i32) -> Vec<u8> {
    let mut bmp = b"BM\0\0\x01\0\0\0\0\0\x36\0\0\0\x28\0\0\0".to_vec();
    bmp.extend_from_slice(&width.to_le_bytes());
    bmp.extend_from_slice(&height.to_le_bytes());
    bmp.resize(4000, 0);
    bmp
}

/// The first segments of a JPEG.
pub fn jpeg(width: u16, height: u16) -> Vec<u8> {
    let mut jpeg = b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0\xff\xff\xc2\0\x11\x08".to_vec();
    jpeg.extend_from_slice(&height.to_be_bytes());
    jpeg.extend_from_slice(&width.to_be_bytes());
    jpeg.resize(4000, 1);
    jpeg
}

/// A `winmail.dat` of attributes: level, number with type, value.
pub fn tnef(attributes: &[(u8, u32, &[u8])]) -> Vec<u8> {
    let mut file = b"\x78\x9f\x3e\x22\x01\0".to_vec();
    for (level, id, value) in attributes {
        file.extend_from_slice(&tnef_attribute(*level, *id, value));
    }
    file
}

/// One attribute of a `winmail.dat`.
pub fn tnef_attribute(level: u8, id: u32, value: &[u8]) -> Vec<u8> {
    let sum = value.iter().fold(0u16, |sum, byte| sum.wrapping_add(u16::from(*byte)));
    let length = u32::try_from(value.len()).unwrap();
    [&[level][..], &id.to_le_bytes(), &length.to_le_bytes(), value, &sum.to_le_bytes()].concat()
}

/// The value of an attribute of properties: type, number, value (of variable length).
pub fn tnef_properties(properties: &[(u16, u16, &[u8])]) -> Vec<u8> {
    let mut value = u32::try_from(properties.len()).unwrap().to_le_bytes().to_vec();
    for (kind, number, content) in properties {
        value.extend_from_slice(&kind.to_le_bytes());
        value.extend_from_slice(&number.to_le_bytes());
        value.extend_from_slice(&1u32.to_le_bytes());
        value.extend_from_slice(&u32::try_from(content.len()).unwrap().to_le_bytes());
        value.extend_from_slice(content);
        value.resize(value.len().next_multiple_of(4), 0);
    }
    value
}

/// A `winmail.dat` with these files.
pub fn winmail(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut file = tnef(&[]);
    for (name, bytes) in files {
        file.extend_from_slice(&tnef_attribute(2, 0x0006_9002, &[0; 14]));
        file.extend_from_slice(&tnef_attribute(2, 0x0001_8010, format!("{name}\0").as_bytes()));
        file.extend_from_slice(&tnef_attribute(2, 0x0006_800f, bytes));
    }
    file
}
