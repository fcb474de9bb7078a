//! `/flow`: agents. Where they come from is Holdpoint's configuration, so registering others is refused;
//! no address that a client names is ever asked.

use std::collections::BTreeMap;

use axum::{Json, extract::State};
use holdpoint_model::AgentDef;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{client::Client, run};
use crate::{
    body::{self, Query},
    limits,
    problem::Problem,
    state::WebState,
};

#[derive(Debug, Deserialize)]
pub(super) struct Params {
    /// Only those in which this is found.
    q: Option<String>,
    /// How many.
    pp: Option<u32>,
    /// The `offset` of the page before.
    offset: Option<String>,
}

/// `GET /flow`.
pub(super) async fn list(
    State(state): State<WebState>,
    _: Client,
    Query(params): Query<Params>,
) -> Json<Value> {
    let mut items = items(&state, params.q.as_deref());
    if let Some(offset) = &params.offset {
        let begins = items.iter().position(|item| item["uid"] == offset.as_str()).map_or(0, |at| at + 1);
        items.drain(..begins);
    }
    let wanted = params.pp.unwrap_or(limits::DEFAULT_PAGE).clamp(1, limits::MAX_PAGE) as usize;
    let more = items.len() > wanted;
    items.truncate(wanted);
    let offset = items.last().filter(|_| more).map(|item| item["uid"].clone());
    Json(json!({ "items": items, "offset": offset }))
}

/// `GET /flow/tags`.
pub(super) async fn tags(State(state): State<WebState>, _: Client) -> Json<Value> {
    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    let agents = state.control.agents();
    for tag in agents.values().flat_map(|agent| &agent.tags) {
        *counts.entry(tag).or_default() += 1;
    }
    Json(json!(counts))
}

/// `GET /flow/register`.
pub(super) async fn registered(State(state): State<WebState>, _: Client) -> Json<Value> {
    let source = source(&state);
    Json(json!({ "routes": [source], "registers": [source] }))
}

#[derive(Debug, Deserialize)]
pub(super) struct Sources {
    url: OneOrSeveral,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrSeveral {
    One(String),
    Several(Vec<String>),
}

impl Sources {
    fn is_only(&self, source: &str) -> bool {
        match &self.url {
            OneOrSeveral::One(url) => url == source,
            OneOrSeveral::Several(urls) => urls.iter().all(|url| url == source),
        }
    }
}

/// `POST /flow/register`: of Holdpoint's own agents, which are registered already.
pub(super) async fn register(
    State(state): State<WebState>,
    Client(caller): Client,
    body::Json(sources): body::Json<Sources>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    caller.check_operate()?;
    if !sources.is_only(&source(&state)) {
        return Err(not_here("add a source of flows"));
    }
    Ok((StatusCode::CREATED, Json(json!(items(&state, None)))))
}

/// `PUT /flow/register`: reads all sources again, of which there is one.
pub(super) async fn refresh(
    State(state): State<WebState>,
    Client(caller): Client,
) -> Result<Json<Value>, Problem> {
    caller.check_operate()?;
    let items = items(&state, None);
    let of = |key: &str| items.iter().map(|item| item[key].clone()).collect::<Vec<_>>();
    let source = source(&state);
    Ok(Json(json!({
        "summaries": of("summary"),
        "urls": of("url"),
        "deletes": [],
        "sources": [source],
        "connected": [source],
    })))
}

/// `POST /flow/unregister`.
pub(super) async fn unregister(
    State(state): State<WebState>,
    Client(caller): Client,
    body::Json(sources): body::Json<Sources>,
) -> Result<Json<Value>, Problem> {
    caller.check_operate()?;
    if sources.is_only(&source(&state)) {
        return Err(not_here("take agents away"));
    }
    // Others were never there.
    Ok(Json(json!({ "deletes": [] })))
}

fn not_here(what: &str) -> Problem {
    Problem::invalid(format!(
        "Holdpoint does not {what} over HTTP: its agents are the tables [agents.NAME] of holdpoint.toml; change them there, or run `holdpoint deploy`"
    ))
}

fn source(state: &WebState) -> String {
    format!("{}/openapi.json", state.base_url)
}

fn items(state: &WebState, q: Option<&str>) -> Vec<Value> {
    let q = q.unwrap_or_default().trim().to_lowercase();
    let agents = state.control.agents();
    let matching = agents.iter().filter(|(name, agent)| q.is_empty() || is_about(name, agent, &q));
    matching.map(|(name, agent)| item(state, name, agent)).collect()
}

/// Whether a text in small letters is found in what there is to read about an agent.
pub(super) fn is_about(name: &str, agent: &AgentDef, q: &str) -> bool {
    let texts = [name, &agent.title, &agent.description];
    let whose = agent.author.iter().chain(&agent.organization).chain(&agent.tags).map(String::as_str);
    texts.into_iter().chain(whose).any(|text| text.to_lowercase().contains(q))
}

fn item(state: &WebState, name: &str, agent: &AgentDef) -> Value {
    let authority = state.base_url.split_once("://").map_or(&*state.base_url, |(_, authority)| authority);
    let mut tags = agent.tags.clone();
    tags.sort_unstable();
    json!({
        "uid": Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes()).simple().to_string(),
        "method": "GET",
        "url": format!("/-/{}/-/{name}", authority.replace(':', "/")),
        "source": source(state),
        "summary": run::summary(name, agent),
        "description": run::description(agent),
        "deprecated": false,
        "author": agent.author,
        "organization": agent.organization,
        "tags": tags,
        "base_url": format!("{}/{name}", state.base_url),
    })
}
