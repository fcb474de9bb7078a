//! `GET /v1/holds/{id}`, settled ones too.

use axum::{Json, extract::State};
use serde_json::Value;

use super::views;
use crate::{
    auth::{self, Act, Caller},
    body::Path,
    problem::Problem,
    state::WebState,
};

pub(super) async fn hold(
    State(state): State<WebState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let row = auth::hold(&state, &caller, &id, Act::See).await?;
    Ok(Json(views::hold(&state, &row)))
}
