//! `GET /v1/audit`: what was done about who may do what, the latest first. For administrators.

use axum::{Json, extract::State};
use holdpoint_store::{Audited, Deed};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{auth::Caller, body::Query, limits, problem::Problem, state::WebState, time::rfc3339};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Params {
    /// Only lines of this kind.
    kind: Option<String>,
    /// The `next` of the page before.
    cursor: Option<u64>,
    limit: Option<u32>,
}

pub(super) async fn audit(
    State(state): State<WebState>,
    caller: Caller,
    Query(params): Query<Params>,
) -> Result<Json<Value>, Problem> {
    caller.check_administer()?;
    let kind = params.kind.map(|kind| kind.parse::<Deed>()).transpose().map_err(Problem::invalid)?;
    let limit = params.limit.unwrap_or(limits::DEFAULT_PAGE).clamp(1, limits::MAX_PAGE);
    let (lines, next) = audit_page(&state, kind, params.cursor, limit).await?;
    let items: Vec<Value> = lines
        .iter()
        .map(|line| {
            let mut view = json!(line);
            view["at"] = json!(rfc3339(line.at));
            view
        })
        .collect();
    Ok(Json(json!({ "items": items, "next": next })))
}

/// A page of the audit log, and where the next one begins, if there is one.
pub(crate) async fn audit_page(
    state: &WebState,
    kind: Option<Deed>,
    before: Option<u64>,
    limit: u32,
) -> Result<(Vec<Audited>, Option<u64>), Problem> {
    let mut lines = state.store().audited(kind, before, limit + 1).await?;
    let more = lines.len() > limit as usize;
    lines.truncate(limit as usize);
    let next = lines.last().filter(|_| more).map(|line| line.id);
    Ok((lines, next))
}
