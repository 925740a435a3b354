//! Whether a watched folder is one in which nobody can put something else where our folders and claims are.
//!
//! Strangers are all but root and the daemon's own user. A folder whose owner is a stranger, or to which strangers may write without
//! the sticky bit, is theirs: they rename what lies in it, ours too. The same holds for every folder above, by which the watched
//! one is reached. The bits of group and others say it all: with an access list the group's bits are its mask, the most that
//! any of its entries allows. For the folders above, a group in which nobody else is, as many
//! systems give to each user, is no stranger.

use std::ffi::OsString;
use std::io;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, statat};

/// Links that are followed on the way to a folder, as many as the system follows.
const LINKS: usize = 40;

/// Why a folder cannot be watched.
#[derive(Debug, thiserror::Error)]
pub enum Untrusted {
    /// It, or a folder above it, belongs to a stranger.
    #[error(
        "{} belongs to user {owner}, who could put another folder or a link in its place; nothing there is taken. Give it to \
         the daemon's user, its writers to its group: chown {user}:WRITERS {}; chmod 1770 {} (3770 lets the group read its \
         results too)",
        path.display(), path.display(), path.display()
    )]
    Owner {
        /// Which.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// The daemon's user.
        user: u32,
    },
    /// Strangers may write to it, or to a folder above it, and so rename what others put there.
    #[error(
        "others than the daemon's user may write to {} (mode {mode:04o}), and without the sticky bit they could put a link in \
         the place of what the daemon made there; nothing there is taken. Give the folder to the daemon's user, its writers to \
         its group: chown {user}:WRITERS {}; chmod 1770 {} (3770 lets the group read its results too)",
        path.display(), path.display(), path.display()
    )]
    Writers {
        /// Which.
        path: PathBuf,
        /// Its mode.
        mode: u32,
        /// The daemon's user.
        user: u32,
    },
    /// By the sticky bit nobody but a file's owner and the folder's takes a file out of it, and the daemon is neither.
    #[error(
        "{} belongs to root and has the sticky bit, so the daemon (user {user}) cannot take files out of it; give it to the \
         daemon: chown {user} {}",
        path.display(), path.display()
    )]
    Sticky {
        /// Which.
        path: PathBuf,
        /// The daemon's user.
        user: u32,
    },
    /// The way to it cannot be looked at.
    #[error("{} cannot be looked at: {error}", path.display())]
    Unseen {
        /// Where that was so.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

impl Untrusted {
    /// Whether it only is not there, and may come.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, Untrusted::Unseen { error, .. } if error.kind() == io::ErrorKind::NotFound)
    }
}

/// Whether this process may rely on what lies in `path`.
///
/// # Errors
/// As for [`trusted_by`].
pub fn trusted(path: &Path) -> Result<(), Untrusted> {
    trusted_by(path, rustix::process::geteuid().as_raw())
}

/// Looks at every folder on the way to `path`, through links, and at `path` itself, with the eyes of a daemon that runs as `user`.
///
/// # Errors
/// What is wrong, with its cure.
pub fn trusted_by(path: &Path, user: u32) -> Result<(), Untrusted> {
    let unseen = |path: &Path, error| Untrusted::Unseen { path: path.to_owned(), error };
    let whole = std::path::absolute(path).map_err(|error| unseen(path, error))?;
    let mut ahead: Vec<OsString> = parts(&whole);
    let (mut here, mut links) = (PathBuf::from("/"), 0);
    look(&here, true, user)?;
    while let Some(part) = ahead.pop() {
        if part == ".." {
            here.pop();
            continue;
        }
        let next = here.join(&part);
        if look(&next, !ahead.is_empty(), user)? != FileType::Symlink {
            here = next;
            continue;
        }
        links += 1;
        if links > LINKS {
            return Err(unseen(path, rustix::io::Errno::LOOP.into()));
        }
        let target = std::fs::read_link(&next).map_err(|error| unseen(&next, error))?;
        if target.is_absolute() {
            here = PathBuf::from("/");
        }
        ahead.extend(parts(&target));
    }
    Ok(())
}

/// The components of a path, the last one first.
fn parts(path: &Path) -> Vec<OsString> {
    let parts = path.components().rev().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    });
    parts.collect()
}

/// Looks at one of them; `above` are all but the watched one.
fn look(path: &Path, above: bool, user: u32) -> Result<FileType, Untrusted> {
    let stat = statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW)
        .map_err(|error| Untrusted::Unseen { path: path.to_owned(), error: error.into() })?;
    let (kind, mode) = (FileType::from_raw_mode(stat.st_mode), stat.st_mode & 0o7777);
    if stat.st_uid != 0 && stat.st_uid != user {
        return Err(Untrusted::Owner { path: path.to_owned(), owner: stat.st_uid, user });
    }
    let own_group = || above && mode & 0o002 == 0 && !has_access_list(path) && is_private(stat.st_gid, user);
    // A link has no mode that means anything.
    if kind == FileType::Directory && mode & 0o022 != 0 && mode & 0o1000 == 0 && !own_group() {
        return Err(Untrusted::Writers { path: path.to_owned(), mode, user });
    }
    if !above && mode & 0o1000 != 0 && stat.st_uid != user && user != 0 {
        return Err(Untrusted::Sticky { path: path.to_owned(), user });
    }
    Ok(kind)
}

fn has_access_list(path: &Path) -> bool {
    use rustix::io::Errno;
    let asked = rustix::fs::lgetxattr_query(path, "system.posix_acl_access");
    !matches!(asked, Err(Errno::NODATA | Errno::NOTSUP))
}

/// Whether the system's own lists show nobody but `user` and root in `group`.
fn is_private(group: u32, user: u32) -> bool {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    is_private_by(&read("/etc/group"), &read("/etc/passwd"), group, user)
}

fn is_private_by(groups: &str, users: &str, group: u32, user: u32) -> bool {
    let number = |field: Option<&&str>| field.and_then(|text| text.parse::<u32>().ok());
    let mut ours = vec!["root"];
    for line in users.lines() {
        let fields: Vec<&str> = line.split(':').collect();
        let (uid, gid) = (number(fields.get(2)), number(fields.get(3)));
        if uid == Some(user) {
            ours.extend(fields.first());
        } else if gid == Some(group) && uid != Some(0) {
            return false;
        }
    }
    let entry = groups.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let mut entry = entry.filter(|fields| number(fields.get(2)) == Some(group)).peekable();
    // One that is not listed may have anybody in it.
    entry.peek().is_some()
        && entry.all(|fields| {
            let members = fields.get(3).copied().unwrap_or_default();
            members.split(',').filter(|name| !name.is_empty()).all(|name| ours.contains(&name))
        })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_group_is_private_where_the_lists_show_nobody_else() {
        let users = "root:x:0:0::/root:/bin/sh\njane:x:1000:1000::/:/bin/sh\nscan:x:1001:100::/:/bin/sh\nbob:x:1002:1002::/:";
        let groups = "root:x:0:\njane:x:1000:\nusers:x:100:\nteam:x:50:jane,bob\nbob:x:1002:root\nalone:x:51:jane\nbob2:x:1003:bob";
        for (group, user, private) in [
            (1000, 1000, true),
            (51, 1000, true),
            (50, 1000, false),
            (100, 1000, false),
            (1003, 1000, false),
            (1002, 1002, true),
            (1002, 1000, false),
            (777, 1000, false),
            (0, 0, true),
        ] {
            assert_eq!(is_private_by(groups, users, group, user), private, "group {group}, user {user}");
        }
    }

    #[test]
    fn a_folder_is_trusted_where_only_we_and_root_can_exchange_it() {
        let base = tempfile::tempdir().unwrap();
        let at = |name: &str| base.path().join(name);
        let make = |name: &str, mode: u32| {
            fs::create_dir_all(at(name)).unwrap();
            fs::set_permissions(at(name), fs::Permissions::from_mode(mode)).unwrap();
        };
        make("own", 0o755);
        make("sticky", 0o1770);
        make("sticky/inner", 0o3770);
        make("group", 0o770);
        make("others", 0o757);
        make("open", 0o777);
        make("open/inner", 0o700);
        symlink(at("open/inner"), at("by-a-link")).unwrap();
        symlink("../own", at("own/round")).unwrap();
        symlink("loop", at("loop")).unwrap();
        let table = [
            ("own", ""),
            ("own/round", ""),
            ("sticky", ""),
            ("sticky/inner", ""),
            ("group", "0770"),
            ("others", "0757"),
            ("open/inner", "0777"),
            ("by-a-link", "0777"),
            ("loop", "cannot be looked at"),
            ("missing", "cannot be looked at"),
        ];
        for (name, wrong) in table {
            match trusted(&at(name)) {
                Ok(()) => assert_eq!(wrong, "", "{name}"),
                Err(error) => {
                    let sentence = error.to_string();
                    assert!(!wrong.is_empty() && sentence.contains(wrong), "{name}: {sentence}");
                    assert_eq!(error.is_missing(), name == "missing");
                    assert_eq!(
                        sentence.contains("chmod 1770"),
                        wrong.starts_with('0'),
                        "the cure: {sentence}"
                    );
                }
            }
        }
    }
}
