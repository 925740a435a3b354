//! The answer as HTML that Outlook's Word engine, Gmail and a phone show alike: tables, inline styles, nothing from outside.

use std::fmt::Write;

use super::letter::{ReceiptLetter, Section, Tone};

/// Renders the letter as a whole document.
pub(super) fn render(letter: &ReceiptLetter) -> String {
    let mut html = String::with_capacity(4096);
    let (ink, paper) = colours(letter.tone);
    // Writing to a String cannot fail.
    let _ = write!(
        html,
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{title}</title></head>\n\
         <body style=\"margin:0;padding:0;background:#ffffff;\">\n\
         <table role=\"presentation\" width=\"100%\" cellpadding=\"0\" cellspacing=\"0\" border=\"0\"><tr>\
         <td align=\"left\" style=\"padding:16px;\">\n\
         <table role=\"presentation\" width=\"640\" cellpadding=\"0\" cellspacing=\"0\" border=\"0\" \
         style=\"max-width:640px;width:100%;font-family:{FONT};font-size:15px;line-height:21px;color:#222222;\">\n\
         <tr><td style=\"padding:14px 16px;background:{paper};border-left:6px solid {ink};font-size:17px;\
         line-height:24px;\"><strong>{headline}</strong></td></tr>\n",
        title = escape(&letter.subject),
        headline = escape(&letter.headline),
    );
    for section in &letter.sections {
        write_section(&mut html, section);
    }
    html.push_str(
        "<tr><td style=\"padding:14px 0 0 0;border-top:1px solid #cccccc;font-size:13px;line-height:18px;\
         color:#555555;\">",
    );
    let footer: Vec<String> = letter.footer.iter().map(|line| escape(line)).collect();
    html.push_str(&footer.join("<br>\n"));
    html.push_str("</td></tr>\n</table>\n</td></tr></table>\n</body></html>\n");
    html
}

fn write_section(html: &mut String, section: &Section) {
    if !section.title.is_empty() {
        let (ink, _) = colours(section.tone);
        let _ = writeln!(
            html,
            "<tr><td style=\"padding:18px 0 0 0;color:{ink};\"><strong>{}</strong></td></tr>",
            escape(&section.title)
        );
    }
    if !section.next.is_empty() {
        let _ = writeln!(html, "<tr><td style=\"padding:12px 0 0 0;\">{}</td></tr>", escape(&section.next));
    }
    html.push_str(
        "<tr><td style=\"padding:12px 0 12px 0;\"><table cellpadding=\"0\" cellspacing=\"0\" border=\"0\" \
         style=\"font-size:14px;line-height:20px;\">\n",
    );
    for (label, value) in &section.facts {
        row(html, label, &escape(value));
    }
    rows(html, "Parts", &section.parts.iter().map(|line| escape(line)).collect::<Vec<_>>());
    rows(html, "Notes", &section.notes.iter().map(|line| escape(line)).collect::<Vec<_>>());
    rows(html, "Attempts", &section.attempts.iter().map(|line| escape(line)).collect::<Vec<_>>());
    let checks = section.checks.iter().map(|(ok, check)| {
        let mark = if *ok { "&#10003;" } else { "&#10007;" };
        format!("{mark} {}", escape(check))
    });
    rows(html, "Checked", &checks.collect::<Vec<_>>());
    html.push_str("</table></td></tr>\n");
}

fn rows(html: &mut String, label: &str, lines: &[String]) {
    if !lines.is_empty() {
        row(html, label, &lines.join("<br>\n"));
    }
}

fn row(html: &mut String, label: &str, value: &str) {
    let _ = writeln!(
        html,
        "<tr><td valign=\"top\" style=\"padding:2px 16px 2px 0;color:#555555;white-space:nowrap;\">{label}</td>\
         <td valign=\"top\" style=\"padding:2px 0;word-break:break-word;\">{value}</td></tr>"
    );
}

/// Text as it may stand between tags and in quoted attributes.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// Of the bar and of what lies behind the headline; told apart by brightness too.
fn colours(tone: Tone) -> (&'static str, &'static str) {
    match tone {
        Tone::Good => ("#1a7f37", "#eaf6ec"),
        Tone::Wait => ("#9a6700", "#fff7e0"),
        Tone::Bad => ("#b3261e", "#fdecea"),
    }
}

const FONT: &str = "Segoe UI,Helvetica,Arial,sans-serif";
