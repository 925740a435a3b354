//! What is faxed.

use lopdf::content::{Content, Operation};
use lopdf::{Document, Object, Stream, dictionary};

/// A letter whose pages differ from one another all over.
pub(crate) fn letter(pages: u32) -> Vec<u8> {
    let mut document = Document::with_version("1.5");
    let tree = document.new_object_id();
    let font = document
        .add_object(dictionary! { "Type" => "Font", "Subtype" => "Type1", "BaseFont" => "Helvetica-Bold" });
    let resources = document.add_object(dictionary! { "Font" => dictionary! { "F1" => font } });
    let mut kids = Vec::new();
    for page in 1..=pages {
        let mut operations = vec![Operation::new("BT", vec![])];
        for line in 0..20 {
            let size = 12 + i64::from((line * 7 + page * 5) % 16);
            let text = format!(
                "page {page} of the referral, line {line} {}",
                "#".repeat((page * line) as usize % 9)
            );
            let from_left = 60 + i64::from((line * 31 + page * 47) % 120);
            operations.extend([
                Operation::new("Tf", vec!["F1".into(), size.into()]),
                Operation::new(
                    "Tm",
                    vec![
                        1.into(),
                        0.into(),
                        0.into(),
                        1.into(),
                        from_left.into(),
                        (720 - i64::from(line) * 34).into(),
                    ],
                ),
                Operation::new("Tj", vec![Object::string_literal(text)]),
            ]);
        }
        operations.push(Operation::new("ET", vec![]));
        let content =
            document.add_object(Stream::new(dictionary! {}, Content { operations }.encode().unwrap()));
        kids.push(Object::from(
            document.add_object(dictionary! { "Type" => "Page", "Parent" => tree, "Contents" => content }),
        ));
    }
    document.objects.insert(
        tree,
        Object::Dictionary(dictionary! {
            "Type" => "Pages", "Count" => i64::from(pages), "Kids" => kids, "Resources" => resources,
            "MediaBox" => vec![0.into(), 0.into(), 612.into(), 792.into()],
        }),
    );
    let catalog = document.add_object(dictionary! { "Type" => "Catalog", "Pages" => tree });
    document.trailer.set("Root", catalog);
    let mut bytes = Vec::new();
    document.save_to(&mut bytes).unwrap();
    bytes
}
