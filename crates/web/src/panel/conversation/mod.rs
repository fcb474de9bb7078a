//! `/executions/{id}`: a conversation, live.

mod act;
mod events;
mod export;
mod fork;
mod live;
mod replay;
mod session;
mod share;
mod stretch;

use axum::{extract::State, response::Response};
use holdpoint_model::{Event, Execution, ReleaseNumber, Seq, Standing};
use maud::{Markup, html};
use serde::Deserialize;

use self::stretch::{Shown, Stretch};
use super::{
    PageError,
    layout::Page,
    parts::{
        View, composer, facts,
        inside::{self, Sight},
        release,
    },
    timeline::Timeline,
};
use crate::{
    auth::{Act, Caller, Visitor, execution_as},
    body::{Path, Query},
    limits,
    problem::Problem,
    state::WebState,
};

pub(super) use act::{cancel, finish, interrupt, message, move_to};
pub(super) use events::page as events_page;
pub(super) use export::{as_html, as_markdown};
pub(super) use fork::{page as fork_page, start as fork};
pub(super) use live::live;
pub(super) use replay::page as replay_page;
pub(super) use session::{exec, page as session_page};
pub(super) use share::{page as share_page, share};

#[derive(Debug, Deserialize)]
pub(super) struct Params {
    /// Show the whole conversation, however long.
    #[serde(default)]
    all: u8,
    /// From the part of this event on, at least.
    at: Option<Seq>,
}

/// What a component needs to know about who looks at this conversation.
fn view_of<'a>(
    state: &WebState,
    caller: &Caller,
    standing: Standing,
    execution: &Execution,
    back: &'a str,
) -> View<'a> {
    View {
        execution: execution.id,
        now: state.now(),
        may_decide: caller.may(Act::Decide, standing),
        may_steer: caller.may(Act::Steer, standing),
        is_operator: caller.is_operator(),
        past: false,
        back,
    }
}

/// The log up to `until` (or all there is) as a timeline.
async fn fold(state: &WebState, id: holdpoint_model::ExecutionId, until: Seq) -> Result<Timeline, Problem> {
    let mut timeline = Timeline::default();
    each_event(state, id, 0, until, |event| timeline.apply(event).map(drop)).await?;
    Ok(timeline)
}

/// The log after `after` up to `until` (or all there is), event by event; an error of the log's own, where one fits
/// nowhere.
async fn each_event(
    state: &WebState,
    id: holdpoint_model::ExecutionId,
    mut after: Seq,
    until: Seq,
    mut each: impl FnMut(&Event) -> Result<(), String>,
) -> Result<(), Problem> {
    while after < until {
        let events = state.store().events(id, after, limits::EVENTS_PAGE).await?;
        let Some(last) = events.last() else { break };
        after = last.seq;
        for event in events.iter().filter(|event| event.seq <= until) {
            each(event).map_err(|error| Problem::internal("read a log", &error))?;
        }
    }
    Ok(())
}

pub(super) async fn page(
    State(state): State<WebState>,
    Visitor(caller): Visitor,
    Path(id): Path<String>,
    Query(params): Query<Params>,
) -> Result<Response, PageError> {
    let (known, standing) = execution_as(&state, &caller, &id, Act::See).await?;
    let stretch = Stretch::of(known.seq, params.at, params.all == 1);
    let shown = stretch.fold(&state, known.id).await?;
    let back = format!("/executions/{}", known.id);
    let view = view_of(&state, &caller, standing, &known, &back);
    // What stands in an earlier part may have gone on since: it is answered where it is now.
    let view = if stretch.is_newest() {
        view
    } else {
        View { may_decide: false, may_steer: false, past: true, ..view }
    };
    let open = super::inbox::count_for(&state, &caller).await?;
    let queued = state.control.queued(&known);
    let sight = if caller.is_operator() { Some(session::look(&state, known.id).await) } else { None };
    let may_share = caller.may(Act::Share, standing);
    let around = Around { queued, sight, may_share, current: state.control.release().map(|it| it.number) };
    let body = document(&shown, &known, &view, &stretch, &around);
    let page =
        Page { title: &known.title, name: "conversation", caller: Some(&caller), open_holds: Some(open) };
    Ok(page.show(&body))
}

/// What stands around a conversation and is no part of it.
struct Around {
    /// Why nothing happens yet.
    queued: Option<String>,
    /// How its session is doing, for operators.
    sight: Option<Sight>,
    may_share: bool,
    /// The release that new conversations run on.
    current: Option<ReleaseNumber>,
}

fn document(
    shown: &Shown,
    execution: &Execution,
    view: &View<'_>,
    stretch: &Stretch,
    around: &Around,
) -> Markup {
    let Around { queued, sight, may_share, current } = around;
    let timeline = &shown.timeline;
    let live = format!("/executions/{}/live?from={}", execution.id, stretch.from());
    let live = Some(live).filter(|_| stretch.is_newest());
    let (files, omitted) = timeline.files();
    html! {
        main #main .conversation data-execution=(execution.id) data-status=(execution.status.as_str())
            data-live=[live] data-seq=(execution.seq) data-connection="off"
        {
            header.conversation-head {
                p.eyebrow {
                    @if execution.definition.title.is_empty() { (execution.agent) } @else { (execution.definition.title) }
                }
                h1 { (execution.title) }
                @if let Some(from) = &execution.forked_from {
                    p.quiet { "Goes on from an earlier point of " a href={ "/executions/" (from.execution) } { "another conversation" } "." }
                }
                @if execution.rehearsal { (facts::rehearsal()) }
                (facts::queue(queued.as_deref()))
            }
            aside.side aria-label="About this conversation" {
                (facts::facts(timeline, execution, view))
                (facts::actions(execution, view))
                (release::move_on(execution, *current, view))
                (facts::files(files, omitted, view))
                (facts::grants(execution))
                (more(execution, *may_share))
                @if let Some(sight) = sight { (inside::section(execution.id, sight, view.now)) }
            }
            div.main-column {
                p #connection .banner role="status" hidden { "Reconnecting…" }
                (stretch.earlier(execution))
                section #rounds aria-label="The conversation" { (timeline.rounds(shown.first, shown.end, view)) }
                @if stretch.is_newest() {
                    div #live aria-hidden="true" hidden {}
                    (facts::activity(timeline, execution))
                    (facts::outcome(timeline, execution, view))
                    (composer::composer(execution, view))
                } @else {
                    (stretch.later(execution))
                }
            }
        }
    }
}

/// What else may be done with it, each on a page of its own.
fn more(execution: &Execution, may_share: bool) -> Markup {
    let at = |what: &str| format!("/executions/{}/{what}", execution.id);
    html! {
        nav.more aria-label="More about this conversation" {
            @if may_share { a href=(at("share")) { "Share…" } }
            @if execution.last_turn.is_some() { a href=(at("fork")) { "Go on from an earlier point…" } }
            a href=(at("replay")) { "Replay" }
            a href=(at("events")) { "Events" }
            span { "Download as " a href=(at("export.md")) download { "Markdown" } " or " a href=(at("export.html")) download { "HTML" } }
        }
    }
}
