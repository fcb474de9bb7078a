//! Removing blobs that no checkpoint names any more.
//!
//! A sweep cannot see a checkpoint that is being taken, on this machine or another: its blobs are
//! there, or are found there and relied on, before a manifest names them. So a sweep destroys
//! nothing it has only just found useless. It *condemns*: moves the blob aside, under the time of
//! the sweep. Whoever reads a blob looks there, too. A sweep that comes [`GRACE`] later destroys what
//! was condemned then and is still named by no manifest; anything that is named, it puts back. A
//! checkpoint takes [`crate::MAX_TAKE`] at most, which is less, so its manifest is seen by then.

use std::{collections::HashSet, fs, path::Path, time::Duration};

use futures::{StreamExt as _, TryStreamExt as _};

use crate::{
    Checkpoints, Digest, ManifestFault, ManifestId, StoreError,
    blob::{self, BLOBS, CONDEMNED},
    catalog::MANIFESTS,
    error::file_error,
};

/// Between finding a blob useless and destroying it. Longer than [`crate::MAX_TAKE`] by more than
/// the clocks of two machines may differ.
pub const GRACE: Duration = Duration::from_secs(6 * 60 * 60);

/// What was half written so long ago is written by nobody any more.
const STRAY_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// Objects moved or deleted at the same time.
const AT_ONCE: usize = 8;

/// Whether to do it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sweep {
    /// Only say what would be done.
    DryRun,
    /// Do it.
    Now,
}

/// What a sweep did, or would do. Sizes are as stored, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Checkpoints that there are, those that cannot be read included.
    pub manifests: u64,
    /// Blobs that they name.
    pub live: u64,
    /// Blobs that nothing names any more, put aside for [`GRACE`].
    pub condemned: u64,
    /// Their size.
    pub condemned_bytes: u64,
    /// Blobs put aside earlier and destroyed now.
    pub destroyed: u64,
    /// Their size: what the store shrinks by.
    pub destroyed_bytes: u64,
    /// Blobs put aside earlier that a checkpoint names after all, put back.
    pub put_back: u64,
    /// What processes that were killed left half written, destroyed.
    pub strays: u64,
}

/// Why nothing was swept.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// There is a checkpoint of another version: what it needs is not known here.
    #[error("checkpoint {0} is of another version, so what it needs is not known here")]
    OtherVersion(ManifestId),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Checkpoints {
    /// Takes away what no checkpoint names, in two steps, [`GRACE`] apart. Safe beside everything
    /// else, in any number of processes. `now_ms` is in milliseconds since 1970.
    ///
    /// # Errors
    /// If a checkpoint is of another version, or the store fails. What was done until then was right.
    pub async fn sweep(&self, now_ms: u64, how: Sweep) -> Result<Swept, SweepError> {
        let (mut swept, live) = self.mark().await?;
        // The earlier first, so that a blob condemned now is not looked at twice.
        self.judge(now_ms, how, &live, &mut swept).await?;
        self.condemn(now_ms, how, &live, &mut swept).await?;
        if let Some(folder) = self.backend.folder() {
            let folder = folder.to_owned();
            let strays = tokio::task::spawn_blocking(move || strays(&folder, now_ms, how));
            swept.strays = strays.await.map_err(StoreError::from)??;
        }
        Ok(swept)
    }

    /// Everything that some checkpoint names.
    async fn mark(&self) -> Result<(Swept, HashSet<Digest>), SweepError> {
        let mut swept = Swept::default();
        let mut live = HashSet::new();
        for execution in self.executions().await? {
            for listed in self.list(&execution).await? {
                swept.manifests += 1;
                match self.open(&execution, &listed).await? {
                    Ok(manifest) => live.extend(manifest.blobs()),
                    Err(ManifestFault::Version { .. }) => return Err(SweepError::OtherVersion(listed.id)),
                    // Nothing can be restored from it.
                    Err(fault) => {
                        tracing::warn!(checkpoint = %listed.id, %execution, "keeping no blobs for a checkpoint: {fault}");
                    }
                }
            }
        }
        swept.live = live.len() as u64;
        Ok((swept, live))
    }

    async fn judge(
        &self,
        now_ms: u64,
        how: Sweep,
        live: &HashSet<Digest>,
        swept: &mut Swept,
    ) -> Result<(), StoreError> {
        let mut back = Vec::new();
        let mut gone = Vec::new();
        for folder in self.backend.folders(CONDEMNED).await? {
            let Ok(since_ms) = folder.parse::<u64>() else { continue };
            for object in self.backend.list(&format!("{CONDEMNED}/{folder}")).await? {
                let key = object.location.to_string();
                let Some(digest) = blob::named_by(&key) else { continue };
                if live.contains(&digest) {
                    swept.put_back += 1;
                    back.push((key, digest));
                } else if age(now_ms, since_ms) >= GRACE {
                    swept.destroyed += 1;
                    swept.destroyed_bytes += object.size;
                    gone.push(key);
                }
            }
        }
        if how == Sweep::DryRun {
            return Ok(());
        }
        futures::stream::iter(back)
            .map(|(from, digest)| async move { self.backend.rename(&from, &blob::key(&digest)).await })
            .buffer_unordered(AT_ONCE)
            .try_collect::<()>()
            .await?;
        futures::stream::iter(gone)
            .map(|key| async move { self.backend.delete(&key).await })
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await
    }

    async fn condemn(
        &self,
        now_ms: u64,
        how: Sweep,
        live: &HashSet<Digest>,
        swept: &mut Swept,
    ) -> Result<(), StoreError> {
        let folder = format!("{now_ms:016}");
        let mut useless = Vec::new();
        for object in self.backend.list(BLOBS).await? {
            let key = object.location.to_string();
            let Some(digest) = blob::named_by(&key) else { continue };
            let written_ms = u64::try_from(object.last_modified.timestamp_millis()).unwrap_or(0);
            // A young one most likely belongs to a checkpoint under way; moving it would be safe, and work.
            if !live.contains(&digest) && age(now_ms, written_ms) >= GRACE {
                swept.condemned += 1;
                swept.condemned_bytes += object.size;
                useless.push((key, digest));
            }
        }
        if how == Sweep::DryRun {
            return Ok(());
        }
        let folder = &folder;
        futures::stream::iter(useless)
            .map(|(key, digest)| async move {
                self.backend.rename(&key, &blob::condemned_key(folder, &digest)).await
            })
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await
    }
}

fn age(now_ms: u64, then_ms: u64) -> Duration {
    Duration::from_millis(now_ms.saturating_sub(then_ms))
}

/// Files that were being written when a process was killed: the object store names them
/// `<object>#<number>`, and never looks at them again.
fn strays(folder: &Path, now_ms: u64, how: Sweep) -> Result<u64, StoreError> {
    let mut found = 0;
    let mut folders = vec![folder.join(BLOBS), folder.join(MANIFESTS), folder.join(CONDEMNED)];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            let Ok(meta) = entry.metadata() else { continue };
            if meta.is_dir() {
                folders.push(path);
                continue;
            }
            let modified = meta.modified().ok().and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
            let modified_ms = modified.map_or(0, |at| u64::try_from(at.as_millis()).unwrap_or(u64::MAX));
            if name.as_encoded_bytes().contains(&b'#') && age(now_ms, modified_ms) >= STRAY_AGE {
                found += 1;
                if how == Sweep::Now {
                    fs::remove_file(&path).map_err(file_error("remove", path))?;
                }
            }
        }
    }
    Ok(found)
}
