//! A submission's document, opened: the work that the child does, as functions on bytes.

use std::sync::Arc;

use hayro::hayro_syntax::Pdf;

use super::graphic::Around;
use super::kind::{Verdict, judge, mail_without_document};
use super::mail::{self, Entity, Role};
use super::names::clean_name;
use super::pdf::{self, Source};
use super::{Contents, Made, Part, Rules, Selection, anew};

/// An opened document, and the PDF made of it last.
#[derive(Debug)]
pub(super) struct Opened {
    pub contents: Contents,
    rules: Rules,
    /// For each part, its PDF.
    sources: Vec<Option<Source>>,
    output: Option<Arc<Vec<u8>>>,
}

impl Opened {
    /// Opens a mail.
    pub(super) fn mail(raw: &[u8], rules: Rules) -> Self {
        let mail = mail::read(raw, &rules);
        let mut opened = Opened::empty(rules);
        opened.contents.mail = Some(mail.facts);
        opened.contents.text = mail.text;
        opened.contents.text_cut = mail.text_cut;
        let mails: Vec<(usize, usize)> = (0..)
            .zip(&mail.entities)
            .filter_map(|(place, entity)| match entity.role {
                Role::Mail(own) => Some((place, own)),
                _ => None,
            })
            .collect();
        for entity in mail.entities {
            opened.add(entity, &mail.around);
        }
        // The innermost first: a mail that holds is reason enough for those around it.
        for (place, own) in mails.into_iter().rev() {
            opened.hold_mail_without_document(place, own);
        }
        let problem = mail.problem;
        opened.contents.nothing = problem.is_none() && opened.is_nothing();
        opened.contents.hold =
            problem.or_else(|| opened.hold("The mail has no attachment that could be faxed."));
        opened
    }

    /// Opens a file.
    pub(super) fn file(name: &str, raw: Vec<u8>, rules: Rules) -> Self {
        let mut opened = Opened::empty(rules);
        opened.add(Entity::file(clean_name(name), raw), &Around::default());
        opened.contents.hold = opened.hold("The file cannot be faxed.");
        opened
    }

    fn empty(rules: Rules) -> Self {
        Opened { contents: Contents::default(), rules, sources: Vec::new(), output: None }
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
            Verdict::LeftOut(reason) => part.left_out = Some(reason.to_owned()),
            Verdict::Holds(sentence) => part.holds = Some(sentence),
            Verdict::Pages => match pdf::load(&part.name, entity.bytes, &self.rules) {
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

    /// Makes the final PDF: cover and text (as far as there are any), then the selected pages. The error is a sentence for the
    /// sender.
    pub(super) fn make(
        &mut self,
        [cover, text]: [Option<Vec<u8>>; 2],
        selection: Option<&Selection>,
    ) -> Result<(Made, Arc<Vec<u8>>), String> {
        // Not to be kept beside the new one.
        self.output = None;
        match &self.contents.hold {
            Some(hold) if !(self.contents.nothing && text.is_some()) => return Err(hold.clone()),
            _ => {}
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
        let wanted: Vec<u32> = match selection {
            Some(selection) => selection.of(self.contents.pages).map_err(|error| error.sentence())?,
            None => (1..=self.contents.pages).collect(),
        };
        let front = cover_pages.saturating_add(text_pages);
        let total = front.saturating_add(u32::try_from(wanted.len()).unwrap_or(u32::MAX));
        let most = self.rules.max_pages;
        if total > most {
            return Err(format!(
                "With its cover sheet this would be {total} pages; at most {most} can be faxed at once. \
                 Send it in several parts."
            ));
        }
        let before = [&cover, &text].into_iter().flatten();
        let mut pages: Vec<_> =
            before.flat_map(|source| source.pages.iter().map(move |&page| (source, page))).collect();
        let body = (text_pages > 0).then_some((cover_pages + 1, front));
        let mut made = Made { pages: total, cover_pages, body, ..Made::default() };
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
                made.warnings.extend(source.warnings.iter().cloned());
            }
            made.parts.push(range);
        }
        let output =
            anew::write(&pages).map_err(|error| format!("The packet could not be written: {error}."))?;
        drop(pages);
        let output = Arc::new(output);
        self.check(&output, total)?;
        self.output = Some(Arc::clone(&output));
        Ok((made, output))
    }

    /// Reads the result with both readers: it must have every page that was put in.
    fn check(&self, output: &Arc<Vec<u8>>, total: u32) -> Result<(), String> {
        let total = usize::try_from(total).unwrap_or(usize::MAX);
        let seen = Pdf::new(Arc::clone(output)).map(|pdf| pdf.pages().len());
        if seen == Ok(total) {
            return Ok(());
        }
        Err("The pages could not be put together without loss. Print the documents to a new PDF and send that.".into())
    }

    /// The PDF made last.
    pub(super) fn output(&self) -> Option<&Arc<Vec<u8>>> {
        self.output.as_ref()
    }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |value: u8| DIGITS.get(usize::from(value)).map_or('0', |digit| char::from(*digit));
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}
