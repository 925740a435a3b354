//! The rig as the stories see it: a real HylaFAX, and what happened on its telephone lines.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;

use serde_json::Value;

/// Line time against clock time: a telephone line is this much faster than real.
const SPEED: &str = "4";

/// A running rig. It ends when its input ends, which it does at the latest with this process.
pub(crate) struct Rig {
    pub(crate) port: u16,
    folder: PathBuf,
    talk: Mutex<(ChildStdin, BufReader<ChildStdout>)>,
    _script: Child,
}

impl Rig {
    /// Starts one with that many modem lines; takes a quarter of a minute.
    pub(crate) fn start(lines: u32) -> Rig {
        // Removed by the script, which outlives this process by a moment.
        let folder = tempfile::Builder::new().prefix("faxbridge-hylafax-").tempdir().unwrap().keep();
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755)).unwrap();
        let mut script = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/hylafax/rig"))
            .arg(&folder)
            .args([&lines.to_string(), SPEED])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("bash is installed");
        let mut talk = (script.stdin.take().unwrap(), BufReader::new(script.stdout.take().unwrap()));
        let answer = read_line(&mut talk.1);
        let port = answer.strip_prefix("port ").and_then(|port| port.parse().ok()).unwrap_or_else(|| {
            panic!("the rig did not start, see above (root? the packages of tests/packages.txt?): {answer}")
        });
        Rig { port, folder, talk: Mutex::new(talk), _script: script }
    }

    /// Gives an order and waits until it is carried out.
    pub(crate) fn order(&self, order: &str) {
        let mut talk = self.talk.lock().unwrap();
        writeln!(talk.0, "{order}").unwrap();
        assert_eq!(read_line(&mut talk.1), "done", "{order}");
    }

    /// What the exchange saw, in order: events of calls to `number`.
    pub(crate) fn events(&self, number: &str) -> Vec<Value> {
        let digits = number.trim_start_matches('+');
        let all = std::fs::read_to_string(self.folder.join("exchange/events.jsonl")).unwrap_or_default();
        let all: Vec<Value> = all.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let calls: Vec<&Value> = all
            .iter()
            .filter(|event| event["event"] == "dial" && event["number"] == digits)
            .map(|event| &event["call"])
            .collect();
        all.iter().filter(|event| calls.contains(&&event["call"])).cloned().collect()
    }

    /// How often `number` was called.
    pub(crate) fn calls(&self, number: &str) -> usize {
        self.events(number).iter().filter(|event| event["event"] == "dial").count()
    }

    /// The faxes that the machine at `number` received: files and their pages.
    pub(crate) fn received(&self, number: &str) -> Vec<(PathBuf, usize)> {
        let end = format!("-{}.tif", number.trim_start_matches('+'));
        let Ok(folder) = std::fs::read_dir(self.folder.join("exchange/received")) else { return Vec::new() };
        let mut files: Vec<PathBuf> = folder
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.to_str().is_some_and(|path| path.ends_with(&end)))
            .collect();
        files.sort();
        files.into_iter().map(|file| (file.clone(), pages(&file))).collect()
    }

    /// The documents that HylaFAX has or had, as it got them.
    pub(crate) fn documents(&self) -> Vec<PathBuf> {
        let folder = std::fs::read_dir(self.folder.join("spool/docq")).unwrap();
        folder.map(|entry| entry.unwrap().path()).collect()
    }

    /// Whether HylaFAX has on disk that a page of the fax to `number` was confirmed. Until then its disk does not know of the
    /// call at all, and HylaFAX, killed with the call, makes it again when it starts.
    pub(crate) fn knows_of_a_page(&self, number: &str) -> bool {
        let folder = std::fs::read_dir(self.folder.join("spool/sendq")).unwrap();
        folder
            .filter_map(|entry| std::fs::read_to_string(entry.unwrap().path()).ok())
            .any(|job| job.contains(&format!("\nnumber:{number}\n")) && job.contains("\nnpages:1\n"))
    }

    /// Whether HylaFAX has a job in either queue that bears `reference`.
    pub(crate) fn has_a_job(&self, reference: &str) -> bool {
        ["sendq", "doneq"].iter().any(|queue| {
            let folder = std::fs::read_dir(self.folder.join("spool").join(queue)).unwrap();
            folder
                .filter_map(|entry| std::fs::read_to_string(entry.unwrap().path()).ok())
                .any(|job| job.contains(&format!("\njobtag:{reference}\n")))
        })
    }
}

/// Pages of a TIFF file.
fn pages(file: &std::path::Path) -> usize {
    let info = Command::new("tiffinfo").arg(file).output().expect("libtiff-tools is installed");
    String::from_utf8_lossy(&info.stdout).matches("Image Width").count()
}

fn read_line(from: &mut impl BufRead) -> String {
    let mut line = String::new();
    from.read_line(&mut line).unwrap();
    line.trim().to_owned()
}
