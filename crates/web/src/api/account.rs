//! `/v1/users/{id}/tokens` and `/v1/users/{id}/sessions`: what somebody signs in with. One's own, as `me`, in
//! the panel's session; anybody's for administrators.

use axum::{extract::State, response::NoContent};
use holdpoint_model::{Keep, Scopes, TokenScope};
use holdpoint_store::{SignIn, Token};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    auth::Caller,
    body::{Created, Items, Json, Path},
    openapi::{Doc, Group},
    people::{self, TokenWish},
    problem::Problem,
    state::WebState,
    time::At,
};

const WHOSE: &str = "One's own as `me`, with the panel's session; a token needs the scope `admin`.";

pub(super) const TOKENS: Doc = Doc::new(Group::People, "listTokensOf", "List a user's tokens")
    .text(WHOSE)
    .problems(&[(403, "forbidden"), (404, "not_found")]);

pub(super) const MAKE_TOKEN: Doc = Doc::new(Group::People, "createTokenFor", "Make a token of a user")
    .text(
        "The token is shown this once: sent again, it makes another one. One's own as `me`, with the panel's \
         session; a token needs the scope `admin`.",
    )
    .problems(&[(403, "forbidden"), (404, "not_found"), (409, "deactivated")])
    .example(r#"{"name": "laptop", "expires": "90d"}"#);

pub(super) const SESSIONS: Doc = Doc::new(Group::People, "listSessionsOf", "List where a user is signed in")
    .text(WHOSE)
    .problems(&[(403, "forbidden"), (404, "not_found")]);

pub(super) const END_SESSIONS: Doc = Doc::new(Group::People, "endSessionsOf", "Sign a user out everywhere")
    .text(WHOSE)
    .problems(&[(403, "forbidden"), (404, "not_found")]);

pub(super) const END_SESSION: Doc = Doc::new(Group::People, "endSessionOf", "Sign a user out of one browser")
    .text(WHOSE)
    .problems(&[(403, "forbidden"), (404, "not_found")]);

/// A token; not what one signs in with.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Token")]
pub(super) struct TokenView {
    id: Uuid,
    name: String,
    scopes: Scopes,
    created_at: At,
    /// Null for ever.
    expires_at: Option<At>,
    /// Give or take some minutes.
    used_at: Option<At>,
}

/// A new token.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "NewToken")]
pub(super) struct ShownToken {
    #[serde(flatten)]
    row: TokenView,
    /// What one signs in with; shown this once.
    token: String,
}

/// A browser that is signed in.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "SignIn")]
pub(super) struct SessionView {
    id: Uuid,
    /// What it said that it is; may be empty.
    browser: String,
    /// The address that it signed in from, where that was known.
    address: Option<String>,
    created_at: At,
    expires_at: At,
    /// Give or take some minutes.
    used_at: Option<At>,
}

/// How many sessions were ended.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub(super) struct Ended {
    ended: u64,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewToken {
    /// What it is called.
    name: String,
    /// `read`, `start`, `decide`, `operate`, `admin`; all that the owner may where absent.
    #[serde(default)]
    #[schemars(with = "Option<Vec<TokenScope>>")]
    scopes: Option<Scopes>,
    /// As in `"90d"`, or `"forever"`.
    #[serde(default)]
    expires: Option<Keep>,
}

pub(super) fn token_view(token: Token) -> TokenView {
    TokenView {
        id: token.id.0,
        name: token.name,
        scopes: token.scopes,
        created_at: At(token.created_at),
        expires_at: token.expires_at.map(At),
        used_at: token.used_at.map(At),
    }
}

pub(super) fn shown_token(row: Token, token: String) -> ShownToken {
    ShownToken { row: token_view(row), token }
}

fn session_view(session: SignIn) -> SessionView {
    SessionView {
        id: session.id.0,
        browser: session.browser,
        address: session.address,
        created_at: At(session.created_at),
        expires_at: At(session.expires_at),
        used_at: session.used_at.map(At),
    }
}

pub(super) async fn tokens(
    State(state): State<WebState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<axum::Json<Items<TokenView>>, Problem> {
    let user = people::find(&state, &caller, &id).await?;
    let items = state.store().tokens(user.id).await?.into_iter().map(token_view).collect();
    Ok(axum::Json(Items { items }))
}

pub(super) async fn make_token(
    State(state): State<WebState>,
    caller: Caller,
    Path(id): Path<String>,
    Json(new): Json<NewToken>,
) -> Result<Created<ShownToken>, Problem> {
    let user = people::find(&state, &caller, &id).await?;
    let wish = TokenWish { name: new.name, scopes: new.scopes, expires: new.expires };
    let (row, token) = people::make_token(&state, &caller, &user, wish).await?;
    Ok(Created(shown_token(row, token)))
}

pub(super) async fn sessions(
    State(state): State<WebState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<axum::Json<Items<SessionView>>, Problem> {
    let user = people::find(&state, &caller, &id).await?;
    let sessions = state.store().sessions(user.id, state.now()).await?;
    Ok(axum::Json(Items { items: sessions.into_iter().map(session_view).collect() }))
}

pub(super) async fn end_sessions(
    State(state): State<WebState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<axum::Json<Ended>, Problem> {
    let user = people::find(&state, &caller, &id).await?;
    let ended = people::end_sessions(&state, &caller, &user, None).await?;
    Ok(axum::Json(Ended { ended }))
}

pub(super) async fn end_session(
    State(state): State<WebState>,
    caller: Caller,
    Path((id, session)): Path<(String, String)>,
) -> Result<NoContent, Problem> {
    let user = people::find(&state, &caller, &id).await?;
    people::end_sessions(&state, &caller, &user, Some(&session)).await?;
    Ok(NoContent)
}
