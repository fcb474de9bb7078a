//! `POST /v1/releases/{number}/image`: which image was built for a release.

use axum::extract::State;
use holdpoint_model::{TokenScope, lock::ImageLock};
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

pub(in crate::api) const IMAGE: Doc =
    Doc::new(Group::Releases, "setReleaseImage", "Say which image was built for a release")
        .text("Said again it is the same. Another image has to be tried out anew.")
        .scope(TokenScope::Operate)
        .problems(&[(404, "not_found"), (409, "release_refused")])
        .example(
            r#"{"id": "sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae",
                "reference": "registry.example.org/agents@sha256:fcde2b2edba56bf408601fb721fe9b5c338d10ee429ea04fae5511b68fbf8fb9"}"#,
        );

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct Body {
    /// Its id in the engine.
    #[schemars(length(min = 1, max = 1000))]
    id: String,
    /// Where it was pushed to, with the digest as the registry has it; left out where it stayed on the server.
    #[serde(default)]
    #[schemars(length(min = 1, max = 1000))]
    reference: Option<String>,
}

pub(in crate::api) async fn image(
    State(state): State<WebState>,
    caller: Caller,
    Path(number): Path<String>,
    Json(body): Json<Body>,
) -> Result<axum::Json<ReleaseView>, Problem> {
    caller.check_operate()?;
    let number = releases::number(&number)?;
    check("id", &body.id)?;
    if let Some(reference) = &body.reference {
        check("reference", reference)?;
    }
    let image = ImageLock { id: body.id, reference: body.reference };
    views::after(&state, state.control.release_image(number, image).await?).await
}

fn check(name: &str, text: &str) -> Result<(), Problem> {
    let is_one = !text.is_empty()
        && text.chars().count() <= limits::MAX_IMAGE_CHARS
        && !text.chars().any(|c| c.is_control() || c.is_whitespace());
    if is_one {
        return Ok(());
    }
    Err(Problem::invalid(format!(
        "`{name}` has 1 to {} characters, none of them a space",
        limits::MAX_IMAGE_CHARS
    )))
}
