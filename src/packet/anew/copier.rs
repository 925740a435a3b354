//! The copying itself: objects followed by their references, renumbered, cleaned, and written as a file.

use std::collections::{HashMap, VecDeque};
use std::io;

use lopdf::{Dictionary, Object, ObjectId, Stream, Writer};

use super::super::content::names_in;
use super::super::pdf::{Source, dict, named};
use super::cleared;

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
/// How deep arrays and dictionaries may lie in one another.
pub(super) const DEPTH: u32 = 64;

/// What a dictionary is there for, by the key under which it was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Entries of the standard.
    Plain,
    /// Names that the document made up: none may be left out for how it is called.
    Table,
    /// Tables of what content may draw with.
    Resources,
}

#[derive(Default)]
pub(super) struct Copier<'a> {
    out: Vec<u8>,
    /// Bytes of the file before those in `out`.
    before: usize,
    /// Objects of the file before those in `out`, which are numbered from 1 on.
    known: u32,
    /// Where each object of `out` begins in the file.
    offsets: Vec<usize>,
    /// The node of the page tree that the pages hang on.
    parent: u32,
    sources: Vec<&'a Source>,
    numbers: HashMap<(usize, ObjectId), u32>,
    waiting: VecDeque<(usize, ObjectId, u32, Role)>,
    /// Layers met, and whether they are hidden.
    layers: Vec<(u32, bool)>,
}

impl<'a> Copier<'a> {
    /// The beginning of a file, with object 1 as the node that its pages hang on.
    pub(super) fn beginning() -> Self {
        let out = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n".to_vec();
        Copier { out, offsets: vec![0], parent: NODE, ..Copier::default() }
    }

    /// What goes on behind `before` bytes with `known` objects; its first object is the node that its pages hang on, its second the
    /// catalog.
    pub(super) fn behind(before: usize, known: u32) -> Self {
        let parent = known.saturating_add(1);
        Copier { before, known, offsets: vec![0; 2], parent, ..Copier::default() }
    }

    /// The number of the node that the pages hang on.
    pub(super) fn parent(&self) -> u32 {
        self.parent
    }

    pub(super) fn place(&mut self, source: &'a Source) -> usize {
        let known = self.sources.iter().position(|known| std::ptr::eq(*known, source));
        known.unwrap_or_else(|| {
            self.sources.push(source);
            self.make_room(source);
            self.sources.len() - 1
        })
    }

    /// For the streams of a file, nearly all of it in scans: a buffer that grows is copied again and again.
    fn make_room(&mut self, source: &Source) {
        let streams = source.doc.objects.values().filter_map(|object| object.as_stream().ok());
        // Where there is no room, it is found out when there really are so many.
        let _ = self.out.try_reserve(streams.map(|stream| stream.content.len()).sum());
    }

    pub(super) fn next_number(&mut self) -> u32 {
        self.offsets.push(0);
        self.last_number()
    }

    /// The number of the last object.
    pub(super) fn last_number(&self) -> u32 {
        u32::try_from(self.offsets.len()).unwrap_or(u32::MAX).saturating_add(self.known)
    }

    pub(super) fn source(&self, place: usize) -> Option<&'a Source> {
        self.sources.get(place).copied()
    }

    /// A copy in which references point into the new file.
    pub(super) fn value(&mut self, place: usize, old: &Object, depth: u32) -> Object {
        if depth > DEPTH {
            return Object::Null;
        }
        match old {
            Object::Reference(_) => self.follow(place, old, Role::Plain),
            Object::Array(list) => {
                Object::Array(list.iter().map(|entry| self.value(place, entry, depth + 1)).collect())
            }
            Object::Dictionary(old) => Object::Dictionary(self.table(place, old, Role::Plain, depth)),
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
            let role = match key.as_slice() {
                // In a table of made-up names a key says nothing.
                _ if without.is_empty() => Role::Plain,
                b"Resources" => Role::Resources,
                key if NAME_TABLES.contains(&key) => Role::Table,
                _ => Role::Plain,
            };
            let value = match value {
                Object::Reference(_) => self.follow(place, value, role),
                Object::Dictionary(old) => Object::Dictionary(self.table(place, old, role, depth + 1)),
                _ => self.value(place, value, depth + 1),
            };
            new.set(key.clone(), value);
        }
        new
    }

    /// A copy of a dictionary by what it is there for.
    fn table(&mut self, place: usize, old: &Dictionary, role: Role, depth: u32) -> Dictionary {
        match role {
            _ if depth > DEPTH => Dictionary::new(),
            Role::Plain => self.dictionary(place, old, NEVER, depth),
            Role::Table => self.dictionary(place, old, &[], depth),
            Role::Resources => self.resources(place, old, None, depth),
        }
    }

    /// A reference into the new file; what it leads to will be written by [`Self::drain`]. What is in the way of drawing
    /// becomes null.
    pub(super) fn follow(&mut self, place: usize, old: &Object, role: Role) -> Object {
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
        self.waiting.push_back((place, id, number, role));
        reference(number)
    }

    /// Writes every object that was referred to and is not written yet.
    pub(super) fn drain(&mut self) -> io::Result<()> {
        while let Some((place, id, number, role)) = self.waiting.pop_front() {
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
                Ok(Object::Dictionary(old)) => {
                    let new = self.table(place, old, role, 0);
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
            let content = old.decompressed_content_with_limit(source.unfold).ok();
            let hidden = source.layers.hidden_names(&source.doc, resources);
            let cleared = cleared(content.as_deref(), &hidden);
            let used = cleared.as_ref().or(content.as_ref()).map(|content| names_in(content));
            new.set("Resources", Object::Dictionary(self.resources(place, resources, used, 0)));
            if let Some(cleared) = cleared {
                new.remove(b"Filter");
                new.remove(b"DecodeParms");
                return self.stream_object(number, new, &cleared);
            }
        }
        self.stream_object(number, new, &old.content)
    }

    pub(super) fn stream_object(
        &mut self,
        number: u32,
        mut dictionary: Dictionary,
        content: &[u8],
    ) -> io::Result<()> {
        dictionary.set("Length", Object::Integer(i64::try_from(content.len()).unwrap_or(i64::MAX)));
        self.begin(number);
        Writer::write_object(&mut self.out, &Object::Dictionary(dictionary))?;
        self.out.extend_from_slice(b"\nstream\n");
        self.out.extend_from_slice(content);
        self.out.extend_from_slice(b"\nendstream\nendobj\n");
        Ok(())
    }

    pub(super) fn object(&mut self, number: u32, object: &Object) -> io::Result<()> {
        self.begin(number);
        Writer::write_object(&mut self.out, object)?;
        self.out.extend_from_slice(b"\nendobj\n");
        Ok(())
    }

    fn begin(&mut self, number: u32) {
        let at = self.before + self.out.len();
        let place = number.checked_sub(self.known.saturating_add(1)).and_then(|n| usize::try_from(n).ok());
        if let Some(offset) = place.and_then(|place| self.offsets.get_mut(place)) {
            *offset = at;
        }
        self.out.extend_from_slice(format!("{number} 0 obj\n").as_bytes());
    }

    /// Layers met so far, and whether they are hidden.
    pub(super) fn layers(&self) -> &[(u32, bool)] {
        &self.layers
    }

    /// The objects, and their lines of a cross-reference table, of twenty bytes each (PDF 1.7 section 7.5.4).
    pub(super) fn finish(self) -> (Vec<u8>, Vec<u8>) {
        let lines = self.offsets.iter().map(|offset| format!("{offset:010} 00000 n \n"));
        (self.out, lines.collect::<String>().into_bytes())
    }
}

/// The node of the page tree that the pages of a file's beginning hang on.
pub(super) const NODE: u32 = 1;

pub(super) fn numbers(values: &[f32]) -> Object {
    Object::Array(values.iter().map(|&value| Object::Real(value)).collect())
}

pub(super) fn name(name: &[u8]) -> Object {
    Object::Name(name.to_vec())
}

pub(super) fn reference(number: u32) -> Object {
    Object::Reference((number, 0))
}
