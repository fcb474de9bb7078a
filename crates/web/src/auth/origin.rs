//! Against requests that another site makes a signed-in browser send (CSRF).

use http::{HeaderMap, Method, StatusCode, header};

use crate::{problem::Problem, state::WebState};

/// Refuses a changing request that a browser sent on behalf of another site.
///
/// Every current browser says where a request comes from, in `Sec-Fetch-Site` or at least in
/// `Origin`; a request with neither does not come from a browser, and only browsers can be made to
/// send somebody else's cookie. The same reasoning as in Go's `net/http.CrossOriginProtection`.
pub(crate) fn check_origin(state: &WebState, method: &Method, headers: &HeaderMap) -> Result<(), Problem> {
    if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return Ok(());
    }
    let text = |name| headers.get(name).map(|value: &http::HeaderValue| value.to_str().unwrap_or("?"));
    match text(header::HeaderName::from_static("sec-fetch-site")) {
        Some("same-origin" | "none") => return Ok(()),
        Some(_) => return Err(refused()),
        None => {}
    }
    let Some(origin) = text(header::ORIGIN) else { return Ok(()) };
    let host = text(header::HOST).unwrap_or_default();
    let origin_host = origin.split_once("://").map_or("", |(_, host)| host);
    if origin == &*state.base_url || (!host.is_empty() && origin_host == host) {
        Ok(())
    } else {
        Err(refused())
    }
}

fn refused() -> Problem {
    Problem::new(
        StatusCode::FORBIDDEN,
        "cross_site",
        "this request came from another site",
        "a page elsewhere made your browser send it; open the panel and do it there (scripts use a bearer token)",
    )
}
