//! `POST /v1/executions`: starts a conversation.

use std::collections::BTreeMap;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use holdpoint_control::{Attachment, NewExecution};
use holdpoint_model::{Digest, UserId};
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use serde_json::json;

use super::views;
use crate::{
    auth::Caller,
    body::{EncodedFile, Upload, attachments},
    limits,
    problem::Problem,
    state::WebState,
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Body {
    agent: String,
    #[serde(default)]
    inputs: BTreeMap<String, String>,
    #[serde(default)]
    files: Vec<EncodedFile>,
}

pub(super) async fn start(
    State(state): State<WebState>,
    caller: Caller,
    headers: HeaderMap,
    Upload(body): Upload<Body>,
) -> Result<Response, Problem> {
    caller.check_start()?;
    let files = attachments(body.files)?;
    let idempotency = idempotency(&headers, caller.user, &body.agent, &body.inputs, &files)?;
    let started = state
        .control
        .start(NewExecution {
            agent: body.agent,
            inputs: body.inputs,
            files,
            by: caller.actor(),
            idempotency,
        })
        .await?;
    let status = if started.existed { StatusCode::OK } else { StatusCode::CREATED };
    let location = format!("/v1/executions/{}", started.execution.id);
    let view = views::execution(&state, &caller, &started.execution);
    Ok((status, [(header::LOCATION, location)], Json(view)).into_response())
}

/// The key of the request, with a digest of all that makes it this request.
fn idempotency(
    headers: &HeaderMap,
    user: UserId,
    agent: &str,
    inputs: &BTreeMap<String, String>,
    files: &[Attachment],
) -> Result<Option<(UserId, String, Digest)>, Problem> {
    let Some(key) = idempotency_key(headers)? else { return Ok(None) };
    let files: Vec<_> = files.iter().map(|file| json!([file.name, Digest::of_bytes(&file.bytes)])).collect();
    let digest = Digest::of(&json!({ "agent": agent, "inputs": inputs, "files": files }));
    Ok(Some((user, key, digest)))
}

/// The `Idempotency-Key` header.
pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(key) = headers.get("idempotency-key") else { return Ok(None) };
    let key =
        key.to_str().ok().filter(|key| !key.is_empty() && key.len() <= limits::MAX_IDEMPOTENCY_KEY_BYTES);
    let Some(key) = key else {
        return Err(Problem::invalid(format!(
            "`Idempotency-Key` must be 1 to {} visible ASCII characters",
            limits::MAX_IDEMPOTENCY_KEY_BYTES
        )));
    };
    Ok(Some(key.to_owned()))
}
