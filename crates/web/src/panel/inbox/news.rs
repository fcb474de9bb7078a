//! `GET /inbox/waiting`: what a browser tells somebody who does not look. In words fit for a screen that anybody may
//! see: which agent wants what kind of thing, and nothing of what it is about.

use axum::{Json, extract::State};
use holdpoint_model::{HoldKind, HoldState};
use holdpoint_store::{HoldFilter, HoldRow};
use serde_json::{Value, json};

use crate::{auth::Visitor, limits, panel::parts::subject, problem::Problem, state::WebState};

/// Characters of a name.
const NAME_CHARS: usize = 60;

pub(in crate::panel) async fn waiting(
    State(state): State<WebState>,
    Visitor(caller): Visitor,
) -> Result<Json<Value>, Problem> {
    if !caller.decides() {
        return Ok(Json(json!({ "count": 0, "mine": 0, "newest": [] })));
    }
    let now = state.now();
    let count = super::count_for(&state, &caller).await?;
    let mine = HoldFilter { assigned: Some(Some(caller.user)), ..super::filter_for(&caller, now) };
    let mine = state.store().holds(&mine, limits::MAX_PAGE).await?.len();
    // The newest of any state come by an index; those of them that wait are what is new.
    let newest = HoldFilter { phase: None, ..super::filter_for(&caller, now) };
    let newest = state.store().holds(&newest, limits::NEWS).await?;
    let is_news = |row: &&HoldRow| {
        let others = row.hold.assigned.as_ref().is_some_and(|assigned| assigned.user != caller.user);
        row.hold.state == HoldState::Open && !others
    };
    let newest: Vec<Value> = newest
        .iter()
        .filter(is_news)
        .map(|row| json!({ "at": row.hold.opened_at, "url": format!("/holds/{}", row.hold.id), "text": words(&state, row) }))
        .collect();
    Ok(Json(json!({ "count": count, "mine": mine, "newest": newest })))
}

fn words(state: &WebState, row: &HoldRow) -> String {
    let agents = state.control.agents();
    let agent = agents.get(&row.agent).map_or("", |agent| agent.title.as_str());
    let agent: String =
        (if agent.is_empty() { &row.agent } else { agent }).chars().take(NAME_CHARS).collect();
    match row.hold.kind {
        HoldKind::Tool => {
            let deed: String = subject::deed(&row.hold.subject.tool).chars().take(NAME_CHARS).collect();
            format!("{agent} wants to {deed}")
        }
        HoldKind::Question => format!("{agent} has a question"),
        HoldKind::Plan => format!("{agent} proposes a plan"),
        HoldKind::Reply => format!("{agent} waits for a reply"),
    }
}
