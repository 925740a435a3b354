//! The newcomer's first minute: the built program's demo, its folder looked at by other programs. qpdf and poppler must be
//! installed (`qpdf`, `poppler-utils`); without them this fails.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, ensure};
use rustix::process::{Pid, Signal, kill_process};

/// What stands in every paper of the demo (`src/cli/demo/papers.rs`), in subjects, and at the head of each PDF.
const SECRETS: [&str; 5] = ["Quillon", "Marsh-Abernathy", "as asked for", "laboratory report", "%PDF-"];

fn demo(out: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_faxbridge"));
    command.arg("demo").arg("--out").arg(out);
    command
}

fn run(tool: &str, arguments: &[&str], file: &Path, after: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(tool)
        .args(arguments)
        .arg(file)
        .args(after)
        .output()
        .with_context(|| format!("{tool} cannot be run; install qpdf and poppler-utils"))?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "{tool}: {printed} {}", String::from_utf8_lossy(&output.stderr));
    Ok(printed)
}

fn names(folder: &Path) -> anyhow::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

fn files_below(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { files.extend(files_below(&path)?) } else { files.push(path) }
    }
    Ok(files)
}

/// Processes on whose command line `folder` stands.
fn processes_with(folder: &Path) -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        // Processes come and go while this looks.
        let line = fs::read(entry?.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        found.extend(Some(line).filter(|line| line.contains(&*folder.to_string_lossy())));
    }
    Ok(found)
}

#[test]
fn the_demo_proves_all_six_and_leaves_what_it_says() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("out");
    let output = demo(&out).output()?;
    let (printed, complaint) = (String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?);
    ensure!(output.status.success() && complaint.is_empty(), "{printed}\n{complaint}");
    let last = printed.lines().last().unwrap_or_default();
    assert_eq!(last, "6 of 6 as promised: 5 faxed and proven, 1 held because nobody verified its number.");

    let stems = [
        ("1-mail-to-mercy-radiology", 4, "Mercy Radiology", "Laboratory report"),
        ("2-mail-to-a-number", 2, "Kessler & Boyd LLP", "Request for records"),
        ("3-sftp-483920", 3, "Beacon Health Plan", "Statement of account"),
        // A scan has no text.
        ("4-folder-harbor-cardiology", 2, "Harbor Cardiology", ""),
        ("5-mail-to-riverside-pharmacy", 2, "Riverside Pharmacy", "Prescription refill request"),
    ];
    for (stem, pages, recipient, paper) in stems {
        let file = out.join(format!("faxed/{stem}.pdf"));
        run("qpdf", &["--check"], &file, &[])?;
        assert_eq!(run("qpdf", &["--show-npages"], &file, &[])?.trim(), pages.to_string(), "{stem}");
        let cover = run("pdftotext", &["-l", "1"], &file, &["-"])?;
        let count = format!("Pages: {pages}, including this one");
        assert!(cover.contains(recipient) && cover.contains(&count), "{stem}: {cover}");
        assert!(
            !SECRETS.iter().take(2).any(|name| cover.contains(name)),
            "the patient is on the cover: {cover}"
        );
        let rest = run("pdftotext", &["-f", "2"], &file, &["-"])?;
        assert!(rest.contains(paper), "{stem}: {rest}");
        let picture = fs::read(out.join(format!("covers/{stem}.png")))?;
        assert!(picture.starts_with(b"\x89PNG") && picture.len() > 5_000, "{stem}");
    }
    assert_eq!(names(&out.join("faxed"))?.len(), 5);
    assert_eq!(names(&out.join("covers"))?.len(), 5);
    let receipts = names(&out.join("receipts"))?;
    assert_eq!(receipts.iter().filter(|name| name.ends_with(".json")).count(), 5, "{receipts:?}");
    assert_eq!(receipts.iter().filter(|name| name.ends_with(".eml")).count(), 6, "{receipts:?}");

    assert_eq!(processes_with(folder.path())?, Vec::<String>::new());
    let told = files_below(&out.join("bridge/data"))?.into_iter().chain([out.join("log.txt")]);
    for file in told.chain(files_below(&out.join("receipts"))?) {
        let bytes = fs::read(&file)?;
        for secret in SECRETS {
            let there = bytes.windows(secret.len()).any(|part| part == secret.as_bytes());
            assert!(!there, "{secret:?} stands in {}", file.display());
        }
    }
    Ok(())
}

#[test]
fn a_demo_that_is_stopped_leaves_nothing_running() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    for signal in [Signal::INT, Signal::TERM, Signal::KILL] {
        // Also shows that the folder of a former demo is taken again.
        let out = folder.path().join("out");
        let mut child = demo(&out).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let lines = BufReader::new(child.stdout.take().context("no output")?).lines();
        let mut lines = lines.map_while(Result::ok);
        ensure!(lines.any(|line| line.contains("accepted")), "the demo did not come to its first mail");
        kill_process(Pid::from_child(&child), signal)?;
        let status = child.wait()?;
        assert!(!status.success(), "{signal:?}: {status}");
        // The bridge holds this lock for as long as it runs.
        let lock = fs::File::open(out.join("bridge/data/lock"))?;
        let (sender, ended) = mpsc::channel();
        std::thread::spawn(move || sender.send(lock.lock()));
        ended
            .recv_timeout(Duration::from_secs(30))
            .with_context(|| format!("{signal:?}: the bridge still runs"))??;
    }
    Ok(())
}

#[test]
fn a_folder_with_other_things_in_it_is_left_alone() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("thesis.txt"), "mine")?;
    let output = demo(folder.path()).output()?;
    assert_eq!(output.status.code(), Some(2));
    let complaint = String::from_utf8(output.stderr)?;
    assert!(complaint.contains("not empty") && complaint.contains("--out"), "{complaint}");
    assert_eq!(names(folder.path())?, ["thesis.txt"]);
    Ok(())
}
