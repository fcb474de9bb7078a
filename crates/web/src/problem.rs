//! Errors as clients see them: `application/problem+json` (RFC 9457). The one place that maps what
//! went wrong to a status.

use std::{borrow::Cow, collections::BTreeMap};

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use holdpoint_control::{CommandError, DecideError, ForkError, InsideError, StartError, UploadError};
use holdpoint_model::{Refusal, UnixMs};
use holdpoint_store::StoreError;
use http::{HeaderName, HeaderValue, StatusCode, header};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::time;

/// What failed, why it matters, what to do; with fields for scripts.
#[derive(Debug)]
pub struct Problem {
    /// The HTTP status.
    pub status: StatusCode,
    /// Stable, for scripts.
    pub code: &'static str,
    /// What failed, the same for every case of this code.
    pub title: String,
    /// This case.
    pub detail: String,
    /// More members of the JSON object.
    pub fields: Map<String, Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// What went wrong (RFC 9457), with members of its own by `code`.
#[derive(Serialize, JsonSchema)]
struct Told<'a> {
    /// `urn:holdpoint:problem:` and the code.
    r#type: String,
    /// What failed, the same for every case of this code.
    title: &'a str,
    /// The HTTP status.
    status: u16,
    /// This case.
    detail: &'a str,
    /// Stable, for scripts.
    code: &'a str,
    #[serde(flatten)]
    fields: &'a Map<String, Value>,
}

impl JsonSchema for Problem {
    fn schema_name() -> Cow<'static, str> {
        "Problem".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Told::json_schema(generator)
    }
}

impl Problem {
    /// A problem without further fields.
    pub fn new(status: StatusCode, code: &'static str, title: &str, detail: impl Into<String>) -> Self {
        Self {
            status,
            code,
            title: title.to_owned(),
            detail: detail.into(),
            fields: Map::new(),
            headers: Vec::new(),
        }
    }

    /// Adds a member to the JSON object.
    #[must_use]
    pub fn with(mut self, key: &str, value: Value) -> Self {
        self.fields.insert(key.to_owned(), value);
        self
    }

    /// Adds a header to the response.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.push((name, value));
        }
        self
    }

    /// There is nothing here, or nothing that this caller may know of.
    pub fn not_found(what: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not_found",
            "not found",
            format!("there is no such {what}, or you may not see it"),
        )
    }

    /// An attached file has no place: the session has made something else of the folder for it, or the
    /// machine failed.
    fn attachment(error: &std::io::Error) -> Self {
        if !holdpoint_beneath::is_the_trees_doing(error) {
            return Self::internal("store an attached file", error);
        }
        Self::new(
            StatusCode::CONFLICT,
            "attachments_in_the_way",
            "the file could not be attached",
            format!(
                "the session has changed the folder for attachments in its workspace: {error}; ask it to remove that, or send the message without files"
            ),
        )
    }

    /// Known, seen, and not allowed to do this.
    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", "not allowed", detail)
    }

    /// The request is understood and does not fit.
    pub fn invalid(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_request", "the request does not fit", detail)
    }

    /// Fields that are wrong, each with what is wrong with it.
    pub fn invalid_fields(errors: &BTreeMap<String, String>) -> Self {
        let detail = errors.values().cloned().collect::<Vec<_>>().join("; ");
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_inputs", "some inputs are wrong", detail)
            .with("errors", json!(errors))
    }

    /// Longer than `limit` bytes.
    pub fn too_large(what: &str, limit: usize) -> Self {
        let most = match limit / 1024 {
            kib @ 0..1024 => format!("{kib} KiB"),
            kib => format!("{} MiB", kib / 1024),
        };
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too_large",
            "too large",
            format!("{what} may have at most {most}"),
        )
        .with("limit_bytes", json!(limit))
    }

    /// Our own fault; logged here, once, and not told in detail.
    pub fn internal(what: &str, error: &dyn std::fmt::Display) -> Self {
        tracing::error!(%error, "failed to {what}");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "something went wrong in Holdpoint",
            format!("failed to {what}; the server's log says why"),
        )
    }

    /// The problem as a JSON object.
    #[must_use]
    pub fn body(&self) -> Value {
        json!(Told {
            r#type: format!("urn:holdpoint:problem:{}", self.code),
            title: &self.title,
            status: self.status.as_u16(),
            detail: &self.detail,
            code: self.code,
            fields: &self.fields,
        })
    }

    /// Copies this problem's headers onto a response made of it in another form.
    pub(crate) fn apply_headers(&self, response: &mut Response) {
        for (name, value) in &self.headers {
            response.headers_mut().insert(name.clone(), value.clone());
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.body().to_string() + "\n"));
        *response.status_mut() = self.status;
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        self.apply_headers(&mut response);
        response
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Closed => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "closing",
                "the server is going down",
                "try again in a moment",
            )
            .header(header::RETRY_AFTER, "2"),
            error => Self::internal("use the database", &error),
        }
    }
}

impl From<StartError> for Problem {
    fn from(error: StartError) -> Self {
        match error {
            StartError::UnknownAgent { name, known } => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "unknown_agent",
                &format!("there is no agent `{name}`"),
                error_text(&known),
            )
            .with("known", json!(known)),
            StartError::Invalid(errors) => Self::invalid_fields(&errors),
            StartError::IdempotencyMismatch => Self::new(
                StatusCode::CONFLICT,
                "idempotency_mismatch",
                "this idempotency key was used for another request",
                "send a fresh `Idempotency-Key` for something new, or exactly the same request again",
            ),
            StartError::Attachment(error) => Self::attachment(&error),
            StartError::Store(error) => error.into(),
        }
    }
}

impl From<ForkError> for Problem {
    fn from(error: ForkError) -> Self {
        match error {
            ForkError::Unknown => Self::not_found("execution"),
            ForkError::Empty => Self::invalid("`message` says what the new conversation begins with"),
            ForkError::NotThere { possible } => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "no_checkpoint",
                "no conversation can branch off there",
                if possible.is_empty() {
                    "there is no checkpoint yet at which a turn was over; wait until the agent rests"
                        .to_owned()
                } else {
                    "name one of `possible` in `seq`, or leave it out for the last".to_owned()
                },
            )
            .with("possible", json!(possible)),
            ForkError::Damaged(why) => Self::new(
                StatusCode::CONFLICT,
                "checkpoint_damaged",
                "the checkpoint cannot be used",
                format!("{why}; try another one"),
            ),
            ForkError::IdempotencyMismatch => StartError::IdempotencyMismatch.into(),
            ForkError::Store(error) => error.into(),
        }
    }
}

fn error_text(known: &[String]) -> String {
    format!("name one of these in `agent`: {}", known.join(", "))
}

impl From<UploadError> for Problem {
    fn from(error: UploadError) -> Self {
        let detail = error.to_string();
        let refused =
            |status, code, title, next: &str| Self::new(status, code, title, format!("{detail}; {next}"));
        match error {
            UploadError::Unknown => Self::not_found("upload"),
            UploadError::Name(text) => Self::invalid(text),
            UploadError::TooLong => {
                let next = "put it where the agent can fetch it";
                refused(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "too large", next)
                    .with("limit_bytes", json!(holdpoint_control::MAX_UPLOAD_BYTES))
            }
            UploadError::Quota(_) => {
                let next = "start a conversation with them, or give some up with DELETE /v1/uploads/ID";
                refused(StatusCode::CONFLICT, "too_many_uploads", "too many uploads", next)
            }
            UploadError::NoRoom { free_bytes } => {
                let next = "ask whoever runs this server to make room";
                refused(StatusCode::INSUFFICIENT_STORAGE, "disk_full", "there is no room for this file", next)
                    .with("free_bytes", json!(free_bytes))
            }
            UploadError::Gap { received_bytes } => {
                let next = "send what is between, first";
                refused(StatusCode::CONFLICT, "wrong_offset", "this chunk would leave a gap", next)
                    .with("received", json!(received_bytes))
            }
            UploadError::Beyond { size_bytes } => {
                let next = "begin an upload of the right size";
                refused(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "the chunk is too long", next)
                    .with("size", json!(size_bytes))
            }
            UploadError::Different => {
                let next = "the file has changed: give this upload up and begin anew";
                refused(StatusCode::CONFLICT, "different_content", "this is another file", next)
            }
            UploadError::Busy => {
                let next = "send one chunk after the other";
                refused(StatusCode::CONFLICT, "busy", "this upload is being written to", next)
                    .header(header::RETRY_AFTER, "1")
            }
            UploadError::BrokeOff { received_bytes, .. } => {
                let next = "go on from `received`";
                refused(StatusCode::BAD_REQUEST, "incomplete_body", "the chunk did not arrive whole", next)
                    .with("received", json!(received_bytes))
            }
            UploadError::Io(error) => Self::internal("store an upload", &error),
            UploadError::Store(error) => error.into(),
        }
    }
}

impl From<DecideError> for Problem {
    fn from(error: DecideError) -> Self {
        match error {
            DecideError::Unknown => Self::not_found("hold"),
            DecideError::AlreadyAnswered { by, at, answer } => already_answered(&by.name, at)
                .with("answered_by", json!(by))
                .with("answered_at", json!(time::rfc3339(at)))
                .with("answer", json!(answer)),
            DecideError::Expired => Self::new(
                StatusCode::GONE,
                "expired",
                "this hold has expired",
                "its time was over before this answer came; the agent was told so",
            ),
            DecideError::NotOpen(state) => Self::new(
                StatusCode::CONFLICT,
                "not_open",
                "nothing waits for this answer any more",
                format!("this hold is {state}"),
            )
            .with("state", json!(state)),
            DecideError::Invalid(text) => Self::invalid(text),
            DecideError::Attachment(error) => Self::attachment(&error),
            DecideError::Store(error) => error.into(),
        }
    }
}

fn already_answered(by: &str, at: UnixMs) -> Problem {
    Problem::new(
        StatusCode::CONFLICT,
        "already_answered",
        "somebody answered this first",
        format!("it was answered by {by} at {}", time::rfc3339(at)),
    )
}

impl From<CommandError> for Problem {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::Unknown => Self::not_found("execution"),
            CommandError::Attachment(error) => Self::attachment(&error),
            CommandError::IdempotencyMismatch => StartError::IdempotencyMismatch.into(),
            CommandError::Store(error) => error.into(),
            CommandError::Refused(refusal) => match refusal {
                Refusal::Invalid(text) => Self::invalid(text),
                Refusal::AlreadyAnswered { by, at, answer } => {
                    DecideError::AlreadyAnswered { by, at, answer }.into()
                }
                Refusal::Expired => DecideError::Expired.into(),
                Refusal::Ended(status) => Self::new(
                    StatusCode::CONFLICT,
                    "ended",
                    "this conversation is over",
                    format!("it is {status}; start a new one"),
                )
                .with("execution_status", json!(status)),
                Refusal::NotRunning => Self::new(
                    StatusCode::CONFLICT,
                    "not_running",
                    "nothing is running",
                    "the agent is not working right now, so there is nothing to interrupt",
                ),
                Refusal::AtWork => Self::new(
                    StatusCode::CONFLICT,
                    "at_work",
                    "the agent is at work",
                    "wait until it waits for somebody, or interrupt it; then try again",
                ),
                other => Self::new(
                    StatusCode::CONFLICT,
                    "conflict",
                    "the state has moved on",
                    format!("{other}; look again"),
                ),
            },
        }
    }
}

impl From<InsideError> for Problem {
    fn from(error: InsideError) -> Self {
        let detail = error.to_string();
        let refused = |status, code, title| Self::new(status, code, title, detail.clone());
        match error {
            InsideError::Unknown => Self::not_found("execution"),
            InsideError::NoWorker(residency) => {
                refused(StatusCode::CONFLICT, "no_worker", "there is nothing to look into")
                    .with("residency", json!(residency.as_str()))
            }
            InsideError::Gone => refused(StatusCode::GONE, "worker_gone", "the worker is gone"),
            InsideError::NoContainer => {
                refused(StatusCode::CONFLICT, "no_container", "there is no container")
            }
            InsideError::NoLog(_) => refused(StatusCode::NOT_FOUND, "no_log", "there is no such log"),
            InsideError::Invalid(text) => Self::invalid(text),
            InsideError::Busy => refused(StatusCode::TOO_MANY_REQUESTS, "busy", "too many commands run")
                .header(header::RETRY_AFTER, "5"),
            InsideError::Engine(error) => {
                tracing::warn!(%error, "failed to look inside of a session");
                refused(StatusCode::BAD_GATEWAY, "engine_failed", "the engine of this session did not do it")
            }
            InsideError::Read(error) => Self::internal("read a log", &error),
            InsideError::Store(error) => error.into(),
        }
    }
}
