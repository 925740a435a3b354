//! An open folder: every step in it goes through its descriptor, and none follows a link.
//!
//! Who may write to a watched folder may put a link where a folder of ours was, between any two of our steps. A path would
//! lead through it; a descriptor stays what was opened, and says itself what that is and whose.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, RawDir, RenameFlags, SeekFrom, Stat, fchmod, fchown, fstat, linkat,
    mkdirat, openat, renameat, renameat_with, seek, statat, unlinkat,
};
use rustix::io::Errno;
use rustix::process::{Gid, geteuid};

/// Bytes of names read at a time.
const NAMES: usize = 32 << 10;

/// What the system says of an entry, itself and not what a link leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) kind: FileType,
    pub(crate) device: u64,
    pub(crate) inode: u64,
    pub(crate) links: u64,
    pub(crate) owner: u32,
    pub(crate) group: u32,
    pub(crate) mode: u32,
    pub(crate) bytes: u64,
    pub(crate) changed: (i64, i64),
}

impl Facts {
    #[allow(clippy::useless_conversion, reason = "the types differ from one machine to the next")]
    fn of(stat: &Stat) -> io::Result<Facts> {
        let strange = |_| io::Error::other("the file system tells what cannot be");
        Ok(Facts {
            kind: FileType::from_raw_mode(stat.st_mode),
            device: stat.st_dev.into(),
            inode: stat.st_ino.into(),
            links: stat.st_nlink.into(),
            owner: stat.st_uid,
            group: stat.st_gid,
            mode: stat.st_mode & 0o7777,
            bytes: u64::try_from(stat.st_size).unwrap_or(0),
            changed: (stat.st_mtime.into(), i64::try_from(stat.st_mtime_nsec).map_err(strange)?),
        })
    }

    /// Of an open file.
    pub(crate) fn of_open(file: &File) -> io::Result<Facts> {
        Facts::of(&fstat(file)?)
    }

    /// One plain file under one name.
    pub(crate) fn is_plain(&self) -> bool {
        self.kind == FileType::RegularFile && self.links == 1
    }

    /// Whether both are of one and the same file.
    pub(crate) fn is_same_file(&self, other: &Facts) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }

    /// Whether it belongs to the daemon's user or to root: to nobody else may what we rely on belong.
    pub(crate) fn is_trusted(&self) -> bool {
        is_trusted(self.owner)
    }
}

/// Whether nobody but root and the daemon itself acts as this user.
pub(crate) fn is_trusted(user: u32) -> bool {
    user == 0 || user == geteuid().as_raw()
}

/// See the module. Cheap to clone; all clones are one descriptor, so only one thread may list it at a time.
#[derive(Debug, Clone)]
pub(crate) struct Dir {
    descriptor: Arc<OwnedFd>,
}

impl Dir {
    /// Opens the folder that a configured path leads to.
    pub(crate) fn open(path: &Path) -> io::Result<Dir> {
        let descriptor = openat(CWD, path, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Dir { descriptor: Arc::new(descriptor) })
    }

    /// Opens the folder `name` in it, which is no link.
    pub(crate) fn folder(&self, name: &OsStr) -> io::Result<Dir> {
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match openat(&self.descriptor, name, flags, Mode::empty()) {
            Ok(descriptor) => Ok(Dir { descriptor: Arc::new(descriptor) }),
            Err(Errno::LOOP | Errno::NOTDIR) => {
                Err(io::Error::other(format!("{} in it is a link or a file; remove that", name.display())))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The folder `name` in it, made where it is missing: for what we put there, for the readers of this folder's group. Others
    /// put nothing there, or they would answer in our name.
    pub(crate) fn read_only(&self, name: &OsStr) -> io::Result<Dir> {
        self.shared(name, |mode| mode & !0o022)
    }

    /// The same for what its group may take out again: each takes what is his own.
    pub(crate) fn returned(&self, name: &OsStr) -> io::Result<Dir> {
        self.shared(name, |mode| if mode & 0o022 == 0 { mode } else { mode | 0o1000 })
    }

    /// One made by an earlier version, or opened wider since, gets the `bits` that it has to have. What root owns is the
    /// administrator's affair.
    fn shared(&self, name: &OsStr, bits: fn(u32) -> u32) -> io::Result<Dir> {
        let here = self.facts()?;
        let made = self.make(name)?;
        let folder = self.folder(name)?.owned(name)?;
        if made {
            folder.share(&here, bits)?;
        } else {
            let facts = folder.facts()?;
            if facts.owner == geteuid().as_raw() && facts.mode != bits(facts.mode) {
                folder.allow(bits(facts.mode & 0o1777), facts.mode)?;
            }
        }
        Ok(folder)
    }

    /// The folder `name` in it, made where it is missing: for us alone.
    pub(crate) fn private(&self, name: &OsStr) -> io::Result<Dir> {
        self.make(name)?;
        let folder = self.folder(name)?.owned(name)?;
        if folder.facts()?.mode & 0o7777 != 0o700 {
            fchmod(&folder.descriptor, Mode::from_raw_mode(0o700))?;
        }
        Ok(folder)
    }

    fn make(&self, name: &OsStr) -> io::Result<bool> {
        match mkdirat(&self.descriptor, name, Mode::RWXU) {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn owned(self, name: &OsStr) -> io::Result<Dir> {
        let owner = self.facts()?.owner;
        if is_trusted(owner) {
            return Ok(self);
        }
        let sentence = format!(
            "{} in it belongs to user {owner}, who could exchange what lies there; give it to the daemon's user (chown)",
            name.display()
        );
        Err(io::Error::other(sentence))
    }

    /// Gives a new folder the group of `above`, and that group what it may do there. The system may forbid a daemon to change
    /// groups; then the folder above hands its own down where it has the setgid bit.
    fn share(&self, above: &Facts, bits: fn(u32) -> u32) -> io::Result<()> {
        let facts = self.facts()?;
        let allowed = match above.mode & 0o070 {
            group if group & 0o020 != 0 => 0o770,
            group if group & 0o040 != 0 => 0o750,
            _ => 0o700,
        };
        if !in_group(&*self.descriptor, &facts, above.group) {
            return Ok(());
        }
        self.allow(bits(allowed), facts.mode)
    }

    /// Gives it the mode `allowed`, beside the setgid bit of the one it has.
    fn allow(&self, allowed: u32, mode: u32) -> io::Result<()> {
        // systemd's RestrictSUIDSGID= forbids to set that bit, even where it is set.
        fchmod(&self.descriptor, Mode::from_raw_mode(allowed | mode & 0o2000))
            .or_else(|_| fchmod(&self.descriptor, Mode::from_raw_mode(allowed)))?;
        Ok(())
    }

    pub(crate) fn facts(&self) -> io::Result<Facts> {
        Facts::of(&fstat(&self.descriptor)?)
    }

    /// What lies under `name`; `None` where nothing does.
    pub(crate) fn look(&self, name: &OsStr) -> io::Result<Option<Facts>> {
        match statat(&self.descriptor, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Facts::of(&stat).map(Some),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// At most `most` of the names in it.
    pub(crate) fn names(&self, most: usize) -> io::Result<Vec<OsString>> {
        seek(&self.descriptor, SeekFrom::Start(0))?;
        let mut buffer = vec![MaybeUninit::uninit(); NAMES];
        let mut entries = RawDir::new(&self.descriptor, &mut buffer);
        let mut names = Vec::new();
        while let Some(entry) = entries.next() {
            let name = OsStr::from_bytes(entry?.file_name().to_bytes()).to_owned();
            if name == "." || name == ".." {
                continue;
            }
            if names.len() >= most {
                break;
            }
            names.push(name);
        }
        Ok(names)
    }

    /// Opens a plain file for reading. `None` where something else lies there: it is never opened, or only so that nobody waits.
    pub(crate) fn open_plain(&self, name: &OsStr) -> io::Result<Option<(File, Facts)>> {
        if !self.look(name)?.is_some_and(|facts| facts.is_plain()) {
            return Ok(None);
        }
        // It may have been exchanged since: no link is followed, and no pipe or terminal is waited for.
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = match openat(&self.descriptor, name, flags, Mode::empty()) {
            Ok(descriptor) => File::from(descriptor),
            Err(Errno::LOOP | Errno::NOENT | Errno::NXIO) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let facts = Facts::of_open(&file)?;
        Ok(facts.is_plain().then_some((file, facts)))
    }

    /// Makes a file that is not there, for the readers of this folder's group.
    pub(crate) fn create(&self, name: &OsStr) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let descriptor = openat(&self.descriptor, name, flags, Mode::RUSR | Mode::WUSR)?;
        let here = self.facts()?;
        if here.mode & 0o040 != 0 && in_group(&descriptor, &Facts::of(&fstat(&descriptor)?)?, here.group) {
            fchmod(&descriptor, Mode::from_raw_mode(0o640))?;
        }
        Ok(File::from(descriptor))
    }

    /// The same under a name that is ours: what lies there is what a crash left of an earlier process of the same number.
    pub(crate) fn create_anew(&self, name: &OsStr) -> io::Result<File> {
        if let Some(facts) = self.look(name)? {
            self.remove(name, &facts)?;
        }
        self.create(name)
    }

    /// Renames, but never over another file. `target` has to lie on the same file system.
    pub(crate) fn move_new(&self, name: &OsStr, target: &Dir, new: &OsStr) -> io::Result<()> {
        let (from, to) = (&self.descriptor, &target.descriptor);
        match renameat_with(from, name, to, new, RenameFlags::NOREPLACE) {
            // File systems that know no such rename (NFS, some FUSE ones) know links, or nothing at all.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
                linkat(from, name, to, new, AtFlags::empty())?;
                Ok(unlinkat(from, name, AtFlags::empty())?)
            }
            moved => Ok(moved?),
        }
    }

    /// Renames to `target`, where nobody else puts anything: what is not there before is not there a moment later.
    pub(crate) fn move_to_private(&self, name: &OsStr, target: &Dir) -> io::Result<bool> {
        if target.look(name)?.is_some() {
            return Ok(false);
        }
        renameat(&self.descriptor, name, &target.descriptor, name)?;
        Ok(true)
    }

    /// Removes the file `name` if it still is the one that `facts` are of.
    pub(crate) fn remove(&self, name: &OsStr, facts: &Facts) -> io::Result<()> {
        if self.look(name)?.is_some_and(|there| there.is_same_file(facts)) {
            unlinkat(&self.descriptor, name, AtFlags::empty())?;
        }
        Ok(())
    }

    pub(crate) fn sync(&self) -> io::Result<()> {
        // Some network file systems know no such call for folders; what they do by themselves has to do.
        match rustix::fs::fsync(&self.descriptor) {
            Err(Errno::INVAL | Errno::NOTSUP) => Ok(()),
            synced => Ok(synced?),
        }
    }

    /// Whether this process alone holds it now, for as long as `self` lives.
    pub(crate) fn lock(&self) -> io::Result<bool> {
        match rustix::fs::flock(&self.descriptor, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(true),
            Err(Errno::WOULDBLOCK) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

/// Whether the file is in `group`, or can be put there.
fn in_group(file: impl std::os::fd::AsFd, facts: &Facts, group: u32) -> bool {
    facts.group == group || fchown(file, None, Some(Gid::from_raw(group))).is_ok()
}

/// `scan.pdf` as `scan.2.pdf`.
pub(crate) fn numbered(name: &OsStr, number: impl std::fmt::Display) -> OsString {
    let path = Path::new(name);
    let mut numbered = path.file_stem().unwrap_or(name).to_owned();
    numbered.push(format!(".{number}"));
    if let Some(extension) = path.extension() {
        numbered.push(".");
        numbered.push(extension);
    }
    if numbered.len() <= 255 {
        return numbered;
    }
    // Too long with its number: what is in front of that goes, the end tells what it is.
    let bytes = numbered.into_vec();
    let cut = bytes.len().saturating_sub(255);
    OsString::from_vec(bytes.get(cut..).unwrap_or_default().to_vec())
}
