//! `GET` and `POST /v1/users`: everybody there is, and somebody new, with the link by which they choose their
//! password. `GET` and `PATCH /v1/users/{id}`, and `POST /v1/users/{id}/link` for another link. For administrators.

use axum::extract::State;
use holdpoint_model::{Role, TokenScope, UserId};
use holdpoint_store::{User, UserChange};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::links::Link;
use crate::{
    auth::Caller,
    body::{Created, Items, Json, Path},
    openapi::{Doc, Group},
    people,
    problem::Problem,
    state::WebState,
    time::At,
};

pub(super) const USERS: Doc =
    Doc::new(Group::People, "listUsers", "List everybody there is").scope(TokenScope::Admin);

pub(super) const CREATE: Doc = Doc::new(Group::People, "createUser", "Make a user")
    .text("With the link by which they choose their password, shown this once. Names are unique: sent again, it is refused.")
    .scope(TokenScope::Admin)
    .problems(&[(409, "name_taken")])
    .example(r#"{"name": "Ada", "role": "approver"}"#);

pub(super) const USER: Doc = Doc::new(Group::People, "getUser", "Look at a user")
    .text("Oneself as `me`, with the panel's session; a token needs the scope `admin`.")
    .problems(&[(403, "forbidden"), (404, "not_found")]);

pub(super) const CHANGE: Doc = Doc::new(Group::People, "changeUser", "Change a user")
    .text("What is absent stays as it is. Whoever is deactivated is out at once.")
    .scope(TokenScope::Admin)
    .problems(&[(404, "not_found"), (409, "last_admin"), (409, "name_taken")])
    .example(r#"{"role": "operator"}"#);

pub(super) const INVITE: Doc = Doc::new(Group::People, "inviteUser", "Make a link to choose a password by")
    .text("Good once, for a day, and shown this once: sent again, it makes another one.")
    .scope(TokenScope::Admin)
    .problems(&[(404, "not_found"), (409, "deactivated")]);

/// Somebody.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "User")]
pub(super) struct UserView {
    id: UserId,
    name: String,
    role: Role,
    /// Whether they are let in.
    active: bool,
    has_password: bool,
    created_at: At,
    deactivated_at: Option<At>,
}

/// Somebody new.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "NewUser")]
pub(super) struct NewUser {
    #[serde(flatten)]
    user: UserView,
    /// The link by which they choose their password; shown this once.
    url: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct New {
    /// Unique, whatever the case.
    name: String,
    role: Role,
}

/// What is absent stays as it is.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Change {
    name: Option<String>,
    role: Option<Role>,
    active: Option<bool>,
}

fn view(user: User) -> UserView {
    UserView {
        active: user.is_active(),
        id: user.id,
        name: user.name,
        role: user.role,
        has_password: user.password_hash.is_some(),
        created_at: At(user.created_at),
        deactivated_at: user.deactivated_at.map(At),
    }
}

pub(super) async fn list(
    State(state): State<WebState>,
    caller: Caller,
) -> Result<axum::Json<Items<UserView>>, Problem> {
    caller.check_administer()?;
    let items = state.store().users().await?.into_iter().map(view).collect();
    Ok(axum::Json(Items { items }))
}

pub(super) async fn create(
    State(state): State<WebState>,
    caller: Caller,
    Json(new): Json<New>,
) -> Result<Created<NewUser>, Problem> {
    let (user, url) = people::add(&state, &caller, &new.name, new.role).await?;
    Ok(Created(NewUser { user: view(user), url }))
}

/// Also for oneself, as `me`.
pub(super) async fn one(
    State(state): State<WebState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<axum::Json<UserView>, Problem> {
    Ok(axum::Json(view(people::find(&state, &caller, &id).await?)))
}

pub(super) async fn change(
    State(state): State<WebState>,
    caller: Caller,
    Path(id): Path<String>,
    Json(change): Json<Change>,
) -> Result<axum::Json<UserView>, Problem> {
    caller.check_administer()?;
    let user = people::find(&state, &caller, &id).await?;
    let change = UserChange { name: change.name, role: change.role, active: change.active };
    Ok(axum::Json(view(people::change(&state, &caller, &user, change).await?)))
}

pub(super) async fn link(
    State(state): State<WebState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Created<Link>, Problem> {
    caller.check_administer()?;
    let user = people::find(&state, &caller, &id).await?;
    let url = people::invite(&state, &caller, &user).await?;
    Ok(Created(Link { url }))
}
