//! `POST /v1/tokens`: a token of the user of that name, who is made if there is none. It is shown this once.
//! `GET` lists what there is, never the tokens themselves; `DELETE /v1/tokens/{id}` takes one back at once.
//! For administrators, but that everybody may take back their own.

use axum::{Json, extract::State, response::NoContent};
use holdpoint_model::{Keep, Role, Scopes, TokenScope};
use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::account::{ShownToken, TokenView, shown_token, token_view};
use crate::{
    auth::Caller,
    body::{self, Created, Items},
    openapi::{Doc, Group},
    people::{self, TokenWish, checked_name},
    problem::Problem,
    state::WebState,
};

pub(super) const TOKENS: Doc = Doc::new(Group::People, "listTokens", "List all tokens")
    .text("Never the tokens themselves.")
    .scope(TokenScope::Admin);

pub(super) const CREATE: Doc = Doc::new(
    Group::People,
    "createToken",
    "Make a token of the user of that name",
)
.text(
    "Who is made if there is none. The token is shown this once: sent again, it makes another one, and the \
         first can be taken back.",
)
.scope(TokenScope::Admin)
.problems(&[(409, "deactivated"), (409, "name_taken")])
.example(r#"{"name": "ci", "role": "asker", "scopes": ["read", "start"], "expires": "30d"}"#);

pub(super) const REVOKE: Doc = Doc::new(Group::People, "revokeToken", "Take a token back")
    .text(
        "It is good for nothing at once, open streams included. One's own with the panel's session; a token needs \
         the scope `admin`.",
    )
    .problems(&[(403, "forbidden"), (404, "not_found")]);

/// A token, and whose it is.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "TokenOf")]
pub(super) struct TokenOf {
    #[serde(flatten)]
    row: TokenView,
    /// The user's name.
    user: String,
    role: Role,
}

/// A new token, and what its user may do.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "NewTokenOf")]
pub(super) struct NewTokenOf {
    #[serde(flatten)]
    shown: ShownToken,
    role: Role,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Body {
    /// The user's name, and the token's.
    name: String,
    /// What somebody new may do.
    #[serde(default = "default_role")]
    role: Role,
    /// `read`, `start`, `decide`, `operate`, `admin`; all that the role may where absent.
    #[serde(default)]
    #[schemars(with = "Option<Vec<TokenScope>>")]
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
) -> Result<Created<NewTokenOf>, Problem> {
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
    Ok(Created(NewTokenOf { shown: shown_token(row, token), role: user.role }))
}

pub(super) async fn list(
    State(state): State<WebState>,
    caller: Caller,
) -> Result<Json<Items<TokenOf>>, Problem> {
    caller.check_administer()?;
    let mut items = Vec::new();
    for user in state.store().users().await? {
        for token in state.store().tokens(user.id).await? {
            items.push(TokenOf { row: token_view(token), user: user.name.clone(), role: user.role });
        }
    }
    Ok(Json(Items { items }))
}

pub(super) async fn revoke(
    State(state): State<WebState>,
    caller: Caller,
    body::Path(id): body::Path<String>,
) -> Result<NoContent, Problem> {
    people::revoke_token(&state, &caller, &id).await?;
    Ok(NoContent)
}
