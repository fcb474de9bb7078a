//! `GET /v1/executions/{id}/checkpoints` and `POST /v1/executions/{id}/fork`: time travel.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use holdpoint_control::NewFork;
use holdpoint_model::{Digest, Seq};
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{start::idempotency_key, views};
use crate::{
    auth::{Act, Caller, execution},
    body::{Path, Upload},
    problem::Problem,
    state::WebState,
};

/// The points at which another conversation can branch off: where a turn was over.
pub(super) async fn checkpoints(
    State(state): State<WebState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let id = execution(&state, &caller, &id, Act::See).await?.id;
    let items: Vec<Value> = state
        .control
        .branching_points(id)
        .await?
        .into_iter()
        .map(|(seq, checkpoint)| {
            json!({ "seq": seq, "at": checkpoint.at, "id": checkpoint.id,
                    "files": checkpoint.files, "bytes": checkpoint.bytes })
        })
        .collect();
    Ok(Json(json!({ "items": items })))
}

#[derive(Debug, Deserialize)]
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
    headers: HeaderMap,
    Upload(body): Upload<Body>,
) -> Result<Response, Problem> {
    let from = execution(&state, &caller, &id, Act::See).await?.id;
    caller.check_start()?;
    let request = Digest::of(&json!({ "fork": from, "seq": body.seq, "message": body.message }));
    let idempotency = idempotency_key(&headers)?.map(|key| (caller.user, key, request));
    let new = NewFork { from, seq: body.seq, message: body.message, by: caller.actor(), idempotency };
    let started = state.control.fork(new).await?;
    let status = if started.existed { StatusCode::OK } else { StatusCode::CREATED };
    let location = format!("/v1/executions/{}", started.execution.id);
    let view = views::execution(&state, &caller, &started.execution);
    Ok((status, [(header::LOCATION, location)], Json(view)).into_response())
}
