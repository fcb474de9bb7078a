//! Releases: begun, tried out, made current, one after the other. What each of them is made of never changes.

use std::collections::BTreeMap;

use futures::future::BoxFuture;
use holdpoint_model::lock::ImageLock;
use holdpoint_model::{Actor, AgentDef, ExecutionId, Lock, ReleaseNumber, ReleaseState, Stamp, UnixMs};
use serde::Serialize;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection};
use thiserror::Error;
use uuid::Uuid;

use crate::codec::{actor, from_json, to_json, unsigned};
use crate::writer::Tx;
use crate::{By, Deed, Entry, Store, StoreError};

/// The most releases that are listed, newest first. Older ones are found by number.
pub const RELEASES_LISTED: u32 = 100;

/// A release as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct ReleaseRow {
    /// Its number.
    pub number: ReleaseNumber,
    /// Where it is on its way.
    pub state: ReleaseState,
    /// What it is made of.
    pub lock: Lock,
    /// The agents as they are defined there.
    pub agents: BTreeMap<String, AgentDef>,
    /// Who began it.
    pub by: Actor,
    /// When.
    pub created_at: UnixMs,
    /// When it last became current, if it did.
    pub activated_at: Option<UnixMs>,
    /// The conversation by which it was tried out, if it was.
    pub verification: Option<ExecutionId>,
    /// Why it failed, if it did.
    pub problem: Option<String>,
    /// Conversations on it that go on.
    pub going_on: u64,
}

/// Something that was done for a release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReleaseStep {
    /// When.
    pub at: UnixMs,
    /// What: `begun`, `image`, `verification`, `current`, `failed`, `removed`.
    pub step: String,
    /// More, for people.
    pub detail: String,
}

/// Why something did not happen to a release. Nothing was changed.
#[derive(Clone, Debug, Error)]
pub enum ReleaseError {
    /// No release has this number.
    #[error("there is no release {0}")]
    Unknown(ReleaseNumber),
    /// It is not where it would have to be for that.
    #[error("release {number} is {state}: {why}", state = .state.as_str())]
    Refused {
        /// Which.
        number: ReleaseNumber,
        /// Where it is.
        state: ReleaseState,
        /// Why that is in the way.
        why: String,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for ReleaseError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

impl ReleaseRow {
    /// What conversations that start on it are stamped with.
    #[must_use]
    pub fn stamp(&self) -> Stamp {
        Stamp {
            number: self.number,
            lock: self.lock.digest(),
            image: self.lock.image.as_ref().map(|image| image.id.clone()),
            project: self.lock.sources.get("project").map(|source| source.from.clone()),
        }
    }

    fn refused(&self, why: impl Into<String>) -> ReleaseError {
        ReleaseError::Refused { number: self.number, state: self.state, why: why.into() }
    }
}

impl Store {
    /// Begins a release, or takes up an unfinished one that is made of the same. Any other that is unfinished has
    /// failed by that: there is one deployment at a time.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn begin_release(
        &self,
        lock: Lock,
        agents: BTreeMap<String, AgentDef>,
        by: By,
    ) -> Result<ReleaseRow, ReleaseError> {
        self.release_write(move |tx| {
            Box::pin(async move {
                let unfinished = all(tx.reading(), "state = 'building'").await?;
                let (inputs, text) = (lock.inputs(), to_json(&agents)?);
                let mut same = None;
                for row in unfinished {
                    if row.lock.inputs() == inputs && row.agents == agents && same.is_none() {
                        same = Some(row);
                    } else {
                        fail(tx, &row, "another deployment was begun").await?;
                    }
                }
                if let Some(row) = same {
                    return Ok(row);
                }
                let now = tx.now();
                let number = sqlx::query(
                    "INSERT INTO releases (number, state, inputs, lock, agents, by, created_at)
                     VALUES ((SELECT coalesce(max(number), 0) + 1 FROM releases), 'building', ?1, ?2, ?3, ?4, ?5)
                     RETURNING number",
                )
                .bind(inputs.as_str())
                .bind(to_json(&lock)?)
                .bind(text)
                .bind(to_json(&by.actor)?)
                .bind(now)
                .fetch_one(tx.writing().await?)
                .await?;
                let number = number.try_get(0)?;
                step(tx, number, "begun", format!("by {}", by.actor.name)).await?;
                one(tx.reading(), number).await
            })
        })
        .await
    }

    /// Says which image was built for an unfinished release. Said again it is the same, or refused.
    ///
    /// # Errors
    /// When the release is not unfinished.
    pub async fn release_image(
        &self,
        number: ReleaseNumber,
        image: ImageLock,
    ) -> Result<ReleaseRow, ReleaseError> {
        self.release_write(move |tx| {
            Box::pin(async move {
                let mut row = one(tx.reading(), number).await?;
                if row.state != ReleaseState::Building {
                    return Err(row.refused("its image is known"));
                }
                if row.lock.image.as_ref() == Some(&image) {
                    return Ok(row);
                }
                let detail = image.reference.clone().unwrap_or_else(|| image.id.clone());
                row.lock.image = Some(image);
                // What was tried out was another image.
                sqlx::query("UPDATE releases SET lock = ?2, verification = NULL WHERE number = ?1")
                    .bind(number)
                    .bind(to_json(&row.lock)?)
                    .execute(tx.writing().await?)
                    .await?;
                step(tx, number, "image", detail).await?;
                one(tx.reading(), number).await
            })
        })
        .await
    }

    /// Says by which conversation an unfinished release is tried out.
    ///
    /// # Errors
    /// When the release is not unfinished.
    pub async fn release_verification(
        &self,
        number: ReleaseNumber,
        execution: ExecutionId,
    ) -> Result<ReleaseRow, ReleaseError> {
        self.release_write(move |tx| {
            Box::pin(async move {
                let row = one(tx.reading(), number).await?;
                if row.state != ReleaseState::Building {
                    return Err(row.refused("it is not to be tried out any more"));
                }
                sqlx::query("UPDATE releases SET verification = ?2 WHERE number = ?1")
                    .bind(number)
                    .bind(execution.0)
                    .execute(tx.writing().await?)
                    .await?;
                step(tx, number, "verification", execution.to_string()).await?;
                one(tx.reading(), number).await
            })
        })
        .await
    }

    /// Makes a release the one that new conversations run on; the one before is retired in the same transaction.
    /// Whoever calls has seen that an unfinished one was tried out.
    ///
    /// # Errors
    /// When the release has failed or its image is gone.
    pub async fn activate_release(&self, number: ReleaseNumber, by: By) -> Result<ReleaseRow, ReleaseError> {
        self.release_write(move |tx| {
            Box::pin(async move {
                let row = one(tx.reading(), number).await?;
                match row.state {
                    ReleaseState::Current => return Ok(row),
                    ReleaseState::Building | ReleaseState::Retired => {}
                    ReleaseState::Failed => return Err(row.refused("it never worked; deploy again")),
                    ReleaseState::Removed => return Err(row.refused("its image is gone; deploy again")),
                }
                let now = tx.now();
                let conn = tx.writing().await?;
                sqlx::query("UPDATE releases SET state = 'retired' WHERE state = 'current'")
                    .execute(&mut *conn)
                    .await?;
                sqlx::query("UPDATE releases SET state = 'current', activated_at = ?2 WHERE number = ?1")
                    .bind(number)
                    .bind(now)
                    .execute(conn)
                    .await?;
                step(tx, number, "current", format!("by {}", by.actor.name)).await?;
                tx.audit(&by, Entry::new(Deed::Deployed, format!("release {number}"))).await?;
                one(tx.reading(), number).await
            })
        })
        .await
    }

    /// Gives an unfinished release up.
    ///
    /// # Errors
    /// When it is not unfinished.
    pub async fn fail_release(&self, number: ReleaseNumber, why: String) -> Result<ReleaseRow, ReleaseError> {
        self.release_write(move |tx| {
            Box::pin(async move {
                let row = one(tx.reading(), number).await?;
                match row.state {
                    ReleaseState::Failed => return Ok(row),
                    ReleaseState::Building => {}
                    _ => return Err(row.refused("it is finished")),
                }
                fail(tx, &row, &why).await?;
                one(tx.reading(), number).await
            })
        })
        .await
    }

    /// Says that nobody needs a release's image any more; after this it may be deleted.
    ///
    /// # Errors
    /// When it is current or unfinished, or a conversation on it goes on.
    pub async fn remove_release(&self, number: ReleaseNumber) -> Result<ReleaseRow, ReleaseError> {
        self.release_write(move |tx| {
            Box::pin(async move {
                let row = one(tx.reading(), number).await?;
                match row.state {
                    ReleaseState::Removed => return Ok(row),
                    ReleaseState::Current | ReleaseState::Building => return Err(row.refused("it is in use")),
                    ReleaseState::Retired | ReleaseState::Failed if row.going_on > 0 => {
                        return Err(row.refused(format!("{} of its conversations go on", row.going_on)));
                    }
                    ReleaseState::Retired | ReleaseState::Failed => {}
                }
                sqlx::query("UPDATE releases SET state = 'removed' WHERE number = ?1")
                    .bind(number)
                    .execute(tx.writing().await?)
                    .await?;
                step(tx, number, "removed", String::new()).await?;
                one(tx.reading(), number).await
            })
        })
        .await
    }

    /// The newest releases, newest first: [`RELEASES_LISTED`] at most.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn releases(&self) -> Result<Vec<ReleaseRow>, StoreError> {
        let mut conn = self.shared.readers.acquire().await?;
        all(&mut conn, "1").await
    }

    /// One release.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn release(&self, number: ReleaseNumber) -> Result<Option<ReleaseRow>, StoreError> {
        let mut conn = self.shared.readers.acquire().await?;
        match one(&mut conn, number).await {
            Ok(row) => Ok(Some(row)),
            Err(ReleaseError::Store(error)) => Err(error),
            Err(ReleaseError::Unknown(_) | ReleaseError::Refused { .. }) => Ok(None),
        }
    }

    /// The last release before this number that ever was current: what it is compared with.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn release_before(&self, number: ReleaseNumber) -> Result<Option<ReleaseRow>, StoreError> {
        let text = format!(
            "{COLUMNS} WHERE r.number < ?1 AND r.activated_at IS NOT NULL ORDER BY r.number DESC LIMIT 1"
        );
        let found =
            sqlx::query(sqlx::AssertSqlSafe(text)).bind(number).fetch_optional(&self.shared.readers).await?;
        found.as_ref().map(row).transpose()
    }

    /// What new conversations run on, if anything was ever deployed.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn current_release(&self) -> Result<Option<ReleaseRow>, StoreError> {
        let mut conn = self.shared.readers.acquire().await?;
        Ok(all(&mut conn, "state = 'current'").await?.pop())
    }

    /// What was done for a release, in order.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn release_steps(&self, number: ReleaseNumber) -> Result<Vec<ReleaseStep>, StoreError> {
        let rows = sqlx::query("SELECT at, step, detail FROM release_steps WHERE release = ?1 ORDER BY seq")
            .bind(number)
            .fetch_all(&self.shared.readers)
            .await?;
        rows.iter()
            .map(|row| {
                Ok(ReleaseStep { at: row.try_get(0)?, step: row.try_get(1)?, detail: row.try_get(2)? })
            })
            .collect()
    }
}

impl Store {
    /// Runs a request that concerns releases.
    async fn release_write<F>(&self, work: F) -> Result<ReleaseRow, ReleaseError>
    where
        F: for<'a> FnOnce(&'a mut Tx) -> BoxFuture<'a, Result<ReleaseRow, ReleaseError>> + Send + 'static,
    {
        Ok(self.shared.writer.run(work).await?.0)
    }
}

/// Nobody starts a conversation on an image that may be deleted at any moment.
pub(crate) async fn refuse_removed(tx: &mut Tx, stamp: &Stamp) -> Result<(), StoreError> {
    let row = sqlx::query("SELECT 1 FROM releases WHERE number = ?1 AND state = 'removed'")
        .bind(stamp.number)
        .fetch_optional(tx.reading())
        .await?;
    match row {
        Some(_) => Err(StoreError::Missing { what: "release's image, which is gone" }),
        None => Ok(()),
    }
}

async fn fail(tx: &mut Tx, row: &ReleaseRow, why: &str) -> Result<(), StoreError> {
    sqlx::query("UPDATE releases SET state = 'failed', problem = ?2 WHERE number = ?1")
        .bind(row.number)
        .bind(why)
        .execute(tx.writing().await?)
        .await?;
    step(tx, row.number, "failed", why.to_owned()).await
}

async fn step(tx: &mut Tx, number: ReleaseNumber, step: &str, detail: String) -> Result<(), StoreError> {
    let now = tx.now();
    sqlx::query(
        "INSERT INTO release_steps (release, seq, at, step, detail)
         VALUES (?1, (SELECT coalesce(max(seq), 0) + 1 FROM release_steps WHERE release = ?1), ?2, ?3, ?4)",
    )
    .bind(number)
    .bind(now)
    .bind(step)
    .bind(detail)
    .execute(tx.writing().await?)
    .await?;
    Ok(())
}

const COLUMNS: &str =
    "SELECT r.number, r.state, r.lock, r.agents, r.by, r.created_at, r.activated_at, r.verification,
    r.problem, (SELECT count(*) FROM executions e WHERE e.release = r.number AND e.ended_at IS NULL)
    FROM releases r";

async fn one(conn: &mut SqliteConnection, number: ReleaseNumber) -> Result<ReleaseRow, ReleaseError> {
    let text = format!("{COLUMNS} WHERE r.number = ?1");
    let found = sqlx::query(sqlx::AssertSqlSafe(text)).bind(number).fetch_optional(conn).await?;
    found.as_ref().map(row).transpose()?.ok_or(ReleaseError::Unknown(number))
}

/// `which` is one of our own conditions.
async fn all(conn: &mut SqliteConnection, which: &'static str) -> Result<Vec<ReleaseRow>, StoreError> {
    let text = format!("{COLUMNS} WHERE {which} ORDER BY r.number DESC LIMIT {RELEASES_LISTED}");
    let rows = sqlx::query(sqlx::AssertSqlSafe(text)).fetch_all(conn).await?;
    rows.iter().map(row).collect()
}

fn row(row: &SqliteRow) -> Result<ReleaseRow, StoreError> {
    let state: &str = row.try_get(1)?;
    Ok(ReleaseRow {
        number: row.try_get(0)?,
        state: ReleaseState::parse(state)
            .ok_or_else(|| StoreError::Corrupt(format!("a release is {state:?}")))?,
        lock: from_json("a lock", row.try_get(2)?)?,
        agents: from_json("agents", row.try_get(3)?)?,
        by: actor(row.try_get(4)?)?,
        created_at: row.try_get(5)?,
        activated_at: row.try_get(6)?,
        verification: row.try_get::<Option<Uuid>, _>(7)?.map(ExecutionId),
        problem: row.try_get(8)?,
        going_on: unsigned("a count", row.try_get(9)?)?,
    })
}
