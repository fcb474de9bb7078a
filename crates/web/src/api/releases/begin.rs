//! `POST /v1/releases`: begins a release of the configuration as it is on the server, or takes up an unfinished one.

use axum::extract::State;
use holdpoint_model::{Lock, TokenScope, lock::LOCK_VERSION};
use schemars::JsonSchema;
use serde::Deserialize;

use super::views::{self, ReleaseView};
use crate::{
    auth::Caller,
    body::Json,
    limits,
    openapi::{Doc, Group},
    problem::Problem,
    state::WebState,
};

pub(in crate::api) const BEGIN: Doc = Doc::new(Group::Releases, "beginRelease", "Begin a release")
    .text(
        "Of the configuration as it is on the server now, which has to be what the lock says. One that is unfinished and \
         made of the same is taken up instead; any other unfinished one has failed by this.",
    )
    .scope(TokenScope::Operate)
    .problems(&[(409, "configuration_changed"), (409, "configuration_unusable")])
    .example(
        r#"{"lock": {"version": 1, "holdpoint": "0.1.0", "claude_cli": "2.1.330",
            "settings": "sha256:4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945",
            "policy": "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"}}"#,
    );

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct Body {
    /// What it is made of, up to 64 KiB.
    lock: Lock,
}

pub(in crate::api) async fn begin(
    State(state): State<WebState>,
    caller: Caller,
    Json(body): Json<Body>,
) -> Result<axum::Json<ReleaseView>, Problem> {
    caller.check_operate()?;
    check(&body.lock)?;
    let row = state.control.begin_release(body.lock, caller.by()).await?;
    views::after(&state, row).await
}

fn check(lock: &Lock) -> Result<(), Problem> {
    if lock.version != LOCK_VERSION {
        return Err(Problem::invalid(format!(
            "this server reads locks of version {LOCK_VERSION}, and this is one of version {}; use a `holdpoint` of the \
             server's own version",
            lock.version
        )));
    }
    let bytes = serde_json::to_vec(lock).map_err(|error| Problem::internal("write a lock", &error))?;
    if bytes.len() > limits::MAX_LOCK_BYTES {
        return Err(Problem::too_large("a lock", limits::MAX_LOCK_BYTES));
    }
    Ok(())
}
