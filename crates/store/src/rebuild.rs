//! Deleting every projection and making it again from the log.

use holdpoint_model::{Execution, ExecutionId};
use sqlx::{AssertSqlSafe, Row as _, SqliteConnection};
use uuid::Uuid;

use crate::writer::{Record, Tx, write_execution};
use crate::{Rebuilt, StoreError, figures, load, search};

/// The version of what the projections hold. Raise it with every change of the aggregate's shape or
/// of a projection: a data file of another version is rebuilt when it is opened.
pub(crate) const PROJECTIONS: i64 = 3;

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
    search::clear(conn).await?;
    figures::clear(conn).await?;
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
    let Some((execution, mut record)) = fold_log(conn, id).await? else { return Ok(0) };
    record.write_projections(conn, &execution).await?;
    if let Some(said) = record.take_found() {
        let change = search::write(conn, &execution, &said).await?;
        search::index(conn, change.into_iter().collect()).await?;
    }
    write_execution(conn, &execution, None).await?;
    Ok(execution.seq)
}

/// An execution as its whole log makes it, and what that changes in the projections.
pub(crate) async fn fold_log(
    conn: &mut SqliteConnection,
    id: ExecutionId,
) -> Result<Option<(Execution, Record)>, StoreError> {
    let mut folded: Option<(Execution, Record)> = None;
    loop {
        let after = folded.as_ref().map_or(0, |(execution, _)| execution.seq);
        let events = load::page(conn, id, after).await?;
        if events.is_empty() {
            return Ok(folded);
        }
        for event in &events {
            match &mut folded {
                Some((execution, record)) => record.fold(execution, event),
                None => folded = Some(Record::first(event)?),
            }
        }
    }
}
