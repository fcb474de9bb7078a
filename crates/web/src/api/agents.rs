//! `GET /v1/agents`: what conversations can be started with.

use axum::{Json, extract::State};
use serde_json::{Value, json};

use crate::{auth::Caller, state::WebState};

pub(super) async fn agents(State(state): State<WebState>, _: Caller) -> Json<Value> {
    let items: Vec<Value> = state
        .control
        .agents()
        .iter()
        .map(|(name, agent)| {
            json!({
                "name": name,
                "title": if agent.title.is_empty() { name } else { &agent.title },
                "description": agent.description,
                "form": agent.fields(),
                "completion": agent.completion,
                "rehearsal": state.control.rehearsal() || agent.rehearsal.is_some(),
            })
        })
        .collect();
    Json(json!({ "items": items }))
}
