//! The dialogue of one session: RFC 5321 with the extensions that the EHLO reply names, or LMTP (RFC 2033).
//!
//! `login` is AUTH, `envelope` MAIL and RCPT, `content` DATA and BDAT and what becomes of the mail.

use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::UnixTime;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use self::envelope::Envelope;
use super::command::{self, Command, Fault, Hello};
use super::names;
use super::recent::{Guesses, Origin, Pace};
use super::reply::Reply;
use super::tls::Partners;
use super::told::{Reason, Told};
use super::wire::{Hangup, Line, MAX_LINE, Wire};
use crate::config::Network;
use crate::intake::proof::Witness;
use crate::intake::{Intake, Refusal};

mod content;
mod envelope;
mod login;

/// So many commands that make no sense, and the session is closed.
const MAX_STRIKES: u32 = 20;

/// What all sessions have in common.
pub(super) struct Settings {
    pub(super) hostname: String,
    pub(super) max_recipients: usize,
    /// Largest mail, in bytes.
    pub(super) largest: u64,
    pub(super) tls: Option<TlsAcceptor>,
    /// Mail is refused without it.
    pub(super) require_tls: bool,
    /// But from here.
    pub(super) without_tls: Vec<Network>,
    pub(super) partners: Option<Arc<Partners>>,
    pub(super) guesses: Guesses,
    pub(super) mails_per_minute: Option<u32>,
    pub(super) by_address: Pace<Origin>,
    /// By the sender's name, and whether its mails are doubtful.
    pub(super) by_sender: Pace<(String, bool)>,
    pub(super) told: Told,
}

/// Whose rules a session follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Smtp,
    Lmtp,
}

/// One client's session.
pub(super) struct Session<'a, S> {
    wire: Wire<S>,
    settings: &'a Settings,
    intake: &'a Intake,
    protocol: Protocol,
    peer: IpAddr,
    nameless: bool,
    /// The configuration names its address, or it hands over others' mail by LMTP.
    known: bool,
    /// What the client called itself, once it has.
    hello: Option<String>,
    login: Option<String>,
    /// Names in its certificate, where an authority of ours vouches for it.
    names: Vec<String>,
    mail: Option<Envelope>,
    strikes: u32,
    failed_logins: u32,
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
    pub(super) fn new(
        wire: Wire<S>,
        settings: &'a Settings,
        intake: &'a Intake,
        protocol: Protocol,
        peer: IpAddr,
    ) -> Self {
        Session {
            wire,
            settings,
            intake,
            protocol,
            peer,
            nameless: false,
            known: false,
            hello: None,
            login: None,
            names: Vec::new(),
            mail: None,
            strikes: 0,
            failed_logins: 0,
        }
    }

    /// Whether the address is only a load balancer's, and whether it is no stranger's.
    pub(super) fn placed(self, nameless: bool, known: bool) -> Self {
        Session { nameless, known, ..self }
    }

    /// The whole session, from the greeting to the closed connection; with `tls_first`, from the TLS handshake.
    pub(super) async fn run(mut self, tls_first: bool) {
        if tls_first && let Err(hangup) = self.secure().await {
            tracing::debug!("an SMTP session ended before its greeting: {hangup}");
            return;
        }
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
            Hangup::Unproven => Some(Reply::new(
                421,
                "4.7.0",
                format!("{host} closes sessions that have proven nothing for so long"),
            )),
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
        let protocol = match self.protocol {
            Protocol::Smtp => "ESMTP",
            Protocol::Lmtp => "LMTP",
        };
        let greeting = Reply::plain(220, format!("{} {protocol} faxbridge", self.settings.hostname));
        self.wire.reply(&greeting).await?;
        loop {
            let next = match self.wire.line(self.mail_is_under_way()).await? {
                Line::Whole(line) => self.command(line).await?,
                Line::TooLong => self.strike(Reply::new(
                    500,
                    "5.5.2",
                    format!("A command line has at most {MAX_LINE} bytes."),
                )),
            };
            match next {
                Say(reply) => self.wire.reply(&reply).await?,
                Go => {}
                Close(reply) => return Ok(reply),
            }
            if !self.mail_is_under_way() {
                self.wire.stop_if_asked()?;
            }
        }
    }

    async fn command(&mut self, line: Range<usize>) -> Result<Next, Hangup> {
        let text = self.wire.text(line.clone());
        let has_password = text.get(..4).is_some_and(|verb| verb.eq_ignore_ascii_case(b"AUTH"));
        let command = command::parse(text);
        if has_password {
            self.wire.wipe(line);
        }
        Ok(match command {
            Ok(Command::Hello(hello, name)) => self.hello(hello, name),
            Ok(Command::Mail(path, asked)) => self.mail(path, asked),
            Ok(Command::Rcpt(path, asked)) => self.rcpt(path, asked),
            Ok(Command::Data) => self.data().await?,
            Ok(Command::Bdat { size, last }) => self.bdat(size, last).await?,
            Ok(Command::Rset) => {
                self.forget_mail();
                Say(Reply::new(250, "2.0.0", "Forgotten."))
            }
            Ok(Command::Noop) => Say(Reply::new(250, "2.0.0", "Still here.")),
            Ok(Command::Verify) => {
                Say(Reply::new(252, "2.1.5", "Addresses are not looked up; RCPT says what is taken."))
            }
            Ok(Command::Help) => Say(Reply::new(
                214,
                "2.0.0",
                "EHLO HELO LHLO STARTTLS AUTH MAIL RCPT DATA BDAT RSET NOOP VRFY HELP QUIT",
            )),
            Ok(Command::Quit) => {
                Close(Reply::new(221, "2.0.0", format!("{} says goodbye", self.settings.hostname)))
            }
            Ok(Command::StartTls) => self.start_tls().await?,
            Ok(Command::Auth { mechanism, initial }) => self.auth(&mechanism, initial).await?,
            Err(Fault::Line(reply)) => self.strike(reply),
            Err(Fault::Stream(reply)) => Close(reply),
        })
    }

    /// Refuses a command that no proper client sends; too many of those end the session.
    fn strike(&mut self, reply: Reply) -> Next {
        self.strikes = self.strikes.saturating_add(1);
        if self.strikes < MAX_STRIKES {
            Say(reply)
        } else {
            Close(Reply::new(421, "4.7.0", format!("{} heard too many errors", self.settings.hostname)))
        }
    }

    fn bad_sequence(&mut self, text: &'static str) -> Next {
        self.strike(Reply::new(503, "5.5.1", text))
    }

    fn hello(&mut self, hello: Hello, name: String) -> Next {
        match (self.protocol, hello) {
            (Protocol::Smtp, Hello::Ehlo | Hello::Helo) | (Protocol::Lmtp, Hello::Lhlo) => {}
            // RFC 2033, section 4.1.
            (Protocol::Lmtp, _) => {
                return self.strike(Reply::new(500, "5.5.1", "LMTP is spoken here: LHLO."));
            }
            (Protocol::Smtp, _) => {
                return self.strike(Reply::new(500, "5.5.1", "SMTP is spoken here: EHLO."));
            }
        }
        self.hello = Some(name);
        self.forget_mail();
        let mut text = self.settings.hostname.clone();
        if hello != Hello::Helo {
            text.push_str("\nPIPELINING\n8BITMIME\nENHANCEDSTATUSCODES\nCHUNKING\nSMTPUTF8\nDSN\n");
            if self.settings.tls.is_some() && !self.wire.is_tls() {
                text.push_str("STARTTLS\n");
            }
            if self.wire.is_tls() && self.login.is_none() {
                text.push_str("AUTH PLAIN LOGIN\n");
            }
            text.push_str(&format!("SIZE {}", self.settings.largest));
        }
        Say(Reply::plain(250, text))
    }

    async fn start_tls(&mut self) -> Result<Next, Hangup> {
        if self.settings.tls.is_none() {
            return Ok(self.strike(Reply::new(502, "5.5.1", "STARTTLS is not offered here.")));
        }
        if self.wire.is_tls() {
            return Ok(self.bad_sequence("TLS is on already."));
        }
        if self.wire.has_unread() {
            // Somebody on the way may have put it there, to be heard as if it came under TLS (CVE-2011-0411).
            return Ok(Close(Reply::new(501, "5.5.4", "Nothing may follow STARTTLS before TLS is on.")));
        }
        self.wire.reply(&Reply::new(220, "2.0.0", "Begin TLS.")).await?;
        self.wire.flush().await?;
        self.secure().await?;
        // What was said in the clear may have been anybody's words (RFC 3207, section 4.2).
        self.hello = None;
        self.forget_mail();
        Ok(Go)
    }

    /// Changes to TLS, and looks at the certificate that the client shows.
    async fn secure(&mut self) -> Result<(), Hangup> {
        let Some(acceptor) = &self.settings.tls else { return Err(Hangup::Closed) };
        self.wire.start_tls(acceptor).await?;
        let chain = self.wire.certificates();
        if let (Some(partners), Some(own)) = (&self.settings.partners, chain.first()) {
            let now = self.intake.inner.clock.now().as_second();
            let now = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(now).unwrap_or_default()));
            if partners.vouch_for(chain, now) {
                self.names = names::of(own);
                self.wire.proven();
            } else if self.settings.told.note(Reason::Certificate, self.peer) {
                let peer = self.peer;
                tracing::warn!(peer.ip = %peer, "a client certificate of {peer} does not count: {}", Reason::Certificate);
            }
        }
        Ok(())
    }

    fn witness(&self, from: String) -> Witness {
        Witness {
            login: self.login.clone(),
            certificate: self.names.clone(),
            peer: self.peer,
            nameless: self.nameless,
            handed_over: self.protocol == Protocol::Lmtp,
            hello: self.hello.clone().unwrap_or_default(),
            from,
        }
    }

    fn refused(&self, refusal: &Refusal) -> Reply {
        self.settings.told.refusal(refusal, self.peer);
        Reply::refusal(refusal)
    }
}
