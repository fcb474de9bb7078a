//! `/api/dashboard/…`: executions of the last hours in numbers. Everybody counts what they may see.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use axum::{Json, extract::State};
use holdpoint_model::{Event, Execution, ExecutionId, Status, UnixMs, event::ResultFile};
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
    collected, collected_of_all, encode, limits,
    problem::Problem,
    state::WebState,
};

/// The time looked at where a client names none.
const DEFAULT_HOURS: u32 = 24;

/// Executions counted at most; of the newest.
const MAX_COUNTED: usize = 2_000;

/// Executions looked at for them at most, where a title is searched or nobody is called that.
const MAX_LOOKED_AT: usize = 4_000;

const STATUSES: [Status; 6] =
    [Status::Starting, Status::Running, Status::Awaiting, Status::Finished, Status::Error, Status::Cancelled];

/// Executions read at once to count them: lines of a list, which are small.
const PAGE: u32 = 1_000;

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
        let mut rows = Vec::new();
        let filters = self.filters(state, caller);
        for filter in &filters {
            self.add(&mut rows, state, filter).await?;
        }
        if filters.len() > 1 {
            rows.sort_unstable_by_key(|row| Reverse((row.created_at, row.id)));
            rows.dedup_by_key(|row| row.id);
        }
        rows.truncate(MAX_COUNTED);
        Ok(rows)
    }

    /// As much of it as an index can find.
    fn filters(&self, state: &WebState, caller: &Caller) -> Vec<ListFilter> {
        let is_meant = |status: &Status| self.status.as_deref() == Some(run::status(*status));
        let filter = ListFilter {
            only_for: caller.sees_only(),
            owner: self.user.as_deref().and_then(|user| user.parse().ok()),
            statuses: STATUSES.into_iter().filter(is_meant).collect(),
            ..ListFilter::default()
        };
        let Some(wanted) = &self.agent_name else { return vec![filter] };
        let lower = wanted.to_lowercase();
        let known = state.control.agents();
        let agents = known.iter();
        let mut names: BTreeSet<&str> = agents
            .filter(|(name, agent)| run::summary(name, agent).to_lowercase().contains(&lower))
            .map(|(name, _)| name.as_str())
            .collect();
        names.insert(wanted);
        names.into_iter().map(|name| ListFilter { agent: Some(name.to_owned()), ..filter.clone() }).collect()
    }

    async fn add(
        &self,
        rows: &mut Vec<ExecutionRow>,
        state: &WebState,
        filter: &ListFilter,
    ) -> Result<(), Problem> {
        let since = state.now() - UnixMs::from(self.hours()) * 3_600_000;
        let (mut counted, mut looked_at, mut before) = (0, 0, None);
        while counted < MAX_COUNTED && looked_at < MAX_LOOKED_AT {
            let page = state.store().list(filter, before, PAGE).await?;
            let Some(last) = page.last() else { break };
            before = Some(last.cursor());
            looked_at += page.len();
            let is_last = page.len() < PAGE as usize || last.created_at < since;
            let had = rows.len();
            rows.extend(page.into_iter().filter(|row| row.created_at >= since && self.takes(state, row)));
            counted += rows.len() - had;
            if is_last {
                break;
            }
        }
        Ok(())
    }
}

/// `running-agents`.
pub(super) async fn running(
    State(state): State<WebState>,
    Client(caller): Client,
    Query(params): Query<Params>,
) -> Result<Json<Value>, Problem> {
    let rows = params.rows(&state, &caller).await?;
    let mut agents = metadata(&state, &rows).await?;
    for agent in &mut agents {
        let name = agent.execution.owner.name.clone();
        agent.told.insert("user_name".into(), json!(name));
    }
    let agents: Vec<_> = agents.into_iter().map(|agent| agent.told).collect();
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
    let errors: Vec<_> = metadata(&state, &rows).await?.into_iter().map(|error| error.told).collect();
    Ok(Json(json!({ "total": rows.len(), "errors": errors })))
}

/// `timeline`.
pub(super) async fn timeline(
    State(state): State<WebState>,
    Client(caller): Client,
    Query(params): Query<Params>,
) -> Result<Json<Value>, Problem> {
    let rows = params.rows(&state, &caller).await?;
    let executions: Vec<_> = metadata(&state, &rows).await?.into_iter().map(|one| one.told).collect();
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
    let metadata = view(&state, &execution, collected(&state, &execution).await?.0.len());
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

/// An execution, and what is told of it.
struct Told {
    execution: Arc<Execution>,
    told: Map<String, Value>,
}

/// The first of these, without those that are gone by now. From the log alone: a list is no time to look into
/// workspaces.
async fn metadata(state: &WebState, rows: &[ExecutionRow]) -> Result<Vec<Told>, Problem> {
    let ids: Vec<ExecutionId> = rows.iter().take(MAX_TOLD).map(|row| row.id).collect();
    let executions = state.store().executions(&ids).await?;
    let collected = collected_of_all(state, &executions).await?;
    let told = |id: &ExecutionId| {
        let execution = Arc::clone(executions.get(id)?);
        let told = view(state, &execution, collected.get(id).map_or(0, |(files, _)| files.len()));
        Some(Told { execution, told })
    };
    Ok(ids.iter().filter_map(told).collect())
}

fn view(state: &WebState, execution: &Execution, downloads: usize) -> Map<String, Value> {
    let end = execution.ended_at.unwrap_or(execution.updated_at);
    let failure = run::failure(execution);
    let failed_at = failure.as_ref().map(|_| run::seconds(end));
    let view = json!({
        "fid": execution.id,
        "user_id": run::username(&execution.owner),
        "agent_name": run::summary(&execution.agent, &execution.definition),
        "status": run::status(execution.status),
        "meta": run::meta(state, execution),
        "error": failure,
        "error_timestamp": failed_at,
        "start_time": run::seconds(execution.created_at),
        "end_time": run::seconds(end),
        "runtime": run::seconds(end - execution.created_at),
        "upload_count": execution.attached,
        "download_count": downloads,
    });
    match view {
        Value::Object(view) => view,
        _ => Map::new(),
    }
}
