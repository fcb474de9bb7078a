//! `/api/dashboard/…`: executions of the last hours in numbers. Everybody counts what they may see.

use std::collections::BTreeMap;

use axum::{Json, extract::State};
use holdpoint_model::{Event, EventBody, Execution, ExecutionId, Status, UnixMs, event::ResultFile};
use holdpoint_store::{ExecutionRow, ListFilter};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    client::Client,
    files as workspace,
    kinds::{Facts, Teller},
    run,
};
use crate::{
    auth::{Act, Caller},
    body::{Path, Query},
    collected, encode, limits,
    problem::Problem,
    state::WebState,
};

/// The time looked at where a client names none.
const DEFAULT_HOURS: u32 = 24;

/// Executions counted at most; of the newest.
const MAX_COUNTED: usize = 2_000;

/// Executions told one by one at most.
const MAX_TOLD: usize = 100;

/// Events of one execution told at most.
const MAX_EVENTS: usize = 5_000;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Params {
    hours: Option<u32>,
    agent_name: Option<String>,
    /// A user's id.
    user: Option<String>,
    status: Option<String>,
    /// Found in titles, whatever the case.
    search: Option<String>,
}

impl Params {
    fn hours(&self) -> u32 {
        self.hours.unwrap_or(DEFAULT_HOURS)
    }

    fn takes(&self, state: &WebState, row: &ExecutionRow) -> bool {
        let contains = |text: &str, part: &Option<String>| {
            part.as_ref().is_none_or(|part| text.to_lowercase().contains(&part.to_lowercase()))
        };
        let is = |text: &str, wanted: &Option<String>| wanted.as_ref().is_none_or(|wanted| wanted == text);
        let agents = state.control.agents();
        let agent = agents.get(&row.agent);
        let name = agent.map_or(row.agent.as_str(), |agent| run::summary(&row.agent, agent));
        (contains(name, &self.agent_name) || is(&row.agent, &self.agent_name))
            && (is(&run::username(&row.owner), &self.user) || is(&row.owner.name, &self.user))
            && is(run::status(row.status), &self.status)
            && (contains(&row.title, &self.search) || contains(name, &self.search))
    }

    /// The executions of those hours, newest first.
    async fn rows(&self, state: &WebState, caller: &Caller) -> Result<Vec<ExecutionRow>, Problem> {
        let since = state.now() - UnixMs::from(self.hours()) * 3_600_000;
        let filter = ListFilter { only_for: caller.sees_only(), ..ListFilter::default() };
        let (mut rows, mut before) = (Vec::new(), None);
        while rows.len() < MAX_COUNTED {
            let page = state.store().list(&filter, before, limits::MAX_PAGE).await?;
            let Some(last) = page.last() else { break };
            before = Some(last.cursor());
            let is_last = page.len() < limits::MAX_PAGE as usize || last.created_at < since;
            rows.extend(page.into_iter().filter(|row| row.created_at >= since && self.takes(state, row)));
            if is_last {
                break;
            }
        }
        Ok(rows)
    }
}

/// `running-agents`.
pub(super) async fn running(
    State(state): State<WebState>,
    Client(caller): Client,
    Query(params): Query<Params>,
) -> Result<Json<Value>, Problem> {
    let rows = params.rows(&state, &caller).await?;
    let mut agents = Vec::new();
    for row in rows.iter().take(MAX_TOLD) {
        let Some(mut told) = metadata(&state, row.id).await? else { continue };
        told.insert("user_name".into(), json!(row.owner.name));
        agents.push(told);
    }
    let filters = json!({
        "hours": params.hours(),
        "agent_name": params.agent_name,
        "user": params.user,
        "status": params.status,
        "search": params.search,
    });
    Ok(Json(json!({ "total": rows.len(), "agents": agents, "filters": filters })))
}

/// `errors`.
pub(super) async fn errors(
    State(state): State<WebState>,
    Client(caller): Client,
    Query(params): Query<Params>,
) -> Result<Json<Value>, Problem> {
    let mut rows = params.rows(&state, &caller).await?;
    rows.retain(|row| matches!(row.status, Status::Error | Status::Cancelled));
    let mut errors = Vec::new();
    for row in rows.iter().take(MAX_TOLD) {
        errors.extend(metadata(&state, row.id).await?);
    }
    Ok(Json(json!({ "total": rows.len(), "errors": errors })))
}

/// `timeline`.
pub(super) async fn timeline(
    State(state): State<WebState>,
    Client(caller): Client,
    Query(params): Query<Params>,
) -> Result<Json<Value>, Problem> {
    let rows = params.rows(&state, &caller).await?;
    let mut executions = Vec::new();
    for row in rows.iter().take(MAX_TOLD) {
        executions.extend(metadata(&state, row.id).await?);
    }
    Ok(Json(json!({ "total": rows.len(), "executions": executions })))
}

/// `agent-stats`.
pub(super) async fn stats(
    State(state): State<WebState>,
    Client(caller): Client,
    Query(params): Query<Params>,
) -> Result<Json<Value>, Problem> {
    let rows = params.rows(&state, &caller).await?;
    let (mut by_status, mut by_user) = (BTreeMap::<&str, u32>::new(), BTreeMap::<String, u32>::new());
    let mut runtime_s = 0.0;
    for row in &rows {
        *by_status.entry(run::status(row.status)).or_default() += 1;
        *by_user.entry(run::username(&row.owner)).or_default() += 1;
        runtime_s += run::runtime(row);
    }
    let failed = f64::from(by_status.get("error").copied().unwrap_or_default());
    let per_row = |sum: f64| match u32::try_from(rows.len()) {
        Ok(count @ 1..) => json!(sum / f64::from(count)),
        _ => json!(0),
    };
    Ok(Json(json!({
        "total_executions": rows.len(),
        "by_status": by_status,
        "by_user": by_user,
        "avg_runtime": per_row(runtime_s),
        "error_rate": per_row(failed),
    })))
}

/// `debug/user`: who calls.
pub(super) async fn me(Client(caller): Client) -> Json<Value> {
    Json(json!({
        "user_id": caller.user,
        "name": caller.name,
        "email": "",
        "operator": caller.is_operator(),
        "active": true,
    }))
}

/// `execution/{fid}/details`.
pub(super) async fn details(
    State(state): State<WebState>,
    Client(caller): Client,
    Path(fid): Path<String>,
) -> Result<Json<Value>, Problem> {
    let execution = run::find(&state, &caller, &fid, Act::See).await?;
    let events = told(&state, &execution).await?;
    let metadata = metadata(&state, execution.id).await?;
    Ok(Json(json!({ "metadata": metadata, "total_events": events.len(), "events": events })))
}

/// The log from its beginning, in that API's words.
async fn told(state: &WebState, execution: &Execution) -> Result<Vec<Value>, Problem> {
    let mut facts = Facts { meta: run::meta(state, execution), ..Facts::default() };
    let (mut teller, mut told, mut after) = (Teller::default(), Vec::new(), 0);
    while told.len() < MAX_EVENTS {
        let events: Vec<Event> = state.store().events(execution.id, after, limits::EVENTS_PAGE).await?;
        let Some(last) = events.last() else { break };
        after = last.seq;
        facts.sizes.extend(workspace::sizes(state, execution.id, &events).await);
        told.extend(events.iter().flat_map(|event| teller.tell(event, &facts)).map(|told| {
            json!({
                "id": told.id, "timestamp": run::seconds(told.at), "kind": told.kind, "message": told.payload,
            })
        }));
    }
    told.truncate(MAX_EVENTS);
    Ok(told)
}

/// `execution/{fid}/files`.
pub(super) async fn files(
    State(state): State<WebState>,
    Client(caller): Client,
    Path(fid): Path<String>,
) -> Result<Json<Value>, Problem> {
    let execution = run::find(&state, &caller, &fid, Act::See).await?;
    let (uploads, downloads) = both(&state, &execution).await?;
    let view = |path: String, size: u64| {
        let encoded: Vec<String> = path.split('/').map(encode).collect();
        json!({
            "name": path.rsplit('/').next(),
            "size": size,
            "path": path,
            "url": format!("/files/{}/{}", execution.id, encoded.join("/")),
        })
    };
    let uploads: Vec<Value> = uploads.into_iter().map(|file| view(file.path, file.size)).collect();
    let downloads: Vec<Value> =
        downloads.into_iter().map(|file| view(format!("out/{}", file.path), file.size)).collect();
    Ok(Json(json!({
        "fid": execution.id,
        "upload_count": uploads.len(),
        "download_count": downloads.len(),
        "uploads": uploads,
        "downloads": downloads,
    })))
}

/// What was attached, and what came of it.
async fn both(
    state: &WebState,
    execution: &Execution,
) -> Result<(Vec<workspace::Attached>, Vec<ResultFile>), Problem> {
    let attached = workspace::attached(state, execution).await?;
    Ok((attached, collected(state, execution).await?.0))
}

/// One execution; None if it is gone by now.
async fn metadata(state: &WebState, id: ExecutionId) -> Result<Option<Map<String, Value>>, Problem> {
    let Some(execution) = state.store().execution(id).await? else { return Ok(None) };
    let end = execution.ended_at.unwrap_or(execution.updated_at);
    let failure = run::failure(&execution);
    let failed_at = failure.as_ref().map(|_| run::seconds(end));
    let (uploads, downloads) = counts(state, &execution).await?;
    let view = json!({
        "fid": id,
        "user_id": run::username(&execution.owner),
        "agent_name": run::summary(&execution.agent, &execution.definition),
        "status": run::status(execution.status),
        "meta": run::meta(state, &execution),
        "error": failure,
        "error_timestamp": failed_at,
        "start_time": run::seconds(execution.created_at),
        "end_time": run::seconds(end),
        "runtime": run::seconds(end - execution.created_at),
        "upload_count": uploads,
        "download_count": downloads,
    });
    Ok(view.as_object().cloned())
}

/// From the log alone: a list is no time to look into workspaces.
async fn counts(state: &WebState, execution: &Execution) -> Result<(usize, usize), Problem> {
    let messages =
        state.store().events_of_kind(execution.id, &["message_queued"], 0, limits::EVENTS_PAGE).await?;
    let uploads = messages.iter().map(|event| match &event.body {
        EventBody::MessageQueued(message) => message.files.len(),
        _ => 0,
    });
    Ok((uploads.sum(), collected(state, execution).await?.0.len()))
}
