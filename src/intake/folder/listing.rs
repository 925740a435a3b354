//! What lies in a folder, and what it holds: looked at and read through its descriptor.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};

use aws_lc_rs::digest;

use super::claim::REFUSED;
use super::evidence::{Look, Print};
use crate::shared_folder::{Dir, RESULTS, names};
use crate::text::hex;

/// Bytes read at a time.
const CHUNK: usize = 256 << 10;

/// What lies under these names, without what is nobody's business.
pub(super) fn look_at(
    root: &Dir,
    names: Vec<OsString>,
    is_temporary: &impl Fn(&str) -> bool,
) -> io::Result<Vec<(OsString, Print, Look)>> {
    let mut entries = Vec::new();
    for name in names {
        if is_silent(&name) {
            continue;
        }
        if let Some(facts) = root.look(&name)? {
            // A client's sign that something else is whole.
            if facts.bytes == 0 && names::is_marker(&name.to_string_lossy()) {
                continue;
            }
            let look = Look::of(&facts, is_temporary(&name.to_string_lossy()));
            entries.push((name, Print::of(&facts), look));
        }
    }
    Ok(entries)
}

/// Our own folders, hidden files, and what desktops leave behind by themselves: nobody waits for an answer about those.
fn is_silent(name: &OsStr) -> bool {
    const DESKTOPS: [&str; 6] = [
        "thumbs.db",
        "ehthumbs.db",
        "desktop.ini",
        "$recycle.bin",
        "lost+found",
        "system volume information",
    ];
    if name == RESULTS || name == REFUSED {
        return true;
    }
    let name = name.to_string_lossy().to_ascii_lowercase();
    name.starts_with('.') || name.starts_with("~$") || DESKTOPS.contains(&&*name)
}

pub(super) fn read(mut file: File) -> io::Result<(Vec<u8>, File)> {
    let mut chunk = vec![0; CHUNK];
    let length = file.read(&mut chunk)?;
    chunk.truncate(length);
    Ok((chunk, file))
}

pub(super) fn digest_of(root: &Dir, name: &OsStr, limit: u64) -> io::Result<Option<String>> {
    let Some((file, _)) = root.open_plain(name)? else { return Ok(None) };
    let (mut file, mut digest) = (file.take(limit), digest::Context::new(&digest::SHA256));
    let mut chunk = vec![0; CHUNK];
    loop {
        let length = file.read(&mut chunk)?;
        match chunk.get(..length) {
            Some(bytes) if !bytes.is_empty() => digest.update(bytes),
            _ => return Ok(Some(hex(digest.finish().as_ref()))),
        }
    }
}
