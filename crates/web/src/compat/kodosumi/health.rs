//! What `/health` says beside Holdpoint's own words, so that clients of that API find what they look for.

use serde_json::{Map, Value, json};

use super::run::API_VERSION;
use crate::state::WebState;

/// Members of the answer. `active` are sessions that run now, `total` those that may.
pub(crate) fn health(state: &WebState) -> Map<String, Value> {
    let (active, total) = state.control.places();
    [
        ("kodosumi_version", json!(API_VERSION)),
        ("python_version", json!("")),
        ("ray_version", json!("")),
        ("ray_status", json!([])),
        ("spooler_status", json!({ "pid": std::process::id(), "active": active, "total": total })),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into_iter()
    .collect()
}
