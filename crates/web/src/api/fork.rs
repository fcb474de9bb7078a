//! `GET /v1/executions/{id}/checkpoints` and `POST /v1/executions/{id}/fork`: time travel.

use axum::{Json, extract::State};
use holdpoint_control::NewFork;
use holdpoint_model::{Digest, Seq, TokenScope};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::start::Conversation;
use crate::{
    auth::{Act, Caller, execution},
    body::{IdempotencyKey, Items, Path, Upload},
    openapi::{Doc, Group},
    problem::Problem,
    state::WebState,
};

pub(super) const CHECKPOINTS: Doc =
    Doc::new(Group::Conversations, "listCheckpoints", "List where another conversation can branch off")
        .text("The points at which a turn was over.")
        .problems(&[(404, "not_found")]);

pub(super) const FORK: Doc =
    Doc::new(Group::Conversations, "fork", "Go on from a checkpoint in a new conversation")
        .text("Workspace included; the conversation that it branches off from stays as it is.")
        .scope(TokenScope::Start)
        .problems(&[(404, "not_found"), (409, "checkpoint_damaged"), (422, "no_checkpoint")])
        .example(r#"{"message": "Try it another way"}"#);

/// A point at which another conversation can branch off.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "BranchingPoint")]
pub(super) struct Point {
    /// To be sent with `fork`.
    seq: Seq,
    /// Up to which event it goes.
    at: Seq,
    id: String,
    /// Files in it.
    files: u64,
    /// Their bytes.
    bytes: u64,
}

/// The points at which another conversation can branch off: where a turn was over.
pub(super) async fn checkpoints(
    State(state): State<WebState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Items<Point>>, Problem> {
    let id = execution(&state, &caller, &id, Act::See).await?.id;
    let points = state.control.branching_points(id).await?;
    let items = points.into_iter().map(|(seq, checkpoint)| Point {
        seq,
        at: checkpoint.at,
        id: checkpoint.id,
        files: checkpoint.files,
        bytes: checkpoint.bytes,
    });
    Ok(Json(Items { items: items.collect() }))
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Body {
    /// A `seq` of the list of checkpoints; the last one where absent.
    #[serde(default)]
    seq: Option<Seq>,
    /// What to say there.
    message: String,
}

/// Starts a conversation that goes on from a checkpoint of this one, workspace included.
pub(super) async fn fork(
    State(state): State<WebState>,
    caller: Caller,
    Path(id): Path<String>,
    IdempotencyKey(key): IdempotencyKey,
    Upload(body): Upload<Body>,
) -> Result<Conversation, Problem> {
    let from = execution(&state, &caller, &id, Act::See).await?.id;
    caller.check_start()?;
    let request = Digest::of(&json!({ "fork": from, "seq": body.seq, "message": body.message }));
    let idempotency = key.map(|key| (caller.user, key, request));
    let new = NewFork { from, seq: body.seq, message: body.message, by: caller.actor(), idempotency };
    let started = state.control.fork(new).await?;
    Ok(Conversation::new(&state, &caller, &started))
}
