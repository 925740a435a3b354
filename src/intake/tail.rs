//! Whether the bytes of a PDF end where the document does. Pure, and read as they come.
//!
//! A file that was cut off is no mail: nothing around it says how long it should be. A PDF says so itself, by `%%EOF` at its
//! end. One that was saved more than once has several, so what counts is what stands behind the last: white space or NULs, with
//! which scanners and file servers fill up. Anything else is the beginning of something whose end is missing.

/// `%PDF-` stands within this many bytes from the start (ISO 32000-1 annex H, note 13).
const HEAD: usize = 1024;
const BEGINS: &[u8] = b"%PDF-";
const ENDS: &[u8] = b"%%EOF";

/// How what was read ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// It is no PDF, so its end says nothing.
    Unknown,
    /// A PDF with its end.
    Whole,
    /// A PDF without one, or with something behind it.
    Cut,
}

/// Reads along.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tail {
    /// The first bytes, until they are enough to tell what it is.
    head: Vec<u8>,
    is_pdf: bool,
    /// The last bytes before the next ones, in which `%%EOF` may have begun.
    carry: Vec<u8>,
    /// `%%EOF` was there, and nothing behind it counts.
    ended: bool,
}

impl Tail {
    /// Takes the next bytes.
    pub(crate) fn read(&mut self, bytes: &[u8]) {
        self.look_at_head(bytes);
        if !self.is_pdf && self.head.len() >= HEAD {
            return;
        }
        let mut rest = bytes;
        // A mark across the border is whole within the carry and its first four bytes from here.
        let border = [&self.carry[..], bytes.get(..ENDS.len() - 1).unwrap_or(bytes)].concat();
        let across = memchr::memmem::rfind(&border, ENDS).map(|at| at + ENDS.len());
        if let Some(end) = across {
            self.ended = true;
            rest = bytes.get(end.saturating_sub(self.carry.len())..).unwrap_or_default();
        }
        if let Some(at) = memchr::memmem::rfind(rest, ENDS) {
            self.ended = true;
            rest = rest.get(at + ENDS.len()..).unwrap_or_default();
        }
        self.ended &= rest.iter().all(|byte| matches!(byte, 0 | b'\t' | b'\n' | 0x0c | b'\r' | b' '));
        let keep = ENDS.len() - 1;
        if bytes.len() >= keep {
            self.carry.clear();
        }
        self.carry.extend_from_slice(bytes.get(bytes.len().saturating_sub(keep)..).unwrap_or_default());
        let over = self.carry.len().saturating_sub(keep);
        self.carry.drain(..over);
    }

    /// How it ends, if these were all.
    pub(crate) fn end(&self) -> End {
        match (self.is_pdf, self.ended) {
            (false, _) => End::Unknown,
            (true, true) => End::Whole,
            (true, false) => End::Cut,
        }
    }

    fn look_at_head(&mut self, bytes: &[u8]) {
        if self.is_pdf || self.head.len() >= HEAD {
            return;
        }
        let room = HEAD - self.head.len();
        self.head.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        if memchr::memmem::find(&self.head, BEGINS).is_some() {
            self.is_pdf = true;
            self.head = Vec::new();
        }
    }
}

/// How `bytes` end, if they are a whole file.
#[cfg(test)]
pub(crate) fn end_of(bytes: &[u8]) -> End {
    let mut tail = Tail::default();
    tail.read(bytes);
    tail.end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pdf_ends_with_its_last_mark_and_nothing_that_counts_behind() {
        let twice = b"%PDF-1.4 one %%EOF\n two %%EOF\n";
        let nuls = [&b"%PDF-1.4 %%EOF\r\n"[..], &[0; 5000]].concat();
        let late = [&[b'x'; 2000][..], b"%PDF-1.4 "].concat();
        let table: &[(&[u8], End)] = &[
            (b"%PDF-1.4 ... %%EOF", End::Whole),
            (b"%PDF-1.4 ... %%EOF \r\n\t\x0c\0\n", End::Whole),
            (b"junk in front %PDF-1.4 %%EOF\n", End::Whole),
            (&nuls, End::Whole),
            (twice, End::Whole),
            (&twice[..twice.len() - 2], End::Cut),
            (&twice[..twice.len() - 7], End::Cut),
            (&twice[..19], End::Whole),
            (b"%PDF-1.4 ... %%EO", End::Cut),
            (b"%PDF-1.4 ... %%EOF\nxref", End::Cut),
            (b"%PDF-1.4", End::Cut),
            (b"hello %%EOF", End::Unknown),
            (&late, End::Unknown),
            (b"", End::Unknown),
        ];
        for (bytes, end) in table {
            let shown = String::from_utf8_lossy(bytes);
            assert_eq!(end_of(bytes), *end, "{shown:?}");
            for size in 1..=6 {
                let mut tail = Tail::default();
                bytes.chunks(size).for_each(|chunk| tail.read(chunk));
                assert_eq!(tail.end(), *end, "{shown:?} in pieces of {size}");
            }
        }
    }
}
