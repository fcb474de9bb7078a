//! What the forms of a conversation post to: messages, interrupt, finish, cancel, move.

use axum::{extract::State, response::Response};
use holdpoint_model::{DecisionRequest, ExecutionId, event::SendMode};
use http::HeaderMap;

use crate::{
    auth::{Act, Caller, Visitor, execution, hold},
    body::Path,
    panel::{PageError, answer_form, form::FormData},
    problem::Problem,
    releases,
    state::WebState,
};

fn back(id: &str) -> String {
    // The id comes from the address: only one that is an id goes into a header again.
    id.parse::<ExecutionId>()
        .map_or_else(|_| "/executions".to_owned(), |id| format!("/executions/{id}#composer"))
}

/// The composer's form: an answer to the reply hold that it names, or a message.
pub(crate) async fn message(
    State(state): State<WebState>,
    Visitor(caller): Visitor,
    Path(id): Path<String>,
    headers: HeaderMap,
    form: FormData,
) -> Response {
    let done = send(&state, &caller, &id, form).await;
    answer_form(&headers, &caller, done, &back(&id))
}

async fn send(state: &WebState, caller: &Caller, id: &str, mut form: FormData) -> Result<(), Problem> {
    let text = form.text("text");
    let files = form.take_files();
    let reply = form.get("hold");
    if !reply.is_empty() {
        let row = hold(state, caller, reply, Act::Decide).await?;
        let request =
            DecisionRequest { action: "reply".into(), message: Some(text), ..DecisionRequest::default() };
        state.control.decide_with_files(row.hold.id, request, files, caller.actor()).await?;
        return Ok(());
    }
    let id = execution(state, caller, id, Act::Steer).await?.id;
    let mode = match form.get("mode") {
        "steer" => SendMode::Steer,
        _ => SendMode::Queue,
    };
    state.control.message(id, text, files, mode, caller.actor()).await?;
    Ok(())
}

/// Stops the present turn.
pub(crate) async fn interrupt(
    State(state): State<WebState>,
    Visitor(caller): Visitor,
    Path(id): Path<String>,
    headers: HeaderMap,
    _: FormData,
) -> Result<Response, PageError> {
    let done = async {
        let id = execution(&state, &caller, &id, Act::Steer).await?.id;
        state.control.interrupt(id, caller.actor()).await?;
        Ok(())
    };
    Ok(answer_form(&headers, &caller, done.await, &back(&id)))
}

/// Ends the conversation, at once or after the present turn.
pub(crate) async fn finish(
    State(state): State<WebState>,
    Visitor(caller): Visitor,
    Path(id): Path<String>,
    headers: HeaderMap,
    _: FormData,
) -> Result<Response, PageError> {
    let done = async {
        let id = execution(&state, &caller, &id, Act::Steer).await?.id;
        state.control.finish(id, caller.actor()).await?;
        Ok(())
    };
    Ok(answer_form(&headers, &caller, done.await, &back(&id)))
}

/// Ends the conversation now.
pub(crate) async fn cancel(
    State(state): State<WebState>,
    Visitor(caller): Visitor,
    Path(id): Path<String>,
    headers: HeaderMap,
    _: FormData,
) -> Result<Response, PageError> {
    let done = async {
        let id = execution(&state, &caller, &id, Act::Steer).await?.id;
        state.control.cancel(id, caller.actor()).await?;
        Ok(())
    };
    Ok(answer_form(&headers, &caller, done.await, &back(&id)))
}

/// Moves the conversation to another release.
pub(crate) async fn move_to(
    State(state): State<WebState>,
    Visitor(caller): Visitor,
    Path(id): Path<String>,
    headers: HeaderMap,
    form: FormData,
) -> Result<Response, PageError> {
    let done = async {
        // Who may not does not learn whether there is such a release.
        caller.check_operate()?;
        let release = releases::number(form.get("release"))?;
        releases::move_to(&state, &caller, &id, release).await?;
        Ok(())
    };
    Ok(answer_form(&headers, &caller, done.await, &back(&id)))
}
