//! `GET /v1/executions/{id}/logs/{worker|cli|container}`: the last lines of what a session's worker, its CLI or
//! the first process of its container have written. For operators; what a conversation says is in its events.

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use holdpoint_control::LogOf;
use holdpoint_model::{Incarnation, TokenScope};
use http::header;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use crate::{
    auth::{Act, Caller, execution},
    body::{Path, Query},
    limits,
    openapi::{Doc, Gives, Group, Operation},
    problem::Problem,
    state::WebState,
};

pub(super) const LOGS: Doc = Doc::new(Group::Sessions, "getLog", "Read what a session's processes wrote")
    .text("The last lines. What a conversation says is in its events.")
    .scope(TokenScope::Operate)
    .problems(&[
        (404, "no_log"),
        (404, "not_found"),
        (404, "unknown_route"),
        (409, "no_container"),
        (409, "no_worker"),
        (410, "worker_gone"),
        (502, "engine_failed"),
    ]);

/// Text.
#[derive(Debug)]
pub(super) struct Text(Response);

impl IntoResponse for Text {
    fn into_response(self) -> Response {
        self.0
    }
}

impl Gives for Text {
    fn describe(operation: &mut Operation<'_>) {
        operation.answer(200, "The last lines.", Some(("text/plain", json!({ "type": "string" }))));
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Params {
    /// Lines, from the end, at most 20 000.
    #[schemars(range(max = 4_294_967_295_u32))]
    tail: Option<u32>,
    /// Of which worker; the newest where absent.
    #[schemars(range(max = 4_294_967_295_u32))]
    worker: Option<Incarnation>,
}

pub(super) async fn logs(
    State(state): State<WebState>,
    caller: Caller,
    Path((id, of)): Path<(String, String)>,
    Query(params): Query<Params>,
) -> Result<Text, Problem> {
    caller.check_look_inside()?;
    let id = execution(&state, &caller, &id, Act::See).await?.id;
    let of = match of.as_str() {
        "worker" => LogOf::Worker,
        "cli" => LogOf::Cli,
        "container" => LogOf::Container,
        other => return Err(super::unknown_route(&format!("/v1/executions/{id}/logs/{other}"))),
    };
    let tail = params.tail.and_then(|tail| usize::try_from(tail).ok());
    let lines = tail.unwrap_or(limits::LOG_LINES).clamp(1, limits::MAX_LOG_LINES);
    let text = state.control.log_of(id, of, params.worker, lines).await?;
    Ok(Text(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response()))
}
