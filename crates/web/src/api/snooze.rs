//! `POST /v1/holds/{id}/snooze`: a hold is hidden from the caller's own inbox for a while, or shown again.

use axum::extract::State;
use holdpoint_model::{HumanDuration, TokenScope, UnixMs};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::views::{self, HoldRowView};
use crate::{
    auth::Caller,
    body::{Json, Path},
    openapi::{Doc, Group},
    problem::Problem,
    state::WebState,
    time::At,
    waiting::{self, Again},
};

pub(super) const SNOOZE: Doc = Doc::new(
    Group::Holds,
    "snoozeHold",
    "Hide a hold from one's own inbox for a while",
)
.text("Nobody else's inbox changes, and the hold waits as before. With an empty object it is shown again.")
.scope(TokenScope::Decide)
.problems(&[(404, "not_found"), (409, "not_open")])
.example(r#"{"for": "4h"}"#);

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Body {
    /// A time (RFC 3339), or `nearly_due`.
    #[serde(default)]
    until: Option<String>,
    /// A length of time, as in `4h`. With neither of them it is shown again.
    #[serde(default, rename = "for")]
    time: Option<HumanDuration>,
}

/// A hold, and until when the caller does not see it in the inbox.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct SnoozedHold {
    #[serde(flatten)]
    hold: HoldRowView,
    snoozed_until: Option<At>,
}

pub(super) async fn snooze(
    State(state): State<WebState>,
    caller: Caller,
    Path(id): Path<String>,
    Json(body): Json<Body>,
) -> Result<axum::Json<SnoozedHold>, Problem> {
    let again = again(&body, state.now()).map_err(Problem::invalid)?;
    let (row, until) = waiting::snooze(&state, &caller, &id, again).await?;
    Ok(axum::Json(SnoozedHold { hold: views::hold(&state, &row), snoozed_until: until.map(At) }))
}

fn again(body: &Body, now: UnixMs) -> Result<Again, String> {
    match (body.until.as_deref(), body.time) {
        (None, None) => Ok(Again::Now),
        (Some("nearly_due"), None) => Ok(Again::NearlyDue),
        (Some(until), None) => until
            .parse::<Timestamp>()
            .map(|until| Again::At(until.as_millisecond()))
            .map_err(|_| format!("`until` is {until:?}: write a time as in RFC 3339, or nearly_due")),
        (None, Some(time)) => Ok(Again::At(time.after(now))),
        (Some(_), Some(_)) => Err("give `until` or `for`, not both".into()),
    }
}
