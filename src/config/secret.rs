//! Secrets are references (`file:/path`, `credential:name`, `env:NAME`), never values, in the configuration file.
use serde::Deserialize;

/// Where a secret is to be read from.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum SecretRef {
    /// A file.
    File(std::path::PathBuf),
    /// A systemd credential: a file of this name in `$CREDENTIALS_DIRECTORY`.
    Credential(String),
    /// An environment variable.
    Env(String),
}

impl TryFrom<String> for SecretRef {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("file", path)) => Ok(SecretRef::File(path.into())),
            Some(("credential", name)) => Ok(SecretRef::Credential(name.into())),
            Some(("env", name)) => Ok(SecretRef::Env(name.into())),
            _ => Err("a secret is a reference: file:/path, credential:name or env:NAME".into()),
        }
    }
}
/// A secret.
#[derive(Debug)]
pub struct Secret(Vec<u8>);
impl Secret {
    /// e
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}
impl SecretRef {
    /// r
    pub fn read(&self) -> Result<Secret, String> {
        Err("to come".into())
    }
}
