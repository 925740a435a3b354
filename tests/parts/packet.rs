//! Document work through real child processes, checked with readers that nobody here wrote (qpdf, pdftotext).

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use faxbridge::cover;
use faxbridge::packet::{
    Bench, BoxError, Container, Front, Input, Made, Rules, Sink, Workshop, WorkshopError, WorkshopLimits,
};
use faxbridge::spool::{Spool, Writer};
use futures_util::{Stream, StreamExt, TryStreamExt, stream};

#[path = "../../src/packet/samples.rs"]
mod samples;

use faxbridge::vault::MasterKey;
use samples::{attached, document, mail, pdf, saved, saved_modern};

fn limits() -> WorkshopLimits {
    WorkshopLimits { workers: 2, memory: 1 << 30, time: Duration::from_secs(60) }
}

fn workshop(limits: WorkshopLimits) -> Workshop {
    Workshop::new(PathBuf::from(env!("CARGO_BIN_EXE_faxbridge")), limits)
}

fn chunks(bytes: &[u8]) -> impl Stream<Item = Result<Bytes, Infallible>> + Send + use<> {
    let chunks: Vec<_> = bytes.chunks(10_000).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
    stream::iter(chunks)
}

fn front(cover: &[u8]) -> Front<'_> {
    Front { cover: Some(cover), body: None }
}

async fn open_file(shop: &Workshop, bytes: &[u8]) -> Result<Bench, WorkshopError> {
    shop.open(Input::File { name: "x.pdf".into() }, bytes.len() as u64, chunks(bytes), &Rules::default())
        .await
}

/// Fails unless qpdf finds the file without fault and pdftotext finds these texts, page by page.
fn inspect(folder: &Path, file: &[u8], pages: &[&str]) {
    let path = folder.join("made.pdf");
    std::fs::write(&path, file).unwrap();
    let qpdf =
        Command::new("qpdf").arg("--check").arg(&path).output().expect("qpdf is installed by tests/run");
    let said = String::from_utf8_lossy(&qpdf.stdout);
    assert!(qpdf.status.success(), "{said}{}", String::from_utf8_lossy(&qpdf.stderr));
    assert!(said.contains("No syntax or stream encoding errors found"), "{said}");
    let text =
        Command::new("pdftotext").arg(&path).arg("-").output().expect("pdftotext is installed by tests/run");
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    let found: Vec<&str> = text.split_terminator('\u{c}').map(str::trim).collect();
    assert_eq!(found, pages);
}

#[tokio::test]
async fn a_mail_becomes_a_pdf_that_other_readers_accept() {
    let folder = tempfile::tempdir().unwrap();
    let shop = workshop(limits());
    let raw = mail(&[
        ("Content-Type: text/plain", b"see attached"),
        (&attached("a.pdf"), &pdf(&["alpha", "beta"])),
        (&attached("b.pdf"), &saved_modern(document(&["gamma", "delta"]))),
    ]);
    let mut bench = shop.open(Input::Mail, raw.len() as u64, chunks(&raw), &Rules::default()).await.unwrap();
    assert_eq!(bench.contents().hold, None);
    assert_eq!(bench.contents().pages, 4);
    let mut file = Vec::new();
    let made = bench.make(front(&pdf(&["cover"])), None, &mut file).await.unwrap();
    assert_eq!((made.pages, made.cover_pages), (5, 1));
    inspect(folder.path(), &file, &["cover", "alpha", "beta", "gamma", "delta"]);

    let pictures = bench.pictures(0..2, 50).await.unwrap();
    assert_eq!(pictures.len(), 2);
    assert!(pictures.iter().all(|png| png.starts_with(b"\x89PNG")));

    let mut file = Vec::new();
    let selection = "2-3".parse().unwrap();
    bench.make(front(&pdf(&["another cover"])), Some(&selection), &mut file).await.unwrap();
    inspect(folder.path(), &file, &["another cover", "beta", "gamma"]);

    // A verdict leaves the bench usable.
    let error =
        bench.make(front(&pdf(&["cover"])), Some(&"9".parse().unwrap()), &mut Vec::new()).await.unwrap_err();
    assert!(matches!(&error, WorkshopError::Held { .. }), "{error:?}");
    assert_eq!(error.sentence(), "Page 9 was asked for, but the documents have only 4 pages.");
    bench.make(front(&pdf(&["cover"])), None, &mut Vec::new()).await.unwrap();
}

/// The spool as a sink.
struct Sealing(Writer);

impl Sink for Sealing {
    async fn write(&mut self, bytes: &[u8]) -> Result<(), BoxError> {
        Ok(self.0.write(bytes).await?)
    }
}

#[tokio::test]
async fn pages_that_are_shared_leave_as_if_each_fax_had_been_made_alone() {
    let folder = tempfile::tempdir().unwrap();
    let master = MasterKey::from_bytes(&[7; 32]).unwrap();
    let spool = Spool::open(folder.path().join("spool"), master).unwrap();
    let (key, _) = spool.vault().new_key().unwrap();
    let shop = workshop(limits());
    let raw = mail(&[
        ("Content-Type: text/plain", b"see attached"),
        (&attached("a.pdf"), &pdf(&["alpha", "beta"])),
        (&attached("b.pdf"), &saved_modern(document(&["gamma"]))),
    ]);
    let mut bench = shop.open(Input::Mail, raw.len() as u64, chunks(&raw), &Rules::default()).await.unwrap();
    let (covers, text) = ([pdf(&["cover for A"]), pdf(&["cover for B", "and more"])], pdf(&["the text"]));
    let fronts = [
        (Front { cover: Some(&covers[0]), body: None }, vec!["cover for A"]),
        (Front { cover: Some(&covers[1]), body: Some(&text) }, vec!["cover for B", "and more", "the text"]),
        (Front { cover: None, body: None }, vec![]),
    ];
    for (selection, behind) in [(None, vec!["alpha", "beta", "gamma"]), (Some("2-3"), vec!["beta", "gamma"])]
    {
        let selection = selection.map(|text| text.parse().unwrap());
        let mut pages = Sealing(spool.create(&key).unwrap());
        bench.pages(selection.as_ref(), &mut pages).await.unwrap();
        let pages = pages.0.finish().await.unwrap();
        let mut files = Vec::new();
        for (front, before) in &fronts {
            let mut own = Sealing(spool.create(&key).unwrap());
            let made = bench.front(*front, &mut own).await.unwrap();
            let own = own.0.finish().await.unwrap();
            let expected = made.container.clone().unwrap();
            let open = || Container::open(&spool, &key, &own.name, Some(&pages.name));
            assert_eq!(open().await.unwrap().measure().await.unwrap(), expected);
            let stream = open().await.unwrap().into_stream(expected, Arc::default());
            let file: Vec<Bytes> = stream.try_collect().await.unwrap();
            let file = file.concat();
            let texts: Vec<&str> = before.iter().chain(&behind).copied().collect();
            assert_eq!(
                (made.pages, made.cover_pages),
                (texts.len() as u32, before.iter().filter(|t| **t != "the text").count() as u32)
            );
            inspect(folder.path(), &file, &texts);
            files.push((made, file));
        }
        for ((front, _), (made, file)) in fronts.iter().zip(&files) {
            let mut alone = Vec::new();
            let made_alone = bench.make(*front, selection.as_ref(), &mut alone).await.unwrap();
            assert!(alone == *file, "byte for byte");
            assert_eq!(Made { container: made.container.clone(), ..made_alone }, *made);
        }
    }
    // A front has no pages to stand before once another packet was made.
    let error = bench.front(fronts[0].0, &mut Vec::new()).await.unwrap_err();
    assert!(matches!(error, WorkshopError::Held { .. }), "{error:?}");
}

#[tokio::test]
async fn the_real_cover_goes_in_front() {
    let folder = tempfile::tempdir().unwrap();
    let sheet = cover::Sheet { to_name: "Mercy Radiology".into(), ..cover::Sheet::default() };
    let drawn = cover::page::draw(&sheet, &cover::Fonts::builtin()).unwrap();
    let mut bench = open_file(&workshop(limits()), &pdf(&["one"])).await.unwrap();
    let mut file = Vec::new();
    let made = bench.make(front(&drawn.pdf), None, &mut file).await.unwrap();
    assert_eq!((made.pages, made.cover_pages), (2, 1));
    let path = folder.path().join("made.pdf");
    std::fs::write(&path, &file).unwrap();
    let qpdf =
        Command::new("qpdf").arg("--check").arg(&path).output().expect("qpdf is installed by tests/run");
    assert!(qpdf.status.success(), "{}", String::from_utf8_lossy(&qpdf.stdout));
    let text =
        Command::new("pdftotext").arg(&path).arg("-").output().expect("pdftotext is installed by tests/run");
    assert!(String::from_utf8_lossy(&text.stdout).contains("Mercy Radiology"));
}

#[tokio::test]
async fn protected_files_hold_unless_they_open_without_a_password() {
    let folder = tempfile::tempdir().unwrap();
    let shop = workshop(limits());
    let plain = folder.path().join("plain.pdf");
    std::fs::write(&plain, saved(document(&["secret page"]))).unwrap();
    for (bits, password) in
        [("256", "hunter2"), ("128", "hunter2"), ("40", "hunter2"), ("256", ""), ("128", "")]
    {
        let locked = folder.path().join("locked.pdf");
        let qpdf = Command::new("qpdf")
            .args(["--allow-weak-crypto", "--encrypt", password, "owner", bits, "--"])
            .args([&plain, &locked])
            .output()
            .expect("qpdf is installed by tests/run");
        assert!(qpdf.status.success(), "{}", String::from_utf8_lossy(&qpdf.stderr));
        let mut bench = open_file(&shop, &std::fs::read(&locked).unwrap()).await.unwrap();
        if password.is_empty() {
            assert_eq!(bench.contents().hold, None, "{bits} bits, no password");
            let mut file = Vec::new();
            bench.make(front(&pdf(&["cover"])), None, &mut file).await.unwrap();
            inspect(folder.path(), &file, &["cover", "secret page"]);
        } else {
            let hold = bench.contents().hold.clone().unwrap_or_default();
            assert!(hold.contains("protected by a password"), "{bits} bits: {hold:?}");
        }
    }
}

#[tokio::test]
async fn what_other_programs_write_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let shop = workshop(limits());
    let plain = folder.path().join("plain.pdf");
    std::fs::write(&plain, saved(document(&["one", "two"]))).unwrap();
    for options in [
        &["--linearize"][..],
        &["--object-streams=generate"],
        &["--object-streams=generate", "--linearize"],
        &["--qdf"],
        &["--newline-before-endstream", "--min-version=1.3"],
        &["--recompress-flate", "--compression-level=9"],
    ] {
        let other = folder.path().join("other.pdf");
        let qpdf =
            Command::new("qpdf").args(options).args([&plain, &other]).status().expect("qpdf is installed");
        assert!(qpdf.success());
        let mut bench = open_file(&shop, &std::fs::read(&other).unwrap()).await.unwrap();
        assert_eq!(bench.contents().hold, None, "{options:?}");
        let mut file = Vec::new();
        bench.make(front(&pdf(&["cover"])), None, &mut file).await.unwrap();
        inspect(folder.path(), &file, &["cover", "one", "two"]);
    }
}

#[tokio::test]
async fn a_child_over_its_memory_is_a_verdict_and_the_next_document_is_served() {
    let shop = workshop(WorkshopLimits { workers: 1, memory: 160 << 20, ..limits() });
    let big = vec![b' '; 200 << 20];
    let error = open_file(&shop, &big).await.unwrap_err();
    let WorkshopError::Crashed { cause } = &error else { panic!("{error:?}") };
    assert!(cause.contains("limits.worker_memory"), "{cause}");
    assert!(!error.is_ours());
    assert!(open_file(&shop, &pdf(&["x"])).await.is_ok());
}

#[tokio::test]
async fn a_child_that_takes_too_long_is_killed() {
    let shop = workshop(WorkshopLimits { workers: 1, time: Duration::from_millis(300), ..limits() });
    // A document that never ends keeps the child waiting.
    let endless = chunks(b"%PDF-1.7").chain(stream::pending());
    let began = Instant::now();
    let error = shop.open(Input::Mail, 0, endless, &Rules::default()).await.unwrap_err();
    assert!(matches!(error, WorkshopError::TimedOut(_)), "{error:?}");
    assert!(began.elapsed() < Duration::from_secs(20));
    assert!(!error.sentence().is_empty());
}

#[tokio::test]
async fn troubles_of_ours_are_told_apart() {
    struct Full;
    impl Sink for Full {
        async fn write(&mut self, _bytes: &[u8]) -> Result<(), BoxError> {
            Err("disk full".into())
        }
    }
    let shop = workshop(limits());
    let broken = stream::iter([Ok(Bytes::from_static(b"%PDF-")), Err("spool is damaged")]);
    let error = shop.open(Input::Mail, 0, broken, &Rules::default()).await.unwrap_err();
    assert!(
        matches!(&error, WorkshopError::Source(cause) if cause.to_string() == "spool is damaged"),
        "{error:?}"
    );

    let mut bench = open_file(&shop, &pdf(&["x"])).await.unwrap();
    let error = bench.make(front(&pdf(&["cover"])), None, &mut Full).await.unwrap_err();
    assert!(matches!(&error, WorkshopError::Sink(cause) if cause.to_string() == "disk full"), "{error:?}");
    assert!(error.is_ours());

    let nowhere = Workshop::new("/nonexistent/faxbridge".into(), limits());
    let error = open_file(&nowhere, &pdf(&["x"])).await.unwrap_err();
    assert!(matches!(error, WorkshopError::Start(_)) && error.is_ours());
}

#[tokio::test]
async fn many_at_once_wait_for_the_few_children() {
    let shop = workshop(limits());
    let work = (0..60).map(|number| {
        let shop = shop.clone();
        async move {
            let text = format!("document {number}");
            let mut bench = open_file(&shop, &pdf(&[&text])).await.unwrap();
            let mut file = Vec::new();
            bench.make(front(&pdf(&["cover"])), None, &mut file).await.unwrap();
            assert!(samples::says(&file, &text));
        }
    });
    futures_util::future::join_all(work).await;
}
