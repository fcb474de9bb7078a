//! `POST /v1/executions`: starts a conversation.

use std::collections::BTreeMap;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use holdpoint_control::{Attachment, Content, NewExecution, NewFile, Started};
use holdpoint_model::{AgentDef, Digest, TokenScope, UploadId, form::FieldKind};
use http::{StatusCode, header};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::views::{self, ExecutionView};
use crate::{
    auth::Caller,
    body::{EncodedFile, IdempotencyKey, Upload, attachments, check_count, digests},
    openapi::{Doc, Gives, Group, Operation},
    problem::Problem,
    state::WebState,
};

pub(super) const START: Doc = Doc::new(Group::Conversations, "startExecution", "Start a conversation")
    .text(
        "With what was filled into the agent's form (`GET /v1/agents`). Small files come with the request; larger \
         ones are uploaded before (`POST /v1/uploads`) and named here.",
    )
    .scope(TokenScope::Start)
    .problems(&[
        (404, "not_found"),
        (409, "attachments_in_the_way"),
        (422, "unknown_agent"),
        (422, "invalid_inputs"),
    ])
    .example(r#"{"agent": "claude", "inputs": {"prompt": "Say hello"}}"#);

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Body {
    /// The agent's name.
    agent: String,
    /// Fields of its form by name.
    #[serde(default)]
    inputs: BTreeMap<String, String>,
    /// Files that are for no field of the form.
    #[serde(default)]
    files: Vec<EncodedFile>,
    /// Uploads by the field of the form that they are for; under the empty name, for none.
    #[serde(default)]
    uploads: BTreeMap<String, Vec<UploadId>>,
}

/// A conversation that was started, now (201) or by an earlier request with the same key (200).
#[derive(Debug)]
pub(super) struct Conversation {
    existed: bool,
    location: String,
    view: ExecutionView,
}

impl Conversation {
    pub(super) fn new(state: &WebState, caller: &Caller, started: &Started) -> Self {
        let location = format!("/v1/executions/{}", started.execution.id);
        let view = views::execution(state, caller, &started.execution);
        Self { existed: started.existed, location, view }
    }
}

impl IntoResponse for Conversation {
    fn into_response(self) -> Response {
        let status = if self.existed { StatusCode::OK } else { StatusCode::CREATED };
        (status, [(header::LOCATION, self.location)], Json(self.view)).into_response()
    }
}

impl Gives for Conversation {
    fn describe(operation: &mut Operation<'_>) {
        let schema = operation.schema_of::<ExecutionView>();
        for (status, text) in [
            (200, "It was started by an earlier request with the same `Idempotency-Key`."),
            (201, "It is started."),
        ] {
            operation.answer(status, text, Some(("application/json", schema.clone())));
            operation.header(
                status,
                "Location",
                "Its address.",
                &json!({ "type": "string", "format": "uri-reference" }),
            );
        }
    }
}

pub(super) async fn start(
    State(state): State<WebState>,
    caller: Caller,
    IdempotencyKey(key): IdempotencyKey,
    Upload(body): Upload<Body>,
) -> Result<Conversation, Problem> {
    caller.check_start()?;
    let sent = attachments(body.files)?;
    let idempotency = match key {
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
    Ok(Conversation::new(&state, &caller, &started))
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
    let mut request = json!({ "agent": agent, "inputs": inputs, "files": digests(files) });
    // As it was before there were uploads, where there are none: keys are good across an upgrade.
    if !uploads.is_empty() {
        request["uploads"] = json!(uploads);
    }
    Digest::of(&request)
}
