//! Documents that are whole and not accepted yet: uploads under temporary names, and those that are refused for now.
//!
//! They lie sealed on disk, hold neither a file open nor a buffer, and are gone when they are dropped. None of them was
//! promised to anybody, so a restart may lose them.

use tokio::sync::oneshot;

use super::tail::End;
use super::{Accepted, Arrival, Draft, Intake, Refusal};
use crate::spool;
use crate::store::Synced;
use crate::text::hex;
use crate::vault::{SealKey, WrappedKey};

/// See the module.
#[derive(Debug)]
pub(crate) struct Resting {
    file: spool::Resting,
    key: SealKey,
    wrapped: WrappedKey,
    end: End,
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
        Ok(Resting { file, key: self.key, wrapped: self.wrapped, end })
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
    /// As [`Intake::accept`], and what is not accepted can be tried again: the row is written while the document is synced. Also
    /// tells the document's SHA-256, hex.
    pub(crate) async fn accept_or_keep(
        &self,
        draft: Draft,
        arrival: Arrival,
    ) -> Result<(Accepted, String), NotAccepted> {
        let end = draft.tail.end();
        let gone = |refusal| NotAccepted { refusal, resting: None };
        let sealing = draft.writer.seal().await.map_err(|error| gone(error.into()))?;
        let sealed = sealing.sealed.clone();
        let (done, on_disk) = oneshot::channel();
        // A task of its own: whatever becomes of the row, the document is not lost with it. Nor is it where nobody waits for the
        // answer any more: the row may be committed all the same.
        let resting = tokio::spawn(async move {
            let rest = sealing.rest().await.map(spool::Resting::perhaps_named);
            // Nobody waits where the row failed first.
            let _ = done.send(rest.is_ok());
            rest
        });
        let synced: Synced = Box::pin(async move {
            match on_disk.await {
                Ok(true) => {
                    crate::crash::reached("intake.synced");
                    Ok(())
                }
                // The cause is told by the task.
                Ok(false) | Err(_) => Err(spool::SpoolError::Stopped.into()),
            }
        });
        let keys = (&draft.key, &draft.wrapped);
        let recorded = self.record(&sealed, keys, end, arrival, synced).await;
        match (recorded, resting.await) {
            (Ok(Accepted::New(id)), Ok(Ok(file))) => {
                file.keep();
                Ok((Accepted::New(id), hex(&sealed.sha256)))
            }
            (Ok(accepted), Ok(Ok(file))) => {
                drop(file.unnamed());
                Ok((accepted, hex(&sealed.sha256)))
            }
            // Known from before: nothing of this document was needed.
            (Ok(accepted), _) => Ok((accepted, hex(&sealed.sha256))),
            (Err(refusal), Ok(Ok(file))) => {
                let resting = Resting { file: file.unnamed(), key: draft.key, wrapped: draft.wrapped, end };
                Err(NotAccepted { refusal, resting: Some(resting) })
            }
            (Err(_), Ok(Err(error))) => Err(gone(error.into())),
            (Err(refusal), Err(_)) => Err(gone(refusal)),
        }
    }

    /// Accepts what was laid aside.
    pub(crate) async fn accept_resting(
        &self,
        resting: Resting,
        arrival: Arrival,
    ) -> Result<(Accepted, String), NotAccepted> {
        let synced: Synced = Box::pin(async { Ok(()) });
        let keys = (&resting.key, &resting.wrapped);
        let sha256 = resting.sha256();
        match self.record(&resting.file.sealed, keys, resting.end, arrival, synced).await {
            Ok(accepted) => {
                if matches!(accepted, Accepted::New(_)) {
                    resting.file.keep();
                }
                Ok((accepted, sha256))
            }
            Err(refusal) => Err(NotAccepted { refusal, resting: Some(resting) }),
        }
    }
}
