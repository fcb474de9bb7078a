//! `POST /v1/holds/{id}/decision`: a person's answer. The first valid one wins.

use std::collections::BTreeMap;

use axum::{Json, extract::State};
use holdpoint_model::{DecisionRequest, TokenScope, hold::Scope};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::views::{self, HoldRowView};
use crate::{
    auth::{Act, Caller, hold},
    body::{EncodedFile, Path, Upload, attachments},
    openapi::{Doc, Group},
    problem::Problem,
    state::WebState,
};

pub(super) const DECISION: Doc = Doc::new(Group::Holds, "decide", "Answer a hold")
    .text(
        "The first valid answer wins, and every later one gets 409 `already_answered` with who gave it and what it \
         was: sending an answer again does nothing twice.",
    )
    .scope(TokenScope::Decide)
    .problems(&[
        (404, "not_found"),
        (409, "already_answered"),
        (409, "not_open"),
        (409, "attachments_in_the_way"),
        (410, "expired"),
    ])
    .example(r#"{"action": "allow"}"#);

/// As in [`DecisionRequest`], with the files themselves instead of their paths.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Body {
    /// `allow`, `deny`, `reply` or `answer`.
    action: String,
    /// With `allow`: the edited input. A plan's edited text is its `plan`.
    #[serde(default)]
    input: Option<Value>,
    /// With `deny`: the reason. With `reply`: the text.
    #[serde(default)]
    message: Option<String>,
    /// With `answer`: question → label, list of labels, or free text.
    #[serde(default)]
    answers: Option<BTreeMap<String, Value>>,
    /// With `answer`: question → notes.
    #[serde(default)]
    notes: Option<BTreeMap<String, String>>,
    /// With `allow`: once, or for this kind in this conversation.
    #[serde(default)]
    scope: Option<Scope>,
    /// The digest that was seen; refused where it is not the hold's.
    #[serde(default)]
    digest: Option<String>,
    /// With `reply`.
    #[serde(default)]
    files: Vec<EncodedFile>,
}

pub(super) async fn decision(
    State(state): State<WebState>,
    caller: Caller,
    Path(id): Path<String>,
    Upload(body): Upload<Body>,
) -> Result<Json<HoldRowView>, Problem> {
    let row = hold(&state, &caller, &id, Act::Decide).await?;
    let Body { action, input, message, answers, notes, scope, digest, files } = body;
    let files = attachments(files)?;
    if !files.is_empty() && action != "reply" {
        return Err(Problem::invalid("`files` go with `reply` alone"));
    }
    let request =
        DecisionRequest { action, input, message, answers, notes, files: Vec::new(), scope, digest };
    let after = state.control.decide_with_files(row.hold.id, request, files, caller.actor()).await?;
    Ok(Json(views::hold(&state, &after)))
}
