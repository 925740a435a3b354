//! An upload from its opening until it is a fax, or the sender knows why it is none.

use std::sync::Arc;
use std::time::Instant;

use russh_sftp::protocol::OpenFlags;

use super::answer::{No, unsupported};
use super::{Files, Opened};
use crate::crash;
use crate::intake::Draft;
use crate::intake::resting::NotAccepted;
use crate::intake::sftp::keeper::{self, Refused};
use crate::intake::sftp::refusals::{Reason, User};
use crate::intake::sftp::shares::{Room, Writing};
use crate::intake::sftp::shelf::{Lying, Owed, Temporary};
use crate::intake::sftp::upload::{Mode, Upload, sentence};
use crate::shared_folder::names;

/// A whole file, on its way in or from the shelf.
pub(super) enum Body {
    Draft(Draft, Room),
    Lying(Lying),
}

impl Body {
    fn bytes(&self) -> u64 {
        match self {
            Body::Draft(draft, _) => draft.written(),
            Body::Lying(lying) => lying.resting.bytes(),
        }
    }
}

impl Files {
    /// Opens an upload. Whatever keeps it from being taken is told now rather than at its close, as far as it is known now.
    pub(super) async fn begin(&self, name: String, flags: OpenFlags) -> Result<Opened, No> {
        let mode = self.mode(&name, flags).await?;
        let now = Instant::now();
        if self.is_temporary(&name) && !self.shared.shelves.has_room(self.user(), &name, now) {
            return Err(No::failure(
                "Too many uploads wait under temporary names. Rename or remove some first.",
            ));
        }
        let writing = Writing::begin(&self.presence.used)
            .ok_or_else(|| No::failure("Too many files are being written by this user. Close some first."))?;
        let room = Room::of(&self.presence.used, self.shared.max_unaccepted).ok_or_else(|| {
            No::failure(
                "Too much waits here unfinished or under temporary names. Rename or remove some first.",
            )
        })?;
        let draft = self.shared.intake.begin().await.map_err(|refusal| No::failure(sentence(refusal)))?;
        let share = (Arc::clone(&self.presence.early), room);
        Ok(Opened::Upload(Box::new(Upload::new(name, mode, draft, share, now)), writing))
    }

    /// Only whole new files: what OpenSSH, rclone, WinSCP and paramiko ask for (create and truncate) needs no look-up.
    async fn mode(&self, name: &str, flags: OpenFlags) -> Result<Mode, No> {
        let append = flags.contains(OpenFlags::APPEND);
        if flags.contains(OpenFlags::CREATE | OpenFlags::TRUNCATE) && !flags.contains(OpenFlags::EXCLUDE) {
            return Ok(Mode { append, over_another: false });
        }
        let exists = self.size_in(name).await?.is_some();
        match exists {
            true if flags.contains(OpenFlags::EXCLUDE) => {
                Err(No::failure("A file of this name is there already."))
            }
            // What is appended would be faxed on its own.
            true if append && !flags.contains(OpenFlags::TRUNCATE) => {
                Err(unsupported("Appending to a file is not possible here. Upload the whole file again."))
            }
            false if !flags.contains(OpenFlags::CREATE) => Err(No::missing()),
            _ => Ok(Mode { append, over_another: exists && !flags.contains(OpenFlags::TRUNCATE) }),
        }
    }

    fn is_temporary(&self, name: &str) -> bool {
        names::is_temporary(name, &self.user.temporary_names, &self.user.final_names)
    }

    /// A whole file has the name `name` now: kept when that is a temporary one, a fax when it is final. `from` is the temporary
    /// name that it had before.
    pub(super) async fn settle(&self, name: String, body: Body, from: Option<String>) -> Result<(), No> {
        if self.is_temporary(&name) {
            return self.lay_aside(name, body).await;
        }
        let bytes = body.bytes();
        if bytes == 0 {
            if names::is_marker(&name) {
                // It says that something else is whole, which we know already. A refusal would stop the client's batch.
                return Ok(());
            }
            let sentence = "This file is empty, so there is nothing to fax.";
            let refused = Refused { name, bytes, sha256: None };
            return Err(self.refuse(refused, sentence, "it is empty").await);
        }
        // What came under this name before and was refused for now is no longer what its client means.
        drop(self.shared.shelves.take_owed(self.user(), &name));
        let arrival = keeper::arrival(self.user(), &self.user.sender, &name);
        let (accepted, room) = match body {
            Body::Draft(draft, room) => (self.shared.intake.accept_or_keep(draft, arrival).await, room),
            Body::Lying(lying) => {
                (self.shared.intake.accept_resting(lying.resting, arrival).await, lying.room)
            }
        };
        let now = Instant::now();
        match accepted {
            Ok((accepted, sha256)) => {
                crash::reached("intake.answered");
                self.keeper.taken(self.user(), name, bytes, (accepted, sha256), now).await;
                Ok(())
            }
            Err(not_accepted) => Err(self.not_now(name, bytes, not_accepted, (from, room), now).await),
        }
    }

    async fn lay_aside(&self, name: String, body: Body) -> Result<(), No> {
        let lying = match body {
            Body::Lying(lying) => lying,
            Body::Draft(draft, room) => {
                let resting = draft.rest().await.map_err(|refusal| No::failure(sentence(refusal)))?;
                Lying { resting, sender: self.user.sender.clone(), room }
            }
        };
        let since = Instant::now();
        let until = since + self.shared.temporary_for;
        if let Some((name, lying)) =
            self.shared.shelves.keep(self.user(), name, Temporary { lying, since, until })
        {
            self.keeper.left_lying(self.user(), name, lying).await;
        }
        Ok(())
    }

    /// A file was not accepted: for good, or it is kept and tried again. Whether the client looks at this answer or not.
    async fn not_now(
        &self,
        name: String,
        bytes: u64,
        NotAccepted { refusal, resting }: NotAccepted,
        (from, room): (Option<String>, Room),
        now: Instant,
    ) -> No {
        let cause = keeper::cause(&refusal).to_owned();
        if refusal.permanent {
            let sha256 = resting.as_ref().map(crate::intake::resting::Resting::sha256);
            return self.refuse(Refused { name, bytes, sha256 }, &refusal.sentence, &cause).await;
        }
        let sender = self.user.sender.clone();
        let Some(resting) = resting else {
            // The document is gone: whoever does not look at the answer of the close must hear of it otherwise.
            return self.refuse(Refused { name, bytes, sha256: None }, &refusal.sentence, &cause).await;
        };
        self.tell(&format!("for now, it is kept and tried again: {cause}"), now);
        let (next, tries) = (keeper::pause(0, now), 1);
        let owed = Owed { lying: Lying { resting, sender, room }, from, since: now, next, tries };
        if !self.shared.shelves.owe(self.user(), name, owed) {
            return No::failure(refusal.sentence);
        }
        No::failure(
            "This file cannot be recorded at the moment. It is kept and tried again; you may also upload it again.",
        )
    }

    /// Refused for good: told in the log, by a result file and by mail.
    pub(super) async fn refuse(&self, file: Refused, sentence: &str, cause: &str) -> No {
        self.tell(cause, Instant::now());
        self.keeper.refuse(self.user(), &self.user.sender, file, sentence).await;
        No::failure(sentence)
    }

    fn tell(&self, cause: &str, now: Instant) {
        let user = User::Known(self.user());
        self.shared.refusals.tell(Reason::Upload, self.address, user, cause, now);
    }
}
