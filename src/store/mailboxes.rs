//! Mailboxes that are fetched: whose turn it is, and where every mail lies that was taken out of one.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::ledger::LedgerEvent;
use super::sql::{self, FromRow};
use super::{Store, StoreError, Verdict, ledger, millis};
use crate::job::{Actor, Source, SubmissionId};

/// Mails that are looked at in one round.
const AT_ONCE: i64 = 500;

/// A place in a mailbox: a UID means something in its folder and under its UIDVALIDITY only (RFC 3501, section 2.3.1.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailPlace {
    /// As the folder is called on the server.
    pub folder: String,
    /// Of that folder.
    pub uidvalidity: u32,
    /// Of the mail in it.
    pub uid: u32,
}

/// A mail of which nothing was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedMail {
    /// In which mailbox.
    pub mailbox: String,
    /// Where it lies there.
    pub place: MailPlace,
    /// When it was looked at.
    pub fetched_at: Timestamp,
    /// Why, in a sentence of ours.
    pub reason: String,
}

/// A mail that was looked at for the first time.
#[derive(Debug, Clone)]
pub struct NewFetched {
    /// Name of the `[imap.NAME]` section.
    pub mailbox: String,
    /// Where it lies.
    pub place: MailPlace,
    /// What it became.
    pub became: Result<SubmissionId, &'static str>,
    /// Its Message-ID, sealed.
    pub message_id: Option<Vec<u8>>,
}

/// What has become of a mail's Submission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailFate {
    /// It is not prepared yet.
    Open,
    /// Jobs are under way; whether one of them is held.
    Jobs {
        /// One is.
        held: bool,
    },
    /// It has come to an end; whether anything was faxed.
    Ended {
        /// One of its Jobs was delivered.
        delivered: bool,
    },
    /// It was a command, and is answered.
    Command,
    /// Nothing of it is faxed.
    Refused,
}

/// A mail that was taken out of a mailbox.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// Names the row.
    pub id: i64,
    /// Where it lies.
    pub place: MailPlace,
    /// The move that was begun and may have been made.
    pub moving: Option<Moving>,
    /// Its Message-ID, sealed; until its fax has come to an end and it lies where that says.
    pub message_id: Option<Vec<u8>>,
    /// What has become of it.
    pub fate: MailFate,
}

/// A move that was begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moving {
    /// Where to.
    pub folder: String,
    /// Of that folder.
    pub uidvalidity: u32,
    /// What comes to lie there has no smaller UID.
    pub uid_from: u32,
}

#[derive(FromRow)]
struct Row {
    id: i64,
    folder: String,
    uidvalidity: i64,
    uid: i64,
    to_folder: Option<String>,
    to_uidvalidity: Option<i64>,
    to_uid_from: Option<i64>,
    submission_id: Option<String>,
    sealed_message_id: Option<Vec<u8>>,
    verdict: Option<String>,
    final_at: Option<i64>,
    held: i64,
    delivered: i64,
}

macro_rules! mails {
    () => {
        "SELECT fetched.id, folder, uidvalidity, uid, to_folder, to_uidvalidity, to_uid_from, submission_id, \
     sealed_message_id, verdict, final_at, \
     (SELECT COUNT(*) FROM job WHERE job.submission_id = fetched.submission_id AND state = 'held') AS held, \
     (SELECT COUNT(*) FROM job WHERE job.submission_id = fetched.submission_id AND state = 'delivered') AS delivered \
     FROM fetched LEFT JOIN submission ON submission.id = fetched.submission_id "
    };
}

impl Row {
    fn read(self) -> Result<Fetched, StoreError> {
        let what = || format!("fetched {}", self.id);
        let number = |n: i64| u32::try_from(n).map_err(|e| StoreError::unreadable(what(), e));
        let verdict = self.verdict.as_deref().map(str::parse::<Verdict>).transpose();
        let verdict = verdict.map_err(|e| StoreError::unreadable(what(), e))?;
        let fate = match (&self.submission_id, verdict) {
            (None, _) => MailFate::Refused,
            (Some(_), None) => MailFate::Open,
            (Some(_), Some(Verdict::Jobs)) if self.final_at.is_some() => {
                MailFate::Ended { delivered: self.delivered > 0 }
            }
            (Some(_), Some(Verdict::Jobs)) => MailFate::Jobs { held: self.held > 0 },
            (Some(_), Some(Verdict::Command)) => MailFate::Command,
            // The first one is named in its place; this is what is left of it once that is forgotten.
            (Some(_), Some(Verdict::Known)) => MailFate::Ended { delivered: false },
            (Some(_), Some(Verdict::Refused | Verdict::Ignored)) => MailFate::Refused,
        };
        let moving = match (&self.to_folder, self.to_uidvalidity, self.to_uid_from) {
            (Some(folder), Some(uidvalidity), Some(uid_from)) => Some(Moving {
                folder: folder.clone(),
                uidvalidity: number(uidvalidity)?,
                uid_from: number(uid_from)?,
            }),
            _ => None,
        };
        Ok(Fetched {
            id: self.id,
            place: MailPlace {
                uidvalidity: number(self.uidvalidity)?,
                uid: number(self.uid)?,
                folder: self.folder,
            },
            moving,
            message_id: self.sealed_message_id,
            fate,
        })
    }
}

impl Store {
    /// Takes or keeps the turn at the mailbox `name` until `until`; false where it is another node's.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn claim_mailbox(
        &self,
        name: &str,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<bool, StoreError> {
        let (name, node) = (name.to_owned(), self.node.clone());
        self.write(move |tx| {
            Box::pin(async move {
                let claimed = sql::query(
                    "INSERT INTO mailbox (name, lease_by, lease_until) VALUES ($1, $2, $3) \
                     ON CONFLICT (name) DO UPDATE SET lease_by = excluded.lease_by, lease_until = excluded.lease_until \
                     WHERE mailbox.lease_by IS NULL OR mailbox.lease_by = excluded.lease_by \
                       OR mailbox.lease_until IS NULL OR mailbox.lease_until <= $4",
                )
                .bind(name)
                .bind(node)
                .bind(millis(until))
                .bind(millis(now))
                .execute(&mut *tx)
                .await?;
                Ok(claimed > 0)
            })
        })
        .await
    }

    /// Gives the turn at the mailbox `name` back.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn release_mailbox(&self, name: &str) -> Result<(), StoreError> {
        let (name, node) = (name.to_owned(), self.node.clone());
        self.write(move |tx| {
            Box::pin(async move {
                sql::query(
                    "UPDATE mailbox SET lease_by = NULL, lease_until = NULL WHERE name = $1 AND lease_by = $2",
                )
                .bind(name)
                .bind(node)
                .execute(&mut *tx)
                .await?;
                Ok(())
            })
        })
        .await
    }

    /// Records where a mail lies that was looked at. False where that place was recorded before: then nothing is changed.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn record_fetched(&self, new: NewFetched, now: Timestamp) -> Result<bool, StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                let recorded = sql::query(
                    "INSERT INTO fetched (mailbox, folder, uidvalidity, uid, submission_id, sealed_message_id, fetched_at, \
                       reason) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING",
                )
                .bind(&new.mailbox)
                .bind(&new.place.folder)
                .bind(i64::from(new.place.uidvalidity))
                .bind(i64::from(new.place.uid))
                .bind(new.became.ok().map(String::from))
                .bind(&new.message_id)
                .bind(millis(now))
                .bind(new.became.err())
                .execute(&mut *tx)
                .await?;
                if recorded == 0 {
                    return Ok(false);
                }
                if let Err(reason) = new.became {
                    let actor = Actor::Intake(Source::Imap(new.mailbox));
                    let event = LedgerEvent::MailRefused { reason: reason.to_owned() };
                    ledger::write(tx, now, ledger::Entry::new(&actor, &event));
                }
                Ok(true)
            })
        })
        .await
    }

    /// Mails of which nothing was accepted, newest first; only those of `mailbox` where it is given.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn refused_mails(
        &self,
        mailbox: Option<&str>,
        most: u32,
    ) -> Result<Vec<RefusedMail>, StoreError> {
        let rows: Vec<(String, String, i64, i64, i64, String)> = sql::query(
            "SELECT mailbox, folder, uidvalidity, uid, fetched_at, reason FROM fetched \
             WHERE reason IS NOT NULL AND (CAST($1 AS TEXT) IS NULL OR mailbox = $1) ORDER BY fetched_at DESC, id DESC LIMIT CAST($2 AS BIGINT)",
        )
        .bind(mailbox)
        .bind(i64::from(most))
        .fetch_all(self.readers())
        .await?;
        let read =
            |(mailbox, folder, uidvalidity, uid, at, reason): (String, String, i64, i64, i64, String)| {
                let number = |n: i64| u32::try_from(n).map_err(|e| StoreError::unreadable("fetched", e));
                let place = MailPlace { folder, uidvalidity: number(uidvalidity)?, uid: number(uid)? };
                let fetched_at = Timestamp::from_millisecond(at).unwrap_or(Timestamp::MIN);
                Ok(RefusedMail { mailbox, place, fetched_at, reason })
            };
        rows.into_iter().map(read).collect()
    }

    /// The UIDs in a folder that were looked at already.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn fetched_uids(
        &self,
        mailbox: &str,
        folder: &str,
        uidvalidity: u32,
    ) -> Result<BTreeSet<u32>, StoreError> {
        let uids: Vec<i64> =
            sql::query("SELECT uid FROM fetched WHERE mailbox = $1 AND folder = $2 AND uidvalidity = $3")
                .bind(mailbox)
                .bind(folder)
                .bind(i64::from(uidvalidity))
                .scalars(self.readers())
                .await?;
        Ok(uids.into_iter().filter_map(|uid| u32::try_from(uid).ok()).collect())
    }

    /// Mails that are not where they belong, or have come to their end, oldest first. Mails with Jobs under way belong in `faxed`, or
    /// in `held` while one of those is held.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn unsettled_fetched(
        &self,
        mailbox: &str,
        faxed: &str,
        held: &str,
    ) -> Result<Vec<Fetched>, StoreError> {
        // Thousands may wait for their Jobs where they belong: they must not stand in the way of those that have to be moved.
        let rows: Vec<Row> = sql::query(concat!(
            mails!(),
            "WHERE mailbox = $1 AND settled = 0 AND (to_folder IS NOT NULL OR fetched.submission_id IS NULL \
             OR verdict <> 'jobs' OR (verdict = 'jobs' AND (final_at IS NOT NULL OR folder <> \
             CASE WHEN EXISTS (SELECT 1 FROM job WHERE job.submission_id = fetched.submission_id AND state = 'held') \
             THEN $2 ELSE $3 END))) ORDER BY fetched.id LIMIT CAST($4 AS BIGINT)",
        ))
            .bind(mailbox)
            .bind(held)
            .bind(faxed)
            .bind(AT_ONCE)
            .fetch_all(self.readers())
            .await?;
        Ok(rows.into_iter().filter_map(|row| super::told(row.read())).collect())
    }

    /// Mails that have lain since before `before` where the end of their faxes brought them.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn expired_fetched(
        &self,
        mailbox: &str,
        before: Timestamp,
    ) -> Result<Vec<Fetched>, StoreError> {
        let rows: Vec<Row> = sql::query(concat!(
            mails!(),
            "WHERE mailbox = $1 AND settled = 1 AND moved_at <= $2 ORDER BY moved_at LIMIT CAST($3 AS BIGINT)",
        ))
        .bind(mailbox)
        .bind(millis(before))
        .bind(AT_ONCE)
        .fetch_all(self.readers())
        .await?;
        Ok(rows.into_iter().filter_map(|row| super::told(row.read())).collect())
    }

    /// Notes that a mail is about to be moved; `None`: that it was not.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn note_moving(&self, id: i64, moving: Option<Moving>) -> Result<(), StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                let (folder, uidvalidity, uid_from) = match moving {
                    Some(to) => (Some(to.folder), Some(to.uidvalidity), Some(to.uid_from)),
                    None => (None, None, None),
                };
                sql::query(
                    "UPDATE fetched SET to_folder = $1, to_uidvalidity = $2, to_uid_from = $3 WHERE id = $4",
                )
                .bind(folder)
                .bind(uidvalidity.map(i64::from))
                .bind(uid_from.map(i64::from))
                .bind(id)
                .execute(&mut *tx)
                .await?;
                Ok(())
            })
        })
        .await
    }

    /// Notes where a mail lies from now on.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn note_moved(&self, id: i64, place: MailPlace, now: Timestamp) -> Result<(), StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                // Somebody who drags a mail back and forth can make a server give a UID that an older row has: that one is gone.
                sql::query(
                    "DELETE FROM fetched WHERE folder = $1 AND uidvalidity = $2 AND uid = $3 AND id <> $4 \
                     AND mailbox = (SELECT mailbox FROM fetched WHERE id = $4)",
                )
                .bind(&place.folder)
                .bind(i64::from(place.uidvalidity))
                .bind(i64::from(place.uid))
                .bind(id)
                .execute(&mut *tx)
                .await?;
                sql::query(
                    "UPDATE fetched SET folder = $1, uidvalidity = $2, uid = $3, moved_at = $4, \
                     to_folder = NULL, to_uidvalidity = NULL, to_uid_from = NULL WHERE id = $5",
                )
                .bind(&place.folder)
                .bind(i64::from(place.uidvalidity))
                .bind(i64::from(place.uid))
                .bind(millis(now))
                .bind(id)
                .execute(&mut *tx)
                .await?;
                Ok(())
            })
        })
        .await
    }

    /// Notes that a mail lies where the end of its faxes brings it.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn settle_fetched(&self, id: i64, now: Timestamp) -> Result<(), StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                sql::query(
                    "UPDATE fetched SET settled = 1, sealed_message_id = NULL, moved_at = COALESCE(moved_at, $1) WHERE id = $2",
                )
                .bind(millis(now))
                .bind(id)
                .execute(&mut *tx)
                .await?;
                Ok(())
            })
        })
        .await
    }

    /// Forgets mails that are no longer where they were: deleted, or taken away by somebody.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn forget_fetched(&self, ids: Vec<i64>) -> Result<(), StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                for id in ids {
                    sql::query("DELETE FROM fetched WHERE id = $1").bind(id).execute(&mut *tx).await?;
                }
                Ok(())
            })
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_790_000_000 + second).unwrap()
    }

    fn refused(uidvalidity: u32, uid: u32) -> NewFetched {
        NewFetched {
            mailbox: "office".into(),
            place: MailPlace { folder: "INBOX".into(), uidvalidity, uid },
            became: Err("no reason"),
            message_id: None,
        }
    }

    async fn unsettled(store: &Store) -> Vec<Fetched> {
        store.unsettled_fetched("office", "Faxed", "Held").await.unwrap()
    }

    #[tokio::test]
    async fn one_node_at_a_time_has_the_turn() {
        let dir = tempfile::tempdir().unwrap();
        let one = Store::open(dir.path(), "one").await.unwrap();
        let two = Store::open(dir.path(), "two").await.unwrap();
        assert!(one.claim_mailbox("office", at(0), at(60)).await.unwrap());
        assert!(!two.claim_mailbox("office", at(1), at(61)).await.unwrap());
        assert!(two.claim_mailbox("other", at(1), at(61)).await.unwrap(), "another mailbox");
        assert!(one.claim_mailbox("office", at(30), at(90)).await.unwrap(), "kept");
        assert!(!two.claim_mailbox("office", at(61), at(121)).await.unwrap());
        assert!(two.claim_mailbox("office", at(90), at(150)).await.unwrap(), "the other one died");
        assert!(!one.claim_mailbox("office", at(91), at(151)).await.unwrap());
        one.release_mailbox("office").await.unwrap();
        assert!(!one.claim_mailbox("office", at(92), at(152)).await.unwrap(), "not its own to give back");
        two.release_mailbox("office").await.unwrap();
        assert!(one.claim_mailbox("office", at(93), at(153)).await.unwrap());
        assert_eq!(one.drop_own_leases().await.unwrap(), 1, "of a process that was killed");
        assert!(two.claim_mailbox("office", at(94), at(154)).await.unwrap());
    }

    #[tokio::test]
    async fn a_place_is_recorded_once_and_under_its_uidvalidity() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), "test").await.unwrap();
        assert!(store.record_fetched(refused(1, 5), at(0)).await.unwrap());
        assert!(!store.record_fetched(refused(1, 5), at(0)).await.unwrap());
        assert!(store.record_fetched(refused(2, 5), at(0)).await.unwrap());
        assert_eq!(store.fetched_uids("office", "INBOX", 1).await.unwrap(), [5].into());
        assert!(store.fetched_uids("office", "INBOX", 3).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn the_way_of_a_mail() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), "test").await.unwrap();
        store.record_fetched(refused(1, 5), at(0)).await.unwrap();
        let [mail] = &unsettled(&store).await[..] else { panic!("one mail") };
        assert_eq!((mail.fate, &mail.moving), (MailFate::Refused, &None));
        let moving = Moving { folder: "Refused".into(), uidvalidity: 9, uid_from: 3 };
        store.note_moving(mail.id, Some(moving.clone())).await.unwrap();
        assert_eq!(unsettled(&store).await[0].moving, Some(moving));
        let place = MailPlace { folder: "Refused".into(), uidvalidity: 9, uid: 4 };
        store.note_moved(mail.id, place.clone(), at(10)).await.unwrap();
        let moved = unsettled(&store).await.remove(0);
        assert_eq!((&moved.place, &moved.moving), (&place, &None));
        store.settle_fetched(mail.id, at(20)).await.unwrap();
        assert!(unsettled(&store).await.is_empty());
        let expired = async |after: i64| {
            let before = at(after).checked_sub(SignedDuration::from_secs(30)).unwrap();
            store.expired_fetched("office", before).await.unwrap().len()
        };
        assert_eq!((expired(39).await, expired(40).await), (0, 1), "30 s after the move");
        store.forget_fetched(vec![mail.id]).await.unwrap();
        assert_eq!(expired(1000).await, 0);
    }
}
