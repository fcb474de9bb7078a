//! What the inbox's forms post to, beside decisions.

use axum::{extract::State, response::Response};
use holdpoint_model::{HoldId, HumanDuration};
use http::HeaderMap;

use crate::{
    auth::{Caller, Visitor},
    body::Path,
    panel::{answer_form, form::FormData, safe_next},
    problem::Problem,
    state::WebState,
    waiting::{self, Again, Whose},
};

/// Back to where the form was, and to the hold in it if it is there still.
fn back(id: &str, form: &FormData) -> String {
    let anchor = id.parse::<HoldId>().map(|id| format!("#i-{id}")).unwrap_or_default();
    format!("{}{anchor}", safe_next(form.get("back")))
}

pub(in crate::panel) async fn assign(
    State(state): State<WebState>,
    Visitor(caller): Visitor,
    Path(id): Path<String>,
    headers: HeaderMap,
    form: FormData,
) -> Response {
    let whose = match form.get("action") {
        "take" => Whose::Mine,
        "nobody" => Whose::Nobodys,
        _ => Whose::Named(form.get("to").to_owned()),
    };
    let done = waiting::assign(&state, &caller, &id, whose).await.map(drop);
    answer_form(&headers, &caller, done, &back(&id, &form))
}

pub(in crate::panel) async fn snooze(
    State(state): State<WebState>,
    Visitor(caller): Visitor,
    Path(id): Path<String>,
    headers: HeaderMap,
    form: FormData,
) -> Response {
    let done = put_off(&state, &caller, &id, form.get("action")).await;
    answer_form(&headers, &caller, done, &back(&id, &form))
}

async fn put_off(state: &WebState, caller: &Caller, id: &str, action: &str) -> Result<(), Problem> {
    let again = match action {
        "wake" => Again::Now,
        "nearly-due" => Again::NearlyDue,
        time => {
            let time: HumanDuration = time.parse().map_err(Problem::invalid)?;
            Again::At(time.after(state.now()))
        }
    };
    waiting::snooze(state, caller, id, again).await.map(drop)
}
