//! `POST /v1/releases/{number}/verify`: tries a release out, and says how that goes.

use axum::{Json, extract::State};
use holdpoint_control::Verification;
use holdpoint_model::{ExecutionId, TokenScope};
use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    auth::Caller,
    body::Path,
    openapi::{Doc, Group},
    problem::Problem,
    releases,
    state::WebState,
};

pub(in crate::api) const VERIFY: Doc = Doc::new(Group::Releases, "verifyRelease", "Try a release out")
    .text("A rehearsed conversation in its image. Asked again, it says how that goes, or went.")
    .scope(TokenScope::Operate)
    .problems(&[(404, "not_found"), (409, "release_refused")]);

/// How trying a release out went.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Verification")]
pub(in crate::api) struct VerificationView {
    state: VerificationState,
    /// The conversation by which it is tried out.
    execution: ExecutionId,
    /// What went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
enum VerificationState {
    Running,
    Passed,
    Failed,
}

pub(in crate::api) async fn verify(
    State(state): State<WebState>,
    caller: Caller,
    Path(number): Path<String>,
) -> Result<Json<VerificationView>, Problem> {
    caller.check_operate()?;
    let number = releases::number(&number)?;
    let (state, execution, why) = match state.control.verify(number, caller.actor()).await? {
        Verification::Running(id) => (VerificationState::Running, id, None),
        Verification::Passed(id) => (VerificationState::Passed, id, None),
        Verification::Failed(id, why) => (VerificationState::Failed, id, Some(why)),
    };
    Ok(Json(VerificationView { state, execution, why }))
}
