//! A submission's documents, opened: the work that the child does, as functions on bytes.

use std::sync::Arc;

use hayro::hayro_syntax::Pdf;

use super::anew::Written;
use super::container::{Front, Gauge, in_order};
use super::graphic::Around;
use super::kind::{KindVerdict, judge, mail_without_document};
use super::mail::{self, Entity, Role};
use super::names::clean_name;
use super::pdf::{self, Source};
use super::{Contents, Input, Made, Rules, anew};
use crate::addressing::Selection;
use crate::sealed::Part;

/// An opened document, and what was made of it last.
#[derive(Debug)]
pub(super) struct Opened {
    pub contents: Contents,
    rules: Rules,
    /// For each part, its PDF.
    sources: Vec<Option<Source>>,
    pages: Option<Chosen>,
    output: Option<Arc<Vec<u8>>>,
}

/// The chosen pages of the documents, written.
#[derive(Debug)]
struct Chosen {
    written: Written,
    /// Made when the first of several faxes is measured.
    gauge: Option<Gauge>,
    /// For each part, its first and last page among them.
    parts: Vec<Option<(u32, u32)>>,
    warnings: Vec<String>,
}

impl Opened {
    /// Opens the documents of a submission: their parts follow each other.
    pub(super) fn of(documents: Vec<(Input, Vec<u8>)>, rules: Rules) -> Self {
        let mut opened =
            Opened { contents: Contents::default(), rules, sources: Vec::new(), pages: None, output: None };
        let (mut problem, mut nothing) = (None, "The file cannot be faxed.");
        for (input, raw) in documents {
            match input {
                Input::Mail => {
                    nothing = "The mail has no attachment that could be faxed.";
                    problem = opened.add_mail(&raw).or(problem);
                }
                Input::File { name } => {
                    opened.add(Entity::file(clean_name(&name), raw), &Around::default());
                }
            }
        }
        let is_mail = opened.contents.mail.is_some();
        opened.contents.nothing = is_mail && problem.is_none() && opened.is_nothing();
        opened.contents.hold = problem.or_else(|| opened.hold(nothing));
        opened
    }

    #[cfg(test)]
    pub(super) fn file(name: &str, raw: Vec<u8>, rules: Rules) -> Self {
        Opened::of(vec![(Input::File { name: name.into() }, raw)], rules)
    }

    /// Adds the parts of a mail, or says why it cannot be read.
    fn add_mail(&mut self, raw: &[u8]) -> Option<String> {
        let mail = mail::read(raw, &self.rules);
        self.contents.mail = Some(mail.facts);
        self.contents.text = mail.text;
        self.contents.text_cut = mail.text_cut;
        let mails: Vec<(usize, usize)> = (self.contents.parts.len()..)
            .zip(&mail.entities)
            .filter_map(|(place, entity)| match entity.role {
                Role::Mail(own) => Some((place, own)),
                _ => None,
            })
            .collect();
        for entity in mail.entities {
            self.add(entity, &mail.around);
        }
        // The innermost first: a mail that holds is reason enough for those around it.
        for (place, own) in mails.into_iter().rev() {
            self.hold_mail_without_document(place, own);
        }
        mail.problem
    }

    fn add(&mut self, entity: Entity, around: &Around) {
        let (kind, name, verdict) = judge(&entity, around);
        let mut part = Part {
            kind,
            sha256: hex(&entity.sha256),
            bytes: entity.length,
            pages: None,
            left_out: None,
            holds: None,
            body: entity.gives_text,
            name,
            media_type: entity.media_type,
        };
        let mut source = None;
        match verdict {
            KindVerdict::LeftOut(reason) => part.left_out = Some(reason.to_owned()),
            KindVerdict::Holds(sentence) => part.holds = Some(sentence),
            KindVerdict::Pages => match pdf::load(&part.name, entity.bytes, &self.rules) {
                Ok(loaded) => {
                    let count = u32::try_from(loaded.pages.len()).unwrap_or(u32::MAX);
                    let last = self.contents.pages.saturating_add(count);
                    part.pages = Some((self.contents.pages + 1, last));
                    self.contents.pages = last;
                    source = Some(loaded);
                }
                Err(sentence) => part.holds = Some(sentence),
            },
        }
        self.contents.parts.push(part);
        self.sources.push(source);
    }

    /// A mail within the mail of which nothing becomes pages would vanish with its text.
    fn hold_mail_without_document(&mut self, place: usize, own: usize) {
        let inside = self.contents.parts.iter().skip(place + 1).take(own);
        let accounted = inside.clone().any(|part| part.pages.is_some() || part.holds.is_some());
        if let Some(part) = self.contents.parts.get_mut(place).filter(|_| !accounted) {
            part.left_out = None;
            part.holds = Some(mail_without_document(&part.name));
        }
    }

    /// Whether no part holds, but none became pages either.
    fn is_nothing(&self) -> bool {
        self.contents.pages == 0 && self.contents.parts.iter().all(|part| part.holds.is_none())
    }

    /// The sentence of the first part that holds, and how many more do; `nothing` when there is no page at all.
    fn hold(&self, nothing: &str) -> Option<String> {
        let holding: Vec<&String> =
            self.contents.parts.iter().filter_map(|part| part.holds.as_ref()).collect();
        match holding.as_slice() {
            [] if self.contents.pages == 0 => Some(nothing.to_owned()),
            [] => None,
            [only] => Some((*only).clone()),
            [first, _] => Some(format!("{first} (One more part holds it too.)")),
            [first, rest @ ..] => Some(format!("{first} ({} more parts hold it too.)", rest.len())),
        }
    }

    /// Writes the selected pages of the documents, for any number of faxes. The error is a sentence for the sender.
    pub(super) fn write_pages(&mut self, selection: Option<&Selection>) -> Result<(), String> {
        // Not to be kept beside the new ones.
        (self.pages, self.output) = (None, None);
        if let Some(hold) = self.contents.hold.as_ref().filter(|_| !self.contents.nothing) {
            return Err(hold.clone());
        }
        let wanted: Vec<u32> = match selection {
            Some(selection) => selection.of(self.contents.pages).map_err(|error| error.sentence())?,
            None => (1..=self.contents.pages).collect(),
        };
        self.bound(0, wanted.len())?;
        let (mut pages, mut parts, mut warnings) = (Vec::new(), Vec::new(), Vec::new());
        for (part, source) in self.contents.parts.iter().zip(&self.sources) {
            let mut range: Option<(u32, u32)> = None;
            if let (Some(source), Some((first, last))) = (source, part.pages) {
                let chosen = wanted.iter().filter(|page| (first..=last).contains(page));
                for page in chosen.filter_map(|page| usize::try_from(page - first).ok()) {
                    let Some(&id) = source.pages.get(page) else { continue };
                    pages.push((source, id));
                    let place = u32::try_from(pages.len()).unwrap_or(u32::MAX);
                    range = Some((range.map_or(place, |(first, _)| first), place));
                }
                warnings.extend(source.warnings.iter().cloned());
            }
            parts.push(range);
        }
        let written = anew::write_pages(&pages).map_err(|error| error.to_string())?;
        warnings.extend(written.told.iter().cloned());
        self.pages = Some(Chosen { written, gauge: None, parts, warnings });
        Ok(())
    }

    /// The two halves of the pages that were written last.
    pub(super) fn written(&self) -> [&[u8]; 2] {
        self.pages.as_ref().map_or([&[], &[]], |chosen| [&chosen.written.objects, &chosen.written.table])
    }

    /// Writes what makes a fax of those pages: cover and text (as far as there are any), and the file's own structure. The error is a
    /// sentence for the sender.
    pub(super) fn write_front(&mut self, before: [Option<Vec<u8>>; 2]) -> Result<(Made, Front), String> {
        let (mut made, front) = self.front(before)?;
        if let Some(Chosen { written, gauge, .. }) = &mut self.pages {
            let gauge = gauge.get_or_insert_with(|| Gauge::new(&written.objects));
            made.container = Some(gauge.measure(&front, &written.table));
        }
        Ok((made, front))
    }

    fn front(&mut self, [cover, text]: [Option<Vec<u8>>; 2]) -> Result<(Made, Front), String> {
        if let Some(hold) = self.contents.hold.as_ref().filter(|_| text.is_none()) {
            return Err(hold.clone());
        }
        if self.contents.text_cut && text.is_some() {
            return Err("The text of the mail is too long to be faxed as pages. Attach it as a PDF.".into());
        }
        let load = |name, pdf: Option<Vec<u8>>| pdf.map(|pdf| pdf::load(name, pdf, &self.rules)).transpose();
        let (cover, text) = (load("The cover sheet", cover)?, load("The text of the mail", text)?);
        let count = |source: &Option<Source>| {
            source.as_ref().map_or(0, |source| u32::try_from(source.pages.len()).unwrap_or(u32::MAX))
        };
        let (cover_pages, text_pages) = (count(&cover), count(&text));
        let before = cover_pages.saturating_add(text_pages);
        let behind = self.pages.as_ref().map_or(0, |chosen| chosen.written.count);
        let total = self.bound(before, usize::try_from(behind).unwrap_or(usize::MAX))?;
        let Some(chosen) = &self.pages else { return Err(LOST_PAGES.into()) };
        let sources = [&cover, &text].into_iter().flatten();
        let pages: Vec<_> =
            sources.flat_map(|source| source.pages.iter().map(move |&page| (source, page))).collect();
        let front = anew::write_front(&pages, &chosen.written).map_err(|error| error.to_string())?;
        if front.head.len().saturating_add(front.tail.len()) as u64 > Front::MOST / 2 {
            return Err("Cover and text take more room than any fax needs; shorten the text.".into());
        }
        let moved = |range: &(u32, u32)| (range.0.saturating_add(before), range.1.saturating_add(before));
        let made = Made {
            pages: total,
            cover_pages,
            body: (text_pages > 0).then_some((cover_pages + 1, before)),
            parts: chosen.parts.iter().map(|range| range.as_ref().map(moved)).collect(),
            warnings: chosen.warnings.clone(),
            container: None,
        };
        self.check(&front, total)?;
        Ok((made, front))
    }

    /// Makes a fax that shares its pages with no other: cover and text (as far as there are any), then the selected pages. The error
    /// is a sentence for the sender.
    pub(super) fn make(
        &mut self,
        before: [Option<Vec<u8>>; 2],
        selection: Option<&Selection>,
    ) -> Result<(Made, Arc<Vec<u8>>), String> {
        self.write_pages(selection)?;
        let (made, front) = self.front(before)?;
        let Some(Chosen { written, .. }) = self.pages.take() else { return Err(LOST_PAGES.into()) };
        let output = Arc::new(joined(written.objects, &written.table, &front));
        self.output = Some(Arc::clone(&output));
        Ok((made, output))
    }

    /// The sum of pages, if that many can be faxed.
    fn bound(&self, before: u32, behind: usize) -> Result<u32, String> {
        let total = before.saturating_add(u32::try_from(behind).unwrap_or(u32::MAX));
        let most = self.rules.max_pages;
        if total <= most {
            return Ok(total);
        }
        let with = if before > 0 { "With its cover sheet this" } else { "This" };
        Err(format!(
            "{with} would be {total} pages; at most {most} can be faxed at once. Send it in several parts."
        ))
    }

    /// Reads the result with another reader than the one that wrote it: it must have every page that was put in.
    fn check(&mut self, front: &Front, total: u32) -> Result<(), String> {
        let Some(Chosen { written, .. }) = &mut self.pages else { return Err(LOST_PAGES.into()) };
        // Joined in the place of the objects and taken apart again: a copy would take as much memory once more.
        let length = written.objects.len();
        let file = Arc::new(joined(std::mem::take(&mut written.objects), &written.table, front));
        let seen = Pdf::new(Arc::clone(&file)).map(|pdf| pdf.pages().len());
        let mut objects = Arc::try_unwrap(file).map_err(|_| LOST_PAGES.to_owned())?;
        objects.truncate(length);
        written.objects = objects;
        if seen == Ok(usize::try_from(total).unwrap_or(usize::MAX)) {
            return Ok(());
        }
        Err("The pages could not be put together without loss. Print the documents to a new PDF and send that.".into())
    }

    /// The PDF made last.
    pub(super) fn output(&self) -> Option<&Arc<Vec<u8>>> {
        self.output.as_ref()
    }
}

/// The whole file, written behind the objects where they lie.
fn joined(mut objects: Vec<u8>, table: &[u8], front: &Front) -> Vec<u8> {
    let [_, behind @ ..] = in_order([&[], table], [front.head.as_slice(), &front.tail]);
    objects.reserve_exact(behind.iter().map(|piece| piece.len()).sum());
    for piece in behind {
        objects.extend_from_slice(piece);
    }
    objects
}

/// Said when pages are asked for that were not written before; the dialogue never does.
const LOST_PAGES: &str = "The pages could not be put together. Send the document again.";

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |value: u8| DIGITS.get(usize::from(value)).map_or('0', |digit| char::from(*digit));
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}
