//! Addresses in MAIL and RCPT: RFC 5321, section 4.1.2, with the U-labels and local parts of RFC 6531.
//!
//! Read once, here, and strictly: what two readers could understand differently is no address. A quoted local part loses its
//! quotes where it means the same without them, and keeps them where it does not (`"+1 (212) 555-0199"@fax.example.com`); one with
//! `@`, `<` or a backslash would let one part of the program see another domain than the next. Source routes are refused, which RFC 5321 leaves to us (appendix C).

use std::net::{Ipv4Addr, Ipv6Addr};

/// Longest address (RFC 5321, section 4.5.3.1.3). The 64 bytes for a local part do not bind here: fax addresses carry options.
const MAX_ADDRESS: usize = 254;
/// Longest label of a domain (RFC 1035, section 2.3.4).
const MAX_LABEL: usize = 63;

/// What stands between `<` and `>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Path {
    /// `<>`: whoever sent this wants no answer.
    Null,
    /// `<postmaster>`, the one address without a domain.
    Postmaster,
    /// An address.
    Mailbox(Mailbox),
}

/// An address, in quotes only where it cannot do without; its domain in ASCII.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mailbox {
    pub(super) address: String,
    /// It was written with characters that only SMTPUTF8 allows.
    pub(super) international: bool,
}

/// Why there is no path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// No `<...>` where one belongs.
    Shape,
    /// `<@relay:jane@example.com>`.
    Route,
    /// It is no address, or one that cannot be told apart from another.
    Address,
}

/// Reads a path from the head of `text`; the rest are parameters, or nothing. Spaces around it are let pass, and missing angle
/// brackets too, since all big servers take what old scanners send.
pub(super) fn parse(text: &str) -> Result<(Path, &str), Fault> {
    let text = text.trim_start_matches(' ');
    let (inner, rest) = match text.strip_prefix('<') {
        Some(open) => {
            let end = end_of_path(open).ok_or(Fault::Shape)?;
            let (inner, rest) = open.split_at(end);
            (inner.trim_matches(' '), rest.strip_prefix('>').unwrap_or(rest))
        }
        None => {
            let (inner, rest) = text.split_at(text.find(' ').unwrap_or(text.len()));
            if inner.is_empty() || inner.contains(['"', '<', '>']) {
                return Err(Fault::Shape);
            }
            (inner, rest)
        }
    };
    if !rest.is_empty() && !rest.starts_with(' ') {
        return Err(Fault::Shape);
    }
    if inner.is_empty() {
        return Ok((Path::Null, rest));
    }
    if inner.starts_with('@') {
        return Err(Fault::Route);
    }
    if inner.eq_ignore_ascii_case("postmaster") {
        return Ok((Path::Postmaster, rest));
    }
    Ok((Path::Mailbox(mailbox(inner).ok_or(Fault::Address)?), rest))
}

/// Where the `>` stands that is not in quotes.
fn end_of_path(text: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'>' if !quoted => return Some(at),
            _ => {}
        }
    }
    None
}

fn mailbox(text: &str) -> Option<Mailbox> {
    let (local, domain) = match text.strip_prefix('"') {
        Some(quoted) => unquoted(quoted)?,
        None => {
            let (local, domain) = text.split_once('@')?;
            if !is_dot_string(local) {
                return None;
            }
            (local.to_owned(), domain)
        }
    };
    let international = !local.is_ascii() || !domain.is_ascii();
    let domain = ascii_domain(domain)?;
    let address =
        if is_dot_string(&local) { format!("{local}@{domain}") } else { format!("\"{local}\"@{domain}") };
    (!local.is_empty() && address.len() <= MAX_ADDRESS).then_some(Mailbox { address, international })
}

/// The local part behind an opening quote, and the domain.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut local = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => {
                let domain = text.get(at + 1..)?.strip_prefix('@')?;
                // With these inside, the address means something else once the quotes are gone.
                let ambiguous = local.contains(['<', '>', '"', '\\', ',', ';', '@']);
                return (!ambiguous).then_some((local, domain));
            }
            '\\' => local.push(chars.next()?.1),
            c => local.push(c),
        }
    }
    None
}

/// What needs no quotes: words of plain characters with single dots between them.
fn is_dot_string(local: &str) -> bool {
    local.split('.').all(|word| !word.is_empty() && word.chars().all(is_atext))
}

/// RFC 5321, section 4.1.2, with RFC 6531, section 3.3: whatever is not ASCII and no control character.
fn is_atext(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c) || (!c.is_ascii() && !c.is_control())
}

fn ascii_domain(domain: &str) -> Option<String> {
    if let Some(literal) = domain.strip_prefix('[') {
        let literal = literal.strip_suffix(']')?;
        let tag = literal.get(..5).is_some_and(|tag| tag.eq_ignore_ascii_case("IPv6:"));
        let known = match tag {
            true => literal.get(5..)?.parse::<Ipv6Addr>().is_ok(),
            false => literal.parse::<Ipv4Addr>().is_ok(),
        };
        return known.then(|| domain.to_owned());
    }
    let domain = if domain.is_ascii() { domain.to_owned() } else { idna::domain_to_ascii(domain).ok()? };
    let label = |label: &str| {
        (1..=MAX_LABEL).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    domain.split('.').all(label).then_some(domain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let long = format!("<{}@example.com>", "x".repeat(300));
        let cases: &[(&str, Result<&str, Fault>)] = &[
            ("<jane@example.com>", Ok("jane@example.com")),
            ("   <jane@example.com>", Ok("jane@example.com")),
            ("< jane@example.com >", Ok("jane@example.com")),
            ("jane@example.com", Ok("jane@example.com")),
            ("<Dr.Smith@Fax.Example.COM>", Ok("Dr.Smith@Fax.Example.COM")),
            ("<+12125550199@fax.example.com>", Ok("+12125550199@fax.example.com")),
            (
                "<12125550199/to=John_Doe/cp=off@fax.example.com>",
                Ok("12125550199/to=John_Doe/cp=off@fax.example.com"),
            ),
            ("<a^NOCOVER@fax.example.com>", Ok("a^NOCOVER@fax.example.com")),
            ("<\"jane\"@example.com>", Ok("jane@example.com")),
            ("<\"ja\\ne\"@example.com>", Ok("jane@example.com")),
            ("<\"Jane Doe\"@example.com>", Ok("\"Jane Doe\"@example.com")),
            ("<\"+1 (212) 555-0199\"@fax.example.com>", Ok("\"+1 (212) 555-0199\"@fax.example.com")),
            ("<\"jane..doe\"@example.com>", Ok("\"jane..doe\"@example.com")),
            ("<jane@[192.0.2.7]>", Ok("jane@[192.0.2.7]")),
            ("<jane@[IPv6:2001:db8::1]>", Ok("jane@[IPv6:2001:db8::1]")),
            ("<j\u{f6}rg@example.com>", Ok("j\u{f6}rg@example.com")),
            ("<jane@b\u{fc}cher.example>", Ok("jane@xn--bcher-kva.example")),
            ("<>", Ok("")),
            ("<PostMaster>", Ok("postmaster")),
            ("<@relay.example:jane@example.com>", Err(Fault::Route)),
            ("<@a.example,@b.example:jane@example.com>", Err(Fault::Route)),
            ("", Err(Fault::Shape)),
            ("<jane@example.com", Err(Fault::Shape)),
            ("<jane@example.com>x", Err(Fault::Shape)),
            ("jane@example.com>", Err(Fault::Shape)),
            ("<\"jane@example.com>", Err(Fault::Shape)),
            ("<jane>", Err(Fault::Address)),
            ("<jane@>", Err(Fault::Address)),
            ("<jane@a@b>", Err(Fault::Address)),
            ("<jane@example..com>", Err(Fault::Address)),
            ("<jane@.example.com>", Err(Fault::Address)),
            ("<jane@exam ple.com>", Err(Fault::Address)),
            ("<.jane@example.com>", Err(Fault::Address)),
            ("<jane..doe@example.com>", Err(Fault::Address)),
            ("<jane doe@example.com>", Err(Fault::Address)),
            ("<\"jane@example.com\"@example.org>", Err(Fault::Address)),
            ("<\"jane\\\"\"@example.org>", Err(Fault::Address)),
            ("<\"\"@example.org>", Err(Fault::Address)),
            ("<\"jane\"doe@example.org>", Err(Fault::Address)),
            ("<jane@[192.0.2]>", Err(Fault::Address)),
            ("<jane@[2001:db8::1]>", Err(Fault::Address)),
            (&long, Err(Fault::Address)),
        ];
        for (text, expected) in cases {
            let found = parse(text).map(|(path, rest)| {
                assert_eq!(rest, "", "{text}");
                match path {
                    Path::Null => String::new(),
                    Path::Postmaster => "postmaster".into(),
                    Path::Mailbox(mailbox) => mailbox.address,
                }
            });
            assert_eq!(found.as_deref(), expected.as_ref().map(|text| &**text), "{text}");
        }
        assert_eq!(parse("<a@b> SIZE=1 ").unwrap().1, " SIZE=1 ");
        assert_eq!(parse("a@b SIZE=1").unwrap().1, " SIZE=1");
        for (text, international) in [("<a@b>", false), ("<\u{e9}@b>", true), ("<a@\u{e9}.example>", true)] {
            let Ok((Path::Mailbox(mailbox), _)) = parse(text) else { panic!("{text}") };
            assert_eq!(mailbox.international, international, "{text}");
        }
    }
}
