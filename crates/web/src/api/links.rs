//! `POST /v1/links`: a link that lets one person in, once. It is shown this once.

use axum::extract::State;
use holdpoint_model::Role;
use holdpoint_store::{Deed, Entry};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    auth::{Caller, fresh_secret, hash_token},
    body::Json,
    limits,
    panel::INVITATION,
    problem::Problem,
    state::WebState,
};

#[derive(Debug, Deserialize)]
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
) -> Result<(StatusCode, axum::Json<Value>), Problem> {
    caller.check_administer()?;
    let secret = fresh_secret().map_err(|error| Problem::internal("make a link", &error))?;
    let purpose = body.role.map_or_else(|| INVITATION.to_owned(), |role| format!("{INVITATION}:{role}"));
    let role = body.role.unwrap_or(Role::Admin);
    state.store().audit(caller.by(), Entry::new(Deed::LinkCreated, format!("anybody, {role}"))).await?;
    state.store().create_link(hash_token(&secret), &purpose, state.now() + limits::LINK_MS).await?;
    let url = format!("{}/welcome?token={secret}", state.base_url);
    Ok((StatusCode::CREATED, axum::Json(json!({ "url": url }))))
}
