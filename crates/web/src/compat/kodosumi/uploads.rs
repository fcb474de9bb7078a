//! Files that arrive in pieces, in any order and of no announced size, before anything is started with them. Kept
//! below the data folder, each under an id of ours, never under a name that a client chose. A conversation that is
//! started with them takes them as uploads of `/v1/uploads`, which they become by then.
//!
//! ```text
//! uploads-compat/<batch>/batch.json          whose, since when, taken by which execution
//!                       /<upload>/name.json  the file's name and how many pieces it has
//!                       /<upload>/<n>        a piece
//! uploads-compat/<upload>                    the id of its batch
//! ```

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use holdpoint_control::{Attachment, UPLOAD_QUOTA, check_upload_name};
use holdpoint_model::{ExecutionId, UnixMs, UploadId, UserId};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use uuid::Uuid;

use crate::{auth::Caller, body::check_attachments, limits, problem::Problem, state::WebState};

/// One piece with its form, in bytes.
pub(super) const MAX_CHUNK_BYTES: usize = 16 * 1024 * 1024;

/// Pieces of one file.
const MAX_CHUNKS: u32 = 10_000;

/// Batches of one user that are under way.
const MAX_BATCHES: usize = 50;

/// What has not been taken by then goes. Milliseconds.
const KEPT_MS: UnixMs = 24 * 3600 * 1000;

/// What belongs to one form.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Batch {
    pub(super) id: Uuid,
    owner: UserId,
    created_at: UnixMs,
    /// The execution that has its files.
    pub(super) taken_by: Option<ExecutionId>,
}

/// A file to come.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct NewUpload {
    filename: String,
    total_chunks: u32,
    batch_id: Option<Uuid>,
}

/// A piece of a file.
#[derive(Clone, Debug, Default)]
pub(super) struct Chunk {
    pub(super) upload: String,
    pub(super) number: u32,
    pub(super) bytes: Bytes,
}

/// Files that a form's field names.
#[derive(Debug, Default)]
pub(super) struct Chosen {
    pub(super) batch: Option<Uuid>,
    pub(super) files: Vec<Whole>,
}

/// A file all of whose pieces have come.
#[derive(Debug)]
pub(super) struct Whole {
    name: String,
    pieces: Vec<PathBuf>,
    bytes: u64,
}

/// What a form's field has: a string with JSON in it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Value {
    batch_id: Uuid,
    /// The field's own files of the batch, by their ids; all of it where there are none.
    #[serde(default)]
    items: serde_json::Map<String, serde_json::Value>,
}

/// Work on files, away from the threads that serve everybody; what fails is ours.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Problem> {
    let done = tokio::task::spawn_blocking(work).await.map_err(io::Error::other).flatten();
    done.map_err(|error| Problem::internal("store an upload", &error))
}

fn root(state: &WebState) -> PathBuf {
    state.control.uploads_folder()
}

fn read_json<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(io::Error::other),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whole or not at all.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let draft = path.with_extension(format!("draft-{}", Uuid::new_v4()));
    fs::write(&draft, bytes).and_then(|()| fs::rename(&draft, path)).inspect_err(|_| {
        // The first error is the one to tell.
        let _ = fs::remove_file(&draft);
    })
}

fn write_json(path: &Path, value: &impl Serialize) -> io::Result<()> {
    write(path, &serde_json::to_vec(value)?)
}

fn batch_file(root: &Path, batch: Uuid) -> PathBuf {
    root.join(batch.to_string()).join("batch.json")
}

/// Begins a batch. What is too old goes.
pub(super) async fn begin(state: &WebState, caller: &Caller) -> Result<Uuid, Problem> {
    let (root, now, owner) = (root(state), state.now(), caller.user);
    let batch = Batch { id: Uuid::new_v4(), owner, created_at: now, taken_by: None };
    let id = batch.id;
    let begun = blocking(move || {
        fs::create_dir_all(&root)?;
        if sweep(&root, now, owner)? >= MAX_BATCHES {
            return Ok(false);
        }
        fs::create_dir(root.join(batch.id.to_string()))?;
        write_json(&batch_file(&root, batch.id), &batch)?;
        Ok(true)
    });
    if begun.await? {
        Ok(id)
    } else {
        Err(Problem::invalid(format!(
            "you have {MAX_BATCHES} uploads under way; use them, or wait until they are forgotten in a day"
        )))
    }
}

/// Removes what is too old, and counts what a user has.
fn sweep(root: &Path, now: UnixMs, owner: UserId) -> io::Result<usize> {
    let mut theirs = 0;
    for entry in fs::read_dir(root)? {
        let path = entry?.path();
        if !path.is_dir() {
            continue;
        }
        match read_json::<Batch>(&path.join("batch.json")) {
            Ok(Some(batch)) if batch.created_at + KEPT_MS > now => {
                theirs += usize::from(batch.owner == owner && batch.taken_by.is_none());
            }
            // One that is not whole was cut short, or is being made right now.
            Ok(None) => {}
            _ => forget(root, &path)?,
        }
    }
    Ok(theirs)
}

/// Removes a batch with its uploads.
fn forget(root: &Path, batch: &Path) -> io::Result<()> {
    for upload in uploads_in(batch)? {
        let _ = fs::remove_file(root.join(upload.to_string()));
    }
    fs::remove_dir_all(batch)
}

fn uploads_in(batch: &Path) -> io::Result<Vec<Uuid>> {
    let mut uploads = Vec::new();
    for entry in fs::read_dir(batch)? {
        uploads.extend(entry?.file_name().to_str().and_then(|name| Uuid::parse_str(name).ok()));
    }
    Ok(uploads)
}

/// The batch with this id, if it is the caller's.
pub(super) async fn find(state: &WebState, caller: &Caller, id: &str) -> Result<Batch, Problem> {
    let missing = || Problem::not_found("batch");
    let id: Uuid = id.parse().map_err(|_| missing())?;
    let path = batch_file(&root(state), id);
    let batch: Option<Batch> = blocking(move || read_json(&path)).await?;
    batch.filter(|batch| batch.owner == caller.user).ok_or_else(missing)
}

/// Adds a file to a batch; where none is named, to a new one.
pub(super) async fn add(state: &WebState, caller: &Caller, new: NewUpload) -> Result<(Uuid, Uuid), Problem> {
    check_upload_name(&new.filename)?;
    if new.total_chunks > MAX_CHUNKS {
        return Err(Problem::invalid(format!("`total_chunks` may be at most {MAX_CHUNKS}")));
    }
    let batch = match new.batch_id {
        Some(batch) => find(state, caller, &batch.to_string()).await?.id,
        None => begin(state, caller).await?,
    };
    let (root, upload) = (root(state), Uuid::new_v4());
    let added = blocking(move || {
        let folder = root.join(batch.to_string());
        if uploads_in(&folder)?.len() >= limits::MAX_ATTACHMENTS {
            return Ok(false);
        }
        let folder = folder.join(upload.to_string());
        fs::create_dir(&folder)?;
        write_json(&folder.join("name.json"), &new)?;
        write(&root.join(upload.to_string()), batch.to_string().as_bytes())?;
        Ok(true)
    });
    if !added.await? {
        return Err(Problem::invalid(format!("a batch may have at most {} files", limits::MAX_ATTACHMENTS)));
    }
    Ok((upload, batch))
}

/// The folder of an upload, if it is the caller's and still open.
async fn folder(state: &WebState, caller: &Caller, upload: &str) -> Result<Option<PathBuf>, Problem> {
    let Ok(upload) = upload.parse::<Uuid>() else { return Ok(None) };
    let (root, user) = (root(state), caller.user);
    blocking(move || {
        let batch = match fs::read_to_string(root.join(upload.to_string())) {
            Ok(batch) => batch.parse::<Uuid>().map_err(io::Error::other)?,
            // A batch's folder has such a name, too.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::IsADirectory) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let known: Option<Batch> = read_json(&batch_file(&root, batch))?;
        let is_open = known.is_some_and(|batch| batch.owner == user && batch.taken_by.is_none());
        Ok(is_open.then(|| root.join(batch.to_string()).join(upload.to_string())))
    })
    .await
}

/// Takes a piece; the same one again takes its place. How many there are now; None for an unknown upload.
pub(super) async fn put(state: &WebState, caller: &Caller, chunk: Chunk) -> Result<Option<usize>, Problem> {
    let Some(folder) = folder(state, caller, &chunk.upload).await? else { return Ok(None) };
    state.control.check_room_for_upload(chunk.bytes.len() as u64).await?;
    let put = blocking(move || {
        let Some(upload) = read_json::<NewUpload>(&folder.join("name.json"))? else { return Ok(Ok(None)) };
        if chunk.number >= upload.total_chunks {
            return Ok(Err(Problem::invalid(format!(
                "`chunk_number` goes from 0 to {}",
                upload.total_chunks
            ))));
        }
        let own = folder.join(chunk.number.to_string());
        let others = |folder: &Path| -> io::Result<Vec<PathBuf>> {
            Ok(pieces(folder)?.into_iter().filter(|piece| *piece != own).collect())
        };
        let count = others(&folder)?.len() + 1;
        let mut bytes = chunk.bytes.len() as u64;
        let batch = folder.parent().unwrap_or(&folder);
        for upload in uploads_in(batch)? {
            for piece in others(&batch.join(upload.to_string()))? {
                bytes += fs::metadata(piece)?.len();
            }
        }
        if bytes > UPLOAD_QUOTA.bytes {
            return Ok(Err(Problem::invalid(format!(
                "a batch may have at most {} bytes",
                UPLOAD_QUOTA.bytes
            ))));
        }
        write(&own, &chunk.bytes)?;
        Ok(Ok(Some(count)))
    });
    put.await?
}

fn pieces(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut pieces = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let is_piece =
            path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.parse::<u32>().is_ok());
        pieces.extend(is_piece.then_some(path));
    }
    Ok(pieces)
}

/// Forgets an upload; whether there was one.
pub(super) async fn cancel(state: &WebState, caller: &Caller, upload: &str) -> Result<bool, Problem> {
    let Some(folder) = folder(state, caller, upload).await? else { return Ok(false) };
    let link = root(state).join(folder.file_name().unwrap_or_default());
    blocking(move || {
        fs::remove_file(link)?;
        fs::remove_dir_all(folder)
    })
    .await?;
    Ok(true)
}

/// The files of a form's value, or what is wrong with it. Empty values are no files.
pub(super) async fn chosen(
    state: &WebState,
    caller: &Caller,
    value: &str,
) -> Result<Result<Chosen, String>, Problem> {
    if value.trim().is_empty() {
        return Ok(Ok(Chosen::default()));
    }
    let Ok(Value { batch_id, items }) = serde_json::from_str(value) else {
        return Ok(Err("send JSON with the `batchId` that /files/init_batch gave".into()));
    };
    let batch = match find(state, caller, &batch_id.to_string()).await {
        Ok(batch) if batch.taken_by.is_none() => batch,
        Ok(_) => return Ok(Err("these files were used already; upload them again".into())),
        Err(problem) if problem.status.is_client_error() => return Ok(Err("there is no such batch".into())),
        Err(problem) => return Err(problem),
    };
    let wanted = items.into_iter().map(|(id, _)| id.parse::<Uuid>()).collect::<Result<Vec<_>, _>>();
    let Ok(wanted) = wanted else { return Ok(Err("the `items` go by the ids that /files/init gave".into())) };
    let files = whole(state, &batch, wanted).await?;
    Ok(files.map(|files| Chosen { batch: Some(batch_id), files }))
}

/// These files of a batch, or all where none is named; or which one is not there yet.
async fn whole(
    state: &WebState,
    batch: &Batch,
    wanted: Vec<Uuid>,
) -> Result<Result<Vec<Whole>, String>, Problem> {
    let folder = root(state).join(batch.id.to_string());
    blocking(move || look(&folder, &wanted)).await
}

fn look(batch: &Path, wanted: &[Uuid]) -> io::Result<Result<Vec<Whole>, String>> {
    let there = uploads_in(batch)?;
    if let Some(missing) = wanted.iter().find(|id| !there.contains(id)) {
        return Ok(Err(format!("the batch has no upload {missing}")));
    }
    let mut files = Vec::new();
    for id in there.into_iter().filter(|id| wanted.is_empty() || wanted.contains(id)) {
        let folder = batch.join(id.to_string());
        let Some(upload) = read_json::<NewUpload>(&folder.join("name.json"))? else { continue };
        let (mut pieces, mut bytes) = (Vec::new(), 0);
        for n in 0..upload.total_chunks {
            let piece = folder.join(n.to_string());
            match fs::metadata(&piece) {
                Ok(metadata) => bytes += metadata.len(),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    let (name, total) = (&upload.filename, upload.total_chunks);
                    return Ok(Err(format!("{name} is not whole: piece {n} of {total} is missing")));
                }
                Err(error) => return Err(error),
            }
            pieces.push(piece);
        }
        files.push(Whole { name: upload.filename, pieces, bytes });
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Ok(files))
}

/// The files of a batch for a conversation that goes on already; they go with one message.
pub(super) async fn read_batch(state: &WebState, batch: &Batch) -> Result<Vec<Attachment>, Problem> {
    let files = whole(state, batch, Vec::new()).await?.map_err(Problem::invalid)?;
    read_all(files).await
}

/// What is in these files.
pub(super) async fn read_all(files: Vec<Whole>) -> Result<Vec<Attachment>, Problem> {
    let total: u64 = files.iter().map(|file| file.bytes).sum();
    if total > limits::MAX_ATTACHMENTS_BYTES as u64 {
        return Err(Problem::too_large("the files of a message together", limits::MAX_ATTACHMENTS_BYTES));
    }
    let read = blocking(move || {
        let read = |file: Whole| {
            let pieces = file.pieces.iter().map(fs::read).collect::<io::Result<Vec<_>>>()?;
            Ok(Attachment { name: file.name, bytes: pieces.concat().into() })
        };
        files.into_iter().map(read).collect::<io::Result<Vec<_>>>()
    });
    let read = read.await?;
    check_attachments(read.iter())?;
    Ok(read)
}

/// Makes these files uploads that a conversation can take; all or none.
pub(super) async fn keep(
    state: &WebState,
    caller: &Caller,
    files: Vec<Whole>,
) -> Result<Vec<UploadId>, Problem> {
    let mut kept = Vec::new();
    for file in files {
        if let Err(problem) = keep_one(state, caller, file, &mut kept).await {
            give_up(state, caller, kept).await;
            return Err(problem);
        }
    }
    Ok(kept)
}

async fn keep_one(
    state: &WebState,
    caller: &Caller,
    file: Whole,
    kept: &mut Vec<UploadId>,
) -> Result<(), Problem> {
    let upload = state.control.begin_upload(caller.user, file.name, file.bytes).await?;
    kept.push(upload.id);
    let pieces =
        stream::iter(file.pieces).then(|piece| async { tokio::fs::read(piece).await.map(Bytes::from) });
    let upload = state.control.write_upload(caller.user, upload.id, 0, pieces).await?;
    // A piece was sent again meanwhile, and is another one now.
    if upload.is_whole() { Ok(()) } else { Err(Problem::invalid("the files changed while they were used")) }
}

/// Uploads that no conversation has taken after all. What cannot be removed now is given up in a day.
pub(super) async fn give_up(state: &WebState, caller: &Caller, uploads: Vec<UploadId>) {
    for upload in uploads {
        if let Err(error) = state.control.give_up_upload(caller.user, upload).await {
            tracing::warn!(%error, %upload, "failed to give up an upload");
        }
    }
}

/// Notes which execution has the files; the pieces go.
pub(super) async fn taken(state: &WebState, batch: Uuid, by: ExecutionId) -> Result<(), Problem> {
    let root = root(state);
    blocking(move || {
        let path = batch_file(&root, batch);
        let Some(mut known) = read_json::<Batch>(&path)? else { return Ok(()) };
        known.taken_by = Some(by);
        write_json(&path, &known)?;
        let folder = root.join(batch.to_string());
        for upload in uploads_in(&folder)? {
            fs::remove_file(root.join(upload.to_string()))?;
            fs::remove_dir_all(folder.join(upload.to_string()))?;
        }
        Ok(())
    })
    .await
}
