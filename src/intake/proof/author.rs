//! The one address in From: the identity that all proofs by the mail itself are about (RFC 7489, section 6.6.1).
//!
//! Not the display name, which anybody writes as he likes (`"jane@clinic.example" <x@evil.example>`), and not the envelope.
//! Addresses that mail programs read in different ways are refused rather than guessed.

use std::borrow::Cow;

use mail_parser::{Address, HeaderValue, parsers::MessageStream};

use super::header::Header;
use crate::config::Sender;

/// Longest From field that is read, in bytes.
const MOST_BYTES: usize = 4096;
/// Comments within comments.
const DEEPEST: usize = 8;

/// Who wrote a mail, as it says itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Author {
    /// In front of the `@`.
    pub(super) local: String,
    /// Behind it: lower case, A-labels (RFC 5890), no dot at the end.
    pub(super) domain: String,
}

/// Why a mail has no one author.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoAuthor {
    /// No From, or nothing in it.
    #[error("has no address in its From field")]
    Missing,
    /// More than one, or a group.
    #[error("has more than one address in its From field")]
    Several,
    /// Not one reading.
    #[error("has a From field that mail programs read in different ways")]
    Ambiguous,
}

impl Author {
    /// The address in the From field of `header`.
    pub(super) fn of(header: &Header<'_>) -> Result<Author, NoAuthor> {
        let field = header.one("from").ok_or(NoAuthor::Missing)?;
        let author = strictly(field)?;
        // What reads the mail later must see the same.
        if leniently(field).as_ref() != Some(&author) {
            return Err(NoAuthor::Ambiguous);
        }
        Ok(author)
    }

    /// Of `local@domain`.
    pub(super) fn parse(address: &str) -> Option<Author> {
        let (local, domain) = address.split_once('@')?;
        let plain = |c: char| !c.is_control() && !c.is_whitespace() && !"<>\"\\,;:()[]@".contains(c);
        if local.is_empty() || !local.chars().all(plain) {
            return None;
        }
        Some(Author { local: local.to_owned(), domain: a_label(domain)? })
    }

    /// As it is compared and shown.
    pub(super) fn address(&self) -> String {
        format!("{}@{}", self.local, self.domain)
    }

    /// Whether it is one of the sender's addresses or in one of its domains, in whatever case and script either is written.
    pub(super) fn writes_for(&self, sender: &Sender) -> bool {
        sender.addresses.iter().any(|allowed| match allowed.strip_prefix('@') {
            Some(domain) => a_label(domain).is_some_and(|domain| domain == self.domain),
            None => Author::parse(allowed).is_some_and(|allowed| {
                allowed.domain == self.domain && allowed.local.eq_ignore_ascii_case(&self.local)
            }),
        })
    }
}

/// A domain in the one form in which it is compared; none where it is no host name.
pub(super) fn a_label(domain: &str) -> Option<String> {
    let domain = domain.strip_suffix('.').unwrap_or(domain);
    // Mapped as browsers and mail programs do (UTS 46): full-width letters and ideographic stops become what they look like.
    let domain: Cow<'_, str> = mail_auth::common::to_a_label(domain);
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    let fine = domain.len() <= 253 && domain.contains('.') && domain.split('.').all(label);
    fine.then(|| domain.to_ascii_lowercase())
}

/// `[name] <local@domain>` or `local@domain`, with comments (RFC 5322, section 3.4) and nothing of its obsolete forms.
fn strictly(field: &[u8]) -> Result<Author, NoAuthor> {
    let text = field.get(..MOST_BYTES.min(field.len())).unwrap_or_default();
    let text = std::str::from_utf8(text).map_err(|_| NoAuthor::Ambiguous)?;
    if text.len() < field.len() {
        return Err(NoAuthor::Ambiguous);
    }
    let tokens = tokens(text)?;
    let tokens = trimmed(&tokens);
    if tokens.is_empty() {
        return Err(NoAuthor::Missing);
    }
    if tokens.iter().any(|token| matches!(token, Token::Special(',' | ';' | ':'))) {
        return Err(NoAuthor::Several);
    }
    let address = match tokens.iter().position(|token| *token == Token::Special('<')) {
        None => tokens,
        Some(open) => {
            let (name, rest) = tokens.split_at(open);
            if name.iter().any(|token| matches!(token, Token::Special(_))) {
                return Err(NoAuthor::Ambiguous);
            }
            match rest {
                [_, address @ .., Token::Special('>')] => trimmed(address),
                _ => return Err(NoAuthor::Ambiguous),
            }
        }
    };
    match address {
        [] => Err(NoAuthor::Missing),
        [Token::Word(local), Token::Special('@'), Token::Word(domain)] => {
            Author::parse(&format!("{local}@{domain}")).ok_or(NoAuthor::Ambiguous)
        }
        [Token::Word(_)] => Err(NoAuthor::Missing),
        _ => Err(NoAuthor::Ambiguous),
    }
}

/// What the library that reads the whole mail sees.
fn leniently(field: &[u8]) -> Option<Author> {
    let HeaderValue::Address(Address::List(list)) = MessageStream::new(field).parse_address() else {
        return None;
    };
    match list.as_slice() {
        [one] => Author::parse(one.address.as_deref()?),
        _ => None,
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token<'x> {
    /// White space or comments.
    Space,
    /// A quoted string; what it says does not matter, a quoted local part is not taken.
    Quoted,
    /// An atom, dots included.
    Word(&'x str),
    /// One of `< > @ , ; :`, or what else is not part of an atom.
    Special(char),
}

fn trimmed<'a, 'x>(mut tokens: &'a [Token<'x>]) -> &'a [Token<'x>] {
    while let [Token::Space, rest @ ..] = tokens {
        tokens = rest;
    }
    while let [rest @ .., Token::Space] = tokens {
        tokens = rest;
    }
    tokens
}

fn tokens(text: &str) -> Result<Vec<Token<'_>>, NoAuthor> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (token, length) = match first {
            ' ' | '\t' | '\r' | '\n' => (Token::Space, 1),
            '(' => (Token::Space, comment(rest).ok_or(NoAuthor::Ambiguous)?),
            '"' => (Token::Quoted, quoted(rest).ok_or(NoAuthor::Ambiguous)?),
            '<' | '>' | '@' | ',' | ';' | ':' | ')' | '[' | ']' | '\\' => (Token::Special(first), 1),
            _ if first.is_control() => return Err(NoAuthor::Ambiguous),
            _ => {
                let ends = |c: char| c.is_control() || " <>@,;:()[]\\\"".contains(c);
                let length = rest.find(ends).unwrap_or(rest.len());
                (Token::Word(rest.get(..length).unwrap_or_default()), length)
            }
        };
        if !(token == Token::Space && tokens.last() == Some(&Token::Space)) {
            tokens.push(token);
        }
        rest = rest.get(length..).unwrap_or_default();
    }
    Ok(tokens)
}

/// Bytes of the comment that `text` begins with.
pub(super) fn comment(text: &str) -> Option<usize> {
    let (mut depth, mut escaped) = (0_usize, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'(' => depth = depth.saturating_add(1),
            b')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEEPEST {
            return None;
        }
        if depth == 0 {
            return at.checked_add(1);
        }
    }
    None
}

/// Bytes of the quoted string that `text` begins with, quotes included.
pub(super) fn quoted(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at.checked_add(1),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn author(from: &str) -> Result<String, NoAuthor> {
        let mail = format!("From:{from}\r\n\r\n");
        Author::of(&Header::read(mail.as_bytes()).unwrap()).map(|author| author.address())
    }

    #[test]
    fn one_address_in_one_reading_or_none() {
        use NoAuthor::{Ambiguous, Missing, Several};
        for (from, expected) in [
            (" jane@clinic.example", Ok("jane@clinic.example")),
            (" <jane@clinic.example>", Ok("jane@clinic.example")),
            (" Jane <Jane@Clinic.EXAMPLE>", Ok("Jane@clinic.example")),
            (" \"Doe, Jane\" <jane@clinic.example>", Ok("jane@clinic.example")),
            (" Jane (front desk) <jane@clinic.example> (x)", Ok("jane@clinic.example")),
            (" =?utf-8?q?J=C3=A4ne?= <jane@clinic.example>", Ok("jane@clinic.example")),
            ("\r\n Jane\r\n <jane@clinic.example>", Ok("jane@clinic.example")),
            (" jane@clinic.example.", Ok("jane@clinic.example")),
            (" jane@pr\u{e4}xis.example", Ok("jane@xn--prxis-hra.example")),
            (" jane@xn--prxis-hra.example", Ok("jane@xn--prxis-hra.example")),
            (" Jane <jane@cl\u{131}nic.example>", Ok("jane@xn--clnic-o4a.example")),
            // What is shown is not who it is.
            (" \"jane@clinic.example\" <x@evil.example>", Ok("x@evil.example")),
            (" \"jane@clinic.example <jane@clinic.example>\" <x@evil.example>", Ok("x@evil.example")),
            (" =?utf-8?q?jane=40clinic.example?= <x@evil.example>", Ok("x@evil.example")),
            (" (jane@clinic.example) x@evil.example", Ok("x@evil.example")),
            (" jane@clinic.example, x@evil.example", Err(Several)),
            (" Jane <jane@clinic.example>, <x@evil.example>", Err(Several)),
            (" Doe, Jane <jane@clinic.example>", Err(Several)),
            (" desk: jane@clinic.example;", Err(Several)),
            (" jane@clinic.example <x@evil.example>", Err(Ambiguous)),
            (" <jane@clinic.example> <x@evil.example>", Err(Ambiguous)),
            (" <x@evil.example> jane@clinic.example", Err(Ambiguous)),
            (" <jane@clinic.example", Err(Ambiguous)),
            (" jane@clinic.example>", Err(Ambiguous)),
            (" <@evil.example,@x.example:jane@clinic.example>", Err(Several)),
            (" \"jane\"@clinic.example", Err(Ambiguous)),
            (" \"x@evil.example\"@clinic.example", Err(Ambiguous)),
            (" jane@clinic.example@evil.example", Err(Ambiguous)),
            (" jane @ clinic.example", Err(Ambiguous)),
            (" jane@[192.0.2.1]", Err(Ambiguous)),
            (" jane@localhost", Err(Ambiguous)),
            (" jane@clinic..example", Err(Ambiguous)),
            (" jane@-\u{0}.example", Err(Ambiguous)),
            (" jane@clinic.example (unclosed", Err(Ambiguous)),
            (" \"unclosed jane@clinic.example", Err(Ambiguous)),
            (" Jane", Err(Missing)),
            (" <>", Err(Missing)),
            ("", Err(Missing)),
        ] {
            assert_eq!(author(from), expected.map(str::to_owned), "{from:?}");
        }
        assert_eq!(author(&format!(" {} <jane@clinic.example>", "x".repeat(MOST_BYTES))), Err(Ambiguous));
        assert_eq!(author(&format!(" {}jane@clinic.example", "(".repeat(3000))), Err(Ambiguous));
    }

    #[test]
    fn a_sender_is_who_is_listed_and_no_look_alike() {
        let sender = |address: &str| Sender {
            addresses: vec![address.to_owned()],
            ..toml::from_str("name = \"desk\"").unwrap()
        };
        for (allowed, from, expected) in [
            ("jane@clinic.example", "jane@clinic.example", true),
            ("Jane@Clinic.Example", "jane@clinic.example", true),
            ("@clinic.example", "anybody@CLINIC.example.", true),
            ("@pr\u{e4}xis.example", "jane@xn--prxis-hra.example", true),
            ("jane@xn--prxis-hra.example", "jane@PR\u{c4}XIS.example", true),
            ("jane@clinic.example", "joan@clinic.example", false),
            ("@clinic.example", "jane@clinic.example.evil.example", false),
            ("@clinic.example", "jane@evilclinic.example", false),
            ("@clinic.example", "jane@sub.clinic.example", false),
            ("@clinic.example", "jane@c1inic.example", false),
            // The second letter is Cyrillic, Latin dotless.
            ("@clinic.example", "jane@clin\u{456}c.example", false),
            ("@clinic.example", "jane@cl\u{131}nic.example", false),
        ] {
            let author = Author::parse(from).unwrap();
            assert_eq!(author.writes_for(&sender(allowed)), expected, "{allowed} {from}");
        }
    }
}
