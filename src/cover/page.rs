//! The page of a cover: one sheet, black on white, thin rules, nothing solid (ink is line time), nothing grey (a fax
//! has no grey). Set so that it can be read at 204 x 98 dots per inch.
//!
//! From the top: word mark and organization, who it is for and who it is from side by side, the facts of this fax, the
//! message; from the bottom: job id, notice. Every field has bounds of its own; the message takes what is left. So the
//! page cannot overflow, whatever the fields hold. With labels of a language that is written from right to left the
//! whole page is mirrored.

use krilla::color::luma;
use krilla::configure::{ConfigurationBuilder, PdfVersion};
use krilla::geom::{PathBuilder, Rect};
use krilla::num::NormalizedF32;
use krilla::page::PageSettings;
use krilla::paint::{Fill, FillRule};
use krilla::surface::Surface;
use krilla::{Document, SerializeSettings};

use super::content::{self, Party, Row, is_blank, is_right_to_left, label};
use super::fonts::{Fonts, Workbench};
use super::text::{Fitted, Room, Side, Words, fit, script_of};
use super::{CoverError, Sheet};
use crate::config::Paper;

/// A cover as PDF.
#[derive(Debug, Clone)]
pub struct Drawn {
    /// A PDF of one page, without metadata; the same sheet and fonts always give the same bytes.
    pub pdf: Vec<u8>,
    /// A sentence for each field that had to be cut, or that holds a character for which a box stands.
    pub warnings: Vec<String>,
}

// All lengths in points.
/// 17 mm, well inside the width that every fax machine prints.
pub(super) const SIDE_MARGIN: f32 = 48.0;
/// 14 mm: the far end prints its header line over or above the first 10.
pub(super) const TOP_MARGIN: f32 = 40.0;
/// 14 mm: letter paper is guaranteed down to 7 mm, and a header that is added above moves everything down by 4.
pub(super) const BOTTOM_MARGIN: f32 = 40.0;
/// Between the two columns.
const GUTTER: f32 = 28.0;
/// Between a label and its value.
const LABEL_GAP: f32 = 10.0;
/// One line of a fax at 98 lines an inch; anything thinner may vanish.
const HAIRLINE: f32 = 0.75;
const HEAVY_LINE: f32 = 2.0;
const LABEL_SIZES: [f32; 3] = [9.5, 8.5, 8.0];
const NAME_SIZES: [f32; 4] = [14.0, 12.5, 11.0, 10.0];
const PAGES_SIZES: [f32; 4] = [12.5, 11.0, 10.0, 9.0];
const VALUE_SIZES: [f32; 3] = [11.0, 10.0, 9.0];
const MESSAGE_SIZES: [f32; 4] = [11.5, 11.0, 10.0, 9.0];
const NO_LIMIT: f32 = f32::MAX;

/// Draws the sheet on one page.
///
/// # Errors
///
/// A letter that no font has, by field; or a fault of the PDF writer.
pub fn draw(sheet: &Sheet, fonts: &Fonts) -> Result<Drawn, CoverError> {
    let (width, height) = size_of(sheet.paper);
    let mut document = empty_document()?;
    let mut page = document.start_page_with(page_of(sheet.paper)?);
    let mut surface = page.surface();
    surface.set_fill(Some(black_ink()));
    let mut painter = Painter {
        bench: &mut fonts.lock(),
        surface: &mut surface,
        sheet,
        page_width: width,
        mirrored: is_right_to_left(sheet),
        warnings: Vec::new(),
        letter: None,
    };
    painter.sheet(height)?;
    let (warnings, letter) = (painter.warnings, painter.letter);
    if let Some((field, character)) = letter {
        return Err(CoverError::NoGlyph { field, character, script: script_of(character) });
    }
    surface.finish();
    page.finish();
    let pdf = document.finish().map_err(|error| CoverError::Pdf(format!("{error:?}")))?;
    Ok(Drawn { pdf, warnings })
}

/// For the sender, where a box stands in the place of a character that no font has.
pub(super) fn boxed(field: &str, character: char) -> String {
    let script = script_of(character);
    format!(
        "The {field} holds a character that the cover sheet cannot show ({script}); a box stands in its place."
    )
}

/// Width and height in points.
pub(super) fn size_of(paper: Paper) -> (f32, f32) {
    match paper {
        Paper::Letter => (612.0, 792.0),
        Paper::A4 => (595.28, 841.89),
    }
}

pub(super) fn page_of(paper: Paper) -> Result<PageSettings, CoverError> {
    let (width, height) = size_of(paper);
    PageSettings::from_wh(width, height).ok_or_else(|| CoverError::Pdf("the paper has no size".into()))
}

/// A PDF to be drawn into, without metadata.
pub(super) fn empty_document() -> Result<Document, CoverError> {
    let configuration = ConfigurationBuilder::new()
        .with_version(PdfVersion::Pdf14)
        .finish()
        .map_err(|error| CoverError::Pdf(format!("{error:?}")))?;
    Ok(Document::new_with(SerializeSettings {
        xmp_metadata: false,
        enable_tagging: false,
        // Each stream would take a compressor of 380 KB from the system, and save a kilobyte or two.
        compress_content_streams: false,
        configuration,
        ..SerializeSettings::default()
    }))
}

pub(super) fn black_ink() -> Fill {
    Fill { paint: luma::Color::black().into(), opacity: NormalizedF32::ONE, rule: FillRule::NonZero }
}

struct Painter<'a, 'doc> {
    bench: &'a mut Workbench,
    surface: &'a mut Surface<'doc>,
    sheet: &'a Sheet,
    page_width: f32,
    mirrored: bool,
    warnings: Vec<String>,
    /// A letter that no font has, and the field that holds it.
    letter: Option<(&'static str, char)>,
}

/// Where rows stand, in points, on a page that is read from left to right.
#[derive(Clone, Copy)]
struct Column {
    x: f32,
    width: f32,
    /// Width of the column of labels within it.
    labels: f32,
}

/// What stands at the bottom of the page, lowest first, with where.
struct Foot {
    texts: Vec<(Fitted, f32, Side)>,
    rule: Option<f32>,
    top: f32,
}

impl Foot {
    fn put_above(&mut self, text: Fitted, side: Side) {
        self.top -= text.height();
        self.texts.push((text, self.top, side));
    }
}

impl Painter<'_, '_> {
    fn sheet(&mut self, page_height: f32) -> Result<(), CoverError> {
        let sheet = self.sheet;
        let (to, from) = (content::recipient(sheet), content::sender(sheet));
        let facts = content::facts(sheet);
        let column = (self.text_width() - GUTTER) / 2.0;
        // One column of labels down the side of reading, so that the values stand in line.
        let labels = self.label_width(to.rows.iter().chain(&facts), column);
        let from_labels = self.label_width(from.rows.iter(), column);
        let second = SIDE_MARGIN + column + GUTTER;

        let top = self.head()? + 14.0;
        let left = self.party(&to, Column { x: SIDE_MARGIN, width: column, labels }, top)?;
        let right = self.party(&from, Column { x: second, width: column, labels: from_labels }, top)?;
        let bottom = left.max(right) + 8.0;
        self.upright(second - GUTTER / 2.0, top + 2.0, bottom - top - 10.0);
        self.rule(bottom, HAIRLINE);

        let whole = Column { x: SIDE_MARGIN, width: self.text_width(), labels };
        let pages = self.fit("page count", &content::pages(sheet), true, whole.width, &PAGES_SIZES, 1);
        let top = bottom + 9.0;
        let top = top + self.put(pages, whole.x, top, Side::Left)? + 3.0;
        let bottom = self.rows(&facts, whole, top)? + 7.0;
        self.rule(bottom, HAIRLINE);

        // The message takes what the foot leaves.
        let foot = self.foot(page_height - BOTTOM_MARGIN);
        self.message(bottom + 12.0, foot.top - 12.0)?;
        self.put_foot(foot)
    }

    fn text_width(&self) -> f32 {
        self.page_width - 2.0 * SIDE_MARGIN
    }

    /// Word mark on one side, organization on the other, on one baseline above a rule.
    fn head(&mut self) -> Result<f32, CoverError> {
        let width = self.text_width();
        let mark = label(self.sheet, "fax");
        let capitals = mark.chars().all(|letter| letter.is_uppercase() || !letter.is_alphabetic());
        let mark = self.fit("label", &mark, true, width * 0.42, &[42.0, 32.0, 24.0, 18.0], 1);
        let organization_width = width - mark.natural_width() - GUTTER;
        let organization = &self.sheet.from_organization;
        let organization =
            self.fit("organization", organization, true, organization_width, &[17.0, 15.0, 13.0], 2);
        let baseline = TOP_MARGIN + mark.first_baseline().max(organization.last_baseline());
        let y = baseline - mark.first_baseline();
        self.put(mark, SIDE_MARGIN, y, Side::Left)?;
        let x = self.page_width - SIDE_MARGIN - organization_width;
        let y = baseline - organization.last_baseline();
        self.put(organization, x, y, Side::Right)?;
        // Capitals may stand close to the rule; what reaches below the line needs room.
        let drop = if capitals { 10.0 } else { 16.0 };
        let rule = baseline + drop;
        self.rule(rule, HEAVY_LINE);
        Ok(rule + HEAVY_LINE)
    }

    fn party(&mut self, party: &Party<'_>, column: Column, top: f32) -> Result<f32, CoverError> {
        let mut y = top + self.label_at(party.title, column.x, top, column.width)? + 1.0;
        if let Some((field, value)) = party.name {
            let name = self.fit(field, value, true, column.width, &NAME_SIZES, 2);
            y += self.put(name, column.x, y, Side::Left)? + 3.0;
        }
        self.rows(&party.rows, column, y)
    }

    fn message(&mut self, top: f32, bottom: f32) -> Result<(), CoverError> {
        let message = self.sheet.message.as_deref().unwrap_or_default();
        if is_blank(message) {
            return Ok(());
        }
        let width = self.text_width();
        let y = top + self.label_at("message", SIDE_MARGIN, top, width)? + 4.0;
        let words = Words { field: "message", text: message, bold: false, paragraphs: true };
        let room =
            Room { width, sizes: &MESSAGE_SIZES, lines: usize::MAX, height: bottom - y, unbroken: false };
        let fitted = self.fit_in(&words, &room);
        self.put(fitted, SIDE_MARGIN, y, Side::Natural)?;
        Ok(())
    }

    /// Lays out what stands at the bottom, from there up.
    fn foot(&mut self, bottom: f32) -> Foot {
        let sheet = self.sheet;
        let width = self.text_width();
        let mut foot = Foot { texts: Vec::new(), rule: None, top: bottom };
        if let Some(job) = sheet.job.as_deref().filter(|job| !is_blank(job)) {
            let job = format!("{} {job}", label(sheet, "job"));
            let line = self.fit("job id", &job, false, width, &[8.0], 1);
            foot.put_above(line, Side::Right);
            foot.top -= 3.0;
        }
        if !is_blank(&sheet.notice) {
            let words = Words { field: "notice", text: &sheet.notice, bold: false, paragraphs: true };
            let room =
                Room { width, sizes: &[9.5, 9.0, 8.5], lines: usize::MAX, height: 110.0, unbroken: false };
            let notice = self.fit_in(&words, &room);
            foot.put_above(notice, Side::Natural);
            foot.top -= 1.0;
            let title = self.label("confidential", width);
            foot.put_above(title, Side::Left);
            foot.top -= 7.0;
            foot.rule = Some(foot.top);
        }
        foot
    }

    fn put_foot(&mut self, foot: Foot) -> Result<(), CoverError> {
        if let Some(y) = foot.rule {
            self.rule(y, HAIRLINE);
        }
        // Whoever has the page read aloud, or copies its text, gets it from top to bottom.
        for (text, y, side) in foot.texts.into_iter().rev() {
            self.put(text, SIDE_MARGIN, y, side)?;
        }
        Ok(())
    }

    fn rows(&mut self, rows: &[Row<'_>], column: Column, mut y: f32) -> Result<f32, CoverError> {
        let Column { x, width, labels } = column;
        for row in rows {
            let label = self.fit("label", &row.label, true, labels, &LABEL_SIZES, 1);
            let words = Words { field: row.field, text: row.value, bold: false, paragraphs: false };
            let value = self.fit_in(
                &words,
                &Room {
                    width: width - labels - LABEL_GAP,
                    sizes: &VALUE_SIZES,
                    lines: row.lines,
                    height: NO_LIMIT,
                    unbroken: row.unbroken,
                },
            );
            // On one baseline, whatever the sizes.
            let lower = value.first_baseline() - label.first_baseline();
            self.put(label, x, y + lower, Side::Left)?;
            y += self.put(value, x + labels + LABEL_GAP, y, Side::Left)? + 1.5;
        }
        Ok(y)
    }

    /// Width of the column of labels: that of the widest, but never more than leaves room for the values.
    fn label_width<'r>(&mut self, rows: impl Iterator<Item = &'r Row<'r>>, width: f32) -> f32 {
        let mut widest = 0.0_f32;
        for row in rows {
            let words = Words { field: "label", text: &row.label, bold: true, paragraphs: false };
            let room = Room {
                width: NO_LIMIT,
                sizes: &LABEL_SIZES[..1],
                lines: 1,
                height: NO_LIMIT,
                unbroken: false,
            };
            widest = widest.max(fit(self.bench, &words, &room).natural_width());
        }
        (widest + 0.5).min(width * 0.42)
    }

    fn label(&mut self, name: &'static str, width: f32) -> Fitted {
        let text = label(self.sheet, name);
        self.fit("label", &text, true, width, &LABEL_SIZES, 1)
    }

    /// Draws a label on a line of its own; returns its height.
    fn label_at(&mut self, name: &'static str, x: f32, y: f32, width: f32) -> Result<f32, CoverError> {
        let label = self.label(name, width);
        self.put(label, x, y, Side::Left)
    }

    fn fit(
        &mut self,
        field: &'static str,
        text: &str,
        bold: bool,
        width: f32,
        sizes: &[f32],
        lines: usize,
    ) -> Fitted {
        let words = Words { field, text, bold, paragraphs: false };
        self.fit_in(&words, &Room { width, sizes, lines, height: NO_LIMIT, unbroken: false })
    }

    fn fit_in(&mut self, words: &Words<'_>, room: &Room<'_>) -> Fitted {
        let fitted = fit(self.bench, words, room);
        let cut = || format!("The {} was too long for the cover sheet; its end was cut.", words.field);
        let sign = match fitted.boxed {
            // Words that cannot be read are not printed as if they could.
            Some(letter) if letter.is_alphanumeric() => {
                self.letter.get_or_insert((words.field, letter));
                None
            }
            sign => sign.map(|sign| boxed(words.field, sign)),
        };
        let warnings = [fitted.cut.then(cut), sign];
        for warning in warnings.into_iter().flatten() {
            if !self.warnings.contains(&warning) {
                self.warnings.push(warning);
            }
        }
        fitted
    }

    /// Draws and returns the height. Places are given for a page that is read from left to right.
    fn put(&mut self, mut text: Fitted, x: f32, y: f32, side: Side) -> Result<f32, CoverError> {
        let (x, side) = if self.mirrored {
            let mirrored = match side {
                Side::Left => Side::Right,
                Side::Right => Side::Left,
                Side::Natural => Side::Natural,
            };
            (self.page_width - x - text.width, mirrored)
        } else {
            (x, side)
        };
        text.draw(x, y, side, self.bench, self.surface)?;
        Ok(text.height())
    }

    fn rule(&mut self, y: f32, thickness: f32) {
        self.black(SIDE_MARGIN, y, self.text_width(), thickness);
    }

    fn upright(&mut self, x: f32, y: f32, height: f32) {
        let x = if self.mirrored { self.page_width - x - HAIRLINE } else { x };
        self.black(x, y, HAIRLINE, height);
    }

    fn black(&mut self, x: f32, y: f32, width: f32, height: f32) {
        if let Some(area) = Rect::from_xywh(x, y, width, height) {
            let mut path = PathBuilder::new();
            path.push_rect(area);
            if let Some(path) = path.finish() {
                self.surface.draw_path(&path);
            }
        }
    }
}

#[cfg(test)]
mod tests;
