//! Annotations: what a viewer shows of them on a page, and what of that the fax shows.
//!
//! A black box over a name, a typed note, a tick: to the person in front of the screen all of them are part of the page. So each one
//! that a viewer shows is drawn on the fax, or it holds the page. Only what is a control or a carrier (links, pop-ups, printers'
//! marks, buttons that do not print) may stay behind without a word; files and comments that hang on the page are told.

use lopdf::{Dictionary, Document, Object};

use super::loss::Loss;
use super::pdf::{Source, dict, named, rectangle};

/// Flags of an annotation (PDF 1.7 table 165).
const HIDDEN: i64 = 1 << 1;
const PRINT: i64 = 1 << 2;
const NO_VIEW: i64 = 1 << 5;
/// A field's flag of a button without a state (PDF 1.7 table 226).
const PUSH_BUTTON: i64 = 1 << 16;
/// Annotations that nobody takes for a part of the page.
const NOT_MARKS: &[&[u8]] = &[b"Link", b"Popup", b"TrapNet"];

/// What becomes of an annotation.
#[derive(Debug)]
pub(super) enum Fate<'a> {
    /// Its appearance is drawn on the page: the reference to it, and where it stands.
    Drawn(&'a Object, [f32; 4]),
    /// There is nothing to see of it.
    Unseen,
    /// It stays behind, and the sender is told what these words say.
    Told(&'static str),
    /// The fax would lack it.
    Lost(Loss),
}

/// What the annotation draws, as far as it says so.
#[derive(Clone, Copy)]
enum Appearance<'a> {
    /// This drawing.
    Drawing(&'a Object),
    /// Nothing, in the state that it is in.
    Off,
    /// Several drawings, none of them chosen.
    Unclear,
    /// It has no drawing.
    Missing,
}

/// What becomes of an annotation of a page that is faxed.
pub(super) fn fate<'a>(source: &'a Source, mark: &'a Dictionary) -> Fate<'a> {
    let doc = &source.doc;
    let kind = named(doc, mark, b"Subtype");
    if kind == b"Redact" {
        return Fate::Lost(Loss::Redaction);
    }
    let (on_screen, on_paper) = (flags(doc, mark) & (HIDDEN | NO_VIEW) == 0, prints(doc, mark));
    if NOT_MARKS.contains(&kind) || !(on_screen || on_paper) || source.layers.hide(doc, mark) {
        return Fate::Unseen;
    }
    let at = mark.get_deref(b"Rect", doc).ok().and_then(|corners| rectangle(doc, corners));
    let has_area = at.is_some_and(|[left, bottom, right, top]| left != right && bottom != top);
    let drawing = appearance(doc, mark);
    match (kind, drawing, at) {
        (b"FileAttachment" | b"Sound", ..) => Fate::Told("files attached to its pages are not faxed"),
        (b"Widget" | b"PrinterMark", ..) if !has_area => Fate::Unseen,
        (b"PrinterMark", Appearance::Drawing(drawing), Some(at)) if on_paper => Fate::Drawn(drawing, at),
        (b"PrinterMark", ..) => Fate::Unseen,
        (b"Widget", drawing, Some(at)) => of_field(doc, mark, drawing, at, on_paper),
        (_, Appearance::Drawing(_), Some(_)) if !has_area => Fate::Unseen,
        (_, Appearance::Drawing(drawing), Some(at)) if on_paper => Fate::Drawn(drawing, at),
        (b"Text", ..) => Fate::Told("comments on its pages are not faxed"),
        (_, Appearance::Drawing(_), _) => Fate::Lost(Loss::NotPrinting(in_words(kind))),
        (_, Appearance::Unclear, _) => Fate::Lost(Loss::Undrawn(in_words(kind))),
        _ if !is_drawn_from_its_fields(kind) => Fate::Unseen,
        _ if on_paper => Fate::Lost(Loss::Undrawn(in_words(kind))),
        _ => Fate::Lost(Loss::NotPrinting(in_words(kind))),
    }
}

/// What becomes of a form field.
fn of_field<'a>(
    doc: &'a Document,
    field: &'a Dictionary,
    drawing: Appearance<'a>,
    at: [f32; 4],
    on_paper: bool,
) -> Fate<'a> {
    let (value, chosen) = (value(doc, field), named(doc, field, b"AS"));
    let is_drawn = matches!(drawing, Appearance::Drawing(_));
    let is_on = matches!(value, Value::State(state) if is_state(state) && shows_state(doc, field, state));
    let says_something = match value {
        Value::Text(is_filled) => is_filled,
        Value::State(_) => is_on || (is_drawn && is_state(chosen)),
        Value::Signature => is_drawn,
        Value::None => false,
    };
    // An empty box for a ticked one. A button with a single drawing has no state to choose.
    let contradicts = is_on && value != Value::State(chosen) && !(is_drawn && chosen.is_empty());
    match drawing {
        _ if !on_paper && says_something => Fate::Lost(Loss::NotPrinting(FIELD)),
        _ if !on_paper => Fate::Unseen,
        _ if contradicts => Fate::Lost(Loss::Undrawn(FIELD)),
        Appearance::Drawing(drawing) => Fate::Drawn(drawing, at),
        Appearance::Off => Fate::Unseen,
        Appearance::Missing | Appearance::Unclear if says_something || has_box(doc, field) => {
            Fate::Lost(Loss::Undrawn(FIELD))
        }
        Appearance::Missing | Appearance::Unclear => Fate::Unseen,
    }
}

/// Whether a button in this state shows more than an empty one.
fn is_state(state: &[u8]) -> bool {
    !matches!(state, b"" | b"Off")
}

/// The value of a form field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Value<'a> {
    /// A text or a choice, and whether something is in it.
    Text(bool),
    /// The state of a button that has one.
    State(&'a [u8]),
    /// A signature that was made.
    Signature,
    /// None that shows.
    None,
}

fn value<'a>(doc: &'a Document, field: &'a Dictionary) -> Value<'a> {
    let value = inherited(doc, field, b"V");
    match inherited(doc, field, b"FT").map(Object::as_name) {
        Some(Ok(b"Tx" | b"Ch")) => Value::Text(match value {
            Some(Object::String(text, _)) => !text.is_empty(),
            Some(Object::Array(choices)) => !choices.is_empty(),
            Some(Object::Stream(_)) => true,
            _ => false,
        }),
        Some(Ok(b"Btn")) => {
            let flags = inherited(doc, field, b"Ff").and_then(|flags| flags.as_i64().ok()).unwrap_or(0);
            let state = value.and_then(|value| value.as_name().ok()).unwrap_or_default();
            if flags & PUSH_BUTTON == 0 { Value::State(state) } else { Value::None }
        }
        Some(Ok(b"Sig")) if matches!(value, Some(Object::Dictionary(_))) => Value::Signature,
        _ => Value::None,
    }
}

/// Whether a button can be in this state. Of several buttons with one value, each has a state of its own; one without drawings
/// may have any.
fn shows_state(doc: &Document, button: &Dictionary, state: &[u8]) -> bool {
    let drawn = dict(doc, button, b"AP").and_then(|drawn| dict(doc, drawn, b"N"));
    drawn.is_none_or(|states| states.has(state))
}

/// Whether viewers draw a border or a background (PDF 1.7 table 189).
fn has_box(doc: &Document, field: &Dictionary) -> bool {
    let Some(look) = dict(doc, field, b"MK") else { return false };
    [&b"BC"[..], b"BG"].into_iter().any(|colour| {
        matches!(look.get_deref(colour, doc), Ok(Object::Array(components)) if !components.is_empty())
    })
}

/// Whether a form field would print a value that its drawn appearance lacks, or may lack (`stale`: the file asks viewers
/// to draw all fields again).
pub(super) fn value_is_unseen(doc: &Document, widget: &Dictionary, stale: bool) -> bool {
    named(doc, widget, b"Subtype") == b"Widget"
        && prints(doc, widget)
        && value(doc, widget) == Value::Text(true)
        && (stale || !dict(doc, widget, b"AP").is_some_and(|drawn| drawn.has(b"N")))
}

/// An entry of a field that it may have from the fields above it.
fn inherited<'a>(doc: &'a Document, field: &'a Dictionary, key: &[u8]) -> Option<&'a Object> {
    let mut field = field;
    for _ in 0..16 {
        if let Ok(value) = field.get_deref(key, doc) {
            return Some(value);
        }
        field = dict(doc, field, b"Parent")?;
    }
    None
}

/// The drawing that the annotation chose.
fn appearance<'a>(doc: &'a Document, mark: &'a Dictionary) -> Appearance<'a> {
    let Some(drawn) = dict(doc, mark, b"AP").and_then(|drawn| drawn.get(b"N").ok()) else {
        return Appearance::Missing;
    };
    let is_drawing = |object: &Object| matches!(doc.dereference(object), Ok((Some(_), Object::Stream(_))));
    let states = match doc.dereference(drawn) {
        Ok((_, Object::Dictionary(states))) => states,
        _ if is_drawing(drawn) => return Appearance::Drawing(drawn),
        _ => return Appearance::Missing,
    };
    match (named(doc, mark, b"AS"), states.is_empty()) {
        (_, true) => Appearance::Missing,
        // Some viewers draw the only one, some nothing.
        (b"", false) => Appearance::Unclear,
        (chosen, false) => match states.get(chosen) {
            Ok(drawing) if is_drawing(drawing) => Appearance::Drawing(drawing),
            _ if chosen == b"Off" => Appearance::Off,
            _ => Appearance::Missing,
        },
    }
}

fn flags(doc: &Document, mark: &Dictionary) -> i64 {
    mark.get_deref(b"F", doc).and_then(Object::as_i64).unwrap_or(0)
}

fn prints(doc: &Document, mark: &Dictionary) -> bool {
    flags(doc, mark) & (HIDDEN | PRINT) == PRINT
}

/// Whether viewers draw such an annotation where it has no appearance, or show what it plays.
fn is_drawn_from_its_fields(kind: &[u8]) -> bool {
    in_words(kind) != OTHER
}

const FIELD: &str = "a form field";
const OTHER: &str = "a mark";

/// What people call such an annotation.
fn in_words(kind: &[u8]) -> &'static str {
    match kind {
        b"Square" => "a box",
        b"Circle" => "a circle",
        b"FreeText" => "a typed note",
        b"Highlight" => "a highlighted passage",
        b"Underline" | b"Squiggly" => "an underlined passage",
        b"StrikeOut" => "a passage that is struck out",
        b"Ink" | b"Line" | b"PolyLine" | b"Polygon" => "a drawn line",
        b"Caret" => "a mark of insertion",
        b"Stamp" => "a stamp",
        b"Movie" | b"RichMedia" | b"3D" => "a film or model",
        _ => OTHER,
    }
}
