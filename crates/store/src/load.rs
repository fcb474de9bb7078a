//! Reading one execution: its snapshot, and the events after it.

use std::collections::HashSet;

use holdpoint_model::{Event, Execution, ExecutionId, Seq};
use sqlx::{QueryBuilder, Row as _, Sqlite, SqliteConnection};
use uuid::Uuid;

use crate::StoreError;
use crate::codec::{event, from_json, signed};

/// How many events a replay reads at a time: each may hold a tool result of a quarter megabyte.
const REPLAY_PAGE: u32 = 256;

/// An execution as the connection sees it. A snapshot that is missing, behind, or that this program
/// cannot read is made up for by the log.
pub(crate) async fn execution(
    conn: &mut SqliteConnection,
    id: ExecutionId,
) -> Result<Option<Execution>, StoreError> {
    let row = sqlx::query("SELECT state FROM aggregates WHERE execution = ?1")
        .bind(id.0)
        .fetch_optional(&mut *conn)
        .await?;
    let mut execution = None;
    if let Some(row) = row {
        match from_json::<Execution>("a snapshot", row.try_get(0)?) {
            Ok(snapshot) => execution = Some(snapshot),
            Err(error) => tracing::warn!(%id, %error, "a snapshot cannot be read; replaying the log"),
        }
    }
    loop {
        let after = execution.as_ref().map_or(0, |execution: &Execution| execution.seq);
        let events = page(conn, id, after).await?;
        if events.is_empty() {
            return Ok(execution);
        }
        for event in &events {
            match &mut execution {
                Some(execution) => execution.evolve(event),
                None => execution = Some(Execution::from_first(event).map_err(StoreError::Corrupt)?),
            }
        }
    }
}

/// Those of some executions that there are. Whose snapshot is at the end of its log comes by one statement, which is
/// as good as all of them; the others one by one.
pub(crate) async fn executions(
    conn: &mut SqliteConnection,
    ids: &[ExecutionId],
) -> Result<Vec<(ExecutionId, Execution)>, StoreError> {
    let mut query = QueryBuilder::<Sqlite>::new(
        "SELECT a.execution, a.state FROM aggregates a
         WHERE a.seq = (SELECT max(e.seq) FROM events e WHERE e.execution = a.execution) AND a.execution IN (",
    );
    let mut list = query.separated(", ");
    for id in ids {
        list.push_bind(id.0);
    }
    query.push(")");
    let rows = query.build().persistent(false).fetch_all(&mut *conn).await?;
    let mut found = Vec::with_capacity(ids.len());
    for row in &rows {
        // One that this program cannot read is replayed below.
        if let Ok(execution) = from_json::<Execution>("a snapshot", row.try_get(1)?) {
            found.push((ExecutionId(row.try_get::<Uuid, _>(0)?), execution));
        }
    }
    let known: HashSet<ExecutionId> = found.iter().map(|(id, _)| *id).collect();
    for id in ids.iter().filter(|id| !known.contains(id)) {
        found.extend(execution(conn, *id).await?.map(|execution| (*id, execution)));
    }
    Ok(found)
}

/// The next events after `after`, without a gap; empty at the end of the log.
pub(crate) async fn page(
    conn: &mut SqliteConnection,
    id: ExecutionId,
    after: Seq,
) -> Result<Vec<Event>, StoreError> {
    let rows = sqlx::query(
        "SELECT execution, seq, at, incarnation, worker_seq, kind, data FROM events
         WHERE execution = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3",
    )
    .bind(id.0)
    .bind(signed(after))
    .bind(REPLAY_PAGE)
    .fetch_all(conn)
    .await?;
    let events = rows.iter().map(event).collect::<Result<Vec<_>, _>>()?;
    for (expected, event) in (after + 1..).zip(&events) {
        if event.seq != expected {
            return Err(StoreError::Corrupt(format!(
                "the log of {id} has a gap: {expected} is missing before {}",
                event.seq
            )));
        }
    }
    Ok(events)
}
