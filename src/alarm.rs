//! Alarms: what is wrong now and wants a person.
//!
//! The one mechanism for all parts of the daemon. An [`Alarm`] names its subject, and the subject is its identity: raised again
//! while it is open, only its cause changes. It is raised once, told once, and cleared when it is over, which is told too. No
//! cause holds patient data: it names settings, folders, providers and errors of the system.
//!
//! It is told in the log at once. The outbox keeps the open ones in the database, for `faxbridge status`, and mails them to
//! `alarm.mail_to` (see [`Board`]).

mod board;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::sync::Notify;

pub use board::{Board, Notice, Said};

/// What an alarm is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Alarm {
    /// Log lines are lost: nobody reads them, or their disk is full.
    Log,
    /// There is no room for documents, or for what is made of them.
    Disk,
    /// The machine's clock jumped.
    Clock,
    /// Another program stands in the database's way, or the database fails.
    Store,
    /// A changed configuration was refused; the old one is in force.
    Reload,
    /// Receipts cannot leave by the relay.
    Relay,
    /// Submissions cannot be prepared.
    Preparation,
    /// A provider takes no faxes: by its name in the configuration.
    Provider(String),
    /// A mailbox cannot be fetched or sorted: by its name.
    Mailbox(String),
    /// A watched folder cannot be used: by its name.
    Folder(String),
    /// Result files cannot be written to a folder: by its name.
    Results(String),
    /// A listener cannot serve: by its key, as in `smtp.listen`.
    Listener(String),
}

impl Alarm {
    /// Its kind in one word, as stored and listed.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Alarm::Log => "log",
            Alarm::Disk => "disk",
            Alarm::Clock => "clock",
            Alarm::Store => "store",
            Alarm::Reload => "reload",
            Alarm::Relay => "relay",
            Alarm::Preparation => "preparation",
            Alarm::Provider(_) => "provider",
            Alarm::Mailbox(_) => "mailbox",
            Alarm::Folder(_) => "folder",
            Alarm::Results(_) => "results",
            Alarm::Listener(_) => "listener",
        }
    }

    /// The alarm of this kind and name; `None` where another version knew it.
    #[must_use]
    pub fn of(kind: &str, name: Option<&str>) -> Option<Alarm> {
        let plain = [
            Alarm::Log,
            Alarm::Disk,
            Alarm::Clock,
            Alarm::Store,
            Alarm::Reload,
            Alarm::Relay,
            Alarm::Preparation,
        ];
        let Some(name) = name else { return plain.into_iter().find(|alarm| alarm.kind() == kind) };
        let named: [fn(String) -> Alarm; 5] =
            [Alarm::Provider, Alarm::Mailbox, Alarm::Folder, Alarm::Results, Alarm::Listener];
        named.into_iter().map(|make| make(name.to_owned())).find(|alarm| alarm.kind() == kind)
    }

    /// Which of its kind.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match self {
            Alarm::Provider(name)
            | Alarm::Mailbox(name)
            | Alarm::Folder(name)
            | Alarm::Results(name)
            | Alarm::Listener(name) => Some(name),
            _ => None,
        }
    }
}

impl fmt::Display for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{}.{name}", self.kind()),
            None => f.write_str(self.kind()),
        }
    }
}

/// An alarm that is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raised {
    /// What is wrong and what to do, in a sentence for the operator.
    pub cause: String,
    /// Since when.
    pub since: Timestamp,
}

/// The open alarms. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub struct Alarms {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    open: Mutex<BTreeMap<Alarm, Raised>>,
    changed: Notify,
}

impl Alarms {
    /// Opens `alarm`, or gives the open one a new cause.
    pub fn raise(&self, alarm: Alarm, cause: impl Into<String>, now: Timestamp) {
        let cause = cause.into();
        let mut open = self.lock();
        match open.get_mut(&alarm) {
            Some(raised) => {
                if raised.cause == cause {
                    return;
                }
                raised.cause = cause;
            }
            None => {
                tracing::error!(alarm = %alarm, "alarm {alarm}: {cause}");
                open.insert(alarm, Raised { cause, since: now });
            }
        }
        drop(open);
        self.inner.changed.notify_one();
    }

    /// Closes `alarm`, if it is open.
    pub fn clear(&self, alarm: &Alarm) {
        if self.lock().remove(alarm).is_some() {
            tracing::info!(alarm = %alarm, "alarm {alarm} is over");
            self.inner.changed.notify_one();
        }
    }

    /// Those that are open.
    #[must_use]
    pub fn open(&self) -> Vec<(Alarm, Raised)> {
        self.lock().iter().map(|(alarm, raised)| (alarm.clone(), raised.clone())).collect()
    }

    /// Returns when something changed since the last call.
    pub async fn changed(&self) {
        self.inner.changed.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Alarm, Raised>> {
        self.inner.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alarm_is_raised_once_and_is_over_once() {
        let alarms = Alarms::default();
        let (first, later) = (Timestamp::UNIX_EPOCH, Timestamp::MAX);
        alarms.raise(Alarm::Disk, "the disk is full", first);
        alarms.raise(Alarm::Disk, "1 MB is free", later);
        alarms.raise(Alarm::Provider("main".into()), "sign-in is refused", first);
        let disk = Raised { cause: "1 MB is free".into(), since: first };
        assert_eq!(alarms.open().first(), Some(&(Alarm::Disk, disk)), "since it was first raised");
        alarms.clear(&Alarm::Provider("second".into()));
        assert_eq!(alarms.open().len(), 2);
        alarms.clear(&Alarm::Disk);
        assert_eq!(alarms.open().len(), 1);
        assert_eq!(Alarm::Provider("main".into()).to_string(), "provider.main");
        assert_eq!(Alarm::of("provider", Some("main")), Some(Alarm::Provider("main".into())));
        assert_eq!((Alarm::of("disk", None), Alarm::of("disk", Some("x"))), (Some(Alarm::Disk), None));
    }
}
