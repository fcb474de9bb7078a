//! `/operations`: how the machine is doing, for whoever runs it. What sessions run, how much room there is, and what
//! is to be looked after.

use std::time::Duration;

use axum::{extract::State, response::Response};
use holdpoint_control::{Room, Seen};
use holdpoint_model::UnixMs;
use holdpoint_store::{Counts, ReleaseRow};
use maud::{Markup, html};

use super::{
    PageError, inbox,
    layout::{Page, capitalised},
    parts::{self, count, moment, size, text},
};
use crate::{auth::Visitor, limits, problem::Problem, state::WebState};

/// Less than so much of what a session needs to be started is little.
const LITTLE_ROOM: u64 = 16;

/// What the page is made of.
struct Figures {
    counts: Counts,
    room: Result<Room, String>,
    /// Or why they are not known.
    workers: Result<Vec<Seen>, String>,
    due_for_deletion: u64,
    /// What new conversations run on.
    current: Option<ReleaseRow>,
}

impl Figures {
    async fn of(state: &WebState) -> Result<Self, Problem> {
        let looking =
            tokio::time::timeout(Duration::from_millis(limits::LOOK_MS), state.control.workers()).await;
        Ok(Self {
            counts: state.store().counts().await?,
            room: state.control.room().await.map_err(|error| error.to_string()),
            workers: match looking {
                Ok(seen) => seen.map_err(|error| error.to_string()),
                Err(_) => Err("the engine does not say how sessions are doing".into()),
            },
            current: state.store().current_release().await?,
            due_for_deletion: state.control.due_for_deletion(None, 0).await?.total,
        })
    }
}

pub(super) async fn page(
    State(state): State<WebState>,
    Visitor(caller): Visitor,
) -> Result<Response, PageError> {
    caller.check_operate()?;
    let figures = Figures::of(&state).await?;
    let open = inbox::count_for(&state, &caller).await?;
    let now = state.now();
    let body = html! {
        main #main .wide {
            h1 { "Operations" }
            div #operations .stack data-refresh {
                (tiles(&state, &figures))
                (release(figures.current.as_ref(), now))
                section {
                    h2 { "Sessions" }
                    (workers(&figures.workers, now))
                }
                section.two {
                    div {
                        h2 { "Conversations" }
                        (statuses(&figures.counts))
                    }
                    div {
                        h2 { "This server" }
                        (server(&state, &figures, now))
                    }
                }
                @if caller.role.may_administer() {
                    p.row { a.button href="/people" { "People" } a.button href="/people/audit" { "Audit log" } }
                }
            }
        }
    };
    let page =
        Page { title: "Operations", name: "operations", caller: Some(&caller), open_holds: Some(open) };
    Ok(page.show(&body))
}

/// What is looked at first.
fn tiles(state: &WebState, figures: &Figures) -> Markup {
    let (running, places) = state.control.places();
    let waiting = state.control.waiting_for_places();
    let traffic = state.traffic.as_ref().map(|traffic| traffic());
    html! {
        ul.tiles {
            (tile("sessions", "Sessions", &format!("{running} of {places}"), match waiting {
                0 => None,
                1 => Some("one waits for a place".into()),
                n => Some(format!("{n} wait for a place")),
            }, waiting > 0))
            (tile("holds", "Holds open", &count(figures.counts.open_holds), Some("wait for a person".into()).filter(|_| figures.counts.open_holds > 0), false))
            @if let Some(traffic) = traffic {
                (tile("calls", "Model calls", &count(traffic.under_way as u64), match traffic.waiting {
                    0 => None,
                    n => Some(format!("{n} wait in line")),
                }, traffic.waiting > 0))
            }
            @match &figures.room {
                Ok(room) => {
                    @let little = room.free_bytes < room.needed_bytes.saturating_mul(LITTLE_ROOM);
                    (tile("disk", "Disk free", &size(room.free_bytes), Some(if room.free_bytes < room.needed_bytes {
                        "no session is started until there is room".into()
                    } else {
                        format!("of {}", size(room.total_bytes))
                    }), little))
                }
                Err(why) => (tile("disk", "Disk free", "unknown", Some(why.clone()), true)),
            }
        }
    }
}

fn tile(name: &str, title: &str, figure: &str, beside: Option<String>, look: bool) -> Markup {
    html! {
        li.card.tile data-figure=(name) data-look[look] {
            span.quiet { (title) }
            strong { (figure) }
            @if let Some(beside) = beside { span.quiet { (beside) } }
        }
    }
}

fn workers(workers: &Result<Vec<Seen>, String>, now: UnixMs) -> Markup {
    html! {
        @match workers {
            Err(why) => p.alert role="alert" { (capitalised(why)) "." },
            Ok(workers) if workers.is_empty() => div.card.empty {
                p { "No session runs." }
                p.quiet { "Conversations that wait for people need none." }
            },
            Ok(workers) => ul.rows {
                @for seen in workers { (worker(seen, now)) }
            },
        }
    }
}

fn worker(seen: &Seen, now: UnixMs) -> Markup {
    let execution = &seen.execution;
    html! {
        li.person-row data-worker=(execution.id) data-residency=(execution.residency.as_str()) {
            div {
                p.clamp { a href={ "/executions/" (execution.id) "/session" } { @if execution.title.is_empty() { "Untitled" } @else { (text::visible(&execution.title)) } } }
                p.quiet { (execution.agent) " · " (execution.owner.name) " · worker " (execution.incarnation) }
            }
            @match &seen.instance {
                Some(worker) => dl.figures {
                    div { dt { "Engine" } dd { (worker.engine) ", " (text::visible(&worker.state)) } }
                    div { dt { "Memory" } dd data-fact="memory" {
                        (size(worker.memory.used))
                        @if let Some(limit) = worker.memory.limit { " of " (size(limit)) }
                    } }
                    @if let Some(at) = worker.started_at { div { dt { "Since" } dd { (moment(at, now)) } } }
                },
                None => span.chip data-status="starting" { (execution.residency.as_str()) },
            }
        }
    }
}

fn release(current: Option<&ReleaseRow>, now: UnixMs) -> Markup {
    html! {
        p #release-now {
            @match current {
                Some(row) => {
                    a href="/releases" { "Release " (row.number) " is current" }
                    @if let Some(at) = row.activated_at { ", made current " (moment(at, now)) }
                    "; " (parts::release::going_on(row.going_on)) "."
                }
                None => { "Nothing was deployed yet. " a href="/releases" { "What a release is" } },
            }
        }
    }
}

fn statuses(counts: &Counts) -> Markup {
    let all = [
        ("starting", "Starting"),
        ("running", "Working"),
        ("awaiting", "Waiting for a person"),
        ("finished", "Finished"),
        ("error", "Failed"),
        ("cancelled", "Cancelled"),
    ];
    html! {
        dl.facts.card {
            @for (name, words) in all {
                div {
                    dt { a href={ "/executions?status=" (name) } { (words) } }
                    dd data-status-count=(name) { (count(counts.executions.get(name).copied().unwrap_or_default())) }
                }
            }
        }
    }
}

fn server(state: &WebState, figures: &Figures, now: UnixMs) -> Markup {
    html! {
        dl.facts.card {
            div { dt { "Version" } dd { (state.version) } }
            div { dt { "Running" } dd { "since " (moment(state.control.started_at(), now)) } }
            div { dt { "Engine" } dd data-fact="engine" { (state.control.engine()) @if !state.control.isolates() { ", not isolated" } } }
            @if state.control.rehearsal() { div { dt { "Model" } dd { "a script: rehearsal" } } }
            div { dt { "Agents" } dd { (state.control.agents().len()) } }
            div { dt { "Due for deletion" } dd data-fact="due" { (count(figures.due_for_deletion)) } }
        }
    }
}
