//! The panel's sessions: a random cookie, of which the store has a hash.

use axum_extra::extract::CookieJar;
use holdpoint_model::UserId;
use http::HeaderValue;

use super::{fresh_secret, hash_token};
use crate::{limits, problem::Problem, state::WebState};

/// Over plain HTTP, where the `__Host-` prefix is not to be had.
const PLAIN_NAME: &str = "holdpoint_session";

/// Over TLS: browsers then make sure that no other host or path has set it.
const SECURE_NAME: &str = "__Host-holdpoint_session";

fn name(state: &WebState) -> &'static str {
    if state.is_https() { SECURE_NAME } else { PLAIN_NAME }
}

/// `Set-Cookie`. Strict: a page elsewhere cannot make the browser send it at all; a link from
/// elsewhere goes through one step of our own (see `Visitor`).
fn set_cookie(state: &WebState, token: &str, max_age_s: i64) -> Result<HeaderValue, Problem> {
    let secure = if state.is_https() { "; Secure" } else { "" };
    let name = name(state);
    HeaderValue::from_str(&format!(
        "{name}={token}; Path=/; Max-Age={max_age_s}; HttpOnly; SameSite=Strict{secure}"
    ))
    .map_err(|error| Problem::internal("make a cookie", &error))
}

/// The token in the request's session cookie.
pub(crate) fn session_token(state: &WebState, jar: &CookieJar) -> Option<String> {
    jar.get(name(state)).map(|cookie| cookie.value().to_owned()).filter(|token| !token.is_empty())
}

/// Signs a user in: the cookie to set.
pub(crate) async fn start_session(state: &WebState, user: UserId) -> Result<HeaderValue, Problem> {
    let token = fresh_secret().map_err(|error| Problem::internal("make a session", &error))?;
    state.store().create_session(user, hash_token(&token), state.now() + limits::SESSION_MS).await?;
    set_cookie(state, &token, limits::SESSION_MS / 1000)
}

/// Signs out: the cookie that takes the old one away.
pub(crate) async fn end_session(state: &WebState, jar: &CookieJar) -> Result<HeaderValue, Problem> {
    if let Some(token) = session_token(state, jar) {
        state.store().delete_session(hash_token(&token)).await?;
    }
    set_cookie(state, "", 0)
}
