//! Bodies of requests to SRFax: JSON in which the password stands, and of a submit also the document, as base64.
//!
//! The document is encoded as it comes, a chunk at a time, and the length is known beforehand. What is made here with the
//! password in it is wiped when it has been sent; what the HTTP library copies of it is out of reach.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use zeroize::Zeroizing;

use crate::delivery::Document;
use crate::delivery::http::{Upload, exactly};

/// The account's number: by the vendor's description a number, not a text.
const ACCOUNT: &str = "access_id";

/// Whether JSON can hold it as a whole number.
fn is_whole(text: &str) -> bool {
    (1..=18).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_digit())
        && (text == "0" || !text.starts_with('0'))
}

/// A JSON object of these texts, but for the account's number.
pub(super) fn object(fields: &[(&str, &str)]) -> Bytes {
    let mut text = begun(fields);
    text.push(b'}');
    Bytes::from_owner(text)
}

/// The document on its way, the body that carries it, and the body's length.
pub(super) fn with_document(
    fields: &[(&str, &str)],
    document: Document,
    bytes: u64,
) -> (Upload, reqwest::Body, u64) {
    let mut before = begun(fields);
    before.extend_from_slice(br#","sFileName_1":"fax.pdf","sFileContent_1":""#);
    let after = Bytes::from_static(br#""}"#);
    let length = before.len() as u64 + bytes.div_ceil(3).saturating_mul(4) + after.len() as u64;
    let broke = Arc::new(AtomicBool::new(false));
    let pieces = stream::iter([Ok(Bytes::from_owner(before))])
        .chain(base64(exactly(document, bytes, Arc::clone(&broke))))
        .chain(stream::iter([Ok(after)]));
    (Upload::watching(broke), reqwest::Body::wrap_stream(pieces), length)
}

/// The object without its end.
fn begun(fields: &[(&str, &str)]) -> Zeroizing<Vec<u8>> {
    // Room for all of it, however it is escaped: a vector that grows leaves copies behind.
    let room = fields.iter().map(|(key, value)| 6 * (key.len() + value.len() + 1)).sum::<usize>() + 100;
    let mut text = Zeroizing::new(Vec::with_capacity(room));
    for (nth, (key, value)) in fields.iter().enumerate() {
        text.push(if nth == 0 { b'{' } else { b',' });
        // Text is always JSON, and a vector takes all of it.
        let _ = serde_json::to_writer(&mut *text, key);
        text.push(b':');
        if *key == ACCOUNT && is_whole(value) {
            text.extend_from_slice(value.as_bytes());
        } else {
            let _ = serde_json::to_writer(&mut *text, value);
        }
        text.push(b' ');
    }
    text
}

/// `document` in base64 with padding at the very end alone.
fn base64(
    document: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    // Beside the document what is left of the last chunk: three bytes make four characters.
    let start = Some((document.boxed(), Vec::new()));
    stream::try_unfold(start, async |state| {
        let Some((mut document, mut bytes)) = state else { return Ok(None) };
        match document.next().await {
            Some(chunk) => {
                bytes.extend_from_slice(&chunk?);
                let left = bytes.split_off(bytes.len() - bytes.len() % 3);
                Ok(Some((Bytes::from(STANDARD.encode(&bytes)), Some((document, left)))))
            }
            None if bytes.is_empty() => Ok(None),
            None => Ok(Some((Bytes::from(STANDARD.encode(&bytes)), None))),
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(pieces: impl Stream<Item = io::Result<Bytes>>) -> io::Result<Vec<u8>> {
        let collected = futures_util::FutureExt::now_or_never(pieces.collect::<Vec<_>>()).unwrap();
        collected.into_iter().collect::<io::Result<Vec<Bytes>>>().map(|pieces| pieces.concat())
    }

    proptest! {
        /// However the document is cut.
        #[test]
        fn base64_in_pieces_is_base64(pieces: Vec<Vec<u8>>) {
            let whole = pieces.concat();
            let coded = read(base64(stream::iter(pieces).map(|piece| Ok(Bytes::from(piece)))));
            prop_assert_eq!(coded.unwrap(), STANDARD.encode(whole).into_bytes());
        }

        /// Nothing that stands in a field gets out of it.
        #[test]
        fn fields_are_json(password: String, header: String) {
            let made = object(&[("access_pwd", &password), ("sFaxFromHeader", &header)]);
            let read: serde_json::Value = serde_json::from_slice(&made).unwrap();
            prop_assert_eq!(read, serde_json::json!({ "access_pwd": password, "sFaxFromHeader": header }));
        }
    }

    #[test]
    fn the_announced_length_is_that_of_the_body() {
        for bytes in 0..8usize {
            let document = stream::iter([Ok(Bytes::from(vec![7; bytes]))]).boxed();
            let (_, body, length) = with_document(&[("a", "b")], document, bytes as u64);
            let body = axum::body::to_bytes(axum::body::Body::new(body), usize::MAX);
            let whole = futures_util::FutureExt::now_or_never(body).unwrap().unwrap();
            assert_eq!(whole.len() as u64, length);
            let read: serde_json::Value = serde_json::from_slice(&whole).unwrap();
            assert_eq!(read["sFileContent_1"], STANDARD.encode(vec![7; bytes]));
            assert_eq!(read["a"], "b");
        }
    }
}
