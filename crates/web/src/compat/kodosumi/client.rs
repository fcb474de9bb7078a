//! Who calls: by the header `KODOSUMI_API_KEY` or the cookie `kodosumi_jwt`, or as everywhere else.

use axum::{
    extract::FromRequestParts,
    response::{IntoResponse as _, Response},
};
use axum_extra::extract::CookieJar;
use holdpoint_model::Channel;
use http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts};

use crate::{
    auth::{Caller, Via, check_origin, hash_token, is_secure},
    limits,
    problem::Problem,
    state::WebState,
};

/// The cookie's name. Unlike the panel's it cannot have the port in it: clients know it by this name.
pub(super) const COOKIE: &str = "kodosumi_jwt";

/// The header's name.
const HEADER: &str = "kodosumi_api_key";

/// A caller with the secret of a log-in of this API, with any token, or with the panel's session.
#[derive(Clone, Debug)]
pub(super) struct Client(pub(super) Caller);

impl FromRequestParts<WebState> for Client {
    type Rejection = Response;
    async fn from_request_parts(parts: &mut Parts, state: &WebState) -> Result<Self, Response> {
        identify(parts, state).await.map(Self).map_err(|problem| {
            if problem.status == StatusCode::UNAUTHORIZED && prefers_pages(&parts.headers) {
                return (StatusCode::FOUND, [(header::LOCATION, "/")]).into_response();
            }
            problem.into_response()
        })
    }
}

async fn identify(parts: &mut Parts, state: &WebState) -> Result<Caller, Problem> {
    if let Some(key) = parts.headers.get(HEADER) {
        let key = key.to_str().unwrap_or_default();
        return known(state, parts, key).await?.ok_or_else(unauthorized);
    }
    if parts.headers.get(header::AUTHORIZATION).is_none()
        && let Some(secret) = cookie(&parts.headers)
        && let Some(caller) = known(state, parts, &secret).await?
    {
        check_origin(state, &parts.method, &parts.headers)?;
        return Ok(caller);
    }
    Caller::from_request_parts(parts, state).await.map_err(|problem| match problem.status {
        StatusCode::UNAUTHORIZED => unauthorized(),
        _ => problem,
    })
}

/// Whose secret this is: a log-in's, or a token that `holdpoint token create` made.
async fn known(state: &WebState, parts: &Parts, secret: &str) -> Result<Option<Caller>, Problem> {
    let hash = hash_token(secret);
    let principal = match state.store().principal_by_session(hash, state.now()).await? {
        Some(principal) => Some(principal),
        None => state.store().principal_by_token(hash).await?,
    };
    Ok(principal.map(|principal| Caller::new(state, parts, principal, Channel::Api)))
}

/// The secret that a request came with, whether it is good or not.
pub(super) fn secret(headers: &HeaderMap) -> Option<String> {
    let key = headers.get(HEADER).and_then(|key| key.to_str().ok()).map(str::to_owned);
    key.or_else(|| cookie(headers))
}

fn cookie(headers: &HeaderMap) -> Option<String> {
    let jar = CookieJar::from_headers(headers);
    jar.get(COOKIE).map(|cookie| cookie.value().to_owned()).filter(|value| !value.is_empty())
}

/// `Set-Cookie` for a log-in's secret; without one, the cookie that takes the old one away.
pub(super) fn set_cookie(state: &WebState, via: &Via, secret: Option<&str>) -> Result<HeaderValue, Problem> {
    let secure = if is_secure(state, via) { "; Secure" } else { "" };
    let (value, max_age_s) = secret.map_or(("", 0), |secret| (secret, limits::SESSION_MS / 1000));
    HeaderValue::from_str(&format!(
        "{COOKIE}={value}; Path=/; Max-Age={max_age_s}; HttpOnly; SameSite=Lax{secure}"
    ))
    .map_err(|error| Problem::internal("make a cookie", &error))
}

fn unauthorized() -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "unauthenticated", "not signed in", "Unauthorized")
}

/// Whether the client would rather look at a page than at JSON.
pub(super) fn prefers_pages(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let place = |media: &str| accept.find(media).unwrap_or(usize::MAX);
    place("text/html") < place("application/json")
}
