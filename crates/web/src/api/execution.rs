//! `GET /v1/executions/{id}`.

use axum::{Json, extract::State};
use serde_json::Value;

use super::views;
use crate::{
    auth::{self, Act, Caller},
    body::Path,
    problem::Problem,
    state::WebState,
};

pub(super) async fn execution(
    State(state): State<WebState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let execution = auth::execution(&state, &caller, &id, Act::See).await?;
    Ok(Json(views::execution(&state, &caller, &execution)))
}
