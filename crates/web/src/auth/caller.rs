//! Who calls: by bearer token, or by the panel's session cookie.

use axum::{
    extract::{FromRequestParts, OptionalFromRequestParts},
    response::{IntoResponse, Redirect, Response},
};
use axum_extra::extract::CookieJar;
use holdpoint_model::{Actor, Channel, Role, Scopes, UserId};
use holdpoint_store::{By, Credential, Principal};
use http::{HeaderMap, Method, StatusCode, header, request::Parts};

use super::{Via, check_origin, hash_token, session_token};
use crate::{
    limits,
    openapi::{Operation, Takes},
    panel,
    problem::Problem,
    state::WebState,
};

/// Somebody who has shown who they are. As an extractor it answers with problem+json.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) user: UserId,
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) channel: Channel,
    /// With what they have shown who they are.
    pub(crate) credential: Credential,
    /// What that may be used for.
    pub(crate) scopes: Scopes,
    /// The address that they come from, as far as that is known.
    address: Option<String>,
}

/// A [`Caller`] in front of the panel: as an extractor it answers by showing the way to sign in.
#[derive(Clone, Debug)]
pub(crate) struct Visitor(pub(crate) Caller);

impl Caller {
    /// Somebody whose credential was found.
    pub(crate) fn new(state: &WebState, parts: &Parts, principal: Principal, channel: Channel) -> Self {
        note_use(state, &principal);
        let Principal { user, credential, scopes, .. } = principal;
        let address = Via::of(&state.proxies, &parts.extensions, &parts.headers).address();
        Self { user: user.id, name: user.name, role: user.role, channel, credential, scopes, address }
    }

    /// As the audit log has it.
    pub(crate) fn by(&self) -> By {
        By { actor: self.actor(), address: self.address.clone() }
    }

    /// As it will stay in the log.
    pub(crate) fn actor(&self) -> Actor {
        Actor { user: Some(self.user), name: self.name.clone(), channel: self.channel }
    }

    /// Reads who calls. A bearer token wins over a cookie.
    async fn of(state: &WebState, parts: &Parts) -> Result<Option<Self>, Problem> {
        if let Some(token) = bearer(&parts.headers) {
            let principal = state.store().principal_by_token(hash_token(token)).await?;
            return match principal {
                Some(principal) => {
                    Ok(Some(Self::new(state, parts, principal, token_channel(&parts.headers))))
                }
                None => Err(unauthenticated("this token is not known, or its time is over")),
            };
        }
        let jar = CookieJar::from_headers(&parts.headers);
        let via = Via::of(&state.proxies, &parts.extensions, &parts.headers);
        let Some(token) = session_token(state, &via, &jar) else { return Ok(None) };
        let Some(principal) = state.store().principal_by_session(hash_token(&token), state.now()).await?
        else {
            return Ok(None);
        };
        check_origin(state, &parts.method, &parts.headers)?;
        Ok(Some(Self::new(state, parts, principal, Channel::Browser)))
    }
}

/// Notes now and then that a token or session is used; nobody waits for that.
fn note_use(state: &WebState, principal: &Principal) {
    let now = state.now();
    if principal.used_at.is_some_and(|used_at| now - used_at < limits::USED_EVERY_MS) {
        return;
    }
    let (store, credential) = (state.store().clone(), principal.credential);
    tokio::spawn(async move {
        if let Err(error) = store.used(credential, now).await {
            tracing::debug!(%error, "failed to note that a token or session was used");
        }
    });
}

/// The token of `Authorization: Bearer TOKEN`.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// `holdpoint answer` and its siblings say that a person sits at a terminal.
fn token_channel(headers: &HeaderMap) -> Channel {
    match headers.get("holdpoint-channel").map(http::HeaderValue::as_bytes) {
        Some(b"terminal") => Channel::Terminal,
        _ => Channel::Api,
    }
}

fn unauthenticated(detail: &str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "unauthenticated", "not signed in", detail)
        .header(header::WWW_AUTHENTICATE, "Bearer realm=\"holdpoint\"")
}

impl FromRequestParts<WebState> for Caller {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &WebState) -> Result<Self, Problem> {
        Self::of(state, parts).await?.ok_or_else(|| {
            unauthenticated(
                "send `Authorization: Bearer TOKEN`; `holdpoint token create` makes a token, or sign in to the panel",
            )
        })
    }
}

impl Takes for Caller {
    fn describe(operation: &mut Operation<'_>) {
        operation.signed_in();
    }
}

impl FromRequestParts<WebState> for Visitor {
    type Rejection = Response;
    async fn from_request_parts(parts: &mut Parts, state: &WebState) -> Result<Self, Response> {
        match Caller::of(state, parts).await {
            Ok(Some(caller)) => Ok(Self(caller)),
            Ok(None) if comes_from_elsewhere(parts) => Err(panel::bounce(&path_of(parts))),
            Ok(None) => Err(Redirect::to(&panel::login_url(&path_of(parts))).into_response()),
            Err(problem) => Err(panel::refuse(&parts.headers, problem)),
        }
    }
}

impl OptionalFromRequestParts<WebState> for Visitor {
    type Rejection = std::convert::Infallible;
    async fn from_request_parts(
        parts: &mut Parts,
        state: &WebState,
    ) -> Result<Option<Self>, std::convert::Infallible> {
        Ok(Caller::of(state, parts).await.ok().flatten().map(Self))
    }
}

/// A strict cookie is not sent when a link on another site (a notification in a chat) is followed.
/// One step through a page of our own, and it is.
fn comes_from_elsewhere(parts: &Parts) -> bool {
    let is = |name: &str, expected: &[&[u8]]| {
        parts.headers.get(name).is_some_and(|value| expected.contains(&value.as_bytes()))
    };
    parts.method == Method::GET
        && is("sec-fetch-site", &[b"cross-site", b"same-site"])
        && is("sec-fetch-mode", &[b"navigate"])
}

/// Where they wanted to go, for after the sign-in; only a page can be gone to.
fn path_of(parts: &Parts) -> String {
    if parts.method == Method::GET {
        parts.uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string)
    } else {
        "/".to_owned()
    }
}
