//! What may be forgotten, and when.
//!
//! A Submission's documents are gone within `retention.documents` (at most 30 minutes) of its final state: its key is
//! destroyed in the database first, which makes every sealed file and sealed fact of it unreadable at once, then the files are
//! unlinked. A crash between the two is made up for at the next start. The provider's copies are deleted as soon as a Job is
//! final. What stays is what the receipt says: numbers, times, counts, digests; of names and references, marks. Result files that
//! wait to be picked up have keys of their own, which end with them. Rows go after `retention.records`, and the proof of
//! what was sent, receipts and ledger, only after `retention.proofs`.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

use crate::alarm::Alarms;
use crate::clock::SharedClock;
use crate::config::Config;
use crate::crash::reached;
use crate::delivery::AskError;
use crate::delivery::worker::Providers;
use crate::intake::proof::CLOCKS_APART;
use crate::intake::sftp::Seen;
use crate::job::{JobId, SubmissionId};
use crate::spool::Spool;
use crate::store::{ProviderCopy, Store, StoreError, Wake};
use crate::text::counted;
use crate::vault::Purpose;

/// Between two rounds at least.
const ROUND: Duration = Duration::from_secs(2);
/// Between two rounds at most: what is kept for days may stay for a minute more.
const IDLE: Duration = Duration::from_secs(60);
/// Destroyed this long before the limit, so that a round's pause never carries it past.
const AHEAD: SignedDuration = SignedDuration::from_secs(10);
/// An answer that still is not written is waited for no longer than this: it is written without what the key sealed.
const LONGEST: SignedDuration = SignedDuration::from_mins(30);
/// The moments that answers get after a start.
const SETTLING: SignedDuration = SignedDuration::from_secs(60);
/// Submissions per round, copies per round.
const AT_ONCE: u32 = 200;
/// Between two tries to delete a provider's copy that could not be deleted.
const COPY_AGAIN: SignedDuration = SignedDuration::from_mins(5);
/// The same where the provider is configured no more: told once a day.
const COPY_NEVER: SignedDuration = SignedDuration::from_hours(24);
/// What is known of a telephone line is of no use this long after its rest.
const LINES: SignedDuration = SignedDuration::from_hours(24);
/// Copies that providers are asked to delete at once.
const COPIES_AT_ONCE: usize = 8;

/// What retention needs.
pub struct Retention {
    /// Keys and rows.
    pub store: Store,
    /// Files.
    pub spool: Spool,
    /// Where copies lie.
    pub providers: Providers,
    /// How long.
    pub config: Arc<Config>,
    /// Time.
    pub clock: SharedClock,
    /// Told when a provider's copy is gone: the answer waits for that.
    pub answered: Arc<dyn Wake>,
    /// Told what wants a person.
    pub alarms: Alarms,
    /// Names of files that are in memory.
    pub seen: Seen,
}

/// Why a round was cut short; the next one goes on.
#[derive(Debug, thiserror::Error)]
enum RetentionError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Spool(#[from] crate::spool::SpoolError),
}

/// From which final state on documents are destroyed at `now`.
#[must_use]
pub fn final_before(now: Timestamp, documents: SignedDuration) -> Timestamp {
    // Short times, as in the demo, are kept to the second; only long ones are cut by the margin.
    let kept = if documents > AHEAD * 6 { documents - AHEAD } else { documents };
    now.checked_sub(kept).unwrap_or(Timestamp::MIN)
}

impl Retention {
    /// Removes what a crash left behind: files of destroyed Submissions, and files that no row knows.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub async fn clean_up(&self) -> Result<(), String> {
        self.unlink_leftovers()
            .await
            .map_err(|e| format!("files of destroyed documents could not be removed: {e}"))?;
        // `faxbridge send` may be writing a document at this moment, which gets its row only when it is whole.
        let Some(_alone) = self.spool.alone().map_err(|e| e.to_string())? else {
            tracing::info!("the command line is handing over files; leftovers are removed at the next start");
            return Ok(());
        };
        let known = self.store.document_names().await.map_err(|e| e.to_string())?;
        let known: HashSet<_> = known.into_iter().collect();
        let mut orphans = 0;
        for name in self.spool.list().map_err(|e| e.to_string())? {
            if !known.contains(&name) {
                self.spool.forget(&name).await.map_err(|e| e.to_string())?;
                orphans += 1;
            }
        }
        if orphans > 0 {
            tracing::info!(
                orphans,
                "removed {} that were being written when the process ended",
                counted(orphans, "file")
            );
        }
        Ok(())
    }

    /// Works until `shutdown` turns true.
    pub async fn run(self, shutdown: watch::Receiver<bool>) {
        // Side by side: a provider that does not answer must not keep our own documents on the disk.
        tokio::join!(self.destroy_all(shutdown.clone()), self.delete_all_copies(shutdown));
    }

    async fn destroy_all(&self, mut shutdown: watch::Receiver<bool>) {
        // True at first: the process may have ended between the destruction of a key and the scrubbing of the log.
        let mut traces = true;
        let began = self.clock.now();
        let mut commits = self.store.commits();
        while !*shutdown.borrow() {
            let pause = match self.round(&mut traces, began).await {
                Ok(pause) => pause,
                Err(error) => {
                    tracing::error!(error = %error, "documents could not be destroyed: {error}");
                    ROUND
                }
            };
            let work = async {
                tokio::time::sleep(ROUND).await;
                tokio::select! {
                    () = commits.made() => {}
                    () = tokio::time::sleep(pause.saturating_sub(ROUND)) => {}
                }
            };
            tokio::select! {
                () = work => {}
                _ = shutdown.changed() => {}
            }
        }
    }

    /// Until the next round: until the next documents are to go, where that is sooner than what else there is to forget. Times that are
    /// short, as in the demo, are kept to a hundredth.
    async fn pause(&self) -> Result<Duration, RetentionError> {
        let kept = &self.config.retention;
        let others = [Some(kept.results), Some(kept.repeats), Some(kept.records), kept.proofs];
        let others = others.into_iter().flatten().map(|kept| kept.std() / 100).min().unwrap_or(IDLE);
        let now = self.clock.now();
        let since = final_before(now, kept.documents.signed());
        let documents = match self.store.next_destruction().await? {
            Some(at) => at.duration_since(since).try_into().unwrap_or(Duration::ZERO),
            None => IDLE,
        };
        Ok(documents.min(others).clamp(ROUND, IDLE))
    }

    async fn delete_all_copies(&self, mut shutdown: watch::Receiver<bool>) {
        let work = async {
            let (mut failed, mut commits) = (HashMap::new(), self.store.commits());
            loop {
                // A final answer waits for what becomes of the copies.
                let pause = match self.delete_copies(&mut failed, self.clock.now()).await {
                    Ok(()) if failed.is_empty() => IDLE,
                    Ok(()) => ROUND,
                    Err(error) => {
                        tracing::error!(error = %error, "copies at providers could not be looked up: {error}");
                        ROUND
                    }
                };
                tokio::select! {
                    () = commits.made() => {}
                    () = tokio::time::sleep(pause) => {}
                }
            }
        };
        // What is broken off here is asked for again at the next start.
        tokio::select! {
            () = work => {}
            _ = shutdown.wait_for(|stop| *stop) => {}
        }
    }

    /// `traces` tells whether the database's log may still hold what was destroyed, `began` when this process did.
    /// Returns the pause until the next round.
    async fn round(&self, traces: &mut bool, began: Timestamp) -> Result<Duration, RetentionError> {
        let now = self.clock.now();
        let before = final_before(now, self.config.retention.documents.signed());
        // What ended before a long pause of the daemon gets its moments first.
        let settled = now.duration_since(began) >= SETTLING;
        let at_latest = now.checked_sub(LONGEST).ok().filter(|_| settled).unwrap_or(Timestamp::MIN);
        let overdue: HashSet<_> =
            self.store.due_for_destruction(at_latest, now, AT_ONCE).await?.into_iter().collect();
        for id in self.store.due_for_destruction(before, now, AT_ONCE).await? {
            // An answer that still has to be written needs what this key seals; that takes moments.
            if self.store.uncomposed(id).await? {
                if !overdue.contains(&id) {
                    continue;
                }
                tracing::error!(submission.id = %id, "submission {id}: its answer is not written yet, but its documents must go");
            }
            *traces = true;
            self.destroy(id).await?;
        }
        if *traces {
            *traces = !self.store.scrub().await?;
        }
        let before = |kept: SignedDuration| now.checked_sub(kept).unwrap_or(Timestamp::MIN);
        let kept = &self.config.retention;
        // Copies of signed mails are known for a little longer.
        let (results, repeats) =
            (before(kept.results.signed()), before(kept.repeats.signed().saturating_add(CLOCKS_APART)));
        let mut gone = self.store.expire_results(results).await?;
        self.store.forget_source_keys(repeats).await?;
        self.store.forget_lines(before(LINES)).await?;
        gone += self.store.forget_records(before(kept.records.signed()), AT_ONCE).await?;
        if let Some(proofs) = kept.proofs {
            gone += self.store.forget_proofs(before(proofs.signed())).await?;
        }
        *traces |= gone > 0;
        if *traces { Ok(ROUND) } else { self.pause().await }
    }

    async fn destroy(&self, id: SubmissionId) -> Result<(), RetentionError> {
        let digests = self.spool.vault().marker(Purpose::Digest);
        let names = self.store.destroy_key(id, digests, self.clock.now()).await?;
        self.seen.forget(id);
        reached("retention.key_destroyed");
        for name in &names {
            // Unreadable they are all the same; the next start tries again to remove them.
            self.spool.forget(name).await?;
        }
        reached("retention.unlinked");
        let files = names.len();
        self.store.forget_documents(names).await?;
        tracing::info!(submission.id = %id, files, "submission {id}: key destroyed, {} removed", counted(files, "file"));
        Ok(())
    }

    async fn unlink_leftovers(&self) -> Result<(), RetentionError> {
        let names = self.store.files_to_unlink().await?;
        for name in &names {
            self.spool.forget(name).await?;
        }
        Ok(self.store.forget_documents(names).await?)
    }

    async fn delete_copies(
        &self,
        failed: &mut HashMap<(JobId, u32), Timestamp>,
        now: Timestamp,
    ) -> Result<(), RetentionError> {
        failed.retain(|_, again| *again > now);
        // Those that failed are passed over, and must not fill the whole round.
        let at_most = AT_ONCE.saturating_add(u32::try_from(failed.len()).unwrap_or(u32::MAX));
        let due = self.store.copies_to_delete(now, at_most).await?;
        let due = due.into_iter().filter(|(job, attempt, ..)| !failed.contains_key(&(*job, *attempt)));
        let asked = due.map(|(job, attempt, name, provider_ref)| async move {
            let deleted = match self.providers.get(&name) {
                Some(provider) if !provider.capabilities().deletes => Ok(ProviderCopy::Kept),
                Some(provider) => match provider.delete(&provider_ref).await {
                    Ok(()) => Ok(ProviderCopy::Deleted),
                    Err(AskError::Unsupported) => Ok(ProviderCopy::Kept),
                    Err(error) => Err(error),
                },
                None => Err(AskError::Unsupported),
            };
            (job, attempt, name, deleted)
        });
        let asked: Vec<_> = asked.collect();
        let mut answers = futures_util::stream::iter(asked).buffer_unordered(COPIES_AT_ONCE);
        while let Some((job, attempt, name, deleted)) = answers.next().await {
            let error = match deleted {
                Ok(copy) => {
                    self.store.record_copy(job, attempt, copy, self.clock.now()).await?;
                    // The answer may have waited for this.
                    self.answered.wake();
                    continue;
                }
                Err(error) => error,
            };
            tracing::warn!(job.id = %job, "job {job}: the copy at {name} is not deleted yet: {error}");
            let pause = if error == AskError::Unsupported { COPY_NEVER } else { COPY_AGAIN };
            failed.insert((job, attempt), now.saturating_add(pause).unwrap_or(Timestamp::MAX));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_never_passed_and_short_ones_are_exact() {
        let now = Timestamp::from_second(10_000).unwrap();
        let age = |documents| now.duration_since(final_before(now, documents)).as_secs();
        assert_eq!(age(SignedDuration::from_mins(30)), 30 * 60 - 10);
        assert_eq!(age(SignedDuration::from_secs(20)), 20);
        assert_eq!(age(SignedDuration::ZERO), 0);
    }
}
