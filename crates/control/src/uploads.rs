//! Files that come in chunks before a conversation takes them, however often the line breaks in between.
//!
//! The content is in `uploads/ID` of the data folder; what is known of it is a row of the log's database. A chunk
//! is on the disk before its row says so, and its row says so before anybody is told: what was acknowledged
//! survives any crash.
//!
//! A conversation takes uploads exactly once: the transaction that creates it marks their rows. From then on the
//! files belong to it, and are renamed into its workspace, which never copies and may be done again: by whoever
//! started the conversation, before its worker starts, and by the hourly sweep. The row goes when the file is there.

use std::{
    collections::HashSet,
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    path::Path,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use holdpoint_beneath::Folder;
use holdpoint_model::{ExecutionId, UnixMs, UploadId, UserId};
use holdpoint_store::{NewUpload, StoreError, Taken, Upload, UploadBegun, UploadQuota};
use thiserror::Error;
use tracing::{info, warn};
use uuid::Uuid;

use crate::{Attachment, Control, Inner, attach, commands::blocking, layout::create_private, lock, space};

/// The longest file. Workspaces are checkpointed and backed up whole.
pub const MAX_UPLOAD_BYTES: u64 = 16 << 30;

/// What one person may have uploaded and not yet used.
pub const UPLOAD_QUOTA: UploadQuota = UploadQuota { files: 1_000, bytes: 32 << 30 };

/// An upload of which nothing has come for so long is given up: a day.
pub const UPLOAD_KEPT_MS: UnixMs = 24 * 3600 * 1000;

/// Written to the disk at once: what a chunk takes of memory, however long it is.
const PIECE_BYTES: usize = 1 << 20;

/// Files looked at by one sweep.
const MAX_SWEPT: usize = 100_000;

/// Why something about an upload was not done.
#[derive(Debug, Error)]
pub enum UploadError {
    /// There is none of this id that is this person's; or a conversation has it.
    #[error("there is no such upload")]
    Unknown,
    /// A name that leads somewhere, or is none.
    #[error("{0}")]
    Name(String),
    /// Longer than any may be.
    #[error("a file may have at most {MAX_UPLOAD_BYTES} bytes")]
    TooLong,
    /// This person has too much of them.
    #[error("{0}")]
    Quota(String),
    /// The disk has no room for it.
    #[error("the disk has {free_bytes} bytes left, which is too little for this file")]
    NoRoom {
        /// What is left.
        free_bytes: u64,
    },
    /// A chunk that begins after the end of what has come.
    #[error("the next chunk begins at {received_bytes}")]
    Gap {
        /// How much has come.
        received_bytes: u64,
    },
    /// A chunk that goes on after the end of the file.
    #[error("the file has {size_bytes} bytes, and this chunk goes beyond them")]
    Beyond {
        /// As was said when it began.
        size_bytes: u64,
    },
    /// Something else has come for this part before.
    #[error("this part has come before, and was different")]
    Different,
    /// Another chunk is being written.
    #[error("another chunk of this upload is being written")]
    Busy,
    /// The chunk broke off; what came of it is kept.
    #[error("the chunk broke off: {why}")]
    BrokeOff {
        /// How much has come.
        received_bytes: u64,
        /// What was in the way.
        why: String,
    },
    /// The file system failed.
    #[error("failed to store the upload: {0}")]
    Io(#[from] io::Error),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Uploads that somebody writes to now.
pub(crate) type Writing = Mutex<HashSet<UploadId>>;

/// While it is there, nobody else writes to this upload.
struct Writer<'a> {
    writing: &'a Writing,
    id: UploadId,
}

impl<'a> Writer<'a> {
    fn of(writing: &'a Writing, id: UploadId) -> Result<Self, UploadError> {
        if lock(writing).insert(id) { Ok(Self { writing, id }) } else { Err(UploadError::Busy) }
    }
}

impl Drop for Writer<'_> {
    fn drop(&mut self) {
        lock(self.writing).remove(&self.id);
    }
}

/// Whether a file may be uploaded under this name: a bare one, or a path relative to the folder that was chosen.
///
/// # Errors
/// [`UploadError::Name`].
pub fn check_upload_name(name: &str) -> Result<(), UploadError> {
    attach::check_name(name).map_err(UploadError::Name)
}

impl Control {
    /// Whether the disk has room for so much more.
    ///
    /// # Errors
    /// [`UploadError::NoRoom`], or when the disk cannot be asked.
    pub async fn check_room_for_upload(&self, size_bytes: u64) -> Result<(), UploadError> {
        let root = self.inner.options.layout.root().to_owned();
        let free_bytes = blocking(move || space::free_bytes(&root)).await?;
        if free_bytes.saturating_sub(space::RESERVE_BYTES) < size_bytes {
            return Err(UploadError::NoRoom { free_bytes });
        }
        Ok(())
    }

    /// Begins an upload: `size_bytes` of a file whose name may have folders before it.
    ///
    /// # Errors
    /// [`UploadError`]; nothing has begun then.
    pub async fn begin_upload(
        &self,
        owner: UserId,
        name: String,
        size_bytes: u64,
    ) -> Result<Upload, UploadError> {
        check_upload_name(&name)?;
        if size_bytes > MAX_UPLOAD_BYTES {
            return Err(UploadError::TooLong);
        }
        self.check_room_for_upload(size_bytes).await?;
        let new = NewUpload { id: UploadId(Uuid::now_v7()), owner, name, size_bytes };
        let upload = match self.store().begin_upload(new, UPLOAD_QUOTA).await? {
            UploadBegun::Begun(upload) => upload,
            UploadBegun::TooMany => {
                let text = format!(
                    "you have {} uploads that no conversation has taken, and may have no more",
                    UPLOAD_QUOTA.files
                );
                return Err(UploadError::Quota(text));
            }
            UploadBegun::TooLong { open_bytes } => {
                let text = format!(
                    "your uploads that no conversation has taken have {open_bytes} bytes, and may have {} with this one",
                    UPLOAD_QUOTA.bytes
                );
                return Err(UploadError::Quota(text));
            }
        };
        let folder = self.inner.options.layout.uploads();
        let id = upload.id;
        blocking(move || {
            create_private(&folder)?;
            Folder::open(&folder)?.replace(id.to_string(), b"")
        })
        .await?;
        Ok(upload)
    }

    /// Keeps a file that came in one piece as an upload, under a name that leads nowhere.
    ///
    /// # Errors
    /// [`UploadError`].
    pub async fn keep_as_upload(&self, owner: UserId, file: Attachment) -> Result<Upload, UploadError> {
        let is_good = attach::check_name(&file.name).is_ok();
        let name = if is_good { file.name } else { attach::safe_name(&file.name) };
        let upload = self.begin_upload(owner, name, file.bytes.len() as u64).await?;
        let whole = futures::stream::iter([Ok::<_, io::Error>(file.bytes)]);
        self.write_upload(owner, upload.id, 0, whole).await
    }

    /// An upload of this person that no conversation has taken.
    ///
    /// # Errors
    /// [`UploadError::Unknown`], or when the database fails.
    pub async fn upload(&self, owner: UserId, id: UploadId) -> Result<Upload, UploadError> {
        let upload = self.store().upload(id).await?;
        upload.filter(|upload| upload.owner == owner && upload.taken.is_none()).ok_or(UploadError::Unknown)
    }

    /// Writes what comes to an upload, from `offset_bytes` on. What has come before may come again; nothing
    /// may be left out. All that came is on the disk when this returns, whether or not it was all that
    /// should have.
    ///
    /// # Errors
    /// [`UploadError`].
    pub async fn write_upload<E: std::fmt::Display>(
        &self,
        owner: UserId,
        id: UploadId,
        offset_bytes: u64,
        body: impl Stream<Item = Result<Bytes, E>> + Send,
    ) -> Result<Upload, UploadError> {
        let _one_at_a_time = Writer::of(&self.inner.uploads, id)?;
        let mut upload = self.upload(owner, id).await?;
        let received_bytes = upload.received_bytes;
        if offset_bytes > received_bytes {
            return Err(UploadError::Gap { received_bytes });
        }
        let folder = self.inner.options.layout.uploads();
        let file = blocking(move || Folder::open(&folder)?.file_to_write(id.to_string())).await?;
        let mut chunk = Chunk {
            file: Arc::new(file),
            at: offset_bytes,
            received: received_bytes,
            size: upload.size_bytes,
        };
        let outcome = chunk.take(body).await;
        if chunk.at > received_bytes {
            let file = Arc::clone(&chunk.file);
            blocking(move || file.sync_data()).await?;
            self.store().upload_received(id, chunk.at).await?;
            upload.received_bytes = chunk.at;
            upload.changed_at = self.inner.now();
        }
        outcome.map(|()| upload)
    }

    /// Gives an upload up.
    ///
    /// # Errors
    /// [`UploadError::Unknown`], [`UploadError::Busy`], or when the disk or database fails.
    pub async fn give_up_upload(&self, owner: UserId, id: UploadId) -> Result<(), UploadError> {
        let _nobody_writes = Writer::of(&self.inner.uploads, id)?;
        self.upload(owner, id).await?;
        if !self.store().forget_upload(id).await? {
            return Err(UploadError::Unknown);
        }
        Ok(self.inner.remove_uploads(vec![id.to_string()]).await?)
    }
}

/// A chunk on its way to the disk.
struct Chunk {
    file: Arc<File>,
    /// Where the next byte goes.
    at: u64,
    /// How much had come before.
    received: u64,
    size: u64,
}

impl Chunk {
    async fn take<E: std::fmt::Display>(
        &mut self,
        body: impl Stream<Item = Result<Bytes, E>> + Send,
    ) -> Result<(), UploadError> {
        let mut body = std::pin::pin!(body);
        let mut piece = Vec::with_capacity(PIECE_BYTES);
        loop {
            let next = body.next().await;
            if let Some(Ok(bytes)) = &next {
                piece.extend_from_slice(bytes);
                if piece.len() < PIECE_BYTES {
                    continue;
                }
            }
            piece = self.write(piece).await?;
            match next {
                None => return Ok(()),
                Some(Ok(_)) => {}
                Some(Err(error)) => {
                    let received_bytes = self.at.max(self.received);
                    return Err(UploadError::BrokeOff { received_bytes, why: error.to_string() });
                }
            }
        }
    }

    /// Writes a piece, and gives back its room.
    async fn write(&mut self, mut piece: Vec<u8>) -> Result<Vec<u8>, UploadError> {
        let (at, received) = (self.at, self.received);
        let end = at.saturating_add(piece.len() as u64);
        if end > self.size {
            return Err(UploadError::Beyond { size_bytes: self.size });
        }
        let file = Arc::clone(&self.file);
        let (same, mut piece) = blocking(move || {
            let again = usize::try_from(received.saturating_sub(at)).unwrap_or(usize::MAX).min(piece.len());
            let (before, new) = piece.split_at(again);
            let mut there = vec![0; before.len()];
            file.read_exact_at(&mut there, at)?;
            let same = there == before;
            if same {
                file.write_all_at(new, at + again as u64)?;
            }
            Ok((same, std::mem::take(&mut piece)))
        })
        .await?;
        if !same {
            return Err(UploadError::Different);
        }
        self.at = end;
        piece.clear();
        Ok(piece)
    }
}

impl Inner {
    /// Puts the files of taken uploads where they go; of one conversation, or of all. Whatever is done
    /// already stays done.
    pub(crate) async fn settle_uploads(&self, of: Option<ExecutionId>) -> Result<(), UploadError> {
        for upload in self.options.store.uploads_taken(of).await? {
            let Some(taken) = upload.taken.clone() else { continue };
            let layout = self.options.layout.clone();
            let id = upload.id.to_string();
            let is_there = blocking(move || {
                layout.create_workspace(taken.execution)?;
                move_to(&layout.uploads(), &id, &layout.workspace(taken.execution), &taken)
            })
            .await?;
            if !is_there {
                // Rows of a backup whose files were not in it.
                warn!(upload = %upload.id, name = upload.name, "the file of an upload is gone");
            }
            self.options.store.upload_is_there(upload.id).await?;
        }
        Ok(())
    }

    /// Gives up what nobody has gone on with for long, and removes files that no row names.
    pub(crate) async fn sweep_uploads(&self) -> Result<(), UploadError> {
        let old = self.options.store.forget_uploads_before(self.now() - UPLOAD_KEPT_MS).await?;
        if !old.is_empty() {
            info!(uploads = old.len(), "gave up uploads that nobody went on with");
        }
        self.settle_uploads(None).await?;
        let folder = self.options.layout.uploads();
        let names = blocking(move || match Folder::open(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            other => other?.names(MAX_SWEPT).map(|(names, _)| names),
        })
        .await?;
        let mut without_row = Vec::new();
        for name in names {
            let Ok(name) = name.into_string() else { continue };
            // A file is made after its row: one that is there without a row now has no row any more.
            if let Ok(id) = name.parse()
                && self.options.store.upload(id).await?.is_none()
            {
                without_row.push(name);
            }
        }
        Ok(self.remove_uploads(without_row).await?)
    }

    async fn remove_uploads(&self, names: Vec<String>) -> io::Result<()> {
        let folder = self.options.layout.uploads();
        blocking(move || {
            if names.is_empty() {
                return Ok(());
            }
            let folder = Folder::open(&folder)?;
            for name in names {
                match folder.remove_file(&name) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
            Ok(())
        })
        .await
    }
}

/// Renames a file to its place; false if it is neither here nor there.
fn move_to(uploads: &Path, id: &str, workspace: &Path, taken: &Taken) -> io::Result<bool> {
    let workspace = Folder::open(workspace)?;
    let place = Path::new(&taken.place);
    if let Some(parent) = place.parent() {
        workspace.make_folder(parent)?;
    }
    let uploads = Folder::open(uploads)?;
    match uploads.move_new(id, &workspace, place) {
        Ok(()) => Ok(true),
        // A crash of the machine may leave it under both names, on file systems that rename in two steps.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => uploads.remove_file(id).map(|()| true),
        // Somebody was first, and nothing else of this name is in a workspace that no session has seen.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(workspace.stat(place).is_ok()),
        Err(error) => Err(error),
    }
}
