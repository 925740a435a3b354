//! The documents that the demo faxes: small PDFs of invented people and figures, drawn here so that the binary needs no files.
//!
//! They use the fonts that every PDF reader has by itself, and one of them is a scan: nothing but a black and white picture.

use anyhow::Context;
use hayro::hayro_interpret::InterpreterSettings;
use hayro::hayro_syntax::Pdf;
use hayro::vello_cpu::color::palette::css::WHITE;
use hayro::{PixmapSettings, RenderCache, RenderSettings};
use lopdf::{Dictionary, Document, Object, Stream, dictionary};

/// Who the papers are about; nobody of that name was asked. Tests look for it where it must not be.
pub(super) const PATIENT: &str = "Quillon Marsh-Abernathy";

/// US letter, in points.
const PAPER: (f32, f32) = (612.0, 792.0);
const MARGIN: f32 = 60.0;
/// The scan's dots per inch.
const SCAN: f32 = 150.0;

/// Three pages of laboratory results.
pub(super) fn laboratory_report() -> anyhow::Result<Vec<u8>> {
    let panels: [(&str, &[[&str; 4]]); 3] = [
        (
            "Complete blood count",
            &[
                ["Leukocytes", "6.4", "10^3/uL", "4.0 - 10.5"],
                ["Erythrocytes", "4.71", "10^6/uL", "4.10 - 5.60"],
                ["Hemoglobin", "14.1", "g/dL", "12.5 - 17.0"],
                ["Hematocrit", "42.3", "%", "36.0 - 50.0"],
                ["MCV", "89.8", "fL", "80.0 - 98.0"],
                ["Platelets", "251", "10^3/uL", "140 - 400"],
            ],
        ),
        (
            "Basic metabolic panel",
            &[
                ["Glucose, fasting", "96", "mg/dL", "65 - 99"],
                ["Creatinine", "0.94", "mg/dL", "0.70 - 1.25"],
                ["eGFR", "91", "mL/min/1.73", "> 59"],
                ["Sodium", "140", "mmol/L", "135 - 146"],
                ["Potassium", "4.3", "mmol/L", "3.5 - 5.3"],
                ["Calcium", "9.5", "mg/dL", "8.6 - 10.3"],
            ],
        ),
        (
            "Lipid panel",
            &[
                ["Cholesterol, total", "187", "mg/dL", "< 200"],
                ["HDL", "54", "mg/dL", "> 40"],
                ["LDL, calculated", "112", "mg/dL", "< 130"],
                ["Triglycerides", "105", "mg/dL", "< 150"],
            ],
        ),
    ];
    let mut pages = Vec::new();
    for (nth, (panel, rows)) in panels.into_iter().enumerate() {
        let mut page = Page::headed("Laboratory report", nth + 1, 3);
        page.pair("Patient", PATIENT);
        page.pair("Collected", "invented for this demonstration");
        page.gap();
        page.heading(panel);
        page.row(["Test", "Result", "Unit", "Reference"], true);
        for row in rows {
            page.row(*row, false);
        }
        pages.push(page);
    }
    write(pages)
}

/// One page of letter.
pub(super) fn referral() -> anyhow::Result<Vec<u8>> {
    let mut page = Page::headed("Referral", 1, 1);
    page.pair("Patient", PATIENT);
    page.pair("Asked for", "Echocardiogram, resting");
    page.gap();
    for line in [
        "Dear colleague,",
        "",
        "thank you for seeing this patient for the study named above. Recent laboratory",
        "results are with the radiologist and can be sent to you on request.",
        "",
        "Please send your report to the fax number at the head of the cover sheet.",
        "",
        "With kind regards,",
        "J. Alvarado, Lakeside Family Clinic",
    ] {
        page.line(line);
    }
    write(vec![page])
}

/// The referral as a scanner in the corridor makes it: one picture of one bit per dot.
pub(super) fn scanned_referral() -> anyhow::Result<Vec<u8>> {
    let scale = SCAN / 72.0;
    let picture = draw(referral()?, scale)?;
    let (width, height) = (usize::from(picture.width()), usize::from(picture.height()));
    let mut bits = vec![0u8; width.div_ceil(8) * height];
    for (nth, dot) in picture.data().iter().enumerate() {
        let byte = bits.get_mut(nth / width * width.div_ceil(8) + nth % width / 8);
        if let Some(byte) = byte.filter(|_| dot.g > 140) {
            *byte |= 0x80 >> (nth % width % 8);
        }
    }
    let image = dictionary! {
        "Type" => "XObject", "Subtype" => "Image", "Width" => width as i64, "Height" => height as i64,
        "ColorSpace" => "DeviceGray", "BitsPerComponent" => 1,
    };
    let content = format!("{} 0 0 {} 0 0 cm /Scan Do", PAPER.0, PAPER.1);
    let mut document = Document::with_version("1.5");
    let image = document.add_object(Stream::new(image, bits));
    finish(document, dictionary! { "XObject" => dictionary! { "Scan" => image } }, vec![content])
}

/// Two pages of statement.
pub(super) fn billing_statement() -> anyhow::Result<Vec<u8>> {
    let mut pages = Vec::new();
    for nth in 1..=2usize {
        let mut page = Page::headed("Statement of account", nth, 2);
        page.pair("Account", "483920");
        page.pair("Guarantor", PATIENT);
        page.gap();
        page.row(["Service", "Date", "Charge", "Open"], true);
        for line in 0..9usize {
            let charge = 40 + (nth * 37 + line * 53) % 160;
            let date = format!("2026-{:02}-{:02}", nth + 7, line * 3 + 1);
            page.row(["Office visit", &date, &format!("{charge}.00"), &format!("{}.00", charge / 4)], false);
        }
        pages.push(page);
    }
    write(pages)
}

/// One page of request.
pub(super) fn refill_request() -> anyhow::Result<Vec<u8>> {
    let mut page = Page::headed("Prescription refill request", 1, 1);
    page.pair("Patient", PATIENT);
    page.gap();
    page.row(["Medication", "Strength", "Quantity", "Refills"], true);
    page.row(["Atorvastatin", "20 mg", "90", "3"], false);
    page.row(["Lisinopril", "10 mg", "90", "3"], false);
    write(vec![page])
}

/// One page that says no more than that records are asked for.
pub(super) fn records_request() -> anyhow::Result<Vec<u8>> {
    let mut page = Page::headed("Request for records", 1, 1);
    page.pair("Patient", PATIENT);
    page.pair("Period", "January to June 2026");
    page.gap();
    page.line("Please send the records of the period named above to the number on the cover sheet.");
    write(vec![page])
}

/// The first page of a PDF as PNG, `dpi` dots per inch.
pub(super) fn picture(pdf: Vec<u8>, dpi: f32) -> anyhow::Result<Vec<u8>> {
    draw(pdf, dpi / 72.0)?.into_png().context("the picture could not be written as PNG")
}

fn draw(pdf: Vec<u8>, scale: f32) -> anyhow::Result<hayro::vello_cpu::Pixmap> {
    let pdf = Pdf::new(pdf).map_err(|_| anyhow::anyhow!("the PDF could not be opened to be drawn"))?;
    let page = pdf.pages().first().context("the PDF has no page to be drawn")?;
    let size = PixmapSettings { x_scale: scale, y_scale: scale, bg_color: WHITE };
    let how = RenderSettings::default();
    Ok(hayro::render(page, &RenderCache::new(), &InterpreterSettings::default(), &how, &size))
}

/// A page being written from the top down.
struct Page {
    content: String,
    y: f32,
}

impl Page {
    fn headed(title: &str, number: usize, of: usize) -> Page {
        let mut page = Page { content: String::new(), y: PAPER.1 - MARGIN };
        page.text(MARGIN, "B", 11.0, "Lakeside Family Clinic");
        page.text(PAPER.0 - MARGIN - 62.0, "R", 10.0, &format!("Page {number} of {of}"));
        page.rule();
        page.y -= 30.0;
        page.text(MARGIN, "B", 18.0, title);
        page.y -= 30.0;
        page
    }

    fn gap(&mut self) {
        self.y -= 14.0;
    }

    fn heading(&mut self, text: &str) {
        self.text(MARGIN, "B", 12.0, text);
        self.y -= 22.0;
    }

    fn line(&mut self, text: &str) {
        self.text(MARGIN, "R", 11.0, text);
        self.y -= 16.0;
    }

    fn pair(&mut self, label: &str, value: &str) {
        self.text(MARGIN, "B", 11.0, label);
        self.text(MARGIN + 90.0, "R", 11.0, value);
        self.y -= 17.0;
    }

    fn row(&mut self, cells: [&str; 4], head: bool) {
        for (x, cell) in [0.0, 190.0, 290.0, 400.0].into_iter().zip(cells) {
            self.text(MARGIN + x, if head { "B" } else { "R" }, 11.0, cell);
        }
        if head {
            self.rule();
            self.y -= 4.0;
        }
        self.y -= 18.0;
    }

    fn rule(&mut self) {
        let (y, end) = (self.y - 6.0, PAPER.0 - MARGIN);
        self.content.push_str(&format!("0.8 w {MARGIN} {y} m {end} {y} l S\n"));
    }

    fn text(&mut self, x: f32, font: &str, size: f32, text: &str) {
        let y = self.y;
        // ASCII only, and none of the three characters that a PDF string would want escaped.
        let text: String = text.chars().filter(|c| c.is_ascii() && !"()\\".contains(*c)).collect();
        self.content.push_str(&format!("BT /{font} {size} Tf {x} {y} Td ({text}) Tj ET\n"));
    }
}

fn write(pages: Vec<Page>) -> anyhow::Result<Vec<u8>> {
    let font = |name: &str| {
        dictionary! { "Type" => "Font", "Subtype" => "Type1", "BaseFont" => name, "Encoding" => "WinAnsiEncoding" }
    };
    let mut document = Document::with_version("1.5");
    let regular = document.add_object(font("Helvetica"));
    let bold = document.add_object(font("Helvetica-Bold"));
    let resources = dictionary! { "Font" => dictionary! { "R" => regular, "B" => bold } };
    finish(document, resources, pages.into_iter().map(|page| page.content).collect())
}

fn finish(mut document: Document, resources: Dictionary, contents: Vec<String>) -> anyhow::Result<Vec<u8>> {
    let tree = document.new_object_id();
    let resources = document.add_object(resources);
    let mut pages: Vec<Object> = Vec::new();
    for content in contents {
        let content = document.add_object(Stream::new(Dictionary::new(), content.into_bytes()));
        let page = dictionary! {
            "Type" => "Page", "Parent" => tree, "Contents" => content, "Resources" => resources,
            "MediaBox" => vec![0.into(), 0.into(), PAPER.0.into(), PAPER.1.into()],
        };
        pages.push(document.add_object(page).into());
    }
    let count = i64::try_from(pages.len())?;
    document.set_object(tree, dictionary! { "Type" => "Pages", "Kids" => pages, "Count" => count });
    let catalog = document.add_object(dictionary! { "Type" => "Catalog", "Pages" => tree });
    document.trailer.set("Root", catalog);
    document.compress();
    let mut bytes = Vec::new();
    document.save_to(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_paper_has_its_pages_and_can_be_drawn() {
        let papers = [
            (laboratory_report(), 3),
            (referral(), 1),
            (scanned_referral(), 1),
            (billing_statement(), 2),
            (refill_request(), 1),
            (records_request(), 1),
        ];
        for (paper, pages) in papers {
            let paper = paper.unwrap();
            assert_eq!(Document::load_mem(&paper).unwrap().get_pages().len(), pages);
            let drawn = draw(paper, 1.0).unwrap();
            let dark = drawn.data().iter().filter(|dot| dot.g < 128).count();
            assert!((300..60_000).contains(&dark), "{dark} dark dots");
        }
    }
}
