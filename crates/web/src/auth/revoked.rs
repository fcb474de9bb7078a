//! Ending what is open (streams, commands) when who opened it may not see it any more.

use std::time::Duration;

use holdpoint_model::{ExecutionId, Standing};

use super::{Act, Caller, access};
use crate::{limits, state::WebState};

/// Ready when the caller is signed out, deactivated, in another role or, where a conversation is named, stands
/// otherwise to it. Whoever may still see it comes back and sees it as they may now.
pub(crate) async fn revoked(state: WebState, caller: Caller, seen: Option<(ExecutionId, Standing)>) {
    // Subscribed before the first look, or a change in between would go unnoticed.
    let mut changes = state.store().access_changes();
    let poll = Duration::from_millis(limits::ACCESS_POLL_MS);
    while is_as_before(&state, &caller, seen).await {
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            // Tokens and sessions also end by themselves.
            () = tokio::time::sleep(poll) => {}
        }
    }
}

async fn is_as_before(state: &WebState, caller: &Caller, seen: Option<(ExecutionId, Standing)>) -> bool {
    let now = match state.store().principal_by_credential(caller.credential, state.now()).await {
        Ok(now) => now,
        // Nobody loses a stream to a busy database; the next look is soon.
        Err(error) => {
            tracing::warn!(%error, "failed to see whether somebody may still see a stream");
            return !matches!(error, holdpoint_store::StoreError::Closed);
        }
    };
    if !now.is_some_and(|now| now.user.role == caller.role) {
        return false;
    }
    let Some((id, before)) = seen else { return true };
    match access::execution_as(state, caller, &id.to_string(), Act::See).await {
        Ok((_, standing)) => standing == before,
        Err(problem) => problem.status.is_server_error(),
    }
}
