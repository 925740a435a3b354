//! What is previewed: which files, as mail or as file, and how what is made of them is called.

use std::collections::HashSet;
use std::io::Read;
use std::path::{Path, PathBuf};

use mail_parser::MessageParser;

/// Header lines by which a mail is recognised that has no `.eml` behind its name.
const HEADERS: [&str; 12] = [
    "received",
    "return-path",
    "delivered-to",
    "from",
    "to",
    "subject",
    "date",
    "message-id",
    "mime-version",
    "dkim-signature",
    "content-type",
    "x-original-to",
];
/// How much of a file is looked at to recognise a mail, and to find its addresses.
const LOOKED_AT: u64 = 256 << 10;

/// One thing to preview.
#[derive(Debug, Clone)]
pub(super) struct Input {
    /// As it was given, or the folder as it was given and the file's name.
    pub(super) shown: String,
    pub(super) path: PathBuf,
    /// What its PDF is called, without `.pdf`.
    pub(super) stem: String,
}

/// The files among `given`, folders opened up: each file in them, by name, none below. What cannot be listed is an input of
/// its own, so that it gets its verdict too. Names of results differ from each other and, in `out`, from every input.
pub(super) fn inputs(given: &[PathBuf], out: &Path) -> Vec<Input> {
    let mut paths = Vec::new();
    for path in given {
        match std::fs::read_dir(path) {
            Ok(entries) if path.is_dir() => {
                let mut files: Vec<PathBuf> =
                    entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file()).collect();
                files.sort();
                paths.extend(files);
            }
            _ => paths.push(path.clone()),
        }
    }
    // What was given must survive, also where the results are to lie beside it.
    let originals: HashSet<PathBuf> = paths.iter().filter_map(|path| path.canonicalize().ok()).collect();
    let out = out.canonicalize().unwrap_or_else(|_| out.to_owned());
    let mut taken = HashSet::new();
    let mut inputs = Vec::new();
    for path in paths {
        let plain = stem(&path);
        let free = |stem: &str, taken: &HashSet<String>| {
            !taken.contains(stem) && !originals.contains(&out.join(format!("{stem}.pdf")))
        };
        let mut name = plain.clone();
        let mut n = 2;
        while !free(&name, &taken) {
            name = format!("{plain}-{n}");
            n += 1;
        }
        taken.insert(name.clone());
        inputs.push(Input { shown: path.display().to_string(), path, stem: name });
    }
    inputs
}

/// A file name's front part as a name that every file system takes and no shell obeys.
fn stem(path: &Path) -> String {
    let name = path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let safe: String = name
        .chars()
        .take(80)
        .map(|c| if c.is_alphanumeric() || "-_.+".contains(c) { c } else { '_' })
        .collect();
    let safe = safe.trim_start_matches(['.', '-']);
    if safe.is_empty() { "input".to_owned() } else { safe.to_owned() }
}

/// The first bytes of a file, as far as they are looked at.
pub(super) fn head(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut head = Vec::new();
    std::fs::File::open(path)?.take(LOOKED_AT).read_to_end(&mut head)?;
    Ok(head)
}

/// Whether a file called `path` that begins with `head` is a mail.
pub(super) fn is_mail(path: &Path, head: &[u8]) -> bool {
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
    match extension.as_deref() {
        Some("eml") => true,
        Some(
            "pdf" | "txt" | "text" | "png" | "jpg" | "jpeg" | "tif" | "tiff" | "html" | "htm" | "md" | "csv"
            | "json",
        ) => false,
        _ => {
            let known = |line: &[u8]| {
                let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
                line.contains(&b':')
                    && HEADERS.iter().any(|header| name.eq_ignore_ascii_case(header.as_bytes()))
            };
            let mut lines = head.split(|byte| *byte == b'\n');
            let first = lines.next().unwrap_or_default();
            // Two lines of a header: one alone may be how a letter begins.
            (known(first) || first.starts_with(b"From ")) && lines.take(20).any(known)
        }
    }
}

/// The addresses in the To, Cc and Bcc lines: what stands in for the envelope that a file does not keep.
pub(super) fn addressed_to(head: &[u8]) -> Vec<String> {
    let Some(mail) = MessageParser::new().parse_headers(head) else { return Vec::new() };
    let mut addresses: Vec<String> = Vec::new();
    for list in [mail.to(), mail.cc(), mail.bcc()].into_iter().flatten() {
        for address in list.iter().filter_map(|address| address.address()) {
            if !addresses.iter().any(|known| known.eq_ignore_ascii_case(address)) {
                addresses.push(address.to_owned());
            }
        }
    }
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mails_are_recognised() {
        for (name, head, mail) in [
            ("a.eml", "anything", true),
            ("a.EML", "", true),
            ("1712.M1P2", "Received: from x\r\n\tby y\r\nSubject: hi\r\n\r\n", true),
            ("cur", "From jane Mon\nSubject: hi\n\n", true),
            ("letter", "Subject: a letter\n\nDear Sir", false),
            ("note.txt", "From: a\nTo: b\n\n", false),
            ("scan.pdf", "Subject: x\nTo: y\n", false),
            ("x.bin", "%PDF-1.4\n", false),
            ("empty", "", false),
        ] {
            assert_eq!(is_mail(Path::new(name), head.as_bytes()), mail, "{name}");
        }
    }

    #[test]
    fn addresses_come_from_the_header_once_each() {
        let head =
            b"To: Fax <mercy@fax.example.com>, a@x\r\nCc: MERCY@fax.example.com\r\nBcc: b@x\r\n\r\nTo: c@x";
        assert_eq!(addressed_to(head), ["mercy@fax.example.com", "a@x", "b@x"]);
        assert!(addressed_to(b"").is_empty());
    }

    #[test]
    fn names_differ_and_spare_the_originals() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a.eml", "a.pdf", "b c\u{1b}.pdf"] {
            std::fs::write(dir.path().join(name), b"x").unwrap();
        }
        std::fs::create_dir(dir.path().join("below")).unwrap();
        let given = [dir.path().to_owned(), dir.path().join("none.eml")];
        let stems = |out: &Path| inputs(&given, out).into_iter().map(|input| input.stem).collect::<Vec<_>>();
        assert_eq!(stems(&dir.path().join("below")), ["a", "a-2", "b_c_", "none"]);
        // Beside the inputs, `a.pdf` and `b c.pdf` are not to be written over.
        assert_eq!(stems(dir.path()), ["a-2", "a-3", "b_c_", "none"]);
        assert_eq!(stem(Path::new("..-.pdf")), "input");
    }
}
