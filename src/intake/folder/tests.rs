//! A watched folder with a real intake behind it. Tests wait for what the folder shows, never for time.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::task::JoinHandle;

use super::*;
use crate::intake::testing::Rig;
use crate::job::Source;
use crate::store::{AnswerKind, AnswerWay};

const PDF: &[u8] = b"%PDF-1.4\n...\n%%EOF\n";

struct Watched {
    rig: Rig,
    path: PathBuf,
    stop: watch::Sender<bool>,
    watching: JoinHandle<()>,
}

impl Watched {
    /// Watches a folder that `prepare` made before; scans every `scan` with `settle`, both as in the configuration.
    async fn spawn(scan: &str, settle: &str, limits: &str, prepare: impl FnOnce(&Path)) -> Watched {
        let rig = Rig::new(&format!(
            "[folder.scans]\npath = \"/set/below\"\nsender = \"Desk\"\nscan = \"{scan}\"\nsettle = \"{settle}\"\n\
             quiet = \"50 ms\"\n{limits}"
        ))
        .await;
        let path = rig.path().join("drop");
        fs::create_dir(&path).unwrap();
        prepare(&path);
        let (stop, stopping) = watch::channel(false);
        let config = config::Folder { path: path.clone(), ..rig.intake.config().folder["scans"].clone() };
        let watching = tokio::spawn(super::watch("scans".into(), config, rig.intake.clone(), stopping));
        Watched { rig, path, stop, watching }
    }

    /// As `spawn`, and waits until the watch stands: what comes from now on makes a notice.
    async fn start(scan: &str, settle: &str, limits: &str, prepare: impl FnOnce(&Path)) -> Watched {
        let mark = Path::new(".faxbridge/claimed/first.txt");
        let with_mark = |path: &Path| {
            prepare(path);
            fs::create_dir_all(path.join(mark).parent().unwrap()).unwrap();
            fs::write(path.join(mark), "a claim, taken once the watch stands").unwrap();
        };
        let watched = Watched::spawn(scan, settle, limits, with_mark).await;
        watched.until(|| !watched.path.join(mark).exists()).await;
        watched
    }

    async fn notices_only() -> Watched {
        Watched::start("1 h", "1 h", "", |_| {}).await
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    async fn until(&self, done: impl Fn() -> bool) {
        let waiting = async {
            while !done() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), waiting)
            .await
            .expect("what the test waits for comes in 20 s");
    }

    /// Where a claim of this name lies.
    fn claim(&self, name: &str) -> PathBuf {
        self.rig.path().join("claims/scans").join(name)
    }

    /// Waits until so many entries were turned away.
    async fn turned_away(&self, count: usize) -> Vec<(String, String)> {
        let waiting = async {
            loop {
                let mut all = self.rig.turned_away(Source::Folder("scans".into())).await;
                if all.len() >= count {
                    all.sort();
                    return all;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), waiting).await.expect("they are told of in 20 s")
    }

    /// Stops the watch and tells what was accepted beside the first file.
    async fn stop(self) -> (Vec<(String, Vec<u8>)>, PathBuf, Rig) {
        self.stop.send(true).unwrap();
        self.watching.await.unwrap();
        let mut accepted = self.rig.accepted(Source::Folder("scans".into())).await;
        accepted.retain(|(name, _)| name != "first.txt");
        accepted.sort();
        (accepted, self.path, self.rig)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_taken_when_closed_or_moved_in() {
    let watched = Watched::notices_only().await;
    fs::write(watched.file("a.pdf"), PDF).unwrap();
    fs::write(watched.file(".b.pdf.part"), PDF).unwrap();
    fs::rename(watched.file(".b.pdf.part"), watched.file("b.pdf")).unwrap();
    fs::write(watched.rig.path().join("outside.pdf"), PDF).unwrap();
    fs::rename(watched.rig.path().join("outside.pdf"), watched.file("c.pdf")).unwrap();
    let gone = || ["a.pdf", "b.pdf", "c.pdf"].iter().all(|name| !watched.file(name).exists());
    watched.until(gone).await;
    let (accepted, path, rig) = watched.stop().await;
    assert_eq!(accepted, ["a.pdf", "b.pdf", "c.pdf"].map(|name| (name.to_owned(), PDF.to_vec())));
    assert_eq!(fs::read_dir(path.join(".faxbridge/claimed")).unwrap().count(), 0);
    let claims = rig.path().join("claims/scans");
    assert_eq!(fs::metadata(&claims).unwrap().permissions().mode() & 0o7777, 0o700);
    assert_eq!(fs::read_dir(claims).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_a_whole_plain_file_stays() {
    let watched = Watched::start("10 ms", "20 ms", "", |_| {}).await;
    // Open for writing: no notice of a close. It grows with every look, so that it never settles.
    let mut slow = fs::File::create(watched.file("slow.pdf")).unwrap();
    slow.write_all(b"%PDF-1.4 half").unwrap();
    fs::write(watched.file("half.tmp"), PDF).unwrap();
    fs::write(watched.file("empty.pdf"), b"").unwrap();
    symlink("/etc/passwd", watched.file("link.pdf")).unwrap();
    fs::create_dir(watched.file("folder.pdf")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        watched.file("pipe.pdf"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    fs::write(watched.rig.path().join("linked"), PDF).unwrap();
    fs::hard_link(watched.rig.path().join("linked"), watched.file("hard.pdf")).unwrap();
    // A file that is taken after all those were looked at, several times over.
    for number in 0..5 {
        let name = format!("whole{number}.pdf");
        let linked = watched.file(&format!("whole{number}.tmp"));
        fs::write(&linked, PDF).unwrap();
        fs::hard_link(&linked, watched.file(&name)).unwrap();
        fs::remove_file(&linked).unwrap();
        slow.write_all(b".").unwrap();
        watched.until(|| !watched.file(&name).exists()).await;
    }
    let stays = ["slow.pdf", "half.tmp", "empty.pdf", "link.pdf", "folder.pdf", "pipe.pdf", "hard.pdf"];
    for name in stays {
        assert!(watched.file(name).symlink_metadata().is_ok(), "{name} was taken");
    }
    // Each of them is told of; the slow one perhaps too, and more than once.
    let told = watched.turned_away(5).await;
    for (name, why) in [
        ("empty.pdf", "is empty"),
        ("link.pdf", "is a link"),
        ("folder.pdf", "is a folder"),
        ("pipe.pdf", "something special"),
        ("hard.pdf", "hard link"),
    ] {
        let found: Vec<_> = told.iter().filter(|(told, _)| told == name).collect();
        assert!(matches!(found.as_slice(), [(_, reason)] if reason.contains(why)), "{name}: {found:?}");
    }
    assert!(!told.iter().any(|(name, _)| name == "half.tmp"), "somebody may come back to it");
    slow.write_all(b"%%EOF").unwrap();
    drop(slow);
    watched.until(|| !watched.file("slow.pdf").exists()).await;
    let (accepted, ..) = watched.stop().await;
    assert_eq!(accepted.len(), 6);
    assert_eq!(accepted[0], ("slow.pdf".to_owned(), b"%PDF-1.4 half.....%%EOF".to_vec()));
}

#[tokio::test(flavor = "multi_thread")]
async fn files_from_before_and_claims_of_a_crash_are_taken() {
    let prepare = |path: &Path| {
        fs::write(path.join("before.pdf"), PDF).unwrap();
        fs::write(path.join("cut.pdf"), b"%PDF-1.4 and no end").unwrap();
        fs::create_dir_all(path.join(".faxbridge/claimed")).unwrap();
        fs::write(path.join(".faxbridge/claimed/claimed.pdf"), PDF).unwrap();
    };
    let watched = Watched::start("10 ms", "20 ms", "", prepare).await;
    watched.until(|| !watched.file("before.pdf").exists()).await;
    assert!(watched.file("cut.pdf").exists());
    // The claim again, as after a crash between the commit and the deletion: the same file is the same submission.
    fs::write(watched.file("claimed.pdf"), PDF).unwrap();
    watched.until(|| !watched.file("claimed.pdf").exists()).await;
    assert_eq!(watched.turned_away(1).await[0].0, "cut.pdf");
    let (accepted, ..) = watched.stop().await;
    assert_eq!(accepted, ["before.pdf", "claimed.pdf"].map(|name| (name.to_owned(), PDF.to_vec())));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_for_good_moves_the_file_aside_with_the_reason() {
    let watched = Watched::start("1 h", "1 h", "[limits]\nsubmission = 100", |path| {
        fs::create_dir(path.join("refused")).unwrap();
        fs::write(path.join("refused/big.pdf"), "an earlier one").unwrap();
    })
    .await;
    fs::write(watched.file("big.pdf"), [b'x'; 200]).unwrap();
    let reason = watched.file("refused/big.2.pdf.txt");
    watched.until(|| fs::read_to_string(&reason).is_ok_and(|text| text.ends_with('\n'))).await;
    assert!(fs::read_to_string(&reason).unwrap().contains("larger than"));
    assert_eq!(fs::read(watched.file("refused/big.2.pdf")).unwrap().len(), 200);
    assert_eq!(fs::read(watched.file("refused/big.pdf")).unwrap(), b"an earlier one");
    assert!(!watched.file("refused/big.pdf.txt").exists(), "that one has no reason");
    let told = watched.turned_away(1).await;
    assert!(told[0].0 == "big.pdf" && told[0].1.contains("larger than"), "{told:?}");
    assert_eq!(watched.stop().await.0, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_comes_later_is_watched_then() {
    let watched = Watched::spawn("10 ms", "20 ms", "", |path| fs::remove_dir(path).unwrap()).await;
    fs::create_dir(&watched.path).unwrap();
    fs::write(watched.file("a.pdf"), PDF).unwrap();
    // Accepted, not only claimed: with the folder a claim would move away.
    let claim = watched.claim("a.pdf");
    watched.until(|| !watched.file("a.pdf").exists() && !claim.exists()).await;
    fs::rename(&watched.path, watched.rig.path().join("moved away")).unwrap();
    fs::create_dir(&watched.path).unwrap();
    fs::write(watched.file("b.pdf"), PDF).unwrap();
    watched.until(|| !watched.file("b.pdf").exists()).await;
    let (accepted, ..) = watched.stop().await;
    assert_eq!(accepted.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_whose_name_was_taken_again_is_not_forgotten() {
    let watched = Watched::start("10 ms", "20 ms", "", |_| {}).await;
    // As if the first was claimed, could not be accepted, and the second came before it was put back.
    // Both are renamed into place: a file that is being written there could be seen half by the next scan.
    fs::write(watched.file(".faxbridge/first"), PDF).unwrap();
    fs::rename(watched.file(".faxbridge/first"), watched.file(".faxbridge/claimed/a.pdf")).unwrap();
    fs::write(watched.file(".second.tmp"), [PDF, b"\n"].concat()).unwrap();
    fs::rename(watched.file(".second.tmp"), watched.file("a.pdf")).unwrap();
    watched
        .until(|| !watched.file("a.pdf").exists() && !watched.file(".faxbridge/claimed/a.pdf").exists())
        .await;
    let (accepted, ..) = watched.stop().await;
    assert_eq!(accepted.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_for_now_puts_the_file_back() {
    let watched = Watched::spawn("10 ms", "20 ms", "[limits]\ndisk_reserve = 9000000000000000000", |path| {
        fs::create_dir_all(path.join(".faxbridge/claimed")).unwrap();
        fs::write(path.join(".faxbridge/claimed/a.pdf"), PDF).unwrap();
    })
    .await;
    watched.until(|| watched.file("a.pdf").exists()).await;
    let (accepted, path, _rig) = watched.stop().await;
    assert_eq!(accepted, []);
    assert_eq!(fs::read(path.join("a.pdf")).unwrap(), PDF);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_closed_several_times_is_one_document() {
    let watched = Watched::start("1 h", "1 h", "", |_| {}).await;
    let whole = [PDF, b"7 0 obj the second revision\n%%EOF\n"].concat();
    // As scanners do: opened, written, closed, for each page; each close makes a notice.
    for piece in
        [&whole[..10], &whole[10..PDF.len()], &whole[PDF.len()..PDF.len() + 5], &whole[PDF.len() + 5..]]
    {
        let mut file = fs::OpenOptions::new().create(true).append(true).open(watched.file("a.pdf")).unwrap();
        file.write_all(piece).unwrap();
    }
    // And two files moved onto one name.
    for text in ["one", "two"] {
        fs::write(watched.rig.path().join(text), text).unwrap();
        fs::rename(watched.rig.path().join(text), watched.file("b.txt")).unwrap();
    }
    watched.until(|| !watched.file("a.pdf").exists() && !watched.file("b.txt").exists()).await;
    let (accepted, ..) = watched.stop().await;
    assert_eq!(accepted, [("a.pdf".to_owned(), whole), ("b.txt".to_owned(), b"two".to_vec())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_file_again_is_answered() {
    let watched = Watched::notices_only().await;
    let answers = async || {
        let claimed = watched.rig.store.claim_outbox(
            crate::store::Queue::Compose(&[]),
            jiff::Timestamp::MAX,
            jiff::Timestamp::MAX,
            9,
        );
        claimed.await.unwrap()
    };
    for _ in 0..2 {
        fs::write(watched.file("a.pdf"), PDF).unwrap();
        watched.until(|| !watched.file("a.pdf").exists() && !watched.claim("a.pdf").exists()).await;
    }
    let told = answers().await;
    assert_eq!(
        told.iter().map(|row| (row.kind, row.way)).collect::<Vec<_>>(),
        [(AnswerKind::Again, AnswerWay::Folder)]
    );
    let note = told[0].note.clone().unwrap();
    let note =
        crate::sealed::FileNote::open(watched.rig.spool.vault(), &told[0].submission_id, &note).unwrap();
    assert_eq!((note.name.as_str(), note.sha256.len()), ("a.pdf", 64));
    assert_eq!(watched.stop().await.0.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_strangers_could_exchange_is_not_used() {
    let watched = Watched::spawn("10 ms", "20 ms", "", |path| {
        fs::set_permissions(path, fs::Permissions::from_mode(0o770)).unwrap();
        fs::write(path.join("a.pdf"), PDF).unwrap();
    })
    .await;
    let alarms = watched.rig.intake.alarms().clone();
    watched.until(|| alarms.open().iter().any(|(_, raised)| raised.cause.contains("chmod 1770"))).await;
    assert!(watched.file("a.pdf").exists());
    fs::set_permissions(&watched.path, fs::Permissions::from_mode(0o1770)).unwrap();
    watched.until(|| !watched.file("a.pdf").exists() && alarms.open().is_empty()).await;
    // It may change while the folder is watched.
    fs::set_permissions(&watched.path, fs::Permissions::from_mode(0o777)).unwrap();
    watched.until(|| !alarms.open().is_empty()).await;
    assert_eq!(watched.stop().await.0.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_in_the_folder_reaches_nothing_else() {
    // All that can be put where something of ours should be, before the start.
    let watched = Watched::spawn("10 ms", "20 ms", "[limits]\nsubmission = 1000", |path| {
        let outside = path.with_file_name("outside");
        fs::create_dir_all(outside.join("claimed")).unwrap();
        fs::write(outside.join("claimed/theirs.pdf"), PDF).unwrap();
        fs::write(outside.join(".faxbridge-1-1.tmp"), "theirs").unwrap();
        for name in [".faxbridge", "results", "refused"] {
            symlink(&outside, path.join(name)).unwrap();
        }
        fs::write(path.join("a.pdf"), PDF).unwrap();
        // More than is taken, and a petabyte of it is not there.
        let giant = fs::File::create(path.join("giant.pdf")).unwrap();
        giant.set_len(1 << 42).unwrap();
    })
    .await;
    watched.until(|| !watched.file("a.pdf").exists() && !watched.claim("a.pdf").exists()).await;
    assert!(watched.turned_away(1).await[0].0 == "giant.pdf");
    let outside = watched.rig.path().join("outside");
    let (accepted, _path, _rig) = watched.stop().await;
    assert_eq!(accepted.len(), 1, "{accepted:?}");
    assert_eq!(fs::read(outside.join("claimed/theirs.pdf")).unwrap(), PDF);
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 2, "nothing came and nothing went");
}
