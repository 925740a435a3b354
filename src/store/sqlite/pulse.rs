//! Notices commits, those of other processes too: the command line writes to the same database and cannot wake the daemon.
//!
//! One cheap question in one place, in place of a query in each part that waits for work. SQLite answers it from shared memory; a
//! commit that changed nothing leaves the answer as it is.

use std::time::Duration;

use sqlx::sqlite::SqliteConnection;
use tokio::sync::watch;

/// Between two looks.
const EVERY: Duration = Duration::from_millis(500);

/// Counts `commits` up after each look that finds new ones, for as long as it is waited for. Many commits between two looks are one.
pub(super) async fn beat(mut connection: SqliteConnection, commits: &watch::Sender<u64>) {
    let mut known = None;
    loop {
        let version: Result<i64, _> =
            sqlx::query_scalar("PRAGMA data_version").fetch_one(&mut connection).await;
        // Where the question fails there may be something new.
        let version = version.ok();
        if version.is_none() || version != known {
            commits.send_modify(|count| *count = count.wrapping_add(1));
        }
        known = version;
        tokio::time::sleep(EVERY).await;
    }
}
