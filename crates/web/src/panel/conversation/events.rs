//! `/executions/{id}/events`: the log as it is, event by event, for operators and the curious.

use axum::{extract::State, response::Response};
use holdpoint_model::{Event, Execution, Seq};
use maud::{Markup, html};
use serde::Deserialize;

use crate::{
    auth::{Act, Visitor, execution},
    body::{Path, Query},
    encode, limits,
    panel::{
        PageError, inbox,
        layout::Page,
        parts::{count, moment, text},
    },
    state::WebState,
    time,
};

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Params {
    /// The last event that is not shown.
    #[serde(default)]
    after: Seq,
    #[serde(default)]
    kind: String,
}

/// Characters of an event's content beside its name.
const GIST_CHARS: usize = 160;

pub(crate) async fn page(
    State(state): State<WebState>,
    Visitor(caller): Visitor,
    Path(id): Path<String>,
    Query(params): Query<Params>,
) -> Result<Response, PageError> {
    let known = execution(&state, &caller, &id, Act::See).await?;
    let store = state.store();
    let after = params.after.min(known.seq);
    let events = if params.kind.is_empty() {
        store.events(known.id, after, limits::EVENTS_SHOWN).await?
    } else {
        store.events_of_kind(known.id, &[&params.kind], after, limits::EVENTS_SHOWN).await?
    };
    let open = inbox::count_for(&state, &caller).await?;
    let body = html! {
        main #main .wide {
            p.eyebrow { a href={ "/executions/" (known.id) } { (known.title) } }
            h1 { "Events" }
            p.quiet { "The log as it is, " (count(known.seq)) " events. Everything else about this conversation is made of them." }
            @if !params.kind.is_empty() {
                p { "Only " code { (params.kind) } ". " a href={ "/executions/" (known.id) "/events" } { "Show all kinds" } }
            }
            @if events.is_empty() {
                div #empty .card .empty { p { "There is no such event from here on." } }
            } @else {
                ol #events .rows {
                    @for event in &events { (row(&known, event, state.now())) }
                }
            }
            (pages(&known, &params, &events))
        }
    };
    let page = Page { title: "Events", name: "events", caller: Some(&caller), open_holds: Some(open) };
    Ok(page.show(&body))
}

fn row(known: &Execution, event: &Event, now: i64) -> Markup {
    let data = serde_json::to_value(&event.body)
        .ok()
        .and_then(|mut body| body.get_mut("data").map(serde_json::Value::take));
    let data = data.unwrap_or_default();
    let gist: String = data.to_string().chars().take(GIST_CHARS).collect();
    let kind = event.body.kind();
    html! {
        li.event-row id={ "e-" (event.seq) } data-event=(kind) data-nav tabindex="-1" {
            details {
                summary {
                    span.event-seq { (event.seq) }
                    strong { (kind) }
                    @if !data.is_null() { code.event-gist { (text::visible(&gist)) } }
                    span.quiet { (moment(event.at, now)) }
                }
                div.inside {
                    p.quiet {
                        (time::rfc3339(event.at))
                        @if let Some(incarnation) = event.incarnation { " · told by worker " (incarnation) }
                        @if let Some(seq) = event.worker_seq { ", its fact " (seq) }
                        " · " a href={ "/executions/" (known.id) "?at=" (event.seq) "#e-" (event.seq) } { "in the conversation" }
                        " · " a href={ "/executions/" (known.id) "/events?kind=" (encode(kind)) } { "only these" }
                    }
                    @if !data.is_null() { pre.content { (text::visible(&text::pretty(&data))) } }
                }
            }
        }
    }
}

fn pages(known: &Execution, params: &Params, events: &[Event]) -> Markup {
    let page = u64::from(limits::EVENTS_SHOWN);
    let address = |after: Seq| {
        let kind =
            if params.kind.is_empty() { String::new() } else { format!("&kind={}", encode(&params.kind)) };
        format!("/executions/{}/events?after={after}{kind}", known.id)
    };
    let last = events.last().map(|event| event.seq).filter(|_| events.len() as u64 == page);
    let next = last.filter(|last| *last < known.seq);
    html! {
        nav #more .row aria-label="Pages" {
            @if params.after > 0 {
                a.button href=(address(0)) { "First" }
                @if params.kind.is_empty() { a.button rel="prev" href=(address(params.after.saturating_sub(page))) { "Earlier" } }
            }
            @if let Some(next) = next {
                a.button rel="next" href=(address(next)) { "Later" }
                @if params.kind.is_empty() { a.button href=(address(known.seq.saturating_sub(page))) { "Last" } }
            }
        }
    }
}
