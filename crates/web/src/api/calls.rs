//! `GET /v1/executions/{id}/calls`: what the model answered, from the gateway's record, in pages.

use axum::{Json, extract::State};
use holdpoint_model::Seq;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    auth::{Act, Caller, execution},
    body::{Path, Query},
    limits,
    openapi::{Doc, Group},
    paging::cut,
    problem::Problem,
    state::WebState,
};

pub(super) const CALLS: Doc = Doc::new(Group::Conversations, "listCalls", "Read what the model answered")
    .text("From the gateway's own record, in order; `next` is to be sent as `after`.")
    .problems(&[(404, "not_found")]);

/// A page of model calls.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "CallPage")]
pub(super) struct Calls {
    items: Vec<Call>,
    /// Where the next page begins; null on the last.
    next: Option<Seq>,
    /// Where everything of this conversation is on the server: paths in responses begin with it.
    folder: String,
}

/// A model call that is whole.
#[derive(Debug, Serialize, JsonSchema)]
struct Call {
    /// Its `model_call` event.
    seq: Seq,
    /// Which line of the conversation.
    thread: String,
    /// What was new in the request; null where an older version recorded the call.
    asked: Option<Value>,
    /// The whole response.
    response: Value,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Params {
    /// Calls after this event; 0 for all.
    #[serde(default)]
    #[schemars(range(max = u64::MAX))]
    after: Seq,
}

pub(super) async fn calls(
    State(state): State<WebState>,
    caller: Caller,
    Path(id): Path<String>,
    Query(params): Query<Params>,
) -> Result<Json<Calls>, Problem> {
    let id = execution(&state, &caller, &id, Act::See).await?.id;
    let mut calls = state.store().recorded_calls(id, params.after, limits::CALLS_PAGE + 1).await?;
    let next = cut(&mut calls, limits::CALLS_PAGE, |call| call.seq);
    let items = calls.into_iter().map(|call| Call {
        seq: call.seq,
        thread: call.thread,
        asked: call.asked,
        response: call.response,
    });
    let folder = state.control.folder(id).display().to_string();
    Ok(Json(Calls { items: items.collect(), next, folder }))
}
