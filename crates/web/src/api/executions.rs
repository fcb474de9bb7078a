//! `GET /v1/executions`: newest first.

use axum::{Json, extract::State};
use holdpoint_model::Status;
use holdpoint_store::{Cursor, ListFilter};
use serde::Deserialize;
use serde_json::{Value, json};

use super::views;
use crate::{auth::Caller, body::Query, limits, problem::Problem, state::WebState};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Params {
    /// One, or several with commas between.
    status: Option<String>,
    agent: Option<String>,
    /// Only those that this finds; see [`ListFilter::text`].
    q: Option<String>,
    cursor: Option<String>,
    limit: Option<u32>,
}

pub(super) async fn executions(
    State(state): State<WebState>,
    caller: Caller,
    Query(params): Query<Params>,
) -> Result<Json<Value>, Problem> {
    let filter = ListFilter {
        owner: None,
        only_for: caller.sees_only(),
        statuses: statuses(params.status.as_deref().unwrap_or_default()).map_err(Problem::invalid)?,
        agent: params.agent,
        text: params.q,
    };
    let cursor = params.cursor.map(|text| text.parse::<Cursor>()).transpose().map_err(Problem::invalid)?;
    let limit = params.limit.unwrap_or(limits::DEFAULT_PAGE).clamp(1, limits::MAX_PAGE);
    let mut rows = state.store().list(&filter, cursor, limit + 1).await?;
    let more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    let next = more.then(|| rows.last().map(|row| row.cursor().to_string())).flatten();
    let items: Vec<Value> = rows.iter().map(|row| views::row(&state, &caller, row)).collect();
    Ok(Json(json!({ "items": items, "next": next })))
}

/// Parses `awaiting,running`.
pub(crate) fn statuses(text: &str) -> Result<Vec<Status>, String> {
    const ALL: [Status; 6] = [
        Status::Starting,
        Status::Running,
        Status::Awaiting,
        Status::Finished,
        Status::Error,
        Status::Cancelled,
    ];
    text.split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .map(|name| {
            ALL.into_iter().find(|status| status.as_str() == name).ok_or_else(|| {
                let known: Vec<&str> = ALL.iter().map(|status| status.as_str()).collect();
                format!("unknown status {name:?}: one of {}", known.join(", "))
            })
        })
        .collect()
}
