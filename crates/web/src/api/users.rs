//! `GET` and `POST /v1/users`: everybody there is, and somebody new, with the link by which they choose their
//! password. `GET` and `PATCH /v1/users/{id}`, and `POST /v1/users/{id}/link` for another link. For administrators.

use axum::extract::State;
use holdpoint_model::Role;
use holdpoint_store::{User, UserChange};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    auth::Caller,
    body::{Json, Path},
    people,
    problem::Problem,
    state::WebState,
    time::rfc3339,
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct New {
    name: String,
    role: Role,
}

/// What is absent stays as it is.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Change {
    name: Option<String>,
    role: Option<Role>,
    active: Option<bool>,
}

fn view(user: &User) -> Value {
    json!({
        "id": user.id,
        "name": user.name,
        "role": user.role,
        "active": user.is_active(),
        "has_password": user.password_hash.is_some(),
        "created_at": rfc3339(user.created_at),
        "deactivated_at": user.deactivated_at.map(rfc3339),
    })
}

pub(super) async fn list(
    State(state): State<WebState>,
    caller: Caller,
) -> Result<axum::Json<Value>, Problem> {
    caller.check_administer()?;
    let items: Vec<Value> = state.store().users().await?.iter().map(view).collect();
    Ok(axum::Json(json!({ "items": items })))
}

pub(super) async fn create(
    State(state): State<WebState>,
    caller: Caller,
    Json(new): Json<New>,
) -> Result<(StatusCode, axum::Json<Value>), Problem> {
    let (user, url) = people::add(&state, &caller, &new.name, new.role).await?;
    let mut view = view(&user);
    view["url"] = json!(url);
    Ok((StatusCode::CREATED, axum::Json(view)))
}

/// Also for oneself, as `me`.
pub(super) async fn one(
    State(state): State<WebState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<axum::Json<Value>, Problem> {
    Ok(axum::Json(view(&people::find(&state, &caller, &id).await?)))
}

pub(super) async fn change(
    State(state): State<WebState>,
    caller: Caller,
    Path(id): Path<String>,
    Json(change): Json<Change>,
) -> Result<axum::Json<Value>, Problem> {
    caller.check_administer()?;
    let user = people::find(&state, &caller, &id).await?;
    let change = UserChange { name: change.name, role: change.role, active: change.active };
    Ok(axum::Json(view(&people::change(&state, &caller, &user, change).await?)))
}

pub(super) async fn link(
    State(state): State<WebState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<(StatusCode, axum::Json<Value>), Problem> {
    caller.check_administer()?;
    let user = people::find(&state, &caller, &id).await?;
    let url = people::invite(&state, &caller, &user).await?;
    Ok((StatusCode::CREATED, axum::Json(json!({ "url": url }))))
}
