//! `GET /health`: whether the server and its database answer. Without signing in.

use axum::{Json, extract::State};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    compat::kodosumi,
    openapi::{Doc, Group},
    problem::Problem,
    state::WebState,
};

pub(super) const HEALTH: Doc = Doc::new(Group::About, "health", "Whether the server and its database answer")
    .text("Needs no signing in. Members for clients of other APIs are left out here.");

/// How the server is doing.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Health {
    /// `ok`.
    status: &'static str,
    version: String,
    /// What clients of that API look for.
    #[serde(flatten)]
    kodosumi: Map<String, Value>,
}

pub(super) async fn health(State(state): State<WebState>) -> Result<Json<Health>, Problem> {
    state.store().count_users().await?;
    let version = state.version.to_string();
    Ok(Json(Health { status: "ok", version, kodosumi: kodosumi::health(&state) }))
}
