//! The container: the file that leaves, joined from what is sealed.
//!
//! The pages of a Submission's documents are sealed once, and all Jobs that send the same of them share that file. What differs
//! between those Jobs is small and sealed for each: the `Front`, with cover, text, page tree and catalog. A container is the
//! two joined, in the one order that `in_order` knows. The front was written for exactly these pages: object numbers and places
//! fit already, so joining copies bytes and decides nothing. The same two files give the same container each time.
//!
//! A packet that no other Job shares is sealed as the container it is; so is every packet that was made before pages were shared.
//!
//! Whoever sends, shows or checks a packet opens a [`Container`]. What leaves is measured ([`Container::measure`]) before an Attempt
//! begins; [`Container::into_stream`] hands the last bytes out only when length and digest are those.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_lc_rs::digest;
use bytes::Bytes;
use futures_util::Stream;
use serde::{Deserialize, Serialize};

use crate::spool::{Reader, Spool, SpoolError};
use crate::text::hex;
use crate::vault::SealKey;

/// The pages that a front was written for, by the lengths of their two halves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Facing {
    /// Bytes of their objects, from the file's first byte on.
    pub objects: u64,
    /// Bytes of their lines in the cross-reference table.
    pub table: u64,
}

/// What stands before and behind shared pages in one fax.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Front {
    pub facing: Facing,
    /// Cover, text, page tree, catalog, and the beginning of the cross-reference table.
    pub head: Vec<u8>,
    /// The end of that table, and the trailer.
    pub tail: Vec<u8>,
}

/// The order in which the halves of pages and front leave.
pub(super) fn in_order<T>([objects, table]: [T; 2], [head, tail]: [T; 2]) -> [T; 4] {
    [objects, head, table, tail]
}

impl Front {
    /// Largest front that is taken: a cover and the longest text, with their fonts, are far below.
    pub(super) const MOST: u64 = 32 << 20;

    /// As it is sealed: a mark, three lengths, head, tail.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let head = (self.head.len() as u64).to_be_bytes();
        let (objects, table) = (self.facing.objects.to_be_bytes(), self.facing.table.to_be_bytes());
        [MARK, &objects, &table, &head, &self.head, &self.tail].concat()
    }

    /// Reads what [`Front::to_bytes`] wrote.
    fn parse(bytes: &[u8]) -> Option<Front> {
        let rest = bytes.strip_prefix(MARK)?;
        let (objects, rest) = rest.split_first_chunk()?;
        let (table, rest) = rest.split_first_chunk()?;
        let (head, rest) = rest.split_first_chunk()?;
        let (head, tail) = rest.split_at_checked(usize::try_from(u64::from_be_bytes(*head)).ok()?)?;
        let facing = Facing { objects: u64::from_be_bytes(*objects), table: u64::from_be_bytes(*table) };
        Some(Front { facing, head: head.to_vec(), tail: tail.to_vec() })
    }
}

/// Length and digest of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measured {
    /// Bytes.
    pub bytes: u64,
    /// SHA-256, as lower-case hex digits.
    pub sha256: String,
}

/// A container at its first byte.
#[derive(Debug)]
pub struct Container {
    reader: Reader,
    /// Read and not handed out yet.
    ready: VecDeque<Bytes>,
    joint: Joint,
}

/// What is still to be put between and behind the bytes of the reader.
#[derive(Debug)]
enum Joint {
    /// After so many bytes the first, at the end the second.
    Between(u64, Bytes, Bytes),
    /// At the end.
    Behind(Bytes),
    Nothing,
}

impl Container {
    /// Opens a packet: the sealed file that is a container whole, or with `shared` pages the front that was written for them.
    ///
    /// # Errors
    /// Where one of them is missing, damaged, or cannot be read now.
    pub async fn open(
        spool: &Spool,
        key: &SealKey,
        file: &str,
        shared: Option<&str>,
    ) -> Result<Container, SpoolError> {
        let Some(shared) = shared else {
            let reader = spool.read(key, file).await?;
            return Ok(Container { reader, ready: VecDeque::new(), joint: Joint::Nothing });
        };
        let front = spool.read(key, file).await?.read_all(Front::MOST).await?;
        let front = Front::parse(&front).ok_or_else(|| damaged(file))?;
        let reader = spool.read(key, shared).await?;
        let joint = Joint::Between(front.facing.objects, front.head.into(), front.tail.into());
        Ok(Container { reader, ready: VecDeque::new(), joint })
    }

    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// As those of [`Reader::next`]; then nothing was read.
    pub async fn next(&mut self) -> Result<Option<Bytes>, SpoolError> {
        loop {
            if let Some(piece) = self.ready.pop_front() {
                return Ok(Some(piece));
            }
            let piece = self.reader.next().await?;
            match (piece, std::mem::replace(&mut self.joint, Joint::Nothing)) {
                (Some(mut piece), Joint::Between(left, head, tail)) => match usize::try_from(left) {
                    Ok(left) if left <= piece.len() => {
                        self.ready.extend([piece.split_to(left), head, piece]);
                        self.joint = Joint::Behind(tail);
                    }
                    _ => {
                        self.joint = Joint::Between(left - piece.len() as u64, head, tail);
                        self.ready.push_back(piece);
                    }
                },
                (Some(piece), joint) => {
                    self.joint = joint;
                    self.ready.push_back(piece);
                }
                (None, Joint::Behind(tail)) => self.ready.push_back(tail),
                (None, Joint::Nothing) => return Ok(None),
                (None, Joint::Between(..)) => return Err(damaged("of shared pages")),
            }
            self.ready.retain(|piece| !piece.is_empty());
        }
    }

    /// Reads it to its end, proven, and says what it is.
    ///
    /// # Errors
    /// As those of [`Container::next`].
    pub async fn measure(mut self) -> Result<Measured, SpoolError> {
        let mut tape = Tape::default();
        while let Some(piece) = self.next().await? {
            tape.run(&piece);
        }
        Ok(tape.read())
    }

    /// Its pieces, if it is what was measured. One is always held back until the next is there, so that the last one leaves only when
    /// the whole is proven; then `whole` turns true.
    pub fn into_stream(
        self,
        expected: Measured,
        whole: Arc<AtomicBool>,
    ) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
        let begin = (self, None::<Bytes>, Tape::default());
        futures_util::stream::try_unfold(begin, move |(mut container, mut held, mut tape)| {
            let (expected, whole) = (expected.clone(), Arc::clone(&whole));
            async move {
                while let Some(next) = container.next().await.map_err(io::Error::other)? {
                    tape.run(&next);
                    if let Some(piece) = held.replace(next) {
                        return Ok(Some((piece, (container, held, tape))));
                    }
                }
                if whole.load(Ordering::Acquire) {
                    return Ok(None);
                }
                if tape.clone().read() != expected {
                    return Err(io::Error::other("the document is not the one that was measured"));
                }
                whole.store(true, Ordering::Release);
                Ok(held.take().map(|last| (last, (container, None, tape))))
            }
        })
    }
}

/// What measures bytes as they go by.
#[derive(Clone)]
struct Tape {
    bytes: u64,
    digest: digest::Context,
}

impl Default for Tape {
    fn default() -> Self {
        Tape { bytes: 0, digest: digest::Context::new(&digest::SHA256) }
    }
}

impl Tape {
    fn run(&mut self, piece: &[u8]) {
        self.bytes += piece.len() as u64;
        self.digest.update(piece);
    }

    fn read(self) -> Measured {
        Measured { bytes: self.bytes, sha256: hex(self.digest.finish().as_ref()) }
    }
}

/// Measures the containers of several fronts with the same pages, of which the objects are read once.
pub(super) struct Gauge(Tape);

impl Gauge {
    pub(super) fn new(objects: &[u8]) -> Self {
        let mut tape = Tape::default();
        tape.run(objects);
        Gauge(tape)
    }

    pub(super) fn measure(&self, front: &Front, table: &[u8]) -> Measured {
        let mut tape = self.0.clone();
        for piece in in_order([&[], table], [front.head.as_slice(), &front.tail]) {
            tape.run(piece);
        }
        tape.read()
    }
}

impl std::fmt::Debug for Gauge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Gauge").field(&self.0.bytes).finish()
    }
}

fn damaged(file: &str) -> SpoolError {
    SpoolError::Damaged { what: format!("document {file}") }
}

const MARK: &[u8] = b"faxbridge front 1\n";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::MasterKey;

    fn front() -> Front {
        let facing = Facing { objects: 100_000, table: 40 };
        Front { facing, head: b"head".to_vec(), tail: b"tail".to_vec() }
    }

    async fn sealed(spool: &Spool, key: &SealKey, bytes: &[u8]) -> String {
        let mut writer = spool.create(key).unwrap();
        writer.write(bytes).await.unwrap();
        writer.finish().await.unwrap().name
    }

    #[test]
    fn a_front_is_read_as_it_was_written_and_nothing_else_is_one() {
        let bytes = front().to_bytes();
        assert_eq!(Front::parse(&bytes), Some(front()));
        for cut in 0..bytes.len() - 8 {
            assert_eq!(Front::parse(&bytes[..cut]), None, "cut at {cut}");
        }
        assert_eq!(Front::parse(b"%PDF-1.7\n"), None);
    }

    #[tokio::test]
    async fn joined_twice_it_is_the_same_and_what_is_not_whole_ends_in_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::open(dir.path().join("spool"), MasterKey::from_bytes(&[7; 32]).unwrap()).unwrap();
        let (key, _) = spool.vault().new_key().unwrap();
        let objects: Vec<u8> = (0..100_000u32).map(|n| (n % 251) as u8).collect();
        let table = [b'x'; 40];
        let pages = sealed(&spool, &key, &[objects.as_slice(), &table].concat()).await;
        let own = sealed(&spool, &key, &front().to_bytes()).await;
        let wanted = [objects.as_slice(), b"head", &table, b"tail"].concat();

        let open = || Container::open(&spool, &key, &own, Some(&pages));
        let measured = open().await.unwrap().measure().await.unwrap();
        assert_eq!(measured, Gauge::new(&objects).measure(&front(), &table));
        assert_eq!(measured.bytes, wanted.len() as u64);
        let whole = Arc::new(AtomicBool::new(false));
        let stream = open().await.unwrap().into_stream(measured.clone(), Arc::clone(&whole));
        let pieces: Vec<Bytes> = futures_util::TryStreamExt::try_collect(stream).await.unwrap();
        assert!(pieces.concat() == wanted && whole.load(Ordering::Acquire));

        // Another digest than the one that was noted: all but the last piece leaves, and then an error.
        let other = Measured { sha256: "0".repeat(64), ..measured.clone() };
        let whole = Arc::new(AtomicBool::new(false));
        let stream = open().await.unwrap().into_stream(other, Arc::clone(&whole));
        let read: Result<Vec<Bytes>, _> = futures_util::TryStreamExt::try_collect(stream).await;
        assert!(read.is_err() && !whole.load(Ordering::Acquire));

        // A packet of its own is what lies there.
        let alone = sealed(&spool, &key, &wanted).await;
        let alone = Container::open(&spool, &key, &alone, None).await.unwrap().measure().await.unwrap();
        assert_eq!(alone, measured);

        // Pages that end before the front's place, and a front that is none.
        let short = sealed(&spool, &key, &objects[..50_000]).await;
        assert!(Container::open(&spool, &key, &own, Some(&short)).await.unwrap().measure().await.is_err());
        assert!(Container::open(&spool, &key, &pages, Some(&pages)).await.is_err());
    }
}
