//! What the log is told of refusals: the first of a kind and a peer as a line, the rest as a count.
//!
//! No line has an address of a mail or what a client wrote; of accounts only those that the configuration knows are named, since people
//! type passwords where a name belongs.

use std::fmt;
use std::net::IpAddr;
use std::time::Instant;

use crate::gate::Full;
use crate::intake::Refusal;
use crate::tally::{Tally, peer_of};

/// Why somebody was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Reason {
    /// A mail, with this enhanced status code (RFC 3463).
    Mail(&'static str),
    /// More mails than `smtp.mails_per_minute`.
    Pace,
    /// A sender's own limit.
    SenderPace,
    /// No place for a session.
    Full(Full),
    /// No usable PROXY header.
    Proxy,
    /// Signing in, with a wrong password.
    Password,
    /// Signing in, to an account that there is not.
    Account,
    /// Signing in, after too many wrong passwords.
    LockedOut,
    /// A client certificate that nobody vouches for.
    Certificate,
    /// Mail without TLS.
    NoTls,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = match self {
            Reason::Mail(code) => return write!(f, "a mail was refused with {code}"),
            Reason::Pace => "more mails than smtp.mails_per_minute",
            Reason::SenderPace => "more mails than its sender's mails_per_minute",
            Reason::Full(Full::All) => "all sessions are taken (smtp.max_sessions)",
            Reason::Full(Full::Peer) => {
                "too many sessions from its address (smtp.max_sessions_per_address, _per_relay)"
            }
            Reason::Proxy => "no usable PROXY header",
            Reason::Password => "wrong password",
            Reason::Account => "no such account",
            Reason::LockedOut => "too many wrong passwords from its address (smtp.failed_logins)",
            Reason::Certificate => "none of smtp.client_authorities vouches for its certificate",
            Reason::NoTls => "mail without TLS (smtp.require_tls)",
        };
        f.write_str(words)
    }
}

/// What was told and what was counted. One for all listeners.
#[derive(Debug, Default)]
pub(super) struct Told(Tally<(Reason, IpAddr)>);

impl Told {
    /// Counts a refusal of whoever is at `peer`; whether a line may be written about it.
    pub(super) fn note(&self, reason: Reason, peer: IpAddr) -> bool {
        self.0.note(&(reason, peer_of(peer)), Instant::now())
    }

    /// What the peer was told, without its words; and what it was not told.
    pub(super) fn refusal(&self, refusal: &Refusal, peer: IpAddr) {
        let code = refusal.code;
        if !self.note(Reason::Mail(code), peer) {
            return;
        }
        match &refusal.cause {
            Some(cause) => {
                tracing::warn!(smtp.code = code, peer.ip = %peer, "a mail from {peer} was refused with {code}: {cause}");
            }
            None => {
                tracing::info!(smtp.code = code, peer.ip = %peer, "a mail from {peer} was refused with {code}");
            }
        }
    }

    /// Writes a line for everything that was counted and is due.
    pub(super) fn counts(&self) {
        for untold in self.0.due(Instant::now()) {
            let count = untold.count;
            match untold.kind {
                Some((reason, peer)) => {
                    tracing::warn!(peer.ip = %peer, count, "SMTP, {peer}: {reason}; {count} times more since the last line about it");
                }
                None => tracing::warn!(count, "SMTP: {count} refusals more, of many peers"),
            }
        }
    }
}
