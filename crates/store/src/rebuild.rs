//! Deleting every projection and making it again from the log.

use holdpoint_model::{Execution, ExecutionId};
use sqlx::{AssertSqlSafe, Row as _, SqliteConnection};
use uuid::Uuid;

use crate::writer::{Record, Tx, write_execution};
use crate::{Rebuilt, StoreError, load};

/// The version of what the projections hold. Raise it with every change of the aggregate's shape or
/// of a projection: a data file of another version is rebuilt when it is opened.
pub(crate) const PROJECTIONS: i64 = 1;

/// Executions looked up at a time.
const EXECUTIONS_PAGE: i64 = 500;

/// The version of the projections in the data file.
pub(crate) async fn version(conn: &mut SqliteConnection) -> Result<i64, StoreError> {
    Ok(sqlx::query("PRAGMA user_version").fetch_one(conn).await?.try_get(0)?)
}

/// Rebuilds all, as one request.
pub(crate) async fn run(tx: &mut Tx) -> Result<Rebuilt, StoreError> {
    let conn = tx.writing().await?;
    for clear in [
        "DELETE FROM aggregates",
        "DELETE FROM executions",
        "DELETE FROM holds",
        "UPDATE model_calls SET closed_seq = NULL WHERE closed_seq IS NOT NULL",
    ] {
        sqlx::query(clear).execute(&mut *conn).await?;
    }
    let mut rebuilt = Rebuilt::default();
    let mut last = None;
    loop {
        // `seq = 1` finds each log once; the nil id comes before every other.
        let rows = sqlx::query(
            "SELECT execution FROM events WHERE execution > ?1 AND seq = 1 ORDER BY execution LIMIT ?2",
        )
        .bind(last.unwrap_or(Uuid::nil()))
        .bind(EXECUTIONS_PAGE)
        .fetch_all(&mut *conn)
        .await?;
        if rows.is_empty() {
            break;
        }
        for row in rows {
            let id: Uuid = row.try_get(0)?;
            last = Some(id);
            rebuilt.executions += 1;
            rebuilt.events += rebuild_one(conn, ExecutionId(id)).await?;
        }
    }
    // A pragma takes no parameters.
    sqlx::query(AssertSqlSafe(format!("PRAGMA user_version = {PROJECTIONS}"))).execute(conn).await?;
    Ok(rebuilt)
}

async fn rebuild_one(conn: &mut SqliteConnection, id: ExecutionId) -> Result<u64, StoreError> {
    let mut execution: Option<Execution> = None;
    let mut record = Record::default();
    loop {
        let after = execution.as_ref().map_or(0, |execution| execution.seq);
        let events = load::page(conn, id, after).await?;
        if events.is_empty() {
            break;
        }
        for event in &events {
            match &mut execution {
                Some(execution) => record.fold(execution, event),
                None => execution = Some(Execution::from_first(event).map_err(StoreError::Corrupt)?),
            }
        }
    }
    let Some(execution) = execution else { return Ok(0) };
    record.write_projections(conn, &execution).await?;
    write_execution(conn, &execution, None).await?;
    Ok(execution.seq)
}
