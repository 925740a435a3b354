//! Refresh tokens that a provider gave in place of the configured one.

use jiff::Timestamp;

use super::sql;
use super::{Store, StoreError, millis};

impl Store {
    /// The sealed refresh token of the `[oauth.NAME]` section `name`, if the provider ever gave another than the configured one.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn token(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        sql::query("SELECT body FROM token WHERE name = $1").bind(name).scalar_optional(self.readers()).await
    }

    /// Keeps a sealed refresh token in place of the one before.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn keep_token(&self, name: &str, body: Vec<u8>, now: Timestamp) -> Result<(), StoreError> {
        let name = name.to_owned();
        self.write(move |tx| {
            Box::pin(async move {
                sql::query(
                    "INSERT INTO token (name, body, kept_at) VALUES ($1, $2, $3) \
                     ON CONFLICT (name) DO UPDATE SET body = excluded.body, kept_at = excluded.kept_at",
                )
                .bind(name)
                .bind(body)
                .bind(millis(now))
                .execute(&mut *tx)
                .await?;
                Ok(())
            })
        })
        .await
    }
}
