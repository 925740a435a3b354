//! How other fax systems write numbers and options in a mail, for offices whose programs speak nothing else. Each is switched
//! on per sender (`readers` under `[[sender]]`); what is not switched on is text like any other.
//!
//! All of them end in the same [`Said`] as our own options. An address comes out in the form that rules take apart
//! ([`normal`]): the number, or the register's key, before the `@`. So no reader can reach a number that a rule would not take
//! from the same sender in a plain address.

use serde::Deserialize;

use super::Address;
use super::directive::{Place, Said, Stop, Target};
use crate::addressing::Addressee;
use crate::text::quotable;

pub mod efax;
pub mod hylafax;
pub mod interfax;
pub mod rightfax;
pub mod t37;

/// Another system's way to write options and numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reader {
    /// eFax: options in the address, tags in front of the text.
    Efax,
    /// RightFax: embedded codes, `/fax=.../` addresses.
    Rightfax,
    /// InterFAX: switches at the end of the subject.
    Interfax,
    /// HylaFAX: `X-FAX-` header fields, `name@number.fax` addresses.
    Hylafax,
    /// T.37: `FAX=` addresses (RFC 3191, RFC 3192).
    T37,
}

impl Reader {
    /// The header fields, beside Subject, that it looks at and knows by name.
    #[must_use]
    pub fn header_fields(self) -> &'static [&'static str] {
        match self {
            Reader::Rightfax => &["To", "Cc"],
            Reader::Hylafax => &["X-FAX-To", "X-FAX-Dialstring", "X-FAX-AutoCoverPage"],
            Reader::Efax | Reader::Interfax | Reader::T37 => &[],
        }
    }
}

/// Numbers that the display names of one mail can add; more recipients come in an envelope.
const MOST_NAMED: usize = 100;
/// Digits of a telephone number with its area; what is shorter is a code of an office.
pub(super) const SHORTEST_NUMBER: usize = 7;

/// An envelope recipient as rules see it, with what else it said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addressed {
    /// The address with number or key before the `@`.
    pub to: String,
    /// What else stood in it; [`Stop`] where that cannot be followed.
    pub said: Result<Vec<Said>, Stop>,
}

impl Addressed {
    fn plain(to: &str) -> Self {
        Addressed { to: to.to_owned(), said: Ok(Vec::new()) }
    }
}

/// The recipient `to` in the form that rules take apart. Of the readers, the first whose form it has.
#[must_use]
pub fn normal(to: &str, readers: &[Reader]) -> Addressed {
    let Ok(address) = Address::parse(to) else { return Addressed::plain(to) };
    let has = |reader| readers.contains(&reader);
    let t37 = has(Reader::T37).then(|| t37::address(&address, to)).flatten();
    let efax = || has(Reader::Efax).then(|| efax::address(&address, to)).flatten();
    let hylafax = || has(Reader::Hylafax).then(|| hylafax::address(&address, to)).flatten();
    t37.or_else(efax).or_else(hylafax).unwrap_or_else(|| Addressed::plain(to))
}

/// What rules could be asked at RCPT in place of `to`: where the number comes later, in the mail itself, one that stands for any.
#[must_use]
pub fn at_rcpt(to: &str, readers: &[Reader]) -> Vec<String> {
    let mut forms = vec![normal(to, readers).to];
    if readers.contains(&Reader::Rightfax)
        && let Some(address) = Address::parse(to).ok().filter(rightfax::is_gateway)
    {
        let targets = [Target::Number("+12125550100".to_owned()), Target::Key(rightfax::key_of("0"))];
        forms.extend(targets.iter().map(|target| with_target(target, &address)));
    }
    forms
}

/// The recipients that `to` stands for: one, but where the number is in display names ([`rightfax`]) as many as there are, or the one that
/// the text names (`claimed`).
#[must_use]
pub fn expand(to: &str, readers: &[Reader], addressees: &[Addressee], claimed: &[Target]) -> Vec<Addressed> {
    let gateway = Address::parse(to).ok().filter(rightfax::is_gateway);
    let (Some(gateway), true) = (gateway, readers.contains(&Reader::Rightfax)) else {
        return vec![normal(to, readers)];
    };
    let mut found: Vec<Addressed> = Vec::new();
    for addressee in addressees {
        let here = Address::parse(&addressee.address).is_ok_and(|address| address.is_same_as(&gateway));
        let one =
            addressee.name.as_deref().filter(|_| here).and_then(|name| rightfax::display(name, &gateway));
        if let Some(one) = one.filter(|one| !found.contains(one)) {
            found.push(one);
        }
        if found.len() > MOST_NAMED {
            let why = format!("has more numbers beside it than the {MOST_NAMED} of one mail; send several");
            return vec![Addressed { to: to.to_owned(), said: Err(Stop::new(Place::Address, to, &why)) }];
        }
    }
    if let (true, [target, ..]) = (found.is_empty(), claimed) {
        found.push(Addressed { to: with_target(target, &gateway), said: Ok(Vec::new()) });
    }
    if found.is_empty() {
        found.push(Addressed::plain(to));
    }
    found
}

/// An address of `gateway`'s domain for `target`.
fn with_target(target: &Target, gateway: &Address) -> String {
    match target {
        Target::Number(text) | Target::Key(text) => format!("{text}@{}", gateway.domain),
    }
}

/// Digits, with a plus in front if there is one, out of a number written with blanks, dashes, dots and brackets; `None` for anything else.
/// Pauses, tones and extensions are no part of a number.
fn digits(text: &str) -> Option<String> {
    let text = super::value::formal(text);
    let mut number = String::new();
    for c in text.trim().chars() {
        match c {
            '+' if number.is_empty() => number.push('+'),
            '0'..='9' => number.push(c),
            ' ' | '-' | '.' | '(' | ')' => {}
            _ => return None,
        }
    }
    number.contains(|c: char| c.is_ascii_digit()).then_some(number)
}

/// `John_Doe`, `john.doe`: blanks as systems without blanks in addresses write them.
fn unblanked(text: &str, marks: &[char]) -> String {
    let words: Vec<&str> = text
        .split(|c: char| c.is_whitespace() || marks.contains(&c))
        .filter(|word| !word.is_empty())
        .collect();
    words.join(" ")
}

/// An address for a sentence.
fn shown(to: &str) -> String {
    quotable(to, 60)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::addressing::directive::Wish;

    pub(super) const ALL: [Reader; 5] =
        [Reader::Efax, Reader::Rightfax, Reader::Interfax, Reader::Hylafax, Reader::T37];

    /// Holds what `reader` makes of the address `to`: where it goes, and for whose attention.
    pub(super) fn is_read(reader: Reader, to: &str, seen: &str, attention: Option<&str>) {
        let one = normal(to, &[reader]);
        assert_eq!(one.to, seen, "{to}");
        let wishes: Vec<Wish> = one.said.unwrap().into_iter().map(|said| said.wish).collect();
        let expected: Vec<Wish> =
            attention.map(|name| Wish::Attention(name.to_owned())).into_iter().collect();
        assert_eq!(wishes, expected, "{to}");
    }

    #[test]
    fn without_a_reader_an_address_is_itself() {
        for to in [
            "12125550199/to=John@fax.example.com",
            "FAX=+12125550199@fax.example.com",
            "jane@2125550199.fax",
            "fax@fax.example.com",
            "no address",
        ] {
            assert_eq!(normal(to, &[]), Addressed::plain(to));
            assert_eq!(at_rcpt(to, &[]), [to]);
        }
        for to in ["mercy-radiology@fax.example.com", "2125550199@fax.example.com", "no address", ""] {
            assert_eq!(normal(to, &ALL), Addressed::plain(to));
        }
    }

    #[test]
    fn a_gateway_address_stands_for_the_numbers_in_its_display_names() {
        let addressee = |name: Option<&str>, address: &str| Addressee {
            name: name.map(str::to_owned),
            address: address.to_owned(),
        };
        let addressees = [
            addressee(Some("/fax=212 555-0199/"), "FAX@gateway.example"),
            addressee(Some("/fax=212 555-0199/"), "fax@gateway.example"),
            addressee(Some("/fax=+1 (212) 555-0198"), "fax@gateway.example"),
            addressee(Some("/fax=212 555-0197/"), "fax@elsewhere.example"),
            addressee(Some("Fax server"), "fax@gateway.example"),
        ];
        let to = |found: Vec<Addressed>| found.into_iter().map(|one| one.to).collect::<Vec<_>>();
        let claimed = [Target::Number("12125550196".into())];
        assert_eq!(
            to(expand("fax@gateway.example", &ALL, &addressees, &claimed)),
            ["2125550199@gateway.example", "+12125550198@gateway.example"]
        );
        assert_eq!(to(expand("fax@gateway.example", &ALL, &[], &claimed)), ["12125550196@gateway.example"]);
        assert_eq!(to(expand("fax@gateway.example", &ALL, &[], &[])), ["fax@gateway.example"]);
        // What is not the gateway's own address says itself where it goes.
        assert_eq!(
            to(expand("mercy@gateway.example", &ALL, &addressees, &claimed)),
            ["mercy@gateway.example"]
        );
        assert_eq!(
            at_rcpt("fax@gateway.example", &ALL),
            ["fax@gateway.example", "+12125550100@gateway.example", "rightfax-0@gateway.example"]
        );
    }

    proptest! {
        #[test]
        fn no_address_makes_a_reader_panic(
            to in "\\PC*|(FAX=|IMCEAFAX-|)[+0-9A-F_/=.a-z]{0,20}@([0-9]{0,8}\\.)?fax(\\.example)?",
            name in "\\PC*|/fax=[0-9 /=a-z]{0,12}",
        ) {
            let addressees = [Addressee { name: Some(name), address: "fax@fax.example".into() }];
            for one in expand(&to, &ALL, &addressees, &[]) {
                // What comes out is an address again, or was none before.
                prop_assert!(Address::parse(&one.to).is_ok() || one.to == to, "{to} {}", one.to);
            }
            prop_assert!(!at_rcpt(&to, &ALL).is_empty());
        }
    }
}
