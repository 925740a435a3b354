//! The PDF that leaves: written anew from what the chosen pages draw with, and nothing else.
//!
//! The copy starts at the chosen pages and follows only what drawing needs: content, the resources that the content names,
//! and the appearance of annotations that print. What is not reached from there is not in the new file: dropped pages,
//! scripts, actions, links, attachments, metadata, outlines, structure, thumbnails, private data of other programs.
//! Streams are copied as they are compressed, byte for byte, so no page can look different for having gone through here.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;

use lopdf::{Dictionary, Document, Object, ObjectId, Stream, Writer};

use super::content::names_in;
use super::pdf::{Source, annotations, dict, named};

/// Entries that lead away from drawing, or out of the file.
const NEVER: &[&[u8]] = &[
    b"AA",
    b"AF",
    b"Alternates",
    b"Dests",
    b"EF",
    b"JS",
    b"LastModified",
    b"Measure",
    b"Metadata",
    b"OPI",
    b"Parent",
    b"PieceInfo",
    b"PtData",
    b"Ref",
    b"StructParent",
    b"StructParents",
    b"Thumb",
];
/// In streams also: content that lies in another file.
const NEVER_IN_STREAMS: &[&[u8]] = &[b"DL", b"F", b"FDecodeParms", b"FFilter", b"Length"];
/// Objects that drawing never needs, wherever a reference to them stands.
const NEVER_TYPES: &[&[u8]] = &[
    b"Action",
    b"Annot",
    b"Catalog",
    b"EmbeddedFile",
    b"Filespec",
    b"Metadata",
    b"ObjStm",
    b"Outlines",
    b"Page",
    b"Pages",
    b"Sig",
    b"StructElem",
    b"StructTreeRoot",
    b"XRef",
];
/// Dictionaries whose keys are names that the document made up.
const NAME_TABLES: &[&[u8]] = &[b"CharProcs", b"Colorants"];
const RESOURCES: &[&[u8]] = &[b"ColorSpace", b"ExtGState", b"Font", b"Pattern", b"Shading", b"XObject"];
/// Annotations that are controls or carriers rather than marks on the paper.
const NOT_MARKS: &[&[u8]] =
    &[b"3D", b"FileAttachment", b"Link", b"Movie", b"Popup", b"RichMedia", b"Screen", b"Sound", b"TrapNet"];
/// How deep arrays and dictionaries may lie in one another.
const DEPTH: u32 = 64;

const CATALOG: u32 = 1;
const PAGES: u32 = 2;

/// Writes a PDF of these pages, in this order.
///
/// # Errors
/// None in practice: the target is memory.
pub(super) fn write(pages: &[(&Source, ObjectId)]) -> io::Result<Vec<u8>> {
    let mut copier = Copier::default();
    copier.out.extend_from_slice(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n");
    copier.offsets.resize(2, 0);
    let mut kids = Vec::with_capacity(pages.len());
    for &(source, page) in pages {
        let number = copier.next_number();
        kids.push(reference(number));
        let place = copier.place(source);
        let dictionary = copier.page(place, page);
        copier.object(number, &Object::Dictionary(dictionary))?;
        copier.drain()?;
    }
    let mut tree = Dictionary::new();
    tree.set("Type", name(b"Pages"));
    tree.set("Count", Object::Integer(i64::try_from(kids.len()).unwrap_or(i64::MAX)));
    tree.set("Kids", Object::Array(kids));
    copier.object(PAGES, &Object::Dictionary(tree))?;
    let catalog = copier.catalog();
    copier.object(CATALOG, &Object::Dictionary(catalog))?;
    copier.finish()
}

/// Whether an annotation is a mark on the paper that prints (PDF 1.7 table 165: flag 2 hidden, flag 3 print).
pub(super) fn prints(doc: &Document, annotation: &Dictionary) -> bool {
    let flags = annotation.get_deref(b"F", doc).and_then(Object::as_i64).unwrap_or(0);
    flags & 0b10 == 0 && flags & 0b100 != 0 && !NOT_MARKS.contains(&named(doc, annotation, b"Subtype"))
}

#[derive(Default)]
struct Copier<'a> {
    out: Vec<u8>,
    /// Where object n begins, at n-1.
    offsets: Vec<usize>,
    sources: Vec<&'a Source>,
    numbers: HashMap<(usize, ObjectId), u32>,
    waiting: VecDeque<(usize, ObjectId, u32)>,
    /// Layers met, and whether they are hidden.
    layers: Vec<(u32, bool)>,
}

impl<'a> Copier<'a> {
    fn place(&mut self, source: &'a Source) -> usize {
        let known = self.sources.iter().position(|known| std::ptr::eq(*known, source));
        known.unwrap_or_else(|| {
            self.sources.push(source);
            self.sources.len() - 1
        })
    }

    fn next_number(&mut self) -> u32 {
        self.offsets.push(0);
        u32::try_from(self.offsets.len()).unwrap_or(u32::MAX)
    }

    fn source(&self, place: usize) -> Option<&'a Source> {
        self.sources.get(place).copied()
    }

    /// The new page dictionary: what it inherits in the source stands in it.
    fn page(&mut self, place: usize, id: ObjectId) -> Dictionary {
        let mut new = Dictionary::new();
        new.set("Type", name(b"Page"));
        new.set("Parent", reference(PAGES));
        let (Some(source), letter) = (self.source(place), [0.0, 0.0, 612.0, 792.0]) else { return new };
        let doc = &source.doc;
        let Ok(page) = doc.get_dictionary(id) else { return new };
        new.set(
            "MediaBox",
            numbers(&inherited(doc, page, b"MediaBox").and_then(|o| rectangle(doc, o)).unwrap_or(letter)),
        );
        if let Some(crop) = inherited(doc, page, b"CropBox").and_then(|o| rectangle(doc, o)) {
            new.set("CropBox", numbers(&crop));
        }
        if let Some(Ok(turn)) = inherited(doc, page, b"Rotate").map(Object::as_i64)
            && turn % 90 == 0
        {
            new.set("Rotate", Object::Integer(turn.rem_euclid(360)));
        }
        for key in [&b"UserUnit"[..], b"Group", b"Contents"] {
            if let Ok(value) = page.get(key) {
                let value = self.value(place, value, 0);
                new.set(key, value);
            }
        }
        let resources = inherited(doc, page, b"Resources").and_then(|object| object.as_dict().ok());
        let used = page_content(source, page).map(|content| names_in(&content));
        let resources = resources.map(|resources| self.resources(place, resources, used));
        new.set("Resources", Object::Dictionary(resources.unwrap_or_default()));
        let marks: Vec<Object> = annotations(doc, id)
            .into_iter()
            .filter_map(|annotation| self.annotation(place, annotation))
            .map(Object::Dictionary)
            .collect();
        if !marks.is_empty() {
            new.set("Annots", Object::Array(marks));
        }
        new
    }

    /// A printing annotation as its bare appearance: no field, no text of comments, nothing to click.
    fn annotation(&mut self, place: usize, old: &Dictionary) -> Option<Dictionary> {
        let source = self.source(place)?;
        let doc = &source.doc;
        if !prints(doc, old) || source.layers.hide(doc, old) {
            return None;
        }
        let mut drawn = dict(doc, old, b"AP")?.get(b"N").ok()?;
        if let Ok((_, Object::Dictionary(states))) = doc.dereference(drawn) {
            drawn = states.get(named(doc, old, b"AS")).ok()?;
        }
        let Ok((Some(_), Object::Stream(_))) = doc.dereference(drawn) else { return None };
        let mut new = Dictionary::new();
        new.set("Type", name(b"Annot"));
        new.set("Rect", numbers(&rectangle(doc, old.get_deref(b"Rect", doc).ok()?)?));
        new.set("F", Object::Integer(0b100));
        // Viewers blend a highlight with the text below by its subtype. Everything else becomes a stamp: a widget
        // outside a form is not drawn by all of them.
        if named(doc, old, b"Subtype") == b"Highlight" {
            new.set("Subtype", name(b"Highlight"));
            if let Ok(points) = old.get_deref(b"QuadPoints", doc) {
                let points = self.value(place, points, 0);
                new.set("QuadPoints", points);
            }
        } else {
            new.set("Subtype", name(b"Stamp"));
        }
        let mut appearance = Dictionary::new();
        appearance.set("N", self.value(place, drawn, 0));
        new.set("AP", Object::Dictionary(appearance));
        Some(new)
    }

    /// Resources, of which only those in `used` where that is known: dictionaries shared between pages would bring the
    /// pictures of dropped pages along.
    fn resources(&mut self, place: usize, old: &Dictionary, used: Option<HashSet<Vec<u8>>>) -> Dictionary {
        let mut new = Dictionary::new();
        let Some(source) = self.source(place) else { return new };
        let doc = &source.doc;
        let used = used.and_then(|used| with_borrowed_names(source, old, used));
        let is_used =
            |key: &[u8]| used.as_ref().is_none_or(|used| used.contains(key)) || key.starts_with(b"Default");
        for &category in RESOURCES {
            let Some(entries) = dict(doc, old, category) else { continue };
            let mut kept = Dictionary::new();
            for (key, value) in entries.iter().filter(|(key, _)| is_used(key)) {
                kept.set(key.clone(), self.value(place, value, 0));
            }
            if !kept.is_empty() {
                new.set(category, Object::Dictionary(kept));
            }
        }
        // Property lists: layers are needed, the rest (marks for other programs) must only be there.
        if let Some(entries) = dict(doc, old, b"Properties") {
            let mut kept = Dictionary::new();
            for (key, value) in entries.iter().filter(|(key, _)| is_used(key)) {
                let layer = doc.dereference(value).ok().and_then(|(_, object)| object.as_dict().ok());
                let is_layer =
                    layer.is_some_and(|layer| matches!(named(doc, layer, b"Type"), b"OCG" | b"OCMD"));
                let value = if is_layer {
                    self.value(place, value, 0)
                } else {
                    Object::Dictionary(Dictionary::new())
                };
                kept.set(key.clone(), value);
            }
            new.set("Properties", Object::Dictionary(kept));
        }
        new
    }

    /// A copy in which references point into the new file.
    fn value(&mut self, place: usize, old: &Object, depth: u32) -> Object {
        if depth > DEPTH {
            return Object::Null;
        }
        match old {
            Object::Reference(_) => self.follow(place, old),
            Object::Array(list) => {
                Object::Array(list.iter().map(|entry| self.value(place, entry, depth + 1)).collect())
            }
            Object::Dictionary(old) => Object::Dictionary(self.dictionary(place, old, NEVER, depth)),
            // A stream is always an object of its own.
            Object::Stream(_) => Object::Null,
            plain => plain.clone(),
        }
    }

    fn dictionary(&mut self, place: usize, old: &Dictionary, without: &[&[u8]], depth: u32) -> Dictionary {
        let mut new = Dictionary::new();
        for (key, value) in old {
            if without.contains(&key.as_slice()) {
                continue;
            }
            let table = self
                .source(place)
                .and_then(|source| source.doc.dereference(value).ok())
                .and_then(|(_, object)| object.as_dict().ok());
            let value = match table {
                Some(table) if key == b"Resources" => Object::Dictionary(self.resources(place, table, None)),
                Some(table) if NAME_TABLES.contains(&key.as_slice()) => {
                    Object::Dictionary(self.dictionary(place, table, &[], depth + 1))
                }
                _ => self.value(place, value, depth + 1),
            };
            new.set(key.clone(), value);
        }
        new
    }

    fn follow(&mut self, place: usize, old: &Object) -> Object {
        let Some(source) = self.source(place) else { return Object::Null };
        let Ok((Some(id), object)) = source.doc.dereference(old) else { return Object::Null };
        let kind = object.type_name().unwrap_or_default();
        if source.skeleton.contains(&id) || NEVER_TYPES.contains(&kind) {
            return Object::Null;
        }
        if let Some(&number) = self.numbers.get(&(place, id)) {
            return reference(number);
        }
        let number = self.next_number();
        self.numbers.insert((place, id), number);
        self.waiting.push_back((place, id, number));
        reference(number)
    }

    /// Writes every object that was referred to and is not written yet.
    fn drain(&mut self) -> io::Result<()> {
        while let Some((place, id, number)) = self.waiting.pop_front() {
            let Some(source) = self.source(place) else { continue };
            match source.doc.get_object(id) {
                Ok(Object::Stream(stream)) => self.stream(place, stream, number)?,
                Ok(Object::Dictionary(layer)) if named(&source.doc, layer, b"Type") == b"OCG" => {
                    self.layers.push((number, source.layers.hides(id)));
                    let mut new = Dictionary::new();
                    new.set("Type", name(b"OCG"));
                    new.set("Name", Object::string_literal("layer"));
                    self.object(number, &Object::Dictionary(new))?;
                }
                Ok(other) => {
                    let new = self.value(place, other, 0);
                    self.object(number, &new)?;
                }
                Err(_) => self.object(number, &Object::Null)?,
            }
        }
        Ok(())
    }

    fn stream(&mut self, place: usize, old: &Stream, number: u32) -> io::Result<()> {
        let Some(source) = self.source(place) else { return Ok(()) };
        let subtype = named(&source.doc, &old.dict, b"Subtype");
        // Hidden as a whole, or a PostScript program: nothing is drawn in its place.
        if subtype == b"PS" || source.layers.hide(&source.doc, &old.dict) {
            let mut empty = Dictionary::new();
            empty.set("Type", name(b"XObject"));
            empty.set("Subtype", name(b"Form"));
            empty.set("BBox", numbers(&[0.0; 4]));
            return self.stream_object(number, empty, b"");
        }
        let without: Vec<&[u8]> = [NEVER, NEVER_IN_STREAMS, &[&b"Resources"[..]]].concat();
        let mut new = self.dictionary(place, &old.dict, &without, 0);
        if let Some(resources) = dict(&source.doc, &old.dict, b"Resources") {
            let used =
                old.decompressed_content_with_limit(source.unfold).ok().map(|content| names_in(&content));
            new.set("Resources", Object::Dictionary(self.resources(place, resources, used)));
        }
        self.stream_object(number, new, &old.content)
    }

    fn stream_object(&mut self, number: u32, mut dictionary: Dictionary, content: &[u8]) -> io::Result<()> {
        dictionary.set("Length", Object::Integer(i64::try_from(content.len()).unwrap_or(i64::MAX)));
        self.begin(number);
        Writer::write_object(&mut self.out, &Object::Dictionary(dictionary))?;
        self.out.extend_from_slice(b"\nstream\n");
        self.out.extend_from_slice(content);
        self.out.extend_from_slice(b"\nendstream\nendobj\n");
        Ok(())
    }

    fn object(&mut self, number: u32, object: &Object) -> io::Result<()> {
        self.begin(number);
        Writer::write_object(&mut self.out, object)?;
        self.out.extend_from_slice(b"\nendobj\n");
        Ok(())
    }

    fn begin(&mut self, number: u32) {
        let at = self.out.len();
        if let Some(offset) =
            usize::try_from(number).ok().and_then(|n| self.offsets.get_mut(n.wrapping_sub(1)))
        {
            *offset = at;
        }
        self.out.extend_from_slice(format!("{number} 0 obj\n").as_bytes());
    }

    fn catalog(&self) -> Dictionary {
        let mut catalog = Dictionary::new();
        catalog.set("Type", name(b"Catalog"));
        catalog.set("Pages", reference(PAGES));
        if !self.layers.is_empty() {
            let of = |all: bool| {
                let chosen = self.layers.iter().filter(|(_, hidden)| all || *hidden);
                Object::Array(chosen.map(|(number, _)| reference(*number)).collect())
            };
            let mut default = Dictionary::new();
            default.set("BaseState", name(b"ON"));
            default.set("OFF", of(false));
            let mut properties = Dictionary::new();
            properties.set("OCGs", of(true));
            properties.set("D", Object::Dictionary(default));
            catalog.set("OCProperties", Object::Dictionary(properties));
        }
        catalog
    }

    fn finish(mut self) -> io::Result<Vec<u8>> {
        let start = self.out.len();
        let size = self.offsets.len() + 1;
        self.out.extend_from_slice(format!("xref\n0 {size}\n0000000000 65535 f \n").as_bytes());
        for offset in &self.offsets {
            self.out.extend_from_slice(format!("{offset:010} 00000 n \n").as_bytes());
        }
        let mut trailer = Dictionary::new();
        trailer.set("Size", Object::Integer(i64::try_from(size).unwrap_or(i64::MAX)));
        trailer.set("Root", reference(CATALOG));
        self.out.extend_from_slice(b"trailer\n");
        Writer::write_object(&mut self.out, &Object::Dictionary(trailer))?;
        self.out.extend_from_slice(format!("\nstartxref\n{start}\n%%EOF\n").as_bytes());
        Ok(self.out)
    }
}

/// `used`, and what drawings without resources of their own use of the page's. `None` when that cannot be told.
fn with_borrowed_names(
    source: &Source,
    resources: &Dictionary,
    mut used: HashSet<Vec<u8>>,
) -> Option<HashSet<Vec<u8>>> {
    let doc = &source.doc;
    let mut looked_at = HashSet::new();
    loop {
        let before = used.len();
        for category in [&b"XObject"[..], b"Pattern", b"Font"] {
            let Some(entries) = dict(doc, resources, category) else { continue };
            for (key, value) in entries {
                if !used.contains(key) || !looked_at.insert((category, key)) {
                    continue;
                }
                match doc.dereference(value) {
                    Ok((_, Object::Stream(drawing))) => {
                        let is_image = named(doc, &drawing.dict, b"Subtype") == b"Image";
                        if !is_image && !drawing.dict.has(b"Resources") {
                            used.extend(names_in(
                                &drawing.decompressed_content_with_limit(source.unfold).ok()?,
                            ));
                        }
                    }
                    // The glyphs of a Type 3 font may draw with the page's resources.
                    Ok((_, Object::Dictionary(font)))
                        if font.has(b"CharProcs") && !font.has(b"Resources") =>
                    {
                        return None;
                    }
                    _ => {}
                }
            }
        }
        if used.len() == before {
            return Some(used);
        }
    }
}

/// The page's content, decompressed; `None` when it cannot be, or not within the limit.
fn page_content(source: &Source, page: &Dictionary) -> Option<Vec<u8>> {
    let doc = &source.doc;
    let mut content = Vec::new();
    let mut add = |object: &Object| {
        let Ok((_, Object::Stream(stream))) = doc.dereference(object) else { return None };
        let left = source.unfold.checked_sub(content.len())?;
        content.extend_from_slice(&stream.decompressed_content_with_limit(left).ok()?);
        // PDF 1.7 section 7.8.2: a division between streams is a division between tokens.
        content.push(b'\n');
        Some(())
    };
    if let Ok(contents) = page.get(b"Contents") {
        match doc.dereference(contents).ok()?.1 {
            Object::Array(streams) => streams.iter().try_for_each(add)?,
            Object::Null => {}
            _ => add(contents)?,
        }
    }
    Some(content)
}

/// An entry of a page that it may have from the tree above it.
fn inherited<'a>(doc: &'a Document, page: &'a Dictionary, key: &[u8]) -> Option<&'a Object> {
    let mut node = page;
    for _ in 0..DEPTH {
        if let Ok(value) = node.get_deref(key, doc) {
            return Some(value);
        }
        node = dict(doc, node, b"Parent")?;
    }
    None
}

fn rectangle(doc: &Document, object: &Object) -> Option<[f32; 4]> {
    let list = object.as_array().ok()?;
    let mut corners = [0.0; 4];
    if list.len() != corners.len() {
        return None;
    }
    for (corner, entry) in corners.iter_mut().zip(list) {
        *corner = doc.dereference(entry).ok()?.1.as_float().ok().filter(|value| value.is_finite())?;
    }
    Some(corners)
}

fn numbers(values: &[f32]) -> Object {
    Object::Array(values.iter().map(|&value| Object::Real(value)).collect())
}

fn name(name: &[u8]) -> Object {
    Object::Name(name.to_vec())
}

fn reference(number: u32) -> Object {
    Object::Reference((number, 0))
}

#[cfg(test)]
mod tests;
