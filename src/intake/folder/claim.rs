//! Claims: files moved to where only we are, and where they go from there.

use std::ffi::{OsStr, OsString};
use std::fs::{DirBuilder, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::evidence::{Print, open_plain};
use super::results::{make_plain, move_new};

/// Names tried for a file in `refused/` before giving up.
const TRIES: u32 = 1000;

/// The claims of one folder.
#[derive(Debug, Clone)]
pub(super) struct Claims {
    folder: PathBuf,
    private: PathBuf,
}

/// One file that is ours now.
#[derive(Debug)]
pub(super) struct Claim {
    claims: Claims,
    name: OsString,
}

impl Claims {
    /// Makes `.faxbridge/claimed` in `folder`, and makes sure that nobody else has a say there.
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        let own = folder.join(".faxbridge");
        let private = own.join("claimed");
        for path in [&own, &private] {
            match DirBuilder::new().mode(0o700).create(path) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    let meta = std::fs::symlink_metadata(path)?;
                    if !meta.is_dir() || meta.uid() != rustix::process::geteuid().as_raw() {
                        return Err(io::Error::other(
                            "its .faxbridge belongs to somebody else, or is a link",
                        ));
                    }
                    std::fs::set_permissions(path, Permissions::from_mode(0o700))?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Claims { folder: folder.to_owned(), private })
    }

    /// Claims that a crash left.
    pub(super) fn left_over(&self) -> io::Result<Vec<Claim>> {
        let entries = std::fs::read_dir(&self.private)?;
        entries.map(|entry| Ok(Claim { claims: self.clone(), name: entry?.file_name() })).collect()
    }

    /// Claims the file. `None`: it is gone, or a claim of that name is still open.
    pub(super) fn claim(&self, name: &OsStr) -> io::Result<Option<Claim>> {
        let target = self.private.join(name);
        // Nobody but us, one file at a time, moves anything in there: looking first is enough.
        if std::fs::symlink_metadata(&target).is_ok() {
            return Ok(None);
        }
        match std::fs::rename(self.folder.join(name), target) {
            Ok(()) => Ok(Some(Claim { claims: self.clone(), name: name.to_owned() })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Claim {
    pub(super) fn name(&self) -> &OsStr {
        &self.name
    }

    fn path(&self) -> PathBuf {
        self.claims.private.join(&self.name)
    }

    /// The file and its print. `None` if it is not one plain file: it was swapped between the look and the claim.
    pub(super) fn open(&self) -> io::Result<Option<(File, Print)>> {
        let file = match open_plain(&self.path()) {
            Ok(file) => file,
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let meta = file.metadata()?;
        Ok((meta.is_file() && meta.nlink() == 1).then(|| (file, Print::of(&meta))))
    }

    /// The submission has it now.
    pub(super) fn delete(self) -> io::Result<()> {
        std::fs::remove_file(self.path())
    }

    /// Back to where it was, as it was. If another file took that name meanwhile, the claim stays, for the next scan.
    pub(super) fn put_back(self) -> io::Result<Option<(OsString, Print)>> {
        let print = std::fs::symlink_metadata(self.path()).map(|meta| Print::of(&meta))?;
        match move_new(&self.path(), &self.claims.folder.join(&self.name)) {
            Ok(()) => Ok(Some((self.name, print))),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Into `refused/`, with the reason in a text file beside it.
    pub(super) fn refuse(self, sentence: &str) -> io::Result<()> {
        let refused = self.claims.folder.join("refused");
        make_plain(&refused)?;
        for number in 1..=TRIES {
            let name = if number == 1 { self.name.clone() } else { numbered(&self.name, number) };
            let mut reason = name.clone();
            reason.push(".txt");
            let reason = refused.join(reason);
            if reason.symlink_metadata().is_ok() {
                continue;
            }
            match move_new(&self.path(), &refused.join(&name)) {
                Ok(()) => return File::create_new(reason)?.write_all(format!("{sentence}\n").as_bytes()),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }
}

/// `scan.pdf` as `scan.2.pdf`.
pub(super) fn numbered(name: &OsStr, number: u32) -> OsString {
    let path = Path::new(name);
    let mut numbered = path.file_stem().unwrap_or(name).to_owned();
    numbered.push(format!(".{number}"));
    if let Some(extension) = path.extension() {
        numbered.push(".");
        numbered.push(extension);
    }
    numbered
}
