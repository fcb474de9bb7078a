//! `GET /v1/status`: how much there is, and who answers.

use std::collections::BTreeMap;

use axum::{Json, extract::State};
use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    auth::Caller,
    openapi::{Doc, Group},
    problem::Problem,
    state::WebState,
};

pub(super) const STATUS: Doc = Doc::new(Group::About, "getStatus", "How much there is, and who answers")
    .text("Counts over everybody's conversations are for those who may see them.");

/// The server.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ServerStatus")]
pub(super) struct ServerStatus {
    version: String,
    /// A script answers instead of a model.
    rehearsal: bool,
    /// Something is between sessions and the server's machine.
    isolated: bool,
    /// By status; one without any is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    executions: Option<BTreeMap<String, u64>>,
    /// Holds that wait for a person.
    #[serde(skip_serializing_if = "Option::is_none")]
    open_holds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sessions: Option<Sessions>,
}

/// Sessions that run.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
struct Sessions {
    running: usize,
    /// How many may run.
    places: usize,
}

pub(super) async fn status(
    State(state): State<WebState>,
    caller: Caller,
) -> Result<Json<ServerStatus>, Problem> {
    let mut status = ServerStatus {
        version: state.version.to_string(),
        rehearsal: state.control.rehearsal(),
        isolated: state.control.isolates(),
        executions: None,
        open_holds: None,
        sessions: None,
    };
    if caller.sees_only().is_none() {
        let counts = state.store().counts().await?;
        let (running, places) = state.control.places();
        status.executions = Some(counts.executions);
        status.open_holds = Some(counts.open_holds);
        status.sessions = Some(Sessions { running, places });
    }
    Ok(Json(status))
}
