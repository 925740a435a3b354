//! The text of a mail as pages of its own, for rules that fax it: plain, in the fonts of the cover, nothing but the text
//! and a small page number at the foot.
//!
//! Nothing is shrunk or cut here: what was written is faxed whole, or there is an error.

use krilla::geom::Point;

use super::fonts::Workbench;
use super::page::{BOTTOM_MARGIN, SIDE_MARGIN, TOP_MARGIN, black_ink, empty_document, page_of, size_of};
use super::text::{LEADING, Paragraph, Room, Side, Words, clean_up_to, fit, script_of};
use super::{CoverError, Fonts};
use crate::config::Paper;

/// A mail's text as PDF.
#[derive(Debug, Clone)]
pub struct Pages {
    /// The PDF, without metadata; the same text and fonts always give the same bytes.
    pub pdf: Vec<u8>,
    /// How many pages it has; at least one.
    pub pages: u32,
    /// A sentence where a box stands in the place of a sign that no font has.
    pub warnings: Vec<String>,
}

/// Pages at most. Who writes more than this in a mail did not mean it to be faxed.
pub const MOST_PAGES: u32 = 20;

// All lengths in points.
const FIELD: &str = "text of the mail";
const SIZE: f32 = 11.0;
const NUMBER_SIZE: f32 = 8.0;
/// Between the last line and the page number.
const FOOT_GAP: f32 = 8.0;
/// A page's worth of the narrowest letters, many times over: what is longer is refused before it is shaped.
const MOST_CHARACTERS: usize = 200_000;

/// Draws the text. A letter is never left out: one that no font has is an error that names it. In the place of an emoji or another
/// sign stands a box.
///
/// # Errors
///
/// More than [`MOST_PAGES`], a letter that no font has, or a fault of the PDF writer.
pub fn draw(text: &str, paper: Paper, fonts: &Fonts) -> Result<Pages, CoverError> {
    let (width, height) = size_of(paper);
    let (text, cut) = clean_up_to(MOST_CHARACTERS, text, true);
    if cut {
        return Err(CoverError::TooLong { most: MOST_PAGES });
    }
    let bench = &mut *fonts.lock();
    let (pages, boxed) = laid_out(bench, &text, width, height)?;
    let warnings = boxed.map(|sign| super::page::boxed(FIELD, sign).replace("the cover sheet", "the page"));
    let warnings = warnings.into_iter().collect();
    let count = u32::try_from(pages.len()).unwrap_or(u32::MAX);
    let mut document = empty_document()?;
    for (number, lines) in (1u32..).zip(&pages) {
        let mut page = document.start_page_with(page_of(paper)?);
        let mut surface = page.surface();
        surface.set_fill(Some(black_ink()));
        // Capitals of Noto Sans are 0.714 high: their middle is the middle of the line.
        let mut baseline = TOP_MARGIN + LEADING * SIZE / 2.0 + 0.357 * SIZE;
        for (paragraph, line) in lines {
            paragraph.draw_line(*line, Point::from_xy(SIDE_MARGIN, baseline), SIZE, bench, &mut surface)?;
            baseline += LEADING * SIZE;
        }
        let words = Words {
            field: "page number",
            text: &format!("{number}/{count}"),
            bold: false,
            paragraphs: false,
        };
        let room = Room {
            width: width - 2.0 * SIDE_MARGIN,
            sizes: &[NUMBER_SIZE],
            lines: 1,
            height: f32::MAX,
            unbroken: false,
        };
        let mut foot = fit(bench, &words, &room);
        let y = height - BOTTOM_MARGIN - foot.height();
        foot.draw(SIDE_MARGIN, y, Side::Right, bench, &mut surface)?;
        surface.finish();
        page.finish();
    }
    let pdf = document.finish().map_err(|error| CoverError::Pdf(format!("{error:?}")))?;
    Ok(Pages { pdf, pages: count, warnings })
}

/// A paragraph, and the number of one of its lines.
type Line = (std::rc::Rc<Paragraph>, usize);

/// The lines of each page. Stops at the first page too many, before the rest is shaped.
fn laid_out(
    bench: &mut Workbench,
    text: &str,
    width: f32,
    height: f32,
) -> Result<(Vec<Vec<Line>>, Option<char>), CoverError> {
    let room = height - TOP_MARGIN - BOTTOM_MARGIN - FOOT_GAP - LEADING * NUMBER_SIZE;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of lines on a page")]
    let per_page = ((room / (SIZE * LEADING)) as usize).max(1);
    let words = Words { field: FIELD, text, bold: false, paragraphs: true };
    let mut boxed = None;
    let mut pages: Vec<Vec<Line>> = vec![Vec::new()];
    for part in text.split('\n') {
        let mut paragraph = Paragraph::new(bench, &words, part.to_owned());
        match paragraph.boxed {
            // Text that cannot be read is not faxed as if it could.
            Some(character) if character.is_alphanumeric() => {
                return Err(CoverError::NoGlyph { field: FIELD, character, script: script_of(character) });
            }
            sign => boxed = boxed.or(sign),
        }
        let lines = paragraph.break_lines(width - 2.0 * SIDE_MARGIN, SIZE);
        paragraph.align(Side::Natural);
        let paragraph = std::rc::Rc::new(paragraph);
        for line in 0..lines {
            if pages.last().is_some_and(|page| page.len() == per_page) {
                if u32::try_from(pages.len()).is_ok_and(|pages| pages >= MOST_PAGES) {
                    return Err(CoverError::TooLong { most: MOST_PAGES });
                }
                pages.push(Vec::new());
            }
            if let Some(page) = pages.last_mut() {
                page.push((std::rc::Rc::clone(&paragraph), line));
            }
        }
    }
    Ok((pages, boxed))
}

#[cfg(test)]
mod tests {
    use lopdf::Document;
    use std::sync::LazyLock;

    use super::*;

    static FONTS: LazyLock<Fonts> = LazyLock::new(Fonts::builtin);

    fn texts(pages: &Pages) -> Vec<String> {
        let document = Document::load_mem(&pages.pdf).expect("a PDF");
        let numbers: Vec<u32> = document.get_pages().keys().copied().collect();
        assert_eq!(numbers.len(), pages.pages as usize);
        numbers
            .iter()
            .map(|number| {
                let text = document.extract_text(&[*number]).expect("text");
                text.split_whitespace().collect::<Vec<_>>().join(" ")
            })
            .collect()
    }

    #[test]
    fn every_line_is_on_some_page_and_pages_are_numbered() {
        for paper in [Paper::Letter, Paper::A4] {
            let text: Vec<String> = (0..200).map(|line| format!("row{line:03}end")).collect();
            let drawn = draw(&text.join("\n"), paper, &FONTS).unwrap();
            assert!((3..=5).contains(&drawn.pages), "{}", drawn.pages);
            let pages = texts(&drawn);
            let all = pages.join(" ");
            assert!(text.iter().all(|line| all.contains(line)));
            for (number, page) in pages.iter().enumerate() {
                assert!(page.contains(&format!("{}/{}", number + 1, drawn.pages)), "{page}");
            }
        }
        assert_eq!(texts(&draw("one", Paper::A4, &FONTS).unwrap()), ["one 1/1"]);
        assert_eq!(draw("", Paper::A4, &FONTS).unwrap().pages, 1);
    }

    #[test]
    fn long_words_are_broken_and_other_scripts_drawn() {
        let word = "W".repeat(400);
        let drawn = draw(&word, Paper::Letter, &FONTS).unwrap();
        let letters = texts(&drawn).concat().chars().filter(|letter| *letter == 'W').count();
        assert_eq!((drawn.pages, letters), (1, 400));
        assert_eq!(draw("\u{5e9}\u{5dc}\u{5d5}\u{5dd}\nПривет\nสวัสดี", Paper::A4, &FONTS).unwrap().pages, 1);
    }

    #[test]
    fn a_box_stands_for_an_emoji_and_it_is_told() {
        let drawn = draw("Call \u{1f4de} 212 \u{f8ff}", Paper::Letter, &FONTS).unwrap();
        assert_eq!(texts(&drawn), ["Call \u{25a1} 212 \u{25a1} 1/1"]);
        assert_eq!(
            drawn.warnings,
            [
                "The text of the mail holds a character that the page cannot show (an emoji or pictograph); a box stands in its place."
            ]
        );
        assert!(draw("plain", Paper::Letter, &FONTS).unwrap().warnings.is_empty());
    }

    #[test]
    fn nothing_is_left_out_in_silence() {
        for (text, words) in [
            ("x\n".repeat(2000).replace("x\n", "x\ny\n"), "more than 20 pages"),
            ("word ".repeat(100_000), "more than 20 pages"),
            ("a \u{4f60} b".to_owned(), "the text of the mail holds the character U+4F60"),
        ] {
            let error = draw(&text, Paper::Letter, &FONTS).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
