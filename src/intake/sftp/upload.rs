//! One file on its way in, from open to close: bytes go straight into the sealed spool.
//!
//! Clients keep many writes in flight, and some (rclone among them) let a few overtake each other. So a small window of
//! early chunks is kept until the bytes before them are there. Anything else that is not "the next byte" is refused:
//! writing over what came before, or leaving a gap, would make a document that nobody meant to send.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::shares::{Early, Room};
use crate::intake::{Draft, Refusal};

/// Early chunks of one upload, however small they are.
const EARLY_CHUNKS: usize = 256;
/// Bytes of one upload in early chunks. rclone has 64 writes of 32 KiB in flight.
const EARLY_BYTES: usize = 4 << 20;
/// Slower than so many bytes a second, an upload only holds a place.
const SLOWEST: u64 = 1024;

/// How a client opened a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Mode {
    /// Every write goes behind what is there, wherever it says (SSH_FXF_APPEND).
    pub(super) append: bool,
    /// A file of that name is there, and was not to be emptied: where nothing is written, nothing happens.
    pub(super) over_another: bool,
}

/// A file being written.
pub(super) struct Upload {
    /// Its name in `in/`.
    pub(super) name: String,
    mode: Mode,
    opened: Instant,
    /// `None` once a fault ended the upload, so that its part in the spool goes at once and not at the close.
    draft: Option<Draft>,
    early: BTreeMap<u64, Bytes>,
    early_bytes: usize,
    share: Arc<Early>,
    room: Room,
    /// Why this upload can no longer become whole; told again at every write and at the close.
    fault: Option<String>,
    /// Bytes that came in order.
    written: u64,
}

/// What an upload came to.
pub(super) enum Whole {
    /// A file, not yet accepted, and the room that it takes.
    File(Box<Draft>, Room),
    /// Nothing was written over what was there.
    Untouched,
    /// None: a sentence for the client.
    Not(String),
}

impl Upload {
    pub(super) fn new(
        name: String,
        mode: Mode,
        draft: Draft,
        (share, room): (Arc<Early>, Room),
        opened: Instant,
    ) -> Self {
        Upload {
            name,
            mode,
            opened,
            draft: Some(draft),
            early: BTreeMap::new(),
            early_bytes: 0,
            share,
            room,
            fault: None,
            written: 0,
        }
    }

    /// Bytes in the spool so far, or that were there when a fault ended it.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Takes one SSH_FXP_WRITE.
    ///
    /// # Errors
    /// A sentence for the client; the upload is over then, and its close says the same.
    pub(super) async fn write(&mut self, offset: u64, data: Bytes) -> Result<(), String> {
        if let Some(fault) = &self.fault {
            return Err(fault.clone());
        }
        let written = self.place(offset, data).await;
        if let Err(fault) = &written {
            self.end(fault.clone());
        }
        written
    }

    /// Ends an upload that has been slower than [`SLOWEST`] for longer than `patience`.
    pub(super) fn end_if_slow(&mut self, now: Instant, patience: Duration) {
        let open_for = now.saturating_duration_since(self.opened);
        if self.fault.is_none() && open_for > patience && self.written / SLOWEST < open_for.as_secs() {
            self.end("This upload was too slow and was ended. Upload the whole file again.".into());
        }
    }

    /// What has come of it.
    pub(super) fn finish(mut self) -> Whole {
        match (self.fault.take(), self.draft.take()) {
            (None, Some(_)) if self.mode.over_another && self.written == 0 && self.early.is_empty() => {
                Whole::Untouched
            }
            (None, Some(draft)) if self.early.is_empty() => {
                Whole::File(Box::new(draft), std::mem::take(&mut self.room))
            }
            (Some(fault), _) => Whole::Not(fault),
            _ => {
                Whole::Not("This upload has a gap, so it does not count. Upload the whole file again.".into())
            }
        }
    }

    fn end(&mut self, fault: String) {
        self.give_back();
        self.draft = None;
        self.room = Room::default();
        self.fault = Some(fault);
    }

    fn give_back(&mut self) {
        self.share.give(std::mem::take(&mut self.early_bytes));
        self.early.clear();
    }

    async fn place(&mut self, offset: u64, data: Bytes) -> Result<(), String> {
        if data.is_empty() {
            return Ok(());
        }
        let offset = if self.mode.append { offset.max(self.written) } else { offset };
        if offset < self.written {
            return Err("Resuming an upload or changing bytes already sent is not possible here. \
                        Upload the whole file again."
                .into());
        }
        if offset > self.written {
            return self.keep_early(offset, &data);
        }
        self.append(&data).await?;
        while let Some(next) = self.early.remove(&self.written) {
            self.early_bytes = self.early_bytes.saturating_sub(next.len());
            self.share.give(next.len());
            self.append(&next).await?;
        }
        Ok(())
    }

    fn keep_early(&mut self, offset: u64, data: &Bytes) -> Result<(), String> {
        let too_far = "The parts of this file came too far out of order. Upload the whole file again, \
                       from its first byte to its last.";
        let most = self.early_bytes.saturating_add(data.len());
        if self.early.len() >= EARLY_CHUNKS || most > EARLY_BYTES || self.early.contains_key(&offset) {
            return Err(too_far.into());
        }
        if !self.share.take(data.len()) {
            return Err(too_far.into());
        }
        self.early_bytes = most;
        // A copy, because the slice would keep the whole packet buffer behind it alive.
        self.early.insert(offset, Bytes::copy_from_slice(data));
        Ok(())
    }

    async fn append(&mut self, data: &[u8]) -> Result<(), String> {
        let Some(draft) = &mut self.draft else { return Err("This upload is over.".into()) };
        if !self.room.grow(data.len() as u64) {
            return Err(
                "Too much waits here unfinished or under temporary names. Rename or remove some first."
                    .into(),
            );
        }
        draft.write(data).await.map_err(sentence)?;
        self.written = draft.written();
        Ok(())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.give_back();
    }
}

/// The peer's part of a refusal; the operator's part is logged here, once.
pub(super) fn sentence(refusal: Refusal) -> String {
    if let Some(cause) = &refusal.cause {
        tracing::warn!(sftp.cause = %cause, "an SFTP request was refused: {cause}");
    }
    refusal.sentence
}
