//! Small PDFs and mails for tests; also taken in by `tests/packet.rs`.
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
