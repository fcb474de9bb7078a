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
    response::{IntoResponse, Response},
};
use holdpoint_control::{MAX_UPLOAD_BYTES, UPLOAD_KEPT_MS, UPLOAD_QUOTA};
use holdpoint_model::UploadId;
use holdpoint_store::Upload;
use http::{HeaderName, StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    auth::Caller,
    body,
    body::{Path, Query},
    problem::Problem,
    state::WebState,
    time,
};

const OFFSET: HeaderName = HeaderName::from_static("upload-offset");
const LENGTH: HeaderName = HeaderName::from_static("upload-length");

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct New {
    /// A file name, or a path below the folder that was chosen.
    name: String,
    /// In bytes.
    size: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct At {
    /// Where the chunk begins, in bytes.
    offset: u64,
}

pub(super) async fn begin(
    State(state): State<WebState>,
    caller: Caller,
    body::Json(new): body::Json<New>,
) -> Result<Response, Problem> {
    caller.check_start()?;
    let upload = state.control.begin_upload(caller.user, new.name, new.size).await?;
    let location = format!("/v1/uploads/{}", upload.id);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], answer(&upload)).into_response())
}

pub(super) async fn list(State(state): State<WebState>, caller: Caller) -> Result<Json<Value>, Problem> {
    let uploads = state.store().uploads(caller.user).await?;
    let items: Vec<Value> = uploads.iter().map(view).collect();
    Ok(Json(json!({
        "items": items,
        "limits": {
            "file_bytes": MAX_UPLOAD_BYTES,
            "files": UPLOAD_QUOTA.files,
            "bytes": UPLOAD_QUOTA.bytes,
        },
    })))
}

pub(super) async fn show(
    State(state): State<WebState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    Ok(answer(&state.control.upload(caller.user, parse(&id)?).await?).into_response())
}

pub(super) async fn chunk(
    State(state): State<WebState>,
    caller: Caller,
    Path(id): Path<String>,
    Query(at): Query<At>,
    body: Body,
) -> Result<Response, Problem> {
    caller.check_start()?;
    let chunk = body.into_data_stream();
    Ok(answer(&state.control.write_upload(caller.user, parse(&id)?, at.offset, chunk).await?).into_response())
}

pub(super) async fn give_up(
    State(state): State<WebState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    state.control.give_up_upload(caller.user, parse(&id)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn parse(id: &str) -> Result<UploadId, Problem> {
    id.parse().map_err(|_| Problem::not_found("upload"))
}

fn answer(upload: &Upload) -> impl IntoResponse + use<> {
    let headers = [
        (OFFSET, upload.received_bytes.to_string()),
        (LENGTH, upload.size_bytes.to_string()),
        (header::CACHE_CONTROL, "no-store".to_owned()),
    ];
    (headers, Json(view(upload)))
}

fn view(upload: &Upload) -> Value {
    json!({
        "id": upload.id,
        "name": upload.name,
        "size": upload.size_bytes,
        "received": upload.received_bytes,
        "complete": upload.is_whole(),
        "created_at": time::rfc3339(upload.created_at),
        "expires_at": time::rfc3339(upload.changed_at + UPLOAD_KEPT_MS),
    })
}
