//! An execution's own rows: its snapshot, and its line in lists.

use holdpoint_model::{Execution, Keep, Status};
use sqlx::SqliteConnection;

use crate::StoreError;
use crate::codec::{signed, to_json};

/// Writes the snapshot and the list row. The list row's indexed columns are only touched when the
/// status has changed: SQLite rewrites every index over a column that an UPDATE names.
pub(crate) async fn write_execution(
    conn: &mut SqliteConnection,
    execution: &Execution,
    before: Option<Status>,
) -> Result<(), StoreError> {
    let state = to_json(execution)?;
    let open_holds = i64::try_from(execution.open_holds().count()).unwrap_or(i64::MAX);
    let attention = execution.residency.has_worker() || !execution.next().is_empty();
    if before == Some(execution.status) {
        sqlx::query(
            "UPDATE aggregates SET seq = ?2, state = ?3 WHERE execution = ?1;
             UPDATE executions SET seq = ?2, residency = ?4, updated_at = ?5, open_holds = ?6,
                cost_micros = ?7, attention = ?8 WHERE id = ?1",
        )
        .bind(execution.id.0)
        .bind(signed(execution.seq))
        .bind(state)
        .bind(execution.residency.as_str())
        .bind(execution.updated_at)
        .bind(open_holds)
        .bind(signed(execution.totals.cost_micros))
        .bind(attention)
        .execute(conn)
        .await?;
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO aggregates (execution, seq, state) VALUES (?1, ?2, ?3)
            ON CONFLICT (execution) DO UPDATE SET seq = ?2, state = ?3;
         INSERT INTO executions (id, seq, residency, updated_at, open_holds, cost_micros, attention,
                status, ended_at, created_at, rehearsal, agent, owner_user, owner, title, keep_ms, place, release)
            VALUES (?1, ?2, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17,
                (SELECT place FROM documents WHERE execution = ?1), ?18)
            ON CONFLICT (id) DO UPDATE SET seq = ?2, residency = ?4, updated_at = ?5, open_holds = ?6,
                cost_micros = ?7, attention = ?8, status = ?9, ended_at = ?10, release = ?18",
    )
    .bind(execution.id.0)
    .bind(signed(execution.seq))
    .bind(state)
    .bind(execution.residency.as_str())
    .bind(execution.updated_at)
    .bind(open_holds)
    .bind(signed(execution.totals.cost_micros))
    .bind(attention)
    .bind(execution.status.as_str())
    .bind(execution.ended_at)
    .bind(execution.created_at)
    .bind(execution.rehearsal)
    .bind(&execution.agent)
    .bind(execution.owner.user.map(|user| user.0))
    .bind(to_json(&execution.owner)?)
    .bind(&execution.title)
    .bind(execution.definition.keep.map(Keep::ms))
    .bind(execution.release.as_ref().map(|release| release.number))
    .execute(conn)
    .await?;
    Ok(())
}
