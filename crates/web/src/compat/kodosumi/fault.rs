//! Errors in the form that all of that API's have: `{"error","path","detail","status_code"}`.

use axum::{
    Json,
    body::to_bytes,
    extract::Request,
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use http::{HeaderMap, StatusCode, header};
use serde_json::{Value, json};

use crate::problem::Problem;

/// No problem is longer than this as JSON. Bytes.
const MAX_PROBLEM_BYTES: usize = 256 * 1024;

/// The first parts of that API's addresses; the panel's own `/login` and `/logout` are not among them.
const FIRST_PARTS: [&str; 11] =
    ["api", "flow", "-", "inputs", "outputs", "lock", "files", "timeline", "role", "deploy", "serve"];

/// Whether an address is one of that API, known or not.
pub(crate) fn answers_at(path: &str) -> bool {
    let first = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    FIRST_PARTS.contains(&first)
}

/// A problem in the form that these clients read.
pub(crate) fn fault(path: &str, problem: &Problem) -> Response {
    let mut response = render(path, problem.status, &problem.detail);
    problem.apply_headers(&mut response);
    response
}

fn render(path: &str, status: StatusCode, detail: &str) -> Response {
    let status = match status {
        // There is one status for what does not fit.
        StatusCode::UNPROCESSABLE_ENTITY => StatusCode::BAD_REQUEST,
        other => other,
    };
    let body = json!({
        "error": name(status),
        "path": path,
        "detail": detail,
        "status_code": status.as_u16(),
    });
    (status, Json(body)).into_response()
}

/// The names of the framework that Kodosumi is made with.
fn name(status: StatusCode) -> &'static str {
    match status {
        StatusCode::BAD_REQUEST => "ValidationException",
        StatusCode::UNAUTHORIZED => "NotAuthorizedException",
        StatusCode::FORBIDDEN => "PermissionDeniedException",
        StatusCode::NOT_FOUND => "NotFoundException",
        StatusCode::METHOD_NOT_ALLOWED => "MethodNotAllowedException",
        StatusCode::TOO_MANY_REQUESTS => "TooManyRequestsException",
        StatusCode::INTERNAL_SERVER_ERROR => "InternalServerException",
        StatusCode::SERVICE_UNAVAILABLE => "ServiceUnavailableException",
        _ => "HTTPException",
    }
}

/// Gives every problem of this API's handlers the form of this API.
pub(super) async fn as_faults(request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let response = next.run(request).await;
    if !is_problem(response.headers()) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let problem: Value = match to_bytes(body, MAX_PROBLEM_BYTES).await {
        Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_default(),
        Err(_) => Value::Null,
    };
    let mut fault = render(&path, parts.status, problem["detail"].as_str().unwrap_or_default());
    parts.headers.remove(header::CONTENT_TYPE);
    parts.headers.remove(header::CONTENT_LENGTH);
    fault.headers_mut().extend(parts.headers);
    fault
}

fn is_problem(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|value| value == "application/problem+json")
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("/flow/tags", true)]
    #[case("//files/complete/a/b/in", true)]
    #[case("/outputs/status/x", true)]
    #[case("/serve", true)]
    #[case("/-/a/b", true)]
    #[case("/roles", false)]
    #[case("/", false)]
    #[case("/login", false)]
    #[case("/v1/executions", false)]
    #[case("/executions", false)]
    fn its_addresses_are_known(#[case] path: &str, #[case] expected: bool) {
        assert_eq!(answers_at(path), expected);
    }
}
