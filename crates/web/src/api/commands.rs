//! `POST /v1/executions/{id}/interrupt`, `/cancel`, `/finish`: three commands without a body.

use axum::{Json, extract::State};
use holdpoint_model::TokenScope;

use super::views::{self, ExecutionView};
use crate::{
    auth::{Act, Caller, execution},
    body::Path,
    openapi::{Doc, Group},
    problem::Problem,
    state::WebState,
};

pub(super) const INTERRUPT: Doc = Doc::new(Group::Conversations, "interrupt", "Stop the present turn")
    .text("The conversation goes on with the next message. Sent again, it finds nothing to stop.")
    .scope(TokenScope::Start)
    .problems(&[(404, "not_found"), (409, "ended"), (409, "not_running"), (409, "conflict")]);

pub(super) const CANCEL: Doc = Doc::new(Group::Conversations, "cancel", "End a conversation now")
    .text("What runs is stopped. Transcript and files are kept.")
    .scope(TokenScope::Start)
    .problems(&[(404, "not_found"), (409, "ended"), (409, "conflict")]);

pub(super) const FINISH: Doc = Doc::new(Group::Conversations, "finish", "Say that a conversation is done")
    .text("At once, or as soon as the present turn is over.")
    .scope(TokenScope::Start)
    .problems(&[(404, "not_found"), (409, "ended"), (409, "conflict")]);

/// Stops the present turn; the conversation goes on with the next message.
pub(super) async fn interrupt(
    State(state): State<WebState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<ExecutionView>, Problem> {
    let id = execution(&state, &caller, &id, Act::Steer).await?.id;
    let after = state.control.interrupt(id, caller.actor()).await?;
    Ok(Json(views::execution(&state, &caller, &after)))
}

/// Ends it now.
pub(super) async fn cancel(
    State(state): State<WebState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<ExecutionView>, Problem> {
    let id = execution(&state, &caller, &id, Act::Steer).await?.id;
    let after = state.control.cancel(id, caller.actor()).await?;
    Ok(Json(views::execution(&state, &caller, &after)))
}

/// Says that it is done: at once, or as soon as the present turn is over.
pub(super) async fn finish(
    State(state): State<WebState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<ExecutionView>, Problem> {
    let id = execution(&state, &caller, &id, Act::Steer).await?.id;
    let after = state.control.finish(id, caller.actor()).await?;
    Ok(Json(views::execution(&state, &caller, &after)))
}
