//! Deleting what has been kept for long enough, and what is left to be known of it.
//!
//! The rows of an execution and the note of its deletion are one commit; its files go afterwards, and a
//! note whose files are still there says so until they are gone.

use std::fmt;
use std::str::FromStr;

use holdpoint_model::{Actor, ExecutionId, Keep, KeepRules, KeepSource, Refusal, UnixMs};
use serde::Serialize;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection};
use uuid::Uuid;

use crate::codec::{actor, signed, to_json, unsigned};
use crate::writer::Tx;
use crate::{ApplyError, Cursor, Store, StoreError, rebuild, search};

/// Which executions may go at `?1`: those that ended longer ago than they are kept, and of which nothing runs any
/// more. What was recorded at an execution's start comes before today's rules, so these are the one kind...
const RECORDED: &str = "FROM executions e INDEXED BY executions_by_recorded_end
     WHERE e.ended_at IS NOT NULL AND e.keep_ms IS NOT NULL AND e.ended_at + e.keep_ms <= ?1 AND e.attention = 0";

/// ... and these are the other: today's rules are those for its agent (`?2`, milliseconds by name) and for all
/// (`?3`). None of them lets go what ended after `?4`, so that is not looked at.
const BY_RULE: &str =
    "FROM executions e INDEXED BY executions_by_end LEFT JOIN json_each(?2) a ON a.key = e.agent
     WHERE e.ended_at IS NOT NULL AND e.ended_at <= ?4 AND e.keep_ms IS NULL AND e.attention = 0
       AND e.ended_at <= ?1 - coalesce(a.value, ?3)";

/// The place in a list by time after which the next page begins. As text: `<milliseconds>.<id>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The time that the list is sorted by.
    pub at: UnixMs,
    /// Whose.
    pub id: ExecutionId,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Cursor { created_at: self.at, id: self.id }.fmt(f)
    }
}

impl FromStr for Place {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse::<Cursor>().map(|cursor| Self { at: cursor.created_at, id: cursor.id })
    }
}

/// An execution that has been kept for long enough.
#[derive(Clone, Debug, PartialEq)]
pub struct Deletable {
    /// Which.
    pub id: ExecutionId,
    /// The agent's name.
    pub agent: String,
    /// Its title.
    pub title: String,
    /// Who started it.
    pub owner: Actor,
    /// When it ended.
    pub ended_at: UnixMs,
    /// How many events its log has.
    pub events: u64,
    /// How long it is kept.
    pub keep: Keep,
    /// Where that was written.
    pub source: KeepSource,
}

impl Deletable {
    /// The rule in words.
    #[must_use]
    pub fn why(&self) -> String {
        self.source.rule(self.keep, &self.agent)
    }

    /// Where the page after this row begins.
    #[must_use]
    pub fn place(&self) -> Place {
        Place { at: self.ended_at, id: self.id }
    }
}

/// Why an execution is deleted, for the note that stays.
#[derive(Clone, Debug)]
pub struct Deleting {
    /// Who does it.
    pub by: Actor,
    /// By which rule.
    pub why: String,
    /// How large its files are.
    pub files_bytes: u64,
}

/// What is left of an execution that was deleted.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Deletion {
    /// Which.
    pub execution: ExecutionId,
    /// Its title.
    pub title: String,
    /// The agent's name.
    pub agent: String,
    /// Who started it.
    pub owner: Actor,
    /// When it ended.
    pub ended_at: UnixMs,
    /// When it was deleted.
    pub deleted_at: UnixMs,
    /// Who did it.
    pub by: Actor,
    /// By which rule.
    pub why: String,
    /// How many events its log had.
    pub events: u64,
    /// How many holds it had.
    pub holds: u64,
    /// How many model calls were recorded.
    pub model_calls: u64,
    /// How large its files were.
    pub files_bytes: u64,
    /// When its files were gone; None while they are still there.
    pub files_deleted_at: Option<UnixMs>,
}

impl Deletion {
    /// Where the page after this row begins.
    #[must_use]
    pub fn place(&self) -> Place {
        Place { at: self.deleted_at, id: self.execution }
    }
}

impl Store {
    /// Executions that have been kept for long enough at `now`, the earliest ended first, after a place.
    pub async fn deletable(
        &self,
        rules: &KeepRules,
        now: UnixMs,
        after: Option<Place>,
        limit: u32,
    ) -> Result<Vec<Deletable>, StoreError> {
        let after = after.unwrap_or(Place { at: UnixMs::MIN, id: ExecutionId(Uuid::nil()) });
        let in_order = "AND (e.ended_at, e.id) > (?5, ?6) ORDER BY e.ended_at, e.id LIMIT ?7";
        let columns = "SELECT e.id, e.agent, e.title, e.owner, e.ended_at, e.seq";
        let query = format!(
            "SELECT * FROM ({columns}, e.keep_ms, 0 {RECORDED} {in_order})
             UNION ALL
             SELECT * FROM ({columns}, coalesce(a.value, ?3), iif(a.value IS NULL, 2, 1) {BY_RULE} {in_order})
             ORDER BY ended_at, id LIMIT ?7"
        );
        let rows = sqlx::query(sqlx::AssertSqlSafe(query))
            .bind(now)
            .bind(agents_ms(rules)?)
            .bind(rules.otherwise.map(Keep::ms))
            .bind(latest_end(rules, now))
            .bind(after.at)
            .bind(after.id.0)
            .bind(limit)
            .fetch_all(&self.shared.readers)
            .await?;
        rows.iter().map(deletable_row).collect()
    }

    /// How many executions have been kept for long enough at `now`.
    pub async fn count_deletable(&self, rules: &KeepRules, now: UnixMs) -> Result<u64, StoreError> {
        let query = format!("SELECT (SELECT count(*) {RECORDED}) + (SELECT count(*) {BY_RULE})");
        let row = sqlx::query(sqlx::AssertSqlSafe(query))
            .bind(now)
            .bind(agents_ms(rules)?)
            .bind(rules.otherwise.map(Keep::ms))
            .bind(latest_end(rules, now))
            .fetch_one(&self.shared.readers)
            .await?;
        unsigned("a count", row.try_get(0)?)
    }

    /// Deletes every row of an execution and notes that, in one commit. Its files are for the caller to
    /// delete afterwards, who then says so with [`Store::files_are_gone`].
    ///
    /// # Errors
    /// Refused as `Stale` when it has not ended, or something of it still runs.
    pub async fn delete_execution(
        &self,
        id: ExecutionId,
        deleting: Deleting,
    ) -> Result<Deletion, ApplyError> {
        let deletion = self.shared.writer.run(move |tx: &mut Tx| Box::pin(delete(tx, id, deleting))).await?;
        Ok(deletion.0)
    }

    /// What was deleted, the latest first, beginning after a place.
    pub async fn deletions(&self, after: Option<Place>, limit: u32) -> Result<Vec<Deletion>, StoreError> {
        let after = after.unwrap_or(Place { at: UnixMs::MAX, id: ExecutionId(Uuid::max()) });
        let rows = sqlx::query(
            "SELECT execution, title, agent, owner, ended_at, deleted_at, deleted_by, why, events, holds,
                model_calls, files_bytes, files_deleted_at FROM deletions
             WHERE (deleted_at, execution) < (?1, ?2) ORDER BY deleted_at DESC, execution DESC LIMIT ?3",
        )
        .bind(after.at)
        .bind(after.id.0)
        .bind(limit)
        .fetch_all(&self.shared.readers)
        .await?;
        rows.iter().map(deletion_row).collect()
    }

    /// Deleted executions whose files may still be there, after an id.
    pub async fn deleted_with_files(
        &self,
        after: Option<ExecutionId>,
        limit: u32,
    ) -> Result<Vec<ExecutionId>, StoreError> {
        let rows = sqlx::query(
            "SELECT execution FROM deletions WHERE files_deleted_at IS NULL AND execution > ?1
             ORDER BY execution LIMIT ?2",
        )
        .bind(after.map_or(Uuid::nil(), |id| id.0))
        .bind(limit)
        .fetch_all(&self.shared.readers)
        .await?;
        rows.iter().map(|row| Ok(ExecutionId(row.try_get::<Uuid, _>(0)?))).collect()
    }

    /// Notes that the files of a deleted execution are gone.
    pub async fn files_are_gone(&self, id: ExecutionId) -> Result<(), StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                let now = tx.now();
                sqlx::query(
                    "UPDATE deletions SET files_deleted_at = ?2
                     WHERE execution = ?1 AND files_deleted_at IS NULL",
                )
                .bind(id.0)
                .bind(now)
                .execute(tx.writing().await?)
                .await?;
                Ok(())
            })
        })
        .await
    }
}

fn agents_ms(rules: &KeepRules) -> Result<String, StoreError> {
    let ms: std::collections::BTreeMap<&str, UnixMs> =
        rules.agents.iter().map(|(name, keep)| (name.as_str(), keep.ms())).collect();
    to_json(&ms)
}

/// When what may go by today's rules has ended at the latest: long ago, where there are none.
fn latest_end(rules: &KeepRules, now: UnixMs) -> UnixMs {
    let shortest = rules.agents.values().copied().chain(rules.otherwise).map(Keep::ms).min();
    shortest.map_or(UnixMs::MIN, |ms| now.saturating_sub(ms))
}

async fn delete(tx: &mut Tx, id: ExecutionId, deleting: Deleting) -> Result<Deletion, ApplyError> {
    let now = tx.now();
    let execution = tx.execution(id).await?.ok_or(ApplyError::UnknownExecution)?;
    let Some(ended_at) = execution.ended_at.filter(|_| execution.status.is_final()) else {
        return Err(Refusal::Stale("it has not ended").into());
    };
    if execution.residency.has_worker() || !execution.next().is_empty() {
        return Err(Refusal::Stale("something of it still runs").into());
    }
    let mut deletion = Deletion {
        execution: id,
        title: execution.title.clone(),
        agent: execution.agent.clone(),
        owner: execution.owner.clone(),
        ended_at,
        deleted_at: now,
        by: deleting.by,
        why: deleting.why,
        events: 0,
        holds: 0,
        model_calls: 0,
        files_bytes: deleting.files_bytes,
        files_deleted_at: None,
    };
    let conn = tx.writing().await?;
    // What a person said is not to be found in free pages of the data file afterwards.
    sqlx::query("PRAGMA secure_delete = ON").execute(&mut *conn).await?;
    let deleted = delete_rows(conn, &mut deletion).await;
    sqlx::query("PRAGMA secure_delete = OFF").execute(&mut *conn).await?;
    deleted?;
    // Last: from here on nothing of this request can fail.
    tx.forget_deleted(id)?;
    Ok(deletion)
}

/// Every table that knows the execution. Another one has to be added here; the contract suite looks.
async fn delete_rows(conn: &mut SqliteConnection, deletion: &mut Deletion) -> Result<(), StoreError> {
    let id = deletion.execution.0;
    // What was counted stays, as what it has left.
    if let Some((execution, record)) = rebuild::fold_log(conn, deletion.execution).await? {
        record.keep_figures(conn, &execution).await?;
    }
    search::delete(conn, deletion.execution).await?;
    let mut of = async |statement: &'static str| -> Result<u64, StoreError> {
        Ok(sqlx::query(statement).bind(id).execute(&mut *conn).await?.rows_affected())
    };
    of("DELETE FROM call_deliveries WHERE call IN (SELECT id FROM model_calls WHERE execution = ?1)").await?;
    deletion.model_calls = of("DELETE FROM model_calls WHERE execution = ?1").await?;
    // With their deliveries.
    of("DELETE FROM notices WHERE execution = ?1").await?;
    of("DELETE FROM side_log WHERE execution = ?1").await?;
    of("DELETE FROM idempotency WHERE execution = ?1").await?;
    of("DELETE FROM shares WHERE execution = ?1").await?;
    of("DELETE FROM uploads WHERE execution = ?1").await?;
    of("DELETE FROM snoozes WHERE hold IN (SELECT id FROM holds WHERE execution = ?1)").await?;
    deletion.holds = of("DELETE FROM holds WHERE execution = ?1").await?;
    of("DELETE FROM aggregates WHERE execution = ?1").await?;
    of("DELETE FROM executions WHERE id = ?1").await?;
    deletion.events = of("DELETE FROM events WHERE execution = ?1").await?;
    sqlx::query(
        "INSERT INTO deletions (execution, title, agent, owner, ended_at, deleted_at, deleted_by, why, events,
            holds, model_calls, files_bytes) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
    )
    .bind(id)
    .bind(&deletion.title)
    .bind(&deletion.agent)
    .bind(to_json(&deletion.owner)?)
    .bind(deletion.ended_at)
    .bind(deletion.deleted_at)
    .bind(to_json(&deletion.by)?)
    .bind(&deletion.why)
    .bind(signed(deletion.events))
    .bind(signed(deletion.holds))
    .bind(signed(deletion.model_calls))
    .bind(signed(deletion.files_bytes))
    .execute(&mut *conn)
    .await?;
    Ok(())
}

fn deletable_row(row: &SqliteRow) -> Result<Deletable, StoreError> {
    let source = match row.try_get::<i64, _>(7)? {
        0 => KeepSource::Recorded,
        1 => KeepSource::Agent,
        _ => KeepSource::Top,
    };
    Ok(Deletable {
        id: ExecutionId(row.try_get::<Uuid, _>(0)?),
        agent: row.try_get(1)?,
        title: row.try_get(2)?,
        owner: actor(row.try_get(3)?)?,
        ended_at: row.try_get(4)?,
        events: unsigned("seq", row.try_get(5)?)?,
        keep: Keep::from_ms(row.try_get(6)?),
        source,
    })
}

fn deletion_row(row: &SqliteRow) -> Result<Deletion, StoreError> {
    Ok(Deletion {
        execution: ExecutionId(row.try_get::<Uuid, _>(0)?),
        title: row.try_get(1)?,
        agent: row.try_get(2)?,
        owner: actor(row.try_get(3)?)?,
        ended_at: row.try_get(4)?,
        deleted_at: row.try_get(5)?,
        by: actor(row.try_get(6)?)?,
        why: row.try_get(7)?,
        events: unsigned("a count", row.try_get(8)?)?,
        holds: unsigned("a count", row.try_get(9)?)?,
        model_calls: unsigned("a count", row.try_get(10)?)?,
        files_bytes: unsigned("a size", row.try_get(11)?)?,
        files_deleted_at: row.try_get(12)?,
    })
}
