//! Conversations that their owners share with others.

use holdpoint_model::{Actor, ExecutionId, Share, UnixMs, UserId};
use serde::Serialize;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use crate::codec::{actor, to_json};
use crate::{By, Deed, Entry, Store, StoreError};

/// A person that an execution is shared with.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SharedWith {
    /// Who.
    pub user: UserId,
    /// How they are called.
    pub name: String,
    /// What they were given.
    pub share: Share,
    /// When.
    pub shared_at: UnixMs,
    /// By whom.
    pub shared_by: Actor,
}

impl Store {
    /// What a person was given with an execution.
    pub async fn share(&self, execution: ExecutionId, user: UserId) -> Result<Option<Share>, StoreError> {
        let row = sqlx::query("SELECT may_answer FROM shares WHERE user = ?1 AND execution = ?2")
            .bind(user.0)
            .bind(execution.0)
            .fetch_optional(&self.shared.readers)
            .await?;
        Ok(row.map(|row| row.try_get(0)).transpose()?.map(share_of))
    }

    /// With whom an execution is shared, by name.
    pub async fn shares(&self, execution: ExecutionId) -> Result<Vec<SharedWith>, StoreError> {
        let rows = sqlx::query(
            "SELECT s.user, u.name, s.may_answer, s.shared_at, s.shared_by
             FROM shares s JOIN users u ON u.id = s.user WHERE s.execution = ?1 ORDER BY u.name",
        )
        .bind(execution.0)
        .fetch_all(&self.shared.readers)
        .await?;
        rows.iter().map(shared_with).collect()
    }

    /// Shares an execution with a person, in place of what they were given before.
    ///
    /// # Errors
    /// [`StoreError::Missing`] when there is no such execution, or no such user, or not any more.
    pub async fn set_share(
        &self,
        execution: ExecutionId,
        user: UserId,
        share: Share,
        by: By,
    ) -> Result<(), StoreError> {
        self.write_access(move |tx| {
            Box::pin(async move {
                tx.active_user(user).await?;
                let now = tx.now();
                let shared_by = to_json(&by.actor)?;
                let made = sqlx::query(
                    "INSERT INTO shares (user, execution, may_answer, created_at, shared_at, shared_by)
                     SELECT ?1, id, ?3, created_at, ?4, ?5 FROM executions WHERE id = ?2
                     ON CONFLICT (user, execution)
                     DO UPDATE SET may_answer = ?3, shared_at = ?4, shared_by = ?5",
                )
                .bind(user.0)
                .bind(execution.0)
                .bind(share == Share::Answer)
                .bind(now)
                .bind(shared_by)
                .execute(tx.writing().await?)
                .await?;
                if made.rows_affected() == 0 {
                    return Err(StoreError::Missing { what: "execution" });
                }
                let entry = Entry::new(Deed::Shared, share.as_str());
                tx.audit(&by, entry.to(user).about(execution)).await
            })
        })
        .await
    }

    /// Takes back what a person was given; true if it was anything.
    pub async fn unshare(&self, execution: ExecutionId, user: UserId, by: By) -> Result<bool, StoreError> {
        self.write_access(move |tx| {
            Box::pin(async move {
                let deleted = sqlx::query("DELETE FROM shares WHERE user = ?1 AND execution = ?2")
                    .bind(user.0)
                    .bind(execution.0)
                    .execute(tx.writing().await?)
                    .await?;
                if deleted.rows_affected() == 0 {
                    return Ok(false);
                }
                tx.audit(&by, Entry::new(Deed::Unshared, "").to(user).about(execution)).await?;
                Ok(true)
            })
        })
        .await
    }
}

fn share_of(may_answer: bool) -> Share {
    if may_answer { Share::Answer } else { Share::Look }
}

fn shared_with(row: &SqliteRow) -> Result<SharedWith, StoreError> {
    Ok(SharedWith {
        user: UserId(row.try_get(0)?),
        name: row.try_get(1)?,
        share: share_of(row.try_get(2)?),
        shared_at: row.try_get(3)?,
        shared_by: actor(row.try_get(4)?)?,
    })
}
