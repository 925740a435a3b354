//! What a path over SFTP may mean, and which file names are not final yet. Pure.
//!
//! The tree is virtual: `/`, `/in`, `/results`, and the files in those two. A path is taken apart here and never handed
//! to the operating system, so there is nothing it could lead to outside of these three.

use crate::config::NamePattern;

/// Longest name of a file, in bytes; what most file systems allow, so that results can be stored under it anywhere.
const LONGEST_NAME: usize = 255;

/// Longest path that is taken apart, in bytes.
const LONGEST_PATH: usize = 4096;

/// What a path means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// `/`
    Root,
    /// `/in`
    In,
    /// `/results`
    Results,
    /// A file in `/in`, by name.
    Upload(String),
    /// A file in `/results`, by name.
    Result(String),
    /// Well-formed, but there is nothing and never will be.
    Nowhere,
}

/// Why a name cannot be one of a file here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadName {
    /// Zero bytes.
    #[error("a file needs a name")]
    Empty,
    /// Over 255 bytes, or a path over 4096.
    #[error("this name is too long: 255 bytes are allowed")]
    Long,
    /// `/` within a name; only results of other systems could bring that.
    #[error("a name cannot contain a slash")]
    Slash,
    /// `.` or `..`.
    #[error("this name means a folder, not a file")]
    Dots,
    /// NUL, line ends and their like.
    #[error("this name contains control characters; rename the file")]
    Control,
    /// Bytes that are no UTF-8 arrive as U+FFFD.
    #[error("this name is not valid UTF-8; rename the file or set the client to UTF-8")]
    Encoding,
}

/// Whether `name` may be the name of a file.
pub(crate) fn check(name: &str) -> Result<(), BadName> {
    if name.is_empty() {
        return Err(BadName::Empty);
    }
    if name == "." || name == ".." {
        return Err(BadName::Dots);
    }
    if name.contains('/') {
        return Err(BadName::Slash);
    }
    check_characters(name)?;
    if name.len() > LONGEST_NAME {
        return Err(BadName::Long);
    }
    Ok(())
}

/// Takes a path apart. Relative paths start at `/`; `.` and `..` are resolved here, and `..` of the root is the root.
pub(crate) fn place(path: &str) -> Result<Place, BadName> {
    Ok(match components(path)?.as_slice() {
        [] => Place::Root,
        ["in"] => Place::In,
        ["results"] => Place::Results,
        ["in", name] => Place::Upload((*name).to_owned()),
        ["results", name] => Place::Result((*name).to_owned()),
        _ => Place::Nowhere,
    })
}

/// The path as it reads from the root, for SSH_FXP_REALPATH.
pub(crate) fn absolute(path: &str) -> Result<String, BadName> {
    Ok(format!("/{}", components(path)?.join("/")))
}

/// Endings that clients give to a file while it is not whole.
///
/// WinSCP, FileZilla, rclone, lftp, Camel, Spring, Mule, Axway, SyncBack, Hadoop, browsers, office programs, editors and people.
const TEMPORARY_ENDINGS: &[&str] = &[
    ".part",
    ".partial",
    ".filepart",
    ".tmp",
    ".temp",
    "._tmp",
    ".$$$",
    ".inprogress",
    ".in-progress",
    ".incomplete",
    ".progress",
    ".pending",
    ".processing",
    ".lock",
    ".lck",
    ".new",
    ".bak",
    ".filing",
    ".crdownload",
    ".download",
    ".opdownload",
    ".upload",
    ".uploading",
    ".transfer",
    ".transferring",
    ".writing",
    ".sending",
    "._copying_",
    ".swp",
    ".swx",
    "~",
];

/// The same in front of the name.
const TEMPORARY_BEGINNINGS: &[&str] =
    &[".", "~", "_", "tmp_", "tmp-", "temp_", "temp-", "inprogress-", "inprogress_", "camel.tmp."];

/// Endings of documents, behind which a client may hang something random (Cyberduck: `NAME-RANDOM`).
const DOCUMENTS: &[&str] = &[
    ".pdf", ".tif", ".tiff", ".png", ".jpg", ".jpeg", ".txt", ".ps", ".pcl", ".zip", ".json", ".xml", ".csv",
];

/// Endings of the empty files by which clients say that another file, or all of a batch, is there.
const MARKERS: &[&str] =
    &[".done", ".ok", ".eof", ".ready", ".rdy", ".trg", ".trigger", ".go", ".fin", ".flag", ".sem"];

/// Whether a client will rename a file of this name when it is whole: it counts only then.
///
/// `temporary` are further such names, and `finals` names that count at once whatever they look like: both as configured.
pub(crate) fn is_temporary(name: &str, temporary: &[NamePattern], finals: &[NamePattern]) -> bool {
    if finals.iter().any(|pattern| pattern.matches(name)) {
        return false;
    }
    temporary.iter().any(|pattern| pattern.matches(name)) || looks_temporary(&name.to_ascii_lowercase())
}

/// Whether an empty file of this name is a client's sign that something else is whole.
pub(crate) fn is_marker(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    MARKERS.iter().any(|ending| name.ends_with(ending))
}

fn looks_temporary(lower: &str) -> bool {
    TEMPORARY_ENDINGS.iter().any(|ending| lower.ends_with(ending))
        || TEMPORARY_BEGINNINGS.iter().any(|beginning| lower.starts_with(beginning))
        || has_random_tail(lower)
}

/// `a.pdf-1a2b3c4d` or with a whole UUID (Cyberduck), `a.pdf.sb-1234abcd-xyz123` (macOS).
fn has_random_tail(lower: &str) -> bool {
    let random = |tail: &str| {
        (6..=36).contains(&tail.len())
            && tail.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    if lower.rsplit_once(".sb-").is_some_and(|(_, tail)| random(tail)) {
        return true;
    }
    let behind =
        |ending: &&str| lower.rsplit_once(&format!("{ending}-")).is_some_and(|(_, tail)| random(tail));
    DOCUMENTS.iter().any(behind)
}

fn components(path: &str) -> Result<Vec<&str>, BadName> {
    if path.len() > LONGEST_PATH {
        return Err(BadName::Long);
    }
    check_characters(path)?;
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part if part.len() > LONGEST_NAME => return Err(BadName::Long),
            part => parts.push(part),
        }
    }
    Ok(parts)
}

/// Besides control characters, those that reorder or hide text in a listing are refused: a name ends up on screens.
fn check_characters(text: &str) -> Result<(), BadName> {
    if text.contains(char::REPLACEMENT_CHARACTER) {
        return Err(BadName::Encoding);
    }
    let deceives =
        |c: char| matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if text.chars().any(|c| c.is_control() || deceives(c)) {
        return Err(BadName::Control);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_to_places_of_the_tree_and_nowhere_else() {
        let upload = |name: &str| Ok(Place::Upload(name.to_owned()));
        let long = "x".repeat(256);
        let table: &[(&str, Result<Place, BadName>)] = &[
            ("", Ok(Place::Root)),
            (".", Ok(Place::Root)),
            ("/", Ok(Place::Root)),
            ("//", Ok(Place::Root)),
            ("/..", Ok(Place::Root)),
            ("../../..", Ok(Place::Root)),
            ("/in", Ok(Place::In)),
            ("in/", Ok(Place::In)),
            ("/results/../in/.", Ok(Place::In)),
            ("/in/../../results", Ok(Place::Results)),
            ("in/a.pdf", upload("a.pdf")),
            ("/in/a.pdf", upload("a.pdf")),
            ("/../in/a.pdf", upload("a.pdf")),
            ("/in/../../../in//a.pdf", upload("a.pdf")),
            ("/in/..\\..\\etc\\passwd", upload("..\\..\\etc\\passwd")),
            ("/in/%2e%2e%2fetc", upload("%2e%2e%2fetc")),
            ("/results/a.json", Ok(Place::Result("a.json".into()))),
            ("/in/../../../../etc/passwd", Ok(Place::Nowhere)),
            ("../../etc/passwd", Ok(Place::Nowhere)),
            ("/etc/passwd", Ok(Place::Nowhere)),
            ("/in/sub/a.pdf", Ok(Place::Nowhere)),
            ("/IN", Ok(Place::Nowhere)),
            ("~root", Ok(Place::Nowhere)),
            ("/in/a\0.pdf", Err(BadName::Control)),
            ("/in/a\n.pdf", Err(BadName::Control)),
            ("/in/a\u{202e}fdp.exe", Err(BadName::Control)),
            ("/in/a\u{fffd}\u{fffd}etc", Err(BadName::Encoding)),
            (&long, Err(BadName::Long)),
            (&"a/../".repeat(1000), Err(BadName::Long)),
        ];
        for (path, meaning) in table {
            assert_eq!(&place(path), meaning, "{path:?}");
        }
    }

    #[test]
    fn real_paths_are_absolute_and_normal() {
        assert_eq!(absolute("."), Ok("/".into()));
        assert_eq!(absolute("in/../in/a.pdf"), Ok("/in/a.pdf".into()));
        assert_eq!(absolute("../x"), Ok("/x".into()));
    }

    #[test]
    fn names_of_results_are_checked_too() {
        assert_eq!(check("a.json"), Ok(()));
        assert_eq!(check(""), Err(BadName::Empty));
        assert_eq!(check(".."), Err(BadName::Dots));
        assert_eq!(check("a/b"), Err(BadName::Slash));
        assert_eq!(check(&"ä".repeat(128)), Err(BadName::Long));
    }

    #[test]
    fn temporary_names() {
        let temporary = [
            "a.pdf.part",
            "a.pdf.tmp",
            "a.pdf.filepart",
            "A.PDF.PART",
            ".a.pdf",
            ".a.pdf.Xy12ab",
            "~$letter.docx",
            "~a.pdf",
            "_a.pdf",
            "tmp_a.pdf",
            "inprogress-a.pdf",
            "camel.tmp.a.pdf",
            "a.pdf.inprogress",
            "a.pdf.$$$",
            "a.pdf.pending",
            "a.pdf.lock",
            "a.pdf.writing",
            "a.pdf.new",
            "a.pdf._COPYING_",
            "a.pdf.sb-1234abcd-xyz",
            "a.pdf-0f8fad5b-d9cb-469f-a165-70867728950e",
            "a.PDF-Xy12ab9Z",
            "a.pdf.crdownload",
            ".sftpgo-upload.cq1.a.pdf",
            "a.pdf.ocTransferId123.part",
            "a.pdf.4fa1b2c3.partial",
            ".in.a.pdf",
            "a.pdf~",
        ];
        for name in temporary {
            assert!(is_temporary(name, &[], &[]), "{name}");
        }
        let finals = [
            "a.pdf",
            "part",
            "tmp.pdf",
            "tmpl.pdf",
            "a.part.pdf",
            "483920_+12125550199.pdf",
            "ä.pdf",
            "a-0f8fad5b-d9cb-469f-a165-70867728950e.pdf",
            "letter.final-version",
            "a.pdf-2",
        ];
        for name in finals {
            assert!(!is_temporary(name, &[], &[]), "{name}");
        }
    }

    #[test]
    fn temporary_names_are_settable_both_ways() {
        let patterns =
            |texts: &[&str]| -> Vec<NamePattern> { texts.iter().map(|text| text.parse().unwrap()).collect() };
        let (more, but) = (patterns(&["*.xfer", "wip-*"]), patterns(&["_*", "*.new"]));
        for name in ["a.pdf.XFER", "wip-a.pdf", "a.pdf.part"] {
            assert!(is_temporary(name, &more, &but), "{name}");
        }
        for name in ["_a.pdf", "a.new", "_a.part"] {
            assert!(!is_temporary(name, &more, &but), "{name}");
        }
    }

    #[test]
    fn markers_are_no_documents() {
        for name in ["a.pdf.done", "a.DONE", "batch.eof"] {
            assert!(is_marker(name), "{name}");
        }
        for name in ["a.pdf", "done", "a.done.pdf"] {
            assert!(!is_marker(name), "{name}");
        }
    }
}
