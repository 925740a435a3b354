//! What travels to the provider, and what does not.

use lopdf::{Dictionary, Document, Object, Stream, dictionary};

use super::super::Rules;
use super::super::opened::Opened;
use super::super::samples::{document, drawing, page, pdf, saved, says};
use crate::addressing::Selection;

/// The final PDF of a document, all pages or some.
fn made(doc: Document, selection: Option<&str>) -> Vec<u8> {
    let mut opened = Opened::file("x.pdf", saved(doc), Rules::default());
    assert_eq!(opened.contents.hold, None);
    let selection = selection.map(|text| text.parse::<Selection>().unwrap());
    opened.make([Some(pdf(&["cover"])), None], selection.as_ref()).unwrap().1.to_vec()
}

fn annotate(doc: &mut Document, number: usize, annotation: Dictionary) {
    let id = doc.add_object(annotation);
    let page = page(doc, number);
    let page = doc.get_dictionary_mut(page).unwrap();
    match page.get_mut(b"Annots") {
        Ok(list) => list.as_array_mut().unwrap().push(id.into()),
        Err(_) => page.set("Annots", vec![Object::from(id)]),
    }
}

fn mark(doc: &mut Document, subtype: &str, flags: i64, text: &str) -> Dictionary {
    let drawn = drawing(doc, text);
    dictionary! {
        "Type" => "Annot", "Subtype" => subtype, "F" => flags,
        "Rect" => vec![10.into(), 10.into(), 210.into(), 60.into()],
        "Contents" => Object::string_literal("a private comment"),
        "A" => dictionary! { "S" => "JavaScript", "JS" => Object::string_literal("app.alert(1)") },
        "AP" => dictionary! { "N" => drawn },
    }
}

fn catalog(doc: &mut Document) -> &mut Dictionary {
    doc.catalog_mut().unwrap()
}

#[test]
fn nothing_travels_but_what_pages_draw_with() {
    let mut doc = document(&["first page", "second page"]);
    let metadata = doc.add_object(Stream::new(
        dictionary! { "Type" => "Metadata", "Subtype" => "XML" },
        b"<x:xmpmeta>xmp secret</x:xmpmeta>".to_vec(),
    ));
    let file =
        doc.add_object(Stream::new(dictionary! { "Type" => "EmbeddedFile" }, b"attached secret".to_vec()));
    let info = doc.add_object(dictionary! { "Author" => Object::string_literal("author secret") });
    let first = page(&doc, 0);
    let outline = doc.add_object(dictionary! { "Title" => Object::string_literal("outline secret") });
    let root = catalog(&mut doc);
    root.set("Metadata", metadata);
    root.set("Outlines", outline);
    root.set(
        "OpenAction",
        dictionary! { "S" => "JavaScript", "JS" => Object::string_literal("open secret") },
    );
    root.set(
        "Names",
        dictionary! {
            "JavaScript" => dictionary! { "Names" => vec![Object::string_literal("script secret")] },
            "EmbeddedFiles" => dictionary! { "Names" => vec![Object::string_literal("a"), file.into()] },
        },
    );
    root.set("AF", vec![Object::from(file)]);
    doc.trailer.set("Info", info);
    let thumb = doc.add_object(Stream::new(Dictionary::new(), b"thumb secret".to_vec()));
    let old = doc.get_dictionary_mut(first).unwrap();
    old.set("Thumb", thumb);
    old.set(
        "PieceInfo",
        dictionary! { "App" => dictionary! { "Private" => Object::string_literal("piece secret") } },
    );
    old.set("AA", dictionary! { "O" => dictionary! { "JS" => Object::string_literal("page secret") } });
    let link = dictionary! {
        "Type" => "Annot", "Subtype" => "Link", "F" => 4, "Rect" => vec![0.into(), 0.into(), 9.into(), 9.into()],
        "A" => dictionary! { "S" => "URI", "URI" => Object::string_literal("http://link-secret.example") },
    };
    annotate(&mut doc, 0, link);
    let output = made(doc, None);
    for text in ["secret", "comment", "JavaScript", "Link", "Outlines", "EmbeddedFile", "Metadata", "Info"] {
        assert!(!says(&output, text), "{text}");
    }
    for text in ["cover", "first page", "second page", "Helvetica"] {
        assert!(says(&output, text), "{text}");
    }
}

#[test]
fn marks_that_print_stay_and_others_go() {
    let mut doc = document(&["page"]);
    for (subtype, flags, text) in [
        ("Stamp", 4, "printing stamp"),
        ("Widget", 4, "value of a field"),
        ("FreeText", 4, "typed note"),
        ("Highlight", 4, "marked passage"),
        ("Stamp", 6, "hidden stamp"),
        ("Link", 0, "only a link"),
        ("FileAttachment", 4, "paper clip"),
        ("Popup", 4, "pop-up"),
    ] {
        let mark = mark(&mut doc, subtype, flags, text);
        annotate(&mut doc, 0, mark);
    }
    let on = drawing(&mut doc, "box is ticked");
    let off = drawing(&mut doc, "box is empty");
    let mut tick = mark(&mut doc, "Widget", 4, "unused");
    tick.set("AP", dictionary! { "N" => dictionary! { "Yes" => on, "Off" => off } });
    tick.set("AS", "Yes");
    annotate(&mut doc, 0, tick);
    let output = made(doc, None);
    for text in ["printing stamp", "value of a field", "typed note", "marked passage", "box is ticked"] {
        assert!(says(&output, text), "{text}");
    }
    for text in [
        "hidden stamp",
        "only a link",
        "paper clip",
        "pop-up",
        "box is empty",
        "private",
        "app.alert",
        "Widget",
    ] {
        assert!(!says(&output, text), "{text}");
    }
}

#[test]
fn values_that_a_form_does_not_draw_hold_it() {
    let widget = |doc: &mut Document, drawn: bool, value: &str| {
        let mut widget = mark(doc, "Widget", 4, "stale");
        widget.set("FT", "Tx");
        widget.set("V", Object::string_literal(value));
        if !drawn {
            widget.remove(b"AP");
        }
        annotate(doc, 0, widget);
    };
    for (drawn, value, again, holds) in [
        (true, "Jane", false, false),
        (false, "Jane", false, true),
        (false, "", false, false),
        (true, "Jane", true, true),
        (true, "", true, false),
    ] {
        let mut doc = document(&["page"]);
        widget(&mut doc, drawn, value);
        catalog(&mut doc).set("AcroForm", dictionary! { "NeedAppearances" => again });
        let opened = Opened::file("x.pdf", saved(doc), Rules::default());
        let hold = opened.contents.hold.unwrap_or_default();
        assert_eq!(
            hold.contains("does not draw"),
            holds,
            "drawn {drawn}, value {value:?}, again {again}: {hold}"
        );
    }
}

#[test]
fn portfolios_and_dynamic_forms_hold() {
    let mut portfolio = document(&["open this in a newer viewer"]);
    catalog(&mut portfolio).set("Collection", dictionary! { "View" => "D" });
    let mut dynamic = document(&["please wait"]);
    catalog(&mut dynamic).set("NeedsRendering", true);
    catalog(&mut dynamic).set("AcroForm", dictionary! { "XFA" => Object::string_literal("x") });
    let mut waiting = document(&["please wait"]);
    let xfa = dictionary! { "XFA" => Object::string_literal("x"), "Fields" => Vec::<Object>::new() };
    catalog(&mut waiting).set("AcroForm", xfa);
    for (doc, word) in [(portfolio, "portfolio"), (dynamic, "XFA"), (waiting, "XFA")] {
        let hold = Opened::file("x.pdf", saved(doc), Rules::default()).contents.hold.unwrap_or_default();
        assert!(hold.contains(word), "{hold}");
    }
}

#[test]
fn dropped_pages_leave_nothing_even_through_shared_resources() {
    let mut doc = document(&["first", "second"]);
    let own = drawing(&mut doc, "picture of one");
    let other = drawing(&mut doc, "picture of two");
    // A drawing without resources of its own borrows the page's.
    let borrowed = doc.add_object(Stream::new(
        dictionary! { "Type" => "XObject", "Subtype" => "Form", "BBox" => vec![0.into(), 0.into(), 9.into(), 9.into()] },
        b"/Deep Do".to_vec(),
    ));
    let deep = drawing(&mut doc, "borrowed deep");
    let tree = doc.catalog().unwrap().get(b"Pages").unwrap().as_reference().unwrap();
    let resources =
        doc.get_dictionary_mut(tree).unwrap().get_mut(b"Resources").unwrap().as_dict_mut().unwrap();
    resources
        .set("XObject", dictionary! { "Im#31" => own, "Im2" => other, "Outer" => borrowed, "Deep" => deep });
    for (number, names) in [(0, "/Im#2331 Do /Outer Do"), (1, "/Im2 Do")] {
        let id = page(&doc, number);
        let content = doc.get_dictionary(id).unwrap().get(b"Contents").unwrap().clone();
        let more = doc.add_object(Stream::new(Dictionary::new(), names.as_bytes().to_vec()));
        doc.get_dictionary_mut(id).unwrap().set("Contents", vec![content, more.into()]);
    }
    // A page may be reached through its annotations too.
    let second = page(&doc, 1);
    let mut stamp = mark(&mut doc, "Stamp", 4, "stamp");
    stamp.set("P", second);
    stamp.set("Dest", vec![Object::from(second), "Fit".into()]);
    annotate(&mut doc, 0, stamp);
    let output = made(doc.clone(), Some("1"));
    for text in ["first", "picture of one", "borrowed deep", "stamp"] {
        assert!(says(&output, text), "{text}");
    }
    for text in ["second", "picture of two"] {
        assert!(!says(&output, text), "{text}");
    }
    let output = made(doc, Some("2"));
    assert!(
        says(&output, "picture of two")
            && !says(&output, "picture of one")
            && !says(&output, "borrowed deep")
    );
}

#[test]
fn pages_keep_what_they_inherit_and_how_they_lie() {
    let mut doc = document(&["page"]);
    let tree = doc.catalog().unwrap().get(b"Pages").unwrap().as_reference().unwrap();
    let node = doc.get_dictionary_mut(tree).unwrap();
    node.set("Rotate", -90);
    node.set("CropBox", vec![10.into(), 20.into(), 300.into(), 400.5.into()]);
    let output = Document::load_mem(&made(doc, None)).unwrap();
    let page = output.get_dictionary(page(&output, 1)).unwrap();
    assert_eq!(page.get(b"Rotate").unwrap().as_i64().unwrap(), 270);
    let corners = |key: &[u8]| {
        let list = page.get(key).unwrap().as_array().unwrap();
        list.iter().map(|corner| corner.as_float().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(corners(b"CropBox"), [10.0, 20.0, 300.0, 400.5]);
    assert_eq!(corners(b"MediaBox"), [0.0, 0.0, 612.0, 792.0]);
    assert!(page.get(b"Resources").unwrap().as_dict().unwrap().has(b"Font"));
}

#[test]
fn hidden_layers_stay_hidden_and_their_drawings_stay_here() {
    let mut doc = document(&["page"]);
    let shown =
        doc.add_object(dictionary! { "Type" => "OCG", "Name" => Object::string_literal("shown layer") });
    let hidden =
        doc.add_object(dictionary! { "Type" => "OCG", "Name" => Object::string_literal("hidden layer") });
    let members = doc.add_object(dictionary! { "Type" => "OCMD", "OCGs" => vec![Object::from(hidden)] });
    let tree = doc.catalog().unwrap().get(b"Pages").unwrap().as_reference().unwrap();
    let mut drawings = Dictionary::new();
    for (name, layer, text) in
        [("A", shown, "drawn on shown"), ("B", hidden, "drawn on hidden"), ("C", members, "member of hidden")]
    {
        let drawing = drawing(&mut doc, text);
        doc.get_object_mut(drawing).unwrap().as_stream_mut().unwrap().dict.set("OC", layer);
        drawings.set(name, drawing);
    }
    let resources =
        doc.get_dictionary_mut(tree).unwrap().get_mut(b"Resources").unwrap().as_dict_mut().unwrap();
    resources.set("XObject", drawings);
    resources.set("Properties", dictionary! { "L1" => shown, "L2" => hidden });
    let id = page(&doc, 0);
    let content = doc.get_dictionary(id).unwrap().get(b"Contents").unwrap().as_reference().unwrap();
    let stream = doc.get_object_mut(content).unwrap().as_stream_mut().unwrap();
    stream.set_plain_content(
        b"/A Do /B Do /C Do /OC /L1 BDC BT /F1 9 Tf (kept passage) Tj ET EMC /OC /L2 BDC BT /F1 9 Tf (gone passage) Tj \
          ET EMC"
            .to_vec(),
    );
    let groups = vec![Object::from(shown), hidden.into()];
    catalog(&mut doc).set(
        "OCProperties",
        dictionary! { "OCGs" => groups, "D" => dictionary! { "OFF" => vec![Object::from(hidden)] } },
    );
    let output = made(doc, None);
    for text in ["drawn on shown", "kept passage"] {
        assert!(says(&output, text), "{text}");
    }
    for text in ["drawn on hidden", "member of hidden", "hidden layer", "gone passage"] {
        assert!(!says(&output, text), "{text}");
    }
    let output = Document::load_mem(&output).unwrap();
    let properties = output.catalog().unwrap().get(b"OCProperties").unwrap().as_dict().unwrap();
    let default = properties.get(b"D").unwrap().as_dict().unwrap();
    assert_eq!(default.get(b"OFF").unwrap().as_array().unwrap().len(), 1);
    assert_eq!(properties.get(b"OCGs").unwrap().as_array().unwrap().len(), 2);
}

#[test]
fn structures_that_lead_into_themselves_end() {
    let mut doc = document(&["page"]);
    let knot = doc.new_object_id();
    let table = doc.new_object_id();
    // Resources within a table that is found through those resources, twice at each turn.
    let inner = dictionary! { "Resources" => dictionary! { "Font" => table, "Properties" => table }, "Type" => "OCMD" };
    doc.set_object(table, dictionary! { "F1" => inner.clone(), "F2" => inner, "F3" => knot });
    doc.set_object(
        knot,
        dictionary! {
            "Resources" => knot, "CharProcs" => knot, "Colorants" => knot, "Font" => table, "XObject" => knot,
            "Kids" => vec![Object::from(knot), table.into()],
        },
    );
    let borrowed = doc.add_object(Stream::new(
        dictionary! { "Type" => "XObject", "Subtype" => "Form", "Resources" => knot },
        b"/F1 1 Tf /Resources Do".to_vec(),
    ));
    let tree = doc.catalog().unwrap().get(b"Pages").unwrap().as_reference().unwrap();
    let resources =
        doc.get_dictionary_mut(tree).unwrap().get_mut(b"Resources").unwrap().as_dict_mut().unwrap();
    resources.set("XObject", dictionary! { "X" => borrowed });
    resources.set("ExtGState", table);
    let id = page(&doc, 0);
    let content = doc.add_object(Stream::new(Dictionary::new(), b"/X Do /F1 gs /F3 gs".to_vec()));
    doc.get_dictionary_mut(id).unwrap().set("Contents", content);
    doc.get_dictionary_mut(id).unwrap().set("Group", knot);
    assert!(made(doc, None).len() < 100_000);
}

mod losses;
mod marks;
