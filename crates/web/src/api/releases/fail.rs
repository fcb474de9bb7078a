//! `POST /v1/releases/{number}/fail`: gives an unfinished release up.

use axum::extract::State;
use holdpoint_model::TokenScope;
use schemars::JsonSchema;
use serde::Deserialize;

use super::views::{self, ReleaseView};
use crate::{
    auth::Caller,
    body::{Json, Path},
    limits,
    openapi::{Doc, Group},
    problem::Problem,
    releases,
    state::WebState,
};

pub(in crate::api) const FAIL: Doc =
    Doc::new(Group::Releases, "failRelease", "Give an unfinished release up")
        .text("Nothing runs on it, and nothing will.")
        .scope(TokenScope::Operate)
        .problems(&[(404, "not_found"), (409, "release_refused")])
        .example(r#"{"why": "requirements.txt: there is no version of requests that fits"}"#);

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct Body {
    /// What went wrong, for people. Of a long text the beginning is kept.
    why: String,
}

pub(in crate::api) async fn fail(
    State(state): State<WebState>,
    caller: Caller,
    Path(number): Path<String>,
    Json(body): Json<Body>,
) -> Result<axum::Json<ReleaseView>, Problem> {
    caller.check_operate()?;
    let number = releases::number(&number)?;
    let why = body.why.trim();
    if why.is_empty() {
        return Err(Problem::invalid("`why` says what went wrong"));
    }
    let why = why.chars().take(limits::WHY_FAILED_CHARS).collect();
    views::after(&state, state.store().fail_release(number, why).await?).await
}
