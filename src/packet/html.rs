//! HTML of a mail as plain text, for the cover or pages of text, and the pictures that it refers to.
//!
//! Not a browser: no styles, no tables side by side. What a reader of the mail would read in its order, line by line.

use mail_parser::decoders::charsets::map::charset_decoder;
use mail_parser::decoders::html::html_to_text;

use super::parameters::percent_decode;

/// Quotes within quotes that are told apart.
const MOST_QUOTES: usize = 20;

/// Elements that stand on lines of their own.
const BLOCKS: &[&str] = &[
    "address",
    "article",
    "aside",
    "blockquote",
    "body",
    "caption",
    "center",
    "dd",
    "div",
    "dl",
    "dt",
    "fieldset",
    "figure",
    "footer",
    "form",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "header",
    "hr",
    "li",
    "main",
    "nav",
    "ol",
    "p",
    "pre",
    "section",
    "table",
    "tbody",
    "tfoot",
    "thead",
    "tr",
    "ul",
];

/// Elements whose content nobody sees.
const UNSEEN: &[&str] =
    &["script", "style", "title", "template", "noframes", "noembed", "iframe", "object", "xml"];

/// The text of a page. Quoted mails get `> ` in front of each line, as in plain text.
pub(super) fn text_of(html: &str) -> String {
    let mut page = Page::default();
    let mut rest = html;
    while !rest.is_empty() {
        let Some(tag) = memchr::memchr(b'<', rest.as_bytes()) else {
            page.words(rest);
            break;
        };
        let (words, at_tag) = rest.split_at_checked(tag).unwrap_or((rest, ""));
        page.words(words);
        rest = page.tag(at_tag);
    }
    page.text
}

#[derive(Debug, Default)]
struct Page {
    text: String,
    /// A blank is due before the next word.
    blank: bool,
    /// Something stands on the last line.
    begun: bool,
    /// `pre` elements that are open.
    preformatted: u32,
    /// For each `blockquote` that is open, whether it quotes a mail.
    quotes: Vec<bool>,
    /// There was a tag with a quote that never ends: from there on quotes in tags mean nothing.
    broken: bool,
}

impl Page {
    fn words(&mut self, mut words: &str) {
        while !words.is_empty() {
            let stop = words.find(['&', ' ', '\t', '\r', '\n', '\u{c}']).unwrap_or(words.len());
            let (plain, rest) = words.split_at_checked(stop).unwrap_or((words, ""));
            self.put(plain);
            words = rest;
            if let Some(entity) = rest.strip_prefix('&') {
                let (decoded, behind) = entity_of(entity);
                self.put(&decoded);
                words = behind;
            } else if let Some(white) = rest.chars().next() {
                words = rest.get(white.len_utf8()..).unwrap_or_default();
                match white {
                    '\n' if self.preformatted > 0 => self.line(),
                    '\r' if self.preformatted > 0 => {}
                    _ if self.preformatted > 0 => self.put(" "),
                    _ => self.blank = true,
                }
            }
        }
    }

    fn put(&mut self, words: &str) {
        if words.is_empty() {
            return;
        }
        if !self.begun {
            let depth = self.quotes.iter().filter(|quotes| **quotes).count().min(MOST_QUOTES);
            self.text.extend(std::iter::repeat_n('>', depth));
            if depth > 0 {
                self.text.push(' ');
            }
            self.begun = true;
        } else if self.blank {
            self.text.push(' ');
        }
        self.blank = false;
        self.text.push_str(words);
    }

    fn line(&mut self) {
        self.text.push('\n');
        (self.begun, self.blank) = (false, false);
    }

    fn block(&mut self) {
        if self.begun {
            self.line();
        }
        self.blank = false;
    }

    /// Reads the tag, comment or lonely `<` at the start of `at`; what follows it.
    fn tag<'t>(&mut self, at: &'t str) -> &'t str {
        if let Some(comment) = at.strip_prefix("<!--") {
            let end = memchr::memmem::find(comment.as_bytes(), b"-->");
            return end.and_then(|end| comment.get(end + 3..)).unwrap_or_default();
        }
        let inner = at.get(1..).unwrap_or_default();
        let closes = inner.starts_with('/');
        let name = inner.strip_prefix('/').unwrap_or(inner);
        if !name.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '!' | '?')) {
            self.put("<");
            return inner;
        }
        let Some(end) = self.end_of(inner) else { return "" };
        let (tag, after) = (inner.get(..end).unwrap_or_default(), inner.get(end + 1..).unwrap_or_default());
        let name_end = name.find(|c: char| !c.is_ascii_alphanumeric() && c != ':').unwrap_or(name.len());
        let name = name.get(..name_end).unwrap_or_default().to_ascii_lowercase();
        match name.as_str() {
            "br" => self.line(),
            "td" | "th" if !closes => self.blank = true,
            "blockquote" => {
                self.block();
                if closes {
                    self.quotes.pop();
                } else if self.quotes.len() < 10 * MOST_QUOTES {
                    let tag = tag.to_ascii_lowercase();
                    // Apple Mail and Thunderbird write type="cite", Gmail class="gmail_quote"; without, it is indented text.
                    self.quotes
                        .push(tag.contains("cite") || tag.contains("quote\"") || tag.contains("_quote"));
                }
            }
            "pre" => {
                self.block();
                self.preformatted = if closes {
                    self.preformatted.saturating_sub(1)
                } else {
                    self.preformatted.saturating_add(1)
                };
            }
            "li" if !closes => {
                self.block();
                self.put("- ");
            }
            block if BLOCKS.contains(&block) => self.block(),
            unseen if UNSEEN.contains(&unseen) && !closes && !tag.ends_with('/') => {
                return after_closing(after, unseen);
            }
            _ => {}
        }
        after
    }

    /// Where the tag ends: at the first `>` outside quotes.
    fn end_of(&mut self, inner: &str) -> Option<usize> {
        let bytes = inner.as_bytes();
        let mut from = 0;
        while !self.broken {
            let Some(found) = memchr::memchr3(b'>', b'"', b'\'', bytes.get(from..)?) else {
                self.broken = true;
                break;
            };
            let at = from + found;
            let mark = *bytes.get(at)?;
            if mark == b'>' {
                return Some(at);
            }
            // Only a value begins with a quote: the one in `<p title=don't>` is a letter.
            let opens = bytes.get(..at)?.trim_ascii_end().last() == Some(&b'=');
            from = at + 1;
            if opens {
                match memchr::memchr(mark, bytes.get(from..)?) {
                    Some(end) => from += end + 1,
                    None => self.broken = true,
                }
            }
        }
        memchr::memchr(b'>', bytes)
    }
}

/// What follows the closing tag of an element whose content is not read; nothing where it is never closed.
fn after_closing<'t>(text: &'t str, name: &str) -> &'t str {
    let mut rest = text;
    while let Some(at) = memchr::memmem::find(rest.as_bytes(), b"</") {
        rest = rest.get(at + 2..).unwrap_or_default();
        if rest.get(..name.len()).is_some_and(|tag| tag.eq_ignore_ascii_case(name)) {
            let end = memchr::memchr(b'>', rest.as_bytes());
            return end.and_then(|end| rest.get(end + 1..)).unwrap_or_default();
        }
    }
    ""
}

/// The character that stands for what follows an ampersand, and the rest. The ampersand itself if it is none.
fn entity_of(after: &str) -> (String, &str) {
    let end = after.as_bytes().iter().take(33).position(|byte| *byte == b';');
    let decoded = end.and_then(|end| {
        let name = after.get(..end)?;
        let decoded = match name.strip_prefix('#') {
            Some(number) => numbered(number)?.to_string(),
            None if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
                let entity = format!("&{name};");
                let decoded = html_to_text(&entity);
                (decoded.trim_matches(' ') != entity).then_some(decoded)?
            }
            None => return None,
        };
        Some((decoded, after.get(end + 1..)?))
    });
    decoded.unwrap_or_else(|| ("&".to_owned(), after))
}

fn numbered(number: &str) -> Option<char> {
    let code = match number.strip_prefix(['x', 'X']) {
        Some(digits) => u32::from_str_radix(digits, 16).ok()?,
        None => number.parse().ok()?,
    };
    match u8::try_from(code) {
        // What browsers make of numbers that are no characters, and Outlook means: Windows-1252.
        Ok(byte @ 0x80..=0x9f) => {
            charset_decoder(b"windows-1252").and_then(|decode| decode(&[byte]).chars().next())
        }
        _ => char::from_u32(code),
    }
}

/// The Content-IDs that a page refers to (RFC 2392), lower case; at most `most`.
pub(super) fn references(html: &str, most: usize) -> Vec<String> {
    let bytes = html.as_bytes();
    let ends =
        |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b'"' | b'\'' | b'>' | b'<' | b')' | b'\\');
    memchr::memmem::find_iter(&bytes.to_ascii_lowercase(), b"cid:")
        .take(most)
        .filter_map(|at| {
            let reference = bytes.get(at + 4..)?;
            let reference = reference.get(..1000).unwrap_or(reference);
            let length = reference.iter().position(ends).unwrap_or(reference.len());
            let mut decoded = Vec::new();
            percent_decode(reference.get(..length)?, &mut decoded);
            let reference = String::from_utf8_lossy(&decoded).replace("&amp;", "&").to_ascii_lowercase();
            (!reference.is_empty()).then_some(reference)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pages_read_as_text() {
        for (html, text) in [
            ("<p>Dear <b>all</b>,</p>\n<p>see below.</p>", "Dear all,\nsee below.\n"),
            ("one<br>two<br/>three", "one\ntwo\nthree"),
            ("<div>one</div><div><br></div><div>two</div>", "one\n\ntwo\n"),
            ("<html><head><title>no</title><style>p{x:'</'}</style></head><body>yes</body></html>", "yes\n"),
            ("<script>if (a<b) x('</p>')</script>yes", "yes"),
            ("<STYLE>never closed", ""),
            ("a<!-- no --><!--[if mso]><p>no</p><![endif]-->b", "ab"),
            ("<ul><li>one<li>two</ul>end", "- one\n- two\nend"),
            ("<table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></table>", "a b\nc\n"),
            (
                "&lt;TOFAXNUM:12125550199&gt; &amp; &quot;&#39;&#x41;&#146;&uuml;&nbsp;x",
                "<TOFAXNUM:12125550199> & \"'A’ü\u{a0}x",
            ),
            ("AT&T & R&D; &bogus; &#xzz;", "AT&T & R&D; &bogus; &#xzz;"),
            ("1 < 2 and <3", "1 < 2 and <3"),
            ("<a title=\"a>b\" href='x'>link</a>", "link"),
            ("<p title=don't>ok</p>", "ok\n"),
            ("<a title=\"never>one</a> <b>two</b>", "one two"),
            ("<pre>a\n  b</pre>", "a\n  b\n"),
            (" spread \n over\t lines ", "spread over lines"),
            (
                "mine<blockquote type=\"cite\"><div>yours</div><blockquote>in</blockquote></blockquote>end",
                "mine\n> yours\n> in\nend",
            ),
        ] {
            assert_eq!(text_of(html).trim_end_matches(' '), text, "{html}");
        }
    }

    #[test]
    fn pictures_that_are_referred_to() {
        let html = "<img src=\"cid:Logo@01DA\"><img src=CID:a%40b><td background='cid:c&amp;d'>cid:";
        assert_eq!(references(html, 10), ["logo@01da", "a@b", "c&d"]);
        assert_eq!(references(html, 1).len(), 1);
    }

    #[test]
    fn hostile_pages_take_no_time() {
        for piece in [
            "<a b=\"",
            "<a",
            "&",
            "<style>",
            "</",
            "<!--",
            "<blockquote type=cite>x",
            "<pre>\n",
            "&amp;",
            "<a b='x>",
        ] {
            let html = piece.repeat((256 << 10) / piece.len());
            let began = Instant::now();
            text_of(&html);
            references(&html, 100);
            assert!(began.elapsed() < Duration::from_secs(5), "{piece}: {:?}", began.elapsed());
        }
    }

    proptest! {
        #[test]
        fn anything_is_read(html in "[<>a-z/!\"'=&;# \n\\-ü]{0,80}") {
            text_of(&html);
            references(&html, 10);
        }
    }
}
