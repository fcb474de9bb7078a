//! `GET /v1/executions/{id}/files` and `/files/{path}`: what a session made.

use std::{collections::HashMap, sync::Arc};

use axum::{
    Json,
    body::Body,
    extract::State,
    response::{IntoResponse, Response},
};
use holdpoint_model::{Digest, EventBody, Execution, ExecutionId, event::ResultFile};
use http::{HeaderValue, StatusCode, header};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use tokio::io::AsyncReadExt as _;
use tokio_util::io::ReaderStream;

use crate::{
    auth::{Act, Caller, execution},
    body::Path,
    files::{may_show, open_inside},
    openapi::{Doc, Gives, Group, Operation},
    problem::Problem,
    state::WebState,
};

pub(super) const FILES: Doc = Doc::new(Group::Files, "listFiles", "List what a conversation made")
    .text("As the last turn left it.")
    .problems(&[(404, "not_found")]);

pub(super) const FILE: Doc = Doc::new(Group::Files, "getFile", "Fetch a file")
    .text("Always as a download of bytes, whatever it claims to be. Links are not followed.")
    .problems(&[(404, "not_found"), (404, "no_such_file")]);

/// What a conversation made.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "FileList")]
pub(super) struct Files {
    items: Vec<FileView>,
    /// How many more there are than are listed.
    omitted: u64,
}

/// A file in a workspace.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "File")]
struct FileView {
    /// Relative to the workspace.
    path: String,
    /// In bytes.
    size: u64,
    /// Null of a file that was too large to be read at the end of a turn.
    digest: Option<Digest>,
    /// Where it is downloaded.
    url: String,
}

/// A file's bytes.
#[derive(Debug)]
pub(super) struct Download(Response);

impl IntoResponse for Download {
    fn into_response(self) -> Response {
        self.0
    }
}

impl Gives for Download {
    fn describe(operation: &mut Operation<'_>) {
        operation.answer(200, "Its bytes.", Some(("application/octet-stream", json!({}))));
        let text = "`attachment`, with the file's name.";
        operation.header(200, "Content-Disposition", text, &json!({ "type": "string" }));
    }
}

pub(super) async fn list(
    State(state): State<WebState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Files>, Problem> {
    let execution = execution(&state, &caller, &id, Act::See).await?;
    let (files, omitted) = collected(&state, &execution).await?;
    let items = files.into_iter().map(|file| FileView {
        url: format!("{}{}", state.base_url, file_path(execution.id, &file.path)),
        path: file.path,
        size: file.size,
        digest: file.digest,
    });
    Ok(Json(Files { items: items.collect(), omitted }))
}

/// The result files as the last turn left them, and how many more there are.
pub(crate) async fn collected(
    state: &WebState,
    execution: &Execution,
) -> Result<(Vec<ResultFile>, u64), Problem> {
    let Some(seq) = execution.files_seq else { return Ok((Vec::new(), 0)) };
    match state.store().event(execution.id, seq).await?.map(|event| event.body) {
        Some(EventBody::FilesCollected { mut files, omitted }) => {
            files.retain(|file| may_show(&execution.definition, &file.path));
            Ok((files, omitted))
        }
        _ => Ok((Vec::new(), 0)),
    }
}

/// The same of many executions, with one look for all of them; those without files are left out.
pub(crate) async fn collected_of_all(
    state: &WebState,
    executions: &HashMap<ExecutionId, Arc<Execution>>,
) -> Result<HashMap<ExecutionId, (Vec<ResultFile>, u64)>, Problem> {
    let places: Vec<_> = executions.values().filter_map(|it| Some((it.id, it.files_seq?))).collect();
    let mut found = HashMap::with_capacity(places.len());
    for event in state.store().events_at(&places).await? {
        if let EventBody::FilesCollected { mut files, omitted } = event.body
            && let Some(execution) = executions.get(&event.execution)
        {
            files.retain(|file| may_show(&execution.definition, &file.path));
            found.insert(event.execution, (files, omitted));
        }
    }
    Ok(found)
}

/// Where a file is downloaded, as a path of this server.
pub(crate) fn file_path(id: impl std::fmt::Display, path: &str) -> String {
    let encoded: Vec<String> = path.split('/').map(encode).collect();
    format!("/v1/executions/{id}/files/{}", encoded.join("/"))
}

/// Percent-encodes everything but unreserved characters.
pub(crate) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

pub(super) async fn download(
    State(state): State<WebState>,
    caller: Caller,
    Path((id, path)): Path<(String, String)>,
) -> Result<Download, Problem> {
    let execution = execution(&state, &caller, &id, Act::See).await?;
    serve_file(&state, &execution, path).await.map(Download)
}

/// A file of an execution's workspace, as a download.
pub(crate) async fn serve_file(
    state: &WebState,
    execution: &Execution,
    path: String,
) -> Result<Response, Problem> {
    let missing = |why: &str| {
        Problem::new(
            StatusCode::NOT_FOUND,
            "no_such_file",
            "there is no such file",
            format!(
                "{why}; `/files` lists what there is, and links and paths out of the workspace are not followed"
            ),
        )
    };
    if !may_show(&execution.definition, &path) {
        return Err(missing("this agent keeps it to itself"));
    }
    let workspace = state.control.workspace(execution.id);
    let name = path.rsplit('/').next().unwrap_or_default().to_owned();
    let opened = tokio::task::spawn_blocking(move || open_inside(&workspace, &path))
        .await
        .map_err(|error| Problem::internal("read a file", &error))?;
    let (file, size) = opened.map_err(|error| missing(&reason(&error)))?;
    // No more than was there when it was opened, or the length would be a lie.
    let body = Body::from_stream(ReaderStream::new(tokio::fs::File::from_std(file).take(size)));
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    // Never shown in our origin, whatever it claims to be: a download, and sandboxed besides.
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; sandbox; frame-ancestors 'none'"),
    );
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(size));
    let disposition = format!("attachment; filename*=UTF-8''{}", encode(&name));
    headers.insert(
        header::CONTENT_DISPOSITION,
        HeaderValue::from_str(&disposition).unwrap_or(HeaderValue::from_static("attachment")),
    );
    Ok(response)
}

fn reason(error: &std::io::Error) -> String {
    match error.raw_os_error() {
        Some(_) if error.kind() == std::io::ErrorKind::NotFound => "nothing is there".to_owned(),
        Some(_) => "it cannot be opened".to_owned(),
        None => error.to_string(),
    }
}
