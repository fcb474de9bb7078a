//! `POST /v1/executions/{id}/messages`: the next message, or a word while the agent works.

use axum::{Json, extract::State};
use holdpoint_model::event::SendMode;
use serde::Deserialize;
use serde_json::Value;

use super::views;
use crate::{
    auth::{Act, Caller, execution},
    body::{EncodedFile, Path, Upload, attachments},
    problem::Problem,
    state::WebState,
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Body {
    text: String,
    #[serde(default)]
    mode: SendMode,
    #[serde(default)]
    files: Vec<EncodedFile>,
}

pub(super) async fn messages(
    State(state): State<WebState>,
    caller: Caller,
    Path(id): Path<String>,
    Upload(body): Upload<Body>,
) -> Result<Json<Value>, Problem> {
    let id = execution(&state, &caller, &id, Act::Steer).await?.id;
    let files = attachments(body.files)?;
    let after = state.control.message(id, body.text, files, body.mode, caller.actor()).await?;
    Ok(Json(views::execution(&state, &caller, &after)))
}
