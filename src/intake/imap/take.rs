//! A mail in the mailbox becomes a Submission, or is noted as one of which nothing is faxed.

use tokio::sync::watch;
use tokio::time::Instant;

use super::envelope::{Envelope, header_of};
use super::session::Session;
use super::{Fetcher, MailboxError, PASSED_OVER, TRIES};
use crate::config::Proof;
use crate::crash::reached;
use crate::intake::proof::vouched;
use crate::intake::{Arrival, Draft, Refusal};
use crate::job::Source;
use crate::store::{MailPlace, NewFetched};

/// Mails whose sizes are asked for at once, and after which those that are decided are moved.
const AT_ONCE: usize = 20;
/// Bytes that go to the spool at a time.
const CHUNK: usize = 64 << 10;

/// Why nothing of a mail is faxed, for the ledger: words without anything of the mail.
type Reason = &'static str;

const NOTICE: Reason = "it is a notice or an automatic answer, which is never faxed";
const OUR_OWN: Reason = "it is from the address that receipts come from";
const AUTOMATIC: Reason =
    "a program wrote it, and its sender is a person (a sender's key kind = \"program\" lets programs send)";

impl Fetcher {
    /// Takes every mail that was not looked at yet, oldest first.
    pub(super) async fn take_new(
        &self,
        session: &mut Session,
        stop: &watch::Receiver<bool>,
    ) -> Result<(), MailboxError> {
        let folder = &self.mailbox.section.folder;
        let uidvalidity = session.select(folder).await?;
        let known = self.store().fetched_uids(&self.mailbox.name, folder, uidvalidity).await?;
        let mut new = session.search("UNDELETED").await?;
        new.retain(|uid| !known.contains(uid) && !self.passed_over(uidvalidity, *uid));
        for some in new.chunks(AT_ONCE) {
            if session.select(folder).await? != uidvalidity {
                return Ok(());
            }
            for (uid, size) in session.sizes(some).await? {
                if *stop.borrow() {
                    return Ok(());
                }
                let place = MailPlace { folder: folder.clone(), uidvalidity, uid };
                self.begin_try(&place);
                let taken = self.take(session, place.clone(), size).await;
                // What is wrong here is no fault of the mail.
                if matches!(taken, Ok(()) | Err(MailboxError::Intake(_) | MailboxError::Store(_))) {
                    self.memory().broken.remove(&(uidvalidity, uid));
                }
                taken?;
            }
            self.settle(session).await?;
        }
        Ok(())
    }

    async fn take(&self, session: &mut Session, place: MailPlace, size: u64) -> Result<(), MailboxError> {
        const LARGE: Reason = "larger than limits.submission";
        let intake = &self.mailbox.intake;
        if size > intake.config().limits.submission.get() {
            return self.refuse(place, None, LARGE).await;
        }
        let Ok(_memory) = self.mailbox.bodies.acquire().await else { return Ok(()) };
        // Before the mail travels: a full disk is known now.
        let draft = intake.begin().await.map_err(MailboxError::Intake)?;
        let body = match session.body(place.uid).await {
            // The server told a smaller size than it sent. This connection is of no use any more, and the mail is known from now on.
            Err(MailboxError::TooLarge) => {
                self.refuse(place, None, LARGE).await?;
                return Err(MailboxError::TooLarge);
            }
            body => body?,
        };
        let Some(body) = body else { return Ok(()) };
        self.accept(place, draft, body.bytes()).await
    }

    async fn accept(&self, place: MailPlace, mut draft: Draft, mail: &[u8]) -> Result<(), MailboxError> {
        // A header of any bytes: what the mailbox's server took is taken.
        let mut watch = draft.header_watch(false);
        for chunk in mail.chunks(CHUNK) {
            if watch.feed(chunk).is_err() {
                return self.refuse(place, None, "its header is too large").await;
            }
            match draft.write(chunk).await {
                Err(refusal) if refusal.permanent => {
                    return self.refuse(place, None, "larger than limits.submission").await;
                }
                written => written.map_err(MailboxError::Intake)?,
            }
        }
        let seen = watch.seen();
        let message_id = seen.message_id.clone();
        let mut arrival = match self.arrival(mail) {
            Ok(arrival) => arrival,
            Err(reason) => return self.refuse(place, message_id, reason).await,
        };
        let intake = &self.mailbox.intake;
        if intake.takes(&arrival.sender, &arrival.envelope_to, &seen).is_err() {
            let reason = match &seen.automatic {
                Some(automatic) if automatic.notice => NOTICE,
                Some(_) => AUTOMATIC,
                None => OUR_OWN,
            };
            return self.refuse(place, message_id, reason).await;
        }
        arrival.content_sha256 = Some(seen.content.sha256(intake.readers(&arrival.sender)));
        arrival.former = seen.former;
        arrival.message_id.clone_from(&message_id);
        let accepted = match self.mailbox.intake.accept(draft, arrival).await {
            Ok(accepted) => accepted,
            Err(Refusal { permanent: true, .. }) => {
                return self.refuse(place, message_id, "there is nothing in it").await;
            }
            Err(refusal) => return Err(MailboxError::Intake(refusal)),
        };
        reached("imap.accepted");
        let mailbox = self.mailbox.name.clone();
        let message_id = self.mailbox.intake.sealed_message_id(message_id);
        let new = NewFetched { mailbox, place, became: Ok(accepted.id()), message_id };
        self.store().record_fetched(new, self.now()).await?;
        reached("imap.recorded");
        Ok(())
    }

    /// Whose mail it is and for whom.
    fn arrival(&self, mail: &[u8]) -> Result<Arrival, Reason> {
        let section = &self.mailbox.section;
        let intake = &self.mailbox.intake;
        let header = header_of(mail);
        let envelope = Envelope::read(header, &section.recipients);
        let (sender, proof, from) = match (&section.sender, &section.authserv_id) {
            // Anybody's mail in here is this sender's; what became of it is not for anybody's eyes.
            (Some(sender), _) => {
                (sender.clone(), Proof::Mailbox, self.writes_for(sender, envelope.from.clone()))
            }
            (None, Some(authserv_id)) => {
                let from = vouched(header, authserv_id)
                    .map_err(|_| "nothing that its server found proves who sent it")?;
                let sender = intake
                    .sender_of(&from, Proof::Upstream)
                    .ok_or("its sender is none that may have mails of this mailbox faxed")?;
                (sender, Proof::Upstream, Some(from))
            }
            (None, None) => return Err("nothing proves who sent it"),
        };
        let source = Source::Imap(self.mailbox.name.clone());
        let to = envelope.recipients(|to| intake.routable_from(&source, &sender, to).is_ok());
        if to.is_empty() {
            return Err("it names no address that a rule takes");
        }
        let mut arrival = Arrival::new(source, sender);
        arrival.proof = Some(proof);
        arrival.straight = proof != Proof::Upstream;
        arrival.author = from.clone().filter(|_| proof == Proof::Upstream);
        arrival.envelope_from = from;
        arrival.envelope_to = to;
        Ok(arrival)
    }

    /// `from`, unless the sender has addresses and this is none of them.
    fn writes_for(&self, sender: &str, from: Option<String>) -> Option<String> {
        let mut senders = self.mailbox.intake.config().sender.iter();
        let sender = senders.find(|known| known.name == sender)?;
        from.filter(|from| sender.addresses.is_empty() || sender.writes_from(from))
    }

    async fn refuse(
        &self,
        place: MailPlace,
        message_id: Option<String>,
        reason: Reason,
    ) -> Result<(), MailboxError> {
        let (mailbox, uid) = (self.mailbox.name.clone(), place.uid);
        let message_id = self.mailbox.intake.sealed_message_id(message_id);
        let new = NewFetched { mailbox: mailbox.clone(), place, became: Err(reason), message_id };
        if self.store().record_fetched(new, self.now()).await? {
            tracing::warn!(mailbox, uid, "mailbox {mailbox}: nothing of mail {uid} is faxed: {reason}");
        }
        Ok(())
    }

    fn begin_try(&self, place: &MailPlace) {
        let mut memory = self.memory();
        // Mails that went away in the meantime are no use to remember.
        if memory.broken.len() > 1000 {
            memory.broken.clear();
        }
        let entry = memory.broken.entry((place.uidvalidity, place.uid)).or_insert((0, Instant::now()));
        *entry = (entry.0.saturating_add(1), Instant::now());
        if entry.0 == TRIES {
            let (name, uid) = (&self.mailbox.name, place.uid);
            tracing::warn!(
                mailbox = name,
                uid,
                "mailbox {name}: the connection broke twice over mail {uid}; if it does so again, \
                 the mail is passed over for half an hour"
            );
        }
    }

    fn passed_over(&self, uidvalidity: u32, uid: u32) -> bool {
        let memory = self.memory();
        memory
            .broken
            .get(&(uidvalidity, uid))
            .is_some_and(|(tries, last)| *tries >= TRIES && last.elapsed() < PASSED_OVER)
    }
}
