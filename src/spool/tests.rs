use std::os::unix::fs::PermissionsExt;

use futures_util::TryStreamExt;
use proptest::prelude::*;
use tempfile::TempDir;

use super::seal::{CHUNK, HEADER, SLOT, TAG};
use super::*;

/// A spool on a disk of its own, with what a test needs to tamper with it.
struct Rig {
    dir: TempDir,
    spool: Spool,
    key: SealKey,
    runtime: tokio::runtime::Runtime,
}

impl Rig {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::open(dir.path().join("spool"), master(7)).unwrap();
        let (key, _) = spool.vault().new_key().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        Rig { dir, spool, key, runtime }
    }

    fn write(&self, document: &[u8], piece: usize) -> Sealed {
        self.runtime.block_on(async {
            let mut writer = self.spool.create(&self.key).unwrap();
            for bytes in document.chunks(piece.max(1)) {
                writer.write(bytes).await.unwrap();
            }
            assert_eq!(writer.written(), document.len() as u64);
            writer.finish().await.unwrap()
        })
    }

    fn read_with(&self, key: &SealKey, name: &str) -> Result<Vec<u8>, SpoolError> {
        self.runtime.block_on(async { self.spool.read(key, name).await?.read_all(u64::MAX).await })
    }

    fn read(&self, name: &str) -> Result<Vec<u8>, SpoolError> {
        self.read_with(&self.key, name)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.spool.path(name).unwrap()
    }
}

fn master(byte: u8) -> MasterKey {
    MasterKey::from_bytes(&[byte; 32]).unwrap()
}

fn document(length: usize) -> Vec<u8> {
    (0..length).map(|at| u8::try_from((at * 31 + at / 251) % 256).unwrap()).collect()
}

fn sha256(bytes: &[u8]) -> Vec<u8> {
    aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref().to_vec()
}

/// Lengths at and round every edge of chunks and blocks, and any other.
fn lengths() -> impl Strategy<Value = usize> {
    prop_oneof![
        3 => (0usize..6, 0usize..4).prop_map(|(chunks, near)| (chunks * CHUNK + near).saturating_sub(2)),
        1 => 0usize..5 * CHUNK,
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn what_was_written_is_read(length in lengths(), piece in prop_oneof![Just(usize::MAX), 1000usize..200_000]) {
        let rig = Rig::new();
        let document = document(length);
        let sealed = rig.write(&document, piece);
        prop_assert_eq!(sealed.bytes, length as u64);
        prop_assert_eq!(sealed.sha256.to_vec(), sha256(&document));
        let file = fs::read(rig.path(&sealed.name)).unwrap();
        prop_assert_eq!(file.len(), HEADER + length + TAG * length.div_ceil(CHUNK).max(1));
        prop_assert!(rig.read(&sealed.name).unwrap() == document);
    }

    #[test]
    fn every_kind_of_tampering_is_refused(
        length in lengths(),
        place in any::<prop::sample::Index>(),
        bit in 0u8..8,
        extra in prop::collection::vec(any::<u8>(), 1..40),
        (one, other) in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
    ) {
        let rig = Rig::new();
        let sealed = rig.write(&document(length), usize::MAX);
        let path = rig.path(&sealed.name);
        let whole = fs::read(&path).unwrap();
        let refused = |what: &str, bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            let read = rig.read(&sealed.name);
            assert!(matches!(read, Err(SpoolError::Damaged { .. })), "{what}: {:?}", read.map(|d| d.len()));
        };

        let mut flipped = whole.clone();
        flipped[place.index(whole.len())] ^= 1 << bit;
        refused("a flipped bit", &flipped);
        let mut flipped = whole.clone();
        flipped[place.index(HEADER)] ^= 1 << bit;
        refused("a flipped bit in the header", &flipped);
        refused("cut anywhere", &whole[..place.index(whole.len())]);
        refused("bytes behind the end", &[&whole[..], &extra].concat());
        refused("a zero behind the end", &[&whole[..], &[0]].concat());

        let (header, body) = whole.split_at(HEADER);
        let chunks: Vec<&[u8]> = body.chunks(SLOT).collect();
        let join = |chunks: &[&[u8]]| [header, &chunks.concat()].concat();
        for keep in 0..chunks.len() {
            refused("cut between two chunks", &join(&chunks[..keep]));
        }
        refused("the last chunk twice", &join(&[&chunks[..], &chunks[chunks.len() - 1..]].concat()));
        let (one, other) = (one.index(chunks.len()), other.index(chunks.len()));
        let mut doubled = chunks.clone();
        doubled.insert(one, chunks[one]);
        refused("a chunk twice", &join(&doubled));
        let mut dropped = chunks.clone();
        dropped.remove(one);
        refused("a chunk dropped", &join(&dropped));
        if one != other {
            let mut moved = chunks.clone();
            moved.swap(one, other);
            refused("two chunks exchanged", &join(&moved));
        }

        fs::write(&path, &whole).unwrap();
        prop_assert!(rig.read(&sealed.name).is_ok(), "untouched again, it opens");
    }

    #[test]
    fn small_values_open_under_their_key_and_context_only(
        plain in prop::collection::vec(any::<u8>(), 0..200),
        place in any::<prop::sample::Index>(),
        bit in 0u8..8,
    ) {
        let rig = Rig::new();
        let (other, _) = rig.spool.vault().new_key().unwrap();
        let sealed = rig.key.seal("subject", &plain).unwrap();
        prop_assert_eq!(&rig.key.open("subject", &sealed).unwrap(), &plain);
        prop_assert!(rig.key.open("file", &sealed).is_err());
        prop_assert!(other.open("subject", &sealed).is_err());
        prop_assert!(rig.spool.vault().open("subject", &sealed).is_err());
        let mut flipped = sealed.clone();
        flipped[place.index(sealed.len())] ^= 1 << bit;
        prop_assert!(rig.key.open("subject", &flipped).is_err());
        prop_assert!(rig.key.open("subject", &sealed[..place.index(sealed.len())]).is_err());

        let sealed = rig.spool.vault().seal("result", &plain).unwrap();
        prop_assert_eq!(&rig.spool.vault().open("result", &sealed).unwrap(), &plain);
        prop_assert!(rig.spool.vault().open("other", &sealed).is_err());
    }
}

#[test]
fn a_document_opens_under_its_own_key_only() {
    let rig = Rig::new();
    let sealed = rig.write(&document(100_000), usize::MAX);
    let (other, _) = rig.spool.vault().new_key().unwrap();
    assert!(matches!(rig.read_with(&other, &sealed.name), Err(SpoolError::Damaged { .. })));

    // A whole chunk of another document of the same submission does not fit either: each has its own salt.
    let second = rig.write(&document(100_000), usize::MAX);
    let (one, two) = (fs::read(rig.path(&sealed.name)).unwrap(), fs::read(rig.path(&second.name)).unwrap());
    assert_ne!(one[HEADER..], two[HEADER..], "the same document never looks the same");
    fs::write(rig.path(&sealed.name), [&one[..HEADER + SLOT], &two[HEADER + SLOT..]].concat()).unwrap();
    assert!(matches!(rig.read(&sealed.name), Err(SpoolError::Damaged { .. })));
}

#[test]
fn a_wrong_master_key_is_recognised_at_open() {
    let rig = Rig::new();
    let dir = rig.dir.path().join("spool");
    assert!(Spool::open(dir.clone(), master(7)).is_ok());
    let error = Spool::open(dir.clone(), master(8)).unwrap_err();
    assert!(error.to_string().starts_with("the master key is not the one that the spool in /"), "{error}");
    fs::write(dir.join(KEY_CHECK), b"").unwrap();
    assert!(matches!(Spool::open(dir, master(7)), Err(SpoolError::WrongMasterKey { .. })));
}

#[tokio::test]
async fn a_writer_that_is_dropped_leaves_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::open(dir.path().join("spool"), master(7)).unwrap();
    let (key, _) = spool.vault().new_key().unwrap();
    let mut writer = spool.create(&key).unwrap();
    writer.write(&document(5 * CHUNK)).await.unwrap();
    assert_eq!(spool.list().unwrap().len(), 1);
    // The block that is being written ends first, on its own thread.
    drop(writer);
    let (limit, mut left) = (std::time::Instant::now() + std::time::Duration::from_secs(20), 1);
    while left > 0 && std::time::Instant::now() < limit {
        tokio::task::yield_now().await;
        left = spool.list().unwrap().len();
    }
    assert_eq!(left, 0);
}

#[tokio::test]
async fn a_document_that_a_row_may_name_outlives_who_wrote_it() {
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::open(dir.path().join("spool"), master(7)).unwrap();
    let (key, _) = spool.vault().new_key().unwrap();
    for named in [true, false] {
        let rest = spool.create(&key).unwrap().seal().await.unwrap().rest().await.unwrap();
        let path = spool.path(&rest.sealed.name).unwrap();
        let rest = rest.perhaps_named();
        drop(if named { rest } else { rest.unnamed() });
        assert_eq!(path.exists(), named);
    }
}

#[test]
fn a_writer_that_goes_while_its_file_is_being_made_leaves_none() {
    // One thread for files, and it is held up: the file is made only after the writer has gone.
    let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::open(dir.path().join("spool"), master(7)).unwrap();
    let (key, _) = spool.vault().new_key().unwrap();
    runtime.block_on(async {
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let busy = tokio::task::spawn_blocking(move || wait.recv());
        let mut writer = spool.create(&key).unwrap();
        writer.write(&document(3 * CHUNK)).await.unwrap();
        drop(writer);
        go.send(()).unwrap();
        busy.await.unwrap().unwrap();
        // Behind it in the queue.
        tokio::task::spawn_blocking(|| ()).await.unwrap();
    });
    assert!(dir.path().join("spool").read_dir().unwrap().count() > 1, "its folder shows that it was made");
    assert_eq!(spool.list().unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn documents_are_private_listed_streamed_and_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::open(dir.path().join("spool"), master(7)).unwrap();
    let (key, _) = spool.vault().new_key().unwrap();
    let mut writer = spool.create(&key).unwrap();
    writer.write(b"page").await.unwrap();
    let sealed = writer.finish().await.unwrap();
    assert_eq!(sealed.name.len(), 26);

    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let path = spool.path(&sealed.name).unwrap();
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    assert_eq!(mode(&dir.path().join("spool")), 0o700);
    assert_eq!(spool.list().unwrap(), std::slice::from_ref(&sealed.name));
    assert!(spool.free_bytes().unwrap() > 0);

    let pieces: Vec<_> =
        spool.read(&key, &sealed.name).await.unwrap().into_stream().try_collect().await.unwrap();
    assert_eq!(pieces, ["page"]);
    let short = spool.read(&key, &sealed.name).await.unwrap().read_all(3).await;
    assert!(matches!(short, Err(SpoolError::TooLarge { at_most: 3, .. })));

    spool.forget(&sealed.name).await.unwrap();
    spool.forget(&sealed.name).await.unwrap();
    assert!(matches!(spool.read(&key, &sealed.name).await, Err(SpoolError::Missing { .. })));
}

#[tokio::test]
async fn an_empty_document_is_a_document() {
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::open(dir.path().join("spool"), master(7)).unwrap();
    let (key, _) = spool.vault().new_key().unwrap();
    let sealed = spool.create(&key).unwrap().finish().await.unwrap();
    let mut reader = spool.read(&key, &sealed.name).await.unwrap();
    assert_eq!(reader.next().await.unwrap(), None);
    assert_eq!(reader.next().await.unwrap(), None);
}

#[tokio::test]
async fn names_from_outside_never_become_paths() {
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::open(dir.path().join("spool"), master(7)).unwrap();
    let (key, _) = spool.vault().new_key().unwrap();
    for name in [
        "",
        "..",
        "../key-check",
        "a/../../../../../etc/passwd",
        "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
        "ééééééééééééé",
        "\0",
    ] {
        assert!(matches!(spool.read(&key, name).await, Err(SpoolError::BadName)), "{name}");
        assert!(matches!(spool.forget(name).await, Err(SpoolError::BadName)), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_writers_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::open(dir.path().join("spool"), master(7)).unwrap();
    let (key, _) = spool.vault().new_key().unwrap();
    let writers = (0..100usize).map(|nth| {
        let (spool, key) = (spool.clone(), key.clone());
        tokio::spawn(async move {
            let mut writer = spool.create(&key).unwrap();
            let document = document(nth * 3001);
            for piece in document.chunks(8000) {
                writer.write(piece).await.unwrap();
            }
            let sealed = writer.finish().await.unwrap();
            let read = spool.read(&key, &sealed.name).await.unwrap().read_all(u64::MAX).await.unwrap();
            assert!(read == document);
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    assert_eq!(spool.list().unwrap().len(), 100);
}

#[tokio::test]
async fn a_full_disk_is_told_apart() {
    // The device that is always full stands in for a disk that is.
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (key, sync) = (
        Vault::new(&master(7)).unwrap().new_key().unwrap().0,
        Arc::new(DirectorySync::new(dir.path().to_owned())),
    );
    fs::create_dir(dir.path().join("ab")).unwrap();
    let path = dir.path().join("ab/unused");
    let writer = Writer::new("ab".into(), path, sync, seal::Sealer::new(&key).unwrap());
    let mut writer = writer.into_file(full);
    let mut told = false;
    for _ in 0..10 {
        if let Err(error) = writer.write(&document(CHUNK)).await {
            assert!(error.is_full(), "{error}");
            told = true;
            break;
        }
    }
    assert!(told, "a stream ends soon after the disk is full");
    assert!(matches!(writer.write(b"more").await, Err(SpoolError::BrokenOff)));
    assert!(matches!(writer.finish().await, Err(SpoolError::BrokenOff)));
}

#[test]
fn whoever_hands_over_files_keeps_leftovers_from_being_cleared_away() {
    let rig = Rig::new();
    // Two handles of the same lock file, as two processes have them.
    let other = Spool::open(rig.dir.path().join("spool"), master(7)).unwrap();
    let visit = other.visit().unwrap();
    assert!(other.visit().is_ok(), "visitors do not mind each other");
    assert!(rig.spool.alone().unwrap().is_none());
    drop(visit);
    assert!(rig.spool.alone().unwrap().is_some());
}
