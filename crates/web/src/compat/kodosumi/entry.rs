//! `/-/…`: an agent's entry form, and starting it. The last part of the address is the agent's name.

use std::collections::{BTreeMap, BTreeSet};

use axum::{
    Json,
    extract::State,
    response::{IntoResponse as _, Response},
};
use holdpoint_control::{Content, NewExecution, NewFile, StartError};
use holdpoint_model::{AgentDef, form::FieldKind};
use http::{StatusCode, header};
use serde_json::{Value, json};

use super::{
    ask::{self, Errors},
    client::Client,
    elements::{self, FILES},
    fields::Fields,
    run, uploads,
};
use crate::{
    body::{Path, check_count},
    encode,
    problem::Problem,
    state::WebState,
};

/// The agent that an address names.
fn find(state: &WebState, path: &str) -> Result<(String, AgentDef), Problem> {
    let name = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let known = state.control.agents().get(name).cloned();
    known.map(|agent| (name.to_owned(), agent)).ok_or_else(|| Problem::not_found("flow"))
}

pub(super) async fn form(
    State(state): State<WebState>,
    _: Client,
    Path(path): Path<String>,
) -> Result<Json<Value>, Problem> {
    let (name, agent) = find(&state, &path)?;
    Ok(Json(json!({
        "summary": run::summary(&name, &agent),
        "description": run::description(&agent),
        "tags": agent.tags,
        "openapi_extra": {
            "x-kodosumi": true,
            "x-author": agent.author,
            "x-organization": agent.organization,
            "x-version": &*state.version,
        },
        "elements": elements::of_agent(&agent),
    })))
}

/// The same form as a page is the panel's.
pub(super) async fn page(
    State(state): State<WebState>,
    _: Client,
    Path(path): Path<String>,
) -> Result<Response, Problem> {
    let (name, _) = find(&state, &path)?;
    let location = format!("/agents/{}", encode(&name));
    Ok((StatusCode::FOUND, [(header::LOCATION, location)]).into_response())
}

pub(super) async fn launch(
    State(state): State<WebState>,
    Client(caller): Client,
    Path(path): Path<String>,
    fields: Fields,
) -> Result<Json<Value>, Problem> {
    caller.check_start()?;
    let (name, agent) = find(&state, &path)?;
    let elements = elements::of_agent(&agent);
    let refused = |errors| Json(json!({ "errors": with_global(errors), "elements": elements }));
    let (mut chosen, mut batches) = (Vec::new(), BTreeSet::new());
    for (control, field) in file_controls(&agent) {
        match uploads::chosen(&state, &caller, fields.get(&control)).await? {
            Ok(of_field) => {
                chosen.extend(of_field.files.into_iter().map(|file| (field.clone(), file)));
                batches.extend(of_field.batch);
            }
            Err(why) => return Ok(refused(ask::error(&control, &why))),
        }
    }
    check_count(chosen.len())?;
    let (fields_of, files): (Vec<_>, Vec<_>) = chosen.into_iter().unzip();
    let kept = uploads::keep(&state, &caller, files).await?;
    let files = fields_of.into_iter().zip(&kept);
    let new = NewExecution {
        agent: name.to_owned(),
        inputs: inputs(&agent, &fields),
        files: files.map(|(field, id)| NewFile { field, content: Content::Uploaded(*id) }).collect(),
        by: caller.actor(),
        idempotency: None,
    };
    match state.control.start(new).await {
        Ok(started) => {
            for batch in batches {
                uploads::taken(&state, batch, started.execution.id).await?;
            }
            Ok(Json(json!({ "result": started.execution.id, "elements": elements })))
        }
        Err(error) => {
            // The pieces are still there for another try.
            uploads::give_up(&state, &caller, kept).await;
            match error {
                StartError::Invalid(errors) => {
                    Ok(refused(errors.into_iter().map(|(field, why)| (field, vec![why])).collect()))
                }
                error => Err(error.into()),
            }
        }
    }
}

/// Where files are chosen, and the field of the agent's form that they are for: empty where it has none.
fn file_controls(agent: &AgentDef) -> Vec<(String, String)> {
    let fields = agent.fields();
    let own = fields.iter().filter(|field| field.kind == FieldKind::File);
    let mut controls: Vec<_> = own.map(|field| (field.name.clone(), field.name.clone())).collect();
    if controls.is_empty() && !fields.iter().any(|field| field.name == FILES) {
        controls.push((FILES.to_owned(), String::new()));
    }
    controls
}

/// What the agent's form knows; clients send more than that.
fn inputs(agent: &AgentDef, fields: &Fields) -> BTreeMap<String, String> {
    let value = |name: &str, kind| match kind {
        FieldKind::Checkbox if fields.is_on(name) => "yes".to_owned(),
        FieldKind::Checkbox => String::new(),
        _ => fields.get(name).replace("\r\n", "\n"),
    };
    let fields =
        agent.fields().into_iter().filter(|field| field.kind.has_value() && field.kind != FieldKind::File);
    fields.map(|field| (field.name.clone(), value(&field.name, field.kind))).collect()
}

/// Errors always have a list for the whole form.
pub(super) fn with_global(mut errors: Errors) -> Errors {
    errors.entry("_global_".to_owned()).or_default();
    errors
}
