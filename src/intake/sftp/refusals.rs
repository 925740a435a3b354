//! What an operator must be able to read in the log about who was not let in, or whose upload was refused: user, address, reason.
//!
//! One line at once, and then a count for each minute, as `tally.rs` says. Names of files are not among what is told.

use std::fmt;
use std::net::IpAddr;
use std::time::Instant;

use super::places::Full;
use crate::tally::{Tally, peer_of};

/// Longest name of an unknown user that is shown: it is whatever somebody typed.
const LONGEST_NAME: usize = 32;

/// Why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Reason {
    /// There is no place for a session.
    Full(Full),
    /// The client signs with nothing that is taken, or encrypts so.
    Algorithms,
    /// Nobody is called so.
    Unknown,
    /// None of the user's keys was shown.
    Key,
    /// The right key, and a signature with SHA-1.
    Sha1,
    /// No key was shown at all: a password perhaps.
    NoKey,
    /// The user has no `sftp_legacy` and came in by that listener.
    NotLegacy,
    /// Nothing came of it in time.
    Slow,
    /// A whole upload that is not taken.
    Upload,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::Full(Full::All) => "there are too many sessions (sftp.max_sessions)",
            Reason::Full(Full::Address) => {
                "there are too many sessions from this address (sftp.max_sessions_per_address, sftp.gateways)"
            }
            Reason::Full(Full::User) => "this user has half of all sessions (sftp.max_sessions)",
            Reason::Algorithms => "client and server have no algorithm in common",
            Reason::Unknown => "there is no such user",
            Reason::Key => "the client showed none of this user's keys (sftp_keys)",
            Reason::Sha1 => {
                "the client signs with SHA-1 (ssh-rsa) only: renew it, or set sftp_legacy and sftp.listen_legacy"
            }
            Reason::NoKey => {
                "the client showed no key (old ones that sign with SHA-1 only show none here: see sftp.listen_legacy)"
            }
            Reason::NotLegacy => "this user has no sftp_legacy and must use sftp.listen",
            Reason::Slow => "the client did not sign in in time",
            Reason::Upload => "an upload was refused",
        })
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Refusals(Tally<(Reason, IpAddr, Option<String>)>);

impl Refusals {
    /// Tells of one. `user` is a name of the configuration, `typed` what an unknown one called themselves; `detail` may be empty.
    pub(super) fn tell(&self, reason: Reason, address: IpAddr, user: User<'_>, detail: &str, now: Instant) {
        let known = match user {
            User::Known(name) => Some(name.to_owned()),
            User::Typed(_) | User::Nobody => None,
        };
        if !self.0.note(&(reason, peer_of(address), known), now) {
            return;
        }
        let (user, gap) = (user.to_string(), if detail.is_empty() { "" } else { ": " });
        if reason == Reason::Upload {
            tracing::warn!(sftp.peer = %address, sftp.user = user, "SFTP user {user} from {address}: {reason}{gap}{detail}");
        } else {
            tracing::warn!(sftp.peer = %address, sftp.user = user, "SFTP sign-in of {user} from {address} refused: {reason}{gap}{detail}");
        }
    }

    /// Tells how often since. To be called every few seconds.
    pub(super) fn tell_counts(&self, now: Instant) {
        for untold in self.0.due(now) {
            let count = untold.count;
            match untold.kind {
                Some((reason, peer, user)) => {
                    let user = user.as_deref().map_or(User::Nobody, User::Known).to_string();
                    tracing::warn!(
                        sftp.peer = %peer, sftp.user = user,
                        "SFTP, {user} from {peer}: {count} more times within a minute: {reason}"
                    );
                }
                None => tracing::warn!("SFTP: {count} more refusals within a minute, from many addresses"),
            }
        }
    }
}

/// Who was refused.
#[derive(Debug, Clone, Copy)]
pub(super) enum User<'a> {
    /// A user of the configuration.
    Known(&'a str),
    /// Somebody who calls themselves so.
    Typed(&'a str),
    /// Who did not come to say.
    Nobody,
}

impl fmt::Display for User<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            User::Known(name) => f.write_str(name),
            User::Typed(name) => {
                let short: String = name.chars().take(LONGEST_NAME).collect();
                write!(f, "{short:?}")
            }
            User::Nobody => f.write_str("somebody"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_typed_forges_no_line_and_fills_none() {
        assert_eq!(User::Known("billing").to_string(), "billing");
        assert_eq!(User::Typed("a\nb").to_string(), "\"a\\nb\"");
        assert_eq!(User::Typed(&"x".repeat(5000)).to_string().len(), LONGEST_NAME + 2);
    }
}
