//! `/outputs/{status|raw|html}/{fid}`, and `DELETE /outputs/…`: ends what runs, deletes what is over.

use std::{collections::BTreeSet, sync::Arc};

use axum::{
    Json,
    extract::State,
    response::{IntoResponse as _, Response},
};
use holdpoint_model::Execution;
use http::StatusCode;
use maud::{DOCTYPE, html};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{client::Client, payload, run};
use crate::{
    auth::{Act, Caller},
    body::{self, Path},
    limits,
    problem::Problem,
    state::WebState,
};

/// Why there is no execution any more, in the note that stays.
const WHY: &str = "a person deleted it";

pub(super) async fn status(
    State(state): State<WebState>,
    Client(caller): Client,
    Path(fid): Path<String>,
) -> Result<Json<Value>, Problem> {
    let execution = run::find(&state, &caller, &fid, Act::See).await?;
    let agent = &execution.definition;
    Ok(Json(json!({
        "status": run::status(execution.status),
        "timestamp": run::seconds(execution.updated_at),
        "final": run::outcome(&execution).map(|outcome| outcome.to_string()),
        "fid": execution.id,
        "summary": run::summary(&execution.agent, agent),
        "description": run::description(agent),
        "tags": agent.tags,
        "deprecated": null,
        "author": agent.author,
        "organization": agent.organization,
        "version": &*state.version,
        "kodosumi_version": null,
        "app_url": &*state.base_url,
        "entry_point": run::entry_point(&execution.agent),
        "username": run::username(&execution.owner),
        "locks": run::locks(&execution),
    })))
}

pub(super) async fn raw(
    State(state): State<WebState>,
    Client(caller): Client,
    Path(fid): Path<String>,
) -> Result<Json<Value>, Problem> {
    let execution = run::find(&state, &caller, &fid, Act::See).await?;
    Ok(Json(run::outcome_or_patience(&execution)))
}

pub(super) async fn html(
    State(state): State<WebState>,
    Client(caller): Client,
    Path(fid): Path<String>,
) -> Result<Response, Problem> {
    let execution = run::find(&state, &caller, &fid, Act::See).await?;
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head { meta charset="utf-8"; title { (execution.title) } }
            body { (payload::value(&run::outcome_or_patience(&execution).to_string())) }
        }
    };
    Ok(page.into_response())
}

pub(super) async fn delete_one(
    State(state): State<WebState>,
    Client(caller): Client,
    Path(fid): Path<String>,
) -> Result<StatusCode, Problem> {
    let execution = run::find(&state, &caller, &fid, Act::Steer).await?;
    end_or_delete(&state, &caller, &execution).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Debug, Deserialize)]
pub(super) struct Several {
    fid: BTreeSet<String>,
}

/// All of them, or, where one may not be touched, none.
pub(super) async fn delete_several(
    State(state): State<WebState>,
    Client(caller): Client,
    body::Json(Several { fid }): body::Json<Several>,
) -> Result<StatusCode, Problem> {
    if fid.len() > limits::MAX_PAGE as usize {
        return Err(Problem::invalid(format!("at most {} at once", limits::MAX_PAGE)));
    }
    let mut executions = Vec::with_capacity(fid.len());
    for fid in &fid {
        executions.push(run::find(&state, &caller, fid, Act::Steer).await?);
    }
    for execution in executions {
        end_or_delete(&state, &caller, &execution).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}

async fn end_or_delete(state: &WebState, caller: &Caller, execution: &Arc<Execution>) -> Result<(), Problem> {
    if execution.status.is_final() {
        state.control.delete(execution.id, &caller.actor(), WHY).await?;
    } else {
        state.control.cancel(execution.id, caller.actor()).await?;
    }
    Ok(())
}
