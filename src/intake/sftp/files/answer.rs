//! Answers to requests, for programs and for people.

use jiff::Timestamp;
use russh_sftp::protocol::{File, FileAttributes, Name, Packet, Status, StatusCode};

use crate::shared_folder::names::{self, BadName, Place};

/// A request refused: the code for the program, the sentence for the person.
#[derive(Debug)]
pub(in crate::intake::sftp) struct No {
    code: StatusCode,
    sentence: String,
}

impl No {
    pub(super) fn new(code: StatusCode, sentence: impl Into<String>) -> Self {
        No { code, sentence: sentence.into() }
    }

    pub(super) fn failure(sentence: impl Into<String>) -> Self {
        No::new(StatusCode::Failure, sentence)
    }

    pub(super) fn denied(sentence: &str) -> Self {
        No::new(StatusCode::PermissionDenied, sentence)
    }

    pub(super) fn missing() -> Self {
        No::new(StatusCode::NoSuchFile, "There is no such file.")
    }

    /// As the answer to request `id`.
    pub(in crate::intake::sftp) fn packet(self, id: u32) -> Packet {
        Packet::status(id, self.code, &self.sentence, "en")
    }
}

impl From<BadName> for No {
    fn from(bad: BadName) -> Self {
        No::failure(format!("Refused: {bad}."))
    }
}

pub(super) fn make_folder(id: u32, path: &str) -> Result<Packet, No> {
    match names::place(path)? {
        // Tools that "make sure" of their target folder take an error for a failed upload.
        Place::Root | Place::In | Place::Results => Ok(done(id)),
        _ => Err(No::denied("Folders cannot be made here: upload to /in.")),
    }
}

pub(super) fn real_path(id: u32, path: &str) -> Result<Packet, No> {
    let files = vec![File::dummy(names::absolute(path)?)];
    Ok(Name { id, files }.into())
}

pub(super) fn keeps_size(id: u32, attrs: &FileAttributes, size: Option<u64>) -> Result<Packet, No> {
    match attrs.size {
        Some(asked) if Some(asked) != size => Err(unsupported("Files cannot be truncated or extended here.")),
        _ => Ok(done(id)),
    }
}

pub(super) fn number(handle: &str) -> Option<u64> {
    handle.parse().ok()
}

pub(super) fn done(id: u32) -> Packet {
    Status { id, status_code: StatusCode::Ok, error_message: String::new(), language_tag: String::new() }
        .into()
}

pub(super) fn end() -> No {
    No::new(StatusCode::Eof, "End of file.")
}

pub(super) fn bad_handle() -> No {
    No::failure("This file is not open.")
}

pub(super) fn unsupported(sentence: &str) -> No {
    No::new(StatusCode::OpUnsupported, sentence)
}

pub(super) fn folder() -> FileAttributes {
    FileAttributes {
        permissions: Some(0o040_700),
        size: Some(0),
        uid: Some(0),
        gid: Some(0),
        ..Default::default()
    }
}

pub(super) fn file(bytes: u64, at: Option<Timestamp>) -> FileAttributes {
    // SFTP version 3 has 32 bits for seconds.
    let seconds = at.and_then(|at| u32::try_from(at.as_second()).ok());
    FileAttributes {
        permissions: Some(0o100_600),
        size: Some(bytes),
        uid: Some(0),
        gid: Some(0),
        atime: seconds,
        mtime: seconds,
        ..Default::default()
    }
}
