//! Taking a checkpoint: blobs first, and when all of them are durable, the manifest that names them.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
    time::Duration,
};

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use tokio::{sync::mpsc, time::Instant};
use tokio_stream::wrappers::ReceiverStream;

use crate::{
    Checkpoints, Digest, MANIFEST_VERSION, MAX_MANIFEST_BYTES, Manifest, StoreError, TakeError, blob,
    catalog,
    error::file_error,
    index::Index,
    manifest::{Body, is_name},
    scan::{self, Ended, OwnedTree, Pending, Scanned},
    walk,
};

/// No checkpoint takes longer: what it builds on is sure to be there for [`crate::GRACE`], which is
/// longer by more than clocks differ.
pub const MAX_TAKE: Duration = Duration::from_secs(4 * 60 * 60);

/// Blobs written at the same time. With the one that is being read and the open pack this bounds
/// the memory of a `take`: some ten megabytes.
const PUTS_AT_ONCE: usize = 3;

/// Requests for an object's size under way at the same time.
pub(crate) const LOOKS_AT_ONCE: usize = 16;

/// One folder with all that is in it.
#[derive(Clone, Copy, Debug)]
pub struct Tree<'a> {
    /// What a restore calls it: 1 to 64 letters, digits, `-`, `_`.
    pub name: &'a str,
    /// Where it is. It must be a folder.
    pub path: &'a Path,
    /// What to leave out: `*.log`, `node_modules`, `sub/folder`. Matched against the path below the
    /// root, and, if there is no `/` in it, against each name. `*` also stands for `/`.
    pub exclude: &'a [String],
}

/// What a checkpoint says about its moment.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Whose it is: 1 to 64 letters, digits, `-`, `_`.
    pub execution: String,
    /// The worker that acts.
    pub incarnation: u32,
    /// The last event of the log that it knows.
    pub seq: u64,
    /// The last entry of the transcript.
    pub transcript: Option<String>,
    /// Why it is taken: `hold`, `turn`, `park`.
    pub label: String,
    /// Now, in milliseconds since 1970. Files changed in the two seconds before it, or later, are
    /// read again next time.
    pub at_ms: u64,
}

/// A checkpoint that is durable now, and what it cost.
#[derive(Clone, Debug)]
pub struct Taken {
    /// The checkpoint. Its notes say what may be missing in it.
    pub manifest: Manifest,
    /// Files that had to be read: new, changed, or perhaps changed.
    pub files_read: u64,
    /// What was read of them, in bytes.
    pub bytes_read: u64,
    /// Blobs that were not there yet.
    pub blobs_written: u64,
    /// Their size in the store, in bytes, without the manifest.
    pub bytes_written: u64,
    /// The manifest's size, in bytes.
    pub manifest_bytes: u64,
    /// From the call to the end.
    pub elapsed: Duration,
}

impl Checkpoints {
    /// Takes a checkpoint of these trees. Nothing may be relied on before this returns; whenever it
    /// does not, the checkpoints before it are what they were.
    ///
    /// Kept are folders, regular files and links with their content, the nine permission bits, and
    /// the time a file was last modified. Not kept: owners, extended attributes, set-id bits, and
    /// that two names are one file. Sockets, pipes and devices are counted.
    ///
    /// # Errors
    /// If a tree's root cannot be read, the store fails, or a name or pattern is none.
    pub async fn take(&self, trees: &[Tree<'_>], facts: Facts) -> Result<Taken, TakeError> {
        let begun = Instant::now();
        let trees = owned(trees)?;
        if !is_name(&facts.execution) {
            return Err(TakeError::BadName(facts.execution));
        }
        let _turn = self.turn().await;
        let base = catalog::newest(self, &facts.execution).await?;
        let (scanned, stored) = self.read_and_store(trees, base, facts.at_ms).await?;
        let (files_read, bytes_read) = (scanned.files_read, scanned.bytes_read);
        let (manifest, bytes) = Manifest::seal(body(scanned, &stored, facts));
        if bytes.len() > MAX_MANIFEST_BYTES {
            return Err(TakeError::TooMany);
        }
        if begun.elapsed() > MAX_TAKE {
            return Err(TakeError::TooSlow);
        }
        let manifest_bytes = bytes.len() as u64;
        self.backend.put(&catalog::key(&manifest), bytes.into()).await?;
        let new = || stored.values().filter(|stored| stored.is_new);
        Ok(Taken {
            manifest,
            files_read,
            bytes_read,
            blobs_written: new().count() as u64,
            bytes_written: new().map(|stored| stored.size).sum(),
            manifest_bytes,
            elapsed: begun.elapsed(),
        })
    }

    /// Returns when every blob is durable.
    async fn read_and_store(
        &self,
        trees: Vec<OwnedTree>,
        base: Option<Manifest>,
        at_ms: u64,
    ) -> Result<(Scanned, HashMap<Digest, Stored>), TakeError> {
        let present = match &base {
            Some(base) => self.present(base).await?,
            None => Vec::new(),
        };
        let (out, pending) = mpsc::channel(1);
        let scan = tokio::task::spawn_blocking(move || {
            let index = base.as_ref().map(|base| Index::new(base, &present));
            scan::scan(trees, index, at_ms, out)
        });
        // If a blob cannot be stored, this ends and takes the channel with it, and the scan ends too.
        let puts: Result<HashMap<Digest, Stored>, StoreError> = ReceiverStream::new(pending)
            .map(|blob| self.store_blob(blob))
            .buffer_unordered(PUTS_AT_ONCE)
            .try_collect()
            .await;
        let scanned = scan.await.map_err(StoreError::from)?;
        let stored = puts?;
        let scanned = match scanned {
            Ok(scanned) => scanned,
            Err(Ended::Root(path, source)) => return Err(file_error("read", path)(source).into()),
            Err(Ended::TooMany) => return Err(TakeError::TooMany),
            // Only its receiver could be gone, and that was waited for.
            Err(Ended::Unwanted) => return Err(TakeError::TooSlow),
        };
        let found = stored.iter().filter(|(_, stored)| !stored.is_new);
        self.backend.settle(found.map(|(digest, _)| blob::key(digest)).collect()).await?;
        Ok((scanned, stored))
    }

    /// Which blobs of a manifest are in the store at their full size. Without this, one lost blob
    /// would make every later checkpoint incomplete.
    async fn present(&self, base: &Manifest) -> Result<Vec<bool>, StoreError> {
        let blobs: Vec<_> = base.body().blobs.clone();
        futures::stream::iter(blobs)
            .map(|blob| async move {
                if self.backend.size(&blob::key(&blob.digest)).await? != Some(blob.stored) {
                    self.suspects.add(blob.digest);
                }
                Ok(!self.suspects.contain(&blob.digest))
            })
            .buffered(LOOKS_AT_ONCE)
            .try_collect()
            .await
    }

    async fn store_blob(&self, blob: Pending) -> Result<(Digest, Stored), StoreError> {
        let key = blob::key(&blob.digest);
        if !self.suspects.contain(&blob.digest)
            && let Some(size) = self.backend.size(&key).await?
        {
            return Ok((blob.digest, Stored { size, is_new: false }));
        }
        let bytes: Bytes = tokio::task::spawn_blocking(move || blob::encode(&blob.plain)).await?;
        let size = bytes.len() as u64;
        self.backend.put(&key, bytes).await?;
        self.suspects.remove(&blob.digest);
        Ok((blob.digest, Stored { size, is_new: true }))
    }
}

/// A blob in the store.
struct Stored {
    size: u64,
    is_new: bool,
}

fn owned(trees: &[Tree<'_>]) -> Result<Vec<OwnedTree>, TakeError> {
    let mut names = HashSet::new();
    let owned = trees.iter().map(|tree| {
        if !is_name(tree.name) || !names.insert(tree.name) {
            return Err(TakeError::BadName(tree.name.to_owned()));
        }
        let patterns = walk::patterns(tree.exclude).map_err(|error| TakeError::BadPattern {
            pattern: error.glob().unwrap_or_default().to_owned(),
            why: error.kind().to_string(),
        })?;
        Ok(OwnedTree {
            name: tree.name.to_owned(),
            path: tree.path.to_owned(),
            exclude: tree.exclude.to_vec(),
            patterns,
        })
    });
    owned.collect()
}

fn body(scanned: Scanned, stored: &HashMap<Digest, Stored>, facts: Facts) -> Body {
    let mut blobs = scanned.blobs;
    for blob in &mut blobs {
        if let Some(stored) = stored.get(&blob.digest) {
            blob.stored = stored.size;
        }
    }
    Body {
        version: MANIFEST_VERSION,
        execution: facts.execution,
        incarnation: facts.incarnation,
        seq: facts.seq,
        at_ms: facts.at_ms,
        label: facts.label,
        transcript: facts.transcript,
        notes: scanned.notes,
        more_notes: scanned.more_notes,
        left_out: scanned.left_out,
        blobs,
        trees: scanned.trees,
    }
}
