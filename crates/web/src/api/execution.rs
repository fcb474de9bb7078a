//! `GET /v1/executions/{id}`.

use axum::{Json, extract::State};

use super::views::{self, ExecutionView};
use crate::{
    auth::{self, Act, Caller},
    body::Path,
    openapi::{Doc, Group},
    problem::Problem,
    state::WebState,
};

pub(super) const EXECUTION: Doc =
    Doc::new(Group::Conversations, "getExecution", "Look at a conversation").problems(&[(404, "not_found")]);

pub(super) async fn execution(
    State(state): State<WebState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<ExecutionView>, Problem> {
    let execution = auth::execution(&state, &caller, &id, Act::See).await?;
    Ok(Json(views::execution(&state, &caller, &execution)))
}
