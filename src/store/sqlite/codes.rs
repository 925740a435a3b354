//! What SQLite's result codes mean.

use sqlx::error::DatabaseError as _;
use sqlx::sqlite::SqliteError;

/// SQLite's primary result code. Another engine's codes look the same, and mean other things.
pub(in crate::store) fn code(error: &sqlx::Error) -> Option<u32> {
    let error = error.as_database_error()?.try_downcast_ref::<SqliteError>()?;
    let code: u32 = error.code()?.parse().ok()?;
    Some(code & 0xff)
}

/// What is to be done about `error`, as the end of a sentence. 5 busy, 6 locked, 8 read-only, 10 input or output, 11 damaged,
/// 13 full, 14 cannot be opened, 26 no database.
pub(in crate::store) fn cure(error: &sqlx::Error) -> &'static str {
    let denied =
        matches!(error, sqlx::Error::Io(error) if error.kind() == std::io::ErrorKind::PermissionDenied);
    match code(error) {
        Some(5 | 6) => "; another process holds it: let it finish, or end it",
        Some(8) => "; this user may not write it, or its file system is mounted read-only",
        Some(10) => "; the system's log says what the disk lacks",
        Some(11 | 26) => {
            "; it is damaged: stop faxbridge, keep a copy of faxbridge.db and of what stands beside it, and restore a backup"
        }
        Some(13) => "; the disk is full: make room on it",
        Some(14) => "; see that this user may read and write the file, its folder and those above it",
        _ if denied => "; see that this user may read and write the file, its folder and those above it",
        _ => "",
    }
}
