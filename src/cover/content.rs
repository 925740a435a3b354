//! Which words of a sheet stand where on its page (pure): labels, rows, and what is left out because it is empty.

use super::Sheet;
use super::text::clean;

/// A labelled value.
pub(super) struct Row<'a> {
    /// What it is, for warnings and errors.
    pub(super) field: &'static str,
    pub(super) label: String,
    pub(super) value: &'a str,
    /// Lines it may take.
    pub(super) lines: usize,
    /// Whether a smaller size is better than a second line.
    pub(super) unbroken: bool,
}

/// A block about the recipient or the sender.
pub(super) struct Party<'a> {
    /// Key of the word above it.
    pub(super) title: &'static str,
    /// What is set large, with what it is.
    pub(super) name: Option<(&'static str, &'a str)>,
    pub(super) rows: Vec<Row<'a>>,
}

/// Who the fax is for.
pub(super) fn recipient(sheet: &Sheet) -> Party<'_> {
    let fields = [
        ("recipient's name", "", sheet.to_name.as_str()),
        ("attention line", "attention", &sheet.to_attention),
        ("department", "department", &sheet.to_department),
        ("fax number", "fax number", &sheet.to_fax),
    ];
    party(sheet, "to", &fields)
}

/// Who it is from.
pub(super) fn sender(sheet: &Sheet) -> Party<'_> {
    let fields = [
        ("sender's name", "", sheet.from_name.as_str()),
        ("organization", "organization", &sheet.from_organization),
        ("callback telephone", "telephone", &sheet.from_phone),
        ("mail address", "mail", &sheet.from_mail),
    ];
    party(sheet, "from", &fields)
}

fn party<'a>(
    sheet: &Sheet,
    title: &'static str,
    fields: &[(&'static str, &'static str, &'a str)],
) -> Party<'a> {
    let mut present = fields.iter().filter(|(_, _, value)| !is_blank(value)).peekable();
    // Where the name is missing the next best takes its place; a lone number keeps its label.
    let name = present
        .next_if(|(_, name, _)| !matches!(*name, "fax number" | "telephone" | "mail"))
        .map(|(field, _, value)| (*field, *value));
    let rows = present
        .map(|(field, name, value)| Row {
            field,
            label: label(sheet, name),
            value,
            lines: 2,
            unbroken: matches!(*name, "fax number" | "telephone" | "mail"),
        })
        .collect();
    Party { title, name, rows }
}

/// When it was sent and what it is about.
pub(super) fn facts(sheet: &Sheet) -> Vec<Row<'_>> {
    let (name, identifier) = match &sheet.identifier {
        Some((name, value)) if !is_blank(name) => (name.clone(), value.as_str()),
        Some((_, value)) => (label(sheet, "identifier"), value.as_str()),
        None => (String::new(), ""),
    };
    let subject = sheet.subject.as_deref().unwrap_or_default();
    let reference = sheet.reference.as_deref().unwrap_or_default();
    let rows = [
        Row { field: "date", label: label(sheet, "date"), value: &sheet.date, lines: 2, unbroken: true },
        Row { field: "subject", label: label(sheet, "subject"), value: subject, lines: 3, unbroken: false },
        Row { field: "identifier", label: name, value: identifier, lines: 2, unbroken: true },
        Row {
            field: "reference",
            label: label(sheet, "reference"),
            value: reference,
            lines: 2,
            unbroken: true,
        },
    ];
    rows.into_iter().filter(|row| !is_blank(row.value)).collect()
}

/// How many pages, or room to write it.
pub(super) fn pages(sheet: &Sheet) -> String {
    let number = sheet.pages.map_or_else(|| "______".to_owned(), |pages| pages.to_string());
    let this_one = label(sheet, "including this one");
    let comma =
        if this_one.chars().any(|letter| matches!(letter, '\u{600}'..='\u{6ff}')) { '،' } else { ',' };
    format!("{}: {number}{comma} {this_one}", label(sheet, "pages"))
}

/// The printed word for a label: the sheet's own, or English with a capital.
pub(super) fn label(sheet: &Sheet, name: &str) -> String {
    let own = sheet
        .labels
        .iter()
        .find(|(key, word)| key.trim().to_lowercase().replace(['_', '-'], " ") == name && !is_blank(word));
    match (own, name) {
        (Some((_, word)), _) => word.clone(),
        (None, "fax") => "FAX".into(),
        (None, "including this one") => name.into(),
        (None, _) => {
            let mut letters = name.chars();
            letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
        }
    }
}

/// Whether the sheet is read from right to left: its word for "to" is Hebrew, Arabic or a relative.
pub(super) fn is_right_to_left(sheet: &Sheet) -> bool {
    label(sheet, "to").chars().find(|character| character.is_alphabetic()).is_some_and(
        |first| matches!(first, '\u{590}'..='\u{8ff}' | '\u{fb1d}'..='\u{fdff}' | '\u{fe70}'..='\u{fefc}'),
    )
}

/// Whether nothing would be printed.
pub(super) fn is_blank(text: &str) -> bool {
    clean(text, false).0.is_empty()
}
