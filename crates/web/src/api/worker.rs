//! `GET /v1/executions/{id}/worker`: what is seen of one session's worker. For operators.

use axum::{Json, extract::State};
use serde_json::Value;

use super::views;
use crate::{
    auth::{Act, Caller, execution},
    body::Path,
    problem::Problem,
    state::WebState,
};

pub(super) async fn worker(
    State(state): State<WebState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    caller.check_look_inside()?;
    let id = execution(&state, &caller, &id, Act::See).await?.id;
    Ok(Json(views::instance(&state.control.look_inside(id).await?)))
}
