//! `POST /v1/tokens`: a token of the user of that name, who is made if there is none. It is shown this once.
//! `GET` lists what there is, never the tokens themselves; `DELETE /v1/tokens/{id}` takes one back at once.
//! For administrators, but that everybody may take back their own.

use axum::{Json, extract::State};
use holdpoint_model::{Keep, Role, Scopes};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::account::token_view;
use crate::{
    auth::Caller,
    body,
    people::{self, TokenWish, checked_name},
    problem::Problem,
    state::WebState,
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Body {
    name: String,
    #[serde(default = "default_role")]
    role: Role,
    /// `read`, `start`, `decide`, `operate`, `admin`; all that the role may where absent.
    #[serde(default)]
    scopes: Option<Scopes>,
    /// As in `"90d"`, or `"forever"`.
    #[serde(default)]
    expires: Option<Keep>,
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
    let name = checked_name(&body.name)?;
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
        None => state.store().add_user(name, body.role, None, caller.by()).await?,
    };
    let wish = TokenWish { name: name.to_owned(), scopes: body.scopes, expires: body.expires };
    let (row, token) = people::make_token(&state, &caller, &user, wish).await?;
    let mut view = token_view(&row);
    view["role"] = json!(user.role);
    view["token"] = json!(token);
    Ok((StatusCode::CREATED, Json(view)))
}

pub(super) async fn list(State(state): State<WebState>, caller: Caller) -> Result<Json<Value>, Problem> {
    caller.check_administer()?;
    let mut items = Vec::new();
    for user in state.store().users().await? {
        for token in state.store().tokens(user.id).await? {
            let mut view = token_view(&token);
            view["user"] = json!(user.name);
            view["role"] = json!(user.role);
            items.push(view);
        }
    }
    Ok(Json(json!({ "items": items })))
}

pub(super) async fn revoke(
    State(state): State<WebState>,
    caller: Caller,
    body::Path(id): body::Path<String>,
) -> Result<StatusCode, Problem> {
    people::revoke_token(&state, &caller, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}
