//! `POST /v1/executions/{id}/interrupt`, `/cancel`, `/finish`: three commands without a body.

use axum::{Json, extract::State};
use serde_json::Value;

use super::views;
use crate::{
    auth::{Act, Caller, execution},
    body::Path,
    problem::Problem,
    state::WebState,
};

/// Stops the present turn; the conversation goes on with the next message.
pub(super) async fn interrupt(
    State(state): State<WebState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let id = execution(&state, &caller, &id, Act::Steer).await?.id;
    let after = state.control.interrupt(id, caller.actor()).await?;
    Ok(Json(views::execution(&state, &caller, &after)))
}

/// Ends it now.
pub(super) async fn cancel(
    State(state): State<WebState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let id = execution(&state, &caller, &id, Act::Steer).await?.id;
    let after = state.control.cancel(id, caller.actor()).await?;
    Ok(Json(views::execution(&state, &caller, &after)))
}

/// Says that it is done: at once, or as soon as the present turn is over.
pub(super) async fn finish(
    State(state): State<WebState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let id = execution(&state, &caller, &id, Act::Steer).await?.id;
    let after = state.control.finish(id, caller.actor()).await?;
    Ok(Json(views::execution(&state, &caller, &after)))
}
