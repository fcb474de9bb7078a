//! `GET /v1/status`: how much there is, and who answers.

use axum::{Json, extract::State};
use serde_json::{Value, json};

use crate::{auth::Caller, problem::Problem, state::WebState};

pub(super) async fn status(State(state): State<WebState>, caller: Caller) -> Result<Json<Value>, Problem> {
    let mut view = json!({
        "version": &*state.version,
        "rehearsal": state.control.rehearsal(),
        "isolated": state.control.isolates(),
    });
    // Counts over everybody's conversations are for those who may see them.
    if caller.sees_only().is_none() {
        let counts = state.store().counts().await?;
        let (taken, places) = state.control.places();
        view["executions"] = json!(counts.executions);
        view["open_holds"] = json!(counts.open_holds);
        view["sessions"] = json!({ "running": taken, "places": places });
    }
    Ok(Json(view))
}
