//! Taking the words of what was deleted out of the index's pages. FTS5 only notes that a row is gone; its words stay
//! in older segments until these happen to be merged. So all of them are merged, a bit at a time, so that nobody who
//! writes meanwhile has to wait.

use sqlx::{Row as _, SqliteConnection};

use crate::{Store, StoreError};

/// The setting that says how many rows were deleted since the index was purged.
const TO_PURGE: &str = "search_to_purge";

/// Pages of the index written in one commit: some milliseconds.
const PAGES: i64 = 250;

/// Notes that there is something to purge.
pub(super) async fn note(conn: &mut SqliteConnection) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO settings (key, value) VALUES (?1, '1')
         ON CONFLICT (key) DO UPDATE SET value = CAST(value AS INTEGER) + 1",
    )
    .bind(TO_PURGE)
    .execute(conn)
    .await?;
    Ok(())
}

impl Store {
    /// Takes the words of all that was deleted before out of the pages of the search index. Does nothing where
    /// nothing was. One that is cut short is begun again by the next.
    ///
    /// # Errors
    /// When the database cannot be read or written.
    pub async fn purge_search(&self) -> Result<(), StoreError> {
        let Some(deleted) = self.setting(TO_PURGE).await? else { return Ok(()) };
        // Negative: every segment there is becomes part of one merge, with which the others go on.
        let mut pages = -PAGES;
        while self.merge(pages).await? {
            pages = PAGES;
        }
        self.write(move |tx| {
            Box::pin(async move {
                // Not if more was deleted meanwhile.
                sqlx::query("DELETE FROM settings WHERE key = ?1 AND value = ?2")
                    .bind(TO_PURGE)
                    .bind(deleted)
                    .execute(tx.writing().await?)
                    .await?;
                Ok(())
            })
        })
        .await
    }

    /// Merges some pages of the index; whether that changed anything.
    async fn merge(&self, pages: i64) -> Result<bool, StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                let conn = tx.writing().await?;
                let before = total_changes(conn).await?;
                // The pages that are given back are to be empty, too.
                sqlx::query("PRAGMA secure_delete = ON").execute(&mut *conn).await?;
                let merged = sqlx::query("INSERT INTO search (search, rank) VALUES ('merge', ?1)")
                    .bind(pages)
                    .execute(&mut *conn)
                    .await;
                sqlx::query("PRAGMA secure_delete = OFF").execute(&mut *conn).await?;
                merged?;
                // By FTS5's own documentation: one change is that of the statement itself.
                Ok(total_changes(conn).await? - before >= 2)
            })
        })
        .await
    }
}

async fn total_changes(conn: &mut SqliteConnection) -> Result<i64, StoreError> {
    Ok(sqlx::query("SELECT total_changes()").fetch_one(conn).await?.try_get(0)?)
}
