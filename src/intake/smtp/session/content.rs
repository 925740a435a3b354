//! DATA and BDAT, and the promise at the end of a mail.

use tokio::io::{AsyncRead, AsyncWrite};

use super::envelope::{Body, Envelope, too_many};
use super::{Go, Next, Protocol, Say, Session};
use crate::crash;
use crate::intake::proof::Standing;
use crate::intake::proof::copy::Peer;
use crate::intake::smtp::incoming::{Incoming, Unfit, Whole};
use crate::intake::smtp::reply::Reply;
use crate::intake::smtp::told::Reason;
use crate::intake::smtp::wire::Hangup;
use crate::intake::{Accepted, Arrival};
use crate::job::Source;

impl<S: AsyncRead + AsyncWrite + Unpin> Session<'_, S> {
    pub(super) async fn data(&mut self) -> Result<Next, Hangup> {
        match &self.mail {
            None => return Ok(self.bad_sequence("MAIL and RCPT come before DATA.")),
            // RFC 3030, section 2: never both in one mail.
            Some(Envelope { body: Body::Begun(_) | Body::Failed(_), .. }) => {
                return Ok(
                    self.bad_sequence("This mail came by BDAT so far; it ends with BDAT LAST or RSET.")
                );
            }
            Some(_) => {}
        }
        let Some(mail) = self.mail.take() else { return Ok(Go) };
        let incoming = match self.begin(&mail).await {
            Ok(incoming) => incoming,
            Err(reply) => return Ok(Say(reply)),
        };
        self.wire.reply(&Reply::plain(354, "Send the mail; a line with one dot ends it.")).await?;
        self.wire.flush().await?;
        let received = incoming.data(&mut self.wire).await?;
        let received = received.map_err(|unfit| self.unfit(unfit));
        self.end(mail, received).await
    }

    /// RFC 3030: whatever the answer is, the `size` bytes are read first, since what follows them are commands again.
    pub(super) async fn bdat(&mut self, size: u64, last: bool) -> Result<Next, Hangup> {
        let Some(mut mail) = self.mail.take() else {
            self.wire.skip(size).await?;
            self.wire.end_of_body();
            return Ok(self.bad_sequence("MAIL and RCPT come before BDAT."));
        };
        if let Body::None = mail.body {
            mail.body = match self.begin(&mail).await {
                Ok(incoming) => Body::Begun(Box::new(incoming)),
                Err(reply) => Body::Failed(reply),
            };
        }
        match &mut mail.body {
            Body::Begun(incoming) => incoming.chunk(&mut self.wire, size).await?,
            Body::None | Body::Failed(_) => self.wire.skip(size).await?,
        }
        if last {
            self.wire.end_of_body();
            let received = match std::mem::replace(&mut mail.body, Body::None) {
                Body::Begun(incoming) => incoming.chunks().await.map_err(|unfit| self.unfit(unfit)),
                Body::Failed(reply) => Err(reply),
                Body::None => return Ok(Go),
            };
            return self.end(mail, received).await;
        }
        let reply = match &mail.body {
            Body::Begun(incoming) => incoming.refusal().cloned().map(|unfit| self.unfit(unfit)),
            Body::Failed(reply) => Some(reply.clone()),
            Body::None => None,
        };
        if let Some(reply) = &reply {
            mail.body = Body::Failed(reply.clone());
        }
        self.mail = Some(mail);
        Ok(Say(reply.unwrap_or_else(|| Reply::new(250, "2.0.0", format!("{size} bytes came.")))))
    }

    /// Opens the draft of a mail that has recipients.
    async fn begin(&self, mail: &Envelope) -> Result<Incoming, Reply> {
        let standing = match &mail.standing {
            Ok(standing) if !mail.to.is_empty() => standing,
            // RFC 2033, section 4.2, wants 503.
            _ => {
                let code = if self.protocol == Protocol::Lmtp { 503 } else { 554 };
                return Err(Reply::new(code, "5.5.1", "No recipient of this mail was taken."));
            }
        };
        let mut draft = self.intake.begin().await.map_err(|refusal| self.refused(&refusal))?;
        if *standing == Standing::Open {
            draft.keep_copy(Peer { address: self.peer, known: self.known });
        }
        Ok(Incoming::new(draft, mail.international))
    }

    /// Answers the end of a mail: once, or in LMTP once for every recipient that was taken (RFC 2033, section 4.2). The answers
    /// are all the same, since a mail is accepted for all its recipients or for none.
    async fn end(&mut self, mail: Envelope, received: Result<Whole, Reply>) -> Result<Next, Hangup> {
        let answers = if self.protocol == Protocol::Lmtp { mail.taken.max(1) } else { 1 };
        let (reply, accepted) = match received {
            Ok(whole) => match self.accept(mail, whole).await {
                Ok(reply) => (reply, true),
                Err(reply) => (reply, false),
            },
            Err(reply) => (reply, false),
        };
        for _ in 0..answers {
            self.wire.reply(&reply).await?;
        }
        if accepted {
            self.wire.proven();
            // The promise is made: it goes out at once, whatever else is waiting to be read.
            self.wire.flush().await?;
            crash::reached("intake.answered");
            self.strikes = 0;
        }
        Ok(Go)
    }

    /// The answer to a mail that was refused while it came, which the log is told of here.
    fn unfit(&self, unfit: Unfit) -> Reply {
        match unfit {
            Unfit::Refusal(refusal) => self.refused(&refusal),
            Unfit::Reply(reply) => {
                let (code, peer) = (reply.enhanced, self.peer);
                if self.settings.told.note(Reason::Mail(code), peer) {
                    tracing::info!(smtp.code = code, peer.ip = %peer, "a mail from {peer} was refused with {code}");
                }
                reply
            }
        }
    }

    async fn accept(&self, mut mail: Envelope, whole: Whole) -> Result<Reply, Reply> {
        let dsn = mail.dsn();
        let counted = matches!(mail.standing, Ok(Standing::Proven(_)));
        let proven = match mail.standing? {
            Standing::Proven(proven) => proven,
            Standing::Open => {
                let witness = self.witness(mail.from.clone());
                let proven = self.intake.prove(&whole.draft, &witness, &mail.to).await;
                let proven = proven.map_err(|refusal| self.refused(&refusal))?;
                if self.is_full(&proven) {
                    return Err(too_many());
                }
                proven
            }
        };
        let taken = self.intake.takes(&proven.sender, &mail.to, &whole.seen);
        taken.map_err(|refusal| self.refused(&refusal))?;
        let readers = self.intake.readers(&proven.sender);
        let arrival = Arrival {
            proof: Some(proven.proof),
            doubt: proven.doubt.clone(),
            straight: proven.straight,
            author: proven.author.clone(),
            // What is to be told to whom is not for somebody to say who may merely have a copy of the mail.
            dsn: dsn.filter(|_| proven.straight),
            envelope_from: Some(mail.from),
            envelope_to: mail.to,
            message_id: whole.seen.message_id,
            content_sha256: Some(whole.seen.content.sha256(readers)),
            former: whole.seen.former,
            ..Arrival::new(Source::Smtp, proven.sender.clone())
        };
        let accepted = self.intake.accept(whole.draft, arrival).await;
        if !counted && matches!(accepted, Ok(Accepted::New(_))) {
            // What came before does not use up its sender's minute: anybody may send copies.
            self.count(&proven);
        }
        match accepted {
            Ok(Accepted::New(id)) => Ok(Reply::new(250, "2.0.0", format!("accepted as {id}"))),
            Ok(Accepted::Known(id)) => Ok(Reply::new(250, "2.0.0", format!("accepted before as {id}"))),
            Err(refusal) => Err(self.refused(&refusal)),
        }
    }
}
