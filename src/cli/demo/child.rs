//! The bridge itself, as a process of its own: what runs in the demo is what systemd would run.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use faxbridge::daemon::Addresses;
use notify::{RecursiveMode, Watcher};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::sync::Notify;

use super::place::Place;

/// It starts in a fraction of a second; a machine may be busy.
const START_AT_MOST: Duration = Duration::from_secs(20);
/// What is in hand is finished first.
const STOP_AT_MOST: Duration = Duration::from_secs(15);

/// A running bridge. Dropped, it is killed; and it ends by itself when this process is killed.
pub(super) struct Bridge {
    child: Child,
    log: PathBuf,
    pub(super) addresses: Addresses,
}

impl Bridge {
    /// Starts `faxbridge serve` of this very program and waits until it says where it listens.
    pub(super) async fn start(place: &Place) -> anyhow::Result<Bridge> {
        let log = std::fs::File::create(place.log()).context("log.txt cannot be written")?;
        let changed = std::sync::Arc::new(Notify::new());
        let notify = std::sync::Arc::clone(&changed);
        let mut watcher = notify::recommended_watcher(move |_| notify.notify_one())?;
        watcher.watch(&place.data(), RecursiveMode::NonRecursive)?;
        let child = Command::new(std::env::current_exe()?)
            .args(["serve", "--end-with-parent", "--config"])
            .arg(place.config())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // Ctrl-C is for the demo alone, which then stops the bridge in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .context("the bridge could not be started")?;
        let mut bridge = Bridge { child, log: place.log(), addresses: Addresses::default() };
        let file = place.data().join("addresses.json");
        let started = tokio::time::timeout(START_AT_MOST, async {
            loop {
                if let Ok(text) = tokio::fs::read(&file).await {
                    return Ok(serde_json::from_slice(&text)?);
                }
                tokio::select! {
                    () = changed.notified() => {}
                    ended = bridge.child.wait() => bail!(died(ended?, &bridge.log)),
                }
            }
        });
        bridge.addresses = match started.await {
            Ok(addresses) => addresses?,
            Err(_) => bail!("the bridge did not say within {} s where it listens", START_AT_MOST.as_secs()),
        };
        Ok(bridge)
    }

    /// An error with the end of its log, if it has ended by itself.
    pub(super) fn check(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            Some(status) => bail!(died(status, &self.log)),
            None => Ok(()),
        }
    }

    /// Asks it to end and waits until it has.
    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        let pid = self.child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        if let Some(pid) = pid {
            kill_process(pid, Signal::TERM).context("the bridge could not be asked to end")?;
        }
        match tokio::time::timeout(STOP_AT_MOST, self.child.wait()).await {
            Ok(status) => {
                let status = status?;
                anyhow::ensure!(
                    status.success(),
                    "the bridge did not end in order: {}",
                    died(status, &self.log)
                );
                Ok(())
            }
            Err(_) => {
                self.child.kill().await?;
                bail!("the bridge did not end within {} s and was killed", STOP_AT_MOST.as_secs())
            }
        }
    }
}

fn died(status: ExitStatus, log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let last: Vec<&str> = text.lines().rev().take(3).collect();
    let last: Vec<&str> = last.into_iter().rev().collect();
    format!("the bridge ended by itself ({status}); the end of {}:\n{}", log.display(), last.join("\n"))
}
