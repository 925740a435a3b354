//! Names and lines that outsiders wrote, made fit for a listing, a sentence or a cover.

/// One line: every run of blanks and control characters becomes a blank; at most `limit` characters.
pub(super) fn one_line(text: &str, limit: usize) -> String {
    let mut line = String::new();
    let mut count = 0;
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()) {
        if count > 0 {
            if count >= limit {
                break;
            }
            line.push(' ');
            count += 1;
        }
        for character in word.chars().filter(|c| !turns_direction(*c)) {
            if count >= limit {
                break;
            }
            line.push(character);
            count += 1;
        }
    }
    line.trim_end().to_owned()
}

/// Longest file name, in characters.
const LONGEST_NAME: usize = 120;
/// Longest extension that is kept when a name is cut.
const LONGEST_EXTENSION: usize = 12;

/// A file name without path, control characters and tricks with the direction of writing (`exe.fdp` shown as
/// `pdf.exe`), at most 120 characters with its extension. `None` when nothing is left.
pub(super) fn clean_name(text: &str) -> Option<String> {
    let file = text.rsplit(['/', '\\']).next().unwrap_or_default();
    let name = one_line(file, 10_000);
    let name = name.trim_matches(|c: char| c == '"' || c.is_whitespace());
    if name.is_empty() || name.chars().all(|c| c == '.') {
        return None;
    }
    if name.chars().count() <= LONGEST_NAME {
        return Some(name.to_owned());
    }
    let extension = name.rsplit_once('.').map(|(_, extension)| extension);
    let extension = extension.filter(|extension| extension.chars().count() <= LONGEST_EXTENSION);
    let end = extension.map(|extension| format!("….{extension}")).unwrap_or_else(|| "…".into());
    let room = LONGEST_NAME.saturating_sub(end.chars().count());
    let start: String = name.chars().take(room).collect();
    Some(format!("{}{end}", start.trim_end()))
}

/// Marks of direction, and what nobody sees. Joiners stay: Persian and the Indian scripts need them.
fn turns_direction(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lose_paths_controls_and_tricks() {
        let long = "x".repeat(500);
        for (given, clean) in [
            ("scan.pdf", Some("scan.pdf")),
            ("C:\\scans\\a.pdf", Some("a.pdf")),
            ("../../etc/passwd", Some("passwd")),
            ("a\u{0}b\r\nc.pdf", Some("a b c.pdf")),
            ("inv\u{202e}fdp.exe", Some("invfdp.exe")),
            ("Überweisung 1.pdf", Some("Überweisung 1.pdf")),
            ("a\u{2028}b\u{85}c\u{200b}\u{61c}.pdf", Some("a b c.pdf")),
            ("..", None),
            ("...", None),
            ("/", None),
            ("  ", None),
        ] {
            assert_eq!(clean_name(given).as_deref(), clean, "{given:?}");
        }
        assert_eq!(clean_name(&long).map(|name| name.chars().count()), Some(120));
        let cut = clean_name(&format!("{long}.pdf")).unwrap();
        assert!(cut.chars().count() == 120 && cut.ends_with("x….pdf"), "{cut}");
    }

    #[test]
    fn lines_are_single_and_short() {
        assert_eq!(one_line("  a\r\n b\tc \u{7}", 100), "a b c");
        assert_eq!(one_line("one two three", 7), "one two");
        assert_eq!(one_line("", 7), "");
    }
}
