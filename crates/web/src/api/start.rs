//! `POST /v1/executions`: starts a conversation.

use std::collections::BTreeMap;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use holdpoint_control::{Attachment, Content, NewExecution, NewFile};
use holdpoint_model::{AgentDef, Digest, UploadId, form::FieldKind};
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use serde_json::json;

use super::views;
use crate::{
    auth::Caller,
    body::{EncodedFile, Upload, attachments, check_count},
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
    /// Uploads by the field of the form that they are for; under the empty name, for none.
    #[serde(default)]
    uploads: BTreeMap<String, Vec<UploadId>>,
}

pub(super) async fn start(
    State(state): State<WebState>,
    caller: Caller,
    headers: HeaderMap,
    Upload(body): Upload<Body>,
) -> Result<Response, Problem> {
    caller.check_start()?;
    let sent = attachments(body.files)?;
    let idempotency = match idempotency_key(&headers)? {
        Some(key) => {
            Some((caller.user, key, digest(&state, &body.agent, &body.inputs, &sent, &body.uploads)))
        }
        None => None,
    };
    let mut files: Vec<NewFile> = sent.into_iter().map(for_no_field).collect();
    for (field, ids) in body.uploads {
        let uploads =
            ids.into_iter().map(|id| NewFile { field: field.clone(), content: Content::Uploaded(id) });
        files.extend(uploads);
    }
    check_count(files.len())?;
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

fn for_no_field(file: Attachment) -> NewFile {
    NewFile { field: String::new(), content: Content::Sent(file) }
}

/// A digest of all that makes it this request. Passwords are left out: a digest of one could be guessed at.
fn digest(
    state: &WebState,
    agent: &str,
    inputs: &BTreeMap<String, String>,
    files: &[Attachment],
    uploads: &BTreeMap<String, Vec<UploadId>>,
) -> Digest {
    let form = state.control.agents().get(agent).map(AgentDef::fields).unwrap_or_default();
    let is_secret =
        |name: &str| form.iter().any(|field| field.kind == FieldKind::Password && field.name == name);
    let inputs: BTreeMap<_, _> = inputs.iter().filter(|(name, _)| !is_secret(name)).collect();
    let files: Vec<_> = files.iter().map(|file| json!([file.name, Digest::of_bytes(&file.bytes)])).collect();
    let mut request = json!({ "agent": agent, "inputs": inputs, "files": files });
    // As it was before there were uploads, where there are none: keys are good across an upgrade.
    if !uploads.is_empty() {
        request["uploads"] = json!(uploads);
    }
    Digest::of(&request)
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
