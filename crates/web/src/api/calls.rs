//! `GET /v1/executions/{id}/calls`: what the model answered, from the gateway's record, in pages.

use axum::{Json, extract::State};
use holdpoint_model::Seq;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    auth::{Act, Caller, execution},
    body::{Path, Query},
    limits,
    problem::Problem,
    state::WebState,
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Params {
    /// Calls after this event; 0 for all.
    #[serde(default)]
    after: Seq,
}

/// `asked` is what was new in a request, null where an older version recorded the call. `folder` is where
/// everything of this conversation is: paths in responses begin with it.
pub(super) async fn calls(
    State(state): State<WebState>,
    caller: Caller,
    Path(id): Path<String>,
    Query(params): Query<Params>,
) -> Result<Json<Value>, Problem> {
    let id = execution(&state, &caller, &id, Act::See).await?.id;
    let mut calls = state.store().recorded_calls(id, params.after, limits::CALLS_PAGE + 1).await?;
    let more = calls.len() > limits::CALLS_PAGE as usize;
    calls.truncate(limits::CALLS_PAGE as usize);
    let next = more.then(|| calls.last().map(|call| call.seq)).flatten();
    let items: Vec<Value> = calls
        .into_iter()
        .map(|call| {
            json!({ "seq": call.seq, "thread": call.thread, "asked": call.asked, "response": call.response })
        })
        .collect();
    Ok(Json(json!({ "items": items, "next": next, "folder": state.control.folder(id) })))
}
