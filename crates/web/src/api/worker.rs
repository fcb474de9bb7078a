//! `GET /v1/executions/{id}/worker`: what is seen of one session's worker. For operators.

use axum::{Json, extract::State};
use holdpoint_model::TokenScope;

use super::views::{self, WorkerView};
use crate::{
    auth::{Act, Caller, execution},
    body::Path,
    openapi::{Doc, Group},
    problem::Problem,
    state::WebState,
};

pub(super) const WORKER: Doc = Doc::new(Group::Sessions, "getWorker", "Look at a conversation's worker")
    .scope(TokenScope::Operate)
    .problems(&[(404, "not_found"), (409, "no_worker"), (410, "worker_gone"), (502, "engine_failed")]);

pub(super) async fn worker(
    State(state): State<WebState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<WorkerView>, Problem> {
    caller.check_look_inside()?;
    let id = execution(&state, &caller, &id, Act::See).await?.id;
    Ok(Json(views::instance(&state.control.look_inside(id).await?)))
}
