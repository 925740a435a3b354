//! A mail's header, field by field, read so strictly that no other reader can see another field in it.
//!
//! Two programs that read a header differently are how a forged From gets past the one that checks and into the one that
//! acts. So whatever RFC 5322 does not allow (a line that is no field, a space within a name, a second From) is an error here,
//! where lenient readers guess.

/// Bytes of a header that are looked at; the SMTP listener takes no larger one either.
const MOST_BYTES: usize = 1024 * 1024;
/// Fields of a header: verifying a signature costs as many steps, times the names it lists.
const MOST_FIELDS: usize = 2000;
/// Fields that exist once in a mail (RFC 5322, section 3.6; RFC 2045, section 3) and that say who wrote it or what it is. A
/// signature covers the last of two; what reads the mail later may take the first.
const SINGLE: [&str; 8] = [
    "from",
    "sender",
    "subject",
    "date",
    "message-id",
    "mime-version",
    "content-type",
    "content-transfer-encoding",
];

/// A field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Field<'x> {
    /// Its name, as it was written.
    pub(super) name: &'x str,
    /// What stands behind the colon, folded as it came, with its last line end.
    pub(super) value: &'x [u8],
}

/// A header that can be read in one way only.
#[derive(Debug)]
pub(super) struct Header<'x> {
    fields: Vec<Field<'x>>,
}

/// Why a header is not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unreadable {
    /// Too many bytes or fields.
    #[error("has a header of more than {MOST_FIELDS} fields or 1 MiB")]
    TooLarge,
    /// A line that is no field.
    #[error("has a line in its header that is no header field")]
    NoField,
    /// Two of what must be one.
    #[error("has the header field {0} twice")]
    Twice(&'static str),
}

impl<'x> Header<'x> {
    /// Reads the header in front of `mail`, or all of it where nothing else is there.
    pub(super) fn read(mail: &'x [u8]) -> Result<Header<'x>, Unreadable> {
        let mut fields: Vec<Field<'x>> = Vec::new();
        let mut rest = mail.get(..length(mail)).unwrap_or_default();
        if rest.len() > MOST_BYTES {
            return Err(Unreadable::TooLarge);
        }
        while !rest.is_empty() {
            let (field, behind) = rest.split_at(end_of_field(rest));
            rest = behind;
            if matches!(field, b"\r\n" | b"\n") {
                break;
            }
            if fields.len() >= MOST_FIELDS {
                return Err(Unreadable::TooLarge);
            }
            fields.push(one(field)?);
        }
        let header = Header { fields };
        let twice = SINGLE.iter().find(|name| header.all(name).nth(1).is_some());
        twice.map_or(Ok(header), |name| Err(Unreadable::Twice(name)))
    }

    /// The fields of this name, topmost first.
    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &'x [u8]> {
        self.fields.iter().filter(move |field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
    }

    /// The names of all fields, as they were written.
    pub(super) fn names(&self) -> impl Iterator<Item = &'x str> {
        self.fields.iter().map(|field| field.name)
    }

    /// The field of this name that a mail has once.
    pub(super) fn one(&self, name: &str) -> Option<&'x [u8]> {
        self.all(name).next()
    }
}

/// Bytes of the header in front of `mail`, with the empty line that ends it.
pub(super) fn length(mail: &[u8]) -> usize {
    if mail.starts_with(b"\r\n") {
        return 2;
    }
    memchr::memmem::find(mail, b"\r\n\r\n").map_or(mail.len(), |at| at.saturating_add(4))
}

/// Where the first field of `rest` ends: at a line end that no white space follows.
fn end_of_field(rest: &[u8]) -> usize {
    let ends = memchr::memchr_iter(b'\n', rest).map(|at| at.saturating_add(1));
    for end in ends {
        if !matches!(rest.get(end), Some(b' ' | b'\t')) {
            return end;
        }
    }
    rest.len()
}

fn one(field: &[u8]) -> Result<Field<'_>, Unreadable> {
    let colon = memchr::memchr(b':', field).ok_or(Unreadable::NoField)?;
    let (name, value) = (field.get(..colon), field.get(colon.saturating_add(1)..));
    let name = std::str::from_utf8(name.unwrap_or_default()).map_err(|_| Unreadable::NoField)?;
    // RFC 5322, section 4.5.8 once allowed space before the colon; some programs still write it.
    let name = name.trim_end_matches([' ', '\t']);
    if name.is_empty() || !name.bytes().all(|byte| (b'!'..=b'~').contains(&byte)) {
        return Err(Unreadable::NoField);
    }
    Ok(Field { name, value: value.unwrap_or_default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(mail: &str) -> Result<Vec<String>, Unreadable> {
        let header = Header::read(mail.as_bytes())?;
        Ok(header.fields.iter().map(|field| field.name.to_owned()).collect())
    }

    #[test]
    fn a_header_is_read_in_one_way_or_not_at_all() {
        for (mail, expected) in [
            ("A: 1\r\nB:2\r\n 3\r\n\r\nC: 4\r\n", Ok(vec!["A", "B"])),
            ("A: 1", Ok(vec!["A"])),
            ("", Ok(vec![])),
            ("\r\nA: 1\r\n", Ok(vec![])),
            ("From : a@b.example\r\n\r\n", Ok(vec!["From"])),
            ("A: 1\r\n\r\nFrom: body\r\nFrom: body\r\n", Ok(vec!["A"])),
            ("no field\r\nA: 1\r\n\r\n", Err(Unreadable::NoField)),
            (" continues nothing\r\n\r\n", Err(Unreadable::NoField)),
            ("Fr om: a\r\n\r\n", Err(Unreadable::NoField)),
            ("From\r\n : a\r\n\r\n", Err(Unreadable::NoField)),
            (": a\r\n\r\n", Err(Unreadable::NoField)),
            ("Fr\u{f6}m: a\r\n\r\n", Err(Unreadable::NoField)),
            ("From: a\r\nFROM: b\r\n\r\n", Err(Unreadable::Twice("from"))),
            ("From: a\r\nFrom : b\r\n\r\n", Err(Unreadable::Twice("from"))),
            ("Subject: a\r\nX: y\r\nsubject: b\r\n\r\n", Err(Unreadable::Twice("subject"))),
            ("Content-Type: a\r\nContent-type: b\r\n\r\n", Err(Unreadable::Twice("content-type"))),
        ] {
            let expected = expected.map(|names| names.into_iter().map(str::to_owned).collect());
            assert_eq!(names(mail), expected, "{mail:?}");
        }
        assert_eq!(names(&"A: 1\r\n".repeat(MOST_FIELDS + 1)), Err(Unreadable::TooLarge));
        assert_eq!(names(&format!("A: {}\r\n\r\n", "x".repeat(MOST_BYTES))), Err(Unreadable::TooLarge));
    }
}
