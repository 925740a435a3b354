//! Replies: a code of RFC 5321, an enhanced code of RFC 3463, a sentence.

use std::borrow::Cow;
use std::io::Write;

use crate::intake::Refusal;

/// Text per reply line; RFC 5321, section 4.5.3.1.5 allows 512 bytes with code and line end.
const WIDTH: usize = 450;

/// One reply to one command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reply {
    code: u16,
    /// Empty where RFC 2034 wants none: greeting, HELO, EHLO and everything of the third class.
    pub(super) enhanced: &'static str,
    text: Cow<'static, str>,
}

impl Reply {
    pub(super) fn new(code: u16, enhanced: &'static str, text: impl Into<Cow<'static, str>>) -> Self {
        Reply { code, enhanced, text: text.into() }
    }

    /// Its code, as 250.
    #[cfg(test)]
    pub(super) fn code(&self) -> u16 {
        self.code
    }

    /// A reply whose lines are told apart by `\n`, without enhanced code.
    pub(super) fn plain(code: u16, text: impl Into<Cow<'static, str>>) -> Self {
        Reply::new(code, "", text)
    }

    /// How intake's refusal reads in this protocol.
    pub(super) fn refusal(refusal: &Refusal) -> Self {
        let code = match (refusal.permanent, refusal.code) {
            (true, "5.3.4" | "5.2.3") => 552,
            (true, _) => 550,
            // Mailbox or system full, too many recipients.
            (false, "4.2.2" | "4.3.1" | "4.5.3") => 452,
            (false, _) => 451,
        };
        Reply::new(code, refusal.code, refusal.sentence.clone())
    }

    /// Appends the reply as it goes over the wire. Whatever the sentence holds, it cannot become a further reply line.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let mut lines = self.text.split('\n').flat_map(wrapped).peekable();
        while let Some(line) = lines.next() {
            let hyphen = if lines.peek().is_some() { '-' } else { ' ' };
            // Writing to memory cannot fail.
            let _ = write!(out, "{}{hyphen}{}", self.code, self.enhanced);
            if !self.enhanced.is_empty() {
                out.push(b' ');
            }
            out.extend(line.bytes().map(|byte| if (b' '..=b'~').contains(&byte) { byte } else { b'?' }));
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// The pieces of a line that are short enough, parted at spaces where there are any.
fn wrapped(line: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let now = rest.take()?;
        if now.len() <= WIDTH {
            return Some(now);
        }
        let most = now.floor_char_boundary(WIDTH);
        let (first, later) = now.split_at(most);
        let (first, later) = match first.rsplit_once(' ') {
            Some((before, _)) if !before.is_empty() => now.split_at(before.len()),
            _ => (first, later),
        };
        rest = Some(later.trim_start());
        Some(first)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(reply: &Reply) -> String {
        let mut out = Vec::new();
        reply.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn replies_on_the_wire() {
        assert_eq!(written(&Reply::new(250, "2.0.0", "ok")), "250 2.0.0 ok\r\n");
        assert_eq!(
            written(&Reply::plain(250, "host\nPIPELINING\nSIZE 1")),
            "250-host\r\n250-PIPELINING\r\n250 SIZE 1\r\n"
        );
        assert_eq!(written(&Reply::plain(334, "")), "334 \r\n");
        assert_eq!(written(&Reply::new(550, "5.0.0", "a\r\0\u{e9}b")), "550 5.0.0 a????b\r\n");
    }

    #[test]
    fn long_sentences_are_parted() {
        let sentence = "word ".repeat(200);
        let text = written(&Reply::new(550, "5.7.1", sentence.trim_end().to_owned()));
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(text.lines().all(|line| line.len() < 500 && line.starts_with("550")));
        assert_eq!(text.matches("word").count(), 200);
        let text = written(&Reply::new(550, "5.7.1", "x".repeat(1000)));
        assert_eq!(text.matches('x').count(), 1000);
    }
}
