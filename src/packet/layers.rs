//! Layers (optional content, PDF 1.7 section 8.11): which of them a viewer hides when it opens the file.
//!
//! A page is faxed as it opens, and what a hidden layer would draw does not travel to the provider: drawings and annotations
//! that belong to it are left out ([`super::anew`]), passages of content lose what they paint ([`super::content`]). A passage
//! that cannot be taken out without moving what follows it stays, and the new file says, as the old one did, that it
//! is hidden.

use std::collections::HashSet;

use lopdf::{Dictionary, Document, Object, ObjectId};

use super::pdf::{dict, named};

/// The layers of a file.
#[derive(Debug, Default)]
pub(super) struct Layers {
    /// The file has a list of them.
    listed: bool,
    /// Those hidden by default.
    hidden: HashSet<ObjectId>,
}

impl Layers {
    /// Reads the default configuration: `BaseState`, then what `ON` and `OFF` say otherwise.
    pub(super) fn of(doc: &Document, catalog: &Dictionary) -> Self {
        let Some(properties) = dict(doc, catalog, b"OCProperties") else { return Layers::default() };
        let references = |holder: &Dictionary, key: &[u8]| -> Vec<ObjectId> {
            match holder.get_deref(key, doc) {
                Ok(Object::Array(list)) => {
                    list.iter().filter_map(|entry| entry.as_reference().ok()).collect()
                }
                _ => Vec::new(),
            }
        };
        let Some(default) = dict(doc, properties, b"D") else {
            return Layers { listed: true, hidden: HashSet::new() };
        };
        let mut hidden = HashSet::new();
        if named(doc, default, b"BaseState") == b"OFF" {
            hidden.extend(references(properties, b"OCGs"));
            for shown in references(default, b"ON") {
                hidden.remove(&shown);
            }
        }
        hidden.extend(references(default, b"OFF"));
        Layers { listed: true, hidden }
    }

    /// Whether the file lists its layers. Where it does not, none is hidden, whatever its members say.
    pub(super) fn are_listed(&self) -> bool {
        self.listed
    }

    /// Whether this layer is hidden.
    pub(super) fn hides(&self, layer: ObjectId) -> bool {
        self.hidden.contains(&layer)
    }

    /// The names in these `/Properties` that stand for hidden layers.
    pub(super) fn hidden_names(&self, doc: &Document, resources: &Dictionary) -> HashSet<Vec<u8>> {
        let entries = dict(doc, resources, b"Properties").filter(|_| !self.hidden.is_empty());
        let entries = entries.into_iter().flatten();
        entries.filter(|(_, entry)| self.hide_entry(doc, entry)).map(|(name, _)| name.clone()).collect()
    }

    /// Whether what carries this `/OC` entry is hidden.
    pub(super) fn hide(&self, doc: &Document, holder: &Dictionary) -> bool {
        holder.get(b"OC").is_ok_and(|entry| self.hide_entry(doc, entry))
    }

    /// Whether this layer or membership is hidden. Where the visibility is a formula (`VE`), it counts as shown.
    fn hide_entry(&self, doc: &Document, entry: &Object) -> bool {
        if self.hidden.is_empty() {
            return false;
        }
        let Ok((id, Object::Dictionary(layer))) = doc.dereference(entry) else { return false };
        if named(doc, layer, b"Type") != b"OCMD" {
            return id.is_some_and(|id| self.hides(id));
        }
        if layer.has(b"VE") {
            return false;
        }
        let members: Vec<ObjectId> = match layer.get(b"OCGs") {
            Ok(Object::Reference(id)) => match doc.get_object(*id) {
                Ok(Object::Array(list)) => {
                    list.iter().filter_map(|entry| entry.as_reference().ok()).collect()
                }
                _ => vec![*id],
            },
            Ok(Object::Array(list)) => list.iter().filter_map(|entry| entry.as_reference().ok()).collect(),
            _ => Vec::new(),
        };
        if members.is_empty() {
            return false;
        }
        let hidden = |id: &ObjectId| self.hides(*id);
        let shown = match named(doc, layer, b"P") {
            b"AllOn" => !members.iter().any(hidden),
            b"AnyOff" => members.iter().any(hidden),
            b"AllOff" => members.iter().all(hidden),
            _ => !members.iter().all(hidden),
        };
        !shown
    }
}
