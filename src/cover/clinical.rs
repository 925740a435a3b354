//! Nothing clinical on covers: they lie open in the tray of a machine in a corridor. What looks like a social security
//! number or a diagnosis in the words a sender chose holds the job until a person has looked.
//!
//! The test is for shapes, not for meaning. It is meant to miss little of what people really write (`123-45-6789`,
//! `DX: E11.9`) and to leave alone what offices write all day: rooms, dates, invoices, telephone numbers, versions.

use super::Sheet;
use super::text::clean;

/// One sentence why the sheet must not go out as it is, or `None`. It names the field and never repeats its text.
#[must_use]
pub fn clinical(sheet: &Sheet) -> Option<String> {
    let optional = |text: &'static str, value: &Option<String>| (text, value.clone().unwrap_or_default());
    let (identifier_label, identifier) = sheet.identifier.clone().unwrap_or_default();
    let fields = [
        optional("subject", &sheet.subject),
        optional("message", &sheet.message),
        // With its label, which may be the word that gives the number away.
        ("identifier", format!("{identifier_label}: {identifier}")),
        optional("reference", &sheet.reference),
        ("recipient's name", sheet.to_name.clone()),
        ("attention line", sheet.to_attention.clone()),
        ("department", sheet.to_department.clone()),
        ("sender's name", sheet.from_name.clone()),
        ("sender's organization", sheet.from_organization.clone()),
    ];
    fields.into_iter().find_map(|(field, text)| {
        finding(&text).map(|what| {
            format!(
                "The {field} of the cover sheet has {what}; take it out and send the fax again, \
                 or release the job if it is something else."
            )
        })
    })
}

fn finding(text: &str) -> Option<&'static str> {
    // As it would be printed: invisible characters between the digits hide nothing.
    let (text, _) = clean(text, true);
    let text: Vec<char> = text.chars().map(plain).collect();
    if has_social_security_number(&text) {
        Some("what looks like a social security number")
    } else if has_clinical_word(&text) {
        Some("words that introduce a diagnosis")
    } else if has_diagnosis_code(&text) {
        Some("what looks like a diagnosis code")
    } else {
        None
    }
}

/// One kind of dash, one kind of space, ASCII digits and letters: what word processors make of what people type.
fn plain(character: char) -> char {
    match character {
        '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{fe63}' | '\u{ff0d}' => '-',
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(character) - 0xff01 + 0x21).unwrap_or(character),
        _ if character.is_whitespace() => ' ',
        _ => character,
    }
}

/// `123-45-6789`, `123 45 6789`, and nine digits in a row where the words say what they are.
fn has_social_security_number(text: &[char]) -> bool {
    (0..text.len()).any(|at| {
        let Some(rest) = text.get(at..) else { return false };
        let before = text.get(..at).unwrap_or_default();
        is_grouped_number(before, rest) || is_named_number(before, rest)
    })
}

fn is_grouped_number(before: &[char], rest: &[char]) -> bool {
    let [a, b, c, first, d, e, second, f, g, h, i, after @ ..] = rest else { return false };
    if ![a, b, c, d, e, f, g, h, i].into_iter().all(char::is_ascii_digit)
        || first != second
        || !matches!(first, '-' | ' ')
    {
        return false;
    }
    // Never given out: area 000 and 666, group 00, serial 0000. (9.. are taxpayer numbers of the same kind.)
    let (area, group, serial) = ([*a, *b, *c], [*d, *e], [*f, *g, *h, *i]);
    if area == ['0'; 3] || area == ['6'; 3] || group == ['0'; 2] || serial == ['0'; 4] {
        return false;
    }
    // Part of a longer number: a telephone number with its country or area code, a card, an order.
    let continues = match after {
        [next, ..] if next.is_alphanumeric() => true,
        [separator, next, ..] => matches!(separator, '-' | '/') && next.is_ascii_digit(),
        _ => false,
    };
    let continued = match before {
        [.., last] if last.is_alphanumeric() || matches!(last, '+' | '.' | '/' | '_') => true,
        [.., previous, separator] => {
            matches!(separator, '-' | ' ') && (previous.is_ascii_digit() || matches!(previous, ')'))
        }
        _ => false,
    };
    // Numbers of some countries have this shape when written with blanks.
    let telephone = *first == ' ' && last_word(before).is_some_and(|word| is_telephone_word(&word));
    !continues && !continued && !telephone
}

/// `SSN 123456789`, `Social Security Number: 123456789`.
fn is_named_number(before: &[char], rest: &[char]) -> bool {
    let digits = rest.iter().take_while(|character| character.is_ascii_digit()).count();
    if digits != 9 || before.last().is_some_and(char::is_ascii_digit) {
        return false;
    }
    let near: String = before.iter().rev().take(32).rev().collect::<String>().to_lowercase();
    let end = near.trim_end_matches(|character: char| !character.is_alphanumeric());
    ["ssn", "social security number", "social security no", "social security", "soc sec no"]
        .iter()
        .any(|name| end.ends_with(name) && !end.trim_end_matches(name).ends_with(char::is_alphanumeric))
}

fn is_telephone_word(word: &str) -> bool {
    ["tel", "telephone", "phone", "fax", "call", "mobile", "cell", "telefon", "ext"].contains(&word)
}

/// Words that are followed by what nobody in a corridor should read.
fn has_clinical_word(text: &[char]) -> bool {
    const WITH_COLON: [&str; 14] = [
        "diagnosis",
        "diagnoses",
        "diagnosis code",
        "diagnosis codes",
        "diagnostic code",
        "dx",
        "ddx",
        "dx code",
        "icd",
        "icd-10",
        "icd10",
        "icd-10-cm",
        "prognosis",
        "diagnose",
    ];
    const ALONE: [&str; 3] = ["diagnosed with", "tested positive for", "hiv positive"];
    let lower: String = text.iter().collect::<String>().to_lowercase();
    let stands_alone =
        |start: usize| !lower.get(..start).unwrap_or_default().ends_with(char::is_alphanumeric);
    let introduces = |end: usize| {
        let rest = lower.get(end..).unwrap_or_default().trim_start();
        let rest = rest.strip_prefix("(s)").unwrap_or(rest).trim_start();
        rest.starts_with([':', '='])
    };
    let ends = |end: usize| !lower.get(end..).unwrap_or_default().starts_with(char::is_alphanumeric);
    let found = |word: &str, test: &dyn Fn(usize) -> bool| {
        lower.match_indices(word).any(|(start, _)| stands_alone(start) && test(start + word.len()))
    };
    WITH_COLON.iter().any(|word| found(word, &introduces)) || ALONE.iter().any(|word| found(word, &ends))
}

/// A code of ICD-10 with its dot: `E11.9`, `F32.1`, `S72.001A`. Without the dot it could be any room.
fn has_diagnosis_code(text: &[char]) -> bool {
    (0..text.len()).any(|at| {
        let before = text.get(..at).unwrap_or_default();
        let Some([letter, digit, third, '.', rest @ ..]) = text.get(at..) else { return false };
        let detail = rest.iter().take_while(|character| character.is_ascii_alphanumeric()).count();
        // V to Y are accidents, hardly ever written on a cover, and V10.2 is a version.
        let shape = matches!(letter, 'A'..='U' | 'Z')
            && digit.is_ascii_digit()
            && (third.is_ascii_digit() || matches!(third, 'A' | 'B'))
            && rest.first().is_some_and(|first| first.is_ascii_digit() || matches!(first, 'A' | 'X'))
            && (1..=4).contains(&detail)
            && rest.iter().take(detail).all(|c| c.is_ascii_digit() || c.is_ascii_uppercase());
        if !shape {
            return false;
        }
        // Part of something longer: an invoice number, a file name, a version, an address.
        let continued = before.last().is_some_and(|last| {
            last.is_alphanumeric()
                || matches!(last, '-' | '.' | '/' | '_' | '#' | '$' | '@' | '\\' | '+' | '&')
        });
        let continues = match rest.get(detail..) {
            Some([separator, next, ..]) => {
                matches!(separator, '.' | '-' | '/' | '_' | '@') && next.is_alphanumeric()
            }
            _ => false,
        };
        !continued && !continues && !last_word(before).is_some_and(|word| is_place_in_a_document(&word))
    })
}

/// What stands before numbers like `B10.2` that are places in a document or a building.
fn is_place_in_a_document(word: &str) -> bool {
    [
        "section",
        "sections",
        "sec",
        "table",
        "tables",
        "fig",
        "figure",
        "figures",
        "exhibit",
        "appendix",
        "annex",
        "chapter",
        "clause",
        "paragraph",
        "para",
        "article",
        "item",
        "items",
        "drawing",
        "form",
        "version",
        "room",
        "suite",
        "unit",
        "building",
        "floor",
        "bay",
        "invoice",
        "order",
        "part",
        "model",
        "no",
        "nr",
    ]
    .contains(&word)
}

/// The last word, lower-case, without what separates it from what follows.
fn last_word(text: &[char]) -> Option<String> {
    let mut letters: Vec<char> = text
        .iter()
        .rev()
        .skip_while(|character| !character.is_alphanumeric())
        .take_while(|character| character.is_alphabetic())
        .copied()
        .collect();
    letters.reverse();
    (!letters.is_empty()).then(|| letters.into_iter().flat_map(char::to_lowercase).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_clinical_is_found() {
        for text in [
            "SSN 123-45-6789",
            "patient 123 45 6789 attached",
            "123-45-6789",
            "(123-45-6789)",
            "123\u{2011}45\u{2011}6789",
            "123\u{a0}45\u{a0}6789",
            "\u{ff11}\u{ff12}\u{ff13}-45-6789",
            "123-\u{200b}45-67\u{feff}89",
            "id:123-45-6789.",
            "taxpayer 912-70-1234",
            "ssn: 123456789",
            "Social Security Number 123456789",
            "Social Security #123456789",
            "claim for E11.9",
            "F32.1",
            "codes (E11.9, I10)",
            "fracture S72.001A",
            "U07.1 positive",
            "C7A.010",
            "Diagnosis: see attached",
            "diagnoses = many",
            "DX: asthma",
            "Dx : asthma",
            "ICD-10: J45",
            "diagnosis code(s): J45",
            "was diagnosed with asthma",
        ] {
            let sheet = Sheet { subject: Some(text.into()), ..Sheet::default() };
            let answer = clinical(&sheet);
            assert!(answer.is_some(), "missed: {text}");
            let answer = answer.unwrap_or_default();
            assert!(answer.starts_with("The subject "), "{answer}");
            assert!(!answer.contains(text) && !answer.chars().any(|c| c.is_ascii_digit()), "{answer}");
        }
    }

    #[test]
    fn what_offices_write_is_left_alone() {
        for text in [
            "",
            "Room B12",
            "Suite A4, B12 and C100",
            "paper A4",
            "vitamin B12",
            "2026-11-22",
            "11-22-2026",
            "22.11.2026",
            "11/22/26",
            "Invoice 123-456-789",
            "INV-A12.50",
            "Invoice E11.9",
            "invoice 2026-000123-45",
            "212-555-0199",
            "+1 212 555 0199",
            "(212) 555-0199",
            "1-212-555-0199",
            "+49 123 45 6789",
            "+372 512 34 5678",
            "Tel. 123 45 6789",
            "phone: 512 34 5678",
            "(030) 123 45 6789",
            "1-123-45-6789",
            "4111-123-45-6789-12",
            "000-12-3456",
            "666-12-3456",
            "123-00-4567",
            "123-45-0000",
            "account 123456789",
            "claim 483920",
            "CL-2026-1",
            "version V10.2",
            "Version B10.2",
            "see section A10.2 and Table B12.3",
            "Exhibit C21.1",
            "10.0.12.1",
            "A10.12.2026",
            "price $12.50",
            "E11",
            "e11.9",
            "T.38 and G.711",
            "C4.5",
            "3:45 p.m.",
            "Diagnosis of the printer is attached",
            "Department of Diagnostics",
            "Diagnostic Imaging: 2nd floor",
            "Suddx: no",
            "records for patient 483920",
        ] {
            for sheet in [
                Sheet { subject: Some(text.into()), ..Sheet::default() },
                Sheet { message: Some(text.into()), ..Sheet::default() },
                Sheet { identifier: Some(("Claim".into(), text.into())), ..Sheet::default() },
            ] {
                assert_eq!(clinical(&sheet), None, "{text}");
            }
        }
    }

    #[test]
    fn every_field_a_sender_writes_is_looked_at_and_named() {
        let text = || "123-45-6789".to_owned();
        for (name, sheet) in [
            ("message", Sheet { message: Some(text()), ..Sheet::default() }),
            ("identifier", Sheet { identifier: Some(("MRN".into(), text())), ..Sheet::default() }),
            (
                "identifier",
                Sheet { identifier: Some(("SSN".into(), "123456789".into())), ..Sheet::default() },
            ),
            (
                "identifier",
                Sheet { identifier: Some(("Diagnosis".into(), "cold".into())), ..Sheet::default() },
            ),
            ("reference", Sheet { reference: Some(text()), ..Sheet::default() }),
            ("recipient's name", Sheet { to_name: text(), ..Sheet::default() }),
            ("attention line", Sheet { to_attention: text(), ..Sheet::default() }),
            ("department", Sheet { to_department: text(), ..Sheet::default() }),
            ("sender's name", Sheet { from_name: text(), ..Sheet::default() }),
        ] {
            let answer = clinical(&sheet).unwrap_or_default();
            assert!(answer.starts_with(&format!("The {name} ")), "{name}: {answer}");
        }
        let elsewhere =
            Sheet { to_fax: text(), from_phone: text(), date: text(), job: Some(text()), ..Sheet::default() };
        assert_eq!(clinical(&elsewhere), None);
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC*") {
            let _ = clinical(&Sheet { message: Some(text), ..Sheet::default() });
        }
    }
}
