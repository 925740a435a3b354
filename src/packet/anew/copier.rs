//! The copying itself: objects followed by their references, renumbered, cleaned, and written as a file.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;

use lopdf::{Dictionary, Object, ObjectId, Stream, Writer};

use super::super::content::names_in;
use super::super::loss::Loss;
use super::super::pdf::{Source, dict, named};
use super::super::whole::whole;
use super::borrowed::Borrowed;
use super::cleared;
use super::keys::{DRAWS, NAME_TABLES, NEVER, NEVER_IN_STREAMS, NEVER_TYPES, Role};

/// How deep arrays and dictionaries may lie in one another.
pub(super) const DEPTH: u32 = 64;

/// Room for the rest of an object with a stream: its dictionary, and its share of pages and resources.
const PER_STREAM: usize = 1 << 10;
/// Room for a cover and a page of text.
const PER_FRONT: usize = 96 << 10;

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
    /// The new numbers of objects. A dictionary that is reached in two roles is copied twice: each leaves out other entries.
    numbers: HashMap<(usize, ObjectId, Role), u32>,
    /// What drawings use of the resources around them.
    pub(super) borrowed: Borrowed,
    /// Streams that were looked at.
    proven: HashSet<(usize, ObjectId)>,
    /// The first thing that a page would lose.
    loss: Option<Loss>,
    /// What the sender should know, each once.
    told: Vec<String>,
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

    /// For the streams of a file, nearly all of it in scans, and the front that goes behind them: a buffer that grows is copied.
    fn make_room(&mut self, source: &Source) {
        let streams = source.doc.objects.values().filter_map(|object| object.as_stream().ok());
        let room: usize = streams.map(|stream| stream.content.len().saturating_add(PER_STREAM)).sum();
        let front = if self.before == 0 { PER_FRONT } else { 0 };
        // Where there is no room, it is found out when there really are so many.
        let _ = self.out.try_reserve_exact(room.saturating_add(front));
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

    /// Notes that a page would lose something. The first loss is the one that is told.
    pub(super) fn lose(&mut self, loss: Loss) {
        self.loss.get_or_insert(loss);
    }

    pub(super) fn loss(&self) -> Option<Loss> {
        self.loss
    }

    /// Notes a sentence for the sender.
    pub(super) fn tell(&mut self, sentence: String) {
        if !self.told.contains(&sentence) {
            self.told.push(sentence);
        }
    }

    pub(super) fn told(&self) -> &[String] {
        &self.told
    }

    /// A copy in which references point into the new file.
    pub(super) fn value(&mut self, place: usize, old: &Object, role: Role, depth: u32) -> Object {
        // What a list holds is there for the same reason as the list.
        let inner = if role == Role::Plain { Role::Plain } else { Role::Drawn };
        if depth > DEPTH {
            self.lose(Loss::Damaged);
            return Object::Null;
        }
        match old {
            Object::Reference(_) => self.follow(place, old, role),
            Object::Array(list) => {
                Object::Array(list.iter().map(|entry| self.value(place, entry, inner, depth + 1)).collect())
            }
            Object::Dictionary(old) => Object::Dictionary(self.table(place, old, role, depth)),
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
                _ if without.is_empty() => Role::Drawn,
                b"Resources" => Role::Resources,
                key if NAME_TABLES.contains(&key) => Role::Table,
                key if DRAWS.contains(&key) => Role::Drawn,
                _ => Role::Plain,
            };
            let value = match value {
                Object::Reference(_) => self.follow(place, value, role),
                Object::Dictionary(old) => Object::Dictionary(self.table(place, old, role, depth + 1)),
                _ => self.value(place, value, role, depth + 1),
            };
            new.set(key.clone(), value);
        }
        new
    }

    /// A copy of a dictionary by what it is there for.
    fn table(&mut self, place: usize, old: &Dictionary, role: Role, depth: u32) -> Dictionary {
        match role {
            _ if depth > DEPTH => {
                self.lose(Loss::Damaged);
                Dictionary::new()
            }
            Role::Plain | Role::Drawn => self.dictionary(place, old, NEVER, depth),
            Role::Table => self.dictionary(place, old, &[], depth),
            Role::Resources => self.resources(place, old, None, depth),
        }
    }

    /// A reference into the new file; what it leads to will be written by [`Self::drain`]. What is in the way of drawing
    /// becomes null.
    pub(super) fn follow(&mut self, place: usize, old: &Object, role: Role) -> Object {
        let Some(source) = self.source(place) else { return Object::Null };
        let found = source.doc.dereference(old).ok().and_then(|(id, object)| Some((id?, object)));
        let found = found.filter(|(id, object)| !source.skeleton.contains(id) && !object.is_null());
        let Some((id, object)) = found else {
            if role != Role::Plain {
                self.lose(Loss::Missing);
            }
            return Object::Null;
        };
        if role != Role::Plain {
            self.prove(place, id, object);
        } else if NEVER_TYPES.contains(&object.type_name().unwrap_or_default()) {
            return Object::Null;
        }
        let as_what = match (role, object) {
            (Role::Table | Role::Resources, Object::Dictionary(_)) => role,
            _ => Role::Plain,
        };
        if let Some(&number) = self.numbers.get(&(place, id, as_what)) {
            return reference(number);
        }
        let number = self.next_number();
        self.numbers.insert((place, id, as_what), number);
        self.waiting.push_back((place, id, number, role));
        reference(number)
    }

    /// Notes a loss where an object is a stream that is not whole. One that a hidden layer hides is not drawn.
    fn prove(&mut self, place: usize, id: ObjectId, object: &Object) {
        let (Object::Stream(stream), Some(source)) = (object, self.source(place)) else { return };
        if !self.proven.insert((place, id)) || source.layers.hide(&source.doc, &stream.dict) {
            return;
        }
        if let Err(loss) = whole(&source.doc, stream, source.unfold) {
            self.lose(loss);
        }
    }

    /// Proves the content of a page that is written without some of its passages.
    pub(super) fn prove_content(&mut self, place: usize, page: &'a Dictionary) {
        let (Some(source), Ok(content)) = (self.source(place), page.get(b"Contents")) else { return };
        let streams = match source.doc.dereference(content) {
            Ok((_, Object::Array(streams))) => streams.as_slice(),
            _ => std::slice::from_ref(content),
        };
        for stream in streams {
            if let Ok((Some(id), object)) = source.doc.dereference(stream) {
                self.prove(place, id, object);
            }
        }
    }

    /// Writes every object that was referred to and is not written yet.
    pub(super) fn drain(&mut self) -> io::Result<()> {
        while let Some((place, id, number, role)) = self.waiting.pop_front() {
            let Some(source) = self.source(place) else { continue };
            match source.doc.get_object(id) {
                Ok(Object::Stream(stream)) => self.stream(place, stream, number)?,
                // Where the file lists no layers, viewers show all that is drawn on some; the new file may list those of others.
                Ok(Object::Dictionary(layer))
                    if !source.layers.are_listed()
                        && matches!(named(&source.doc, layer, b"Type"), b"OCG" | b"OCMD") =>
                {
                    self.object(number, &Object::Dictionary(Dictionary::new()))?;
                }
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
                    let new = self.value(place, other, role, 0);
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
