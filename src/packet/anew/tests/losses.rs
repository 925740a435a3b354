//! What a viewer shows and the fax would lack holds the page; what is not on a chosen page holds nothing.

use lopdf::{Dictionary, Document, Object, ObjectId, Stream, dictionary};

use super::super::super::Rules;
use super::super::super::opened::Opened;
use super::super::super::samples::{document, drawing, page, saved, says};
use super::{annotate, catalog, made, mark};

/// Why some pages of a document (all, where there is no selection) are not written; `None` when they are.
pub(super) fn held(doc: Document, selection: Option<&str>) -> Option<String> {
    let mut opened = Opened::file("x.pdf", saved(doc), Rules::default());
    let selection = selection.map(|text| text.parse().unwrap());
    opened.make([None, None], selection.as_ref()).err()
}

/// A page whose content says also this, with these resources in the category.
fn drawn_with(doc: &mut Document, category: &str, entries: Dictionary, content: &str) {
    let tree = doc.catalog().unwrap().get(b"Pages").unwrap().as_reference().unwrap();
    let resources =
        doc.get_dictionary_mut(tree).unwrap().get_mut(b"Resources").unwrap().as_dict_mut().unwrap();
    resources.set(category, entries);
    let id = page(doc, 0);
    let first = doc.get_dictionary(id).unwrap().get(b"Contents").unwrap().clone();
    let more = doc.add_object(Stream::new(Dictionary::new(), content.as_bytes().to_vec()));
    doc.get_dictionary_mut(id).unwrap().set("Contents", vec![first, more.into()]);
}

fn stream(doc: &mut Document, id: ObjectId) -> &mut Stream {
    doc.get_object_mut(id).unwrap().as_stream_mut().unwrap()
}

fn zipped(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn picture(data: Vec<u8>) -> Stream {
    let picture = dictionary! {
        "Type" => "XObject", "Subtype" => "Image", "Width" => 100, "Height" => 100, "BitsPerComponent" => 8,
        "ColorSpace" => "DeviceGray", "Filter" => "FlateDecode",
    };
    Stream::new(picture, data)
}

#[test]
fn a_drawing_is_drawn_whatever_type_it_claims() {
    for claimed in ["Page", "Metadata", "Annot", "EmbeddedFile", "StructElem", "Catalog"] {
        let mut doc = document(&["page"]);
        let form = drawing(&mut doc, "do not give with warfarin");
        stream(&mut doc, form).dict.set("Type", claimed);
        let mask = drawing(&mut doc, "soft mask");
        stream(&mut doc, mask).dict.set("Type", claimed);
        let state = dictionary! { "SMask" => dictionary! { "S" => "Alpha", "G" => mask } };
        drawn_with(&mut doc, "XObject", dictionary! { "Fm0" => form }, "/Fm0 Do /G0 gs");
        let tree = doc.catalog().unwrap().get(b"Pages").unwrap().as_reference().unwrap();
        let resources = doc.get_dictionary_mut(tree).unwrap().get_mut(b"Resources").unwrap();
        resources.as_dict_mut().unwrap().set("ExtGState", dictionary! { "G0" => state });
        let mut stamp = mark(&mut doc, "Stamp", 4, "stamped");
        let drawn = stamp.get(b"AP").unwrap().as_dict().unwrap().get(b"N").unwrap().as_reference().unwrap();
        stream(&mut doc, drawn).dict.set("Type", claimed);
        stamp.set("Type", claimed);
        annotate(&mut doc, 0, stamp);
        let output = made(doc, None);
        for text in ["warfarin", "soft mask", "stamped"] {
            assert!(says(&output, text), "{claimed}: {text}");
        }

        let mut doc = document(&["page"]);
        let pattern = doc.add_object(Stream::new(
            dictionary! { "Type" => claimed, "PatternType" => 1, "PaintType" => 1, "TilingType" => 1, "XStep" => 9, "YStep" => 9,
            "BBox" => vec![0.into(), 0.into(), 9.into(), 9.into()], "Resources" => Dictionary::new() },
            b"0 0 5.125 5.125 re f".to_vec(),
        ));
        drawn_with(
            &mut doc,
            "Pattern",
            dictionary! { "P0" => pattern },
            "/Pattern cs /P0 scn 72 400 400 9 re f",
        );
        assert!(says(&made(doc, None), "5.125"), "{claimed}");
    }
}

#[test]
fn what_leads_away_from_drawing_stays_away() {
    let mut doc = document(&["page"]);
    let xml = doc.add_object(Stream::new(
        dictionary! { "Type" => "Metadata", "Subtype" => "XML" },
        b"xmp secret".to_vec(),
    ));
    let form = drawing(&mut doc, "drawn");
    stream(&mut doc, form).dict.set("Metadata", xml);
    stream(&mut doc, form).dict.set("Private", xml);
    drawn_with(&mut doc, "XObject", dictionary! { "Fm0" => form }, "/Fm0 Do");
    let output = made(doc, None);
    assert!(says(&output, "drawn") && !says(&output, "secret"));
}

#[test]
fn what_is_missing_or_broken_holds_the_page_that_is_drawn_with_it() {
    let whole = zipped(&[0x55; 10_000]);
    let cut = whole[..whole.len() - 12].to_vec();
    let mut flipped = zipped(&(0..100u8).cycle().take(10_000).collect::<Vec<u8>>());
    let last = flipped.len() - 1;
    flipped[last] ^= 1;
    let with_picture = |picture: Stream| {
        let mut doc = document(&["page", "other"]);
        let id = doc.add_object(picture);
        drawn_with(&mut doc, "XObject", dictionary! { "Im0" => id }, "q 9 0 0 9 0 0 cm /Im0 Do Q");
        doc
    };
    let mut missing = document(&["page", "other"]);
    drawn_with(&mut missing, "XObject", dictionary! { "Im0" => Object::Reference((9000, 0)) }, "/Im0 Do");
    let mut null = document(&["page", "other"]);
    drawn_with(&mut null, "XObject", dictionary! { "Im0" => Object::Null }, "/Im0 Do");
    let mut catalog_for_font = document(&["page", "other"]);
    let root = catalog_for_font.trailer.get(b"Root").unwrap().clone();
    drawn_with(&mut catalog_for_font, "Font", dictionary! { "F9" => root }, "/F9 9 Tf");
    let mut content = document(&["page", "other"]);
    let id = content.add_object(Stream::new(
        dictionary! { "Filter" => "FlateDecode" },
        b"x\x9cgarbage!!garbage!!".to_vec(),
    ));
    let first = page(&content, 0);
    content.get_dictionary_mut(first).unwrap().set("Contents", id);
    let mut mask = picture(whole.clone());
    mask.dict.set("SMask", Object::Reference((9000, 0)));
    for (what, doc, word) in [
        ("picture that is not there", missing, "is not in the file"),
        ("picture that is null", null, "is not in the file"),
        ("font that is the catalog", catalog_for_font, "is not in the file"),
        ("soft mask that is not there", with_picture(mask), "is not in the file"),
        ("picture of other bytes", with_picture(picture(b"garbage".repeat(50))), "damaged or cut off"),
        ("picture that is cut", with_picture(picture(cut)), "damaged or cut off"),
        ("picture that was changed", with_picture(picture(flipped)), "damaged or cut off"),
        ("content of other bytes", content, "damaged or cut off"),
    ] {
        let sentence = held(doc.clone(), None).unwrap_or_default();
        assert!(
            sentence.starts_with("Page 1 of x.pdf is drawn with") && sentence.contains(word),
            "{what}: {sentence}"
        );
        // The other page does not draw with it.
        assert_eq!(held(doc, Some("2")), None, "{what}");
    }
    assert_eq!(held(with_picture(picture(whole)), None), None);
}

#[test]
fn what_no_page_draws_with_may_be_broken() {
    let mut doc = document(&["page"]);
    let broken = doc.add_object(picture(b"garbage".to_vec()));
    drawn_with(
        &mut doc,
        "XObject",
        dictionary! { "Im0" => broken, "Im1" => Object::Reference((9000, 0)) },
        "n",
    );
    let id = page(&doc, 0);
    doc.get_dictionary_mut(id).unwrap().set("Thumb", broken);
    doc.get_dictionary_mut(id).unwrap().set("Metadata", Object::Reference((9001, 0)));
    catalog(&mut doc).set("Metadata", broken);
    annotate(&mut doc, 0, dictionary! { "Subtype" => "Link", "Rect" => vec![0.into(); 4] });
    assert_eq!(held(doc, None), None);
}

#[test]
fn filters_that_stand_elsewhere_or_are_abbreviated_are_read() {
    for short in [false, true] {
        let mut doc = document(&["page"]);
        let filter =
            doc.add_object(Object::Name(if short { b"Fl".to_vec() } else { b"FlateDecode".to_vec() }));
        let font = doc.add_object(
            dictionary! { "Type" => "Font", "Subtype" => "Type1", "BaseFont" => "Courier-Oblique" },
        );
        drawn_with(&mut doc, "Font", dictionary! { "F7" => font }, "n");
        let content = doc.add_object(Stream::new(
            dictionary! { "Filter" => if short { Object::Name(b"Fl".to_vec()) } else { filter.into() } },
            zipped(b"BT /F7 9 Tf (typed) Tj ET"),
        ));
        let id = page(&doc, 0);
        doc.get_dictionary_mut(id).unwrap().set("Contents", content);
        let output = made(doc, None);
        assert!(says(&output, "Courier-Oblique") && says(&output, "typed"), "{short}");
    }
}

#[test]
fn an_appearance_may_draw_with_the_resources_of_its_page() {
    let mut doc = document(&["page"]);
    let inner = drawing(&mut doc, "borrowed by a mark");
    drawn_with(&mut doc, "XObject", dictionary! { "Fm7" => inner }, "n");
    let mut stamp = mark(&mut doc, "Stamp", 4, "unused");
    let outer = doc.add_object(Stream::new(
        dictionary! { "Type" => "XObject", "Subtype" => "Form", "BBox" => vec![0.into(), 0.into(), 9.into(), 9.into()] },
        b"/Fm7 Do".to_vec(),
    ));
    stamp.set("AP", dictionary! { "N" => outer });
    annotate(&mut doc, 0, stamp);
    assert!(says(&made(doc, None), "borrowed by a mark"));
}

/// A form XObject with this content, and with these resources if there are any.
fn form(doc: &mut Document, content: &str, resources: Option<Dictionary>) -> ObjectId {
    let mut form = dictionary! {
        "Type" => "XObject", "Subtype" => "Form", "BBox" => vec![0.into(), 0.into(), 9.into(), 9.into()],
    };
    if let Some(resources) = resources {
        form.set("Resources", resources);
    }
    doc.add_object(Stream::new(form, content.as_bytes().to_vec()))
}

#[test]
fn names_are_looked_up_outward() {
    let xobject = |name: &str, id: ObjectId| dictionary! { "XObject" => dictionary! { name => id } };
    type Build = fn(&mut Document, &dyn Fn(&str, ObjectId) -> Dictionary) -> ObjectId;
    let builds: [(&str, Build); 4] = [
        ("incomplete resources", |doc, _| form(doc, "/Fm7 Do", Some(Dictionary::new()))),
        ("none within some", |doc, xobject| {
            let inner = form(doc, "/Fm7 Do", None);
            form(doc, "/In Do", Some(xobject("In", inner)))
        }),
        ("some within some", |doc, xobject| {
            let inner = form(doc, "/Fm7 Do", Some(Dictionary::new()));
            form(doc, "/In Do", Some(xobject("In", inner)))
        }),
        ("a soft mask", |doc, _| {
            let group = form(doc, "/Fm7 Do", None);
            let state = dictionary! { "SMask" => dictionary! { "S" => "Alpha", "G" => group } };
            form(doc, "/G1 gs", Some(dictionary! { "ExtGState" => dictionary! { "G1" => state } }))
        }),
    ];
    for (what, build) in builds {
        let mut doc = document(&["page"]);
        let outer = build(&mut doc, &xobject);
        let (borrowed, other) = (drawing(&mut doc, "borrowed"), drawing(&mut doc, "unused"));
        let drawings = dictionary! { "Out" => outer, "Fm7" => borrowed, "Fm8" => other };
        drawn_with(&mut doc, "XObject", drawings, "/Out Do");
        let output = made(doc, None);
        assert!(says(&output, "borrowed") && !says(&output, "unused"), "{what}");
    }
}

#[test]
fn layers_that_the_file_does_not_list_hide_nothing() {
    let mut doc = document(&["page"]);
    let layer = doc.add_object(dictionary! { "Type" => "OCG", "Name" => Object::string_literal("a layer") });
    let policy = doc.add_object(dictionary! { "Type" => "OCMD", "OCGs" => layer, "P" => "AllOff" });
    let shown = drawing(&mut doc, "shown");
    stream(&mut doc, shown).dict.set("OC", policy);
    drawn_with(&mut doc, "XObject", dictionary! { "Fm0" => shown }, "/Fm0 Do");
    let output = made(doc, None);
    assert!(says(&output, "shown") && !says(&output, "AllOff") && !says(&output, "OCProperties"));
}

#[test]
fn a_node_of_the_tree_is_no_page() {
    let mut doc = document(&["one", "two"]);
    let first = page(&doc, 0);
    doc.get_dictionary_mut(first).unwrap().set("Kids", Vec::<Object>::new());
    assert!(held(doc, None).unwrap().contains("damaged"));
}
