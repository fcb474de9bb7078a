//! `POST /v1/tokens`: a token for a script or another person. It is shown this once.

use axum::{Json, extract::State};
use holdpoint_model::Role;
use holdpoint_store::NewToken;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    auth::{Caller, fresh_secret, hash_token},
    body,
    problem::Problem,
    state::WebState,
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
