//! One file on its way in, from open to close: bytes go straight into the sealed spool.
//!
//! Clients keep many writes in flight, and some (rclone among them) let a few overtake each other. So a small window of
//! early chunks is kept until the bytes before them are there. Anything else that is not "the next byte" is refused:
//! writing over what came before, or leaving a gap, would make a document that nobody meant to send.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::intake::{Draft, Refusal};

/// Bytes that one session may hold in early chunks, over all its uploads. rclone has 64 writes of 32 KiB in flight.
pub(super) const EARLY_BYTES: usize = 4 << 20;

/// Early chunks of one upload, however small they are.
const EARLY_CHUNKS: usize = 256;

/// A file being written.
pub(super) struct Upload {
    /// Its name in `in/`.
    pub(super) name: String,
    /// `None` once a fault ended the upload, so that its part in the spool goes at once and not at the close.
    draft: Option<Draft>,
    early: BTreeMap<u64, Bytes>,
    /// Why this upload can no longer become whole; told again at every write and at the close.
    fault: Option<String>,
}

impl Upload {
    pub(super) fn new(name: String, draft: Draft) -> Self {
        Upload { name, draft: Some(draft), early: BTreeMap::new(), fault: None }
    }

    /// Bytes in the spool so far.
    pub(super) fn written(&self) -> u64 {
        self.draft.as_ref().map_or(0, Draft::written)
    }

    /// Bytes held in early chunks, to be given back to the session's budget when this upload ends.
    pub(super) fn held(&self) -> usize {
        self.early.values().map(Bytes::len).sum()
    }

    /// Takes one SSH_FXP_WRITE. `budget` is what the session may still hold in early chunks.
    ///
    /// # Errors
    /// A sentence for the client; the upload is over then, and its close says the same.
    pub(super) async fn write(&mut self, offset: u64, data: Bytes, budget: &mut usize) -> Result<(), String> {
        if let Some(fault) = &self.fault {
            return Err(fault.clone());
        }
        let written = self.place(offset, data, budget).await;
        if let Err(fault) = &written {
            *budget += self.held();
            self.early.clear();
            self.draft = None;
            self.fault = Some(fault.clone());
        }
        written
    }

    /// The whole file, not yet accepted.
    ///
    /// # Errors
    /// A sentence for the client: an earlier fault, or bytes that are missing.
    pub(super) fn finish(self) -> Result<Draft, String> {
        match self {
            Upload { fault: Some(fault), .. } => Err(fault),
            Upload { early, draft: Some(draft), .. } if early.is_empty() => Ok(draft),
            Upload { .. } => {
                Err("This upload has a gap, so it does not count. Upload the whole file again.".into())
            }
        }
    }

    async fn place(&mut self, offset: u64, data: Bytes, budget: &mut usize) -> Result<(), String> {
        let Some(draft) = &mut self.draft else {
            return Err("This upload is over.".into());
        };
        if data.is_empty() {
            return Ok(());
        }
        if offset < draft.written() {
            return Err("Resuming an upload or changing bytes already sent is not possible here. \
                        Upload the whole file again."
                .into());
        }
        if offset > draft.written() {
            if self.early.len() >= EARLY_CHUNKS || data.len() > *budget || self.early.contains_key(&offset) {
                return Err(
                    "The parts of this file came too far out of order. Upload the whole file again, \
                            from its first byte to its last."
                        .into(),
                );
            }
            *budget -= data.len();
            // A copy, because the slice would keep the whole packet buffer behind it alive.
            self.early.insert(offset, Bytes::copy_from_slice(&data));
            return Ok(());
        }
        draft.write(&data).await.map_err(sentence)?;
        while let Some(next) = self.early.remove(&draft.written()) {
            *budget += next.len();
            draft.write(&next).await.map_err(sentence)?;
        }
        Ok(())
    }
}

/// The peer's part of a refusal; the operator's part is logged here, once.
pub(super) fn sentence(refusal: Refusal) -> String {
    if let Some(cause) = &refusal.cause {
        tracing::warn!(sftp.cause = %cause, "an SFTP request was refused: {cause}");
    }
    refusal.sentence
}
