//! `GET /v1/executions/{id}/logs/{worker|cli|container}`: the last lines of what a session's worker, its CLI or
//! the first process of its container have written. For operators; what a conversation says is in its events.

use axum::{
    extract::State,
    response::{IntoResponse as _, Response},
};
use holdpoint_control::LogOf;
use holdpoint_model::Incarnation;
use http::header;
use serde::Deserialize;

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
    /// Lines, from the end.
    tail: Option<usize>,
    /// Of which worker; the newest where absent.
    worker: Option<Incarnation>,
}

pub(super) async fn logs(
    State(state): State<WebState>,
    caller: Caller,
    Path((id, of)): Path<(String, String)>,
    Query(params): Query<Params>,
) -> Result<Response, Problem> {
    caller.check_look_inside()?;
    let id = execution(&state, &caller, &id, Act::See).await?.id;
    let of = match of.as_str() {
        "worker" => LogOf::Worker,
        "cli" => LogOf::Cli,
        "container" => LogOf::Container,
        other => return Err(super::unknown_route(&format!("/v1/executions/{id}/logs/{other}"))),
    };
    let lines = params.tail.unwrap_or(limits::LOG_LINES).clamp(1, limits::MAX_LOG_LINES);
    let text = state.control.log_of(id, of, params.worker, lines).await?;
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response())
}
