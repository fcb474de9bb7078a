//! `POST /v1/holds/{id}/assign`: whose a hold is. It says who is to look; everybody who might answer still may.

use axum::extract::State;
use serde::Deserialize;
use serde_json::Value;

use super::views;
use crate::{
    auth::Caller,
    body::{Json, Path},
    problem::Problem,
    state::WebState,
    waiting::{self, Whose},
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Body {
    /// The name of a user who may answer it; `null` for nobody in particular. Whoever asks where it is left out.
    #[serde(default = "mine", deserialize_with = "named")]
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
) -> Result<axum::Json<Value>, Problem> {
    let row = waiting::assign(&state, &caller, &id, body.to).await?;
    Ok(axum::Json(views::hold(&state, &row)))
}
