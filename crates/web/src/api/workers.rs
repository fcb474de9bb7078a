//! `GET /v1/workers`: which sessions run, and how they are doing. For operators.

use axum::{Json, extract::State};
use serde_json::{Value, json};

use super::views;
use crate::{auth::Caller, problem::Problem, state::WebState, time::rfc3339};

pub(super) async fn workers(State(state): State<WebState>, caller: Caller) -> Result<Json<Value>, Problem> {
    caller.check_look_inside()?;
    let items = state.control.workers().await?.into_iter().map(|seen| {
        let execution = &seen.execution;
        json!({
            "execution": execution.id,
            "agent": execution.agent,
            "title": execution.title,
            "status": execution.status.as_str(),
            "residency": execution.residency.as_str(),
            "incarnation": execution.incarnation,
            "updated_at": rfc3339(execution.updated_at),
            "worker": seen.instance.as_ref().map(views::instance),
        })
    });
    Ok(Json(json!({ "items": items.collect::<Vec<_>>() })))
}
