//! `/files`: what conversations made, and what was uploaded for one that is not started yet.
//!
//! No workspace is walked: the log says what each turn left. A page looks at so many conversations, newest first, and
//! a search is a search in them; the next page looks further back (`docs/decisions/0021`).

use axum::{
    extract::State,
    response::{IntoResponse as _, Redirect, Response},
};
use holdpoint_model::{Execution, event::ResultFile};
use holdpoint_store::{Cursor, ExecutionRow, ListFilter, Upload};
use maud::{Markup, html};
use serde::Deserialize;

use super::{
    PageError, inbox,
    layout::Page,
    parts::{moment, size, text},
};
use crate::{
    auth::{Caller, Visitor},
    body::{Path, Query},
    collected_of_all, file_path, limits, paging,
    problem::Problem,
    state::WebState,
};

#[derive(Debug, Default, Deserialize)]
pub(super) struct Params {
    #[serde(default)]
    q: String,
    #[serde(default)]
    agent: String,
    #[serde(default)]
    cursor: String,
}

/// A conversation's files, as far as they are looked for.
struct Found {
    execution: std::sync::Arc<Execution>,
    files: Vec<ResultFile>,
    omitted: u64,
}

pub(super) async fn page(
    State(state): State<WebState>,
    Visitor(caller): Visitor,
    Query(params): Query<Params>,
) -> Result<Response, PageError> {
    let cursor = paging::cursor(&params.cursor)?;
    let filter = ListFilter {
        only_for: caller.sees_only(),
        agent: Some(params.agent.trim().to_owned()).filter(|agent| !agent.is_empty()),
        ..ListFilter::default()
    };
    let mut rows = state.store().list(&filter, cursor, limits::DEFAULT_PAGE + 1).await?;
    let next = paging::cut(&mut rows, limits::DEFAULT_PAGE, ExecutionRow::cursor);
    let wanted = params.q.trim().to_lowercase();
    let mut found = Vec::new();
    let ids: Vec<_> = rows.iter().map(|row| row.id).collect();
    let mut executions = state.store().executions(&ids).await?;
    let mut collected = collected_of_all(&state, &executions).await?;
    for id in &ids {
        let Some(execution) = executions.remove(id) else { continue };
        let (mut files, omitted) = collected.remove(id).unwrap_or_default();
        files.retain(|file| file.path.to_lowercase().contains(&wanted));
        if !files.is_empty() {
            found.push(Found { execution, files, omitted });
        }
    }
    let uploads: Vec<Upload> = match cursor {
        None => state.store().uploads(caller.user).await?,
        Some(_) => Vec::new(),
    };
    let open = inbox::count_for(&state, &caller).await?;
    let known = state.control.agents();
    let agents: Vec<&str> = known.keys().map(String::as_str).collect();
    let body = document(&params, &agents, &found, &uploads, rows.len(), next, state.now());
    let page = Page { title: "Files", name: "files", caller: Some(&caller), open_holds: Some(open) };
    Ok(page.show(&body))
}

fn document(
    params: &Params,
    agents: &[&str],
    found: &[Found],
    uploads: &[Upload],
    looked_at: usize,
    next: Option<Cursor>,
    now: i64,
) -> Markup {
    html! {
        main #main .wide {
            h1 { "Files" }
            form .choices-row method="get" action="/files" role="search" {
                input type="search" name="q" value=(params.q) placeholder="Search names" aria-label="Search names";
                select name="agent" aria-label="Agent" {
                    option value="" { "Any agent" }
                    @for agent in agents { option value=(agent) selected[*agent == params.agent] { (agent) } }
                }
                button type="submit" { "Search" }
            }
            @if !uploads.is_empty() { (waiting(uploads, now)) }
            @if found.is_empty() { (nothing(params, looked_at, next.is_some())) }
            @for one in found { (of_conversation(one, now)) }
            @if let Some(next) = next {
                nav #more .row aria-label="Pages" {
                    a.button rel="next" href=(address(params, next)) { "Look further back" }
                    span.quiet { "These are of the " (looked_at) " newest conversations" @if !params.cursor.is_empty() { " before" } "." }
                }
            }
        }
    }
}

fn nothing(params: &Params, looked_at: usize, more: bool) -> Markup {
    let searched = !params.q.trim().is_empty();
    html! {
        div #empty .card .empty {
            @if searched && more {
                p { "No file of these " (looked_at) " conversations is called that." }
            } @else if searched {
                p { "No file is called that." }
                p { a.button href="/files" { "Show all" } }
            } @else {
                p { "No conversation here has made a file." }
                p.quiet { "What agents leave in their workspace appears here when a turn is over." }
            }
        }
    }
}

fn of_conversation(found: &Found, now: i64) -> Markup {
    let id = found.execution.id;
    html! {
        section.card.stack-small data-execution=(id) {
            h2.clamp { a href={ "/executions/" (id) } data-nav { @if found.execution.title.is_empty() { "Untitled" } @else { (text::visible(&found.execution.title)) } } }
            p.quiet { (found.execution.agent) " · " (found.execution.owner.name) " · " (moment(found.execution.created_at, now)) }
            ul.files.columns {
                @for file in found.files.iter().take(limits::FILES_SHOWN) {
                    li {
                        a href=(file_path(id, &file.path)) download data-file=(file.path) { (text::visible(&file.path)) }
                        " " span.quiet { (size(file.size)) }
                    }
                }
            }
            @let hidden = found.files.len().saturating_sub(limits::FILES_SHOWN) as u64 + found.omitted;
            @if hidden > 0 { p.quiet { "and " (hidden) " more, in the conversation's workspace" } }
        }
    }
}

fn waiting(uploads: &[Upload], now: i64) -> Markup {
    html! {
        section #uploads {
            h2 { "Uploaded, and waiting for a conversation" }
            ul.rows {
                @for upload in uploads {
                    li.person-row data-upload-id=(upload.id) {
                        div {
                            p.clamp { (text::visible(&upload.name)) }
                            p.quiet {
                                @if upload.received_bytes < upload.size_bytes { (size(upload.received_bytes)) " of " }
                                (size(upload.size_bytes)) " · " (moment(upload.changed_at, now))
                            }
                        }
                        form method="post" action={ "/uploads/" (upload.id) "/remove" } {
                            button.small type="submit" data-action="remove-upload" aria-label={ "Remove " (upload.name) } { "Remove" }
                        }
                    }
                }
            }
        }
    }
}

fn address(params: &Params, next: Cursor) -> String {
    let chosen = [("q", &*params.q), ("agent", &params.agent), ("cursor", &next.to_string())];
    paging::address("/files", &chosen)
}

/// `POST /uploads/{id}/remove`: gives an upload up.
pub(super) async fn remove(
    State(state): State<WebState>,
    Visitor(caller): Visitor,
    Path(id): Path<String>,
) -> Result<Response, PageError> {
    give_up(&state, &caller, &id).await?;
    Ok(Redirect::to("/files").into_response())
}

async fn give_up(state: &WebState, caller: &Caller, id: &str) -> Result<(), Problem> {
    let id = id.parse().map_err(|_| Problem::not_found("upload"))?;
    Ok(state.control.give_up_upload(caller.user, id).await?)
}
