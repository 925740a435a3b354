//! Where a mail lies: moved to what became of its fax, and deleted there when retention says so.
//!
//! A move is noted before it is begun, with the UID that the target folder would give next: so that after a crash it can be
//! found out whether it was made. A mail that is no longer where it was is not looked for: somebody took it away. One that the server
//! does not move is set aside for a while, with an alarm, so that those behind it are moved.

use std::collections::BTreeMap;

use jiff::Timestamp;
use tokio::time::Instant;

use super::session::Session;
use super::{Fetcher, MailboxError, PASSED_OVER, names};
use crate::alarm::Alarm;
use crate::crash::reached;
use crate::store::{Fetched, MailFate, MailPlace, Moving, StoreError};

/// Commands whose refusal is about one mail. That of a folder is about all of them.
const OF_ONE_MAIL: [&str; 4] = ["UID MOVE", "UID COPY", "UID STORE", "UID EXPUNGE"];

/// Where a mail belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shelf {
    Faxed,
    Held,
    Refused,
}

/// What is not decided yet stays where it is. What is under way is in `faxed`, or in `held` while a person has to look at any part of
/// it; once all has ended, `faxed` holds that of which something was faxed, and the commands: there is nothing to look at.
fn shelf(fate: MailFate) -> Option<Shelf> {
    match fate {
        MailFate::Open => None,
        MailFate::Jobs { held: true } => Some(Shelf::Held),
        MailFate::Jobs { held: false } | MailFate::Ended { delivered: true } | MailFate::Command => {
            Some(Shelf::Faxed)
        }
        MailFate::Ended { delivered: false } | MailFate::Refused => Some(Shelf::Refused),
    }
}

fn is_final(fate: MailFate) -> bool {
    matches!(fate, MailFate::Ended { .. } | MailFate::Command | MailFate::Refused)
}

impl Fetcher {
    fn folder(&self, shelf: Shelf) -> &str {
        let section = &self.mailbox.section;
        match shelf {
            Shelf::Faxed => &section.faxed,
            Shelf::Held => &section.held,
            Shelf::Refused => &section.refused,
        }
    }

    /// Whether there is anything to be moved or deleted.
    pub(super) async fn due(&self) -> Result<bool, StoreError> {
        Ok(!self.unsettled().await?.is_empty() || !self.expired().await?.is_empty())
    }

    async fn unsettled(&self) -> Result<Vec<Fetched>, StoreError> {
        let section = &self.mailbox.section;
        let mut mails =
            self.store().unsettled_fetched(&self.mailbox.name, &section.faxed, &section.held).await?;
        let mut memory = self.memory();
        memory.aside.retain(|_, since| since.elapsed() < PASSED_OVER);
        mails.retain(|mail| !memory.aside.contains_key(&mail.id));
        Ok(mails)
    }

    async fn expired(&self) -> Result<Vec<Fetched>, StoreError> {
        let Some(kept) = self.mailbox.intake.config().retention.mailboxes else { return Ok(Vec::new()) };
        let before = self.now().checked_sub(kept.signed()).unwrap_or(Timestamp::MIN);
        self.store().expired_fetched(&self.mailbox.name, before).await
    }

    /// Moves every mail to where it belongs.
    pub(super) async fn settle(&self, session: &mut Session) -> Result<(), MailboxError> {
        for mail in self.unsettled().await? {
            match self.settle_one(session, &mail).await {
                Err(MailboxError::Refused { verb }) if OF_ONE_MAIL.contains(&verb) => {
                    self.set_aside(&mail, verb);
                }
                settled => settled?,
            }
        }
        Ok(())
    }

    async fn settle_one(&self, session: &mut Session, mail: &Fetched) -> Result<(), MailboxError> {
        if let Some(moving) = &mail.moving {
            return self.look_for(session, mail, moving).await;
        }
        let Some(shelf) = shelf(mail.fate) else { return Ok(()) };
        let folder = self.folder(shelf);
        let there = folder == mail.place.folder || self.carry(session, mail, folder).await?;
        if there && is_final(mail.fate) {
            self.store().settle_fetched(mail.id, self.now()).await?;
        }
        Ok(())
    }

    /// A mail that the server does not move is tried again later.
    fn set_aside(&self, mail: &Fetched, verb: &str) {
        let (name, uid) = (&self.mailbox.name, mail.place.uid);
        self.memory().aside.insert(mail.id, Instant::now());
        let minutes = PASSED_OVER.as_secs() / 60;
        tracing::warn!(
            mailbox = name,
            uid,
            "mailbox {name}: the server refuses {verb} for mail {uid}; the others are moved, and this one is tried again in {minutes} min"
        );
        let cause = format!(
            "the server refuses {verb} for a mail in {:?}: look at that mail there, or at the permissions of the account",
            mail.place.folder
        );
        self.mailbox.intake.alarms().raise(Alarm::Mailbox(name.clone()), cause, self.now());
    }

    /// Moves a mail; false where it is not there any more, or cannot be followed.
    async fn carry(&self, session: &mut Session, mail: &Fetched, folder: &str) -> Result<bool, MailboxError> {
        if !self.is_there(session, &mail.place).await? {
            self.store().forget_fetched(vec![mail.id]).await?;
            return Ok(false);
        }
        let standing = match session.status(folder).await? {
            Some(standing) => standing,
            // Somebody deleted the folder since we made it.
            None => {
                session.create(folder).await?;
                session.status(folder).await?.ok_or(MailboxError::Refused { verb: "STATUS" })?
            }
        };
        let moving = Moving {
            folder: folder.to_owned(),
            uidvalidity: standing.uidvalidity,
            uid_from: standing.uidnext,
        };
        self.store().note_moving(mail.id, Some(moving.clone())).await?;
        reached("imap.moving");
        let transferred = match session.transfer(mail.place.uid, folder).await {
            Err(MailboxError::Refused { verb }) => {
                self.store().note_moving(mail.id, None).await?;
                return Err(MailboxError::Refused { verb });
            }
            transferred => transferred?,
        };
        reached("imap.copied");
        if transferred.still_here {
            self.delete(session, &[mail.place.uid]).await?;
        }
        reached("imap.moved");
        let uid = match transferred.place {
            Some((uidvalidity, uid)) if uidvalidity == moving.uidvalidity => Some(uid),
            _ => self.find(session, mail, &moving).await?,
        };
        self.arrived(mail, moving, uid).await
    }

    /// Notes where a mail was moved to, or forgets it where that is not known.
    async fn arrived(&self, mail: &Fetched, moving: Moving, uid: Option<u32>) -> Result<bool, MailboxError> {
        let Some(uid) = uid else {
            let (name, uid) = (&self.mailbox.name, mail.place.uid);
            tracing::info!(
                mailbox = name,
                uid,
                "mailbox {name}: mail {uid} was moved, and cannot be followed any further"
            );
            self.store().forget_fetched(vec![mail.id]).await?;
            return Ok(false);
        };
        let place = MailPlace { folder: moving.folder, uidvalidity: moving.uidvalidity, uid };
        self.store().note_moved(mail.id, place, self.now()).await?;
        Ok(true)
    }

    /// Finds out what became of a move that was begun before the process or the connection ended.
    async fn look_for(
        &self,
        session: &mut Session,
        mail: &Fetched,
        moving: &Moving,
    ) -> Result<(), MailboxError> {
        let found = self.find(session, mail, moving).await?;
        let still_here = self.is_there(session, &mail.place).await?;
        if found.is_none() && still_here {
            self.store().note_moving(mail.id, None).await?;
            return Ok(());
        }
        if still_here {
            // Copied, and not deleted yet.
            self.delete(session, &[mail.place.uid]).await?;
        }
        self.arrived(mail, moving.clone(), found).await.map(drop)
    }

    /// The UID of a mail in the folder that it was moved to.
    async fn find(
        &self,
        session: &mut Session,
        mail: &Fetched,
        moving: &Moving,
    ) -> Result<Option<u32>, MailboxError> {
        let message_id = mail.message_id.as_deref().and_then(|id| self.mailbox.intake.opened_message_id(id));
        let Some(message_id) = message_id.as_deref().and_then(names::quoted) else { return Ok(None) };
        if session.select_if_there(&moving.folder).await? != Some(moving.uidvalidity) {
            return Ok(None);
        }
        // What came in while this folder was selected is seen after this.
        session.noop().await?;
        let from = moving.uid_from;
        let mut found = session.search(&format!("UID {from}:* HEADER Message-ID {message_id}")).await?;
        let ours = self.store().fetched_uids(&self.mailbox.name, &moving.folder, moving.uidvalidity).await?;
        // "n:*" always has the last mail in it, whatever its UID.
        found.retain(|uid| *uid >= from && !ours.contains(uid));
        Ok(found.first().copied())
    }

    async fn is_there(&self, session: &mut Session, place: &MailPlace) -> Result<bool, MailboxError> {
        if session.select_if_there(&place.folder).await? != Some(place.uidvalidity) {
            return Ok(false);
        }
        Ok(session.search(&format!("UID {} UNDELETED", place.uid)).await?.contains(&place.uid))
    }

    /// Deletes mails of the selected folder.
    async fn delete(&self, session: &mut Session, uids: &[u32]) -> Result<(), MailboxError> {
        if !session.delete(uids).await? {
            let name = &self.mailbox.name;
            tracing::info!(
                mailbox = name,
                "mailbox {name}: mails are only marked as deleted, since others marked some too and the server \
                 cannot tell them apart (UIDPLUS)"
            );
        }
        Ok(())
    }

    /// Deletes what has lain long enough where the end of its faxes brought it; only mails that were moved from here.
    pub(super) async fn expunge(&self, session: &mut Session) -> Result<(), MailboxError> {
        let mut folders: BTreeMap<(String, u32), Vec<Fetched>> = BTreeMap::new();
        for mail in self.expired().await? {
            folders.entry((mail.place.folder.clone(), mail.place.uidvalidity)).or_default().push(mail);
        }
        for ((folder, uidvalidity), mails) in folders {
            let selected = session.select_if_there(&folder).await?;
            let mut deleted = 0;
            if selected == Some(uidvalidity) {
                let uids: Vec<u32> = mails.iter().map(|mail| mail.place.uid).collect();
                let present = session.search(&format!("UID {}", names::set(&uids))).await?;
                if !present.is_empty() {
                    self.delete(session, &present).await?;
                    deleted = present.len();
                }
            }
            self.store().forget_fetched(mails.iter().map(|mail| mail.id).collect()).await?;
            let name = &self.mailbox.name;
            tracing::info!(
                mailbox = name,
                mails = deleted,
                "mailbox {name}: {deleted} mails deleted, as retention.mailboxes says"
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shelves() {
        for (fate, expected, ended) in [
            (MailFate::Open, None, false),
            (MailFate::Jobs { held: false }, Some(Shelf::Faxed), false),
            (MailFate::Jobs { held: true }, Some(Shelf::Held), false),
            (MailFate::Ended { delivered: true }, Some(Shelf::Faxed), true),
            (MailFate::Ended { delivered: false }, Some(Shelf::Refused), true),
            (MailFate::Command, Some(Shelf::Faxed), true),
            (MailFate::Refused, Some(Shelf::Refused), true),
        ] {
            assert_eq!((shelf(fate), is_final(fate)), (expected, ended), "{fate:?}");
        }
    }
}
