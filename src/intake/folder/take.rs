//! A file that was quiet is claimed, and its claim becomes a submission, goes back, or is refused.

use std::ffi::OsString;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use tokio::time::Instant;

use super::claim::{Claim, Claimed};
use super::content::{self, Content};
use super::evidence::{Odd, Print};
use super::listing::read;
use super::{Folder, failed};
use crate::crash;
use crate::intake::draft::too_large;
use crate::intake::{Accepted, Arrival, Refusal};
use crate::job::Source;
use crate::shared_folder::{Facts, names};
use crate::text::hex;

/// What became of a claimed file.
enum End {
    Accepted(Accepted, String),
    Refused(Refusal),
    /// It goes back, to settle anew.
    Waits(&'static str),
    /// We may not read it, or can never take it.
    Odd(Odd),
}

impl Folder<'_> {
    /// A file was quiet: claims it if it is whole.
    pub(super) async fn take(&mut self, name: OsString, print: Print) -> io::Result<()> {
        let (root, claims, file) = (self.root.clone(), Arc::clone(&self.claims), name.clone());
        let claimed = self
            .on_disk(move || {
                let content = match root.open_plain(&file) {
                    Ok(Some((mut opened, facts))) if Print::of(&facts) == print => {
                        content::look(&mut opened)?
                    }
                    Ok(_) => return Ok(Ok(Claimed::Not)),
                    Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                        return Ok(Ok(Claimed::Closed));
                    }
                    Err(error) => return Err(error),
                };
                match content {
                    Content::Whole => claims.claim(&file, print).map(Ok),
                    Content::Begun => Ok(Err(Odd::Begun)),
                    Content::Cut => Ok(Err(Odd::Cut)),
                }
            })
            .await;
        let pause = Instant::now() + self.config.scan.std();
        match claimed {
            Ok(Ok(Claimed::Ours(claim))) => {
                self.evidence.forget(&name);
                self.bring_in(claim).await?;
            }
            Ok(Ok(Claimed::Not)) => self.evidence.put_off(&name, pause),
            Ok(Ok(Claimed::Closed)) => self.evidence.cannot_take(&name, Odd::Closed),
            Ok(Err(odd)) => self.evidence.cannot_take(&name, odd),
            Err(error) => {
                // One file must not keep the others waiting; what ails the folder itself is found by the scan.
                self.trouble = Some(error.to_string());
                self.evidence.put_off(&name, pause);
            }
        }
        Ok(())
    }

    /// A claimed file becomes a submission, or goes back, or is refused.
    pub(super) async fn bring_in(&mut self, claim: Claim) -> io::Result<()> {
        let end = match self.submit(&claim).await {
            Ok(end) => end,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            // One unreadable file must not keep the others waiting.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => End::Odd(Odd::Closed),
            Err(error) => {
                self.trouble = Some(error.to_string());
                End::Waits("cannot be read")
            }
        };
        let claims = Arc::clone(&self.claims);
        match end {
            End::Accepted(accepted, sha256) => {
                crash::reached("intake.answered");
                self.refusing = None;
                let again = matches!(accepted, Accepted::Known(_)) && !claim.left_over;
                if let (true, Some(name)) = (again, claim.name().to_str()) {
                    // The claim stays where this fails, and is what is left over at the next scan.
                    self.intake.tell_again(accepted.id(), name, &sha256).await.map_err(failed)?;
                }
                self.on_disk(move || claim.delete()).await
            }
            End::Refused(refusal) if refusal.permanent => {
                let file = self.turned_away(claim.name(), Print::of(claim.facts()), &refusal.sentence);
                self.turn_away(file, refusal.cause.as_deref().unwrap_or(&refusal.sentence)).await?;
                // Whoever put something in the way there must not keep the others waiting.
                let moved = self.on_disk(move || claims.refuse(claim, &refusal.sentence)).await;
                self.unmoved = moved.err().map(|error| error.to_string());
                Ok(())
            }
            End::Refused(refusal) => {
                let cause = refusal.cause.unwrap_or(refusal.sentence);
                if self.refusing.as_ref() != Some(&cause) {
                    tracing::warn!(
                        folder.name = self.name,
                        "folder {}: files are refused for now, and wait: {cause}",
                        self.name
                    );
                }
                self.refusing = Some(cause);
                self.put_back(claim, self.config.scan.std()).await.map(drop)
            }
            End::Waits(problem) => {
                // Nothing to do about a writer that opens its file twice.
                tracing::debug!(folder.name = self.name, "folder {}: a file {problem}", self.name);
                self.put_back(claim, self.config.settle.std()).await.map(drop)
            }
            End::Odd(odd) => {
                if let Some(name) = self.put_back(claim, self.config.settle.std()).await? {
                    self.evidence.cannot_take(&name, odd);
                }
                Ok(())
            }
        }
    }

    async fn put_back(&mut self, claim: Claim, pause: Duration) -> io::Result<Option<OsString>> {
        let claims = Arc::clone(&self.claims);
        let Some((name, print)) = self.on_disk(move || claims.put_back(claim)).await? else {
            return Ok(None);
        };
        self.evidence.put_back(name.clone(), print, pause, Instant::now());
        Ok(Some(name))
    }

    async fn submit(&self, claim: &Claim) -> io::Result<End> {
        let limit = self.intake.config().limits.submission.get();
        if claim.facts().is_plain() && claim.facts().bytes > limit {
            return Ok(End::Refused(too_large(limit)));
        }
        let Some((mut file, before)) = claim.open()? else {
            return Ok(End::Waits("was exchanged while it was taken"));
        };
        let Some(file_name) = claim.name().to_str().filter(|name| names::check(name).is_ok()) else {
            let sentence = "The name of this file is not valid UTF-8 or contains control characters.";
            return Ok(End::Refused(Refusal::permanent("5.6.0", sentence)));
        };
        let mut draft = match self.intake.begin().await {
            Ok(draft) => draft,
            Err(refusal) => return Ok(End::Refused(refusal)),
        };
        let mut digest = digest::Context::new(&digest::SHA256);
        let after = loop {
            let (bytes, back) = self.on_disk(move || read(file)).await?;
            file = back;
            if bytes.is_empty() {
                break self.on_disk(move || Ok(Print::of(&Facts::of_open(&file)?))).await?;
            }
            digest.update(&bytes);
            if let Err(refusal) = draft.write(&bytes).await {
                return Ok(End::Refused(refusal));
            }
        };
        if after != before || draft.written() != after.bytes() {
            return Ok(End::Waits("is still being written"));
        }
        let arrival = Arrival {
            file: Some(file_name.to_owned()),
            ..Arrival::new(Source::Folder(self.name.to_owned()), self.config.sender.clone())
        };
        Ok(match self.intake.accept(draft, arrival).await {
            Ok(accepted) => End::Accepted(accepted, hex(digest.finish().as_ref())),
            Err(refusal) => End::Refused(refusal),
        })
    }
}
