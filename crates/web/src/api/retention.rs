//! `GET /v1/retention`: what would be deleted by rule now; nothing is changed. `POST` deletes it, so many at
//! a time: `more` says whether to ask again.

use axum::{Json, extract::State};
use holdpoint_control::{DeleteError, Due, RetentionError};
use holdpoint_model::{Actor, ExecutionId, TokenScope};
use holdpoint_store::{Deed, Entry, Place};
use http::{StatusCode, header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::deletions::{self, DeletionView};
use crate::{
    auth::Caller,
    body::{self, Query},
    limits,
    openapi::{Doc, Group},
    problem::Problem,
    state::WebState,
    time::At,
};

pub(super) const DUE: Doc = Doc::new(Group::Keeping, "listDue", "List what would be deleted by rule now")
    .text("The earliest ended first. Nothing is changed.")
    .scope(TokenScope::Operate)
    .problems(&[(422, "invalid_request")]);

pub(super) const DELETE: Doc = Doc::new(Group::Keeping, "deleteDue", "Delete by rule now")
    .text(
        "So many at a time: `more` says whether to ask again. What is kept for longer, this does not touch.",
    )
    .scope(TokenScope::Operate)
    .problems(&[(503, "clock_jumped")])
    .example(r#"{"limit": 1}"#);

/// A page of what would be deleted.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "DuePage")]
pub(super) struct DueList {
    items: Vec<DueView>,
    /// Where the next page begins; null on the last.
    next: Option<String>,
    /// How many there are on all pages.
    total: u64,
}

/// A conversation that has been kept for long enough.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Due")]
struct DueView {
    execution: ExecutionId,
    agent: String,
    title: String,
    owner: Actor,
    ended_at: At,
    /// How many events its log has.
    events: u64,
    files_bytes: u64,
    /// The rule, in words.
    why: String,
}

/// What was deleted just now.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Deleted {
    items: Vec<DeletionView>,
    /// Those whose files could not be deleted; the next pass tries again.
    files_left: Vec<ExecutionId>,
    /// Whether there is more to delete.
    more: bool,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Params {
    /// The `next` of the page before.
    cursor: Option<String>,
    /// How many, at most 200.
    #[schemars(range(max = 4_294_967_295_u32))]
    limit: Option<u32>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Body {
    /// How many at most; never more than 200.
    #[serde(default)]
    #[schemars(range(max = 4_294_967_295_u32))]
    limit: Option<u32>,
}

pub(super) async fn due(
    State(state): State<WebState>,
    caller: Caller,
    Query(params): Query<Params>,
) -> Result<Json<DueList>, Problem> {
    caller.check_operate()?;
    let after = params.cursor.map(|text| text.parse::<Place>()).transpose().map_err(Problem::invalid)?;
    let limit = params.limit.unwrap_or(limits::DEFAULT_PAGE).clamp(1, limits::MAX_PAGE);
    let page = state.control.due_for_deletion(after, limit).await?;
    let next = page.next.map(|place| place.to_string());
    Ok(Json(DueList { items: page.items.into_iter().map(due_view).collect(), next, total: page.total }))
}

pub(super) async fn delete(
    State(state): State<WebState>,
    caller: Caller,
    body::Json(body): body::Json<Body>,
) -> Result<Json<Deleted>, Problem> {
    caller.check_operate()?;
    let limit = body.limit.unwrap_or(limits::DEFAULT_PAGE).clamp(1, limits::MAX_PAGE);
    let deleted = state.control.delete_due(&caller.actor(), limit).await?;
    if !deleted.deletions.is_empty() {
        let entry = Entry::new(Deed::Deleted, format!("{} by rule", deleted.deletions.len()));
        state.store().audit(caller.by(), entry).await?;
    }
    let items = deleted.deletions.into_iter().map(deletions::view).collect();
    Ok(Json(Deleted { items, files_left: deleted.files_left, more: deleted.more }))
}

fn due_view(due: Due) -> DueView {
    let execution = due.execution;
    DueView {
        why: execution.why(),
        execution: execution.id,
        agent: execution.agent,
        title: execution.title,
        owner: execution.owner,
        ended_at: At(execution.ended_at),
        events: execution.events,
        files_bytes: due.files_bytes,
    }
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
