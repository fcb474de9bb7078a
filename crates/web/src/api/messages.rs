//! `POST /v1/executions/{id}/messages`: the next message, or a word while the agent works.

use axum::{Json, extract::State};
use holdpoint_control::NewMessage;
use holdpoint_model::{Digest, TokenScope, event::SendMode};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::views::{self, ExecutionView};
use crate::{
    auth::{Act, Caller, execution},
    body::{EncodedFile, IdempotencyKey, Path, Upload, attachments, digests},
    openapi::{Doc, Group},
    problem::Problem,
    state::WebState,
};

pub(super) const MESSAGES: Doc = Doc::new(Group::Conversations, "sendMessage", "Write to a conversation")
    .text("The next message, which answers the reply hold if one is open, or a word while the agent works.")
    .scope(TokenScope::Start)
    .problems(&[(404, "not_found"), (409, "attachments_in_the_way"), (409, "conflict"), (409, "ended")])
    .example(r#"{"text": "Go on", "mode": "queue"}"#);

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Body {
    text: String,
    /// When it is sent while the agent works.
    #[serde(default)]
    mode: SendMode,
    #[serde(default)]
    files: Vec<EncodedFile>,
}

pub(super) async fn messages(
    State(state): State<WebState>,
    caller: Caller,
    Path(id): Path<String>,
    IdempotencyKey(key): IdempotencyKey,
    Upload(body): Upload<Body>,
) -> Result<Json<ExecutionView>, Problem> {
    let id = execution(&state, &caller, &id, Act::Steer).await?.id;
    let files = attachments(body.files)?;
    let idempotency = key.map(|key| {
        let request =
            json!({ "message": id, "text": body.text, "mode": body.mode, "files": digests(&files) });
        (caller.user, key, Digest::of(&request))
    });
    let new = NewMessage { text: body.text, files, mode: body.mode, by: caller.actor(), idempotency };
    let after = state.control.message_once(id, new).await?;
    Ok(Json(views::execution(&state, &caller, &after)))
}
