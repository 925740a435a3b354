//! Which version wrote the database.

use std::path::Path;

use sqlx::sqlite::SqliteConnection;

use super::MIGRATIONS;
use crate::store::StoreError;

/// Whether the database at `path` has the schema of this version; false where it has an older one, or none.
pub(super) async fn is_current(connection: &mut SqliteConnection, path: &Path) -> Result<bool, StoreError> {
    let opening = |error| StoreError::opening(path, error);
    let begun: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM sqlite_master WHERE name = '_sqlx_migrations'")
        .fetch_one(&mut *connection)
        .await
        .map_err(opening)?;
    if begun == 0 {
        return Ok(false);
    }
    let applied: Vec<i64> =
        sqlx::query_scalar("SELECT version FROM _sqlx_migrations WHERE success ORDER BY version DESC")
            .fetch_all(connection)
            .await
            .map_err(opening)?;
    let ours = MIGRATIONS.iter().map(|step| step.version).max().unwrap_or(0);
    match applied.iter().find(|step| !MIGRATIONS.version_exists(**step)) {
        Some(theirs) => Err(StoreError::NewerSchema { path: path.to_owned(), theirs: *theirs, ours }),
        None => Ok(applied.len() >= MIGRATIONS.iter().count()),
    }
}
