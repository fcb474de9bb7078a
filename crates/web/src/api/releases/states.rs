//! `POST /v1/releases/{number}/activate` and `/remove`: two commands without a body.

use axum::{Json, extract::State};
use holdpoint_model::TokenScope;

use super::views::{self, ReleaseView};
use crate::{
    auth::Caller,
    body::Path,
    openapi::{Doc, Group},
    problem::Problem,
    releases,
    state::WebState,
};

pub(in crate::api) const ACTIVATE: Doc = Doc::new(Group::Releases, "activateRelease", "Make a release current")
    .text(
        "New conversations run on it from now on; those that go on keep theirs. One that was tried out, or one that was \
         current before: so one goes back, and forward again.",
    )
    .scope(TokenScope::Operate)
    .problems(&[(404, "not_found"), (409, "release_refused"), (409, "release_untried")]);

pub(in crate::api) const REMOVE: Doc =
    Doc::new(Group::Releases, "removeRelease", "Say that a release's image is not needed any more")
        .text(
            "After this the image may be deleted. Not while it is current, or a conversation on it goes on.",
        )
        .scope(TokenScope::Operate)
        .problems(&[(404, "not_found"), (409, "release_refused")]);

/// Makes it what new conversations run on.
pub(in crate::api) async fn activate(
    State(state): State<WebState>,
    caller: Caller,
    Path(number): Path<String>,
) -> Result<Json<ReleaseView>, Problem> {
    caller.check_operate()?;
    let row = state.control.activate(releases::number(&number)?, caller.by()).await?;
    views::after(&state, row).await
}

/// Gives its image up.
pub(in crate::api) async fn remove(
    State(state): State<WebState>,
    caller: Caller,
    Path(number): Path<String>,
) -> Result<Json<ReleaseView>, Problem> {
    caller.check_operate()?;
    let row = state.store().remove_release(releases::number(&number)?).await?;
    views::after(&state, row).await
}
