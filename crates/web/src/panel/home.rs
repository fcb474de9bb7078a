//! `/`: what conversations can be started with, and what was going on last.

use axum::{extract::State, response::Response};
use holdpoint_model::AgentDef;
use holdpoint_store::ListFilter;
use maud::{Markup, html};

use super::{PageError, inbox, layout::Page, list};
use crate::{
    auth::{Caller, Visitor},
    markdown,
    state::WebState,
};

/// Conversations shown below the agents.
const RECENT: u32 = 5;

pub(super) async fn home(
    State(state): State<WebState>,
    Visitor(caller): Visitor,
) -> Result<Response, PageError> {
    let filter = ListFilter { only_for: caller.sees_only(), ..ListFilter::default() };
    let recent = state.store().list(&filter, None, RECENT).await?;
    let open = inbox::count_for(&state, &caller).await?;
    let body = html! {
        main #main .wide {
            h1 { "Start a conversation" }
            @if state.control.rehearsal() { (super::parts::facts::rehearsal()) }
            @if !state.control.isolates() { (super::parts::facts::not_isolated()) }
            (agents(&state, &caller))
            section #recent data-refresh {
                @if !recent.is_empty() {
                    h2 { "Recent" }
                    (list::rows(&recent, state.now()))
                    p { a href="/executions" { "All conversations" } }
                }
            }
        }
    };
    let page = Page { title: "Start", name: "home", caller: Some(&caller), open_holds: Some(open) };
    Ok(page.show(&body))
}

fn agents(state: &WebState, caller: &Caller) -> Markup {
    html! {
        @if !caller.role.may_start() {
            p.quiet { "A " (caller.role) " may look at conversations, not start them." }
        } @else if state.control.agents().is_empty() {
            p.card { "There is no agent yet: describe one in " code { "holdpoint.toml" } " under " code { "[agents.NAME]" } "." }
        } @else {
            ul.agents {
                @for (name, agent) in state.control.agents().iter() {
                    li.card {
                        h2 { a href={ "/agents/" (crate::encode(name)) } data-agent=(name) data-nav { (title(name, agent)) } }
                        div.prose { (markdown::render(&agent.description)) }
                        div {
                            @if agent.rehearsal.is_some() { p.quiet { "Rehearsal: a script answers." } }
                            // The whole tile is the link; this says so to the eye.
                            span.button aria-hidden="true" { "Start" }
                        }
                    }
                }
            }
        }
    }
}

/// An agent's name for people.
pub(super) fn title<'a>(name: &'a str, agent: &'a AgentDef) -> &'a str {
    if agent.title.is_empty() { name } else { &agent.title }
}
