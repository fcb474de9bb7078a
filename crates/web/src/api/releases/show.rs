//! `GET /v1/releases/{number}`: a release, and what was done for it.

use axum::{Json, extract::State};
use holdpoint_model::TokenScope;

use super::views::{self, WithSteps};
use crate::{
    auth::Caller,
    body::Path,
    openapi::{Doc, Group},
    problem::Problem,
    releases,
    state::WebState,
};

pub(in crate::api) const RELEASE: Doc = Doc::new(Group::Releases, "getRelease", "Look at a release")
    .scope(TokenScope::Operate)
    .problems(&[(404, "not_found")]);

pub(in crate::api) async fn show(
    State(state): State<WebState>,
    caller: Caller,
    Path(number): Path<String>,
) -> Result<Json<WithSteps>, Problem> {
    caller.check_operate()?;
    let listed = releases::find(&state, &number).await?;
    let steps = state.store().release_steps(listed.row.number).await?;
    Ok(Json(WithSteps {
        release: views::release(listed),
        steps: steps.into_iter().map(views::step).collect(),
    }))
}
