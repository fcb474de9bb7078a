//! `/files/…`: what people attached (`in`), what the session made (`out`), and uploads in pieces.

use std::{collections::BTreeMap, io, os::unix::ffi::OsStrExt as _};

use axum::{
    Json,
    extract::{FromRequest as _, Multipart, Request, State},
    response::{IntoResponse as _, Response},
};
use holdpoint_beneath::{FileType, Folder, Found, Stat, Walk, kind, walk};
use holdpoint_model::{Event, EventBody, Execution, ExecutionId};
use http::{HeaderValue, StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    client::Client,
    run,
    uploads::{self, Batch, Chunk, NewUpload},
};
use crate::{
    auth::{Act, Caller},
    body::{self, Path, read},
    collected, encode,
    files::may_show,
    problem::Problem,
    serve_file,
    state::WebState,
};

/// Where attached files are in a workspace.
const ATTACHMENTS: &str = "attachments";

/// Files listed at most.
const MAX_LISTED: usize = 10_000;

/// A file that somebody attached.
#[derive(Debug)]
pub(super) struct Attached {
    /// As that API has it: `in/…`.
    pub(super) path: String,
    /// Bytes.
    pub(super) size: u64,
    /// Seconds.
    last_modified: f64,
}

impl Attached {
    fn view(&self) -> Value {
        json!({ "path": self.path, "size": self.size, "last_modified": self.last_modified })
    }
}

/// How that API calls a file of the workspace that was attached.
pub(super) fn shown_in(path: &str) -> String {
    format!("in/{}", path.strip_prefix("attachments/").unwrap_or(path))
}

/// A path of that API as one of the workspace.
fn in_workspace(path: &str) -> Result<String, Problem> {
    match path.split_once('/') {
        Some(("in", rest)) => Ok(format!("{ATTACHMENTS}/{rest}")),
        Some(("out", rest)) => Ok(rest.to_owned()),
        _ => Err(bad_root()),
    }
}

fn bad_root() -> Problem {
    Problem::invalid("Invalid directory type. Must be one of: in, out")
}

fn no_file(execution: &Execution, path: &str) -> Problem {
    let detail = format!("'{path}' not found for flow {}", execution.id);
    Problem::new(StatusCode::NOT_FOUND, "not_found", "not found", detail)
}

/// Work on files, away from the threads that serve everybody.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<io::Result<T>, Problem> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Problem::internal("look at files", &error))
}

/// `GET /files/{fid}/{in|out}` lists, `GET /files/{fid}/{path}` downloads.
pub(super) async fn get(
    State(state): State<WebState>,
    Client(caller): Client,
    Path((fid, path)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let execution = run::find(&state, &caller, &fid, Act::See).await?;
    match path.trim_end_matches('/') {
        "in" => {
            let files = attached(&state, &execution).await?;
            Ok(Json(files.iter().map(Attached::view).collect::<Vec<_>>()).into_response())
        }
        "out" => Ok(Json(made(&state, &execution).await?).into_response()),
        path => download(&state, &execution, path).await,
    }
}

/// The result files as the last turn left them.
async fn made(state: &WebState, execution: &Execution) -> Result<Vec<Value>, Problem> {
    let (files, _) = collected(state, execution).await?;
    let at = run::seconds(execution.ended_at.unwrap_or(execution.updated_at));
    let view = |file: &holdpoint_model::event::ResultFile| json!({ "path": format!("out/{}", file.path), "size": file.size, "last_modified": at });
    Ok(files.iter().map(view).collect())
}

async fn download(state: &WebState, execution: &Execution, path: &str) -> Result<Response, Problem> {
    let inside = in_workspace(path)?;
    let mut response =
        serve_file(state, execution, inside).await.map_err(|problem| match problem.status {
            StatusCode::NOT_FOUND => no_file(execution, path),
            _ => problem,
        })?;
    let name = path.rsplit('/').next().unwrap_or_default();
    // A name that needs no quoting is also told in the old way, which some of these clients read.
    if name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_')) {
        let disposition = format!("attachment; filename=\"{name}\"; filename*=UTF-8''{}", encode(name));
        if let Ok(value) = HeaderValue::from_str(&disposition) {
            response.headers_mut().insert(header::CONTENT_DISPOSITION, value);
        }
    }
    Ok(response)
}

/// `DELETE /files/{fid}/{path}`.
pub(super) async fn delete(
    State(state): State<WebState>,
    Client(caller): Client,
    Path((fid, path)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    let execution = run::find(&state, &caller, &fid, Act::Steer).await?;
    let inside = in_workspace(&path)?;
    if !may_show(&execution.definition, &inside) {
        return Err(no_file(&execution, &path));
    }
    let workspace = state.control.workspace(execution.id);
    let removed = blocking(move || {
        let folder = Folder::open(&workspace)?;
        // Only what could be downloaded.
        folder.file(&inside)?;
        folder.remove_file(&inside)
    });
    removed.await?.map_err(|_| no_file(&execution, &path))?;
    Ok(StatusCode::NO_CONTENT)
}

/// What people attached that is still there.
pub(super) async fn attached(state: &WebState, execution: &Execution) -> Result<Vec<Attached>, Problem> {
    let workspace = state.control.workspace(execution.id);
    let mut files = blocking(move || attachments(&workspace)).await?.unwrap_or_default();
    files
        .retain(|file| in_workspace(&file.path).is_ok_and(|inside| may_show(&execution.definition, &inside)));
    Ok(files)
}

fn attachments(workspace: &std::path::Path) -> io::Result<Vec<Attached>> {
    let mut files = Vec::new();
    let folder = Folder::open(workspace)?.folder(ATTACHMENTS)?;
    walk(&folder, MAX_LISTED, &|_, _| true, &mut |path, found| {
        if let Found::Other { stat, .. } = found
            && kind(stat) == FileType::RegularFile
            && let Ok(path) = std::str::from_utf8(path.as_os_str().as_bytes())
        {
            let (size, last_modified) = measured(stat);
            files.push(Attached { path: format!("in/{path}"), size, last_modified });
        }
        Walk::Continue
    })?;
    Ok(files)
}

fn measured(stat: &Stat) -> (u64, f64) {
    (u64::try_from(stat.st_size).unwrap_or_default(), run::seconds(stat.st_mtime.saturating_mul(1000)))
}

/// The files that these messages brought, by their paths in the workspace, as far as they are there.
pub(super) async fn sizes(
    state: &WebState,
    id: ExecutionId,
    events: impl IntoIterator<Item = &Event>,
) -> BTreeMap<String, (u64, f64)> {
    let named: Vec<String> = events
        .into_iter()
        .filter_map(|event| match &event.body {
            EventBody::MessageQueued(message) => Some(message.files.clone()),
            _ => None,
        })
        .flatten()
        .collect();
    if named.is_empty() {
        return BTreeMap::new();
    }
    let workspace = state.control.workspace(id);
    let looked = blocking(move || {
        let folder = Folder::open(&workspace)?;
        let sizes = named.into_iter().filter_map(|path| {
            let stat = folder.stat(&path).ok()?;
            Some((path, measured(&stat)))
        });
        Ok(sizes.collect())
    });
    looked.await.ok().and_then(Result::ok).unwrap_or_default()
}

/// `POST /files/init_batch`.
pub(super) async fn init_batch(
    State(state): State<WebState>,
    Client(caller): Client,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let batch = uploads::begin(&state, &caller).await?;
    Ok((StatusCode::CREATED, Json(json!({ "batch_id": batch }))))
}

/// `POST /files/init`.
pub(super) async fn init(
    State(state): State<WebState>,
    Client(caller): Client,
    body::Json(new): body::Json<NewUpload>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let (upload, batch) = uploads::add(&state, &caller, new).await?;
    Ok((StatusCode::CREATED, Json(json!({ "upload_id": upload, "batch_id": batch }))))
}

/// `POST /files/chunk`: a form with `upload_id`, `chunk_number` and `chunk`.
pub(super) async fn chunk(
    State(state): State<WebState>,
    Client(caller): Client,
    request: Request,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let chunk = multipart(&state, request).await?;
    let number = chunk.number;
    let answer = match uploads::put(&state, &caller, chunk).await? {
        Some(received) => {
            json!({ "status": "chunk received", "chunk_number": number, "received_chunks": received })
        }
        None => json!({ "error": "Invalid upload ID - upload not initialized" }),
    };
    Ok((StatusCode::CREATED, Json(answer)))
}

async fn multipart(state: &WebState, request: Request) -> Result<Chunk, Problem> {
    let malformed = |why: String| {
        Problem::new(StatusCode::BAD_REQUEST, "malformed_form", "the form did not arrive whole", why)
    };
    let (parts, body) = request.into_parts();
    let bytes = read(Request::from_parts(parts.clone(), body), uploads::MAX_CHUNK_BYTES).await?;
    let request = Request::from_parts(parts, bytes.into());
    let mut form = Multipart::from_request(request, state)
        .await
        .map_err(|rejection| malformed(rejection.body_text()))?;
    let mut chunk = Chunk::default();
    let mut has_number = false;
    while let Some(field) = form.next_field().await.map_err(|error| malformed(error.body_text()))? {
        let name = field.name().unwrap_or_default().to_owned();
        let bytes = field.bytes().await.map_err(|error| malformed(error.body_text()))?;
        let text = || std::str::from_utf8(&bytes).unwrap_or_default().trim().to_owned();
        match name.as_str() {
            "upload_id" => chunk.upload = text(),
            "chunk_number" => {
                let number =
                    text().parse().map_err(|_| Problem::invalid("`chunk_number` must be a number"))?;
                (chunk.number, has_number) = (number, true);
            }
            "chunk" => chunk.bytes = bytes,
            _ => {}
        }
    }
    if chunk.upload.is_empty() || !has_number {
        return Err(Problem::invalid("send a form with `upload_id`, `chunk_number` and `chunk`"));
    }
    Ok(chunk)
}

/// `DELETE /files/cancel/{upload_id}`.
pub(super) async fn cancel(
    State(state): State<WebState>,
    Client(caller): Client,
    Path(upload): Path<String>,
) -> Result<StatusCode, Problem> {
    if uploads::cancel(&state, &caller, &upload).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Problem::not_found("upload"))
    }
}

/// `POST /files/complete/{fid}/{batch_id}/{in|out}`: puts a batch into an execution's workspace. One that was
/// given to this execution before is left as it is.
pub(super) async fn complete_batch(
    State(state): State<WebState>,
    Client(caller): Client,
    Path((fid, batch, dir)): Path<(String, String, String)>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    complete_in(&state, &caller, &fid, &batch, &dir).await
}

#[derive(Debug, Deserialize)]
pub(super) struct Completed {
    fid: String,
    #[serde(alias = "batchId")]
    batch_id: String,
}

/// `POST /files/complete/{in|out}`: the same, with the names in the body.
pub(super) async fn complete(
    State(state): State<WebState>,
    Client(caller): Client,
    Path(dir): Path<String>,
    body::Json(Completed { fid, batch_id }): body::Json<Completed>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    complete_in(&state, &caller, &fid, &batch_id, &dir).await
}

async fn complete_in(
    state: &WebState,
    caller: &Caller,
    fid: &str,
    batch: &str,
    dir: &str,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let execution = run::find(state, caller, fid, Act::Steer).await?;
    match dir {
        "in" => {}
        "out" => {
            return Err(Problem::invalid(
                "what a conversation has made is not uploaded; put files in with `in`",
            ));
        }
        _ => return Err(bad_root()),
    }
    let batch: Batch = uploads::find(state, caller, batch).await?;
    if batch.taken_by != Some(execution.id) {
        let files = uploads::read_batch(state, &batch).await?;
        state.control.attach(execution.id, files).await?;
        uploads::taken(state, batch.id, execution.id).await?;
    }
    let files = attached(state, &execution).await?;
    Ok((StatusCode::CREATED, Json(files.iter().map(Attached::view).collect())))
}
