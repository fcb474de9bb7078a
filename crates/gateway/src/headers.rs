//! Which headers pass, in either direction. Everything not named here stays out: the session's token
//! and cookies on the way up, the upstream's connection and cookies on the way down.

use http::{HeaderMap, HeaderName, header};

/// Headers of a session's request that are the API's business. Not `accept-encoding`: the gateway
/// reads what comes back.
#[must_use]
pub fn upwards(headers: &HeaderMap) -> HeaderMap {
    filtered(headers, |name| {
        let name = name.as_str();
        matches!(name, "content-type" | "accept" | "user-agent" | "x-app")
            || ["anthropic-", "x-stainless-", "x-claude-code-"].iter().any(|prefix| name.starts_with(prefix))
    })
}

/// Headers of the API's answer that are the session's business: how long to wait, what is left of its
/// limits, and the request's id for a support case.
#[must_use]
pub fn downwards(headers: &HeaderMap) -> HeaderMap {
    filtered(headers, |name| {
        *name == header::CONTENT_TYPE
            || *name == header::RETRY_AFTER
            || matches!(name.as_str(), "request-id" | "x-should-retry" | "retry-after-ms")
            || name.as_str().starts_with("anthropic-")
    })
}

fn filtered(headers: &HeaderMap, passes: impl Fn(&HeaderName) -> bool) -> HeaderMap {
    headers
        .iter()
        .filter(|(name, _)| passes(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}
