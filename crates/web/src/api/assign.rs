//! `POST /v1/holds/{id}/assign`: whose a hold is. It says who is to look; everybody who might answer still may.

use axum::extract::State;
use holdpoint_model::TokenScope;
use schemars::JsonSchema;
use serde::Deserialize;

use super::views::{self, HoldRowView};
use crate::{
    auth::Caller,
    body::{Json, Path},
    openapi::{Doc, Group},
    problem::Problem,
    state::WebState,
    waiting::{self, Whose},
};

pub(super) const ASSIGN: Doc = Doc::new(Group::Holds, "assignHold", "Say whose a hold is")
    .text("It says who is to look; everybody who might answer it still may.")
    .scope(TokenScope::Decide)
    .problems(&[(404, "not_found"), (409, "already_answered"), (409, "not_open"), (410, "expired")])
    .example(r#"{"to": "ada"}"#);

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Body {
    /// The name of a user who may answer it; `null` for nobody in particular. Whoever asks where it is left out.
    #[serde(default = "mine", deserialize_with = "named")]
    #[schemars(with = "Option<String>")]
    to: Whose,
}

fn mine() -> Whose {
    Whose::Mine
}

fn named<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Whose, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.map_or(Whose::Nobodys, Whose::Named))
}

pub(super) async fn assign(
    State(state): State<WebState>,
    caller: Caller,
    Path(id): Path<String>,
    Json(body): Json<Body>,
) -> Result<axum::Json<HoldRowView>, Problem> {
    let row = waiting::assign(&state, &caller, &id, body.to).await?;
    Ok(axum::Json(views::hold(&state, &row)))
}
