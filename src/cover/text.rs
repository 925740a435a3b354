//! Text of a cover: cleaned, laid out in any script, fitted into the room there is.

use std::ops::Range;

use krilla::geom::Point;
use krilla::surface::Surface;
use krilla::text::{GlyphId, KrillaGlyph};
use parley::Layout;
use parley::layout::{Alignment, AlignmentOptions, Cluster, Run};
use parley::style::{FontWeight, OverflowWrap, StyleProperty};

use super::CoverError;
use super::fonts::Workbench;

/// Text is shaped once at this size and scaled from there, so that trying a smaller size costs only new line breaks.
const SHAPED_AT: f32 = 16.0;

/// Distance of lines, as a part of the size. High enough for the marks of Arabic and Devanagari.
pub(super) const LEADING: f32 = 1.32;

/// More than fits on a page at the smallest size; what is beyond is not even shaped.
const MOST_CHARACTERS: usize = 7000;

/// More than there are lines on a page at the smallest size, so that a text that loses some here is cut.
const MOST_PARAGRAPHS: usize = 100;

/// More marks than this on one letter are not writing.
const MOST_MARKS: usize = 4;

/// A text to be set.
pub(super) struct Words<'a> {
    /// What it is, for warnings and errors.
    pub(super) field: &'static str,
    /// The text, not yet cleaned.
    pub(super) text: &'a str,
    /// Whether it is set in the heavy weight.
    pub(super) bold: bool,
    /// Whether its line breaks mean something.
    pub(super) paragraphs: bool,
}

/// The room for a text.
#[derive(Clone, Copy)]
pub(super) struct Room<'a> {
    /// Points.
    pub(super) width: f32,
    /// Sizes to try in points, best first.
    pub(super) sizes: &'a [f32],
    /// Lines at most, at any size.
    pub(super) lines: usize,
    /// Points at most.
    pub(super) height: f32,
    /// Whether a smaller size is better than a second line: addresses and numbers are read as one.
    pub(super) unbroken: bool,
}

/// Text that fits its room.
pub(super) struct Fitted {
    paragraphs: Vec<Paragraph>,
    size: f32,
    /// Width it was broken for, in points.
    pub(super) width: f32,
    /// Whether a part had to be left out.
    pub(super) cut: bool,
    /// The first character in whose place a box stands, since no font has it.
    pub(super) boxed: Option<char>,
}

/// A paragraph: each has a direction of its own, so that a line of English under one of Arabic is set as English.
pub(super) struct Paragraph {
    text: String,
    layout: Layout<()>,
    /// A character in whose place a box stands, since no font has it; a letter, where there is one among them.
    pub(super) boxed: Option<char>,
}

/// Where a text's lines start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Left,
    Right,
    /// Where its own script starts: Arabic and Hebrew on the right.
    Natural,
}

/// Lays the text out at the first size at which it fits; cuts it at the last one if it fits at none.
pub(super) fn fit(bench: &mut Workbench, words: &Words<'_>, room: &Room<'_>) -> Fitted {
    let (mut text, cut) = clean(words.text, words.paragraphs);
    if cut {
        text.push('…');
    }
    let mut paragraphs = text
        .split('\n')
        .take(MOST_PARAGRAPHS)
        .map(|part| Paragraph::new(bench, words, part.to_owned()))
        .collect::<Vec<_>>();
    let boxed = paragraphs.iter().find_map(|paragraph| paragraph.boxed);
    let one_line = room.sizes.iter().filter(|_| room.unbroken).map(|size| (*size, 1));
    let all_lines = room.sizes.iter().map(|size| (*size, lines_at(*size, room)));
    let mut last = (SHAPED_AT, 1);
    for (size, lines) in one_line.chain(all_lines) {
        let needed: usize = paragraphs.iter_mut().map(|part| part.break_lines(room.width, size)).sum();
        if needed <= lines {
            return Fitted { paragraphs, size, width: room.width, cut, boxed };
        }
        last = (size, lines.max(1));
    }
    let (size, mut lines) = last;
    let mut kept = Vec::new();
    for paragraph in paragraphs {
        let needed = paragraph.lines();
        // A paragraph that just fits still has to make room for the ellipsis if others follow it.
        if needed < lines {
            lines -= needed;
            kept.push(paragraph);
        } else {
            kept.push(paragraph.shortened(bench, words, room.width, size, lines));
            break;
        }
    }
    Fitted { paragraphs: kept, size, width: room.width, cut: true, boxed }
}

impl Paragraph {
    /// Shapes the text. A box stands where no font has a glyph, one for each letter, and one for an emoji of several characters.
    pub(super) fn new(bench: &mut Workbench, words: &Words<'_>, text: String) -> Self {
        let layout = shaped(bench, words.bold, &text);
        let missing = without_glyph(&layout, &text);
        if missing.is_empty() {
            return Paragraph { text, layout, boxed: None };
        }
        let characters = missing.iter().filter_map(|range| text.get(range.clone())?.chars().next());
        let boxed = characters.clone().find(|c| c.is_alphanumeric()).or(characters.clone().next());
        let text = with_boxes(&text, &missing);
        let layout = shaped(bench, words.bold, &text);
        Paragraph { text, layout, boxed }
    }

    /// Breaks the text for this width at this size; how many lines that makes.
    pub(super) fn break_lines(&mut self, width: f32, size: f32) -> usize {
        self.layout.break_all_lines(Some(width * SHAPED_AT / size));
        self.lines()
    }

    /// At least one: an empty paragraph is an empty line.
    fn lines(&self) -> usize {
        self.layout.len().max(1)
    }

    /// Says where the lines start; before any is drawn.
    pub(super) fn align(&mut self, side: Side) {
        let alignment = match side {
            Side::Left => Alignment::Left,
            Side::Right => Alignment::Right,
            Side::Natural => Alignment::Start,
        };
        self.layout.align(alignment, AlignmentOptions::default());
    }

    /// Draws one line, the left end of whose baseline is at this point.
    pub(super) fn draw_line(
        &self,
        number: usize,
        at: Point,
        size: f32,
        bench: &mut Workbench,
        surface: &mut Surface<'_>,
    ) -> Result<(), CoverError> {
        let Some(line) = self.layout.get(number) else { return Ok(()) };
        let mut left = at.x + line.metrics().offset * size / SHAPED_AT;
        for run in line.runs() {
            let font = bench
                .embedded(&run)
                .ok_or_else(|| CoverError::Pdf("a font of the layout cannot be embedded".into()))?;
            let (glyphs, advance) = glyphs_of(&run);
            if !glyphs.is_empty() {
                surface.draw_glyphs(Point::from_xy(left, at.y), &glyphs, font, &self.text, size, false);
            }
            left += advance * size;
        }
        Ok(())
    }

    /// As much of the text as fits into these lines with an ellipsis behind it.
    fn shortened(
        self,
        bench: &mut Workbench,
        words: &Words<'_>,
        width: f32,
        size: f32,
        lines: usize,
    ) -> Self {
        let mut end = self.layout.get(lines - 1).map_or(self.text.len(), |line| line.text_range().end);
        let mut whole = self;
        // The ellipsis may not fit behind the last word: give up more of the text until it does.
        let mut give_up = 0;
        loop {
            let kept = whole.text.get(..whole.cluster_start(end.saturating_sub(give_up))).unwrap_or_default();
            let kept = kept.trim_end();
            // Better a whole word less than half a word more.
            let half =
                whole.text.get(kept.len()..).is_some_and(|rest| rest.starts_with(char::is_alphanumeric));
            let word = kept.rfind(' ').filter(|space| half && kept.len() - space < 24);
            let kept = kept.get(..word.unwrap_or(kept.len())).unwrap_or_default().trim_end().len();
            let mut shorter = whole.text.get(..kept).unwrap_or_default().to_owned();
            shorter.push('…');
            let mut shorter = Paragraph::new(bench, words, shorter);
            if shorter.break_lines(width, size) <= lines || kept == 0 {
                return shorter;
            }
            (whole, end) = (shorter, kept);
            give_up = if give_up == 0 { 1 } else { give_up * 2 };
        }
    }

    /// The start of the cluster at this byte, so that no letter loses its marks.
    fn cluster_start(&self, byte: usize) -> usize {
        if byte >= self.text.len() {
            return self.text.len();
        }
        Cluster::from_byte_index(&self.layout, byte).map_or(0, |cluster| cluster.text_range().start.min(byte))
    }
}

/// What stands where no font has a glyph. The built-in fonts have it.
const BOX: char = '\u{25a1}';
const JOINER: char = '\u{200d}';

fn shaped(bench: &mut Workbench, bold: bool, text: &str) -> Layout<()> {
    let family = bench.family_list();
    let mut builder = bench.layouts.ranged_builder(&mut bench.fonts, text, 1.0, false);
    builder.push_default(StyleProperty::FontFamily(family));
    builder.push_default(StyleProperty::FontSize(SHAPED_AT));
    builder.push_default(StyleProperty::OverflowWrap(OverflowWrap::Anywhere));
    if bold {
        builder.push_default(StyleProperty::FontWeight(FontWeight::BOLD));
    }
    let mut layout = builder.build(text);
    layout.break_all_lines(None);
    layout
}

/// Where the fonts have no glyph, in the order of the text.
fn without_glyph(layout: &Layout<()>, text: &str) -> Vec<Range<usize>> {
    let mut missing = Vec::new();
    let mut seen = 0;
    for run in layout.lines().flat_map(|line| line.runs().collect::<Vec<_>>()) {
        for cluster in run.clusters() {
            let range = cluster.text_range();
            seen = seen.max(range.end);
            if cluster.glyphs().any(|glyph| glyph.id == 0) {
                missing.push(range);
            }
        }
    }
    // Layout drops a text for which it finds no font at all.
    let rest = text.get(seen..).unwrap_or_default().char_indices().filter(|(_, c)| !c.is_whitespace());
    missing.extend(
        rest.map(|(at, c)| seen.saturating_add(at)..seen.saturating_add(at).saturating_add(c.len_utf8())),
    );
    missing.sort_by_key(|range| range.start);
    missing
}

fn with_boxes(text: &str, missing: &[Range<usize>]) -> String {
    let mut boxed = String::with_capacity(text.len());
    let mut at = 0;
    let mut was_sign = false;
    for range in missing {
        let between = text.get(at..range.start).unwrap_or_default();
        let is_sign = !text.get(range.clone()).unwrap_or_default().contains(char::is_alphanumeric);
        // Parts of one emoji: a person and what they are, with their colour.
        let same = was_sign && is_sign && between.chars().all(|c| c == JOINER);
        if !same {
            boxed.push_str(between.trim_start_matches(|c| was_sign && c == JOINER));
            boxed.push(BOX);
        }
        (at, was_sign) = (range.end.max(at), is_sign);
    }
    boxed.push_str(text.get(at..).unwrap_or_default());
    boxed
}

impl Fitted {
    /// Height in points.
    pub(super) fn height(&self) -> f32 {
        self.line_height() * count(self.paragraphs.iter().map(Paragraph::lines).sum())
    }

    /// Width of the longest line in points.
    pub(super) fn natural_width(&self) -> f32 {
        let widest = self.paragraphs.iter().map(|part| part.layout.width()).fold(0.0, f32::max);
        widest * self.size / SHAPED_AT
    }

    /// Distance of the first baseline from the top, in points.
    pub(super) fn first_baseline(&self) -> f32 {
        // Capitals of Noto Sans are 0.714 high: their middle is the middle of the line.
        self.line_height() / 2.0 + 0.357 * self.size
    }

    /// Distance of the last baseline from the top, in points.
    pub(super) fn last_baseline(&self) -> f32 {
        self.height() - self.line_height() + self.first_baseline()
    }

    fn line_height(&self) -> f32 {
        LEADING * self.size
    }

    /// Draws with the upper left corner of its room at the given point.
    pub(super) fn draw(
        &mut self,
        x: f32,
        y: f32,
        side: Side,
        bench: &mut Workbench,
        surface: &mut Surface<'_>,
    ) -> Result<(), CoverError> {
        let line_height = self.line_height();
        let mut baseline = y + self.first_baseline();
        for paragraph in &mut self.paragraphs {
            paragraph.align(side);
            for line in 0..paragraph.lines() {
                paragraph.draw_line(line, Point::from_xy(x, baseline), self.size, bench, surface)?;
                baseline += line_height;
            }
        }
        Ok(())
    }
}

/// The glyphs of a run from left to right, and how far they go; all in parts of the size.
fn glyphs_of(run: &Run<'_, ()>) -> (Vec<KrillaGlyph>, f32) {
    let unit = 1.0 / SHAPED_AT;
    let mut glyphs: Vec<KrillaGlyph> = Vec::with_capacity(run.len());
    let mut advance = 0.0;
    // End of a ligature's text whose glyph is still to come.
    let mut ligature_end: Option<usize> = None;
    for cluster in run.visual_clusters() {
        let mut range = cluster.text_range();
        if cluster.is_ligature_continuation() {
            // Drawn by the ligature: text copied from the page would lose this letter otherwise. The ligature's glyph
            // belongs to its first letter, which comes after this one in text that runs to the left.
            if run.is_rtl() {
                ligature_end = Some(ligature_end.map_or(range.end, |end| end.max(range.end)));
            } else if let Some(last) = glyphs.last_mut() {
                last.text_range.end = range.end;
            }
            continue;
        }
        if let Some(end) = ligature_end.take() {
            range.end = range.end.max(end);
        }
        for glyph in cluster.glyphs() {
            let width = glyph.advance * unit;
            glyphs.push(KrillaGlyph::new(
                GlyphId::new(glyph.id),
                width,
                glyph.x * unit,
                glyph.y * unit,
                0.0,
                range.clone(),
                None,
            ));
            advance += width;
        }
    }
    (glyphs, advance)
}

fn lines_at(size: f32, room: &Room<'_>) -> usize {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of lines on a page")]
    let by_height = (room.height / (size * LEADING) + 0.01).max(0.0) as usize;
    room.lines.min(by_height)
}

fn count(lines: usize) -> f32 {
    f32::from(u16::try_from(lines).unwrap_or(u16::MAX))
}

/// Text as it may stand on paper: no control characters, no invisible ones that would turn the order of the others
/// around, no runs of white space; and whether it was so long that its end was dropped.
pub(super) fn clean(text: &str, paragraphs: bool) -> (String, bool) {
    clean_up_to(MOST_CHARACTERS, text, paragraphs)
}

/// [`clean`] with a limit of its own.
pub(super) fn clean_up_to(most: usize, text: &str, paragraphs: bool) -> (String, bool) {
    let mut cleaned = String::with_capacity(text.len().min(4 * most));
    let (mut characters, mut marks, mut breaks, mut space, mut after_return) = (0, 0, 0, false, false);
    for character in text.chars() {
        let returned = std::mem::replace(&mut after_return, character == '\r');
        match character {
            '\n' if returned => {}
            '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}' if paragraphs => breaks += 1,
            _ if character.is_whitespace() || character.is_control() => space = true,
            _ if is_invisible(character) => {}
            _ => {
                marks = if is_mark(character) { marks + 1 } else { 0 };
                if marks > MOST_MARKS {
                    continue;
                }
                if characters == most {
                    return (cleaned, true);
                }
                // White space counts once something follows it: none at the start or end, at most one empty line.
                if !cleaned.is_empty() {
                    match breaks {
                        0 if space => cleaned.push(' '),
                        0 => {}
                        1 => cleaned.push('\n'),
                        _ => cleaned.push_str("\n\n"),
                    }
                }
                (breaks, space) = (0, false);
                cleaned.push(character);
                characters += 1;
            }
        }
    }
    (cleaned, false)
}

/// Marks that stack on Latin, Greek and Cyrillic letters.
fn is_mark(character: char) -> bool {
    matches!(character, '\u{300}'..='\u{36f}' | '\u{483}'..='\u{489}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}'
        | '\u{20d0}'..='\u{20ff}' | '\u{fe20}'..='\u{fe2f}')
}

/// Characters without ink that have no business on a cover: embeddings and overrides of direction (they can make a name
/// or number read differently), variation selectors, tags, zero-width spaces. Joiners and direction marks stay; Persian
/// and the Indian scripts need the former, mixed text the latter.
fn is_invisible(character: char) -> bool {
    matches!(character, '\u{ad}' | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
        | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// What a character is written in, for people who look for a font.
pub(super) fn script_of(character: char) -> &'static str {
    match u32::from(character) {
        0x0530..=0x058f => "Armenian",
        0x0590..=0x05ff => "Hebrew",
        0x0600..=0x06ff | 0x0750..=0x077f | 0x08a0..=0x08ff | 0xfb50..=0xfdff | 0xfe70..=0xfeff => "Arabic",
        0x0700..=0x074f => "Syriac",
        0x0900..=0x097f => "Devanagari",
        0x0980..=0x09ff => "Bengali",
        0x0a00..=0x0a7f => "Gurmukhi",
        0x0a80..=0x0aff => "Gujarati",
        0x0b00..=0x0b7f => "Odia",
        0x0b80..=0x0bff => "Tamil",
        0x0c00..=0x0c7f => "Telugu",
        0x0c80..=0x0cff => "Kannada",
        0x0d00..=0x0d7f => "Malayalam",
        0x0d80..=0x0dff => "Sinhala",
        0x0e00..=0x0e7f => "Thai",
        0x0e80..=0x0eff => "Lao",
        0x0f00..=0x0fff => "Tibetan",
        0x1000..=0x109f => "Burmese",
        0x10a0..=0x10ff | 0x1c90..=0x1cbf => "Georgian",
        0x1100..=0x11ff | 0x3130..=0x318f | 0xac00..=0xd7ff => "Korean",
        0x1200..=0x139f => "Ethiopic",
        0x13a0..=0x13ff => "Cherokee",
        0x1780..=0x17ff => "Khmer",
        0x1800..=0x18af => "Mongolian",
        0x2000..=0x2bff => "a sign",
        0x3040..=0x30ff | 0x31f0..=0x31ff => "Japanese",
        0x2e80..=0x2fdf
        | 0x3000..=0x303f
        | 0x3100..=0x312f
        | 0x3400..=0x9fff
        | 0xf900..=0xfaff
        | 0x20000..=0x3ffff => "Chinese or Japanese",
        0xe000..=0xf8ff | 0xf_0000..=0x10_ffff => "a private character",
        0x1f000..=0x1faff => "an emoji or pictograph",
        _ => "a rare script or sign",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cleaned_for_paper() {
        for (raw, field, message) in [
            ("", "", ""),
            (" \t\r\n ", "", ""),
            ("  a  b\u{a0}c ", "a b c", "a b c"),
            ("a\r\nb", "a b", "a\nb"),
            ("a\rb\u{85}c\u{2028}d\u{2029}e", "a b c d e", "a\nb\nc\nd\ne"),
            ("a \n\n \n\n b\n", "a b", "a\n\nb"),
            ("\u{0}a\u{7}b\u{1b}[0m\u{7f}", "a b [0m", "a b [0m"),
            // Direction overrides would print 0199 as 9910.
            ("\u{202e}0199\u{202c} \u{2066}x\u{2069}", "0199 x", "0199 x"),
            ("soft\u{ad}hyphen\u{200b}\u{feff}\u{fe0f}", "softhyphen", "softhyphen"),
            (
                "\u{645}\u{200c}\u{645}\u{200f}",
                "\u{645}\u{200c}\u{645}\u{200f}",
                "\u{645}\u{200c}\u{645}\u{200f}",
            ),
        ] {
            assert_eq!(clean(raw, false), (field.to_owned(), false), "{raw:?}");
            assert_eq!(clean(raw, true), (message.to_owned(), false), "{raw:?}");
        }
        let stacked = format!("a{}b", "\u{301}".repeat(40));
        assert_eq!(clean(&stacked, false).0.chars().count(), 2 + MOST_MARKS);
        let (kept, dropped) = clean(&"x".repeat(MOST_CHARACTERS + 1), true);
        assert_eq!((kept.len(), dropped), (MOST_CHARACTERS, true));
    }
}
