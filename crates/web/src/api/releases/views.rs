//! Releases as the API shows them.

use holdpoint_model::{Actor, ExecutionId, Lock, ReleaseNumber, ReleaseState, lock::Change};
use holdpoint_store::{ReleaseRow, ReleaseStep};
use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    problem::Problem,
    releases::{self, Listed},
    state::WebState,
    time::At,
};

/// What new conversations run on, or did, or might have.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Release")]
pub(in crate::api) struct ReleaseView {
    number: ReleaseNumber,
    state: ReleaseState,
    /// What it is made of.
    lock: Lock,
    /// The names of its agents.
    agents: Vec<String>,
    /// Who began it.
    by: Actor,
    created_at: At,
    /// When it last became current.
    activated_at: Option<At>,
    /// The conversation by which it was tried out last.
    verification: Option<ExecutionId>,
    /// Why it failed.
    problem: Option<String>,
    /// How many conversations on it go on.
    going_on: u64,
    /// What is different in it from the release before it that ever was current; all there is, if it is the first.
    changes: Vec<Change>,
}

/// A release with what was done for it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ReleaseWithSteps")]
pub(in crate::api) struct WithSteps {
    #[serde(flatten)]
    pub(super) release: ReleaseView,
    /// What was done for it, in order.
    pub(super) steps: Vec<StepView>,
}

/// Something that was done for a release.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ReleaseStep")]
pub(in crate::api) struct StepView {
    at: At,
    /// `begun`, `image`, `verification`, `current`, `failed` or `removed`.
    step: String,
    /// More, for people.
    detail: String,
}

pub(super) fn release(listed: Listed) -> ReleaseView {
    let Listed { row, changes } = listed;
    ReleaseView {
        number: row.number,
        state: row.state,
        lock: row.lock,
        agents: row.agents.into_keys().collect(),
        by: row.by,
        created_at: At(row.created_at),
        activated_at: row.activated_at.map(At),
        verification: row.verification,
        problem: row.problem,
        going_on: row.going_on,
        changes,
    }
}

pub(super) fn step(step: ReleaseStep) -> StepView {
    StepView { at: At(step.at), step: step.step, detail: step.detail }
}

/// A release after something was done to it.
pub(super) async fn after(state: &WebState, row: ReleaseRow) -> Result<axum::Json<ReleaseView>, Problem> {
    Ok(axum::Json(release(releases::compared(state, row).await?)))
}
