//! `GET /v1/me`: who the caller is, and what they may do.

use axum::{Json, extract::State};
use serde_json::{Value, json};

use crate::{auth::Caller, state::WebState};

pub(super) async fn me(State(_): State<WebState>, caller: Caller) -> Json<Value> {
    Json(json!({
        "id": caller.user,
        "name": caller.name,
        "role": caller.role,
        "channel": caller.channel,
        "may": {
            "start": caller.role.may_start(),
            "see_all": caller.role.may_see(false),
            "decide_all": caller.role.may_decide(false),
            "steer_all": caller.role.may_steer(false),
            "administer": caller.role.may_administer(),
        },
    }))
}
