//! Files that arrive in pieces, in any order, before anything is started with them. Kept below the data
//! folder, each under an id of ours, never under a name that a client chose:
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
use holdpoint_control::Attachment;
use holdpoint_model::{ExecutionId, UnixMs, UserId};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use uuid::Uuid;

use crate::{auth::Caller, body::check_attachments, limits, problem::Problem, state::WebState};

/// One piece with its form, in bytes.
pub(super) const MAX_CHUNK_BYTES: usize = 16 * 1024 * 1024;

/// Pieces of one file.
const MAX_CHUNKS: u32 = 10_000;

/// The longest name of a file, folders included, in bytes.
const MAX_NAME_BYTES: usize = 1_000;

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

/// Files that a form names.
#[derive(Debug, Default)]
pub(super) struct Attached {
    pub(super) batch: Option<Uuid>,
    pub(super) files: Vec<Attachment>,
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
    check_name(&new.filename).map_err(Problem::invalid)?;
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

/// A name may have folders in it, and lead nowhere else.
fn check_name(name: &str) -> Result<(), String> {
    let is_plain = !name.is_empty()
        && name.len() <= MAX_NAME_BYTES
        && !name.contains(['\\', '\0'])
        && !name.chars().any(char::is_control)
        && name.split('/').all(|part| !matches!(part, "" | "." | ".."));
    if is_plain {
        Ok(())
    } else {
        Err(format!(
            "`filename` must be a relative path of at most {MAX_NAME_BYTES} bytes, without `..`, backslashes or control characters"
        ))
    }
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
        // All of a batch goes with one message.
        let mut bytes = chunk.bytes.len() as u64;
        let batch = folder.parent().unwrap_or(&folder);
        for upload in uploads_in(batch)? {
            for piece in others(&batch.join(upload.to_string()))? {
                bytes += fs::metadata(piece)?.len();
            }
        }
        if bytes > limits::MAX_ATTACHMENTS_BYTES as u64 {
            return Ok(Err(Problem::too_large("the files together", limits::MAX_ATTACHMENTS_BYTES)));
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
pub(super) async fn attached(
    state: &WebState,
    caller: &Caller,
    value: &str,
) -> Result<Result<Attached, String>, Problem> {
    if value.trim().is_empty() {
        return Ok(Ok(Attached::default()));
    }
    let id = serde_json::from_str::<Value>(value)
        .ok()
        .and_then(|value| value["batchId"].as_str().and_then(|id| id.parse::<Uuid>().ok()));
    let Some(id) = id else {
        return Ok(Err("send JSON with the `batchId` that /files/init_batch gave".into()));
    };
    let batch = match find(state, caller, &id.to_string()).await {
        Ok(batch) if batch.taken_by.is_none() => batch,
        Ok(_) => return Ok(Err("these files were used already; upload them again".into())),
        Err(problem) if problem.status.is_client_error() => return Ok(Err("there is no such batch".into())),
        Err(problem) => return Err(problem),
    };
    let files = whole(state, &batch).await?;
    Ok(files.map(|files| Attached { batch: Some(id), files }))
}

/// The files of a batch, put together; or which one is not there yet.
pub(super) async fn whole(
    state: &WebState,
    batch: &Batch,
) -> Result<Result<Vec<Attachment>, String>, Problem> {
    let folder = root(state).join(batch.id.to_string());
    let files = match blocking(move || read_all(&folder)).await? {
        Ok(files) => files,
        Err(why) => return Ok(Err(why)),
    };
    Ok(check_attachments(files.iter()).map(|()| files).map_err(|problem| problem.detail))
}

fn read_all(batch: &Path) -> io::Result<Result<Vec<Attachment>, String>> {
    let (mut files, mut total) = (Vec::new(), 0);
    for upload in uploads_in(batch)? {
        let folder = batch.join(upload.to_string());
        let Some(upload) = read_json::<NewUpload>(&folder.join("name.json"))? else { continue };
        let mut bytes = Vec::new();
        for n in 0..upload.total_chunks {
            match fs::read(folder.join(n.to_string())) {
                Ok(piece) => bytes.extend(piece),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    let (name, total) = (&upload.filename, upload.total_chunks);
                    return Ok(Err(format!("{name} is not whole: piece {n} of {total} is missing")));
                }
                Err(error) => return Err(error),
            }
        }
        total += bytes.len();
        if total > limits::MAX_ATTACHMENTS_BYTES {
            return Ok(Err(Problem::too_large("the files together", limits::MAX_ATTACHMENTS_BYTES).detail));
        }
        files.push(Attachment { name: upload.filename, bytes: bytes.into() });
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Ok(files))
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

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("a.txt", true)]
    #[case("docs/a b.txt", true)]
    #[case("", false)]
    #[case("../a", false)]
    #[case("a/../../b", false)]
    #[case("/etc/passwd", false)]
    #[case("a//b", false)]
    #[case("a\\b", false)]
    #[case("a\0b", false)]
    #[case("a\nb", false)]
    fn names_lead_nowhere_else(#[case] name: &str, #[case] fits: bool) {
        assert_eq!(check_name(name).is_ok(), fits);
    }
}
