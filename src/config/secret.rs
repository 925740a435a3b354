//! Secrets are references (`file:/path`, `credential:name`, `env:NAME`), never values, in the configuration file.
//!
//! The file is copied, mailed and committed; a reference in it is worth nothing to whoever finds it. What stands in the
//! file in place of a reference may be a secret all the same, so no error here repeats it.

use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::de::{Deserializer, Visitor};
use serde::{Deserialize, de};
use zeroize::Zeroizing;

/// Where a secret is to be read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretRef {
    /// A file.
    File(PathBuf),
    /// A systemd credential: a file of this name in `$CREDENTIALS_DIRECTORY`.
    Credential(String),
    /// An environment variable.
    Env(String),
}

/// A secret's bytes, wiped when dropped, never printed.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

/// Why a secret could not be had. Each is a sentence with the cure; none holds the secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// There is no such file.
    #[error(
        "there is no file {path}; make it, readable by the daemon's user only: `install -m 600 /dev/null {path}`, then \
         write the secret into it (a master key: `head -c 32 /dev/urandom > {path}`)",
        path = .0.display()
    )]
    NoFile(PathBuf),
    /// The file is there and cannot be read.
    #[error("{path} cannot be read: {1}; it must be a file that the daemon's user may read", path = .0.display())]
    Unreadable(PathBuf, io::Error),
    /// Nothing is in it.
    #[error("{0} is empty; a secret is at least one byte")]
    Empty(SecretRef),
    /// More is in it than any secret has.
    #[error("{0} is longer than {LARGEST} bytes; that is no secret, look at what it points to")]
    TooLong(SecretRef),
    /// We were not started by systemd, or without credentials.
    #[error(
        "{0} needs $CREDENTIALS_DIRECTORY, which systemd sets for a unit with \
         `LoadCredential={name}:/path/to/the/file`; outside of systemd use file:/path",
        name = .0.name()
    )]
    NoCredentials(SecretRef),
    /// systemd gave other credentials, not this one.
    #[error(
        "{0} is not among the unit's credentials; add `LoadCredential={name}:/path/to/the/file` to the unit \
         (`systemctl edit faxbridge`) and restart it",
        name = .0.name()
    )]
    NoSuchCredential(SecretRef),
    /// The environment variable is not set.
    #[error("the environment variable {0} is not set; set it for the daemon, or use file:/path")]
    NoVariable(String),
}

/// No token, password or PEM key comes near; a log file by mistake does.
const LARGEST: usize = 64 * 1024;

const WANTED: &str = "secrets never stand in this file, only where they are: \"file:/path\", \"credential:name\" \
                      (systemd) or \"env:NAME\"";

impl SecretRef {
    /// The secret as text: one newline at the end, which editors and `echo` leave, does not belong to it.
    ///
    /// # Errors
    /// See [`SecretError`]; also when nothing is left without the newline.
    pub fn read(&self) -> Result<Secret, SecretError> {
        let mut bytes = self.read_raw()?.0;
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
            if bytes.last() == Some(&b'\r') {
                bytes.pop();
            }
        }
        if bytes.is_empty() { Err(SecretError::Empty(self.clone())) } else { Ok(Secret(bytes)) }
    }

    /// The secret as it is, for keys of random bytes, whose last byte may happen to be a newline.
    ///
    /// # Errors
    /// See [`SecretError`].
    pub fn read_raw(&self) -> Result<Secret, SecretError> {
        let bytes = match self {
            SecretRef::File(path) => self.read_file(path)?,
            SecretRef::Credential(_) => {
                let file = self.file().ok_or_else(|| SecretError::NoCredentials(self.clone()))?;
                match self.read_file(&file) {
                    Err(SecretError::NoFile(_)) => return Err(SecretError::NoSuchCredential(self.clone())),
                    other => other?,
                }
            }
            SecretRef::Env(name) => {
                let value = std::env::var_os(name).ok_or_else(|| SecretError::NoVariable(name.clone()))?;
                Zeroizing::new(std::os::unix::ffi::OsStringExt::into_vec(value))
            }
        };
        if bytes.is_empty() { Err(SecretError::Empty(self.clone())) } else { Ok(Secret(bytes)) }
    }

    /// One sentence when everybody on this machine may read the secret's file. systemd guards its credentials itself.
    #[must_use]
    pub fn too_open(&self) -> Option<String> {
        use std::os::unix::fs::PermissionsExt;
        let SecretRef::File(path) = self else { return None };
        let mode = std::fs::metadata(path).ok()?.permissions().mode();
        (mode & 0o004 != 0).then(|| {
            let path = path.display();
            format!("every user of this machine may read the secret in {path}; `chmod 600 {path}` ends that")
        })
    }

    /// The file behind the reference, where there is one.
    fn file(&self) -> Option<PathBuf> {
        match self {
            SecretRef::File(path) => Some(path.clone()),
            SecretRef::Credential(name) => {
                std::env::var_os("CREDENTIALS_DIRECTORY").map(|dir| Path::new(&dir).join(name))
            }
            SecretRef::Env(_) => None,
        }
    }

    /// What follows the colon, for those sentences that need it alone.
    fn name(&self) -> &str {
        match self {
            SecretRef::Credential(name) | SecretRef::Env(name) => name,
            SecretRef::File(_) => "",
        }
    }

    fn read_file(&self, path: &Path) -> Result<Zeroizing<Vec<u8>>, SecretError> {
        let unreadable = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => SecretError::NoFile(path.to_owned()),
            _ => SecretError::Unreadable(path.to_owned(), error),
        };
        let file = std::fs::File::open(path).map_err(unreadable)?;
        // Room for all of it at once: a vector that grows leaves copies behind that nobody wipes.
        let mut bytes = Zeroizing::new(Vec::with_capacity(LARGEST + 1));
        file.take(LARGEST as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() > LARGEST { Err(SecretError::TooLong(self.clone())) } else { Ok(bytes) }
    }
}

/// As it stands in the file.
impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SecretRef::File(path) => write!(f, "file:{}", path.display()),
            SecretRef::Credential(name) => write!(f, "credential:{name}"),
            SecretRef::Env(name) => write!(f, "env:{name}"),
        }
    }
}

impl TryFrom<String> for SecretRef {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("file", path)) if !path.is_empty() => Ok(SecretRef::File(path.into())),
            // A name, not a path: systemd allows no slash, and `..` must not lead out of its folder.
            Some(("credential", name)) if plain(name, "-_.") && !name.starts_with('.') => {
                Ok(SecretRef::Credential(name.into()))
            }
            Some(("env", name)) if plain(name, "_") => Ok(SecretRef::Env(name.into())),
            _ => Err(WANTED.into()),
        }
    }
}

/// Whether `name` has at least one character, all of them ASCII letters, digits or one of `more`.
fn plain(name: &str, more: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c))
}

impl<'de> Deserialize<'de> for SecretRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Every kind of value by hand: serde's own "invalid type: integer `4711`" would print a password made of digits.
        struct Reference;
        impl Visitor<'_> for Reference {
            type Value = SecretRef;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(WANTED)
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<SecretRef, E> {
                SecretRef::try_from(text.to_owned()).map_err(E::custom)
            }
            fn visit_bool<E: de::Error>(self, _: bool) -> Result<SecretRef, E> {
                Err(E::custom(WANTED))
            }
            fn visit_i64<E: de::Error>(self, _: i64) -> Result<SecretRef, E> {
                Err(E::custom(WANTED))
            }
            fn visit_u64<E: de::Error>(self, _: u64) -> Result<SecretRef, E> {
                Err(E::custom(WANTED))
            }
            fn visit_i128<E: de::Error>(self, _: i128) -> Result<SecretRef, E> {
                Err(E::custom(WANTED))
            }
            fn visit_u128<E: de::Error>(self, _: u128) -> Result<SecretRef, E> {
                Err(E::custom(WANTED))
            }
            fn visit_f64<E: de::Error>(self, _: f64) -> Result<SecretRef, E> {
                Err(E::custom(WANTED))
            }
        }
        deserializer.deserialize_any(Reference)
    }
}

impl Secret {
    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes as text, unless they are none (UTF-8).
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn reference(text: &str) -> Result<SecretRef, String> {
        text.to_owned().try_into()
    }

    #[test]
    fn what_stands_in_the_file_is_a_reference() {
        assert_eq!(reference("file:/etc/x"), Ok(SecretRef::File("/etc/x".into())));
        assert_eq!(reference("credential:master.key"), Ok(SecretRef::Credential("master.key".into())));
        assert_eq!(reference("env:TOKEN_1"), Ok(SecretRef::Env("TOKEN_1".into())));
        for wrong in [
            "hunter2",
            "",
            "file:",
            "env:",
            "credential:",
            "credential:../x",
            "credential:..",
            "env:a b",
            "http://x",
        ] {
            let sentence = reference(wrong).unwrap_err();
            assert!(sentence.starts_with("secrets never stand in this file"), "{wrong}: {sentence}");
            assert!(wrong.len() < 5 || !sentence.contains("hunter2"));
        }
        #[derive(Debug, Deserialize)]
        #[serde(rename_all = "lowercase")]
        struct One {
            #[serde(rename = "key")]
            _key: SecretRef,
        }
        for wrong in ["4711", "471.1", "true", "\"4711\"", "18446744073709551615"] {
            let error = toml::from_str::<One>(&format!("key = {wrong}")).unwrap_err();
            assert!(error.message().starts_with("secrets never stand"), "{error}");
            assert!(!error.message().contains("471"));
        }
    }

    #[test]
    fn a_file_is_read_without_its_last_newline_or_raw() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let secret = SecretRef::File(path.clone());
        for (content, text) in
            [("abc\n", "abc"), ("abc", "abc"), ("abc\r\n", "abc"), ("abc\n\n", "abc\n"), (" a ", " a ")]
        {
            std::fs::write(&path, content).unwrap();
            assert_eq!(secret.read().unwrap().text(), Some(text));
            assert_eq!(secret.read_raw().unwrap().bytes(), content.as_bytes());
        }
        assert_eq!(format!("{:?}", secret.read().unwrap()), "Secret(..)");
        std::fs::write(&path, "\n").unwrap();
        assert!(matches!(secret.read(), Err(SecretError::Empty(_))));
        std::fs::write(&path, vec![b'x'; LARGEST + 1]).unwrap();
        assert!(matches!(secret.read(), Err(SecretError::TooLong(_))));
        std::fs::write(&path, [0xff, 0xfe]).unwrap();
        assert_eq!(secret.read().unwrap().text(), None);
    }

    #[test]
    fn each_error_says_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let missing = SecretRef::File(dir.path().join("none")).read().unwrap_err().to_string();
        assert!(
            missing.contains("none; make it") && missing.contains("head -c 32 /dev/urandom"),
            "{missing}"
        );
        let folder = SecretRef::File(dir.path().to_owned()).read().unwrap_err().to_string();
        assert!(folder.contains("cannot be read"), "{folder}");
        let credential = SecretRef::Credential("master.key".into()).read().unwrap_err().to_string();
        assert!(credential.contains("LoadCredential=master.key:/path"), "{credential}");
        let variable = SecretRef::Env("FAXBRIDGE_NO_SUCH".into()).read().unwrap_err().to_string();
        assert!(variable.contains("FAXBRIDGE_NO_SUCH is not set"), "{variable}");
        assert!(SecretRef::Env("PATH".into()).read().is_ok());
    }

    #[test]
    fn a_file_open_to_all_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        std::fs::write(&path, "x").unwrap();
        for (mode, open) in [(0o600, false), (0o640, false), (0o644, true)] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let sentence = SecretRef::File(path.clone()).too_open();
            assert_eq!(sentence.is_some(), open, "{mode:o}");
            assert!(sentence.is_none_or(|s| s.contains("chmod 600")));
        }
    }
}
