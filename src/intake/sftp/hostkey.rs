//! The server's own key: made once, then always the same, so that clients recognise us.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use russh::keys::key::safe_rng;
use russh::keys::ssh_key::private::{Ed25519Keypair, KeypairData, RsaKeypair};
use russh::keys::ssh_key::{EcdsaCurve, LineEnding};
use russh::keys::{Algorithm, PrivateKey};
use zeroize::Zeroizing;

use crate::config;

/// Why there is no host key.
#[derive(Debug, thiserror::Error)]
pub enum HostKeyError {
    /// The file or its folder cannot be read or written.
    #[error("host key {}: {cause}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// The file is no private key in OpenSSH format, or asks for a passphrase.
    #[error("host key {}: not an unencrypted private key in OpenSSH format; move it away and a new one is made", path.display())]
    NotAKey {
        /// The file.
        path: PathBuf,
    },
    /// Others than the owner may read the file.
    #[error("host key {}: others may read it (mode {mode:04o}); set its mode to 0600", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The system's source of random numbers failed, or the new key could not be written as text.
    #[error("host key {}: making a new one failed", path.display())]
    Making {
        /// The file.
        path: PathBuf,
    },
}

/// The server's keys.
#[derive(Debug, Clone)]
pub struct HostKeys {
    /// Shown to everybody.
    pub key: PrivateKey,
    /// Shown beside it on the listener for old clients: they know neither Ed25519 nor, some of them, anything but RSA.
    pub legacy: Vec<PrivateKey>,
}

const USUAL: &str = "ssh_host_ed25519_key";
const ECDSA: &str = "ssh_host_ecdsa_key";
const RSA: &str = "ssh_host_rsa_key";
/// Bits of an RSA key: what `ssh-keygen` makes, and the longest that the oldest clients are known to take.
const RSA_BITS: usize = 3072;

impl HostKeys {
    /// Whether none of them would have to be made.
    #[must_use]
    pub fn are_there(config: &config::Sftp, data_dir: &Path) -> bool {
        let there = |name: &str| data_dir.join(name).exists();
        let key = config.host_key.as_ref().map_or_else(|| there(USUAL), |path| path.exists());
        key && (config.listen_legacy.is_empty() || (there(ECDSA) && there(RSA)))
    }

    /// The keys that `config` wants; those in files of `data_dir` are made where they are missing.
    ///
    /// # Errors
    /// See [`HostKeyError`].
    pub fn load_or_make(config: &config::Sftp, data_dir: &Path) -> Result<HostKeys, HostKeyError> {
        let path = config.host_key.clone().unwrap_or_else(|| data_dir.join(USUAL));
        let key = load_or_make(&path)?;
        if config.listen_legacy.is_empty() {
            return Ok(HostKeys { key, legacy: Vec::new() });
        }
        let ecdsa =
            || PrivateKey::random(&mut safe_rng(), Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 }).ok();
        let rsa = || {
            let pair = RsaKeypair::random(&mut safe_rng(), RSA_BITS).ok()?;
            PrivateKey::new(KeypairData::Rsa(pair), "faxbridge").ok()
        };
        let ecdsa = load_or(&data_dir.join(ECDSA), ecdsa)?;
        let rsa = load_or(&data_dir.join(RSA), rsa)?;
        Ok(HostKeys { key, legacy: vec![ecdsa, rsa] })
    }
}

/// The key in the file at `path`; made there, mode 0600 and synced, when there is no file yet.
///
/// # Errors
/// See [`HostKeyError`]. An existing file that does not serve is never overwritten: clients know its key.
pub fn load_or_make(path: &Path) -> Result<PrivateKey, HostKeyError> {
    load_or(path, new_key)
}

fn load_or(path: &Path, make: impl FnOnce() -> Option<PrivateKey>) -> Result<PrivateKey, HostKeyError> {
    let io = |cause| HostKeyError::Io { path: path.to_owned(), cause };
    match std::fs::read(path).map(Zeroizing::new) {
        Ok(text) => {
            let mode = std::fs::metadata(path).map_err(io)?.permissions().mode() & 0o7777;
            if mode & 0o077 != 0 {
                return Err(HostKeyError::Open { path: path.to_owned(), mode });
            }
            let key = PrivateKey::from_openssh(text.as_slice()).ok().filter(|key| !key.is_encrypted());
            key.ok_or_else(|| HostKeyError::NotAKey { path: path.to_owned() })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let key = make().ok_or_else(|| HostKeyError::Making { path: path.to_owned() })?;
            let text =
                key.to_openssh(LineEnding::LF).map_err(|_| HostKeyError::Making { path: path.to_owned() })?;
            write_private(path, text.as_bytes()).map_err(io)?;
            Ok(key)
        }
        Err(error) => Err(io(error)),
    }
}

fn new_key() -> Option<PrivateKey> {
    let mut seed = Zeroizing::new([0; 32]);
    SystemRandom::new().fill(seed.as_mut()).ok()?;
    let pair = Ed25519Keypair::from_seed(&seed);
    PrivateKey::new(KeypairData::Ed25519(pair), "faxbridge").ok()
}

/// Whole or not at all, and never over another: written beside, then linked to its name.
fn write_private(path: &Path, text: &[u8]) -> io::Result<()> {
    let beside = path.with_extension(format!("new{}", std::process::id()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    let written =
        file.write_all(text).and_then(|()| file.sync_all()).and_then(|()| std::fs::hard_link(&beside, path));
    std::fs::remove_file(&beside)?;
    written?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_made_once_and_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ssh_host_ed25519_key");
        let first = load_or_make(&path).unwrap();
        let second = load_or_make(&path).unwrap();
        assert_eq!(first.public_key().key_data(), second.public_key().key_data());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_does_not_serve_is_refused_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        std::fs::write(&path, "no key").unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
        assert!(matches!(load_or_make(&path), Err(HostKeyError::Open { mode: 0o644, .. })));
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        assert!(matches!(load_or_make(&path), Err(HostKeyError::NotAKey { .. })));
        assert_eq!(std::fs::read(&path).unwrap(), b"no key");
        assert!(matches!(load_or_make(&folder.path().join("no/key")), Err(HostKeyError::Io { .. })));
    }
}
