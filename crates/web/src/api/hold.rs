//! `GET /v1/holds/{id}`, settled ones too.

use axum::{Json, extract::State};

use super::views::{self, HoldRowView};
use crate::{
    auth::{self, Act, Caller},
    body::Path,
    openapi::{Doc, Group},
    problem::Problem,
    state::WebState,
};

pub(super) const HOLD: Doc = Doc::new(Group::Holds, "getHold", "Look at a hold")
    .text("Settled ones too.")
    .problems(&[(404, "not_found")]);

pub(super) async fn hold(
    State(state): State<WebState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<HoldRowView>, Problem> {
    let row = auth::hold(&state, &caller, &id, Act::See).await?;
    Ok(Json(views::hold(&state, &row)))
}
