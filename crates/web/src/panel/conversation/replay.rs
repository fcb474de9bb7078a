//! `/executions/{id}/replay`: a conversation from its start, step by step, as it looked then. Each step is a page of
//! its own; a script plays them, with the pauses between made short.

use axum::{extract::State, response::Response};
use holdpoint_model::{Execution, Seq, UnixMs};
use maud::{Markup, html};
use serde::Deserialize;

use super::{each_event, view_of};
use crate::{
    auth::{Act, Visitor, execution_as},
    body::{Path, Query},
    limits,
    panel::{
        PageError, inbox,
        layout::Page,
        parts::{View, dollars, status},
        timeline::Timeline,
    },
    problem::Problem,
    state::WebState,
    time,
};

#[derive(Debug, Deserialize)]
pub(crate) struct Params {
    /// The event up to which it is shown; its beginning where absent.
    #[serde(default)]
    at: Seq,
}

/// An event that changed what is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Step {
    seq: Seq,
    at: UnixMs,
}

/// The conversation up to a step, and where that is among all.
struct Scene {
    timeline: Timeline,
    steps: Vec<Step>,
    /// Which of them.
    here: usize,
}

impl Scene {
    async fn of(state: &WebState, known: &Execution, at: Seq, is_operator: bool) -> Result<Self, Problem> {
        let (mut whole, mut timeline) = (Timeline::default(), Timeline::default());
        let mut steps: Vec<Step> = Vec::new();
        each_event(state, known.id, 0, known.seq, |event| {
            let before = whole.execution().map(|execution| execution.status);
            let parts = whole.apply(event)?;
            let status = whole.execution().map(|execution| execution.status);
            if whole.any_seen(&parts, is_operator) || (before.is_some() && before != status) {
                steps.push(Step { seq: event.seq, at: event.at });
            }
            // Up to the step that is shown: the first, if none is named.
            if event.seq <= at || steps.is_empty() || steps[0].seq == event.seq {
                timeline.apply(event)?;
            }
            Ok(())
        })
        .await?;
        let here = steps.iter().rposition(|step| step.seq <= at).unwrap_or(0);
        Ok(Self { timeline, steps, here })
    }

    fn step(&self, at: usize) -> Option<Step> {
        self.steps.get(at).copied()
    }
}

pub(crate) async fn page(
    State(state): State<WebState>,
    Visitor(caller): Visitor,
    Path(id): Path<String>,
    Query(params): Query<Params>,
) -> Result<Response, PageError> {
    let (known, standing) = execution_as(&state, &caller, &id, Act::See).await?;
    let scene = Scene::of(&state, &known, params.at, caller.is_operator()).await?;
    let execution = scene.timeline.execution().unwrap_or(&known);
    let back = format!("/executions/{}", known.id);
    let view = View {
        may_decide: false,
        may_steer: false,
        past: true,
        ..view_of(&state, &caller, standing, execution, &back)
    };
    let open = inbox::count_for(&state, &caller).await?;
    let page = Page { title: "Replay", name: "replay", caller: Some(&caller), open_holds: Some(open) };
    Ok(page.show(&document(&scene, execution, &view)))
}

fn document(scene: &Scene, execution: &Execution, view: &View<'_>) -> Markup {
    let first = scene.timeline.len().saturating_sub(limits::REPLAY_PARTS);
    let at = scene.step(scene.here).map_or(execution.created_at, |step| step.at);
    html! {
        main #main .narrow .replay {
            header.stack-small {
                p.eyebrow { "Replay of " a href=(view.back) { (execution.title) } }
                p #replay-facts .row {
                    (status(execution.status))
                    span.quiet {
                        (time::readable(at)) " · " (time::length(at - execution.created_at)) " after the start · "
                        (dollars(execution.totals.cost_micros))
                    }
                }
            }
            section #rounds aria-label="The conversation as it was then" {
                @if first > 0 { p.quiet { (first) " earlier parts are not shown here." } }
                (scene.timeline.rounds(first, scene.timeline.len(), view))
            }
            div #now {}
            (controls(scene, execution))
        }
    }
}

/// First, back, play, on, last.
fn controls(scene: &Scene, execution: &Execution) -> Markup {
    let last = scene.steps.len().saturating_sub(1);
    let here = scene.here;
    let address = |at: usize| {
        let seq = scene.step(at).map_or(0, |step| step.seq);
        format!("/executions/{}/replay?at={seq}#now", execution.id)
    };
    let between = |from: usize, to: usize| match (scene.step(from), scene.step(to)) {
        (Some(from), Some(to)) => (to.at - from.at).max(0),
        _ => 0,
    };
    let link = |action: &str, sign: &str, words: &str, to: Option<usize>| {
        html! {
            // A place that there is not keeps its place in the row.
            a.button data-action=(action) href=[to.map(address)] aria-label=(words) title=(words)
                aria-disabled=[to.is_none().then_some("true")] { (sign) }
        }
    };
    html! {
        nav #controls .card aria-label="Steps" data-wait=[(here < last).then(|| between(here, here + 1))] {
            div.row {
                (link("first", "«", "First step (Home)", (here > 0).then_some(0)))
                (link("back", "‹", "Step back (←)", here.checked_sub(1)))
                button.primary type="button" data-action="play" hidden { "Play" }
                (link("on", "›", "Step on (→)", (here < last).then_some(here + 1)))
                (link("last", "»", "Last step (End)", (here < last).then_some(last)))
            }
            progress #progress max=(last.max(1)) value=(here) aria-label="How far" {}
            p #where .quiet role="status" { "Step " (here + 1) " of " (last + 1) }
        }
    }
}
