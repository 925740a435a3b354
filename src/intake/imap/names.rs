//! Folder names and texts as IMAP writes them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;

/// A folder's name as a quoted string: modified UTF-7 (RFC 3501, section 5.1.3) for what is no ASCII.
pub(super) fn folder(name: &str) -> String {
    let mut coded = String::with_capacity(name.len() + 2);
    let mut foreign = String::new();
    let flush = |foreign: &mut String, coded: &mut String| {
        if foreign.is_empty() {
            return;
        }
        let units: Vec<u8> = foreign.encode_utf16().flat_map(u16::to_be_bytes).collect();
        coded.push('&');
        coded.push_str(&STANDARD_NO_PAD.encode(units).replace('/', ","));
        coded.push('-');
        foreign.clear();
    };
    for c in name.chars() {
        if (' '..='~').contains(&c) {
            flush(&mut foreign, &mut coded);
            coded.push(c);
            if c == '&' {
                coded.push('-');
            }
        } else {
            foreign.push(c);
        }
    }
    flush(&mut foreign, &mut coded);
    // Nothing but printable ASCII is left in it.
    quoted(&coded).unwrap_or_default()
}

/// A quoted string; `None` for what none can hold.
pub(super) fn quoted(text: &str) -> Option<String> {
    let fit = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    fit.then(|| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")))
}

/// UIDs as a set, `1,2,3`.
pub(super) fn set(uids: &[u32]) -> String {
    uids.iter().map(u32::to_string).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders() {
        for (name, written) in [
            ("INBOX", "\"INBOX\""),
            ("Faxed & done", "\"Faxed &- done\""),
            ("a \"b\" \\c", "\"a \\\"b\\\" \\\\c\""),
            // The examples of RFC 3501, section 5.1.3.
            ("~peter/mail/台北/日本語", "\"~peter/mail/&U,BTFw-/&ZeVnLIqe-\""),
            ("Entwürfe", "\"Entw&APw-rfe\""),
            ("a\r\nA1 LOGOUT", "\"a&AA0ACg-A1 LOGOUT\""),
        ] {
            assert_eq!(folder(name), written);
        }
        assert_eq!(quoted("<a@b>").as_deref(), Some("\"<a@b>\""));
        assert_eq!(quoted("a\r\nb"), None);
        assert_eq!(quoted("ä"), None);
        assert_eq!(set(&[3, 5, 9]), "3,5,9");
    }
}
