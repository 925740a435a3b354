//! T.37 addresses: `FAX=+12125550199@gateway.example` (RFC 3191, section 2), as devices and gateways write them, and
//! `IMCEAFAX-+2B12125550199@...`, as Exchange packs foreign ones (hexadecimal digits behind a plus, `_` for `/`).

use super::super::directive::{Place, Said, Stop, Wish};
use super::super::{Address, value};
use super::{Addressed, digits, shown};

const FAX: &str = "fax=";
const PACKED: &str = "imceafax-";

/// The address taken apart, if it has one of these forms.
pub(super) fn address(address: &Address, to: &str) -> Option<Addressed> {
    let local = address.local.as_str();
    let behind = |prefix: &str| {
        local
            .get(..prefix.len())
            .filter(|head| head.eq_ignore_ascii_case(prefix))
            .and(local.get(prefix.len()..))
    };
    let stop = |why: &str| Stop::new(Place::Address, &shown(to), why);
    let refused = |why: &str| Some(Addressed { to: to.to_owned(), said: Err(stop(why)) });
    let (name, number) = match (behind(FAX), behind(PACKED)) {
        (Some(number), _) => (None, number.to_owned()),
        (None, Some(packed)) => {
            let Some(unpacked) = unpack(packed) else {
                return refused("cannot be unpacked; write the number itself");
            };
            match unpacked.rsplit_once('@') {
                Some((name, number)) => (Some(name.to_owned()), number.to_owned()),
                None => (None, unpacked),
            }
        }
        (None, None) => return None,
    };
    let (number, qualifiers) = number.split_once('/').map_or((number.as_str(), None), |(n, q)| (n, Some(q)));
    let Some(number) = digits(number) else {
        return refused("has no number that can be dialled as it is; pauses and tones are none");
    };
    let said = match qualifiers.filter(|text| !text.is_empty()) {
        // No provider hands a sub-address on, and without it the pages would lie in somebody else's tray.
        Some(text) if text.to_ascii_lowercase().starts_with("t33s=") => Err(stop(
            "asks for a sub-address (T33S), which cannot be passed on; name the person with Attn instead",
        )),
        Some(_) => Err(stop("has more behind the number than can be followed; write the number alone")),
        None => match name.as_deref().filter(|name| !name.trim().is_empty()).map(value::line) {
            Some(Ok(name)) => Ok(vec![Said::new(Place::Address, &name, Wish::Attention(name.clone()))]),
            Some(Err(why)) => Err(stop(&why)),
            None => Ok(Vec::new()),
        },
    };
    Some(Addressed { to: format!("{number}@{}", address.domain), said })
}

/// Undoes Exchange's packing.
fn unpack(packed: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(packed.len());
    let mut rest = packed.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => {
                let high = char::from(rest.next()?).to_digit(16)?;
                let low = char::from(rest.next()?).to_digit(16)?;
                u8::try_from(high * 16 + low).ok()?
            }
            b'_' => b'/',
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::super::normal;
    use super::super::tests::is_read;
    use crate::addressing::readers::Reader;

    #[test]
    fn addresses_come_apart() {
        for (to, seen, attention) in [
            ("FAX=+12125550199@gateway.example", "+12125550199@gateway.example", None),
            ("fax=+1-212-555-0199@gateway.example", "+12125550199@gateway.example", None),
            ("FAX=2125550199@gateway.example", "2125550199@gateway.example", None),
            ("IMCEAFAX-+2B12125550199@gateway.example", "+12125550199@gateway.example", None),
            (
                "IMCEAFAX-John+20Doe+40+2B1+20+28212+29+20555-0199@gateway.example",
                "+12125550199@gateway.example",
                Some("John Doe"),
            ),
        ] {
            is_read(Reader::T37, to, seen, attention);
        }
    }

    #[test]
    fn what_cannot_be_followed_stops_the_mail() {
        for (to, why) in [
            ("FAX=+12125550199/T33S=1234@gateway.example", "sub-address"),
            ("FAX=+12125550199/ISUB=1@gateway.example", "more behind the number"),
            ("FAX=12125550199P123@gateway.example", "no number that can be dialled"),
            ("FAX=+12125550199*1@gateway.example", "no number that can be dialled"),
            ("FAX=@gateway.example", "no number that can be dialled"),
            ("IMCEAFAX-+2@gateway.example", "cannot be unpacked"),
            ("IMCEAFAX-+FF+FE@gateway.example", "cannot be unpacked"),
        ] {
            let sentence = normal(to, &[Reader::T37]).said.unwrap_err().sentence();
            assert!(sentence.contains(why), "{to}: {sentence}");
        }
    }
}
