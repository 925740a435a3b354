//! What stands in front of a Job's documents, drawn: its cover, and the text of its mail where that is faxed as pages.

use std::sync::Arc;

use super::plan::PlannedJob;
use crate::cover::{self, Fonts, Sheet};
use crate::job::Hold;

/// The PDFs in front, and the cover's sheet with the number of all pages on it.
#[derive(Debug, Clone, Default)]
pub struct Front {
    /// The cover, unless it is left out.
    pub cover: Option<Vec<u8>>,
    /// The text as pages.
    pub body: Option<Vec<u8>>,
    /// Pages of the whole fax: what the cover says, and what the packet must come to.
    pub pages: Option<u32>,
    /// What was cut on the cover, and what neither it nor the text as pages can show.
    pub warnings: Vec<String>,
}

impl Front {
    /// Draws what `job` needs, off the async threads.
    ///
    /// # Errors
    /// Why it is held, with the sentence for its sender.
    pub async fn of(job: &PlannedJob, fonts: &Arc<Fonts>) -> Result<Front, (Hold, String)> {
        Front::draw(job.sheet.clone(), job.cover, job.body.clone(), fonts).await
    }

    /// Draws `sheet`, whose pages count the documents and the cover, and `body`.
    ///
    /// # Errors
    /// As [`Front::of`].
    pub async fn draw(
        mut sheet: Sheet,
        cover: bool,
        body: Option<String>,
        fonts: &Arc<Fonts>,
    ) -> Result<Front, (Hold, String)> {
        let fonts = Arc::clone(fonts);
        let drawn = tokio::task::spawn_blocking(move || {
            let body = body.map(|text| cover::body::draw(&text, sheet.paper, &fonts)).transpose();
            let body = body.map_err(|error| (Hold::Part, error.to_string()))?;
            if let (Some(body), Some(pages)) = (&body, sheet.pages) {
                sheet.pages = Some(pages.saturating_add(body.pages));
            }
            let mut front = Front { pages: sheet.pages, ..Front::default() };
            if cover {
                let drawn =
                    cover::page::draw(&sheet, &fonts).map_err(|error| (Hold::Cover, error.to_string()))?;
                (front.cover, front.warnings) = (Some(drawn.pdf), drawn.warnings);
            }
            if let Some(body) = body {
                front.body = Some(body.pdf);
                front.warnings.extend(body.warnings);
            }
            Ok(front)
        });
        // A panic in the layout of one sheet is this Job's trouble, not the daemon's.
        drawn.await.unwrap_or_else(|_| {
            Err((Hold::Cover, "The cover sheet could not be drawn; shorten or simplify its text.".to_owned()))
        })
    }

    /// The same for the bench.
    #[must_use]
    pub fn pdfs(&self) -> crate::packet::Front<'_> {
        crate::packet::Front { cover: self.cover.as_deref(), body: self.body.as_deref() }
    }
}
