//! Marks that a viewer shows are drawn, or hold their page with a sentence.

use lopdf::{Dictionary, Document, Object, dictionary};

use super::super::super::Rules;
use super::super::super::opened::Opened;
use super::super::super::samples::{document, drawing, saved, says};
use super::losses::held;
use super::{annotate, made, mark};

/// What the sender is told of a document that is faxed.
fn told(doc: Document) -> Vec<String> {
    let mut opened = Opened::file("x.pdf", saved(doc), Rules::default());
    opened.make([None, None], None).unwrap().0.warnings
}

/// A mark without its appearance.
fn bare(doc: &mut Document, subtype: &str, flags: i64) -> Dictionary {
    let mut bare = mark(doc, subtype, flags, "unused");
    bare.remove(b"AP");
    bare
}

const PRINT: i64 = 4;
const NOT_VIEWED: i64 = 32;

#[test]
fn marks_that_a_viewer_shows_are_drawn_or_hold_their_page() {
    let described = [
        ("Square", "a box"),
        ("Circle", "a circle"),
        ("FreeText", "a typed note"),
        ("Highlight", "a highlighted passage"),
        ("StrikeOut", "a passage that is struck out"),
        ("Ink", "a drawn line"),
        ("Stamp", "a stamp"),
    ];
    for (kind, words) in described {
        for (flags, drawn, sentence) in [
            (PRINT, true, None),
            (PRINT, false, Some("that the file describes, but does not draw")),
            (0, true, Some("that shows on the screen, but is set not to print")),
            (0, false, Some("that shows on the screen, but is set not to print")),
            (2, false, None),
            (PRINT | 2, false, None),
            (NOT_VIEWED, true, None),
            (NOT_VIEWED, false, None),
            (NOT_VIEWED | PRINT, true, None),
        ] {
            let mut doc = document(&["SSN 078-05-1120", "other"]);
            let one = if drawn { mark(&mut doc, kind, flags, "drawn") } else { bare(&mut doc, kind, flags) };
            annotate(&mut doc, 0, one);
            let reason = held(doc.clone(), None);
            let expected = sentence.map(|how| format!("Page 1 of x.pdf has {words} {how}"));
            match (&reason, &expected) {
                (None, None) => {}
                (Some(reason), Some(expected)) if reason.starts_with(expected) => {}
                _ => panic!("{kind} with flags {flags}, drawn {drawn}: {reason:?}"),
            }
            assert_eq!(held(doc, Some("2")), None, "{kind}, on a page that is not faxed");
        }
    }
}

#[test]
fn a_redaction_that_was_not_applied_holds_its_page() {
    for (flags, drawn) in [(PRINT, true), (PRINT, false), (0, false), (2, false)] {
        let mut doc = document(&["SSN 078-05-1120"]);
        let one = if drawn { mark(&mut doc, "Redact", flags, "x") } else { bare(&mut doc, "Redact", flags) };
        annotate(&mut doc, 0, one);
        let reason = held(doc, None).unwrap();
        assert!(reason.contains("marked for redaction, but not redacted"), "{reason}");
    }
}

#[test]
fn controls_and_carriers_hold_nothing() {
    for (kind, flags, drawn, word) in [
        ("Link", PRINT, false, None),
        ("Popup", 0, false, None),
        ("Popup", PRINT, true, None),
        ("TrapNet", PRINT, true, None),
        ("PrinterMark", 0, true, None),
        ("PrinterMark", PRINT, false, None),
        ("Watermark", 0, false, None),
        ("Screen", PRINT, false, None),
        ("FileAttachment", PRINT, false, Some("files attached to its pages are not faxed")),
        ("Text", 0, true, Some("comments on its pages are not faxed")),
        ("Text", PRINT, false, Some("comments on its pages are not faxed")),
        ("Text", 2, true, None),
    ] {
        let mut doc = document(&["page"]);
        for _ in 0..2 {
            let one = if drawn { mark(&mut doc, kind, flags, "x") } else { bare(&mut doc, kind, flags) };
            annotate(&mut doc, 0, one);
        }
        let told = told(doc);
        let expected = word.map(|word| format!("x.pdf: {word}"));
        assert_eq!(told, expected.into_iter().collect::<Vec<_>>(), "{kind} with flags {flags}");
    }
    // A picture in the place of a film is a mark like others.
    let mut doc = document(&["page"]);
    let screen = mark(&mut doc, "Screen", PRINT, "first picture of the film");
    annotate(&mut doc, 0, screen);
    assert!(says(&made(doc, None), "first picture of the film"));
}

#[test]
fn an_appearance_that_is_not_chosen_holds() {
    for (states, chosen, holds) in
        [(1, None, true), (2, None, true), (2, Some("Yes"), false), (0, None, true)]
    {
        let mut doc = document(&["page"]);
        let mut stamp = mark(&mut doc, "Stamp", PRINT, "x");
        let mut drawings = Dictionary::new();
        for name in ["Yes", "No"].into_iter().take(states) {
            let drawing = drawing(&mut doc, name);
            drawings.set(name, drawing);
        }
        stamp.set("AP", dictionary! { "N" => drawings });
        if let Some(chosen) = chosen {
            stamp.set("AS", chosen);
        }
        annotate(&mut doc, 0, stamp);
        assert_eq!(held(doc, None).is_some(), holds, "{states} states, chosen {chosen:?}");
    }
}

#[test]
fn fields_show_their_values_or_hold() {
    let tick = |value: &'static str, state: &'static str, drawn: &'static [&'static str]| {
        move |doc: &mut Document, field: &mut Dictionary| {
            let mut drawings = Dictionary::new();
            for name in drawn {
                let drawing = drawing(doc, name);
                drawings.set(*name, drawing);
            }
            field.set("FT", "Btn");
            field.set("V", value);
            if !state.is_empty() {
                field.set("AS", state);
            }
            field.remove(b"AP");
            if !drawn.is_empty() {
                field.set("AP", dictionary! { "N" => drawings });
            }
        }
    };
    let text = |value: &'static str, drawn: bool, border: bool| {
        move |_: &mut Document, field: &mut Dictionary| {
            field.set("FT", "Tx");
            field.set("V", Object::string_literal(value));
            if border {
                field.set("MK", dictionary! { "BC" => vec![Object::from(0)] });
            }
            if !drawn {
                field.remove(b"AP");
            }
        }
    };
    type Change = Box<dyn Fn(&mut Document, &mut Dictionary)>;
    let cases: Vec<(&str, i64, Change, bool)> = vec![
        ("ticked and drawn so", PRINT, Box::new(tick("Yes", "Yes", &["Yes", "Off"])), false),
        ("not ticked", PRINT, Box::new(tick("Off", "Off", &["Yes", "Off"])), false),
        ("not ticked, with one drawing", PRINT, Box::new(tick("Off", "Off", &["Yes"])), false),
        ("ticked, drawn empty", PRINT, Box::new(tick("Yes", "Off", &["Yes", "Off"])), true),
        ("the other of two buttons", PRINT, Box::new(tick("First", "Off", &["Second", "Off"])), false),
        ("ticked, not drawn", PRINT, Box::new(tick("Yes", "Yes", &[])), true),
        ("not ticked, not drawn", PRINT, Box::new(tick("Off", "Off", &[])), false),
        ("ticked, on the screen only", 0, Box::new(tick("Yes", "Yes", &["Yes"])), true),
        ("not ticked, on the screen only", 0, Box::new(tick("Off", "Off", &["Yes", "Off"])), false),
        ("filled, on the screen only", 0, Box::new(text("Jane", true, false)), true),
        ("filled, neither screen nor paper", 32, Box::new(text("Jane", false, false)), false),
        ("filled, hidden", 2, Box::new(text("Jane", false, false)), false),
        ("empty, on the screen only", 0, Box::new(text("", true, true)), false),
        ("empty, not drawn", PRINT, Box::new(text("", false, false)), false),
        ("empty, with a border that is not drawn", PRINT, Box::new(text("", false, true)), true),
        (
            "a button for the screen",
            0,
            Box::new(|_, field| {
                field.set("FT", "Btn");
                field.set("Ff", 1 << 16);
            }),
            false,
        ),
        (
            "a place for a signature",
            PRINT,
            Box::new(|_, field| {
                field.set("FT", "Sig");
                field.remove(b"AP");
            }),
            false,
        ),
        (
            "a signature, on the screen only",
            0,
            Box::new(|_, field| {
                field.set("FT", "Sig");
                field.set("V", dictionary! { "Type" => "Sig" });
            }),
            true,
        ),
        (
            "a signature that nobody sees",
            PRINT,
            Box::new(|_, field| {
                field.set("FT", "Sig");
                field.set("Rect", vec![Object::from(0); 4]);
            }),
            false,
        ),
    ];
    for (what, flags, change, holds) in cases {
        let mut doc = document(&["page"]);
        let mut field = mark(&mut doc, "Widget", flags, "x");
        change(&mut doc, &mut field);
        annotate(&mut doc, 0, field);
        let reason = held(doc, None);
        assert_eq!(reason.is_some(), holds, "{what}: {reason:?}");
    }
}
