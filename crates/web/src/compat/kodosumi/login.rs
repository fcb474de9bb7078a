//! `/login`, `/api/login`, `/logout`. The panel has its own pages at two of these addresses: browsers get
//! those, everybody else gets what Kodosumi's clients expect.

use axum::{
    Json,
    extract::{Request, State},
    response::{IntoResponse as _, Response},
};
use axum_extra::extract::CookieJar;
use holdpoint_store::User;
use http::{HeaderMap, Method, StatusCode, header};
use serde::Deserialize;
use serde_json::json;

use super::client::{secret, set_cookie};
use crate::{
    auth::{Via, Visitor, by, check_origin, hash_token, open_session, sign_in},
    body::{self, Query},
    limits,
    panel::{form, login, safe_next},
    problem::Problem,
    state::WebState,
};

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Params {
    name: Option<String>,
    password: Option<String>,
    /// Where to go on to; of ours alone.
    redirect: Option<String>,
    /// The same, of the panel's page.
    next: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Body {
    name: String,
    password: String,
    redirect: Option<String>,
}

/// `POST /api/login`.
pub(super) async fn api(
    State(state): State<WebState>,
    via: Via,
    headers: HeaderMap,
    body::Json(body): body::Json<Body>,
) -> Result<Response, Problem> {
    check_origin(&state, &Method::POST, &headers)?;
    let user = known(&state, &via, &body.name, &body.password).await?;
    admit(&state, &via, &user, body.redirect.as_deref()).await
}

/// `GET /login?name&password`, or the panel's page.
pub(super) async fn get(
    State(state): State<WebState>,
    visitor: Option<Visitor>,
    via: Via,
    headers: HeaderMap,
    Query(params): Query<Params>,
) -> Result<Response, Problem> {
    let (Some(name), Some(password)) = (&params.name, &params.password) else {
        return Ok(login::page(visitor.as_ref(), &params.next));
    };
    // It changes who is signed in: no other site may make a browser do so.
    check_origin(&state, &Method::POST, &headers)?;
    let user = known(&state, &via, name, password).await?;
    admit(&state, &via, &user, params.redirect.as_deref()).await
}

/// `POST /login`: a form, of either.
pub(super) async fn post(
    State(state): State<WebState>,
    via: Via,
    Query(params): Query<Params>,
    request: Request,
) -> Response {
    let is_browser = is_browser(request.headers());
    let form = match form::parse(request, &state, limits::MAX_ANONYMOUS_BYTES).await {
        Ok(form) => form,
        Err(problem) if is_browser => return crate::panel::error_page(None, &problem),
        Err(problem) => return problem.into_response(),
    };
    let redirect =
        params.redirect.or_else(|| Some(form.get("redirect").to_owned()).filter(|to| !to.is_empty()));
    if is_browser && redirect.is_none() {
        return login::submit(&state, &via, &form).await.into_response();
    }
    let user = known(&state, &via, form.get("name").trim(), form.get("password")).await;
    match user {
        Ok(user) => admit(&state, &via, &user, redirect.as_deref()).await.into_response(),
        Err(problem) => problem.into_response(),
    }
}

/// `GET /logout`.
pub(super) async fn sign_out(
    State(state): State<WebState>,
    via: Via,
    headers: HeaderMap,
    Query(params): Query<Params>,
) -> Result<Response, Problem> {
    check_origin(&state, &Method::POST, &headers)?;
    if let Some(secret) = secret(&headers) {
        let hash = hash_token(&secret);
        if let Some(found) = state.store().principal_by_session(hash, state.now()).await? {
            let by = by(&via, Some(found.user.id), &found.user.name);
            state.store().delete_session(hash, by).await?;
        }
    }
    let cookie = set_cookie(&state, &via, None)?;
    Ok(match &params.redirect {
        Some(to) => {
            let to = safe_next(to).to_owned();
            (StatusCode::FOUND, [(header::SET_COOKIE, cookie), (header::LOCATION, ascii(&to)?)])
                .into_response()
        }
        None => {
            ([(header::SET_COOKIE, cookie)], [(header::CONTENT_TYPE, "application/json")]).into_response()
        }
    })
}

/// `POST /logout`, of either.
pub(super) async fn post_sign_out(
    State(state): State<WebState>,
    via: Via,
    jar: CookieJar,
    headers: HeaderMap,
    query: Query<Params>,
    request: Request,
) -> Response {
    if is_browser(&headers) {
        return match form::parse(request, &state, limits::MAX_ANONYMOUS_BYTES).await {
            Ok(_) => login::sign_out(&state, &via, &jar).await.into_response(),
            Err(problem) => crate::panel::refuse(&headers, problem),
        };
    }
    sign_out(State(state), via, headers, query).await.into_response()
}

async fn known(state: &WebState, via: &Via, name: &str, password: &str) -> Result<User, Problem> {
    sign_in(state, via, name, password).await.map_err(|mut problem| {
        if problem.status == StatusCode::UNAUTHORIZED {
            problem.detail = "Invalid name or password".into();
        }
        problem
    })
}

/// A session, its secret in the cookie, and in the body or a way on.
async fn admit(
    state: &WebState,
    via: &Via,
    user: &User,
    redirect: Option<&str>,
) -> Result<Response, Problem> {
    let secret = open_session(state, via, user.id, &user.name).await?;
    let cookie = set_cookie(state, via, Some(&secret))?;
    if let Some(to) = redirect {
        let location = ascii(safe_next(to))?;
        return Ok(
            (StatusCode::FOUND, [(header::SET_COOKIE, cookie), (header::LOCATION, location)]).into_response()
        );
    }
    let body = json!({ "name": user.name, "id": user.id, "KODOSUMI_API_KEY": secret });
    Ok(([(header::SET_COOKIE, cookie)], Json(body)).into_response())
}

fn ascii(text: &str) -> Result<http::HeaderValue, Problem> {
    text.parse().map_err(|error| Problem::internal("write a header", &error))
}

/// Browsers say that they take pages, or at least where a request comes from.
fn is_browser(headers: &HeaderMap) -> bool {
    let accepts_pages = headers
        .get(header::ACCEPT)
        .is_some_and(|value| value.to_str().is_ok_and(|accept| accept.contains("text/html")));
    accepts_pages || headers.contains_key("sec-fetch-site")
}
