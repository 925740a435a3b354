//! Who does something: what the ledger names with every row.

use std::fmt;

use super::{Source, SubmissionId};

/// Who does something. [`fmt::Display`] writes the text that the ledger keeps: it is persisted and hashed, so that it stays as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// A person at the command line, by the account of the system under which the command runs.
    Account(String),
    /// A sender of the configuration, by a mail that answers a receipt. The ledger names no address, only the mail that it was.
    Sender {
        /// Its name.
        name: String,
        /// The Submission as which the mail came.
        mail: SubmissionId,
    },
    /// Intake, by where something came from.
    Intake(Source),
    /// What prepares Submissions.
    Preparer,
    /// The worker: it follows its providers, their webhooks and the clock.
    Worker,
    /// The place where providers fetch documents.
    Media,
    /// What writes to senders.
    Outbox,
    /// What destroys documents.
    Retention,
    /// The daemon itself.
    Daemon,
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Actor::Account(account) => return write!(f, "command line: {account}"),
            Actor::Sender { name, mail } => return write!(f, "sender {name} by mail {mail}"),
            Actor::Intake(source) => return source.fmt(f),
            Actor::Preparer => "prepare",
            Actor::Worker => "delivery",
            Actor::Media => "media",
            Actor::Outbox => "outbox",
            Actor::Retention => "retention",
            Actor::Daemon => "daemon",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ledger_s_texts_stay_as_they_are() {
        let mail = "06d0s8mk2c0000a1".parse().unwrap();
        for (actor, text) in [
            (Actor::Account("jane (1000)".into()), "command line: jane (1000)"),
            (Actor::Sender { name: "front desk".into(), mail }, "sender front desk by mail 06d0s8mk2c0000a1"),
            (Actor::Intake(Source::Sftp("billing".into())), "sftp:billing"),
            (Actor::Preparer, "prepare"),
            (Actor::Worker, "delivery"),
            (Actor::Media, "media"),
            (Actor::Outbox, "outbox"),
            (Actor::Retention, "retention"),
            (Actor::Daemon, "daemon"),
        ] {
            assert_eq!(actor.to_string(), text);
        }
    }
}
