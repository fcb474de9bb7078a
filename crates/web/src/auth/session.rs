//! The panel's sessions: a random cookie, of which the store has a hash.

use axum_extra::extract::CookieJar;
use holdpoint_model::{Actor, Channel, UserId};
use holdpoint_store::{By, NewSession};
use http::HeaderValue;

use super::{Via, fresh_secret, hash_token};
use crate::{limits, problem::Problem, state::WebState};

/// The cookie's name. It has the port, because browsers keep one jar for all ports of a host: two
/// Holdpoints on one machine would sign each other out.
fn name(state: &WebState, via: &Via) -> String {
    let port = port(&state.base_url);
    // Over TLS the prefix makes browsers see to it that no other host or path has set it.
    if is_secure(state, via) {
        format!("__Host-holdpoint_session_{port}")
    } else {
        format!("holdpoint_session_{port}")
    }
}

/// Whether browsers reach us over TLS, so that cookies may demand it.
pub(crate) fn is_secure(state: &WebState, via: &Via) -> bool {
    via.https || state.is_https()
}

/// The port of an address, also where it is not written down.
fn port(base_url: &str) -> u16 {
    let (scheme, rest) = base_url.split_once("://").unwrap_or(("http", base_url));
    let authority = rest.split('/').next().unwrap_or_default();
    let written = authority.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
    written.unwrap_or(if scheme == "https" { 443 } else { 80 })
}

/// `Set-Cookie`. Strict: a page elsewhere cannot make the browser send it at all; a link from
/// elsewhere goes through one step of our own (see `Visitor`).
fn set_cookie(state: &WebState, via: &Via, token: &str, max_age_s: i64) -> Result<HeaderValue, Problem> {
    let secure = if is_secure(state, via) { "; Secure" } else { "" };
    let name = name(state, via);
    HeaderValue::from_str(&format!(
        "{name}={token}; Path=/; Max-Age={max_age_s}; HttpOnly; SameSite=Strict{secure}"
    ))
    .map_err(|error| Problem::internal("make a cookie", &error))
}

/// The token in the request's session cookie.
pub(crate) fn session_token(state: &WebState, via: &Via, jar: &CookieJar) -> Option<String> {
    jar.get(&name(state, via)).map(|cookie| cookie.value().to_owned()).filter(|token| !token.is_empty())
}

/// Begins a session of a user's: its secret.
pub(crate) async fn open_session(
    state: &WebState,
    via: &Via,
    user: UserId,
    name: &str,
) -> Result<String, Problem> {
    let token = fresh_secret().map_err(|error| Problem::internal("make a session", &error))?;
    let (hash, expires_at) = (hash_token(&token), state.now() + limits::SESSION_MS);
    let session = NewSession { user, hash, expires_at, browser: via.browser.clone() };
    state.store().create_session(session, by(via, Some(user), name)).await?;
    Ok(token)
}

/// Signs a user in: the cookie to set.
pub(crate) async fn start_session(
    state: &WebState,
    via: &Via,
    user: UserId,
    name: &str,
) -> Result<HeaderValue, Problem> {
    let token = open_session(state, via, user, name).await?;
    set_cookie(state, via, &token, limits::SESSION_MS / 1000)
}

/// Somebody at a browser who is not, or only just, signed in.
pub(crate) fn by(via: &Via, user: Option<UserId>, name: &str) -> By {
    By { actor: Actor { user, name: name.to_owned(), channel: Channel::Browser }, address: via.address() }
}

/// Signs out: the cookie that takes the old one away.
pub(crate) async fn end_session(
    state: &WebState,
    via: &Via,
    jar: &CookieJar,
) -> Result<HeaderValue, Problem> {
    if let Some(token) = session_token(state, via, jar) {
        let hash = hash_token(&token);
        if let Some(found) = state.store().principal_by_session(hash, state.now()).await? {
            let by = by(via, Some(found.user.id), &found.user.name);
            state.store().delete_session(hash, by).await?;
        }
    }
    set_cookie(state, via, "", 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("http://localhost:3370", 3370)]
    #[case("http://[::1]:3371", 3371)]
    #[case("http://[::1]", 80)]
    #[case("https://holdpoint.example", 443)]
    #[case("https://holdpoint.example/at:8080", 443)]
    fn every_address_has_a_port(#[case] base_url: &str, #[case] expected: u16) {
        assert_eq!(port(base_url), expected);
    }
}
