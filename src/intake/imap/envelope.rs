//! What an SMTP client would have said in MAIL and RCPT, read out of a mail's header.
//!
//! A mailbox keeps no envelope. Who a mail was for stands in the fields that servers add on delivery (`Delivered-To`,
//! `X-Original-To`), or only in what the sender wrote (`To`, `Cc`). The order in which they are believed is the configuration's; the
//! first field counts that has an address which some rule takes. A mail for several that is delivered once for each of them so is
//! faxed to each once; and a catch-all mailbox, whose own address stands in `Delivered-To`, goes by the next field.

use mail_parser::{HeaderName, HeaderValue, Message, MessageParser};

use crate::config::RecipientField;

/// Addresses that are looked at in one field.
const AT_MOST: usize = 500;

/// What a header says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Envelope {
    /// The address in From, where there is exactly one.
    pub(super) from: Option<String>,
    /// Each field's addresses, in the configured order.
    fields: Vec<Vec<Vec<String>>>,
}

/// Bytes up to and with the first empty line.
pub(super) fn header_of(mail: &[u8]) -> &[u8] {
    if mail.starts_with(b"\r\n") || mail.starts_with(b"\n") {
        return &[];
    }
    let mut from = 0;
    while let Some(found) = memchr::memchr(b'\n', mail.get(from..).unwrap_or_default()) {
        from += found + 1;
        let rest = mail.get(from..).unwrap_or_default();
        for end in [&b"\r\n"[..], b"\n"] {
            if rest.starts_with(end) {
                return mail.get(..from + end.len()).unwrap_or(mail);
            }
        }
    }
    mail
}

impl Envelope {
    pub(super) fn read(header: &[u8], order: &[RecipientField]) -> Envelope {
        let Some(message) = MessageParser::default().parse_headers(header) else {
            return Envelope::default();
        };
        let from: Vec<String> = values(&message, &HeaderName::From).into_iter().flatten().collect();
        let from = match from.as_slice() {
            [one] => Some(one.clone()),
            _ => None,
        };
        let fields = order.iter().map(|field| match field {
            RecipientField::DeliveredTo => values(&message, &HeaderName::Other("Delivered-To".into())),
            RecipientField::XOriginalTo => values(&message, &HeaderName::Other("X-Original-To".into())),
            RecipientField::To => {
                let mut all = values(&message, &HeaderName::To);
                all.extend(values(&message, &HeaderName::Cc));
                vec![all.into_iter().flatten().collect()]
            }
        });
        Envelope { from, fields: fields.collect() }
    }

    /// The recipients, as far as `takes` says that a rule might take them: of the first field that has any, and of a field that
    /// each server on the way adds again, the topmost, which is the last server's.
    pub(super) fn recipients(&self, takes: impl Fn(&str) -> bool) -> Vec<String> {
        for field in &self.fields {
            for line in field {
                let mut found: Vec<String> = Vec::new();
                for address in line.iter().filter(|address| takes(address)) {
                    if !found.iter().any(|known| known.eq_ignore_ascii_case(address)) {
                        found.push(address.clone());
                    }
                }
                if !found.is_empty() {
                    return found;
                }
            }
        }
        Vec::new()
    }
}

/// The addresses of each occurrence of a field, from the top.
fn values(message: &Message<'_>, name: &HeaderName<'_>) -> Vec<Vec<String>> {
    let Some(part) = message.parts.first() else { return Vec::new() };
    let same = |other: &HeaderName<'_>| other.as_str().eq_ignore_ascii_case(name.as_str());
    let fields = part.headers.iter().filter(|header| same(&header.name)).take(AT_MOST);
    fields.map(|header| addresses(&header.value)).collect()
}

fn addresses(value: &HeaderValue<'_>) -> Vec<String> {
    let found: Vec<&str> = match value {
        HeaderValue::Address(list) => {
            list.iter().filter_map(|one| one.address.as_deref()).take(AT_MOST).collect()
        }
        HeaderValue::Text(text) => vec![text.as_ref()],
        HeaderValue::TextList(texts) => texts.iter().map(AsRef::as_ref).take(AT_MOST).collect(),
        _ => Vec::new(),
    };
    found.into_iter().filter_map(address).collect()
}

/// An address, and nothing that only looks a little like one.
fn address(text: &str) -> Option<String> {
    let text = text.trim().trim_start_matches('<').trim_end_matches('>').trim();
    let (local, domain) = text.rsplit_once('@')?;
    let fit = !local.is_empty()
        && !domain.is_empty()
        && text.len() <= 320
        && !text.contains(|c: char| c.is_control() || c.is_whitespace() || c == '<' || c == '>' || c == ',');
    fit.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: &[RecipientField] =
        &[RecipientField::DeliveredTo, RecipientField::XOriginalTo, RecipientField::To];

    fn recipients(header: &str, order: &[RecipientField]) -> String {
        let header = header.replace('\n', "\r\n") + "\r\n";
        Envelope::read(header.as_bytes(), order)
            .recipients(|to| to.to_ascii_lowercase().ends_with("@fax.example"))
            .join(" ")
    }

    #[test]
    fn the_first_field_with_an_address_that_is_faxed_counts() {
        let to_first: &[RecipientField] = &[RecipientField::To, RecipientField::DeliveredTo];
        let cases: &[(&str, &[RecipientField], &str)] = &[
            (
                "To: A <a@fax.example>, b@fax.example\nCc: c@fax.example, d@other.example\n",
                ALL,
                "a@fax.example b@fax.example c@fax.example",
            ),
            ("Delivered-To: a@fax.example\nTo: a@fax.example, b@fax.example\n", ALL, "a@fax.example"),
            (
                "Delivered-To: box@mail.example\nX-Original-To: a@fax.example\nTo: x@fax.example\n",
                ALL,
                "a@fax.example",
            ),
            ("Delivered-To: box@mail.example\nTo: x@fax.example\n", ALL, "x@fax.example"),
            ("Delivered-To: b@fax.example\nDelivered-To: a@fax.example\n", ALL, "b@fax.example"),
            ("delivered-to: <a@fax.example>\n", ALL, "a@fax.example"),
            ("Delivered-To: a@fax.example\nTo: x@fax.example\n", to_first, "x@fax.example"),
            ("To: a@fax.example, A@FAX.EXAMPLE\n", ALL, "a@fax.example"),
            ("To: Faxes: a@fax.example, b@fax.example;\n", ALL, "a@fax.example b@fax.example"),
            ("To: undisclosed-recipients:;\n", ALL, ""),
            ("To: \"a@fax.example\" <x@other.example>\n", ALL, ""),
            ("Bcc: a@fax.example\n", ALL, ""),
            ("Delivered-To: a@fax.example b@fax.example\n", ALL, ""),
            ("Subject: x\n", ALL, ""),
        ];
        for (header, order, expected) in cases {
            assert_eq!(recipients(header, order), *expected, "{header}");
        }
    }

    #[test]
    fn senders() {
        let from = |header: &str| Envelope::read(format!("{header}\r\n\r\n").as_bytes(), ALL).from;
        assert_eq!(from("From: Jane <jane@clinic.example>").as_deref(), Some("jane@clinic.example"));
        assert_eq!(from("From: a@clinic.example, b@clinic.example"), None);
        assert_eq!(from("From: a@clinic.example\r\nFrom: b@clinic.example"), None);
        assert_eq!(from("Subject: x"), None);
    }

    #[test]
    fn headers_end_at_the_first_empty_line() {
        for (mail, header) in [
            ("A: b\r\n\r\nbody\r\n\r\n", "A: b\r\n\r\n"),
            ("A: b\nC: d\n\nbody", "A: b\nC: d\n\n"),
            ("A: b\r\n", "A: b\r\n"),
            ("\r\nbody", ""),
            ("", ""),
        ] {
            assert_eq!(header_of(mail.as_bytes()), header.as_bytes(), "{mail:?}");
        }
    }
}
