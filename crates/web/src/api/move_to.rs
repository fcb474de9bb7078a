//! `POST /v1/executions/{id}/move`: the release that a conversation goes on with. It keeps its own until somebody
//! says so.

use axum::extract::State;
use holdpoint_model::{ReleaseNumber, TokenScope};
use schemars::JsonSchema;
use serde::Deserialize;

use super::views::{self, ExecutionView};
use crate::{
    auth::Caller,
    body::{Json, Path},
    openapi::{Doc, Group},
    problem::Problem,
    releases,
    state::WebState,
};

pub(super) const MOVE: Doc = Doc::new(Group::Releases, "moveExecution", "Move a conversation to another release")
    .text(
        "What it does next, it does in that release's image and with its agent as defined there. A conversation keeps \
         its release until somebody moves it. Not while the agent is at work. For operators.",
    )
    .scope(TokenScope::Operate)
    .problems(&[
        (404, "not_found"),
        (409, "at_work"),
        (409, "conflict"),
        (409, "ended"),
        (409, "release_refused"),
        (422, "no_agent"),
    ])
    .example(r#"{"release": 4}"#);

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Body {
    /// The number of one that is or was current.
    release: ReleaseNumber,
}

pub(super) async fn move_to(
    State(state): State<WebState>,
    caller: Caller,
    Path(id): Path<String>,
    Json(body): Json<Body>,
) -> Result<axum::Json<ExecutionView>, Problem> {
    let after = releases::move_to(&state, &caller, &id, body.release).await?;
    Ok(axum::Json(views::execution(&state, &caller, &after)))
}
