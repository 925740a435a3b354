//! Whether a file is whole, by what stands in it. Only a PDF says where it ends; of other kinds their quiet has to do.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use crate::intake::tail::{End, Tail};

/// A PDF's header stands within this many bytes from its start (ISO 32000-1 annex H, note 13).
const HEAD: u64 = 1024;
/// Bytes in which a PDF's end is looked for: printers fill up their blocks with NULs.
const LAST: u64 = 1 << 20;

/// How the content looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// Whole, or of a kind that does not say.
    Whole,
    /// It begins with NULs, as a file does whose room was made before its bytes came.
    Begun,
    /// A PDF without its end, or with something behind it.
    Cut,
}

/// Looks at both ends of a plain file.
pub(super) fn look(file: &mut File) -> io::Result<Content> {
    let mut head = Vec::new();
    file.take(HEAD).read_to_end(&mut head)?;
    let bytes = file.metadata()?.len();
    let start = bytes.saturating_sub(LAST).max(head.len() as u64);
    file.seek(SeekFrom::Start(start))?;
    let mut tail = Tail::default();
    tail.read(&head);
    // What is between the two cannot end the document.
    let mut last = Vec::new();
    file.take(LAST).read_to_end(&mut last)?;
    tail.read(&last);
    Ok(match tail.end() {
        End::Whole => Content::Whole,
        End::Cut => Content::Cut,
        End::Unknown if head.first() == Some(&0) => Content::Begun,
        End::Unknown => Content::Whole,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pdf_is_whole_when_only_filling_stands_behind_its_end() {
        let long = [b"%PDF-1.4\n".as_slice(), &[b'x'; 5000], b"%%EOF\n"].concat();
        let filled = |n: usize| [long.as_slice(), &vec![0; n]].concat();
        let table: [(&str, Vec<u8>, Content); 18] = [
            ("whole", b"%PDF-1.4 ... %%EOF\n".to_vec(), Content::Whole),
            ("nothing behind", b"%PDF-1.4 ... %%EOF".to_vec(), Content::Whole),
            ("junk in front", [b"\r\n\r\n@PJL\n".as_slice(), &long].concat(), Content::Whole),
            ("NULs in front", [[0; 9].as_slice(), &long].concat(), Content::Whole),
            ("many NULs in front", [[0; 1100].as_slice(), &long].concat(), Content::Begun),
            ("long", long.clone(), Content::Whole),
            ("a page of NULs behind", filled(600), Content::Whole),
            ("a printer's block of NULs", filled(4845), Content::Whole),
            ("the mark in front of what is looked at", filled((1 << 20) - 3), Content::Cut),
            ("NULs without end", filled(2 << 20), Content::Cut),
            ("cut", long[..4000].to_vec(), Content::Cut),
            ("cut in the mark", long[..long.len() - 2].to_vec(), Content::Cut),
            ("an earlier revision's end", [long.as_slice(), b"7 0 obj <<".as_slice()].concat(), Content::Cut),
            ("something behind", [long.as_slice(), b"\n<html>".as_slice()].concat(), Content::Cut),
            ("only the start", b"%PDF-".to_vec(), Content::Cut),
            ("room made", vec![0; 5000], Content::Begun),
            ("text", b"hello %%EOF".to_vec(), Content::Whole),
            ("a picture", b"II*\0....".to_vec(), Content::Whole),
        ];
        for (name, bytes, content) in table {
            let mut file = tempfile::tempfile().unwrap();
            std::io::Write::write_all(&mut file, &bytes).unwrap();
            file.rewind().unwrap();
            assert_eq!(look(&mut file).unwrap(), content, "{name}");
        }
    }
}
