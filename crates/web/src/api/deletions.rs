//! `GET /v1/deletions`: what was deleted by rule, the latest first.

use axum::{Json, extract::State};
use holdpoint_store::{Deletion, Place};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{auth::Caller, body::Query, limits, problem::Problem, state::WebState, time::rfc3339};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Params {
    cursor: Option<String>,
    limit: Option<u32>,
}

pub(super) async fn deletions(
    State(state): State<WebState>,
    caller: Caller,
    Query(params): Query<Params>,
) -> Result<Json<Value>, Problem> {
    caller.check_operate()?;
    let after = params.cursor.map(|text| text.parse::<Place>()).transpose().map_err(Problem::invalid)?;
    let limit = params.limit.unwrap_or(limits::DEFAULT_PAGE).clamp(1, limits::MAX_PAGE);
    let mut rows = state.store().deletions(after, limit + 1).await?;
    let more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    let next = rows.last().filter(|_| more).map(|row| row.place().to_string());
    let items: Vec<Value> = rows
        .iter()
        .map(|row| {
            let mut view = view(row);
            view["files_deleted_at"] = json!(row.files_deleted_at.map(rfc3339));
            view
        })
        .collect();
    Ok(Json(json!({ "items": items, "next": next })))
}

/// What is left of an execution, but for when its files went.
pub(super) fn view(deletion: &Deletion) -> Value {
    json!({
        "execution": deletion.execution,
        "agent": deletion.agent,
        "title": deletion.title,
        "owner": deletion.owner,
        "ended_at": rfc3339(deletion.ended_at),
        "deleted_at": rfc3339(deletion.deleted_at),
        "by": deletion.by,
        "why": deletion.why,
        "events": deletion.events,
        "holds": deletion.holds,
        "model_calls": deletion.model_calls,
        "files_bytes": deletion.files_bytes,
    })
}
