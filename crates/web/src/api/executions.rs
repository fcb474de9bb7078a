//! `GET /v1/executions`: newest first.

use axum::{Json, extract::State};
use holdpoint_model::Status;
use holdpoint_store::{Cursor, ListFilter};
use schemars::JsonSchema;
use serde::Deserialize;

use super::views::{self, RowView};
use crate::{
    auth::Caller,
    body::{Page, Query},
    openapi::{Doc, Group},
    paging::{cut, page_size},
    problem::Problem,
    state::WebState,
};

pub(super) const EXECUTIONS: Doc = Doc::new(Group::Conversations, "listExecutions", "List conversations")
    .text("Those that one may see, the newest first.")
    .problems(&[(422, "invalid_request")]);

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Params {
    /// One, or several with commas between.
    status: Option<String>,
    /// Only those with this agent.
    agent: Option<String>,
    /// Only those that this finds; see [`ListFilter::text`].
    q: Option<String>,
    /// The `next` of the page before.
    cursor: Option<String>,
    /// How many, at most 200.
    #[schemars(range(max = 4_294_967_295_u32))]
    limit: Option<u32>,
}

pub(super) async fn executions(
    State(state): State<WebState>,
    caller: Caller,
    Query(params): Query<Params>,
) -> Result<Json<Page<RowView>>, Problem> {
    let filter = ListFilter {
        owner: None,
        only_for: caller.sees_only(),
        statuses: statuses(params.status.as_deref().unwrap_or_default()).map_err(Problem::invalid)?,
        agent: params.agent,
        text: params.q,
    };
    let cursor = params.cursor.map(|text| text.parse::<Cursor>()).transpose().map_err(Problem::invalid)?;
    let limit = page_size(params.limit);
    let mut rows = state.store().list(&filter, cursor, limit + 1).await?;
    let next = cut(&mut rows, limit, |row| row.cursor().to_string());
    let items = rows.iter().map(|row| views::row(&state, &caller, row)).collect();
    Ok(Json(Page { items, next }))
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
