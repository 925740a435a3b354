//! The PDF that leaves: written anew from what the chosen pages draw with, and nothing else.
//!
//! The copy starts at the chosen pages and follows only what drawing needs: content, the resources that the content names,
//! and the appearance of annotations. What is not reached from there is not in the new file: dropped pages,
//! scripts, actions, links, attachments, metadata, outlines, structure, thumbnails, private data of other programs.
//! Streams are copied as they are compressed, byte for byte, so no page can look different for having gone through here;
//! only content with passages of hidden layers is written again, without them.
//!
//! Whatever a page is drawn with must be there and whole ([`super::whole`]), and every mark that a viewer shows on it must be drawn
//! ([`super::marks`]); else the page is not written, and a sentence says what would be lost. Pages that were not chosen hold nothing.
//!
//! The file is written in two steps, so that faxes with the same documents share them: the documents' pages once ([`write_pages`]), then for
//! each fax what differs ([`write_front`]): cover, text, page tree, catalog. What the second step writes fits to the first one's bytes as they are,
//! whose objects keep their numbers and places; [`super::container`] says how the two are joined.

use std::collections::HashSet;
use std::io;

use lopdf::{Dictionary, Document, Object, ObjectId, Writer};

mod borrowed;
mod copier;
mod keys;

use copier::{Copier, DEPTH, NODE, name, numbers, reference};
use keys::Role;

use super::container::{Facing, Front};
use super::content::{names_in, without_hidden};
use super::loss::{Loss, Unwritten};
use super::marks::{Fate, fate};
use super::pdf::{Source, annotations, dict, named, rectangle};

const RESOURCES: &[&[u8]] = &[b"ColorSpace", b"ExtGState", b"Font", b"Pattern", b"Shading", b"XObject"];

/// The documents' pages of a file that is to be written.
#[derive(Debug)]
pub(super) struct Written {
    /// The file from its first byte on.
    pub objects: Vec<u8>,
    /// The lines of these objects in its cross-reference table.
    pub table: Vec<u8>,
    /// How many pages.
    pub count: u32,
    /// What the sender should know of it.
    pub told: Vec<String>,
    /// The number of the last object.
    last: u32,
    /// Layers that the pages draw on, and whether they are hidden.
    layers: Vec<(u32, bool)>,
}

/// Writes these pages, in this order, as the beginning of a file.
///
/// # Errors
/// When a page would lose something.
pub(super) fn write_pages(pages: &[(&Source, ObjectId)]) -> Result<Written, Unwritten> {
    let mut copier = Copier::beginning();
    let kids = copier.pages(pages)?;
    // The tree's root is the first object behind these.
    let root = copier.last_number().saturating_add(1);
    let count = u32::try_from(kids.len()).unwrap_or(u32::MAX);
    copier.object(NODE, &Object::Dictionary(node(kids, count, Some(root))))?;
    let (last, layers) = (copier.last_number(), copier.layers().to_vec());
    let told = copier.told().to_vec();
    let (objects, lines) = copier.finish();
    let table = [b"0000000000 65535 f \n", lines.as_slice()].concat();
    Ok(Written { objects, table, count, told, last, layers })
}

/// Writes what makes a file of `written` with `pages` before its own.
///
/// # Errors
/// When a page would lose something.
pub(super) fn write_front(pages: &[(&Source, ObjectId)], written: &Written) -> Result<Front, Unwritten> {
    let mut copier = Copier::behind(written.objects.len(), written.last);
    let (root, catalog) = (copier.parent(), copier.parent().saturating_add(1));
    let mut kids = copier.pages(pages)?;
    let count = u32::try_from(kids.len()).unwrap_or(u32::MAX).saturating_add(written.count);
    if written.count > 0 {
        kids.push(reference(NODE));
    }
    copier.object(root, &Object::Dictionary(node(kids, count, None)))?;
    let layers = [written.layers.as_slice(), copier.layers()].concat();
    copier.object(catalog, &Object::Dictionary(catalog_of(root, &layers)))?;
    let size = copier.last_number().saturating_add(1);
    let (mut head, mut tail) = copier.finish();
    let start = written.objects.len() + head.len();
    head.extend_from_slice(format!("xref\n0 {size}\n").as_bytes());
    let mut trailer = Dictionary::new();
    trailer.set("Size", Object::Integer(i64::from(size)));
    trailer.set("Root", reference(catalog));
    tail.extend_from_slice(b"trailer\n");
    Writer::write_object(&mut tail, &Object::Dictionary(trailer))?;
    tail.extend_from_slice(format!("\nstartxref\n{start}\n%%EOF\n").as_bytes());
    let facing = Facing { objects: written.objects.len() as u64, table: written.table.len() as u64 };
    Ok(Front { facing, head, tail })
}

/// A node of the page tree.
fn node(kids: Vec<Object>, count: u32, parent: Option<u32>) -> Dictionary {
    let mut node = Dictionary::new();
    node.set("Type", name(b"Pages"));
    if let Some(parent) = parent {
        node.set("Parent", reference(parent));
    }
    node.set("Count", Object::Integer(i64::from(count)));
    node.set("Kids", Object::Array(kids));
    node
}

fn catalog_of(root: u32, layers: &[(u32, bool)]) -> Dictionary {
    let mut catalog = Dictionary::new();
    catalog.set("Type", name(b"Catalog"));
    catalog.set("Pages", reference(root));
    if !layers.is_empty() {
        let of = |all: bool| {
            let chosen = layers.iter().filter(|(_, hidden)| all || *hidden);
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

impl<'a> Copier<'a> {
    /// Writes pages with all that they draw with; returns the references to them.
    fn pages(&mut self, pages: &[(&'a Source, ObjectId)]) -> Result<Vec<Object>, Unwritten> {
        let mut kids = Vec::with_capacity(pages.len());
        for &(source, page) in pages {
            let number = self.next_number();
            kids.push(reference(number));
            let place = self.place(source);
            let dictionary = self.page(place, page)?;
            self.object(number, &Object::Dictionary(dictionary))?;
            self.drain()?;
            if let Some(loss) = self.loss() {
                let place = source.pages.iter().position(|known| *known == page).unwrap_or(0);
                return Err(Unwritten::Lost(loss.sentence(&source.name, place + 1)));
            }
        }
        Ok(kids)
    }

    /// The new page dictionary: what it inherits in the source stands in it.
    fn page(&mut self, place: usize, id: ObjectId) -> io::Result<Dictionary> {
        let mut new = Dictionary::new();
        new.set("Type", name(b"Page"));
        new.set("Parent", reference(self.parent()));
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
                let value = self.value(place, value, Role::Plain, 0);
                new.set(key, value);
            }
        }
        let resources = inherited(doc, page, b"Resources").and_then(|object| object.as_dict().ok());
        let content = page_content(source, page);
        let hidden = resources.map(|all| source.layers.hidden_names(doc, all)).unwrap_or_default();
        let cleared = cleared(content.as_deref(), &hidden);
        if let Some(cleared) = &cleared {
            self.prove_content(place, page);
            let number = self.next_number();
            self.stream_object(number, Dictionary::new(), cleared)?;
            new.set("Contents", reference(number));
        } else if let Ok(value) = page.get(b"Contents") {
            let value = self.value(place, value, Role::Drawn, 0);
            new.set("Contents", value);
        }
        let used = cleared.or(content).map(|content| names_in(&content));
        let used = used.and_then(|used| self.borrowed.with_marks(place, source, id, used));
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

    /// An annotation as its bare appearance: no field, no text of comments, nothing to click.
    fn annotation(&mut self, place: usize, old: &Dictionary) -> Option<Dictionary> {
        let source = self.source(place)?;
        let doc = &source.doc;
        let (drawn, at) = match fate(source, old) {
            Fate::Drawn(drawn, at) => (drawn, at),
            Fate::Unseen => return None,
            Fate::Told(words) => {
                self.tell(format!("{}: {words}", source.name));
                return None;
            }
            Fate::Lost(loss) => {
                self.lose(loss);
                return None;
            }
        };
        let mut new = Dictionary::new();
        new.set("Type", name(b"Annot"));
        new.set("Rect", numbers(&at));
        new.set("F", Object::Integer(0b100));
        // Viewers blend a highlight with the text below by its subtype. Everything else becomes a stamp: a widget
        // outside a form is not drawn by all of them.
        if named(doc, old, b"Subtype") == b"Highlight" {
            new.set("Subtype", name(b"Highlight"));
            if let Ok(points) = old.get_deref(b"QuadPoints", doc) {
                let points = self.value(place, points, Role::Plain, 0);
                new.set("QuadPoints", points);
            }
        } else {
            new.set("Subtype", name(b"Stamp"));
        }
        let mut appearance = Dictionary::new();
        appearance.set("N", self.value(place, drawn, Role::Drawn, 0));
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
        let used = used.and_then(|used| self.borrowed.with_drawings(place, source, old, used));
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
                if matches!(value, Object::Null) {
                    self.lose(Loss::Missing);
                }
                kept.set(key.clone(), self.value(place, value, Role::Drawn, depth + 1));
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

#[cfg(test)]
mod tests;
