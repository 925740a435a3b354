//! The daemon as a process: started, waited for, killed.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use faxbridge::daemon::Addresses;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::time::Instant;

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_faxbridge");

/// How long a start may take before it counts as failed.
const START: Duration = Duration::from_secs(60);

/// A running daemon; killed when dropped.
pub(crate) struct Daemon {
    child: Child,
    written: PathBuf,
    /// Where it listens, once it does.
    pub(crate) addresses: Addresses,
}

/// A daemon that ended before it listened: how, and what it said.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) status: ExitStatus,
}

impl Daemon {
    /// Starts `serve --config`, its log appended to `log`.
    pub(crate) fn spawn(config: &Path, data: &Path, log: &Path, environment: &[(&str, String)]) -> Daemon {
        let log = OpenOptions::new().create(true).append(true).open(log).unwrap();
        Daemon::spawn_logging_to(config, data, log.into(), environment)
    }

    /// The same with whatever standard error is to be.
    pub(crate) fn spawn_logging_to(
        config: &Path,
        data: &Path,
        log: Stdio,
        environment: &[(&str, String)],
    ) -> Daemon {
        Daemon::begin(Command::new(PROGRAM), config, data, log, environment)
    }

    /// The same as another user, who is given the program to run.
    pub(crate) fn spawn_as((program, user): (&Path, u32), config: &Path, data: &Path, log: &Path) -> Daemon {
        let log = OpenOptions::new().create(true).append(true).open(log).unwrap();
        let mut command = Command::new(program);
        command.uid(user).gid(user);
        Daemon::begin(command, config, data, log.into(), &[])
    }

    fn begin(
        mut command: Command,
        config: &Path,
        data: &Path,
        log: Stdio,
        environment: &[(&str, String)],
    ) -> Daemon {
        let written = data.join("addresses.json");
        let _ = std::fs::remove_file(&written);
        let child = command
            .arg("serve")
            .arg("--config")
            .arg(config)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .expect("the daemon can be started");
        Daemon { child, written, addresses: Addresses::default() }
    }

    /// Returns once it has written where it listens.
    pub(crate) async fn listening(&mut self) -> Result<(), Failed> {
        let deadline = Instant::now() + START;
        loop {
            // The file is renamed into place, so whoever sees it sees it whole.
            if let Ok(written) = std::fs::read(&self.written) {
                self.addresses = serde_json::from_slice(&written).expect("addresses.json is JSON");
                return Ok(());
            }
            if let Some(status) = self.child.try_wait().unwrap() {
                return Err(Failed { status });
            }
            assert!(Instant::now() < deadline, "the daemon did not listen within {} s", START.as_secs());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Ends it as a power cut would.
    pub(crate) async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }

    /// Asks it to stop, as systemd does, and waits.
    pub(crate) async fn stop(&mut self) -> ExitStatus {
        if self.child.id().is_some() {
            self.signal(Signal::TERM);
        }
        self.child.wait().await.unwrap()
    }

    /// Waits until it has ended by itself.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        self.child.wait().await.unwrap()
    }

    /// Whether it still runs.
    pub(crate) fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Asks it to take its configuration anew.
    pub(crate) fn hang_up(&self) {
        self.signal(Signal::HUP);
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.pid().cast_signed()).unwrap(), signal).unwrap();
    }

    /// MiB of its memory, by their name in Linux's account: `VmRSS` is what is resident now, `VmHWM` is
    /// the most that ever was.
    pub(crate) fn memory(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
        line.split_whitespace().next().unwrap().parse::<u64>().unwrap() >> 10
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id().expect("it runs")
    }
}
