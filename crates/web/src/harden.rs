//! What every response gets: headers that keep browsers strict, and an answer where no handler gave one.

use std::any::Any;

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};

use crate::{api, auth::Via, compat::kodosumi, panel, problem::Problem, state::WebState};

/// Pages: our own scripts and styles, nothing inline, nothing from elsewhere, in nobody's frame.
const PAGE_CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                        connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// Everything else is data.
const DATA_CSP: &str = "default-src 'none'; frame-ancestors 'none'";

/// Sets what a handler has not set itself.
pub(crate) async fn headers(State(state): State<WebState>, request: Request, next: Next) -> Response {
    let via = Via::of(&state.proxies, request.extensions(), request.headers());
    let is_strict = via.https && !is_this_machine(request.headers());
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let is_page =
        headers.get(header::CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"text/html"));
    let csp = if is_page { PAGE_CSP } else { DATA_CSP };
    if headers.get(header::CONTENT_TYPE).is_some_and(|value| value == "text/event-stream") {
        // Proxies gather what they pass on unless they are told not to: then nothing would be live.
        headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
        // The stream's own `no-cache` still lets a cache keep it.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, csp),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("permissions-policy"), "camera=(), microphone=(), geolocation=()"),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    if is_strict {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
    }
    response
}

/// A browser that is told to go to `localhost` over TLS alone would do so with every other port of it too.
fn is_this_machine(headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    host.split(':').next().is_some_and(|name| name == "localhost" || name.ends_with(".localhost"))
}

/// Whether a page, rather than JSON, is the better answer.
fn wants_page(path: &str, headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    !path.starts_with("/v1/") && accept.contains("text/html")
}

/// What went wrong before a handler got the request: as a page to those who look at pages.
pub(crate) fn answer(uri: &Uri, headers: &HeaderMap, problem: Problem) -> Response {
    if kodosumi::answers_at(uri.path()) {
        kodosumi::fault(uri.path(), &problem)
    } else if wants_page(uri.path(), headers) {
        panel::error_page(None, &problem)
    } else {
        problem.into_response()
    }
}

/// No such address.
pub(crate) async fn fallback(uri: Uri, headers: HeaderMap) -> Response {
    answer(&uri, &headers, api::unknown_route(uri.path()))
}

/// No such method at this address.
pub(crate) async fn wrong_method(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    answer(&uri, &headers, api::wrong_method(&method, uri.path()))
}

/// A handler panicked: one request fails, and the log says where (the panic hook wrote it).
#[allow(clippy::needless_pass_by_value)]
pub(crate) fn panicked(_: Box<dyn Any + Send + 'static>) -> Response {
    Problem::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "internal",
        "something went wrong in Holdpoint",
        "a request handler panicked; the server's log says where",
    )
    .into_response()
}
