//! Sealed documents: write, read, forget. Nothing of a document touches a disk in any other form.
//!
//! Each Submission has a random key of its own; every document of it is sealed under that key (`spool/seal.rs` has the format),
//! and the key lies in the store only wrapped by the master key. The deletion of a Submission's documents is the
//! destruction of its wrapped key; that the files are unlinked afterwards gives the space back.
//!
//! What is promised:
//! - when [`Writer::finish`] or [`Sealing::synced`] has returned, the document and its directory entry survive a power cut;
//! - what was cut off, exchanged, repeated, altered or lengthened, in any place, is refused by [`Reader`], never read as if
//!   it were whole. The end is only proven at the end: who streams must treat an error as "nothing was read";
//! - a [`Writer`] that is dropped before it finished leaves no file.
//!
//! What is left after a crash between that and the store's commit is a file that no row names; [`Spool::list`] finds it.
//!
//! Names are random and say nothing of time or content. Their first two letters are the subfolder. They are not chosen
//! anew for each file: documents that are written at the same time lie in the same subfolder, so that one sync of that
//! directory serves all of them.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

mod directory;
mod error;
mod reader;
mod seal;
mod space;
mod writer;

use crate::text::BASE32;
use crate::vault::{MasterKey, SealKey, Vault, VaultError};
use directory::DirectorySync;
pub use error::SpoolError;
pub use reader::Reader;
pub use space::Reservation;
pub use writer::{Resting, Sealed, Sealing, Writer};

/// The sealed spool. A cheap handle.
#[derive(Clone)]
pub struct Spool {
    inner: Arc<Inner>,
}

struct Inner {
    dir: PathBuf,
    vault: Vault,
    /// The subfolder that new documents go to, and how many went there.
    current: Mutex<(Prefix, u32)>,
    sync: Arc<DirectorySync>,
    /// Bytes that writers were promised and have not written yet.
    promised: Mutex<u64>,
}

/// The first two letters of a name: its subfolder.
type Prefix = [u8; 2];

impl Spool {
    /// Opens the spool in `dir`, or makes it, mode 0700.
    ///
    /// # Errors
    /// [`SpoolError::WrongMasterKey`] when the spool was begun under another master key; otherwise what the disk says.
    #[allow(clippy::needless_pass_by_value, reason = "the key must not live on with the caller")]
    pub fn open(dir: PathBuf, master: MasterKey) -> Result<Spool, SpoolError> {
        let at = |source| SpoolError::io("open the spool", &dir, source);
        DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(at)?;
        let permissions = fs::metadata(&dir).map_err(at)?.permissions();
        if permissions.mode() & 0o077 != 0 {
            fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).map_err(at)?;
        }
        let vault = Vault::new(&master)?;
        check_key(&dir, &vault)?;
        let current = Mutex::new((random_prefix()?, 0));
        let sync = Arc::new(DirectorySync::new(dir.clone()));
        Ok(Spool { inner: Arc::new(Inner { dir, vault, current, sync, promised: Mutex::default() }) })
    }

    /// The same for a look: nothing is made, and nothing changed. Where there is no spool yet, any master key is a good one.
    ///
    /// # Errors
    /// [`SpoolError::WrongMasterKey`] when the spool was begun under another master key; otherwise what the disk says.
    #[allow(clippy::needless_pass_by_value, reason = "the key must not live on with the caller")]
    pub fn look(dir: PathBuf, master: MasterKey) -> Result<Spool, SpoolError> {
        let vault = Vault::new(&master)?;
        if dir.join(KEY_CHECK).exists() {
            check_key(&dir, &vault)?;
        }
        let current = Mutex::new((random_prefix()?, 0));
        let sync = Arc::new(DirectorySync::new(dir.clone()));
        Ok(Spool { inner: Arc::new(Inner { dir, vault, current, sync, promised: Mutex::default() }) })
    }

    /// The keys that its documents and the values beside them are sealed under.
    #[must_use]
    pub fn vault(&self) -> &Vault {
        &self.inner.vault
    }

    /// Begins a document: mode 0600, random name. Its file is made when there is something to write.
    ///
    /// # Errors
    /// Only where the operating system has no randomness to give.
    pub fn create(&self, key: &SealKey) -> Result<Writer, SpoolError> {
        let name = random_name(self.next_prefix()?)?;
        let path = self.path(&name)?;
        Ok(Writer::new(name, path, Arc::clone(&self.inner.sync), seal::Sealer::new(key)?))
    }

    /// Opens a finished document.
    ///
    /// # Errors
    /// [`SpoolError::BadName`] for what is no name of a document, [`SpoolError::Missing`] where there is none,
    /// [`SpoolError::Damaged`] when its head is not that of a document.
    pub async fn read(&self, key: &SealKey, name: &str) -> Result<Reader, SpoolError> {
        let path = self.path(name)?;
        let (key, name) = (key.clone(), name.to_owned());
        blocking(move || Reader::open(&key, name, &path)).await
    }

    /// Removes a document's file. One that is not there is fine: forgetting is done again after a crash.
    ///
    /// # Errors
    /// [`SpoolError::BadName`], or what the disk says.
    pub async fn forget(&self, name: &str) -> Result<(), SpoolError> {
        let path = self.path(name)?;
        blocking(move || remove(&path)).await
    }

    /// The same at once, where nobody can wait for it.
    ///
    /// # Errors
    /// As [`Spool::forget`].
    pub fn forget_now(&self, name: &str) -> Result<(), SpoolError> {
        remove(&self.path(name)?)
    }

    /// Announces that this process writes documents beside a daemon that may be starting; until what is returned is dropped,
    /// nothing that no row names yet is taken for the leftovers of a crash. Waits while that is being cleared away.
    ///
    /// # Errors
    /// What the disk says.
    pub fn visit(&self) -> Result<fs::File, SpoolError> {
        let (path, file) = self.visitors()?;
        file.lock_shared().map_err(|error| SpoolError::io("lock the spool", &path, error))?;
        Ok(file)
    }

    /// The opposite of [`Spool::visit`]: nobody else writes until what is returned is dropped; `None` where somebody does.
    ///
    /// # Errors
    /// What the disk says.
    pub fn alone(&self) -> Result<Option<fs::File>, SpoolError> {
        let (path, file) = self.visitors()?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) => Err(SpoolError::io("lock the spool", &path, error)),
        }
    }

    /// The key check serves as the lock: it is there from the beginning and never replaced.
    fn visitors(&self) -> Result<(PathBuf, fs::File), SpoolError> {
        let path = self.inner.dir.join(KEY_CHECK);
        match OpenOptions::new().read(true).write(true).open(&path) {
            Ok(file) => Ok((path, file)),
            Err(error) => Err(SpoolError::io("lock the spool", &path, error)),
        }
    }

    /// The names of all documents, unfinished ones included: ask before anything is written, to remove what no row names.
    ///
    /// # Errors
    /// What the disk says.
    pub fn list(&self) -> Result<Vec<String>, SpoolError> {
        let mut names = Vec::new();
        for folder in entries(&self.inner.dir)? {
            if folder.len() != 2 || !is_plain(&folder) {
                continue;
            }
            let files = entries(&self.inner.dir.join(&folder))?;
            names.extend(files.into_iter().filter(|name| is_name(name) && name.starts_with(&folder)));
        }
        Ok(names)
    }

    /// Free bytes on the spool's disk, as this user may use them.
    ///
    /// # Errors
    /// What the disk says.
    pub fn free_bytes(&self) -> Result<u64, SpoolError> {
        let facts = rustix::fs::statvfs(&self.inner.dir)
            .map_err(|error| SpoolError::io("ask for free space", &self.inner.dir, error.into()))?;
        Ok(facts.f_bavail.saturating_mul(facts.f_frsize))
    }

    fn path(&self, name: &str) -> Result<PathBuf, SpoolError> {
        match name.get(..2) {
            Some(folder) if is_name(name) => Ok(self.inner.dir.join(folder).join(name)),
            _ => Err(SpoolError::BadName),
        }
    }

    /// The subfolder for the next document; another one after every [`FILES_PER_FOLDER`].
    fn next_prefix(&self) -> Result<Prefix, SpoolError> {
        let mut current = self.inner.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.1 >= FILES_PER_FOLDER {
            *current = (random_prefix()?, 0);
        }
        current.1 += 1;
        Ok(current.0)
    }
}

impl std::fmt::Debug for Spool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Spool").field("dir", &self.inner.dir).finish_non_exhaustive()
    }
}

/// Runs file work on a thread that may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SpoolError> + Send + 'static,
) -> Result<T, SpoolError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| SpoolError::Stopped)?
}

fn remove(path: &Path) -> Result<(), SpoolError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(SpoolError::io("remove a document", path, error))
        }
        _ => Ok(()),
    }
}

fn create_file(path: &Path) -> Result<fs::File, SpoolError> {
    let open = || OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let at = |source| SpoolError::io("make a document", path, source);
    match (open(), path.parent()) {
        (Err(error), Some(folder)) if error.kind() == io::ErrorKind::NotFound => {
            match DirBuilder::new().mode(0o700).create(folder) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(at(error)),
                _ => open().map_err(at),
            }
        }
        (file, _) => file.map_err(at),
    }
}

/// Recognises a master key that is not the one this spool was begun with: a known value lies sealed under it.
fn check_key(dir: &Path, vault: &Vault) -> Result<(), SpoolError> {
    let path = dir.join(KEY_CHECK);
    let at = |source| SpoolError::io("read the key check", &path, source);
    match fs::File::open(&path) {
        Ok(file) => {
            let mut sealed = Vec::new();
            file.take(1024).read_to_end(&mut sealed).map_err(at)?;
            match vault.open(KEY_CHECK, &sealed) {
                Ok(plain) if plain == KEY_CHECK_VALUE => Ok(()),
                _ => Err(SpoolError::WrongMasterKey { dir: dir.to_owned() }),
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let write = || {
                // Written beside and renamed: a crash must not leave half a check that no key fits.
                let fresh = dir.join(format!("{KEY_CHECK}.new"));
                let sealed = vault.seal(KEY_CHECK, KEY_CHECK_VALUE)?;
                let _ = fs::remove_file(&fresh);
                let mut file = create_file(&fresh)?;
                let done = file.write_all(&sealed).and_then(|()| file.sync_all());
                done.and_then(|()| fs::rename(&fresh, &path))
                    .and_then(|()| fs::File::open(dir)?.sync_all())
                    .map_err(|source| SpoolError::io("write the key check", &path, source))
            };
            write()
        }
        Err(error) => Err(at(error)),
    }
}

fn entries(dir: &Path) -> Result<Vec<String>, SpoolError> {
    let at = |source| SpoolError::io("list the spool", dir, source);
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).map_err(at)? {
        // A name that is not UTF-8 is none of ours.
        if let Ok(name) = entry.map_err(at)?.file_name().into_string() {
            names.push(name);
        }
    }
    Ok(names)
}

fn random_prefix() -> Result<Prefix, SpoolError> {
    let mut letters = [0; 2];
    random_letters(&mut letters)?;
    Ok(letters)
}

fn random_name(prefix: Prefix) -> Result<String, SpoolError> {
    let mut letters = [0; NAME_LENGTH];
    random_letters(&mut letters)?;
    letters[..2].copy_from_slice(&prefix);
    Ok(letters.iter().copied().map(char::from).collect())
}

fn random_letters(letters: &mut [u8]) -> Result<(), SpoolError> {
    aws_lc_rs::rand::fill(letters).map_err(|_| VaultError::NoRandomness)?;
    for letter in letters {
        *letter = BASE32.get(usize::from(*letter & 31)).copied().unwrap_or(b'0');
    }
    Ok(())
}

fn is_name(name: &str) -> bool {
    name.len() == NAME_LENGTH && is_plain(name)
}

fn is_plain(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase())
}

/// 24 letters of chance are 120 bits.
const NAME_LENGTH: usize = 26;
/// Enough that a busy hour shares its directory syncs, few enough that a directory stays one or two blocks.
const FILES_PER_FOLDER: u32 = 1024;
const KEY_CHECK: &str = "key-check";
const KEY_CHECK_VALUE: &[u8] = b"faxbridge spool 1";

#[cfg(test)]
mod tests;
