//! The record folder: what the simulator received and what it "printed".
//!
//! ```text
//! ID.pdf        what came out at the far end, for faxes of which at least one page arrived
//! ID.json       the fax as it ended: reference, number, pages counted in the PDF, digest, times, outcome
//! calls.jsonl   one line for each thing that happened, in order; only ever appended to
//! .copies/      documents of faxes as received; emptied at the start, and one by one as clients delete them
//! ```
//!
//! `ID.pdf` and `ID.json` appear whole or not at all. This is the far end's paper: unlike everything else in this program,
//! it is meant to be readable on disk.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::digest;
use serde::Serialize;
use tokio::io::AsyncWriteExt;
use tokio::sync::Semaphore;

use super::book::Fax;
use crate::text::hex;

/// Streams of one document may unpack to this much while its pages are counted.
const UNPACKED_AT_MOST: usize = 64 << 20;

/// The record folder, open.
pub(super) struct Records {
    dir: PathBuf,
    /// Printed pages stay when the client deletes its copy.
    keep: bool,
    calls: Mutex<File>,
    /// A PDF is read whole to count its pages: two at once at most.
    counting: Semaphore,
}

impl Records {
    pub(super) fn open(dir: &Path, keep: bool) -> io::Result<Self> {
        let copies = dir.join(".copies");
        if copies.exists() {
            fs::remove_dir_all(&copies)?;
        }
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&copies)?;
        let calls = OpenOptions::new().append(true).create(true).mode(0o600).open(dir.join("calls.jsonl"))?;
        Ok(Records { dir: dir.to_owned(), keep, calls: Mutex::new(calls), counting: Semaphore::new(2) })
    }

    /// A file for the document of fax `id` while it comes in.
    pub(super) async fn receive(&self, id: &str) -> io::Result<Incoming> {
        let path = self.dir.join(".copies").join(format!("{id}.part"));
        let file = tokio::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).await?;
        let digest = digest::Context::new(&digest::SHA256);
        Ok(Incoming { file, path, digest, bytes: 0, sha256: String::new(), whole: None })
    }

    /// The document of fax `id`, which came at once; empty where it is still to come.
    pub(super) async fn store(&self, id: &str, bytes: &[u8]) -> io::Result<Incoming> {
        let mut document = self.receive(id).await?;
        document.write(bytes).await?;
        document.finish().await?;
        Ok(document)
    }

    /// Pages of the document of fax `id`; `None` when it is no PDF that can be read.
    pub(super) async fn count_pages(&self, id: &str) -> Option<u32> {
        let _turn = self.counting.acquire().await.ok()?;
        let path = self.copy(id);
        let pages = tokio::task::spawn_blocking(move || {
            let options =
                lopdf::LoadOptions { max_decompressed_size: Some(UNPACKED_AT_MOST), ..Default::default() };
            lopdf::Document::load_with_options(path, options).ok().map(|document| document.get_pages().len())
        });
        u32::try_from(pages.await.ok()??).ok().filter(|pages| *pages > 0)
    }

    /// The document of fax `id`, if it is still there and has at most `at_most` bytes.
    pub(super) async fn small_copy(&self, id: &str, at_most: u64) -> Option<Vec<u8>> {
        let path = self.copy(id);
        let size = tokio::fs::metadata(&path).await.ok()?.len();
        if size > at_most { None } else { tokio::fs::read(path).await.ok() }
    }

    /// Lets the document of fax `id` come out at the far end.
    pub(super) async fn print(&self, id: &str) -> io::Result<()> {
        let paper = self.dir.join(format!("{id}.pdf"));
        if tokio::fs::hard_link(self.copy(id), &paper).await.is_ok() {
            return Ok(());
        }
        // A file system without hard links.
        let half = self.dir.join(format!(".{id}.pdf"));
        tokio::fs::copy(self.copy(id), &half).await?;
        tokio::fs::rename(half, paper).await
    }

    /// Writes `ID.json`, in place of an older one.
    pub(super) async fn note(&self, fax: &Fax) -> io::Result<()> {
        let half = self.dir.join(format!(".{}.json", fax.id));
        let mut options = tokio::fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&half).await?;
        file.write_all(&serde_json::to_vec_pretty(fax).map_err(io::Error::other)?).await?;
        file.flush().await?;
        tokio::fs::rename(half, self.dir.join(format!("{}.json", fax.id))).await
    }

    /// Appends one line to `calls.jsonl`.
    pub(super) fn log(&self, line: &impl Serialize) -> io::Result<()> {
        let mut text = serde_json::to_string(line).map_err(io::Error::other)?;
        text.push('\n');
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).write_all(text.as_bytes())
    }

    /// Removes the client's copy, and the paper unless that is to be kept.
    pub(super) async fn delete(&self, id: &str) -> io::Result<()> {
        self.forget(id).await?;
        if self.keep { Ok(()) } else { remove(&self.dir.join(format!("{id}.pdf"))).await }
    }

    /// Removes the copy of a fax that the book no longer holds.
    pub(super) async fn forget(&self, id: &str) -> io::Result<()> {
        remove(&self.copy(id)).await
    }

    fn copy(&self, id: &str) -> PathBuf {
        self.dir.join(".copies").join(format!("{id}.pdf"))
    }
}

async fn remove(path: &Path) -> io::Result<()> {
    match tokio::fs::remove_file(path).await {
        Err(fault) if fault.kind() != io::ErrorKind::NotFound => Err(fault),
        _ => Ok(()),
    }
}

/// A document coming in. Dropped before it is whole, it leaves nothing behind.
pub(super) struct Incoming {
    file: tokio::fs::File,
    path: PathBuf,
    digest: digest::Context,
    pub(super) bytes: u64,
    /// Its digest in hex, once it is whole.
    pub(super) sha256: String,
    whole: Option<PathBuf>,
}

impl Incoming {
    pub(super) async fn write(&mut self, chunk: &[u8]) -> io::Result<()> {
        self.digest.update(chunk);
        self.bytes += chunk.len() as u64;
        self.file.write_all(chunk).await
    }

    /// The document is whole. It still goes with `self` unless it is [kept](Incoming::keep).
    pub(super) async fn finish(&mut self) -> io::Result<()> {
        self.file.flush().await?;
        let whole = self.path.with_extension("pdf");
        tokio::fs::rename(&self.path, &whole).await?;
        self.whole = Some(whole);
        self.sha256 = hex(self.digest.clone().finish().as_ref());
        Ok(())
    }

    /// The fax is in the book: its document stays.
    pub(super) fn keep(mut self) {
        self.path = PathBuf::new();
        self.whole = None;
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        let path = self.whole.as_ref().unwrap_or(&self.path);
        if !path.as_os_str().is_empty() {
            let _ = fs::remove_file(path);
        }
    }
}
