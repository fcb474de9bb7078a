//! `GET /v1/deletions`: what was deleted by rule, the latest first.

use axum::{Json, extract::State};
use holdpoint_model::{Actor, ExecutionId, TokenScope};
use holdpoint_store::{Deletion, Place};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    auth::Caller,
    body::{Page, Query},
    openapi::{Doc, Group},
    paging::{cut, page_size},
    problem::Problem,
    state::WebState,
    time::At,
};

pub(super) const DELETIONS: Doc = Doc::new(Group::Keeping, "listDeletions", "List what was deleted by rule")
    .text("The latest first.")
    .scope(TokenScope::Operate)
    .problems(&[(422, "invalid_request")]);

/// What is left of a conversation.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Deletion")]
pub(super) struct DeletionView {
    execution: ExecutionId,
    agent: String,
    title: String,
    owner: Actor,
    ended_at: At,
    deleted_at: At,
    by: Actor,
    /// The rule, in words.
    why: String,
    /// How many events its log had.
    events: u64,
    holds: u64,
    model_calls: u64,
    files_bytes: u64,
}

/// The same, with when its files went.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "DeletionRow")]
pub(super) struct DeletionRow {
    #[serde(flatten)]
    deletion: DeletionView,
    /// Null while they are still there.
    files_deleted_at: Option<At>,
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

pub(super) async fn deletions(
    State(state): State<WebState>,
    caller: Caller,
    Query(params): Query<Params>,
) -> Result<Json<Page<DeletionRow>>, Problem> {
    caller.check_operate()?;
    let after = params.cursor.map(|text| text.parse::<Place>()).transpose().map_err(Problem::invalid)?;
    let limit = page_size(params.limit);
    let mut rows = state.store().deletions(after, limit + 1).await?;
    let next = cut(&mut rows, limit, |row| row.place().to_string());
    let items = rows
        .into_iter()
        .map(|row| DeletionRow { files_deleted_at: row.files_deleted_at.map(At), deletion: view(row) });
    Ok(Json(Page { items: items.collect(), next }))
}

/// What is left of an execution, but for when its files went.
pub(super) fn view(deletion: Deletion) -> DeletionView {
    DeletionView {
        execution: deletion.execution,
        agent: deletion.agent,
        title: deletion.title,
        owner: deletion.owner,
        ended_at: At(deletion.ended_at),
        deleted_at: At(deletion.deleted_at),
        by: deletion.by,
        why: deletion.why,
        events: deletion.events,
        holds: deletion.holds,
        model_calls: deletion.model_calls,
        files_bytes: deletion.files_bytes,
    }
}
