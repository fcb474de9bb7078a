//! `/executions`, the timeline: all conversations, newest first, as far down as somebody scrolls; searched by what was
//! asked and what came of it.

use axum::{extract::State, response::Response};
use holdpoint_model::{Status, UnixMs};
use holdpoint_store::{Cursor, ExecutionRow, ListFilter};
use maud::{Markup, html};
use serde::Deserialize;

use super::{
    PageError, inbox,
    layout::Page,
    parts::{dollars, moment, status},
};
use crate::{auth::Visitor, body::Query, limits, paging, problem::Problem, state::WebState, statuses};

#[derive(Debug, Default, Deserialize)]
pub(super) struct Params {
    #[serde(default)]
    status: String,
    #[serde(default)]
    agent: String,
    #[serde(default)]
    q: String,
    #[serde(default)]
    cursor: String,
}

pub(super) async fn page(
    State(state): State<WebState>,
    Visitor(caller): Visitor,
    Query(params): Query<Params>,
) -> Result<Response, PageError> {
    let cursor = paging::cursor(&params.cursor)?;
    let some = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    let filter = ListFilter {
        owner: None,
        only_for: caller.sees_only(),
        statuses: statuses(&params.status).map_err(Problem::invalid)?,
        agent: some(&params.agent),
        text: some(&params.q),
    };
    let limit = limits::DEFAULT_PAGE;
    let mut found = state.store().list(&filter, cursor, limit + 1).await?;
    let next = paging::cut(&mut found, limit, ExecutionRow::cursor);
    let open = inbox::count_for(&state, &caller).await?;
    let known = state.control.agents();
    let agents: Vec<&str> = known.keys().map(String::as_str).collect();
    let body = html! {
        main #main .wide {
            h1 { "Timeline" }
            (filters(&params, &agents))
            div #list data-refresh data-endless {
                @if found.is_empty() { (nothing(&params)) } @else { (rows(&found, state.now())) }
                @if let Some(next) = next {
                    p #more { a.button rel="next" href=(address(&params, Some(next))) { "Older" } }
                }
            }
        }
    };
    let page = Page { title: "Timeline", name: "list", caller: Some(&caller), open_holds: Some(open) };
    Ok(page.show(&body))
}

fn nothing(params: &Params) -> Markup {
    let filtered = !(params.status.is_empty() && params.agent.is_empty() && params.q.is_empty());
    html! {
        div #empty .card .empty {
            @if !params.cursor.is_empty() {
                p { "Nothing is older than that." }
                p { a.button href="/executions" { "To the newest" } }
            } @else if filtered {
                p { "No conversation is like that." }
                @if params.q.split_whitespace().nth(1).is_some() {
                    p.quiet { "All words have to be in it: try fewer, or only the beginning of one." }
                }
                p { a.button href="/executions" { "Show all" } }
            } @else {
                p { "No conversation yet." }
                p { a.button.primary href="/" { "Start one" } }
            }
        }
    }
}

/// The address of a page of this list.
fn address(params: &Params, cursor: Option<Cursor>) -> String {
    let cursor = cursor.map(|cursor| cursor.to_string()).unwrap_or_default();
    let chosen =
        [("status", &*params.status), ("agent", &params.agent), ("q", &params.q), ("cursor", &cursor)];
    paging::address("/executions", &chosen)
}

fn filters(params: &Params, agents: &[&str]) -> Markup {
    let choices = [
        ("", "Any status"),
        ("awaiting", "Waiting for a person"),
        ("starting,running", "Working"),
        ("finished", "Finished"),
        ("error", "Failed"),
        ("cancelled", "Cancelled"),
    ];
    html! {
        form.filters method="get" action="/executions" role="search" {
            input type="search" name="q" value=(params.q) placeholder="Search what was asked, and what came of it"
                aria-label="Search" aria-describedby="search-help" maxlength=(limits::MAX_SEARCH_CHARS);
            select name="status" aria-label="Status" {
                @for (value, words) in choices { option value=(value) selected[value == params.status] { (words) } }
            }
            select name="agent" aria-label="Agent" {
                option value="" { "Any agent" }
                @for agent in agents { option value=(agent) selected[*agent == params.agent] { (agent) } }
            }
            button type="submit" { "Search" }
            (search_help())
        }
    }
}

/// What can be typed into the box.
fn search_help() -> Markup {
    let ways = [
        ("lease ware", "all of these words, or words that begin like this"),
        ("\"net 30 days\"", "as it stands"),
        ("author:ada", "who started it; the same with "),
        ("status:error", "one status, or several with commas between"),
    ];
    html! {
        details #search-help .search-help {
            summary { "What can be searched" }
            dl.arguments {
                @for (example, what) in ways {
                    dt { (example) }
                    dd {
                        (what)
                        @if example.starts_with("author") {
                            @for (n, field) in ["agent", "tag", "title", "input", "result"].iter().enumerate() {
                                @if n > 0 { ", " } code { (field) ":" }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Conversations, one a row.
pub(super) fn rows(found: &[ExecutionRow], now: UnixMs) -> Markup {
    html! {
        ul.rows {
            @for row in found {
                li.conversation-row id={ "x-" (row.id) } data-execution=(row.id) data-status=(row.status.as_str())
                    data-place=(row.cursor()) {
                    a href={ "/executions/" (row.id) } data-nav {
                        span.row-title { @if row.title.is_empty() { "Untitled" } @else { (row.title) } }
                        span.row-facts {
                            span.row-status {
                                (status(row.status))
                                @if row.open_holds > 0 && row.status == Status::Awaiting {
                                    span.count { (row.open_holds) span.unseen { " open" } }
                                }
                            }
                            span.row-about {
                                (row.agent) " · " (row.owner.name) " · " (moment(row.created_at, now)) " · "
                                @if row.rehearsal { "rehearsal" } @else { (dollars(row.cost_micros)) }
                            }
                        }
                    }
                }
            }
        }
    }
}
