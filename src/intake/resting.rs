//! Documents that are whole and not accepted yet: uploads under temporary names, and those that are refused for now.
//!
//! They lie sealed on disk, hold neither a file open nor a buffer, and are gone when they are dropped, or with the next start. None
//! of them was promised to anybody, so a restart may lose them.

use super::accept::Entry;
use super::tail::End;
use super::{Accepted, Arrival, Draft, Intake, Refusal};
use crate::crash::reached;
use crate::spool::{self, SpoolError};
use crate::text::hex;
use crate::vault::{SealKey, WrappedKey};

/// See the module.
#[derive(Debug)]
pub(crate) struct Resting {
    file: spool::Resting,
    key: SealKey,
    wrapped: WrappedKey,
    end: End,
    /// The database was asked for its row and failed, which the row may have survived.
    tried: bool,
}

/// Not accepted, and what is left of the document.
#[derive(Debug)]
pub(crate) struct NotAccepted {
    pub(crate) refusal: Refusal,
    /// The document, where it is still whole.
    pub(crate) resting: Option<Resting>,
}

impl Draft {
    /// Lays the document aside until it is accepted.
    ///
    /// # Errors
    /// Where the disk fails; the document is then gone.
    pub(crate) async fn rest(self) -> Result<Resting, Refusal> {
        let end = self.tail.end();
        let file = self.writer.seal().await?.rest().await?;
        Ok(Resting { file, key: self.key, wrapped: self.wrapped, end, tried: false })
    }
}

impl Resting {
    /// Its size.
    pub(crate) fn bytes(&self) -> u64 {
        self.file.sealed.bytes
    }

    /// Its SHA-256, hex.
    pub(crate) fn sha256(&self) -> String {
        hex(&self.file.sealed.sha256)
    }
}

impl Intake {
    /// As [`Intake::accept`], and what is not accepted can be tried again. Also tells the document's SHA-256, hex.
    pub(crate) async fn accept_or_keep(
        &self,
        draft: Draft,
        arrival: Arrival,
    ) -> Result<(Accepted, String), NotAccepted> {
        let Draft { writer, key, wrapped, tail, .. } = draft;
        let gone = |error: SpoolError| NotAccepted { refusal: error.into(), resting: None };
        let sealing = writer.seal().await.map_err(gone)?;
        // Made while the document goes to the disk.
        let entry = self.entry(&sealing.sealed, (&key, &wrapped), tail.end(), arrival);
        let file = sealing.rest().await.map_err(gone)?;
        reached("intake.synced");
        self.accept_entry(entry, Resting { file, key, wrapped, end: tail.end(), tried: false }).await
    }

    /// Accepts what was laid aside.
    pub(crate) async fn accept_resting(
        &self,
        resting: Resting,
        arrival: Arrival,
    ) -> Result<(Accepted, String), NotAccepted> {
        let Resting { file, key, wrapped, end, .. } = &resting;
        self.accept_entry(self.entry(&file.sealed, (key, wrapped), *end, arrival), resting).await
    }

    async fn accept_entry(
        &self,
        entry: Result<Entry, Refusal>,
        resting: Resting,
    ) -> Result<(Accepted, String), NotAccepted> {
        let entry = match entry {
            Ok(entry) => entry,
            Err(refusal) => return Err(NotAccepted { refusal, resting: Some(resting) }),
        };
        let sha256 = resting.sha256();
        let Resting { file, key, wrapped, end, tried } = resting;
        // Where nobody waits for the answer any more, the row may be committed all the same.
        let file = file.perhaps_named();
        match self.record(entry, &key).await {
            Ok(accepted) => {
                if matches!(accepted, Accepted::Known(_)) && !tried {
                    drop(file.unnamed());
                }
                Ok((accepted, sha256))
            }
            Err(refusal) => {
                let resting = Resting { file, key, wrapped, end, tried: true };
                Err(NotAccepted { refusal, resting: Some(resting) })
            }
        }
    }
}
