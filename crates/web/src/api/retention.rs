//! `GET /v1/retention`: what would be deleted by rule now; nothing is changed. `POST` deletes it, so many at
//! a time: `more` says whether to ask again.

use axum::{Json, extract::State};
use holdpoint_control::{DeleteError, Due, RetentionError};
use holdpoint_store::{Deed, Entry, Place};
use http::{StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json};

use super::deletions;
use crate::{
    auth::Caller,
    body::{self, Query},
    limits,
    problem::Problem,
    state::WebState,
    time::rfc3339,
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Params {
    cursor: Option<String>,
    limit: Option<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Body {
    /// How many at most.
    #[serde(default)]
    limit: Option<u32>,
}

pub(super) async fn due(
    State(state): State<WebState>,
    caller: Caller,
    Query(params): Query<Params>,
) -> Result<Json<Value>, Problem> {
    caller.check_operate()?;
    let after = params.cursor.map(|text| text.parse::<Place>()).transpose().map_err(Problem::invalid)?;
    let limit = params.limit.unwrap_or(limits::DEFAULT_PAGE).clamp(1, limits::MAX_PAGE);
    let page = state.control.due_for_deletion(after, limit).await?;
    let items: Vec<Value> = page.items.iter().map(due_view).collect();
    let next = page.next.map(|place| place.to_string());
    Ok(Json(json!({ "items": items, "next": next, "total": page.total })))
}

pub(super) async fn delete(
    State(state): State<WebState>,
    caller: Caller,
    body::Json(body): body::Json<Body>,
) -> Result<Json<Value>, Problem> {
    caller.check_operate()?;
    let limit = body.limit.unwrap_or(limits::DEFAULT_PAGE).clamp(1, limits::MAX_PAGE);
    let deleted = state.control.delete_due(&caller.actor(), limit).await?;
    if !deleted.deletions.is_empty() {
        let entry = Entry::new(Deed::Deleted, format!("{} by rule", deleted.deletions.len()));
        state.store().audit(caller.by(), entry).await?;
    }
    let items: Vec<Value> = deleted.deletions.iter().map(deletions::view).collect();
    Ok(Json(json!({ "items": items, "files_left": deleted.files_left, "more": deleted.more })))
}

fn due_view(due: &Due) -> Value {
    let execution = &due.execution;
    json!({
        "execution": execution.id,
        "agent": execution.agent,
        "title": execution.title,
        "owner": execution.owner,
        "ended_at": rfc3339(execution.ended_at),
        "events": execution.events,
        "files_bytes": due.files_bytes,
        "why": execution.why(),
    })
}

impl From<RetentionError> for Problem {
    fn from(error: RetentionError) -> Self {
        match error {
            RetentionError::Unsteady => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "clock_jumped",
                "the server's clock has jumped",
                "what is old cannot be told: nothing is deleted until the clock has gone on evenly for a minute",
            )
            .header(header::RETRY_AFTER, "60"),
            RetentionError::Store(error) => error.into(),
        }
    }
}

impl From<DeleteError> for Problem {
    fn from(error: DeleteError) -> Self {
        match error {
            DeleteError::Unknown => Self::not_found("execution"),
            DeleteError::Running => Self::new(
                StatusCode::CONFLICT,
                "still_running",
                "something of it still runs",
                "its worker has not ended yet; try again in a moment",
            ),
            DeleteError::Store(error) => error.into(),
        }
    }
}
