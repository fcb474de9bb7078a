//! `POST /v1/links`: a link that lets one person in, once. It is shown this once.

use axum::extract::State;
use holdpoint_model::{Role, TokenScope};
use holdpoint_store::{Deed, Entry};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    auth::{Caller, fresh_secret, hash_token},
    body::{Created, Json},
    limits,
    openapi::{Doc, Group},
    panel::INVITATION,
    problem::Problem,
    state::WebState,
};

pub(super) const LINK: Doc = Doc::new(Group::People, "createLink", "Make a link that lets one person in")
    .text("Good once, for a day, and shown this once: sent again, it makes another one.")
    .scope(TokenScope::Admin)
    .example(r#"{"role": "asker"}"#);

/// A link that is shown this once.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Link {
    pub(super) url: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Body {
    /// What the person may do; everything where absent.
    #[serde(default)]
    role: Option<Role>,
}

pub(super) async fn create(
    State(state): State<WebState>,
    caller: Caller,
    Json(body): Json<Body>,
) -> Result<Created<Link>, Problem> {
    caller.check_administer()?;
    let secret = fresh_secret().map_err(|error| Problem::internal("make a link", &error))?;
    let purpose = body.role.map_or_else(|| INVITATION.to_owned(), |role| format!("{INVITATION}:{role}"));
    let role = body.role.unwrap_or(Role::Admin);
    state.store().audit(caller.by(), Entry::new(Deed::LinkCreated, format!("anybody, {role}"))).await?;
    state.store().create_link(hash_token(&secret), &purpose, state.now() + limits::LINK_MS).await?;
    let url = format!("{}/welcome?token={secret}", state.base_url);
    Ok(Created(Link { url }))
}
