//! Errors in the shape the Messages API gives them, and the way from ours to theirs.

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header::RETRY_AFTER};
use serde_json::{Value, json};

/// An error as the API would answer it. How the CLI reacts decides which one is right: 401, 429, 5xx
/// and 529 are tried again, 400, 403 and 404 end the turn at once (seen with 2.1.330).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} ({status}): {message}")]
pub struct ApiError {
    /// HTTP status.
    pub status: StatusCode,
    /// The API's `error.type`.
    pub kind: &'static str,
    /// The API's `error.message`, read by a person.
    pub message: String,
    /// Seconds after which to try again.
    pub retry_after_secs: Option<u32>,
}

impl ApiError {
    /// An error of this status, with the `error.type` that goes with it.
    #[must_use]
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        let kind = match status.as_u16() {
            400 | 405 | 422 => "invalid_request_error",
            401 => "authentication_error",
            402 => "billing_error",
            403 => "permission_error",
            404 => "not_found_error",
            413 => "request_too_large",
            429 => "rate_limit_error",
            504 => "timeout_error",
            529 => "overloaded_error",
            _ => "api_error",
        };
        Self { status, kind, message: message.into(), retry_after_secs: None }
    }

    /// 400: the request cannot be right, however often it is sent.
    #[must_use]
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// 401: the token is unknown, or belongs to an incarnation that no longer acts.
    #[must_use]
    pub fn unauthenticated(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, message)
    }

    /// 500: something of ours failed; trying again may help.
    #[must_use]
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    }

    /// The body, `{"type":"error","error":{…}}`.
    #[must_use]
    pub fn body(&self) -> Value {
        json!({"type": "error", "error": {"type": self.kind, "message": self.message}})
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body())).into_response();
        if let Some(secs) = self.retry_after_secs {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(secs));
        }
        response
    }
}
