//! `/timeline`, `/timeline/list`, `/timeline/changes`: executions, newest first, and what became of them since.

use std::{cmp::Reverse, collections::BTreeMap};

use axum::{
    Json,
    extract::State,
    response::{IntoResponse as _, Redirect, Response},
};
use holdpoint_model::{Actor, Standing, UnixMs};
use holdpoint_store::{Cursor, ExecutionRow, ListFilter};
use http::HeaderMap;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    client::{Client, prefers_pages},
    flows, run,
};
use crate::{
    auth::{Act, Caller},
    body::Query,
    limits,
    problem::Problem,
    state::WebState,
};

/// Rows of a page where a client names no number.
const DEFAULT_PP: u32 = 10;

/// A commit is seen a moment after the time that is written into it; the next look begins so much earlier.
/// Telling a change twice does no harm. Milliseconds.
const OVERLAP_MS: UnixMs = 1_000;

#[derive(Debug, Deserialize)]
pub(super) struct Params {
    pp: Option<u32>,
    q: Option<String>,
    /// The last `fid` of the page before.
    offset: Option<String>,
}

/// `GET /timeline/list`.
pub(super) async fn list(
    State(state): State<WebState>,
    Client(caller): Client,
    Query(params): Query<Params>,
) -> Result<Json<Value>, Problem> {
    let items = items(&state, &caller, &params).await?;
    let offset = items.last().map(|item| item["fid"].clone());
    Ok(Json(json!({ "items": items, "query": params.q, "offset": offset })))
}

/// `GET /timeline`: the same in an older form; to browsers, the panel's list.
pub(super) async fn page(
    State(state): State<WebState>,
    Client(caller): Client,
    headers: HeaderMap,
    Query(params): Query<Params>,
) -> Result<Response, Problem> {
    if prefers_pages(&headers) {
        return Ok(Redirect::to("/executions").into_response());
    }
    let items = items(&state, &caller, &params).await?;
    let (first, last) =
        (items.first().map(|item| item["fid"].clone()), items.last().map(|item| item["fid"].clone()));
    let timestamp = first.is_some().then(|| run::seconds(state.now()));
    Ok(Json(json!({
        "total": items.len(),
        "origin": first,
        "offset": last,
        "timestamp": timestamp,
        "items": { "append": items, "insert": [], "update": [], "delete": [] },
        "query": params.q,
    }))
    .into_response())
}

async fn items(state: &WebState, caller: &Caller, params: &Params) -> Result<Vec<Value>, Problem> {
    let before = match &params.offset {
        Some(fid) => {
            let last = run::find(state, caller, fid, Act::See).await?;
            Some(Cursor { created_at: last.created_at, id: last.id })
        }
        None => None,
    };
    let limit = params.pp.unwrap_or(DEFAULT_PP).clamp(1, limits::MAX_PAGE);
    let rows = found(state, caller, params.q.as_deref(), before, limit).await?;
    views(state, &rows).await
}

/// Executions with a text in their title, and those of agents that it is about.
async fn found(
    state: &WebState,
    caller: &Caller,
    q: Option<&str>,
    before: Option<Cursor>,
    limit: u32,
) -> Result<Vec<ExecutionRow>, Problem> {
    let q = q.unwrap_or_default().trim().to_lowercase();
    let mine = ListFilter { only_for: caller.sees_only(), ..ListFilter::default() };
    let mut filters = vec![ListFilter { text: Some(q.clone()), ..mine.clone() }];
    if !q.is_empty() {
        let known = state.control.agents();
        let agents = known.iter().filter(|(name, agent)| flows::is_about(name, agent, &q));
        filters.extend(agents.map(|(name, _)| ListFilter { agent: Some(name.clone()), ..mine.clone() }));
    }
    let mut rows = BTreeMap::new();
    for filter in &filters {
        for row in state.store().list(filter, before, limit).await? {
            rows.insert(Reverse((row.created_at, row.id)), row);
        }
    }
    Ok(rows.into_values().take(limit as usize).collect())
}

async fn views(state: &WebState, rows: &[ExecutionRow]) -> Result<Vec<Value>, Problem> {
    let ids: Vec<_> = rows.iter().map(|row| row.id).collect();
    let executions = state.store().executions(&ids).await?;
    let mut items = Vec::with_capacity(rows.len());
    for row in rows {
        // One that went in between is not told any more.
        let Some(execution) = executions.get(&row.id) else { continue };
        items.push(json!({
            "fid": row.id,
            "tags": execution.definition.tags,
            "summary": run::summary(&execution.agent, &execution.definition),
            "inputs": run::inputs(execution),
            "status": run::status_without_locks(row.status),
            "startup": run::iso(row.created_at),
            "finish": run::iso(row.ended_at.unwrap_or(row.updated_at)),
            "runtime": run::runtime(row),
            "locks": run::locks(execution),
        }));
    }
    Ok(items)
}

#[derive(Debug, Deserialize)]
pub(super) struct Since {
    /// The `timestamp` of the answer before: seconds.
    since: Option<f64>,
    q: Option<String>,
}

/// `GET /timeline/changes`.
pub(super) async fn changes(
    State(state): State<WebState>,
    Client(caller): Client,
    Query(params): Query<Since>,
) -> Result<Json<Value>, Problem> {
    let mut now = state.now() - OVERLAP_MS;
    let (mut update, mut delete) = (Vec::new(), Vec::new());
    if let Some(since) = params.since {
        let since = milliseconds(since);
        let rows = state.store().changed_since(caller.sees_only(), since, limits::MAX_PAGE).await?;
        if rows.len() == limits::MAX_PAGE as usize
            && let Some(last) = rows.last()
        {
            // The rest with the next look.
            now = now.min(last.updated_at - 1);
        }
        update = about(views(&state, &rows).await?, params.q.as_deref());
        let deletions = state.store().deletions(None, limits::MAX_PAGE).await?;
        let gone = deletions.iter().take_while(|deletion| deletion.deleted_at > since);
        delete = gone.filter(|gone| sees(&caller, &gone.owner)).map(|gone| gone.execution).collect();
    }
    let timestamp = run::seconds(now);
    Ok(Json(json!({ "update": update, "delete": delete, "timestamp": timestamp, "query": params.q })))
}

fn about(items: Vec<Value>, q: Option<&str>) -> Vec<Value> {
    let q = q.unwrap_or_default().trim().to_lowercase();
    let is_about =
        |item: &Value| item["summary"].as_str().is_some_and(|text| text.to_lowercase().contains(&q));
    items.into_iter().filter(is_about).collect()
}

/// Whether they saw what is gone: shares are gone with it.
fn sees(caller: &Caller, owner: &Actor) -> bool {
    let is_own = owner.user == Some(caller.user);
    caller.may(Act::See, if is_own { Standing::Owner } else { Standing::Stranger })
}

/// Any number is a time, if a far one.
#[allow(clippy::cast_possible_truncation)]
fn milliseconds(seconds: f64) -> UnixMs {
    (seconds * 1000.0) as UnixMs
}
