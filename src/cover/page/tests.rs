use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use lopdf::Document;
use lopdf::content::Content;
use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};

use super::*;

static FONTS: LazyLock<Fonts> = LazyLock::new(Fonts::builtin);

fn full() -> Sheet {
    Sheet {
        paper: Paper::Letter,
        labels: [].into(),
        to_name: "Mercy General Hospital".into(),
        to_department: "Medical Records".into(),
        to_attention: "Dr. Amelia Jones".into(),
        to_fax: "+1 212 555 0199".into(),
        from_name: "Jane Doe".into(),
        from_organization: "Northside Billing".into(),
        from_phone: "+1 212 555 0100".into(),
        from_mail: "jane.doe@northside.example.com".into(),
        date: "Sunday, November 22, 2026, 15:04 EST".into(),
        subject: Some("Confirmed figures of the office".into()),
        identifier: Some(("Claim".into(), "CL-2026-483920".into())),
        reference: Some("R 77".into()),
        job: Some("01JX8Z5W9Q7T".into()),
        pages: Some(5),
        notice: "Not for you? Call the sender, then destroy these pages.".into(),
        message: Some("Dear colleagues,\n\nfour pages follow.\nKind regards".into()),
    }
}

/// The text of the one page, white space evened out; fails if there is any other number of pages.
fn text_of(pdf: &[u8]) -> String {
    let document = Document::load_mem(pdf).expect("a PDF");
    assert_eq!(document.get_pages().len(), 1);
    let text = document.extract_text(&[1]).expect("text");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn drawn(sheet: &Sheet) -> Drawn {
    draw(sheet, &FONTS).unwrap_or_else(|error| panic!("{error}"))
}

/// Baselines of all text, in points from the top.
fn baselines(pdf: &[u8]) -> Vec<f32> {
    let document = Document::load_mem(pdf).expect("a PDF");
    let page = *document.get_pages().values().next().expect("a page");
    let content = Content::decode(&document.get_page_content(page)).expect("content");
    let matrices = content.operations.iter().filter(|operation| operation.operator == "Tm");
    matrices.map(|operation| operation.operands[5].as_float().expect("a number")).collect()
}

#[test]
fn every_field_can_be_read_back() {
    for paper in [Paper::Letter, Paper::A4] {
        let drawn = drawn(&Sheet { paper, ..full() });
        assert_eq!(drawn.warnings, [""; 0]);
        let text = text_of(&drawn.pdf);
        for part in [
            "FAX",
            "To Mercy General Hospital",
            "Attention Dr. Amelia Jones",
            "Department Medical Records",
            "Fax number +1 212 555 0199",
            "From Jane Doe",
            "Organization Northside Billing",
            "Telephone +1 212 555 0100",
            "Mail jane.doe@northside.example.com",
            "Pages: 5, including this one",
            "Date Sunday, November 22, 2026, 15:04 EST",
            "Subject Confirmed figures of the office",
            "Claim CL-2026-483920",
            "Reference R 77",
            "Message Dear colleagues, four pages follow. Kind regards",
            "Confidential Not for you? Call the sender, then destroy these pages.",
            "Job 01JX8Z5W9Q7T",
        ] {
            assert!(text.contains(part), "{part} is not in: {text}");
        }
    }
}

#[test]
fn missing_fields_take_their_labels_with_them() {
    let text = text_of(&drawn(&Sheet { to_fax: "+1 212 555 0199".into(), ..Sheet::default() }).pdf);
    assert_eq!(text, "FAX To Fax number +1 212 555 0199 From Pages: ______, including this one");
    let blank = Sheet { to_name: " \u{200b}\n".into(), subject: Some("\t".into()), ..Sheet::default() };
    assert_eq!(text_of(&drawn(&blank).pdf), "FAX To From Pages: ______, including this one");
}

#[test]
fn labels_come_in_the_organization_s_words() {
    let labels = [
        ("to", "An"),
        ("Fax_Number", "Faxnummer"),
        ("including this one", "einschließlich dieser"),
        ("pages", "Seiten"),
    ];
    let labels = labels.map(|(name, word)| (name.to_owned(), word.to_owned())).into();
    let text = text_of(&drawn(&Sheet { labels, ..full() }).pdf);
    for part in ["An Mercy", "Faxnummer +1", "Seiten: 5, einschließlich dieser", "From Jane"] {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
}

#[test]
fn every_label_that_is_printed_can_be_translated() {
    let labels = crate::cover::LABELS.iter().map(|name| ((*name).to_owned(), format!("<{name}>"))).collect();
    let identifier = Some((String::new(), "1".to_owned()));
    let text = text_of(&drawn(&Sheet { labels, identifier, ..full() }).pdf);
    for name in crate::cover::LABELS {
        assert!(text.contains(&format!("<{name}>")), "{name} is not in: {text}");
    }
}

#[test]
fn what_is_too_long_is_cut_with_a_warning_and_the_rest_stays() {
    let long = |words: usize| "several words ".repeat(words);
    let sheet = Sheet {
        to_name: long(40),
        from_organization: "W".repeat(400),
        from_mail: "m".repeat(400),
        subject: Some(long(200)),
        message: Some(long(360)),
        notice: long(300),
        ..full()
    };
    for paper in [Paper::Letter, Paper::A4] {
        let drawn = drawn(&Sheet { paper, ..sheet.clone() });
        let cut = ["recipient's name", "organization", "mail address", "subject", "notice", "message"];
        assert_eq!(drawn.warnings.len(), cut.len(), "{:?}", drawn.warnings);
        for field in cut {
            let warning = format!("The {field} was too long for the cover sheet; its end was cut.");
            assert!(drawn.warnings.contains(&warning), "{:?}", drawn.warnings);
        }
        let text = text_of(&drawn.pdf);
        assert_eq!(text.matches('…').count(), cut.len() + 1, "the organization is there twice: {text}");
        for part in ["+1 212 555 0199", "+1 212 555 0100", "CL-2026-483920", "Pages: 5,", "01JX8Z5W9Q7T"] {
            assert!(text.contains(part), "{part} is not in: {text}");
        }
    }
}

#[test]
fn a_long_message_shrinks_before_it_is_cut() {
    let message = "A sentence of forty something characters. ".repeat(50);
    let drawn = drawn(&Sheet { message: Some(message.clone()), ..full() });
    assert_eq!(drawn.warnings, [""; 0]);
    assert!(text_of(&drawn.pdf).contains(message.trim_end()));
}

#[test]
fn the_last_paragraphs_go_when_lines_run_out() {
    let message = (1..400).map(|line| format!("line {line}")).collect::<Vec<_>>().join("\n");
    let drawn = drawn(&Sheet { message: Some(message), ..full() });
    assert_eq!(drawn.warnings.len(), 1);
    let text = text_of(&drawn.pdf);
    assert!(
        text.contains("line 1 line 2 line 3") && !text.contains("line 399") && text.contains('…'),
        "{text}"
    );
}

#[test]
fn control_characters_and_line_breaks_are_not_printed() {
    let sheet = Sheet {
        subject: Some("one\r\ntwo\u{0}\u{7}\tthree\u{202e}four\u{2066}".into()),
        message: Some("a\r\nb\rc\u{2028}\n\n\n\nd\u{c}\u{1b}[31me".into()),
        ..full()
    };
    let text = text_of(&drawn(&sheet).pdf);
    assert!(text.contains("Subject one two threefour Claim"), "{text}");
    assert!(text.contains("Message a b c d [31me Confidential"), "{text}");
}

#[test]
fn a_box_stands_for_a_sign_without_a_glyph_and_it_is_told() {
    for (text, shown, script) in [
        ("\u{1f4e0} Referral \u{1f9a9}", "\u{25a1} Referral \u{25a1}", "an emoji or pictograph"),
        ("\u{1f469}\u{1f3fd}\u{200d}\u{1f9b0} Jane", "\u{25a1} Jane", "an emoji or pictograph"),
        ("private \u{e000}", "private \u{25a1}", "a private character"),
        ("nothing \u{10ffff}", "nothing \u{25a1}", "a private character"),
    ] {
        let drawn = drawn(&Sheet { subject: Some(text.into()), ..full() });
        let without_blanks = |text: &str| text.split_whitespace().collect::<String>();
        let page = without_blanks(&text_of(&drawn.pdf));
        assert!(page.contains(&without_blanks(&format!("Subject {shown} Claim"))), "{text}: {page}");
        let warning = format!(
            "The subject holds a character that the cover sheet cannot show ({script}); a box stands in its place."
        );
        assert_eq!(drawn.warnings, [warning]);
    }
}

#[test]
fn a_letter_without_a_glyph_is_an_error_that_names_it() {
    for (text, code, script) in [
        ("\u{4f60}\u{597d}", "U+4F60", "Chinese or Japanese"),
        ("Hangul \u{d55c}", "U+D55C", "Korean"),
        ("\u{1f4e0} a\u{0b95}", "U+0B95", "Tamil"),
    ] {
        let error =
            draw(&Sheet { subject: Some(text.into()), ..full() }, &FONTS).expect_err(text).to_string();
        assert!(error.contains("the subject ") && error.contains(code) && error.contains(script), "{error}");
        assert!(!error.contains(text), "the sheet's own text is in: {error}");
    }
}

#[test]
fn the_built_in_scripts_are_all_drawn() {
    for text in [
        "Łódź, Ærø, Ñandú, Việt Nam, e\u{301}",
        "Ελληνικά",
        "Кириллица",
        "السلام عليكم",
        "שלום עולם",
        "हिन्दी क्षेत्र",
        "ภาษาไทย",
        "Հայերեն",
        "ქართული",
        "→ ✓ ☐ ☎ № € ½ … “quoted” – — • \u{fffd}",
    ] {
        let sheet =
            Sheet { to_name: text.into(), subject: Some(text.into()), message: Some(text.into()), ..full() };
        assert_eq!(drawn(&sheet).warnings, [""; 0], "{text}");
    }
}

#[test]
fn a_page_with_labels_from_right_to_left_is_mirrored() {
    let labels = [("to".to_owned(), "אל".to_owned())].into();
    let pdf = drawn(&Sheet { labels, ..full() }).pdf;
    let document = Document::load_mem(&pdf).expect("a PDF");
    let page = *document.get_pages().values().next().expect("a page");
    let content = Content::decode(&document.get_page_content(page)).expect("content");
    let mark = content.operations.iter().find(|operation| operation.operator == "Tm").expect("text");
    assert!(mark.operands[4].as_float().expect("a number") > 306.0, "the word mark is not on the right");
}

#[test]
fn the_same_sheet_gives_the_same_bytes() {
    let first = drawn(&full()).pdf;
    // Other covers in between fill the caches, and other fonts may have other addresses.
    let _ = drawn(&Sheet { subject: Some("Ελληνικά عربي".into()), ..full() });
    assert!(first == drawn(&full()).pdf);
    assert!(first == draw(&full(), &Fonts::builtin()).expect("a cover").pdf);
}

#[test]
fn nothing_is_embedded_that_could_act_or_tell() {
    let pdf = drawn(&full()).pdf;
    let document = Document::load_mem(&pdf).expect("a PDF");
    assert!(document.trailer.get(b"Info").is_err(), "{:?}", document.trailer);
    let catalog = document.catalog().expect("a catalog");
    for key in ["Metadata", "OpenAction", "AA", "Names", "AcroForm"] {
        assert!(!catalog.has(key.as_bytes()), "{key}");
    }
    assert!(pdf.len() < 60_000, "{} bytes", pdf.len());
}

#[test]
fn font_files_of_the_user_are_tried_too() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let fonts = Fonts::with_files(&[here.join("src/cover/fonts/DejaVuSans.ttf")]).expect("fonts");
    draw(&full(), &fonts).expect("a cover");
    for (file, message) in [
        ("no/such/font.ttf", "which cannot be read: "),
        ("Cargo.toml", "which is not a TrueType or OpenType font"),
    ] {
        let path: PathBuf = here.join(file);
        let error = Fonts::with_files(&[path]).expect_err(file).to_string();
        assert!(error.contains(message) && error.contains(file), "{error}");
    }
}

/// Text as hostile as it gets within what the fonts can draw, and now and then beyond.
fn hostile() -> impl Strategy<Value = String> {
    let character = prop_oneof![
        8 => proptest::char::range(' ', '~'),
        2 => proptest::char::range('\u{a0}', '\u{24f}'),
        2 => proptest::char::range('\u{300}', '\u{36f}'),
        2 => proptest::char::range('\u{5d0}', '\u{5ea}'),
        3 => proptest::char::range('\u{620}', '\u{669}'),
        2 => proptest::char::range('\u{904}', '\u{94d}'),
        2 => proptest::char::range('\u{0}', '\u{1f}'),
        2 => proptest::char::range('\u{200b}', '\u{200f}'),
        1 => proptest::char::range('\u{2028}', '\u{202e}'),
        1 => Just('\u{fb01}'),
        1 => Just('\u{fe0f}'),
        1 => Just('W'),
    ];
    let drawable = proptest::collection::vec(character, 0..600)
        .prop_map(|characters| characters.into_iter().collect::<String>());
    prop_oneof![6 => drawable, 1 => any::<String>(), 1 => Just("W".repeat(9000)), 1 => Just("\n.".repeat(4000))]
}

proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(64))]

    #[test]
    fn whatever_it_says_it_is_one_page_or_an_error(
        texts in proptest::collection::vec(hostile(), 12),
        pages in any::<Option<u32>>(),
        a4 in any::<bool>(),
    ) {
        let text = |number: usize| texts[number].clone();
        let sheet = Sheet {
            paper: if a4 { Paper::A4 } else { Paper::Letter },
            labels: [("to".to_owned(), text(11)), ("pages".to_owned(), text(10)), ("fax".to_owned(), text(9))].into(),
            to_name: text(0),
            to_department: text(1),
            to_attention: text(2),
            to_fax: text(3),
            from_name: text(4),
            from_organization: text(5),
            from_phone: text(6),
            from_mail: text(7),
            date: text(8),
            subject: Some(text(9)),
            identifier: Some((text(10), text(11))),
            reference: Some(text(0)),
            job: Some(text(1)),
            pages,
            notice: text(2),
            message: Some(text(3) + &text(4)),
        };
        match draw(&sheet, &FONTS) {
            Ok(drawn) => {
                // Marks that stack below a letter hang a little lower than its line.
                let bottom = if a4 { 841.89 } else { 792.0 } - BOTTOM_MARGIN + 8.0;
                for baseline in baselines(&drawn.pdf) {
                    assert!((TOP_MARGIN..bottom).contains(&baseline), "text at {baseline}");
                }
                assert_eq!(Document::load_mem(&drawn.pdf).expect("a PDF").get_pages().len(), 1);
            }
            Err(CoverError::NoGlyph { .. }) => {}
            Err(other) => panic!("{other}"),
        }
    }
}
