//! Who reads the database, as Linux tells it in `/proc/locks`.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The bytes of the `-shm` file that a reader locks (SQLite, file format, section 4.4: WAL_READ_LOCK).
const READ_LOCKS: std::ops::RangeInclusive<u64> = 123..=127;

/// The processes, others than this one, that read the database whose `-shm` file is at `shared`: as `process 12 (python3)`. None
/// where the system does not tell.
pub(super) fn readers(shared: &Path) -> Vec<String> {
    let (Ok(facts), Ok(locks)) = (std::fs::metadata(shared), std::fs::read_to_string("/proc/locks")) else {
        return Vec::new();
    };
    let mut found = in_text(&locks, facts.ino());
    found.retain(|process| *process != std::process::id());
    found.into_iter().map(named).collect()
}

/// Processes that hold a reader's lock on the file `inode`, in lines as `1: POSIX  ADVISORY  READ 12 fe:01:345 124 124`.
fn in_text(locks: &str, inode: u64) -> Vec<u32> {
    let mut found: Vec<u32> = locks.lines().filter_map(|line| reader_in(line, inode)).collect();
    found.sort_unstable();
    found.dedup();
    found
}

fn reader_in(line: &str, inode: u64) -> Option<u32> {
    let mut words = line.split_ascii_whitespace().skip(4);
    let (process, file, start) = (words.next()?, words.next()?, words.next()?);
    let on_it = file.rsplit(':').next()?.parse() == Ok(inode);
    let reads = start.parse().is_ok_and(|start: u64| READ_LOCKS.contains(&start));
    // 0 stands for one in another container.
    process.parse().ok().filter(|process| on_it && reads && *process != 0)
}

fn named(process: u32) -> String {
    let name = std::fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default();
    let name: String = name.trim().chars().filter(char::is_ascii_graphic).collect();
    if name.is_empty() { format!("process {process}") } else { format!("process {process} ({name})") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_are_found_among_other_locks() {
        let locks = "1: POSIX  ADVISORY  READ 71 fe:01:345 124 124\n\
                     2: POSIX  ADVISORY  READ 71 fe:01:345 128 128\n\
                     3: POSIX  ADVISORY  WRITE 72 fe:01:345 120 120\n\
                     4: FLOCK  ADVISORY  WRITE 73 fe:01:345 0 EOF\n\
                     5: POSIX  ADVISORY  READ 74 fe:01:999 124 124\n\
                     5: -> POSIX  ADVISORY  READ 75 fe:01:345 124 124\n\
                     6: POSIX  ADVISORY  READ 70 fe:01:345 127 127\n\
                     7: OFDLCK ADVISORY READ -1 fe:01:345 124 124\nrubbish\n";
        assert_eq!(in_text(locks, 345), [70, 71]);
    }
}
