//! `/v1/uploads`: files that come in chunks, before a conversation takes them.
//!
//! `POST` with a name and a size begins one; `PUT …/{id}?offset=N` sends what goes on at `N`, as much as the client
//! likes; `HEAD` or `GET` says how far it is, also in the header `Upload-Offset`; `DELETE` gives it up. It is whole
//! when all of its size has come, and `POST /v1/executions` names it in `uploads`. A day after something of it came
//! last it is given up.

use axum::{
    Json,
    body::Body,
    extract::State,
    response::{IntoResponse, NoContent, Response},
};
use holdpoint_control::{MAX_UPLOAD_BYTES, UPLOAD_KEPT_MS, UPLOAD_QUOTA};
use holdpoint_model::{TokenScope, UploadId};
use holdpoint_store::Upload;
use http::{HeaderName, StatusCode, header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    auth::Caller,
    body,
    body::{Path, Query},
    openapi::{Doc, Gives, Group, Operation},
    problem::Problem,
    state::WebState,
    time::At,
};

pub(super) const UPLOADS: Doc = Doc::new(Group::Files, "listUploads", "List one's uploads")
    .text("Those that no conversation has taken yet, and how much there may be of them.");

pub(super) const BEGIN: Doc = Doc::new(Group::Files, "beginUpload", "Begin to upload a file")
    .text("A day after something of it came last it is given up.")
    .scope(TokenScope::Start)
    .problems(&[(409, "too_many_uploads"), (507, "disk_full")])
    .example(r#"{"name": "report.pdf", "size": 1024}"#);

pub(super) const UPLOAD: Doc = Doc::new(Group::Files, "getUpload", "Look how far an upload is")
    .text("`HEAD` is enough: the headers say it too.")
    .problems(&[(404, "not_found")]);

pub(super) const CHUNK: Doc = Doc::new(Group::Files, "putChunk", "Send what goes on at an offset")
    .text(
        "As much as one likes. What has come already is compared and may be sent again. It is whole when all of its \
         size has come, and `POST /v1/executions` names it in `uploads`.",
    )
    .scope(TokenScope::Start)
    .problems(&[
        (400, "incomplete_body"),
        (404, "not_found"),
        (409, "busy"),
        (409, "different_content"),
        (409, "wrong_offset"),
        (413, "too_large"),
        (507, "disk_full"),
    ]);

pub(super) const GIVE_UP: Doc =
    Doc::new(Group::Files, "giveUpUpload", "Give an upload up").problems(&[(404, "not_found")]);

/// A file that comes in chunks.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Upload")]
pub(super) struct UploadView {
    id: UploadId,
    name: String,
    /// In bytes.
    size: u64,
    /// How much of it is on the disk for sure.
    received: u64,
    complete: bool,
    created_at: At,
    /// When it is given up, unless more of it comes.
    expires_at: At,
}

/// One's uploads.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "UploadList")]
pub(super) struct Uploads {
    items: Vec<UploadView>,
    limits: Limits,
}

/// How much there may be.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "UploadLimits")]
struct Limits {
    /// Of one file.
    file_bytes: u64,
    /// Of one user.
    files: u64,
    /// Of one user.
    bytes: u64,
}

/// How far an upload is, also in its headers.
#[derive(Debug)]
pub(super) struct Progress {
    status: StatusCode,
    view: UploadView,
}

/// The same of a new one.
#[derive(Debug)]
pub(super) struct Begun(Progress);

impl IntoResponse for Progress {
    fn into_response(self) -> Response {
        let headers = [
            (OFFSET, self.view.received.to_string()),
            (LENGTH, self.view.size.to_string()),
            (header::CACHE_CONTROL, "no-store".to_owned()),
        ];
        (self.status, headers, Json(self.view)).into_response()
    }
}

impl IntoResponse for Begun {
    fn into_response(self) -> Response {
        let location = format!("/v1/uploads/{}", self.0.view.id);
        ([(header::LOCATION, location)], self.0).into_response()
    }
}

impl Gives for Progress {
    fn describe(operation: &mut Operation<'_>) {
        describe(operation, 200);
    }
}

impl Gives for Begun {
    fn describe(operation: &mut Operation<'_>) {
        describe(operation, 201);
        let address = json!({ "type": "string", "format": "uri-reference" });
        operation.header(201, "Location", "Its address.", &address);
    }
}

fn describe(operation: &mut Operation<'_>, status: u16) {
    let schema = operation.schema_of::<UploadView>();
    operation.answer(status, "How far it is.", Some(("application/json", schema)));
    let bytes = json!({ "type": "integer", "minimum": 0 });
    operation.header(status, "Upload-Offset", "Bytes that have come.", &bytes);
    operation.header(status, "Upload-Length", "All of its bytes.", &bytes);
}

const OFFSET: HeaderName = HeaderName::from_static("upload-offset");
const LENGTH: HeaderName = HeaderName::from_static("upload-length");

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct New {
    /// A file name, or a path below the folder that was chosen.
    name: String,
    /// In bytes.
    size: u64,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Place {
    /// Where the chunk begins, in bytes.
    #[schemars(range(max = u64::MAX))]
    offset: u64,
}

pub(super) async fn begin(
    State(state): State<WebState>,
    caller: Caller,
    body::Json(new): body::Json<New>,
) -> Result<Begun, Problem> {
    caller.check_start()?;
    let upload = state.control.begin_upload(caller.user, new.name, new.size).await?;
    Ok(Begun(Progress { status: StatusCode::CREATED, view: view(upload) }))
}

pub(super) async fn list(State(state): State<WebState>, caller: Caller) -> Result<Json<Uploads>, Problem> {
    let uploads = state.store().uploads(caller.user).await?;
    let limits =
        Limits { file_bytes: MAX_UPLOAD_BYTES, files: UPLOAD_QUOTA.files, bytes: UPLOAD_QUOTA.bytes };
    Ok(Json(Uploads { items: uploads.into_iter().map(view).collect(), limits }))
}

pub(super) async fn show(
    State(state): State<WebState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Progress, Problem> {
    Ok(progress(state.control.upload(caller.user, parse(&id)?).await?))
}

pub(super) async fn chunk(
    State(state): State<WebState>,
    caller: Caller,
    Path(id): Path<String>,
    Query(at): Query<Place>,
    body: Body,
) -> Result<Progress, Problem> {
    caller.check_start()?;
    let chunk = body.into_data_stream();
    Ok(progress(state.control.write_upload(caller.user, parse(&id)?, at.offset, chunk).await?))
}

pub(super) async fn give_up(
    State(state): State<WebState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<NoContent, Problem> {
    state.control.give_up_upload(caller.user, parse(&id)?).await?;
    Ok(NoContent)
}

fn parse(id: &str) -> Result<UploadId, Problem> {
    id.parse().map_err(|_| Problem::not_found("upload"))
}

fn progress(upload: Upload) -> Progress {
    Progress { status: StatusCode::OK, view: view(upload) }
}

fn view(upload: Upload) -> UploadView {
    UploadView {
        id: upload.id,
        complete: upload.is_whole(),
        name: upload.name,
        size: upload.size_bytes,
        received: upload.received_bytes,
        created_at: At(upload.created_at),
        expires_at: At(upload.changed_at + UPLOAD_KEPT_MS),
    }
}
