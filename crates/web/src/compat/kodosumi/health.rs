//! What `/health` says beside Holdpoint's own words, so that clients of that API find what they look for.

use serde_json::{Value, json};

use super::run::API_VERSION;
use crate::state::WebState;

/// Members of the answer. `active` are sessions that run now, `total` those that may.
pub(crate) fn health(state: &WebState) -> Value {
    let (active, total) = state.control.places();
    json!({
        "kodosumi_version": API_VERSION,
        "python_version": "",
        "ray_version": "",
        "ray_status": [],
        "spooler_status": { "pid": std::process::id(), "active": active, "total": total },
    })
}
