//! The folder of the demo: new, empty, or a former demo's; never anything of somebody else.
//!
//! ```text
//! faxed/     what came out at the far end        covers/    a picture of each cover
//! receipts/  mails and result files              log.txt    what the bridge said
//! bridge/    its configuration, keys and data, the watched folder, the simulated provider's records
//! ```

use std::fs::{self, File};
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context;
use faxbridge::config;

use crate::cli::Misuse;

/// By this a former demo is known.
const MARK: &str = ".faxbridge-demo";
/// All that a demo puts into its folder.
const OURS: [&str; 5] = ["faxed", "covers", "receipts", "bridge", "log.txt"];

/// The folder of the demo, ready.
pub(super) struct Place {
    /// The folder as it was named.
    pub(super) named: PathBuf,
    root: PathBuf,
}

/// What the configuration is filled in with.
pub(super) struct Fill<'a> {
    pub(super) provider: &'a str,
    pub(super) relay: SocketAddr,
    pub(super) key: &'a str,
    pub(super) token: &'a str,
    pub(super) webhook_key: &'a str,
}

impl Place {
    /// Makes the folder, or clears that of a former demo.
    ///
    /// # Errors
    /// [`Misuse`] where something else is there.
    pub(super) fn prepare(named: &Path) -> anyhow::Result<Place> {
        let root = std::path::absolute(named).with_context(|| format!("--out {}", named.display()))?;
        let shown = named.display();
        let wrong = |what: &str| anyhow::Error::from(Misuse(format!("--out {shown}: {what}")));
        if root.to_str().is_none_or(|path| path.contains(['"', '\\', '\n'])) {
            return Err(wrong(
                "a path with quotes, backslashes or unknown characters is too much for a demo; choose another",
            ));
        }
        if root.join(MARK).is_file() {
            if is_running(&root.join("bridge/data/lock")) {
                return Err(wrong("a demo is still running there; wait for it, or choose another folder"));
            }
            for name in OURS {
                remove(&root.join(name))
                    .with_context(|| format!("{} of a former demo", root.join(name).display()))?;
            }
        } else if root.exists() {
            let mut entries =
                fs::read_dir(&root).map_err(|e| wrong(&format!("it is no folder to write to: {e}")))?;
            if entries.next().is_some() {
                return Err(wrong(
                    "the folder is not empty and not a former demo's; empty it, or name another one with --out",
                ));
            }
        }
        let place = Place { named: named.to_owned(), root };
        for folder in [place.faxed(), place.covers(), place.receipts(), place.scans()] {
            fs::create_dir_all(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
        }
        fs::DirBuilder::new().mode(0o700).create(place.data())?;
        fs::write(
            place.root.join(MARK),
            "Made by faxbridge demo, which may clear this folder and use it again.\n",
        )?;
        Ok(place)
    }

    pub(super) fn faxed(&self) -> PathBuf {
        self.root.join("faxed")
    }

    pub(super) fn covers(&self) -> PathBuf {
        self.root.join("covers")
    }

    pub(super) fn receipts(&self) -> PathBuf {
        self.root.join("receipts")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.root.join("log.txt")
    }

    pub(super) fn data(&self) -> PathBuf {
        self.bridge("data")
    }

    /// The watched folder.
    pub(super) fn scans(&self) -> PathBuf {
        self.bridge("scans")
    }

    /// The simulated provider's records.
    pub(super) fn provider(&self) -> PathBuf {
        self.bridge("provider")
    }

    /// Where mails lie until it is known which receipt they are.
    pub(super) fn mailbox(&self) -> PathBuf {
        self.bridge("mailbox")
    }

    pub(super) fn config(&self) -> PathBuf {
        self.bridge("faxbridge.toml")
    }

    fn bridge(&self, name: &str) -> PathBuf {
        self.root.join("bridge").join(name)
    }

    /// Writes the configuration and the secrets that it names.
    pub(super) fn configure(&self, fill: &Fill<'_>) -> anyhow::Result<()> {
        for (name, secret) in [
            ("master.key", super::random_hex()?.as_str()),
            ("provider.token", fill.token),
            ("webhook.key", fill.webhook_key),
        ] {
            write_private(&self.bridge(name), secret)?;
        }
        let folder = self.bridge("");
        let folder = folder.to_str().unwrap_or_default().trim_end_matches('/');
        // Not the comments at the head, which tell about the words that are filled in here.
        let text = config::DEMO.split_once("\n\n").map_or(config::DEMO, |(_, text)| text);
        let text = text
            .replace("DEMO_DIR", folder)
            .replace("DEMO_KEY", fill.key)
            .replace("DEMO_PROVIDER", fill.provider)
            .replace("DEMO_RELAY", &fill.relay.to_string());
        fs::write(self.config(), format!("# The configuration that this demo ran with.\n\n{text}"))?;
        Ok(())
    }
}

/// Whether a daemon holds this lock.
fn is_running(lock: &Path) -> bool {
    File::open(lock).is_ok_and(|file| file.try_lock().is_err())
}

fn remove(path: &Path) -> std::io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    writeln!(file, "{text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_new_empty_and_former_folders_are_taken() {
        let folder = tempfile::tempdir().unwrap();
        let new = folder.path().join("a/new");
        let place = Place::prepare(&new).unwrap();
        fs::write(place.faxed().join("old.pdf"), "old").unwrap();
        fs::write(new.join("mine.txt"), "mine").unwrap();
        Place::prepare(&new).unwrap();
        assert!(!place.faxed().join("old.pdf").exists(), "what a former demo left is cleared");
        assert!(new.join("mine.txt").exists(), "what somebody else put there stays");

        let lock = File::create(place.data().join("lock")).unwrap();
        lock.lock().unwrap();
        let refused = Place::prepare(&new).err().unwrap().to_string();
        assert!(refused.contains("still running"), "{refused}");

        let taken = folder.path().join("taken");
        fs::create_dir(&taken).unwrap();
        Place::prepare(&taken).unwrap();
        fs::remove_file(taken.join(MARK)).unwrap();
        let refused = Place::prepare(&taken).err().unwrap();
        assert!(refused.is::<Misuse>() && refused.to_string().contains("not empty"), "{refused}");
        assert!(Place::prepare(&new.join("mine.txt")).is_err());
    }
}
