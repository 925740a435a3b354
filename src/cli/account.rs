//! Who runs a command: an account of the system, which the system vouches for, and not a name out of the environment.

use std::fmt;

use nix::unistd::{Uid, User, geteuid, getuid};

/// An account of the system. Two persons are two accounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SystemAccount {
    uid: u32,
    name: Option<String>,
}

impl SystemAccount {
    /// That of whoever runs this process.
    pub(crate) fn acting() -> SystemAccount {
        let uid =
            acting_uid(getuid().as_raw(), geteuid().as_raw(), std::env::var("SUDO_UID").ok().as_deref());
        let name = User::from_uid(Uid::from_raw(uid)).ok().flatten().map(|user| user.name);
        SystemAccount { uid, name }
    }

    /// What tells it from every other account.
    pub(crate) fn id(&self) -> String {
        format!("uid:{}", self.uid)
    }

    /// Its name, where the system has one for it.
    pub(crate) fn name(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.id())
    }
}

impl fmt::Display for SystemAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "uid:{} ({name})", self.uid),
            None => write!(f, "uid:{}", self.uid),
        }
    }
}

/// sudo tells in SUDO_UID for whom it runs a command as root. Only root is believed that: everybody else can set it as he likes.
fn acting_uid(real: u32, effective: u32, sudo: Option<&str>) -> u32 {
    match sudo.and_then(|uid| uid.parse().ok()) {
        Some(before) if effective == 0 => before,
        _ => real,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_is_believed_only_where_sudo_made_it() {
        for (real, effective, sudo, expected) in [
            (1000, 1000, None, 1000),
            (1000, 1000, Some("1001"), 1000),
            (0, 0, Some("1001"), 1001),
            (0, 0, None, 0),
            (0, 0, Some("jane"), 0),
            (0, 0, Some("-1"), 0),
        ] {
            assert_eq!(acting_uid(real, effective, sudo), expected, "{real} {effective} {sudo:?}");
        }
    }

    #[test]
    fn an_account_is_told_by_number_and_name() {
        let jane = SystemAccount { uid: 1000, name: Some("jane".into()) };
        assert_eq!(
            (jane.to_string(), jane.id(), jane.name()),
            ("uid:1000 (jane)".into(), "uid:1000".into(), "jane".into())
        );
        let gone = SystemAccount { uid: 4711, name: None };
        assert_eq!((gone.to_string(), gone.name()), ("uid:4711".into(), "uid:4711".into()));
    }
}
