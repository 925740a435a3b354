//! Where a mail's bytes end and which of them are its own: RFC 5321, sections 4.1.1.4 and 4.5.2, read strictly.
//!
//! Only CR LF `.` CR LF ends a mail. Servers that also take LF `.` LF or CR `.` CR for an end disagree with the server before
//! them about where one mail stops and the next begins, and a sender can hide a second mail, under somebody else's
//! name, in the first ("SMTP smuggling"). So a CR or LF that stands alone is never a line end here, and a mail that has
//! one is refused: we read on to its true end, so that nothing in it is ever taken for a command.

use memchr::{memchr2, memchr2_iter};

/// Follows the bytes behind `354` in pieces of any size.
#[derive(Debug)]
pub(super) struct Scanner {
    state: State,
    bare: bool,
}

/// What the bytes so far end with.
#[derive(Debug, Clone, Copy)]
enum State {
    /// CR LF, or nothing yet.
    LineStart,
    /// CR LF `.`: stuffing, or the first byte of the end.
    Dot,
    /// CR LF `.` CR
    DotCr,
    /// CR
    Cr,
    /// Anything else.
    Middle,
}

/// What [`Scanner::step`] made of its input.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Step<'a> {
    /// The next bytes of the mail, as its author wrote them.
    pub(super) content: &'a [u8],
    /// So many bytes of the input are done with; always at least one, unless the input was empty.
    pub(super) consumed: usize,
    /// The mail is whole. What follows in the input are commands.
    pub(super) ended: bool,
}

impl Scanner {
    pub(super) fn new() -> Self {
        Scanner { state: State::LineStart, bare: false }
    }

    /// Whether a CR or LF stood alone so far. The mail is to be refused then; its content is of no use.
    pub(super) fn bare_line_end(&self) -> bool {
        self.bare
    }

    /// Takes the next bytes. Content is always a slice of the input: of the bytes that are held back until the next one is
    /// seen (`.`, `.` CR), none is ever content of a mail that will be accepted.
    pub(super) fn step<'a>(&mut self, input: &'a [u8]) -> Step<'a> {
        let mut from = 0;
        let mut at = 0;
        while let Some(&byte) = input.get(at) {
            match (self.state, byte) {
                (State::LineStart, b'.') => {
                    self.state = State::Dot;
                    if at > from {
                        let content = input.get(from..at).unwrap_or_default();
                        return Step { content, consumed: at + 1, ended: false };
                    }
                    at += 1;
                    from = at;
                }
                (State::Dot, b'\r') => {
                    self.state = State::DotCr;
                    at += 1;
                    from = at;
                }
                (State::DotCr, b'\n') => return Step { content: &[], consumed: at + 1, ended: true },
                (State::LineStart | State::Dot, _) => self.state = State::Middle,
                (State::Cr, b'\n') => {
                    self.state = State::LineStart;
                    at += 1;
                }
                (State::DotCr | State::Cr, _) => {
                    self.bare = true;
                    self.state = State::Middle;
                }
                (State::Middle, _) => {
                    let rest = input.get(at..).unwrap_or_default();
                    match memchr2(b'\r', b'\n', rest) {
                        None => at = input.len(),
                        Some(offset) => {
                            if rest.get(offset) == Some(&b'\n') {
                                self.bare = true;
                            } else {
                                self.state = State::Cr;
                            }
                            at += offset + 1;
                        }
                    }
                }
            }
        }
        Step { content: input.get(from..).unwrap_or_default(), consumed: input.len(), ended: false }
    }
}

/// Follows the bytes of BDAT chunks (RFC 3030), whose end is known by their size: only its lines are looked at. The mail goes
/// on as lines, so that a bare CR or LF is no better here than behind DATA.
#[derive(Debug)]
pub(super) struct LineEnds {
    last: u8,
    bare: bool,
}

impl LineEnds {
    pub(super) fn new() -> Self {
        LineEnds { last: b'\n', bare: false }
    }

    /// Takes the next bytes, in pieces of any size.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        let Some(&last) = bytes.last() else { return };
        for at in memchr2_iter(b'\r', b'\n', bytes) {
            let before = at.checked_sub(1).map_or(Some(&self.last), |before| bytes.get(before));
            let is_feed = bytes.get(at) == Some(&b'\n');
            let after = bytes.get(at + 1);
            self.bare |= match is_feed {
                true => before != Some(&b'\r'),
                // Behind the last byte, the next piece or the end tells.
                false => after.is_some_and(|&after| after != b'\n'),
            };
        }
        self.bare |= self.last == b'\r' && bytes.first() != Some(&b'\n');
        self.last = last;
    }

    /// Whether a CR or LF stood alone so far.
    pub(super) fn bare_line_end(&self) -> bool {
        self.bare
    }

    /// Whether the last line has its end, or there is none.
    pub(super) fn ended(&self) -> bool {
        self.last == b'\n'
    }

    /// At the mail's end, a CR that waits for its LF waits in vain.
    pub(super) fn finish(&mut self) {
        self.bare |= self.last == b'\r';
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The content, whether it is to be refused, and what is left over behind the end; None where there is no end.
    type Reading = Option<(Vec<u8>, bool, Vec<u8>)>;

    fn in_chunks(bytes: &[u8], mut sizes: impl Iterator<Item = usize>) -> Reading {
        let mut scanner = Scanner::new();
        let mut content = Vec::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            let (mut chunk, later) = rest.split_at(sizes.next().unwrap_or(1).clamp(1, rest.len()));
            while !chunk.is_empty() {
                let step = scanner.step(chunk);
                assert!(step.consumed > 0);
                content.extend_from_slice(step.content);
                chunk = &chunk[step.consumed..];
                if step.ended {
                    return Some((content, scanner.bare_line_end(), [chunk, later].concat()));
                }
            }
            rest = later;
        }
        None
    }

    /// The same by the plainest means: look for the end in the whole, then take away one dot per line.
    fn plainly(bytes: &[u8]) -> Reading {
        let framed = [b"\r\n", bytes].concat();
        let end = framed.windows(5).position(|five| five == b"\r\n.\r\n")?;
        let body = &framed[2.min(end)..end + 2];
        let body = if end == 0 { &body[2..] } else { body };
        let bare = (0..body.len()).any(|i| match body[i] {
            b'\r' => body.get(i + 1) != Some(&b'\n'),
            b'\n' => i == 0 || body[i - 1] != b'\r',
            _ => false,
        });
        let mut content = Vec::new();
        for i in 0..body.len() {
            if !(body[i] == b'.' && (i == 0 || (i > 1 && body[i - 2..i] == *b"\r\n"))) {
                content.push(body[i]);
            }
        }
        Some((content, bare, framed[end + 5..].to_vec()))
    }

    #[test]
    fn ends_and_dots() {
        type Case = (&'static [u8], Option<(&'static [u8], bool, &'static [u8])>);
        let cases: &[Case] = &[
            (b".\r\n", Some((b"", false, b""))),
            (b"a\r\n.\r\n", Some((b"a\r\n", false, b""))),
            (b"a\r\n.\r\nRSET\r\n", Some((b"a\r\n", false, b"RSET\r\n"))),
            (b"..\r\n.\r\n", Some((b".\r\n", false, b""))),
            (b"...\r\n..a\r\n.b\r\n.\r\n", Some((b"..\r\n.a\r\nb\r\n", false, b""))),
            (b"a.\r\nb.c\r\n.\r\n", Some((b"a.\r\nb.c\r\n", false, b""))),
            (b"\r\n\r\n.\r\n", Some((b"\r\n\r\n", false, b""))),
            (b"a\r\n", None),
            (b"a\r\n.", None),
            (b"a\r\n.\r", None),
        ];
        for (bytes, expected) in cases {
            let expected = expected.map(|(content, bare, rest)| (content.to_vec(), bare, rest.to_vec()));
            assert_eq!(in_chunks(bytes, std::iter::repeat(1)), expected, "{:?}", bytes.escape_ascii());
            assert_eq!(in_chunks(bytes, std::iter::repeat(99)), expected, "{:?}", bytes.escape_ascii());
            assert_eq!(plainly(bytes), expected, "{:?}", bytes.escape_ascii());
        }
    }

    #[test]
    fn what_smugglers_use_is_no_end_and_spoils_the_mail() {
        let ends: &[&[u8]] = &[
            b"\n.\n",
            b"\n.\r\n",
            b"\r\n.\n",
            b"\r.\r",
            b"\r.\r\n",
            b"\r\n.\r",
            b"\n.\r",
            b"\r.\n",
            b"\r\r\n.\n",
            b"\r\n\0.\n",
            b"\n\n.\r\n",
            b"\r\n.\r\r",
        ];
        for end in ends {
            let mail = [b"one", *end, b"MAIL FROM:<x@example.com>\r\n.\r\nQUIT\r\n"].concat();
            let (_, bare, rest) = in_chunks(&mail, std::iter::repeat(1)).expect("the true end");
            assert!(bare, "{:?}", end.escape_ascii());
            assert_eq!(rest, b"QUIT\r\n", "{:?}", end.escape_ascii());
        }
    }

    const PIECES: &[&[u8]] =
        &[b"\r\n", b"\r", b"\n", b".", b".", b"a", b"\r\n.", b"\r\n.\r\n", b"\0", b"\xff bc"];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn bare_line_ends_of_chunks(
            bytes in proptest::collection::vec(proptest::sample::select(PIECES), 0..12),
            sizes in proptest::collection::vec(0usize..5, 1..20),
        ) {
            let bytes = bytes.concat();
            let alone = bytes.iter().enumerate().any(|(at, byte)| match byte {
                b'\r' => bytes.get(at + 1) != Some(&b'\n'),
                b'\n' => at == 0 || bytes[at - 1] != b'\r',
                _ => false,
            });
            let mut lines = LineEnds::new();
            let mut rest = &bytes[..];
            for size in sizes.into_iter().chain(std::iter::repeat(3)) {
                if rest.is_empty() {
                    break;
                }
                let (now, later) = rest.split_at(size.min(rest.len()));
                lines.feed(now);
                rest = later;
            }
            lines.finish();
            prop_assert_eq!(lines.bare_line_end(), alone);
            prop_assert_eq!(lines.ended(), bytes.is_empty() || bytes.ends_with(b"\n"));
        }

        #[test]
        fn chunks_make_no_difference(
            bytes in proptest::collection::vec(
                proptest::sample::select(PIECES), 0..40),
            sizes in proptest::collection::vec(1usize..9, 1..60),
        ) {
            let bytes = bytes.concat();
            let expected = plainly(&bytes);
            let found = in_chunks(&bytes, sizes.into_iter().chain(std::iter::repeat(3)));
            match (&expected, &found) {
                // Of a mail that is refused only the verdict and the end matter.
                (Some((_, true, rest)), Some((_, true, found))) => prop_assert_eq!(rest, found),
                _ => prop_assert_eq!(expected, found),
            }
        }
    }
}
