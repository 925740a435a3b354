//! AUTH (RFC 4954), over TLS only: PLAIN, and LOGIN for the clients that know nothing else.

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::{Close, Next, Say, Session};
use crate::intake::smtp::auth::{self, Credentials};
use crate::intake::smtp::reply::Reply;
use crate::intake::smtp::told::Reason;
use crate::intake::smtp::wire::{Hangup, Line};

/// So many wrong passwords, and the session is closed.
const MAX_FAILED_LOGINS: u32 = 3;
/// "Username:" and "Password:", as every client of LOGIN expects them.
const USERNAME: &str = "VXNlcm5hbWU6";
const PASSWORD: &str = "UGFzc3dvcmQ6";

/// What a client answered to a challenge.
enum LoginAnswer {
    Text(Zeroizing<String>),
    /// `*`.
    Cancelled,
    TooLong,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<'_, S> {
    pub(super) async fn auth(
        &mut self,
        mechanism: &str,
        initial: Option<Zeroizing<String>>,
    ) -> Result<Next, Hangup> {
        if !self.wire.is_tls() {
            return Ok(self.strike(match self.settings.tls {
                Some(_) => Reply::new(538, "5.7.11", "A password is only taken under TLS: STARTTLS first."),
                None => Reply::new(502, "5.5.1", "AUTH is not offered here."),
            }));
        }
        if self.hello.is_none() || self.login.is_some() || self.mail.is_some() {
            return Ok(self.bad_sequence("AUTH comes once, after EHLO and before MAIL."));
        }
        if !matches!(mechanism, "PLAIN" | "LOGIN") {
            return Ok(self.strike(Reply::new(
                504,
                "5.5.4",
                "AUTH PLAIN and AUTH LOGIN are the kinds of AUTH here.",
            )));
        }
        if self.settings.guesses.locked_out(self.peer.into(), Instant::now()) {
            self.tell_failure(Reason::LockedOut, None);
            // Right or wrong: neither is looked at.
            return Ok(self.failed_login(Reply::new(
                454,
                "4.7.0",
                "There were too many wrong passwords from your address; sign in again later.",
            )));
        }
        // "=" stands for an empty response (RFC 4954, section 4).
        let first = match initial {
            Some(text) if text.as_str() == "=" => LoginAnswer::Text(Zeroizing::default()),
            Some(text) => LoginAnswer::Text(text),
            None => self.challenge(if mechanism == "PLAIN" { "" } else { USERNAME }).await?,
        };
        let credentials = match first {
            LoginAnswer::Text(response) if mechanism == "PLAIN" => auth::plain(&response),
            LoginAnswer::Text(login) => match self.challenge(PASSWORD).await? {
                LoginAnswer::Text(password) => auth::login(&login, &password),
                answer => return Ok(self.no_answer(&answer)),
            },
            answer => return Ok(self.no_answer(&answer)),
        };
        match credentials {
            Some(credentials) => self.sign_in(&credentials).await,
            None => Ok(self.failed_login(Reply::new(
                501,
                "5.5.2",
                format!("That is no response of AUTH {mechanism}."),
            ))),
        }
    }

    async fn challenge(&mut self, words: &'static str) -> Result<LoginAnswer, Hangup> {
        self.wire.reply(&Reply::plain(334, words)).await?;
        self.wire.flush().await?;
        let Line::Whole(line) = self.wire.line(false).await? else { return Ok(LoginAnswer::TooLong) };
        let text = std::str::from_utf8(self.wire.text(line.clone())).unwrap_or_default().trim_ascii_end();
        let answer = match text {
            "*" => LoginAnswer::Cancelled,
            text => LoginAnswer::Text(Zeroizing::new(text.to_owned())),
        };
        self.wire.wipe(line);
        Ok(answer)
    }

    fn no_answer(&mut self, answer: &LoginAnswer) -> Next {
        match answer {
            LoginAnswer::TooLong => self.strike(Reply::new(500, "5.5.6", "That is too long for a password.")),
            _ => self.strike(Reply::new(501, "5.7.0", "No login then.")),
        }
    }

    async fn sign_in(&mut self, credentials: &Credentials) -> Result<Next, Hangup> {
        let login = credentials.login();
        if let Some(login) = login.filter(|login| self.intake.login(login, credentials.password()).is_some())
        {
            self.login = Some(login.to_owned());
            self.wire.proven();
            return Ok(Say(Reply::new(235, "2.7.0", "Welcome.")));
        }
        match login.filter(|login| self.intake.has_login(login)) {
            Some(login) => self.tell_failure(Reason::Password, Some(login)),
            None => self.tell_failure(Reason::Account, None),
        }
        // Counted before the wait: who tries many at once gains nothing.
        let delay = self.settings.guesses.wrong(self.peer.into(), Instant::now());
        self.wire.pause(delay).await?;
        Ok(self.failed_login(Reply::new(535, "5.7.8", "Login or password is wrong.")))
    }

    /// A line about somebody who could not sign in. A name that no account has is not told: it may be a password.
    fn tell_failure(&self, reason: Reason, login: Option<&str>) {
        let peer = self.peer;
        if !self.settings.told.note(reason, peer) {
            return;
        }
        match login {
            Some(login) => {
                tracing::warn!(peer.ip = %peer, user = login, "SMTP sign-in of {login:?} from {peer} failed: {reason}");
            }
            None => tracing::warn!(peer.ip = %peer, "SMTP sign-in from {peer} failed: {reason}"),
        }
    }

    fn failed_login(&mut self, reply: Reply) -> Next {
        self.failed_logins = self.failed_logins.saturating_add(1);
        if self.failed_logins < MAX_FAILED_LOGINS { Say(reply) } else { Close(reply) }
    }
}
