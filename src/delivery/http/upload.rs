//! Documents on their way out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use reqwest::multipart;

use super::{unknown, whole_story};
use crate::delivery::{Document, SubmitError};

/// A document on its way out.
pub(in crate::delivery) struct Upload {
    broke: Arc<AtomicBool>,
}

impl Upload {
    /// The document as the body of a request, which breaks off unless it has exactly `bytes` bytes.
    pub(in crate::delivery) fn body(document: Document, bytes: u64) -> (Upload, reqwest::Body) {
        let broke = Arc::new(AtomicBool::new(false));
        let body = reqwest::Body::wrap_stream(exactly(document, bytes, Arc::clone(&broke)));
        (Upload { broke }, body)
    }

    /// The document as a part `fax.pdf` of a form.
    pub(in crate::delivery) fn part(
        document: Document,
        bytes: u64,
    ) -> Result<(Upload, multipart::Part), SubmitError> {
        let (upload, body) = Upload::body(document, bytes);
        let part = multipart::Part::stream_with_length(body, bytes)
            .file_name("fax.pdf")
            .mime_str("application/pdf")
            .map_err(|e| unknown(whole_story(&e)))?;
        Ok((upload, part))
    }

    /// An upload whose body an adapter makes itself from [`exactly`], with this `broke`.
    pub(in crate::delivery) fn watching(broke: Arc<AtomicBool>) -> Upload {
        Upload { broke }
    }

    /// Whether the document could not be read to its end.
    pub(super) fn broke(&self) -> bool {
        self.broke.load(Ordering::Acquire)
    }
}

/// The document, which fails unless it has exactly `bytes` bytes; `broke` tells afterwards that it did fail.
///
/// Its last piece is held back until the document has come to its end: a body whose length is announced is whole for the server
/// with its last byte, and what goes wrong after that would come too late.
pub(in crate::delivery) fn exactly(
    document: Document,
    bytes: u64,
    broke: Arc<AtomicBool>,
) -> impl futures_util::Stream<Item = Result<Bytes, std::io::Error>> + Send + 'static {
    let document = document.try_filter(|chunk| std::future::ready(!chunk.is_empty())).boxed();
    futures_util::stream::try_unfold(Some((document, bytes)), move |rest| {
        let broke = Arc::clone(&broke);
        async move {
            let Some((mut document, left)) = rest else { return Ok(None) };
            let longer = || std::io::Error::other("the document is longer than announced");
            let fault = match document.next().await {
                Some(Ok(chunk)) => match left.checked_sub(chunk.len() as u64) {
                    None => longer(),
                    Some(0) => match document.next().await {
                        None => return Ok(Some((chunk, None))),
                        Some(Ok(_)) => longer(),
                        Some(Err(fault)) => fault,
                    },
                    Some(left) => return Ok(Some((chunk, Some((document, left))))),
                },
                None if left == 0 => return Ok(None),
                None => std::io::ErrorKind::UnexpectedEof.into(),
                Some(Err(fault)) => fault,
            };
            broke.store(true, Ordering::Release);
            Err(fault)
        }
    })
}
