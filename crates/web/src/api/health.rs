//! `GET /health`: whether the server and its database answer. Without signing in.

use axum::{Json, extract::State};
use serde_json::{Value, json};

use crate::{compat::kodosumi, problem::Problem, state::WebState};

pub(super) async fn health(State(state): State<WebState>) -> Result<Json<Value>, Problem> {
    state.store().count_users().await?;
    let mut health = kodosumi::health(&state);
    health["status"] = json!("ok");
    health["version"] = json!(&*state.version);
    Ok(Json(health))
}
