//! `GET /health`: whether the server and its database answer. Without signing in.

use axum::{Json, extract::State};
use serde_json::{Value, json};

use crate::{problem::Problem, state::WebState};

pub(super) async fn health(State(state): State<WebState>) -> Result<Json<Value>, Problem> {
    state.store().count_users().await?;
    Ok(Json(json!({ "status": "ok", "version": &*state.version })))
}
