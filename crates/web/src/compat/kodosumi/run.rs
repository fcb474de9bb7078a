//! An execution as these clients see it.

use std::sync::Arc;

use holdpoint_model::{Actor, AgentDef, Execution, Standing, Status, UnixMs, execution::Outcome};
use holdpoint_store::ExecutionRow;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    auth::{Act, Caller, execution_as},
    problem::Problem,
    state::WebState,
};

/// The version of the API that is spoken here.
pub(super) const API_VERSION: &str = "1.1.0";

/// What an execution without a result gives.
const NOTHING_YET: &str = "no result, yet. please be patient.";

/// The execution, in these clients' words where there is none.
pub(super) async fn find(
    state: &WebState,
    caller: &Caller,
    fid: &str,
    act: Act,
) -> Result<Arc<Execution>, Problem> {
    Ok(find_as(state, caller, fid, act).await?.0)
}

/// The same, and how the caller stands to it.
pub(super) async fn find_as(
    state: &WebState,
    caller: &Caller,
    fid: &str,
    act: Act,
) -> Result<(Arc<Execution>, Standing), Problem> {
    execution_as(state, caller, fid, act).await.map_err(|mut problem| {
        if problem.status == http::StatusCode::NOT_FOUND {
            problem.detail = format!("Execution {fid} not found.");
        }
        problem
    })
}

/// Seconds since the epoch, as all times of this API.
#[allow(clippy::cast_precision_loss)]
pub(super) fn seconds(at: UnixMs) -> f64 {
    at as f64 / 1000.0
}

/// A time as its timeline has it: UTC, without a zone.
pub(super) fn iso(at: UnixMs) -> String {
    let at = Timestamp::from_millisecond(at).unwrap_or(Timestamp::UNIX_EPOCH);
    at.strftime("%Y-%m-%dT%H:%M:%S%.6f").to_string()
}

/// The words for how it stands: what a person ended is an `error` there.
pub(super) fn status(status: Status) -> &'static str {
    match status {
        Status::Cancelled => Status::Error.as_str(),
        other => other.as_str(),
    }
}

/// The same where a lock does not show.
pub(super) fn status_without_locks(now: Status) -> &'static str {
    match now {
        Status::Awaiting => Status::Running.as_str(),
        other => status(other),
    }
}

/// Why it could not go on, if so.
pub(super) fn failure(execution: &Execution) -> Option<String> {
    match &execution.outcome {
        Some(Outcome::Failed { error }) => Some(described(error)),
        Some(Outcome::Cancelled { by }) => Some(format!("{} ended it", by.name)),
        Some(Outcome::Finished { .. }) | None => None,
    }
}

/// A problem in a few sentences.
pub(super) fn described(error: &holdpoint_model::event::Problem) -> String {
    let parts = [&error.title, &error.detail, &error.hint];
    parts.into_iter().filter(|part| !part.is_empty()).cloned().collect::<Vec<_>>().join("\n")
}

/// The last turn's result in the form of this API.
pub(super) fn result(text: &str, structured: Option<&Value>) -> Value {
    match structured {
        Some(structured @ Value::Object(_)) => json!({ "dict": structured }),
        _ => json!({ "Markdown": { "body": text } }),
    }
}

/// What it came to, if it is over.
pub(super) fn outcome(execution: &Execution) -> Option<Value> {
    match execution.outcome.as_ref()? {
        Outcome::Finished { result: text, structured } => Some(result(text, structured.as_ref())),
        _ => failure(execution).map(|text| json!({ "Text": { "body": text } })),
    }
}

/// The same, or that there is none yet.
pub(super) fn outcome_or_patience(execution: &Execution) -> Value {
    outcome(execution).unwrap_or_else(|| json!({ "Markdown": { "body": NOTHING_YET } }))
}

/// The agent's name for people.
pub(super) fn summary<'a>(name: &'a str, agent: &'a AgentDef) -> &'a str {
    if agent.title.is_empty() { name } else { &agent.title }
}

pub(super) fn description(agent: &AgentDef) -> Option<&str> {
    Some(agent.description.as_str()).filter(|text| !text.is_empty())
}

/// Whose it is: a user's id there.
pub(super) fn username(owner: &Actor) -> String {
    owner.user.map_or_else(|| owner.name.clone(), |user| user.to_string())
}

pub(super) fn entry_point(agent: &str) -> String {
    format!("holdpoint:{agent}")
}

/// What the `meta` event tells.
pub(super) fn meta(state: &WebState, execution: &Execution) -> Value {
    let agent = &execution.definition;
    json!({ "dict": {
        "fid": execution.id,
        "username": username(&execution.owner),
        "app_url": &*state.base_url,
        "panel_url": &*state.base_url,
        "entry_point": entry_point(&execution.agent),
        "kodosumi": API_VERSION,
        "tags": agent.tags,
        "summary": summary(&execution.agent, agent),
        "description": description(agent),
        "deprecated": null,
        "author": agent.author,
        "organization": agent.organization,
        "version": &*state.version,
    } })
}

/// What was filled in.
pub(super) fn inputs(execution: &Execution) -> Value {
    json!({ "dict": execution.inputs })
}

/// The ids of its open locks.
pub(super) fn locks(execution: &Execution) -> Vec<String> {
    execution.open_holds().map(|hold| hold.id.to_string()).collect()
}

/// How long it has gone on, in seconds.
pub(super) fn runtime(row: &ExecutionRow) -> f64 {
    seconds(row.ended_at.unwrap_or(row.updated_at) - row.created_at)
}
