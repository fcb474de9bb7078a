//! `GET /v1/workers`: which sessions run, and how they are doing. For operators.

use axum::{Json, extract::State};
use holdpoint_model::{ExecutionId, Incarnation, Residency, Status, TokenScope};
use schemars::JsonSchema;
use serde::Serialize;

use super::views::{self, WorkerView};
use crate::{
    auth::Caller,
    body::Items,
    openapi::{Doc, Group},
    problem::Problem,
    state::WebState,
    time::At,
};

pub(super) const WORKERS: Doc = Doc::new(Group::Sessions, "listWorkers", "List the sessions that run")
    .scope(TokenScope::Operate)
    .problems(&[(502, "engine_failed")]);

/// A session that runs.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Session")]
pub(super) struct Seen {
    execution: ExecutionId,
    /// The agent's name.
    agent: String,
    title: String,
    status: Status,
    residency: Residency,
    incarnation: Incarnation,
    updated_at: At,
    /// Null where nothing is seen of it.
    worker: Option<WorkerView>,
}

pub(super) async fn workers(
    State(state): State<WebState>,
    caller: Caller,
) -> Result<Json<Items<Seen>>, Problem> {
    caller.check_look_inside()?;
    let items = state.control.workers().await?.into_iter().map(|seen| {
        let execution = &seen.execution;
        Seen {
            execution: execution.id,
            agent: execution.agent.clone(),
            title: execution.title.clone(),
            status: execution.status,
            residency: execution.residency,
            incarnation: execution.incarnation,
            updated_at: At(execution.updated_at),
            worker: seen.instance.as_ref().map(views::instance),
        }
    });
    Ok(Json(Items { items: items.collect() }))
}
