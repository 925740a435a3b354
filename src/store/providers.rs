//! Which provider stands behind a name.

use super::{Store, StoreError};

impl Store {
    /// Notes that the provider `name` is reached at `url` from now on. Where it was reached elsewhere before and Jobs may still
    /// be in that one's hands, nothing is noted, and their number is returned: the new one would say of each that it never
    /// had it, and they would be sent a second time.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn meet_provider(&self, name: &str, url: &str) -> Result<u64, StoreError> {
        let (name, url) = (name.to_owned(), url.to_owned());
        self.write(move |tx| {
            Box::pin(async move {
                let before: Option<String> = sqlx::query_scalar("SELECT url FROM provider WHERE name = $1")
                    .bind(&name)
                    .fetch_optional(&mut *tx)
                    .await?;
                if before.is_some_and(|before| before != url) {
                    let open: i64 = sqlx::query_scalar(
                        "SELECT COUNT(*) FROM job WHERE provider = $1 AND state IN ('sending', 'in_transit', 'unclear')",
                    )
                    .bind(&name)
                    .fetch_one(&mut *tx)
                    .await?;
                    if open > 0 {
                        return Ok(open.unsigned_abs());
                    }
                }
                sqlx::query(
                    "INSERT INTO provider (name, url) VALUES ($1, $2) \
                     ON CONFLICT (name) DO UPDATE SET url = excluded.url",
                )
                .bind(name)
                .bind(url)
                .execute(&mut *tx)
                .await?;
                Ok(0)
            })
        })
        .await
    }
}
