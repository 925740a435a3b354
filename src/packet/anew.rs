//! The PDF that leaves: written anew from what the chosen pages draw with, and nothing else.
//!
//! The copy starts at the chosen pages and follows only what drawing needs: content, the resources that the content names,
//! and the appearance of annotations that print. What is not reached from there is not in the new file: dropped pages,
//! scripts, actions, links, attachments, metadata, outlines, structure, thumbnails, private data of other programs.
//! Streams are copied as they are compressed, byte for byte, so no page can look different for having gone through here;
//! only content with passages of hidden layers is written again, without them.

use std::collections::HashSet;
use std::io;

use lopdf::{Dictionary, Document, Object, ObjectId};

mod copier;

use copier::{CATALOG, Copier, DEPTH, PAGES, Role, name, numbers, reference};

use super::content::{names_in, without_hidden};
use super::pdf::{Source, annotations, dict, named};

const RESOURCES: &[&[u8]] = &[b"ColorSpace", b"ExtGState", b"Font", b"Pattern", b"Shading", b"XObject"];
/// Annotations that are controls or carriers rather than marks on the paper.
const NOT_MARKS: &[&[u8]] =
    &[b"3D", b"FileAttachment", b"Link", b"Movie", b"Popup", b"RichMedia", b"Screen", b"Sound", b"TrapNet"];

/// Writes a PDF of these pages, in this order.
///
/// # Errors
/// None in practice: the target is memory.
pub(super) fn write(pages: &[(&Source, ObjectId)]) -> io::Result<Vec<u8>> {
    let mut copier = Copier::new();
    let mut kids = Vec::with_capacity(pages.len());
    for &(source, page) in pages {
        let number = copier.next_number();
        kids.push(reference(number));
        let place = copier.place(source);
        let dictionary = copier.page(place, page)?;
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

impl Copier<'_> {
    /// The new page dictionary: what it inherits in the source stands in it.
    fn page(&mut self, place: usize, id: ObjectId) -> io::Result<Dictionary> {
        let mut new = Dictionary::new();
        new.set("Type", name(b"Page"));
        new.set("Parent", reference(PAGES));
        let (Some(source), letter) = (self.source(place), [0.0, 0.0, 612.0, 792.0]) else { return Ok(new) };
        let doc = &source.doc;
        let Ok(page) = doc.get_dictionary(id) else { return Ok(new) };
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
        for key in [&b"UserUnit"[..], b"Group"] {
            if let Ok(value) = page.get(key) {
                let value = self.value(place, value, 0);
                new.set(key, value);
            }
        }
        let resources = inherited(doc, page, b"Resources").and_then(|object| object.as_dict().ok());
        let content = page_content(source, page);
        let hidden = resources.map(|all| source.layers.hidden_names(doc, all)).unwrap_or_default();
        let cleared = cleared(content.as_deref(), &hidden);
        if let Some(cleared) = &cleared {
            let number = self.next_number();
            self.stream_object(number, Dictionary::new(), cleared)?;
            new.set("Contents", reference(number));
        } else if let Ok(value) = page.get(b"Contents") {
            let value = self.value(place, value, 0);
            new.set("Contents", value);
        }
        let used = cleared.or(content).map(|content| names_in(&content));
        let resources = resources.map(|resources| self.resources(place, resources, used, 0));
        new.set("Resources", Object::Dictionary(resources.unwrap_or_default()));
        let marks: Vec<Object> = annotations(doc, id)
            .into_iter()
            .filter_map(|annotation| self.annotation(place, annotation))
            .map(Object::Dictionary)
            .collect();
        if !marks.is_empty() {
            new.set("Annots", Object::Array(marks));
        }
        Ok(new)
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
    fn resources(
        &mut self,
        place: usize,
        old: &Dictionary,
        used: Option<HashSet<Vec<u8>>>,
        depth: u32,
    ) -> Dictionary {
        let mut new = Dictionary::new();
        let Some(source) = self.source(place) else { return new };
        let doc = &source.doc;
        let used = used.and_then(|used| with_borrowed_names(source, old, used));
        let is_used =
            |key: &[u8]| used.as_ref().is_none_or(|used| used.contains(key)) || key.starts_with(b"Default");
        for &category in RESOURCES {
            // Unfiltered tables stay the objects they are: taken in here, they could unfold without end.
            if used.is_none()
                && let Ok(table @ Object::Reference(_)) = old.get(category)
            {
                new.set(category, self.follow(place, table, Role::Table));
                continue;
            }
            let Some(entries) = dict(doc, old, category) else { continue };
            let mut kept = Dictionary::new();
            for (key, value) in entries.iter().filter(|(key, _)| is_used(key)) {
                kept.set(key.clone(), self.value(place, value, depth + 1));
            }
            if !kept.is_empty() {
                new.set(category, Object::Dictionary(kept));
            }
        }
        // Property lists: layers (always objects of their own) are needed, the rest, marks for other programs, must only
        // be there.
        if let Some(entries) = dict(doc, old, b"Properties") {
            let mut kept = Dictionary::new();
            for (key, value) in entries.iter().filter(|(key, _)| is_used(key)) {
                let layer =
                    doc.dereference(value).ok().and_then(|(id, object)| id.and(object.as_dict().ok()));
                let is_layer =
                    layer.is_some_and(|layer| matches!(named(doc, layer, b"Type"), b"OCG" | b"OCMD"));
                let value = if is_layer {
                    self.follow(place, value, Role::Plain)
                } else {
                    Object::Dictionary(Dictionary::new())
                };
                kept.set(key.clone(), value);
            }
            new.set("Properties", Object::Dictionary(kept));
        }
        new
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

/// Content without hidden passages, where there are any that can be taken out.
fn cleared(content: Option<&[u8]>, hidden: &HashSet<Vec<u8>>) -> Option<Vec<u8>> {
    if hidden.is_empty() { None } else { without_hidden(content?, hidden) }
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

#[cfg(test)]
mod tests;
