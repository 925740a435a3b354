//! HylaFAX: `john.doe@2125550199.fax` (the host is the number, the local part the person) and `X-FAX-` header fields, of which
//! `X-FAX-Dialstring` is checked and never followed.

use super::super::directive::{Place, Said, Stop, Target, Wish};
use super::super::{Address, value};
use super::{Addressed, SHORTEST_NUMBER, digits, unblanked};

/// The label behind the number in such hosts.
const HOST: &str = "fax";

/// The address taken apart, if it has this form: rules see `NUMBER@fax` and what stands behind.
pub(super) fn address(address: &Address, _: &str) -> Option<Addressed> {
    let (number, domain) = address.domain.split_once('.')?;
    let is_host = domain == HOST || domain.starts_with("fax.");
    if !is_host || number.len() < SHORTEST_NUMBER || !number.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let name = unblanked(&address.local, &['.', '_']);
    let said = match value::line(&name) {
        Ok(name) => Ok(vec![Said::new(Place::Address, &address.local, Wish::Attention(name))]),
        Err(why) => Err(Stop::new(Place::Address, &address.local, &why)),
    };
    Some(Addressed { to: format!("{number}@{domain}"), said })
}

/// What the header fields say; their names come in lower case and without `x-fax-`.
///
/// # Errors
/// [`Stop`] for fields that nobody knows and for values that cannot be followed.
pub(crate) fn fields(fields: &[(String, String)]) -> Result<Vec<Said>, Stop> {
    fields.iter().map(|(name, text)| field(name, text)).collect()
}

fn field(name: &str, text: &str) -> Result<Said, Stop> {
    let written = format!("X-FAX-{name}: {text}");
    let stop = |why: &str| Stop::new(Place::Field, &written, why);
    let wish = match name {
        "to" => Wish::Attention(value::line(text).map_err(|why| stop(&why))?),
        "dialstring" => {
            let number = digits(text)
                .ok_or_else(|| stop("is not a plain number; the fax goes to the number in the address"))?;
            Wish::Target(Target::Number(number))
        }
        "autocoverpage" => match value::formal(text).to_ascii_lowercase().as_str() {
            "yes" | "on" | "true" | "1" => Wish::Cover(true),
            "no" | "off" | "false" | "0" => Wish::Cover(false),
            _ => return Err(stop("is neither yes nor no")),
        },
        "vres" => Wish::Ignored("has no effect: faxes are sent in fine resolution"),
        "headers" | "mapheader" | "tabstop" | "markdiscarded" => {
            Wish::Ignored("has no effect: header lines of the mail are not faxed")
        }
        _ => return Err(stop("is none of the X-FAX fields that are known here; leave it out")),
    };
    Ok(Said::new(Place::Field, &written, wish))
}

#[cfg(test)]
mod tests {
    use super::super::tests::is_read;
    use super::*;
    use crate::addressing::readers::Reader;

    #[test]
    fn hosts_that_are_numbers() {
        for (to, seen, attention) in [
            ("john.doe@2125550199.fax", "2125550199@fax", Some("john doe")),
            ("John_Doe@12125550199.fax.example.com", "12125550199@fax.example.com", Some("John Doe")),
            ("john@5550199.example.com", "john@5550199.example.com", None),
            ("john@123.fax", "john@123.fax", None),
            ("john@mail.fax", "john@mail.fax", None),
        ] {
            is_read(Reader::Hylafax, to, seen, attention);
        }
    }

    #[test]
    fn fields_are_followed_checked_ignored_or_stop_the_mail() {
        let read = |name: &str, text: &str| fields(&[(name.to_owned(), text.to_owned())]);
        for (name, text, expected) in [
            ("to", "John Doe", Wish::Attention("John Doe".into())),
            ("autocoverpage", "No", Wish::Cover(false)),
            ("autocoverpage", "yes", Wish::Cover(true)),
            ("dialstring", "+1 (212) 555-0199", Wish::Target(Target::Number("+12125550199".into()))),
        ] {
            assert_eq!(read(name, text).unwrap().pop().unwrap().wish, expected, "{name}");
        }
        for name in ["vres", "headers", "mapheader", "tabstop", "markdiscarded"] {
            assert!(matches!(read(name, "x").unwrap().pop().unwrap().wish, Wish::Ignored(_)), "{name}");
        }
        for (name, text) in
            [("to", ""), ("autocoverpage", "x"), ("dialstring", "9,12125550199"), ("notify", "x")]
        {
            let sentence = read(name, text).unwrap_err().sentence();
            assert!(sentence.starts_with(&format!("\"X-FAX-{name}:")), "{sentence}");
        }
    }
}
