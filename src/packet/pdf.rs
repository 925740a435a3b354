//! A PDF to pages: read it strictly, or say why not.
//!
//! PDF libraries repair damaged files silently, and what they repair may lack pages (measured: of 100 truncated copies of
//! one file, 31 were "rebuilt" with all pages and 78 of another were fine with none). A fax with a page missing is worse
//! than none. So a file counts only if it reads without any repair and if two independent readers see as many pages as
//! its own page tree says; otherwise it holds the packet, and a lenient second reading serves only to say why.

use std::collections::HashSet;
use std::sync::Arc;

use hayro::hayro_syntax::Pdf;
use lopdf::{Dictionary, Document, LoadOptions, Object, ObjectId};

use super::layers::Layers;
use super::{Rules, marks, whole};

/// A PDF that was read whole, with its pages in order.
#[derive(Debug)]
pub(super) struct Source {
    /// What its sender calls it.
    pub name: String,
    pub doc: Document,
    pub pages: Vec<ObjectId>,
    /// Catalog, page tree and pages: nothing that a page draws with, so no copy may follow a reference there.
    pub skeleton: HashSet<ObjectId>,
    pub layers: Layers,
    /// What the sender may like to know.
    pub warnings: Vec<String>,
    /// Bytes one stream may unfold to.
    pub unfold: usize,
}

/// Pages that one document may have, whatever is selected of them: a bound on work, far above what is ever faxed.
const MOST_PAGES: usize = 20_000;

/// Reads a PDF. The error is a sentence for the sender, who knows the document as `name`.
pub(super) fn load(name: &str, bytes: Vec<u8>, rules: &Rules) -> Result<Source, String> {
    if bytes.is_empty() {
        return Err(format!("{name} is empty. Send it again."));
    }
    let unfold = usize::try_from(rules.max_decompressed).unwrap_or(usize::MAX);
    let options = LoadOptions { strict: true, max_decompressed_size: Some(unfold), ..LoadOptions::default() };
    let mut doc = match Document::load_mem_with_options(&bytes, options) {
        Ok(doc) => doc,
        Err(error) => return Err(why_not(name, &bytes, &error, unfold)),
    };
    if doc.is_encrypted() {
        return Err(protected(name));
    }
    whole::name_filters(&mut doc);
    let pages: Vec<ObjectId> = doc.page_iter().take(MOST_PAGES + 1).collect();
    if pages.len() > MOST_PAGES {
        return Err(format!("{name} has more than {MOST_PAGES} pages."));
    }
    let catalog = doc.catalog().map_err(|_| damaged(name))?;
    let counted = counted(&doc, catalog);
    if pages.is_empty() {
        return Err(match counted {
            _ if cut_off(&bytes) => cut_off_sentence(name),
            Some(0) => format!("{name} has no pages."),
            _ => damaged(name),
        });
    }
    let second_opinion = Pdf::new(Arc::new(bytes)).map(|pdf| pdf.pages().len());
    let agree = second_opinion == Ok(pages.len()) && counted == Some(pages.len());
    let distinct: HashSet<ObjectId> = pages.iter().copied().collect();
    if doc.xref_recovery.is_some() || !agree || distinct.len() != pages.len() {
        return Err(damaged(name));
    }
    if !pages.iter().all(|&page| has_its_content(&doc, page)) {
        return Err(damaged(name));
    }
    refuse_what_pages_do_not_show(name, &doc, catalog, &pages)?;
    let layers = Layers::of(&doc, catalog);
    let mut skeleton = distinct;
    skeleton.extend(page_tree(&doc, catalog));
    skeleton.extend(doc.trailer.get(b"Root").and_then(Object::as_reference));
    let mut warnings = Vec::new();
    if dict(&doc, catalog, b"Names").is_some_and(|names| names.has(b"EmbeddedFiles")) {
        warnings.push(format!("files attached inside {name} are not faxed"));
    }
    Ok(Source { name: name.to_owned(), doc, pages, skeleton, layers, warnings, unfold })
}

/// The sentence for a file that does not read strictly.
fn why_not(name: &str, bytes: &[u8], strict: &lopdf::Error, unfold: usize) -> String {
    use lopdf::Error::{Decompress, Decryption, InvalidPassword, UnsupportedSecurityHandler};
    let is_protected = |error: &lopdf::Error| {
        matches!(error, InvalidPassword | Decryption(_) | UnsupportedSecurityHandler(_))
    };
    if is_protected(strict) {
        return protected(name);
    }
    if let Decompress(lopdf::DecompressError::MemoryLimitExceeded { .. }) = strict {
        return format!(
            "{name} unfolds to more data than any fax needs. Print it to a new PDF and send that."
        );
    }
    if cut_off(bytes) {
        return cut_off_sentence(name);
    }
    let options = LoadOptions { max_decompressed_size: Some(unfold), ..LoadOptions::default() };
    match Document::load_mem_with_options(bytes, options) {
        Err(error) if is_protected(&error) => protected(name),
        Ok(doc) if doc.is_encrypted() => protected(name),
        _ => damaged(name),
    }
}

/// Whether the end mark is missing (PDF 1.7, annex H, note 18: readers look for it in the last 1024 bytes).
fn cut_off(bytes: &[u8]) -> bool {
    let tail = bytes.get(bytes.len().saturating_sub(1024)..).unwrap_or_default();
    memchr::memmem::rfind(tail, b"%%EOF").is_none()
}

/// For the sender of a document whose end is missing.
pub(crate) fn cut_off_sentence(name: &str) -> String {
    format!("{name} ends too early; it may have been cut off on the way. Send it again.")
}

fn protected(name: &str) -> String {
    format!("{name} is protected by a password. Remove the protection and send it again.")
}

fn damaged(name: &str) -> String {
    format!("{name} is damaged, so that pages could be missing. Print it to a new PDF and send that.")
}

/// The number of pages that the page tree claims.
fn counted(doc: &Document, catalog: &Dictionary) -> Option<usize> {
    let count = dict(doc, catalog, b"Pages")?.get_deref(b"Count", doc).and_then(Object::as_i64).ok()?;
    usize::try_from(count).ok()
}

/// Whether every stream that the page says it is drawn with is there. A page without content is a blank one, unless it is a node of
/// the page tree that lacks its type: the reader takes such a node for a page.
fn has_its_content(doc: &Document, page: ObjectId) -> bool {
    let Ok(page) = doc.get_dictionary(page) else { return false };
    if page.has(b"Kids") {
        return false;
    }
    let Ok(contents) = page.get(b"Contents") else { return true };
    match doc.dereference(contents) {
        Ok((_, Object::Stream(_) | Object::Null)) => true,
        Ok((_, Object::Array(streams))) => {
            streams.iter().all(|stream| matches!(doc.dereference(stream), Ok((_, Object::Stream(_)))))
        }
        _ => false,
    }
}

/// Holds documents of which a good viewer would show more than their page contents.
fn refuse_what_pages_do_not_show(
    name: &str,
    doc: &Document,
    catalog: &Dictionary,
    pages: &[ObjectId],
) -> Result<(), String> {
    if dict(doc, catalog, b"Collection").is_some() {
        return Err(format!(
            "{name} is a PDF portfolio. Send the documents inside it as attachments of the mail"
        ));
    }
    let Some(form) = dict(doc, catalog, b"AcroForm") else { return Ok(()) };
    let truth = |holder: &Dictionary, key: &[u8]| {
        holder.get_deref(key, doc).and_then(Object::as_bool).unwrap_or(false)
    };
    // Without fields of its own, such a file shows a page that says "please wait".
    let has_fields =
        matches!(form.get_deref(b"Fields", doc), Ok(Object::Array(fields)) if !fields.is_empty());
    if form.has(b"XFA") && (truth(catalog, b"NeedsRendering") || !has_fields) {
        return Err(format!("{name} is a dynamic form (XFA). Print it to a new PDF and send that."));
    }
    let stale = truth(form, b"NeedAppearances");
    let unseen = pages.iter().any(|&page| {
        annotations(doc, page).into_iter().any(|widget| marks::value_is_unseen(doc, widget, stale))
    });
    if unseen {
        return Err(format!(
            "{name} is a form with values that the file holds but does not draw. Print it to a new PDF and send that."
        ));
    }
    Ok(())
}

/// The annotations of a page that are dictionaries.
pub(super) fn annotations(doc: &Document, page: ObjectId) -> Vec<&Dictionary> {
    let Ok(page) = doc.get_dictionary(page) else { return Vec::new() };
    let Ok(Object::Array(list)) = page.get_deref(b"Annots", doc) else { return Vec::new() };
    list.iter()
        .filter_map(|entry| doc.dereference(entry).ok())
        .filter_map(|(_, object)| object.as_dict().ok())
        .collect()
}

/// The nodes of the page tree.
fn page_tree(doc: &Document, catalog: &Dictionary) -> HashSet<ObjectId> {
    let mut seen = HashSet::new();
    let mut open: Vec<ObjectId> = catalog.get(b"Pages").and_then(Object::as_reference).into_iter().collect();
    while let Some(id) = open.pop() {
        if !seen.insert(id) {
            continue;
        }
        if let Ok(node) = doc.get_dictionary(id)
            && let Ok(Object::Array(kids)) = node.get_deref(b"Kids", doc)
        {
            open.extend(kids.iter().filter_map(|kid| kid.as_reference().ok()));
        }
    }
    seen
}

/// The dictionary under a key, references followed.
pub(super) fn dict<'a>(doc: &'a Document, holder: &'a Dictionary, key: &[u8]) -> Option<&'a Dictionary> {
    holder.get_deref(key, doc).ok().and_then(|object| object.as_dict().ok())
}

/// The name under a key, references followed; empty where there is none.
pub(super) fn named<'a>(doc: &'a Document, holder: &'a Dictionary, key: &[u8]) -> &'a [u8] {
    holder.get_deref(key, doc).and_then(Object::as_name).unwrap_or_default()
}

/// Four finite numbers, as a rectangle has them.
pub(super) fn rectangle(doc: &Document, object: &Object) -> Option<[f32; 4]> {
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
