//! `GET /v1/holds`: what waits for people, by nearest deadline; or any other state, newest first.

use axum::{Json, extract::State};
use holdpoint_store::{HoldFilter, HoldPhase};
use serde::Deserialize;
use serde_json::{Value, json};

use super::views;
use crate::{auth::Caller, body::Query, limits, problem::Problem, state::WebState};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Params {
    /// A state, or `any`; `open` where absent.
    status: Option<String>,
    execution: Option<String>,
    limit: Option<u32>,
}

pub(super) async fn holds(
    State(state): State<WebState>,
    caller: Caller,
    Query(params): Query<Params>,
) -> Result<Json<Value>, Problem> {
    let execution = params
        .execution
        .map(|id| id.parse().map_err(|_| Problem::invalid(format!("{id:?} is not the id of an execution"))))
        .transpose()?;
    let filter = HoldFilter {
        phase: phase(params.status.as_deref().unwrap_or("open")).map_err(Problem::invalid)?,
        execution,
        owner: caller.sees_only(),
    };
    let limit = params.limit.unwrap_or(limits::DEFAULT_PAGE).clamp(1, limits::MAX_PAGE);
    let rows = state.store().holds(&filter, limit).await?;
    let items: Vec<Value> = rows.iter().map(|row| views::hold(&state, row)).collect();
    Ok(Json(json!({ "items": items })))
}

fn phase(name: &str) -> Result<Option<HoldPhase>, String> {
    const ALL: [HoldPhase; 8] = [
        HoldPhase::Open,
        HoldPhase::Answered,
        HoldPhase::Releasing,
        HoldPhase::Released,
        HoldPhase::Indeterminate,
        HoldPhase::Expired,
        HoldPhase::Cancelled,
        HoldPhase::Superseded,
    ];
    if name == "any" {
        return Ok(None);
    }
    ALL.into_iter().find(|phase| phase.as_str() == name).map(Some).ok_or_else(|| {
        let known: Vec<&str> = ALL.iter().map(|phase| phase.as_str()).collect();
        format!("unknown status {name:?}: one of {}, any", known.join(", "))
    })
}
