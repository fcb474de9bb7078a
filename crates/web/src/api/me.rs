//! `GET /v1/me`: who the caller is, and what they may do.

use axum::{Json, extract::State};
use holdpoint_model::{Channel, Role, Standing, UserId};
use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    auth::{Act, Caller},
    openapi::{Doc, Group},
    state::WebState,
};

pub(super) const ME: Doc = Doc::new(Group::About, "getMe", "Who one is, and what one may do");

/// Who asks.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Me {
    id: UserId,
    name: String,
    role: Role,
    channel: Channel,
    may: May,
}

/// What they may do, as far as their token goes.
#[derive(Debug, Serialize, JsonSchema)]
struct May {
    start: bool,
    see_all: bool,
    decide_all: bool,
    steer_all: bool,
    administer: bool,
}

pub(super) async fn me(State(_): State<WebState>, caller: Caller) -> Json<Me> {
    let may = May {
        start: caller.check_start().is_ok(),
        see_all: caller.may(Act::See, Standing::Stranger),
        decide_all: caller.may(Act::Decide, Standing::Stranger),
        steer_all: caller.may(Act::Steer, Standing::Stranger),
        administer: caller.check_administer().is_ok(),
    };
    Json(Me { id: caller.user, name: caller.name, role: caller.role, channel: caller.channel, may })
}
