//! `/lock/{fid}/{lid}`: a hold as a form. What is posted becomes a decision by the very command of the panel
//! and of `/v1/holds/{id}/decision`: the first valid one wins.

use axum::{Json, extract::State};
use holdpoint_control::DecideError;
use holdpoint_model::{Execution, Hold, HoldId, HoldState};
use http::StatusCode;
use serde_json::{Value, json};

use super::{
    ask::{self, Errors, Wanted},
    client::Client,
    elements::FILES,
    entry::with_global,
    fields::Fields,
    kinds, run, uploads,
};
use crate::{
    auth::{Act, Caller, hold},
    body::Path,
    problem::Problem,
    state::WebState,
};

pub(super) async fn form(
    State(state): State<WebState>,
    Client(caller): Client,
    Path((fid, lid)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    let execution = run::find(&state, &caller, &fid, Act::See).await?;
    let open = open_hold(&state, &caller, &execution, &lid, Act::See).await?;
    Ok(Json(json!(ask::form(&execution, &open))))
}

pub(super) async fn release(
    State(state): State<WebState>,
    Client(caller): Client,
    Path((fid, lid)): Path<(String, String)>,
    fields: Fields,
) -> Result<Json<Value>, Problem> {
    let execution = run::find(&state, &caller, &fid, Act::See).await?;
    let open = open_hold(&state, &caller, &execution, &lid, Act::Decide).await?;
    let elements = ask::form(&execution, &open);
    Ok(Json(match decide(&state, &caller, &execution, &open, &fields).await? {
        Ok(result) => json!({ "result": result, "elements": elements }),
        Err(errors) => json!({ "errors": with_global(errors), "elements": elements }),
    }))
}

/// A hold of this execution that still waits.
async fn open_hold(
    state: &WebState,
    caller: &Caller,
    execution: &Execution,
    lid: &str,
    act: Act,
) -> Result<Hold, Problem> {
    let row = hold(state, caller, lid, act).await.map_err(|mut problem| {
        if problem.status == StatusCode::NOT_FOUND {
            problem.detail = format!("Lock {lid} for {} not found.", execution.id);
        }
        problem
    })?;
    if row.execution != execution.id {
        return Err(no_lock(execution, lid, "not found"));
    }
    if row.hold.state != HoldState::Open {
        return Err(no_lock(execution, lid, "released"));
    }
    Ok(row.hold)
}

fn no_lock(execution: &Execution, lid: impl std::fmt::Display, why: &str) -> Problem {
    let detail = format!("Lock {lid} for {} {why}.", execution.id);
    Problem::new(StatusCode::NOT_FOUND, "not_found", "not found", detail)
}

async fn decide(
    state: &WebState,
    caller: &Caller,
    execution: &Execution,
    open: &Hold,
    fields: &Fields,
) -> Result<Result<Value, Errors>, Problem> {
    let request = match ask::read(open, fields) {
        Err(errors) => return Ok(Err(errors)),
        Ok(Wanted::Finish) => {
            run::find(state, caller, &execution.id.to_string(), Act::Steer).await?;
            state.control.finish(execution.id, caller.actor()).await?;
            return Ok(Ok(json!({ "action": "finish" })));
        }
        Ok(Wanted::Decide(request)) => request,
    };
    let chosen = match uploads::chosen(state, caller, fields.get(FILES)).await? {
        Ok(chosen) => chosen,
        Err(why) => return Ok(Err(ask::error(FILES, &why))),
    };
    if !chosen.files.is_empty() && request.action != "reply" {
        return Ok(Err(ask::error(FILES, "files go with a reply alone")));
    }
    let files = match uploads::read_all(chosen.files).await {
        Ok(files) => files,
        Err(problem) if problem.status.is_client_error() => {
            return Ok(Err(ask::error(FILES, &problem.detail)));
        }
        Err(problem) => return Err(problem),
    };
    match state.control.decide_with_files(open.id, request, files, caller.actor()).await {
        Ok(row) => {
            if let Some(batch) = chosen.batch {
                uploads::taken(state, batch, execution.id).await?;
            }
            let decided = row.hold.state.decision().or(row.decision.as_ref());
            Ok(Ok(decided.map_or(Value::Null, |decision| kinds::answer(&decision.answer))))
        }
        Err(DecideError::Invalid(why)) => Ok(Err(ask::error("_global_", &why))),
        Err(error) => Err(not_any_more(execution, open.id, error)),
    }
}

/// Whoever comes too late finds no lock, as with those who never knew of it.
fn not_any_more(execution: &Execution, hold: HoldId, error: DecideError) -> Problem {
    match error {
        DecideError::AlreadyAnswered { .. } | DecideError::Expired | DecideError::NotOpen(_) => {
            no_lock(execution, hold, "released")
        }
        DecideError::Unknown => no_lock(execution, hold, "not found"),
        other => other.into(),
    }
}
