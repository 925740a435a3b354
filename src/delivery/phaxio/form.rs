//! A `multipart/form-data` body (RFC 7578) that lies whole in memory, taken apart without copying it.
//!
//! For signatures that are made over the parts' bytes: every byte between two boundaries belongs to exactly one part,
//! and what is not exactly such a form is refused as a whole. Nothing is decoded, guessed or skipped.

use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use memchr::memmem;

/// Parts of one form, and bytes of the headers of one part. A form of more is not of a fax API.
const PARTS_AT_MOST: usize = 200;
const HEADERS_AT_MOST: usize = 4096;

/// One part.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::delivery) struct Part<'a> {
    pub(in crate::delivery) name: &'a str,
    /// Whether it has a filename.
    pub(in crate::delivery) is_file: bool,
    pub(in crate::delivery) value: &'a [u8],
}

/// The parts of `body`, in their order.
///
/// # Errors
/// What is not as it should be; nothing of the body is repeated.
pub(in crate::delivery) fn parts<'a>(
    headers: &HeaderMap,
    body: &'a [u8],
) -> Result<Vec<Part<'a>>, &'static str> {
    let boundary = boundary(headers).ok_or("it is no form")?;
    let between = format!("\r\n--{boundary}");
    let finder = memmem::Finder::new(&between);
    let mut rest = body
        .strip_prefix(b"--".as_slice())
        .and_then(|rest| rest.strip_prefix(boundary.as_bytes()))
        .ok_or("it does not begin with its boundary")?;
    let mut parts = Vec::new();
    loop {
        if let Some(end) = rest.strip_prefix(b"--".as_slice()) {
            return if matches!(end, b"" | b"\r\n") { Ok(parts) } else { Err("it goes on after its end") };
        }
        if parts.len() == PARTS_AT_MOST {
            return Err("it has too many parts");
        }
        let part = rest.strip_prefix(b"\r\n".as_slice()).ok_or("a boundary does not end its line")?;
        let length = finder.find(part).ok_or("it breaks off")?;
        let (part, after) = part.split_at_checked(length).ok_or("it breaks off")?;
        parts.push(read_part(part)?);
        rest = after.get(between.len()..).ok_or("it breaks off")?;
    }
}

/// The boundary that the headers name, with the characters of RFC 2046 that occur.
fn boundary(headers: &HeaderMap) -> Option<&str> {
    let kind = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let (kind, parameters) = kind.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let value = parameter(parameters, "boundary")?;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=?".contains(&byte);
    ((1..=70).contains(&value.len()) && value.bytes().all(allowed)).then_some(value)
}

fn read_part(part: &[u8]) -> Result<Part<'_>, &'static str> {
    let window = part.get(..part.len().min(HEADERS_AT_MOST)).unwrap_or_default();
    let length = memmem::find(window, b"\r\n\r\n").ok_or("a part has no headers")?;
    let (head, value) = (part.get(..length), part.get(length + 4..));
    let head = head.and_then(|head| std::str::from_utf8(head).ok()).ok_or("headers of a part are no text")?;
    let mut disposition = None;
    for line in head.split("\r\n") {
        let (name, text) = line.split_once(':').ok_or("a header of a part is none")?;
        if name.eq_ignore_ascii_case("content-disposition") && disposition.replace(text.trim()).is_some() {
            return Err("a part has two names");
        }
        let encoded = name.eq_ignore_ascii_case("content-transfer-encoding")
            && !["binary", "8bit", "7bit"].iter().any(|plain| text.trim().eq_ignore_ascii_case(plain));
        if encoded {
            return Err("a part is encoded");
        }
    }
    let disposition = disposition.ok_or("a part has no name")?;
    let parameters = disposition.strip_prefix("form-data;").ok_or("a part is no field of a form")?;
    Ok(Part {
        name: parameter(parameters, "name").ok_or("a part has no name")?,
        is_file: parameter(parameters, "filename").is_some() || parameter(parameters, "filename*").is_some(),
        value: value.unwrap_or_default(),
    })
}

/// The value of a parameter of a header: `; NAME=VALUE` or `; NAME="VALUE"`. Values with a backslash are not understood.
fn parameter<'a>(parameters: &'a str, wanted: &str) -> Option<&'a str> {
    let mut rest = parameters;
    while let Some((name, after)) = rest.split_once('=') {
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => {
                let (value, after) = quoted.split_once('"')?;
                (value, after)
            }
            None => {
                let end = after.find(';').unwrap_or(after.len());
                let (value, after) = after.split_at_checked(end)?;
                (value.trim_end(), after)
            }
        };
        if name.trim_matches([' ', ';', '\t']).eq_ignore_ascii_case(wanted) {
            return (!value.contains('\\')).then_some(value);
        }
        rest = after;
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn headers(kind: &str) -> HeaderMap {
        HeaderMap::from_iter([(CONTENT_TYPE, kind.parse().unwrap())])
    }

    fn read(body: &str) -> Result<Vec<(String, bool, String)>, &'static str> {
        let parts = parts(&headers("multipart/form-data; boundary=b"), body.as_bytes())?;
        Ok(parts
            .iter()
            .map(|part| (part.name.into(), part.is_file, String::from_utf8_lossy(part.value).into_owned()))
            .collect())
    }

    #[test]
    fn a_form_with_fields_and_a_file() {
        let body = "--b\r\nContent-Disposition: form-data; name=\"a[x]\"\r\n\r\none\r\n\
                    --b\r\nContent-Type: text/plain\r\ncontent-disposition: form-data; name=b; filename=\"c; name=d\"\r\n\r\n\
                    \r\n--x\r\ntwo\r\n\r\n--b--\r\n";
        let expected =
            vec![("a[x]".into(), false, "one".into()), ("b".into(), true, "\r\n--x\r\ntwo\r\n".into())];
        assert_eq!(read(body), Ok(expected));
        assert_eq!(read("--b--"), Ok(vec![]));
    }

    #[test]
    fn what_is_not_exactly_a_form_is_refused() {
        let part = "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\none\r\n";
        let whole = format!("{part}--b--\r\n");
        assert_eq!(read(&whole).unwrap().len(), 1);
        for body in [
            String::new(),
            "--".into(),
            "--b".into(),
            "--b\r\n".into(),
            part.into(),
            format!("x{whole}"),
            format!("{whole}x"),
            format!("{whole}{whole}"),
            whole.replace("--b--", "--bx--"),
            whole.replace("\r\n\r\n", "\r\n"),
            whole.replace("Content-Disposition", "Content-Type"),
            whole.replace("form-data", "attachment"),
            whole.replace("name=\"a\"", "named=\"a\""),
            whole.replace("name=\"a\"", "name=\"a"),
            whole.replace("name=\"a\"", "name=\"a\\\"b\""),
            whole.replace("one", "one\r\n--bother"),
            whole.replace("\r\n\r\none", "\r\nContent-Transfer-Encoding: base64\r\n\r\none"),
            whole.replace("\r\n\r\none", "\r\nContent-Disposition: form-data; name=\"b\"\r\n\r\none"),
            whole.replace("name=\"a\"", &format!("name=\"{}\"", "a".repeat(HEADERS_AT_MOST))),
            format!("{}--b--", part.repeat(PARTS_AT_MOST + 1)),
        ] {
            assert!(read(&body).is_err(), "{body}");
        }
        for kind in [
            "application/json",
            "multipart/form-data",
            "multipart/form-data; boundary=",
            "text/plain; boundary=b",
        ] {
            assert!(parts(&headers(kind), whole.as_bytes()).is_err(), "{kind}");
        }
        for kind in
            ["Multipart/Form-Data; charset=utf-8; Boundary=\"b\"", "multipart/form-data;boundary=b;x=y"]
        {
            assert!(parts(&headers(kind), whole.as_bytes()).is_ok(), "{kind}");
        }
        assert!(parts(&HeaderMap::new(), whole.as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(body: Vec<u8>, text in "(--b|\r\n|--|Content-Disposition: form-data; |name=|\"|=|;|a){0,30}") {
            let headers = headers("multipart/form-data; boundary=b");
            let _ = parts(&headers, &body);
            let _ = parts(&headers, text.as_bytes());
        }

        #[test]
        fn a_value_comes_out_as_it_went_in(value in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assume!(memmem::find(&value, b"\r\n--b").is_none());
            let mut body = b"--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n".to_vec();
            body.extend_from_slice(&value);
            body.extend_from_slice(b"\r\n--b--");
            let parts = parts(&headers("multipart/form-data; boundary=b"), &body);
            prop_assert_eq!(parts, Ok(vec![Part { name: "a", is_file: false, value: &value }]));
        }
    }
}
