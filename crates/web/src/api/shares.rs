//! `GET` and `POST /v1/executions/{id}/shares`, `DELETE /v1/executions/{id}/shares/{user}`: with whom a
//! conversation is shared.

use axum::{extract::State, response::NoContent};
use holdpoint_model::{Actor, Share, TokenScope, UserId};
use holdpoint_store::{SharedWith, StoreError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    auth::{Act, Caller, execution},
    body::{Items, Json, Path},
    openapi::{Doc, Group},
    problem::Problem,
    state::WebState,
    time::At,
};

pub(super) const SHARES: Doc = Doc::new(Group::Conversations, "listShares", "List with whom it is shared")
    .problems(&[(404, "not_found")]);

pub(super) const SHARE: Doc = Doc::new(Group::Conversations, "share", "Share a conversation")
    .text("With somebody it is shared with already: otherwise. Sent again, it changes nothing.")
    .scope(TokenScope::Start)
    .problems(&[(404, "not_found")])
    .example(r#"{"name": "ada", "share": "look"}"#);

pub(super) const UNSHARE: Doc = Doc::new(Group::Conversations, "unshare", "Take a share back")
    .text("Whoever it was has lost it at once, open streams included.")
    .scope(TokenScope::Start)
    .problems(&[(404, "not_found")]);

/// Somebody with whom a conversation is shared.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "SharedWith")]
pub(super) struct ShareView {
    user: UserId,
    name: String,
    share: Share,
    shared_at: At,
    shared_by: Actor,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Body {
    /// The user's name.
    name: String,
    /// `look`, or `answer` for those who may also answer holds.
    share: Share,
}

fn view(shared: SharedWith) -> ShareView {
    ShareView {
        user: shared.user,
        name: shared.name,
        share: shared.share,
        shared_at: At(shared.shared_at),
        shared_by: shared.shared_by,
    }
}

pub(super) async fn list(
    State(state): State<WebState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<axum::Json<Items<ShareView>>, Problem> {
    let id = execution(&state, &caller, &id, Act::See).await?.id;
    let items = state.store().shares(id).await?.into_iter().map(view).collect();
    Ok(axum::Json(Items { items }))
}

pub(super) async fn share(
    State(state): State<WebState>,
    caller: Caller,
    Path(id): Path<String>,
    Json(body): Json<Body>,
) -> Result<axum::Json<Items<ShareView>>, Problem> {
    give_share(&state, &caller, &id, &body.name, body.share).await?;
    list(State(state), caller, Path(id)).await
}

pub(super) async fn unshare(
    State(state): State<WebState>,
    caller: Caller,
    Path((id, user)): Path<(String, String)>,
) -> Result<NoContent, Problem> {
    take_share(&state, &caller, &id, &user).await?;
    Ok(NoContent)
}

/// Shares a conversation with the user of this name.
pub(crate) async fn give_share(
    state: &WebState,
    caller: &Caller,
    id: &str,
    name: &str,
    share: Share,
) -> Result<(), Problem> {
    let execution = execution(state, caller, id, Act::Share).await?;
    let nobody = || Problem::invalid(format!("there is no user called {}", name.trim()));
    let user = state.store().user_by_name(name.trim()).await?.ok_or_else(nobody)?;
    if execution.owner.user == Some(user.id) {
        return Err(Problem::invalid(format!("this conversation is {}'s own", user.name)));
    }
    match state.store().set_share(execution.id, user.id, share, caller.by()).await {
        Err(StoreError::Missing { what: "user" }) => Err(nobody()),
        done => Ok(done?),
    }
}

/// Takes back what a user was given of a conversation.
pub(crate) async fn take_share(
    state: &WebState,
    caller: &Caller,
    id: &str,
    user: &str,
) -> Result<(), Problem> {
    let id = execution(state, caller, id, Act::Share).await?.id;
    let missing = || Problem::not_found("share");
    let user: UserId = user.parse().map_err(|_| missing())?;
    if state.store().unshare(id, user, caller.by()).await? { Ok(()) } else { Err(missing()) }
}
