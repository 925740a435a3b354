//! Which resources of a page its drawings use, when their own resources lack the name: viewers then look outward.
//!
//! Resources are copied only as far as content names them, so the names that drawings, soft masks, patterns and appearances borrow have
//! to be known beforehand.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use lopdf::{Dictionary, Object, ObjectId, Stream};

use super::super::content::names_in;
use super::super::marks::{Fate, fate};
use super::super::pdf::{Source, annotations, dict, named};
use super::RESOURCES;

/// Names in a content stream.
pub(super) type Names = HashSet<Vec<u8>>;

/// How deep drawings may lie in one another. What lies deeper may use any name.
const DEPTH: u32 = 32;

/// The names that drawings borrow, each drawing looked at once.
#[derive(Debug, Default)]
pub(super) struct Borrowed {
    known: HashMap<(usize, ObjectId), Option<Rc<Names>>>,
}

impl Borrowed {
    /// `used`, and what the drawings in these resources that it names borrow from there. `None` when that cannot be told.
    pub(super) fn with_drawings(
        &mut self,
        place: usize,
        source: &Source,
        resources: &Dictionary,
        used: Names,
    ) -> Option<Names> {
        self.reached(place, source, resources, used, 0)
    }

    /// `used`, and what the page's marks borrow from it. `None` when that cannot be told.
    pub(super) fn with_marks(
        &mut self,
        place: usize,
        source: &Source,
        page: ObjectId,
        mut used: Names,
    ) -> Option<Names> {
        for mark in annotations(&source.doc, page) {
            if let Fate::Drawn(drawing, _) = fate(source, mark) {
                used.extend(self.of(place, source, drawing, 0)?.iter().cloned());
            }
        }
        Some(used)
    }

    fn reached(
        &mut self,
        place: usize,
        source: &Source,
        resources: &Dictionary,
        mut used: Names,
        depth: u32,
    ) -> Option<Names> {
        let doc = &source.doc;
        let mut looked_at = HashSet::new();
        loop {
            let before = used.len();
            for category in [&b"XObject"[..], b"Pattern", b"Font", b"ExtGState"] {
                let Some(entries) = dict(doc, resources, category) else { continue };
                for (key, value) in entries {
                    if !used.contains(key) || !looked_at.insert((category, key)) {
                        continue;
                    }
                    match doc.dereference(value) {
                        // The glyphs of a Type 3 font may draw with the page's resources.
                        Ok((_, Object::Dictionary(font)))
                            if font.has(b"CharProcs") && !font.has(b"Resources") =>
                        {
                            return None;
                        }
                        Ok((_, Object::Dictionary(state))) => {
                            let mask = dict(doc, state, b"SMask").and_then(|mask| mask.get(b"G").ok());
                            if let Some(group) = mask {
                                used.extend(self.of(place, source, group, depth)?.iter().cloned());
                            }
                        }
                        _ => used.extend(self.of(place, source, value, depth)?.iter().cloned()),
                    }
                }
            }
            if used.len() == before {
                return Some(used);
            }
        }
    }

    /// What a drawing borrows. `None` when that cannot be told.
    fn of(&mut self, place: usize, source: &Source, drawing: &Object, depth: u32) -> Option<Rc<Names>> {
        let Ok((Some(id), Object::Stream(stream))) = source.doc.dereference(drawing) else {
            return Some(Rc::default());
        };
        if let Some(known) = self.known.get(&(place, id)) {
            return known.clone();
        }
        if depth > DEPTH || named(&source.doc, &stream.dict, b"Subtype") == b"Image" {
            return (depth <= DEPTH).then(Rc::default);
        }
        // A drawing within itself borrows nothing more.
        self.known.insert((place, id), Some(Rc::default()));
        let names = self.of_stream(place, source, stream, depth).map(Rc::new);
        self.known.insert((place, id), names.clone());
        names
    }

    fn of_stream(&mut self, place: usize, source: &Source, stream: &Stream, depth: u32) -> Option<Names> {
        let names = names_in(&stream.decompressed_content_with_limit(source.unfold).ok()?);
        let Some(own) = dict(&source.doc, &stream.dict, b"Resources") else { return Some(names) };
        let mut names = self.reached(place, source, own, names, depth + 1)?;
        let tables: Vec<&Dictionary> = RESOURCES.iter().filter_map(|it| dict(&source.doc, own, it)).collect();
        names.retain(|name| !tables.iter().any(|table| table.has(name)));
        Some(names)
    }
}
