//! Watched folders: writers that open a file twice, files that stay, file systems that tell nothing or hang.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::process::{Child, Command};

use crate::support::stage::BASE;
use crate::support::{Stage, documents};

const NUMBER: &str = "+12125550199";

const CONFIG: &str = r#"
[folder.scans]
path = "DIR/scans"
sender = "scans"
scan = "300 ms"
quiet = "1500 ms"
settle = "3 s"

[[sender]]
name = "scans"
receipts_to = "desk@clinic.example"

[[rule]]
name = "scans by number"
source = "folder:scans"
file = "{serial}_{number}.pdf"

[policy]
hurry = 600
ask_first = "200 ms"
ask_at_most = "500 ms"
quiet = "1 s"
"#;

async fn stage(folder: impl FnOnce(&Path)) -> Stage {
    stage_with(CONFIG, folder).await
}

async fn stage_with(config: &str, folder: impl FnOnce(&Path)) -> Stage {
    let mut stage = Stage::new(config).await;
    std::fs::create_dir(stage.path("scans")).unwrap();
    folder(&stage.path("scans"));
    stage.verified(&[("mercy", NUMBER)]).await;
    stage.start().await;
    stage
}

fn name(serial: u32) -> String {
    format!("{serial}_{NUMBER}.pdf")
}

/// The records of all result files in the folder, by the name of the file that they speak of.
fn results(folder: &Path) -> Vec<(String, Value)> {
    let Ok(entries) = std::fs::read_dir(folder.join("results")) else { return Vec::new() };
    let mut all = Vec::new();
    for entry in entries {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let signed: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let record = signed["receipt"].clone();
        all.push((record["file"]["name"].as_str().unwrap_or_default().to_owned(), record));
    }
    all
}

async fn result(stage: &Stage, folder: &Path, name: &str) -> Value {
    let found =
        async || results(folder).into_iter().find(|(about, _)| about == name).map(|(_, record)| record);
    stage.until(&format!("a result about {name}"), found).await
}

/// A document of one page, to which a later revision adds a second; and where the first revision ends.
fn revisions() -> (Vec<u8>, usize) {
    let text = |text: &str| format!("BT /F1 24 Tf 72 700 Td ({text}) Tj ET");
    let page = |contents: u32| {
        format!(
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Resources << /Font << /F1 3 0 R >> >> /Contents {contents} 0 R >>"
        )
    };
    let stream = |text: &str| format!("<< /Length {} >>\nstream\n{text}\nendstream", text.len());
    let mut bytes = b"%PDF-1.4\n".to_vec();
    let put = |bytes: &mut Vec<u8>, number: u32, object: String| {
        let at = bytes.len();
        bytes.extend(format!("{number} 0 obj\n{object}\nendobj\n").bytes());
        format!("{at:010} 00000 n \n")
    };
    let mut table = String::from("0000000000 65535 f \n");
    let font = "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>".to_owned();
    table += &put(&mut bytes, 1, "<< /Type /Catalog /Pages 2 0 R >>".into());
    table += &put(&mut bytes, 2, "<< /Type /Pages /Kids [4 0 R] /Count 1 >>".into());
    table += &put(&mut bytes, 3, font);
    table += &put(&mut bytes, 4, page(5));
    table += &put(&mut bytes, 5, stream(&text("revision one")));
    let first = bytes.len();
    let trailer = "trailer\n<< /Size 6 /Root 1 0 R >>";
    bytes.extend(format!("xref\n0 6\n{table}{trailer}\nstartxref\n{first}\n%%EOF\n").bytes());
    let whole = bytes.len();
    let pages = put(&mut bytes, 2, "<< /Type /Pages /Kids [4 0 R 6 0 R] /Count 2 >>".into());
    let more = [
        put(&mut bytes, 6, page(7)),
        put(&mut bytes, 7, stream(&(text("page two") + "\n%" + &"x".repeat(100_000)))),
    ]
    .concat();
    let second = bytes.len();
    let trailer = format!("trailer\n<< /Size 8 /Root 1 0 R /Prev {first} >>");
    bytes.extend(format!("xref\n2 1\n{pages}6 2\n{more}{trailer}\nstartxref\n{second}\n%%EOF\n").bytes());
    (bytes, whole)
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_that_close_a_file_several_times_make_one_fax() {
    let stage = stage_with(&CONFIG.replace("settle = \"3 s\"", "settle = \"10 s\""), |_| {}).await;
    let scans = stage.path("scans");
    let pause = || tokio::time::sleep(Duration::from_secs(1));
    let append = |name: &str, bytes: &[u8]| {
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(scans.join(name)).unwrap();
        file.write_all(bytes).unwrap();
    };
    let three = documents::pdf("three pages", 3);
    let (incremental, first) = revisions();
    // A scanner that opens and closes the file for each part; a printer that makes an empty file first; one that writes the
    // whole anew for each page; a program that saves a revision behind the first; two moves onto one name.
    std::fs::write(scans.join(name(102)), b"").unwrap();
    std::fs::write(scans.join(name(104)), &incremental[..first]).unwrap();
    for (round, part) in three.chunks(three.len().div_ceil(3)).enumerate() {
        append(&name(101), part);
        let pages = u32::try_from(round).unwrap() + 1;
        std::fs::write(scans.join(name(103)), documents::pdf("page by page", pages)).unwrap();
        let moved = stage.path("moved");
        std::fs::write(&moved, documents::pdf(&format!("move {round}"), 1)).unwrap();
        std::fs::rename(&moved, scans.join(name(107))).unwrap();
        pause().await;
        if round == 0 {
            append(&name(104), &incremental[first..]);
        }
    }
    std::fs::write(scans.join(name(102)), documents::pdf("whole later", 1)).unwrap();
    std::fs::write(scans.join("105_+12125550199.PDF"), documents::pdf("upper case", 1)).unwrap();
    for (serial, pages) in [(101, 4), (102, 2), (103, 4), (104, 3), (107, 2)] {
        let record = result(&stage, &scans, &name(serial)).await;
        assert_eq!(record["state"], "delivered", "{serial}: {record:#}");
        assert_eq!(record["jobs"][0]["pages"], pages, "{serial}, with its cover");
    }
    let upper = result(&stage, &scans, "105_+12125550199.PDF").await;
    assert_eq!(upper["file"]["sha256"].as_str().unwrap().len(), 64);
    let faxed = stage.delivered(NUMBER).len();
    assert!(
        (5..=6).contains(&faxed),
        "one for each file; the rule may not know the name in upper case: {faxed}"
    );
    assert_eq!(stage.submissions().await.len(), 6, "and nothing else came of them");
    assert_eq!(results(&scans).len(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_that_is_cut_off_is_not_taken_for_the_one_before() {
    let stage = stage(|_| {}).await;
    let scans = stage.path("scans");
    let (bytes, first) = revisions();
    let cuts = [first + 60, first + 5_000, bytes.len() - 3, bytes.len() - 60];
    for (serial, cut) in (1..).zip(cuts) {
        std::fs::write(scans.join(name(serial)), &bytes[..cut]).unwrap();
    }
    std::fs::write(scans.join(name(9)), &bytes).unwrap();
    assert_eq!(result(&stage, &scans, &name(9)).await["jobs"][0]["pages"], 3);
    for (serial, cut) in (1..).zip(cuts) {
        let record = result(&stage, &scans, &name(serial)).await;
        assert_eq!(record["state"], "failed", "cut at {cut}: {record:#}");
        assert!(record["sentence"].as_str().unwrap().contains("cut off"), "{record:#}");
        assert!(scans.join(name(serial)).exists(), "its writer may come back to it");
    }
    assert_eq!(stage.delivered(NUMBER).len(), 1);
    // And it does.
    std::fs::write(scans.join(name(2)), &bytes).unwrap();
    stage.until("the rest came", async || (stage.delivered(NUMBER).len() == 2).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_file_that_lies_there_is_taken_or_told_of() {
    let began = Instant::now();
    let pdf = documents::pdf("padded", 1);
    let padded = |n: usize| [pdf.as_slice(), &vec![0; n]].concat();
    let stage = stage(|scans| {
        std::fs::write(scans.join(name(201)), padded(4845)).unwrap();
        std::fs::write(scans.join(name(202)), [b"II*\0".as_slice(), &[b'x'; 5000]].concat()).unwrap();
        std::fs::write(scans.join(name(203)), "%!PS-Adobe-3.0\n showpage\n".repeat(40)).unwrap();
        std::fs::write(scans.join(name(205)), padded(600)).unwrap();
        std::fs::write(scans.join(name(206)), [[0; 1100].as_slice(), &pdf].concat()).unwrap();
        std::fs::write(scans.join(name(207)), [[b'j'; 1100].as_slice(), &pdf].concat()).unwrap();
    })
    .await;
    let scans = stage.path("scans");
    std::fs::write(scans.join(name(211)), padded(4845)).unwrap();
    std::fs::write(scans.join(name(212)), [b"II*\0".as_slice(), &[b'x'; 5000]].concat()).unwrap();
    std::fs::create_dir(scans.join("batch1")).unwrap();
    std::fs::write(scans.join("batch1").join(name(213)), &pdf).unwrap();
    std::fs::write(stage.path("archive.pdf"), &pdf).unwrap();
    std::fs::hard_link(stage.path("archive.pdf"), scans.join(name(215))).unwrap();
    std::os::unix::fs::symlink(stage.path("archive.pdf"), scans.join(name(216))).unwrap();
    std::fs::write(scans.join(name(217)), b"").unwrap();
    // What desktops leave by themselves.
    let litter = ["Thumbs.db", "desktop.ini", ".DS_Store", "~$letter.docx", ".nfs00000001"];
    for file in litter {
        std::fs::write(scans.join(file), b"\xd0\xcf\x11\xe0").unwrap();
    }
    for serial in [201, 205, 211] {
        let record = result(&stage, &scans, &name(serial)).await;
        assert_eq!(record["state"], "delivered", "{serial}: {record:#}");
    }
    let odd = [
        name(202),
        name(203),
        name(206),
        name(207),
        name(212),
        "batch1".into(),
        name(215),
        name(216),
        name(217),
    ];
    for file in &odd {
        let record = result(&stage, &scans, file).await;
        assert!(record["state"] == "failed" || record["state"] == "held", "{file}: {record:#}");
    }
    assert!(began.elapsed() < Duration::from_secs(60), "within a minute");
    // A mail for each, and a line; and neither names a file.
    let answers = odd.len() + 3;
    stage.until("the mails", async || (stage.sink.letters().len() >= answers).then_some(())).await;
    assert_eq!(stage.sink.letters().len(), answers, "none about {litter:?}");
    let left =
        stage.sink.letters().into_iter().find(|letter| letter.text.contains("is a link to another file"));
    assert!(left.unwrap().text.contains("It lies where it was."));
    assert!(
        scans.join(format!("results/217_{NUMBER}.left.json")).exists(),
        "NAME.json is for what was taken"
    );
    let log = stage.log();
    for line in ["an empty file", "a symbolic link", "a hard link", "a folder", "begins with zeros"] {
        assert!(
            log.lines().any(|told| told.contains("folder scans") && told.contains(line)),
            "{line} in the log"
        );
    }
    assert!(!log.contains(NUMBER) && !log.contains("batch1"), "no names in the log");
    // It is said once, not at every scan.
    let told = results(&scans).len();
    assert_eq!(told, answers);
    stage.until("some scans", async || (began.elapsed() > Duration::from_secs(12)).then_some(())).await;
    assert_eq!(results(&scans).len(), told);
    assert!(litter.iter().all(|file| scans.join(file).exists()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_file_again_gets_the_earlier_result_and_no_other_fax() {
    let stage = stage(|_| {}).await;
    let scans = stage.path("scans");
    let pdf = documents::pdf("once", 1);
    std::fs::write(scans.join(name(1)), &pdf).unwrap();
    let first = result(&stage, &scans, &name(1)).await;
    std::fs::write(scans.join(name(1)), &pdf).unwrap();
    let again = stage
        .until("an answer to the second", async || {
            results(&scans).into_iter().map(|(_, record)| record).find(|record| record["kind"] == "again")
        })
        .await;
    assert_eq!(again["file"], first["file"], "name and digest");
    assert_eq!((&again["submission"], &again["state"]), (&first["submission"], &"delivered".into()));
    assert!(again["sentence"].as_str().unwrap().contains("not faxed a second time"), "{again:#}");
    let mail = stage
        .until("the mail", async || {
            stage.sink.letters().into_iter().find(|letter| letter.text.contains("not faxed a second time"))
        })
        .await;
    assert!(mail.subject.starts_with("The same file again"), "{}", mail.subject);
    assert_eq!(stage.delivered(NUMBER).len(), 1);
    // Another document under that name is another fax, with a result of its own.
    std::fs::write(scans.join(name(1)), documents::pdf("another", 1)).unwrap();
    stage.until("three results", async || (results(&scans).len() == 3).then_some(())).await;
    let digests: std::collections::HashSet<String> =
        results(&scans).into_iter().map(|(_, record)| record["file"]["sha256"].to_string()).collect();
    assert_eq!(digests.len(), 2);
    assert_eq!(stage.delivered(NUMBER).len(), 2);
}

/// A folder of another file system, which gives no notices of what is done below it.
struct Mount {
    below: PathBuf,
    at: PathBuf,
    child: Child,
}

impl Mount {
    async fn new(stage: &Stage, name: &str) -> Mount {
        let (below, at) = (stage.path(&format!("{name}-below")), stage.path(name));
        for path in [&below, &at] {
            std::fs::create_dir(path).unwrap();
        }
        let child = Command::new("bindfs")
            .arg("-f")
            .args([&below, &at])
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("bindfs is installed");
        let device = |path: &Path| std::os::unix::fs::MetadataExt::dev(&path.metadata().unwrap());
        stage.until("the mount", async || (device(&at) != device(&below)).then_some(())).await;
        Mount { below, at, child }
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.child.id().unwrap().cast_signed()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        self.signal(rustix::process::Signal::CONT);
        let _ = std::process::Command::new("fusermount3").arg("-uz").arg(&self.at).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_system_without_notices_is_looked_through() {
    let mut stage = Stage::new(CONFIG).await;
    let mount = Mount::new(&stage, "scans").await;
    stage.verified(&[("mercy", NUMBER)]).await;
    stage.start().await;
    let (below, pdf) = (&mount.below, documents::pdf("two pages", 2));
    let half = pdf.len() / 2;
    let put = |serial: u32, bytes: &[u8]| std::fs::write(below.join(name(serial)), bytes).unwrap();
    put(1, &pdf);
    put(2, &[pdf.as_slice(), &[0; 4845]].concat());
    put(4, b"not a pdf at all, but called so");
    put(5, &[[0; 1100].as_slice(), &pdf].concat());
    // A copy that pauses; one whose room was made first; one without an ending in its name.
    let begin = |name: &str, room: bool| {
        let mut file = std::fs::File::create(below.join(name)).unwrap();
        if room {
            file.set_len(pdf.len() as u64).unwrap();
        }
        file.write_all(&pdf[..half]).unwrap();
        file
    };
    let mut writers = [begin(&name(6), false), begin(&name(7), true), begin("scan0001", false)];
    for serial in [1, 2] {
        assert_eq!(result(&stage, below, &name(serial)).await["state"], "delivered");
    }
    for file in [name(4), name(5), name(6), name(7), "scan0001".to_owned()] {
        assert_ne!(result(&stage, below, &file).await["state"], "delivered", "told of: {file}");
    }
    assert!(
        [name(6), name(7), "scan0001".into()].iter().all(|file| below.join(file).exists()),
        "and left there"
    );
    for file in &mut writers {
        file.write_all(&pdf[half..]).unwrap();
    }
    drop(writers);
    stage.until("all are taken", async || (!below.join("scan0001").exists()).then_some(())).await;
    stage.until("four faxes", async || (stage.delivered(NUMBER).len() == 4).then_some(())).await;
    let claims = std::fs::read_dir(below.join(".faxbridge/claimed")).unwrap();
    assert_eq!(claims.count(), 0, "claimed there, since a rename leads to no other file system");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_system_that_hangs_stops_nothing_else() {
    let config = format!(
        "{CONFIG}\n[folder.archive]\npath = \"DIR/archive\"\nsender = \"scans\"\nscan = \"300 ms\"\nquiet = \"100 ms\"\n\
         [[rule]]\nname = \"archive\"\nsource = \"folder:archive\"\nfile = \"{{serial}}_{{number}}.pdf\"\n"
    );
    let mut stage =
        Stage::with(&format!("{BASE}{config}"), |options| options.call_time = Duration::from_secs(2)).await;
    std::fs::create_dir(stage.path("scans")).unwrap();
    let mount = Mount::new(&stage, "archive").await;
    stage.verified(&[("mercy", NUMBER), ("harbor", "+12125550155")]).await;
    stage.start().await;
    std::fs::write(mount.below.join("1_+12125550155.pdf"), documents::pdf("archive", 1)).unwrap();
    // It hangs while its fax is under way.
    stage.until("it is taken", async || (!stage.jobs().await.is_empty()).then_some(())).await;
    mount.signal(rustix::process::Signal::STOP);
    stage.until("its receipt", async || (!stage.sink.letters().is_empty()).then_some(())).await;
    let scans = stage.path("scans");
    std::fs::write(scans.join(name(1)), documents::pdf("scan", 1)).unwrap();
    assert_eq!(result(&stage, &scans, &name(1)).await["state"], "delivered");
    stage.until("the alarm", async || stage.log().contains("results.archive").then_some(())).await;
    let began = Instant::now();
    stage.daemon().stop().await;
    assert!(began.elapsed() < Duration::from_secs(30), "the end waits for it no longer than that");
    // It answers again, and so does the daemon.
    mount.signal(rustix::process::Signal::CONT);
    stage.start().await;
    let record = result(&stage, &mount.below, "1_+12125550155.pdf").await;
    assert_eq!(record["state"], "delivered");
    assert_eq!(results(&mount.below).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_notices_of_the_system_the_folder_is_served_and_that_is_said() {
    const NOBODY: u32 = 65534;
    let mut stage = Stage::new(CONFIG).await;
    std::fs::create_dir(stage.path("scans")).unwrap();
    stage.verified(&[("mercy", NUMBER)]).await;
    // Another program of the same user has taken all of them.
    let greedy = "import ctypes, sys\nlibc = ctypes.CDLL(None)\nwhile libc.inotify_init1(0) >= 0: pass\n\
                  print('full', flush=True)\nsys.stdin.read()";
    let mut hoarder = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "/usr/bin/python3", "-c", greedy])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut said = [0; 5];
    tokio::io::AsyncReadExt::read_exact(hoarder.stdout.as_mut().unwrap(), &mut said).await.unwrap();
    stage.start_as(NOBODY).await;
    stage.until("the alarm", async || stage.log().contains("alarm folder.scans").then_some(())).await;
    std::fs::write(stage.path("scans").join(name(1)), documents::pdf("scan", 1)).unwrap();
    stage.hand_over(NOBODY, &["scans"]);
    assert_eq!(result(&stage, &stage.path("scans"), &name(1)).await["state"], "delivered");
    hoarder.kill().await.unwrap();
    stage
        .until("it is over", async || stage.log().contains("alarm folder.scans is over").then_some(()))
        .await;
}
