//! The dialogue of one session: RFC 5321 with the extensions that the EHLO reply names.

use std::net::IpAddr;
use std::ops::Range;
use std::time::Duration;

use smtp_proto::{AUTH_PLAIN, Error as Fault, MAIL_BODY_7BIT, MAIL_BODY_8BITMIME, MailFrom, RcptTo, Request};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::auth;
use super::receive::{Received, receive};
use super::reply::Reply;
use super::wire::{Hangup, Line, MAX_LINE, Wire};
use crate::crash;
use crate::intake::proof::{Standing, Witness};
use crate::intake::{Accepted, Arrival, Intake, Refusal, Source};

/// So many commands that make no sense, and the session is closed.
const MAX_STRIKES: u32 = 20;
/// So many wrong passwords, and the session is closed.
const MAX_FAILED_LOGINS: u32 = 3;
/// RCPT commands per mail, as a multiple of the recipients it may have: refused ones count here too.
const ASKED_PER_RECIPIENT: usize = 2;

/// What every session of a listener has in common.
pub(super) struct Settings {
    pub(super) hostname: String,
    pub(super) max_recipients: usize,
    /// Largest mail, in bytes.
    pub(super) largest: u64,
    pub(super) tls: Option<TlsAcceptor>,
}

/// One client's session.
pub(super) struct Session<'a, S> {
    wire: Wire<S>,
    settings: &'a Settings,
    intake: &'a Intake,
    peer: IpAddr,
    /// What the client called itself, once it has.
    hello: Option<String>,
    login: Option<String>,
    mail: Option<Envelope>,
    strikes: u32,
    failed_logins: u32,
}

/// The mail between MAIL and DATA.
struct Envelope {
    from: String,
    /// Whose address that is as far as it is known, or the answer to every RCPT: clients show a refusal there per recipient, one
    /// at MAIL often only as "sending failed".
    standing: Result<Standing, Reply>,
    to: Vec<String>,
    asked: usize,
}

/// What happens after a command.
enum Next {
    Say(Reply),
    /// Everything is said.
    Go,
    /// The last word, then the connection is closed.
    Close(Reply),
}

use Next::{Close, Go, Say};

impl<'a, S: AsyncRead + AsyncWrite + Unpin> Session<'a, S> {
    pub(super) fn new(wire: Wire<S>, settings: &'a Settings, intake: &'a Intake, peer: IpAddr) -> Self {
        Session {
            wire,
            settings,
            intake,
            peer,
            hello: None,
            login: None,
            mail: None,
            strikes: 0,
            failed_logins: 0,
        }
    }

    /// The whole session, from the greeting to the closed connection.
    pub(super) async fn run(mut self) {
        let last_word = match self.dialogue().await {
            Ok(last_word) => Some(last_word),
            Err(hangup) => {
                tracing::debug!("an SMTP session ended early: {hangup}");
                self.goodbye(&hangup)
            }
        };
        if let Some(reply) = last_word {
            // Whoever does not take it within moments gets no further chance to hold the session.
            let said = async {
                self.wire.reply(&reply).await?;
                self.wire.flush().await
            };
            if let Ok(Err(hangup)) = timeout(Duration::from_secs(2), said).await {
                tracing::debug!("an SMTP session ended without a last word: {hangup}");
            }
        }
        self.wire.close().await;
    }

    fn goodbye(&self, hangup: &Hangup) -> Option<Reply> {
        let host = &self.settings.hostname;
        match hangup {
            Hangup::Closed | Hangup::Broken(_) => None,
            Hangup::Idle => Some(Reply::new(421, "4.4.2", format!("{host} heard too little for too long"))),
            Hangup::Overtime => {
                Some(Reply::new(421, "4.4.2", format!("{host} closes sessions that last so long")))
            }
            Hangup::Stopping => {
                Some(Reply::new(421, "4.3.2", format!("{host} is being stopped, try again in a moment")))
            }
        }
    }

    /// Commands and replies until one of them is the last; that reply is the result.
    async fn dialogue(&mut self) -> Result<Reply, Hangup> {
        let greeting = Reply::plain(220, format!("{} ESMTP faxbridge", self.settings.hostname));
        self.wire.reply(&greeting).await?;
        loop {
            let next = match self.wire.line().await? {
                Line::Whole(line) => self.command(line).await?,
                Line::TooLong => {
                    self.strike(500, "5.5.2", format!("A command line has at most {MAX_LINE} bytes."))
                }
            };
            match next {
                Say(reply) => self.wire.reply(&reply).await?,
                Go => {}
                Close(reply) => return Ok(reply),
            }
            self.wire.stop_if_asked()?;
        }
    }

    async fn command(&mut self, line: Range<usize>) -> Result<Next, Hangup> {
        let text = self.wire.text(line.clone());
        if !is_clean(text) {
            return Ok(self.strike(
                500,
                "5.5.2",
                "A command is a line of printable characters that ends with CR LF.",
            ));
        }
        let is_auth = text.get(..4).is_some_and(|verb| verb.eq_ignore_ascii_case(b"AUTH"));
        let request = Request::parse(&mut text.iter()).map(Request::into_owned);
        if is_auth {
            self.wire.wipe(line);
        }
        Ok(match request {
            Ok(Request::Ehlo { host }) => self.hello(host, true),
            Ok(Request::Helo { host }) => self.hello(host, false),
            Ok(Request::Mail { from }) => self.mail(from),
            Ok(Request::Rcpt { to }) => self.rcpt(to),
            Ok(Request::Data) => self.data().await?,
            Ok(Request::Rset) => {
                self.mail = None;
                Say(Reply::new(250, "2.0.0", "Forgotten."))
            }
            Ok(Request::Noop { .. }) => Say(Reply::new(250, "2.0.0", "Still here.")),
            Ok(Request::Vrfy { .. }) => {
                Say(Reply::new(252, "2.1.5", "Addresses are not looked up; RCPT says what is taken."))
            }
            Ok(Request::Help { .. }) => {
                Say(Reply::new(214, "2.0.0", "EHLO HELO STARTTLS AUTH MAIL RCPT DATA RSET NOOP VRFY QUIT"))
            }
            Ok(Request::Quit) => {
                Close(Reply::new(221, "2.0.0", format!("{} says goodbye", self.settings.hostname)))
            }
            Ok(Request::StartTls) => self.start_tls().await?,
            Ok(Request::Auth { mechanism, initial_response }) => {
                self.auth(mechanism, initial_response).await?
            }
            // What follows a BDAT is a mail, which must not be read as commands.
            Ok(Request::Bdat { .. } | Request::Burl { .. }) => {
                Close(Reply::new(502, "5.5.1", "CHUNKING is not offered here; use DATA."))
            }
            Ok(other) => self.strike(502, "5.5.1", format!("{} is not offered here.", other.name())),
            Err(Fault::SyntaxError { .. }) if is_auth => {
                self.strike(504, "5.5.4", "AUTH PLAIN is the only kind of AUTH here.")
            }
            Err(fault) => self.fault(&fault),
        })
    }

    fn fault(&mut self, fault: &Fault) -> Next {
        match fault {
            Fault::InvalidSenderAddress => self.strike(501, "5.1.7", "That is no mail address to send from."),
            Fault::InvalidRecipientAddress => {
                self.strike(501, "5.1.3", "That is no mail address to send to.")
            }
            Fault::SyntaxError { syntax } => self.strike(501, "5.5.4", format!("It is written: {syntax}")),
            Fault::InvalidParameter { param } => {
                self.strike(501, "5.5.4", format!("The value of {param} is none."))
            }
            Fault::UnsupportedParameter { .. } => unsupported(),
            Fault::UnknownCommand
            | Fault::NeedsMoreData { .. }
            | Fault::ResponseTooLong
            | Fault::InvalidResponse { .. } => self.strike(500, "5.5.1", "There is no such command."),
        }
    }

    /// Refuses a command that no proper client sends; too many of those end the session.
    fn strike(
        &mut self,
        code: u16,
        enhanced: &'static str,
        text: impl Into<std::borrow::Cow<'static, str>>,
    ) -> Next {
        self.strikes += 1;
        if self.strikes < MAX_STRIKES {
            Say(Reply::new(code, enhanced, text))
        } else {
            Close(Reply::new(421, "4.7.0", format!("{} heard too many errors", self.settings.hostname)))
        }
    }

    fn bad_sequence(&mut self, text: &'static str) -> Next {
        self.strike(503, "5.5.1", text)
    }

    fn hello(&mut self, name: String, extended: bool) -> Next {
        self.hello = Some(name);
        self.mail = None;
        let mut text = self.settings.hostname.clone();
        if extended {
            text.push_str("\nPIPELINING\n8BITMIME\nENHANCEDSTATUSCODES\n");
            if self.settings.tls.is_some() && !self.wire.is_tls() {
                text.push_str("STARTTLS\n");
            }
            if self.wire.is_tls() && self.login.is_none() {
                text.push_str("AUTH PLAIN\n");
            }
            text.push_str(&format!("SIZE {}", self.settings.largest));
        }
        Say(Reply::plain(250, text))
    }

    async fn start_tls(&mut self) -> Result<Next, Hangup> {
        let Some(acceptor) = &self.settings.tls else {
            return Ok(self.strike(502, "5.5.1", "STARTTLS is not offered here."));
        };
        if self.wire.is_tls() {
            return Ok(self.bad_sequence("TLS is on already."));
        }
        if self.wire.has_unread() {
            // Somebody on the way may have put it there, to be heard as if it came under TLS (CVE-2011-0411).
            return Ok(Close(Reply::new(501, "5.5.4", "Nothing may follow STARTTLS before TLS is on.")));
        }
        self.wire.reply(&Reply::new(220, "2.0.0", "Begin TLS.")).await?;
        self.wire.flush().await?;
        self.wire.start_tls(acceptor).await?;
        // What was said in the clear may have been anybody's words (RFC 3207, section 4.2).
        self.hello = None;
        self.mail = None;
        Ok(Go)
    }

    async fn auth(&mut self, mechanism: u64, initial_response: String) -> Result<Next, Hangup> {
        let initial_response = zeroize::Zeroizing::new(initial_response);
        if !self.wire.is_tls() {
            return Ok(match self.settings.tls {
                Some(_) => self.strike(538, "5.7.11", "A password is only taken under TLS: STARTTLS first."),
                None => self.strike(502, "5.5.1", "AUTH is not offered here."),
            });
        }
        if self.hello.is_none() || self.login.is_some() || self.mail.is_some() {
            return Ok(self.bad_sequence("AUTH comes once, after EHLO and before MAIL."));
        }
        if mechanism != AUTH_PLAIN {
            return Ok(self.strike(504, "5.5.4", "AUTH PLAIN is the only kind of AUTH here."));
        }
        let credentials = if initial_response.is_empty() {
            self.wire.reply(&Reply::plain(334, "")).await?;
            self.wire.flush().await?;
            let Line::Whole(line) = self.wire.line().await? else {
                return Ok(self.strike(500, "5.5.6", "That is too long for a password."));
            };
            let answer =
                std::str::from_utf8(self.wire.text(line.clone())).unwrap_or_default().trim_ascii_end();
            let cancelled = answer == "*";
            let credentials = auth::plain(answer);
            self.wire.wipe(line);
            if cancelled {
                return Ok(Say(Reply::new(501, "5.7.0", "No login then.")));
            }
            credentials
        } else {
            auth::plain(&initial_response)
        };
        let Some(credentials) = credentials else {
            return Ok(self.failed_login(Reply::new(501, "5.5.2", "That is no response of AUTH PLAIN.")));
        };
        let Some(login) = credentials.login() else {
            return Ok(self.failed_login(wrong_password()));
        };
        if self.intake.login(login, credentials.password()).is_none() {
            tracing::warn!("somebody gave a wrong SMTP login or password");
            return Ok(self.failed_login(wrong_password()));
        }
        self.login = Some(login.to_owned());
        Ok(Say(Reply::new(235, "2.7.0", "Welcome.")))
    }

    fn failed_login(&mut self, reply: Reply) -> Next {
        self.failed_logins += 1;
        if self.failed_logins < MAX_FAILED_LOGINS { Say(reply) } else { Close(reply) }
    }

    fn mail(&mut self, from: MailFrom<String>) -> Next {
        let Some(hello) = &self.hello else {
            return self.bad_sequence("EHLO comes first.");
        };
        if self.mail.is_some() {
            return self.bad_sequence("One mail at a time: RSET forgets the one that was begun.");
        }
        let known = MAIL_BODY_7BIT | MAIL_BODY_8BITMIME;
        if from.flags & !known != 0 || from.env_id.is_some() || from.by != 0 {
            return unsupported();
        }
        if from.size as u64 > self.settings.largest {
            return Say(too_large(self.settings.largest));
        }
        let standing = if from.address.is_empty() {
            Err(Reply::new(
                550,
                "5.7.1",
                "Mail without a sender is a notice from a machine; such mail is never faxed.",
            ))
        } else if !is_plausible(&from.address) {
            return self.strike(553, "5.1.7", "That is no mail address to send from.");
        } else {
            let witness = self.witness(hello.clone(), from.address.clone());
            self.intake.standing(&witness).map_err(|refusal| self.refused(&refusal))
        };
        self.mail = Some(Envelope { from: from.address, standing, to: Vec::new(), asked: 0 });
        Say(Reply::new(250, "2.1.0", "Go on."))
    }

    fn rcpt(&mut self, to: RcptTo<String>) -> Next {
        let Some(mut mail) = self.mail.take() else {
            return self.bad_sequence("MAIL comes before RCPT.");
        };
        let next = self.rcpt_of(&mut mail, to);
        self.mail = Some(mail);
        next
    }

    fn rcpt_of(&mut self, mail: &mut Envelope, to: RcptTo<String>) -> Next {
        let standing = match &mail.standing {
            Ok(standing) => standing,
            Err(reply) => return Say(reply.clone()),
        };
        if to.flags != 0 || to.orcpt.is_some() || to.rrvs != 0 {
            return unsupported();
        }
        mail.asked += 1;
        let most = self.settings.max_recipients;
        if mail.to.len() >= most || mail.asked > most.saturating_mul(ASKED_PER_RECIPIENT) {
            let text = format!("A mail has at most {most} recipients here; send the rest in another.");
            return Say(Reply::new(452, "4.5.3", text));
        }
        if !is_plausible(&to.address) {
            return self.strike(553, "5.1.3", "That is no mail address to send to.");
        }
        let routable = match standing {
            Standing::Proven(proven) => self.intake.routable(&proven.sender, &to.address),
            Standing::Open => self.intake.routable_by_any(&to.address),
        };
        if let Err(refusal) = routable {
            return Say(self.refused(&refusal));
        }
        if !mail.to.contains(&to.address) {
            mail.to.push(to.address);
        }
        Say(Reply::new(250, "2.1.5", "Will be faxed."))
    }

    async fn data(&mut self) -> Result<Next, Hangup> {
        let Some(mail) = self.mail.take() else {
            return Ok(self.bad_sequence("MAIL and RCPT come before DATA."));
        };
        let standing = match mail.standing {
            Ok(standing) if !mail.to.is_empty() => standing,
            _ => return Ok(Say(Reply::new(554, "5.5.1", "No recipient of this mail was taken."))),
        };
        let mut draft = match self.intake.begin().await {
            Ok(draft) => draft,
            Err(refusal) => return Ok(Say(self.refused(&refusal))),
        };
        if standing == Standing::Open {
            draft.keep_copy();
        }
        self.wire.reply(&Reply::plain(354, "Send the mail; a line with one dot ends it.")).await?;
        self.wire.flush().await?;
        let (draft, message_id, body_sha256) = match receive(&mut self.wire, draft).await? {
            Received::Whole { draft, message_id, body_sha256 } => (draft, message_id, body_sha256),
            Received::Refused(reply) => return Ok(Say(reply)),
        };
        let proven = match standing {
            Standing::Proven(proven) => proven,
            Standing::Open => {
                let witness = self.witness(self.hello.clone().unwrap_or_default(), mail.from.clone());
                match self.intake.prove(&draft, &witness).await {
                    Ok(proven) => proven,
                    Err(refusal) => return Ok(Say(self.refused(&refusal))),
                }
            }
        };
        let arrival = Arrival {
            proof: Some(proven.proof),
            author: proven.author,
            envelope_from: Some(mail.from),
            envelope_to: mail.to,
            message_id,
            body_sha256: Some(body_sha256),
            ..Arrival::new(Source::Smtp, proven.sender)
        };
        let text = match self.intake.accept(draft, arrival).await {
            Ok(Accepted::New(id)) => format!("accepted as {id}"),
            Ok(Accepted::Known(id)) => format!("accepted before as {id}"),
            Err(refusal) => return Ok(Say(self.refused(&refusal))),
        };
        // The promise is made: it goes out at once, whatever else is waiting to be read.
        self.wire.reply(&Reply::new(250, "2.0.0", text)).await?;
        self.wire.flush().await?;
        crash::reached("intake.answered");
        self.strikes = 0;
        Ok(Go)
    }

    fn witness(&self, hello: String, from: String) -> Witness {
        Witness { login: self.login.clone(), certificate: Vec::new(), peer: self.peer, hello, from }
    }

    fn refused(&self, refusal: &Refusal) -> Reply {
        super::tell_operator(refusal);
        Reply::refusal(refusal)
    }
}

fn unsupported() -> Next {
    Say(Reply::new(
        555,
        "5.5.4",
        "A parameter of this command belongs to an extension that is not offered here.",
    ))
}

fn wrong_password() -> Reply {
    Reply::new(535, "5.7.8", "Login or password is wrong.")
}

fn too_large(largest: u64) -> Reply {
    Reply::new(552, "5.3.4", format!("A mail has at most {largest} bytes here."))
}

/// Printable ASCII and one CR LF at the end: what parsers disagree about does not come this far.
fn is_clean(line: &[u8]) -> bool {
    line.strip_suffix(b"\r\n").is_some_and(|text| text.iter().all(|byte| (b' '..=b'~').contains(byte)))
}

/// One `@`, something printable on both sides. The parser has taken quotes away already, so a second `@` here would let one
/// part of the program see another domain than the next one does.
fn is_plausible(address: &str) -> bool {
    let Some((local, domain)) = address.split_once('@') else { return false };
    let domain_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"-.:[]_".contains(&byte);
    !local.is_empty()
        && local.bytes().all(|byte| (b' '..=b'~').contains(&byte) && !b"<>\"\\,;".contains(&byte))
        && !domain.is_empty()
        && domain.bytes().all(domain_byte)
}
