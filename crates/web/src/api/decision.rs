//! `POST /v1/holds/{id}/decision`: a person's answer. The first valid one wins.

use std::collections::BTreeMap;

use axum::{Json, extract::State};
use holdpoint_model::{DecisionRequest, hold::Scope};
use serde::Deserialize;
use serde_json::Value;

use super::views;
use crate::{
    auth::{Act, Caller, hold},
    body::{EncodedFile, Path, Upload, attachments},
    problem::Problem,
    state::WebState,
};

/// As in [`DecisionRequest`], with the files themselves instead of their paths.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Body {
    action: String,
    #[serde(default)]
    input: Option<Value>,
    #[serde(default)]
    message: Option<String>,
    #[serde(default)]
    answers: Option<BTreeMap<String, Value>>,
    #[serde(default)]
    notes: Option<BTreeMap<String, String>>,
    #[serde(default)]
    scope: Option<Scope>,
    #[serde(default)]
    digest: Option<String>,
    #[serde(default)]
    files: Vec<EncodedFile>,
}

pub(super) async fn decision(
    State(state): State<WebState>,
    caller: Caller,
    Path(id): Path<String>,
    Upload(body): Upload<Body>,
) -> Result<Json<Value>, Problem> {
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
