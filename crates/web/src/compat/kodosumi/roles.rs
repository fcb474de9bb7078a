//! `/role`: people, as that API knows them. Holdpoint keeps no addresses: `email` is taken and left empty.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse as _, Response},
};
use holdpoint_model::{Role, UserId};
use holdpoint_store::{StoreError, User, UserChange};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::client::Client;
use crate::{
    auth::hash_password,
    body::{self, Path},
    limits, people,
    problem::Problem,
    state::WebState,
};

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Body {
    name: Option<String>,
    email: Option<String>,
    password: Option<String>,
    operator: Option<bool>,
}

impl Body {
    /// The name and password of a new user.
    fn complete(self) -> Result<(String, String, Role), Problem> {
        let missing: Vec<&str> = [("name", &self.name), ("email", &self.email), ("password", &self.password)]
            .into_iter()
            .filter(|(_, value)| value.is_none())
            .map(|(key, _)| key)
            .collect();
        let (Some(name), Some(password)) = (self.name, self.password) else {
            return Err(required(&missing));
        };
        if !missing.is_empty() {
            return Err(required(&missing));
        }
        let name = name.trim().to_owned();
        if name.is_empty() || name.chars().count() > limits::SIGN_IN_NAME_CHARS {
            return Err(Problem::invalid(format!(
                "`name` must have 1 to {} letters",
                limits::SIGN_IN_NAME_CHARS
            )));
        }
        let role = if self.operator == Some(true) { Role::Operator } else { Role::Asker };
        Ok((name, password, role))
    }
}

fn required(missing: &[&str]) -> Problem {
    let fields: Vec<String> =
        missing.iter().map(|key| format!("{{'message': 'Field required', 'key': '{key}'}}")).collect();
    Problem::invalid(format!("Validation failed for POST /role: [{}]", fields.join(", ")))
}

pub(super) async fn list(
    State(state): State<WebState>,
    Client(caller): Client,
) -> Result<Json<Value>, Problem> {
    caller.check_administer()?;
    let mut items = Vec::new();
    for user in state.store().users().await? {
        items.push(view(&user));
    }
    Ok(Json(json!(items)))
}

/// One's own, or, for administrators, anybody's.
pub(super) async fn one(
    State(state): State<WebState>,
    Client(caller): Client,
    Path(name): Path<String>,
) -> Result<Json<Value>, Problem> {
    if name != caller.name {
        caller.check_administer()?;
    }
    let user = state.store().user_by_name(&name).await?.ok_or_else(|| no_role(&name))?;
    Ok(Json(view(&user)))
}

pub(super) async fn create(
    State(state): State<WebState>,
    Client(caller): Client,
    body::Json(body): body::Json<Body>,
) -> Result<Response, Problem> {
    caller.check_administer()?;
    let (name, password, role) = body.complete()?;
    let hash = hash_password(&state, password).await.map_err(|error| Problem::invalid(error.to_string()))?;
    let user = match state.store().add_user(&name, role, Some(hash), caller.by()).await {
        Err(StoreError::Exists { .. }) => {
            return Err(Problem::new(
                StatusCode::CONFLICT,
                "name_taken",
                "this name is taken",
                format!("Role {name} already exists"),
            ));
        }
        made => made?,
    };
    Ok((StatusCode::CREATED, Json(view(&user))).into_response())
}

/// A new password; what else could be changed there is not kept here.
pub(super) async fn change(
    State(state): State<WebState>,
    Client(caller): Client,
    Path(rid): Path<String>,
    body::Json(body): body::Json<Body>,
) -> Result<Json<Value>, Problem> {
    caller.check_administer()?;
    let user = by_id(&state, &rid).await?;
    if body.name.as_ref().is_some_and(|name| *name != user.name) || body.operator.is_some() {
        return Err(Problem::invalid("a name and what somebody may do are not changed over this API"));
    }
    if let Some(password) = body.password {
        let hash =
            hash_password(&state, password).await.map_err(|error| Problem::invalid(error.to_string()))?;
        state.store().set_password(user.id, Some(hash), caller.by()).await?;
    }
    let user = by_id(&state, &rid).await?;
    Ok(Json(view(&user)))
}

/// Takes every way in away. What they did stays theirs.
pub(super) async fn close(
    State(state): State<WebState>,
    Client(caller): Client,
    Path(rid): Path<String>,
) -> Result<StatusCode, Problem> {
    caller.check_administer()?;
    let user = by_id(&state, &rid).await?;
    if user.id == caller.user {
        return Err(Problem::new(
            StatusCode::CONFLICT,
            "oneself",
            "not oneself",
            "you would lock yourself out; let another administrator do it",
        ));
    }
    let change = UserChange { active: Some(false), ..UserChange::default() };
    people::change(&state, &caller, &user, change).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn by_id(state: &WebState, rid: &str) -> Result<User, Problem> {
    let id: UserId = rid.parse().map_err(|_| no_role(rid))?;
    state.store().user(id).await?.ok_or_else(|| no_role(rid))
}

fn no_role(name: &str) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "not_found", "not found", format!("role {name} not found"))
}

fn view(user: &User) -> Value {
    json!({ "id": user.id, "name": user.name, "email": "", "active": user.is_active() })
}
