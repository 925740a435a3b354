//! The answer as plain text.

use std::fmt::Write;

use super::letter::{ReceiptLetter, Section};

/// Renders the letter; lines end in `\n`.
pub(super) fn render(letter: &ReceiptLetter) -> String {
    let mut text = String::new();
    paragraph(&mut text, &letter.headline);
    for section in &letter.sections {
        write_section(&mut text, section);
    }
    text.push_str("--\n");
    for line in &letter.footer {
        for line in wrapped(line, WIDTH) {
            text.push_str(&line);
            text.push('\n');
        }
    }
    text
}

fn write_section(text: &mut String, section: &Section) {
    paragraph(text, &section.title);
    paragraph(text, &section.next);
    let width = section.facts.iter().map(|(label, _)| label.len()).max().unwrap_or(0);
    for (label, value) in &section.facts {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {label:width$}  {value}");
    }
    list(text, "Parts", section.parts.iter().map(String::as_str));
    list(text, "Notes", section.notes.iter().map(String::as_str));
    list(text, "Attempts", section.attempts.iter().map(String::as_str));
    let checks: Vec<String> = section
        .checks
        .iter()
        .map(|(ok, check)| format!("{} {check}", if *ok { "[x]" } else { "[ ]" }))
        .collect();
    list(text, "Checked", checks.iter().map(String::as_str));
    text.push('\n');
}

fn list<'a>(text: &mut String, title: &str, lines: impl Iterator<Item = &'a str>) {
    let mut lines = lines.peekable();
    if lines.peek().is_some() {
        let _ = writeln!(text, "\n  {title}");
    }
    for line in lines {
        for (nth, part) in wrapped(line, WIDTH - 7).iter().enumerate() {
            let _ = writeln!(text, "    {}{part}", if nth == 0 { "" } else { "   " });
        }
    }
}

fn paragraph(text: &mut String, words: &str) {
    for line in wrapped(words, WIDTH) {
        text.push_str(&line);
        text.push('\n');
    }
    if !words.is_empty() {
        text.push('\n');
    }
}

/// Broken between words; a word that is longer than a line stays whole.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            // A number is not torn from its country code.
            Some(line) if ends_in_country_code(line) => {
                line.push(' ');
                line.push_str(word);
            }
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.retain(|line| !line.is_empty());
    lines
}

fn ends_in_country_code(line: &str) -> bool {
    let word = line.rsplit(' ').next().unwrap_or("");
    word.len() <= 4
        && word
            .strip_prefix('+')
            .is_some_and(|code| !code.is_empty() && code.bytes().all(|b| b.is_ascii_digit()))
}

/// Mail programs wrap at about 78; quoted once it should still fit.
const WIDTH: usize = 76;
