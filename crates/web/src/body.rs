//! Request bodies and addresses as types, with problems that say where and what.

use std::convert::Infallible;

use axum::{
    body::{Body, to_bytes},
    extract::{FromRequest, FromRequestParts, Request},
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use holdpoint_control::Attachment;
use holdpoint_model::{Digest, Seq};
use http::{HeaderMap, StatusCode, header, request::Parts};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::json;

use crate::{
    harden, limits,
    openapi::{Gives, Operation, Takes},
    problem::Problem,
    state::WebState,
};

/// The header of [`IdempotencyKey`].
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// A JSON body of up to [`limits::MAX_BODY_BYTES`].
#[derive(Debug)]
pub(crate) struct Json<T>(pub(crate) T);

/// A JSON body with files, of up to [`limits::MAX_UPLOAD_BYTES`].
#[derive(Debug)]
pub(crate) struct Upload<T>(pub(crate) T);

/// The query of the address.
#[derive(Debug)]
pub(crate) struct Query<T>(pub(crate) T);

/// The variable parts of the address's path.
#[derive(Debug)]
pub(crate) struct Path<T>(pub(crate) T);

/// A file in a JSON body.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EncodedFile {
    /// Its name, or its path below a folder.
    pub(crate) name: String,
    /// Base64.
    #[schemars(extend("contentEncoding" = "base64"))]
    pub(crate) content: String,
}

/// The `Idempotency-Key` header: the same request with the same key happens once.
#[derive(Debug)]
pub(crate) struct IdempotencyKey(pub(crate) Option<String>);

/// The `Last-Event-ID` header: what a client that comes back saw last.
#[derive(Debug)]
pub(crate) struct LastEventId(pub(crate) Option<Seq>);

/// 201, with what is new.
#[derive(Debug)]
pub(crate) struct Created<T>(pub(crate) T);

/// What there is, all of it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub(crate) struct Items<T> {
    pub(crate) items: Vec<T>,
}

/// A page of a list.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub(crate) struct Page<T, N = String> {
    pub(crate) items: Vec<T>,
    /// Where the next page begins; null on the last.
    pub(crate) next: Option<N>,
}

impl<T: DeserializeOwned> FromRequest<WebState> for Json<T> {
    type Rejection = Problem;
    async fn from_request(request: Request, _: &WebState) -> Result<Self, Problem> {
        parse(request, limits::MAX_BODY_BYTES).await.map(Self)
    }
}

impl<T: DeserializeOwned> FromRequest<WebState> for Upload<T> {
    type Rejection = Problem;
    async fn from_request(request: Request, _: &WebState) -> Result<Self, Problem> {
        parse(request, limits::MAX_UPLOAD_BYTES).await.map(Self)
    }
}

async fn parse<T: DeserializeOwned>(request: Request, limit: usize) -> Result<T, Problem> {
    let media = media_type(request.headers());
    if media != "application/json" {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "the body must be JSON",
            "send it with `Content-Type: application/json`",
        ));
    }
    let bytes = read(request, limit).await?;
    let parsed = serde_json::from_slice(&bytes).map_err(|error| {
        let (status, code, title) = match error.classify() {
            serde_json::error::Category::Data => {
                (StatusCode::UNPROCESSABLE_ENTITY, "invalid_request", "the request does not fit")
            }
            _ => (StatusCode::BAD_REQUEST, "malformed_json", "the body is not JSON"),
        };
        Problem::new(status, code, title, error.to_string())
            .with("line", error.line().into())
            .with("column", error.column().into())
    })?;
    // Members without their names would be taken too, by their order.
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        return Err(Problem::invalid("the body must be a JSON object"));
    }
    Ok(parsed)
}

/// The media type without its parameters, in lower case.
pub(crate) fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// The whole body, if it is not longer than `limit`.
pub(crate) async fn read(request: Request, limit: usize) -> Result<Bytes, Problem> {
    let told = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if told.is_some_and(|length| length > limit) {
        return Err(Problem::too_large("the body", limit));
    }
    read_body(request.into_body(), limit).await
}

async fn read_body(body: Body, limit: usize) -> Result<Bytes, Problem> {
    to_bytes(body, limit).await.map_err(|error| {
        let too_long = std::error::Error::source(&error)
            .is_some_and(|source| source.to_string().contains("length limit exceeded"));
        if too_long {
            Problem::too_large("the body", limit)
        } else {
            Problem::new(
                StatusCode::BAD_REQUEST,
                "incomplete_body",
                "the body did not arrive whole",
                error.to_string(),
            )
        }
    })
}

impl<T: DeserializeOwned> FromRequestParts<WebState> for Query<T> {
    type Rejection = Response;
    async fn from_request_parts(parts: &mut Parts, _: &WebState) -> Result<Self, Response> {
        axum::extract::Query::<T>::try_from_uri(&parts.uri).map(|query| Self(query.0)).map_err(|rejection| {
            let problem = Problem::new(
                StatusCode::BAD_REQUEST,
                "invalid_query",
                "the address's query does not fit",
                rejection.body_text(),
            );
            harden::answer(&parts.uri, &parts.headers, problem)
        })
    }
}

impl<T: DeserializeOwned + Send> FromRequestParts<WebState> for Path<T> {
    type Rejection = Response;
    async fn from_request_parts(parts: &mut Parts, state: &WebState) -> Result<Self, Response> {
        let path = axum::extract::Path::<T>::from_request_parts(parts, state).await;
        path.map(|path| Self(path.0)).map_err(|rejection| {
            let problem = Problem::new(
                rejection.status(),
                "invalid_path",
                "the address's path does not fit",
                rejection.body_text(),
            );
            harden::answer(&parts.uri, &parts.headers, problem)
        })
    }
}

impl FromRequestParts<WebState> for IdempotencyKey {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, _: &WebState) -> Result<Self, Problem> {
        let Some(key) = parts.headers.get(IDEMPOTENCY_KEY) else { return Ok(Self(None)) };
        let key =
            key.to_str().ok().filter(|key| !key.is_empty() && key.len() <= limits::MAX_IDEMPOTENCY_KEY_BYTES);
        let Some(key) = key else {
            return Err(Problem::invalid(format!(
                "`Idempotency-Key` must be 1 to {} visible ASCII characters",
                limits::MAX_IDEMPOTENCY_KEY_BYTES
            )));
        };
        Ok(Self(Some(key.to_owned())))
    }
}

impl FromRequestParts<WebState> for LastEventId {
    type Rejection = Infallible;
    async fn from_request_parts(parts: &mut Parts, _: &WebState) -> Result<Self, Infallible> {
        Ok(Self(last_event_id(&parts.headers)))
    }
}

/// The seq that a reconnecting client saw last. It wins over the address, which is the old one then.
pub(crate) fn last_event_id(headers: &HeaderMap) -> Option<Seq> {
    headers.get("last-event-id")?.to_str().ok()?.trim().parse().ok()
}

impl<T: Serialize> IntoResponse for Created<T> {
    fn into_response(self) -> Response {
        (StatusCode::CREATED, axum::Json(self.0)).into_response()
    }
}

impl<T: DeserializeOwned + JsonSchema> Takes for Json<T> {
    fn describe(operation: &mut Operation<'_>) {
        operation.json_body::<T>();
    }
}

impl<T: DeserializeOwned + JsonSchema> Takes for Upload<T> {
    fn describe(operation: &mut Operation<'_>) {
        operation.json_body::<T>();
    }
}

impl<T: DeserializeOwned + JsonSchema> Takes for Query<T> {
    fn describe(operation: &mut Operation<'_>) {
        operation.query::<T>();
        operation.problem(400, "invalid_query");
    }
}

/// What the parts mean is said where addresses are: `openapi::places`.
impl<T> Takes for Path<T> {
    fn describe(operation: &mut Operation<'_>) {
        operation.problem(400, "invalid_path");
    }
}

impl Takes for IdempotencyKey {
    fn describe(operation: &mut Operation<'_>) {
        let schema = json!({
            "type": "string",
            "pattern": "^[ -~]+$",
            "minLength": 1,
            "maxLength": limits::MAX_IDEMPOTENCY_KEY_BYTES,
            "description": "A name of your own for this request: sent again with the same one, it happens once.",
        });
        operation.parameter("header", "Idempotency-Key", false, schema);
        operation.problem(409, "idempotency_mismatch");
        operation.problem(422, "invalid_request");
    }
}

impl Takes for LastEventId {
    fn describe(operation: &mut Operation<'_>) {
        let schema = json!({
            "type": "string",
            "description": "The `id` of the event that was seen last, where a stream goes on; what is no number is passed over.",
        });
        operation.parameter("header", "Last-Event-ID", false, schema);
    }
}

impl<T: JsonSchema> Gives for Created<T> {
    fn describe(operation: &mut Operation<'_>) {
        let schema = operation.schema_of::<T>();
        operation.answer(201, "It is there now.", Some(("application/json", schema)));
    }
}

/// Decodes files of a JSON body, within the limits on attachments.
pub(crate) fn attachments(files: Vec<EncodedFile>) -> Result<Vec<Attachment>, Problem> {
    let mut decoded = Vec::with_capacity(files.len().min(limits::MAX_ATTACHMENTS));
    for file in files {
        let bytes = STANDARD.decode(file.content.as_bytes()).map_err(|error| {
            Problem::invalid(format!("the `content` of the file {:?} is not base64: {error}", file.name))
        })?;
        decoded.push(Attachment { name: file.name, bytes: bytes.into() });
    }
    check_attachments(decoded.iter())?;
    Ok(decoded)
}

/// What tells the files of one request from those of another.
pub(crate) fn digests(files: &[Attachment]) -> Vec<(&str, Digest)> {
    files.iter().map(|file| (file.name.as_str(), Digest::of_bytes(&file.bytes))).collect()
}

/// Holds the number of files of a new conversation, uploads included, against the limit.
pub(crate) fn check_count(files: usize) -> Result<(), Problem> {
    if files > limits::MAX_START_FILES {
        return Err(Problem::invalid(format!(
            "a conversation may start with at most {} files; put them into an archive",
            limits::MAX_START_FILES
        )));
    }
    Ok(())
}

/// Holds attachments against the limits.
pub(crate) fn check_attachments<'a>(
    files: impl ExactSizeIterator<Item = &'a Attachment>,
) -> Result<(), Problem> {
    if files.len() > limits::MAX_ATTACHMENTS {
        return Err(Problem::invalid(format!(
            "a message may have at most {} files; put them into an archive",
            limits::MAX_ATTACHMENTS
        )));
    }
    if files.map(|file| file.bytes.len()).sum::<usize>() > limits::MAX_ATTACHMENTS_BYTES {
        return Err(Problem::too_large("the files of a message together", limits::MAX_ATTACHMENTS_BYTES));
    }
    Ok(())
}
