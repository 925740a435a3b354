//! A session for fuzzers: any bytes as a client's, against a real intake on a memory file system.
#![allow(clippy::panic, reason = "a fuzzer is told by a panic")]

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Runtime;
use tokio::sync::{Notify, watch};

use super::session::{Protocol, Session, Settings};
use super::wire::Wire;
use super::{Guesses, Pace};
use crate::clock::SystemClock;
use crate::config::Config;
use crate::intake::Intake;
use crate::routing::Rules;
use crate::spool::Spool;
use crate::store::Store;
use crate::vault::MasterKey;

/// Runs after which everything begins anew: accepted mails stay, and memory has an end.
const RUNS: u32 = 20_000;

const CONFIG: &str = r#"
[organization]
name = "Example Clinic"
country = "US"
time_zone = "America/New_York"
[store]
data_dir = "/nonexistent"
master_key = "env:NONE"
[limits]
submission = "64 KiB"
disk_reserve = "0 B"
[smtp]
hostname = "f"
[[sender]]
name = "a"
addresses = ["a@b"]
networks = ["127.0.0.0/8"]
[[rule]]
name = "r"
to = "{recipient}@f"
"#;

struct Bench {
    runtime: Runtime,
    folder: PathBuf,
    settings: Settings,
    intake: Intake,
    stop: watch::Sender<bool>,
    runs: u32,
}

impl Bench {
    fn new() -> Result<Bench, Box<dyn std::error::Error>> {
        let memory = Path::new("/dev/shm");
        let base = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let folder = base.join(format!("faxbridge-fuzzing-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let config: Arc<Config> = Arc::new(toml::from_str(CONFIG)?);
        let rules = Arc::new(Rules::compile(&config.rule).map_err(|_| "the rule is none")?);
        let spool = Spool::open(folder.join("spool"), MasterKey::from_bytes(&[7; 32])?)?;
        let store = runtime.block_on(Store::open(&folder, "fuzzing"))?;
        let intake =
            Intake::new(config, store, spool, rules, Arc::new(SystemClock), Arc::new(Notify::new()))?;
        let settings = Settings {
            hostname: "f".into(),
            max_recipients: 3,
            largest: 64 << 10,
            tls: None,
            require_tls: false,
            without_tls: Vec::new(),
            partners: None,
            guesses: Guesses::new(10, Duration::from_secs(60), Duration::ZERO),
            mails_per_minute: None,
            by_address: Pace::new(),
            by_sender: Pace::new(),
            told: super::told::Told::default(),
        };
        Ok(Bench { runtime, folder, settings, intake, stop: watch::channel(false).0, runs: 0 })
    }

    fn session(&self, protocol: Protocol, data: &[u8]) {
        let time = Duration::from_secs(60);
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let wire = Wire::new(theirs, time, time, self.stop.subscribe());
        let session = Session::new(wire, &self.settings, &self.intake, protocol, [127, 0, 0, 1].into());
        let client = async {
            let (mut read, mut write) = tokio::io::split(ours);
            let send = async {
                // A session that has ended takes no more.
                let _ = write.write_all(data).await;
                let _ = write.shutdown().await;
            };
            let mut heard = Vec::new();
            let hear = async {
                let _ = read.read_to_end(&mut heard).await;
            };
            tokio::join!(send, hear);
            heard
        };
        let (heard, ()) = self.runtime.block_on(async { tokio::join!(client, session.run(false)) });
        for line in heard.split_inclusive(|byte| *byte == b'\n') {
            let whole = line.len() > 5 && line.ends_with(b"\r\n") && line.len() <= 512;
            let code = line.get(..3).is_some_and(|code| code.iter().all(u8::is_ascii_digit));
            assert!(whole && code, "no reply line: {:?}", line.escape_ascii().to_string());
        }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

static BENCH: Mutex<Option<Bench>> = Mutex::new(None);

/// Plays `data` as what a client sends, and returns when the session has ended. The first byte chooses: odd for LMTP, even for
/// SMTP. `MAIL FROM:<a@b>` and `RCPT TO:<x@f>` are taken. Fails where a reply is none.
///
/// # Panics
/// Where a reply is malformed, and where there is no place for the intake.
pub fn session(data: &[u8]) {
    let Some((first, data)) = data.split_first() else { return };
    let protocol = if first & 1 == 1 { Protocol::Lmtp } else { Protocol::Smtp };
    let mut bench = BENCH.lock().unwrap_or_else(PoisonError::into_inner);
    if bench.as_ref().is_none_or(|bench| bench.runs >= RUNS) {
        // The old one's folder goes before the new one's comes.
        *bench = None;
        match Bench::new() {
            Ok(new) => *bench = Some(new),
            Err(error) => panic!("no intake to play with: {error}"),
        }
    }
    if let Some(bench) = bench.as_mut() {
        bench.runs += 1;
        bench.session(protocol, data);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_end() {
        for data in [
            &b""[..],
            b"\0",
            b"\0EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<x@f>\r\nDATA\r\nSubject: x\r\n\r\nbody\r\n.\r\nQUIT\r\n",
            b"\x01LHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<x@f>\r\nBDAT 5\r\nabc\r\nBDAT 0 LAST\r\n",
            b"\0EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<x@f>\r\nDATA\r\nhalf",
            b"\0\xff\xfe\n\n\n",
        ] {
            session(data);
        }
        let bench = BENCH.lock().unwrap();
        let bench = bench.as_ref().unwrap();
        let accepted = bench
            .runtime
            .block_on(bench.intake.inner.store.submissions(&crate::store::SubmissionFilter::default(), 10));
        assert_eq!(accepted.unwrap().len(), 2);
    }
}
