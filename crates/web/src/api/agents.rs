//! `GET /v1/agents`: what conversations can be started with.

use axum::{Json, extract::State};
use holdpoint_model::{agent::Completion, form::FormField};
use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    auth::Caller,
    body::Items,
    openapi::{Doc, Group},
    state::WebState,
};

pub(super) const AGENTS: Doc =
    Doc::new(Group::Conversations, "listAgents", "What conversations can be started with");

/// An agent, and the form that a conversation with it begins with.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Agent {
    name: String,
    title: String,
    /// Markdown.
    description: String,
    form: Vec<FormField>,
    completion: Completion,
    /// A script answers instead of a model.
    rehearsal: bool,
}

pub(super) async fn agents(State(state): State<WebState>, _: Caller) -> Json<Items<Agent>> {
    let agents = state.control.agents();
    let items = agents.iter().map(|(name, agent)| Agent {
        name: name.clone(),
        title: if agent.title.is_empty() { name.clone() } else { agent.title.clone() },
        description: agent.description.clone(),
        form: agent.fields(),
        completion: agent.completion,
        rehearsal: state.control.rehearsal() || agent.rehearsal.is_some(),
    });
    Json(Items { items: items.collect() })
}
