//! Which version wrote the database.

use std::path::Path;

use sqlx::sqlite::SqliteConnection;

use super::MIGRATIONS;
use crate::store::StoreError;

/// The `user_version` of a database that never was an earlier version's.
const BORN: i64 = 1;

/// Which schema a database has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    None,
    Older,
    Current,
}

/// Notes that the database was made by this version, or a later one.
pub(super) async fn born(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    sqlx::query(sqlx::AssertSqlSafe(format!("PRAGMA user_version = {BORN}")))
        .execute(connection)
        .await
        .map(drop)
}

/// Whether an earlier version may have recorded source keys of other kinds.
pub(super) async fn has_former_keys(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    let version: i64 = sqlx::query_scalar("PRAGMA user_version").fetch_one(connection).await?;
    Ok(version < BORN)
}

/// The schema of the database at `path`.
pub(super) async fn found(connection: &mut SqliteConnection, path: &Path) -> Result<Found, StoreError> {
    let opening = |error| StoreError::opening(path, error);
    let begun: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM sqlite_master WHERE name = '_sqlx_migrations'")
        .fetch_one(&mut *connection)
        .await
        .map_err(opening)?;
    if begun == 0 {
        return Ok(Found::None);
    }
    let applied: Vec<i64> =
        sqlx::query_scalar("SELECT version FROM _sqlx_migrations WHERE success ORDER BY version DESC")
            .fetch_all(connection)
            .await
            .map_err(opening)?;
    let ours = MIGRATIONS.iter().map(|step| step.version).max().unwrap_or(0);
    match applied.iter().find(|step| !MIGRATIONS.version_exists(**step)) {
        Some(theirs) => Err(StoreError::NewerSchema { path: path.to_owned(), theirs: *theirs, ours }),
        None if applied.len() >= MIGRATIONS.iter().count() => Ok(Found::Current),
        None => Ok(Found::Older),
    }
}
