//! MAIL and RCPT: who sends, to whom, and what is wanted to be known afterwards.

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::{Next, Protocol, Say, Session};
use crate::intake::proof::{Proven, Standing};
use crate::intake::smtp::incoming::Incoming;
use crate::intake::smtp::parameter::{OfMail, OfRcpt};
use crate::intake::smtp::path::{Mailbox, Path};
use crate::intake::smtp::recent::Origin;
use crate::intake::smtp::reply::Reply;
use crate::intake::smtp::told::Reason;
use crate::sealed::{Dsn, DsnRecipient};
use crate::text::Bytes;

/// RCPT commands per mail, as a multiple of the recipients it may have: refused ones count here too.
const ASKED_PER_RECIPIENT: usize = 2;

/// A mail from MAIL to its end.
pub(super) struct Envelope {
    pub(super) from: String,
    /// SMTPUTF8 was declared.
    pub(super) international: bool,
    /// Whose address that is as far as it is known, or the answer to every RCPT: clients show a refusal there per recipient, one
    /// at MAIL often only as "sending failed".
    pub(super) standing: Result<Standing, Reply>,
    pub(super) to: Vec<String>,
    /// RCPT commands that were taken, the same address twice included: LMTP answers each of them at the end.
    pub(super) taken: usize,
    asked: usize,
    /// Whether its sender's minute has room for it, once that was asked.
    counted: Option<bool>,
    dsn: Option<Dsn>,
    pub(super) body: Body,
}

/// How much of the mail itself has come.
pub(super) enum Body {
    /// Nothing.
    None,
    /// A chunk, by BDAT.
    Begun(Box<Incoming>),
    /// A chunk that was refused so; those behind it are thrown away (RFC 3030, section 2).
    Failed(Reply),
}

impl Envelope {
    /// What its client asked to be told, where it asked.
    pub(super) fn dsn(&mut self) -> Option<Dsn> {
        self.dsn.take()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<'_, S> {
    /// Whether a mail's first bytes have come and its last have not: a stop of the service waits for those.
    pub(super) fn mail_is_under_way(&self) -> bool {
        matches!(&self.mail, Some(Envelope { body: Body::Begun(_), .. }))
    }

    pub(super) fn forget_mail(&mut self) {
        self.mail = None;
        self.wire.end_of_body();
    }

    pub(super) fn mail(&mut self, from: Path, asked: OfMail) -> Next {
        if self.hello.is_none() {
            return self.bad_sequence(match self.protocol {
                Protocol::Smtp => "EHLO comes first.",
                Protocol::Lmtp => "LHLO comes first.",
            });
        }
        // A mail of which a chunk was refused is over (RFC 3030, section 2).
        if self.mail.as_ref().is_some_and(|mail| !matches!(mail.body, Body::Failed(_))) {
            return self.bad_sequence("One mail at a time: RSET forgets the one that was begun.");
        }
        self.forget_mail();
        let most = self.settings.mails_per_minute;
        if !self.settings.by_address.allows(|| Origin::from(self.peer), most, Instant::now()) {
            if self.settings.told.note(Reason::Pace, self.peer) {
                let peer = self.peer;
                tracing::warn!(peer.ip = %peer, "{peer} has to wait: {}", Reason::Pace);
            }
            return Say(Reply::new(
                450,
                "4.7.0",
                "Your address sends too many mails a minute; go on more slowly.",
            ));
        }
        if self.settings.require_tls && !self.wire.is_tls() && !self.may_do_without_tls() {
            if self.settings.told.note(Reason::NoTls, self.peer) {
                let peer = self.peer;
                tracing::warn!(peer.ip = %peer, "mail from {peer} was refused: {}", Reason::NoTls);
            }
            // RFC 3207, section 4.
            return Say(Reply::new(530, "5.7.0", "Mail is only taken over TLS here: STARTTLS first."));
        }
        if asked.size.is_some_and(|size| size > self.settings.largest) {
            return Say(too_large(self.settings.largest));
        }
        let (from, standing) = match from {
            Path::Null => (String::new(), Err(no_sender())),
            Path::Postmaster => {
                return self.strike(Reply::new(553, "5.1.7", "That is no mail address to send from."));
            }
            Path::Mailbox(from) if from.international && !asked.international => {
                return Say(needs_smtputf8("5.6.7"));
            }
            Path::Mailbox(Mailbox { address, .. }) => {
                let known = self.intake.standing(&self.witness(address.clone()));
                (address, known.map_err(|refusal| self.refused(&refusal)))
            }
        };
        let wants_dsn = asked.full.is_some() || asked.envelope_id.is_some();
        let dsn =
            Dsn { envelope_id: asked.envelope_id, full: asked.full.unwrap_or(false), recipients: Vec::new() };
        self.mail = Some(Envelope {
            from,
            international: asked.international,
            standing,
            to: Vec::new(),
            taken: 0,
            asked: 0,
            counted: None,
            dsn: wants_dsn.then_some(dsn),
            body: Body::None,
        });
        Say(Reply::new(250, "2.1.0", "Go on."))
    }

    pub(super) fn rcpt(&mut self, to: Path, asked: OfRcpt) -> Next {
        let Some(mut mail) = self.mail.take() else {
            return self.bad_sequence("MAIL comes before RCPT.");
        };
        let next = self.rcpt_of(&mut mail, to, asked);
        self.mail = Some(mail);
        next
    }

    fn rcpt_of(&mut self, mail: &mut Envelope, to: Path, asked: OfRcpt) -> Next {
        if !matches!(mail.body, Body::None) {
            return self.bad_sequence("RCPT comes before BDAT.");
        }
        let standing = match &mail.standing {
            Ok(standing) => standing.clone(),
            Err(reply) => return Say(reply.clone()),
        };
        mail.asked = mail.asked.saturating_add(1);
        let most = self.settings.max_recipients;
        if mail.to.len() >= most || mail.asked > most.saturating_mul(ASKED_PER_RECIPIENT) {
            let text = format!("A mail has at most {most} recipients here; send the rest in another.");
            return Say(Reply::new(452, "4.5.3", text));
        }
        let to = match to {
            Path::Mailbox(to) if to.international && !mail.international => {
                return Say(needs_smtputf8("5.6.7"));
            }
            Path::Mailbox(to) => to.address,
            Path::Postmaster => {
                let text = "postmaster is not faxed; write to the organization that runs this server.";
                return Say(Reply::new(550, "5.1.1", text));
            }
            Path::Null => {
                return self.strike(Reply::new(553, "5.1.3", "That is no mail address to send to."));
            }
        };
        let routable = match &standing {
            Standing::Proven(proven) => self.intake.routable(&proven.sender, &to),
            Standing::Open => self.intake.routable_by_any(&to),
        };
        if let Err(refusal) = routable {
            return Say(self.refused(&refusal));
        }
        if let Standing::Proven(proven) = &standing
            && !*mail.counted.get_or_insert_with(|| self.has_room(proven))
        {
            return Say(too_many());
        }
        mail.taken = mail.taken.saturating_add(1);
        if !mail.to.contains(&to) {
            if asked.notify.is_some() || asked.original.is_some() {
                let notify = asked.notify.unwrap_or_default();
                mail.dsn.get_or_insert_default().recipients.push(DsnRecipient {
                    to: to.clone(),
                    original: asked.original,
                    failure: notify.failure,
                    success: notify.success,
                    never: asked.notify.is_some() && !(notify.failure || notify.success || notify.delay),
                });
            }
            mail.to.push(to);
        }
        Say(Reply::new(250, "2.1.5", "Will be faxed."))
    }

    /// Whether mail from this address is taken without TLS, although others' is not.
    fn may_do_without_tls(&self) -> bool {
        let named = self.settings.without_tls.iter().any(|network| network.contains(self.peer));
        self.peer.is_loopback() || (named && !self.nameless)
    }

    /// Counts one more mail of a sender; whether its minute has room for it.
    fn has_room(&self, proven: &Proven) -> bool {
        !self.is_full(proven) && self.count(proven)
    }

    /// Whether a sender's minute is full.
    pub(super) fn is_full(&self, proven: &Proven) -> bool {
        let is_full =
            self.settings.by_sender.is_full(|| minute_of(proven), self.most_of(proven), Instant::now());
        if is_full && self.settings.told.note(Reason::SenderPace, self.peer) {
            let (sender, peer) = (&proven.sender, self.peer);
            tracing::warn!(sender, peer.ip = %peer, "sender {sender:?} has to wait, {peer}: {}", Reason::SenderPace);
        }
        is_full
    }

    /// Counts one more mail of a sender; whether there was room for it.
    pub(super) fn count(&self, proven: &Proven) -> bool {
        self.settings.by_sender.allows(|| minute_of(proven), self.most_of(proven), Instant::now())
    }

    fn most_of(&self, proven: &Proven) -> Option<u32> {
        let sender = self.intake.config().sender.iter().find(|sender| sender.name == proven.sender);
        sender.and_then(|sender| sender.mails_per_minute)
    }
}

/// Mails that anybody may have made out of a copy have a minute of their own.
fn minute_of(proven: &Proven) -> (String, bool) {
    (proven.sender.clone(), proven.doubt.is_some())
}

/// The answer to a sender whose minute is full.
pub(super) fn too_many() -> Reply {
    Reply::new(450, "4.7.1", "This sender has too many mails a minute; go on more slowly.")
}

fn no_sender() -> Reply {
    Reply::new(550, "5.7.1", "Mail without a sender is a notice from a machine; such mail is never faxed.")
}

/// RFC 6531, section 3.5.
fn needs_smtputf8(enhanced: &'static str) -> Reply {
    Reply::new(553, enhanced, "An address with such characters needs the parameter SMTPUTF8 of MAIL.")
}

fn too_large(largest: u64) -> Reply {
    Reply::new(552, "5.3.4", format!("A mail has at most {} here.", Bytes(largest)))
}
