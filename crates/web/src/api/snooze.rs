//! `POST /v1/holds/{id}/snooze`: a hold is hidden from the caller's own inbox for a while, or shown again.

use axum::extract::State;
use holdpoint_model::{HumanDuration, UnixMs};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::views;
use crate::{
    auth::Caller,
    body::{Json, Path},
    problem::Problem,
    state::WebState,
    time::rfc3339,
    waiting::{self, Again},
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Body {
    /// A time (RFC 3339), or `nearly_due`.
    #[serde(default)]
    until: Option<String>,
    /// A length of time, as in `4h`. With neither of them it is shown again.
    #[serde(default, rename = "for")]
    time: Option<HumanDuration>,
}

pub(super) async fn snooze(
    State(state): State<WebState>,
    caller: Caller,
    Path(id): Path<String>,
    Json(body): Json<Body>,
) -> Result<axum::Json<Value>, Problem> {
    let again = again(&body, state.now()).map_err(Problem::invalid)?;
    let (row, until) = waiting::snooze(&state, &caller, &id, again).await?;
    let mut view = views::hold(&state, &row);
    view["snoozed_until"] = json!(until.map(rfc3339));
    Ok(axum::Json(view))
}

fn again(body: &Body, now: UnixMs) -> Result<Again, String> {
    match (body.until.as_deref(), body.time) {
        (None, None) => Ok(Again::Now),
        (Some("nearly_due"), None) => Ok(Again::NearlyDue),
        (Some(until), None) => until
            .parse::<Timestamp>()
            .map(|until| Again::At(until.as_millisecond()))
            .map_err(|_| format!("`until` is {until:?}: write a time as in RFC 3339, or nearly_due")),
        (None, Some(time)) => {
            Ok(Again::At(now.saturating_add(UnixMs::try_from(time.0).unwrap_or(UnixMs::MAX))))
        }
        (Some(_), Some(_)) => Err("give `until` or `for`, not both".into()),
    }
}
