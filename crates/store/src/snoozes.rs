//! Holds that somebody does not want to see in their inbox for a while.

use holdpoint_model::{HoldId, UnixMs, UserId};
use sqlx::Row as _;

use crate::codec::unsigned;
use crate::{Store, StoreError};

/// One person's snoozes at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Snoozes {
    /// Whose.
    pub user: UserId,
    /// When: those that have ended by then are none.
    pub now: UnixMs,
    /// Only what is snoozed, in place of all that is not.
    pub only: bool,
}

impl Store {
    /// Hides a hold from one person's inbox until a time, or shows it again.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn snooze(&self, user: UserId, hold: HoldId, until: Option<UnixMs>) -> Result<(), StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                let now = tx.now();
                let conn = tx.writing().await?;
                // What has ended goes with the next one that is made: no more rows than somebody still wants.
                sqlx::query("DELETE FROM snoozes WHERE user = ?1 AND (until <= ?2 OR hold = ?3)")
                    .bind(user.0)
                    .bind(now)
                    .bind(hold.0)
                    .execute(&mut *conn)
                    .await?;
                if let Some(until) = until {
                    sqlx::query("INSERT INTO snoozes (user, hold, until) VALUES (?1, ?2, ?3)")
                        .bind(user.0)
                        .bind(hold.0)
                        .bind(until)
                        .execute(conn)
                        .await?;
                }
                Ok(())
            })
        })
        .await
    }

    /// Until when a hold is hidden from somebody's inbox, if it is.
    pub async fn snoozed_until(
        &self,
        user: UserId,
        hold: HoldId,
        now: UnixMs,
    ) -> Result<Option<UnixMs>, StoreError> {
        let row = sqlx::query("SELECT until FROM snoozes WHERE user = ?1 AND hold = ?2 AND until > ?3")
            .bind(user.0)
            .bind(hold.0)
            .bind(now)
            .fetch_optional(&self.shared.readers)
            .await?;
        Ok(row.map(|row| row.try_get(0)).transpose()?)
    }

    /// How many open holds somebody has snoozed.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn snoozed_holds(&self, user: UserId, now: UnixMs) -> Result<u64, StoreError> {
        let row = sqlx::query(
            "SELECT count(*) FROM snoozes s CROSS JOIN holds h ON h.id = s.hold
             WHERE s.user = ?1 AND s.until > ?2 AND h.state = 'open'",
        )
        .bind(user.0)
        .bind(now)
        .fetch_one(&self.shared.readers)
        .await?;
        unsigned("a count", row.try_get(0)?)
    }
}
