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

/// A file name without path, control characters and tricks with the direction of writing (`exe.fdp` shown as
/// `pdf.exe`), at most 120 characters. `None` when nothing is left.
pub(super) fn clean_name(text: &str) -> Option<String> {
    let file = text.rsplit(['/', '\\']).next().unwrap_or_default();
    let name = one_line(file, 120);
    let name = name.trim_matches(|c: char| c == '"' || c.is_whitespace());
    (!name.is_empty() && name != "." && name != "..").then(|| name.to_owned())
}

fn turns_direction(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
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
            ("..", None),
            ("/", None),
            ("  ", None),
        ] {
            assert_eq!(clean_name(given).as_deref(), clean, "{given:?}");
        }
        assert_eq!(clean_name(&long).map(|name| name.len()), Some(120));
    }

    #[test]
    fn lines_are_single_and_short() {
        assert_eq!(one_line("  a\r\n b\tc \u{7}", 100), "a b c");
        assert_eq!(one_line("one two three", 7), "one two");
        assert_eq!(one_line("", 7), "");
    }
}
