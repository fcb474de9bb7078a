//! `POST /v1/tokens`: a token for a script or another person. It is shown this once. `GET` lists what
//! there is, never the tokens themselves; `DELETE /v1/tokens/{id}` takes one back at once.

use axum::{Json, extract::State};
use holdpoint_model::Role;
use holdpoint_store::{NewToken, TokenId};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    auth::{Caller, fresh_secret, hash_token},
    body,
    problem::Problem,
    state::WebState,
    time::rfc3339,
};

/// The longest name of a user.
const MAX_NAME_BYTES: usize = 100;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Body {
    name: String,
    #[serde(default = "default_role")]
    role: Role,
}

fn default_role() -> Role {
    Role::Operator
}

pub(super) async fn create(
    State(state): State<WebState>,
    caller: Caller,
    body::Json(body): body::Json<Body>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    caller.check_administer()?;
    let name = body.name.trim();
    if name.is_empty() || name.len() > MAX_NAME_BYTES {
        return Err(Problem::invalid(format!("`name` must have 1 to {} bytes", MAX_NAME_BYTES)));
    }
    let user = match state.store().user_by_name(name).await? {
        Some(user) if user.role != body.role => {
            return Err(Problem::new(
                StatusCode::CONFLICT,
                "name_taken",
                "this name is taken",
                format!("{name} is there already, as {0}: use another name, or the role {0}", user.role),
            ));
        }
        Some(user) => user,
        None => state.store().create_user(name, body.role, None).await?,
    };
    let token = fresh_secret().map_err(|error| Problem::internal("make a token", &error))?;
    let row = state
        .store()
        .create_token(NewToken {
            user: user.id,
            name: name.to_owned(),
            hash: hash_token(&token),
            expires_at: None,
        })
        .await?;
    let answer = json!({"id": row.id, "name": name, "role": user.role, "token": token});
    Ok((StatusCode::CREATED, Json(answer)))
}

pub(super) async fn list(State(state): State<WebState>, caller: Caller) -> Result<Json<Value>, Problem> {
    caller.check_administer()?;
    let mut items = Vec::new();
    for user in state.store().users().await? {
        items.extend(state.store().tokens(user.id).await?.into_iter().map(|token| {
            json!({
                "id": token.id, "name": token.name, "user": user.name, "role": user.role,
                "created_at": rfc3339(token.created_at), "expires_at": token.expires_at.map(rfc3339),
            })
        }));
    }
    Ok(Json(json!({ "items": items })))
}

pub(super) async fn revoke(
    State(state): State<WebState>,
    caller: Caller,
    body::Path(id): body::Path<String>,
) -> Result<StatusCode, Problem> {
    caller.check_administer()?;
    let there_was = match id.parse::<TokenId>() {
        Ok(id) => state.store().delete_token(id).await?,
        Err(_) => false,
    };
    if there_was { Ok(StatusCode::NO_CONTENT) } else { Err(Problem::not_found("token")) }
}
