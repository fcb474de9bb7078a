//! `GET /v1/releases`: the newest releases, newest first.

use axum::{Json, extract::State};
use holdpoint_model::TokenScope;

use super::views::{self, ReleaseView};
use crate::{
    auth::Caller,
    body::Items,
    openapi::{Doc, Group},
    problem::Problem,
    releases,
    state::WebState,
};

pub(in crate::api) const RELEASES: Doc = Doc::new(Group::Releases, "listReleases", "List releases")
    .text("The newest first, a hundred at most; older ones are found by their number.")
    .scope(TokenScope::Operate);

pub(in crate::api) async fn list(
    State(state): State<WebState>,
    caller: Caller,
) -> Result<Json<Items<ReleaseView>>, Problem> {
    caller.check_operate()?;
    let items = releases::all(&state).await?.into_iter().map(views::release);
    Ok(Json(Items { items: items.collect() }))
}
