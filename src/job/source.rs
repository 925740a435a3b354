//! How a Submission came in.

use std::fmt;
use std::str::FromStr;

use super::{UnknownWord, word_type};

word_type!(
    /// A way in.
    SourceKind {
        /// SMTP or LMTP.
        Smtp = "smtp",
        /// A mailbox.
        Imap = "imap",
        /// SFTP.
        Sftp = "sftp",
        /// A watched folder.
        Folder = "folder",
        /// The command line.
        Cli = "cli",
    }
);

/// Where a Submission came from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Source {
    /// A mail over SMTP or LMTP.
    #[default]
    Smtp,
    /// A mail out of the mailbox of this name.
    Imap(String),
    /// A file over SFTP, by this user.
    Sftp(String),
    /// A file in the watched folder of this name.
    Folder(String),
    /// The command line.
    Cli,
}

impl Source {
    /// Its way in.
    #[must_use]
    pub fn kind(&self) -> SourceKind {
        match self {
            Source::Smtp => SourceKind::Smtp,
            Source::Imap(_) => SourceKind::Imap,
            Source::Sftp(_) => SourceKind::Sftp,
            Source::Folder(_) => SourceKind::Folder,
            Source::Cli => SourceKind::Cli,
        }
    }
}

impl SourceKind {
    /// Whether mails come in this way.
    #[must_use]
    pub fn brings_mails(self) -> bool {
        matches!(self, SourceKind::Smtp | SourceKind::Imap)
    }

    /// Whether files are dropped this way.
    #[must_use]
    pub fn brings_drops(self) -> bool {
        matches!(self, SourceKind::Sftp | SourceKind::Folder)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind();
        match self {
            Source::Smtp | Source::Cli => f.write_str(kind.as_str()),
            Source::Imap(name) | Source::Sftp(name) | Source::Folder(name) => write!(f, "{kind}:{name}"),
        }
    }
}

impl FromStr for Source {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        let (kind, name) = text.split_once(':').unwrap_or((text, ""));
        let source = match (kind.parse()?, name) {
            (SourceKind::Smtp, "") if kind == text => Source::Smtp,
            (SourceKind::Cli, "") if kind == text => Source::Cli,
            (SourceKind::Smtp | SourceKind::Cli, _) | (_, "") => {
                return Err(UnknownWord { kind: "Source", word: text.chars().take(60).collect() });
            }
            (SourceKind::Imap, name) => Source::Imap(name.to_owned()),
            (SourceKind::Sftp, name) => Source::Sftp(name.to_owned()),
            (SourceKind::Folder, name) => Source::Folder(name.to_owned()),
        };
        Ok(source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_read_back() {
        for text in ["smtp", "imap:office", "sftp:billing", "folder:a:b", "cli"] {
            assert_eq!(text.parse::<Source>().unwrap().to_string(), text);
        }
        for text in ["", "ftp", "smtp:", "smtp:x", "cli:x", "imap", "sftp:", "folder", "ftp:x"] {
            assert!(text.parse::<Source>().is_err(), "{text}");
        }
    }
}
