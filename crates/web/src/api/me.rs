//! `GET /v1/me`: who the caller is, and what they may do.

use axum::{Json, extract::State};
use holdpoint_model::Standing;
use serde_json::{Value, json};

use crate::{
    auth::{Act, Caller},
    state::WebState,
};

pub(super) async fn me(State(_): State<WebState>, caller: Caller) -> Json<Value> {
    Json(json!({
        "id": caller.user,
        "name": caller.name,
        "role": caller.role,
        "channel": caller.channel,
        "may": {
            "start": caller.check_start().is_ok(),
            "see_all": caller.may(Act::See, Standing::Stranger),
            "decide_all": caller.may(Act::Decide, Standing::Stranger),
            "steer_all": caller.may(Act::Steer, Standing::Stranger),
            "administer": caller.check_administer().is_ok(),
        },
    }))
}
