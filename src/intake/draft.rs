//! A document on its way in.

use std::sync::Mutex;

use tokio::time::Instant;

use super::header::HeaderWatch;
use super::proof::copy::{Budget, MailCopy, Peer};
use super::tail::Tail;
use super::{Intake, Refusal};
use crate::spool::{Reservation, Writer};
use crate::text::Bytes;
use crate::vault::{SealKey, WrappedKey};

/// A document on its way into the sealed spool. Dropped before [`Intake::accept`], it leaves nothing behind.
#[derive(Debug)]
pub struct Draft {
    pub(super) writer: Writer,
    /// On the disk, for what is written next.
    room: Reservation,
    pub(super) key: SealKey,
    pub(super) wrapped: WrappedKey,
    limit: u64,
    memory: Budget,
    pub(super) tail: Tail,
    /// What it holds so far, where only that can prove who sent it.
    copy: Mutex<Option<Box<MailCopy>>>,
    /// Earlier versions may have recorded such a document.
    has_former: bool,
}

impl Draft {
    /// Appends `bytes`.
    ///
    /// # Errors
    /// Past the configured size, where there is no memory for a copy or no room on the disk now, or where the disk fails.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        if self.written().saturating_add(bytes.len() as u64) > self.limit {
            return Err(too_large(self.limit));
        }
        if let Ok(Some(copy)) = self.copy.get_mut() {
            copy.append(bytes)?;
        }
        self.tail.read(bytes);
        self.room.spend(bytes.len() as u64)?;
        Ok(self.writer.write(bytes).await?)
    }

    /// Bytes so far.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.writer.written()
    }

    /// What looks at the header of the mail that is written; `international` as in [`HeaderWatch::new`].
    pub(super) fn header_watch(&self, international: bool) -> HeaderWatch {
        let watch = HeaderWatch::new(international);
        if self.has_former { watch.with_former() } else { watch }
    }

    /// Keeps a copy of what is written from now on in memory, for [`Intake::prove`]. It is `peer` who uses that memory.
    pub(super) fn keep_copy(&mut self, peer: Peer) {
        self.copy = Mutex::new(Some(Box::new(self.memory.copy(peer))));
    }

    /// The copy, once.
    pub(super) fn take_copy(&self) -> Option<Box<MailCopy>> {
        self.copy.lock().ok()?.take()
    }
}

/// Room that a draft has from its first byte on.
const SMALLEST: u64 = 64 << 10;

pub(super) fn too_large(limit: u64) -> Refusal {
    Refusal::permanent("5.3.4", format!("This is larger than the {} that are taken here.", Bytes(limit)))
}

impl Intake {
    /// Opens a draft.
    ///
    /// # Errors
    /// Where the disk is nearly full or fails.
    pub async fn begin(&self) -> Result<Draft, Refusal> {
        self.arrivals.begin(Instant::now());
        let limits = &self.inner.config.limits;
        let room = self.inner.spool.promise(SMALLEST, limits.disk_reserve.get())?;
        let (key, wrapped) = self.inner.spool.vault().new_key()?;
        let writer = self.inner.spool.create(&key)?;
        let memory = self.inner.memory.clone();
        Ok(Draft {
            writer,
            room,
            key,
            wrapped,
            limit: limits.submission.get(),
            memory,
            tail: Tail::default(),
            copy: Mutex::new(None),
            has_former: self.inner.store.has_former_keys(),
        })
    }
}
