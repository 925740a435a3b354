//! Fetching documents that did not come with their order, as providers do that take a URL in place of the bytes: once, with
//! no redirect, and only where the length is announced and kept.

use axum::http::StatusCode;
use axum::http::header::{CONTENT_LENGTH, RANGE};

use super::book::Fax;
use super::office::Office;
use crate::delivery::simulator::wire::CallResult;

/// Largest document that is fetched; Telnyx' limit.
const FETCHED_AT_MOST: u64 = 50_000_000;

impl Office {
    /// Fetches the document of `fax`, if it is still to be fetched.
    ///
    /// # Errors
    /// How the fax ends without it.
    pub(super) async fn fetch(&self, fax: &Fax) -> Result<(), CallResult> {
        let Some(url) = fax.face.media(fax) else { return Ok(()) };
        let failed = |code: &str, text: &str| CallResult {
            code: code.to_owned(),
            text: text.to_owned(),
            pages_sent: 0,
            seconds: 0,
            remote_id: None,
        };
        let unreachable = |text: &str| failed("document.unreachable", text);
        if self.options.quirks.probes && !self.probe(url).await {
            return Err(unreachable("a look at the document came to nothing"));
        }
        let request = self.reporter.client.get(url).send().await;
        let mut response = request.map_err(|_| unreachable("no answer to the request for the document"))?;
        if !response.status().is_success() {
            return Err(unreachable("the document's URL did not answer 2xx"));
        }
        let length = response.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
        let length: u64 =
            length.and_then(|value| value.parse().ok()).ok_or_else(|| unreachable("no Content-Length"))?;
        if length > FETCHED_AT_MOST {
            return Err(failed("document.too_large", "the document is too large"));
        }
        let disk = |_| unreachable("the record folder fails");
        let mut document = self.records.receive(&fax.id).await.map_err(disk)?;
        while let Some(chunk) =
            response.chunk().await.map_err(|_| unreachable("the document broke off on its way"))?
        {
            document.write(&chunk).await.map_err(disk)?;
        }
        document.finish().await.map_err(disk)?;
        self.book.fetched(&fax.id, document.bytes, document.sha256.clone());
        document.keep();
        Ok(())
    }

    /// A look at what lies there: its first bytes, then its head. Whether it is a PDF of a known length.
    async fn probe(&self, url: &str) -> bool {
        let client = &self.reporter.client;
        let Ok(first) = client.get(url).header(RANGE, "bytes=0-3").send().await else { return false };
        let is_part = first.status() == StatusCode::PARTIAL_CONTENT;
        let is_pdf = first.bytes().await.is_ok_and(|bytes| bytes.as_ref() == b"%PDF");
        let head = client.head(url).send().await;
        is_part && is_pdf && url.ends_with(".pdf") && head.is_ok_and(|head| head.status().is_success())
    }
}
