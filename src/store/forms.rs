//! The forms of a packet: the PDF that its Job names, and others made from the same pages, each with a digest of its own.
//!
//! A further form belongs to the packet and goes with it: when the packet is replaced, and when the Submission's key is destroyed.

use super::sql;
use super::submissions::{Document, document_row};
use super::{Store, StoreError};
use crate::job::{JobId, word_type};

word_type!(
    /// What the pages of a packet are written as.
    Form {
        /// The PDF that was written anew.
        Pdf = "pdf",
        /// Pages of black and white dots, as a fax machine takes them.
        Bilevel = "bilevel",
    }
);

impl Store {
    /// Records a further form of the packet of `job`, whose file is on disk. `false`: the Job has no packet, or its key is gone.
    ///
    /// # Errors
    /// Where the database fails, or the name is taken.
    pub async fn record_form(&self, job: JobId, form: Form, document: Document) -> Result<bool, StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                let packet: Option<(String, String)> = sql::query(
                    "SELECT job.submission_id, job.document FROM job JOIN submission ON submission.id = job.submission_id \
                     WHERE job.id = $1 AND job.document IS NOT NULL AND submission.wrapped_key IS NOT NULL",
                )
                .bind(String::from(job))
                .fetch_optional(&mut *tx)
                .await?;
                let Some((submission, packet)) = packet else { return Ok(false) };
                let submission = submission.parse().map_err(|e| StoreError::unreadable("submission.id", e))?;
                document_row(submission, Some(job), 1, &document).execute(&mut *tx).await?;
                sql::query("UPDATE document SET form = $1, form_of = $2 WHERE name = $3")
                    .bind(form.as_str())
                    .bind(packet)
                    .bind(&document.name)
                    .execute(&mut *tx)
                    .await?;
                Ok(true)
            })
        })
        .await
    }

    /// The forms that the packet of `job` has; none where it has no packet.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn forms(&self, job: JobId) -> Result<Vec<(Form, Document)>, StoreError> {
        let rows: Vec<(String, String, i64, String)> = sql::query(
            "SELECT COALESCE(document.form, 'pdf'), document.name, document.bytes, document.sha256 \
             FROM job JOIN document ON document.name = job.document OR document.form_of = job.document \
             WHERE job.id = $1 AND document.submission_id = job.submission_id ORDER BY document.form IS NOT NULL, document.name",
        )
        .bind(String::from(job))
        .fetch_all(self.readers())
        .await?;
        let form = |(form, name, bytes, sha256): (String, _, i64, _)| {
            let form = form.parse().map_err(|e| StoreError::unreadable("document.form", e))?;
            Ok((form, Document { name, bytes: bytes.unsigned_abs(), sha256 }))
        };
        rows.into_iter().map(form).collect()
    }
}
