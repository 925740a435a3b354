//! The adapter for HylaFAX and HylaFAX+, by the client protocol of their server hfaxd on TCP port 4559.
//!
//! Facts: the manual page hfaxd(8), <https://github.com/ifax/HylaFAX> (`hfaxd/`), and a real HylaFAX 6.0.7 whose modems call
//! across a telephone exchange in software (`tests/hylafax.rs`).
//!
//! # What is promised, and why it holds
//!
//! A job gets its number by JNEW, takes its parameters in hfaxd's memory, and is written and handed to the scheduler by
//! JSUBM alone. The number is kept on disk in between ([`Order::keep`]). Hence:
//!
//! * whatever breaks before the first byte of JSUBM is `NotSent`. hfaxd drops a job that was not submitted when its
//!   connection ends;
//! * from that byte on, only a well-formed reply to JSUBM counts. 200: it is in. 450 and 460: file or scheduler failed, so it
//!   is not in, which the job's deletion confirms. 5xx: refused. All else is `Unknown`;
//! * [`Provider::find`] without a kept number is [`Search::NeverSent`]: JSUBM is written only after the number was kept,
//!   so there was no JSUBM.
//!
//! With a kept number, `find` looks at that job and at no other: nothing renames a job, so a list could not show it elsewhere.
//!
//! | hfaxd says | it is | because |
//! | --- | --- | --- |
//! | no such job, or another's | `NotListed` for as long as a done job is listed | the connection ended before JSUBM; one look proves nothing, since JSUBM may still be on its way |
//! | no such job, later | no answer: a person decides | it may have been done and cleaned away since |
//! | its file is blank | `NotListed` | JNEW made the file, JSUBM never filled it |
//! | SUSPENDED, never dialled | deleted, then `NeverSent` | JSUBM wrote it, the scheduler does not have it or lets it rest; a job without a file is never sent |
//! | anything else | `Found` | |
//!
//! Done jobs stay until faxqclean takes them, 15 minutes by its own default and 35 days on Debian. This relies on the 15
//! minutes. A job is taken for ours only when its JOBINFO is our reference; no other is ever suspended, killed or deleted.
//!
//! One call can be made twice by HylaFAX itself: it writes down that it called when the first page is confirmed. If it loses
//! power before, it calls again when it starts, and no client can know. (After the first page it does not: the one dial is used
//! up. Its daemons alone may die at any time; the call goes on without them.)
//!
//! # What HylaFAX does with the pages
//!
//! It prints the header line on every page (TAGLINE). It makes the pages with Ghostscript on paper of one size, letter where
//! the caller's number is North American and A4 elsewhere, and stock HylaFAX cuts off what of another size does not fit:
//! `config/providers/hylafax.toml` has the line for its `etc/FaxModify` that scales such pages instead.
//!
//! The protocol has no encryption, no webhooks and no billing. [`Provider::delete`] removes the job; the document itself lies
//! in HylaFAX's `docq` until faxqclean finds it without a job, an hour by its default.

use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use reqwest::Url;
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::{
    AskError, Cancelled, Capabilities, CheckFault, Found, HeaderLine, Hook, News, Order, Provider, Search,
    Secrets, Sought, Status, SubmitError, Taken, WebhookRefusal,
};
use crate::clock::{Clock, SystemClock};
use crate::config::{self, kinds};
use look::{Facts, Handle, Look, look, refused};
use session::{Broken, Session, quoted};

mod look;
mod outcome;
mod session;
mod submit;

/// Where hfaxd listens unless the URL says otherwise.
const PORT: u16 = 4559;
/// How long a done job is listed at least: faxqclean's own default.
const LISTED: SignedDuration = SignedDuration::from_mins(15);
/// A job that hfaxd wrote a moment ago says SUSPENDED until the scheduler has read it.
const SETTLED: Duration = Duration::from_secs(2);

/// A HylaFAX server.
pub struct Hylafax {
    host: String,
    port: u16,
    login: String,
    password: Option<Zeroizing<String>>,
    timeout: Duration,
}

/// Why no session came about. Nothing was asked then.
#[derive(Debug)]
enum Outside {
    /// Not reached, or not open for business.
    Trouble(Broken),
    /// Not let in; with the key at fault.
    Shut { key: &'static str, detail: String },
}

impl Hylafax {
    /// The adapter for the server at the URL that `keys` name.
    ///
    /// # Errors
    /// A sentence that begins with the key at fault.
    pub fn new(
        provider: &config::Provider,
        keys: &kinds::Hylafax,
        secrets: &Secrets,
    ) -> Result<Self, String> {
        let (host, port) = address(&keys.url)?;
        let login = keys.login.clone();
        if login.is_empty() || !plain(&login) {
            return Err("login: must be the name of a user of HylaFAX, in plain ASCII letters".into());
        }
        if !plain(&secrets.password) {
            return Err("password: contains characters that hfaxd cannot read".into());
        }
        let password = keys.password.is_some().then(|| secrets.password.clone());
        Ok(Hylafax { host, port, login, password, timeout: provider.timeout.std() })
    }

    /// A session that is signed in. It ends with the configured timeout, whatever the server does.
    async fn enter(&self) -> Result<Session, Outside> {
        let deadline = Instant::now() + self.timeout;
        let (mut session, greeting) = Session::open(&self.host, self.port, deadline).await?;
        match greeting.code {
            // hfaxd greets everybody while it is shut down and lets only administrators in.
            220 if greeting.text().contains("server shut down") => {
                let detail = "HylaFAX is shut down for all but administrators".to_owned();
                return Err(Outside::Trouble(Broken::Lost(detail)));
            }
            220 => {}
            400..=499 => return Err(Broken::Lost(greeting.describe("the connection")).into()),
            _ => return Err(Broken::Garbled(greeting.describe("the connection")).into()),
        }
        let mut key = "login";
        let user = [b"USER ".as_slice(), &quoted(&self.login)].concat();
        let mut reply = session.command("USER", &user).await?;
        if reply.code == 331 {
            key = "password";
            let Some(password) = &self.password else {
                let detail = "HylaFAX asks for a password, and none is configured".to_owned();
                return Err(Outside::Shut { key, detail });
            };
            let line = Zeroizing::new([b"PASS ".as_slice(), &Zeroizing::new(quoted(password))].concat());
            reply = session.command("PASS", &line).await?;
        }
        match reply.code {
            230 => Ok(session),
            400..=499 => Err(Broken::Lost(reply.describe("signing in")).into()),
            500..=599 => Err(Outside::Shut { key, detail: reply.describe("signing in") }),
            _ => Err(Broken::Garbled(reply.describe("signing in")).into()),
        }
    }

    /// Looks at a job in a session of its own and leaves that session, in which the job is the current one if it is ours.
    async fn look(&self, handle: &Handle) -> Result<(Session, Look), AskError> {
        let mut session = self.enter().await?;
        let look = look(&mut session, handle).await?;
        Ok((session, look))
    }

    /// Deletes a job that rests and was never dialled, so that it certainly never will be; or finds that it went on.
    async fn clear_away(&self, handle: &Handle, kept: &str) -> Result<Search, AskError> {
        tokio::time::sleep(SETTLED).await;
        let (mut session, look) = self.look(handle).await?;
        match look {
            Look::Ours(facts) if facts.never_dialled() => {}
            Look::Ours(facts) => return Ok(found(kept, &facts)),
            Look::Absent | Look::Blank => return Err(moved()),
        }
        // The scheduler takes one message after the other: what it says to this one, it says after having read any earlier
        // one about the job. If it does not know the job (or is not running: 460), nothing will come of it without its file.
        let reply = session.command("JSUSP", format!("JSUSP {}", handle.job).as_bytes()).await?;
        if !matches!(reply.code, 200 | 460) {
            return Err(refused(&reply, "JSUSP"));
        }
        session.quit().await;
        let (mut session, look) = self.look(handle).await?;
        match look {
            Look::Ours(facts) if facts.never_dialled() => {}
            Look::Ours(facts) => return Ok(found(kept, &facts)),
            Look::Absent | Look::Blank => return Err(moved()),
        }
        let reply = session.command("JDELE", format!("JDELE {}", handle.job).as_bytes()).await?;
        session.quit().await;
        if reply.code == 200 { Ok(Search::NeverSent) } else { Err(refused(&reply, "JDELE")) }
    }
}

#[async_trait]
impl Provider for Hylafax {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            finds_by_reference: true,
            cancels: true,
            deletes: true,
            reports_pages: true,
            header: HeaderLine::Provider,
            ..Capabilities::LEAST
        }
    }

    async fn submit(&self, order: Order<'_>) -> Result<Taken, SubmitError> {
        self.hand_over(order).await
    }

    async fn status(&self, provider_ref: &str) -> Result<Status, AskError> {
        let (session, look) = self.look(&handle(provider_ref)?).await?;
        session.quit().await;
        match look {
            Look::Ours(facts) => Ok(outcome::status(&facts)),
            Look::Absent => Ok(Status::NotThere),
            // hfaxd reads files that the scheduler is writing. The next look will tell.
            Look::Blank => Err(AskError::NoAnswer { detail: "the job's file could not be read".into() }),
        }
    }

    async fn find(&self, sought: Sought<'_>) -> Result<Search, AskError> {
        // A number that was kept and forgotten is no number that was never kept.
        if sought.forgotten {
            return Err(AskError::Unsupported);
        }
        let Some(kept) = sought.kept else { return Ok(Search::NeverSent) };
        let handle = handle(kept)?;
        if handle.reference != sought.reference {
            return Err(AskError::Nonsense { detail: "the kept number is of another attempt".into() });
        }
        let (session, look) = self.look(&handle).await?;
        session.quit().await;
        match look {
            Look::Ours(facts) if facts.never_dialled() => self.clear_away(&handle, kept).await,
            Look::Ours(facts) => Ok(found(kept, &facts)),
            Look::Blank => Ok(Search::NotListed),
            Look::Absent if SystemClock.now().duration_since(sought.since) < LISTED => Ok(Search::NotListed),
            Look::Absent => Err(AskError::NoAnswer {
                detail: "HylaFAX lists no such job, but by now it may have been done and cleaned away".into(),
            }),
        }
    }

    async fn cancel(&self, provider_ref: &str) -> Result<Cancelled, AskError> {
        let handle = handle(provider_ref)?;
        let (mut session, look) = self.look(&handle).await?;
        match look {
            Look::Ours(facts) if facts.is_over() => return Ok(Cancelled::TooLate),
            Look::Ours(_) => {}
            Look::Absent => return Ok(Cancelled::NotThere),
            Look::Blank => return Err(moved()),
        }
        // For a job in a call the reply comes only when the call has been broken off, after up to twenty seconds.
        let reply = session.command("JKILL", format!("JKILL {}", handle.job).as_bytes()).await?;
        session.quit().await;
        match reply.code {
            200 => {}
            504 if reply.text().contains("already done") => return Ok(Cancelled::TooLate),
            500 if reply.text().contains("job does not exist") => return Ok(Cancelled::NotThere),
            _ => return Err(refused(&reply, "JKILL")),
        }
        // Whether it was stopped before the first call, the job itself tells; where it does not, its status will.
        match self.look(&handle).await {
            Ok((_, Look::Ours(facts))) if facts.is_over() && facts.dials == 0 && facts.pages == 0 => {
                Ok(Cancelled::Stopped)
            }
            _ => Ok(Cancelled::Asked),
        }
    }

    async fn delete(&self, provider_ref: &str) -> Result<(), AskError> {
        let handle = handle(provider_ref)?;
        let (mut session, look) = self.look(&handle).await?;
        match look {
            Look::Absent => return Ok(()),
            Look::Ours(facts) if facts.is_over() => {}
            Look::Ours(_) | Look::Blank => {
                return Err(AskError::NoAnswer { detail: "the job has not ended yet".into() });
            }
        }
        let reply = session.command("JDELE", format!("JDELE {}", handle.job).as_bytes()).await?;
        session.quit().await;
        match reply.code {
            200 => Ok(()),
            500 if reply.text().contains("job does not exist") => Ok(()),
            _ => Err(refused(&reply, "JDELE")),
        }
    }

    /// HylaFAX sends none.
    fn read_webhook(&self, _hook: &Hook<'_>, _now: Timestamp) -> Result<Vec<News>, WebhookRefusal> {
        Err(WebhookRefusal::NoKey)
    }

    async fn check(&self) -> Result<(), CheckFault> {
        let mut session = self.enter().await.map_err(|outside| match outside {
            Outside::Shut { key, detail } => {
                CheckFault { key, sentence: format!("HylaFAX does not let this user in: {detail}") }
            }
            Outside::Trouble(broken) => CheckFault { key: "url", sentence: broken.detail() },
        })?;
        let reply = session.command("STAT", b"STAT").await;
        session.quit().await;
        match reply {
            Ok(reply) if reply.code == 211 => Ok(()),
            Ok(reply) => Err(CheckFault { key: "url", sentence: reply.describe("STAT") }),
            Err(broken) => Err(CheckFault { key: "url", sentence: broken.detail() }),
        }
    }
}

impl From<Broken> for Outside {
    fn from(broken: Broken) -> Outside {
        Outside::Trouble(broken)
    }
}

impl From<Outside> for AskError {
    fn from(outside: Outside) -> AskError {
        match outside {
            Outside::Trouble(broken) => broken.into(),
            Outside::Shut { detail, .. } => AskError::Account { detail },
        }
    }
}

fn found(kept: &str, facts: &Facts) -> Search {
    Search::Found(Found { provider_ref: kept.to_owned(), status: outcome::status(facts) })
}

fn handle(provider_ref: &str) -> Result<Handle, AskError> {
    Handle::read(provider_ref)
        .ok_or_else(|| AskError::Nonsense { detail: "this is no job of HylaFAX's".into() })
}

fn moved() -> AskError {
    AskError::NoAnswer { detail: "the job moved while it was looked at".into() }
}

/// Text that hfaxd reads as it is.
fn plain(text: &str) -> bool {
    text.bytes().all(|byte| (0x20..=0x7e).contains(&byte))
}

/// Host and port of `hylafax://host:4559`.
fn address(url: &str) -> Result<(String, u16), String> {
    let wrong = || format!("url: found {url:?}; allowed: \"hylafax://host:4559\"");
    let parsed = Url::parse(url).map_err(|_| wrong())?;
    let bare = parsed.username().is_empty()
        && parsed.password().is_none()
        && matches!(parsed.path(), "" | "/")
        && parsed.query().is_none()
        && parsed.fragment().is_none();
    let host = parsed.host_str().unwrap_or_default().trim_matches(['[', ']']);
    if parsed.scheme() != "hylafax" || host.is_empty() || !bare {
        return Err(wrong());
    }
    Ok((host.to_owned(), parsed.port().unwrap_or(PORT)))
}

#[cfg(test)]
mod tests;
