//! `/holds/{id}`: the way to a hold, and what its forms post to.

use axum::{
    extract::State,
    response::{IntoResponse as _, Redirect, Response},
};
use holdpoint_model::{DecisionRequest, Hold, HoldId, hold::Scope};
use http::HeaderMap;

use super::{
    PageError, answer_form,
    form::FormData,
    parts::{question, subject},
    safe_next,
};
use crate::{
    auth::{Act, Caller, Visitor, hold},
    body::Path,
    problem::Problem,
    state::WebState,
};

/// A notification knows the hold; the page is the conversation's.
pub(super) async fn find(
    State(state): State<WebState>,
    Visitor(caller): Visitor,
    Path(id): Path<String>,
) -> Result<Response, PageError> {
    let row = hold(&state, &caller, &id, Act::See).await?;
    Ok(Redirect::to(&format!("/executions/{}#h-{}", row.execution, row.hold.id)).into_response())
}

pub(super) async fn decide(
    State(state): State<WebState>,
    Visitor(caller): Visitor,
    Path(id): Path<String>,
    headers: HeaderMap,
    form: FormData,
) -> Response {
    let anchor = id.parse::<HoldId>().map(|id| format!("#h-{id}")).unwrap_or_default();
    let back = format!("{}{anchor}", safe_next(form.get("back")));
    let done = take(&state, &caller, &id, form).await;
    answer_form(&headers, &caller, done, &back)
}

async fn take(state: &WebState, caller: &Caller, id: &str, mut form: FormData) -> Result<(), Problem> {
    let row = hold(state, caller, id, Act::Decide).await?;
    let files = form.take_files();
    let request = request_of(&row.hold, &form)?;
    state.control.decide_with_files(row.hold.id, request, files, caller.actor()).await?;
    Ok(())
}

/// The form's fields as a client's request.
fn request_of(hold: &Hold, form: &FormData) -> Result<DecisionRequest, Problem> {
    let digest = Some(form.get("digest").to_owned()).filter(|digest| !digest.is_empty());
    let message = Some(form.text("message")).filter(|text| !text.trim().is_empty());
    let request =
        |action: &str| DecisionRequest { action: action.into(), digest, ..DecisionRequest::default() };
    Ok(match form.get("action") {
        "allow-conversation" => DecisionRequest { scope: Some(Scope::Conversation), ..request("allow") },
        "allow-edited" => {
            let edited = subject::edited(&hold.subject.input, form.get("edit"), &form.text("edited"))
                .map_err(Problem::invalid)?;
            DecisionRequest { input: Some(edited), ..request("allow") }
        }
        "answer" => {
            let (answers, notes) = question::read(hold, form);
            DecisionRequest { answers: Some(answers), notes: Some(notes), ..request("answer") }
        }
        "reply" | "deny" => DecisionRequest { message, ..request(form.get("action")) },
        action => request(action),
    })
}
