//! `/v1/users/{id}/tokens` and `/v1/users/{id}/sessions`: what somebody signs in with. One's own, as `me`, in
//! the panel's session; anybody's for administrators.

use axum::extract::State;
use holdpoint_model::{Keep, Scopes};
use holdpoint_store::{SignIn, Token};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    auth::Caller,
    body::{Json, Path},
    people::{self, TokenWish},
    problem::Problem,
    state::WebState,
    time::rfc3339,
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewToken {
    name: String,
    /// `read`, `start`, `decide`, `operate`, `admin`; all that the owner may where absent.
    #[serde(default)]
    scopes: Option<Scopes>,
    /// As in `"90d"`, or `"forever"`.
    #[serde(default)]
    expires: Option<Keep>,
}

pub(super) fn token_view(token: &Token) -> Value {
    json!({
        "id": token.id,
        "name": token.name,
        "scopes": token.scopes,
        "created_at": rfc3339(token.created_at),
        "expires_at": token.expires_at.map(rfc3339),
        "used_at": token.used_at.map(rfc3339),
    })
}

fn session_view(session: &SignIn) -> Value {
    json!({
        "id": session.id,
        "browser": session.browser,
        "address": session.address,
        "created_at": rfc3339(session.created_at),
        "expires_at": rfc3339(session.expires_at),
        "used_at": session.used_at.map(rfc3339),
    })
}

pub(super) async fn tokens(
    State(state): State<WebState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<axum::Json<Value>, Problem> {
    let user = people::find(&state, &caller, &id).await?;
    let items: Vec<Value> = state.store().tokens(user.id).await?.iter().map(token_view).collect();
    Ok(axum::Json(json!({ "items": items })))
}

pub(super) async fn make_token(
    State(state): State<WebState>,
    caller: Caller,
    Path(id): Path<String>,
    Json(new): Json<NewToken>,
) -> Result<(StatusCode, axum::Json<Value>), Problem> {
    let user = people::find(&state, &caller, &id).await?;
    let wish = TokenWish { name: new.name, scopes: new.scopes, expires: new.expires };
    let (row, token) = people::make_token(&state, &caller, &user, wish).await?;
    let mut view = token_view(&row);
    view["token"] = json!(token);
    Ok((StatusCode::CREATED, axum::Json(view)))
}

pub(super) async fn sessions(
    State(state): State<WebState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<axum::Json<Value>, Problem> {
    let user = people::find(&state, &caller, &id).await?;
    let sessions = state.store().sessions(user.id, state.now()).await?;
    Ok(axum::Json(json!({ "items": sessions.iter().map(session_view).collect::<Vec<_>>() })))
}

pub(super) async fn end_sessions(
    State(state): State<WebState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<axum::Json<Value>, Problem> {
    let user = people::find(&state, &caller, &id).await?;
    let ended = people::end_sessions(&state, &caller, &user, None).await?;
    Ok(axum::Json(json!({ "ended": ended })))
}

pub(super) async fn end_session(
    State(state): State<WebState>,
    caller: Caller,
    Path((id, session)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    let user = people::find(&state, &caller, &id).await?;
    people::end_sessions(&state, &caller, &user, Some(&session)).await?;
    Ok(StatusCode::NO_CONTENT)
}
